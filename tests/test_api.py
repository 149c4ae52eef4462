"""The Python door: tables in memory are held to what a file is held to, and nothing is guessed."""

from __future__ import annotations

import datetime
import decimal
import math
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import etchmark
from etchmark.data.loading import Benchmark, load_benchmark

# Not all warnings: Python 3.13 also warns of connections that the garbage collector closes.
pytestmark = [
    pytest.mark.filterwarnings(f"error::{category}")
    for category in ("RuntimeWarning", "UserWarning", "FutureWarning", "DeprecationWarning")
]


@pytest.fixture
def line(toy_content: Path) -> Benchmark:
    return load_benchmark("toy-line")


@pytest.fixture
def fields(toy_content: Path) -> Benchmark:
    return load_benchmark("toy-fields")


@pytest.fixture
def waves(toy_frames: Path) -> Benchmark:
    return load_benchmark("toy-waves")


def near(benchmark: Benchmark) -> tuple[list[str], np.ndarray]:
    """Ids of the headline split and predictions near its labels."""
    truth = benchmark.truth("test")
    if not benchmark.kind.streamed:
        return truth.ids.tolist(), truth.values + truth.values.dtype.type(0.5)
    return truth.ids.tolist(), (truth.values + np.float16(0.05)).astype(np.float32)


def objects(ids: Sequence[str], cells: Sequence[Any]) -> pd.DataFrame:
    """A frame whose predictions are kept as the objects they are."""
    column = np.empty(len(cells), dtype=object)
    for row, cell in enumerate(cells):
        column[row] = cell
    return pd.DataFrame({"id": ids, "prediction": pd.Series(column, dtype=object)})


def score(given: object, benchmark: Benchmark) -> dict[str, float]:
    headline = etchmark.score(given, benchmark, protocol="holdout")[0]
    return {name: one.value for name, one in headline.metrics.items()}


def refusal(given: object, benchmark: Benchmark) -> str:
    """The one line by which ``score`` and ``submit`` refuse; no warning goes before it."""
    with pytest.raises(etchmark.UserError) as refused:
        etchmark.score(given, benchmark, protocol="holdout")
    line = str(refused.value)
    assert tempfile.gettempdir() not in line, line
    track = next(iter(benchmark.spec.tracks))
    with pytest.raises(etchmark.UserError) as again:
        etchmark.submit(given, benchmark, name="x", protocol="holdout", track=track)
    assert str(again.value) == line
    return line


# --- what is a table ---------------------------------------------------------------------------


class Interchange:
    """A table of a library that knows nothing but ``__dataframe__``."""

    def __init__(self, table: pa.Table) -> None:
        self.table = table

    def __dataframe__(self, nan_as_null: bool = False, allow_copy: bool = True) -> Any:
        return self.table.__dataframe__(nan_as_null, allow_copy)


class Stream:
    """A table of a library that knows nothing but the Arrow stream."""

    def __init__(self, table: pa.Table) -> None:
        self.table = table

    def __arrow_c_stream__(self, requested_schema: object = None) -> Any:
        return self.table.__arrow_c_stream__(requested_schema)


class Batch:
    """The same of one Arrow array."""

    def __init__(self, table: pa.Table) -> None:
        self.batch = table.to_batches()[0]

    def __arrow_c_array__(self, requested_schema: object = None) -> Any:
        return self.batch.__arrow_c_array__(requested_schema)


class Broken:
    def __arrow_c_stream__(self, requested_schema: object = None) -> Any:
        raise RuntimeError("the connection\nis closed")


class Frame(pd.DataFrame):
    @property
    def _constructor(self) -> type[Frame]:
        return Frame


def polars_frame(table: pa.Table) -> Any:
    return pytest.importorskip("polars").from_arrow(table)


TABLES: dict[str, Callable[[pa.Table], object]] = {
    "pandas": lambda table: table.to_pandas(),
    "a subclass": lambda table: Frame(table.to_pandas()),
    "polars": polars_frame,
    "arrow": lambda table: table,
    "arrow reader": lambda table: table.to_reader(),
    "arrow batch": Batch,
    "arrow stream": Stream,
    "interchange": Interchange,
    "ids in the index": lambda table: table.to_pandas().set_index("id"),
    "nullable": lambda table: table.to_pandas().convert_dtypes(),
    "arrow types in pandas": lambda table: table.to_pandas(types_mapper=pd.ArrowDtype),
    "ids as categories": lambda table: table.to_pandas().astype({"id": "category"}),
    "single precision": lambda table: table.to_pandas().astype({"prediction": "float32"}),
    "extended precision": lambda table: table.to_pandas().astype({"prediction": np.longdouble}),
    "a number in an array": lambda table: objects(
        table["id"].to_pylist(), [np.array(value) for value in table["prediction"].to_pylist()]
    ),
}


