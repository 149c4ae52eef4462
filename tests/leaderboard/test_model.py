"""The page of a model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("streamlit")

from pages import (
    BENCHMARK,
    captions,
    figures,
    fine,
    html,
    links,
    literal,
    model_page,
    page,
    predictions,
    query,
    start,
    submit_volumes,
    table,
    table_with,
    truth,
    values,
)

from etchmark.data.loading import load_benchmark
from etchmark.registry.store import LOCAL, Store, read_record
from etchmark.registry.tables import Entry
from etchmark.specs.results import Cost

CONSTANT_AND_WORSE = [
    "constant: split 'test': every prediction is *3*",
    "worse_than_trivial: so",
]


def test_model_in_full(board: dict[str, Entry]) -> None:
    entry = board["good"]
    app = fine(model_page(entry.record.submission[:12]))
    scores = table_with(app, "split")
    assert scores["metric"].tolist() == ["mae", "rmse", "mape", "r2"]
    facts = table_with(app, "what")
    assert dict(zip(facts["what"], facts["value"], strict=True))["status"] == "scored, local"
    assert app.title[0].value == "good"
    assert "holdout, features" in html(app)
    app = fine(model_page(entry.record.submission[:12], tab="errors"))
    plots = [element.key for element in app.get("plotly_chart")]
    assert plots == ["parity", "residuals", "property"]
    points = table_with(app, "measured / mm")
    assert len(points) == 9
    assert points.columns.tolist() == ["id", "source", "measured / mm", "predicted / mm"]
    given = predictions(1.0).set_index("id")["prediction"]
    assert points["predicted / mm"].tolist() == given[points["id"]].tolist()


def test_claims_are_shown_apart_from_what_was_measured(
    toy_content: Path, toy_predictions: Callable[..., Path], command: Any, tmp_path: Path
) -> None:
    options = ("--track", "features", "--protocol", "holdout", "--name", "mine")
    export = tmp_path / "export"
    command("submit", toy_predictions(), BENCHMARK, *options, "--export", export).fine()
    path = export / "record.json"
    text = path.read_text().replace('"fit_seconds": null', '"fit_seconds": 0.125')
    path.write_text(text.replace('"hardware": null', '"hardware": "a pocket calculator"'))
    command("results", "add", export).fine()
    (path,) = (toy_content / "leaderboard" / "results" / f"{BENCHMARK}@1").glob("*.json")
    app = fine(model_page(read_record(path).submission[:12]))
    assert "**Claimed by the submitter, not measured here**" in values(app.markdown)

    tables = [element.value for element in app.dataframe if "what" in element.value.columns]
    measured, claimed = (
        dict(zip(element["what"], element["value"], strict=True)) for element in tables
    )
    assert measured["status"] == "scored, reviewed"
    assert not {"fit, predict", "hardware", "software", "platform"} & set(measured)
    assert claimed["fit, predict"] == "0.1250 s, – s of wall time"
    assert claimed["hardware"] == "a pocket calculator"
    assert claimed["software"].startswith("etchmark ")
    assert "pocket calculator" not in table(fine(start(benchmark=BENCHMARK))).to_string()


def test_a_model_without_claims_shows_none(board: dict[str, Entry]) -> None:
    app = fine(model_page(board["good"].record.submission[:12]))
    assert not [element for element in app.markdown if "Claimed" in element.value]
    assert len([element for element in app.dataframe if "what" in element.value.columns]) == 1


def test_role_doubts_and_interval_method_are_shown(board: dict[str, Entry]) -> None:
    record = board["good"].record.model_copy(
        update={
            "submission": "e" * 64,
            "name": "theirs",
            "flags": CONSTANT_AND_WORSE,
        }
    )
    Store().add(Entry(record, board["good"].samples, LOCAL))
    app = fine(model_page("e" * 12))
    said = values(app.markdown)
    assert ":gray-badge[role: entry]" in said
    flags = said[said.index("**Flags: doubts, which change no rank**") + 1]
    assert [line[:2] for line in flags.splitlines()] == ["- "] * 3
    # The row's own as well as the record's: it repeats the predictions of another row.
    assert flags.splitlines()[2].endswith("submitted before as good")
    assert literal("every prediction is *3*") in flags
    expected = "Intervals: jackknife over the sources with Student's t, for this fit."
    assert f"{expected} –: no interval: too few sources (3)." in captions(app)


@pytest.mark.parametrize(
    ("name", "seeds", "spread", "expected"),
    [
        ("theirs", 1, None, ", for this fit."),
        ("theirs", 3, 0.5, ", 3 seeds included."),
        # Some baselines draw nothing at random.
        ("theirs", 3, 0.0, "; another seed changes nothing."),
        ("toy_mean", 1, None, "; another seed changes nothing."),
    ],
)
def test_what_another_seed_would_change_is_said(
    board: dict[str, Entry],
    name_baseline: Callable[..., None],
    name: str,
    seeds: int,
    spread: float | None,
    expected: str,
) -> None:
    name_baseline("toy_mean", role="reference", deterministic=True)
    scores = [
        split.model_copy(
            update={
                "seeds": seeds,
                "metrics": {
                    metric: score.model_copy(update={"seed_sd": spread})
                    for metric, score in split.metrics.items()
                },
            }
        )
        for split in board["good"].record.scores
    ]
    changed = {"submission": "e" * 64, "name": name, "scores": scores}
    record = board["good"].record.model_copy(update=changed)
    Store().add(Entry(record, board["good"].samples, LOCAL))
    said = captions(fine(model_page("e" * 12)))
    phrase = "Intervals: jackknife over the sources with Student's t"
    assert [line for line in said if line.startswith(f"{phrase}{expected}")]


def test_a_reference_may_be_constant(board: dict[str, Entry]) -> None:
    record = board["good"].record.model_copy(
        update={"submission": "e" * 64, "name": "toy_mean", "flags": CONSTANT_AND_WORSE}
    )
    Store().add(Entry(record, board["good"].samples, LOCAL))
    said = values(fine(model_page("e" * 12)).markdown)
    assert ":gray-badge[role: reference]" in said
    shown = said[said.index("**Flags: doubts, which change no rank**") + 1]
    assert shown.splitlines()[0] == f"- {literal('worse_than_trivial: so')}"
    assert "constant" not in shown


def test_what_an_older_record_does_not_say_is_unknown_and_hides_nothing(
    board: dict[str, Entry],
) -> None:
    older = {"schema_": 1, "role": None, "flags": None, "interval_method": None}
    record = board["good"].record.model_copy(
        update={"submission": "e" * 64, "name": "older", **older}
    )
    Store().add(Entry(record, board["good"].samples, LOCAL))
    app = fine(model_page("e" * 12))
    assert {"older", "good"} <= set(table(fine(start(benchmark=BENCHMARK)))["model"])
    said = values(app.markdown)
    # The role is the benchmark's word, whether or not the record knew of roles.
    assert ":gray-badge[role: entry]" in said
    assert any(text.startswith("**Flags from scoring:** unknown") for text in said)
    said = "Intervals: percentile bootstrap, 2,000 resamples of the sources."
    assert any(caption.startswith(said) for caption in captions(app))


def test_a_control_is_listed_apart(board: dict[str, Entry], toy_content: Path) -> None:
    path = toy_content / "benchmarks" / f"{BENCHMARK}.yaml"
    path.write_text(path.read_text().replace("role: reference", "role: control"))
    record = board["good"].record.model_copy(update={"submission": "e" * 64, "name": "toy_mean"})
    Store().add(Entry(record, board["good"].samples, LOCAL))
    app = fine(start(benchmark=BENCHMARK))
    assert "toy_mean" not in table(app)["model"].tolist()
    assert "Controls" in values(app.subheader)
    assert any("a leak or a confound" in caption for caption in captions(app))
    apart = app.dataframe[1].value
    assert apart["model"].tolist() == ["toy_mean"]
    assert apart["rank"].isna().all()
    assert apart["mae"].tolist() == [board["good"].record.scores[0].metrics["mae"].value]
    # The drawer opens it, and says why it has no rank.
    shown = html(fine(start(benchmark=BENCHMARK, model="e" * 12)))
    assert "listed apart: control" in shown
    # On paper too.
    paper = fine(start(benchmark=BENCHMARK, print="1"))
    assert "Controls" in values(paper.subheader)
    assert "toy_mean" in html(paper)
    fine(page("overview"))


def test_failed_model_shows_its_reason_as_text(board: dict[str, Entry]) -> None:
    app = start(benchmark=BENCHMARK, all="1", model="f" * 12)
    assert not app.exception
    assert "it <b>fell</b>" in values(app.text)


def test_a_model_shows_its_errors(board: dict[str, Entry]) -> None:
    short = board["good"].record.submission[:12]
    app = fine(model_page(short, tab="errors"))
    said = values(app.markdown)
    assert "**Errors**" in said
    assert "**Worst predicted**" in said
    assert "**Best predicted**" in said
    errors = np.abs(predictions(1.0)["prediction"] - truth().target).to_numpy()
    ids = np.asarray(truth().ids)
    worst = said[said.index("**Worst predicted**") + 1]
    assert literal(f"{ids[errors.argmax()]}: mae {errors.max():.3f}") in worst
    by = next(element for element in app.selectbox if element.label == "Group by")
    assert table_with(app, "median")["mean"].tolist() == pytest.approx([*by_unit(errors)])
    by.set_value("all samples").run()
    assert table_with(fine(app), "median")["mean"].tolist() == pytest.approx([errors.mean()])


def by_unit(errors: np.ndarray) -> list[float]:
    units = np.asarray(truth().units)
    return [float(errors[units == element].mean()) for element in np.unique(units)]


def test_a_model_of_volumes_shows_its_worst_samples(toy_volumes: Path, tmp_path: Path) -> None:
    labels = load_benchmark("toy-volumes").truth("test")
    off = np.linspace(0.0, 1.0, len(labels.ids))
    short = submit_volumes(tmp_path, labels.target + off)
    app = fine(model_page(short, tab="errors"))
    against = next(element for element in app.selectbox if element.label == "Error against")
    assert len(against.options) > 1, "what the data say of the samples"
    for element in against.options:
        against.set_value(element).run()
        fine(app)
    shown = figures(app)
    assert any(
        element["layout"]["xaxis"]["title"].get("text") == against.options[-1] for element in shown
    )
    pictures = app.get("image")[-2:]
    count = min(4, len(labels.ids) // 2)
    assert [len(element.proto.imgs) for element in pictures] == [count, count], (
        "the worst and the best"
    )
    worst = str(labels.ids[np.argmax(off / labels.target)])
    assert literal(worst) in pictures[0].proto.imgs[0].caption


def test_costs_that_an_older_record_lacks_are_shown_as_unknown() -> None:
    from dashboard.panels import model_facts

    known = Cost(
        fit_seconds=1.0,
        cpu_seconds=2.5,
        total_parameters=5_700_000,
        reference_seconds=(1.0, 1.5),
        reference_cpu_seconds=(1.0, 1.5),
    )
    shown = model_facts._measured_facts(known)
    assert shown["processor time"] == "2.500 s"
    assert shown["reference units"] == "2.000 times the reference workload"
    assert shown["all parameters"] == "5,700,000, including those fitted elsewhere"
    assert shown["reference workload"] == (
        "1.000 s of processor time before, 1.500 s after the run;"
        " 1.000 s of wall time before, 1.500 s after the run"
    )
    assert set(model_facts._measured_facts(Cost(fit_seconds=1.0)).values()) == {"unknown"}
    # Of what was never run there is nothing to know.
    assert model_facts._measured_facts(Cost()) == {}


# --- the page by name ----------------------------------------------------------------------------


def test_a_page_without_a_name_and_one_of_nobody(toy_content: Path) -> None:
    assert "Search for a model" in values(fine(page("model")).info)[0]
    app = fine(page("model", name="<b>nobody</b>"))
    assert "No scored model is named" in values(app.info)[0]
    app = fine(page("model", name="toy_mean"))
    assert "No current board has a row" in values(app.info)[0]
    assert "etchmark evaluate toy_mean toy-line" in app.code[0].value.splitlines()


def test_links_by_name_lead_to_the_newest_submission(board: dict[str, Entry]) -> None:
    app = fine(page("model", name="worse"))
    facts = dict(table_with(app, "what").itertuples(index=False))
    assert facts["submission"] == board["worse"].record.submission[:12]
    assert query(app) == {
        "name": "worse",
        "benchmark": BENCHMARK,
        "protocol": "holdout",
        "reads": "features",
    }
    old = board["old"].record.submission[:12]
    app = fine(page("model", name="worse", submission=old))
    facts = dict(table_with(app, "what").itertuples(index=False))
    assert facts["submission"] == old
    assert any("A later submission" in said for said in values(app.info))
    over_time = table_with(app, "submission")
    assert over_time["submission"].tolist()[0] == old


@pytest.mark.parametrize(
    ("tab", "expected"),
    [
        ("reproduce", "this hub did not run the model"),
        ("weights", "No fitted model was kept"),
    ],
)
def test_tabs_of_a_predictions_file(board: dict[str, Entry], tab: str, expected: str) -> None:
    app = fine(page("model", name="good", tab=tab))
    assert query(app)["tab"] == tab
    assert expected in values(app.info)[0]


def test_a_run_says_how_to_repeat_it(toy_content: Path, command: Any) -> None:
    command("evaluate", "toy_mean", BENCHMARK, "--protocol", "holdout").fine()
    app = fine(page("model", name="toy_mean", tab="reproduce"))
    steps = app.code[0].value.splitlines()
    assert steps[-2:] == [
        "etchmark build toy --config scalar-mini",
        f"etchmark evaluate toy_mean {BENCHMARK} --track features --protocol holdout",
    ]
    app = fine(page("model", name="toy_mean", tab="cite"))
    assert any(text.startswith("@misc{etchmark-toy-line-1") for text in values(app.code))


def test_what_was_searched_is_listed_with_links(board: dict[str, Entry]) -> None:
    app = fine(page("search", q="kinds"))
    assert links(app)["kinds only"] == ["model?name=kinds+only"]
    assert links(fine(page("search", q="toy")))[BENCHMARK] == [f"leaderboard?benchmark={BENCHMARK}"]
    app = fine(page("search", q="<script>alert(1)</script>"))
    assert "Nothing here has every word" in values(app.info)[0]
    assert "Type a few letters" in values(fine(page("search")).info)[0]


def test_a_link_to_a_row_that_is_not_there_is_told(board: dict[str, Entry]) -> None:
    for asked in ({"benchmark": "toy-fields"}, {"reads": "nothing"}, {"submission": "0" * 12}):
        app = fine(page("model", name="good", **asked))
        assert "no row as the link asks for it" in values(app.warning)[0]
    assert not fine(page("model", name="good", benchmark=BENCHMARK)).warning


def test_the_board_after_a_model_page_shows_all_tracks(board: dict[str, Entry]) -> None:
    app = fine(page("model", name="kinds only"))
    app.query_params.clear()
    app = fine(app.switch_page("app_pages/leaderboard.py").run())
    assert query(app)["track"] == "all"
    assert query(app)["benchmark"] == BENCHMARK
