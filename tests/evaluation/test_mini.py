"""``evaluate --mini``: the small config, and nothing that could be taken for a result."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

import etchmark
from etchmark.data.loading import load_benchmark
from etchmark.evaluation.mini import mini_of

RUN = ("evaluate", "between/near", "toy-volumes", "--mini")


def test_mini_reads_the_small_config(toy_volumes: Path, home: Path, command) -> None:
    said = command(*RUN).fine().splitlines()
    assert said[0] == "mini: cells-mini, not comparable"
    assert said[-1] == "nothing stored"
    assert [line.split()[:2] for line in said if line.startswith(("test ", "hard "))] == [
        [split, name] for split in ("test", "hard") for name in ("mape", "r2", "bound_violations")
    ]
    assert not (home / "registry.sqlite").exists()
    # The full config was neither built nor asked for.
    assert [path.parent.name for path in home.rglob("manifest.json")] == ["cells-mini"]
    ran = command(*RUN, "--json")
    assert (ran.rc, ran.stderr) == (0, "mini: cells-mini, not comparable\n")
    record = json.loads(ran.stdout)
    assert [score["n"] for score in record["scores"]] == [4, 3]
    spec = load_benchmark("toy-volumes").spec
    assert record["fingerprints"]["data"] != spec.tracks["volumes"].fingerprint
    assert record["fingerprints"]["target"] != spec.target_fingerprint


def test_mini_of_another_protocol(toy_volumes: Path, command) -> None:
    said = command(*RUN, "--protocol", "folds").fine()
    assert "protocol folds" in said
    assert "mini: cells-mini" in said


def test_mini_is_no_submission(toy_volumes: Path, tmp_path: Path, command) -> None:
    line = command(*RUN, "--export", tmp_path / "out").refusal()
    assert line == "a mini run is not a submission; drop --mini or --export"


def test_in_python(toy_volumes: Path, home: Path) -> None:
    record = etchmark.evaluate("between/near", "toy-volumes", mini=True)
    assert [score.n for score in record.scores] == [4, 3]
    assert not (home / "registry.sqlite").exists()


@pytest.mark.parametrize("change", ["no such config", "another name"])
def test_without_a_mini_the_released_data_are_used(toy_volumes: Path, command, change: str) -> None:
    path = toy_volumes / "datasets" / "voxels" / "dataset.yaml"
    spec = yaml.safe_load(path.read_text())
    if change == "no such config":
        del spec["configs"]["cells-mini"]
        path.write_text(yaml.safe_dump(spec | {"default_config": "cells-full"}))
        said = command(*RUN).fine()
        assert "mini:" not in said
        assert "nothing stored" in said
    else:
        assert mini_of(load_benchmark("toy-line"), "features") is None