@pytest.mark.parametrize("form", TABLES)
def test_tables_of_numbers(line: Benchmark, form: str) -> None:
    ids, values = near(line)
    given = TABLES[form](pa.table({"id": ids, "prediction": values}))
    # Single precision has seven digits, of which two stand before the point.
    assert score(given, line)["mae"] == pytest.approx(0.5, rel=1e-5)
    if form != "arrow reader":
        record = etchmark.submit(given, line, name="x", protocol="holdout", track="features")
        assert record.scores[0].metrics["mae"].value == pytest.approx(0.5, rel=1e-5)


def tensors(values: np.ndarray) -> list[Any]:
    torch = pytest.importorskip("torch")
    return [torch.tensor(value, requires_grad=True) for value in values]


ARRAYS: dict[str, Callable[[list[str], np.ndarray], object]] = {
    "arrays": lambda ids, values: objects(ids, [*values]),
    "flat arrays": lambda ids, values: objects(ids, [value.ravel() for value in values]),
    "lists": lambda ids, values: objects(ids, values.tolist()),
    "tensors": lambda ids, values: objects(ids, tensors(values)),
    "arrow lists": lambda ids, values: pa.table({"id": ids, "prediction": values.tolist()}),
    "arrow tensors": lambda ids, values: pa.table(
        {"id": ids, "prediction": pa.FixedShapeTensorArray.from_numpy_ndarray(values)}
    ),
    "arrays of arrays": lambda ids, values: pa.table(
        {"id": ids, "prediction": values.tolist()}
    ).to_pandas(),
    "polars": lambda ids, values: polars_frame(
        pa.table({"id": ids, "prediction": values.tolist()})
    ),
}


@pytest.mark.parametrize("form", ARRAYS)
@pytest.mark.parametrize("name", ["toy-fields", "toy-waves"])
def test_tables_of_arrays(toy_frames: Path, name: str, form: str) -> None:
    benchmark = load_benchmark(name)
    ids, values = near(benchmark)
    expected = 0.5 if name == "toy-fields" else 0.05
    given = ARRAYS[form](ids, np.ascontiguousarray(values))
    assert score(given, benchmark)["mae"] == pytest.approx(expected, rel=2e-3)


def test_a_table_says_what_it_is_for(line: Benchmark, tmp_path: Path) -> None:
    """Metadata of an Arrow table count as those of the file it was read from."""
    ids, values = near(line)
    table = pa.table({"id": ids, "prediction": values})
    said = {"etchmark.benchmark": "toy-line@1", "etchmark.protocol": "folds"}
    table = table.replace_schema_metadata(said)
    assert "the file says protocol 'folds'" in refusal(table, line)
    pq.write_table(table, tmp_path / "p.parquet")
    with pytest.raises(etchmark.UserError, match="the file says protocol 'folds'"):
        etchmark.score(tmp_path / "p.parquet", line, protocol="holdout")


def endless() -> pa.RecordBatchReader:
    schema = pa.schema([("id", pa.string()), ("prediction", pa.float64())])

    def batches() -> Any:
        while True:
            yield pa.record_batch({"id": ["a"] * 1000, "prediction": [1.0] * 1000}, schema)

    return pa.RecordBatchReader.from_batches(schema, batches())


NO_TABLES: list[tuple[Callable[[], object], str]] = [
    (lambda: {"id": ["test-00"], "prediction": [1.0]}, "predictions of type dict: are not a table"),
    (lambda: np.zeros((9, 2)), "predictions of type numpy.ndarray: are not a table"),
    (lambda: [("test-00", 1.0)], "predictions of type list: are not a table"),
    (lambda: None, "predictions of type NoneType: are not a table"),
    (lambda: b"p.parquet", "predictions of type bytes: are not a table"),
    (lambda: (row for row in [1]), "predictions of type generator: are not a table"),
    (lambda: pd.Series([1.0]), "type pandas.Series: cannot be read as a table"),
    (lambda: pa.chunked_array([[1.0]]), "type pyarrow.ChunkedArray: cannot be read as a table"),
    (Broken, "cannot be read as a table (the connection is closed)"),
    (endless, "has more rows than 27 samples × 100 seeds"),
    (lambda: "a\0b.parquet", "embedded null"),
    (lambda: "\ud800.parquet", "cannot be read ("),
]


