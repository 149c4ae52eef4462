"""The old place of ``etchmark.learning.forecasting``; it will be removed in the next release."""

import sys
import warnings

from etchmark.learning import forecasting

warnings.warn(
    "etchmark.forecasting is now etchmark.learning.forecasting;"
    " the old name will be removed in the next release",
    DeprecationWarning,
    stacklevel=2,
)
sys.modules[__name__] = forecasting
