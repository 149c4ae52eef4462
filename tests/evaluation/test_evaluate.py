"""Models that go wrong in every way, and models that look wrong and are right."""

from __future__ import annotations

import collections
import errno
import json
import os
import signal
import tempfile
import time
from pathlib import Path

import psutil
import pytest

from etchmark.evaluation import layout, reference, watch
from etchmark.evaluation.collect import MAX_REASON, one_line
from etchmark.evaluation.evaluate import Limits, run_model
from etchmark.evaluation.process import OUTPUT_BYTES
from etchmark.specs.task import Task

FOLDS = ("--protocol", "folds")
MODEL = """
import os, sys, time
import numpy as np
{top}
class Mean:
    def fit(self, train, validation):
        self.mean = float(train.target.mean())
        {fit}
    def predict(self, inputs):
        rows = len(inputs["a"])
        prediction = np.full(rows, self.mean)
        {predict}
        return prediction
    {extra}
def build(seed, device):
    {build}
    return Mean()
"""


def mean(top: str = "", fit: str = "", predict: str = "", build: str = "", extra: str = "") -> str:
    """A model that predicts the training mean, with something else done at one place."""
    return MODEL.format(
        top=top, fit=fit or "pass", predict=predict or "pass", build=build or "pass", extra=extra
    )


