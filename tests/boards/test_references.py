"""Reference lines: values, models of this board and of another one, and where they hold."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from pydantic import ValidationError

import etchmark
from etchmark import predictions
from etchmark.boards.references import reference_values
from etchmark.catalog import catalog
from etchmark.registry.store import LOCAL, REVIEWED, Store
from etchmark.specs import DiscretisationError, ReferenceLine

VALUE = {
    "label": "published",
    "value": 3.0,
    "metric": "mape",
    "source": {"title": "Paper (2020)"},
}


@pytest.fixture
def declare(toy_volumes: Path):
    """Replaces the reference lines of a benchmark."""

    def write(benchmark: str, *lines: dict) -> None:
        path = toy_volumes / "benchmarks" / f"{benchmark}.yaml"
        spec = yaml.safe_load(path.read_text()) | {"reference_lines": list(lines)}
        path.write_text(yaml.safe_dump(spec, sort_keys=False))

    return write


@pytest.fixture
def enter(toy_volumes: Path, tmp_path: Path):
    """Enters a model that is off by a share of the target, on whole splits, as if reviewed."""

    def add(
        benchmark: str,
        name: str,
        off: float,
        *splits: str,
        track: str | None = None,
        **more: Any,
    ) -> None:
        loaded = etchmark.load_benchmark(benchmark)
        truths = [loaded.truth(split) for split in splits or ("test",)]
        ids = np.concatenate([truth.ids for truth in truths])
        target = np.concatenate([truth.target for truth in truths])
        path = tmp_path / "entered.parquet"
        predictions.write(path, ids, target * (1 + off))
        track = track or next(iter(loaded.spec.tracks))
        record = etchmark.submit(path, benchmark, name=name, track=track, protocol="holdout")
        entry = Store().get(record.submission)
        assert entry is not None
        Store().add(replace(entry, **{"origin": REVIEWED, **more}))

    return add


def values(benchmark: str, **more: Any) -> list[tuple[str, float]]:
    shown: dict[str, Any] = {"protocol": "holdout", "metric": "mape", **more}
    spec = catalog().benchmark(benchmark)
    found = reference_values(catalog(), spec, Store(), **shown)
    return [(line.label, round(value, 6)) for line, value in found]


def test_where_a_line_is_drawn(declare) -> None:
    declare("toy-volumes", VALUE | {"split": "hard", "protocol": "holdout"})
    assert values("toy-volumes", split="hard") == [("published", 3.0)]
    assert values("toy-volumes") == []
    assert values("toy-volumes", split="hard", metric="r2") == []
    assert values("toy-volumes", split="hard", protocol="folds") == []


def test_the_best_model_of_another_benchmark(declare, enter) -> None:
    best = {"label": "limit", "best": True, "benchmark": "toy-line"}
    named = {"label": "named", "model": "second", "benchmark": "toy-line"}
    declare("toy-volumes", best, named)
    assert values("toy-volumes") == []
    enter("toy-line", "first", 0.01, "test", "hard")
    enter("toy-line", "second", 0.02)
    assert values("toy-volumes") == [("limit", 1.0), ("named", 2.0)]
    # An extra split is compared with the one of that name, and only where a score is there.
    assert values("toy-volumes", split="hard") == [("limit", 1.0)]
    assert values("toy-volumes", metric="bound_violations") == []


def test_another_benchmark_whose_card_is_broken(declare, toy_volumes) -> None:
    declare("toy-volumes", {"label": "limit", "best": True, "benchmark": "toy-line"}, VALUE)
    (toy_volumes / "benchmarks" / "toy-line.yaml").write_text("schema: 9")
    assert values("toy-volumes") == [("published", 3.0)]


def test_a_model_of_this_board(declare, enter) -> None:
    declare("toy-volumes", {"label": "own", "model": "mine"})
    enter("toy-volumes", "mine", 0.04, "test", "hard")
    assert values("toy-volumes", split="hard") == [("own", 4.0)]


def test_a_line_is_of_one_track(declare, enter) -> None:
    named = {"label": "named", "model": "mine", "benchmark": "toy-line"}
    declare("toy-volumes", named, named | {"label": "kinds", "track": "kinds"})
    enter("toy-line", "mine", 0.01, track="features")
    # A line without a track is of the best one; with one, of nothing else.
    assert values("toy-volumes") == [("named", 1.0)]
    enter("toy-line", "mine", 0.03, track="kinds")
    assert values("toy-volumes") == [("named", 1.0), ("kinds", 3.0)]


def test_a_baselines_line_is_of_the_track_that_its_benchmark_names(
    declare, enter, toy_volumes
) -> None:
    card = toy_volumes / "benchmarks" / "toy-line.yaml"
    text = yaml.safe_load(card.read_text())
    text["baselines"] = {"toy_mean": {"track": "kinds"}}
    card.write_text(yaml.safe_dump(text))
    code = toy_volumes / "baselines" / "toy_mean" / "model.py"
    code.write_text(code.read_text().replace('inputs["a"]', 'inputs["kind"]'))
    declare("toy-volumes", {"label": "mean", "model": "toy_mean", "benchmark": "toy-line"})
    etchmark.evaluate("toy_mean", "toy-line", track="features")
    assert values("toy-volumes") == []
    etchmark.evaluate("toy_mean", "toy-line", track="kinds")
    assert len(values("toy-volumes")) == 1


def test_what_anybody_submits_here_is_no_reference(declare, enter) -> None:
    declare("toy-volumes", {"label": "own", "model": "mine"})
    enter("toy-volumes", "mine", 0.04, origin=LOCAL)
    assert values("toy-volumes") == []
    enter("toy-volumes", "mine", 0.04, origin=REVIEWED)
    assert values("toy-volumes") == [("own", 4.0)]


def test_every_committed_line_of_a_model_names_its_track() -> None:
    content = catalog()
    lines = [
        (spec, line)
        for spec in map(content.benchmark, content.benchmark_names())
        for line in spec.reference_lines
        if line.model is not None
    ]
    assert len(lines) == 37
    for spec, line in lines:
        assert line.model is not None
        use = spec.use_of(line.model)
        assert use is not None
        assert line.track == use.track


def test_commands_print_lines_and_the_uncertainty_of_labels(declare, enter, command) -> None:
    note = "on other volumes: quoted, not ranked"
    best = {"label": "limit", "best": True, "benchmark": "toy-line"}
    declare("toy-volumes", VALUE | {"note": note}, best)
    enter("toy-line", "first", 0.01)
    enter("toy-volumes", "mine", 0.04)
    said = command("leaderboard", "toy-volumes").fine().splitlines()
    assert f"reference: published 3.000 %; {note}; Paper (2020)" in said
    assert "reference: limit 1.000 % (best on toy-line)" in said
    start = "discretisation error: "
    assert f"{start}mape 2.5 %. Discretisation of the solver." in said
    other = command("leaderboard", "toy-volumes", "--metric", "r2").fine()
    assert start not in other
    assert "published" not in other
    assert "reference: limit 0." in other
    assert " 1 (best" not in other
    shown = command("show", "toy-volumes").fine()
    assert f"reference  published: mape 3.000 %; {note}; Paper (2020)" in shown
    assert "reference  limit: the best on toy-line" in shown
    assert "labels     discretisation error: mape 2.5 %" in shown
    assert isinstance(json.loads(command("leaderboard", "toy-volumes", "--json").fine()), list)
    spec = json.loads(command("show", "toy-volumes", "--json").fine())
    assert spec["discretisation_error"]["value"] == 2.5


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"model": "m", "best": True, "benchmark": "b"},
        {"best": True},
        VALUE | {"benchmark": "b"},
        {"value": 3.0, "metric": "mape"},
        VALUE | {"track": "features"},
    ],
)
def test_lines_that_are_refused(wrong: dict) -> None:
    with pytest.raises(ValidationError):
        ReferenceLine.model_validate({"label": "x", **wrong})


def test_a_line_of_an_unknown_track_is_refused(declare, command) -> None:
    declare("toy-volumes", {"label": "own", "model": "mine", "track": "nowhere"})
    assert "names the unknown track 'nowhere'" in command("show", "toy-volumes").refusal()


@pytest.mark.parametrize(
    ("split", "metric", "shown", "size"),
    [
        ("test", "mape", "test", 1.0),
        ("test", "mape", "hard", None),
        (None, "mape", "hard", 1.0),
        (None, "r2", "test", None),
    ],
)
def test_the_discretisation_error_is_shown_where_it_was_measured(
    split: str | None, metric: str, shown: str, size: float | None
) -> None:
    declared = DiscretisationError(metric="mape", value=1.0, split=split, description="d")
    assert declared.size_on(metric, shown) == size