@pytest.mark.timeout(60)
@pytest.mark.parametrize(("make", "message"), NO_TABLES, ids=[said for _, said in NO_TABLES])
def test_what_is_no_table(line: Benchmark, make: Callable[[], object], message: str) -> None:
    for use in (etchmark.score, lambda *args, **more: etchmark.submit(*args, name="x", **more)):
        with pytest.raises(etchmark.UserError) as refused:
            use(make(), line, protocol="holdout")
        assert message in str(refused.value)
        assert "; " in str(refused.value)


def test_a_lazy_table(line: Benchmark) -> None:
    polars = pytest.importorskip("polars")
    assert refusal(polars.LazyFrame({"id": ["a"]}), line).endswith("; collect() it first")


# --- numbers -----------------------------------------------------------------------------------

ENDLESS: list[Any] = []
ENDLESS.append(ENDLESS)
MASKED = np.ma.masked_array(np.ones((3, 2)), mask=[[1, 0], [0, 0], [0, 0]])
ODD_NUMBERS: list[tuple[str, Any, str]] = [
    ("toy-line", True, "holds truth values"),
    ("toy-line", np.bool_(True), "holds truth values"),
    ("toy-line", 100 + 1j, "holds complex numbers"),
    ("toy-line", "100.5", "holds text ('100.5')"),
    ("toy-line", decimal.Decimal("1.5"), "holds a decimal.Decimal"),
    ("toy-line", pd.Timestamp("2020-01-01"), "holds a pandas.Timestamp"),
    ("toy-line", {"a": 1}, "holds a dict"),
    ("toy-line", 10**400, "holds an integer beyond double precision"),
    ("toy-line", np.longdouble("1e4000"), "is too large for float64"),
    ("toy-line", [100.0], "has shape (1,), not one number"),
    ("toy-line", None, "has 1 empty cell (ids 'test-00')"),
    ("toy-line", pd.NA, "has 1 empty cell (ids 'test-00')"),
    ("toy-line", pd.NaT, "has 1 empty cell (ids 'test-00')"),
    ("toy-line", np.ma.masked, "has 1 empty cell (ids 'test-00')"),
    ("toy-line", math.nan, "1 prediction is not finite (ids 'test-00')"),
    ("toy-fields", np.ones((2, 3)), "has shape (2, 3), not (3, 2)"),
    ("toy-fields", np.ones((3, 2, 1)), "has shape (3, 2, 1), not (3, 2)"),
    ("toy-fields", np.ones((0, 2)), "has shape (0, 2), not (3, 2)"),
    ("toy-fields", np.ones(5), "has shape (5,), not (3, 2)"),
    ("toy-fields", 1.0, "is one number, not (3, 2)"),
    ("toy-fields", np.ones((3, 2)) + 1j, "holds complex numbers"),
    ("toy-fields", np.ones((3, 2), dtype=bool), "holds truth values"),
    ("toy-fields", [[True, 1.0], [1.0, 1.0], [1.0, 1.0]], "holds truth values"),
    ("toy-fields", [np.ones(2, bool), np.ones(2), np.ones(2)], "holds truth values"),
    ("toy-fields", [[1.0, 2.0], [3.0]], "holds lists of different lengths"),
    ("toy-fields", [[1.0, None], [1.0, 1.0], [1.0, 1.0]], "1 empty cell (ids 'test-00')"),
    ("toy-fields", ENDLESS, "holds a list that cannot be an array"),
    ("toy-fields", MASKED, "has 1 empty cell (ids 'test-00')"),
    ("toy-fields", [*MASKED], "has 1 empty cell (ids 'test-00')"),
    ("toy-fields", np.full((3, 2), 1e39), "is too large for float32"),
    ("toy-fields", np.full((3, 2), np.inf, np.float16), "is not finite (ids 'test-00')"),
]


