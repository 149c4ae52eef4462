"""The predictions reader: honest files come through unchanged, anything else gets one line."""

from __future__ import annotations

import contextlib
import os
import pickle
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from etchmark import predictions
from etchmark.errors import UserError
from etchmark.predictions import Declared, Predictions, arrange, check_finite, read, write

IDS = [f"s{row:02d}" for row in range(12)]
VALUES = np.linspace(183.5, 713.0, 12)
SPLITS = {"test": np.array(IDS[:8]), "hard": np.array(IDS[8:])}
ROWS = len(IDS)

quick = settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)


def refused(path: Path, rows: int = ROWS, shape: tuple[int, ...] = ()) -> str:
    with pytest.raises(UserError) as error:
        read(path, rows=rows, shape=shape)
    line = str(error.value)
    assert line.startswith(f"{path}: ")
    assert "; " in line
    return line.removeprefix(f"{path}: ")


def parquet(path: Path, columns: Mapping[str, object], **options: object) -> Path:
    pq.write_table(pa.table(dict(columns)), path, **options)  # type: ignore[arg-type]
    return path


@pytest.fixture
def at(tmp_path: Path) -> Path:
    return tmp_path / "predictions.parquet"


@pytest.fixture
def text(tmp_path: Path) -> Callable[[str | bytes], Path]:
    def put(content: str | bytes) -> Path:
        path = tmp_path / "predictions.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return put


def given_rows(
    ids: list[str], values: list[float] | np.ndarray, seeds: list[int] | None = None
) -> Predictions:
    return Predictions(
        np.array(ids, dtype=object),
        np.array(seeds or [0] * len(ids), dtype=np.int64),
        np.array(values, dtype=float),
    )


# --- round trips -------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
@given(
    rows=st.dictionaries(names, st.floats(allow_nan=False, allow_infinity=False), max_size=12),
    seed=st.none() | st.integers(-(10**17), 10**17),
)
@quick
def test_round_trip(suffix: str, rows: dict[str, float], seed: int | None) -> None:
    if suffix == ".csv":
        rows = {key: value for key, value in rows.items() if not set(key) & set("\r\n\0")}
    seeds = None if seed is None else np.full(len(rows), seed)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"p{suffix}"
        write(path, list(rows), np.array(list(rows.values())), seeds=seeds)
        found = read(path, rows=12)
    assert found.ids.tolist() == list(rows)
    assert found.values.tolist() == list(rows.values())
    assert found.seeds.tolist() == [seed or 0] * len(rows)


@pytest.mark.parametrize("kind", [np.float16, np.float32])
@pytest.mark.parametrize("shape", [(5,), (3, 2), (2, 2, 2)])
def test_round_trip_of_arrays(at: Path, kind: type, shape: tuple[int, ...]) -> None:
    values = np.random.default_rng(0).normal(size=(ROWS, *shape)).astype(kind)
    write(at, IDS, values)
    found = read(at, rows=ROWS, shape=shape)
    assert found.values.dtype == kind
    assert np.array_equal(found.values, values)
    assert "wrong length (row 0:" in refused(at, shape=(7,))
    assert "not numbers" in refused(at)


def test_what_a_file_says_of_itself(at: Path) -> None:
    declared = Declared("b@1", "features", "holdout")
    write(at, IDS, VALUES, declared=declared)
    assert read(at, rows=ROWS).declared == declared
    write(at, IDS, VALUES, declared=Declared(protocol="holdout"))
    assert read(at, rows=ROWS).declared == Declared(None, None, "holdout")
    pd.DataFrame({"id": IDS, "prediction": VALUES}).to_parquet(at, index=False)
    assert read(at, rows=ROWS).declared == Declared()


TEXT_TYPES = [
    pa.string(),
    pa.large_string(),
    pa.string_view(),
    pa.dictionary(pa.int8(), pa.string()),
    pa.dictionary(pa.int32(), pa.large_string()),
]
NUMBER_TYPES = [pa.float64(), pa.float32(), pa.float16(), pa.int64(), pa.uint8(), pa.int16()]


@pytest.mark.parametrize("kind", TEXT_TYPES, ids=str)
def test_ids_as_others_store_them(at: Path, kind: pa.DataType) -> None:
    parquet(at, {"id": pa.array(IDS).cast(kind), "prediction": VALUES})
    assert read(at, rows=ROWS).ids.tolist() == IDS


