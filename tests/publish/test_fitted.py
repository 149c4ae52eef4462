"""Fitted models are published with their code, and only where nobody's weights forbid it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from fake_hub import FakeHub
from huggingface_hub import parse_eval_result_entries

from etchmark.artefacts import store
from etchmark.catalog import catalog
from etchmark.publish import pretrained

MODEL = """
import numpy as np
from etchmark.saving import Savable, keeps_arguments, rebuild
class Line(Savable):
    saved = ("slope", "offset")
    def fit(self, train, validation):
        self.slope, self.offset = np.polyfit(train.inputs["a"], train.target, 1)
    def predict(self, inputs):
        return self.offset + self.slope * inputs["a"]
    def made_with(self):
        return {made_with}
@keeps_arguments
def build(seed, device):
    return Line()
def load(folder, device):
    return rebuild(build, folder, device)
"""
NAME = "toy-line.line.features"
Evaluate = Callable[..., None]


@pytest.fixture
def evaluate(released: Path, command: Any) -> Evaluate:
    """Evaluates and keeps ``line``, a baseline of the toy."""

    def run(licence: str | None = "MIT", made_with: dict[str, str] | None = None) -> None:
        folder = released / "baselines" / "line"
        folder.mkdir(exist_ok=True)
        (folder / "model.py").write_text(MODEL.format(made_with=made_with or {}))
        card = {
            "schema": 1,
            "name": "line",
            "title": "A line | fitted",
            "training_data": "none",
            "paper": "10.1000/1",
        }
        if licence is not None:
            card["licence"] = licence
        (folder / "card.yaml").write_text(yaml.safe_dump(card))
        command("evaluate", "line", "toy-line", "--track", "features", "--keep-model").fine()

    return run


def test_a_fitted_model_comes_back(
    evaluate: Evaluate, hub: FakeHub, tmp_path: Path, command: Any
) -> None:
    evaluate()
    for target in (str(tmp_path / "out"), "hf://lab"):
        command("publish", "line", "--to", target).fine()
    files = hub.files(f"lab/{NAME}")
    own = tmp_path / "out" / NAME
    assert {p.relative_to(own).as_posix() for p in own.rglob("*") if p.is_file()} == set(files)
    record = json.loads(files["record.json"])
    digest = record["artefact"]["sha256"]
    # The folder is an artefact again under its name.
    shutil.copytree(own / "artefact", tmp_path / digest)
    store.verify(tmp_path / digest)
    (entry,) = (
        each
        for each in parse_eval_result_entries(yaml.safe_load(files[".eval_results/toy-line.yaml"]))
        if each.task_id == "holdout.test"
    )
    assert entry.dataset_id == "lab/toy-line"
    score = next(each for each in record["scores"] if each["split"] == "test")
    assert entry.value == score["metrics"]["mae"]["value"]
    assert "mae, toy-line@1, track features, split test, " in (entry.notes or "")
    assert f"n = {score['n']}" in (entry.notes or "")
    head = yaml.safe_load(files["README.md"].decode().split("---")[1])
    assert (head["pretty_name"], head["license"]) == ("A line | fitted", "mit")
    assert "nothing has changed" in command("publish", "line", "--to", "hf://lab").fine()


def test_the_lines_of_the_card_load_it(evaluate: Evaluate, tmp_path: Path, command: Any) -> None:
    evaluate()
    command("publish", "line:toy-line", "--to", tmp_path / "out").fine()
    card = (tmp_path / "out" / NAME / "README.md").read_text("utf-8")
    lines = card.partition("```python\n")[2].partition("```")[0]
    assert f'snapshot_download("ORGANISATION/{NAME}")' in lines
    script = lines.replace("from huggingface_hub import snapshot_download", "").replace(
        f'snapshot_download("ORGANISATION/{NAME}")', repr(str(tmp_path / "out" / NAME))
    )
    script += 'import numpy as np\nprint(model.predict({"a": np.array([0.0, 1.0])}).shape)\n'
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("(2,)\n", 0), done.stderr


def test_files_of_an_older_model_are_removed(
    evaluate: Evaluate, tmp_path: Path, command: Any
) -> None:
    evaluate()
    command("publish", "line", "--to", tmp_path / "out").fine()
    old = tmp_path / "out" / NAME / "artefact" / "models" / "old.npy"
    old.write_bytes(b"old")
    assert (
        "removed: artefact/models/old.npy"
        in command("publish", "line", "--to", tmp_path / "out").fine()
    )
    assert not old.exists()


def test_a_model_without_a_licence_is_not_published(
    evaluate: Evaluate, tmp_path: Path, command: Any
) -> None:
    evaluate(licence=None)
    said = command("publish", "line", "--to", tmp_path / "out").refusal()
    assert said.startswith("line: its card states no licence, so its fitted model is not published")
    out = command("publish", "--all", "--to", tmp_path / "out")
    assert "left out: line: its card states no licence" in out.stderr
    assert not (tmp_path / "out" / NAME).exists()


def test_a_changed_model_is_not_published(
    evaluate: Evaluate, tmp_path: Path, command: Any, home: Path
) -> None:
    evaluate()
    (state,) = home.glob("artefacts/*/models/*/state.json")
    state.write_text(state.read_text() + " ")
    said = command("publish", "line", "--to", tmp_path / "out").refusal()
    assert "was changed since it was kept" in said
    assert not (tmp_path / "out").exists()


# --- pretrained weights ------------------------------------------------------------------------


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a file of weights."""
    save_file = pytest.importorskip(
        "safetensors.numpy", reason="safetensors (extra `features`) is not installed"
    ).save_file
    folder = tmp_path / "weights"
    folder.mkdir()
    save_file(
        {"conv": np.ones((16, 8, 3, 3), np.float32), "bias": np.ones(1000, np.float32)},
        folder / "encoder.safetensors",
    )
    monkeypatch.setenv("ETCHMARK_WEIGHTS", str(folder))
    return folder / "encoder.safetensors"


