"""A saved state is read again to the last bit, and nothing in it can run code."""

from __future__ import annotations

import json
import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.base import BaseEstimator
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import Ridge

from etchmark import SklearnModel
from etchmark.model import Samples
from etchmark.saving import Savable, keeps_arguments, read_state, rebuild, write_state


def test_a_tree_comes_back_with_types_and_values(tmp_path: Path) -> None:
    state = {
        "none": None,
        "text": "Ni–Al",
        "numbers": [1, -2.5, math.inf, True],
        "nested": {"10.1000/x.y": 0.1 + 0.2, "array": np.array([[1.5, 2.5]], np.float32)},
        "single": np.float32(0.1),
        "count": np.int64(2**62),
        "flag": np.bool_(False),
        "words": np.array(["a", "bc"]),
    }
    write_state(tmp_path, state)
    read = read_state(tmp_path)
    assert list(read) == list(state)
    assert (read["none"], read["text"], read["numbers"]) == (None, "Ni–Al", [1, -2.5, math.inf, 1])
    assert read["nested"]["10.1000/x.y"] == 0.1 + 0.2
    assert read["nested"]["array"].dtype == np.float32
    np.testing.assert_array_equal(read["nested"]["array"], [[1.5, 2.5]])
    # The type decides what arithmetic with it gives.
    assert (type(read["single"]), read["single"]) == (np.float32, np.float32(0.1))
    assert (type(read["count"]), read["count"]) == (np.int64, 2**62)
    assert read["flag"] is False
    assert read["words"].tolist() == ["a", "bc"]


def test_the_same_state_gives_the_same_bytes(tmp_path: Path) -> None:
    # What is kept by the hash of its content needs files without times in them.
    for folder in ("first", "second"):
        write_state(tmp_path / folder, {"a": np.arange(5), "b": {"c": np.eye(2), "d": 1}})
    first, second = (sorted((tmp_path / folder).iterdir()) for folder in ("first", "second"))
    assert [path.name for path in first] == ["a.npy", "b.c.npy", "state.json"]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_odd_keys_get_files_of_their_own(tmp_path: Path) -> None:
    state = {
        "a.b": np.zeros(1),
        "a": {"b": np.ones(1)},
        "../x": np.full(1, 2.0),
        "A.B": np.arange(3),
    }
    write_state(tmp_path / "state", state)
    assert len(list((tmp_path / "state").iterdir())) == 5
    assert [path.name for path in tmp_path.iterdir()] == ["state"]
    read = read_state(tmp_path / "state")
    assert [read["a.b"][0], read["a"]["b"][0], read["../x"][0]] == [0.0, 1.0, 2.0]
    assert read["A.B"].tolist() == [0, 1, 2]


class Odd:
    pass


class OwnEstimator(BaseEstimator):
    pass


@pytest.mark.parametrize("value", [Odd(), np.array([Odd()]), OwnEstimator(), {1: 2}, {"$file": 1}])
def test_what_would_need_pickle_is_refused(tmp_path: Path, value: Any) -> None:
    with pytest.raises(TypeError, match=r"where\.it\.is.*sav|where\.it\.is: key"):
        write_state(tmp_path, {"where": {"it": {"is": value}}})


def test_a_pickle_in_place_of_an_array_is_not_read(tmp_path: Path) -> None:
    write_state(tmp_path, {"a": np.arange(3)})

    class Evil:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "ran",))

    (tmp_path / "a.npy").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(ValueError, match="pickle"):
        read_state(tmp_path)
    assert not (tmp_path / "ran").exists()


def test_an_estimator_of_foreign_classes_is_not_read(tmp_path: Path) -> None:
    import skops.io

    write_state(tmp_path, {"a": Ridge()})
    (tmp_path / "a.skops").write_bytes(skops.io.dumps(OwnEstimator()))
    with pytest.raises(ValueError, match="OwnEstimator"):
        read_state(tmp_path)