FAILURES = {
    "raises at import": (mean(top="raise RuntimeError('at import')"), "RuntimeError: at import"),
    "raises in build": (mean(build="raise RuntimeError('in build')"), "RuntimeError: in build"),
    "raises in fit": (mean(fit="raise RuntimeError('in fit')"), "RuntimeError: in fit (model.py"),
    "raises in predict": (mean(predict="1 / 0"), "ZeroDivisionError: division by zero (model.py"),
    "raises SystemExit": (mean(fit="sys.exit(0)"), "SystemExit: 0"),
    "raises KeyboardInterrupt": (mean(fit="raise KeyboardInterrupt"), "KeyboardInterrupt"),
    "is no Python": ("def build(:", "SyntaxError"),
    "has no build": ("x = 1", "no function build(seed, device, **params)"),
    "build takes no seed": ("def build(): return None", "TypeError"),
    "builds no model": ("def build(seed, device): return 1", "no attribute 'fit'"),
    "too few rows": (mean(predict="prediction = prediction[:-1]"), "predict returned shape"),
    "a wrong shape": (mean(predict="prediction = np.zeros((rows, 2))"), "expected (9,)"),
    "NaN": (mean(predict="prediction[0] = np.nan"), "1 rows that are not finite"),
    "text": (mean(predict="prediction = prediction.astype(str)"), "not numbers"),
    "objects": (mean(predict="prediction = prediction.astype(object)"), "object, not numbers"),
    "ragged rows": (mean(predict="prediction = [[1], [1, 2]]"), "ValueError"),
    "more than can be scored": (mean(predict="prediction[:] = 1e300"), "is not finite"),
    "leaves with 0": (mean(fit="os._exit(0)"), "exited without a result"),
    "leaves with 3": (mean(fit="os._exit(3)"), "exited without a result"),
    "leaves at import": (mean(top="os._exit(0)"), "ended without a result"),
    "kills itself": (mean(fit="os.kill(os.getpid(), 9)"), "killed by signal 9"),
    "is stopped by itself": (mean(fit="os.kill(os.getpid(), 15)"), "killed by signal 15"),
    "kills its parent": (mean(fit="os.kill(os.getppid(), 9)"), "ended without a result"),
    "reads the target": (mean(predict="inputs['y']"), "'y' is not among"),
    "asks for too much": (mean(fit="np.ones(10**15)"), "ran out of memory (model.py"),
    "recurses": (
        mean(top="def deep(n): return deep(n + 1)", fit="deep(0)"),
        "RecursionError",
    ),
    "a hostile message": (
        mean(fit=r"raise ValueError('a\nb\r\x1b[31mred\u202e\ud800 ' + 'x' * 9999)"),
        "ValueError: a b",
    ),
    "a message that raises": (
        mean(
            top="class Bad(Exception):\n    def __str__(self): raise RuntimeError",
            fit="raise Bad",
        ),
        "Bad: (its message cannot be shown)",
    ),
    "closes stderr and raises": (
        mean(fit="sys.stdout.close(); sys.stderr.close(); os.close(2); 1 / 0"),
        "ZeroDivisionError",
    ),
    "a negative parameter count": (
        mean(extra="def parameter_count(self): return -1"),
        "not a number of parameters",
    ),
    "an absurd parameter count": (
        mean(extra="def parameter_count(self): return 10**30"),
        "not a number of parameters",
    ),
    "a parameter count that is not a number": (
        mean(extra="def parameter_count(self): return np.nan"),
        "parameter_count() is nan, not a finite number",
    ),
    "a parameter count in parts": (
        mean(extra="def parameter_count(self): return 2.5"),
        "parameter_count() is 2.5, not a number of parameters",
    ),
    "a parameter count as text": (
        mean(extra="def parameter_count(self): return '12'"),
        "parameter_count() is '12' (str), not a number",
    ),
    "negative flops": (mean(extra="def flops(self): return -1"), "flops() is -1; return a number"),
    "flops that are not a number": (
        mean(extra="def flops(self): return float('nan')"),
        "flops() is nan, not a finite number",
    ),
    "infinite flops": (
        mean(extra="def flops(self): return 10**400"),
        "flops() is inf, not a finite number",
    ),
    "flops as a list": (
        mean(extra="def flops(self): return [1, 2]"),
        "flops() is [1, 2] (list), not a number",
    ),
    "made with a list": (
        mean(extra="def made_with(self): return ['weights.bin']"),
        "made_with() is ['weights.bin'] (list), not a dict",
    ),
    "negative seconds of features": (
        mean(
            top="from etchmark.model import FeatureSeconds",
            extra="def feature_seconds(self): return FeatureSeconds(-1.0, 0.0)",
        ),
        "feature_seconds().ever is -1; give seconds",
    ),
    "seconds of features that are not a number": (
        mean(
            top="from etchmark.model import FeatureSeconds",
            extra="def feature_seconds(self): return FeatureSeconds(0.0, np.nan)",
        ),
        "feature_seconds().now is nan, not a finite number",
    ),
    "seconds of features that fall": (
        mean(
            top="from etchmark.model import FeatureSeconds",
            fit="self.spent = 9.0",
            predict="self.spent = 1.0",
            extra="spent = 0.0\n"
            "    def feature_seconds(self): return FeatureSeconds(self.spent, 0.0)",
        ),
        "feature_seconds().ever fell from 9 to 1 while predicting",
    ),
    "a parameter count that raises": (
        mean(extra="def parameter_count(self): return int('x')"),
        "invalid literal",
    ),
    "forges its result": (
        mean(
            fit="import pathlib; root = pathlib.Path('..').resolve();"
            " (root / 'holdout' / 'result-0.json').write_text('[]'); os._exit(0)"
        ),
        "left no readable result",
    ),
    "forges its failure": (
        mean(
            fit="import json, pathlib; pathlib.Path('../failure.json').write_text("
            r"json.dumps({'reason': ['\x1b[2J', '\ud800', 'y' * 99999]})); os._exit(1)"
        ),
        "yyyy",
    ),
}


@pytest.mark.parametrize("case", FAILURES)
def test_a_failing_model_leaves_one_failed_record(hub, case):
    code, expected = FAILURES[case]
    line = hub.refused(code)
    assert expected in line
    assert line.startswith("mine failed: ")
    assert line.endswith(
        "(recorded as failed, not ranked; --show-log prints what it printed and where it failed)"
    )
    assert line.isprintable()
    assert len(line) < MAX_REASON + 200
    assert hub.board() == []
    (row,) = hub.board(everything=True)
    assert (row["model"], row["outcome"]) == ("mine", "failed")
    assert (row["rank"], row["rank_low"], row["score"]) == (None, None, None)
    assert expected in row["reason"]
    assert list((hub.home / "predictions").glob("*/*")) == []


