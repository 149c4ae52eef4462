"""What a model is given, and what it is not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from etchmark.errors import CannotRun
from etchmark.evaluation import fold, worker
from etchmark.evaluation.tables import Table
from etchmark.targets.base import numbers

FOLDS = ("--protocol", "folds")
MODEL = """
import gc, json, os, sys
from pathlib import Path
import numpy as np
seen = []
class Mean:
    def fit(self, train, validation):
        self.mean = float(train.target.mean())
        self.train = train
        {fit}
    def predict(self, inputs):
        prediction = np.full(len(inputs["a"]), self.mean)
        {predict}
        return prediction
def build(seed, device, **params):
    return Mean()
"""


def _spy(hub, fit: str = "pass", predict: str = "pass", *options: str) -> None:
    """Run a model whose assertions must hold in every fold."""
    hub.fine(MODEL.format(fit=fit, predict=predict), *(options or FOLDS))


def test_samples_are_what_the_track_declares(hub):
    _spy(
        hub,
        """
        assert validation is None
        assert len(set(train.ids)) == len(train) == len(train.target) == 9
        assert train.target.dtype == train.inputs["a"].dtype == np.float64
        assert train.groups is None
        assert "y" not in train.inputs and "source" not in train.inputs
        assert all(len(train.inputs[name]) == len(train) for name in train.inputs)""",
        """
        assert list(inputs) == list(self.train.inputs) == ["a", "kind"]
        assert not set(self.train.inputs["a"]) & set(inputs["a"])""",
    )


CENTRED = """
import numpy as np
class Centred:
    def fit(self, train, validation):
        {change}
        target, a = np.array(train.target), np.array(train.inputs["a"])
        self.mean = target.mean()
        train.target -= self.mean
        train.inputs["a"] -= a.mean()
        target, inputs = train.target, train.inputs["a"]
        self.centre, self.slope = a.mean(), (target * inputs).sum() / (inputs**2).sum()
        train.ids[:] = "gone"
        train.inputs["kind"][:] = "gone"
        if train.groups is not None:
            train.groups[:] = "gone"
    def predict(self, inputs):
        inputs["a"] -= self.centre
        inputs["kind"][:] = "gone"
        prediction = self.mean + self.slope * inputs["a"]
        inputs["a"][:] = 0
        return prediction
def build(seed, device):
    return Centred()
