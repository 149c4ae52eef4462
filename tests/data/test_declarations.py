"""What a benchmark declares is held to the built data before any model is run on them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from etchmark.catalog import catalog
from etchmark.columns import Columns, array_column, array_feature, with_features
from etchmark.data import declarations
from etchmark.data.loading import ensure_config
from etchmark.errors import UserError
from etchmark.specs import BenchmarkSpec, Manifest
from etchmark.targets import kind_of

QUANTITY = {"quantity": "height", "symbol": "y", "unit": "1"}
CLASSES = {"classes": ["fibres", "grains", "0", "1", "2", "3"]}
METRICS = {
    "scalar": "mae",
    "array": "relative_error",
    "frames": "rmse",
    "label": "macro_f1",
    "mask": "mean_iou",
}
Declared = dict[str, Any]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Manifest]:
    """A built config of one split with columns of every type."""
    folder = tmp_path_factory.mktemp("config")
    rows = 4
    volumes = np.zeros((rows, 3, 4, 4), dtype=np.float32)
    masks = np.full((rows, 4, 4), 2, dtype=np.uint8)
    matrices = np.tile(2 * np.eye(3), (rows, 1, 1))
    stiffness = np.tile(np.eye(6), (rows, 1, 1))
    table = pa.table(
        {
            "id": [f"s{row}" for row in range(rows)],
            "text": ["fibres", "grains"] * 2,
            "float": [5.0, 50.0, np.nan, 50.0],
            "single": pa.array([0.1, 0.2, 0.3, 0.4], pa.float32()),
            "whole": np.arange(rows),
            "byte": np.arange(rows).astype(np.uint8),
            "flag": [True, False] * 2,
            "volume": array_column(volumes),
            "context": array_column(volumes),
            "mask": array_column(masks),
            "matrix": array_column(matrices),
            "stiffness": array_column(stiffness),
            "list": [[1.0, 2.0]] * rows,
            "day": pa.array(range(rows), pa.date32()),
        }
    )
    features = {
        "context": array_feature(volumes),
        "volume": array_feature(volumes) | {"shape": [None, 4, 4]},
        "mask": array_feature(masks),
        "matrix": array_feature(matrices),
        "stiffness": array_feature(stiffness),
        "list": {"feature": {"dtype": "float64", "_type": "Value"}, "_type": "List"},
    }
    pq.write_table(with_features(table, features), folder / "test.parquet")
    file = {"path": "test.parquet", "sha256": "0" * 64, "rows": rows, "bytes": 1, "split": "test"}
    manifest = {"name": "every", "config": "types", "files": [file], "fingerprint": "0" * 64}
    return folder, Manifest.model_construct(**{**manifest, "files": [_File(**file)]})


class _File:
    def __init__(self, **fields: Any) -> None:
        self.__dict__ |= fields


def spec_of(declared: Declared) -> BenchmarkSpec:
    """A benchmark of one split that trains on nothing, changed as declared."""
    target = {"kind": "scalar", "column": "single", **QUANTITY, **declared.get("target", {})}
    folds = {"title": "t", "kind": "folds", "description": "d", "split": "test"}
    spec = {
        "schema": 1,
        "id": "of-types",
        "version": 1,
        **dict.fromkeys(("title", "summary", "description", "licence"), "t"),
        "dataset": "every",
        "tracks": {
            "all": {"title": "t", "config": "types", "inputs": ["day"], "fingerprint": "0" * 64}
        },
        "target_fingerprint": "0" * 64,
        "metrics": [METRICS[target["kind"]]],
        "primary_metric": METRICS[target["kind"]],
        "protocols": {"folds": {**folds, "fold_column": "whole", **declared.get("folds", {})}},
        **{name: value for name, value in declared.items() if name not in ("target", "folds")},
        "target": target,
    }
    return BenchmarkSpec.model_validate(spec)


def check(
    data: tuple[Path, Manifest], declared: Declared, *, released: bool = True
) -> BenchmarkSpec:
    spec = spec_of(declared)
    declarations.check_declared(spec, "all", *data, released=released)
    return spec


def subset(column: str, **condition: object) -> Declared:
    return {"subsets": {"some": {"title": "t", "column": column, **condition}}}


def target(kind: str, column: str, **more: object) -> Declared:
    return {"target": {"kind": kind, "column": column, **more}}


def frames(column: str, context: str, horizon: str, side: int = 4) -> Declared:
    more = {"shape": [None, side, side], "frames": {"low": 0, "high": 1}}
    return target("frames", column, context_column=context, horizon_column=horizon, **more)


BOUNDS = {"title": "bounds", "lower": "float", "upper": "text"}
WRONG: dict[str, tuple[Declared, str]] = {
    "above on text": (
        subset("text", above=1),
        "subsets.some.column: column 'text' of every:types holds text, not one number per sample",
    ),
    "below on arrays": (
        subset("mask", below=1),
        "subsets.some.column: column 'mask' of every:types holds uint8 arrays of shape (4, 4), not"
        " one number per sample",
    ),
    "above on a day": (
        subset("day", above=1),
        "subsets.some.column: column 'day' of every:types holds date32[day], not one number per"
        " sample",
    ),
    "equals on lists": (
        subset("list", equals="1"),
        "subsets.some.column: column 'list' of every:types holds float64 arrays of shape (any),"
        " not one value per sample",
    ),
    "text on floats": (
        subset("float", equals="high"),
        "subsets.some.equals: column 'float' of every:types holds float64, which is never 'high'",
    ),
    "text on whole numbers": (
        subset("whole", equals="1.5"),
        "subsets.some.equals: column 'whole' of every:types holds int64, which is never '1.5'",
    ),
    "too large a number": (
        subset("byte", equals="256"),
        "subsets.some.equals: column 'byte' of every:types holds uint8, which is never '256'",
    ),
    "text on truth values": (
        subset("flag", equals="yes"),
        "subsets.some.equals: column 'flag' of every:types holds bool, which is never 'yes'",
    ),
    "scalar on text": (
        target("scalar", "text"),
        "target.column: column 'text' of every:types holds text, not one number per sample",
    ),
    "scalar on arrays": (
        target("scalar", "matrix"),
        "target.column: column 'matrix' of every:types holds float64 arrays of shape (3, 3), not"
        " one number per sample",
    ),
    "bound on text": (
        {"target": {"bounds": BOUNDS}},
        "target.bounds.upper: column 'text' of every:types holds text, not one number per sample",
    ),
    "array on floats": (
        target("array", "float", shape=[2]),
        "target.column: column 'float' of every:types holds float64, not arrays of numbers of"
        " shape (2)",
    ),
    "array of another shape": (
        target("array", "matrix", shape=[9]),
        "target.column: column 'matrix' of every:types holds float64 arrays of shape (3, 3), not"
        " arrays of numbers of shape (9)",
    ),
    "label on floats": (
        target("label", "float", **CLASSES),
        "target.column: column 'float' of every:types holds float64, not one class per sample, as"
        " text or a whole number",
    ),
    "mask on floats": (
        target("mask", "float", **CLASSES),
        "target.column: column 'float' of every:types holds float64, not arrays of whole numbers"
        " with 2 axes",
    ),
    "mask on volumes": (
        target("mask", "volume", **CLASSES),
        "target.column: column 'volume' of every:types holds float32 arrays of shape (any, 4, 4),"
        " not arrays of whole numbers with 2 axes",
    ),
    "frames on masks": (
        frames("mask", "volume", "whole"),
        "target.column: column 'mask' of every:types holds uint8 arrays of shape (4, 4), not"
        " arrays of numbers of shape (any, 4, 4)",
    ),
    "frames of another size": (
        frames("volume", "mask", "whole", side=8),
        "target.column: column 'volume' of every:types holds float32 arrays of shape (any, 4, 4),"
        " not arrays of numbers of shape (any, 8, 8)",
    ),
    "context of masks": (
        frames("volume", "mask", "whole"),
        "target.context_column: column 'mask' of every:types holds uint8 arrays of shape (4, 4),"
        " not arrays of numbers of shape (any, 4, 4)",
    ),
    "unit of arrays": (
        {"unit_column": "matrix"},
        "unit_column: column 'matrix' of every:types holds float64 arrays of shape (3, 3), not one"
        " value per sample",
    ),
    "folds of floats": (
        {"folds": {"fold_column": "float"}},
        "protocols.folds.fold_column: column 'float' of every:types holds float64, not one whole"
        " number per sample",
    ),
    "groups of lists": (
        {"folds": {"group_column": "list"}},
        "protocols.folds.group_column: column 'list' of every:types holds float64 arrays of shape"
        " (any), not one value per sample",
    ),
    "no such column": (
        {"unit_column": "wholes"},
        "unit_column: unknown column of every:types 'wholes', did you mean 'whole'?",
    ),
    "empty subset": (
        subset("float", above=1e9),
        "subsets.some: holds no sample of the scored split test of every:types",
    ),
    "subset of a text that does not occur": (
        subset("text", equals="Grains"),
        "subsets.some: holds no sample of the scored split test of every:types",
    ),
}


@pytest.mark.parametrize(("declared", "problem"), WRONG.values(), ids=WRONG.keys())
def test_what_a_column_cannot_be(
    data: tuple[Path, Manifest], declared: Declared, problem: str
) -> None:
    with pytest.raises(UserError) as refused:
        check(data, declared)
    assert str(refused.value) == f"of-types.yaml: {problem}; correct this file"


FINE: dict[str, Declared] = {
    "scalar of floats": target("scalar", "single"),
    "scalar of whole numbers": target("scalar", "byte"),
    "bounds": {"target": {"bounds": {**BOUNDS, "upper": "byte"}}},
    "array": target("array", "matrix", shape=[3, 3]),
    "array of lists": target("array", "list", shape=[2]),
    "classes as text": target("label", "text", **CLASSES),
    "classes as whole numbers": target("label", "byte", **CLASSES),
    "mask": target("mask", "mask", **CLASSES),
    "frames": frames("volume", "context", "byte"),
    "groups and units of numbers": {"unit_column": "float", "folds": {"group_column": "day"}},
}


@pytest.mark.parametrize("declared", FINE.values(), ids=FINE.keys())
def test_what_a_column_may_be(data: tuple[Path, Manifest], declared: Declared) -> None:
    check(data, declared)


def test_frames_of_a_small_config_may_have_another_size(data: tuple[Path, Manifest]) -> None:
    declared = frames("volume", "context", "whole", side=8)
    with pytest.raises(UserError, match=r"not arrays of numbers of shape \(any, 8, 8\)"):
        check(data, declared)
    check(data, declared, released=False)


@pytest.mark.parametrize(
    ("column", "equals", "expected"),
    [
        ("text", "grains", [False, True, False, True]),
        ("float", "50", [False, True, False, True]),
        ("float", "5.0", [True, False, False, False]),
        ("single", "0.1", [True, False, False, False]),
        ("byte", "3", [False, False, False, True]),
        ("flag", "True", [True, False, True, False]),
        ("day", "1970-01-02", [False, True, False, False]),
    ],
)
def test_numbers_are_compared_as_numbers(
    data: tuple[Path, Manifest], column: str, equals: str, expected: list[bool]
) -> None:
    declared = check(data, subset(column, equals=equals)).subsets["some"]
    member = declarations.members(Columns([data[0] / "test.parquet"]), declared, "of-types")
    assert member.tolist() == expected


def test_other_data_may_lack_the_samples_of_a_subset(data: tuple[Path, Manifest]) -> None:
    check(data, subset("float", above=1e9), released=False)


# --- stored values ------------------------------------------------------------------------------

ROTATED = {"shape": [6, 6], "rotation": {"column": "matrix", "source": "text"}}


@pytest.mark.parametrize(
    ("declared", "problem"),
    [
        (
            target("label", "text", classes=["grains", "other"]),
            "column 'text' holds 'fibres', which is not among the target's classes",
        ),
        (
            target("mask", "mask", classes=["matrix", "grain"]),
            "column 'mask' holds numbers beyond the 2 classes of the target",
        ),
        (
            target("array", "list", shape=[3]),
            "column 'list' holds arrays of shape (2,), the target has the shape (3,)",
        ),
        (
            {"target": {"bounds": {**BOUNDS, "upper": "byte"}}},
            "in 4 samples 'float' is above 'byte'",
        ),
        (target("array", "stiffness", **ROTATED), "column 'matrix' does not hold rotation"),
    ],
    ids=["label", "mask", "array", "bounds", "rotations"],
)
def test_values_that_contradict_the_target(
    data: tuple[Path, Manifest], declared: Declared, problem: str
) -> None:
    spec = check(data, declared)
    columns, kind = Columns([data[0] / "test.parquet"]), kind_of(spec.target)
    with pytest.raises(UserError) as refused:
        kind.check_stored(columns, spec.target, "of-types.yaml", scored=True)
    assert str(refused.value).startswith(f"of-types.yaml: {problem}")
    assert "; fix the dataset or the benchmark" in str(refused.value)


def test_what_is_trained_on_alone_needs_no_bounds(data: tuple[Path, Manifest]) -> None:
    spec = check(data, {"target": {"bounds": {**BOUNDS, "upper": "byte"}}})
    columns = Columns([data[0] / "test.parquet"])
    kind_of(spec.target).check_stored(columns, spec.target, "of-types.yaml", scored=False)


# --- through the command line ------------------------------------------------------------------


@pytest.fixture
def refusal(toy_volumes: Path, command: Any) -> Callable[..., str]:
    """Changes ``toy-volumes``; how its evaluation is then refused, before the model is run."""

    def of(**keys: object) -> str:
        path = toy_volumes / "benchmarks" / "toy-volumes.yaml"
        spec = yaml.safe_load(path.read_text(encoding="utf-8"))
        path.write_text(yaml.safe_dump(spec | keys, sort_keys=False), encoding="utf-8")
        return command("evaluate", "between/near", "toy-volumes").refusal()

    return of


def test_a_wrong_type_ends_no_run(refusal: Callable[..., str]) -> None:
    line = refusal(subsets={"some": {"title": "t", "column": "morphology", "above": 1}})
    assert line == (
        "toy-volumes.yaml: subsets.some.column: column 'morphology' of voxels:cells-full holds"
        " text, not one number per sample; correct this file"
    )


def test_an_empty_subset_ends_no_run(refusal: Callable[..., str]) -> None:
    line = refusal(subsets={"huge": {"title": "t", "column": "contrast", "above": 1e9}})
    assert line == (
        "toy-volumes.yaml: subsets.huge: holds no sample of the scored splits test, hard, train of"
        " voxels:cells-full; correct this file"
    )


def test_a_split_that_the_config_does_not_have(toy_content: Path, command: Any) -> None:
    """The dataset lists the split since the config was built."""
    ensure_config(catalog(), "toy", "scalar-mini")
    dataset = toy_content / "datasets" / "toy" / "dataset.yaml"
    listed = yaml.safe_load(dataset.read_text(encoding="utf-8"))
    listed["configs"]["scalar-mini"]["splits"].append("harder")
    dataset.write_text(yaml.safe_dump(listed), encoding="utf-8")
    path = toy_content / "benchmarks" / "toy-line.yaml"
    spec = yaml.safe_load(path.read_text(encoding="utf-8"))
    spec["protocols"]["holdout"]["extra_splits"] = ["harder"]
    path.write_text(yaml.safe_dump(spec), encoding="utf-8")
    assert command("evaluate", "toy_mean", "toy-line").refusal() == (
        "toy-line.yaml: protocols.holdout.extra_splits: toy:scalar-mini has no split 'harder',"
        " only train, test, hard; correct this file, or rebuild with `etchmark build toy --config"
        " scalar-mini` if dataset.yaml names the split"
    )
