"""A build of costly labels survives kills, is resumed, and takes nothing that is not whole."""

from __future__ import annotations

import random
import re
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from etchmark.catalog import catalog
from etchmark.columns import Columns
from etchmark.data import building, packaging, progress, staging
from etchmark.data.executors import Processes
from etchmark.data.loading import find_config, read_manifest

Command = Callable[..., Any]


def fingerprint(said: str) -> str:
    return next(line.split()[1] for line in said.splitlines() if line.startswith("fingerprint "))


def test_what_is_built(costly: Any, command: Command, tmp_path: Path) -> None:
    from datasets import load_dataset

    said = command("build", "costly").fine()
    assert "8 label shards: 0 of the frozen release, 0 of earlier work, 8 computed" in said
    assert read_manifest(costly.built).fingerprint == fingerprint(said)
    names = sorted(path.name for path in (costly.built / "data").iterdir())
    assert names == [f"test-0000{i}-of-00003.parquet" for i in range(3)] + [
        f"train-0000{i}-of-00005.parquet" for i in range(5)
    ]
    assert sorted(path.name for path in costly.built.iterdir()) == [
        "README.md", "data", "manifest.json",
    ]  # fmt: skip
    assert [path.name for path in costly.built.parent.iterdir()] == ["mini"]
    found = load_dataset(str(costly.built), "mini", cache_dir=str(tmp_path / "cache"))
    assert {name: table.num_rows for name, table in found.items()} == {"train": 15, "test": 9}
    assert str(found["train"].features["phases"]) == "Array3D(shape=(5, 4, 3), dtype='uint8')"
    ids = found["train"]["id"][:]
    assert ids == [f"train-{part}-{row}" for part in range(5) for row in range(3)]


def test_processes_make_the_same(costly: Any, command: Command, tmp_path: Path) -> None:
    first = building.build(
        catalog(), "costly", None, building.BuildOptions(out=tmp_path / "serial")
    )
    assert "8 of earlier work" in command("build", "costly").fine()
    both = building.Executors(Processes(2), Processes(2))
    second = building.build(
        catalog(), "costly", None, building.BuildOptions(executors=both, recompute=True)
    )
    assert second.labels == staging.LabelCounts(0, 0, 8)
    assert second.manifest == first.manifest
    assert costly.called() == dict.fromkeys(costly.called(), 2)


def test_frozen_labels_are_taken_and_recomputed_on_demand(costly: Any, command: Command) -> None:
    said = command("build", "costly", "--freeze").fine()
    assert "frozen in" in said
    assert [path.name for path in costly.frozen.parent.iterdir()] == ["mini.parquet"]
    shutil.rmtree(costly.home)
    again = command("build", "costly").fine()
    assert "8 label shards: 8 of the frozen release, 0 of earlier work, 0 computed" in again
    assert set(costly.called().values()) == {1}
    # A frozen label that no simulation gives: what is built is the release, until recomputed.
    table = pq.read_table(costly.frozen)
    altered = np.asarray(table["y"]) + 0.125 * (np.asarray(table["id"]) == "test-1-1")
    altered_table = table.set_column(2, "y", pa.array(altered))
    pq.write_table(altered_table.replace_schema_metadata(table.schema.metadata), costly.frozen)
    command("build", "costly", "--freeze").fine()
    assert "8 of the frozen release" in command("build", "costly").fine()
    for _ in range(2):  # a finished recomputation is not taken for another
        ran = command("build", "costly", "--recompute")
        assert ran.rc == 1
        assert "0 of the frozen release, 0 of earlier work, 8 computed" in ran.stdout
        assert "1 rows differ (test-1-1); largest label difference: y 0.125;" in ran.stderr
    assert set(costly.called().values()) == {3}
    ran = command("build", "costly", "--recompute", "--freeze").fine()
    assert "8 of earlier work, 0 computed" in ran
    assert fingerprint(command("build", "costly").fine()) == fingerprint(said)


