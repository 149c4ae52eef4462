"""The old place of ``etchmark.learning.heads``; it goes with the next release."""

import sys
import warnings

from etchmark.learning import heads

warnings.warn(
    "etchmark.heads is now etchmark.learning.heads; the old name goes with the next release",
    DeprecationWarning,
    stacklevel=2,
)
sys.modules[__name__] = heads
