"""Scoring in a process of its own: the same record, and limits that hold."""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest
import yaml

from etchmark.data.loading import load_benchmark
from etchmark.errors import UserError
from etchmark.evaluation.options import Limits
from etchmark.evaluation.responder import Keeping, KeptResponder
from etchmark.specs import ModelCard
from etchmark.submission import preview as module
from etchmark.submission import submit as submissions
from etchmark.submission.preview import Scorer, preview
from etchmark.submission.statements import Statement

BENCHMARK, TRACK, PROTOCOL = "toy-line", "features", "holdout"


@pytest.fixture
def predictions(toy_content: Path, tmp_path: Path) -> Path:
    truth = load_benchmark(BENCHMARK).truth("test", PROTOCOL)
    path = tmp_path / "mine.csv"
    frame = pd.DataFrame({"id": truth.ids, "prediction": truth.target + 1.0})
    frame.to_csv(path, index=False)
    return path


def ask(path: Path, **more: object) -> submissions.Prepared:
    scorer = more.pop("scorer", Scorer())
    stated = {"name": "mine", "card": ModelCard(), "track": TRACK, "protocol": PROTOCOL, **more}
    return preview(path, BENCHMARK, Statement(**stated), scorer=scorer)  # type: ignore[arg-type]


def timeless(prepared: submissions.Prepared) -> tuple[object, ...]:
    """All of a scored file but for the time of scoring."""
    record = prepared.record.model_dump(exclude={"created"})
    return record, prepared.samples, prepared.predictions, prepared.doubts


WARM = Scorer(warm=True)
Warm = Callable[..., KeptResponder]


@pytest.fixture
def warm(monkeypatch: pytest.MonkeyPatch) -> Iterator[Warm]:
    """Replaces the process that is kept by one that ends with the test."""
    made: list[KeptResponder] = []

    def start(code: str = "", **keeping: float) -> KeptResponder:
        command = module.COMMAND
        if code:
            serve = "from etchmark.submission import scorer; scorer.respond(scorer.score)"
            command = (sys.executable, "-c", f"{code}\n{serve}")
        kept = KeptResponder(
            command,
            who="the test",
            environment=module._environment,
            state=module._content_state,
            keeping=Keeping(**keeping),  # type: ignore[arg-type]
        )
        made.append(kept)
        monkeypatch.setattr(module, "_kept", kept)
        return kept

    yield start
    for kept in made:
        kept.end()


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


def test_refusals_come_through_as_one_line(predictions: Path, warm: Warm) -> None:
    warm()
    frame = pd.read_csv(predictions)
    frame.loc[2, "prediction"] = np.nan
    frame.to_csv(predictions, index=False, na_rep="nan")
    with pytest.raises(UserError, match="not finite") as refused:
        ask(predictions, scorer=WARM)
    assert "\n" not in str(refused.value)
    with pytest.raises(UserError, match="unknown protocol"):
        ask(predictions, protocol="nonesuch", scorer=WARM)
    with pytest.raises(UserError, match="is a baseline"):
        ask(predictions, name="toy_mean", scorer=WARM)


@pytest.mark.parametrize("name", ["", " x", "a\nb", "nul\0", "x" * 101])
def test_bad_names_start_no_process(
    predictions: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "COMMAND", ("there is no such program",))
    with pytest.raises(UserError, match="name"):
        ask(predictions, name=name)


def test_names_that_look_like_options_are_names(predictions: Path) -> None:
    assert ask(predictions, name="--help").record.name == "--help"


