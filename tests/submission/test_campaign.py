"""How the reviewed board is made: every baseline, going on where it stopped."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest
import yaml

from etchmark.registry.store import read_record
from etchmark.submission import campaign
from etchmark.text import number

RUN = ("results", "run", "toy-line")


def _results(content):
    folder = content / "leaderboard" / "results" / "toy-line@1"
    return sorted((one.name, one.protocol) for one in map(read_record, folder.glob("*.json")))


def _seeds(content, model):
    folder = content / "leaderboard" / "results" / "toy-line@1"
    return read_record(folder / f"{model}--features--holdout.json").scores[0].seeds


DRAWN = """
class Drawn:
    def __init__(self, seed): self.seed = seed
    def fit(self, train, validation): self.mean = float(train.target.mean())
    def predict(self, inputs): return [self.mean + self.seed] * len(inputs["a"])
def build(seed, device): return Drawn(seed)
"""
KEPT = """
from etchmark.saving import Savable, keeps_arguments, rebuild
class Mean(Savable):
    saved = ("mean",)
    def fit(self, train, validation): self.mean = float(train.target.mean())
    def predict(self, inputs): return [self.mean] * len(inputs["a"])
@keeps_arguments
def build(seed, device): return Mean()
def load(folder, device): return rebuild(build, folder, device)
"""


@pytest.fixture
def baseline(toy_content, name_baseline):
    def add(name: str, code: str | None = None, benchmark: str = "toy-line", **more):
        folder = toy_content / "baselines" / name
        shutil.copytree(toy_content / "baselines" / "toy_mean", folder)
        path = folder / "card.yaml"
        card = {**yaml.safe_load(path.read_text()), "name": name, **more}
        path.write_text(yaml.safe_dump(card))
        if code is not None:
            (folder / "model.py").write_text(code)
        name_baseline(name, benchmark)

    return add


def test_a_campaign_fills_the_board(toy_content, command):
    said = command(*RUN).fine().splitlines()
    assert [line.split(":")[0] for line in said] == ["toy_mean holdout", "toy_mean folds"]
    assert _results(toy_content) == [("toy_mean", "folds"), ("toy_mean", "holdout")]
    for protocol in ("holdout", "folds"):
        (row,) = json.loads(
            command("leaderboard", "toy-line", "--protocol", protocol, "--json").fine()
        )
        assert (row["model"], row["status"], row["origin"]) == ("toy_mean", "run", "reviewed")


def test_what_has_a_record_is_passed_over(toy_content, baseline, command):
    command(*RUN).fine()
    baseline("later")
    said = command(*RUN).fine().splitlines()
    assert [line.split(":")[0] for line in said] == ["later holdout", "later folds"]
    assert len(_results(toy_content)) == 4
    assert len(command(*RUN, "--again", "--protocol", "folds").fine().splitlines()) == 2
    assert len(_results(toy_content)) == 4


def test_rows_are_run_with_the_seeds_that_the_benchmark_asks_for(
    toy_content, baseline, command, name_baseline
):
    baseline("drawn", DRAWN)
    only = ("--only", "drawn", "--protocol", "holdout")
    command(*RUN, *only).fine()
    assert _seeds(toy_content, "drawn") == 1
    assert "seeds" not in command("leaderboard", "toy-line").fine()
    name_baseline("drawn", seeds=3)
    assert "baseline   drawn (track features, entry, 3 seeds)" in command("show", "toy-line").fine()
    assert "drawn holdout: mae" in command(*RUN, *only).fine()
    assert _seeds(toy_content, "drawn") == 3
    board = command("leaderboard", "toy-line").fine()
    (row,) = json.loads(command("leaderboard", "toy-line", "--json").fine())
    assert row["seed_sd"] > 0
    assert f"  3, sd {number(row['seed_sd'])}  " in board
    assert command(*RUN, *only).fine() == ""
    # A record of more seeds than are asked for is as good.
    name_baseline("drawn", seeds=2)
    assert command(*RUN, *only).fine() == ""


def test_records_of_too_few_seeds_are_named(
    toy_content, baseline, command, name_baseline, tmp_path
):
    baseline("drawn", DRAWN)
    command(*RUN, "--protocol", "holdout").fine()
    command(*RUN, "--only", "drawn", "--protocol", "holdout", "--out", tmp_path / "out").fine()
    (export,) = (tmp_path / "out").iterdir()
    results = toy_content / "leaderboard" / "results"
    whole = f"checked 2 records in {results}"
    assert command("results", "check").fine().splitlines() == [whole]
    assert "seeds:" not in command("results", "check", export, "--baseline").fine()
    name_baseline("drawn", seeds=3)
    again = "etchmark results run toy-line@1 --only drawn --protocol holdout"
    line = f"seeds: 1 of the 3 that toy-line@1 asks for; `{again}` fits it again"
    file = "toy-line@1/drawn--features--holdout.json"
    assert command("results", "check").fine().splitlines() == [f"{file}: {line}", whole]
    assert line in command("results", "check", export, "--baseline").fine().splitlines()
    command(*again.split()[1:]).fine()
    assert command("results", "check").fine().splitlines() == [whole]
    assert "give its DIR" in command("results", "check", "--baseline").refusal()


def test_damaged_records_are_named(toy_content, command):
    command(*RUN).fine()
    results = toy_content / "leaderboard" / "results" / "toy-line@1"
    path = results / "toy_mean--features--folds.json"
    path.write_text("{}")
    said = command("results", "check")
    assert said.rc == 2
    assert str(path) in said.stdout
    assert "1 of 2 records cannot be read" in said.stderr


@pytest.mark.parametrize("seeds", [0, -1, 101, 1.5, "many"])
def test_a_number_of_seeds_that_is_none(toy_content, command, name_baseline, seeds):
    name_baseline("toy_mean", seeds=seeds)
    assert "baselines.toy_mean.seeds" in command("show", "toy-line").refusal()


def test_a_deterministic_baseline_has_one_seed(toy_content, command, name_baseline):
    name_baseline("toy_mean", deterministic=True)
    shown = command("show", "toy-line").fine()
    assert "baseline   toy_mean (track features, entry, deterministic)" in shown
    name_baseline("toy_mean", deterministic=True, seeds=2)
    assert "a deterministic baseline has one seed" in command("show", "toy-line").refusal()


def test_fitted_models_are_kept_on_request(toy_content, baseline, command, home):
    baseline("kept", KEPT)
    only = ("--only", "kept", "--protocol", "holdout")
    command(*RUN, *only).fine()
    assert not (home / "artefacts").exists()
    command(*RUN, *only, "--again", "--keep-model").fine()
    folder = toy_content / "leaderboard" / "results" / "toy-line@1"
    record = read_record(folder / "kept--features--holdout.json")
    assert record.artefact is not None
    assert (home / "artefacts" / record.artefact.sha256 / "artefact.json").is_file()


def test_curves_are_left_out_on_request(toy_content, baseline, command):
    size = {"title": "Error against training samples", "axis": "training samples", "shares": [0.5]}
    baseline("curved", curves={"training-size": size})
    only = ("--only", "curved", "--protocol", "holdout")
    path = toy_content / "leaderboard" / "results" / "toy-line@1" / "curved--features--holdout.json"
    assert "curve training-size" in command(*RUN, *only).fine()
    assert [curve.name for curve in read_record(path).curves] == ["training-size"]
    assert "curve training-size" not in command(*RUN, *only, "--again", "--no-curves").fine()
    assert read_record(path).curves == []


def test_patterns_choose_models(toy_content, baseline, command):
    baseline("other")
    command(*RUN, "--only", "oth*", "--protocol", "holdout").fine()
    assert _results(toy_content) == [("other", "holdout")]
    for option in (RUN[2:], ("--all",)):
        of = " of toy-line" if option == RUN[2:] else ""
        for pattern in ("zzz*", "oth*,zzz*", "oth*, zzz*"):
            said = command("results", "run", *option, "--only", pattern).refusal()
            assert f"no baseline{of} matches 'zzz*'; choose from: other, toy_mean" in said
        for pattern in ("", " ", "other,", ",other"):
            said = command("results", "run", *option, "--only", pattern).refusal()
            assert "--only holds an empty name" in said
    said = command("results", "run", "--all", "--protocol", "nope").refusal()
    assert "no benchmark has a protocol 'nope'; choose from: folds, holdout" in said
    assert "unknown protocol" in command(*RUN, "--protocol", "zzz").refusal()


def test_variants_are_models_of_their_own(toy_content, baseline, command):
    variants = {"a": {"title": "A"}, "b": {"title": "B"}}
    baseline("many", variants=variants)
    command(*RUN, "--only", "many/*", "--protocol", "holdout").fine()
    assert [name for name, _ in _results(toy_content)] == ["many/a", "many/b"]


def test_one_that_fails_does_not_stop_the_others_and_leaves_no_record(
    toy_content, baseline, command
):
    baseline("broken", "def build(seed, device): raise RuntimeError('no')")
    ran = command(*RUN, "--protocol", "holdout")
    assert ran.rc == 2
    assert "broken holdout: failed: RuntimeError: no" in ran.stdout
    assert ran.stderr == "error: 1 run has no result: broken holdout\n"
    assert _results(toy_content) == [("toy_mean", "holdout")]


def test_exports_pass_the_review(toy_content, baseline, command, tmp_path):
    baseline("many", variants={"a": {"title": "A"}})
    out = tmp_path / "out"
    command(*RUN, "--out", out, "--protocol", "folds").fine()
    assert sorted(path.name for path in out.iterdir()) == ["many--a--folds", "toy_mean--folds"]
    assert _results(toy_content) == []
    for folder in out.iterdir():
        assert "is a baseline" in command("results", "check", folder).refusal()
        command("results", "check", folder, "--baseline").fine()
    again = command(*RUN, "--out", out, "--protocol", "folds")
    assert again.rc == 2
    assert "exists; remove it" in again.stdout


SLOW = """
import time
from pathlib import Path
class Slow:
    def fit(self, train, validation):
        if Path("seen").exists():
            self.mean = float(train.target.mean())
            print("went on", flush=True)
            return
        Path("seen").touch()
        print("begins", flush=True)
        time.sleep(600)
    def predict(self, inputs):
        return [self.mean] * len(inputs["a"])