@pytest.mark.parametrize(("name", "cell", "message"), ODD_NUMBERS)
def test_one_prediction_that_is_no_number(
    toy_content: Path, name: str, cell: Any, message: str
) -> None:
    benchmark = load_benchmark(name)
    ids, values = near(benchmark)
    line = refusal(objects(ids, [cell, *values[1:]]), benchmark)
    assert message in line
    assert line.startswith("predictions frame: ")


def test_axes_in_another_order(toy_frames: Path) -> None:
    for name in ("toy-fields", "toy-waves"):
        benchmark = load_benchmark(name)
        ids, values = near(benchmark)
        turned = np.ascontiguousarray(np.moveaxis(values, 1, -1))
        for make in (ARRAYS["arrays"], ARRAYS["arrow lists"], ARRAYS["polars"]):
            said = refusal(make(ids, turned), benchmark)
            assert f"has shape {turned.shape[1:]}, not {values.shape[1:]}" in said


COLUMNS: list[tuple[Callable[[np.ndarray], Any], str]] = [
    (lambda values: values > 100, "holds truth values"),
    (lambda values: values + 1j, "holds complex numbers"),
    (lambda values: values.astype(str), "holds text ('"),
    (lambda values: pd.array([True] * 9, dtype="boolean"), "holds truth values"),
    (lambda values: pd.array([None, *values[1:]], dtype="Float64"), "has 1 empty cell"),
    (lambda values: pd.Categorical(values), "holds category, not numbers"),
    (lambda values: pd.date_range("2020", periods=9), "holds a pandas.Timestamp"),
    (lambda values: pd.to_timedelta(values, unit="s"), "holds a pandas.Timedelta"),
    (lambda values: pd.period_range("2020", periods=9, freq="D"), "holds a pandas.Period"),
    (lambda values: np.full(9, 1.7e308), "mae of split 'test' is not finite"),
    (lambda values: np.resize([1.7e308, -1.7e308], 9), "mae of split 'test' is not finite"),
]


@pytest.mark.parametrize(("change", "message"), COLUMNS)
def test_a_column_that_holds_no_numbers(
    line: Benchmark, change: Callable[[np.ndarray], Any], message: str
) -> None:
    ids, values = near(line)
    assert message in refusal(pd.DataFrame({"id": ids, "prediction": change(values)}), line)


ARROW_COLUMNS: list[tuple[str, Any, str]] = [
    ("toy-line", pa.array([True] * 9), "prediction holds bool, not numbers"),
    ("toy-line", pa.array([decimal.Decimal("1.5")] * 9), "decimal128(2, 1), not numbers; convert"),
    ("toy-line", pa.array([datetime.date(2020, 1, 1)] * 9), "holds date32[day], not numbers"),
    ("toy-line", pa.array(["1.5"] * 9), "prediction holds string, not numbers"),
    ("toy-line", pa.array([None, *[1.0] * 8]), "column 'prediction' has 1 empty cell"),
    ("toy-fields", pa.array([[[True] * 2] * 3] * 9), "holds lists of bool"),
    ("toy-fields", pa.array([[[1.0, None]] * 3] * 9), "has 9 empty cells"),
    ("toy-fields", pa.array([[[1.0], [1.0, 2.0]]] * 9), "holds lists of different lengths"),
    ("toy-fields", pa.array([[1.0] * 5] * 9), "has shape (5,), not (3, 2)"),
]


@pytest.mark.parametrize(("name", "column", "message"), ARROW_COLUMNS)
def test_an_arrow_column_that_holds_no_numbers(
    toy_content: Path, name: str, column: pa.Array, message: str
) -> None:
    benchmark = load_benchmark(name)
    ids, _ = near(benchmark)
    assert message in refusal(pa.table({"id": ids, "prediction": column}), benchmark)


# --- seeds and ids -----------------------------------------------------------------------------

SEEDS: list[tuple[Any, str]] = [
    ([math.nan] + [1.0] * 8, "column 'seed' has 1 empty cell"),
    (pd.array([None] + [1] * 8, dtype="Int64"), "column 'seed' has 1 empty cell"),
    ([1.5] * 9, "seed holds float 1.5, not integers"),
    ([True] * 9, "seed holds bool True, not integers"),
    (["1"] * 9, "seed holds str 1, not integers"),
    (np.full(9, 2**63, dtype=np.uint64), "seed 9223372036854775808 does not fit"),
    (pd.Series([-(2**70)] * 9, dtype=object), "seed -1180591620717411303424 does not fit"),
]


