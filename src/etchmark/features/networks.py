"""Networks of encoders without their weights, through timm (needs torch, and timm for its models).

Three have small definitions of their own, because timm does not hold them: SqueezeNet 1.1, VGG-19
with normalised filters, and a pruned VGG-19.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal

import torch
from torch import nn

from etchmark.errors import UserError
from etchmark.features.spec import EncoderSpec

SQUEEZENET, PRUNED_VGG, VGG19 = "squeezenet1_1", "vgg19_16x", "vgg19_normalised"


class Sequence(nn.Module):
    """A network of one layer after another, any of which can be read.

    Attributes:
        layer_names: of the layers that can be read, each after its nonlinearity.
        feature_info: one entry per layer, as timm has it.
    """

    layer_names: tuple[str, ...]

    @property
    def feature_info(self) -> list[dict[str, str]]:
        return [{"module": name} for name in self.layer_names]

    def forward_maps(self, images: torch.Tensor, last: int) -> Iterator[torch.Tensor]:
        """Maps of the layers up to number ``last``, in order; RGB in, as ``prepare`` leaves it."""
        raise NotImplementedError

    def forward_features(self, images: torch.Tensor) -> torch.Tensor:
        *_, maps = self.forward_maps(images, len(self.layer_names) - 1)
        return maps

    def forward_intermediates(
        self, images: torch.Tensor, *, indices: list[int], **_: Any
    ) -> list[torch.Tensor]:
        """Maps of some layers, by their numbers in rising order."""
        maps = enumerate(self.forward_maps(images, max(indices)))
        return [each for number, each in maps if number in set(indices)]


class VGG(Sequence):
    """The 3 x 3 convolutions of a VGG network, each followed by a rectifier; RGB in 0..1.

    ``convB_I`` is convolution I of block B; a 2 x 2 max-pool stands between blocks. Random weights
    are drawn after He et al. (2015), DOI 10.1109/ICCV.2015.123, so that maps neither die out nor
    grow with depth. Source: Simonyan & Zisserman, DOI 10.48550/arXiv.1409.1556.

    Args:
        channels: of every convolution, one sequence per block.
        padding: ``zeros`` or ``reflect``, by one pixel.
    """

    def __init__(
        self, channels: Iterable[Iterable[int]], padding: Literal["zeros", "reflect"]
    ) -> None:
        super().__init__()
        names, inputs = [], 3
        for block, widths in enumerate(channels, 1):
            for place, outputs in enumerate(widths, 1):
                names.append(f"conv{block}_{place}")
                convolution = nn.Conv2d(inputs, outputs, 3, padding=1, padding_mode=padding)
                nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
                nn.init.zeros_(convolution.bias)  # pyright: ignore[reportArgumentType]
                self.add_module(names[-1], convolution)
                inputs = outputs
        self.layer_names = tuple(names)

    def normalised(self, images: torch.Tensor) -> torch.Tensor:
        """What the first convolution reads."""
        raise NotImplementedError

    def forward_maps(self, images: torch.Tensor, last: int) -> Iterator[torch.Tensor]:
        maps = self.normalised(images)
        for number, name in enumerate(self.layer_names[: last + 1]):
            if number and name.endswith("_1"):
                maps = nn.functional.max_pool2d(maps, 2)
            maps = nn.functional.relu(getattr(self, name)(maps))
            yield maps


class NormalisedVGG19(VGG):
    """VGG-19 without its classifier, scaled so that filters respond alike to natural pictures.

    Reads RGB in 0..1. Source of the scaling: Gatys, Ecker & Bethge, NeurIPS 2015, DOI
    10.48550/arXiv.1505.07376.
    """

    BGR_MEAN = (103.939, 116.779, 123.68)

    def __init__(self) -> None:
        super().__init__([[64] * 2, [128] * 2, [256] * 4, [512] * 4, [512] * 4], "zeros")

    def normalised(self, images: torch.Tensor) -> torch.Tensor:
        mean = torch.tensor(self.BGR_MEAN, dtype=images.dtype, device=images.device)
        return 255 * images.flip(1) - mean[:, None, None]


class PrunedVGG(VGG):
    """VGG-19 up to relu5_1, pruned to about a sixteenth of its parameters.

    Reads RGB in 0..1. Source: Wang et al., Collaborative Distillation for Ultra-Resolution
    Universal Style Transfer, CVPR 2020, DOI 10.1109/CVPR42600.2020.00193.
    """

    def __init__(self) -> None:
        super().__init__([[16] * 2, [32] * 2, [64] * 4, [128] * 4, [128]], "reflect")
        self.input_affine = nn.Conv2d(3, 3, 1)

    def normalised(self, images: torch.Tensor) -> torch.Tensor:
        return self.input_affine(images)


class SqueezeNet(Sequence):
    """SqueezeNet 1.1 of torchvision without its classifier (arXiv 1602.07360)."""

    layer_names = ("conv1", *(f"fire{number}" for number in range(2, 10)))

    def __init__(self) -> None:
        super().__init__()
        from torchvision.models import squeezenet1_1

        self.features = squeezenet1_1(weights=None).features

    def forward_maps(self, images: torch.Tensor, last: int) -> Iterator[torch.Tensor]:
        maps, number = images, 0
        for step in self.features:
            maps = step(maps)
            # The first convolution ends with its rectifier, a fire module has its own.
            if not isinstance(step, nn.Conv2d | nn.MaxPool2d):
                yield maps
                number += 1
            if number > last:
                return


OWN: dict[str, Callable[[], Sequence]] = {
    SQUEEZENET: SqueezeNet,
    PRUNED_VGG: PrunedVGG,
    VGG19: NormalisedVGG19,
}


def check_name(spec: EncoderSpec) -> None:
    """Refuse a name or tag that timm does not have."""
    if spec.name in OWN:
        if spec.options:
            raise UserError(f"{spec.name} takes no options; remove them")
        return
    import timm
    from timm.models import get_arch_pretrained_cfgs

    name, _, tag = spec.name.partition(".")
    if not timm.is_model(name):
        near = difflib.get_close_matches(name, timm.list_models(), n=4)
        hint = f"did you mean {', '.join(near)}" if near else "timm.list_models() lists its models"
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

    known = [name for name in get_arch_pretrained_cfgs(spec.name) if "." in name]
    which = (
        f"name it with its tag: {', '.join(known[:6])}" if known else "timm has no weights of it"
    )
    raise UserError(
        f"{spec.name} does not say which pretrained weights; {which}; or name a file with"
        " --weights, or set weights: random"
    )


def create(spec: EncoderSpec, **more: Any) -> nn.Module:
    """The network as timm creates it."""
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
        # Convolutional networks take no size: they read images of any.
        return timm.create_model(spec.name, **options)


def skeleton(spec: EncoderSpec, **more: Any) -> nn.Module:
    """The network with random weights; UserError if timm refuses its options."""
    check_name(spec)
    try:
        return create(spec, **more)
    except (TypeError, ValueError, AssertionError, AttributeError, RuntimeError) as error:
        options = ", ".join(f"{name}={value}" for name, value in spec.options.items())
        options += "" if spec.size is None else f" size={spec.size}"
        raise UserError(
            f"{spec.name}: timm refuses {options or 'it'} ({short_reason(error)}); change"
            " options and size"
        ) from None


def short_reason(error: Exception) -> str:
    """An error in one line; of many tensors that do not fit, the first."""
    text = " ".join(str(error).split())
    for match, words in (
        (re.search(r'Missing key\(s\) in state_dict: "([^"]+)"', text), "it has no tensor {}"),
        (re.search(r'Unexpected key\(s\) in state_dict: "([^"]+)"', text), "it has a tensor {}"),
        (re.search(r"size mismatch for (\S+?):", text), "its tensor {} has another shape"),
    ):
        if match:
            return words.format(match[1])
    return text[:200]


def megabytes(spec: EncoderSpec) -> float:
    """Size of an encoder's weights in single precision, from its architecture alone."""
    with torch.device("meta"):
        return 4e-6 * sum(tensor.numel() for tensor in skeleton(spec).parameters())


def parameter_count(spec: EncoderSpec) -> int:
    """Parameters of an encoder without its classifier, from its architecture alone."""
    with torch.device("meta"):
        network = skeleton(spec) if spec.name in OWN else skeleton(spec, num_classes=0)
    return sum(tensor.numel() for tensor in network.parameters())