@pytest.mark.parametrize("name", ["../a.npy", "/etc/passwd", "a.pkl", "..npy/x.npy"])
def test_a_state_names_files_of_its_own_folder_alone(tmp_path: Path, name: str) -> None:
    np.save(tmp_path / "a.npy", np.arange(3))
    folder = tmp_path / "state"
    write_state(folder, {})
    (folder / "state.json").write_text(json.dumps({"schema": 1, "state": {"a": {"$file": name}}}))
    with pytest.raises(ValueError, match="not a file of a saved state"):
        read_state(folder)


@pytest.mark.parametrize("content", [None, "{", "[]", '{"schema": 2, "state": {}}'])
def test_a_damaged_state_says_so(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "state.json").write_text(content)
    with pytest.raises(ValueError, match=r"saved state|Expecting|schema 2"):
        read_state(tmp_path)


# --- objects -----------------------------------------------------------------------------------


class Scaler(Savable):
    saved = ("factor",)

    def __init__(self, factor: float) -> None:
        self.factor = factor


class Scaled(Savable):
    """A part that a fit makes, and one that the constructor makes."""

    saved = ("made", "before")
    parts = (Scaler,)

    def __init__(self, device: str) -> None:
        self.device, self.before = device, Scaler(1.0)
        self.made: Scaler | None = None

    def fit(self) -> None:
        self.made, self.before.factor = Scaler(3.0), 5.0


@keeps_arguments
def build(seed: int, device: str, name: str = "x", sizes: tuple[int, ...] = (1,)) -> Scaled:
    return Scaled(device)


def test_a_model_is_built_again_and_its_parts_restored(tmp_path: Path) -> None:
    model = build(3, "cpu", sizes=(4, 5))
    assert model.arguments == {"seed": 3, "sizes": [4, 5]}
    model.fit()
    model.save(tmp_path)
    again = rebuild(build, tmp_path, "cuda")
    assert again.device == "cuda"
    assert (again.made.factor, again.before.factor) == (3.0, 5.0)
    assert again.arguments == model.arguments


def test_a_part_of_another_class_is_refused(tmp_path: Path) -> None:
    model = build(3, "cpu")
    model.fit()
    model.made = SklearnModel(Ridge())  # type: ignore[assignment]
    model.save(tmp_path)
    with pytest.raises(ValueError, match="'SklearnModel'; expected: Scaler"):
        rebuild(build, tmp_path, "cpu")


def test_a_build_without_its_arguments_cannot_be_saved(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="@keeps_arguments"):
        Scaled("cpu").save(tmp_path)


@keeps_arguments
def build_forest(seed: int, device: str) -> SklearnModel:
    return SklearnModel(RandomForestRegressor(5, random_state=seed), columns=["a", "b"])


def test_an_estimator_of_scikit_learn_predicts_the_same(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    inputs = {name: generator.normal(size=40) for name in "ab"}
    train = Samples(np.arange(40).astype(str), inputs, inputs["a"] - inputs["b"])
    model = build_forest(1, "cpu").fit(train)
    model.save(tmp_path)
    again = rebuild(build_forest, tmp_path, "cpu")
    np.testing.assert_array_equal(again.predict(inputs), model.predict(inputs))


def test_a_network_keeps_its_layout_and_shared_weights(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")

    class Network(Savable):
        saved = ("network",)

        def __init__(self) -> None:
            first = torch.nn.Conv2d(3, 3, 3)
            self.network = torch.nn.Sequential(first, first)
            self.network.to(memory_format=torch.channels_last)

    torch.manual_seed(0)
    model = Network()
    write_state(tmp_path, model.state())
    again = Network()
    again.restore(read_state(tmp_path))
    weight = again.network[0].weight
    assert torch.equal(weight, model.network[1].weight)
    assert weight.is_contiguous(memory_format=torch.channels_last)
    assert not again.network.training
