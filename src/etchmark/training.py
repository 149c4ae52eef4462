"""The old place of ``etchmark.learning.training``; it goes with the next release."""

import sys
import warnings

from etchmark.learning import training

warnings.warn(
    "etchmark.training is now etchmark.learning.training; the old name goes with the next release",
    DeprecationWarning,
    stacklevel=2,
)
sys.modules[__name__] = training
