"""What models of one class per pixel share: their pictures, drawn pixels, grey levels, regions.

Nothing here sees a label but what ``draw_pixels`` is given in training: regions in which a class is
voted on come from the picture alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
from numpy.typing import NDArray

from etchmark.errors import CannotRun, UserError
from etchmark.model import Inputs

PICTURES = "micrograph"
"""The input that such models read."""
LEVELS, SLIC = "levels", "slic"
REGIONS = (LEVELS, SLIC)
SMOOTHED_PX = 2.0
"""Blur before a picture is cut into levels, or noise makes every pixel a region of its own."""
SLIC_PIXELS, SLIC_COMPACTNESS = 400, 0.1


def pictures_of(inputs: Inputs) -> list[NDArray[np.uint8]]:
    """The micrographs of some samples, shape (height, width) each.

    Raises:
        UserError: the track has none.
    """
    if PICTURES not in inputs:
        raise UserError(
            f"this model reads the input {PICTURES!r}; give a --track that has it (its inputs:"
            f" {', '.join(list(inputs)[:5])})"
        )
    return [np.asarray(picture, dtype=np.uint8) for picture in inputs[PICTURES]]


def draw_pixels(count: int, pixels: int, generator: np.random.Generator) -> NDArray[np.int64]:
    """Places in a flattened picture, without repetition, in increasing order.

    Args:
        count: how many; all of them if the picture has fewer.
        pixels: of the picture.
        generator: draws them.
    """
    return np.sort(generator.choice(pixels, min(count, pixels), replace=False))


# --- grey levels -------------------------------------------------------------------------------


def multi_otsu(picture: NDArray[np.uint8], classes: int) -> NDArray[np.int64]:
    """Grey levels at which classes begin, so that they differ most: shape (classes - 1,).

    The variance between classes of the histogram is largest among all ways to cut it, found by
    dynamic programming. Source: Otsu, IEEE Trans. Syst. Man Cybern. 9 (1979) 62,
    DOI 10.1109/TSMC.1979.4310076; for several levels Liao, Chen & Chung, J. Inf. Sci. Eng. 17
    (2001) 713.

    Args:
        picture: any shape.
        classes: at least 2; levels beyond the different grey levels of the picture are 256.
    """
    counts = np.bincount(picture.ravel(), minlength=256).astype(np.float64)
    weight = np.concatenate([[0.0], counts.cumsum()])
    moment = np.concatenate([[0.0], (counts * np.arange(256)).cumsum()])
    # What a class of the levels from i up to but without j adds to the variance between classes.
    inside = weight[None, :] - weight[:, None]
    summed = moment[None, :] - moment[:, None]
    with np.errstate(invalid="ignore", divide="ignore"):
        gain = np.where(inside > 0, summed**2 / inside, -np.inf)
    best, cuts = gain[0], []
    for _ in range(classes - 1):
        paths = best[:, None] + gain
        cuts.append(paths.argmax(axis=0))
        best = paths.max(axis=0)
    limits, end = [], 256
    for cut in reversed(cuts):
        end = int(cut[end]) if np.isfinite(best[256]) else 256
        limits.append(end)
    return np.array(limits[::-1], dtype=np.int64)


def grey_bands(picture: NDArray[np.uint8], classes: int) -> NDArray[np.int64]:
    """Number of the band of grey levels of each pixel, from dark to bright; the same shape."""
    return np.searchsorted(multi_otsu(picture, classes), picture, side="right")


# --- regions -----------------------------------------------------------------------------------


def regions(picture: NDArray[np.uint8], kind: str, classes: int) -> NDArray[np.int64]:
    """Number of the region of each pixel, shape (height, width); from the picture alone.

    ``levels`` are connected pixels of one band of grey levels of the blurred picture, in the way
    that Azimi et al. (Sci. Rep. 8 (2018) 2128, DOI 10.1038/s41598-018-20037-5) cut out objects by
    their grey level; ``slic`` are superpixels (Achanta et al., IEEE Trans. Pattern Anal. Mach.
    Intell. 34 (2012) 2274, DOI 10.1109/TPAMI.2012.120) of 400 pixels.

    Raises:
        UserError: there is no such kind.
        CannotRun: superpixels need scikit-image.
    """
    from scipy import ndimage

    if kind == LEVELS:
        smooth = ndimage.gaussian_filter(picture.astype(np.float32), SMOOTHED_PX)
        bands = grey_bands(np.round(smooth).astype(np.uint8), classes)
        numbers = np.zeros(picture.shape, dtype=np.int64)
        for band in range(classes):
            found, count = cast("tuple[np.ndarray, int]", ndimage.label(bands == band))
            numbers = np.where(found > 0, found + numbers.max(), numbers) if count else numbers
        return numbers - 1
    if kind == SLIC:
        try:
            from skimage.segmentation import slic
        except ModuleNotFoundError:
            raise CannotRun(
                "superpixels need scikit-image; install etchmark[simulate] or give other regions"
            ) from None
        count = max(1, picture.size // SLIC_PIXELS)
        grey = picture.astype(np.float64) / 255.0
        found = slic(grey, count, SLIC_COMPACTNESS, channel_axis=None, start_label=0)
        return found.astype(np.int64)
    raise UserError(f"regions {kind!r}: give one of {', '.join(REGIONS)}")


def vote(shares: NDArray[np.floating], numbers: NDArray[np.int64]) -> NDArray[np.uint8]:
    """The class of each pixel, by the mean share of each class over its region.

    Args:
        shares: of the classes at each pixel, shape (classes, height, width).
        numbers: region of each pixel, from 0, shape (height, width).
    """
    flat = numbers.ravel()
    totals = np.stack([np.bincount(flat, weights=share.ravel()) for share in shares])
    return totals.argmax(axis=0).astype(np.uint8)[flat].reshape(numbers.shape)


# --- scores inside the training data -----------------------------------------------------------


def pooled_iou(truth: np.ndarray, predicted: np.ndarray, classes: int) -> float:
    """Mean IoU over the classes that occur, for choices made inside the training data.

    Args:
        truth: numbers of classes, shape (pixels,).
        predicted: the same shape.
        classes: how many there are.
    """
    table = np.bincount(truth.astype(int) * classes + predicted, minlength=classes**2)
    table = table.reshape(classes, classes)
    unions = table.sum(axis=0) + table.sum(axis=1) - table.diagonal()
    occurs = unions > 0
    return float((table.diagonal()[occurs] / unions[occurs]).mean())


def class_count(masks: np.ndarray | Sequence[np.ndarray]) -> int:
    """Classes up to the largest number in training masks."""
    return 1 + max(int(mask.max()) for mask in masks)
