"""A fitted model that is kept can be loaded later and is named by its record."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from etchmark.artefacts import store

MODEL = """
import numpy as np
from etchmark.saving import Savable, keeps_arguments, rebuild
class Line(Savable):
    saved = ("slope", "offset")
    def fit(self, train, validation):
        self.slope, self.offset = np.polyfit(train.inputs["a"], train.target, 1)
    def predict(self, inputs):
        return self.offset + self.slope * inputs["a"]
    {save}
@keeps_arguments
def build(seed, device):
    return Line()
def load(folder, device):
    {load}
"""
KEEP = ("--keep-model", "--protocol")


def code(save: str = "pass", load: str = "return rebuild(build, folder, device)") -> str:
    return MODEL.format(save=save, load=load)


def kept(hub) -> list[Path]:
    folder = hub.home / "artefacts"
    return sorted(folder.iterdir()) if folder.is_dir() else []


def record_of(hub, text: str, *options: str) -> dict:
    ran = hub.evaluate(hub.model(text), *options, "--json")
    assert ran.rc == 0, ran.stderr
    return {**json.loads(ran.stdout), "warned": ran.stderr}


def test_a_kept_model_is_named_by_its_record_and_predicts_the_same(hub) -> None:
    record = record_of(hub, code(), *KEEP, "folds", "--seeds", "2")
    (folder,) = kept(hub)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    assert record["artefact"] == {"sha256": folder.name, "bytes": size}
    manifest = store.verify(folder)
    assert (manifest.benchmark, manifest.protocol, manifest.inputs) == (
        "toy-line@1",
        "folds",
        ["a", "kind"],
    )
    models = {(one.fold, one.seed) for one in manifest.models}
    assert models == {(f"fold-{fold:03d}", seed) for fold in range(4) for seed in range(2)}
    # In the process of a model, and from a hub folder that was moved.
    moved = hub.folder / "elsewhere" / folder.name
    moved.parent.mkdir()
    shutil.copytree(folder, moved)
    script = f"""
from pathlib import Path
import numpy as np
from etchmark.artefacts.loading import load
model = load(Path({str(moved)!r}), "fold-002", 1, "cpu")
print(repr(float(model.predict({{"a": np.array([0.5])}})[0])))
"""
    env = {**os.environ, "ETCHMARK_IN_MODEL": "test"}
    done = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    state = json.loads((moved / "models/fold-002-1/state.json").read_text())["state"]["fitted"]
    slope, offset = (float(state[name]["$number"]) for name in ("slope", "offset"))
    assert float(done.stdout) == offset + slope * 0.5


def test_a_model_that_saves_itself_finds_the_folder_it_is_given(hub) -> None:
    text = code(
        save='def save(self, folder): np.save(folder / "line.npy", [self.slope, self.offset])',
        load='model = Line(); model.slope, model.offset = np.load(folder / "line.npy")\n'
        "    return model",
    ).replace("Line(Savable)", "Line")
    record = record_of(hub, text, *KEEP, "holdout")
    assert record["warned"] == ""
    assert record["artefact"]["sha256"] == kept(hub)[0].name


def test_saving_and_loading_are_not_counted_as_the_cost_of_a_model(hub) -> None:
    work = (
        "import time; memory = np.ones(5 * 10**7); end = time.process_time() + 1\n"
        "{0}while time.process_time() < end: pass\n{0}"
    )
    heavy = code(
        save="def save(self, folder):\n        " + work.format(" " * 8) + "super().save(folder)",
        load=work.format(" " * 4) + "return rebuild(build, folder, device)",
    )
    record = record_of(hub, heavy, *KEEP, "holdout")
    assert "artefact" in record, record["warned"]
    assert record["cost"]["cpu_seconds"] < 0.5
    assert record["cost"]["peak_memory_bytes"] < 350e6


def test_the_same_run_is_kept_once(hub) -> None:
    first, again = (record_of(hub, code(), *KEEP, "holdout")["artefact"] for _ in range(2))
    assert first == again
    assert len(kept(hub)) == 1


def test_without_the_option_nothing_is_kept_and_the_record_is_as_it_was(hub) -> None:
    assert "artefact" not in record_of(hub, code(), "--protocol", "holdout")
    assert kept(hub) == []


def test_models_that_cannot_be_saved_are_refused_before_they_are_fitted(hub) -> None:
    text = code().replace("self.slope, self", "assert False; self.slope, self")
    without = text.replace("def load(", "def other(")
    assert hub.refused(without, *KEEP, "holdout").startswith("model.py defines no function load(")
    without = text.replace("Line(Savable)", "Line")
    assert hub.refused(without, *KEEP, "holdout").startswith("Line has no method save(folder)")
    assert hub.board(everything=True) == []


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"save": "def save(self, folder): 1 / 0"}, "save() failed: ZeroDivisionError"),
        ({"save": "def save(self, folder): raise SystemExit(3)"}, "save() failed: SystemExit: 3"),
        (
            {"save": "def save(self, folder): import os; os._exit(3)"},
            "save() failed: it ended the model's process",
        ),
        (
            {"save": "def save(self, folder): import os; os._exit(0)"},
            "save() failed: it ended the model's process",
        ),
        (
            {"save": "def save(self, folder): import os; os.kill(os.getpid(), 9)"},
            "save() failed: it ended the model's process",
        ),
        (
            {"save": "def save(self, folder):\n        super().save(folder);"
             " import pickle; (folder / 'more.bin').write_bytes(pickle.dumps({'a': 1}))"},
            "more.bin is a pickle, which can run any code when it is loaded; save it as",
        ),
        ({"load": "1 / 0"}, "load() gave no such model: ZeroDivisionError"),
        (
            {
                "save": "def save(self, folder):"
                " import pickle; (folder / 'more.bin').write_bytes(pickle.dumps({'a': 1}))",
                "load": "import os; os._exit(3)",
            },
            "more.bin is a pickle, which can run any code when it is loaded; save it as",
        ),
        ({"load": "import os; os._exit(3)"}, "load() failed: the model's process exited"),
        (
            {"load": "model = rebuild(build, folder, device); model.offset += 5; return model"},
            "load() gave no such model: ValueError: its predictions differ by up to 5",
        ),
        (
            {"save": "def save(self, folder):\n        super().save(folder);"
             " (folder / 'x').symlink_to('/etc/passwd')"},
            "x is neither a file nor a folder",
        ),
    ],
)  # fmt: skip
def test_a_model_that_cannot_be_kept_is_scored_all_the_same(hub, changed, said) -> None:
    record = record_of(hub, code(**changed), *KEEP, "holdout")
    assert "artefact" not in record
    assert record["outcome"] == "ok"
    assert f"mine was scored, but not kept: {said}" in record["warned"]
    assert kept(hub) == []
    assert len(hub.board("holdout")) == 1


def test_a_resumed_run_keeps_the_models_of_all_folds(hub) -> None:
    # The last of four fits fails; when it is tried again, the others are not.
    diary = hub.folder / "diary"
    note = f"""import os
        with open({str(diary)!r}, "ab", buffering=0) as diary:
            diary.write(b"x")
        assert os.path.getsize({str(diary)!r}) != 4
        """
    text = code().replace("self.slope, self", note + "self.slope, self")
    options = (*KEEP, "folds", "--resume")
    assert hub.evaluate(hub.model(text), *options).rc == 2
    record = record_of(hub, text, *options)
    assert diary.read_bytes() == b"xxxxx"
    assert record["artefact"]["sha256"] == kept(hub)[0].name
    assert len(store.verify(kept(hub)[0]).models) == 4
