"""Published image features → principal components → linear or support vector regression."""

from __future__ import annotations

from pathlib import Path

from etchmark import SklearnModel
from etchmark.learning.heads import PCARegression
from etchmark.saving import keeps_arguments, rebuild

ELEMENTS = [
    *("Ni", "Co", "Cr", "Al", "Ti", "W", "Mo", "Ta", "Nb", "Hf", "Re", "V", "Fe", "Ce", "Si"),
    *("C", "B", "Zr", "Mn", "S", "P"),
]


@keeps_arguments
def build(
    seed: int, device: str, encoder: str, head: str, composition: bool = False
) -> SklearnModel:
    added = [f"{name}_at" for name in ELEMENTS] if composition else []
    # Features and composition weigh the same, whatever their number of columns.
    blocks = [-1, len(added)] if added else [-1]
    return SklearnModel(PCARegression(head, blocks, seed), [encoder, *added], groups=True)


def load(folder: Path, device: str) -> SklearnModel:
    return rebuild(build, folder, device)
