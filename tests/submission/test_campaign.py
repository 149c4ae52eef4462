"""How the reviewed board is made: every baseline, going on where it stopped."""

from __future__ import annotations

import json
import shutil

import pytest
import yaml

from etchmark.registry.store import read_record
from etchmark.submission import campaign

RUN = ("results", "run", "toy-line")


def _results(content):
    folder = content / "leaderboard" / "results" / "toy-line@1"
    return sorted((one.name, one.protocol) for one in map(read_record, folder.glob("*.json")))


@pytest.fixture
def baseline(toy_content):
    def add(name: str, code: str | None = None, **more):
        folder = toy_content / "baselines" / name
        shutil.copytree(toy_content / "baselines" / "toy_mean", folder)
        path = folder / "card.yaml"
        card = {**yaml.safe_load(path.read_text()), "name": name, **more}
        path.write_text(yaml.safe_dump(card))
        if code is not None:
            (folder / "model.py").write_text(code)

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


def test_patterns_choose_models(toy_content, baseline, command):
    baseline("other")
    command(*RUN, "--only", "oth*", "--protocol", "holdout").fine()
    assert _results(toy_content) == [("other", "holdout")]
    assert "no baseline of toy-line matches" in command(*RUN, "--only", "zzz").refusal()
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
    assert ran.stderr == "error: 1 runs have no result: broken holdout\n"
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

    baseline("fields", benchmarks={"toy-fields": {"track": "features"}})
    found = [source.name for source in campaign.models(catalog(), "toy-line", ["*"])]
    assert found == ["toy_mean"]
