"""The volume networks: their size, their symmetries, and that they learn and go on learning."""

from __future__ import annotations

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
from etchmark.simulation.homogenization import homogenize  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "baselines" / "cnn3d"
CONTRAST = 50.0
YANG = (16, 32, 64, 128, 256)
LAYERS, PARTS = ("first", "second"), ("weight", "bias")
TINY = {"design": "periodic", "epochs": 2, "batch": 4, "widths": [4, 4], "blocks": [1, 1]}

pytestmark = pytest.mark.usefixtures("alone")
cnn3d = model_module("cnn3d")


def _samples(rows: int = 8, cells: int = 12, seed: int = 0) -> Samples:
    """Noise of different volume fractions, with a target between the bounds that follows them."""
    generator = np.random.default_rng(seed)
    volumes = generator.random((rows, cells, cells, cells))
    fractions = np.linspace(0.2, 0.8, rows)[:, None, None, None]
    microstructure = (volumes < fractions).astype(np.uint8)
    contrast = np.full(rows, CONTRAST)
    fraction = microstructure.mean(axis=(1, 2, 3))
    target = np.sqrt(bounds.reuss(fraction, contrast) * bounds.voigt(fraction, contrast))
    target *= generator.uniform(0.9, 1.1, rows)
    ids = np.array([f"s{row}" for row in range(rows)], dtype=object)
    return Samples(ids, {"microstructure": microstructure, "contrast": contrast}, target)


def _fitted(samples: Samples, seed: int = 0, **params):
    return cnn3d.build(seed=seed, device="cpu", **{**TINY, **params}).fit(samples)


# --- what they are -----------------------------------------------------------------------------


def _of_card(variant: str) -> dict:
    return Catalog(ROOT).model(f"cnn3d/{variant}").params


def test_parameters_of_the_published_network():
    network = cnn3d.YangNetwork(51, YANG)
    convolutions = 448 + 13_856 + 55_360 + 221_312 + 884_992
    dense = (2048 + 1) * 2048 + (2048 + 1) * 1024 + 1025
    assert training.parameter_count(network) == convolutions + dense == 7_471_521


def test_parameters_of_the_periodic_network():
    model = cnn3d.build(0, "cpu", **_of_card("periodic"))
    fine = (27 * 27 + 1) * 32 + 2 * 2 * (27 * 32 + 1) * 32
    coarse = (32 + 1) * 64 + 3 * 2 * (27 * 64 + 1) * 64
    dense = (32 + 64 + 1) * 128 + 128 + 1
    found = training.parameter_count(cnn3d.PeriodicNetwork(**model.design))
    assert found == fine + coarse + dense == 812_673


@pytest.mark.parametrize("cells", [24, 51])
@pytest.mark.parametrize("design", ["yang", "periodic"])
def test_the_cards_networks_read_volumes_of_every_config(design, cells):
    model = cnn3d.build(0, "cpu", **_of_card(design))
    if design == "yang":
        network = cnn3d.YangNetwork(cells, YANG)
    else:
        network = cnn3d.PeriodicNetwork(**model.design)
    with torch.inference_mode():
        found = network(torch.zeros(1, cells, cells, cells, dtype=torch.uint8))
    assert found.shape == (1,)
    assert isinstance(model, Model)


def test_another_design_is_refused():
    with pytest.raises(ValueError, match="'resnet'"):
        cnn3d.build(0, "cpu", design="resnet", epochs=1)


def test_kept_models_load_and_predict_as_before():
    """Names of the weights, and outputs for weights of a fixed seed, are those of version 0.1."""
    torch.manual_seed(7)
    network = cnn3d.PeriodicNetwork(3, (3, 5), (1, 2))
    assert {name for name in network.state_dict() if name.startswith(("levels.1.1", "halves"))} == {
        *(f"levels.1.1.{layer}.conv.{part}" for layer in LAYERS for part in PARTS),
        *(f"halves.0.mix.{part}" for part in PARTS),
    }
    # The second convolution of a block starts at zero; with other weights it counts.
    generator = np.random.default_rng(0)
    with torch.no_grad():
        for part in network.parameters():
            part += torch.from_numpy(generator.normal(0, 0.1, part.shape)).float()
        volumes = torch.from_numpy((generator.random((2, 13, 13, 13)) < 0.4).astype(np.uint8))
        outputs = network(volumes)
    assert outputs.tolist() == pytest.approx([0.0569235, 0.2592369], abs=1e-5)


# --- symmetries --------------------------------------------------------------------------------


def test_what_augmentation_does_leaves_c1111_as_it_is():
    generator = np.random.default_rng(1)
    volume = (generator.random((5, 5, 5)) < 0.4).astype(np.uint8)

    def c1111(one: np.ndarray) -> float:
        return float(homogenize(np.ascontiguousarray(one), CONTRAST, loads=[0]).stiffness[0, 0])

    expected = c1111(volume)
    made = [cnn3d.varied(volume, generator) for _ in range(6)]
    np.testing.assert_allclose([c1111(one) for one in made], expected, rtol=1e-5)
    assert len({one.tobytes() for one in made}) == 6
    # Exchanging x and y does not: the check can tell.
    assert abs(c1111(volume.swapaxes(0, 1)) / expected - 1) > 1e-3


