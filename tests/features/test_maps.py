"""Hypercolumns: which pixel a number belongs to, what is kept, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch (extra `features`) is not installed")
pytest.importorskip("timm", reason="timm (extra `features`) is not installed")

from etchmark.errors import UserError  # noqa: E402
from etchmark.features.encoders import Encoder  # noqa: E402
from etchmark.features.maps import (  # noqa: E402
    MapReader,
    MapSpec,
    at_pixels,
    layer_maps,
    over_picture,
)
from etchmark.features.spec import EncoderSpec  # noqa: E402
from etchmark.model import FeatureSeconds  # noqa: E402

SIDES = (50, 70)
VGG = EncoderSpec("vgg19_16x", "random", precision="float32")
SMALL: dict[str, Any] = {"embed_dim": 32, "depth": 2, "num_heads": 2, "dynamic_img_size": True}
VIT = EncoderSpec("vit_tiny_patch16_224", "random", precision="float32", options=SMALL)
LAYERS = ("conv1_2", "conv2_2", "conv3_4")


def picture(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, SIDES).astype(np.uint8)


def test_maps_of_a_network_of_convolutions_have_their_own_grids() -> None:
    spec = MapSpec(VGG, LAYERS)
    maps = MapReader(spec, "cpu", None)(picture())
    assert spec.padded(SIDES) == (64, 80)
    assert [tuple(each.shape[1:]) for each in maps] == [(64, 80), (32, 40), (16, 20)]
    assert all(bool((each >= 0).all()) for each in maps), "they are read behind the rectifier"


def test_maps_at_half_size_cover_the_same_area() -> None:
    spec = MapSpec(VGG, LAYERS[:1], (1.0, 0.5))
    whole, half = MapReader(spec, "cpu", None)(picture())
    assert spec.padded(SIDES) == (64, 96)
    assert tuple(whole.shape[1:]) == (64, 96)
    assert tuple(half.shape[1:]) == (32, 48)


def test_tokens_are_laid_out_as_timm_lays_them_out() -> None:
    encoder = Encoder(VIT, MapReader(MapSpec(VIT, ("blocks.0",)), "cpu", None).weights)
    image = torch.rand(32, 48, generator=torch.Generator().manual_seed(0))
    (found,) = layer_maps(encoder, image, ["blocks.0"])
    with torch.inference_mode():
        expected = encoder.network.forward_intermediates(
            (image.expand(1, 3, -1, -1) - 0.5) / 0.5,
            indices=[0],
            norm=False,
            intermediates_only=True,
        )[0][0]
    assert tuple(found.shape) == (32, 2, 3)
    assert torch.allclose(found, expected, atol=1e-5)


def test_pixels_and_whole_pictures_are_read_alike() -> None:
    spec = MapSpec(VGG, LAYERS)
    maps = MapReader(spec, "cpu", None)(picture())
    padded = spec.padded(SIDES)
    places = np.array([0, 69, 70 * 25 + 31, 70 * 50 - 1])
    columns = at_pixels(maps, places, SIDES, padded)
    whole = torch.cat([over_picture(each, SIDES, padded) for each in maps])
    assert torch.allclose(columns, whole.flatten(1).T[places], atol=1e-4)


def test_maps_are_computed_once(tmp_path: Path) -> None:
    reader = MapReader(MapSpec(VGG, LAYERS), "cpu", tmp_path)
    first = reader(picture())
    took = reader.spent()
    assert took.now > 0
    again = MapReader(MapSpec(VGG, LAYERS), "cpu", tmp_path)
    assert all(
        bool((one == other).all()) for one, other in zip(first, again(picture()), strict=True)
    )
    assert again.spent() == FeatureSeconds(ever=took.ever)
    again(picture())
    assert again.spent() == FeatureSeconds(ever=took.ever), "a picture counts once"
    # Other layers are others maps, and a damaged file is written again.
    other = MapReader(MapSpec(VGG, LAYERS[:2]), "cpu", tmp_path)
    assert len(other(picture())) == 2
    (file,) = (tmp_path / f"maps-{reader.key}").iterdir()
    file.write_bytes(file.read_bytes()[:100])
    fixed = MapReader(MapSpec(VGG, LAYERS), "cpu", tmp_path)
    assert torch.equal(fixed(picture())[0], first[0])
    assert fixed.spent().now > 0


def test_what_is_refused() -> None:
    with pytest.raises(UserError, match="give at least one"):
        MapSpec(VGG, ())
    with pytest.raises(UserError, match=r"scales \[3\.0\]: give some of 0\.25, 0\.5, 1\.0, 2\.0"):
        MapSpec(VGG, LAYERS, (3.0,))
    with pytest.raises(UserError, match="has no layer 'conv9_1'"):
        MapReader(MapSpec(VGG, ("conv9_1",)), "cpu", None)(picture())
