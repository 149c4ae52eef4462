"""The old place of ``etchmark.model``; it will be removed in the next release."""

import sys
import warnings

from etchmark import model

warnings.warn(
    "etchmark.evaluation.model is now etchmark.model;"
    " the old name will be removed in the next release",
    DeprecationWarning,
    stacklevel=2,
)
sys.modules[__name__] = model
