"""`Hub`: everything that a command line, a page or a server can ask of etchmark.

`LocalHub` answers from the disk of this machine. Whoever calls a hub knows only this interface, so
a hub that is reached over a network can take its place.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import pandas as pd

    from etchmark.api.comparison import Comparison
    from etchmark.api.types import Contents, Counts, MetricInfo, RecentSubmission
    from etchmark.boards.compare import Pair
    from etchmark.boards.standings import Board
    from etchmark.boards.view import View, Where
    from etchmark.data.gallery import Gallery
    from etchmark.data.loading import Benchmark
    from etchmark.registry.tables import Entry
    from etchmark.scoring.samples import SampleScores
    from etchmark.specs import (
        BaselineCard,
        BenchmarkSpec,
        DatasetSpec,
        Manifest,
        ReferenceLine,
        ResultRecord,
    )

AnyBenchmark: TypeAlias = "str | BenchmarkSpec | Benchmark"
"""A benchmark by its id (``ID`` or ``ID@VERSION``), as it is declared, or with its data."""


class Hub(ABC):
    """The use cases of etchmark. Names that do not exist raise `UserError`."""

    # --- content ---

    @abstractmethod
    def contents(self) -> Contents:
        """What there is; a card that cannot be read does not hide the others."""

    @abstractmethod
    def benchmarks(self) -> list[str]:
        """Ids of the benchmarks, in order."""

    @abstractmethod
    def benchmark(self, name: str) -> BenchmarkSpec:
        """A benchmark by ``ID`` or ``ID@VERSION``."""

    @abstractmethod
    def datasets(self) -> list[str]:
        """Names of the datasets, in order."""

    @abstractmethod
    def dataset(self, name: str) -> DatasetSpec:
        """A dataset by its name."""

    @abstractmethod
    def models(self) -> list[str]:
        """Names of the models that the hub can run: ``<baseline>[/<variant>]``."""

    @abstractmethod
    def baseline(self, name: str) -> BaselineCard:
        """The card of a baseline; ``<baseline>/<variant>`` checks that the variant exists."""

    @abstractmethod
    def metric(self, benchmark: AnyBenchmark, name: str) -> MetricInfo:
        """Title, unit and direction of a metric on a benchmark."""

    @abstractmethod
    def cite(self, name: str) -> str:
        """BibTeX entries of a benchmark or dataset and of the papers behind it."""

    # --- data ---

    @abstractmethod
    def config_folder(self, dataset: str, config: str) -> Path | None:
        """Folder of a built config; None where it is not on this machine."""

    @abstractmethod
    def manifest(self, dataset: str, config: str) -> Manifest | None:
        """Manifest of a built config; None where it is not on this machine."""

    @abstractmethod
    def gallery(self, dataset: str, config: str) -> Gallery | None:
        """Samples of a built config to look at; None where it is not on this machine."""

    @abstractmethod
    def picture(self, dataset: str, config: str) -> Path | None:
        """The picture of a config that is shipped with the dataset's card, if there is one."""

    # --- results ---

    @abstractmethod
    def revision(self) -> tuple[str, ...]:
        """A value that changes whenever something is stored: what was read before may be old."""

    @abstractmethod
    def left_out(self) -> dict[str, str]:
        """Why a submission cannot be read, by its id; boards are without these."""

    @abstractmethod
    def counts(self) -> Counts:
        """Number of scored submissions and of different models."""

    @abstractmethod
    def newest(self, limit: int) -> list[RecentSubmission]:
        """The last scored submissions, newest first."""

    @abstractmethod
    def board(
        self, benchmark: AnyBenchmark, view: View | None = None, extra: Sequence[Entry] = ()
    ) -> Board:
        """All submissions of a view, to make several standings from without resampling again.

        Args:
            benchmark: whose board.
            view: protocol, split, metric and subset.
            extra: submissions that are not stored, to preview where they would stand.
        """

    @abstractmethod
    def standings(
        self,
        benchmark: AnyBenchmark,
        view: View | None = None,
        *,
        where: Where | None = None,
        everything: bool = False,
        extra: Sequence[Entry] = (),
    ) -> pd.DataFrame:
        """The board of a view, best first.

        Args:
            benchmark: whose board.
            view: protocol, split, metric, subset and track.
            where: show only these rows; ranks are computed among them.
            everything: also show failed, incomplete and superseded submissions, without a rank.
            extra: submissions that are not stored, to preview where they would stand.

        Returns:
            One row per submission; ``boards.standings.COLUMNS`` names the columns.
        """

    @abstractmethod
    def references(
        self, benchmark: AnyBenchmark, view: View | None = None
    ) -> list[tuple[ReferenceLine, float]]:
        """Reference lines that hold for a view, with their values."""

    @abstractmethod
    def curves(self, benchmark: AnyBenchmark, view: View | None = None) -> pd.DataFrame:
        """Learning and parameter curves of a protocol and track, one point per row."""

    @abstractmethod
    def withheld_curves(self, benchmark: AnyBenchmark, view: View | None = None) -> pd.DataFrame:
        """Curves that are not shown because they compare settings by scores on test samples."""

    @abstractmethod
    def entry(self, submission: str) -> Entry | None:
        """A submission with its per-sample table, by its full id; None where there is none."""

    @abstractmethod
    def samples(self, entry: Entry, split: str) -> SampleScores | None:
        """Per-sample outcome of a submission on a split; None where it has none."""

    @abstractmethod
    def compare(
        self, benchmark: AnyBenchmark, models: tuple[str, str], view: View | None = None
    ) -> Pair:
        """Score of one model minus that of another, with the paired 95 % interval.

        Args:
            benchmark: on whose board both stand.
            models: names, or ids of submissions or the first characters of ids.
            view: protocol, metric, track, and one split (by default every split that both predict).
        """

    @abstractmethod
    def comparison(
        self, benchmark: AnyBenchmark, submissions: Sequence[str], view: View | None = None
    ) -> Comparison:
        """A few submissions side by side: differences, errors by sample and group, horizons.

        Args:
            benchmark: on whose board they stand.
            submissions: their full ids; a single one is compared with the truth alone.
            view: protocol, split and metric.
        """

    # --- submissions ---

    @abstractmethod
    def earlier(self, record: ResultRecord) -> list[ResultRecord]:
        """Stored submissions that a record supersedes, or that supersede it, oldest first."""

    @abstractmethod
    def superseded(self, record: ResultRecord) -> bool:
        """Whether a newer submission stands in the place of this one."""

    @abstractmethod
    def same_predictions(self, record: ResultRecord) -> list[ResultRecord]:
        """Stored submissions under other names that were scored from the very same files."""
