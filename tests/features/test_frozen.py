"""What baselines on a frozen encoder share, without an encoder: features come from a stand-in."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from etchmark.errors import CannotRun, UserError
from etchmark.features import frozen
from etchmark.features.extract import Features
from etchmark.features.frozen import FrozenFeatures, encoder_named, shrunk
from etchmark.features.spec import EncoderSpec, Output
from etchmark.model import FeatureSeconds

PICTURES = [np.full((8, 8), level, dtype=np.uint8) for level in (0, 51, 255)]


class Head:
    def parameter_count(self) -> int:
        return 7


def model(encoder: EncoderSpec | None) -> FrozenFeatures:
    return FrozenFeatures(
        encoder, [Output("last", "mean")], Head(), pixels=2, device="cpu", weights=None
    )


@pytest.fixture
def stand_in(home: Any, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Features of weights with a hash that a test may change."""
    recipe = {"weights": "sha256:a", "precision": "float32"}

    def features(pictures: list[np.ndarray], *_: Any, **__: Any) -> Features:
        values = np.array([[each.mean()] for each in pictures], dtype=np.float32)
        return Features(values, (1,), 3.0, 0.5, 0.25, len(values), dict(recipe), "a file")

    monkeypatch.setattr(frozen, "features", features)
    return recipe


def test_pixels_are_means_of_grey_levels_between_0_and_1() -> None:
    image = np.zeros((4, 4), dtype=np.uint8)
    image[:2, 2:] = 255
    np.testing.assert_array_equal(shrunk(image, 2), [0, 1, 0, 0])
    assert len(shrunk(image, 32)) == 16
    plain = model(None)
    for precision in (np.float32, np.float64):
        found = plain.encode(PICTURES, precision)
        assert (found.shape, found.dtype) == ((3, 4), np.dtype(precision))
        np.testing.assert_allclose(found[:, 0], [0, 0.2, 1], rtol=1e-6)
    assert plain.made_with() == {}
    assert plain.weights_present() is None
    assert plain.total_parameter_count() == 7


def test_time_of_features_adds_up(stand_in: dict[str, str]) -> None:
    reader = model(EncoderSpec("squeezenet1_1"))
    assert reader.encode(PICTURES).dtype == np.float32
    reader.encode(PICTURES[:1])
    assert reader.feature_seconds() == FeatureSeconds(6.0, 1.0, 0.5)
    assert reader.made_with() == {
        "encoder": "squeezenet1_1",
        "weights": "a file",
        "precision": "float32",
    }


def test_time_that_features_have_taken_so_far_is_told(stand_in: dict[str, str]) -> None:
    reader = model(EncoderSpec("squeezenet1_1"))
    reader.began = (-5.0, -2.0)
    assert reader.feature_seconds().now > 5
    assert reader.feature_seconds().cpu_now > 2


def test_weights_other_than_those_of_the_fit_are_refused(stand_in: dict[str, str]) -> None:
    reader = model(EncoderSpec("squeezenet1_1"))
    reader.encode(PICTURES)
    reader.weights_id = reader.weights_present()
    reader.encode(PICTURES)
    stand_in["weights"] = "sha256:b"
    with pytest.raises(CannotRun, match=r"weights sha256:a, and those on this machine are sha25"):
        reader.encode(PICTURES)


def test_an_encoder_is_named() -> None:
    assert encoder_named("pixels", weights="random") is None
    found = encoder_named("vit_tiny_patch16_224", weights="random", size=32)
    assert found == EncoderSpec("vit_tiny_patch16_224", weights="random", size=32)
    with pytest.raises(UserError, match="random ones are of 'vit_tiny' alone"):
        encoder_named("vit_tiny.augreg", weights="random")
