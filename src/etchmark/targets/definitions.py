"""What a metric is: its definition, the terms it reads, and how its uncertainty is judged."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from etchmark.targets.losses import Array, Sums
from etchmark.targets.scales import LINEAR, Scale


def not_additive(sums: Sums) -> Array:
    """``finish`` of a metric that is pooled.

    Raises:
        TypeError: always.
    """
    raise TypeError("a pooled metric cannot be made from sums")


@dataclass(frozen=True)
class Metric:
    """A metric: identifier, how its unit derives from the target's, direction and definition.

    It is additive, a function of sums of terms over samples, unless it has ``pool``.
    """

    id: str
    title: str
    unit: str | None
    """None: the unit of the target."""
    higher_is_better: bool
    finish: Callable[[Sums], Array]
    """The metric from sums of terms over samples, each of any shape."""
    definition: str
    terms: tuple[str, ...]
    """Names of the terms it reads; ``name*`` stands for all that begin with ``name``."""
    pool: Callable[[Mapping[str, Array], Array], Array] | None = None
    """Computes a metric that is not a function of sums, such as an area under a curve: its values,
    shape (seeds, resamples), from the terms of all samples, shape (seeds, samples) each, and how
    often each sample is drawn, shape (resamples, samples). ``finish`` is then never called."""
    of_units: bool = False
    """``pool`` is given sums over independent units, and how often each unit is drawn, in place of
    terms of single samples."""
    counted_by: str | None = None
    """The term that counts the samples with a value, if some have none. A split without any such
    sample has no score of this metric."""
    scale: Scale = LINEAR
    """On which its sampling error is nearly symmetric, for intervals."""
    loss: Callable[[Sums], Array] | None = None
    """Loss of each unit from the sums of its terms, whose difference between two models is a matter
    of these units alone; by default the first term, negative where larger is better."""
    contrast: Callable[[Sums, Sums], Array] | None = None
    """How much each unit adds to the first model's loss beyond the second's, from both models' sums
    of each unit, last axis the units; axes before it are of many pairs, and broadcast. For metrics
    that are not monotone in one sum."""

    def unit_for(self, target_unit: str) -> str:
        return target_unit if self.unit is None else self.unit

    def sign(self) -> float:
        """+1 where larger is worse, so that ``sign * score`` orders best first."""
        return -1.0 if self.higher_is_better else 1.0

    def applies(self, sums: Sums) -> bool:
        """Whether these samples have a value of the metric at all."""
        if self.counted_by is None:
            return True
        return self.counted_by in sums and bool(np.any(sums[self.counted_by]))

    def reads(self, names: Iterable[str]) -> tuple[str, ...]:
        """Names of the terms that ``finish`` reads, among those that a target has.

        A term that is named in full is listed even where the target lacks it.
        """
        known = list(names)
        read: list[str] = []
        for term in self.terms:
            if term.endswith("*"):
                read += [name for name in known if name.startswith(term[:-1])]
            else:
                read.append(term)
        return tuple(dict.fromkeys(read))

    def of(self, sums: Sums) -> Array:
        """The metric from sums of terms; NaN where a term is missing, or the metric is pooled."""
        like = next(iter(sums.values()))
        if self.pool is not None:
            return np.full_like(like, np.nan, dtype=np.float64)
        absent = np.full_like(like, np.nan, dtype=np.float64)
        return self.finish({name: sums.get(name, absent) for name in self.reads(sums)})
