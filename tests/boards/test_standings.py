"""Ranks: made among what is shown, shared by equals, never given to what failed."""

from __future__ import annotations

import json
from dataclasses import fields
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

import etchmark
from etchmark.boards import standings
from etchmark.boards.samples import sample_scores
from etchmark.boards.view import View, Where
from etchmark.catalog import catalog
from etchmark.errors import UserError
from etchmark.registry.store import LOCAL, Store
from etchmark.registry.tables import Entry
from etchmark.specs import Cost, ModelCard
from etchmark.specs.task import Task
from etchmark.submission import submit as submissions
from etchmark.text import plain

SPEC_ID = "toy-line"


@pytest.fixture
def enter(toy_content, tmp_path):
    """Enters a model that is off by a constant, or by noise, from the target."""
    benchmark = etchmark.load_benchmark(SPEC_ID)

    def add(
        name: str,
        off: float,
        *,
        track: str = "features",
        splits: tuple[str, ...] = ("test",),
        noise: float = 0.0,
        age: int = 0,
    ) -> str:
        truths = [benchmark.truth(split) for split in splits]
        ids = np.concatenate([truth.ids for truth in truths])
        target = np.concatenate([truth.target for truth in truths])
        wobble = noise * np.random.default_rng(len(name)).normal(size=len(ids))
        path = tmp_path / "entered.csv"
        pd.DataFrame({"id": ids, "prediction": target + off + wobble}).to_csv(path, index=False)
        prepared = submissions.prepare_file(
            benchmark, path, name=name, card=ModelCard(), track=track, protocol="holdout"
        )
        created = datetime.now(UTC).replace(microsecond=0) - timedelta(days=age)
        record = prepared.record.model_copy(update={"created": created})
        submissions.commit(Store(), submissions.Prepared(record, prepared.samples, [path]))
        return record.submission

    return add


def fail(name: str = "broken") -> str:
    spec = catalog().benchmark(SPEC_ID)
    record = submissions.make_record(
        Task(etchmark.load_benchmark(SPEC_ID).spec, "features", "holdout"),
        name=name,
        card=ModelCard(),
        outcome=submissions.Outcome(None, [], "it broke"),
        run=submissions.RunFacts({}, Cost()),
    )
    assert record.benchmark == spec.id
    Store().add(Entry(record, None, LOCAL))
    return record.submission


def board(**options) -> pd.DataFrame:
    names = [field.name for field in fields(View)]
    view = View(**{name: options.pop(name) for name in names if name in options})
    return standings.standings(catalog().benchmark(SPEC_ID), Store(), view, **options)


def test_an_empty_board_is_an_empty_board(toy_content, command):
    assert board().empty
    assert list(board().columns) == list(standings.COLUMNS)
    assert json.loads(command("leaderboard", SPEC_ID, "--json").fine()) == []
    assert command("leaderboard", SPEC_ID, "--csv").fine().startswith("rank,")
    ran = command("leaderboard", SPEC_ID)
    assert (ran.rc, ran.stdout) == (0, "")
    assert "no submission to toy-line@1 yet; `etchmark submit`" in ran.stderr


def test_rank_is_the_order_of_score_and_equals_share_it(enter):
    enter("c", 3.0)
    enter("a", 1.0)
    enter("twin b", 2.0)
    enter("twin a", -2.0)
    frame = board()
    assert frame["model"].tolist() == ["a", "twin a", "twin b", "c"]
    assert frame["rank"].tolist() == [1, 2, 2, 4]
    assert frame["rank_low"].tolist() == [1, 2, 2, 4]
    assert frame["rank_high"].tolist() == [1, 3, 3, 4]


def test_rank_ranges_overlap_where_models_cannot_be_told_apart(enter):
    enter("one", 0.0, noise=5.0)
    enter("other", 0.0, noise=5.0)
    enter("far off", 90.0)
    frame = board().set_index("model")
    for name in ("one", "other"):
        assert (frame.loc[name, "rank_low"], frame.loc[name, "rank_high"]) == (1, 2)
    assert frame.loc["far off", "rank_low"] == 3


