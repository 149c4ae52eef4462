"""One identity for content: equal where the content is, whatever the machine and the file."""

from __future__ import annotations

import json
import struct
import warnings
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etchmark.columns import Columns, array_column, array_feature, encode_image
from etchmark.data import fingerprint
from etchmark.data.fingerprint import of_columns, of_splits, quantised


def pair(value: float) -> tuple[int, int]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return struct.unpack("<qq", quantised(np.array([value])))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1.0, (100000, 0)),
        (-1.0, (-100000, 0)),
        (123.456, (123456, 2)),
        (123.4564, (123456, 2)),
        (123.4566, (123457, 2)),
        (9.999999, (100000, 1)),
        (-9.999999, (-100000, 1)),
        (999999.5, (100000, 6)),
        (999999.4, (999999, 5)),
        (0.000123456, (123456, -4)),
        (1e-5, (100000, -5)),
        (1e22, (100000, 22)),
        (1.7976931348623157e308, (179769, 308)),
        (2.2250738585072014e-308, (222507, -308)),
        (5e-324, (494066, -324)),
        (0.0, (0, 0)),
        (-0.0, (0, 0)),
        (float("nan"), (2_000_000_000, 0)),
        (float("inf"), (3_000_000_000, 0)),
        (float("-inf"), (-3_000_000_000, 0)),
    ],
)
def test_six_digits(value: float, expected: tuple[int, int]) -> None:
    assert pair(value) == expected


@given(value=st.floats(allow_nan=False, allow_infinity=False, allow_subnormal=True))
@settings(max_examples=500, deadline=None)
def test_against_decimal_text(value: float) -> None:
    mantissa, exponent = pair(value)
    if value == 0:
        assert (mantissa, exponent) == (0, 0)
        return
    text = f"{value:.5e}"
    digits, power = text.split("e")
    expected = (int(digits.replace(".", "")), int(power))
    # Halfway cases may go either way in text, but always the same way here.
    apart = (mantissa - expected[0]) if exponent == expected[1] else 0
    assert abs(apart) <= 1
    if apart:
        assert abs(abs(float(f"{value:.16e}") / 10.0 ** max(exponent - 5, -300)) % 1 - 0.5) < 1e-6


@given(
    value=st.floats(1e-300, 1e300),
    sign=st.sampled_from([-1.0, 1.0]),
    decade=st.integers(-300, 300),
)
@settings(max_examples=300, deadline=None)
def test_the_last_bits_do_not_count(value: float, sign: float, decade: int) -> None:
    for number in (value, float(f"1e{decade}")):
        rounded = float(f"{sign * number:.5e}")
        expected = pair(rounded)
        assert pair(float(np.nextafter(rounded, np.inf))) == expected
        assert pair(float(np.nextafter(rounded, -np.inf))) == expected


def test_a_logarithm_that_is_off_by_one_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    # log10 of a power of ten lies on either side of the integer, depending on the machine.
    powers = np.array([float(f"1e{power}") for power in range(-20, 21)])
    values = np.concatenate([powers, np.nextafter(powers, np.inf), np.nextafter(powers, 0)])
    expected = quantised(values)
    exact = np.log10

    class Numpy:
        def __init__(self, shift: float) -> None:
            self.shift = shift

        def __getattr__(self, name: str) -> object:
            return getattr(np, name)

        def log10(self, x: np.ndarray) -> np.ndarray:
            return exact(x) + self.shift

    for shift in (-1e-12, 1e-12):
        monkeypatch.setattr(fingerprint, "np", Numpy(shift))
        assert quantised(values) == expected


def test_powers_of_ten_are_those_of_decimal_text() -> None:
    # numpy's 10.0**-5 is off by a bit where the processor has AVX-512, and right where it has not.
    for power in (0, 5, 17, 22, 23, 308):
        assert fingerprint._POWERS[power] == float(f"1e{power}")
    assert pair(1.109375) == (110938, 0)
    assert pair(-3.640625) == (-364062, 0)
    assert pair(1234565.0) == (123456, 6)
    assert pair(1234575.0) == (123458, 6)


def test_a_known_value() -> None:
    # Pinned: a change of this number is a change of every released fingerprint.
    columns = {
        "id": np.array(["a", "b"], dtype=object),
        "x": np.array([1.5, -0.0]),
        "h": np.array([[1, 2], [3, 4]], dtype=np.float16),
        "n": np.array([1, 2], dtype=np.int32),
        "u": np.array([[1], [2]], dtype=np.uint8),
    }
    assert of_columns(columns) == KNOWN


KNOWN = "31486f29237371025e5176a2f4f7d6eaba90eb6bdceea0e462298b64abee836a"