def test_the_same_failure_again_adds_no_record(hub):
    code = mean(fit="raise RuntimeError('again')")
    for _ in range(2):
        hub.refused(code)
    assert len(hub.board(everything=True)) == 1
    assert "nothing stored" in hub.refused(code, "--mini")
    assert len(hub.board(everything=True)) == 1
    hub.refused(code, *FOLDS)
    assert len(hub.board(everything=True)) == 1
    assert len(hub.board("folds", everything=True)) == 1


def test_a_model_that_fails_in_a_later_fold_has_no_score(hub):
    code = mean(
        predict="assert 0.0 not in inputs['a'], rows", fit="train.ids[0] == 'train-00' or 1 / 0"
    )
    assert "ZeroDivisionError" in hub.refused(code, *FOLDS)
    assert hub.board("folds") == []


def test_a_model_that_is_mended_is_ranked(hub):
    hub.refused(mean(fit="1 / 0"))
    hub.fine(mean())
    (row,) = hub.board()
    assert (row["model"], row["rank"], row["status"]) == ("mine", 1, "run")
    assert len(hub.board(everything=True)) == 2


def test_a_failure_on_the_command_line(hub, cli):
    folder = hub.model(mean(fit="raise RuntimeError('plain')"))
    ran = cli("evaluate", folder, "toy-line", "--track", "features")
    assert ran.rc == 2
    (line,) = ran.stderr.splitlines()
    assert line.startswith("error: mine failed: RuntimeError: plain (model.py, line ")
    ran = cli("evaluate", folder, "toy-line", "--track", "features", "--show-log")
    assert ran.stderr.splitlines()[-1].startswith("error: mine failed: ")
    assert "  | RuntimeError: plain" in ran.stderr
    ran = cli("leaderboard", "toy-line", "--all")
    assert (ran.rc, ran.stderr) == (0, "")
    assert "failed" in ran.stdout


# --- watching ----------------------------------------------------------------------------------

PRINTS = mean(
    fit=r"""
        print("epoch 1")
        print("10%\r90%\rdone", flush=True)
        sys.stderr.write("\x1b[31mred\n")""",
    predict=r"print('half a line', end='')",
)
SHOWN = ["  | epoch 1", "  | done", "  | \\x1b[31mred", "  | half a linehalf a line"]


def test_what_a_model_prints_is_shown_where_it_is_asked_for(hub):
    folder = hub.model(PRINTS)
    quiet = hub.evaluate(folder)
    assert (quiet.rc, quiet.stderr) == (0, "")
    for option in ("--show-log", "--mini"):
        ran = hub.evaluate(folder, option)
        assert (ran.rc, ran.stderr.splitlines()) == (0, SHOWN)
        assert "epoch" not in ran.stdout
        json.loads(hub.evaluate(folder, option, "--json").stdout)


def test_a_line_is_shown_when_it_is_printed(hub):
    code = mean(fit="print('started', flush=True); time.sleep(20)")
    process = hub.start(code, "--mini")
    assert process.stderr.readline() == b"  | started\n"
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)


def test_what_a_model_prints_is_kept_in_a_file_of_its_name(hub):
    hub.fine(PRINTS, "--resume")
    path = hub.home / "logs" / "mine.log"
    assert path.read_text().startswith("== toy-line@1, protocol holdout, ")
    assert "\nepoch 1\n" in path.read_text()
    hub.evaluate(hub.model(mean(fit="1 / 0")), "--resume")
    said = path.read_text()
    assert said.count("== toy-line@1") == 2, "run after run"
    assert said.endswith("ZeroDivisionError: division by zero\n")


def test_a_log_that_cannot_be_kept_is_no_reason_not_to_run(hub):
    hub.home.mkdir(exist_ok=True)
    (hub.home / "logs").write_text("no folder")
    hub.fine(mean(fit="print('x')"), "--resume")


def test_the_place_of_the_log_is_in_the_help_and_the_documents(hub):
    place = "logs/<model>.log"
    assert place in hub.command("evaluate", "--help").stdout
    page = Path(__file__).parents[2] / "docs" / "quickstart" / "model.md"
    assert place in page.read_text(encoding="utf-8")


# --- what should work --------------------------------------------------------------------------

