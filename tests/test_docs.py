"""The examples of README and docs run as they stand there, on small data."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

import etchmark

ROOT = Path(__file__).resolve().parents[1]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.S | re.M)
LINE = re.compile(r"^```bash\n(.*?)^```", re.S | re.M)


def blocks(name: str) -> list[str]:
    """The Python examples of a document."""
    return BLOCK.findall((ROOT / name).read_text(encoding="utf-8"))


@pytest.fixture
def small(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """The content of this checkout, of which some benchmarks read the small config."""
    from etchmark.catalog import Catalog
    from etchmark.data.loading import load_benchmark
    from etchmark.evaluation.mini import mini_of

    root = tmp_path / "content"
    for name in ("datasets", "baselines"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("data"))
    shutil.copytree(ROOT / "benchmarks", root / "benchmarks")
    (root / "leaderboard" / "results").mkdir(parents=True)

    def shrink(name: str) -> None:
        loaded = load_benchmark(name, catalog=Catalog(ROOT))
        path = root / "benchmarks" / f"{name}.yaml"
        spec = yaml.safe_load(path.read_text(encoding="utf-8"))
        for track in spec["tracks"]:
            mini = mini_of(loaded, track)
            assert mini is not None
            small = mini.spec.tracks[track]
            spec["tracks"][track] |= {"config": small.config, "fingerprint": small.fingerprint}
            spec["target_fingerprint"] = mini.spec.target_fingerprint
        if "shape" in spec["target"]:
            spec["target"]["shape"] = [size and size // 2 for size in spec["target"]["shape"]]
        path.write_text(yaml.safe_dump(spec, sort_keys=False), encoding="utf-8")

    monkeypatch.setenv("ETCHMARK_CONTENT", str(root))
    monkeypatch.chdir(tmp_path)
    return shrink


def test_the_python_of_the_readme(small: Callable[[str], None], command: Any) -> None:
    using, model = blocks("README.md")
    small("composite-stiffness-2d")
    command("download", "composites:2d-mini", "--split", "samples", "--out", ".").fine()
    protocol = ("--protocol", "leave-paper-out")
    command("template", "superalloy-hardness", "--track", "composition", *protocol).fine()
    (template,) = Path().glob("predictions*.parquet")
    filled = pd.read_parquet(template)
    filled["prediction"] = np.linspace(200.0, 600.0, len(filled))
    filled.to_parquet("predictions.parquet")
    submit = ("submit", "predictions.parquet", "superalloy-hardness", "--name", "my-model")
    assert command(*submit, "--track", "composition", *protocol).rc == 0
    command("evaluate", "training_mean", "superalloy-hardness").fine()
    names: dict[str, Any] = {}
    exec(compile(using, "README.md", "exec"), names)
    assert names["table"].num_rows == 149
    assert names["images"].iloc[0]["microstructure"].shape == (64, 64)
    # What the README says of the Dataset holds for a table with images as well.
    frame = etchmark.load_benchmark("composite-stiffness-2d").split("samples").to_pandas()
    first = frame[frame.fold_iid == 0]
    assert set(first.fold_iid) == {0}
    joined = first.merge(frame.query("contrast > 0")[["id", "contrast"]], on="id")
    assert len(joined) == len(first)
    assert np.array_equal(
        joined.iloc[0]["microstructure"], names["images"].iloc[0]["microstructure"]
    )
    Path("mine").mkdir()
    Path("mine", "model.py").write_text(model, encoding="utf-8")
    ran = command("evaluate", "mine", "superalloy-hardness", "--track", "composition", "--json")
    assert json.loads(ran.fine())["outcome"] == "ok"


def test_the_forecasts(small: Callable[[str], None], command: Any) -> None:
    pytest.importorskip("torch", reason="torch (extra `simulate`) is not installed")
    predicting, model = blocks("docs/forecasts.md")
    small("spinodal-forecast")
    names: dict[str, Any] = {}
    exec(compile(predicting, "docs/forecasts.md", "exec"), names)
    submit = ("submit", "predictions.parquet", "spinodal-forecast", "--name", "my-model")
    ours = json.loads(command(*submit, "--json").fine())["scores"]
    last = command("evaluate", "persistence/last-frame", "spinodal-forecast", "--json").fine()
    theirs = json.loads(last)["scores"]
    scores = [
        next(s["metrics"]["rmse"]["value"] for s in record if s["split"] == "test")
        for record in (ours, theirs)
    ]
    assert scores[0] == pytest.approx(scores[1], rel=1e-6)
    Path("mine").mkdir()
    Path("mine", "model.py").write_text(model, encoding="utf-8")
    ran = command("evaluate", "mine", "spinodal-forecast", "--json")
    assert json.loads(ran.fine())["outcome"] == "ok"


def _commands() -> list[Any]:
    found = []
    for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/*.md"))):
        for block in LINE.findall(path.read_text(encoding="utf-8")):
            for line in block.replace("\\\n", " ").splitlines():
                if line.startswith("etchmark "):
                    found.append(pytest.param(line.partition("#")[0].split()[1:], id=line.strip()))
    return found


@pytest.mark.parametrize("words", _commands())
def test_commands_and_options_exist(words: list[str]) -> None:
    import typer

    from etchmark.commands.main import app

    command: Any = typer.main.get_command(app)
    while hasattr(command, "commands"):
        command = command.commands[words[0]]
        words = words[1:]
    options = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= options