def test_labels_of_an_unfinished_run_are_kept_with_the_release(
    costly: Any, command: Command
) -> None:
    run = costly.start("--labels-only", TOY_NAP="0.3")
    costly.wait_for(lambda: len(list(costly.unmerged.glob("[!.]*"))) >= 3, "three shards")
    costly.kill(run)
    kept = {path.name.removesuffix(".parquet") for path in costly.unmerged.glob("[!.]*")}
    assert not costly.frozen.exists()
    said = command("build", "costly", "--labels-only").fine()
    assert f"{len(kept)} of the frozen release, 0 of earlier work, {8 - len(kept)} comp" in said
    assert f"{costly.frozen}" in said
    assert not costly.unmerged.exists()
    assert all(costly.called()[name] == 1 for name in kept)
    assert not costly.built.exists()
    assert "8 of the frozen release" in command("build", "costly").fine()
    assert "8 of the frozen release" in command("build", "costly", "--labels-only").fine()


def test_earlier_work_is_frozen_without_computing(costly: Any, command: Command) -> None:
    command("build", "costly").fine()
    assert "8 of earlier work" in command("build", "costly", "--labels-only").fine()
    assert costly.frozen.is_file()
    assert not costly.unmerged.exists()
    assert set(costly.called().values()) == {1}


def test_work_of_other_code_is_not_taken(costly: Any, command: Command) -> None:
    first = fingerprint(command("build", "costly").fine())
    costly.edit("values.mean((1, 2, 3)) * 1.0", "values.mean((1, 2, 3)) * 2.0")
    said = command("build", "costly").fine()
    assert "0 of earlier work, 8 computed" in said
    assert fingerprint(said) != first
    costly.edit("values.mean((1, 2, 3)) * 2.0", "values.mean((1, 2, 3)) * 1.0")
    said = command("build", "costly").fine()
    assert "8 of earlier work" in said
    assert fingerprint(said) == first


def test_parameters_are_code_too(costly: Any, command: Command) -> None:
    command("build", "costly").fine()
    card = costly.folder / "dataset.yaml"
    card.write_text(card.read_text().replace("seed: 3", "seed: 4"))
    assert "8 computed" in command("build", "costly").fine()