def _instead(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """Let the child run other code."""
    monkeypatch.setattr(module, "COMMAND", (sys.executable, "-c", code))


def test_time_and_memory_are_bounded(predictions: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _instead(monkeypatch, "import time; time.sleep(60)")
    with pytest.raises(UserError, match=r"^scoring took more than 0\.3 s and was stopped; check"):
        ask(predictions, scorer=Scorer(Limits(0.3)))
    _instead(monkeypatch, "x = b'x' * (300 << 20); import time; time.sleep(60)")
    with pytest.raises(UserError, match=r"more than 0\.125 GiB of memory and was stopped; check"):
        ask(predictions, scorer=Scorer(Limits(60.0, 128 << 20)))


def test_memory_of_what_the_child_starts_counts(
    predictions: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    eat = "x = b'x' * (300 << 20); import time; time.sleep(60)"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {eat!r}])"
    _instead(monkeypatch, code)
    with pytest.raises(UserError, match=r"more than 0\.125 GiB of memory"):
        ask(predictions, scorer=Scorer(Limits(60.0, 128 << 20)))


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("import os; os.abort()", r"\(its process was killed by SIGABRT\); try again, and check"),
        ("pass", r"\(exit 0: no message\); check that the file holds"),
        ("raise SystemExit('boom')", r"\(exit 1: boom\); check that the file holds"),
    ],
)
def test_a_child_that_dies_is_told(
    predictions: Path, monkeypatch: pytest.MonkeyPatch, code: str, why: str
) -> None:
    _instead(monkeypatch, code)
    with pytest.raises(UserError, match=rf"^the file could not be scored {why}") as refused:
        ask(predictions)
    assert "\n" not in str(refused.value)