"""
# The same, on copies of its own.
COPIES = """
        from dataclasses import replace
        inputs = {name: np.array(train.inputs[name]) for name in train.inputs}
        train = replace(
            train, ids=train.ids.copy(), inputs=inputs, target=np.array(train.target),
            groups=None if train.groups is None else train.groups.copy(),
        )"""


@pytest.mark.parametrize("options", [(), (*FOLDS, "--seeds", "2")])
def test_arrays_may_be_changed_in_place(hub, options):
    hub.fine(CENTRED.format(change="pass"), *options)
    copying = CENTRED.format(change=COPIES.strip()).replace(
        "def predict(self, inputs):",
        "def predict(self, inputs):\n"
        "        inputs = {name: np.array(inputs[name]) for name in inputs}",
    )
    assert "again, in place of the run that predicted the very same" in hub.fine(copying, *options)
    (row,) = hub.board("folds" if options else None)
    assert row["score"] < 2


def test_the_group_column_belongs_to_the_protocol(hub):
    _spy(hub, "assert train.groups is None")
    holdout = "assert sorted(set(train.groups)) == [f'train-p{n}' for n in range(4)]"
    _spy(hub, holdout, "pass", "--protocol", "holdout")


@pytest.mark.parametrize("name", ["y", "etchmark_target", "etchmark_group", "id", "source", "fold"])
def test_predict_cannot_name_what_is_not_declared(hub, name):
    _spy(
        hub,
        predict=f"""
        try:
            inputs[{name!r}]
        except KeyError:
            pass
        else:
            raise AssertionError("was handed out")
        assert {name!r} not in inputs""",
    )


def test_no_file_of_the_run_folder_holds_an_answer(hub):
    # One fold trains on what another holds out: neither finds the other's files.
    _spy(
        hub,
        predict="""
        import pyarrow as pa
        root = Path(sys.argv[1])
        held_out, labelled = None, set()
        for path in root.rglob("*"):
            if path.suffix not in {".arrow", ".parquet"}:
                continue
            table = pa.ipc.open_file(str(path)).read_all()
            if "etchmark_target" in table.column_names:
                labelled |= set(table["id"].to_pylist())
            else:
                assert held_out is None, "inputs of more than one fold"
                held_out = set(table["id"].to_pylist())
                assert set(table.column_names) == {"id", "a", "kind"}
        assert labelled == set(self.train.ids)
        assert len(held_out) == len(prediction) and not held_out & labelled
        assert b"toy" not in b"".join(path.read_bytes() for path in root.rglob("*.json"))""",
    )


def test_no_table_in_memory_holds_an_answer(hub):
    _spy(
        hub,
        predict="""
        import pyarrow as pa
        tables = [one for one in gc.get_objects() if isinstance(one, pa.Table)]
        frame, found = sys._getframe(), []
        while frame:
            found += list(frame.f_locals.values())
            frame = frame.f_back
        flat = [x for one in found for x in (one if isinstance(one, list) else [one])]
        tables += [one for one in flat if isinstance(one, pa.Table)]
        for table in tables:
            assert table.num_rows <= len(self.train), table.column_names""",
    )


def test_the_environment_does_not_point_to_the_labels(hub, monkeypatch):
    monkeypatch.setenv("ETCHMARK_MIRROR", str(hub.home))
    monkeypatch.setenv("ETCHMARK_REMOTE", "https://example.org")
    monkeypatch.setenv("ETCHMARK_SOURCES_URL", "https://example.org")
    _spy(
        hub,
        """
        own = {name for name in os.environ if name.startswith("ETCHMARK_")}
        settings = {"OFFLINE", "IN_MODEL", "SUPERVISED", "WORK"}
        assert own <= {f"ETCHMARK_{name}" for name in settings}, own
        assert os.environ["PYTHONHASHSEED"] == "0" """,
    )


def test_offline_is_passed_on(hub, monkeypatch):
    monkeypatch.setenv("ETCHMARK_OFFLINE", "1")
    _spy(hub, "assert os.environ['ETCHMARK_OFFLINE'] == '1'")


def test_nothing_is_remembered_between_folds(hub):
    _spy(
        hub,
        """
        import builtins, warnings
        assert seen == [] and not hasattr(builtins, "leak") and not hasattr(np, "leak")
        seen.append(train.target); builtins.leak = np.leak = train.target
        assert os.listdir() == []
        Path("checkpoint").write_text("of this fold")
        os.environ["LEAK"] = os.environ.get("LEAK", "") + "x"
        assert os.environ["LEAK"] == "x" """,
    )


def test_standard_input_is_empty(hub):
    _spy(hub, "assert sys.stdin.read() == ''")


def test_random_numbers_are_seeded_per_seed_and_fold(hub, tmp_path):
    path = tmp_path / "drawn"
    _spy(
        hub,
        f"""
        import random
        with open({str(path)!r}, "a") as handle:
            handle.write(f"{{random.random()}} {{np.random.rand()}}\\n")""",
        "pass",
        *FOLDS,
        "--seeds",
        "2",
    )
    lines = path.read_text().splitlines()
    assert len(lines) == len(set(lines)) == 2 * 4
    path.unlink()
    hub.evaluate(hub.folder / "mine", *FOLDS, "--seeds", "2").fine()
    assert path.read_text().splitlines() == lines


def test_parameters_of_a_variant_reach_build(hub):
    folder = hub.model(
        """
        import numpy as np
        class Constant:
            def __init__(self, value): self.value = value
            def fit(self, train, validation): pass
            def predict(self, inputs): return np.full(len(inputs["a"]), self.value)
        def build(seed, device, value): return Constant(value)
        """
    )
    card = {
        "schema": 1,
        "name": "constant",
        "title": "A constant",
        "variants": {"low": {"title": "low", "params": {"value": 0.0}}},
    }
    (folder / "card.yaml").write_text(json.dumps(card))
    toy = ("toy-line", "--track", "features")
    hub.command("evaluate", f"{folder}/low", *toy).fine()
    (row,) = hub.board()
    assert row["model"] == "constant/low"
    assert row["score"] > 50
    assert "name one of: constant/low" in hub.command("evaluate", folder, *toy).refusal()
    # A slip in the card is its writer's to mend, and no failure of the model.
    card["variants"]["low"]["params"] = {"valeu": 0.0}
    (folder / "card.yaml").write_text(json.dumps(card))
    line = hub.command("evaluate", f"{folder}/low", *toy).refusal()
    assert "card.yaml: build() takes no 'valeu'; did you mean 'value'?" in line
    assert len(hub.board(everything=True)) == 1


def test_a_device_that_is_not_there(monkeypatch):
    assert fold.resolve_device("cpu") == "cpu"
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert fold.resolve_device("auto") == "cpu"
    with pytest.raises(CannotRun, match=r"'cuda:1'.*no CUDA device here; give --device cpu"):
        fold.resolve_device("cuda:1")


# --- the pieces --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "shape", "expected"),
    [
        ([1.0, 2.0], [], [1.0, 2.0]),
        ([[1], [2]], [], [1, 2]),
        ([True, False], [], [True, False]),
        ([[1.0, 2.0], [3.0, 4.0]], [2], [[1.0, 2.0], [3.0, 4.0]]),
    ],
)
def test_checked_takes(given, shape, expected):
    np.testing.assert_array_equal(numbers(given, 2, shape), expected)


@pytest.mark.parametrize(
    ("given", "shape"),
    [
        ([1.0], []),
        ([1.0, 2.0, 3.0], []),
        ([[1.0, 2.0]], []),
        ([[1.0, 2.0], [3.0, 4.0]], [1]),
        ([1.0, 2.0], [2]),
        ([1.0, np.nan], []),
        (["1", "2"], []),
        ([1j, 2j], []),
        (np.array([1, 2], dtype="m8[s]"), []),
        (np.array([1, 2], dtype="M8[s]"), []),
        ([None, 1.0], []),
        ({"a": 1}, []),
        (1.0, []),
        (None, []),
        ((x for x in [1.0, 2.0]), []),
        ([1.0, -np.inf], []),
    ],
)
def test_checked_refuses(given, shape):
    with pytest.raises(ValueError, match="predict returned"):
        numbers(given, 2, shape)


def test_describe_names_the_line_in_the_models_own_code(tmp_path, monkeypatch):
    code = tmp_path / "model.py"
    (tmp_path / "part.py").write_text("def f():\n    raise ValueError('two\\nlines')\n")
    code.write_text("import part\ndef build(seed, device):\n    part.f()\n")
    monkeypatch.setattr(sys, "path", [*sys.path])
    build = fold.load_build(code)
    for module in ("model", "part"):
        del sys.modules[module]
    with pytest.raises(ValueError, match="two") as raised:
        build(seed=0, device="cpu")
    error = raised.value
    assert worker.describe(error, code) == "ValueError: two lines (part.py, line 2)"
    assert worker.describe(error, Path("/elsewhere/model.py")) == "ValueError: two lines"


def test_lay_out_divides_the_samples(tmp_path):
    table = pa.table(
        {
            "id": ["a", "b", "c"],
            "x": [1, 2, 3],
            fold.TARGET: [1.0, 2.0, 3.0],
            fold.GROUP: ["p", "q", "q"],
            fold.FOLD: [0, 1, 1],
        }
    )
    run = {"inputs": ["x"], "splits": ["test"], "share": 1.0, "draw": 0}
    fold.lay_out(table, run, 1, tmp_path / "fold")
    train = Table(tmp_path / "fold" / "train.arrow")
    bare = Table(tmp_path / "fold" / "inputs-test.arrow")
    assert train["id"].tolist() == ["a"]
    assert set(train) == {"id", "x", fold.TARGET, fold.GROUP}
    assert {name: bare[name].tolist() for name in bare} == {"id": ["b", "c"], "x": [2, 3]}
    assert bare.rows() == 2
    fold.take_away(tmp_path / "fold")
    assert list((tmp_path / "fold").iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="parent's death is signalled on Linux only")
def test_a_worker_without_its_parent_does_not_start(tmp_path):
    run = {"code": "model.py", "parent": os.getpid() + 1, "seeds": [0], "folds": []}
    (tmp_path / "run.json").write_text(json.dumps(run))
    command = [sys.executable, "-m", "etchmark.evaluation.worker", str(tmp_path)]
    done = subprocess.run(command, check=False, capture_output=True)
    assert done.returncode == 1
    assert not (tmp_path / "failure.json").exists()


LOOK_AROUND = """
import gc, sys
import numpy as np

