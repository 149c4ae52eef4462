"""Pretrained image encoders, and the same with random weights, through timm.

Two have small loaders of their own, because timm does not hold them: SqueezeNet 1.1 and a pruned
VGG-19. ``plain pixels`` are no encoder; the baseline takes them as they are.
"""

from __future__ import annotations

import difflib
import inspect
import math
import re
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
REFUSALS = (KeyError, ValueError, TypeError, AssertionError, AttributeError, RuntimeError, OSError)
"""What timm and torch raise over a network or a file that they cannot take."""
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


def check_name(spec: EncoderSpec) -> None:
    """Refuse a name, or a tag of a name, that timm does not have."""
    if spec.name in OWN:
        if spec.options:
            raise UserError(f"{spec.name} takes no options")
        return
    import timm
    from timm.models import get_arch_pretrained_cfgs

    name, _, tag = spec.name.partition(".")
    if not timm.is_model(name):
        near = difflib.get_close_matches(name, timm.list_models(), n=4)
        hint = f"did you mean {', '.join(near)}" if near else "timm.list_models() tells what it has"
        raise UserError(f"timm knows no model {spec.name!r}; {hint}")
    known = get_arch_pretrained_cfgs(name)
    if tag and spec.name not in known:
        near = difflib.get_close_matches(spec.name, known, n=4, cutoff=0.0)
        raise UserError(f"timm knows no weights {spec.name!r}; it has {', '.join(near) or 'none'}")


def check_tag(spec: EncoderSpec) -> None:
    """Refuse a timm model whose name does not say which of its weights are meant."""
    if spec.name in OWN or "." in spec.name:
        return
    check_name(spec)
    from timm.models import get_arch_pretrained_cfgs

    known = [one for one in get_arch_pretrained_cfgs(spec.name) if "." in one]
    which = f"name it with its tag: {', '.join(known[:6])}" if known else "timm has none of it"
    raise UserError(
        f"{spec.name} does not say which pretrained weights; {which}; or name a file with"
        " --weights, or set weights: random"
    )


def _create(spec: EncoderSpec, **more: Any) -> nn.Module:
    """The network, by timm's own rules."""
    if spec.name in OWN:
        return OWN[spec.name]()
    import timm

    options = {**spec.options, **more}
    if spec.size is None:
        return timm.create_model(spec.name, **options)
    try:
        return timm.create_model(spec.name, img_size=spec.size, **options)
    except TypeError as error:
        if "img_size" not in str(error):
            raise
        # Convolutions take any size as they are.
        return timm.create_model(spec.name, **options)


def _skeleton(spec: EncoderSpec, **more: Any) -> nn.Module:
    """The network with weights drawn by its own rules."""
    check_name(spec)
    try:
        return _create(spec, **more)
    except (TypeError, ValueError, AssertionError, AttributeError, RuntimeError) as error:
        asked = ", ".join(f"{name}={value}" for name, value in spec.options.items())
        asked += "" if spec.size is None else f" size={spec.size}"
        raise UserError(f"{spec.name}: timm refuses {asked or 'it'} ({_short(error)})") from None


def _short(error: Exception) -> str:
    """A reason in a line; of a list of tensors that do not fit the first."""
    text = " ".join(str(error).split())
    for found, words in (
        (re.search(r'Missing key\(s\) in state_dict: "([^"]+)"', text), "it has no tensor {}"),
        (re.search(r'Unexpected key\(s\) in state_dict: "([^"]+)"', text), "it has a tensor {}"),
        (re.search(r"size mismatch for (\S+?):", text), "its tensor {} has another shape"),
    ):
        if found:
            return words.format(found[1])
    return text[:200]


def _load_own(network: nn.Module, path: Path) -> None:
    from safetensors.torch import load_file

    found = load_file(path)
    own = network.state_dict()
    # Heads that the features do not pass through may stay in the file.
    missing = sorted(set(own) - set(found))
    if missing:
        raise ValueError(f"it has no tensor {missing[0]}")
    network.load_state_dict({name: found[name] for name in own})


def _load_timm(spec: EncoderSpec, path: Path) -> nn.Module:
    """The network with every tensor from the file.

    timm insists on that only if the classifier's size is as in its configuration, and else leaves
    what it does not find at its random values: so the classifier stays, or is absent from both.
    """
    import timm

    file = {"file": str(path)}
    try:
        return _create(spec, pretrained=True, pretrained_cfg_overlay=file)
    except REFUSALS as first:
        bare = {**file, "num_classes": 0}
        try:
            return _create(spec, pretrained=True, pretrained_cfg_overlay=bare, num_classes=0)
        except REFUSALS:
            head = getattr(timm.get_pretrained_cfg(spec.name), "classifier", None)
            if isinstance(head, str) and f"{head}.weight" in _tensors(path):
                # The file has a head, so what the network with a head missed is the reason.
                raise first from None
            raise


def _tensors(path: Path) -> set[str]:
    from safetensors import safe_open

    with safe_open(path, framework="np") as content:
        return set(content.keys())


def megabytes(spec: EncoderSpec) -> float:
    """Size of an encoder's weights in single precision, from its architecture alone."""
    with torch.device("meta"):
        return 4e-6 * sum(one.numel() for one in _skeleton(spec).parameters())


