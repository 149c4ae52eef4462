"""The old place of ``etchmark.learning.training``; it will be removed in the next release."""

import sys
import warnings

from etchmark.learning import training

warnings.warn(
    "etchmark.training is now etchmark.learning.training;"
    " the old name will be removed in the next release",
    DeprecationWarning,
    stacklevel=2,
)
sys.modules[__name__] = training
