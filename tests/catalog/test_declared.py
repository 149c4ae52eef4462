"""What a benchmark declares is checked when its card is read, before anything is built."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from etchmark.catalog import Catalog, catalog
from etchmark.catalog.names import unknown_in_card
from etchmark.data.loading import load_benchmark
from etchmark.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
COLUMNS = ["id", "a", "kind", "source", "fold", "y"]
Change = Callable[[dict[str, Any]], None]


def edit(path: Path, change: Change) -> Path:
    value = yaml.safe_load(path.read_text(encoding="utf-8"))
    change(value)
    path.write_text(yaml.safe_dump(value, sort_keys=False), encoding="utf-8")
    return path


@pytest.fixture
def declared(toy_content: Path) -> Callable[[Change], str]:
    """Changes ``toy-line``, whose dataset lists its columns, and gives back the refusal."""

    def say_columns(dataset: dict[str, Any]) -> None:
        for config in dataset["configs"].values():
            config["columns"] = COLUMNS
        dataset["units"] = {"mm": ["y", "a"], "s": ["fold"]}

    edit(toy_content / "datasets" / "toy" / "dataset.yaml", say_columns)
    catalog().benchmark("toy-line")

    def refusal(change: Change) -> str:
        path = edit(toy_content / "benchmarks" / "toy-line.yaml", change)
        with pytest.raises(UserError) as refused:
            catalog().benchmark("toy-line")
        line = str(refused.value)
        assert line.startswith(f"{path}: ")
        assert line.endswith("; correct this file")
        return line.removeprefix(f"{path}: ").removesuffix("; correct this file")

    return refusal


def set_at(*keys: str | int, value: Any) -> Change:
    """A change that puts a value at a path of keys."""

    def change(spec: dict[str, Any]) -> None:
        inner: Any = spec
        for key in keys[:-1]:
            inner = inner.setdefault(key, {}) if isinstance(inner, dict) else inner[key]
        inner[keys[-1]] = value

    return change


def all_of(*changes: Change) -> Change:
    def change(spec: dict[str, Any]) -> None:
        for each in changes:
            each(spec)

    return change


QUANTITY = {"quantity": "height", "symbol": "y", "unit": "mm"}
PAIR = {"shape": [2], "components": ["a", "b"]}
CLASSES = {"kind": "label", "classes": ["a", "b"]}
SUBSET = {"title": "large", "column": "aa", "above": 1}
BOUNDS = {"title": "bounds", "lower": "fold", "upper": "b"}
DISCRETISATION = {"metric": "mae", "value": 1.0, "split": "train", "description": "A guess."}
CASES: dict[str, tuple[Change, str]] = {
    "dataset": (
        set_at("dataset", value="toi"),
        "dataset: unknown dataset 'toi', did you mean 'toy'?",
    ),
    "config": (
        set_at("tracks", "kinds", "config", value="scalar"),
        "tracks.kinds.config: unknown config of toy 'scalar', did you mean 'scalar-mini'?",
    ),
    "input": (
        set_at("tracks", "kinds", "inputs", value=["kid"]),
        "tracks.kinds.inputs: unknown column of toy:scalar-mini 'kid', did you mean 'kind'?",
    ),
    "target": (
        set_at("target", "column", value="z"),
        "target.column: unknown column of toy:scalar-mini 'z', choose from id, a, kind, source,"
        " fold, y",
    ),
    "unit": (
        set_at("unit_column", value="sources"),
        "unit_column: unknown column of toy:scalar-mini 'sources', did you mean 'source'?",
    ),
    "fold": (
        set_at("protocols", "folds", "fold_column", value="folds"),
        "protocols.folds.fold_column: unknown column of toy:scalar-mini 'folds', did you mean"
        " 'fold'?",
    ),
    "group": (
        set_at("protocols", "holdout", "group_column", value="group"),
        "protocols.holdout.group_column: unknown column of toy:scalar-mini 'group', choose from id,"
        " a, kind, source, fold, y",
    ),
    "split": (
        set_at("protocols", "holdout", "split", value="tset"),
        "protocols.holdout.split: toy:scalar-mini has no split 'tset', only train, test, hard",
    ),
    "extra split": (
        set_at("protocols", "holdout", "extra_splits", value=["harder"]),
        "protocols.holdout.extra_splits: toy:scalar-mini has no split 'harder', only train, test,"
        " hard",
    ),
    "unit is the target": (
        set_at("unit_column", value="y"),
        "unit_column is the target 'y', name another column",
    ),
    "fold is the target": (
        set_at("protocols", "folds", "fold_column", value="y"),
        "protocols.folds.fold_column is the target 'y', name another column",
    ),
    "group is the target": (
        set_at("protocols", "holdout", "group_column", value="y"),
        "protocols.holdout.group_column is the target 'y', name another column",
    ),
    "fold is the id": (
        set_at("protocols", "folds", "fold_column", value="id"),
        "protocols.folds.fold_column is 'id', name a column of fold numbers",
    ),
    "fold is an input": (
        set_at("tracks", "kinds", "inputs", value=["kind", "fold"]),
        "track 'kinds' hands out 'fold', which is protocols.folds.fold_column",
    ),
    "target is an input": (
        set_at("tracks", "kinds", "inputs", value=["kind", "y"]),
        "track 'kinds' hands out the target 'y'",
    ),
    "target is the id": (
        set_at("target", "column", value="id"),
        "target: 'id' names samples, it is no column of a target",
    ),
    "bound is the target": (
        set_at("bounds", value={**BOUNDS, "lower": "y"}),
        "target: column 'y' has two roles, name another column for one",
    ),
    "bounds are one column": (
        set_at("bounds", value={**BOUNDS, "lower": "b"}),
        "target: column 'b' has two roles, name another column for one",
    ),
    "subset": (
        set_at("subsets", value={"large": SUBSET}),
        "subsets.large.column: unknown column of toy:scalar-mini 'aa', did you mean 'a'?",
    ),
    "unit of the target": (
        set_at("target", "unit", value="m"),
        "target.unit: column 'y' of toy is in 'mm', the target in 'm'",
    ),
    "column of a bound": (
        set_at("bounds", value={**BOUNDS, "lower": "a"}),
        "target.bounds.upper: unknown column of toy:scalar-mini 'b', choose from id, a, kind,"
        " source, fold, y",
    ),
    "metric": (
        set_at("metrics", value=["mae", "dicee"]),
        "metrics: unknown metric 'dicee' of a target of kind scalar, choose from: mae, rmse, mape,"
        " r2, mape_typical, bound_violations",
    ),
    "metric of a component": (
        all_of(
            set_at("target", value={"column": "y", **QUANTITY, **PAIR}),
            set_at("metrics", value=["mae", "component_error:c"]),
        ),
        "metrics: unknown metric 'component_error:c' of a target of kind array, choose from:"
        " relative_error, equivariance_error, mae, rmse, mape, r2, mape_typical, component_error:a,"
        " component_error:b",
    ),
    "keys of a target": (
        set_at("target", value={"kind": "label", "column": "y", "quantity": "y"}),
        "target.symbol: is missing; target.classes: is missing",
    ),
    "kind of a target": (
        set_at("target", value={"kind": "grade", "column": "y", **QUANTITY}),
        "target: unknown kind 'grade', choose from 'scalar', 'array', 'frames', 'label', 'mask',"
        " 'ensemble'",
    ),
    "metric of probabilities": (
        all_of(
            set_at("target", value={"column": "y", **QUANTITY, **CLASSES}),
            set_at("metrics", value=["log_loss"]),
            set_at("primary_metric", value="log_loss"),
        ),
        "the metric log_loss needs target.probabilities: true",
    ),
    "unit of a bound": (
        set_at("bounds", value={**BOUNDS, "upper": "a"}),
        "target.bounds.lower: column 'fold' of toy is in 's', the target in 'mm'",
    ),
    "folds as units": (
        set_at("unit_column", value="fold"),
        "unit_column is 'fold', which is protocols.folds.fold_column: a fold is no independent"
        " unit, name the column of papers, trajectories or samples",
    ),
    "discretisation error": (
        set_at("discretisation_error", value={**DISCRETISATION, "split": "hrad"}),
        "discretisation_error.split: unknown scored split of toy-line 'hrad', did you mean 'hard'?",
    ),
    "line's model": (
        set_at("reference_lines", value=[{"label": "mean", "model": "toy_maen"}]),
        "reference_lines.0.model: unknown baseline 'toy_maen', did you mean 'toy_mean'?",
    ),
    "line's variant": (
        set_at("reference_lines", value=[{"label": "mean", "model": "toy_mean/one"}]),
        "reference_lines.0.model: unknown variant of toy_mean 'one', choose from none",
    ),
    "baseline": (
        set_at("baselines", value={"toy_maen": {"track": "kinds"}}),
        "baselines.toy_maen: unknown baseline 'toy_maen', did you mean 'toy_mean'?",
    ),
    "baseline's variant": (
        set_at("baselines", value={"toy_mean": {"track": "kinds", "without": ["one"]}}),
        "baselines.toy_mean: unknown variant of toy_mean 'one', choose from none",
    ),
    "baseline's track": (
        set_at("baselines", value={"toy_mean": {"track": "kind"}}),
        "baseline 'toy_mean' names the unknown track 'kind'",
    ),
    "baseline's role": (
        set_at("baselines", value={"toy_mean": {"track": "kinds", "role": "winner"}}),
        "baselines.toy_mean.role: must be 'entry', 'reference', 'oracle', 'control' or"
        " 'exploratory', not 'winner'",
    ),
    "line's protocol": (
        set_at(
            "reference_lines",
            value=[{"label": "mean", "model": "toy_mean", "protocol": "fold"}],
        ),
        "reference_lines.0.protocol: unknown protocol of toy-line 'fold', did you mean 'folds'?",
    ),
    "line's split": (
        set_at(
            "reference_lines",
            value=[{"label": "mean", "model": "toy_mean", "protocol": "folds", "split": "hard"}],
        ),
        "reference_lines.0.split: unknown scored split of toy-line 'hard', choose from train",
    ),
    "line's metric": (
        set_at("reference_lines", value=[{"label": "m", "model": "toy_mean", "metric": "r3"}]),
        "reference_lines.0.metric: unknown metric of toy-line 'r3', did you mean 'r2'?",
    ),
    "line's benchmark": (
        set_at("reference_lines", value=[{"label": "m", "best": True, "benchmark": "toy-field"}]),
        "reference_lines.0.benchmark: unknown benchmark 'toy-field', did you mean 'toy-fields'?",
    ),
    "line's track there": (
        set_at(
            "reference_lines",
            value=[{"label": "m", "best": True, "benchmark": "toy-fields", "track": "kinds"}],
        ),
        "reference_lines.0.track: unknown track of toy-fields 'kinds', choose from features",
    ),
}


@pytest.mark.parametrize(("change", "expected"), CASES.values(), ids=CASES.keys())
def test_a_slip_is_told_when_the_card_is_read(
    declared: Callable[[Change], str], change: Change, expected: str
) -> None:
    assert declared(change) == expected


def test_a_broken_benchmark_is_listed_with_its_error(toy_content: Path, command: Any) -> None:
    edit(toy_content / "benchmarks" / "toy-line.yaml", set_at("dataset", value="toi"))
    said = command("list")
    assert said.rc == 0
    (warning,) = said.stderr.splitlines()
    assert "toy-line.yaml: dataset: unknown dataset 'toi'" in warning
    assert "toy-fields" in said.stdout
    line = next(line for line in said.stdout.splitlines() if "toy-line" in line)
    assert line.split() == ["toy-line", "cannot", "be", "used:", "see", "the", "warning"]
    listing = json.loads(command("list", "--json").stdout)
    broken, fields = sorted(listing["benchmarks"], key=lambda row: "error" not in row)
    assert (broken["id"], fields["id"]) == ("toy-line", "toy-fields")
    assert "unknown dataset 'toi'" in broken["error"]
    command("evaluate", "toy_mean", "toy-fields").fine()


def test_a_broken_baseline_leaves_boards_open(toy_content: Path) -> None:
    lines = [{"label": "mean", "model": "toy_mean/any"}]
    edit(toy_content / "benchmarks" / "toy-line.yaml", set_at("reference_lines", value=lines))
    (toy_content / "baselines" / "toy_mean" / "card.yaml").write_text("schema: 9")
    assert catalog().benchmark("toy-line").id == "toy-line"


def test_a_line_may_be_of_a_reviewed_submission(toy_content: Path) -> None:
    lines = [{"label": "best so far", "model": "graph-network"}]
    edit(toy_content / "benchmarks" / "toy-line.yaml", set_at("reference_lines", value=lines))
    assert catalog().benchmark("toy-line").reference_lines[0].model == "graph-network"


def test_columns_are_held_to_the_data_where_the_dataset_lists_none(toy_content: Path) -> None:
    edit(
        toy_content / "benchmarks" / "toy-line.yaml",
        set_at("tracks", "kinds", "inputs", value=["kid"]),
    )
    benchmark = load_benchmark("toy-line")
    with pytest.raises(UserError, match="unknown column of toy:scalar-mini 'kid', did you mean"):
        benchmark.inputs("test", "kinds")


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ([*COLUMNS, "z"], "it lacks z; make"),
        (COLUMNS[:-1], "it has y, which dataset.yaml does not name; make"),
    ],
)
def test_a_build_has_the_columns_that_are_declared(
    toy_content: Path, command: Any, columns: list[str], said: str
) -> None:
    path = toy_content / "datasets" / "toy" / "dataset.yaml"
    edit(path, set_at("configs", "scalar-mini", "columns", value=columns))
    refusal = command("build", "toy").refusal()
    assert "toy:scalar-mini was built with other columns than it declares" in refusal
    assert said in refusal
    edit(path, set_at("configs", "scalar-mini", "columns", value=COLUMNS))
    command("build", "toy").fine()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (set_at("label_columns", value=["yy"]), "label_columns: no config has a column 'yy'"),
        (set_at("units", value={"mm": ["yy"]}), "units: no config has a column 'yy'"),
        (
            set_at("configs", "scalar-mini", "columns", value=["id", "a", "a"]),
            "column 'a' is named twice",
        ),
        (
            set_at("configs", "scalar-mini", "columns", value=["a"]),
            "the column 'id' is missing",
        ),
        (
            set_at(
                "pictures",
                value=[{"file": "none.png", "caption": "None.", "configs": ["scalar-mini"]}],
            ),
            "none.png: is missing; add the picture",
        ),
    ],
)
def test_a_dataset_is_held_to_itself(toy_content: Path, change: Change, said: str) -> None:
    path = toy_content / "datasets" / "toy" / "dataset.yaml"

    def say_columns(dataset: dict[str, Any]) -> None:
        for config in dataset["configs"].values():
            config["columns"] = COLUMNS
        change(dataset)

    edit(path, say_columns)
    with pytest.raises(UserError, match=said):
        catalog().dataset("toy")


def test_lists_of_columns_may_be_put_together(toy_content: Path) -> None:
    edit(
        toy_content / "datasets" / "toy" / "dataset.yaml",
        set_at("configs", "scalar-mini", "columns", value=[["id", ["a"]], "y"]),
    )
    assert catalog().dataset("toy").configs["scalar-mini"].columns == ["id", "a", "y"]


def test_every_dataset_of_this_checkout_lists_its_columns() -> None:
    content = Catalog(ROOT)
    for name in content.dataset_names():
        for config, declared in content.dataset(name).configs.items():
            assert declared.columns, (name, config)


def test_a_list_of_choices_that_is_cut_says_so() -> None:
    names = [f"name-{number:02d}" for number in range(20)]
    assert unknown_in_card("baseline", "porosity", names).endswith("name-11 and 8 more")
    assert unknown_in_card("baseline", "porosity", names[:12]).endswith(", name-11")


def test_all_missing_splits_are_named(toy_content: Path, command: Any) -> None:
    path = toy_content / "benchmarks" / "toy-line.yaml"
    edit(path, set_at("protocols", "holdout", "split", value="tset"))
    edit(path, set_at("protocols", "holdout", "extra_splits", value=["harder"]))
    said = command("show", "toy-line").refusal()
    assert "has no splits 'tset', 'harder', only train, test, hard; correct this file" in said


@pytest.mark.parametrize("changes", [{2: "too early"}, {1: "the first"}, {3: "skips one"}])
def test_changes_are_told_of_every_version_after_the_first(
    declared: Callable[[Change], str], changes: dict[int, str]
) -> None:
    assert "changes" in declared(set_at("changes", value=changes))
