"""A training that is killed goes on where it stopped, and is the same in the end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from etchmark.catalog import catalog
from etchmark.data.loading import load_benchmark
from etchmark.evaluation import checkpoints
from etchmark.evaluation.checkpoints import Checkpoint, Stopwatch
from etchmark.evaluation.evaluate import log_file
from etchmark.specs.task import Task

RESUME = ("evaluate", "{model}", "toy-line", "--track", "features", "--resume")
EPOCHS = 8
# Learns the mean by epochs of 0.3 s, each of which is noted in a checkpoint and, to be looked at
# by the test, in a diary.
MODEL = """
import json, os, sys, time
from pathlib import Path
import numpy as np
DIARY = {diary!r}
class Counting:
    def fit(self, train, validation):
        state = Path("state.json")
        self.epoch, self.mean = json.loads(state.read_text()) if state.exists() else (0, 0.0)
        fold = int(1000 * train.target.sum())
        while self.epoch < {epochs}:
            {fit}
            time.sleep(0.3)
            self.epoch += 1
            self.mean += float(train.target.mean()) / {epochs}
            Path("new").write_text(json.dumps([self.epoch, self.mean]))
            os.replace("new", state)
            print("epoch", self.epoch, flush=True)
            with open(DIARY, "a") as diary:
                diary.write(f"{{fold}} {{self.epoch}}\\n")
    def predict(self, inputs):
        {predict}
        return np.full(len(inputs["a"]), self.mean)
def build(seed, device):
    return Counting()
