"""A build is compared with the frozen release, and says where it differs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from etchmark.catalog import catalog
from etchmark.data import building, release
from etchmark.errors import UserError

Change = Callable[[str, str], None]


@pytest.fixture
def change(toy_content: Path) -> Change:
    def replace(old: str, new: str) -> None:
        path = toy_content / "datasets" / "toy" / "build.py"
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new), encoding="utf-8")

    return replace


def test_the_same_build_twice(toy_content: Path, home: Path, tmp_path: Path) -> None:
    first = building.build(catalog(), "toy")
    assert first.folder == home / "datasets" / "toy" / "scalar-mini"
    again = building.build(
        catalog(), "toy", "scalar-mini", building.BuildOptions(out=tmp_path / "out")
    )
    assert again.manifest == first.manifest
    assert first.difference is None


def test_names_that_do_not_exist(toy_content: Path) -> None:
    with pytest.raises(UserError, match="unknown dataset 'tey'; did you mean: toy"):
        building.build(catalog(), "tey")
    with pytest.raises(UserError, match="unknown config of toy 'scalar'; did you mean"):
        building.build(catalog(), "toy", "scalar")
    (toy_content / "datasets" / "toy" / "build.py").unlink()
    with pytest.raises(UserError, match=r"build.py: does not exist"):
        building.build(catalog(), "toy")


def test_where_a_build_may_go(toy_content: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="is not a folder"):
        building.build(catalog(), "toy", None, building.BuildOptions(out=tmp_path / "file"))
    with pytest.raises(UserError, match="cannot be written"):
        building.build(
            catalog(), "toy", None, building.BuildOptions(out=tmp_path / "file" / "below")
        )
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.tex").touch()
    with pytest.raises(UserError, match="holds no earlier build"):
        building.build(catalog(), "toy", None, building.BuildOptions(out=mine))
    # Many things have a manifest.json.
    (mine / "manifest.json").write_text('{"name": "my extension", "version": 1}')
    with pytest.raises(UserError, match="holds no earlier build"):
        building.build(catalog(), "toy", None, building.BuildOptions(out=mine))
    assert (mine / "thesis.tex").exists()
    (tmp_path / "empty").mkdir()
    building.build(catalog(), "toy", None, building.BuildOptions(out=tmp_path / "empty"))
    building.build(catalog(), "toy", None, building.BuildOptions(out=tmp_path / "empty"))


def test_a_build_that_differs_says_where(toy_content: Path, change: Change, tmp_path: Path) -> None:
    made = building.build(catalog(), "toy")
    source = toy_content / "datasets" / "toy"
    path = release.freeze(source, made.folder, made.manifest, ["y"])
    assert path == source / "frozen" / "scalar-mini.parquet"
    assert release.frozen_fingerprint(source, "scalar-mini") == made.manifest.fingerprint
    assert release.frozen_fingerprint(source, "fields-mini") is None
    assert building.build(catalog(), "toy").difference is None
    line = 'columns["y"] = 100 + 10 * a + noise[:, 0]\n'
    change(line, f"{line}            columns['y'][2] += 0.25 * (split == 'test')\n")
    difference = building.build(
        catalog(), "toy", None, building.BuildOptions(out=tmp_path / "other")
    ).difference
    assert difference is not None
    assert difference.rows == ["test-02"]
    assert difference.largest == pytest.approx({"y": 0.25})
    assert "1 rows differ (test-02); largest label difference: y 0.25" in difference.describe()


@pytest.mark.parametrize("how", ["empty", "cut", "bare"])
def test_a_damaged_release_is_named(toy_content: Path, command: Callable, how: str) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    command("build", "toy", "--freeze").fine()
    path = toy_content / "datasets" / "toy" / "frozen" / "scalar-mini.parquet"
    content = path.read_bytes()
    if how == "bare":
        pq.write_table(pa.table({"id": ["a"]}), path)
    else:
        path.write_bytes(content[: 0 if how == "empty" else -20])
    said = command("build", "toy").refusal()
    assert said.startswith(f"{path}: the frozen release is damaged (")
    assert said.endswith("; restore it from git")


def test_other_inputs_and_ids_are_told_too(toy_content: Path, change: Change) -> None:
    made = building.build(catalog(), "toy")
    release.freeze(toy_content / "datasets" / "toy", made.folder, made.manifest, ["y"])
    change('f"k{row % 2}"', 'f"k{row % 3}"')
    change('f"{split}-{row:02d}"', 'f"{split}-{row:02d}" + "x" * (row == 0)')
    difference = building.build(catalog(), "toy").difference
    assert difference is not None
    assert difference.largest == {"y": 0.0}
    for name in ("train-00", "train-00x", "hard-00x", "train-02"):
        assert name in difference.rows
    assert "train-01" not in difference.rows
    assert ", …" in difference.describe()


def test_exit_status_and_unofficial_data(
    toy_content: Path, change: Change, command: Callable, toy_predictions: Callable
) -> None:
    path = toy_predictions()
    assert "frozen in" in command("build", "toy", "--freeze").fine()
    assert "fingerprint" in command("build", "toy").fine()
    change("100 + 10 * a", "101 + 10 * a")
    ran = command("build", "toy")
    assert ran.rc == 1
    assert ran.stderr.startswith("error: this build is not the released one: 27 rows differ")
    assert "largest label difference: y 1;" in ran.stderr
    assert len(ran.stderr.splitlines()) == 1
    score = ("score", path, "toy-line", "--protocol", "holdout")
    assert "is not the released" in command(*score).refusal()
    # Shifted by what the labels were shifted by, the predictions equal them: scored with a doubt.
    ran = command(*score, "--unofficial")
    assert (ran.rc, "mae" in ran.stdout) == (0, True)
    assert "equal their labels" in ran.stderr
    submit = ("submit", path, "toy-line", "--protocol", "holdout", "--track", "features")
    assert "is not the released" in command(*submit, "--name", "mine").refusal()
    assert command("leaderboard", "toy-line", "--json").fine() == "[]\n"


def test_build_py_is_a_program_of_its_own(toy_content: Path, home: Path) -> None:
    script = toy_content / "datasets" / "toy" / "build.py"
    done = subprocess.run(
        [sys.executable, str(script), "--config", "fields-mini"],
        env=dict(os.environ),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.startswith("built toy:fields-mini in ")
    assert done.stderr == ""
    assert (home / "datasets" / "toy" / "fields-mini" / "manifest.json").is_file()
