"""Pretrained image encoders, and the same with random weights, through timm.

Two have small loaders of their own, because timm does not hold them: SqueezeNet 1.1 and a pruned
VGG-19. ``plain pixels`` are no encoder; the baseline takes them as they are.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from etchmark.errors import CannotRun, UserError
from etchmark.features import images, weights
from etchmark.features.spec import HALF, LAST, EncoderSpec, Layer, Output

SQUEEZENET, PRUNED_VGG = "squeezenet1_1", "vgg19_16x"
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


# --- networks ----------------------------------------------------------------------------------


class PrunedVGG(nn.Module):
    """VGG-19 up to relu5_1, pruned to about a sixteenth of its parameters.

    Reads RGB in 0..1. Source: Wang et al., Collaborative Distillation for Ultra-Resolution
    Universal Style Transfer, CVPR 2020, DOI 10.1109/CVPR42600.2020.00193.
    """

    LAYERS = (
        *(("conv1_1", 3, 16), ("conv1_2", 16, 16)),
        *(("conv2_1", 16, 32), ("conv2_2", 32, 32)),
        *(("conv3_1", 32, 64), ("conv3_2", 64, 64), ("conv3_3", 64, 64), ("conv3_4", 64, 64)),
        *(("conv4_1", 64, 128), ("conv4_2", 128, 128), ("conv4_3", 128, 128)),
        *(("conv4_4", 128, 128), ("conv5_1", 128, 128)),
    )
    POOLED = ("conv1_2", "conv2_2", "conv3_4", "conv4_4")

    def __init__(self) -> None:
        super().__init__()
        self.input_affine = nn.Conv2d(3, 3, 1)
        for name, given, made in self.LAYERS:
            self.add_module(name, nn.Conv2d(given, made, 3))

    def forward_features(self, given: torch.Tensor) -> torch.Tensor:
        found = self.input_affine(given)
        for name, _, _ in self.LAYERS:
            padded = nn.functional.pad(found, (1, 1, 1, 1), mode="reflect")
            found = nn.functional.relu(getattr(self, name)(padded))
            if name in self.POOLED:
                found = nn.functional.max_pool2d(found, 2)
        return found


class SqueezeNet(nn.Module):
    """SqueezeNet 1.1 of torchvision without its classifier (arXiv 1602.07360)."""

    def __init__(self) -> None:
        super().__init__()
        from torchvision.models import squeezenet1_1

        self.features = squeezenet1_1(weights=None).features

    def forward_features(self, given: torch.Tensor) -> torch.Tensor:
        return self.features(given)


OWN: dict[str, Callable[[], nn.Module]] = {SQUEEZENET: SqueezeNet, PRUNED_VGG: PrunedVGG}


def _skeleton(spec: EncoderSpec, **more: Any) -> nn.Module:
    """The network with weights drawn by its own rules."""
    if spec.name in OWN:
        if spec.options:
            raise UserError(f"{spec.name} takes no options")
        return OWN[spec.name]()
    import timm

    if not timm.is_model(spec.name.split(".")[0]):
        near = difflib.get_close_matches(spec.name.split(".")[0], timm.list_models(), n=4)
        hint = f"did you mean {', '.join(near)}" if near else "timm.list_models() tells what it has"
        raise UserError(f"timm knows no model {spec.name!r}; {hint}")
    options = {**spec.options, **more}
    if spec.size is not None and "vit" in spec.name:
        options["img_size"] = spec.size
    try:
        return timm.create_model(spec.name, **options)
    except (TypeError, ValueError, AssertionError, RuntimeError) as error:
        raise UserError(f"{spec.name}: timm refuses {options} ({_short(error)})") from None


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def _load_own(network: nn.Module, path: Path) -> None:
    from safetensors.torch import load_file

    found = load_file(path)
    own = network.state_dict()
    # Heads that the features do not pass through may stay in the file.
    missing = sorted(set(own) - set(found))
    if missing:
        raise ValueError(f"no tensor {missing[0]}")
    network.load_state_dict({name: found[name] for name in own})


def _load_timm(spec: EncoderSpec, path: Path) -> nn.Module:
    """The network with every tensor from the file.

    timm insists on that only if the classifier's size is as in its configuration, and else leaves
    what it does not find at its random values: so the classifier stays, or is absent from both.
    """
    file = {"file": str(path)}
    try:
        return _skeleton(spec, pretrained=True, pretrained_cfg_overlay=file)
    except UserError:
        bare = {**file, "num_classes": 0}
        return _skeleton(spec, pretrained=True, pretrained_cfg_overlay=bare, num_classes=0)


def megabytes(spec: EncoderSpec) -> float:
    """Size of an encoder's weights in single precision, from its architecture alone."""
    with torch.device("meta"):
        return 4e-6 * sum(one.numel() for one in _skeleton(spec).parameters())