def tables():
    found, frame = [], sys._getframe()
    while frame is not None:
        found += list(dict(frame.f_locals).values())
        frame = frame.f_back
    found += gc.get_objects()
    found += [one for some in found if type(some) is list for one in some]
    kinds = [type(one) for one in found]
    return [one for one in kinds if one.__name__ == "Table" and "pyarrow" in str(one)]

AT_IMPORT = tables()

class Mean:
    def fit(self, train, validation):
        assert not AT_IMPORT, AT_IMPORT
        assert not tables(), tables()
        self.mean = float(train.target.mean())
    def predict(self, inputs):
        return np.full(len(inputs["a"]), self.mean)

def build(seed, device):
    return Mean()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="labels are kept apart by fork, on Linux only")
def test_labels_of_other_folds_are_not_in_the_models_process(hub):
    # Walking up the stack or through all objects at import once found the samples of every fold.
    hub.fine(LOOK_AROUND, *FOLDS)


@pytest.mark.parametrize(
    "reach",
    [
        "etchmark.load_benchmark('toy-line')",
        "etchmark.standings('toy-line')",
        "__import__('etchmark.registry.store').registry.store.Store()",
        "etchmark.score('x.csv', 'toy-line')",
    ],
)
def test_the_hub_is_closed_to_a_model(hub, reach):
    said = hub.refused(MODEL.format(fit=f"import etchmark; {reach}", predict="pass"), *FOLDS)
    assert "has no access to the hub" in said
    assert not any(row["outcome"] == "ok" for row in hub.board("folds", everything=True))
