"""The predictions file, the one door to every score, whatever the kind of its target.

Parquet, or CSV where a prediction is a single cell: ``id``, ``prediction``, optional integer
``seed``. A file is taken whole or refused whole, with the count, the first offending ids and the
remedy.
"""

from etchmark.predictions.arranging import arrange, check_finite
from etchmark.predictions.checks import MAX_SEEDS, Declared
from etchmark.predictions.reading import Predictions, max_file_bytes, read
from etchmark.predictions.writing import write, write_parts

__all__ = [
    "MAX_SEEDS",
    "Declared",
    "Predictions",
    "arrange",
    "check_finite",
    "max_file_bytes",
    "read",
    "write",
    "write_parts",
]
