"""The wheel, with nothing but the core, in an empty environment outside the checkout."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).resolve().parents[1]
NOT_CORE = ("torch", "timm", "streamlit", "plotly", "dvc", "pytest")
BENCHMARK = "superalloy-hardness"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def _checked(command: list[str], **options) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    if done.returncode:
        pytest.fail(f"{' '.join(command)}\n{done.stdout[-4000:]}\n{done.stderr[-8000:]}")
    return done


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation"]
    _checked([*command, "--wheel-dir", str(out), str(ROOT)], cwd=out)
    (path,) = out.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def core(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of a new environment that holds the wheel and what it requires."""
    folder = tmp_path_factory.mktemp("core") / "venv"
    _checked([sys.executable, "-m", "venv", str(folder)])
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    constraints = ROOT / "constraints.txt"
    if constraints.is_file():
        command += ["-c", str(constraints)]
    _checked([*command, str(wheel)], cwd=folder)
    return python


Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def etchmark(core: Path, tmp_path_factory: pytest.TempPathFactory) -> Command:
    """The installed command, with no setting of this machine."""
    place = tmp_path_factory.mktemp("elsewhere")
    kept = {"PATH", "SYSTEMROOT", "LANG", "LC_ALL", "SSL_CERT_FILE"}
    environment = {name: value for name, value in os.environ.items() if name in kept}
    environment["HOME"] = str(place)

    def run(*arguments: str | Path, program: str = "etchmark"):
        given = [str(core.parent / program), *map(str, arguments)]
        done = _checked(given, cwd=place, env=environment)
        assert "Traceback" not in done.stderr
        return done

    run.place = place
    return run


def test_the_wheel_holds_code_and_content_and_no_data(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        sizes = {one.filename: one.compress_size for one in archive.infolist()}
    content = "etchmark/content"
    # The board grows with every reviewed model; else only frozen labels make the wheel grow.
    assert (
        sum(size for name, size in sizes.items() if f"{content}/leaderboard/results/" not in name)
        < 9_500_000
    )
    # The tables of results without what only drawings need, see hatch_build.py.
    rows = len(list((ROOT / "leaderboard" / "results").glob("*/*.json")))
    assert wheel.stat().st_size < 9_500_000 + 60_000 * rows
    for name in (
        "etchmark/commands/main.py",
        f"{content}/benchmarks/{BENCHMARK}.yaml",
        f"{content}/datasets/superalloys/build.py",
        f"{content}/datasets/superalloys/hardness.csv",
        f"{content}/datasets/superalloys/frozen/composition.parquet",
        f"{content}/baselines/training_mean/model.py",
    ):
        assert name in names
    for name in names:
        parts = Path(name).parts
        assert "data" not in parts[1:] or parts[:2] == ("etchmark", "data"), name
        assert not name.endswith((".mat", ".npy", ".npz", ".pyc", ".sqlite", ".dvc", ".pt")), name
        assert "mirror" not in name.lower(), name
        assert "__pycache__" not in parts, name
        assert parts[0] not in {"tests", "src", "leaderboard", "datasets", "baselines"}, name
    assert not [name for name in names if name.startswith(f"{content}/datasets/__init__")]


def test_results_of_the_board_are_in_the_wheel(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    folder = ROOT / "leaderboard" / "results"
    for path in folder.glob("*/*.json"):
        name = f"etchmark/content/leaderboard/results/{path.parent.name}/{path.stem}"
        assert {f"{name}.json", f"{name}.parquet"} <= names


def test_extras_are_not_installed_and_not_needed_to_import(etchmark, core):
    listing = json.loads(etchmark("-m", "pip", "list", "--format", "json", program="python").stdout)
    installed = {one["name"].lower() for one in listing}
    assert not installed & set(NOT_CORE)
    code = (
        "import etchmark, sys; from etchmark import api; "
        "print(etchmark.__file__); print(*sorted(sys.modules))"
    )
    where, modules = etchmark("-c", code, program="python").stdout.splitlines()
    assert Path(where).is_relative_to(core.parents[1])
    assert not set(modules.split()) & set(NOT_CORE)


def test_the_client_works_from_end_to_end(etchmark):
    place = etchmark.place
    assert BENCHMARK in etchmark("list").stdout
    assert f"{BENCHMARK}@1" in etchmark("show", BENCHMARK).stdout
    reviewed = json.loads(etchmark("leaderboard", BENCHMARK, "--json").stdout)
    assert len(reviewed) == _reviewed("leave-paper-out")
    assert "fingerprint" in etchmark("build", "superalloys").stdout
    said = etchmark("evaluate", "training_mean", BENCHMARK).stdout
    assert "70.01" in said
    assert "stored as" in said
    options = ("--protocol", "leave-paper-out", "--track", "composition")
    etchmark("template", BENCHMARK, *options, "--out", "template")
    table = pd.read_csv(place / "template" / "predictions.csv")
    table["prediction"] = 400.0
    table.to_csv(place / "filled.csv", index=False)
    said = etchmark(
        "submit", "filled.csv", BENCHMARK, *options, "--name", "four hundred", "--export", "out"
    ).stdout
    assert "stored as" in said
    assert etchmark("results", "check", "out").stdout.startswith("ok: four hundred on")
    rows = json.loads(etchmark("leaderboard", BENCHMARK, "--json").stdout)
    assert {"training_mean", "four hundred"} <= {row["model"] for row in rows}
    ranked = [row for row in rows if row["role"] in ("entry", "reference")]
    assert all(row["rank_low"] <= row["rank"] <= row["rank_high"] for row in ranked)


def _reviewed(protocol: str) -> int:
    folder = ROOT / "leaderboard" / "results" / f"{BENCHMARK}@1"
    records = [json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("*.json")]
    return sum(one["protocol"] == protocol and one["outcome"] == "ok" for one in records)


def test_what_needs_an_extra_says_which(etchmark, core):
    done = subprocess.run(
        [str(core.parent / "etchmark"), "dashboard"],
        capture_output=True,
        text=True,
        check=False,
        cwd=etchmark.place,
        env={"HOME": str(etchmark.place), "PATH": os.environ["PATH"]},
    )
    assert done.returncode == 2
    assert "etchmark[dashboard]" in done.stderr
    assert len(done.stderr.splitlines()) == 1