def damage(path: Path, how: str) -> None:
    content = bytearray(path.read_bytes())
    if how == "truncated":
        content = content[: len(content) // 2]
    elif how == "empty":
        content = bytearray()
    else:
        for at in range(10, 40):
            content[at] ^= 0xFF
    path.write_bytes(bytes(content))


@pytest.mark.parametrize("how", ["truncated", "empty", "flipped"])
def test_damaged_work_is_done_again(costly: Any, command: Command, how: str) -> None:
    first = fingerprint(command("build", "costly").fine())
    damage(next(path for path in costly.done() if path.name == "train-2.parquet"), how)
    said = command("build", "costly").fine()
    assert "7 of earlier work, 1 computed" in said
    assert fingerprint(said) == first
    assert costly.called()["train-2"] == 2


@pytest.mark.parametrize("how", ["truncated", "empty", "flipped"])
def test_damaged_frozen_labels_get_one_line(costly: Any, command: Command, how: str) -> None:
    command("build", "costly", "--freeze").fine()
    damage(costly.frozen, how)
    line = command("build", "costly").refusal()
    assert f"{costly.frozen}: is not a whole table of labels" in line
    assert line.endswith("restore it")


def test_a_staged_file_is_kept_only_if_it_is_whole(
    costly: Any, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(packaging, "check_files", stop)
        line = command("build", "costly").refusal()
        assert "No space left on device" in line
    staged = costly.built.with_name(".mini.mini.staging")
    assert len(list((staged / "data").iterdir())) == 8
    damage(staged / "data" / "train-00001-of-00005.parquet", "truncated")
    damage(staged / "data" / "train-00002-of-00005.parquet", "flipped")
    (staged / ".done" / "train-00003-of-00005.parquet.json").unlink()
    (staged / "data" / "stranger.parquet").touch()
    stamps = {path.name: path.stat().st_mtime_ns for path in (staged / "data").iterdir()}
    said = command("build", "costly").fine()
    assert not staged.exists()
    new = {path.name: path.stat().st_mtime_ns for path in (costly.built / "data").iterdir()}
    redone = [name for name in new if new[name] != stamps[name]]
    assert sorted(redone) == [f"train-0000{part}-of-00005.parquet" for part in (1, 2, 3)]
    command("build", "costly", "--out", costly.home / "afresh").fine()
    assert fingerprint(command("build", "costly").fine()) == fingerprint(said)


def test_a_full_disk_is_one_line_and_the_build_goes_on(
    costly: Any, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = pq.write_table
    left = [3]

    def full(table: pa.Table, where: Any, **options: Any) -> None:
        if not left[0]:
            Path(where).write_bytes(b"PAR1 half a file")
            raise OSError(28, "No space left on device")
        left[0] -= 1
        write(table, where, **options)

    with monkeypatch.context() as patched:
        patched.setattr(pq, "write_table", full)
        line = command("build", "costly").refusal()
        assert "train-3.parquet: cannot be written (No space left on device); make room" in line
        assert len(costly.done()) == 3
        assert not list(costly.work.glob("*/labels/.*.tmp"))
        left[0] = 5 + 2
        line = command("build", "costly").refusal()
        assert "shard train-2: " in line
        assert "cannot be written (No space left on device)" in line
    staged = costly.built.with_name(".mini.mini.staging") / "data"
    assert [path.name for path in sorted(staged.iterdir())] == [
        f"train-0000{part}-of-00005.parquet" for part in range(2)
    ]
    before = {path.name: path.stat().st_mtime_ns for path in staged.iterdir()}
    assert "8 of earlier work" in command("build", "costly").fine()
    for name, stamp in before.items():
        assert (costly.built / "data" / name).stat().st_mtime_ns == stamp
    assert set(costly.called().values()) == {1, 2}  # the one whose file did not fit


def test_a_limit_of_the_system_on_written_files(costly: Any, tmp_path: Path) -> None:
    # Not simulated: the kernel refuses to let any file grow beyond 600 bytes.
    import os
    import subprocess
    import sys

    code = (
        "import resource, signal, sys; from etchmark.commands.main import main;"
        "import etchmark.data.building;"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (600, resource.RLIM_INFINITY));"
        "main(['build', 'costly'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2, done.stderr
    assert "cannot be written (" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not list(tmp_path.rglob("*.tmp"))
    assert building.build(catalog(), "costly").labels == staging.LabelCounts(0, 0, 8)


def test_unmerged_shards_that_were_exchanged_or_lack_a_column(
    costly: Any, command: Command
) -> None:
    run = costly.start("--labels-only", TOY_NAP="0.2")
    costly.wait_for(lambda: len(list(costly.unmerged.glob("[!.]*"))) >= 4, "four shards")
    costly.kill(run)
    first, second = sorted(costly.unmerged.glob("train-*.parquet"))[:2]
    kept = first.read_bytes()
    shutil.copy(second, first)
    line = command("build", "costly").refusal()
    assert line == (
        f"{first}: its labels of shard {first.stem} were made for another plan; restore it, or"
        " give --recompute"
    )
    first.write_bytes(kept)
    table = pq.read_table(first)
    pq.write_table(table.drop_columns("y"), first)
    line = command("build", "costly").refusal()
    assert line == f"{first}: does not have the columns of the other shards (y); restore it"


def test_frozen_labels_of_another_plan(costly: Any, command: Command) -> None:
    command("build", "costly", "--freeze").fine()
    assert "equal to the frozen release" in command("build", "costly").fine()
    costly.edit('== "test", part]', '== "test", part + 1]')
    line = command("build", "costly").refusal()
    assert line.startswith(f"{costly.frozen}: its labels of shard train-0 were made for another")


def test_another_microstructure_than_the_simulated_one(costly: Any, command: Command) -> None:
    command("build", "costly", "--freeze").fine()
    costly.edit("< 0.4", "< 0.5")
    line = command("build", "costly").refusal()
    assert "costly:mini, shard train-0: 3 rows differ from what was simulated" in line


FAULTS = [
    ('"y": y})', '"y": y}).slice(1)', "shard train-0: labels() returned 2 rows but 3 are planned"),
    ('"id": ids, "hash"', '"key": ids, "hash"', "labels() needs a column 'id' of unique"),
    ('pa.table({"id": ids, "hash": [hash_of(one) for one in values], "y": y})', "3",
     "labels() returned a int"),
    ("y = values", "raise ValueError(f'no convergence: {shard.rows} rows')\n    y = values",
     "costly:mini, shard train-0: no convergence: 3 rows"),
    ('columns = {"id": ids,', 'columns = {"id": ["x"] * 3,', "id 'x' is empty or not unique"),
    ("return with_features(pa.table(columns),",
     "return with_features(pa.table(columns).slice(1),", "table() returned 2 rows"),
    ('{"train": 5, "test": 3}', '{"train": 5, "tset": 3}', "declares ['test', 'train']"),
    ('{"train": 5, "test": 3}', '{"train": 5, "test": 4}', "27 rows but declares 24"),
    ('f"{split}-{part}", split', '"one", split', "two shards are named 'one'"),
    ('f"{split}-{part}", split', '"../one", split', "'../one' is not a plain file name"),
    ('{"seed": [split', '{"seed": (split', "cannot be stored as JSON"),
    ("def table(", "def tables(", "defines shards, labels; define either build() or all of"),
    ("import numpy as np", "import numpy as np\nimport no_such_package",
     "needs the package 'no_such_package'"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "line"), FAULTS)
def test_faults_of_build_py_get_one_line(
    costly: Any, command: Command, old: str, new: str, line: str
) -> None:
    if line == "cannot be stored as JSON":
        costly.edit("part]}", "part)}")
    costly.edit(old, new)
    assert line in command("build", "costly").refusal()


def test_other_failures_name_the_shard(costly: Any, command: Command) -> None:
    costly.edit("y = values", "y = 1 / (shard.name != 'test-0')\n    y = values")
    ran = command("build", "costly")
    assert ran.rc == 1
    assert "costly:mini, shard test-0: ZeroDivisionError: division by zero" in ran.stderr
    assert len(costly.done()) == 5


def test_options_that_do_not_go_together(toy_content: Path, command: Command) -> None:
    refused = [
        (("--executor", "slurm"), "unknown executor 'slurm'; choose from: local, processes, dask"),
        (("--executor", "dask"), "--scheduler ADDRESS go together"),
        (("--scheduler", "tcp://x:1"), "--scheduler ADDRESS go together"),
        (("--workers", "2"), "--workers needs --executor"),
        (("--workers", "0"), "'--workers'"),
        (("--labels-only", "--freeze"), "--labels-only stores labels alone"),
        (("--labels-only", "--recompute"), "--labels-only stores labels alone"),
        (("--recompute",), "toy has no costly labels; drop --recompute"),
        (("--labels-only",), "toy has no costly labels; drop --labels-only"),
    ]
    for options, line in refused:
        assert line in command("build", "toy", *options).refusal(), options
    assert "built toy" in command("build", "toy", "--executor", "processes").fine()


def test_content_that_cannot_be_written(costly: Any, command: Command) -> None:
    (costly.folder / "labels").touch()
    line = command("build", "costly", "--labels-only").refusal()
    assert f"{costly.unmerged}: cannot be written" in line
    assert not costly.called()


def test_two_builds_at_once(costly: Any, command: Command) -> None:
    run = costly.start(TOY_NAP="30")
    costly.wait_for(lambda: bool(costly.called()), "the first build")
    assert "costly:mini: another build of it is running" in command("build", "costly").refusal()
    costly.kill(run)
    assert "8 computed" in command("build", "costly").fine()


def children(pid: int) -> list[Any]:
    import psutil

    return psutil.Process(pid).children(recursive=True)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_process_is_left_behind(costly: Any, how: signal.Signals) -> None:
    run = costly.start("--executor", "processes", "--workers", "2", TOY_NAP="60")
    costly.wait_for(lambda: len(costly.called()) == 2, "two workers")
    workers = children(run.pid)
    assert len(workers) >= 2
    costly.kill(run, how)
    costly.wait_for(lambda: not any(one.is_running() for one in workers), "their end", 10)


def interrupt(costly: Any, after_s: float, *options: str) -> None:
    """Kill a build some time after it began to simulate, or ended for want of anything to do."""
    before = costly.called()
    run = costly.start(*options, TOY_NAP="0.15")
    costly.wait_for(lambda: costly.called() != before or run.poll() is not None, "its start")
    time.sleep(after_s)
    costly.kill(run)


def check_resumed(costly: Any, command: Command, kills: int, *options: str) -> None:
    """Kill builds at random moments: what was finished is never started again."""
    generator = random.Random(kills)
    for _ in range(kills):
        before = costly.called()
        finished = {path.name.removesuffix(".parquet") for path in costly.done()}
        interrupt(costly, generator.uniform(0, 0.5), *options)
        again = costly.called() - before
        assert not finished & set(again), "a finished shard was computed again"
    before, finished = costly.called(), len(costly.done())
    said = command("build", "costly").fine()
    assert f"{finished} of earlier work, {8 - finished} computed" in said
    assert sum((costly.called() - before).values()) == 8 - finished
    ids = [Columns([path])["id"].tolist() for path in sorted((costly.built / "data").iterdir())]
    assert len({key for group in ids for key in group}) == 24
    command("build", "costly", "--out", costly.home / "afresh", "--recompute").fine()
    afresh = (costly.home / "afresh" / "manifest.json").read_bytes()
    assert afresh == (costly.built / "manifest.json").read_bytes()
    assert not list(costly.home.rglob("*.tmp"))
    assert not list(costly.home.rglob("*.staging"))


def test_killed_builds_go_on(costly: Any, command: Command) -> None:
    check_resumed(costly, command, 3)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_builds_killed_at_many_moments(costly: Any, command: Command, workers: int) -> None:
    options = ("--executor", "processes", "--workers", str(workers)) if workers else ()
    check_resumed(costly, command, 12, *options)


def test_an_interrupted_recomputation_goes_on(costly: Any, command: Command) -> None:
    command("build", "costly", "--freeze").fine()
    costly.calls.joinpath("mark").touch()
    run = costly.start("--recompute", TOY_NAP="0.2")
    costly.wait_for(lambda: len(list(costly.work.glob("*-recompute/labels/[!.]*"))) >= 3, "work")
    costly.kill(run)
    kept = len(list(costly.work.glob("*-recompute/labels/[!.]*.parquet")))
    said = command("build", "costly", "--recompute").fine()
    assert f"0 of the frozen release, {kept} of earlier work, {8 - kept} computed" in said


def test_temporary_files_of_the_dead_are_swept(costly: Any, command: Command) -> None:
    command("build", "costly").fine()
    folder = costly.done()[0].parent
    dead = folder / ".train-0.parquet.999999999-0123abcd.tmp"
    alive = folder / ".train-0.parquet.1-0123abcd.tmp"
    dead.touch()
    alive.touch()
    command("build", "costly").fine()
    assert not dead.exists()
    assert alive.exists()


def test_a_worker_with_other_code_refuses(costly: Any) -> None:
    from dataclasses import replace

    from etchmark.data import jobs, shards
    from etchmark.data.plan import make_plan

    spec = catalog().dataset("costly")
    module = shards.load_builder(costly.folder)
    context = building._context(catalog(), spec, "mini", True, False)
    plan = make_plan(catalog(), spec, module, context)
    job = plan.job(plan.shards[0])
    assert isinstance(jobs.compute_labels(job), bytes)
    for other in (replace(job, key="0" * 16), replace(job, version="0.0.1")):
        failed = jobs.compute_labels(other)
        assert isinstance(failed, jobs.Failed)
        assert failed.mistake
        assert "restart the workers and run again" in failed.message


# --- one split ---------------------------------------------------------------------------------


def test_a_download_makes_only_the_split_that_is_asked_for(costly: Any, command: Command) -> None:
    out = command("download", "costly", "--split", "test").fine()
    assert set(costly.called()) == {"test-0", "test-1", "test-2"}
    paths = [Path(line) for line in out.splitlines() if line.endswith(".parquet")]
    assert [path.name for path in paths] == [f"test-0000{n}-of-00003.parquet" for n in range(3)]
    assert "split test alone; scoring needs all splits: `etchmark download costly:mini`" in out
    # A part is not a config, and what is made of it is not made again.
    assert find_config(catalog(), "costly", "mini") is None
    contents = [path.read_bytes() for path in paths]
    stamps = [path.stat().st_mtime_ns for path in paths]
    command("download", "costly").fine()
    assert costly.called() == Counter(
        {f"train-{n}": 1 for n in range(5)} | dict.fromkeys(["test-0", "test-1", "test-2"], 1)
    )
    assert [path.read_bytes() for path in paths] == contents
    whole = [costly.built / "data" / path.name for path in paths]
    assert [path.read_bytes() for path in whole] == contents
    assert [path.stat().st_mtime_ns for path in whole] == stamps
    again = command("download", "costly", "--split", "test").fine()
    assert "already on this machine" in again


def test_a_split_leaves_what_an_interrupted_build_has_finished(
    costly: Any, command: Command, tmp_path: Path
) -> None:
    trap = tmp_path / "trap"
    trap.touch()
    process = costly.start(TOY_TRAP=str(trap))
    process.communicate(timeout=60)
    assert process.returncode != 0
    command("download", "costly", "--split", "test", "--out", tmp_path / "out").fine()
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["data"]
    command("build", "costly").fine()
    called = costly.called()
    assert called.pop("train-3") == 2
    assert set(called.values()) == {1}


def test_a_split_is_compared_with_the_release(costly: Any, command: Command) -> None:
    command("build", "costly", "--freeze").fine()
    shutil.rmtree(costly.built)
    out = command("download", "costly", "--split", "train").fine()
    assert "; equal to the frozen release" in out
    costly.edit('"y": found.column("y")', '"y": pc.add(found.column("y"), 0.5)')
    costly.edit("import pyarrow as pa", "import pyarrow as pa\nimport pyarrow.compute as pc")
    ran = command("download", "costly", "--split", "train")
    assert ran.rc == 1
    assert "; differs from the frozen release" in ran.stdout
    assert ran.stderr.startswith("error: this build is not the released one: 15 rows differ")
    assert len(ran.stderr.splitlines()) == 1
    ran = command("download", "costly")
    assert ran.rc == 1
    assert "24 rows differ" in ran.stderr


def test_a_download_in_processes(costly: Any, command: Command) -> None:
    command("download", "costly", "--executor", "processes", "--workers", "2").fine()
    assert costly.built.is_dir()
    said = command("download", "costly", "--executor", "dask").refusal()
    assert "--executor dask and --scheduler ADDRESS go together" in said
    assert "unknown executor 'gpu'" in command("download", "costly", "--executor", "gpu").refusal()
    assert "--workers needs" in command("download", "costly", "--workers", "2").refusal()


@pytest.mark.parametrize("what", ["build", "download"])
def test_how_long_it_takes_is_said_where_no_bar_is_shown(
    costly: Any, command: Command, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.setattr(building, "LONG_ROWS", 10)
    monkeypatch.setattr(progress, "LONG_S", 1.5)
    monkeypatch.setenv("TOY_NAP", "0.3")
    ran = command(what, "costly")
    assert ran.rc == 0
    # On a busy machine the stage after the labels may be announced, too.
    before, estimate, *later = ran.stderr.splitlines()
    assert all(re.fullmatch(r"costly:mini: .* take about \d+ s", line) for line in later)
    assert before == (
        "costly:mini: computing 24 samples in 8 shards in one process (`--executor processes` uses"
        " every processor)"
    )
    pattern = r"costly:mini: labels of 3 samples took \d s, so the remaining 21 take about \d+ s"
    assert re.fullmatch(pattern, estimate)
    if what == "download":
        assert re.search(r"built from source in \d+ s", ran.stdout)


def test_durations_in_words() -> None:
    assert [progress.describe_seconds(s) for s in (0.4, 99, 346, 9000)] == [
        "0 s",
        "99 s",
        "6 min",
        "2.5 h",
    ]
