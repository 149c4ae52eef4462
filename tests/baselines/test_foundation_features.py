"""Frozen features, light regression: options, honesty about weights, the store in a real run."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

pytest.importorskip("torch", reason="torch (extra `features`) is not installed")
pytest.importorskip("timm", reason="timm (extra `features`) is not installed")

from etchmark.errors import UserError
from etchmark.evaluation.fold import load_build
from etchmark.learning.surfaces import mape
from etchmark.model import FeatureSeconds, Samples

FOLDER = Path(__file__).resolve().parents[2] / "baselines" / "foundation_features"
WEIGHTS = os.environ.get("ETCHMARK_WEIGHTS", "").strip()
SMALL = {
    "encoder": "vit_tiny_patch16_224",
    "weights": "random",
    "size": 32,
    "options": {"embed_dim": 32, "depth": 2, "num_heads": 2},
}


@pytest.fixture
def build(home: Path) -> Any:
    found = load_build(FOLDER / "model.py")
    yield found
    del sys.modules["model"]


def samples(rows: int, seed: int = 0, *, faces: bool = True, contrast: bool = False) -> Samples:
    """Faces of blocks whose fraction, and the contrast if it varies, decide the target."""
    generator = np.random.default_rng(seed)
    fraction = generator.uniform(0.2, 0.8, rows)
    cells = generator.random((3, rows, 6, 6)) < fraction[None, :, None, None]
    images = cells.repeat(4, axis=2).repeat(4, axis=3).astype(np.uint8)
    ratio = np.exp(generator.uniform(1, 4, rows)) if contrast else np.full(rows, 50.0)
    names = ("section_x", "section_y", "section_z") if faces else ("microstructure",)
    inputs: dict[str, Any] = dict(zip(names, images, strict=False))
    inputs["contrast"] = ratio
    seen = images[: len(names)].mean((0, 2, 3))
    return Samples(np.arange(rows).astype(str), inputs, np.exp(2 * seen) * ratio**0.5)


@pytest.mark.parametrize("sections", ["concatenate", "mean", "max"])
def test_faces_are_put_together(build: Any, sections: str) -> None:
    model = build(0, "cpu", **SMALL, head="ridge", sections=sections, pooling="mean")
    train, test = samples(120), samples(40, 1)
    found = model.fit(train).predict(test.inputs)
    assert found.shape == (40,)
    assert len(model.kept) == (96 if sections == "concatenate" else 32)
    # Better than the mean, by what the images say.
    assert mape(test.target, found) < 0.8 * mape(test.target, np.full(40, train.target.mean()))


@pytest.mark.parametrize(
    "head", ["pca-linear", "pca-quadratic", "ridge", "kernel-ridge", "gaussian-process"]
)
def test_every_head(build: Any, head: str) -> None:
    model = build(0, "cpu", **SMALL, head=head, sections="mean")
    train, validation, test = samples(100), samples(30, 1), samples(20, 2)
    found = model.fit(train, validation).predict(test.inputs)
    assert np.isfinite(found).all()
    assert model.parameter_count() > 0


def test_contrast_is_read_where_it_varies(build: Any) -> None:
    train, test = (samples(150, seed, faces=False, contrast=True) for seed in (0, 1))
    model = build(0, "cpu", **SMALL, pooling="mean").fit(train)
    assert model.reads_contrast
    off = mape(test.target, model.predict(test.inputs))
    blind = {**test.inputs, "contrast": np.full(150, 10.0)}
    assert off < 0.5 * mape(test.target, model.predict(blind))
    assert not build(0, "cpu", **SMALL).fit(samples(20)).reads_contrast


def test_pixels_need_no_encoder(build: Any) -> None:
    model = build(0, "cpu", encoder="pixels", pixels=6, head="ridge").fit(samples(80))
    assert len(model.kept) == 3 * 36
    assert model.made_with() == {"features": "108"}
    assert model.feature_seconds() == FeatureSeconds()


def test_micrographs_of_any_size_and_composition(build: Any) -> None:
    generator = np.random.default_rng(0)
    images = np.empty(30, dtype=object)
    for row in range(30):
        shape = generator.integers(40, 90, 2)
        images[row] = (generator.random(shape) < 0.5).astype(np.uint8) * 255
    columns = {f"{name}_at": generator.random(30) for name in ("Ni", "Cr")}
    given = Samples(
        np.arange(30).astype(str),
        {"micrograph": images, **columns},
        300 + 100 * columns["Cr_at"],
        np.repeat(["a", "b", "c"], 10),
    )
    model = build(0, "cpu", **SMALL, head="ridge", composition=True).fit(given)
    assert model.predict(given.inputs).shape == (30,)
    assert len(model.head.centres) == 2
    with pytest.raises(UserError, match="composition: there is none"):
        build(0, "cpu", **SMALL, composition=True).fit(
            Samples(given.ids, {"micrograph": images}, given.target, given.groups)
        )


def test_top_keeps_the_features_that_matter(build: Any) -> None:
    model = build(0, "cpu", **SMALL, head="ridge", sections="mean", pooling="mean", top=5)
    train, test = samples(150), samples(40, 1)
    model.fit(train)
    assert len(set(model.kept)) == len(model.kept) == 5
    assert model.made_with()["features"] == "5"
    found = mape(test.target, model.predict(test.inputs))
    assert found < mape(test.target, np.full(40, train.target.mean()))


def test_the_most_important_feature_is_found(build: Any) -> None:
    from etchmark.learning.surfaces import Data

    generator = np.random.default_rng(0)
    features = generator.normal(size=(200, 20)).astype("f4") * np.logspace(-2, 2, 20)
    target = np.exp(features[:, 3] / features[:, 3].std())
    order = sys.modules["model"].most_important(Data(features, np.empty((200, 0)), target))
    assert order[0] == 3


def test_what_it_was_made_with(build: Any) -> None:
    model = build(0, "cpu", **SMALL, precision="float32").fit(samples(20))
    assert model.made_with() == {
        "features": "96",
        "encoder": "vit_tiny_patch16_224",
        "weights": "random weights, seed 0",
        "precision": "float32",
    }
    assert model.feature_seconds().now >= model.feature_seconds().ever > 0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"head": "forest"}, "head 'forest': give one of"),
        ({"sections": "median"}, "sections 'median': give one of concatenate, mean, max"),
        ({"head": "ridge", "components": 4}, "ridge reads no principal components"),
        ({"components": 1000}, "so many make over 3300 terms"),
        ({"components": 0}, "components 0: give a whole number"),
        ({"top": -5}, "top -5: give a whole number"),
        ({"top": 1.5}, "top 1.5: give a whole number"),
        ({"encoder": "pixels", "pixels": 0}, "pixels 0"),
        ({"encoder": "pixels", "weights_file": "x.safetensors"}, "drop --weights"),
        ({"encoder": "vit_tiny_patch16_224.augreg_in21k"}, "names trained weights"),
        ({"composition": "yes"}, "composition 'yes': give true or false"),
        ({"views": {"turns": 3}}, "turns 3: give 1, 2 or 4"),
        ({"views": {"flips": "no"}}, "flips 'no': give true or false"),
        ({"views": {"shifts": 1.5}}, "shifts 1.5"),
        ({"views": "all"}, "views 'all': give turns, flips and shifts"),
        ({"layers": [True]}, "layer True"),
        ({"options": {"num_classes": 0}}, "a card cannot set 'num_classes'"),
        ({"options": {"pretrained_strict": False}}, "a card cannot set 'pretrained_strict'"),
        ({"size": 20.5}, "size 20.5"),
    ],
)
def test_odd_options(build: Any, change: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        build(0, "cpu", **{**SMALL, **change})


def test_layers_may_stand_alone(build: Any) -> None:
    for given, layers in (
        (1, [1]),
        ("last", ["last"]),
        (None, ["last"]),
        ([0, "last"], [0, "last"]),
    ):
        model = build(0, "cpu", **SMALL, layers=given)
        assert [one.layer for one in model.outputs] == layers


def test_volumes_are_refused(build: Any) -> None:
    volumes = Samples(
        np.array(["a"]), {"microstructure": np.zeros((1, 4, 4, 4), np.uint8)}, np.ones(1)
    )
    with pytest.raises(UserError, match="holds volumes; this model reads images or faces"):
        build(0, "cpu", **SMALL).fit(volumes)


# --- cuts and sizes ----------------------------------------------------------------------------

CUTS: dict[str, Any] = {
    "encoder": "vgg19_16x", "weights": "random", "pooling": "mean", "size": "images",
    "choose_layer": True, "layers": ["conv1_1", "conv3_1", "conv5_1"],
}  # fmt: skip


@pytest.mark.parametrize("head", ["pca-quadratic", "ridge", "kernel-ridge"])
def test_the_cut_is_the_layer_with_the_smallest_error_inside_the_training_samples(
    build: Any, head: str
) -> None:
    train, test = samples(60), samples(20, 1)

    def alone(layer: str, **more: Any) -> Any:
        params = {**CUTS, "choose_layer": False, "layers": layer, **more}
        return build(0, "cpu", **params, head=head).fit(train)

    # Layers are compared with one number of components; the best is fitted with any.
    fixed = {"components": 16} if head.startswith("pca") else {}
    errors = {layer: alone(layer, **fixed).head.left_out_error for layer in CUTS["layers"]}
    assert len(set(errors.values())) == 3
    best = min(errors, key=errors.__getitem__)
    model = build(0, "cpu", **CUTS, head=head).fit(train)
    assert model.made_with()["layer"] == best
    expected = alone(best).predict(test.inputs)
    np.testing.assert_allclose(model.predict(test.inputs), expected, rtol=1e-5)


def test_the_cut_is_chosen_on_validation_samples_where_there_are_some(build: Any) -> None:
    train, validation = samples(60), samples(30, 1)
    model = build(0, "cpu", **CUTS).fit(train, validation)
    errors = {}
    for layer in CUTS["layers"]:
        one = build(0, "cpu", **{**CUTS, "choose_layer": False, "layers": layer}, components=16)
        one.fit(train, validation)
        errors[layer] = mape(validation.target, one.predict(validation.inputs))
        assert one.head.left_out_error == pytest.approx(errors[layer])
    assert model.made_with()["layer"] == min(errors, key=errors.__getitem__)


def test_images_come_in_their_own_size(build: Any, tmp_path: Path) -> None:
    load = sys.modules["model"].load
    train = samples(40)
    model = build(0, "cpu", **CUTS, head="ridge").fit(train)
    assert model.encoder.size == 32  # images of 24 pixels
    # The size that the head was fitted with also serves images of another size.
    (tmp_path / "saved").mkdir()
    model.save(tmp_path / "saved")
    larger = {
        name: values.repeat(2, 1).repeat(2, 2) if values.ndim == 3 else values
        for name, values in train.inputs.items()
    }
    same = load(tmp_path / "saved", "cpu")
    assert same.encoder.size == 32
    np.testing.assert_array_equal(same.predict(larger), model.predict(larger))


def test_micrographs_of_several_sizes_come_in_the_encoders_own(build: Any) -> None:
    generator = np.random.default_rng(0)
    images = np.empty(8, dtype=object)
    for row in range(8):
        images[row] = (generator.random((40 + row, 50)) < 0.5).astype(np.uint8) * 255
    given = Samples(np.arange(8).astype(str), {"micrograph": images}, generator.random(8) + 1)
    assert build(0, "cpu", **CUTS, head="ridge").fit(given).encoder.size is None


@pytest.mark.parametrize(
    "change", [{"layers": ["conv1_1"]}, {"layers": None}, {"top": 4}, {"head": "gaussian-process"}]
)
def test_a_choice_needs_layers_and_an_error(build: Any, change: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="choose_layer: "):
        build(0, "cpu", **{**CUTS, **change})


# --- the card ----------------------------------------------------------------------------------


def test_random_weights_are_named_so_and_nothing_else_is() -> None:
    card = yaml.safe_load((FOLDER / "card.yaml").read_text(encoding="utf-8"))
    for name, variant in card["variants"].items():
        random = variant["params"].get("weights") == "random"
        assert random == ("random" in name), name
        assert random == ("random weights" in variant["title"]), name


TINY_VIT = {"embed_dim": 24, "depth": 2, "num_heads": 2}
TINY: dict[str, tuple[int, dict[str, Any], int]] = {
    "dinov2-vit-b14-registers": (56, TINY_VIT, 24),
    "dinov3-vit-s16": (48, TINY_VIT, 24),
    "dinov3-convnext-tiny": (64, {"depths": (1, 1, 1, 1), "dims": (4, 8, 12, 16)}, 16),
    "siglip2-vit-b16": (48, TINY_VIT, 24),
    "pe-spatial-vit-b16": (64, TINY_VIT, 24),
    "sam2-hiera-base-plus": (
        128,
        {"embed_dim": 8, "num_heads": 1, "stages": (1, 1, 3, 1), "global_att_blocks": (3,)},
        64,
    ),
    "micronet-resnet50": (64, {"layers": (1, 1, 1, 1)}, 2048),
}
"""Input, options and width of networks like those of entries whose weights are not here."""


@pytest.mark.parametrize("name", TINY)
def test_an_entry_without_rows_runs_as_a_tiny_network(build: Any, name: str) -> None:
    card = yaml.safe_load((FOLDER / "card.yaml").read_text(encoding="utf-8"))
    size, options, width = TINY[name]
    params = dict(card["variants"][name]["params"])
    bare = params.pop("encoder").partition(".")[0]
    params |= {"size": size, "options": options, "weights": "random", "precision": "float32"}
    train = samples(30)
    model = build(0, "cpu", bare, **params).fit(train)
    found = model.predict(train.inputs)
    assert len(model.kept) == 3 * width  # of three faces
    assert np.isfinite(found).all()
    assert np.ptp(found) > 0


def test_micronet_is_read_from_a_file_with_a_classifier_of_its_own(
    build: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import timm
    from safetensors.torch import save_file

    from etchmark.errors import CannotRun

    card = yaml.safe_load((FOLDER / "card.yaml").read_text(encoding="utf-8"))
    params = card["variants"]["micronet-resnet50"]["params"] | {"size": 64}
    train = samples(6)
    monkeypatch.setenv("ETCHMARK_WEIGHTS", str(tmp_path))
    with pytest.raises(CannotRun, match=rf"{params['local']}, .*ETCHMARK_WEIGHTS lacks"):
        build(0, "cpu", **params).fit(train)
    # Its 54 classes are kinds of micrographs, where ImageNet has 1,000.
    network = timm.create_model("resnet50", num_classes=54)
    save_file(network.state_dict(), tmp_path / params["local"])
    assert len(build(0, "cpu", **params).fit(train).kept) == 3 * 2048
    params = params | {"encoder": "resnet101"}
    with pytest.raises(CannotRun, match=r"does not fit resnet101"):
        build(0, "cpu", **params).fit(train)


def test_every_encoder_exists_with_its_tag() -> None:
    import timm

    from etchmark.features.networks import OWN

    card = yaml.safe_load((FOLDER / "card.yaml").read_text(encoding="utf-8"))
    for name, variant in card["variants"].items():
        encoder = variant["params"]["encoder"]
        if encoder == "pixels" or encoder in OWN:
            continue
        if variant["params"].get("weights") == "random":
            assert timm.is_model(encoder), name
        elif "." not in encoder:
            # Only a file of that name says which weights are meant.
            assert timm.is_model(encoder), name
            assert variant["params"]["local"].endswith(".safetensors"), name
        else:
            found = timm.get_pretrained_cfg(encoder)
            assert found is not None, name
            assert found.hf_hub_id == f"timm/{encoder}", name


# --- a real run --------------------------------------------------------------------------------


@pytest.fixture
def plain(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HF_HUB_CACHE", str(home / "hub"))
    return home


def test_without_weights_nothing_is_recorded(plain: Path, command: Callable[..., Any]) -> None:
    model = "foundation_features/vit-tiny-in21k"
    said = command("evaluate", model, "composite-stiffness-2d", "--mini").refusal()
    assert said.startswith("pretrained weights of vit_tiny_patch16_224.augreg_in21k_ft_in1k")
    assert "about 23 MB" in said
    assert "--weights" in said
    assert not (plain / "registry.sqlite").exists()


def test_a_wrong_setting_is_no_failure_of_the_model(
    plain: Path, command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ETCHMARK_WEIGHTS", str(plain / "nowhere"))
    model = "foundation_features/vit-tiny-in21k"
    said = command("evaluate", model, "composite-stiffness-2d", "--mini").refusal()
    assert said.startswith("ETCHMARK_WEIGHTS: ")
    assert "is not a folder" in said


def test_a_wrong_file_is_the_callers_mistake(
    plain: Path, command: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "w.safetensors").write_bytes(b"nothing")
    given = ("--mini", "--weights", tmp_path / "w.safetensors")
    model = "foundation_features/vit-tiny-in21k"
    said = command("evaluate", model, "composite-stiffness-2d", *given).refusal()
    assert "w.safetensors: is not a whole safetensors file" in said
    said = command("evaluate", "training_mean", "composite-stiffness-2d", *given).refusal()
    assert said == "training_mean reads no file of weights; drop --weights"
    missing = tmp_path / "none.safetensors"
    options = ("--mini", "--weights", missing)
    said = command("evaluate", model, "composite-stiffness-2d", *options).refusal()
    assert said == f"{missing}: does not exist; name a .safetensors file with --weights"


@pytest.mark.skipif(not WEIGHTS, reason="ETCHMARK_WEIGHTS was not set; it holds real weights")
def test_the_second_run_is_from_the_store(plain: Path, command: Callable[..., Any]) -> None:
    path = Path(WEIGHTS) / "vit_tiny_patch16_224.in21k_ft_in1k.safetensors"
    options = ("--mini", "--protocol", "iid", "--json", "--weights", path)
    model = "foundation_features/vit-tiny-in21k"
    import json

    first, second = (
        json.loads(command("evaluate", model, "composite-stiffness-2d", *options).stdout)
        for _ in range(2)
    )
    assert first["scores"] == second["scores"]
    assert first["made_with"]["weights"].startswith("vit_tiny_patch16_224.in21k_ft_in1k.safetens")
    assert str(path.parent) not in json.dumps(first)
    spent = first["cost"]["feature_seconds"]
    assert second["cost"]["feature_seconds"] == pytest.approx(spent, rel=1e-6)
    assert list((plain / "features").rglob("*.sqlite"))
    # Predicting is with the features of what is predicted, a part of all, though they were stored.
    assert second["cost"]["predict_seconds"] > 0.05 * spent
