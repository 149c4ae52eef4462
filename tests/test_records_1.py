"""What etchmark 0.1.0 stored and showed is read as it was: values, ranks, hubs, exports.

``tests/fixtures/records-1`` was written by that version (``make_records_1.py``) and never changes.
Stored values are held byte for byte, recomputed ones to 1e-12, rank ranges exactly. Intervals were
percentiles of resamples then: those of the records of today are recomputed from their tables. Rows
that were run again since, with three seeds, are other submissions: they are listed and left out.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest

from etchmark.boards.standings import Board
from etchmark.catalog import Catalog, catalog
from etchmark.registry.store import Store
from etchmark.scoring.intervals import FEWEST_UNITS, METHOD
from etchmark.scoring.samples import from_table
from etchmark.scoring.score import score_samples
from etchmark.specs import ResultRecord

ROOT = Path(__file__).resolve().parents[1]
FIXTURES = ROOT / "tests" / "fixtures" / "records-1"
RUN_AGAIN = {
    "superalloy-hardness": [
        "composition_regression/descriptor-choice",
        "composition_regression/exploratory-element-count",
        "composition_regression/exploratory-solute-root-sum",
        "composition_regression/gaussian-process",
        "composition_regression/gradient-boosting",
        "composition_regression/ridge",
        "composition_regression/ridge-all-atomic",
        "composition_regression/ridge-all-weight",
        "composition_regression/ridge-as-listed",
        "composition_regression/ridge-standardised",
        "foundation_features/resnet50-random",
        "foundation_features/vit-tiny-in21k-as-published",
        "foundation_features/vit-tiny-in21k-pyramid",
        "foundation_features/vit-tiny-in21k-small",
        "foundation_features/vit-tiny-random",
    ],
}
"""Baselines of each benchmark that were fitted again with three seeds, in every protocol."""
ALL_RECORDS = pd.read_parquet(FIXTURES / "records.parquet")
IS_GONE = pd.Series(
    [row.name in RUN_AGAIN.get(row.benchmark, []) for row in ALL_RECORDS.itertuples(index=False)]
)
GONE = set(ALL_RECORDS.loc[IS_GONE, "submission"])
RECORDS = ALL_RECORDS[~IS_GONE]
SCORES = pd.read_parquet(FIXTURES / "scores.parquet")
SCORES = SCORES[~SCORES["submission"].isin(GONE)]
RANKS = pd.read_parquet(FIXTURES / "ranks.parquet")
BENCHMARKS = sorted(RECORDS["benchmark"].unique())
NUMBERS = ("value", "ci_low", "ci_high", "seed_sd", "fold_mean", "fold_sd", "n", "units", "seeds")
ENDS = ["ci_low", "ci_high"]
KEY = ["submission", "split", "subset", "fold", "metric"]


def _paths(benchmark: str) -> dict[str, Path]:
    """The committed record of each submission of the fixtures."""
    stored = {}
    for path in (ROOT / "leaderboard" / "results").glob("*/*.json"):
        record = json.loads(path.read_text(encoding="utf-8"))
        stored[record["submission"]] = path
    wanted = RECORDS.loc[RECORDS["benchmark"] == benchmark, "submission"]
    return {submission: stored[submission] for submission in wanted}


def _rows(submission: str, splits: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Every number of a record's scores, in the form of the fixtures."""
    rows: list[dict[str, Any]] = []
    for split in splits:
        parts = [("", split), *((one["subset"], one) for one in split.get("subsets", []))]
        for subset, part in parts:
            for metric, score in part["metrics"].items():
                where = {"submission": submission, "split": split["split"], "subset": subset}
                counts = {name: part.get(name) for name in ("n", "units", "seeds")}
                rows.append({**where, "fold": None, "metric": metric, **score, **counts})
        for fold in split.get("folds", []):
            where = {"submission": submission, "split": split["split"], "subset": ""}
            rows += [
                {**where, "fold": fold["fold"], "metric": metric, "value": value, "n": fold["n"]}
                for metric, value in fold["values"].items()
            ]
    return rows