def test_augmentation_reaches_every_symmetry_that_keeps_the_x_axis():
    class Chosen:
        """A generator that shifts nothing and then gives what is asked for."""

        def __init__(self, exchanged: int, signs: tuple[int, ...]) -> None:
            self.exchanged, self.signs = exchanged, signs

        def integers(self, *limits):
            return self.exchanged if len(limits) == 1 else np.zeros(3, dtype=int)

        def choice(self, values, count):
            return np.array(self.signs)

    volume = np.arange(27).reshape(3, 3, 3)
    signs = [(a, b, c) for a in (-1, 1) for b in (-1, 1) for c in (-1, 1)]
    made = [cnn3d.varied(volume, Chosen(swap, one)) for swap in (0, 1) for one in signs]
    assert len({one.tobytes() for one in made}) == 16
    # Layers across x stay layers across x.
    assert all(set(one[1].ravel()) == set(volume[1].ravel()) for one in made)


def test_shifts_by_whole_cells_of_the_coarsest_grid_change_nothing():
    samples = _samples()
    model = _fitted(samples)
    volumes = samples.inputs["microstructure"]
    moved = {**samples.inputs, "microstructure": np.roll(volumes, (6, 0, -6), (1, 2, 3))}
    found = model.predict(samples.inputs)
    np.testing.assert_allclose(model.predict(moved), found, rtol=1e-5)
    other = {**samples.inputs, "microstructure": volumes[::-1]}
    assert np.abs(model.predict(other) / found - 1).max() > 0.01


@pytest.mark.parametrize("cells", [12, 15])
def test_seen_from_the_other_side_or_with_y_and_z_exchanged_it_is_the_same(cells):
    samples = _samples(cells=cells)
    model = _fitted(samples)
    found, volumes = model.predict(samples.inputs), samples.inputs["microstructure"]
    for seen in (volumes.swapaxes(2, 3), volumes[:, ::-1, ::-1, ::-1]):
        moved = {**samples.inputs, "microstructure": seen}
        np.testing.assert_allclose(model.predict(moved), found, rtol=1e-5)
        # With a single view it is not.
        model.views = 1
        assert np.abs(model.predict(moved) / model.predict(samples.inputs) - 1).max() > 1e-5
        model.views = 4


def test_predictions_stay_between_the_bounds():
    samples = _samples()
    model = _fitted(samples)
    fraction = samples.inputs["microstructure"].mean(axis=(1, 2, 3))
    for bias, limit in ((-1e3, bounds.reuss), (1e3, bounds.voigt)):
        torch.nn.init.constant_(model.network.head[-1].bias, bias)
        found = model.predict(samples.inputs)
        np.testing.assert_allclose(found, limit(fraction, CONTRAST), rtol=1e-9)


# --- learning ----------------------------------------------------------------------------------


@pytest.mark.parametrize("design", ["yang", "periodic"])
def test_eight_volumes_are_learnt_by_heart(design):
    params = {"epochs": 40, "batch": 8, "learning_rate": 1e-3}
    if design == "periodic":
        params = {"epochs": 100, "batch": 8, "learning_rate": 1e-2, "widths": [8, 8]}
    samples = _samples(cells=6)
    model = _fitted(samples, design=design, **params)
    assert training.percent_error(model.predict(samples.inputs), samples.target) < 5
    mean = np.full(8, samples.target.mean())
    assert training.percent_error(mean, samples.target) > 30


class Interrupted(Exception):
    """Stands for whatever ends a process."""


@pytest.mark.parametrize("design", ["yang", "periodic"])
def test_equal_seeds_give_equal_predictions_also_after_an_interruption(design, monkeypatch, capsys):
    samples, validation = _samples(rows=4, cells=6), _samples(4, 6, seed=1)

    def fitted(seed: int = 0) -> np.ndarray:
        model = cnn3d.build(seed=seed, device="cpu", **{**TINY, "design": design})
        return model.fit(samples, validation).predict(samples.inputs)

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


@pytest.mark.parametrize("design", ["yang", "periodic"])
@pytest.mark.filterwarnings("error")
def test_what_the_harness_hands_out_is_enough(design):
    """Arrays that cannot be written to, from a mapping that is not a dictionary; no validation."""
    samples = _samples(rows=4, cells=6)
    for array in samples.inputs.values():
        array.flags.writeable = False
    given = MappingProxyType(dict(samples.inputs))
    model = cnn3d.build(seed=0, device="cpu", **{**TINY, "design": design})
    model.fit(Samples(samples.ids.astype(str), given, samples.target), None)
    found = model.predict(given)
    assert found.shape == (4,)
    assert found.dtype == np.float64
    # Rows keep their order, whoever stands beside them.
    alone = model.predict({name: array[2:3] for name, array in given.items()})
    np.testing.assert_allclose(alone, found[2:3], rtol=1e-5)
    assert model.parameter_count() > 100


def test_inputs_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"is not \(samples, n, n, n\)"):
        _fitted(Samples(np.array(["a"]), {"microstructure": np.zeros((1, 4, 4))}, np.ones(1)))