@pytest.mark.parametrize("kind", NUMBER_TYPES, ids=str)
def test_predictions_as_others_store_them(at: Path, kind: pa.DataType) -> None:
    parquet(at, {"id": IDS, "prediction": pa.array(np.arange(12.0)).cast(kind)})
    found = read(at, rows=ROWS)
    assert found.values.dtype == np.float64
    assert found.values.tolist() == list(range(12))


@pytest.mark.parametrize(
    "kind",
    [
        pa.list_(pa.float16()),
        pa.list_(pa.float32(), 2),
        pa.large_list(pa.float64()),
        pa.list_(pa.float64()),
    ],
    ids=str,
)
def test_lists_as_others_store_them(at: Path, kind: pa.DataType) -> None:
    rows = [[float(row), row + 0.5] for row in range(ROWS)]
    values = pa.array(rows, pa.list_(pa.float64())).cast(kind)
    parquet(at, {"id": IDS, "prediction": values})
    assert read(at, rows=ROWS, shape=(2,)).values.tolist() == rows


@pytest.mark.parametrize("compression", ["zstd", "snappy", "gzip", "brotli", "lz4", "none"])
@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("dictionary", [True, False])
def test_files_as_others_write_them(
    at: Path, compression: str, version: str, dictionary: bool
) -> None:
    options = {"data_page_version": version, "use_dictionary": dictionary, "row_group_size": 5}
    parquet(at, {"prediction": VALUES, "id": IDS}, compression=compression, **options)
    found = read(at, rows=ROWS)
    assert (found.ids.tolist(), found.values.tolist()) == (IDS, VALUES.tolist())


def test_a_pandas_frame(at: Path) -> None:
    frame = pd.DataFrame({"id": IDS, "prediction": VALUES, "seed": 3})
    frame.to_parquet(at, index=False)
    assert set(read(at, rows=ROWS).seeds) == {3}
    frame.set_index(frame["prediction"].rename("index")).to_parquet(at)
    assert "unknown columns 'index'" in refused(at)


# --- files that are none -----------------------------------------------------------------------


def test_what_is_no_file(tmp_path: Path, at: Path) -> None:
    assert "No such file" in refused(at)
    assert "is a folder" in refused(tmp_path)
    at.touch()
    assert "is empty (0 bytes)" in refused(at)
    assert "File name too long" in refused(tmp_path / ("x" * 300))
    assert "Not a directory" in refused(at / "below")
    at.write_bytes(pickle.dumps({"id": IDS}))
    assert "neither parquet" in refused(at)
    at.write_bytes(b"\0" * 100)
    assert "neither parquet" in refused(at)
    link = tmp_path / "loop.parquet"
    link.symlink_to(link)
    assert "cannot be read" in refused(link)


