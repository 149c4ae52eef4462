"""Every baseline is what its card says, and the two trivial ones give the known values."""

from __future__ import annotations

import inspect
import json
import re
import sys
from pathlib import Path

import pytest

from etchmark.catalog import Catalog
from etchmark.evaluation.fold import load_build
from etchmark.model import Model

ROOT = Path(__file__).resolve().parents[2]
CONTENT = Catalog(ROOT)
NAMES = sorted(path.parent.name for path in (ROOT / "baselines").glob("*/card.yaml"))


def _variants() -> list[str]:
    # Collected without a card being valid, so that a broken one fails its own test alone.
    found = []
    for name in NAMES:
        try:
            found += [f"{name}/{one}" for one in CONTENT.baseline(name).variants] or [name]
        except Exception:
            continue
    return found


def test_every_folder_of_baselines_is_a_baseline():
    folders = {
        path.name
        for path in (ROOT / "baselines").iterdir()
        if path.is_dir() and path.name != "__pycache__" and (path / "model.py").is_file()
    }
    assert folders == set(NAMES)
    assert {"training_mean", "same_paper_mean"} <= folders


@pytest.mark.parametrize("name", NAMES)
def test_card(name):
    card = CONTENT.baseline(name)
    assert card.title
    assert card.description
    assert card.licence
    assert card.training_data in {"none", "declared"}
    known = CONTENT.benchmark_names()
    uses = [card.benchmarks, *(one.benchmarks or {} for one in card.variants.values())]
    for use in uses:
        for benchmark, chosen in use.items():
            assert benchmark in known
            assert chosen.track in CONTENT.benchmark(benchmark).tracks


@pytest.mark.parametrize("name", NAMES)
def test_a_card_says_that_weights_are_taken_where_they_are(name):
    # Else the model's process is not told where the folder of weights is.
    build = load_build(ROOT / "baselines" / name / "model.py")
    takes = "weights_file" in inspect.signature(build).parameters
    assert CONTENT.baseline(name).takes_weights is takes
    code = (ROOT / "baselines" / name / "model.py").read_text(encoding="utf-8")
    assert ("EncoderSpec" in code) is takes


@pytest.mark.parametrize("name", NAMES)
def test_card_quotes_none_of_the_engines_inner_names(name):
    # A baseline is an ordinary submission: it uses the public interface.
    text = (ROOT / "baselines" / name / "model.py").read_text(encoding="utf-8")
    imported = set(re.findall(r"^\s*(?:from|import) (etchmark[\w.]*)", text, re.MULTILINE))
    inner = ("etchmark.registry", "etchmark.scoring", "etchmark.commands.main", "etchmark.catalog")
    assert not [one for one in imported if one.startswith((*inner, "etchmark.evaluation.worker"))]
    assert "etchmark.evaluation.evaluate" not in imported


EXTRAS = {"numba", "safetensors", "skimage", "timm", "torch", "torchvision"}
"""Modules that the core installation lacks."""


@pytest.mark.parametrize("name", _variants())
def test_variant_builds(name, monkeypatch):
    source = CONTENT.model(name)
    monkeypatch.setattr(sys, "path", [*sys.path])
    before = set(sys.modules)
    try:
        model = load_build(source.code)(seed=0, device="cpu", **source.params)
        assert isinstance(model, Model)
    except ModuleNotFoundError as error:
        if str(error.name).partition(".")[0] not in EXTRAS:
            raise
        pytest.skip(f"needs {error.name}")
    finally:
        # The next baseline has a module `model` of its own.
        for module in set(sys.modules) - before:
            where = getattr(sys.modules[module], "__file__", None) or ""
            if Path(where).parent == source.folder:
                del sys.modules[module]


# --- known values ------------------------------------------------------------------------------


@pytest.fixture
def scores(home, command, monkeypatch):
    monkeypatch.setenv("ETCHMARK_CONTENT", str(ROOT))

    def run(model: str, protocol: str) -> dict[str, float]:
        arguments = ("evaluate", model, "superalloy-hardness", "--protocol", protocol)
        record = json.loads(command(*arguments, "--mini", "--json").fine())
        (split,) = record["scores"]
        assert (split["n"], split["units"]) == (149, 19)
        assert len(split["folds"]) == {"leave-paper-out": 19, "as-published": 10}[protocol]
        return {name: one["value"] for name, one in split["metrics"].items()}

    return run


@pytest.mark.parametrize("model", ["training_mean", "same_paper_mean"])
def test_the_mean_with_whole_papers_left_out(scores, model):
    # Of a paper never seen the same-paper mean knows nothing more than the training mean.
    found = scores(model, "leave-paper-out")
    assert found["mae"] == pytest.approx(70.01, abs=0.005)
    assert found["mape"] == pytest.approx(19.06, abs=0.005)
    assert found["r2"] == pytest.approx(-0.070, abs=0.0005)


def test_the_training_mean_under_random_folds(scores):
    found = scores("training_mean", "as-published")
    assert found["mape"] == pytest.approx(18.4, abs=0.1)
    assert -0.05 < found["r2"] < 0


def test_the_same_paper_mean_under_random_folds_shows_the_leak(scores):
    found = scores("same_paper_mean", "as-published")
    assert found["mape"] == pytest.approx(12.0, abs=0.3)
    assert 0.38 <= found["r2"] <= 0.43
