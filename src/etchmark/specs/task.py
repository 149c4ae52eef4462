"""What identifies an evaluation: benchmark, inputs of the model, division of the data."""

from __future__ import annotations

from dataclasses import dataclass

from etchmark.specs.content import BenchmarkSpec, Protocol, Track


@dataclass(frozen=True)
class Task:
    """One way to take part in a benchmark; records of the same task are comparable.

    Attributes:
        benchmark: with all its tracks and protocols.
        track: name of the columns that the model reads.
        protocol: name of the division into training and test samples.

    Raises:
        ValueError: the benchmark declares no such track or protocol.
    """

    benchmark: BenchmarkSpec
    track: str
    protocol: str

    def __post_init__(self) -> None:
        if self.track not in self.benchmark.tracks:
            raise ValueError(f"{self.benchmark.key} has no track {self.track!r}")
        if self.protocol not in self.benchmark.protocols:
            raise ValueError(f"{self.benchmark.key} has no protocol {self.protocol!r}")

    def __str__(self) -> str:
        return f"{self.benchmark.key}, track {self.track}, protocol {self.protocol}"

    @property
    def inputs(self) -> list[str]:
        """Names of the columns that the model reads."""
        return self.benchmark.tracks[self.track].inputs

    @property
    def reads(self) -> Track:
        """What the benchmark declares about the track."""
        return self.benchmark.tracks[self.track]

    @property
    def divides(self) -> Protocol:
        """What the benchmark declares about the protocol."""
        return self.benchmark.protocols[self.protocol]

    @property
    def headline(self) -> str:
        """The split by which models are ranked."""
        return self.divides.split