def parameter_count(spec: EncoderSpec) -> int:
    """Parameters of an encoder without its classifier, from its architecture alone."""
    with torch.device("meta"):
        network = _skeleton(spec) if spec.name in OWN else _skeleton(spec, num_classes=0)
    return sum(part.numel() for part in network.parameters())


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
        check_name(spec)
        torch.manual_seed(spec.seed)
        if found.path is None:
            network = _skeleton(spec) if spec.name in OWN else _skeleton(spec, num_classes=0)
        else:
            network = self._filled(spec, found.path)
        self.network: Any = network.eval().to(device)
        # Vision transformers hand out the tokens beside the map, others the map alone.
        taken = getattr(network, "forward_intermediates", None)
        self.vit = hasattr(network, "num_prefix_tokens") and (
            taken is not None and "return_prefix_tokens" in inspect.signature(taken).parameters
        )
        if not self.vit and spec.name not in OWN and hasattr(network, "conv1"):
            self.network = self.network.to(memory_format=torch.channels_last)
        self.half = spec.precision_on(device) == HALF
        self.prepare = self._preprocessing()

    @staticmethod
    def _filled(spec: EncoderSpec, path: Path) -> nn.Module:
        try:
            if spec.name in OWN:
                network = _create(spec)
                _load_own(network, path)
            else:
                network = _load_timm(spec, path)
        except REFUSALS as error:
            raise CannotRun(
                f"{path}: does not fit {spec.name} ({_short(error)}); give a file with exactly"
                " its tensors, with or without the classifier"
            ) from None
        given = list(network.parameters())
        if not all(torch.isfinite(one).all() for one in given):
            raise CannotRun(f"{path}: holds weights that are not finite; download it again")
        if not any(one.any() for one in given):
            raise CannotRun(f"{path.name}: holds nothing but zeros; download it again")
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
        *shaping, normalise = transform.transforms
        if type(normalise).__name__ != "Normalize":
            return lambda image: transform(Image.fromarray(image).convert("RGB"))

        def prepare(image: np.ndarray) -> Any:
            # Three equal channels are shaped once; the result is the same to the last bit.
            made: Any = Image.fromarray(image)
            for step in shaping:
                made = step(made)
            return normalise(made.expand(3, -1, -1).clone())

        return prepare

    @property
    def at_once(self) -> int:
        """Images per forward pass that keep memory small and are fast."""
        return batch_size(self.side, half=self.half and torch.device(self.device).type == "cpu")

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
        try:
            with torch.autocast(kind, torch.bfloat16, enabled=self.half):
                maps = self._maps(given, list(dict.fromkeys(one.layer for one in outputs)))
        except (RuntimeError, TypeError, ValueError, IndexError, AttributeError) as error:
            raise UserError(
                f"{self.spec.name}: fails on images of {self.side} pixels ({_short(error)}); give"
                " another size, layer or encoder"
            ) from None
        return [_pooled(*maps[one.layer], one.pooling, self.spec.name) for one in outputs]

    def _maps(
        self, given: torch.Tensor, layers: list[Layer]
    ) -> dict[Layer, tuple[torch.Tensor | None, torch.Tensor]]:
        """Class token (if there is one) and map (images, channels, height, width) per layer."""
        network = self.network
        if layers == [LAST] and not self.vit:
            return {LAST: self._last(given)}
        if not hasattr(network, "forward_intermediates"):
            raise UserError(f"{self.spec.name}: only its last layer can be had")
        found: dict[Layer, tuple[torch.Tensor | None, torch.Tensor]] = {}
        blocks = [one for one in layers if one != LAST]
        if self.vit:
            wanted = [-1 if one == LAST else one for one in layers]
            if not network.num_prefix_tokens:
                made = [(one, None) for one in self._intermediates(given, wanted)]
            else:
                made = self._intermediates(given, wanted, return_prefix_tokens=True)
            for layer, (grid, prefix) in zip(layers, made, strict=True):
                found[layer] = (None if prefix is None else prefix[:, 0], grid)
            return found
        if LAST in layers:
            found[LAST] = self._last(given)
        for layer, grid in zip(blocks, self._intermediates(given, blocks), strict=True):
            found[layer] = (None, grid)
        return found

    def _last(self, given: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor]:
        """What comes out of the last layer, as token and map."""
        network, token = self.network, None
        made = network.forward_features(given)
        channels = getattr(network, "num_features", made.shape[1])
        if made.ndim == 3:
            prefix = int(getattr(network, "num_prefix_tokens", 0))
            token = made[:, 0] if prefix else None
            # Patches in a row: where they lay is lost unless they fill a square.
            rows = made[:, prefix:].transpose(1, 2)
            side = math.isqrt(rows.shape[2])
            made = rows.unflatten(2, (side, side) if side**2 == rows.shape[2] else (-1, 1))
        elif str(getattr(network, "output_fmt", "NCHW")).endswith("NHWC") or (
            made.ndim == 4 and made.shape[1] != channels == made.shape[3]
        ):
            made = made.permute(0, 3, 1, 2)
        if made.ndim != 4 or made.shape[1] != channels:
            raise UserError(
                f"{self.spec.name}: its features come in a shape {tuple(made.shape)} that is not"
                " known here; choose another encoder"
            )
        return token, made

    def _intermediates(self, given: torch.Tensor, wanted: list[Any], **more: Any) -> list[Any]:
        network = self.network
        # Swin and its kin count stages, not blocks.
        staged = not self.vit and getattr(network, "feature_info", None)
        count = len(network.feature_info if staged else network.blocks)
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


def batch_size(side: int, *, half: bool = False) -> int:
    """Images per forward pass that keep memory small: 32 at 224 pixels, one at 1024.

    With bfloat16 on a CPU half as many, which stay nearer to its cores: ViT-Tiny takes 214 images/s
    16 at a time, 203 with twice as many, 140 with four times as many.
    """
    return max(1, min(128, math.floor((16 if half else 32) * (224 / side) ** 2)))
