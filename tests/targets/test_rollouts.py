"""Pictures of predicted frames."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from etchmark.targets.frames.rollouts import AHEAD, decode, encode, horizons

GENERATOR = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("frames", "expected"),
    [(90, [1, 23, 46, 68, 90]), (10, [1, 3, 6, 8, 10]), (3, [1, 2, 3]), (1, [1])],
)
def test_horizons(frames: int, expected: list[int]) -> None:
    assert horizons(frames) == pytest.approx(expected, abs=1)
    assert (horizons(frames)[0], horizons(frames)[-1]) == (1, frames)


@pytest.mark.parametrize(("frames", "side"), [(7, 8), (1, 5), (90, 64)])
def test_a_picture_is_read_as_it_was_written(frames: int, side: int) -> None:
    truth, given = GENERATOR.random((2, frames, side, side))
    shown = horizons(frames)
    pictures = decode("a", encode(truth, given))
    assert pictures.samples == ["a"] * len(shown)
    assert pictures.titles == [f"{ahead} ahead" for ahead in shown]
    rows = np.array(shown) - 1
    for pixels, exact in ((pictures.truth, truth), (pictures.predicted, given)):
        assert pixels.dtype == np.uint8
        np.testing.assert_allclose(pixels / 255, exact[rows], atol=0.5 / 255 + 1e-9)


def test_values_beyond_the_range_are_cut_off() -> None:
    low, high = np.full((1, 2, 2), -1e4), np.full((1, 2, 2), np.float16(3))
    pictures = decode("a", encode(low, high))
    assert pictures.truth.max() == 0
    assert pictures.predicted.min() == 255


def _png(pixels: np.ndarray, ahead: str | None = "1") -> bytes:
    from PIL import PngImagePlugin

    notes = PngImagePlugin.PngInfo()
    if ahead is not None:
        notes.add_text(AHEAD, ahead)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", pnginfo=notes)
    return buffer.getvalue()


GOOD = encode(*np.zeros((2, 1, 64, 64)))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"GIF89a",
        GOOD[:60],
        _png(np.zeros((4, 2), np.uint8), None),
        _png(np.zeros((4, 2), np.uint8), ""),
        _png(np.zeros((4, 2), np.uint8), "one"),
        _png(np.zeros((4, 2), np.uint8), "1 2"),
        _png(np.zeros((5, 2), np.uint8)),
        _png(np.zeros((4, 2, 3), np.uint8)),
    ],
)
def test_other_content_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"no picture of predictions|invalid literal"):
        decode("a", content)


def test_a_small_file_with_a_large_picture_is_refused_before_it_is_unpacked() -> None:
    content = _png(np.zeros((8192, 4096), np.uint8))
    assert len(content) < 100_000
    with pytest.raises(ValueError, match="4096 x 8192 pixels"):
        decode("a", content)