def build(seed, device):
    return Slow()
"""


def test_an_interrupted_run_goes_on(toy_content, baseline, command, home):
    baseline("slow", SLOW)
    only = ("--only", "slow", "--protocol", "holdout")
    ran = command(*RUN, *only, "--time-limit", "8")
    assert "slow holdout: failed: ran out of time: more than 8 s" in ran.stdout
    assert _results(toy_content) == []
    assert "slow holdout: mae" in command(*RUN, *only).fine()
    assert _results(toy_content) == [("slow", "holdout")]
    said = (home / "logs" / "slow.log").read_text().splitlines()
    assert [line for line in said if not line.startswith("==")] == ["begins", "went on"]
    assert list((home / "checkpoints").iterdir()) == []
    assert "--time-limit 1e+10" in command(*RUN, "--time-limit", "1e10").refusal()


def test_a_baseline_of_another_benchmark_does_not_run(toy_content, baseline):
    from etchmark.catalog import catalog

    baseline("fields", benchmark="toy-fields")
    content = catalog()
    uses = campaign.models(content, content.benchmark("toy-line"), ["*"])
    assert [(source.name, use.track) for source, use in uses] == [("toy_mean", "features")]


def test_all_missing_rows_of_all_benchmarks(toy_content, baseline, command):
    command(*RUN, "--protocol", "folds").fine()
    said = command("results", "run", "--all").fine().splitlines()
    assert said[0] == "rows missing: 2 (toy-fields 1, toy-line 1)"
    assert [line.partition(":")[0] for line in said[1:]] == [
        "toy-fields toy_mean holdout",
        "toy-line toy_mean holdout",
    ]
    assert command("results", "run", "--all").fine() == "rows missing: 0\n"
    baseline("later")
    said = command("results", "run", "--all", "--protocol", "folds").fine().splitlines()
    assert said[0] == "rows missing: 1 (toy-line 1)"
    assert [line.partition(":")[0] for line in said[1:]] == ["later folds"]


def test_a_broken_benchmark_does_not_stop_the_others(toy_content, command):
    path = toy_content / "benchmarks" / "toy-fields.yaml"
    path.write_text(path.read_text().replace("toy_mean", "toy_maen"))
    ran = command("results", "run", "--all")
    assert ran.rc == 2
    assert "toy-fields: left out: " in ran.stderr
    assert "unknown baseline 'toy_maen', did you mean 'toy_mean'?" in ran.stderr
    assert ran.stderr.endswith("error: 1 run has no result: toy-fields\n")
    assert _results(toy_content) == [("toy_mean", "folds"), ("toy_mean", "holdout")]


def test_options_that_do_not_go_together(toy_content, command, tmp_path):
    assert "--all" in command("results", "run").refusal()
    assert "--all" in command(*RUN, "--all").refusal()
    assert "--out" in command("results", "run", "--all", "--out", tmp_path / "out").refusal()
    assert "--executor processes" in command(*RUN, "--executor", "processes").refusal()
    assert "go together" in command(*RUN, "--executor", "dask").refusal()


def test_an_older_card_says_where_it_runs(toy_content, baseline, command):
    uses = {"toy-line": {"track": "kinds"}}
    baseline("older", benchmark="toy-fields", benchmarks=uses)
    ran = command(*RUN, "--only", "older", "--protocol", "holdout")
    assert ran.rc == 2, "the model has no column a"
    (warning,) = [line for line in ran.stderr.splitlines() if line.startswith("warning: ")]
    assert "older/card.yaml: 'benchmarks' will be removed in the next release" in warning
    assert "older holdout: failed" in ran.stdout


DASK = """
from distributed import LocalCluster
import sys

