"""Networks of encoders without their weights, through timm (needs torch, and timm for its models).

Two have small definitions of their own, because timm does not hold them: SqueezeNet 1.1 and a
pruned VGG-19.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from etchmark.errors import UserError
from etchmark.features.spec import EncoderSpec

SQUEEZENET, PRUNED_VGG = "squeezenet1_1", "vgg19_16x"


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
        for name, inputs, outputs in self.LAYERS:
            self.add_module(name, nn.Conv2d(inputs, outputs, 3))

    def forward_features(self, images: torch.Tensor) -> torch.Tensor:
        maps = self.input_affine(images)
        for name, _, _ in self.LAYERS:
            padded = nn.functional.pad(maps, (1, 1, 1, 1), mode="reflect")
            maps = nn.functional.relu(getattr(self, name)(padded))
            if name in self.POOLED:
                maps = nn.functional.max_pool2d(maps, 2)
        return maps


class SqueezeNet(nn.Module):
    """SqueezeNet 1.1 of torchvision without its classifier (arXiv 1602.07360)."""

    def __init__(self) -> None:
        super().__init__()
        from torchvision.models import squeezenet1_1

        self.features = squeezenet1_1(weights=None).features

    def forward_features(self, images: torch.Tensor) -> torch.Tensor:
        return self.features(images)


OWN: dict[str, Callable[[], nn.Module]] = {SQUEEZENET: SqueezeNet, PRUNED_VGG: PrunedVGG}


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
