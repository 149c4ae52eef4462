"""`Hub`: everything that a command line, a page or a server can ask of etchmark.

`LocalHub` answers from the disk of this machine. Whoever calls a hub knows only this interface, so
a hub that is reached over a network can take its place.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from etchmark.api.data_hub import DataHub

if TYPE_CHECKING:
    import pandas as pd

    from etchmark.api.comparison import Comparison
    from etchmark.api.types import (
        Contents,
        Counts,
        Evaluation,
        Match,
        MetricInfo,
        RecentSubmission,
        RunRequest,
        Submitted,
    )
    from etchmark.boards.compare import Pair
    from etchmark.boards.solver import Solver
    from etchmark.boards.standings import Board
    from etchmark.boards.view import View, Where
    from etchmark.data.loading import Benchmark
    from etchmark.registry.store import Found
    from etchmark.registry.tables import Entry
    from etchmark.scoring.samples import SampleScores
    from etchmark.scoring.score import Scored
    from etchmark.specs import (
        BaselineCard,
        BenchmarkSpec,
        DatasetSpec,
        ReferenceLine,
        ResultRecord,
    )
    from etchmark.submission.review import Checked
    from etchmark.submission.scoring import Stated
    from etchmark.submission.statements import Statement
    from etchmark.submission.submit import Committed, Prepared
    from etchmark.submission.uploads import Uploads
    from etchmark.submission.withdrawal import Withdrawn

AnyBenchmark: TypeAlias = "str | BenchmarkSpec | Benchmark"
"""A benchmark by its id (``ID`` or ``ID@VERSION``), as it is declared, or with its data."""


class Hub(DataHub):
    """The use cases of etchmark. Names that do not exist raise `UserError`."""

    # --- content ---

    @abstractmethod
    def contents(self) -> Contents:
        """What there is; a card that cannot be read does not hide the others."""

    @abstractmethod
    def find(self, name: str) -> BenchmarkSpec | DatasetSpec | BaselineCard:
        """Whatever has a name: a benchmark, a dataset or a baseline."""

    @abstractmethod
    def benchmarks(self) -> list[str]:
        """Ids of the benchmarks, in order."""

    @abstractmethod
    def benchmark(self, name: str) -> BenchmarkSpec:
        """A benchmark by ``ID`` or ``ID@VERSION``."""

    @abstractmethod
    def versions(self, benchmark: str) -> list[str]:
        """``ID@VERSION`` of every version of the benchmark with this id, the current one first."""

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
    def boards_of(self, baseline: str) -> dict[str, dict[str, dict[str, str]]]:
        """Track and role of each model of a baseline, by benchmark and by the model's name."""

    @abstractmethod
    def metric(self, benchmark: AnyBenchmark, name: str) -> MetricInfo:
        """Title, unit and direction of a metric on a benchmark."""

    @abstractmethod
    def target_facts(self, benchmark: AnyBenchmark) -> list[tuple[str, str]]:
        """What else is declared of a benchmark's target, as labels and texts."""

    @abstractmethod
    def cite(self, name: str, seen_at: str | None = None) -> str:
        """BibTeX entries of a benchmark or dataset and of the papers behind it.

        Args:
            name: ``ID``, ``ID@VERSION`` or a dataset.
            seen_at: address where its board was seen today, for the first entry.
        """

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
    def submissions_of(self, model: str) -> list[RecentSubmission]:
        """The scored submissions of a model by its name, newest first."""

    @abstractmethod
    def search(self, text: str, limit: int = 20) -> list[Match]:
        """Benchmarks, datasets and models whose name or title holds every word of a text.

        Where there is none, the words in names and titles that are spelled most alike are taken.

        Args:
            text: words; small and capital letters count alike.
            limit: of each sort, at most so many.
        """

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
    def coverage(self, benchmark: AnyBenchmark, view: View | None = None) -> float | None:
        """Measured share of the intervals of a view that hold the truth; None if unknown."""

    @abstractmethod
    def solver(
        self, benchmark: AnyBenchmark, view: View | None, frame: pd.DataFrame
    ) -> Solver | None:
        """What the solver behind the labels costs; None where there is none or nobody timed it.

        Args:
            benchmark: whose board it is.
            view: of the board.
            frame: all rows of the board, of which those of the solver itself are read.
        """

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
    def keeps_artefact(self, record: ResultRecord) -> bool:
        """Whether the fitted model of a submission is kept here."""

    @abstractmethod
    def prediction_files(self, record: ResultRecord) -> list[Path]:
        """Predictions files that a submission was scored from, as far as they are kept here."""

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
            view: protocol, split, subset and metric.
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

    @abstractmethod
    def check_name(self, name: str) -> None:
        """Refuse a name that a reader could take for that of another stored model."""

    @abstractmethod
    def score(
        self,
        path: Path,
        benchmark: str | Benchmark,
        *,
        track: str | None = None,
        protocol: str | None = None,
    ) -> tuple[Stated, Scored]:
        """Score a predictions file; nothing is stored.

        Args:
            path: the file.
            benchmark: what it is scored on.
            track: inputs that the model read; what the file says if None.
            protocol: protocol that the predictions follow; what the file says if None.

        Returns:
            Track and protocol as settled, and the scores with doubts about them.
        """

    @abstractmethod
    def preview(
        self, path: Path, benchmark: str, statement: Statement, *, warm: bool = False
    ) -> Prepared:
        """Score a file from a stranger within limits of time and memory; nothing is stored.

        Args:
            path: the file.
            benchmark: what it is for.
            statement: name, card, track, protocol and role.
            warm: keep the process that scores for the next file, as a server does; it ends with
                this process.
        """

    @abstractmethod
    def keep(self, prepared: Prepared, known: Collection[str] | None = None) -> Committed:
        """Store a submission that was previewed, dated now.

        Args:
            prepared: what was previewed.
            known: ids of stored submissions that may be replaced; if it would replace another,
                `NameTaken` is raised and nothing is stored. All may be replaced if None.
        """

    @abstractmethod
    def replaced_by(self, record: ResultRecord) -> list[ResultRecord]:
        """Stored submissions in whose place a record would stand once stored, oldest first."""

    @abstractmethod
    def uploads(self) -> Uploads:
        """Files that were uploaded for a preview, which are kept for a day."""

    @abstractmethod
    def submit(
        self,
        path: Path,
        benchmark: str | Benchmark,
        statement: Statement,
        *,
        export: Path | None = None,
        force: bool = False,
    ) -> Submitted:
        """Score a predictions file and store it.

        Args:
            path: the file.
            benchmark: what it is for.
            statement: name, card, track, protocol and role.
            export: also write the submission to this folder, to be reviewed elsewhere.
            force: replace an earlier export in that folder.
        """

    @abstractmethod
    def to_withdraw(self, submission: str) -> Found:
        """The stored submission whose id is, or begins with, a text; what may be withdrawn."""

    @abstractmethod
    def withdraw(self, submission: Found) -> Withdrawn:
        """Remove a submission from the registry; what it superseded stands again."""

    @abstractmethod
    def evaluate(self, model: str, benchmark: str | Benchmark, request: RunRequest) -> Evaluation:
        """Run a model (``<baseline>[/<variant>]`` or a folder) and record its scores."""

    # --- the public board ---

    @abstractmethod
    def to_export(self, submission: str) -> Entry:
        """The stored submission whose id is, or begins with, a text, if it may be reviewed."""

    @abstractmethod
    def export(self, submission: Entry, folder: Path, *, force: bool = False) -> None:
        """Write a stored submission as the folder of a pull request.

        Args:
            submission: a stored one.
            folder: where; it must not exist, or be empty.
            force: replace an earlier export in that folder.
        """

    @abstractmethod
    def archive(self, submission: Entry) -> bytes:
        """The folder that `export` writes, as a zip file that is the same every time."""

    @abstractmethod
    def check_export(self, folder: Path, *, baseline: bool = False) -> Checked:
        """Rescore an exported submission and compare everything it says.

        Args:
            folder: made by ``export``, or by ``submit`` with ``export``.
            baseline: whether it may bear a baseline's name.
        """

    @abstractmethod
    def add_export(
        self,
        folder: Path,
        *,
        replace: bool = False,
        into: Path | None = None,
        baseline: bool = False,
    ) -> Path:
        """Check an exported submission and take it into the reviewed results.

        Args:
            folder: made by ``submit`` with ``export``.
            replace: whether an older record of the same model may be replaced.
            into: content folder to write to; the one in use if None.
            baseline: whether it may bear a baseline's name.

        Returns:
            The record that was written.
        """