@pytest.mark.timeout(20)
@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes on this system")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    assert "not an ordinary file" in refused(tmp_path / "pipe.csv")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(at: Path) -> None:
    write(at, IDS, VALUES)
    at.chmod(0)
    assert "Permission denied" in refused(at)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_file_of_2_gb_is_refused_unread(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"large{suffix}"
    with path.open("wb") as handle:
        handle.write(b"id,prediction\n" if suffix == ".csv" else b"PAR1")
        handle.truncate(2 << 30)
    started = time.perf_counter()
    assert "2,147,483,648 bytes, more than" in refused(path, rows=149)
    assert time.perf_counter() - started < 1


# --- parquet that is damaged -------------------------------------------------------------------


def test_parquet_cut_anywhere(at: Path) -> None:
    write(at, IDS, VALUES, seeds=np.zeros(12, dtype=int))
    whole = at.read_bytes()
    for length in range(1, len(whole), 7):
        at.write_bytes(whole[:length])
        refused(at)


@pytest.fixture(scope="module")
def honest() -> dict[str, bytes]:
    files = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "p.parquet"
        write(path, IDS, VALUES, seeds=np.zeros(12, dtype=int), declared=Declared("b@1"))
        files["ours"] = path.read_bytes()
        parquet(path, {"id": IDS, "prediction": VALUES}, compression="snappy")
        files["theirs"] = path.read_bytes()
        rows = pa.array(np.arange(24.0).reshape(12, 2).tolist(), pa.list_(pa.float32()))
        parquet(path, {"id": IDS, "prediction": rows}, use_dictionary=False, compression="none")
        files["lists"] = path.read_bytes()
    return files


def outcome(content: bytes, shape: tuple[int, ...] = ()) -> list[object] | None:
    """Checked predictions, None if refused; anything else raises."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "p.parquet"
        path.write_bytes(content)
        try:
            found = check(path, read(path, rows=ROWS, shape=shape), SPLITS, "test")
        except UserError:
            return None
    return [found[name].values.tolist() for name in ("test", "hard") if name in found]


@given(data=st.data())
@settings(quick, max_examples=300)
def test_a_damaged_file_of_ours_is_refused_or_means_the_same(
    honest: dict[str, bytes], data: st.DataObject
) -> None:
    content = bytearray(honest["ours"])
    for _ in range(data.draw(st.integers(1, 3))):
        where = data.draw(st.integers(0, len(content) - 1))
        content[where] ^= data.draw(st.integers(1, 255))
    found = outcome(bytes(content))
    assert found is None or found == [[VALUES[:8].tolist()], [VALUES[8:].tolist()]]


@pytest.mark.parametrize(("name", "shape"), [("theirs", ()), ("lists", (2,))])
@given(data=st.data())
@settings(quick, max_examples=200)
def test_a_damaged_file_of_others_is_never_more_than_refused(
    honest: dict[str, bytes], name: str, shape: tuple[int, ...], data: st.DataObject
) -> None:
    # Without page checksums a changed number cannot be told from another number.
    content = honest[name]
    start = data.draw(st.integers(0, len(content)))
    stop = data.draw(st.integers(start, min(len(content), start + 12)))
    middle = data.draw(st.binary(max_size=12))
    outcome(content[:start] + middle + content[stop:], shape)


@given(content=st.binary(max_size=200))
@quick
def test_anything_between_the_marks_of_parquet(content: bytes) -> None:
    length = len(content).to_bytes(4, "little")
    assert outcome(b"PAR1" + content + length + b"PAR1") is None
    assert outcome(b"PAR1" + content) is None


@pytest.mark.parametrize("bit", range(8))
def test_every_bit_of_a_footer(honest: dict[str, bytes], bit: int) -> None:
    # Some of these end the whole process in pyarrow when columns are looked at one by one.
    whole = honest["ours"]
    footer = int.from_bytes(whole[-8:-4], "little") + 8
    for where in range(len(whole) - footer, len(whole), 3):
        content = bytearray(whole)
        content[where] ^= 1 << bit
        found = outcome(bytes(content))
        assert found is None or found == [[VALUES[:8].tolist()], [VALUES[8:].tolist()]]


# --- parquet that is a bomb --------------------------------------------------------------------


def _varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _zigzag(value: int) -> bytes:
    return _varint(value << 1)


BOMBS = """
import os, pathlib, resource, sys
import numpy as np, pyarrow as pa, pyarrow.parquet as pq
from etchmark.errors import UserError
from etchmark.predictions import read
folder = pathlib.Path(sys.argv[1])
shapes = {"list": (2,), "list-groups": (2,)}
first = folder / "honest.parquet"
pq.write_table(pa.table({"id": ["a"], "prediction": [1.0]}), first)
read(first, rows=149)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for path in sorted(folder.glob("*.parquet")):
    if path == first:
        continue
    try:
        read(path, rows=149, shape=shapes.get(path.stem, ()))
        print("READ", path.stem)
    except UserError as error:
        print("refused", path.stem, error)
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print("MIB", (after - before) / 1024)
"""


def test_bombs_take_no_memory(tmp_path: Path) -> None:
    """Files of kilobytes that unpack to gigabytes, some with sizes in the footer that lie."""
    write_to = {name: tmp_path / f"{name}.parquet" for name in ("rows", "text", "page", "list")}
    many = np.zeros(10_000_000)
    parquet(write_to["rows"], {"id": pa.nulls(10_000_000, pa.string()), "prediction": many})
    text = "x" * 4_000_000
    repeated = pa.DictionaryArray.from_arrays(pa.array(np.zeros(1_000, np.int32)), pa.array([text]))
    parquet(write_to["text"], {"id": repeated, "prediction": np.zeros(1_000)}, compression="zstd")
    one = {"id": ["x" * 100_000_000], "prediction": [1.0]}
    parquet(write_to["page"], one, compression="zstd", use_dictionary=False, write_statistics=False)
    # The same, with a footer that says a few bytes: zigzag numbers of equal length are swapped.
    content = write_to["page"].read_bytes()
    footer = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    meta = pq.read_metadata(write_to["page"])
    lies = content[footer:]
    for size in (
        meta.row_group(0).total_byte_size,
        meta.row_group(0).column(0).total_uncompressed_size,
    ):
        true = _zigzag(size)
        small = bytes([0x82, *[0x80] * (len(true) - 2), 0])
        assert true in lies
        lies = lies.replace(true, small)
    (tmp_path / "page-lie.parquet").write_bytes(content[:footer] + lies)
    long = pa.array([np.zeros(25_000_000, np.float32)])
    parquet(write_to["list"], {"id": ["a"], "prediction": long}, compression="zstd")
    # Each id repeats its predecessor, which takes no room in the file.
    shared = ["x" * 100_000 + str(row) for row in range(1000)]
    parquet(
        tmp_path / "prefix.parquet",
        {"id": shared, "prediction": np.zeros(1000)},
        use_dictionary=False,
        column_encoding={"id": "DELTA_BYTE_ARRAY", "prediction": "PLAIN"},
        compression="zstd",
        write_statistics=False,
    )
    assert sum(path.stat().st_size for path in tmp_path.glob("*.parquet")) < 4 << 20
    done = subprocess.run(
        [sys.executable, "-c", BOMBS, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines[:-1]] == ["refused"] * 6, done.stdout
    assert float(lines[-1].split()[1]) < 64, done.stdout


def test_a_footer_that_reserves_too_much(at: Path, honest: dict[str, bytes]) -> None:
    content = honest["ours"]
    footer = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    # num_values and num_rows of 12 become 2**40; the length of the footer is told anew.
    tail = content[footer:-8].replace(b"\x16" + _zigzag(12), b"\x16" + _zigzag(1 << 40))
    at.write_bytes(content[:footer] + tail + len(tail).to_bytes(4, "little") + b"PAR1")
    assert "more rows than 12 samples" in refused(at)
    # One number alone is changed: the rows of the file, of its group, of a column.
    meta = content[footer:-8]
    places = [i for i in range(len(meta)) if meta.startswith(b"\x16" + _zigzag(12), i)]
    found = []
    for place in places:
        tail = meta[: place + 1] + _zigzag(8) + meta[place + 2 :]
        length = len(tail).to_bytes(4, "little")
        found.append(outcome(content[:footer] + tail + length + b"PAR1"))
    assert found.count(None) >= 5
    whole = [[VALUES[:8].tolist()], [VALUES[8:].tolist()]]
    assert all(one is None or one == whole for one in found)


def test_more_rows_than_there_can_be(at: Path) -> None:
    count = ROWS * predictions.MAX_SEEDS
    write(at, ["a"] * count, np.zeros(count), seeds=np.arange(count))
    assert len(read(at, rows=ROWS).ids) == count
    write(at, ["a"] * (count + 1), np.zeros(count + 1))
    assert "more rows than 12 samples × 100 seeds" in refused(at)


# --- parquet with other columns than asked for -------------------------------------------------

ODD: list[tuple[dict[str, object], str]] = [
    ({"prediction": VALUES}, "no column named 'id'"),
    ({"id": IDS}, "no column named 'prediction'"),
    ({"id": IDS, "prediction": VALUES, "target": VALUES}, "unknown columns 'target'"),
    ({"id": IDS, "prediction": [str(value) for value in VALUES]}, "not numbers"),
    ({"id": IDS, "prediction": [True] * 12}, "not numbers"),
    ({"id": IDS, "prediction": [{"a": 1}] * 12}, "not numbers"),
    ({"id": IDS, "prediction": [[1.0]] * 12}, "not numbers"),
    (
        {"id": IDS, "prediction": pa.array([1 + 0j], pa.null()) if 0 else pa.nulls(12)},
        "not numbers",
    ),
    ({"id": range(12), "prediction": VALUES}, "id holds int64, not text"),
    ({"id": [b"a"] * 12, "prediction": VALUES}, "id holds binary, not text"),
    ({"id": [[name] for name in IDS], "prediction": VALUES}, "not text"),
    ({"id": [{"id": name} for name in IDS], "prediction": VALUES}, "not text"),
    ({"id": [None, *IDS[1:]], "prediction": VALUES}, "column 'id' has 1 empty cell"),
    ({"id": IDS, "prediction": [None, *VALUES[1:]]}, "column 'prediction' has 1 empty cell"),
    ({"id": IDS, "prediction": VALUES, "seed": [0.0] * 12}, "seed holds double"),
    ({"id": IDS, "prediction": VALUES, "seed": ["0"] * 12}, "seed holds string"),
    ({"id": IDS, "prediction": VALUES, "seed": [None] + [0] * 11}, "column 'seed' has 1 empty"),
    ({"id": ["x" * 257], "prediction": [1.0]}, "an id of 257 characters"),
]


@pytest.mark.parametrize(("columns", "message"), ODD, ids=[message for _, message in ODD])
def test_columns_that_are_refused(at: Path, columns: dict[str, object], message: str) -> None:
    assert message in refused(parquet(at, columns))


def test_seeds_that_do_not_fit(at: Path) -> None:
    seeds = pa.array([2**64 - 1] * 12, pa.uint64())
    parquet(at, {"id": IDS, "prediction": VALUES, "seed": seeds})
    assert "seed 18446744073709551615 does not fit into a signed integer of 64" in refused(at)


def test_columns_named_twice(at: Path) -> None:
    table = pa.Table.from_arrays(
        [pa.array(IDS), pa.array(IDS), pa.array(VALUES)], ["id", "id", "prediction"]
    )
    pq.write_table(table, at)
    assert "2 columns named 'id'" in refused(at)


def test_text_that_is_not_utf8(at: Path) -> None:
    raw = pa.array([b"\xff\xfe"] * 12)
    text = pa.Array.from_buffers(pa.string(), 12, raw.buffers())
    parquet(at, {"id": text, "prediction": VALUES})
    assert "not readable parquet (" in refused(at)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([[1.0, 2.0], [3.0]] * 6, "6 predictions of the wrong length (row 1: 1)"),
        ([[1.0, 2.0], []] * 6, "6 predictions of the wrong length (row 1: 0)"),
        ([[1.0, 2.0], [3.0, None]] * 6, "6 empty cells"),
        ([[1.0, 2.0], None] * 6, "6 empty cells"),
        ([[1, 2]] * 12, "not lists of floats"),
        ([[[1.0, 2.0]]] * 12, "not lists of floats"),
        ([1.0] * 12, "not lists of floats"),
    ],
)
def test_arrays_that_are_refused(at: Path, rows: list[object], message: str) -> None:
    assert message in refused(parquet(at, {"id": IDS, "prediction": rows}), shape=(2,))


# --- CSV ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        "id,prediction\na,1.5\nb,-2\n",
        "\ufeffid,prediction\na,1.5\nb,-2\n",
        "id,prediction\r\na,1.5\r\nb,-2\r\n",
        "id,prediction\ra,1.5\rb,-2\r",
        '"id","prediction"\n"a","1.5"\n"b","-2"\n',
        "prediction,id\n1.5,a\n-2,b",
        " id , prediction \na, 1.5\nb,-2 \n",
        "id,prediction\n\na,1.5\n\nb,-2\n\n",
        "id,prediction,seed\na,15e-1,0\nb,-2.,0\n",
        "id,prediction\na,+1.50E+0\nb,-.2e1\n",
    ],
)
def test_csv_as_others_write_it(text: Callable[[str | bytes], Path], content: str) -> None:
    found = read(text(content), rows=2)
    assert (found.ids.tolist(), found.values.tolist()) == (["a", "b"], [1.5, -2.0])
    assert found.seeds.tolist() == [0, 0]


@pytest.mark.parametrize(
    "cell",
    (
        "1_000|0x1A|'1,000'|1 000|1.2.3|| |abc|None|NA|1e|--1|1d3|١٢|１２|ınf|1e5e5|1/2|=1+1|1\x00"
        "|½|true|1j|0b1"
    )
    .replace("'", '"')
    .split("|"),
)
def test_csv_cells_that_are_no_numbers(text: Callable[[str | bytes], Path], cell: str) -> None:
    assert "line 3: prediction" in refused(text(f"id,prediction\na,1\nb,{cell}\n"))


@pytest.mark.parametrize("cell", ["1.0", "", "x", "1_0", "9" * 19, "٣"])
def test_csv_seeds_that_are_no_integers(text: Callable[[str | bytes], Path], cell: str) -> None:
    assert "line 2: seed" in refused(text(f"id,prediction,seed\na,1,{cell}\n"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty (0 bytes)"),
        ("\n", "no column named 'id'"),
        ("a,1\nb,2\n", "no column named 'id'"),
        ("id;prediction\na;1\n", "no column named 'id'"),
        ("id;prediction\na;1,5\n", "separated by semicolons; separate them by commas"),
        ("id\tprediction\na\t1\n", "separated by tabs"),
        ('id,prediction\na,"1,5"\n', "decimal point"),
        ("id,prediction\na,\n", "line 2: prediction is empty"),
        (",id,prediction\n0,a,1\n", "unknown columns ''"),
        ("id,id,prediction\na,a,1\n", "2 columns named 'id'"),
        ("id,prediction,seed,seed\na,1,0,0\n", "'seed (twice)'"),
        ("ID,Prediction\na,1\n", "no column named 'id'"),
        ("ID,Prediction\na,1\n", "write the names in lower case"),
        ("id,prediction\na\n", "line 2 has 1 cells, not 2"),
        ("id,prediction\na,1,2\n", "line 2 has 3 cells, not 2"),
        ("id,prediction\na,1,000\n", "line 2 has 3 cells"),
        ('id,prediction\n"a,1\n', "not well-formed CSV"),
        ('id,prediction\n"a"b,1\n', "not well-formed CSV"),
        (f"id,prediction\n{'x' * 200_000},1\n", "not well-formed CSV (field larger"),
        (f"id,prediction\n{'x' * 257},1\n", "an id of 257 characters"),
        ("id,prediction\na,1\n".encode("utf-16"), "not UTF-8 text"),
        (b"id,prediction\nH\xe4rte,1\n", "not UTF-8 text"),
    ],
)
def test_csv_that_is_refused(
    text: Callable[[str | bytes], Path], content: str | bytes, message: str
) -> None:
    assert message in refused(text(content))


def test_csv_with_too_many_rows(text: Callable[[str | bytes], Path]) -> None:
    assert "more rows than 1 samples" in refused(text("id,prediction\n" + "a,1\n" * 101), rows=1)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("cell", ["1" * 130_000 + "x", "1." + "1" * 129_000 + "x", "+" * 130_000])
def test_a_long_cell_is_refused_at_once(text: Callable[[str | bytes], Path], cell: str) -> None:
    started = time.perf_counter()
    refused(text(f"id,prediction\na,{cell}\n"))
    assert time.perf_counter() - started < 2


def test_csv_holds_no_arrays(text: Callable[[str | bytes], Path]) -> None:
    assert "CSV; probabilities and arrays need Parquet" in refused(
        text("id,prediction\na,1\n"), shape=(2,)
    )


@given(content=st.text(st.sampled_from('id,predction\n\r"1.5e-+ax\ufeff\0 '), max_size=80))
@settings(quick, max_examples=200)
def test_any_csv_text(content: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "p.csv"
        path.write_bytes(b"id,prediction\n" + content.encode())
        with contextlib.suppress(UserError):
            check(path, read(path, rows=ROWS), SPLITS, "test")


# --- whole splits of finite values -------------------------------------------------------------

PATH = Path("p.parquet")


@dataclass(frozen=True)
class Placed:
    seeds: list[int]
    values: np.ndarray


def check(
    path: Path, rows: Predictions, splits: Mapping[str, np.ndarray], headline: str
) -> dict[str, Placed]:
    """Whole splits of finite values, in the order of their ids."""
    check_finite(path, rows)
    placed = arrange(path, rows.ids, rows.seeds, splits, headline)
    return {name: Placed(seeds, rows.values[order]) for name, (seeds, order) in placed.items()}


def complaint(given_: Predictions, splits: Mapping[str, np.ndarray] = SPLITS) -> str:
    with pytest.raises(UserError) as error:
        check(PATH, given_, splits, "test")
    return str(error.value)


@given(order=st.permutations(range(12)))
@quick
def test_order_of_the_rows_does_not_matter(order: list[int]) -> None:
    found = check(PATH, given_rows([IDS[row] for row in order], VALUES[order]), SPLITS, "test")
    assert list(found) == ["test", "hard"]
    assert found["test"].values.tolist() == [VALUES[:8].tolist()]
    assert found["hard"].values.tolist() == [VALUES[8:].tolist()]


def test_only_the_headline_split_is_required() -> None:
    assert list(check(PATH, given_rows(IDS[:8], VALUES[:8]), SPLITS, "test")) == ["test"]
    message = complaint(given_rows(IDS[8:], VALUES[8:]))
    assert "8 of 8 predictions of split 'test' are missing" in message
    message = complaint(given_rows(IDS[:9], VALUES[:9]))
    assert "3 of 4 predictions of split 'hard' are missing (ids 's09', 's10', 's11')" in message
    assert message.endswith("or leave this split out altogether")


@given(kept=st.sets(st.sampled_from(IDS[:8]), max_size=7))
@quick
def test_missing_ids(kept: set[str]) -> None:
    message = complaint(given_rows(sorted(kept), [1.0] * len(kept)))
    absent = [name for name in IDS[:8] if name not in kept]
    verb = "is" if len(absent) == 1 else "are"
    assert f"{len(absent)} of 8 predictions of split 'test' {verb} missing" in message
    assert message.endswith("; predict every sample of it")
    more = f" and {len(absent) - 5} more" if len(absent) > 5 else ""
    assert f"(ids {', '.join(map(repr, absent[:5]))}{more})" in message


def test_extra_and_repeated_ids() -> None:
    extra = [f"x{row}" for row in range(7)]
    message = complaint(given_rows(IDS + extra, [1.0] * 19))
    assert (
        "7 ids are not in this benchmark (ids 'x0', 'x1', 'x2', 'x3', 'x4' and 2 more)" in message
    )
    message = complaint(given_rows([*IDS, "s03", "s03", "s05"], [1.0] * 15))
    assert "3 rows repeat an id and seed (ids 's03', 's05')" in message
    for wrong in ("S00", " s00", "s00 ", "s0"):
        assert "not in this benchmark" in complaint(given_rows([wrong, *IDS[1:8]], [1.0] * 8))


def test_a_long_or_hostile_id_is_quoted_safely() -> None:
    message = complaint(given_rows([*IDS[:8], "\x1b[2J\n" + "x" * 250], [1.0] * 9))
    assert "\x1b" not in message
    assert len(message) < 300


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite(bad: float) -> None:
    values = VALUES[:8].copy()
    values[[2, 5]] = bad
    message = complaint(given_rows(IDS[:8], values))
    assert "2 predictions are not finite (ids 's02', 's05')" in message
    arrays = np.ones((8, 2, 2))
    arrays[3, 1, 0] = bad
    assert "1 prediction is not finite (ids 's03')" in complaint(given_rows(IDS[:8], arrays))


@pytest.mark.parametrize("shape", [(), (3, 2)])
def test_no_rows_at_all(shape: tuple[int, ...]) -> None:
    message = complaint(given_rows([], np.empty((0, *shape))))
    assert "8 of 8 predictions of split 'test' are missing" in message


def test_files_without_rows(at: Path, text: Callable[[str | bytes], Path]) -> None:
    parquet(at, {"id": pa.array([], pa.string()), "prediction": pa.array([], pa.float64())})
    for path in (at, text("id,prediction\n")):
        assert "8 of 8" in complaint(read(path, rows=ROWS))


def test_seeds() -> None:
    rows = given_rows(IDS[:8] * 2, [*VALUES[:8], *(VALUES[:8] + 1)], [7] * 8 + [-1] * 8)
    found = check(PATH, rows, SPLITS, "test")["test"]
    assert found.seeds == [-1, 7]
    assert found.values.tolist() == [(VALUES[:8] + 1).tolist(), VALUES[:8].tolist()]
    rows = given_rows([*IDS[:8], "s00"], [1.0] * 9, [0] * 8 + [1])
    assert "7 of 16 predictions of split 'test' are missing" in complaint(rows)
    rows = given_rows(["s00"] * 101, [1.0] * 101, list(range(101)))
    assert "holds 101 seeds; keep 100 at most" in complaint(rows)


def test_the_limit_of_a_file_leaves_room_for_honest_ones(tmp_path: Path) -> None:
    assert predictions.max_file_bytes(149, ()) < 10 << 20
    long = [f"{'x' * 250}{row:04d}" for row in range(50)]
    path = tmp_path / "p.csv"
    seeds = np.repeat(np.arange(100), 50)
    write(path, long * 100, np.full(5000, -1.2345678901234567e-300), seeds=seeds)
    assert len(read(path, rows=50).ids) == 5000


def test_written_text_is_what_it_seems(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    write(path, ["a", 'b"', "c,d"], np.array([0.1, 1e300, -5.0]))
    assert path.read_text() == textwrap.dedent(
        '''\
        id,prediction
        a,0.1
        "b""",1e+300
        "c,d",-5.0
        '''
    )
