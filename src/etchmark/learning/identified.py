"""Forecasts by an equation whose parameters each trajectory tells itself."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from typing import ClassVar, Self

import numpy as np

from etchmark.learning.forecasting import context_of, horizon_of, intervals_of
from etchmark.model import Inputs, Samples
from etchmark.saving import Savable

LEAST_FRAMES = 3


class IdentifiedForecaster(Savable, ABC):
    """Learns nothing from other trajectories: each says itself what its parameters are.

    Where its frames do not, the last one is repeated; a line says how often and why.

    Attributes:
        refusals: errors of ``forecast`` that say so.
        repeated: how often the last frame was repeated in the last forecast, by reason.
    """

    refusals: ClassVar[tuple[type[Exception], ...]]

    def __init__(self) -> None:
        self.repeated: Counter[str] = Counter()

    @abstractmethod
    def forecast(self, given: np.ndarray, frames: int, interval: float) -> np.ndarray:
        """The frames that follow.

        Args:
            given: frames of one trajectory, shape (frames, n, n), float64.
            frames: how many are asked for.
            interval: time between two frames.

        Returns:
            Shape (frames, n, n).
        """

    def fit(self, train: Samples, validation: Samples | None = None) -> Self:
        return self

    def predict(self, inputs: Inputs) -> np.ndarray:
        """Frames of shape (samples, horizon, n, n), float16, not clipped.

        Raises:
            ValueError: an input has a wrong shape, is not positive or not finite, or there are
                fewer than three frames.
        """
        context, frames = context_of(inputs, at_least=LEAST_FRAMES), horizon_of(inputs)
        intervals = intervals_of(inputs, len(context))
        predicted = np.empty((len(context), frames, *context.shape[2:]), np.float16)
        self.repeated = Counter()
        for row, (given, interval) in enumerate(zip(context, intervals.tolist(), strict=True)):
            try:
                predicted[row] = self.forecast(given.astype(np.float64), frames, interval)
            except self.refusals as error:
                self.repeated[str(error)] += 1
                predicted[row] = given[-1]
        for reason, count in self.repeated.items():
            print(f"{count} of {len(context)} trajectories: {reason}; their last frame is repeated")
        return predicted

    def parameter_count(self) -> int:
        return 0
