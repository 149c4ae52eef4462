"""Finds the weights of an encoder; loads timm only to say how large missing ones are."""

from __future__ import annotations

from pathlib import Path

from etchmark.errors import CannotRun
from etchmark.features import weights
from etchmark.features.spec import EncoderSpec


def locate(spec: EncoderSpec, path: Path | None = None) -> weights.Weights:
    """The weights of an encoder; ``path`` is a file that the caller names.

    Raises:
        CannotRun: weights are not available, or the file is not a safetensors file.
        UserError: the name does not say which weights are meant.
    """
    if spec.weights == weights.RANDOM:
        if path is not None:
            raise CannotRun(f"{spec.name} has random weights; drop --weights")
        return weights.random_weights(spec.seed)

    def size() -> str:
        from etchmark.features.networks import check_tag, megabytes

        # A file of that name says which weights are meant.
        if spec.local is None:
            check_tag(spec)
        return f"about {megabytes(spec):.0f} MB"

    return weights.locate(spec.name, path=path, local=spec.local, size=size)