FINE = {
    "prints 50 MB": mean(fit="for _ in range(5): print('x' * 2_500_000)"),
    "prints garbage": mean(fit="sys.stdout.buffer.write(os.urandom(100_000)); sys.stdout.flush()"),
    "closes stdout": mean(fit="sys.stdout.close()"),
    "has no stdout": mean(fit="sys.stdout = None; os.close(1)"),
    "uses threads": mean(
        top="import threading", fit="threading.Thread(target=time.sleep, args=(600,)).start()"
    ),
    "writes to its inputs": mean(
        predict="x = np.array(inputs['a']); x[:] = 0; inputs['kind'][:] = 'gone'"
    ),
    "returns single precision": mean(predict="prediction = prediction.astype(np.float32)"),
    "leaves its folder": mean(fit="os.chdir('/')"),
    "removes its folder": mean(fit="import shutil; shutil.rmtree(os.getcwd())"),
    "counts its parameters": mean(extra="def parameter_count(self): return np.int64(3)"),
    "counts with arrays": mean(
        extra="def parameter_count(self): return np.array(3.0)\n"
        "    def flops(self): return np.float32(7)\n"
        "    def made_with(self): return None"
    ),
}


@pytest.mark.parametrize("case", FINE)
def test_an_unusual_model_is_scored(hub, case):
    hub.fine(FINE[case], *FOLDS)
    (row,) = hub.board("folds")
    assert (row["outcome"], row["n"]) == ("ok", 12)
    assert 0 < row["score"] < 20


def test_a_flood_of_output_is_not_kept(hub):
    from etchmark.catalog import catalog
    from etchmark.data.loading import load_benchmark

    code = mean(fit="for _ in range(50): os.write(1, b'z' * 1_000_000)", predict="print('end')")
    source = catalog().model(str(hub.model(code)))
    out = hub.folder / "p.parquet"
    benchmark = load_benchmark("toy-line")
    run = run_model(source, benchmark, Task(benchmark.spec, "features", "holdout"), out)
    assert run.failure is None
    assert run.log.endswith("zend\nend\n")
    assert len(run.log) <= OUTPUT_BYTES + 65536


def test_what_each_fold_chose_is_kept(hub):
    """Once each where folds differ; what they share stands alone."""
    from etchmark.catalog import catalog
    from etchmark.data.loading import load_benchmark

    code = mean(
        extra="def made_with(self): return {'mean': round(self.mean, 6), 'weights': 'w', 'part': 1}"
    )
    source = catalog().model(str(hub.model(code)))
    benchmark = load_benchmark("toy-line")
    task = Task(benchmark.spec, "features", "folds")
    run = run_model(source, benchmark, task, hub.folder / "p.parquet")
    assert (run.made_with["weights"], run.made_with["part"]) == ("w", "1")
    chosen = run.made_with["mean"].split(", ")
    assert len(chosen) == len(set(chosen)) > 1


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_model_may_use_processes(hub, method):
    # What is defined in model.py is found by processes that import it anew.
    code = mean(
        top="import multiprocessing\ndef double(x): return 2 * x",
        fit=f"""
        with multiprocessing.get_context({method!r}).Pool(2) as pool:
            assert pool.map(double, [1, 2]) == [2, 4]""",
    )
    hub.fine(code)


def test_forks_share_memory_and_are_charged_once(hub):
    # Six processes that share 200 MB take 200 MB, not 1,200.
    code = mean(
        fit="""
        self.big = np.ones(25_000_000)
        children = [os.fork() for _ in range(1)]
        if 0 in children:
            for _ in range(4):
                if os.fork() == 0:
                    break
            time.sleep(0.7); os._exit(0)
        os.waitpid(children[0], 0); time.sleep(0.3)""",
    )
    hub.fine(code, "--memory-limit", "0.6")


# --- limits, leftovers, interruptions ----------------------------------------------------------


def _gone(pids: list[int], seconds: float = 10) -> bool:
    end = time.monotonic() + seconds
    while any(_runs(pid) for pid in pids):
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def _runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _pids(path: Path, count: int, seconds: float = 60) -> list[int]:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        lines = path.read_text().split() if path.exists() else []
        if len(lines) >= count:
            return [int(line) for line in lines]
        time.sleep(0.02)
    raise AssertionError(f"{path} was not written")


