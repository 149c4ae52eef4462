"""The image networks: their size, their symmetries, and that they learn and go on learning."""

from __future__ import annotations

import itertools
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest
from model_module import model_module

torch = pytest.importorskip("torch")

from etchmark.catalog import Catalog  # noqa: E402
from etchmark.learning import training  # noqa: E402
from etchmark.model import Model, Samples  # noqa: E402
from etchmark.simulation import bounds  # noqa: E402
from etchmark.simulation import microstructures as generate  # noqa: E402
from etchmark.simulation.homogenization import homogenize  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
FACES = ("section_x", "section_y", "section_z")
DESIGNS = ("sections", "images")
TINY = {"epochs": 2, "batch": 4, "pool": 3, "widths": [4, 4], "blocks": [1, 1]}

pytestmark = pytest.mark.usefixtures("alone")
cnn2d = model_module("cnn2d")


def _samples(design: str, rows: int = 8, cells: int = 12, seed: int = 0) -> Samples:
    """Noise of different volume fractions, with a target between the bounds that follows them."""
    generator = np.random.default_rng(seed)
    fraction, contrast = np.linspace(0.2, 0.8, rows), np.geomspace(200, 5, rows)
    limits = fraction[:, None, None]
    names = FACES if design == "sections" else ("microstructure",)
    inputs = {
        name: (generator.random((rows, cells, cells)) < limits).astype(np.uint8) for name in names
    }
    fraction = np.mean([images.mean(axis=(1, 2)) for images in inputs.values()], axis=0)
    low, high = (bound(fraction, contrast, ndim=2) for bound in (bounds.reuss, bounds.voigt))
    inputs["contrast"] = contrast
    ids = np.array([f"s{row}" for row in range(rows)], dtype=object)
    return Samples(ids, inputs, np.sqrt(low * high) * generator.uniform(0.9, 1.1, rows))


def _built(design: str, seed: int = 0, **params):
    return cnn2d.build(seed=seed, device="cpu", **{**TINY, "design": design, **params})


def _percent(model, samples: Samples) -> float:
    return training.percent_error(model.predict(samples.inputs), samples.target)


# --- what they are -----------------------------------------------------------------------------


@pytest.mark.parametrize(("variant", "parameters"), [("sections", 366_721), ("images", 408_065)])
def test_parameters_of_the_cards_networks(variant, parameters):
    model = cnn2d.build(0, "cpu", **Catalog(ROOT).model(f"cnn2d/{variant}").params)
    assert isinstance(model, Model)
    network = cnn2d.SectionsNetwork if variant == "sections" else cnn2d.ImagesNetwork
    assert training.parameter_count(network(model.size, model.dropout)) == parameters


@pytest.mark.parametrize(("variant", "cells"), list(itertools.product(DESIGNS, [24, 51, 64, 128])))
def test_the_cards_networks_read_images_of_every_config(variant, cells):
    model = cnn2d.build(0, "cpu", **Catalog(ROOT).model(f"cnn2d/{variant}").params)
    image = torch.zeros(2, cells, cells, dtype=torch.uint8)
    if variant == "sections":
        network, given = cnn2d.SectionsNetwork(model.size, 0), dict.fromkeys(FACES, image)
    else:
        network = cnn2d.ImagesNetwork(model.size, 0)
        given = {"microstructure": image, "contrast": torch.zeros(2)}
    with torch.inference_mode():
        assert network(given).shape == (2,)


def test_another_design_is_refused():
    with pytest.raises(ValueError, match="'faces'"):
        cnn2d.build(0, "cpu", design="faces", epochs=1)


# --- symmetries --------------------------------------------------------------------------------


def _same_but_for_shifts(one: np.ndarray, other: np.ndarray) -> bool:
    shifts = itertools.product(*map(range, one.shape))
    return any(np.array_equal(np.roll(one, shift, (0, 1)), other) for shift in shifts)


def _mirrored(volume: np.ndarray, axis: int) -> np.ndarray:
    """Mirrored about the first layer, which thus remains the first."""
    return np.roll(np.flip(volume, axis), 1, axis)


