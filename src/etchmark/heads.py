"""The old place of ``etchmark.learning.heads``; it will be removed in the next release."""

import sys
import warnings

from etchmark.learning import heads

warnings.warn(
    "etchmark.heads is now etchmark.learning.heads;"
    " the old name will be removed in the next release",
    DeprecationWarning,
    stacklevel=2,
)
sys.modules[__name__] = heads
