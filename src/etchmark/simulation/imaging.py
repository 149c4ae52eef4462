"""Micrographs of two-phase microstructures: grey levels, and what a microscope does to them.

Images are float64 arrays of shape (height, width) in grey levels, 0 black and 255 white, and are
rounded to uint8 once, at the end. Lengths are in pixels. Opposite edges of a microstructure meet,
and blurring keeps to that; light, noise and scratches do not. All randomness comes from
`generator`. Functions raise ValueError for parameters out of their range.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.random import Generator
from scipy import ndimage

from etchmark.simulation.checks import number, whole

WHITE = 255.0
DIGITS = 6
"""Decimals of a drawn parameter: what is stored is what was used."""

Step = Callable[[np.ndarray, Mapping[str, float], Generator], np.ndarray]


def blur(image: np.ndarray, width: float) -> np.ndarray:
    """The image out of focus: smoothed by a Gaussian of standard deviation `width`."""
    number(width, "width", 0, min(image.shape))
    return ndimage.gaussian_filter(image, width, mode="wrap")


def gaussian_noise(image: np.ndarray, level: float, generator: Generator) -> np.ndarray:
    """Noise of a detector: independent, of standard deviation `level` in every pixel."""
    number(level, "level", 0, WHITE)
    return image + level * generator.standard_normal(image.shape)


def shot_noise(image: np.ndarray, electrons: float, generator: Generator) -> np.ndarray:
    """Noise of counting: its variance grows with the grey level.

    `electrons`: expected at white. Counts are taken as normal, which holds from some ten.
    """
    number(electrons, "electrons", 10, math.inf, ends=True)
    deviation = np.sqrt(np.clip(image, 0, None) * WHITE / electrons)
    return image + deviation * generator.standard_normal(image.shape)


def coarsen(image: np.ndarray, factor: int) -> np.ndarray:
    """A lower resolution: means of blocks of `factor` x `factor` pixels, each repeated."""
    factor = whole(factor, "factor", 1, min(image.shape))
    height, width = image.shape
    if height % factor or width % factor:
        raise ValueError(f"factor {factor} must divide the sides {image.shape}")
    blocks = image.reshape(height // factor, factor, width // factor, factor).mean(axis=(1, 3))
    return blocks.repeat(factor, axis=0).repeat(factor, axis=1)


def tilt(image: np.ndarray, strength: float, angle: float) -> np.ndarray:
    """Light from one side: a factor from 1 - strength to 1 + strength across the image.

    `angle`: of the direction in which it gets brighter, in radians from the first axis.
    """
    number(strength, "strength", 0, 1)
    rows, columns = _centred(image.shape)
    ramp = math.cos(angle) * rows + math.sin(angle) * columns
    return image * (1 + strength * ramp / (abs(math.cos(angle)) + abs(math.sin(angle))))


def vignette(image: np.ndarray, strength: float) -> np.ndarray:
    """Light that falls off from the centre: by the factor 1 - strength in the corners."""
    number(strength, "strength", 0, 1)
    rows, columns = _centred(image.shape)
    return image * (1 - strength * (rows**2 + columns**2) / 2)


def scratch(
    image: np.ndarray, count: int, width: float, depth: float, generator: Generator
) -> np.ndarray:
    """Straight scratches of polishing, nearly parallel, bright or dark.

    `count`: how many; `width`: standard deviation of the profile across; `depth`: grey levels that
    are added or taken away along the middle. Angles scatter by 0.2 radians around a drawn one.
    """
    whole(count, "count", 0)
    number(width, "width", 0, min(image.shape))
    number(depth, "depth", 0, WHITE)
    rows, columns = np.arange(image.shape[0])[:, None], np.arange(image.shape[1])
    direction, result = generator.uniform(0, math.pi), image.copy()
    for _ in range(count):
        angle = direction + 0.2 * generator.standard_normal()
        first, second = generator.random(2) * image.shape
        distance = math.cos(angle) * (rows - first) + math.sin(angle) * (columns - second)
        sign = 1.0 if generator.random() < 0.5 else -1.0
        result += sign * depth * np.exp(-((distance / width) ** 2) / 2)
    return result


def curve(image: np.ndarray, gamma: float) -> np.ndarray:
    """Another contrast curve: shares of white to the power `gamma`; dark above 1, bright below."""
    number(gamma, "gamma", 0, math.inf)
    return WHITE * np.clip(image / WHITE, 0, 1) ** gamma


def flatten(image: np.ndarray, share: float) -> np.ndarray:
    """A weak contrast: differences from mid-grey keep this share."""
    number(share, "share", 0, 1)
    return WHITE / 2 + share * (image - WHITE / 2)


def edges(image: np.ndarray, gain: float) -> np.ndarray:
    """Bright interfaces, as secondary electrons show them: adds `gain` times the slope there."""
    number(gain, "gain", 0, math.inf)
    return image + gain * ndimage.gaussian_gradient_magnitude(image, 1.0, mode="wrap")


def invert(image: np.ndarray) -> np.ndarray:
    """Bright and dark exchanged, as between etchants or detectors."""
    return WHITE - image


def _centred(shape: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates of pixels along both axes, -1 to 1, to be broadcast."""
    rows, columns = (np.linspace(-1, 1, size) for size in shape)
    return rows[:, None], columns


