"""The old place of ``etchmark.learning.periodic``; it will be removed in the next release."""

import sys
import warnings

from etchmark.learning import periodic

warnings.warn(
    "etchmark.periodic is now etchmark.learning.periodic;"
    " the old name will be removed in the next release",
    DeprecationWarning,
    stacklevel=2,
)
sys.modules[__name__] = periodic