def test_ranges_contain_the_rank_and_do_not_change_from_call_to_call(enter):
    for position in range(6):
        enter(f"model{'x' * position}", 0.1 * position, noise=1.0)
    frame = board()
    assert (frame["rank_low"] <= frame["rank"]).all()
    assert (frame["rank"] <= frame["rank_high"]).all()
    assert (frame["ci_low"] <= frame["score"]).all()
    assert (frame["score"] <= frame["ci_high"]).all()
    pd.testing.assert_frame_equal(frame, board())


def test_filtering_recomputes_the_ranks(enter):
    enter("best", 1.0, track="kinds")
    enter("second", 2.0)
    enter("third", 3.0)
    frame = board(track="features")
    assert frame["model"].tolist() == ["second", "third"]
    assert frame["rank"].tolist() == [1, 2]
    assert frame["rank_high"].tolist() == [1, 2]


def test_a_metric_where_more_is_better(enter):
    enter("good", 1.0)
    enter("bad", 30.0)
    frame = board(metric="r2")
    assert frame["model"].tolist() == ["good", "bad"]
    assert frame["score"].is_monotonic_decreasing


def test_failed_incomplete_and_superseded_are_shown_on_request_and_never_ranked(enter, command):
    enter("mine", 5.0, age=2)
    old = enter("mine", 4.0, age=1)
    new = enter("mine", 6.0)
    failed = fail()
    (row,) = json.loads(command("leaderboard", SPEC_ID, "--json").fine())
    assert (row["submission"], row["rank"]) == (new, 1)
    rows = {
        row["submission"]: row
        for row in json.loads(command("leaderboard", SPEC_ID, "--json", "--all").fine())
    }
    assert len(rows) == 4
    assert [rows[key]["rank"] for key in (new, old, failed)] == [1, None, None]
    assert [rows[key]["superseded"] for key in (new, old, failed)] == [False, True, False]
    assert rows[failed]["reason"] == "it broke"
    assert rows[failed]["score"] is None
    text = command("leaderboard", SPEC_ID, "--all").fine()
    assert "broken" in text


def test_a_failure_does_not_supersede_what_worked(enter):
    enter("mine", 1.0)
    fail("mine")
    assert board()["model"].tolist() == ["mine"]


def test_a_board_of_failures_alone(toy_content, command):
    fail()
    assert board().empty
    frame = board(everything=True)
    assert frame["rank"].isna().all()
    command("leaderboard", SPEC_ID, "--all").fine()
    command("leaderboard", SPEC_ID, "--all", "--csv").fine()


def test_an_extra_split_ranks_only_those_who_predicted_it(enter):
    enter("both", 3.0, splits=("test", "hard"))
    enter("headline only", 1.0)
    assert board()["model"].tolist() == ["headline only", "both"]
    frame = board(split="hard")
    assert frame["model"].tolist() == ["both"]
    assert frame["n"].tolist() == [6]
    shown = board(split="hard", everything=True).set_index("model")
    assert pd.isna(shown.loc["headline only", "rank"])
    assert pd.isna(shown.loc["headline only", "score"])


def test_a_preview_stands_where_it_would_and_is_not_stored(enter):
    enter("there", 2.0)
    (entry,) = Store().entries(SPEC_ID, 1)
    record = entry.record.model_copy(update={"submission": "f" * 64, "name": "preview"})
    frame = board(extra=[Entry(record, entry.samples, "preview")])
    assert frame["model"].tolist() == ["preview", "there"]
    assert frame["rank"].tolist() == [1, 1]
    assert board()["model"].tolist() == ["there"]