def test_varied_faces_are_those_of_an_equivalent_volume_but_for_shifts():
    generator = np.random.default_rng(0)
    volume = (generator.random((5, 5, 5)) < 0.5).astype(np.uint8)
    equivalent = []
    for axes in itertools.product((False, True), repeat=3):
        moved = volume
        for axis in np.flatnonzero(axes):
            moved = _mirrored(moved, axis)
        equivalent += [generate.sections(moved), generate.sections(moved.swapaxes(1, 2))]

    def which(faces: dict[str, np.ndarray]) -> int:
        found = [
            number
            for number, one in enumerate(equivalent)
            if all(_same_but_for_shifts(one[name], faces[name]) for name in FACES)
        ]
        assert len(found) == 1
        return found[0]

    faces = generate.sections(volume)
    seen = {which(cnn2d.varied_faces(faces, generator)) for _ in range(150)}
    assert seen == set(range(16))
    views = cnn2d.face_views({name: torch.from_numpy(face)[None] for name, face in faces.items()})
    assert (
        len({which({name: face[0].numpy() for name, face in view.items()}) for view in views}) == 4
    )


def test_what_augmentation_does_to_an_image_leaves_c1111_as_it_is():
    generator = np.random.default_rng(1)
    image = (generator.random((7, 7)) < 0.4).astype(np.uint8)

    def c1111(one: np.ndarray) -> float:
        return float(homogenize(np.ascontiguousarray(one), 50.0, loads=[0]).stiffness[0, 0])

    expected = c1111(image)
    made = [cnn2d.varied_image({"m": image}, generator)["m"] for _ in range(6)]
    given = {"microstructure": torch.from_numpy(image)[None], "contrast": torch.zeros(1)}
    views = [view["microstructure"][0].numpy() for view in cnn2d.image_views(given)]
    np.testing.assert_allclose([c1111(one) for one in made + views], expected, rtol=1e-5)
    assert len({one.tobytes() for one in made}) == 6
    assert len({one.tobytes() for one in views}) == 4
    # Exchanging the axes does not: the check can tell.
    assert abs(c1111(image.T) / expected - 1) > 1e-3


def _moved(samples: Samples, how) -> dict[str, np.ndarray]:
    return {
        name: how(array) if array.ndim == 3 else array for name, array in samples.inputs.items()
    }


@pytest.mark.parametrize("design", DESIGNS)
def test_shifts_by_whole_cells_of_the_coarsest_grid_change_nothing(design):
    samples = _samples(design)
    model = _built(design).fit(samples, None)
    found = model.predict(samples.inputs)
    moved = _moved(samples, lambda images: np.roll(images, (6, -6), (1, 2)))
    np.testing.assert_allclose(model.predict(moved), found, rtol=1e-5)
    other = model.predict(_moved(samples, lambda images: images[::-1]))
    assert np.abs(other / found - 1).max() > 1e-3


@pytest.mark.parametrize("cells", [12, 15])
def test_equivalent_faces_are_predicted_the_same(cells):
    samples = _samples("sections", cells=cells)
    model = _built("sections").fit(samples, None)
    found = model.predict(samples.inputs)
    turned = _moved(samples, lambda images: images[:, ::-1, ::-1])
    np.testing.assert_allclose(model.predict(turned), found, rtol=1e-5)
    x, y, z = (samples.inputs[name] for name in FACES)
    exchanged = dict(zip(FACES, (x.swapaxes(1, 2), z, y), strict=True))
    np.testing.assert_allclose(model.predict(exchanged), found, rtol=1e-5)
    # The face across x is told from those along it.
    wrong = dict(zip(FACES, (y, x, z), strict=True))
    assert np.abs(model.predict(wrong) / found - 1).max() > 1e-4


@pytest.mark.parametrize("cells", [12, 15])
def test_mirrored_images_are_predicted_the_same(cells):
    samples = _samples("images", cells=cells)
    model = _built("images").fit(samples, None)
    found = model.predict(samples.inputs)
    for axis in (1, 2):
        mirrored = _moved(samples, lambda images, axis=axis: np.flip(images, axis))
        np.testing.assert_allclose(model.predict(mirrored), found, rtol=1e-5)