def _note(path: Path) -> str:
    flags = "os.O_CREAT | os.O_WRONLY | os.O_APPEND"
    return f"os.write(os.open({str(path)!r}, {flags}), b'%d\\n' % os.getpid())"


def stubborn(path: Path, then: str) -> str:
    """A model that ignores signals and leaves a daemon that has left its process group."""
    return mean(
        fit=f"""
        import signal
        for number in (1, 2, 15): signal.signal(number, signal.SIG_IGN)
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                {_note(path)}
                time.sleep(600)
            os._exit(0)
        {_note(path)}
        while len(open({str(path)!r}).read().split()) % 2: time.sleep(0.01)
        {then}"""
    )


def test_time_limit(hub):
    pids = hub.folder / "pids"
    started = time.monotonic()
    line = hub.refused(stubborn(pids, "time.sleep(600)"), "--time-limit", "5")
    assert "ran out of time: more than 5 s" in line
    assert 5 < time.monotonic() - started < 60
    assert _gone(_pids(pids, 2))
    (row,) = hub.board(everything=True)
    assert row["outcome"] == "failed"


def test_a_hanging_import_runs_out_of_time(hub):
    line = hub.refused(mean(top="time.sleep(600)"), "--time-limit", "0.5")
    assert "ran out of time" in line


def test_memory_limit(hub):
    code = mean(fit="kept = [np.ones(10**7) for _ in range(40)]; time.sleep(600)")
    line = hub.refused(code, "--memory-limit", "1", "--time-limit", "100")
    assert "ran out of memory: more than 1 GiB" in line


def test_memory_limit_counts_what_a_model_starts(hub):
    code = mean(
        fit="""
        for _ in range(4):
            if os.fork() == 0:
                kept = np.ones(5 * 10**7); time.sleep(600)
        time.sleep(600)"""
    )
    line = hub.refused(code, "--memory-limit", "1", "--time-limit", "100")
    assert "ran out of memory" in line


def test_what_a_model_leaves_running_is_ended(hub):
    pids = hub.folder / "pids"
    hub.fine(stubborn(pids, "pass"), *FOLDS)
    found = _pids(pids, 2 * 4)
    assert len(set(found)) == 2 * 4
    assert _gone(found)


def test_what_one_fold_left_running_does_not_see_the_next(hub):
    pids = hub.folder / "pids"
    pids.touch()
    then = f"""
        import psutil
        others = [int(pid) for pid in open({str(pids)!r}).read().split()[:-2]]
        assert not any(psutil.pid_exists(pid) for pid in others), others"""
    hub.fine(stubborn(pids, then), *FOLDS)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_evaluation_leaves_nothing(hub, number):
    pids = hub.folder / "pids"
    process = hub.start(stubborn(pids, "time.sleep(600)"))
    found = _pids(pids, 2)
    worker = [child.pid for child in psutil.Process(process.pid).children(recursive=True)]
    process.send_signal(number)
    _, err = process.communicate(timeout=30)
    assert process.returncode not in (0, None)
    assert b"Traceback" not in err
    assert _gone(found + worker)
    assert list(hub.temporary.iterdir()) == []
    assert hub.board(everything=True) == []


def test_a_killed_evaluation_takes_its_worker_along(hub):
    pids = hub.folder / "pids"
    process = hub.start(mean(fit=f"{_note(pids)}; time.sleep(600)"))
    found = _pids(pids, 1)
    worker = [child.pid for child in psutil.Process(process.pid).children(recursive=True)]
    process.kill()
    process.communicate(timeout=30)
    assert _gone(found + worker)


def test_no_run_folder_is_left(hub, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(hub.temporary))
    hub.fine(mean())
    hub.refused(mean(fit="1 / 0"))
    assert list(hub.temporary.iterdir()) == []


# --- no room ------------------------------------------------------------------------------------


def test_a_temporary_folder_that_cannot_be_made_is_one_line(hub, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(hub.folder / "absent"))
    line = hub.refused(mean())
    assert line.startswith("no temporary folder can be made (No such file or directory); free")
    assert "to a folder that can be written and has room" in line
    assert hub.board(everything=True) == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