def test_an_older_record_tells_the_time_of_a_prediction(enter):
    enter("there", 2.0, splits=("test", "hard"))
    (entry,) = Store().entries(SPEC_ID, 1)
    predicted = sum(split.n for split in entry.record.scores)
    for stated, expected in ((None, 2.0), (3.0, 3.0)):
        cost = Cost(predict_seconds=2.0 * predicted, seconds_each=stated)
        record = entry.record.model_copy(update={"submission": "f" * 64, "cost": cost})
        (first,) = board(extra=[Entry(record, entry.samples, "preview")]).to_dict("records")
        assert first["seconds_each"] == expected
    assert pd.isna(board()["seconds_each"].iloc[0]), "a file of predictions takes no time here"


def test_scores_on_units_are_those_of_their_samples(enter):
    submission = enter("there", 0.0, noise=2.0)
    shown = standings.Board(catalog().benchmark(SPEC_ID), Store(), protocol="holdout")
    scores = sample_scores(Store().get(submission), "test")
    errors = pd.Series(scores.outcome.terms["sum_abs_e"][0]).groupby(scores.units).mean()
    assert shown.by_unit.loc[submission].to_dict() == pytest.approx(errors.to_dict())
    # A unit of one sample says no more than the sample does.
    path = catalog().roots[0] / "benchmarks" / f"{SPEC_ID}.yaml"
    path.write_text(path.read_text().replace("unit_column: source", "unit_column: id"))
    shown = standings.Board(catalog().benchmark(SPEC_ID), Store(), protocol="folds")
    assert shown.by_unit.empty


HOSTILE = [
    "=HYPERLINK(1)",
    "@sum",
    "+1",
    "-1",
    "<img src=x onerror=alert(1)>",
    "a,b;c\"d'e",
    "| pipe | table |",
    "[link](http://x)",
    "nan",
    "None",
]


def test_hostile_names_stay_names(enter, command):
    for position, name in enumerate(HOSTILE):
        enter(name, 1.0 + position)
    rows = json.loads(command("leaderboard", SPEC_ID, "--json").fine())
    assert [row["model"] for row in rows] == HOSTILE
    text = command("leaderboard", SPEC_ID).fine()
    # Two lines of title and a head before the rows; what flags are, why there is no interval, a
    # statement and a hint after them.
    assert len(text.splitlines()) == 3 + len(HOSTILE) + 4
    csv = command("leaderboard", SPEC_ID, "--csv").fine()
    import io

    models = pd.read_csv(io.StringIO(csv), keep_default_na=False)["model"].tolist()
    assert [model.removeprefix("'") for model in models] == [plain(name) for name in HOSTILE]
    assert not [model for model in models if model.startswith(("=", "@", "+", "-"))]


def test_json_rows_have_what_the_design_promises(enter, command):
    enter("mine", 1.0)
    (row,) = json.loads(command("leaderboard", SPEC_ID, "--json").fine())
    promised = (
        "rank rank_low rank_high model metric unit score ci_low ci_high n seeds protocol track"
        " split status parameters fit_seconds predict_seconds hardware date submission"
    )
    assert set(promised.split()) <= set(row)
    assert (row["unit"], row["n"], row["units"], row["seeds"]) == ("mm", 9, 3, 1)
    assert (row["parameters"], row["fit_seconds"], row["hardware"]) == (None, None, None)
    assert row["date"].endswith("Z")


def test_a_narrowed_board_ranks_what_is_left(enter) -> None:
    enter("best", 1.0)
    enter("second", 2.0)
    frame = board(where=Where(status=("run",)))
    assert frame.empty
    frame = board(where=Where(status=("scored",), training_data=("unknown",)))
    assert frame["rank"].tolist() == [1, 2]
    assert board(where=Where(max_parameters=10)).empty, "nobody says how many"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"protocol": "hold"}, "unknown protocol"),
        ({"track": "feature"}, "did you mean: features"),
        ({"split": "tset"}, "did you mean: test"),
        ({"split": "train"}, "unknown split"),
        ({"metric": "mse"}, "has no metric"),
    ],
)
def test_unknown_choices_are_refused(toy_content, options, expected):
    with pytest.raises(UserError, match=expected):
        board(**options)