@pytest.mark.parametrize(("seeds", "message"), SEEDS)
def test_seeds_that_are_no_integers(line: Benchmark, seeds: Any, message: str) -> None:
    ids, values = near(line)
    frame = pd.DataFrame({"id": ids, "prediction": values, "seed": seeds})
    assert message in refusal(frame, line)


def test_seeds_of_any_width(line: Benchmark) -> None:
    ids, values = near(line)
    for kind in ("uint8", "int64", "Int64", "int32[pyarrow]", "object"):
        seeds = pd.Series([7] * 9, dtype=kind)
        frame = pd.DataFrame({"id": ids, "prediction": values, "seed": seeds})
        assert score(frame, line)["mae"] == pytest.approx(0.5)
        assert score(frame.set_index(["id", "seed"]), line)["mae"] == pytest.approx(0.5)


IDS: list[tuple[Callable[[list[str]], Any], str]] = [
    (lambda ids: [pd.NA, *ids[1:]], "column 'id' has 1 empty cell"),
    (lambda ids: [math.nan, *ids[1:]], "column 'id' has 1 empty cell"),
    (lambda ids: [name.encode() for name in ids], "id holds bytes, not text"),
    (lambda ids: range(9), "id holds int, not text"),
    (lambda ids: pd.Series([1, *ids[1:]], dtype=object), "id holds int, not text"),
    (lambda ids: pd.Series(["\ud800", *ids[1:]], dtype=object), "not valid Unicode text"),
    (lambda ids: ["x" * 1_000_000, *ids[1:]], "holds an id of 1,000,000 characters"),
    (lambda ids: [f"{name} " for name in ids], "9 match without the spaces around them"),
    (lambda ids: [ids[0].upper(), *ids[1:]], "1 matches in another case"),
    (lambda ids: [f"{name}\u200b" for name in ids], "9 match in another spelling"),
    (lambda ids: [name.replace("-", "\u2010") for name in ids], "9 match in another spelling"),
]


@pytest.mark.parametrize(("change", "message"), IDS)
def test_ids_that_are_not_those_asked_for(
    line: Benchmark, change: Callable[[list[str]], Any], message: str
) -> None:
    ids, values = near(line)
    assert message in refusal(pd.DataFrame({"id": change(ids), "prediction": values}), line)


def test_an_empty_cell_within_a_dictionary(line: Benchmark) -> None:
    ids, values = near(line)
    names = pa.DictionaryArray.from_arrays(pa.array(range(9)), pa.array([None, *ids[1:]]))
    table = pa.table({"id": names, "prediction": values})
    assert "column 'id' has 1 empty cell" in refusal(table, line)


def test_columns(line: Benchmark) -> None:
    ids, values = near(line)
    frame = pd.DataFrame({"id": ids, "prediction": values})
    cases = [
        (pd.concat([frame, frame[["prediction"]]], axis=1), "has 2 columns named 'prediction'"),
        (frame.set_axis(pd.MultiIndex.from_tuples([("id", ""), ("prediction", "")]), axis=1),
         "has no column named 'id'"),
        (frame.assign(target=1.0), "has unknown columns 'target'"),
        (frame.rename(columns=str.upper), "write the names in lower case"),
        (pd.DataFrame(), "has no column named 'id' (columns: none)"),
    ]  # fmt: skip
    for given, message in cases:
        assert message in refusal(given, line)


@pytest.mark.parametrize("name", ["toy-line", "toy-fields", "toy-waves"])
def test_no_rows(toy_frames: Path, name: str) -> None:
    benchmark = load_benchmark(name)
    empty = pd.DataFrame({"id": [], "prediction": []})
    for given in (empty, pa.Table.from_pandas(empty), pa.table({"id": [], "prediction": []})):
        assert "predictions of split 'test' are missing" in refusal(given, benchmark)


def test_nothing_given_is_changed(line: Benchmark) -> None:
    ids, values = near(line)
    values.setflags(write=False)
    frame = pd.DataFrame({"id": ids, "prediction": values}).set_index("id")
    before = frame.copy(deep=True)
    score(frame, line)
    pd.testing.assert_frame_equal(frame, before)


# --- where it is written -----------------------------------------------------------------------

