"""Shared fixtures: a hub folder and content of their own, and the command line.

``home``            an empty hub folder, offline, no mirror
``reviewed``        the same, with the reviewed records taken in already
``toy_content``     content with a tiny synthetic dataset and two benchmarks, an empty board
``toy_samples``     the same where samples are the units: three sources tell nothing apart
``toy_volumes``     that and a benchmark of voxels, with bounds, subsets and a mini config
``toy_frames``      the toy and benchmarks of frames whose splits have their own lengths
``findings``        the script that writes the page of findings
``cli``             the command line in a process of its own
``command``         the command line in this process, which is much quicker
``name_baseline``   names a baseline in a benchmark of the toy content
``lying_table``     a per-sample table whose footer says less than reading it takes
``mirror``          the mirror of upstream files; skips where the session was started without one
"""

from __future__ import annotations

import importlib.util
import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
MIRROR = os.environ.get("ETCHMARK_MIRROR", "").strip()
NO_MIRROR = "ETCHMARK_MIRROR was not set when the tests were started; it names upstream's files"


# Modules whose fixtures build a config of a dataset, which every process would build again.
BUILDS = tuple(
    f"tests/datasets/test_{name}.py" for name in ("exemplars", "morphologies", "renderings")
)


@dataclass(frozen=True)
class Ran:
    """What a command left: exit status and output."""

    rc: int
    stdout: str
    stderr: str

    def refusal(self) -> str:
        """The one line by which the caller's mistake is told."""
        assert self.rc == 2, (self.rc, self.stdout, self.stderr)
        lines = self.stderr.splitlines()
        assert len(lines) == 1, self.stderr
        assert lines[0].startswith("error: "), self.stderr
        assert all(char.isprintable() for char in lines[0])
        return lines[0].removeprefix("error: ")

    def fine(self, *, outdated: bool = False) -> str:
        """The output of a command that did what was asked, without a word on stderr.

        A build that a busy machine slows down may say there how long it will still take, and the
        first command of a new hub that it takes in the reviewed records.

        Args:
            outdated: content of an older version may be warned of, too.
        """
        stderr = re.sub(
            r"^(\S+: .* samples took .*, so the remaining|note: taking \d+ reviewed records) .*\n",
            "",
            self.stderr,
            flags=re.M,
        )
        if outdated:
            stderr = re.sub(
                r"^warning: .* will be removed in the next release.*\n", "", stderr, flags=re.M
            )
        assert (self.rc, stderr) == (0, ""), (self.rc, self.stdout, self.stderr)
        return self.stdout


Command = Callable[..., Ran]


