"""Which names a reader could take for each other, and which not."""

from __future__ import annotations

import pytest

from etchmark.catalog import Catalog
from etchmark.names import alike, first_alike

ALIKE = [
    ("training_mean", "training_mean"),
    ("Training_Mean", "training_mean"),
    ("training\u200b_mean", "training_mean"),
    ("training\u2060_mean", "training_mean"),
    ("\u202etraining_mean", "training_mean"),
    ("training\ufe0f_mean", "training_mean"),
    ("training\u3164_mean", "training_mean"),
    ("tr\u0430ining_me\u0430n", "training_mean"),  # Cyrillic a
    ("training\uff3fmean", "training_mean"),  # full width
    ("ridge/cubic-Iog", "ridge/cubic-log"),  # capital I for l
    ("ridge/cubic-1og", "ridge/cubic-log"),
    ("rnodel", "model"),
    ("IMAGE_CNN", "image_cnn"),
    ("re\u0301sume\u0301", "résumé"),
    ("cnn\u2010small", "cnn-small"),
    ("a\u00a0model", "a model"),
    ("a  model", "a model"),
    ("a\u3000model", "a model"),
    ("a\u2800model", "a model"),
    ("a\u3164model", "a model"),
    ("training _mean", "training_mean"),
    ("training\u2065_mean", "training_mean"),
    ("training\ufff8_mean", "training_mean"),
    ("training\U00016fe4_mean", "training_mean"),
    ("training\U0001d159_mean", "training_mean"),
    ("training\ufffc_mean", "training_mean"),
    ("training\u0378_mean", "training_mean"),
    ("training\ue000_mean", "training_mean"),
]
APART = [
    ("β-VAE", "b-VAE"),
    ("β-VAE", "α-VAE"),
    ("ridge", "bridge"),
    ("cnn-2", "cnn-3"),
    ("training mean", "training_mean"),
    ("модель", "model"),
    ("模型", "模式"),
    ("naïve", "naive"),
]


@pytest.mark.parametrize(("name", "other"), ALIKE)
def test_names_that_look_alike(name: str, other: str) -> None:
    assert alike(name, other)
    assert alike(other, name)


@pytest.mark.parametrize(("name", "other"), APART)
def test_names_that_do_not(name: str, other: str) -> None:
    assert not alike(name, other)


def test_the_name_that_is_resembled_is_told() -> None:
    assert first_alike("T\u043ey", ["boy", "toy", "TOY"]) == "toy"
    assert first_alike("toys", ["boy", "toy"]) is None


def test_no_two_baselines_look_alike() -> None:
    from etchmark.catalog import content_root

    names = Catalog(content_root()).model_names()
    assert len(names) > 50
    for at, name in enumerate(names):
        assert first_alike(name, names[:at]) is None
