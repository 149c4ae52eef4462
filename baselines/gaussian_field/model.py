"""A Gaussian random field, cut at a level, whose two-point function is the exemplar's.

The correlation of the field at each lag is the one at which both of two correlated normal numbers
exceed the level as often as the exemplar's two-point function says; the spectrum of these
correlations, with what is negative in it taken away, is that of the field. Source: Quiblier, J.
Colloid Interface Sci. 98 (1984) 84, DOI 10.1016/0021-9797(84)90481-8; Adler, Jacquin & Quiblier,
Int. J. Multiphase Flow 16 (1990) 691, DOI 10.1016/0301-9322(90)90025-E.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.special import ndtri

from etchmark.learning.reconstruction import Exemplar, Reconstruction, checked
from etchmark.saving import keeps_arguments, rebuild

STEPS = 4001
"""Correlations in the table that is inverted."""

Values = NDArray[np.float64]


def both_above(fraction: float) -> tuple[Values, Values]:
    """How often both of two normal numbers exceed a level, against their correlation.

    With correlation sin a the probability grows by exp(-t² / (1 + sin a)) / 2 pi per angle a, where
    t is the level that one number exceeds with probability ``fraction``.

    Returns:
        Probabilities and correlations, both rising, shape (4001,).
    """
    level = ndtri(1 - fraction)
    angles = np.linspace(-np.pi / 2, np.pi / 2, STEPS)
    correlations = np.sin(angles)
    # The first angle has no slope, unless the level is zero.
    slopes = np.full(STEPS, 0.0 if level else 1.0)
    slopes[1:] = np.exp(-(level**2) / (1 + correlations[1:]))
    slopes /= 2 * np.pi
    steps = (slopes[1:] + slopes[:-1]) / 2 * np.diff(angles)
    rise = np.concatenate([[0.0], np.cumsum(steps)])
    # Fully correlated numbers are one number.
    return rise + fraction - rise[-1], correlations


def correlations_of(two_point: Values, fraction: float) -> Values:
    """Correlations of the field that is cut, at each lag of a two-point function."""
    return np.interp(two_point, *both_above(fraction))


def nearest_spectrum(spectrum: Values) -> Values:
    """The spectrum without negative values, of the same sum, that is nearest to one given.

    A projection on the simplex (Duchi et al., ICML 2008, DOI 10.1145/1390156.1390191): the nearest
    correlations that a field of unit variance can have.
    """
    descending = np.sort(spectrum, axis=None)[::-1]
    excess = (np.cumsum(descending) - spectrum.sum()) / np.arange(1, spectrum.size + 1)
    return np.maximum(spectrum - excess[np.flatnonzero(descending > excess)[-1]], 0.0)


class GaussianField(Reconstruction):
    """Fields of the exemplar's spectrum, cut by rank.

    Args:
        reach: of an exemplar that is not periodic, lags up to this many pixels are matched;
            correlations beyond it are taken as zero, and fade towards it from half of it on.
        seed: of the fields.
    """

    def __init__(self, reach: int, seed: int) -> None:
        super().__init__(seed)
        self.reach = reach

    def correlations(self, exemplar: Exemplar) -> Values:
        """Of the field, on the periodic grid on which it is drawn, zero lag first."""
        height, width = exemplar.image.shape
        if exemplar.periodic:
            counts = np.abs(np.fft.fft2(exemplar.image)) ** 2
            two_point = np.fft.ifft2(counts).real / exemplar.image.size
            return correlations_of(two_point, exemplar.fraction)
        reach = min(self.reach, height - 1, width - 1)
        known = correlations_of(exemplar.two_point(reach), exemplar.fraction)
        lags = np.hypot(*np.ogrid[-reach : reach + 1, -reach : reach + 1])
        fading = np.clip(2 * (1 - lags / (reach + 1)), 0.0, 1.0)
        # Edges of the grid lie so far from the window that it does not see them meet.
        whole = np.zeros((height + reach, width + reach))
        whole[: 2 * reach + 1, : 2 * reach + 1] = known * (fading * fading * (3 - 2 * fading))
        return np.roll(whole, (-reach, -reach), axis=(0, 1))

    def draw(self, exemplar: Exemplar, generators: list[Generator]) -> np.ndarray:
        correlations = self.correlations(exemplar)
        spectrum = nearest_spectrum(np.fft.fft2(correlations).real)
        spectrum.flat[0] = 0.0
        height, width = exemplar.image.shape
        images = []
        for generator in generators:
            noise = np.fft.fft2(generator.standard_normal(correlations.shape))
            field = np.fft.ifft2(noise * np.sqrt(spectrum)).real
            images.append(exemplar.cut(field[:height, :width]))
        return np.stack(images)


@keeps_arguments
def build(seed: int, device: str, reach: int = 32) -> GaussianField:
    checked({"reach": (reach, 1)})
    return GaussianField(reach, seed)


def load(folder: Path, device: str) -> GaussianField:
    return rebuild(build, folder, device)
