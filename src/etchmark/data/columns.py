"""The old place of ``etchmark.columns``; it will be removed in the next release."""

import sys
import warnings

from etchmark import columns

warnings.warn(
    "etchmark.data.columns is now etchmark.columns;"
    " the old name will be removed in the next release",
    DeprecationWarning,
    stacklevel=2,
)
sys.modules[__name__] = columns
