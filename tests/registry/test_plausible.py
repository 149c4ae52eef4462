"""What cannot be true of a record from elsewhere is refused: dates, artefacts, curves and flags."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from etchmark.catalog import catalog
from etchmark.errors import UserError
from etchmark.registry.plausible import fault_beside_scores, fault_of
from etchmark.registry.reading import digests_of_row
from etchmark.registry.records import read_record
from etchmark.registry.reviewed import read_reviewed
from etchmark.registry.tables import LOCAL, Entry, why_unreadable
from etchmark.scoring import intervals, uncertainty
from etchmark.scoring.refresh import with_intervals
from etchmark.scoring.samples import KIND, SampleScores, UnknownKind, from_table
from etchmark.specs import Claims, Curve, MetricScore, ResultRecord
from etchmark.specs.results import Artefact, CurvePoint, IntervalMethod
from etchmark.targets import metric

RESULTS = Path(__file__).resolve().parents[2] / "leaderboard" / "results"
MEAN = RESULTS / "composite-stiffness-3d@1" / "training_mean--volume--holdout.json"
CONSTANT = [
    f"constant: split {split!r}: every prediction is so and so"
    for split in ("test", "stiff_spheres", "soft_spheres", "fibres_x", "fibres_z", "spinodal")
]


def _with_curves() -> Iterator[Path]:
    for path in sorted((RESULTS / "superalloy-hardness@1").glob("*.json")):
        names = [curve.name for curve in read_record(path).curves]
        if "training-size" in names:
            yield path


@pytest.fixture(scope="module")
def record() -> ResultRecord:
    """A committed record with curves."""
    return read_record(next(_with_curves()))


def _curve(record: ResultRecord) -> Curve:
    return next(curve for curve in record.curves if curve.param is None)


def _points(record: ResultRecord, **change: Any) -> ResultRecord:
    """The record with a change to the first point of its curve of training sizes."""
    curve = _curve(record)
    first, *others = curve.points
    points = [first.model_copy(update=change), *others]
    return record.model_copy(update={"curves": [curve.model_copy(update={"points": points})]})


# --- a record by itself ------------------------------------------------------------------------


def test_a_date_in_the_future_is_refused(record: ResultRecord) -> None:
    later = datetime.now(UTC) + timedelta(hours=2)
    assert fault_of(record.model_copy(update={"created": later})) is None
    later = datetime(9999, 12, 31, 23, 59, tzinfo=UTC)
    fault = fault_of(record.model_copy(update={"created": later}))
    assert fault is not None
    assert "created is 9999-12-31, which is in the future" in fault


def test_a_record_file_with_such_a_date_is_not_read(record: ResultRecord, tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    late = record.model_copy(update={"created": datetime(9999, 1, 1, tzinfo=UTC)})
    path.write_text(late.model_dump_json(by_alias=True))
    with pytest.raises(UserError, match=r"record\.json: created is 9999-01-01"):
        read_record(path)


def test_an_artefact_belongs_to_a_run(record: ResultRecord) -> None:
    kept = record.model_copy(update={"artefact": Artefact(sha256="a" * 64, bytes=7)})
    assert fault_of(kept) is None
    for change in ({"status": "scored"}, {"status": "reported"}, {"outcome": "failed"}):
        fault = fault_of(kept.model_copy(update=change))
        assert fault == "artefact belongs to a model that a hub ran; remove it"


MISSHAPEN: dict[str, tuple[Callable[[Curve], Curve], str]] = {
    "an unknown metric": (
        lambda curve: curve.model_copy(update={"metric": "luck"}),
        "unknown metric 'luck'",
    ),
    "no points": (lambda curve: curve.model_copy(update={"points": []}), "rising order"),
    "points in disorder": (
        lambda curve: curve.model_copy(update={"points": curve.points[::-1]}),
        "rising order",
    ),
    "a share above 1": (
        lambda curve: curve.model_copy(
            update={"points": [*curve.points, CurvePoint(value=2, samples=9999, reason="no")]}
        ),
        "at most 1",
    ),
    "fewer samples of a larger share": (
        lambda curve: curve.model_copy(
            update={
                "points": [*curve.points[:-1], curve.points[-1].model_copy(update={"samples": 0})]
            }
        ),
        "a larger share has fewer training samples",
    ),
    "scores of inner folds": (
        lambda curve: curve.model_copy(update={"scored_on": "inner folds"}),
        "its scores are those of the headline split",
    ),
}


@pytest.mark.parametrize("case", MISSHAPEN)
def test_a_curve_of_another_shape_is_refused(record: ResultRecord, case: str) -> None:
    change, expected = MISSHAPEN[case]
    curves = [change(_curve(record))]
    claimed = record.model_copy(update={"curves": [], "claims": Claims(curves=curves)})
    for said, where in ((record.model_copy(update={"curves": curves}), "curves"),
                        (claimed, "claims.curves")):  # fmt: skip
        fault = fault_of(said)
        assert fault is not None
        assert fault.startswith(f"{where}: training-size: ")
        assert expected in fault


def test_two_curves_of_one_name_are_refused(record: ResultRecord) -> None:
    fault = fault_of(record.model_copy(update={"curves": [_curve(record)] * 2}))
    assert fault is not None
    assert "there are two of this name" in fault


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"score": MetricScore(value=1.0), "draws": [2.0, 4.0]}, "is not the mean 3 of its draws"),
        ({"score": MetricScore(value=1.0), "draws": [1.0]}, "the mean of several"),
        (
            {"score": MetricScore(value=3, ci_low=1, ci_high=4), "draws": [2.0, 4.0]},
            "the mean of several draws has no interval",
        ),
    ],
)
def test_draws_give_the_score(record: ResultRecord, change: dict[str, Any], expected: str) -> None:
    fault = fault_of(_points(record, **change, reason=None))
    assert fault is not None
    assert expected in fault


def test_committed_curves_are_plausible(record: ResultRecord) -> None:
    assert fault_of(record) is None
    assert fault_beside_scores(record, [], None) is None


# --- beside its scores -------------------------------------------------------------------------


def test_a_curve_ends_at_the_score_of_the_record(record: ResultRecord) -> None:
    curve = _curve(record)
    *others, whole = curve.points
    assert whole.value == 1
    assert whole.score is not None
    for change in ({"value": 1e-6, "ci_low": 0.0}, {"ci_high": 1e6}):
        score = whole.score.model_copy(update=change)
        points = [*others, whole.model_copy(update={"score": score})]
        forged = record.model_copy(update={"curves": [curve.model_copy(update={"points": points})]})
        fault = fault_beside_scores(forged, [], None)
        assert fault is not None
        assert fault.startswith("curves: training-size: at 1: ")


def test_a_curve_is_of_the_headline_split(record: ResultRecord) -> None:
    curves = [_curve(record).model_copy(update={"split": "elsewhere"})]
    fault = fault_beside_scores(record.model_copy(update={"curves": curves}), [], None)
    assert fault is not None
    assert "split 'elsewhere' is not the headline split" in fault


def test_only_a_run_has_curves(record: ResultRecord) -> None:
    scored = record.model_copy(update={"status": "scored"})
    assert "curves belong to a model that a hub ran" in str(fault_beside_scores(scored, [], None))


def _mean(**change: Any) -> tuple[ResultRecord, list[SampleScores]]:
    """The committed record of the training mean, and its table."""
    table = pq.read_table(io.BytesIO(MEAN.with_suffix(".parquet").read_bytes()))
    return read_record(MEAN).model_copy(update={"schema_": 2, **change}), from_table(table)


@pytest.mark.parametrize(
    ("change", "missing"),
    [
        ({"flags": CONSTANT}, None),
        ({"flags": []}, "constant: split 'test'"),
        ({"flags": CONSTANT[:-1]}, "constant: split 'spinodal'"),
        ({"flags": [flag.replace("constant", "odd") for flag in CONSTANT]}, "constant"),
        # Whoever names the method looked for doubts as well: the key was removed.
        ({"flags": None, "interval_method": intervals.METHOD}, "constant: split 'test'"),
        ({"flags": None, "interval_method": None}, None),
    ],
)
def test_flags_list_what_the_table_shows(change: dict[str, Any], missing: str | None) -> None:
    record, samples = _mean(**change)
    fault = fault_beside_scores(record, samples, catalog().benchmark("composite-stiffness-3d"))
    if missing is None:
        assert fault is None
    else:
        assert fault is not None
        assert fault.startswith(f"flags lack what its table shows: {missing}")


# --- records of a newer version ----------------------------------------------------------------


def test_a_record_of_a_newer_schema_asks_for_an_update(
    record: ResultRecord, tmp_path: Path
) -> None:
    path = tmp_path / "record.json"
    value = json.loads(record.model_dump_json(by_alias=True))
    path.write_text(json.dumps({**value, "schema": 3, "mood": "good"}))
    expected = r"record\.json: is of schema 3, which this version .* cannot read; update etchmark"
    with pytest.raises(UserError, match=expected):
        read_record(path)
    for schema in ("3", 0, None):
        path.write_text(json.dumps({**value, "schema": schema}))
        with pytest.raises(
            UserError, match=r"schema: .*; it is not a valid result record, restore"
        ):
            read_record(path)


def test_a_table_of_a_kind_of_a_newer_version_is_called_that(tmp_path: Path) -> None:
    table = pq.read_table(MEAN.with_suffix(".parquet")).replace_schema_metadata({KIND: "smell"})
    path = tmp_path / MEAN.parent.name / MEAN.name
    path.parent.mkdir()
    path.write_bytes(MEAN.read_bytes())
    pq.write_table(table, path.with_suffix(".parquet"))
    said = "its per-sample table is of the kind 'smell', which this version of etchmark does not"
    with pytest.raises(UserError, match=said):
        read_reviewed(path, None)
    record = read_record(path)
    entry = Entry(record, path.with_suffix(".parquet").read_bytes(), LOCAL)
    text = record.model_dump_json(by_alias=True)
    row = SimpleNamespace(record=text, samples=entry.samples, origin=LOCAL)
    with pytest.raises(UnknownKind, match=said) as raised:
        digests_of_row(row)
    assert why_unreadable(text, raised.value) == str(raised.value)


# --- intervals ---------------------------------------------------------------------------------


def test_every_known_method_can_be_recomputed() -> None:
    assert set(intervals.METHODS) == set(get_args(IntervalMethod))
    assert f"percentile-bootstrap-{uncertainty.RESAMPLES}" == uncertainty.BOOTSTRAP
    assert uncertainty.draws_are_those_of_the_records()


@pytest.mark.parametrize("method", ["gut-feeling", "", "percentile-bootstrap-20", 7])
def test_an_unknown_method_is_refused(record: ResultRecord, method: Any) -> None:
    value = record.model_dump(by_alias=True) | {"schema": 2, "interval_method": method}
    with pytest.raises(ValidationError, match="interval_method"):
        ResultRecord.model_validate(value)


@pytest.mark.parametrize(
    ("ends", "message"),
    [
        ({"ci_low": 2.0, "ci_high": 1.0}, "ci_low 2 is above ci_high 1"),
        ({"ci_low": 2.0}, "both ci_low and ci_high, or neither"),
        ({"ci_high": 2.0}, "both ci_low and ci_high, or neither"),
    ],
)
def test_an_interval_has_two_ends_in_order(ends: dict[str, float], message: str) -> None:
    assert MetricScore(value=1.5, ci_low=1.0, ci_high=2.0).ci_low == 1.0
    with pytest.raises(ValidationError, match=message):
        MetricScore.model_validate({"value": 1.5, **ends})


@pytest.mark.parametrize("named", [False, True])
def test_an_interval_edited_by_hand_is_refused(tmp_path: Path, named: bool) -> None:
    record, samples = _mean(flags=CONSTANT if named else None)
    method = intervals.METHOD if named else uncertainty.BOOTSTRAP
    change = {
        "schema_": 2 if named else 1,
        "interval_method": method if named else None,
        "scores": with_intervals(record.scores, samples, method),
    }
    record = record.model_copy(update=change)
    path = tmp_path / MEAN.parent.name / MEAN.name
    path.parent.mkdir()
    path.with_suffix(".parquet").write_bytes(MEAN.with_suffix(".parquet").read_bytes())
    path.write_text(record.model_dump_json(by_alias=True))
    spec = catalog().benchmark("composite-stiffness-3d")
    assert read_reviewed(path, None, spec)[0] == record
    headline, *others = record.scores
    name, score = next(iter(headline.metrics.items()))
    assert score.ci_high is not None
    narrower = score.model_copy(update={"ci_high": (score.value + score.ci_high) / 2})
    metrics = {**headline.metrics, name: narrower}
    scores = [headline.model_copy(update={"metrics": metrics}), *others]
    edited = record.model_copy(update={"scores": scores})
    path.write_text(edited.model_dump_json(by_alias=True))
    with pytest.raises(UserError, match=rf"split 'test': {name}\.ci_high is said to be"):
        read_reviewed(path, None, spec)


def test_intervals_of_several_metrics_at_once_are_the_same() -> None:
    record, (samples, *_) = _mean()
    sums = samples.sums()
    metrics = [metric(name) for name in record.scores[0].metrics]
    assert len(metrics) > 2
    at_once = uncertainty.bootstrap_intervals(metrics, sums)
    for each, interval in zip(metrics, at_once, strict=True):
        alone = uncertainty.percentile_interval(uncertainty.bootstrap(each, sums))
        assert interval == pytest.approx(alone, rel=1e-11)