def use_content(monkeypatch: pytest.MonkeyPatch, root: Path) -> None:
    """Work with one content folder alone, without what this checkout holds."""
    monkeypatch.setenv("ETCHMARK_CONTENT", str(root))
    monkeypatch.setenv("ETCHMARK_CONTENT_ONLY", "1")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Tests are spread one by one, but those that share an expensive fixture stay together.

    The marker ``xdist_group`` does not: it has no effect with pytest 9.2 (pytest-xdist #1386).
    """
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            path, _, name = nodeid.partition("::")
            if path == "tests/test_wheel.py":  # It makes a wheel and an environment.
                return path
            if path in BUILDS:
                return path
            if path == "tests/datasets/test_tables.py":  # It builds the rows of each config.
                return name.partition("[")[2] or nodeid
            return nodeid

    return Scheduling(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if MIRROR:
        return
    for item in items:
        if item.get_closest_marker("mirror"):
            item.add_marker(pytest.mark.skip(reason=NO_MIRROR))


@pytest.fixture(scope="session", autouse=True)
def own_hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What asks for no hub folder uses one of this process, never the user's.

    Two processes of one test run would otherwise wait for each other's locks in it, or fail.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ETCHMARK_HOME", str(tmp_path_factory.mktemp("hub")))
        yield


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty hub folder; no other setting but offline is left from the environment.

    Models are run without the reference workload, which takes two seconds each time.
    """
    monkeypatch.setattr("etchmark.evaluation.reference.ROUNDS", 0)
    for name in [name for name in os.environ if name.startswith("ETCHMARK_")]:
        monkeypatch.delenv(name)
    folder = tmp_path / "home"
    monkeypatch.setenv("ETCHMARK_HOME", str(folder))
    monkeypatch.setenv("ETCHMARK_OFFLINE", "1")
    return folder


def script(name: str) -> ModuleType:
    """A Python file of the repository outside the package, as a module.

    Args:
        name: its path from the root, such as ``docs/make_costs.py``.
    """
    path = ROOT / name
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look up the module that they are defined in.
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def load_script() -> Callable[[str], ModuleType]:
    """Loads a Python file outside the package."""
    return script


@pytest.fixture(scope="session")
def read_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hub folder that has taken in the reviewed records, which takes ten seconds; copy it."""
    from etchmark.registry.store import Store

    folder = tmp_path_factory.mktemp("read-once")
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("ETCHMARK_")]:
            patch.delenv(name)
        patch.setenv("ETCHMARK_HOME", str(folder))
        Store()
    return folder


@pytest.fixture
def reviewed(home: Path, read_once: Path) -> Path:
    """A hub folder of its own that has taken in the reviewed records."""
    shutil.copytree(read_once, home, dirs_exist_ok=True)
    return home


@pytest.fixture
def findings(reviewed: Path) -> ModuleType:
    """The script that writes the findings, with an empty hub beside the reviewed records."""
    return script("docs/make_findings.py")


@pytest.fixture
def mirror(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The mirror that the session was started with, switched on."""
    if not MIRROR:
        pytest.skip(NO_MIRROR)
    monkeypatch.setenv("ETCHMARK_MIRROR", MIRROR)
    return Path(MIRROR)


@pytest.fixture
def cli(home: Path) -> Command:
    """Run ``etchmark`` in a process of its own, with the settings of the test.

    ``before`` is a program, with its arguments, that starts it.
    """

    def run(
        *arguments: str | Path,
        timeout: float = 60,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        before: Sequence[str] = (),
    ) -> Ran:
        done = subprocess.run(
            [*before, sys.executable, "-m", "etchmark", *map(str, arguments)],
            env={**os.environ, **(env or {})},
            cwd=cwd,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=timeout,
            check=False,
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def command(home: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run ``etchmark`` in this process."""
    from etchmark.commands.main import main

    def run(*arguments: str | Path) -> Ran:
        capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            main([str(argument) for argument in arguments])
        code = stopped.value.code
        assert code is None or isinstance(code, int)
        said = capsys.readouterr()
        return Ran(code or 0, str(said.out), str(said.err))

    return run


# --- the toy -----------------------------------------------------------------------------------

TOY_BUILD = '''
"""Builds the toy tables: y = 100 + 10 a + noise, from a generator with a seed."""

import json

import numpy as np
import pyarrow as pa

from etchmark.data.building import main


def build(context):
    sizes = {"train": 12, "test": 9, "hard": 6}
    fields = context.config == "fields-mini"
    generator = np.random.default_rng(context.parameters["seed"])
    splits = {}
    for split, rows in sizes.items():
        if fields and split == "hard":
            continue
        a = np.round(generator.normal(size=rows), 3)
        columns = {
            "id": [f"{split}-{row:02d}" for row in range(rows)],
            "a": a,
            "kind": [f"k{row % 2}" for row in range(rows)],
            "source": [f"{split}-p{row // 3}" for row in range(rows)],
            "fold": np.arange(rows) // 3,
        }
        noise = np.round(generator.normal(size=(rows, 6)), 3)
        if fields:
            values = (a[:, None] + noise).astype(np.float32).reshape(rows, 3, 2)
            columns["y"] = pa.array(values.tolist(), pa.list_(pa.list_(pa.float32())))
        else:
            columns["y"] = 100 + 10 * a + noise[:, 0]
        kinds = {"id": "string", "a": "float64", "kind": "string", "source": "string"}
        kinds |= {"fold": "int64", "y": "float64"}
        features = {name: {"dtype": kind, "_type": "Value"} for name, kind in kinds.items()}
        if fields:
            features["y"] = {"shape": [3, 2], "dtype": "float32", "_type": "Array2D"}
        meta = {"huggingface": json.dumps({"info": {"features": features}})}
        splits[split] = pa.table(columns).replace_schema_metadata(meta)
    return splits


if __name__ == "__main__":
    main(__file__)
'''
TOY_MODEL = '''
"""Predicts the mean of the training target."""

import numpy as np


class Mean:
    def fit(self, train, validation):
        self.mean = np.asarray(train.target, dtype=float).mean(axis=0)

    def predict(self, inputs):
        rows = len(inputs["a"])
        return np.broadcast_to(self.mean, (rows, 3, 2) if self.mean.ndim else (rows,))


def build(seed, device):
    return Mean()
'''
TOY_DATASET = {
    "schema": 1,
    "name": "toy",
    "version": 1,
    "title": "Toy: numbers made for tests",
    "summary": "A line with noise.",
    "licence": "CC0-1.0",
    "default_config": "scalar-mini",
    "label_columns": ["y"],
    "parameters": {"seed": 7},
    "configs": {
        "scalar-mini": {
            "title": "one number per sample",
            "description": "A line.",
            "splits": ["train", "test", "hard"],
            "rows": 27,
        },
        "fields-mini": {
            "title": "six numbers per sample",
            "description": "A small field.",
            "splits": ["train", "test"],
            "rows": 21,
        },
    },
}
TOY_HOLDOUT = {
    "title": "train, then test",
    "kind": "holdout",
    "description": "Fixed splits.",
    "split": "test",
    "train_split": "train",
    "group_column": "source",
}


def _toy_benchmark(name: str, config: str, **more: object) -> dict[str, object]:
    return {
        "schema": 1,
        "id": name,
        "version": 1,
        "title": f"The toy's {config}",
        "summary": "Find the line.",
        "description": "Find the line.",
        "dataset": "toy",
        "metrics": ["mae", "rmse", "mape", "r2"],
        "primary_metric": "mae",
        "licence": "CC0-1.0",
        "unit_column": "source",
        "unit_name": "source",
        "protocols": {"holdout": TOY_HOLDOUT},
        "baselines": {"toy_mean": {"track": "features", "role": "reference"}},
        **more,
    }


def write_yaml(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(value, sort_keys=False), encoding="utf-8")


def write_toy(root: Path, scratch: Path) -> None:
    """The toy's content below ``root``, its fingerprints taken from a build in ``scratch``."""
    from etchmark.catalog import Catalog
    from etchmark.columns import Columns
    from etchmark.data import building, packaging

    dataset = root / "datasets" / "toy"
    write_yaml(dataset / "dataset.yaml", TOY_DATASET)
    (dataset / "build.py").write_text(TOY_BUILD, encoding="utf-8")
    (root / "leaderboard" / "results").mkdir(parents=True)
    model = root / "baselines" / "toy_mean"
    model.mkdir(parents=True)
    (model / "model.py").write_text(TOY_MODEL, encoding="utf-8")
    card = {"schema": 1, "name": "toy_mean", "title": "Mean", "training_data": "none"}
    write_yaml(model / "card.yaml", card)
    prints: dict[str, tuple[str, str]] = {}
    for config in ("scalar-mini", "fields-mini"):
        made = building.build(
            Catalog(root), "toy", config, building.BuildOptions(out=scratch / config)
        )
        splits = [Columns([made.folder / file.path]) for file in made.manifest.files]
        target = packaging.target_fingerprint(
            [columns["id"] for columns in splits], [columns["y"] for columns in splits]
        )
        prints[config] = (made.manifest.fingerprint, target)

    def track(config: str, *inputs: str) -> dict[str, object]:
        fingerprint = prints[config][0]
        return {"title": config, "config": config, "inputs": [*inputs], "fingerprint": fingerprint}

    target = {"column": "y", "quantity": "height", "symbol": "y", "unit": "mm"}
    folds = {
        "title": "four folds",
        "kind": "folds",
        "description": "Folds of three.",
        "split": "train",
        "fold_column": "fold",
        "fold_statistics": True,
    }
    line = _toy_benchmark(
        "toy-line",
        "scalar-mini",
        target=target,
        target_fingerprint=prints["scalar-mini"][1],
        tracks={
            "features": track("scalar-mini", "a", "kind"),
            "kinds": track("scalar-mini", "kind"),
        },
        protocols={"holdout": {**TOY_HOLDOUT, "extra_splits": ["hard"]}, "folds": folds},
    )
    fields = _toy_benchmark(
        "toy-fields",
        "fields-mini",
        target={**target, "shape": [3, 2]},
        target_fingerprint=prints["fields-mini"][1],
        tracks={"features": track("fields-mini", "a", "kind")},
    )
    write_yaml(root / "benchmarks" / "toy-line.yaml", line)
    write_yaml(root / "benchmarks" / "toy-fields.yaml", fields)


@pytest.fixture(scope="session")
def _toy_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("toy") / "content"
    write_toy(root, tmp_path_factory.mktemp("toy-scratch"))
    return root


@pytest.fixture
def toy_content(
    _toy_template: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """Content to change at will: dataset ``toy``, benchmarks ``toy-line`` and ``toy-fields``.

    ``toy-line`` has a scalar target, two tracks (``features``, ``kinds``), a holdout protocol with
    splits ``train``, ``test`` and the extra split ``hard``, and four ``folds`` of ``train``.
    ``toy-fields`` has arrays of shape (3, 2) and a holdout alone.
    """
    root = tmp_path / "content"
    shutil.copytree(_toy_template, root)
    use_content(monkeypatch, root)
    return root


@pytest.fixture
def toy_samples(toy_content: Path) -> Path:
    """The toy content where samples, not the three sources, are the units of ``toy-line``."""
    path = toy_content / "benchmarks" / "toy-line.yaml"
    text = path.read_text("utf-8").replace("unit_column: source", "unit_column: id")
    path.write_text(text.replace("unit_name: source", "unit_name: sample"), "utf-8")
    return toy_content


@pytest.fixture
def name_baseline(home: Path) -> Callable[..., None]:
    """Names a baseline in a benchmark of the toy content, so that it runs there."""

    def write(
        model: str, benchmark: str = "toy-line", track: str = "features", **more: object
    ) -> None:
        path = Path(os.environ["ETCHMARK_CONTENT"]) / "benchmarks" / f"{benchmark}.yaml"
        spec = yaml.safe_load(path.read_text(encoding="utf-8"))
        spec["baselines"][model] = {"track": track, **more}
        write_yaml(path, spec)

    return write


@pytest.fixture
def toy_predictions(toy_content: Path, tmp_path: Path) -> Callable[..., Path]:
    """Writes a predictions file for ``toy-line``: target plus one, or a changed version of it."""
    from etchmark.data.loading import load_benchmark

    def write(
        name: str = "predictions.csv",
        splits: tuple[str, ...] = ("test",),
        change: Callable[[pa.Table], pa.Table] | None = None,
    ) -> Path:
        truths = [load_benchmark("toy-line").truth(split) for split in splits]
        ids = np.concatenate([truth.ids for truth in truths]).tolist()
        table = pa.table(
            {"id": ids, "prediction": np.concatenate([truth.target for truth in truths]) + 1.0}
        )
        frame = (change(table) if change else table).to_pandas()
        path = tmp_path / name
        frame.to_csv(path, index=False) if path.suffix == ".csv" else frame.to_parquet(path)
        return path

    return write


@pytest.fixture
def age() -> Callable[[Path, Path], None]:
    """Rewrites a record as the first version wrote it: schema 1, with percentile intervals."""
    from etchmark.registry.records import read_record
    from etchmark.scoring.refresh import with_intervals
    from etchmark.scoring.samples import from_table
    from etchmark.scoring.uncertainty import BOOTSTRAP

    def rewrite(path: Path, table: Path) -> None:
        record = read_record(path)
        scores = with_intervals(record.scores, from_table(pq.read_table(table)), BOOTSTRAP)
        value = record.model_copy(update={"scores": scores}).model_dump(mode="json", by_alias=True)
        for key in ("role", "flags", "interval_method", "artefact"):
            value.pop(key, None)
        path.write_text(json.dumps(value | {"schema": 1}, indent=2) + "\n", encoding="utf-8")

    return rewrite


def _zigzag(value: int) -> bytes:
    """A number as Thrift's compact protocol writes it."""
    value, out = value << 1, bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


@pytest.fixture
def lying_table() -> Callable[[pa.Table, int], bytes]:
    """Writes a per-sample table, small as a file, whose first unit has so many characters.

    Its footer says that it takes a single byte.
    """

    def write(table: pa.Table, size: int) -> bytes:
        column = table.column_names.index("unit")
        units = pa.array(["x" * size, *table["unit"].to_pylist()[1:]])
        sink = io.BytesIO()
        options = {"compression": "zstd", "use_dictionary": False, "write_statistics": False}
        pq.write_table(table.set_column(column, "unit", units), sink, **options)
        content = sink.getvalue()
        at = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
        group = pq.read_metadata(io.BytesIO(content)).row_group(0)
        footer = content[at:]
        for said in (group.total_byte_size, group.column(column).total_uncompressed_size):
            true = _zigzag(said)
            assert true in footer
            # As many bytes as before, so that everything else stays in its place.
            footer = footer.replace(true, bytes([0x82, *[0x80] * (len(true) - 2), 0]))
        return content[:at] + footer

    return write


# --- the toy of voxels -------------------------------------------------------------------------

VOLUMES_BUILD = '''
"""Builds the toy of voxels: y lies between bounds set by volume fraction and contrast."""

import json

import numpy as np
import pyarrow as pa

from etchmark.data.building import main


def build(context):
    many = 4 if context.config == "cells-full" else 1
    sizes = {"train": 8 * many, "validation": 2 * many, "test": 4 * many, "hard": 3 * many}
    generator = np.random.default_rng(context.parameters["seed"])
    splits = {}
    for split, rows in sizes.items():
        cells = (generator.random((rows, 3, 4, 5)) < 0.5).astype(np.uint8)
        slices = cells[:, 0]
        contrast = np.where(np.arange(rows) % 2, 50.0, 5.0)
        fraction = cells.mean(axis=(1, 2, 3))
        upper = 1 + fraction * (contrast - 1)
        lower = 1 / (1 - fraction + fraction / contrast)
        columns = {
            "id": [f"{split}-{row:02d}" for row in range(rows)],
            "cell": pa.array(cells.tolist(), pa.list_(pa.list_(pa.list_(pa.uint8())))),
            "slice": pa.array(slices.tolist(), pa.list_(pa.list_(pa.uint8()))),
            "contrast": contrast,
            "morphology": ["grains" if row % 4 < 2 else "fibres" for row in range(rows)],
            "lower": lower,
            "upper": upper,
            "fold": np.arange(rows) % 4,
            "y": np.round((lower + upper) / 2, 6),
        }
        kinds = {"id": "string", "contrast": "float64", "morphology": "string"}
        kinds |= {"lower": "float64", "upper": "float64", "fold": "int64", "y": "float64"}
        features = {name: {"dtype": kind, "_type": "Value"} for name, kind in kinds.items()}
        features["cell"] = {"shape": [3, 4, 5], "dtype": "uint8", "_type": "Array3D"}
        features["slice"] = {"shape": [4, 5], "dtype": "uint8", "_type": "Array2D"}
        meta = {"huggingface": json.dumps({"info": {"features": features}})}
        splits[split] = pa.table(columns).replace_schema_metadata(meta)
    return splits


if __name__ == "__main__":
    main(__file__)
'''
VOLUMES_MODEL = '''
"""Predicts the mean of the bounds from the volume fraction, or what lies above them."""

import numpy as np


class Between:
    def __init__(self, factor):
        self.factor = factor

    def fit(self, train, validation):
        assert train.inputs["cell"].dtype == np.uint8
        assert train.inputs["cell"].shape[1:] == (3, 4, 5)
        assert train.inputs["slice"].shape[1:] == (4, 5)

    def predict(self, inputs):
        fraction = inputs["cell"].mean(axis=(1, 2, 3))
        contrast = inputs["contrast"]
        upper = 1 + fraction * (contrast - 1)
        lower = 1 / (1 - fraction + fraction / contrast)
        return self.factor * (lower + upper) / 2


def build(seed, device, factor=1.01):
    return Between(factor)
'''
VOLUMES_CONFIG = {
    "title": "cells of voxels",
    "description": "Random cells.",
    "splits": ["train", "validation", "test", "hard"],
}


def write_volumes(root: Path, scratch: Path) -> None:
    """Dataset ``voxels`` and benchmark ``toy-volumes`` below ``root``."""
    from etchmark.catalog import Catalog
    from etchmark.columns import Columns
    from etchmark.data import building, packaging

    dataset = root / "datasets" / "voxels"
    spec = {
        **TOY_DATASET,
        "name": "voxels",
        "default_config": "cells-mini",
        "configs": {
            "cells-mini": {**VOLUMES_CONFIG, "rows": 17},
            "cells-full": {**VOLUMES_CONFIG, "rows": 68},
        },
    }
    write_yaml(dataset / "dataset.yaml", spec)
    (dataset / "build.py").write_text(VOLUMES_BUILD, encoding="utf-8")
    made = building.build(
        Catalog(root), "voxels", "cells-full", building.BuildOptions(out=scratch / "cells-full")
    )
    model = root / "baselines" / "between"
    model.mkdir(parents=True)
    (model / "model.py").write_text(VOLUMES_MODEL, encoding="utf-8")
    card = {"schema": 1, "name": "between", "title": "Between", "training_data": "none"}
    variants = {"near": {"title": "near"}, "above": {"title": "above", "params": {"factor": 9.0}}}
    write_yaml(model / "card.yaml", {**card, "variants": variants})
    files = {file.split: made.folder / file.path for file in made.manifest.files}
    splits = [Columns([files[name]]) for name in VOLUMES_CONFIG["splits"]]
    holdout = {
        "title": "train, then test",
        "kind": "holdout",
        "description": "Fixed splits.",
        "split": "test",
        "train_split": "train",
        "validation_split": "validation",
        "extra_splits": ["hard"],
    }
    folds = {
        "title": "four folds",
        "kind": "folds",
        "description": "Folds.",
        "split": "train",
        "fold_column": "fold",
    }
    track = {
        "title": "volumes",
        "config": "cells-full",
        "inputs": ["cell", "slice", "contrast"],
        "fingerprint": made.manifest.fingerprint,
    }
    benchmark = _toy_benchmark(
        "toy-volumes",
        "cells",
        dataset="voxels",
        unit_column="id",
        unit_name="sample",
        target={"column": "y", "quantity": "stiffness", "symbol": "C", "unit": "GPa"},
        target_fingerprint=packaging.target_fingerprint(
            [columns["id"] for columns in splits], [columns["y"] for columns in splits]
        ),
        tracks={"volumes": track},
        baselines={"between": {"track": "volumes"}},
        protocols={"holdout": holdout, "folds": folds},
        metrics=["mape", "r2", "bound_violations"],
        primary_metric="mape",
        bounds={"lower": "lower", "upper": "upper", "title": "Voigt and Reuss"},
        subsets={
            "high-contrast": {"title": "contrast above 20", "column": "contrast", "above": 20},
            "grains": {"title": "grains alone", "column": "morphology", "equals": "grains"},
        },
        discretisation_error={
            "metric": "mape",
            "value": 2.5,
            "split": "test",
            "description": "Discretisation of the solver.",
        },
        reference_lines=[
            {
                "label": "published network",
                "value": 3.0,
                "metric": "mape",
                "split": "test",
                "source": {"title": "Paper (2020)", "doi": "10.1000/x"},
                "note": "on other volumes: quoted, not ranked",
            }
        ],
    )
    write_yaml(root / "benchmarks" / "toy-volumes.yaml", benchmark)


@pytest.fixture(scope="session")
def _volumes_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("volumes") / "content"
    write_volumes(root, tmp_path_factory.mktemp("volumes-scratch"))
    return root


@pytest.fixture
def toy_volumes(_volumes_template: Path, toy_content: Path) -> Path:
    """The toy's content with dataset ``voxels`` and benchmark ``toy-volumes`` beside it.

    Scalar target between bounds, arrays of voxels as inputs, two subsets, configs ``cells-full``
    and ``cells-mini``; a holdout with validation and the extra split ``hard``, and four folds.
    """
    shutil.copytree(_volumes_template, toy_content, dirs_exist_ok=True)
    return toy_content


# --- the toy of frames -------------------------------------------------------------------------

FRAMES_BUILD = '''
"""Builds the toy of frames: waves that move by one row from frame to frame."""

import numpy as np
import pyarrow as pa

from etchmark.data.building import main
from etchmark.columns import array_column, with_features

SEEN, N = 3, 8


def build(context):
    sizes = {"train": (6, 4), "validation": (2, 4), "test": (5, 6), "long": (3, 9)}
    generator = np.random.default_rng(context.parameters["seed"])
    splits = {}
    for split, (rows, horizon) in sizes.items():
        start = generator.random((rows, N, N)) * 0.8 + 0.1
        frames = [np.roll(start, step, axis=1) for step in range(SEEN + horizon)]
        frames = np.stack(frames, axis=1).astype(np.float16)
        columns = {
            "id": [f"{split}-{row:02d}" for row in range(rows)],
            "seen": array_column(frames[:, :SEEN]),
            "next": array_column(frames[:, SEEN:]),
            "horizon": np.full(rows, horizon, dtype=np.int32),
            "kappa": np.linspace(0.5, 50.0, rows),
        }
        features = {
            "seen": {"shape": [SEEN, N, N], "dtype": "float16", "_type": "Array3D"},
            "next": {"shape": [None, N, N], "dtype": "float16", "_type": "Array3D"},
        }
        splits[split] = with_features(pa.table(columns), features)
    return splits


if __name__ == "__main__":
    main(__file__)
'''
FRAMES_MODEL = '''
"""Repeats the last frame that is given, plus ``offset``."""

import numpy as np


class Last:
    def __init__(self, offset, seed):
        self.offset = offset + seed / 8

    def fit(self, train, validation):
        assert train.target.shape == (6, 4, 8, 8)
        assert train.target.dtype == np.float16
        assert validation.target.shape == (2, 4, 8, 8)

    def predict(self, inputs):
        last, horizon = inputs["seen"][:, -1:], int(inputs["horizon"].max())
        return np.repeat(last.astype(np.float32) + self.offset, horizon, axis=1)


def build(seed, device, offset=0.0):
    return Last(offset, seed)
'''


def write_frames(root: Path, scratch: Path) -> None:
    """The toy of frames below ``root``, its fingerprints taken from a build in ``scratch``."""
    from etchmark.catalog import Catalog
    from etchmark.columns import Columns
    from etchmark.data import building, fingerprint

    sizes = {"train": 6, "validation": 2, "test": 5, "long": 3}
    config = {"title": "waves", "description": "Waves.", "splits": [*sizes], "rows": 16}
    dataset = root / "datasets" / "waves"
    spec = {"name": "waves", "default_config": "waves-full", "configs": {"waves-full": config}}
    write_yaml(dataset / "dataset.yaml", {**TOY_DATASET, **spec, "label_columns": ["horizon"]})
    (dataset / "build.py").write_text(FRAMES_BUILD, encoding="utf-8")
    model = root / "baselines" / "toy_last"
    model.mkdir(parents=True)
    (model / "model.py").write_text(FRAMES_MODEL, encoding="utf-8")
    names = ("toy-waves", "toy-waves-2")
    card = {"schema": 1, "name": "toy_last", "title": "Last", "training_data": "none"}
    write_yaml(model / "card.yaml", card)
    made = building.build(
        Catalog(root), "waves", "waves-full", building.BuildOptions(out=scratch / "waves")
    )
    splits = {
        file.split: Columns([made.folder / file.path], ["id", "next"])
        for file in made.manifest.files
    }
    target = {"column": "next", "quantity": "height", "symbol": "y", "unit": "1"}
    for name, more in zip(names, ({}, {"first": 2}), strict=True):
        track = {"title": "all", "config": "waves-full", "inputs": ["seen", "horizon"]}
        spec = _toy_benchmark(
            name,
            "waves",
            dataset="waves",
            unit_column="id",
            unit_name="wave",
            target={**target, "shape": [None, 8, 8], **more},
            target_fingerprint=fingerprint.of_splits(splits),
            tracks={"frames": {**track, "fingerprint": made.manifest.fingerprint}},
            protocols={
                "holdout": {
                    **{key: value for key, value in TOY_HOLDOUT.items() if key != "group_column"},
                    "validation_split": "validation",
                    "extra_splits": ["long"],
                }
            },
            baselines={"toy_last": {"track": "frames", "role": "reference"}},
            metrics=["rmse", "mae", "ssim", "composition_drift", "energy_rises", "out_of_range"],
            primary_metric="rmse",
            context_column="seen",
            horizon_column="horizon",
            frames={
                "low": -0.03,
                "high": 1.03,
                "energy": {
                    "coefficients": [0.0, 0.0, 1.0],
                    "gradient_energy": 1.0,
                    "tolerance": 1e-3,
                },
            },
        )
        write_yaml(root / "benchmarks" / f"{name}.yaml", spec)


@pytest.fixture(scope="session")
def _frames_template(_toy_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("frames") / "content"
    shutil.copytree(_toy_template, root)
    write_frames(root, tmp_path_factory.mktemp("frames-scratch"))
    return root


@pytest.fixture
def toy_frames(
    _frames_template: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """Content to change at will: the toy, and dataset ``waves`` of frames of 8².

    ``toy-waves`` asks for 6 frames on ``test`` and 9 on the extra split ``long`` after 3 that are
    given; ``toy-waves-2`` for two on either. Baseline ``toy_last`` repeats the last one.
    """
    root = tmp_path / "frames-content"
    shutil.copytree(_frames_template, root)
    use_content(monkeypatch, root)
    return root