class Encoder:
    """A loaded encoder.

    Args:
        spec: what it is.
        found: its weights.
        device: ``cpu`` or ``cuda``.

    Raises:
        CannotRun: the file does not hold weights of this encoder.
    """

    def __init__(self, spec: EncoderSpec, found: weights.Weights, device: str = "cpu") -> None:
        self.spec, self.device = spec, device
        torch.manual_seed(spec.seed)
        if found.path is None:
            network = _skeleton(spec) if spec.name in OWN else _skeleton(spec, num_classes=0)
        else:
            network = self._filled(spec, found.path)
        self.network: Any = network.eval().to(device)
        self.vit = hasattr(network, "num_prefix_tokens")
        if not self.vit and spec.name not in OWN and hasattr(network, "conv1"):
            self.network = self.network.to(memory_format=torch.channels_last)
        self.half = spec.precision_on(device) == HALF
        self.prepare = self._preprocessing()

    @staticmethod
    def _filled(spec: EncoderSpec, path: Path) -> nn.Module:
        try:
            if spec.name in OWN:
                network = _skeleton(spec)
                _load_own(network, path)
            else:
                network = _load_timm(spec, path)
        except (UserError, KeyError, ValueError, RuntimeError, OSError) as error:
            raise CannotRun(
                f"{path.name}: holds no weights of {spec.name} ({_short(error)})"
            ) from None
        if not all(torch.isfinite(one).all() for one in network.parameters()):
            raise CannotRun(f"{path.name}: holds weights that are not finite; download it again")
        return network

    def _preprocessing(self) -> Callable[[np.ndarray], Any]:
        spec = self.spec
        if spec.name in OWN:
            config: dict[str, Any] = {
                "input_size": (3, 224, 224),
                "interpolation": "bilinear",
                # The pruned VGG-19 normalises by a layer of its own.
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
        return lambda image: transform(Image.fromarray(image).convert("RGB"))

    def batch(self, pictures: Sequence[np.ndarray]) -> torch.Tensor:
        """Preprocessed images, shape (images, 3, size, size), float32."""
        made = [self.prepare(np.ascontiguousarray(one)) for one in pictures]
        return torch.stack(
            [one if torch.is_tensor(one) else torch.from_numpy(np.array(one)) for one in made]
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
        given = self.batch(pictures).to(self.device)
        kind = torch.device(self.device).type
        with torch.autocast(kind, torch.bfloat16, enabled=self.half):
            maps = self._maps(given, list(dict.fromkeys(one.layer for one in outputs)))
        return [_pooled(*maps[one.layer], one.pooling, self.spec.name) for one in outputs]

    def _maps(
        self, given: torch.Tensor, layers: list[Layer]
    ) -> dict[Layer, tuple[torch.Tensor | None, torch.Tensor]]:
        """Class token (if there is one) and map (images, channels, height, width) per layer."""
        network = self.network
        if layers == [LAST] and not self.vit:
            return {LAST: (None, network.forward_features(given))}
        if not hasattr(network, "forward_intermediates"):
            raise UserError(f"{self.spec.name}: only its last layer can be had")
        found: dict[Layer, tuple[torch.Tensor | None, torch.Tensor]] = {}
        blocks = [one for one in layers if one != LAST]
        if self.vit:
            wanted = [-1 if one == LAST else one for one in layers]
            made = self._intermediates(given, wanted, return_prefix_tokens=True)
            for layer, (grid, prefix) in zip(layers, made, strict=True):
                found[layer] = (
                    prefix[:, 0] if prefix is not None and prefix.shape[1] else None,
                    grid,
                )
            return found
        if LAST in layers:
            found[LAST] = (None, network.forward_features(given))
        for layer, grid in zip(blocks, self._intermediates(given, blocks), strict=True):
            found[layer] = (None, grid)
        return found

    def _intermediates(self, given: torch.Tensor, wanted: list[Any], **more: Any) -> list[Any]:
        network = self.network
        count = len(network.blocks if hasattr(network, "blocks") else network.feature_info)
        if not all(-count <= one < count for one in wanted):
            raise UserError(f"{self.spec.name}: has layers 0 to {count - 1}, not {wanted}")
        order = sorted({one % count for one in wanted})
        try:
            made = network.forward_intermediates(
                given, indices=order, norm=self.vit, intermediates_only=True, **more
            )
        except (AssertionError, IndexError, ValueError) as error:
            raise UserError(f"{self.spec.name}: timm refuses {wanted} ({_short(error)})") from None
        place = dict(zip(order, made, strict=True))
        return [place[one % count] for one in wanted]


def _pooled(token: torch.Tensor | None, grid: torch.Tensor, pooling: str, name: str) -> np.ndarray:
    if pooling in ("class", "both") and token is None:
        raise UserError(f"{name} has no class token; pooling is mean or pyramid")
    mean = grid.float().mean((2, 3))
    parts = {"class": [token], "both": [token, mean], "mean": [mean], "pyramid": [mean]}[pooling]
    if pooling == "pyramid":
        parts.append(nn.functional.adaptive_avg_pool2d(grid.float(), 2).flatten(1))
    made = torch.cat([one.float() for one in parts if one is not None], 1)
    return made.cpu().numpy()


def batch_size(side: int) -> int:
    """Images per forward pass that keep memory small: 32 at 224 pixels, one at 1024."""
    return max(1, min(128, math.floor(32 * (224 / side) ** 2)))
