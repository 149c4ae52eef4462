"""Every shipped benchmark, with one declaration broken at a time, is refused before a model runs.

The data are a few rows with the columns and splits of the released ones, so that a slip which only
the data can tell is told as it would be there.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from etchmark import files
from etchmark.catalog import Catalog
from etchmark.columns import array_column, array_feature, image_column, with_features
from etchmark.data.loading import load_benchmark
from etchmark.errors import UserError
from etchmark.evaluation.evaluate import run_model
from etchmark.specs.task import Task

ROOT = Path(__file__).resolve().parents[2]
CONTENT = Catalog(ROOT)
BENCHMARKS = CONTENT.benchmark_names()
DECLARED = {
    name: yaml.safe_load((ROOT / "benchmarks" / f"{name}.yaml").read_text(encoding="utf-8"))
    for name in BENCHMARKS
}
MODEL = CONTENT.model("training_mean")
ROWS = 2
TEXT = {"morphology", "parameters", "source", "paper", "doi", "base", "reported_unit"}
TEXT |= {"composition_flag", "composition_unit_guess", "composition_unit_confidence"}
TEXT |= {"micrograph_name", "micrograph_flag", "specimen", "specimen_as_named", "spot", "sample"}
TEXT |= {"heat_treatment", "cooling", "constituents", "detector", "published_set", "condition"}
TEXT |= {"material"}
WHOLE = {"fold_morphology", "fold_iid", "fold_leave_paper_out", "fold_as_published", "horizon"}
WHOLE |= {"fold_specimen", "fold_spot", "fold_condition", "scan_rotation_deg"}
WHOLE |= {"periodic"}
ARRAYS = {"stiffness": (6, 6), "rotation": (3, 3), "context": (3, 64, 64), "target": (2, 64, 64)}
IMAGES = {"exemplar": (64, 64), "realisations": (4, 64, 64), "further": (2, 64, 64)}
OF_ONE_DATASET = {"exemplars": {"stiffness": (2,), "noise_distance": (5,), "overlap_limit": (2,)}}
"""Shapes of columns of arrays that other datasets do not have, or have in another shape."""
Spec = dict[str, Any]
Slip = Callable[[Spec], None]


PARAMETERS = {
    "mobility": (0.5, 2.0),
    "composition": (-0.3, 0.3),
    "gradient_energy": (0.7, 1.4),
    "start_grains": (60.0, 140.0),
    "anisotropy": (0.0, 0.5),
}


def stored(name: str, split: str, dataset: str) -> tuple[Any, dict[str, Any] | None]:
    """A column of a few rows and its feature, of the type of the released data."""
    if shape := OF_ONE_DATASET.get(dataset, {}).get(name):
        feature = {"feature": {"dtype": "float64", "_type": "Value"}, "_type": "List"}
        return array_column(np.full((ROWS, *shape), 0.9)), feature
    if name in IMAGES:
        images = np.zeros((ROWS, *IMAGES[name]), dtype=np.uint8)
        return array_column(images), array_feature(images)
    if name == "id":
        return [f"{split}-{row}" for row in range(ROWS)], None
    if name == "morphology":
        # A class of the board that names them.
        return ["disks", "spinodal"], None
    if dataset == "evolution" and name in PARAMETERS:
        # A row in a subset of either end.
        return list(PARAMETERS[name]), None
    if (dataset, name) == ("exemplars", "source"):
        # A subset of the board for each.
        return ["simulated", "photographed"], None
    if name in TEXT:
        return ["text"] * ROWS, None
    if name == "polarity":
        return ["stiff", "soft"], None
    if name in WHOLE:
        return np.arange(ROWS), None
    if name in ARRAYS:
        values = np.full((ROWS, *ARRAYS[name]), 1.0, dtype=np.float32)
        return array_column(values), array_feature(values)
    if name == "micrograph":
        pixels = np.zeros((2, 2), dtype=np.uint8)
        return image_column([pixels] * ROWS), {"_type": "Image"}
    if name == "mask":
        masks = np.zeros((ROWS, 2, 2), dtype=np.uint8)
        return array_column(masks), array_feature(masks)
    return np.full(ROWS, 50.0), None


def write_config(folder: Path, dataset: str, config: str, fingerprint: str) -> None:
    """A built config that says that it is the released one."""
    declared = CONTENT.dataset(dataset).configs[config]
    folder.mkdir(parents=True)
    written = []
    for split in declared.splits:
        columns = {name: stored(name, split, dataset) for name in declared.columns}
        features = {name: feature for name, (_, feature) in columns.items() if feature}
        table = pa.table({name: values for name, (values, _) in columns.items()})
        path = folder / f"{split}.parquet"
        pq.write_table(with_features(table, features), path)
        size, digest = path.stat().st_size, files.sha256_of(path)
        written.append(
            {"path": path.name, "sha256": digest, "rows": ROWS, "bytes": size, "split": split}
        )
    manifest = {"schema": 1, "name": dataset, "config": config, "version": 1, "parameters": {}}
    manifest |= {"files": written, "fingerprint": fingerprint, "built_with": {}}
    files.write_json(folder / "manifest.json", manifest)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hub folder with all configs that the benchmarks read."""
    home = tmp_path_factory.mktemp("hub")
    for spec in DECLARED.values():
        for track in spec["tracks"].values():
            folder = home / "datasets" / spec["dataset"] / track["config"]
            if not folder.exists():
                write_config(folder, spec["dataset"], track["config"], track["fingerprint"])
    return home