def test_what_does_not_count() -> None:
    columns = {"a": np.array([1.0, 2.0]), "b": np.array([1, 2], dtype=np.int32)}
    same = {"b": np.array([1, 2], dtype=np.int64), "a": np.array([1.0000001, 2.0])}
    assert of_columns(columns) == of_columns(same)
    assert of_columns({"a": np.array([0.0])}) == of_columns({"a": np.array([-0.0])})
    half = {"a": np.array([0.0], dtype=np.float16)}
    assert of_columns(half) == of_columns({"a": np.array([-0.0], dtype=np.float16)})
    text = {"a": np.array(["x"])}
    assert of_columns(text) == of_columns({"a": np.array(["x"], dtype=object)})


def test_what_counts() -> None:
    base = {"a": np.array([1.0, 2.0]), "id": np.array(["x", "y"], dtype=object)}
    changed = [
        {**base, "a": np.array([2.0, 1.0])},
        {**base, "a": np.array([1.00001, 2.0])},
        {**base, "a": np.array([[1.0, 2.0]])},
        {**base, "id": np.array(["y", "x"], dtype=object)},
        {**base, "id": np.array(["xy", ""], dtype=object)},
        {**base, "id": np.array([None, "y"], dtype=object)},
        {"b": base["a"], "id": base["id"]},
        {"a": base["a"]},
    ]
    prints = [of_columns(columns) for columns in [base, *changed]]
    assert len(set(prints)) == len(prints)


def test_images_count_by_pixels_and_shape() -> None:
    def images(*arrays: np.ndarray) -> dict[str, np.ndarray]:
        cells = np.empty(len(arrays), dtype=object)
        cells[:] = arrays
        return {"m": cells}

    one = np.zeros((2, 3), np.uint8)
    two = np.zeros((4, 4), np.uint8)
    assert of_columns(images(one, two)) == of_columns(images(np.asfortranarray(one), two))
    assert of_columns(images(one, two)) != of_columns(images(one.reshape(3, 2), two))
    assert of_columns(images(one, two)) != of_columns(images(one + 1, two))


def test_splits_count_by_name() -> None:
    a, b = {"x": np.array([1.0])}, {"x": np.array([2.0])}
    assert of_splits({"train": a, "test": b}) == of_splits({"test": b, "train": a})
    assert of_splits({"train": a, "test": b}) != of_splits({"train": b, "test": a})


def stored(path: Path, columns: dict[str, object], features: dict[str, object]) -> Path:
    meta = {"huggingface": json.dumps({"info": {"features": features}})}
    pq.write_table(pa.table(columns).replace_schema_metadata(meta), path, row_group_size=3)
    return path


@pytest.mark.parametrize("dtype", ["uint8", "int16", "bool", "float16", "float32", "float64"])
@pytest.mark.parametrize("step", [7, 1 << 20])
def test_what_is_read_in_parts_gives_the_same(
    tmp_path: Path, dtype: str, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fingerprint, "_STEP", step)
    generator = np.random.default_rng(0)
    paths, wholes = [], []
    for part, rows in enumerate((7, 1, 4)):
        values = (generator.normal(size=(rows, 3, 2)) * 5).astype(dtype)
        images = np.empty(rows, dtype=object)
        for row in range(rows):
            images[row] = generator.integers(0, 256, (row + 1, 3), dtype=np.uint8)
        cells = [{"bytes": encode_image(image), "path": None} for image in images]
        columns = {
            "id": [f"{part}-{row}" for row in range(rows)],
            "flat": pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), 6),
            "deep": array_column(values),
            "image": cells,
            "n": np.arange(rows),
        }
        features = {"deep": array_feature(values), "image": {"_type": "Image"}}
        paths.append(stored(tmp_path / f"{part}.parquet", columns, features))
        wholes.append((columns["id"], values.reshape(rows, 6), values, images, np.arange(rows)))
    names = ("id", "flat", "deep", "image", "n")
    plain = {
        name: np.concatenate([np.asarray(whole[at]) for whole in wholes])
        for at, name in enumerate(names)
    }
    assert of_columns(Columns(paths)) == of_columns(dict(Columns(paths))) == of_columns(plain)
    assert of_columns(Columns(paths[:1])) != of_columns(Columns(paths))


def test_parts_of_other_kinds_are_taken_as_a_whole(tmp_path: Path) -> None:
    one = stored(tmp_path / "a.parquet", {"n": [[1, 2]] * 4}, {})
    two = stored(tmp_path / "b.parquet", {"n": [[1, None]] * 4}, {})
    assert of_columns(Columns([one, two])) == of_columns(dict(Columns([one, two])))
    empty = stored(tmp_path / "c.parquet", {"n": pa.array([], pa.list_(pa.int64()))}, {})
    assert of_columns(Columns([empty])) == of_columns(dict(Columns([empty])))
    assert of_columns(Columns([one, empty])) == of_columns(Columns([one]))
