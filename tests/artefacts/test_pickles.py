"""Pickles among saved files are found, whatever wrote them; other files are not taken for one."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import pickle
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from etchmark.artefacts import pickles

VALUE: dict[str, Any] = {"weights": [1.0, 2.0], "names": ["a", "b"]}


def _npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


def _zip(**members: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


PICKLED = pickle.dumps(VALUE)
OBJECTS = np.array([VALUE, None], dtype=object)
BAD: dict[str, bytes] = {
    **{f"state-{protocol}.bin": pickle.dumps(VALUE, protocol) for protocol in (2, 3, 4, 5)},
    **{f"weights{suffix}": b"anything" for suffix in pickles.SUFFIXES},
    "WEIGHTS.PKL": b"anything",
    "short.bin": pickle.dumps(None),
    "long.bin": pickle.dumps(["x" * 200_000] * 2),
    "array.npy": _npy(OBJECTS),
    "arrays.npz": _zip(**{"a.npy": _npy(np.zeros(3)), "b.npy": _npy(OBJECTS)}),
    "torch.bin": _zip(**{"archive/data.pkl": PICKLED, "archive/data/0": b"0000"}),
    "renamed.zip": _zip(content=PICKLED),
    "state.gz": gzip.compress(PICKLED),
    "state.bz2": bz2.compress(PICKLED),
    "state.xz": lzma.compress(PICKLED),
    "state.lzma": lzma.compress(PICKLED, format=lzma.FORMAT_ALONE),
    "state.z": zlib.compress(PICKLED),
}
# The length of the header, 0x0480 bytes, begins like a pickle of protocol 4.
HEADER = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).ljust(0x0480)
GOOD: dict[str, bytes] = {
    "state.json": json.dumps(VALUE).encode(),
    "empty": b"",
    "number.json": b"1.5",
    "weights.safetensors": (0x0480).to_bytes(8, "little") + HEADER.encode() + b"\0\0\0\0",
    "array.npy": _npy(np.arange(3.0)),
    "text.npy": _npy(np.array(["a", "bc"])),
    "arrays.npz": _zip(**{"a.npy": _npy(np.zeros(3))}),
    "packed.json.gz": gzip.compress(b"{}"),
    "damaged.zip": _zip(content=b"x" * 1000)[:-30],
    "damaged.gz": gzip.compress(PICKLED)[:12],
    "noise.bin": bytes(range(256)) * 10,
}


@pytest.mark.parametrize("name", BAD)
def test_a_pickle_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "inner" / name
    path.parent.mkdir()
    path.write_bytes(BAD[name])
    expected = f"inner/{name} is a pickle, .*; save it as safetensors, skops, npz or JSON"
    with pytest.raises(ValueError, match=expected):
        pickles.refuse(tmp_path)


@pytest.mark.parametrize("name", GOOD)
def test_another_file_is_not(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(GOOD[name])
    pickles.refuse(tmp_path)


def test_what_skops_and_the_toolkit_write_is_not(tmp_path: Path) -> None:
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from etchmark.saving import write_state

    inputs, target = np.random.default_rng(0).normal(size=(20, 3)), np.arange(20.0)
    forest = RandomForestRegressor(n_estimators=3, random_state=0).fit(inputs, target)
    process = make_pipeline(StandardScaler(), GaussianProcessRegressor()).fit(inputs, target)
    write_state(tmp_path, {"forest": forest, "process": process, "mean": target})
    assert len(list(tmp_path.iterdir())) == 4
    pickles.refuse(tmp_path)