def _frame(rows: list[dict[str, Any]]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=[*KEY, *NUMBERS])
    frame["fold"] = frame["fold"].astype("Int32")
    return frame.astype(dict.fromkeys(NUMBERS, float)).set_index(KEY).sort_index()


def _expected(benchmark: str) -> pd.DataFrame:
    wanted = RECORDS.loc[RECORDS["benchmark"] == benchmark, "submission"]
    return _frame(SCORES[SCORES["submission"].isin(wanted)].to_dict(orient="records"))


def test_the_fixtures_hold_every_record_of_that_version() -> None:
    assert len(ALL_RECORDS) == 208
    assert ALL_RECORDS["submission"].is_unique
    assert set(SCORES["submission"]) == set(RECORDS.loc[RECORDS["outcome"] == "ok", "submission"])


def test_rows_run_again_have_three_seeds() -> None:
    gone = ALL_RECORDS[IS_GONE]
    for benchmark, names in RUN_AGAIN.items():
        assert set(gone.loc[gone["benchmark"] == benchmark, "name"]) == set(names)
    rows = gone[["benchmark", "name", "track", "protocol"]]
    expected = set(rows.itertuples(index=False, name=None))
    again = set()
    for path in (ROOT / "leaderboard" / "results").glob("*@1/*.json"):
        record = ResultRecord.model_validate_json(path.read_bytes())
        row = (record.benchmark, record.name, record.track, record.protocol)
        if row in expected:
            assert record.submission not in GONE
            assert min(score.seeds for score in record.scores) >= 3
            again.add(row)
    assert again == expected


@pytest.mark.parametrize("benchmark", BENCHMARKS)
def test_stored_records_are_unchanged(benchmark: str) -> None:
    rows: list[dict[str, Any]] = []
    for submission, path in _paths(benchmark).items():
        record = json.loads(path.read_text(encoding="utf-8"))
        assert ResultRecord.model_validate(record).submission == submission
        rows += _rows(submission, record["scores"])
    stored, expected = (frame.drop(columns=ENDS) for frame in (_frame(rows), _expected(benchmark)))
    pd.testing.assert_frame_equal(stored, expected, check_exact=True)


def _recomputed(benchmark: str, submissions: list[str]) -> pd.DataFrame:
    spec = catalog().benchmark(f"{benchmark}@1")
    paths, rows = _paths(benchmark), []
    for submission in submissions:
        record = ResultRecord.model_validate_json(paths[submission].read_bytes())
        samples = from_table(pq.read_table(paths[submission].with_suffix(".parquet")))
        splits = [score_samples(spec, record.protocol, split).model_dump() for split in samples]
        rows += _rows(submission, splits)
    return _frame(rows)


def _assert_recomputed(benchmark: str, submissions: list[str]) -> None:
    expected = _expected(benchmark)
    expected = expected[expected.index.get_level_values("submission").isin(submissions)]
    recomputed = _recomputed(benchmark, submissions)
    # Records of before a subset was declared lack its scores: what they hold is compared.
    recomputed = recomputed[recomputed.index.isin(expected.index)]
    # An R² near 0 is a difference of numbers near 1: it is exact to their rounding alone.
    values = (frame.drop(columns=ENDS) for frame in (recomputed, expected))
    pd.testing.assert_frame_equal(*values, rtol=1e-12, atol=1e-15)
    _assert_intervals(benchmark, submissions, recomputed[ENDS])