def test_a_full_disk_is_one_line(hub, monkeypatch, number):
    monkeypatch.setattr(tempfile, "tempdir", str(hub.temporary))

    def full(*_, **__):
        raise OSError(number, os.strerror(number), "/full/train.arrow")

    monkeypatch.setattr(layout, "copy_columns", full)
    line = hub.refused(mean())
    assert line.startswith(f"/full/train.arrow: cannot be written ({os.strerror(number)}); free")
    assert list(hub.temporary.iterdir()) == []
    assert hub.board(everything=True) == []


def test_a_disk_that_is_full_while_the_model_runs_is_no_failure_of_the_model(hub):
    line = hub.refused(mean(fit="raise OSError(28, 'No space left on device', '/full/x')"))
    assert line.startswith("/full/x: cannot be written (No space left on device); free space")
    assert hub.board(everything=True) == []


# --- what a run means --------------------------------------------------------------------------


def test_two_runs_give_the_same_submission(hub):
    code = mean(top="import random", fit="self.mean += random.random() + np.random.rand()")
    first = hub.fine(code, *FOLDS).split("stored as ")[1].strip()
    again = hub.fine(code, *FOLDS).split("stored as ")[1].strip()
    assert first.endswith(": rank 1 of 1 (95 % range 1–1)")
    said = " again, in place of the run that predicted the very same"
    assert again == first.replace(":", f"{said}:", 1)
    assert len(hub.board("folds", everything=True)) == 1


def test_seeds_are_run_averaged_and_their_spread_shown(hub):
    code = mean().replace("return Mean()", "model = Mean(); model.seed = seed; return model")
    code = code.replace("np.full(rows, self.mean)", "np.full(rows, self.mean + 9 * self.seed)")
    hub.fine(code, *FOLDS, "--seeds", "3")
    (row,) = hub.board("folds")
    assert (row["seeds"], row["n"]) == (3, 12)
    assert row["seed_sd"] > 1
    assert row["score"] > 5
    hub.fine(code, "--seeds", "1")
    (row,) = hub.board()
    assert (row["seeds"], row["seed_sd"]) == (1, None)


def test_extra_splits_are_predicted_too(hub):
    assert "hard" in hub.fine(mean())


def test_cost_is_recorded_and_plausible(hub):
    code = mean(
        fit="time.sleep(0.05); self.kept = np.ones(10**7); del self.kept",
        predict="time.sleep(0.03)",
        extra="def parameter_count(self): return 7\n    def flops(self): return 1.5e3",
    )
    started = time.monotonic()
    hub.fine(code, *FOLDS, "--seeds", "2")
    elapsed = time.monotonic() - started
    (row,) = hub.board("folds")
    # Summed over the four folds, the mean over seeds.
    assert 4 * 0.05 <= row["fit_seconds"] < elapsed
    assert 4 * 0.03 <= row["predict_seconds"] < elapsed
    assert 80e6 < row["peak_memory_bytes"] < 1e9
    # Every sample is in one fold.
    assert row["seconds_each"] == pytest.approx(row["predict_seconds"] / row["n"])
    assert (row["parameters"], row["flops"]) == (7, 1500)
    assert row["hardware"].endswith(" cores")


def cost_of(hub, code: str, *options: str) -> dict:
    ran = hub.evaluate(hub.model(code), *options, "--json")
    assert (ran.rc, ran.stderr) == (0, ""), ran
    return json.loads(ran.stdout)["cost"]


def test_processor_time_counts_all_processes_of_a_run(hub):
    # One child that is waited for, and one that is left running and ended with the fold.
    burn = "import time; end = time.process_time() + {}\nwhile time.process_time() < end: pass"
    code = mean(
        top="import subprocess",
        fit=f"subprocess.run([sys.executable, '-c', {burn.format(0.5)!r}]);"
        f" subprocess.Popen([sys.executable, '-c', {burn.format(60)!r}]); time.sleep(1)",
    )
    cost = cost_of(hub, code, "--seeds", "2")
    # The mean over seeds, as seconds of fitting are.
    assert 0.5 < cost["cpu_seconds"] < 10
    assert cost["fit_seconds"] > 1
    idle = cost_of(hub, mean(fit="time.sleep(1)"))["cpu_seconds"]
    assert idle < cost["cpu_seconds"] - 0.4


