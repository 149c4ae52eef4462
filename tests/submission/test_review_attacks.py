"""Attacks on ``results check`` and ``results add``: what a folder may try, and what comes of it."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from etchmark import files, predictions
from etchmark.data.loading import load_benchmark
from etchmark.registry.store import LOCAL, Store, read_record
from etchmark.registry.tables import Entry
from etchmark.specs import Cost
from etchmark.submission import submit as submissions

SUBMIT = ("toy-line", "--track", "features", "--protocol", "holdout")
INVENTED: dict[str, Any] = {
    "status": "run",
    "cost": {
        "fit_seconds": 1e-9,
        "parameters": 1,
        "hardware": "a pocket calculator",
        "cpu_seconds": 2e-9,
        "total_parameters": 1234,
    },
    "made_with": {"weights.safetensors": "0" * 64},
    "params": {"depth": 10**6},
    "curves": [
        {
            "name": "size",
            "title": "Error against samples",
            "axis": "samples",
            "split": "test",
            "metric": "mae",
            "points": [{"value": 1.0, "samples": 12, "score": {"value": 1e-6}}],
        }
    ],
    "created": "1999-01-01T00:00:00Z",
}


@pytest.fixture
def export(toy_content, toy_predictions, command, tmp_path) -> Callable[..., Path]:
    """Exports a submission and changes its record, whose id is then made to fit."""

    def make(name: str = "mine", folder: str = "export", **change: Any) -> Path:
        target = tmp_path / folder
        file = toy_predictions(f"{folder}.parquet")
        command("submit", file, *SUBMIT, "--name", f"plain {folder}", "--export", target).fine()
        edit(target, name=name, **change)
        return target

    return make


def edit(folder: Path, **change: Any) -> None:
    path = folder / "record.json"
    value = json.loads(path.read_text()) | change
    value["fingerprints"]["predictions"] = [files.sha256_of(folder / "predictions.parquet")]
    value["submission"] = submissions.submission_id(
        f"{value['benchmark']}@{value['benchmark_version']}",
        value["track"],
        value["protocol"],
        value["fingerprints"]["predictions"],
        value["name"],
    )
    path.write_text(json.dumps(value))


def results(content: Path) -> list[Path]:
    return sorted((content / "leaderboard" / "results").glob("*/*.json"))


def board(command) -> list[dict[str, Any]]:
    return json.loads(command("leaderboard", "toy-line", "--json").fine())


# --- whose word it is --------------------------------------------------------------------------


def test_what_is_dropped_is_named(export, command):
    curves = [{**INVENTED["curves"][0], "name": name} for name in ("size", "depth")]
    claims = {"params": {"depth": 2}, "made_with": {"w": "1"}}
    artefact = {"sha256": "a" * 64, "bytes": 7}
    invented = {**INVENTED, "curves": curves, "claims": claims, "artefact": artefact}
    said = command("results", "check", export(**invented, flags=["constant: so I say"])).fine()
    assert "curves size, depth\n" in said
    (line,) = [line for line in said.splitlines() if line.startswith("dropped: ")]
    assert line == (
        "dropped: artefact (it is on the hub that ran the model), flag 'constant: so I say',"
        " claims.params (the record states params itself), claims.made_with (the record states"
        " made_with itself)"
    )


def test_what_a_folder_says_of_itself_is_kept_as_claims(export, toy_content, command, home):
    folder = export(**INVENTED)
    said = command("results", "check", folder).fine()
    assert "status scored (the record says run)" in said
    assert "date: that of acceptance (the record says 1999-01-01 00:00 UTC)" in said
    claims = (
        "cost (fit_seconds, parameters, hardware, cpu_seconds, total_parameters), environment,"
        " model settings"
    )
    assert f"{claims}, what it was made with, curve size" in said
    assert "dropped" not in said
    assert results(toy_content) == []
    command("results", "add", folder).fine()
    (path,) = results(toy_content)
    record = read_record(path)
    assert record.status == "scored"
    assert (record.cost, record.environment) == (Cost(), None)
    assert (record.made_with, record.params, record.curves) == ({}, {}, [])
    assert record.created.year > 1999
    assert record.claims is not None
    assert record.claims.cost.hardware == "a pocket calculator"
    assert [curve.name for curve in record.claims.curves] == ["size"]
    shutil.rmtree(home)
    (row,) = board(command)
    assert (row["status"], row["fit_seconds"], row["hardware"]) == ("scored", None, None)
    assert row["claimed"] == INVENTED["cost"]
    printed = command("leaderboard", "toy-line").fine()
    assert re.search(r"2e-09 claimed +– +1,234 claimed", printed)
    assert "fit_seconds=1e-09; parameters=1" in command("leaderboard", "toy-line", "--csv").fine()
    assert board(command)[0]["date"] > "1999-12-31"
    assert (
        json.loads(command("leaderboard", "toy-line", "--max-parameters", "5", "--json").fine())
        == []
    )


def test_claims_that_were_claims_before_stay_claims(export, toy_content, command):
    claims = {"cost": {"fit_seconds": 2.5}, "made_with": {"a": "b"}}
    command("results", "add", export(claims=claims)).fine()
    (path,) = results(toy_content)
    record = read_record(path)
    assert record.claims is not None
    assert (record.claims.cost.fit_seconds, record.claims.made_with) == (2.5, {"a": "b"})
    assert record.cost == Cost()


def test_an_intruder_does_not_become_the_reference_line(export, toy_content, command):
    path = toy_content / "benchmarks" / "toy-line.yaml"
    line = {"label": "mean", "model": "toy_mean", "track": "features"}
    spec = yaml.safe_load(path.read_text()) | {"reference_lines": [line]}
    path.write_text(yaml.safe_dump(spec, sort_keys=False))
    folder = export("toy_mean", **INVENTED)
    for action in ("check", "add"):
        assert "is a baseline of this hub" in command("results", action, folder).refusal()
    assert results(toy_content) == []


@pytest.mark.parametrize(
    "name",
    [
        "Toy_Mean",
        "toy_m\u0435an",  # Cyrillic e
        "t\u03bfy_mean",  # Greek omicron
        "toy_rnean",
        "toy\uff3fmean",  # full width
        "t0y_mean",
    ],
)
def test_a_name_that_looks_like_a_baseline_is_refused(name, export, toy_content, command):
    folder = export(name)
    for action in ("check", "add"):
        line = command("results", action, folder).refusal()
        assert "looks like 'toy_mean', which is a baseline of this hub" in line
    assert results(toy_content) == []


def test_a_name_that_looks_like_a_stored_one_is_refused(
    export, toy_content, toy_predictions, command
):
    command("results", "add", export("my model")).fine()
    for folder, name in (("b", "My Model"), ("c", "my m\u043edel")):
        line = command("results", "add", export(name, folder)).refusal()
        assert "looks like 'my model', which is on the board" in line
        submit = ("submit", toy_predictions(), *SUBMIT, "--name", name)
        assert "looks like 'my model'" in command(*submit).refusal()
    assert len(results(toy_content)) == 1
    command("results", "add", export("my other model", "d")).fine()


def test_mixed_scripts_are_no_fault(export, toy_content, command):
    command("results", "add", export("β-VAE, модель 2")).fine()
    (row,) = [row for row in board(command) if row["origin"] == "reviewed"]
    assert row["model"] == "β-VAE, модель 2"


# --- characters --------------------------------------------------------------------------------


STEERING = ("\x1b[2J", "\u202e", "\u200b", "\u2066", "\u00ad", "\x9b31m")
PLACES = ("name", "card.title", "card.description", "card.tags", "cost.hardware", "params")


@pytest.mark.parametrize("place", PLACES)
def test_characters_that_steer_are_refused_in_every_text(place, export, toy_content, command):
    folder = export()
    value = json.loads((folder / "record.json").read_text())
    field, _, part = place.partition(".")
    for char in STEERING:
        text = f"a{char}b"
        if field == "params":
            change: dict[str, Any] = {"params": {text: "x"}}
        else:
            entry = [text] if part == "tags" else text
            change = {field: {**value[field], part: entry} if part else entry}
        edit(folder, **change)
        command("results", "check", folder).refusal()
        command("results", "add", folder).refusal()
    assert results(toy_content) == []


def test_a_reason_belongs_to_a_failed_run(export, toy_content, command):
    assert (
        "reason belongs to a run that failed"
        in command("results", "add", export(reason="everything went well")).refusal()
    )
    assert results(toy_content) == []


# --- the record --------------------------------------------------------------------------------


def _twice(folder: Path) -> None:
    path = folder / "record.json"
    path.write_text(path.read_text().replace('"status":', '"status": "reported", "status":', 1))


def _replaced(old: str, new: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / "record.json"
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))

    return change


def _padded(folder: Path) -> None:
    path = folder / "record.json"
    path.write_text(path.read_text() + " " * (2 << 20))


def _renamed(old: str, new: str) -> Callable[[Path], None]:
    return lambda folder: (folder / old).rename(folder / new)


def _pipe(folder: Path) -> None:
    (folder / "predictions.parquet").unlink()
    os.mkfifo(folder / "predictions.parquet")


def _other_table(folder: Path) -> None:
    """The table of better predictions, of the same shape and schema."""
    path = folder / "samples.parquet"
    table = pq.read_table(path)
    at = table.column_names.index("prediction")
    better = pa.array(table["prediction"].to_numpy() - 1.0)
    pq.write_table(table.set_column(at, "prediction", better), path)


def _other_order(folder: Path) -> None:
    path = folder / "samples.parquet"
    table = pq.read_table(path)
    pq.write_table(table.take(list(range(table.num_rows))[::-1]), path)


def _declared(**change: str) -> Callable[[Path], None]:
    """Predictions from a template of the track ``features``, under another track or protocol."""

    def make(folder: Path) -> None:
        truth = load_benchmark("toy-line").truth("test")
        declared = predictions.Declared("toy-line@1", "features", "holdout")
        path = folder / "predictions.parquet"
        predictions.write(path, truth.ids, truth.target + 1.0, declared=declared)
        edit(folder, **change)

    return make


REFUSED: dict[str, tuple[Callable[[Path], None], str]] = {
    "a duplicate key": (_twice, "duplicate key 'status'"),
    "no number": (_replaced('"params": {}', '"params": {"x": NaN}'), "not a finite number"),
    "an infinite number": (
        _replaced('"params": {}', '"params": {"x": 1e999}'),
        "not a finite number",
    ),
    "a number of 9,000 digits": (
        _replaced('"params": {}', f'"params": {{"x": {"9" * 9000}}}'),
        "record.json",
    ),
    "half a character": (
        _replaced('"params": {}', '"params": {"x": "\\ud800"}'),
        "record.json",
    ),
    "claims with an unknown key": (
        lambda folder: edit(folder, claims={"rank": 1}),
        "claims.rank: unknown key",
    ),
    "a record of megabytes": (_padded, "too large"),
    "a record of a version to come": (
        lambda folder: edit(folder, benchmark_version=2),
        "version 1 here, not 2",
    ),
    "a record of a version before": (
        lambda folder: edit(folder, benchmark_version=0),
        "'0' is not a version",
    ),
    "names in capitals": (_renamed("samples.parquet", "SAMPLES.parquet"), "not part of"),
    "a hidden file": (lambda folder: (folder / ".hidden").write_text(""), "not part of"),
    "a pipe": (_pipe, "not a plain file"),
    "another table": (_other_table, "not what the predictions give"),
    "the rows in another order": (_other_order, "not what the predictions give"),
    "another track than the file declares": (_declared(track="kinds"), "says track 'features'"),
    "another protocol than the file declares": (
        _declared(protocol="folds"),
        "says protocol 'holdout'",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_it_is_refused_by_name_and_nothing_is_written(case, export, toy_content, command):
    folder = export()
    change, expected = REFUSED[case]
    change(folder)
    for action in ("check", "add"):
        assert expected in command("results", action, folder).refusal()
    assert results(toy_content) == []


def test_a_table_that_unpacks_to_gigabytes_is_refused(export, toy_content, command, lying_table):
    """Kilobytes whose footer tells of a few bytes: to read it would take gigabytes."""
    folder = export()
    path = folder / "samples.parquet"
    path.write_bytes(lying_table(pq.read_table(path), 300_000_000))
    assert path.stat().st_size < 100_000
    assert "unpacks to 300," in command("results", "check", folder).refusal()
    command("results", "add", folder).refusal()
    assert results(toy_content) == []


# --- where it is written -----------------------------------------------------------------------


def test_installed_content_is_not_written_to(export, toy_content, command, monkeypatch, tmp_path):
    """As in a wheel: the content stands beside the package and nobody named it."""
    from etchmark.catalog import layers

    folder = export()
    before = sorted(toy_content.rglob("*"))
    monkeypatch.delenv("ETCHMARK_CONTENT")
    monkeypatch.delenv("ETCHMARK_CONTENT_ONLY")
    monkeypatch.setattr(layers, "installed_root", lambda: toy_content)
    for arguments in (("results", "add", folder), ("results", "run", "toy-line")):
        assert "is installed content, not a checkout" in command(*arguments).refusal()
    assert sorted(toy_content.rglob("*")) == before
    checkout = tmp_path / "checkout"
    assert (
        "has no folder datasets, benchmarks or baselines"
        in command("results", "add", folder, "--into", checkout).refusal()
    )
    assert not checkout.exists()
    shutil.copytree(toy_content, checkout)
    command("results", "add", folder, "--into", checkout).fine()
    assert (len(results(toy_content)), len(results(checkout))) == (0, 1)
    (toy_content / "pyproject.toml").touch()
    command("results", "add", folder).fine()
    assert len(results(toy_content)) == 1


def test_a_record_that_is_there_is_replaced_only_if_asked_for(export, toy_content, command):
    folder = export()
    command("results", "add", folder).fine()
    (path,) = results(toy_content)
    before = path.read_bytes()
    said = command("results", "check", folder).fine()
    assert f"results add: nothing, {path} is there already" in said
    command("results", "add", folder).fine()
    assert path.read_bytes() == before
    edit(folder, card={"title": "Another title"})
    assert "--replace" in command("results", "add", folder).refusal()
    assert path.read_bytes() == before
    command("results", "add", folder, "--replace").fine()
    assert read_record(path).card.title == "Another title"


# --- numbers that no board can hold -------------------------------------------------------------


@pytest.mark.parametrize("place", ["cost", "claims"])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("peak_memory_bytes", 10**400),
        ("parameters", 2**63),
        ("fit_seconds", 1.7e308),
        ("predict_seconds", 1.1e12),
        ("seconds_each", 1e13),
        ("feature_seconds", 1e300),
        ("flops", 1e300),
    ],
)
def test_numbers_that_no_board_can_hold_are_refused(
    place, name, value, export, toy_content, command
):
    cost = {name: value}
    folder = export(**{place: cost if place == "cost" else {"cost": cost}})
    for action in ("check", "add"):
        line = command("results", action, folder).refusal()
        assert f"cost.{name}" in line
        too_large = "must be 9,223,372,036,854,775,807 or less"
        assert "more than a board can hold" in line or too_large in line
    assert results(toy_content) == []


def test_samples_of_a_claimed_curve_are_limited_too(export, toy_content, command):
    (curve,) = INVENTED["curves"]
    points = [{**curve["points"][0], "samples": 10**400}]
    folder = export(claims={"curves": [{**curve, "points": points}]})
    line = command("results", "check", folder).refusal()
    assert "claims.curves.0.points.0.samples is more than a board can hold" in line


def test_a_row_whose_finite_numbers_sum_to_infinity_stays_on_the_board(toy_predictions, command):
    """As an older version took it in."""
    command("submit", toy_predictions("huge.csv"), *SUBMIT, "--name", "huge").fine()
    (entry,) = Store().entries("toy-line", 1)
    cost = Cost(fit_seconds=1.7e308, predict_seconds=1.7e308)
    record = entry.record.model_copy(update={"cost": cost})
    Store().add(Entry(record, entry.samples, LOCAL))
    assert [row["model"] for row in board(command)] == ["huge"]


# --- names that are not seen as they are ---------------------------------------------------------

UNSEEN_NAMES = {
    "padding": ("toy_mean" + " " * 60 + "x", "several spaces in a row"),
    "a no-break space": ("my\u00a0model", "U+00A0"),
    "an ideographic space": ("my\u3000model", "U+3000"),
    "a Braille blank": ("my\u2800model", "U+2800"),
    "a Hangul filler": ("my\u3164model", "U+3164"),
    "fillers alone": ("\u3164\u2800\u3164", "U+3164"),
    "a zero-width space": ("toy_mean\u200b", "U+200B"),
    "a joiner between letters": ("my\u200dmodel", "U+200D"),
    "a selector alone": ("\ufe0f", "U+FE0F"),
    "an unassigned character": ("my\u0378model", "U+0378"),
    "an ignorable one that is unassigned": ("my\u2065model", "U+2065"),
    "an ignorable special": ("my\ufff3model", "U+FFF3"),
    "an object replacement": ("my\ufffcmodel", "U+FFFC"),
    "a Khitan filler": ("my\U00016fe4model", "U+16FE4"),
    "a null notehead": ("my\U0001d159model", "U+1D159"),
}


@pytest.mark.parametrize("case", UNSEEN_NAMES)
def test_a_name_that_is_not_seen_as_it_is_is_refused(
    case, export, toy_content, toy_predictions, command
):
    name, expected = UNSEEN_NAMES[case]
    assert expected in command("submit", toy_predictions(), *SUBMIT, "--name", name).refusal()
    folder = export(name)
    for action in ("check", "add"):
        assert expected in command("results", action, folder).refusal()
    assert results(toy_content) == []


@pytest.mark.parametrize(
    "name",
    [
        "\u2764\ufe0f\u200d\U0001f525 net",  # an emoji of two
        "1\ufe0f\u20e3 net",  # a keycap
        "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",  # Persian
        "a plain name",
    ],
)
def test_joiners_in_emoji_and_scripts_are_fine(name, export, toy_content, command):
    command("results", "add", export(name)).fine()
    assert [row["model"] for row in board(command) if row["origin"] == "reviewed"] == [name]


@pytest.mark.parametrize("char", ["\u0378", "\u2065", "\ufff3", "\u3164"])
def test_unassigned_and_invisible_characters_are_refused_in_every_text(char, export, command):
    folder = export(card={"title": f"a{char}b"})
    assert f"U+{ord(char):04X}" in command("results", "check", folder).refusal()


def test_a_printed_board_shows_where_a_name_is_cut(toy_predictions, command):
    """Longer than any baseline's name."""
    long, whole = "m" + "o" * 70, "w" + "i" * 49
    for name in (long, whole):
        command("submit", toy_predictions(), *SUBMIT, "--name", name).fine()
    printed = command("leaderboard", "toy-line").fine()
    assert f" {long[:59]}… " in printed
    assert f" {whole} " in printed
