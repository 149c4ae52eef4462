"""Maps of an encoder's layers at every pixel of a picture: hypercolumns.

A hypercolumn is what all chosen layers hold at one pixel, each layer interpolated between its own
grid points (Hariharan et al., CVPR 2015, DOI 10.1109/CVPR.2015.7298642). Pictures keep their size.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from etchmark import files
from etchmark.errors import UserError
from etchmark.features.encoders import IMAGENET_MEAN, IMAGENET_STD, Encoder
from etchmark.features.locating import locate
from etchmark.features.networks import OWN, SQUEEZENET
from etchmark.features.spec import EncoderSpec
from etchmark.features.store import image_hash
from etchmark.model import FeatureSeconds

MULTIPLE = 16
"""Sides of a picture are padded to a multiple, so that grids of all layers cover the same area."""
SCALES = (0.25, 0.5, 1.0, 2.0)
BARE = "conv"
"""Names of layers whose rectifier is no module of its own begin like this."""


@dataclass(frozen=True)
class MapSpec:
    """Which maps are read.

    Attributes:
        encoder: which network; ``size``, ``crop`` and ``views`` are not used.
        layers: names of its modules, such as ``conv1_2``, ``features.4`` or ``blocks.3``.
        scales: the picture is read at these sizes, as multiples of its own.
        file: weights named by the caller.
    """

    encoder: EncoderSpec
    layers: tuple[str, ...]
    scales: tuple[float, ...] = (1.0,)
    file: Path | None = None

    def __post_init__(self) -> None:
        if not self.layers:
            raise UserError("layers: give at least one")
        if not self.scales or not set(self.scales) <= set(SCALES):
            known = ", ".join(map(str, SCALES))
            raise UserError(f"scales {list(self.scales)}: give some of {known}")

    def padded(self, sides: Sequence[int]) -> tuple[int, int]:
        """Sides of a picture after padding: at every scale they are multiples of 16 pixels."""
        multiple = round(MULTIPLE / min(1.0, *self.scales))
        height, width = (-(-side // multiple) * multiple for side in sides)
        return height, width


Maps = list[torch.Tensor]
"""Of one picture, one per scale and layer, shape (channels, height, width) of its own grid."""


@dataclass
class MapReader:
    """Reads maps of pictures; each is computed once where there is a folder for them.

    Args:
        spec: what is read.
        device: ``cpu`` or ``cuda``.
        folder: where maps are kept; None keeps nothing.
    """

    spec: MapSpec
    device: str
    folder: Path | None
    seconds: FeatureSeconds = field(default_factory=FeatureSeconds)
    _encoder: Encoder | None = None
    _began: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        self.weights = locate(self.spec.encoder, self.spec.file)
        recipe = {
            "schema": 1,
            "encoder": self.spec.encoder.name,
            "options": dict(self.spec.encoder.options),
            "weights": self.weights.id,
            "layers": list(self.spec.layers),
            "scales": list(self.spec.scales),
        }
        text = json.dumps(recipe, sort_keys=True)
        self.key = hashlib.sha256(text.encode()).hexdigest()[:16]
        self._seen: set[bytes] = set()

    def spent(self) -> FeatureSeconds:
        """What maps have taken so far, those that are being computed included."""
        if self._began is None:
            return self.seconds
        began, began_cpu = self._began
        now = time.perf_counter() - began
        return self.seconds + FeatureSeconds(now=now, cpu_now=time.process_time() - began_cpu)

    def __call__(self, picture: np.ndarray) -> Maps:
        """Maps of one picture, float32 on the device.

        Args:
            picture: uint8, shape (height, width).
        """
        name = image_hash(picture)
        path = self._path(name)
        stored = None if path is None else _read(path)
        if stored is None:
            self._began = time.perf_counter(), time.process_time()
            maps = self._compute(picture)
            took = time.perf_counter() - self._began[0]
            if path is not None:
                _write(path, maps, took)
            spent = FeatureSeconds(took, took, time.process_time() - self._began[1])
            self._began = None
        else:
            maps, took = stored
            spent = FeatureSeconds(ever=took)
        # A picture that is read again counts once.
        known = name in self._seen
        self._seen.add(name)
        self.seconds += FeatureSeconds(0.0, spent.now, spent.cpu_now) if known else spent
        return [each.to(self.device).float() for each in maps]

    def _path(self, name: bytes) -> Path | None:
        if self.folder is None:
            return None
        return self.folder / f"maps-{self.key}" / f"{name.hex()[:32]}.safetensors"

    def _compute(self, picture: np.ndarray) -> Maps:
        if self._encoder is None:
            self._encoder = Encoder(self.spec.encoder, self.weights, self.device)
        image = torch.from_numpy(picture.astype(np.float32) / 255.0).to(self.device)
        image = _padded(image, self.spec.padded(image.shape))
        maps: Maps = []
        for scale in self.spec.scales:
            maps += layer_maps(self._encoder, _resized(image, scale), self.spec.layers)
        if not all(bool(torch.isfinite(each).all()) for each in maps):
            raise FloatingPointError(f"{self.spec.encoder.name}: its maps are not finite")
        return [each.half() for each in maps]


def _resized(image: torch.Tensor, scale: float) -> torch.Tensor:
    if scale == 1.0:
        return image
    sides = [round(scale * side) for side in image.shape]
    resized = nn.functional.interpolate(
        image[None, None], sides, mode="bilinear", antialias=scale < 1, align_corners=False
    )
    return resized[0, 0]


def _padded(image: torch.Tensor, padded: Sequence[int]) -> torch.Tensor:
    """The image continued by its mirror image at the right and below."""
    more = (0, padded[1] - image.shape[1], 0, padded[0] - image.shape[0])
    return nn.functional.pad(image[None, None], more, "reflect")[0, 0]


@torch.inference_mode()
def layer_maps(encoder: Encoder, image: torch.Tensor, layers: Sequence[str]) -> Maps:
    """What layers hold for one grey image.

    Args:
        encoder: loaded.
        image: 0 to 1, shape (height, width), sides multiples of 16.
        layers: names of modules.

    Raises:
        UserError: the encoder has no such module, or it holds no map.
    """
    modules = dict(encoder.network.named_modules())
    if absent := [name for name in layers if name not in modules]:
        known = ", ".join(name for name in modules if name)[:200]
        raise UserError(
            f"{encoder.spec.name}: has no layer {absent[0]!r}; choose among its modules: {known}"
        )
    caught: dict[str, torch.Tensor] = {}

    def keeper(name: str) -> Any:
        def keep(module: nn.Module, given: Any, made: torch.Tensor) -> None:
            # A copy: what follows may work in place.
            caught[name] = made.detach().clone()

        return keep

    hooks = [modules[name].register_forward_hook(keeper(name)) for name in layers]
    try:
        mean, std = _normalisation(encoder)
        three = image.expand(1, 3, -1, -1)
        encoder.network.forward_features((three - mean) / std)
    finally:
        for hook in hooks:
            hook.remove()
    return [_as_map(caught[name], name, encoder, image.shape) for name in layers]


def _normalisation(encoder: Encoder) -> tuple[torch.Tensor, torch.Tensor]:
    name = encoder.spec.name
    if name == SQUEEZENET:
        mean, std = IMAGENET_MEAN, IMAGENET_STD
    elif name in OWN:
        mean, std = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    else:
        from timm.data.config import resolve_data_config

        config = resolve_data_config({}, model=encoder.network)
        mean, std = config["mean"], config["std"]
    pair = [torch.tensor(values, device=encoder.device).view(1, 3, 1, 1) for values in (mean, std)]
    return pair[0], pair[1]


def _as_map(made: torch.Tensor, name: str, encoder: Encoder, sides: Sequence[int]) -> torch.Tensor:
    """One output, shape (1, ...), as a map (channels, height, width)."""
    if made.ndim == 4:
        grid = made[0]
        # The rectifier behind a convolution is not always a module of its own.
        return grid.relu() if name.rpartition(".")[2].startswith(BARE) else grid
    if made.ndim == 3:
        tokens = made[0, int(getattr(encoder.network, "num_prefix_tokens", 0)) :]
        patch = encoder.network.patch_embed.patch_size
        rows, columns = (side // size for side, size in zip(sides, patch, strict=True))
        if len(tokens) == rows * columns:
            return tokens.T.reshape(-1, rows, columns)
    raise UserError(
        f"{encoder.spec.name}: layer {name!r} holds no map (its shape is {tuple(made.shape)});"
        " choose another one"
    )


# --- reading maps at pixels --------------------------------------------------------------------


def at_pixels(
    maps: Maps, places: np.ndarray, sides: Sequence[int], padded: Sequence[int]
) -> torch.Tensor:
    """Hypercolumns of some pixels, shape (pixels, channels of all maps).

    Args:
        maps: of the picture.
        places: in the flattened picture, shape (pixels,).
        sides: of the picture.
        padded: its sides after padding, which the maps cover.
    """
    high, wide = padded
    rows, columns = np.unravel_index(places, tuple(sides))
    grid = np.stack([(2 * columns + 1) / wide - 1, (2 * rows + 1) / high - 1], axis=-1)
    points = torch.from_numpy(grid.astype(np.float32)).to(maps[0].device)[None, None]
    read = [
        nn.functional.grid_sample(
            each[None], points, mode="bilinear", padding_mode="border", align_corners=False
        )[0, :, 0]
        for each in maps
    ]
    return torch.cat(read).T


def over_picture(grid: torch.Tensor, sides: Sequence[int], padded: Sequence[int]) -> torch.Tensor:
    """A map at every pixel of its picture, shape (channels, height, width).

    Args:
        grid: shape (channels, ...) of its own.
        sides: of the picture.
        padded: its sides after padding, which the map covers.
    """
    whole = nn.functional.interpolate(
        grid[None], list(padded), mode="bilinear", align_corners=False
    )
    return whole[0, :, : sides[0], : sides[1]]


# --- the folder --------------------------------------------------------------------------------


def _read(path: Path) -> tuple[Maps, float] | None:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as content:
            took = float((content.metadata() or {})["seconds"])
            count = len(list(content.keys()))
            return [content.get_tensor(f"{number:03d}") for number in range(count)], took
    except (OSError, SafetensorError, KeyError, ValueError):
        return None  # Not there, or damaged: it is computed again.


def _write(path: Path, maps: Maps, seconds: float) -> None:
    from safetensors.torch import save_file

    tensors = {f"{number:03d}": each.cpu().contiguous() for number, each in enumerate(maps)}
    with files.replacing(path) as temporary:
        save_file(tensors, temporary, {"seconds": repr(seconds)})