def test_processor_time_is_that_of_fit_and_predict_whatever_is_imported(hub):
    burn = "end = time.process_time() + 0.5\n{}while time.process_time() < end: pass"
    # A model that imports nothing does not pay for what the harness imports to check it.
    assert cost_of(hub, mean(), *FOLDS)["cpu_seconds"] < 0.2
    assert cost_of(hub, mean(top=burn.format("")), *FOLDS)["cpu_seconds"] < 0.2
    fit, predict = burn.format(" " * 8), burn.format(" " * 8)
    # One fit, and a prediction of each of two splits.
    cost = cost_of(hub, mean(fit=fit, predict=predict))
    assert 1.5 <= cost["cpu_seconds"] < 1.8
    predicted = cost["predict_seconds"] / cost["seconds_each"]
    assert 1.0 <= cost["cpu_seconds_each"] * predicted < 1.2


def test_the_reference_workload_is_timed_before_and_after(hub, monkeypatch):
    assert "reference_seconds" not in cost_of(hub, mean())
    monkeypatch.setattr(reference, "ROUNDS", 1)
    cost = cost_of(hub, mean())
    for key in reference.KEYS:
        before, after = cost[key]
        assert 0.005 < before < 10
        assert 0.005 < after < 10
    assert "reference_seconds" not in cost_of(hub, mean(), "--mini")


TORCH = """
import numpy as np, torch
class Net:
    def fit(self, train, validation):
        frozen = torch.nn.Linear(30, 5)
        frozen.requires_grad_(False)
        self.parts = {{"encoder": [frozen], "head": torch.nn.Linear(5, 1)}}
    def predict(self, inputs):
        {predict}
        given = torch.from_numpy(np.array(inputs["a"]))[:, None].float().expand(-1, 30)
        inputs["a"][:] = 0
        with torch.inference_mode():
            found = self.parts["head"](self.parts["encoder"][0](given))
        return found[:, 0].numpy()
    def parameter_count(self):
        return 6
    {extra}
def build(seed, device):
    return Net()
"""


@pytest.mark.parametrize(
    ("change", "total", "flops"),
    [
        ({}, 155 + 6, 2 * (30 * 5 + 5)),
        # What the harness counted stands, whatever the model says.
        ({"extra": "def flops(self): return 7.0"}, 161, 310),
        (
            {"extra": "def flops(self): return 7.0", "predict": "assert len(inputs['a']) > 1"},
            161,
            7,
        ),
        ({"predict": "assert len(inputs['a']) > 1"}, 161, None),
        ({"extra": "def total_parameter_count(self): return 1000"}, 1000, 310),
    ],
)
def test_operations_and_all_parameters_are_counted(hub, change, total, flops):
    pytest.importorskip("torch")
    cost = cost_of(hub, TORCH.format(**{"predict": "pass", "extra": "", **change}))
    assert cost["parameters"] == 6
    assert (cost["total_parameters"], cost["flops"]) == (total, flops)


def test_without_networks_all_parameters_are_the_fitted_ones(hub):
    cost = cost_of(hub, mean(extra="def parameter_count(self): return 7"))
    assert (cost["parameters"], cost["total_parameters"], cost["flops"]) == (7, 7, None)
    assert "total_parameters" not in cost_of(hub, mean())


KEEPS_FEATURES = """
    def read(self, ever, now):
        from etchmark.model import FeatureSeconds
        started, started_cpu = time.perf_counter(), time.process_time()
        while time.process_time() < started_cpu + now: pass
        wall, cpu = time.perf_counter() - started, time.process_time() - started_cpu
        self.read_so_far = self.feature_seconds() + FeatureSeconds(ever, wall, cpu)

    def feature_seconds(self):
        from etchmark.model import FeatureSeconds
        return getattr(self, "read_so_far", FeatureSeconds())
"""


