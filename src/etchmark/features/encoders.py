"""Pretrained image encoders, and the same with random weights, through timm.

``plain pixels`` are not an encoder; the baseline reads them directly.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from etchmark.errors import CannotRun, UserError
from etchmark.features import images, weights
from etchmark.features.networks import (
    OWN,
    SQUEEZENET,
    VGG19,
    check_name,
    create,
    short_reason,
    skeleton,
)
from etchmark.features.spec import GRID, HALF, LAST, POOLINGS, EncoderSpec, Layer, Output

REFUSALS = (KeyError, ValueError, TypeError, AssertionError, AttributeError, RuntimeError, OSError)
"""What timm and torch raise for a network or a file that they cannot use."""
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def _load_own(network: nn.Module, path: Path) -> None:
    from safetensors.torch import load_file

    tensors = load_file(path)
    own = network.state_dict()
    # The file may also hold a classifier, which features do not pass through.
    missing = sorted(set(own) - set(tensors))
    if missing:
        raise ValueError(f"it has no tensor {missing[0]}")
    network.load_state_dict({name: tensors[name] for name in own})


def _load_timm(spec: EncoderSpec, path: Path) -> nn.Module:
    """The network with every tensor from the file.

    timm insists on every tensor only if the classifier has the size of its configuration; otherwise
    missing tensors silently stay random. So the classifier is kept, or left out of both, or has as
    many classes as the file.
    """
    import timm

    def filled(**classes: int) -> nn.Module:
        overlay = {"file": str(path), **classes}
        return create(spec, pretrained=True, pretrained_cfg_overlay=overlay, **classes)

    try:
        return filled()
    except REFUSALS as first:
        try:
            return filled(num_classes=0)
        except REFUSALS:
            head = getattr(timm.get_pretrained_cfg(spec.name), "classifier", None)
            classes = _rows(path, f"{head}.weight")
            if classes is None:
                raise
            try:
                return filled(num_classes=classes)
            except REFUSALS:
                # The file has a classifier, so the first attempt failed for the real reason.
                raise first from None


def _rows(path: Path, name: str) -> int | None:
    """Length of a tensor of a file; None if the file does not have it."""
    from safetensors import safe_open

    with safe_open(path, framework="np") as content:
        return content.get_slice(name).get_shape()[0] if name in set(content.keys()) else None


class Encoder:
    """A loaded encoder.

    Args:
        spec: what it is.
        source: its weights.
        device: ``cpu`` or ``cuda``.

    Raises:
        CannotRun: the file does not hold weights of this encoder.
    """

    def __init__(self, spec: EncoderSpec, source: weights.Weights, device: str = "cpu") -> None:
        self.spec, self.device = spec, device
        check_name(spec)
        torch.manual_seed(spec.seed)
        if source.path is None:
            network = skeleton(spec) if spec.name in OWN else skeleton(spec, num_classes=0)
        else:
            network = self._filled(spec, source.path)
        self.network: Any = network.eval().to(device)
        # Vision transformers return class tokens beside the map, other networks the map alone.
        method = getattr(network, "forward_intermediates", None)
        self.vit = hasattr(network, "num_prefix_tokens") and (
            method is not None and "return_prefix_tokens" in inspect.signature(method).parameters
        )
        residual = not self.vit and spec.name not in OWN and hasattr(network, "conv1")
        if residual or spec.name == VGG19:
            self.network = self.network.to(memory_format=torch.channels_last)
        self.half = spec.precision_on(device) == HALF
        self.prepare = self._preprocessing()

    @staticmethod
    def _filled(spec: EncoderSpec, path: Path) -> nn.Module:
        try:
            if spec.name in OWN:
                network = create(spec)
                _load_own(network, path)
            else:
                network = _load_timm(spec, path)
        except REFUSALS as error:
            raise CannotRun(
                f"{path}: does not fit {spec.name} ({short_reason(error)}); give a file with"
                " exactly its tensors, with or without the classifier"
            ) from None
        tensors = list(network.parameters())
        if not all(torch.isfinite(tensor).all() for tensor in tensors):
            raise CannotRun(f"{path}: holds weights that are not finite; download it again")
        if not any(tensor.any() for tensor in tensors):
            raise CannotRun(f"{path.name}: holds nothing but zeros; download it again")
        return network

    def _preprocessing(self) -> Callable[[np.ndarray], Any]:
        spec = self.spec
        if spec.name in OWN:
            config: dict[str, Any] = {
                "input_size": (3, 224, 224),
                "interpolation": "bilinear",
                # The VGG networks normalise themselves.
                "mean": IMAGENET_MEAN if spec.name == SQUEEZENET else (0.0, 0.0, 0.0),
                "std": IMAGENET_STD if spec.name == SQUEEZENET else (1.0, 1.0, 1.0),
                "crop_pct": 0.875,
            }
        else:
            from timm.data.config import resolve_data_config

            config = resolve_data_config({}, model=self.network)
        if spec.size is not None:
            config["input_size"] = (3, spec.size, spec.size)
        if spec.crop is not None:
            config["crop_pct"] = spec.crop
        self.side = int(config["input_size"][-1])
        if spec.preprocessing == images.AS_PUBLISHED:
            return images.as_published(self.side)
        from PIL import Image
        from timm.data.transforms_factory import create_transform

        transform: Any = create_transform(**config, is_training=False)
        *shaping, normalise = transform.transforms
        if type(normalise).__name__ != "Normalize":
            return lambda image: transform(Image.fromarray(image).convert("RGB"))

        def prepare(image: np.ndarray) -> Any:
            # Resize one channel instead of three equal ones; the result is bitwise the same.
            picture: Any = Image.fromarray(image)
            for step in shaping:
                picture = step(picture)
            return normalise(picture.expand(3, -1, -1).clone())

        return prepare

    @property
    def at_once(self) -> int:
        """Images per forward pass that keep memory small and are fast."""
        return batch_size(self.side, half=self.half and torch.device(self.device).type == "cpu")

    def batch(self, pictures: Sequence[np.ndarray]) -> torch.Tensor:
        """Preprocessed images, shape (images, 3, size, size), float32."""
        prepared = [self.prepare(np.ascontiguousarray(picture)) for picture in pictures]
        return torch.stack(
            [
                image if torch.is_tensor(image) else torch.from_numpy(np.array(image))
                for image in prepared
            ]
        )

    @torch.inference_mode()
    def __call__(
        self, pictures: Sequence[np.ndarray], outputs: Sequence[Output]
    ) -> list[np.ndarray]:
        """Features of some images by one forward pass.

        Args:
            pictures: uint8 arrays of shape (height, width), 0 to 255.
            outputs: what to pool.

        Returns:
            One float32 array of shape (images, features) per output.
        """
        images = self.batch(pictures).to(self.device)
        kind = torch.device(self.device).type
        try:
            with torch.autocast(kind, torch.bfloat16, enabled=self.half):
                maps = self._maps(images, list(dict.fromkeys(output.layer for output in outputs)))
        except (RuntimeError, TypeError, ValueError, IndexError, AttributeError) as error:
            raise UserError(
                f"{self.spec.name}: fails on images of {self.side} pixels ({short_reason(error)});"
                " give another size, layer or encoder"
            ) from None
        return [_pooled(*maps[output.layer], output.pooling, self.spec.name) for output in outputs]

    def _maps(
        self, images: torch.Tensor, layers: list[Layer]
    ) -> dict[Layer, tuple[torch.Tensor | None, torch.Tensor]]:
        """Class token (if there is one) and map (images, channels, height, width) per layer."""
        network = self.network
        if layers == [LAST] and not self.vit:
            return {LAST: self._last(images)}
        if not hasattr(network, "forward_intermediates"):
            raise UserError(
                f"{self.spec.name}: only its last layer is available; set layer: {LAST}"
            )
        if self.vit or self.spec.name in OWN:
            prefixed = bool(getattr(network, "num_prefix_tokens", 0))
            more = {"return_prefix_tokens": True} if prefixed else {}
            grids = self._intermediates(images, [self._number(layer) for layer in layers], **more)
            pairs = grids if prefixed else [(grid, None) for grid in grids]
            return {
                layer: (None if prefix is None else prefix[:, 0], grid)
                for layer, (grid, prefix) in zip(layers, pairs, strict=True)
            }
        maps: dict[Layer, tuple[torch.Tensor | None, torch.Tensor]] = {}
        blocks = [layer for layer in layers if layer != LAST]
        if LAST in layers:
            maps[LAST] = self._last(images)
        numbers = [self._number(layer) for layer in blocks]
        for layer, grid in zip(blocks, self._intermediates(images, numbers), strict=True):
            maps[layer] = (None, grid)
        return maps

    def _number(self, layer: Layer) -> int:
        """Of a block, or of a layer that has a name."""
        if layer == LAST:
            return -1
        if isinstance(layer, int):
            return layer
        names = getattr(self.network, "layer_names", ())
        if layer not in names:
            known = ", ".join([LAST, *names]) if names else f"{LAST} or the number of a block"
            raise UserError(f"{self.spec.name}: layer {layer!r}: give {known}")
        return names.index(layer)

    def _last(self, images: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor]:
        """Output of the last layer: class token, if there is one, and map."""
        network, token = self.network, None
        output = network.forward_features(images)
        channels = getattr(network, "num_features", output.shape[1])
        if output.ndim == 3:
            prefix = int(getattr(network, "num_prefix_tokens", 0))
            token = output[:, 0] if prefix else None
            # Patches come in a row: only a square of them can be laid out as a map again.
            rows = output[:, prefix:].transpose(1, 2)
            side = math.isqrt(rows.shape[2])
            output = rows.unflatten(2, (side, side) if side**2 == rows.shape[2] else (-1, 1))
        elif str(getattr(network, "output_fmt", "NCHW")).endswith("NHWC") or (
            output.ndim == 4 and output.shape[1] != channels == output.shape[3]
        ):
            output = output.permute(0, 3, 1, 2)
        if output.ndim != 4 or output.shape[1] != channels:
            raise UserError(
                f"{self.spec.name}: its features come in a shape {tuple(output.shape)} that is not"
                " supported; choose another encoder"
            )
        return token, output

    def _intermediates(self, images: torch.Tensor, layers: list[Any], **more: Any) -> list[Any]:
        network = self.network
        # Swin and other pyramids count stages, not blocks.
        staged = not self.vit and getattr(network, "feature_info", None)
        count = len(network.feature_info if staged else network.blocks)
        if not all(-count <= layer < count for layer in layers):
            raise UserError(
                f"{self.spec.name}: has layers 0 to {count - 1}, not {layers}; choose one of them"
            )
        order = sorted({layer % count for layer in layers})
        try:
            grids = network.forward_intermediates(
                images, indices=order, norm=self.vit, intermediates_only=True, **more
            )
        except (AssertionError, IndexError, ValueError) as error:
            raise UserError(
                f"{self.spec.name}: timm refuses layers {layers} ({short_reason(error)});"
                " choose other layers"
            ) from None
        by_layer = dict(zip(order, grids, strict=True))
        return [by_layer[layer % count] for layer in layers]


def _pooled(token: torch.Tensor | None, grid: torch.Tensor, pooling: str, name: str) -> np.ndarray:
    if pooling in ("class", "both") and token is None:
        known = ", ".join(other for other in POOLINGS if other not in ("class", "both"))
        raise UserError(f"{name} has no class token; pooling is one of {known}")
    parts = [part.float() for part in _parts(token, grid.float(), pooling) if part is not None]
    return torch.cat(parts, 1).cpu().numpy()


def _parts(
    token: torch.Tensor | None, grid: torch.Tensor, pooling: str
) -> list[torch.Tensor | None]:
    """What a pooling puts side by side, each of shape (images, features)."""
    if pooling == "max":
        return [grid.amax((2, 3))]
    if pooling == "grid":
        return [nn.functional.adaptive_avg_pool2d(grid, GRID).flatten(1)]
    if pooling == "gram":
        return [_products(grid)]
    mean = grid.mean((2, 3))
    if pooling == "pyramid":
        return [mean, nn.functional.adaptive_avg_pool2d(grid, 2).flatten(1)]
    return {"class": [token], "both": [token, mean], "mean": [mean]}[pooling]


def _products(grid: torch.Tensor) -> torch.Tensor:
    """Mean product of every two channels over positions, each pair once.

    Source: Gatys, Ecker & Bethge, NeurIPS 2015, DOI 10.48550/arXiv.1505.07376.
    """
    flat = grid.flatten(2)
    rows, columns = torch.triu_indices(flat.shape[1], flat.shape[1])
    return (flat @ flat.transpose(1, 2) / flat.shape[2])[:, rows, columns]


def batch_size(side: int, *, half: bool = False) -> int:
    """Images per forward pass that keep memory small: 32 at 224 pixels, one at 1024.

    With bfloat16 on a CPU half as many, which stay in its caches: ViT-Tiny encodes 214 images/s in
    batches of 16, 203 in batches of 32, 140 in batches of 64.
    """
    return max(1, min(128, math.floor((16 if half else 32) * (224 / side) ** 2)))
