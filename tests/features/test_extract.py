"""Features are computed once, whoever asks; the store is whole at any moment."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch (extra `features`) is not installed")
pytest.importorskip("timm", reason="timm (extra `features`) is not installed")

from etchmark.features import encoders
from etchmark.features.extract import features
from etchmark.features.images import Views, grey
from etchmark.features.locating import locate
from etchmark.features.spec import EncoderSpec, Output
from etchmark.features.store import Shelf

SPEC = EncoderSpec(
    "vit_tiny_patch16_224",
    weights="random",
    size=32,
    precision="float32",
    options={"embed_dim": 16, "depth": 2, "num_heads": 2},
)
OUTPUTS = [Output("last", "class"), Output(0, "mean")]


def pictures(count: int, seed: int = 0) -> list[np.ndarray]:
    generator = np.random.default_rng(seed)
    return [(generator.random((20, 20)) < 0.4).astype(np.uint8) * 255 for _ in range(count)]


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many images each call of an encoder was given."""
    calls: list[int] = []
    original = encoders.Encoder.__call__

    def call(self: Any, given: Any, outputs: Any) -> Any:
        calls.append(len(given))
        return original(self, given, outputs)

    monkeypatch.setattr(encoders.Encoder, "__call__", call)
    return calls


def test_the_second_time_nothing_is_computed(tmp_path: Path, counted: list[int]) -> None:
    given = pictures(30)
    first = features(given, SPEC, OUTPUTS, folder=tmp_path)
    assert (first.values.shape, first.computed, sum(counted)) == ((30, 32), 30, 30)
    second = features(given, SPEC, OUTPUTS, folder=tmp_path)
    assert (second.computed, sum(counted)) == (0, 30)
    np.testing.assert_array_equal(first.values, second.values)
    assert second.seconds == first.seconds > 0
    assert first.spent >= first.seconds > second.spent


def test_a_full_store_needs_no_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = replace(SPEC, precision="auto")
    first = features(pictures(3), spec, OUTPUTS, folder=tmp_path)
    # An import of either fails from here on.
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "etchmark.learning.training", raising=False)
    monkeypatch.delitem(sys.modules, "etchmark.features.encoders")
    second = features(pictures(3), spec, OUTPUTS, folder=tmp_path)
    np.testing.assert_array_equal(first.values, second.values)


def test_only_what_is_new_is_computed(tmp_path: Path, counted: list[int]) -> None:
    given = pictures(20)
    features(given[:12], SPEC, OUTPUTS, folder=tmp_path)
    # Equal images count once, in any order.
    mixed = [*given[::-1], *given[:5]]
    found = features(mixed, SPEC, OUTPUTS, folder=tmp_path)
    assert (found.computed, sum(counted)) == (8, 20)
    alone = features(mixed, SPEC, OUTPUTS, folder=None)
    np.testing.assert_allclose(found.values, alone.values, rtol=1e-4, atol=1e-6)


def test_one_pass_fills_every_output(tmp_path: Path, counted: list[int]) -> None:
    given = pictures(5)
    features(given, SPEC, OUTPUTS, folder=tmp_path)
    for output in OUTPUTS:
        assert features(given, SPEC, [output], folder=tmp_path).computed == 0
    assert sum(counted) == 5


def test_views_are_averaged() -> None:
    image = pictures(1)[0]
    spec = EncoderSpec(**{**vars(SPEC), "views": Views(turns=4, flips=True)})
    found = features([image], spec, OUTPUTS, folder=None).values
    parts = [features([one], SPEC, OUTPUTS, folder=None).values for one in spec.views.of(image)]
    assert len(parts) == 8
    np.testing.assert_allclose(found, np.mean(parts, axis=0), rtol=1e-4, atol=1e-5)
    # All symmetries of the square give the same features.
    turned = features([np.rot90(image)], spec, OUTPUTS, folder=None).values
    np.testing.assert_allclose(found, turned, rtol=1e-4, atol=1e-5)


def test_views_of_an_image() -> None:
    image = np.arange(12, dtype=np.uint8).reshape(3, 4)
    assert [one.shape for one in Views(turns=4).of(image)] == [(3, 4), (4, 3), (3, 4), (4, 3)]
    shifted = Views(shifts=3).of(image)
    assert len(shifted) == len(Views(shifts=3)) == 3
    assert all(sorted(one.ravel()) == list(range(12)) for one in shifted)
    assert len(Views(turns=2, flips=True, shifts=2).of(image)) == 8


def test_phases_are_black_and_white() -> None:
    cells = np.array([[[0, 1], [1, 0]]], dtype=np.uint8)
    assert grey("section_x", cells)[0].tolist() == [[0, 255], [255, 0]]
    assert grey("micrograph", [cells[0] * 7])[0].tolist() == [[0, 7], [7, 0]]


def test_a_damaged_store_is_computed_again(
    tmp_path: Path, counted: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    given = pictures(4)
    first = features(given, SPEC, OUTPUTS, folder=tmp_path)
    shelf = Shelf(tmp_path, SPEC.recipe(locate(SPEC), OUTPUTS[0], "cpu"))
    shelf.path.write_bytes(b"damage" * 2000)
    for rest in ("-wal", "-shm"):
        shelf.path.with_name(shelf.path.name + rest).unlink(missing_ok=True)
    again = features(given, SPEC, OUTPUTS, folder=tmp_path)
    assert sum(counted) == 8
    assert "is damaged, now" in capsys.readouterr().err
    np.testing.assert_array_equal(first.values, again.values)


def test_not_finite_is_never_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def call(self: Any, given: Any, outputs: Any) -> Any:
        return [np.full((len(given), 16), np.nan, "f4") for _ in outputs]

    monkeypatch.setattr(encoders.Encoder, "__call__", call)
    with pytest.raises(FloatingPointError, match="not finite"):
        features(pictures(3), SPEC, OUTPUTS, folder=tmp_path)
    monkeypatch.undo()
    assert features(pictures(3), SPEC, OUTPUTS, folder=tmp_path).computed == 3


def _work(folder: Path) -> None:
    features(pictures(300), SPEC, OUTPUTS, folder=folder)


def test_two_processes_at_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_work, args=(tmp_path,)) for _ in range(2)]
    for one in processes:
        one.start()
    for one in processes:
        one.join(120)
        assert one.exitcode == 0
    given = pictures(300)
    found = features(given, SPEC, OUTPUTS, folder=tmp_path)
    assert found.computed == 0
    alone = features(given[:20], SPEC, OUTPUTS, folder=None)
    np.testing.assert_allclose(found.values[:20], alone.values, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_killed_processes_lose_nothing_that_was_stored(tmp_path: Path) -> None:
    code = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from pathlib import Path
from test_extract import _work
print("go", flush=True)
_work(Path({str(tmp_path)!r}))
"""
    stored = 0
    for attempt in range(6):
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(1.0 + 0.4 * attempt)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
        shelf = Shelf(tmp_path, SPEC.recipe(locate(SPEC), OUTPUTS[0], "cpu"))
        from etchmark.features.store import image_hash

        now = len(shelf.get([image_hash(one) for one in pictures(300)]))
        assert now >= stored
        stored = now
    found = features(pictures(300), SPEC, OUTPUTS, folder=tmp_path)
    assert found.computed == 300 - stored