@pytest.mark.parametrize("stored", [True, False])
def test_kept_features_count_alike_whether_they_were_there(hub, stored):
    now = 0.0 if stored else 0.3
    code = mean(
        fit=f"self.read(1000.0, {now})",
        predict=f"self.read(500.0, {now})",
        extra=KEEPS_FEATURES.strip(),
    )
    hub.fine(code)
    (row,) = hub.board()
    assert row["fit_seconds"] < 0.3
    # Two splits are predicted.
    assert 1000 <= row["predict_seconds"] < 1000.3
    assert row["feature_seconds"] == 2000
    # Processor time is without features; a prediction without them is not what a user pays for.
    assert row["cpu_seconds"] < 0.2
    assert row["cpu_seconds_each"] is None


def test_feature_seconds_of_another_kind(hub):
    said = hub.refused(mean(extra="def feature_seconds(self): return 3.0"))
    assert "feature_seconds() returned float, not FeatureSeconds" in said


def test_a_failed_run_has_no_cost_but_its_hardware(hub):
    hub.refused(mean(fit="1 / 0"))
    (row,) = hub.board(everything=True)
    assert row["hardware"]
    assert (row["fit_seconds"], row["peak_memory_bytes"], row["parameters"]) == (None, None, None)


@pytest.mark.parametrize(
    ("printed", "shown"),
    [
        ([], ""),
        ([b"epoch 1/9: loss 0.2\n"], "epoch 1/9: loss 0.2"),
        ([b"one\ntw", b"o, 37% of 20 images\n\n"], "two, 37% of 20 images"),
        ([b"\r10%|#  |\r20%|## |"], "20%|## |"),
        ([b"\x1b[2Jclear\xff\n"], "\\x1b[2Jclear\ufffd"),
        ([b"x" * 9000], "x" * 499 + "…"),
    ],
)
def test_what_a_model_printed_last_stands_beside_the_bar(printed, shown):
    assert watch._last_line(collections.deque(printed)) == shown


def test_a_terminal_shows_how_far_a_fold_is(hub, capsys):
    tail = collections.deque([b"encoder: 37% of 20 images, 88 s left\n"])
    with watch._bar(3, True, tail) as advance:
        advance(0)
        time.sleep(0.2)
        advance(1)
    assert "1/3 folds [00:00], encoder: 37% of 20 images, 88 s left" in capsys.readouterr().err


def test_mini_stores_nothing(hub):
    assert "nothing stored" in hub.fine(mean(), "--mini")
    assert not (hub.home / "registry.sqlite").exists()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("toy_maen", "toy-line"), "did you mean: toy_mean"),
        (("toy_mean", "toy-lime"), "did you mean: toy-line"),
        (("toy_mean", "toy-line", "--track", "feature"), "unknown track"),
        (("toy_mean", "toy-line", "--protocol", "mine"), "unknown protocol"),
        (("toy_mean", "toy-line", "--device", "abacus"), "unknown device"),
    ],
)
def test_unknown_names_are_the_callers_mistake_and_no_record(hub, arguments, expected):
    assert expected in hub.command("evaluate", *arguments).refusal()
    assert hub.board(everything=True) == []


def test_a_folder_without_a_track_says_which_there_are(hub):
    line = hub.command("evaluate", hub.model(mean()), "toy-line").refusal()
    assert "features, kinds" in line
    assert "--track" in line


def test_a_folder_without_code(hub):
    (hub.folder / "empty").mkdir()
    assert "has no model.py" in hub.evaluate(hub.folder / "empty").refusal()


def test_a_folder_named_like_a_baseline_is_refused(hub):
    for name in ("toy_mean", "Toy_Mean"):
        line = hub.evaluate(hub.model(mean(), name)).refusal()
        assert "is a baseline of this hub" in line
    assert hub.board(everything=True) == []


def test_limits_have_a_generous_default():
    assert Limits().seconds >= 3600
    assert Limits().memory_bytes is None


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("  a\n b\t c ", "a b c"),
        ("\x1b[31m", "\\x1b[31m"),
        ("\u202eab\ud800", "\\u202eab\\ud800"),
        ("", ""),
    ],
)
def test_one_line(given, expected):
    assert one_line(given) == expected


def test_one_line_is_bounded():
    assert len(one_line("x" * 10_000)) == MAX_REASON
