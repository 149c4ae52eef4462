"""How an exported submission reaches the public board, and what keeps it from there."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from etchmark import files
from etchmark.errors import UserError
from etchmark.registry.store import Store, read_record
from etchmark.specs import Claims, Cost
from etchmark.submission import review
from etchmark.submission import submit as submissions

SUBMIT = ("toy-line", "--track", "features", "--protocol", "holdout")


@pytest.fixture
def exported(toy_content, toy_predictions, command, home, tmp_path) -> Path:
    """An export of a submission; the registry it came from is gone."""
    folder = tmp_path / "export"
    file = toy_predictions("p.parquet")
    command("submit", file, *SUBMIT, "--name", "mine", "--export", folder).fine()
    shutil.rmtree(home)
    return folder


def _edit(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    path = folder / "record.json"
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


def _results(content: Path) -> list[str]:
    return sorted(path.suffix for path in (content / "leaderboard" / "results").glob("*/*.*"))


def test_a_reviewer_sees_the_flags_of_the_board(exported, command, tmp_path, toy_predictions):
    command("results", "add", exported).fine()
    folder = tmp_path / "copy"
    # The same numbers in another file.
    file = toy_predictions("p.csv")
    command("submit", file, *SUBMIT, "--name", "copied", "--export", folder).fine()
    said = command("results", "check", folder).fine().splitlines()
    assert "flag: same_predictions: the same predictions were submitted before as mine" in said


def test_a_good_export_is_accepted(exported, toy_content, command):
    said = command("results", "check", exported).fine().splitlines()
    record = read_record(exported / "record.json")
    path = toy_content / "leaderboard/results/toy-line@1/mine--features--holdout.json"
    assert said == [
        "ok: mine on toy-line@1, holdout",
        "track features, role entry, status scored",
        f"date: that of acceptance (the record says {record.created:%Y-%m-%d %H:%M} UTC)",
        "kept as claims, not measured here: environment",
        f"results add: writes {path}",
    ]
    assert _results(toy_content) == []


def _evaluated(command, folder: Path) -> Path:
    """An export of a run of the baseline, two seeds over the folds."""
    options = ("--protocol", "folds", "--seeds", "2", "--export", folder)
    command("evaluate", "toy_mean", "toy-line", *options).fine()
    return folder


def test_a_baselines_export_is_scored_and_what_it_measured_elsewhere_is_claimed(
    toy_content, command, tmp_path
):
    folder = _evaluated(command, tmp_path / "run")
    assert "toy_mean' is a baseline" in command("results", "check", folder).refusal()
    said = command("results", "check", folder, "--baseline").fine().splitlines()
    assert said[0] == "ok: toy_mean on toy-line@1, folds"
    assert said[1] == "track features, role reference, status scored (the record says run)"
    assert said[3].startswith("kept as claims, not measured here: cost (fit_seconds, ")
    stated = read_record(folder / "record.json")
    command("results", "add", folder, "--baseline").fine()
    (path,) = (toy_content / "leaderboard" / "results" / "toy-line@1").glob("*.json")
    record = read_record(path)
    assert (record.status, record.cost, record.environment) == ("scored", Cost(), None)
    assert record.claims is not None
    assert (record.claims.cost, record.claims.environment) == (stated.cost, stated.environment)
    assert record.scores == stated.scores


def test_what_the_hub_ran_is_not_replaced_by_a_file(toy_content, command, tmp_path):
    folder = _evaluated(command, tmp_path / "run")
    command("results", "run", "toy-line", "--protocol", "folds").fine()
    (path,) = (toy_content / "leaderboard" / "results" / "toy-line@1").glob("*.json")
    before = path.read_bytes()
    said = command("results", "check", folder, "--baseline").fine()
    assert "results add: refused" in said
    line = command("results", "add", folder, "--baseline", "--replace").refusal()
    assert "is a run of 'toy_mean' by this hub" in line
    assert path.read_bytes() == before


def _catalog():
    from etchmark.catalog import catalog

    return catalog()


def test_an_added_row_shows_on_a_fresh_hub(exported, toy_content, command):
    said = command("results", "add", exported).fine()
    written = Path(said.removeprefix("wrote ").strip())
    record = read_record(exported / "record.json")
    folder = toy_content / "leaderboard" / "results" / "toy-line@1"
    assert written == folder / "mine--features--holdout.json"
    table = "mine--features--holdout.parquet"
    assert sorted(path.name for path in folder.iterdir()) == ["SHA256SUMS", written.name, table]
    assert (folder / "SHA256SUMS").read_text() == f"{files.sha256_of(folder / table)}  {table}\n"
    (row,) = json.loads(command("leaderboard", "toy-line", "--json").fine())
    assert (row["model"], row["rank"], row["submission"]) == ("mine", 1, record.submission)
    accepted = read_record(written)
    assert accepted.created >= record.created
    assert accepted.claims == Claims(environment=record.environment)
    same = {"created": record.created, "claims": None, "environment": record.environment}
    assert accepted.model_copy(update=same) == record


def test_adding_it_again_changes_nothing(exported, toy_content, command):
    first = Path(command("results", "add", exported).fine().removeprefix("wrote ").strip())
    before = {path.name: path.read_bytes() for path in first.parent.iterdir()}
    command("results", "add", exported).fine()
    assert {path.name: path.read_bytes() for path in first.parent.iterdir()} == before


def test_another_record_of_the_same_model_is_replaced_openly(
    exported, toy_content, toy_predictions, command, tmp_path
):
    command("results", "add", exported).fine()
    newer = tmp_path / "newer"
    file = toy_predictions("q.parquet", splits=("test", "hard"))
    command("submit", file, *SUBMIT, "--name", "mine", "--export", newer).fine()
    assert "--replace" in command("results", "add", newer).refusal()
    assert len(_results(toy_content)) == 2
    command("results", "add", newer, "--replace").fine()
    assert len(_results(toy_content)) == 2
    (row,) = json.loads(command("leaderboard", "toy-line", "--json").fine())
    assert row["submission"] == read_record(newer / "record.json").submission


def test_a_stranger_cannot_claim_that_the_harness_ran_it(exported, toy_content, command):
    def claim(value: dict[str, Any]) -> None:
        value["status"] = "verified"

    _edit(exported, claim)
    written = Path(command("results", "add", exported).fine().removeprefix("wrote ").strip())
    assert read_record(written).status == "scored"


def test_rounding_in_the_last_digits_is_no_lie(exported, command):
    def nudge(value: dict[str, Any]) -> None:
        value["scores"][0]["metrics"]["rmse"]["value"] *= 1 + 1e-13

    _edit(exported, nudge)
    command("results", "check", exported).fine()


# --- tampering ---------------------------------------------------------------------------------


def _set(*path: Any, to: Any) -> Callable[[Path], None]:
    def change(value: dict[str, Any]) -> None:
        for key in path[:-1]:
            value = value[key]
        value[path[-1]] = to

    return lambda folder: _edit(folder, change)


def _predictions(change: Callable[[pa.Table], pa.Table]) -> Callable[[Path], None]:
    """Other predictions under a record whose hash and id were made to fit them."""

    def tamper(folder: Path) -> None:
        path = folder / "predictions.parquet"
        pq.write_table(change(pq.read_table(path)), path)

        def fit(value: dict[str, Any]) -> None:
            sha256 = files.sha256_of(path)
            value["fingerprints"]["predictions"] = [sha256]
            value["submission"] = submissions.submission_id(
                "toy-line@1", "features", "holdout", [sha256], value["name"]
            )

        _edit(folder, fit)

    return tamper


def _better(table: pa.Table) -> pa.Table:
    return table.set_column(1, "prediction", pc.subtract(table["prediction"], 0.5))


def _samples(folder: Path) -> None:
    path = folder / "samples.parquet"
    table = pq.read_table(path)
    column = table.column_names.index("prediction")
    better = pc.subtract(table["prediction"], 0.5)
    pq.write_table(table.set_column(column, "prediction", better), path)


def _bomb(folder: Path) -> None:
    path = folder / "samples.parquet"
    table = pq.read_table(path)
    schema = table.schema
    many = pa.table(
        {
            field.name: pa.array([table[field.name][0].as_py()] * 2_000_000, field.type)
            for field in schema
        },
        schema=schema,
    )
    pq.write_table(many, path, compression="zstd")
    assert path.stat().st_size < 1_000_000


def _linked(name: str) -> Callable[[Path], None]:
    def link(folder: Path) -> None:
        outside = folder.parent / f"outside-{name}"
        (folder / name).rename(outside)
        (folder / name).symlink_to(outside)

    return link


def _extra_large(folder: Path) -> None:
    with (folder / "record.json").open("a") as handle:
        handle.write(" " * (17 << 20))


def _deep(folder: Path) -> None:
    text = (folder / "record.json").read_text()
    deep = "[" * 100_000 + "]" * 100_000
    (folder / "record.json").write_text(text.replace('"params": {}', f'"params": {{"x": {deep}}}'))


TAMPERED: dict[str, tuple[Callable[[Path], None], str]] = {
    "a better score": (_set("scores", 0, "metrics", "mae", "value", to=0.5), "mae.value"),
    "an interval over three units": (
        lambda folder: _edit(
            folder,
            lambda value: value["scores"][0]["metrics"]["mae"].update(ci_low=0.5, ci_high=1.25),
        ),
        "mae.ci_low",
    ),
    "half an interval": (_set("scores", 0, "metrics", "mae", "ci_high", to=1.25), "or neither"),
    "more samples": (_set("scores", 0, "n", to=900), "n of split"),
    "more seeds": (_set("scores", 0, "seeds", to=5), "seeds of split"),
    "folds that are not there": (
        _set("scores", 0, "folds", to=[{"fold": 0, "n": 1, "values": {}}]),
        "folds",
    ),
    "another split's name": (_set("scores", 0, "split", to="hard"), "other splits"),
    "no scores": (_set("scores", to=[]), "outcome ok has scores"),
    "a metric left out": (
        lambda folder: _edit(folder, lambda value: value["scores"][0]["metrics"].pop("r2")),
        "metrics",
    ),
    "other predictions": (
        lambda folder: pq.write_table(
            _better(pq.read_table(folder / "predictions.parquet")), folder / "predictions.parquet"
        ),
        "SHA-256",
    ),
    "other predictions, hash and id": (_predictions(_better), "is said to be"),
    "predictions of half the split": (_predictions(lambda table: table.slice(4)), "are missing"),
    "another id": (_set("submission", to="0" * 64), "submission id"),
    "an id that is none": (_set("submission", to="../../up"), "submission"),
    "another name": (_set("name", to="yours"), "submission id"),
    "another track": (_set("track", to="kinds"), "submission id"),
    "an unknown track": (_set("track", to="none"), "track 'none'"),
    "another protocol": (_set("protocol", to="folds"), "submission id"),
    "an unknown protocol": (_set("protocol", to="none"), "protocol 'none'"),
    "an unknown benchmark": (_set("benchmark", to="toy-lime"), "did you mean: toy-line"),
    "a path as benchmark": (_set("benchmark", to="../toy-line"), "benchmark"),
    "another version": (_set("benchmark_version", to=2), "version 1"),
    "another hash": (_set("fingerprints", "predictions", to=["0" * 64]), "SHA-256"),
    "two hashes": (_set("fingerprints", "predictions", to=["0" * 64, "1" * 64]), "SHA-256"),
    "other data": (_set("fingerprints", "data", to="0" * 64), "other data"),
    "other labels": (_set("fingerprints", "target", to="0" * 64), "other labels"),
    "an unknown key": (_set("prize", to=1), "prize: unknown key"),
    "a card with an unknown key": (_set("card", "prize", to=1), "card.prize: unknown key"),
    "a card with a script": (_set("card", "code", to="javascript:alert(1)"), "card.code"),
    "a name of two lines": (_set("name", to="a\nb"), "name"),
    "another schema": (_set("schema", to=3), "schema"),
    "a time that is not UTC": (_set("created", to="2026-01-01T00:00:00+02:00"), "UTC"),
    "a negative cost": (_set("cost", "fit_seconds", to=-1.0), "cost.fit_seconds"),
    "a failed record": (
        lambda folder: _edit(
            folder, lambda value: value.update(outcome="failed", scores=[], reason="it broke")
        ),
        "the submission failed (it broke)",
    ),
    "extra large": (_extra_large, "too large"),
    "deeply nested": (_deep, "record.json"),
    "no JSON": (lambda folder: (folder / "record.json").write_text("{"), "record.json"),
    "no record": (lambda folder: (folder / "record.json").unlink(), "record.json"),
    "no predictions": (lambda folder: (folder / "predictions.parquet").unlink(), "holds 0 files"),
    "two predictions": (
        lambda folder: shutil.copy(folder / "predictions.parquet", folder / "predictions.csv"),
        "holds 2 files",
    ),
    "no samples": (lambda folder: (folder / "samples.parquet").unlink(), "samples.parquet"),
    "other samples": (_samples, "samples.parquet"),
    "samples that are none": (
        lambda folder: (folder / "samples.parquet").write_bytes(b"PAR1"),
        "samples.parquet",
    ),
    "samples that unpack to much": (_bomb, "samples.parquet"),
    "a linked record": (_linked("record.json"), "not a plain file"),
    "linked predictions": (_linked("predictions.parquet"), "not a plain file"),
    "linked samples": (_linked("samples.parquet"), "not a plain file"),
    "a folder inside": (lambda folder: (folder / "more").mkdir(), "not a plain file"),
}


@pytest.mark.parametrize("case", TAMPERED)
def test_what_was_tampered_with_is_refused(exported, toy_content, command, case):
    tamper, expected = TAMPERED[case]
    tamper(exported)
    assert expected in command("results", "check", exported).refusal()
    command("results", "add", exported).refusal()
    assert _results(toy_content) == []


def test_what_is_no_export_is_refused(toy_content, command, tmp_path):
    assert "is not a folder" in command("results", "check", tmp_path / "none").refusal()
    (tmp_path / "empty").mkdir()
    assert "record.json" in command("results", "check", tmp_path / "empty").refusal()


def test_a_parameter_count_no_table_can_hold_does_not_close_the_board(
    exported, toy_content, command
):
    _set("cost", "parameters", to=10**30)(exported)
    assert "cost.parameters" in command("results", "add", exported).refusal()
    command("leaderboard", "toy-line", "--json").fine()


def test_a_damaged_older_record_is_named(exported, toy_content, command):
    folder = toy_content / "leaderboard" / "results" / "toy-line"
    folder.mkdir(parents=True)
    (folder / f"{'0' * 64}.json").write_text("{")
    assert "0000.json" in command("results", "add", exported).refusal()


def test_write_reviewed_leaves_other_models_alone(exported, toy_content, toy_predictions, command):
    command("results", "add", exported).fine()
    other = exported.parent / "other"
    command("submit", toy_predictions(), *SUBMIT, "--name", "other", "--export", other).fine()
    command("results", "add", other).fine()
    assert sorted(entry.record.name for entry in Store().entries("toy-line", 1)) == [
        "mine",
        "other",
    ]
    with pytest.raises(UserError):
        review.check(_catalog(), toy_content)