def _assert_intervals(benchmark: str, submissions: list[str], recomputed: pd.DataFrame) -> None:
    """The intervals of the stored records are those of their tables, by the method of today."""
    paths, rows = _paths(benchmark), []
    for submission in submissions:
        record = json.loads(paths[submission].read_text(encoding="utf-8"))
        assert record["interval_method"] == METHOD
        rows += _rows(submission, record["scores"])
    stored = _frame(rows)[ENDS]
    assert stored.notna().to_numpy().any()
    pd.testing.assert_frame_equal(recomputed, stored, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("benchmark", BENCHMARKS)
def test_scores_and_intervals_of_some_records_are_recomputed(benchmark: str) -> None:
    known = RECORDS[(RECORDS["benchmark"] == benchmark) & (RECORDS["outcome"] == "ok")]
    _assert_recomputed(benchmark, sorted(known["submission"])[:3])


@pytest.mark.slow
@pytest.mark.parametrize("benchmark", BENCHMARKS)
def test_scores_and_intervals_of_every_record_are_recomputed(benchmark: str) -> None:
    known = RECORDS[(RECORDS["benchmark"] == benchmark) & (RECORDS["outcome"] == "ok")]
    _assert_recomputed(benchmark, sorted(known["submission"]))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A registry of these records alone."""
    root = tmp_path_factory.mktemp("records-1")
    for benchmark in BENCHMARKS:
        for path in _paths(benchmark).values():
            folder = root / "results" / path.parent.name
            folder.mkdir(parents=True, exist_ok=True)
            for file in (path, path.with_suffix(".parquet")):
                if file.is_file():
                    shutil.copy(file, folder)
    for index in (ROOT / "leaderboard" / "results").glob("index*"):
        shutil.copy(index, root / "results")
    return Store(root / "home", root / "results")


def _assert_ranks(store: Store, benchmark: str, views: pd.DataFrame) -> None:
    # Every row had a rank when there were no roles.
    spec = catalog().benchmark(f"{benchmark}@1")
    spec = spec.model_copy(update={"baselines": {}, "gains_over": None})
    board = ["protocol", "split", "metric", "subset"]
    for view, rows in views.groupby(board):
        protocol, split, metric, subset = map(str, view)
        shown = Board(
            spec, store, protocol=protocol, split=split, metric=metric, subset=subset or None
        )
        for track, expected in rows.groupby("track"):
            standings = shown.standings(track=str(track) or None)
            columns = ["submission", "rank", "rank_low", "rank_high"]
            gone = expected["submission"].isin(GONE)
            if gone.any():
                # The others keep their order. Ranges are over all rows of a board: those are new.
                columns, expected = columns[:2], expected[~gone]
                ranks = expected["rank"].rank(method="min", na_option="keep").astype("Int32")
                expected = expected.assign(rank=ranks)
            left, right = (
                frame[columns].sort_values("submission").reset_index(drop=True)
                for frame in (standings, expected)
            )
            assert left.astype(str).equals(right.astype(str)), (benchmark, view, track)


@pytest.mark.parametrize("benchmark", BENCHMARKS)
def test_ranks_on_the_first_view_are_the_same(store: Store, benchmark: str) -> None:
    spec = catalog().benchmark(f"{benchmark}@1")
    ranks = RANKS[RANKS["benchmark"] == benchmark]
    first = (
        (ranks["protocol"] == spec.headline)
        & (ranks["split"] == spec.protocols[spec.headline].split)
        & (ranks["metric"] == spec.primary_metric)
        & (ranks["subset"] == "")
    )
    assert first.any()
    _assert_ranks(store, benchmark, ranks[first])


@pytest.mark.slow
@pytest.mark.parametrize("benchmark", BENCHMARKS)
def test_ranks_on_every_view_are_the_same(store: Store, benchmark: str) -> None:
    _assert_ranks(store, benchmark, RANKS[RANKS["benchmark"] == benchmark])


# --- the hub -----------------------------------------------------------------------------------


@pytest.fixture
def hub(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the hub of that version, with its content, to be read by this one."""
    folder = tmp_path / "hub"
    shutil.copytree(FIXTURES / "hub", folder)
    monkeypatch.setenv("ETCHMARK_HOME", str(folder / "home"))
    monkeypatch.setenv("ETCHMARK_CONTENT", str(folder / "content"))
    monkeypatch.setenv("ETCHMARK_CONTENT_ONLY", "1")
    return folder


def _same(shown: Any, expected: Any, where: str) -> None:
    """Equal, floating-point numbers to 1e-12; keys that have been added since are passed over."""
    if isinstance(expected, dict):
        for key, value in expected.items():
            _same(shown[key], value, f"{where}.{key}")
    elif isinstance(expected, float):
        assert shown == pytest.approx(expected, rel=1e-12, abs=1e-300), where
    else:
        assert shown == expected, where


@pytest.mark.parametrize(
    ("board", "benchmark", "protocol"),
    [
        ("toy-line", "toy-line", "holdout"),
        ("toy-line-folds", "toy-line", "folds"),
        ("toy-waves", "toy-waves", "holdout"),
    ],
)
def test_a_hub_shows_its_boards(
    hub: Path, command: Callable[..., Any], board: str, benchmark: str, protocol: str
) -> None:
    expected = json.loads((hub / "boards.json").read_text(encoding="utf-8"))[board]
    said = command("leaderboard", benchmark, "--all", "--json", "--protocol", protocol).fine()
    shown = json.loads(said)
    assert [row["submission"] for row in shown] == [row["submission"] for row in expected]
    for row, wanted in zip(shown, expected, strict=True):
        # Intervals of then are recomputed: so few units of a toy have none today.
        assert (row["ci_low"], row["ci_high"]) == (None, None) or row["units"] >= FEWEST_UNITS
        wanted = {key: value for key, value in wanted.items() if key not in ENDS}
        _same(row, wanted, wanted["model"])


def test_a_hub_holds_what_was_stored(hub: Path) -> None:
    store = Store()
    spec = Catalog(hub / "content").benchmark("toy-line")
    entries = {entry.record.name: entry for entry in store.entries(spec.id, spec.version)}
    assert {entry.origin for entry in entries.values()} == {"local", "reviewed"}
    assert {entry.record.outcome for entry in entries.values()} == {"ok", "failed"}
    alpha = entries["alpha"].record
    (sha256,) = alpha.fingerprints.predictions
    kept = store.prediction_path(sha256).read_bytes()
    assert kept == (hub / "submitted" / "0-alpha.csv").read_bytes()
    assert {score.split for score in alpha.scores} == {"test", "hard"}


@pytest.mark.parametrize("name", ["scalar", "frames"])
def test_an_exported_submission_passes_the_review(
    hub: Path, command: Callable[..., Any], name: str
) -> None:
    command("results", "check", hub / "exports" / name).fine(outdated=True)


@pytest.mark.parametrize("file", ["0-alpha.csv", "waves.parquet"])
def test_a_predictions_file_is_the_same_submission(
    hub: Path, command: Callable[..., Any], file: str
) -> None:
    name, benchmark = ("alpha", "toy-line") if file == "0-alpha.csv" else ("near", "toy-waves")
    track = "features" if benchmark == "toy-line" else "frames"
    options = ("--name", name, "--track", track, "--protocol", "holdout")
    said = command("submit", hub / "submitted" / file, benchmark, *options).fine(outdated=True)
    assert "stored already as" in said


@pytest.mark.parametrize("name", ["toy-line", "toy-fields", "toy-waves"])
def test_a_template_is_the_same_table(
    hub: Path, command: Callable[..., Any], tmp_path: Path, name: str
) -> None:
    command("template", name, "--out", tmp_path / "out").fine()
    files = sorted(path.name for path in (hub / "templates" / name).iterdir())
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == files
    for file in files:
        older, newer = hub / "templates" / name / file, tmp_path / "out" / file
        if older.suffix == ".csv":
            assert newer.read_bytes() == older.read_bytes()
        else:
            left, right = pq.read_table(older), pq.read_table(newer)
            assert left.schema.equals(right.schema, check_metadata=True)
            # As text, in which NaN equals NaN.
            assert str(left.to_pydict()) == str(right.to_pydict())


@pytest.mark.parametrize("config", ["toy/scalar-mini", "toy/fields-mini", "waves/waves-full"])
def test_a_rebuild_has_the_fingerprint_of_the_manifest(
    hub: Path, command: Callable[..., Any], config: str
) -> None:
    stored = json.loads((hub / "home" / "datasets" / config / "manifest.json").read_text())
    shutil.rmtree(hub / "home" / "datasets")
    dataset, name = config.split("/")
    ran = command("build", dataset, "--config", name)
    assert ran.rc == 0, ran.stderr
    # The build.py of that version names a module by its place of then.
    assert "etchmark.data.columns is now" in ran.stderr or not ran.stderr
    assert f"fingerprint {stored['fingerprint']}" in ran.stdout