STEPS: dict[str, Step] = {
    "blur": lambda image, given, _: blur(image, given["width"]),
    "gaussian_noise": lambda image, given, source: gaussian_noise(image, given["level"], source),
    "shot_noise": lambda image, given, source: shot_noise(image, given["electrons"], source),
    "coarsen": lambda image, given, _: coarsen(image, int(given["factor"])),
    "tilt": lambda image, given, _: tilt(image, given["strength"], given["angle"]),
    "vignette": lambda image, given, _: vignette(image, given["strength"]),
    "scratch": lambda image, given, source: scratch(
        image, round(given["count"]), given["width"], given["depth"], source
    ),
    "curve": lambda image, given, _: curve(image, given["gamma"]),
    "flatten": lambda image, given, _: flatten(image, given["share"]),
    "edges": lambda image, given, _: edges(image, given["gain"]),
    "invert": lambda image, given, _: invert(image),
}
"""What may happen to an image, by name."""


def render(
    phase: np.ndarray,
    levels: Sequence[Sequence[float]],
    steps: Sequence[Mapping[str, Any]],
    generator: Generator,
) -> tuple[np.ndarray, dict[str, Any]]:
    """A micrograph of a microstructure.

    Args:
        phase: zeros and ones, shape (height, width).
        levels: ranges of the grey levels of 0 and of 1, [lowest, highest] each.
        steps: what happens to the image, in turn: ``step``, a name in ``STEPS``, and its
            parameters, numbers or ranges.
        generator: of all randomness.

    Returns:
        The image, uint8 of shape (height, width), and the parameters as drawn, as JSON values.

    Raises:
        ValueError: an unknown step, or parameters that it refuses.
    """
    dark, bright = (_drawn(level, generator) for level in levels)
    image = np.where(phase > 0, bright, dark).astype(np.float64)
    made: list[dict[str, Any]] = []
    for step in steps:
        name = step["step"]
        if name not in STEPS:
            raise ValueError(f"step {name!r} must be one of {', '.join(sorted(STEPS))}")
        given = {key: _drawn(value, generator) for key, value in step.items() if key != "step"}
        image = STEPS[name](image, given, generator)
        made.append({"step": name, **given})
    pixels = np.rint(np.clip(image, 0, WHITE)).astype(np.uint8)
    return pixels, {"levels": [dark, bright], "steps": made}


def _drawn(value: float | Sequence[float], generator: Generator) -> float:
    """A number as it is, or one from a range."""
    if not isinstance(value, Sequence):
        return value
    low, high = value
    return round(float(generator.uniform(low, high)), DIGITS)