def test_child_imports_nothing_from_the_working_directory(
    predictions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "numpy.py").write_text("raise SystemExit('taken over')", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert ask(predictions).record.outcome == "ok"


def test_no_process_is_left_unless_one_is_asked_for(predictions: Path) -> None:
    before = psutil.Process().children(recursive=True)
    ask(predictions)
    assert psutil.Process().children(recursive=True) == before


# --- the warm process --------------------------------------------------------------------------


def test_warm_and_cold_give_the_same_whatever_was_scored_before(
    predictions: Path, tmp_path: Path, warm: Warm
) -> None:
    bad, other = tmp_path / "bad.csv", tmp_path / "other.csv"
    frame = pd.read_csv(predictions)
    frame.iloc[:-2].to_csv(bad, index=False)
    frame.assign(prediction=0.0).to_csv(other, index=False)
    cold = [timeless(ask(predictions)), timeless(ask(other))]
    kept = warm()
    assert timeless(ask(predictions, scorer=WARM)) == cold[0]
    first = kept.pid
    with pytest.raises(UserError, match="are missing"):
        ask(bad, scorer=WARM)
    with pytest.raises(UserError, match="unknown protocol"):
        ask(other, protocol="nonesuch", scorer=WARM)
    assert timeless(ask(other, scorer=WARM)) == cold[1]
    assert cold[1][3], "a constant is doubted"
    assert timeless(ask(predictions, scorer=WARM)) == cold[0]
    assert kept.pid == first is not None


def test_another_hub_folder_or_other_content_is_seen(
    predictions: Path,
    toy_content: Path,
    tmp_path: Path,
    warm: Warm,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept = warm()
    before = timeless(ask(predictions, scorer=WARM))
    pids = [kept.pid]
    # A hub folder whose data are damaged, while those of the first one are not.
    hub = tmp_path / "another hub"
    shutil.copytree(os.environ["ETCHMARK_HOME"], hub)
    for path in hub.rglob("*.parquet"):
        path.write_bytes(b"damaged")
    with monkeypatch.context() as patched:
        patched.setenv("ETCHMARK_HOME", str(hub))
        with pytest.raises(UserError, match="missing or damaged"):
            ask(predictions, scorer=WARM)
        pids.append(kept.pid)
    assert timeless(ask(predictions, scorer=WARM)) == before
    pids.append(kept.pid)
    card = toy_content / "benchmarks" / f"{BENCHMARK}.yaml"
    content = yaml.safe_load(card.read_text("utf-8"))
    content["version"] += 1
    card.write_text(yaml.safe_dump(content), encoding="utf-8")
    after = ask(predictions, scorer=WARM)
    pids.append(kept.pid)
    assert after.record.benchmark_version == content["version"]
    assert len(set(pids)) == 4


LOUD = """
import os, subprocess, sys
from etchmark.submission import scorer
prepare_file = scorer.prepare_file
def loud(*given, **more):
    print('{"refused": "printed"}')
    os.write(1, bytes(range(256)))
    subprocess.run(["echo", "from a program"])
    return prepare_file(*given, **more)
scorer.prepare_file = loud
"""


def test_a_file_that_is_read_loudly_is_scored(predictions: Path, warm: Warm) -> None:
    expected = timeless(ask(predictions))
    kept = warm(LOUD)
    assert timeless(ask(predictions, scorer=WARM)) == expected
    first = kept.pid
    assert timeless(ask(predictions, scorer=WARM)) == expected
    assert kept.pid == first


MISBEHAVES = """
import os, tempfile, time
from etchmark.submission import scorer
prepare_file = scorer.prepare_file
def misbehave(*given, name, **more):
    open(tempfile.mkstemp()[1], "w").write("left")
    if name == "slow":
        open(os.path.join(os.path.dirname(given[1]), "started"), "w").close()
        time.sleep(300)
    if name == "greedy":
        raise MemoryError
    if name == "full":
        raise OSError(28, "No space left on device")
    if name == "broken":
        raise ValueError("the reason")
    return prepare_file(*given, name=name, **more)
scorer.prepare_file = misbehave
"""


def _wait_for(path: Path) -> None:
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)


REASONS = {
    "slow": "scoring took more than 1 s and was stopped; check that",
    "greedy": "there is not enough memory to score the file; check that",
    "full": "the file could not be scored (No space left on device); free some space",
    "broken": "the file could not be scored (exit 1: ValueError: the reason); check that",
}


def test_the_next_file_is_scored_by_a_new_process(
    predictions: Path, tmp_path: Path, warm: Warm, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    kept = warm(MISBEHAVES)
    expected = timeless(ask(predictions, scorer=WARM))
    pids = [kept.pid]
    for name, reason in REASONS.items():
        limits = Limits(1.0 if name == "slow" else 60.0, 4 << 30)
        with pytest.raises(UserError, match=f"^{re.escape(reason)}") as refused:
            ask(predictions, name=name, scorer=Scorer(limits, warm=True))
        assert "\n" not in str(refused.value)
        assert list(temporary.iterdir()) == [], "what a request left is removed"
        assert timeless(ask(predictions, scorer=WARM)) == expected
        pids.append(kept.pid)
    assert len(set(pids)) == len(pids)
    assert list(temporary.iterdir()) == []


def test_a_scorer_that_is_killed_is_told_in_one_line(predictions: Path, warm: Warm) -> None:
    kept = warm(MISBEHAVES)
    ask(predictions, scorer=WARM)
    first = kept.pid
    assert first is not None

    def kill() -> None:
        _wait_for(predictions.with_name("started"))
        psutil.Process(first).kill()

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(UserError, match=r"\(its process was killed by SIGKILL\); try again"):
        ask(predictions, name="slow", scorer=WARM)
    killer.join()
    assert ask(predictions, scorer=WARM).record.outcome == "ok"
    assert kept.pid != first


def test_files_of_several_sessions_take_turns(
    predictions: Path, warm: Warm, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = warm(MISBEHAVES, wait_seconds=0.5)
    monkeypatch.setattr(module, "KEEPING", Keeping(wait_seconds=0.5))
    ask(predictions, scorer=WARM)
    names = [f"model {number}" for number in range(3)]
    with ThreadPoolExecutor(3) as pool:
        slow = pool.submit(ask, predictions, name="slow", scorer=Scorer(Limits(3.0), warm=True))
        _wait_for(predictions.with_name("started"))
        with pytest.raises(UserError, match=r"^other files are being scored, .* waited 0\.5 s"):
            ask(predictions, scorer=WARM)
        with pytest.raises(UserError, match="more than 3 s"):
            slow.result(30)
        warm()
        scored = list(pool.map(lambda name: ask(predictions, name=name, scorer=WARM), names))
    assert [prepared.record.name for prepared in scored] == names
    assert kept.pid is None