FULL = """
import resource, signal, sys, tempfile
import etchmark
from etchmark.data.loading import load_benchmark
import pandas as pd
truth = load_benchmark("toy-line").truth("test")
frame = pd.DataFrame({"id": truth.ids, "prediction": truth.target})
if sys.argv[1] == "late":
    tempfile.gettempdir()
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
try:
    etchmark.score(frame, "toy-line", protocol="holdout")
except etchmark.UserError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs resource limits")
@pytest.mark.parametrize(
    ("when", "message"),
    [
        ("early", "no temporary folder can be made (No usable temporary directory"),
        ("late", "the predictions cannot be written there"),
    ],
)
def test_a_temporary_folder_without_room(line: Benchmark, when: str, message: str) -> None:
    """Before Python has looked for a folder of its own, and after."""
    done = subprocess.run(
        [sys.executable, "-c", FULL, when], capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert message in done.stdout
    assert "TMPDIR" in done.stdout


def test_no_temporary_folder(
    line: Benchmark, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids, values = near(line)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "absent"))
    frame = pd.DataFrame({"id": ids, "prediction": values})
    assert "no temporary folder can be made (No such file or directory)" in refusal(frame, line)


# --- doubts ------------------------------------------------------------------------------------


def test_a_doubt_is_a_warning_at_the_line_that_called(line: Benchmark) -> None:
    ids, values = near(line)
    frame = pd.DataFrame({"id": ids, "prediction": values * 0})
    track = {"track": "features", "name": "zero"}
    for use, more in ((etchmark.score, {}), (etchmark.submit, track)):
        with pytest.warns(etchmark.DoubtWarning, match="every prediction is 0") as caught:
            use(frame, line, protocol="holdout", **more)
        # Python 3.13 may report unclosed connections of earlier tests in between.
        doubts = [warning for warning in caught if warning.category is etchmark.DoubtWarning]
        assert [Path(doubt.filename).name for doubt in doubts] == ["test_api.py"]
    assert issubclass(etchmark.DoubtWarning, UserWarning)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", etchmark.DoubtWarning)
        assert score(frame, line)["mae"] > 50


# --- arguments ----------------------------------------------------------------------------------


def table_of(benchmark: Benchmark) -> pd.DataFrame:
    ids, values = near(benchmark)
    return pd.DataFrame({"id": ids, "prediction": values})


NOT_TEXT = [3, ["holdout"], {"a": 1}, b"x", Path("x"), 1.5, {"x"}]
TEXTS = {
    "score": ("protocol", "track"),
    "submit": ("protocol", "track", "name"),
    "evaluate": ("protocol", "track", "device"),
    "standings": ("protocol", "track", "split", "metric", "subset"),
    "compare": ("protocol", "track", "split", "metric"),
}


def call(door: str, line: Benchmark, benchmark: object = None, **more: Any) -> object:
    """One function of the interface with good arguments, but for those in ``more``."""
    benchmark = line if benchmark is None else benchmark
    first: dict[str, tuple[object, ...]] = {
        "score": (table_of(line), benchmark),
        "submit": (table_of(line), benchmark),
        "evaluate": (more.pop("model", "toy_mean"), benchmark),
        "standings": (benchmark,),
        "compare": (benchmark, more.pop("first", "a"), more.pop("second", "b")),
    }
    good: dict[str, dict[str, Any]] = {
        "score": {"protocol": "holdout"},
        "submit": {"protocol": "holdout", "track": "features", "name": "mine"},
        "evaluate": {"store": False},
    }
    return getattr(etchmark, door)(*first[door], **good.get(door, {}) | more)


def refused(door: str, line: Benchmark, **more: Any) -> str:
    with pytest.raises(etchmark.UserError) as error:
        call(door, line, **more)
    return str(error.value)


@pytest.mark.parametrize("value", NOT_TEXT, ids=repr)
@pytest.mark.parametrize(
    ("door", "name"), [(door, name) for door, names in TEXTS.items() for name in names]
)
def test_an_argument_that_is_no_text(line: Benchmark, door: str, name: str, value: object) -> None:
    kind = type(value).__name__
    assert refused(door, line, **{name: value}).startswith(f"{name} must be text, not {kind}")


@pytest.mark.parametrize(
    ("door", "name"), [(door, name) for door, names in TEXTS.items() for name in names]
)
def test_an_empty_text_is_no_default(line: Benchmark, door: str, name: str) -> None:
    assert name in refused(door, line, **{name: ""})
    if name == "name":
        assert refused(door, line, name=None).startswith("name must be text, not NoneType")


@pytest.mark.parametrize("door", TEXTS)
@pytest.mark.parametrize("benchmark", [3, Path("toy-line"), b"toy-line", ["toy-line"]], ids=repr)
def test_what_is_no_benchmark(line: Benchmark, door: str, benchmark: object) -> None:
    said = refused(door, line, benchmark=benchmark)
    kind = type(benchmark).__name__
    assert said.startswith(f"benchmark must be text or a loaded benchmark, not {kind}")


@pytest.mark.parametrize("door", ["standings", "score", "evaluate", "submit"])
def test_no_benchmark(line: Benchmark, door: str) -> None:
    arguments = {
        "standings": (None,), "score": (table_of(line), None), "submit": (table_of(line), None),
        "evaluate": ("toy_mean", None),
    }  # fmt: skip
    more = {"name": "mine"} if door == "submit" else {}
    with pytest.raises(etchmark.UserError, match=r"benchmark must be text .*not NoneType"):
        getattr(etchmark, door)(*arguments[door], **more)


@pytest.mark.parametrize("model", [None, 3, b"a", ["a"]], ids=repr)
def test_what_is_no_model(line: Benchmark, model: object) -> None:
    kind = type(model).__name__
    assert refused("compare", line, first=model).startswith(f"first must be text, not {kind}")
    assert refused("compare", line, second=model).startswith(f"second must be text, not {kind}")
    assert refused("evaluate", line, model=model).startswith(
        f"model must be text or a path, not {kind}"
    )


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"card": [1]}, "card must be a mapping, not list"),
        ({"card": []}, "card must be a mapping, not list"),
        ({"card": "abc"}, "card must be a mapping, not str"),
        ({"card": pd.DataFrame({"a": [1]})}, "card must be a mapping, not DataFrame"),
        ({"card": {1: 2}}, "card: "),
        ({"export": b""}, "export must be text or a path, not bytes"),
        ({"export": 3}, "export must be text or a path, not int"),
        ({"export": ""}, "export is empty"),
        ({"export": "a\0b"}, "'a\\x00b': is not a path"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_arguments_of_submit(
    line: Benchmark, tmp_path: Path, more: dict[str, Any], message: str
) -> None:
    assert refused("submit", line, **more).startswith(message)
    assert etchmark.standings("toy-line").empty


def test_an_export_with_a_name_too_long(line: Benchmark, tmp_path: Path) -> None:
    said = refused("submit", line, export=tmp_path / ("x" * 300))
    assert "cannot be written" in said
    assert "give another --export" in said
    assert etchmark.standings("toy-line").empty
    call("submit", line, export=tmp_path / ("x" * 250))
    assert (tmp_path / ("x" * 250) / "record.json").is_file()
    assert len(list(tmp_path.glob("*x*"))) == 1


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"max_parameters": "a"}, "max_parameters must be a whole number, not str"),
        ({"max_parameters": 1.5}, "max_parameters must be a whole number, not float"),
        ({"max_parameters": [1]}, "max_parameters must be a whole number, not list"),
        ({"max_parameters": True}, "max_parameters must be a whole number, not bool"),
        ({"subset": 0}, "subset must be text, not int"),
        ({"status": 3}, "status must be a list of texts, not int"),
        ({"status": [3]}, "status must be text, not int"),
        ({"tags": [["a"]]}, "tags must be text, not list"),
        ({"training_data": {"a": 1}}, "training_data must be a list of texts, not dict"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_arguments_of_standings(line: Benchmark, more: dict[str, Any], message: str) -> None:
    assert refused("standings", line, **more).startswith(message)


def test_a_loaded_benchmark_is_accepted_everywhere(line: Benchmark) -> None:
    for name, by in (("a", 0.0), ("b", 1.0)):
        given = table_of(line)
        given["prediction"] += by
        etchmark.submit(given, line, name=name, protocol="holdout", track="features")
    assert etchmark.standings(line).equals(etchmark.standings("toy-line"))
    most: Any = np.int64(10**6)
    assert etchmark.standings(line, max_parameters=most).empty
    assert etchmark.compare(line, "a", "b").equals(etchmark.compare("toy-line", "a", "b"))
