"""The old place of ``etchmark.learning.forecasting``; it goes with the next release."""

import sys
import warnings

from etchmark.learning import forecasting

warnings.warn(
    "etchmark.forecasting is now etchmark.learning.forecasting;"
    " the old name goes with the next release",
    DeprecationWarning,
    stacklevel=2,
)
sys.modules[__name__] = forecasting
