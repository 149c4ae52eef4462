"""Scoring in a process of its own: the same record, and limits that hold."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from etchmark.data.loading import load_benchmark
from etchmark.errors import UserError
from etchmark.evaluation.options import Limits
from etchmark.specs import ModelCard
from etchmark.submission import preview as module
from etchmark.submission import submit as submissions
from etchmark.submission.preview import preview

RUN = module._run
BENCHMARK, TRACK, PROTOCOL = "toy-line", "features", "holdout"


@pytest.fixture
def predictions(toy_content: Path, tmp_path: Path) -> Path:
    truth = load_benchmark(BENCHMARK).truth("test", PROTOCOL)
    path = tmp_path / "mine.csv"
    frame = pd.DataFrame({"id": truth.ids, "prediction": truth.target + 1.0})
    frame.to_csv(path, index=False)
    return path


def ask(path: Path, **more: object) -> submissions.Prepared:
    given = {"name": "mine", "card": ModelCard(), "track": TRACK, "protocol": PROTOCOL, **more}
    return preview(path, BENCHMARK, **given)  # type: ignore[arg-type]


def test_preview_is_what_prepare_file_makes(predictions: Path, home: Path) -> None:
    card = ModelCard(title="ünïcode", authors=["A. Author"], tags=["x"])
    ours = ask(predictions, card=card)
    theirs = submissions.prepare_file(
        load_benchmark(BENCHMARK),
        predictions,
        name="mine",
        card=card,
        track=TRACK,
        protocol=PROTOCOL,
    )
    assert ours.record.model_copy(update={"created": theirs.record.created}) == theirs.record
    assert ours.samples == theirs.samples
    assert ours.predictions == [predictions]
    assert not (home / "registry.sqlite").exists()


def test_refusals_come_through_as_one_line(predictions: Path) -> None:
    frame = pd.read_csv(predictions)
    frame.loc[2, "prediction"] = np.nan
    frame.to_csv(predictions, index=False, na_rep="nan")
    with pytest.raises(UserError, match="not finite") as refused:
        ask(predictions)
    assert "\n" not in str(refused.value)
    with pytest.raises(UserError, match="unknown protocol"):
        ask(predictions, protocol="nonesuch")
    with pytest.raises(UserError, match="is a baseline"):
        ask(predictions, name="toy_mean")


@pytest.mark.parametrize("name", ["", " x", "a\nb", "nul\0", "x" * 101])
def test_bad_names_start_no_process(
    predictions: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_run", lambda *_: pytest.fail("a process was started"))
    with pytest.raises(UserError, match="name"):
        ask(predictions, name=name)


def test_names_that_look_like_options_are_names(predictions: Path) -> None:
    assert ask(predictions, name="--help").record.name == "--help"


def _instead(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """Let the child run other code."""
    command = [sys.executable, "-c", code]
    monkeypatch.setattr(module, "_run", lambda _, *limits: RUN(command, *limits))


def test_time_and_memory_are_bounded(predictions: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _instead(monkeypatch, "import time; time.sleep(60)")
    with pytest.raises(UserError, match=r"more than 0\.3 s"):
        ask(predictions, limits=Limits(0.3))
    _instead(monkeypatch, "x = b'x' * (300 << 20); import time; time.sleep(60)")
    with pytest.raises(UserError, match=r"more than 0\.125 GiB of memory"):
        ask(predictions, limits=Limits(60.0, 128 << 20))


def test_a_child_that_dies_is_told(predictions: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for code in ("import os; os.abort()", "pass"):
        _instead(monkeypatch, code)
        with pytest.raises(UserError, match="could not be scored"):
            ask(predictions)


def test_child_imports_nothing_from_the_working_directory(
    predictions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "numpy.py").write_text("raise SystemExit('taken over')", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert ask(predictions).record.outcome == "ok"


def test_request_is_plain_json(predictions: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, object] = {}

    def run(command: list[str], *_: object) -> tuple[int, str]:
        seen.update(json.loads((Path(command[-1]) / module.REQUEST).read_text("utf-8")))
        return 1, "boom"

    monkeypatch.setattr(module, "_run", run)
    with pytest.raises(UserError, match="boom"):
        ask(predictions)
    assert set(seen) == {"file", "benchmark", "name", "track", "protocol", "card"}