def digest_of(path: Path) -> str:
    from etchmark import files

    return files.sha256_of(path)


def declare(content: Path, sha256: str, **terms: str) -> None:
    path = content / "baselines" / "weights.yaml"
    path.write_text(yaml.safe_dump({"encoder": {"sha256": sha256, "attribution": "A", **terms}}))


def test_a_head_holds_no_weights_and_a_trained_on_network_does(
    weights: Path, tmp_path: Path
) -> None:
    from safetensors.numpy import save_file

    kept = tmp_path / "kept"
    kept.mkdir()
    np.save(kept / "mean.npy", np.zeros(1000))
    save_file({"head": np.ones((10, 1000), np.float32)}, kept / "a.safetensors")
    assert not pretrained.holds(kept, weights)
    save_file({"body.conv": np.zeros((16, 8, 3, 3), np.float32)}, kept / "b.safetensors")
    assert pretrained.holds(kept, weights)
    (kept / "b.safetensors").unlink()
    np.save(kept / "conv.npy", np.zeros((16, 8, 3, 3)))
    assert pretrained.holds(kept, weights)
    (kept / "conv.npy").unlink()
    # What cannot be read cannot be told.
    (kept / "c.bin").write_bytes(bytes(10**6))
    assert pretrained.holds(kept, weights) is None


def test_a_model_fitted_on_data_without_a_licence_is_not_published(
    evaluate: Evaluate, released: Path, tmp_path: Path, command: Any
) -> None:
    evaluate()
    path = released / "datasets" / "toy" / "dataset.yaml"
    spec = yaml.safe_load(path.read_text())
    spec["configs"]["scalar-mini"]["own_use"] = True
    path.write_text(yaml.safe_dump(spec, sort_keys=False))
    said = command("publish", "line", "--to", tmp_path / "out").refusal()
    assert "was fitted on toy:scalar-mini, whose sources grant no licence" in said
    card_of = command("publish", "toy-line", "--to", tmp_path / "out")
    assert card_of.rc == 0
    card = (tmp_path / "out" / "toy-line" / "README.md").read_text("utf-8")
    assert "- Data `toy:scalar-mini`: its sources grant no licence, so it is not published" in card


def test_a_place_that_is_refused_stops_all(
    evaluate: Evaluate, tmp_path: Path, command: Any
) -> None:
    evaluate()
    mine = tmp_path / "out" / "toy-line" / "notes.md"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    said = command("publish", "line", "toy-line", "--to", tmp_path / "out").refusal()
    assert "holds files that etchmark did not publish" in said
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["toy-line"]


@pytest.mark.parametrize(
    ("licence", "held", "refused"),
    [
        (None, True, "holds weights of encoder, whose publisher states no licence"),
        (None, None, "the weights are not on this machine (set ETCHMARK_WEIGHTS)"),
        (None, False, None),
        ("MIT", True, None),
        ("MIT", None, None),
    ],
)
def test_licences_of_weights_decide(licence, held, refused) -> None:
    terms = pretrained.Terms(sha256="0" * 64, licence=licence, attribution="A")
    reason = pretrained.Used("encoder", "0" * 64, terms, held).refusal()
    assert (reason is None) if refused is None else (refused in (reason or ""))
    unknown = pretrained.Used("weights 00…", "0" * 64, None, held).refusal()
    assert (unknown is None) == (held is False)


def test_a_head_on_weights_without_a_licence_is_published_and_says_so(
    evaluate: Evaluate, released: Path, weights: Path, tmp_path: Path, command: Any
) -> None:
    sha256 = digest_of(weights)
    declare(released, sha256)
    evaluate(made_with={"weights": f"encoder.safetensors, SHA-256 {sha256}"})
    command("publish", "line", "--to", tmp_path / "out").fine()
    card = (tmp_path / "out" / NAME / "README.md").read_text("utf-8")
    assert f"- encoder (SHA-256 `{sha256}`): the model holds none of them. A; licence: none" in card
    # Elsewhere nobody can tell.
    del os.environ["ETCHMARK_WEIGHTS"]
    said = command("publish", "line", "--to", tmp_path / "other").refusal()
    assert "the weights are not on this machine" in said


def test_a_wrong_list_of_weights(
    evaluate: Evaluate, released: Path, tmp_path: Path, command: Any
) -> None:
    evaluate(made_with={"weights": f"encoder.safetensors, SHA-256 {'0' * 64}"})
    (released / "baselines" / "weights.yaml").write_text("encoder: {licence: 3}")
    assert "weights.yaml: encoder: " in command("publish", "line", "--to", tmp_path).refusal()


def test_every_file_of_weights_behind_a_row_is_listed() -> None:
    """So that each published model can name its terms."""
    listed = {terms.sha256 for _, terms in pretrained._listed(catalog())}
    root = Path(__file__).resolve().parents[2]
    used = set()
    for path in (root / "leaderboard" / "results").glob("*/*.json"):
        made_with = json.loads(path.read_text("utf-8")).get("made_with") or {}
        for value in made_with.values():
            used |= set(pretrained.DIGEST.findall(value))
    assert used
    assert used <= listed
