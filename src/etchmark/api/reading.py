"""What a hub on this machine answers from its disk without changing it."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from etchmark.api.hub import AnyBenchmark, Hub

if TYPE_CHECKING:
    import pandas as pd

    from etchmark.api.comparison import Comparison
    from etchmark.api.types import (
        Contents,
        Counts,
        DataFingerprints,
        Match,
        MetricInfo,
        RecentSubmission,
    )
    from etchmark.boards.compare import Pair
    from etchmark.boards.solver import Solver
    from etchmark.boards.standings import Board
    from etchmark.boards.view import View, Where
    from etchmark.catalog import Catalog
    from etchmark.data.gallery import Gallery
    from etchmark.data.loading import Benchmark
    from etchmark.registry.store import Store
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

REGISTRY_FILES = ("registry.sqlite", "registry.sqlite-wal")


class LocalReader(Hub):
    """The part of a hub on this machine that changes nothing.

    The registry is opened on first use, so that content can be read without one. Modules are
    imported where they are used: a command pays only for what it does.
    """

    def __init__(self) -> None:
        self._store: Store | None = None
        self._opening = threading.Lock()

    @property
    def catalog(self) -> Catalog:
        """The content that is in use."""
        from etchmark.catalog import catalog

        return catalog()

    @property
    def store(self) -> Store:
        """The registry."""
        # Sessions of a dashboard share the hub: the registry is opened by the first of them.
        with self._opening:
            if self._store is None:
                from etchmark.registry.store import Store

                self._store = Store()
            return self._store

    def _spec(self, benchmark: AnyBenchmark) -> BenchmarkSpec:
        if isinstance(benchmark, str):
            return self.benchmark(benchmark)
        from etchmark.specs import BenchmarkSpec

        return benchmark if isinstance(benchmark, BenchmarkSpec) else benchmark.spec

    def _loaded(self, benchmark: str | Benchmark, *, unofficial: bool = False) -> Benchmark:
        if not isinstance(benchmark, str):
            return benchmark
        from etchmark.data.loading import load_benchmark

        return load_benchmark(benchmark, unofficial=unofficial, catalog=self.catalog)

    # --- content ---

    def contents(self) -> Contents:
        from etchmark.api import content

        return content.contents(self.catalog)

    def find(self, name: str) -> BenchmarkSpec | DatasetSpec | BaselineCard:
        from etchmark.api import content

        return content.find(self.catalog, name)

    def benchmarks(self) -> list[str]:
        return self.catalog.benchmark_names()

    def benchmark(self, name: str) -> BenchmarkSpec:
        from etchmark.api import content

        return content.benchmark(self.catalog, name)

    def versions(self, benchmark: str) -> list[str]:
        return self.catalog.versions(self.benchmark(benchmark))

    def datasets(self) -> list[str]:
        return self.catalog.dataset_names()

    def dataset(self, name: str) -> DatasetSpec:
        return self.catalog.dataset(name)

    def models(self) -> list[str]:
        return self.catalog.model_names()

    def baseline(self, name: str) -> BaselineCard:
        from etchmark.api import content

        return content.baseline(self.catalog, name)

    def boards_of(self, baseline: str) -> dict[str, dict[str, dict[str, str]]]:
        from etchmark.api import content

        return content.boards_of(self.catalog, baseline)

    def metric(self, benchmark: AnyBenchmark, name: str) -> MetricInfo:
        from etchmark.api import content

        return content.metric(self._spec(benchmark), name)

    def target_facts(self, benchmark: AnyBenchmark) -> list[tuple[str, str]]:
        from etchmark.api import content

        return content.target_facts(self._spec(benchmark))

    def cite(self, name: str, seen_at: str | None = None) -> str:
        from etchmark.api import cite

        return cite.bibtex(self.catalog, name, seen_at)

    # --- data ---

    def config_folder(self, dataset: str, config: str) -> Path | None:
        from etchmark.data.loading import find_config

        return find_config(self.catalog, dataset, config)

    def manifest(self, dataset: str, config: str) -> Manifest | None:
        from etchmark.data.loading import read_config

        folder = self.config_folder(dataset, config)
        return None if folder is None else read_config(folder, dataset, config)

    def gallery(self, dataset: str, config: str) -> Gallery | None:
        from etchmark.api import samples

        folder = self.config_folder(dataset, config)
        return None if folder is None else samples.gallery(folder, dataset, config)

    def picture(self, dataset: str, config: str) -> Path | None:
        from etchmark.api import samples

        return samples.picture(self.catalog, dataset, config)

    def fingerprints(self, benchmark: str) -> DataFingerprints:
        from etchmark.api import data

        return data.fingerprints(self.catalog, benchmark)

    # --- results ---

    def revision(self) -> tuple[str, ...]:
        from etchmark.api.content import stamp

        home = self.store.home
        return (str(home), *(str(stamp(home / name)) for name in REGISTRY_FILES))

    def left_out(self) -> dict[str, str]:
        return dict(self.store.left_out)

    def counts(self) -> Counts:
        from etchmark.api.types import Counts

        return Counts(*self.store.counts())

    def newest(self, limit: int) -> list[RecentSubmission]:
        from etchmark.api.types import RecentSubmission

        return [
            RecentSubmission(submission=row.pop("id"), **row) for row in self.store.newest(limit)
        ]

    def submissions_of(self, model: str) -> list[RecentSubmission]:
        from etchmark.api.types import RecentSubmission

        rows = self.store.newest(name=model)
        return [RecentSubmission(submission=row.pop("id"), **row) for row in rows]

    def search(self, text: str, limit: int = 20) -> list[Match]:
        from etchmark.api import searching

        return searching.search(self.catalog, self.store, text, limit)

    def board(
        self, benchmark: AnyBenchmark, view: View | None = None, extra: Sequence[Entry] = ()
    ) -> Board:
        from etchmark.boards import standings

        return standings.board_of(self._spec(benchmark), self.store, _view(view), extra=extra)

    def standings(
        self,
        benchmark: AnyBenchmark,
        view: View | None = None,
        *,
        where: Where | None = None,
        everything: bool = False,
        extra: Sequence[Entry] = (),
    ) -> pd.DataFrame:
        from etchmark.boards import standings, worst
        from etchmark.boards.view import WORST

        made = worst.standings if _view(view).split == WORST else standings.standings
        return made(
            self._spec(benchmark),
            self.store,
            _view(view),
            where=where,
            everything=everything,
            extra=extra,
        )

    def coverage(self, benchmark: AnyBenchmark, view: View | None = None) -> float | None:
        from etchmark.boards.coverage import coverage_of
        from etchmark.catalog import pick_protocol

        spec, view = self._spec(benchmark), _view(view)
        protocol = pick_protocol(spec, view.protocol, default=True)
        headline = spec.protocols[protocol].split
        if view.subset is not None or view.split not in (None, headline):
            # It was measured on the whole headline split.
            return None
        return coverage_of(self.catalog, spec, protocol, view.metric or spec.primary_metric)

    def solver(
        self, benchmark: AnyBenchmark, view: View | None, frame: pd.DataFrame
    ) -> Solver | None:
        from etchmark.boards.solver import solver_of
        from etchmark.catalog import pick_protocol

        spec, view = self._spec(benchmark), _view(view)
        split = spec.protocols[pick_protocol(spec, view.protocol, default=True)].split
        if view.subset is not None or view.split not in (None, split):
            return None
        return solver_of(self.catalog, spec, view.metric or spec.primary_metric, split, frame)

    def references(
        self, benchmark: AnyBenchmark, view: View | None = None
    ) -> list[tuple[ReferenceLine, float]]:
        from etchmark.boards.references import reference_values
        from etchmark.catalog import pick_protocol

        spec, view = self._spec(benchmark), _view(view)
        return reference_values(
            self.catalog,
            spec,
            self.store,
            protocol=pick_protocol(spec, view.protocol, default=True),
            metric=view.metric or spec.primary_metric,
            split=view.split,
        )

    def curves(self, benchmark: AnyBenchmark, view: View | None = None) -> pd.DataFrame:
        from etchmark.boards import curves

        spec, protocol, track = self._place(benchmark, view)
        return curves.curves(spec, self.store, protocol=protocol, track=track)

    def withheld_curves(self, benchmark: AnyBenchmark, view: View | None = None) -> pd.DataFrame:
        from etchmark.boards import curves

        spec, protocol, track = self._place(benchmark, view)
        return curves.withheld(spec, self.store, protocol=protocol, track=track)

    def _place(
        self, benchmark: AnyBenchmark, view: View | None
    ) -> tuple[BenchmarkSpec, str, str | None]:
        from etchmark.catalog import pick_protocol

        spec, view = self._spec(benchmark), _view(view)
        return spec, pick_protocol(spec, view.protocol, default=True), view.track

    def entry(self, submission: str) -> Entry | None:
        return self.store.get(submission)

    def samples(self, entry: Entry, split: str) -> SampleScores | None:
        from etchmark.boards.samples import sample_scores

        return sample_scores(entry, split)

    def keeps_artefact(self, record: ResultRecord) -> bool:
        from etchmark.artefacts import store

        return record.artefact is not None and store.folder_of(record.artefact.sha256).is_dir()

    def prediction_files(self, record: ResultRecord) -> list[Path]:
        paths = map(self.store.prediction_path, record.fingerprints.predictions)
        return [path for path in paths if path.is_file()]

    def compare(
        self, benchmark: AnyBenchmark, models: tuple[str, str], view: View | None = None
    ) -> Pair:
        from etchmark.boards import compare

        view = _view(view)
        return compare.pair(
            self._spec(benchmark),
            self.store,
            models,
            split=view.split,
            metric=view.metric,
            track=view.track,
            protocol=view.protocol,
        )

    def comparison(
        self, benchmark: AnyBenchmark, submissions: Sequence[str], view: View | None = None
    ) -> Comparison:
        from etchmark.api import comparison

        return comparison.comparison(self._spec(benchmark), self.store, submissions, _view(view))

    # --- submissions ---

    def earlier(self, record: ResultRecord) -> list[ResultRecord]:
        from etchmark.submission import submit

        return submit.earlier(self.store, record)

    def superseded(self, record: ResultRecord) -> bool:
        from etchmark.submission import submit

        return submit.superseded(self.store, record)

    def same_predictions(self, record: ResultRecord) -> list[ResultRecord]:
        from etchmark.submission import submit

        return submit.same_predictions(self.store, record)

    def replaced_by(self, record: ResultRecord) -> list[ResultRecord]:
        from etchmark.submission import submit

        return submit.replaced_by(self.store, record)


def _view(view: View | None) -> View:
    from etchmark.boards.view import View

    return View() if view is None else view
