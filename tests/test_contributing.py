"""The example of CONTRIBUTING.md works as it stands there."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

TEXT = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text(encoding="utf-8")
BLOCK = re.compile(
    r"`((?:datasets|benchmarks)/[\w/.]+)`[^\n]*\n(?:[^\n]*\n)*?\n```\w+\n(.*?)```", re.S
)


def test_a_dataset_and_benchmark_of_ones_own(
    tmp_path: Path, home: Path, command: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = BLOCK.findall(TEXT[TEXT.index("## A benchmark or a dataset") :])
    assert [name for name, _ in found] == [
        "datasets/lines/dataset.yaml",
        "datasets/lines/build.py",
        "benchmarks/line.yaml",
    ]
    for name, text in found:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    (tmp_path / "baselines").mkdir()
    model = tmp_path / "mine" / "model.py"
    model.parent.mkdir()
    model.write_text(
        "from etchmark import SklearnModel\n"
        "from sklearn.linear_model import LinearRegression\n"
        "def build(seed, device): return SklearnModel(LinearRegression())\n"
    )
    monkeypatch.setenv("ETCHMARK_CONTENT", str(tmp_path))
    assert command("build", "lines", "--freeze").rc == 0
    prints = json.loads(command("show", "line", "--fingerprints", "--json").stdout)
    card = tmp_path / "benchmarks" / "line.yaml"
    zeros = '"' + "0" * 64 + '"'
    text = card.read_text().replace(
        f"target_fingerprint: {zeros}", f"target_fingerprint: {prints['target_fingerprint']}"
    )
    card.write_text(text.replace(zeros, prints["tracks"]["position"]))
    ran = command("evaluate", model.parent, "line")
    assert (ran.rc, ran.stderr) == (0, "")
    (row,) = json.loads(command("leaderboard", "line", "--json").stdout)
    assert (row["model"], row["rank"], row["n"], row["unit"]) == ("mine", 1, 6, "m")
    assert row["score"] == pytest.approx(0.0, abs=1e-12)