if __name__ == "__main__":
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        print(cluster.scheduler_address, flush=True)
        sys.stdin.read()
"""


@pytest.fixture
def cluster(toy_content, tmp_path):
    """The address of a Dask cluster, whose workers see the test's content and hub folder."""
    pytest.importorskip("distributed")
    path = tmp_path / "cluster.py"
    path.write_text(DASK)
    served = subprocess.Popen(
        [sys.executable, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert served.stdout is not None
    try:
        yield served.stdout.readline().strip()
    finally:
        served.communicate(timeout=60)


@pytest.mark.slow
def test_rows_are_spread_over_a_dask_cluster(toy_content, baseline, command, cluster, tmp_path):
    baseline("broken", "def build(seed, device): raise RuntimeError('no')")
    baseline(
        "lacking",
        "from etchmark.errors import CannotRun\ndef build(seed, device):"
        " raise CannotRun('no weights')",
    )
    spread = ("--executor", "dask", "--scheduler", cluster)
    ran = command("results", "run", "--all", "--protocol", "holdout", *spread)
    assert ran.rc == 2
    assert ran.stdout.splitlines()[0] == "rows missing: 4 (toy-fields 1, toy-line 3)"
    assert "toy-line broken holdout: failed: RuntimeError: no" in ran.stdout
    assert "toy-line lacking holdout: left out: no weights" in ran.stderr
    assert _results(toy_content) == [("toy_mean", "holdout")]
    (path,) = (toy_content / "leaderboard" / "results" / "toy-fields@1").glob("*.json")
    spread_record = read_record(path)
    # What a worker measures is what is measured here.
    command("results", "run", "toy-fields", "--again").fine()
    (path,) = (toy_content / "leaderboard" / "results" / "toy-fields@1").glob("*.json")
    record = read_record(path)
    assert record.scores == spread_record.scores
    assert (record.status, spread_record.status) == ("run", "run")
    command(*RUN, "--only", "toy_mean", "--out", tmp_path / "out", *spread).fine()
    for folder in (tmp_path / "out").iterdir():
        command("results", "check", folder, "--baseline").fine()


@pytest.mark.slow
def test_a_worker_with_other_content_refuses(toy_content, command, cluster, monkeypatch, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(toy_content, other)
    model = other / "baselines" / "toy_mean" / "model.py"
    model.write_text(model.read_text() + "\n# another version\n")
    monkeypatch.setenv("ETCHMARK_CONTENT", str(other))
    ran = command(*RUN, "--protocol", "folds", "--executor", "dask", "--scheduler", cluster)
    assert "has another version of etchmark, of the benchmark or of the model" in ran.stdout
    assert ran.rc == 2
    assert _results(other) == _results(toy_content) == []