def test_contrast_reaches_both_the_blocks_and_the_head():
    network = cnn2d.ImagesNetwork(cnn2d.Size(3, (4, 4), (1, 1)), 0.0)
    for block in network.encoder.modules():
        if isinstance(block, cnn2d.Residual):
            torch.nn.init.normal_(block.second.conv.weight)
    image = (torch.rand(1, 12, 12) < 0.5).to(torch.uint8)
    features = [network.encoder(image, torch.tensor([value])) for value in (-1.0, 1.0)]
    assert not torch.allclose(features[0], features[1])
    network.head[1].weight.grad = None
    network({"microstructure": image, "contrast": torch.ones(1)}).backward()
    assert network.head[1].weight.grad[:, -1].abs().sum() > 0


def test_predictions_from_images_stay_between_the_bounds():
    samples = _samples("images")
    model = _built("images").fit(samples, None)
    fraction = samples.inputs["microstructure"].mean(axis=(1, 2))
    for bias, limit in ((-1e3, bounds.reuss), (1e3, bounds.voigt)):
        torch.nn.init.constant_(model.network.head[-1].bias, bias)
        expected = limit(fraction, samples.inputs["contrast"], ndim=2)
        np.testing.assert_allclose(model.predict(samples.inputs), expected, rtol=1e-9)


# --- learning ----------------------------------------------------------------------------------


@pytest.mark.parametrize("design", DESIGNS)
def test_eight_samples_are_learnt_by_heart(design):
    samples = _samples(design, cells=6)
    mean = np.full(8, samples.target.mean())
    assert training.percent_error(mean, samples.target) > 20
    params = {"epochs": 120, "batch": 8, "learning_rate": 2e-2, "widths": [8, 8]}
    assert _percent(_built(design, **params).fit(samples, None), samples) < 10


class Interrupted(Exception):
    """Stands for whatever ends a process."""


@pytest.mark.parametrize("design", DESIGNS)
def test_equal_seeds_give_equal_predictions_also_after_an_interruption(design, monkeypatch, capsys):
    samples, validation = _samples(design, 4, 6), _samples(design, 4, 6, seed=1)

    def fitted(seed: int = 0) -> np.ndarray:
        model = _built(design, seed, dropout=0.2).fit(samples, validation)
        return model.predict(samples.inputs)

    first = fitted()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == ["epoch 1/2", "epoch 2/2"]
    assert all(", validation MAPE " in line for line in lines)
    Path("checkpoint.safetensors").unlink()
    one_epoch = training._epoch

    def interrupted(state, *arguments):
        if state.epoch == 1:
            raise Interrupted
        return one_epoch(state, *arguments)

    with monkeypatch.context() as patched:
        patched.setattr(training, "_epoch", interrupted)
        with pytest.raises(Interrupted):
            fitted()
    capsys.readouterr()
    np.testing.assert_array_equal(fitted(), first)
    assert capsys.readouterr().out.startswith("checkpoint.safetensors: 1 epochs done\n")
    assert not np.array_equal(fitted(seed=1), first)
    assert capsys.readouterr().out.startswith(
        "checkpoint.safetensors: of another training; ignored\n"
    )


@pytest.mark.parametrize("design", DESIGNS)
@pytest.mark.filterwarnings("error")
def test_what_the_harness_hands_out_is_enough(design):
    """Arrays that cannot be written to, from a mapping that is not a dictionary; no validation."""
    samples = _samples(design, rows=4, cells=6)
    for array in samples.inputs.values():
        array.flags.writeable = False
    given = MappingProxyType(dict(samples.inputs))
    model = _built(design)
    model.fit(Samples(samples.ids.astype(str), given, samples.target), None)
    found = model.predict(given)
    assert found.shape == (4,)
    assert found.dtype == np.float64
    # Rows keep their order, whoever stands beside them.
    alone = model.predict({name: array[2:3] for name, array in given.items()})
    np.testing.assert_allclose(alone, found[2:3], rtol=1e-5)
    assert model.parameter_count() > 100


def test_inputs_of_another_shape_are_refused():
    inputs = {"microstructure": np.zeros((1, 4)), "contrast": np.ones(1)}
    with pytest.raises(ValueError, match=r"is not \(samples, n, n\)"):
        _built("images").fit(Samples(np.array(["a"]), inputs, np.ones(1)), None)