"""


def code(hub, fit: str = "pass", predict: str = "pass", epochs: int = EPOCHS) -> str:
    diary = str(hub.folder / "diary")
    return MODEL.format(diary=diary, fit=fit, predict=predict, epochs=epochs)


def diary(hub) -> list[list[int]]:
    path = hub.folder / "diary"
    lines = path.read_text().splitlines() if path.exists() else []
    return [[int(one) for one in line.split()] for line in lines]


def kept(hub) -> list[Path]:
    return sorted((hub.home / "checkpoints").glob("*"))


def start(hub, *options: str) -> subprocess.Popen[bytes]:
    model = str(hub.folder / "mine")
    arguments = [part.format(model=model) for part in RESUME]
    return subprocess.Popen(
        [sys.executable, "-m", "etchmark", *arguments, *options],
        env={**os.environ, "TMPDIR": str(hub.temporary)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def kill_all(process: subprocess.Popen[bytes]) -> None:
    """End a process and everything below it with no chance to tidy up."""
    tree = [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]
    for one in tree:
        one.send_signal(signal.SIGSTOP)
    for one in tree:
        one.kill()
    process.wait(30)
    psutil.wait_procs(tree, timeout=30)


def wait_for(hub, entries: int, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while len(diary(hub)) < entries:
        assert time.monotonic() < end, "the model did not get so far"
        time.sleep(0.02)


def test_a_killed_training_goes_on(hub) -> None:
    model = hub.model(code(hub))
    process = start(hub)
    wait_for(hub, 5)
    kill_all(process)
    done = len(diary(hub))
    assert 5 <= done < EPOCHS
    (folder,) = kept(hub)
    assert (folder / "holdout-0" / "state.json").is_file()
    noted = json.loads((folder / "holdout-0.seconds").read_text())["seconds"]
    assert 0.9 <= noted < 60
    ran = hub.command(*[part.format(model=model) for part in RESUME], "--json")
    assert (ran.rc, ran.stderr) == (0, "")
    # One epoch may have been counted and not yet entered, or the other way round.
    epochs = [epoch for _, epoch in diary(hub)]
    assert epochs[-1] == EPOCHS
    assert EPOCHS - 1 <= len(epochs) <= EPOCHS + 1
    record = json.loads(ran.stdout)
    assert record["cost"]["fit_seconds"] >= noted + 0.3 * (EPOCHS - done - 1)
    assert kept(hub) == []
    # A run that nobody disturbed comes to the same predictions: it is the same submission.
    whole = hub.evaluate(model, "--json")
    assert json.loads(whole.stdout)["submission"] == record["submission"]
    assert json.loads(whole.stdout)["scores"] == record["scores"]
    assert len(diary(hub)) == len(epochs) + EPOCHS


def test_finished_folds_are_not_run_again(hub) -> None:
    model = hub.model(code(hub, epochs=2))
    process = start(hub, "--protocol", "folds", "--seeds", "2")
    wait_for(hub, 7)
    kill_all(process)
    (folder,) = kept(hub)
    finished = sorted(path.name for path in folder.glob("*.result"))
    assert finished[:3] == ["fold-000-0.result", "fold-001-0.result", "fold-002-0.result"]
    # What a fold wrote is gone before the next one starts: it may know the other's answers.
    assert len([path for path in folder.iterdir() if path.is_dir()]) <= len(finished) + 1
    before = len(diary(hub))
    said = hub.command(
        *[part.format(model=model) for part in RESUME], "--protocol", "folds", "--seeds", "2"
    ).fine()
    assert "stored as" in said
    assert len(diary(hub)) <= 2 * 2 * 4 + 1
    assert len(diary(hub)) - before <= 2 * (8 - len(finished))
    (row,) = hub.board("folds")
    assert (row["seeds"], row["n"]) == (2, 12)
    # At most a second is lost where it was killed.
    assert row["fit_seconds"] >= 4 * 2 * 0.3 - 1.2 / 2
    assert row["peak_memory_bytes"] > 10e6
    assert kept(hub) == []


def test_a_model_that_fails_keeps_its_checkpoints_until_it_succeeds(hub) -> None:
    flag = hub.folder / "flag"
    model = hub.model(code(hub, predict=f"assert Path({str(flag)!r}).exists()", epochs=3))
    run = [part.format(model=model) for part in RESUME]
    assert "its checkpoints are kept for --resume" in hub.command(*run).refusal()
    assert len(diary(hub)) == 3
    assert len(kept(hub)) == 1
    flag.touch()
    record = json.loads(hub.command(*run, "--json").fine())
    assert len(diary(hub)) == 3
    assert record["cost"]["fit_seconds"] > 0.9
    assert kept(hub) == []


def test_a_time_limit_holds_for_each_attempt(hub) -> None:
    flag = hub.folder / "flag"
    wait = f"if self.epoch == 1 and not Path({str(flag)!r}).exists(): time.sleep(600)"
    run = [part.format(model=hub.model(code(hub, fit=wait, epochs=3))) for part in RESUME]
    assert "ran out of time" in hub.command(*run, "--time-limit", "8").refusal()
    flag.touch()
    hub.command(*run, "--time-limit", "100").fine()
    assert [epoch for _, epoch in diary(hub)] == [1, 2, 3]


def test_without_resume_nothing_is_kept(hub) -> None:
    hub.fine(code(hub, fit="assert os.listdir() in ([], ['state.json'])", epochs=1))
    assert kept(hub) == []
    assert not (hub.home / "logs").exists()


def test_the_working_directory_holds_what_the_model_wrote_and_nothing_else(hub) -> None:
    seen = "assert set(os.listdir()) <= {'state.json'}, os.listdir()"
    above = "assert {one.name for one in Path('..').iterdir()} <= {'lock', Path.cwd().name, "
    above += "Path.cwd().name + '.seconds', '.' + Path.cwd().name + '.seconds.tmp'}"
    hub.fine(code(hub, fit=f"{seen}; {above}", epochs=1), "--resume")


def test_what_is_printed_can_be_followed(hub) -> None:
    hub.fine(code(hub, epochs=2), "--resume")
    lines = log_file("mine").read_text().splitlines()
    assert lines[0].startswith("== toy-line@1, protocol holdout, 2")
    assert lines[1:] == ["epoch 1", "epoch 2"]
    hub.fine(code(hub, epochs=2), "--resume")
    assert len(log_file("mine").read_text().splitlines()) == 6
    assert log_file("a/b c").name == "a-b-c.log"


def test_two_processes_do_not_share_checkpoints(hub) -> None:
    model = hub.model(code(hub))
    process = start(hub)
    try:
        wait_for(hub, 1)
        line = hub.command(*[part.format(model=model) for part in RESUME]).refusal()
        assert "another process is running this model with --resume" in line
    finally:
        kill_all(process)


# --- what belongs together ---------------------------------------------------------------------


def test_other_code_data_or_settings_begin_anew(hub, monkeypatch: pytest.MonkeyPatch) -> None:
    benchmark = load_benchmark("toy-line")

    def folder(track: str = "features", protocol: str = "holdout", device: str = "cpu") -> str:
        source = catalog().model(str(hub.folder / "mine"))
        task = Task(benchmark.spec, track, protocol)
        return checkpoints.folder_of(source, benchmark, task, device).name

    model = hub.model(code(hub))
    first = folder()
    assert folder() == first
    (model / "__pycache__").mkdir()
    (model / "__pycache__" / "model.pyc").write_bytes(b"x")
    assert folder() == first
    others = {folder(track="kinds"), folder(protocol="folds"), folder(device="cuda")}
    (model / "part.py").write_text("x = 1")
    others.add(folder())
    hub.model(code(hub, epochs=9))
    others.add(folder())
    assert len(others | {first}) == 6
    # A loop of etchmark's own that is not what it was.
    monkeypatch.setattr(checkpoints, "ENGINE", ("learning/periodic.py", "learning/training.py"))
    assert folder() not in others | {first}


def test_an_outcome_is_kept_whole_or_not_at_all(tmp_path: Path) -> None:
    folder, root = tmp_path / "fold", tmp_path / "kept"
    folder.mkdir()
    root.mkdir()
    one = Checkpoint(root, "fold-000", 1)
    one.work.mkdir()
    one.seconds.write_text("3")
    assert not one.restore(tmp_path / "again")
    (folder / "predictions-test-1.npy").write_bytes(b"p")
    with pytest.raises(FileNotFoundError):
        one.keep(folder, ["test"])
    assert not one.restore(tmp_path / "again")
    assert one.work.is_dir()
    for name in ("result-1.json", "usage-1.json"):
        (folder / name).write_text("{}")
    one.keep(folder, ["test"])
    assert one.restore(tmp_path / "again")
    assert sorted(path.name for path in (tmp_path / "again").iterdir()) == [
        "predictions-test-1.npy",
        "result-1.json",
        "usage-1.json",
    ]
    # An outcome without the model that is wanted is none.
    assert not one.restore(tmp_path / "again", ["model-1"])
    assert [path.name for path in root.iterdir()] == ["fold-000-1.result"]


def test_a_stopwatch_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "NOTE_EVERY_S", 0.02)
    note = tmp_path / "note"
    with Stopwatch(note) as first:
        time.sleep(0.2)
        noted = json.loads(note.read_text())
        assert 0.05 < noted["seconds"] < first.seconds
    noted = json.loads(note.read_text())
    assert noted["seconds"] == first.seconds
    assert 0 < first.cpu_seconds == noted["cpu_seconds"]
    with Stopwatch(note) as second:
        pass
    assert first.seconds < second.seconds < first.seconds + 0.2
    assert first.cpu_seconds <= second.cpu_seconds < first.cpu_seconds + 0.2
    for broken in ("", "x", "nan", "-1", "inf"):
        note.write_text(broken)
        with Stopwatch(note) as watch:
            pass
        assert 0 <= watch.seconds < 0.2
    with Stopwatch() as alone:
        pass
    assert alone.seconds < 0.2


TRAINS = """
import numpy as np, torch
from etchmark import training
class Mean:
    def fit(self, train, validation):
        self.network = torch.nn.Linear(1, 1)
        target = torch.from_numpy(np.array(train.target, np.float32))[:, None]
        schedule = training.Schedule(epochs=3, batch=4, learning_rate=0.1)
        def loss(rows, generator):
            return (self.network(torch.ones(len(rows), 1)) - target[rows]).square().mean()
        training.train(
            self.network, loss, len(target), schedule, seed=0, device="cpu", who="mean"
        )
    def predict(self, inputs):
        {predict}
        with torch.no_grad():
            value = float(self.network(torch.ones(1, 1)))
        return np.full(len(inputs["a"]), value)
def build(seed, device):
    return Mean()
"""


def test_a_training_of_the_toolkit_goes_on_under_resume(hub, monkeypatch):
    pytest.importorskip("torch")
    monkeypatch.chdir(hub.temporary)
    hub.refused(TRAINS.format(predict="raise RuntimeError('later')"), "--resume")
    (folder,) = kept(hub)
    assert (folder / "holdout-0" / "checkpoint.safetensors").is_file()
    ran = hub.evaluate(hub.folder / "mine", "--resume")
    assert ran.rc == 2
    said = log_file("mine").read_text()
    assert said.count("epoch 3/3") == 1
    assert "checkpoint.safetensors: 3 epochs done" in said
    hub.fine(TRAINS.format(predict="pass"))
    assert list(hub.temporary.iterdir()) == [], "nothing is written where the command was called"
