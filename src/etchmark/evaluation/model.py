"""The old place of ``etchmark.model``; it goes with the next release."""

import sys
import warnings

from etchmark import model

warnings.warn(
    "etchmark.evaluation.model is now etchmark.model; the old name goes with the next release",
    DeprecationWarning,
    stacklevel=2,
)
sys.modules[__name__] = model
