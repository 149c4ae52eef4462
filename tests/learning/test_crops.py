"""Crops keep pictures and classes together; the loss counts what has a class."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from etchmark.learning import crops  # noqa: E402 (it needs torch)


def bright_classes(count: int = 3, height: int = 20, width: int = 26) -> tuple[list, list]:
    """Pictures whose grey level says the class of the pixel."""
    generator = np.random.default_rng(0)
    masks = [generator.integers(0, 3, (height, width)).astype(np.uint8) for _ in range(count)]
    return [80 * mask for mask in masks], masks


def test_classes_are_cut_and_turned_with_their_pictures() -> None:
    made = crops.Pictures(*bright_classes(), 8, 4)
    pictures, labels = made(np.arange(60), np.random.default_rng(1))
    assert pictures.shape == (60, 1, 8, 8)
    assert labels.shape == (60, 8, 8)
    for picture, label in zip(pictures[:, 0], labels, strict=True):
        known = label != crops.NO_CLASS
        levels = [picture[known & (label == number)] for number in range(3)]
        # Whatever was done to grey levels, each class has one of its own, brighter than the last.
        assert all(float(each.max() - each.min()) < 1e-4 for each in levels)
        assert float(levels[0].max()) < float(levels[1].min()) < float(levels[2].min())


def test_grey_levels_differ_from_crop_to_crop() -> None:
    made = crops.Pictures(*bright_classes(), 16, 4)
    pictures, _ = made(np.zeros(20, dtype=int), np.random.default_rng(2))
    assert len({round(float(each.max()), 3) for each in pictures}) > 15


def test_all_eight_symmetries_occur() -> None:
    square = torch.arange(4.0).reshape(1, 2, 2)
    seen = {tuple(crops.turned(square, way).flatten().tolist()) for way in range(8)}
    assert len(seen) == 8


def test_what_lies_beyond_has_no_class() -> None:
    picture = np.arange(30, dtype=np.uint8).reshape(5, 6)
    whole = crops.padded(crops.standardised(picture), 4)
    assert whole.shape == (1, 8, 8)
    assert torch.equal(whole[0, 5], whole[0, 3])
    labels = crops.labels_of(np.ones((5, 6), np.uint8), (8, 8))
    assert (labels == 1).sum() == 30
    assert (labels == crops.NO_CLASS).sum() == 34


def test_crops_of_all_maps_show_the_same_place() -> None:
    """Maps that hold their own coordinates, in pixels of the picture."""
    rows, columns = torch.meshgrid(torch.arange(16.0), torch.arange(24.0), indexing="ij")
    fine = torch.stack([rows, columns])
    maps = [fine, fine[:, ::2, ::2]]
    mask = (torch.arange(16)[:, None] * 0 + torch.arange(24)[None]).numpy().astype(np.uint8)
    made = crops.FrozenMaps([maps], [mask], 8, 2)
    (large, small), labels = made(np.zeros(30, dtype=int), np.random.default_rng(0))
    assert torch.equal(large[:, :, ::2, ::2], small)
    assert torch.equal(labels.float(), large[:, 1])
    assert len({float(each) for each in large[:, 0, 0, 0]}) > 2


def test_crops_of_maps_are_made_where_a_processor_multiplies_bfloat16() -> None:
    """On a processor, autocast takes no float16 tensors together."""
    maps = [torch.rand(2, 16, 16), torch.rand(2, 8, 8)]
    made = crops.FrozenMaps([maps], [np.zeros((16, 16), dtype=np.uint8)], 8, 2)
    with torch.autocast("cpu", torch.bfloat16):
        given, _ = made(np.zeros(3, dtype=int), np.random.default_rng(0))
    assert [level.dtype for level in given] == [torch.float32] * 2


def test_the_loss_by_hand() -> None:
    """Two classes with equal shares everywhere: entropy log 2, Dice 2 n/2 / (N/2 + n)."""
    labels = torch.zeros(1, 4, 4, dtype=torch.int64)
    labels[0, 0] = 1
    labels[0, 3] = crops.NO_CLASS
    logits = torch.zeros(1, 3, 4, 4)
    logits[:, 2] = -100.0
    dice = [8 / (6 + 8), 4 / (6 + 4)]
    expected = np.log(2) + 1 - np.mean(dice)
    assert float(crops.dice_and_entropy(logits, labels)) == pytest.approx(expected, rel=1e-5)
    # What is said beyond the picture counts nothing.
    logits[0, 0, 3] = 9.0
    assert float(crops.dice_and_entropy(logits, labels)) == pytest.approx(expected, rel=1e-5)