@pytest.fixture
def evaluate(
    built: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Spec], None]:
    """Runs a baseline on a benchmark as it is declared, up to the start of the model's process."""

    def no_model(*arguments: object, **options: object) -> None:
        pytest.fail("a model is run")

    monkeypatch.setattr("etchmark.evaluation.evaluate.watch", no_model)
    monkeypatch.setenv("ETCHMARK_HOME", str(built))

    def run(spec: Spec) -> None:
        root = tmp_path / "content"
        (root / "benchmarks").mkdir(parents=True)
        for kind in ("datasets", "baselines"):
            (root / kind).symlink_to(ROOT / kind)
        for other in set(BENCHMARKS) - {spec["id"]}:
            path = root / "benchmarks" / f"{other}.yaml"
            path.symlink_to(ROOT / "benchmarks" / path.name)
        # JSON is YAML, and is written faster.
        (root / "benchmarks" / f"{spec['id']}.yaml").write_text(json.dumps(spec), "utf-8")
        benchmark = load_benchmark(spec["id"], catalog=Catalog(root))
        for protocol in benchmark.spec.protocols:
            task = Task(benchmark.spec, next(iter(benchmark.spec.tracks)), protocol)
            run_model(MODEL, benchmark, task, tmp_path / "predictions.parquet")

    return run


# --- what is broken ----------------------------------------------------------------------------


def at(*keys: str, value: Any) -> Slip:
    """Puts a value at a path of keys; ``*`` stands for the first key there."""

    def slip(spec: Spec) -> None:
        inner = spec
        for key in keys[:-1]:
            inner = inner[next(iter(inner)) if key == "*" else key]
        inner[keys[-1]] = value

    return slip


def as_target(key: str, *above: str) -> Slip:
    """Names the target's column in another role."""

    def slip(spec: Spec) -> None:
        at(*above, key, value=spec["target"]["column"])(spec)

    return slip


def of_kind(kind: str, metric: str, **more: object) -> Slip:
    """Declares the target's column as one of another kind, with a metric of that kind."""

    def slip(spec: Spec) -> None:
        keys = ("column", "quantity", "symbol", "unit")
        kept = {key: spec["target"][key] for key in keys if key in spec["target"]}
        spec["target"] = {"kind": kind, "unit": "1", **kept, **more}
        spec["metrics"], spec["primary_metric"] = [metric], metric
        for key in ("bounds", "context_column", "horizon_column", "frames", "discretisation_error"):
            spec.pop(key, None)
        spec.pop("rank_limits", None)
        spec["reference_lines"] = []

    return slip


def text_column(spec: Spec) -> str:
    """A column of text that is no input."""
    tracks = spec["tracks"].values()
    config = CONTENT.dataset(spec["dataset"]).configs[next(iter(tracks))["config"]]
    inputs = {name for track in tracks for name in track["inputs"]}
    return next(name for name in config.columns if name in TEXT - inputs - {spec["unit_column"]})


def text_target(spec: Spec) -> None:
    spec["target"]["column"] = text_column(spec)


def subset(column: str, **condition: object) -> Slip:
    return at("subsets", value={"some": {"title": "some", "column": column, **condition}})


def fold(column: str) -> Slip:
    """Divides the data by a column: in the first protocol if it has folds, else in a new one."""

    def slip(spec: Spec) -> None:
        (protocol, *_), spec["reference_lines"] = spec["protocols"].values(), []
        texts = {"title": "folds", "description": "Folds.", "kind": "folds"}
        spec["protocols"] = {"folds": {**texts, "split": protocol["split"], "fold_column": column}}

    return slip


def input_is_target(spec: Spec) -> None:
    next(iter(spec["tracks"].values()))["inputs"].append(spec["target"]["column"])


def metric_of_another_kind(spec: Spec) -> str:
    return "mape" if spec["target"]["kind"] == "label" else "macro_f1"


CLASSES = {"classes": ["one", "two"]}
SLIPS: dict[str, Slip] = {
    "metric that does not exist": lambda spec: spec["metrics"].append("dicee"),
    "metric of another kind": lambda spec: spec["metrics"].append(metric_of_another_kind(spec)),
    "metric named twice": lambda spec: spec["metrics"].append(spec["metrics"][0]),
    "primary metric": lambda spec: spec.update(primary_metric=metric_of_another_kind(spec)),
    "target's column": at("target", "column", value="no-such-column"),
    "target's column of text": text_target,
    "target is the id": at("target", "column", value="id"),
    "target is an input": input_is_target,
    "input": at("tracks", "*", "inputs", value=["no-such-column"]),
    "kind that does not exist": at("target", "kind", value="grade"),
    "kind label": of_kind("label", "macro_f1", **CLASSES),
    "kind mask": of_kind("mask", "mean_iou", **CLASSES),
    "kind array": of_kind("array", "relative_error", shape=[5]),
    "unit column": at("unit_column", value="no-such-column"),
    "unit is the target": as_target("unit_column"),
    "subset's column": subset("no-such-column", above=1),
    "subset of text above a number": lambda spec: subset(text_column(spec), above=1)(spec),
    "subset without samples": subset("id", equals="no-such-sample"),
    "subset with two conditions": subset("id", equals="text", above=1),
    "split": at("protocols", "*", "split", value="no_such_split"),
    "extra split": at("protocols", "*", "extra_splits", value=["no_such_split"]),
    "fold column": fold("no-such-column"),
    "fold column of text": lambda spec: fold(text_column(spec))(spec),
    "fold column is the id": fold("id"),
    "fold column is the target": lambda spec: fold(spec["target"]["column"])(spec),
    "group column": at("protocols", "*", "group_column", value="no-such-column"),
    "group is the target": as_target("group_column", "protocols", "*"),
    "config": at("tracks", "*", "config", value="no-such-config"),
    "dataset": at("dataset", value="no-such-dataset"),
    "baseline": lambda spec: at(
        "baselines", "no-such-baseline", value={"track": next(iter(spec["tracks"]))}
    )(spec),
}
ONLY_SCALARS = {
    "kind frames": of_kind(
        "frames",
        "rmse",
        shape=[None, 64, 64],
        context_column="fraction",
        horizon_column="iterations",
        frames={"low": 0, "high": 1},
    ),
}
UNIT = {"unit": at("target", "unit", value="furlong")}


def cases() -> list[Any]:
    """Every slip that a benchmark's dataset allows."""
    params = []
    for name in BENCHMARKS:
        dataset, slips = CONTENT.dataset(DECLARED[name]["dataset"]), dict(SLIPS)
        if dataset.unit_of(DECLARED[name]["target"]["column"]):
            slips |= UNIT
        if DECLARED[name]["target"]["kind"] == "scalar":
            slips |= ONLY_SCALARS
        if DECLARED[name]["target"]["kind"] == "label":
            slips.pop("target's column of text")
        # To declare the kind that it is, is no slip; classes are text.
        slips.pop(f"kind {DECLARED[name]['target']['kind']}", None)
        params += [pytest.param(name, slip, id=f"{name}-{what}") for what, slip in slips.items()]
    return params


@pytest.mark.parametrize(("benchmark", "slip"), cases())
def test_a_slip_is_told_before_a_model_is_run(
    evaluate: Callable[[Spec], None], benchmark: str, slip: Slip
) -> None:
    spec = copy.deepcopy(DECLARED[benchmark])
    # Less to read: what is drawn and run on a board says nothing of its data.
    spec |= {"description": "None.", "baselines": {}, "reference_lines": [], "citations": []}
    spec.pop("gains_over", None)  # It names a baseline, and would be refused in place of the slip.
    slip(spec)
    with pytest.raises(UserError) as refused:
        evaluate(spec)
    assert f"{benchmark}.yaml: " in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("benchmark", BENCHMARKS)
def test_what_is_declared_fits_the_data(evaluate: Callable[[Spec], None], benchmark: str) -> None:
    """Nothing is wrong with a shipped benchmark but the labels of these data."""
    with pytest.raises(UserError, match=r"ids or labels on this machine .* are not the released"):
        evaluate(DECLARED[benchmark])
