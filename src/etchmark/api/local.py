"""A hub on this machine: content folders, a hub folder with data, and its registry."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from etchmark.api.reading import REGISTRY_FILES, LocalReader

if TYPE_CHECKING:
    from etchmark.api.types import (
        Download,
        Evaluation,
        PageOptions,
        RunRequest,
        Submitted,
        TemplateFiles,
    )
    from etchmark.catalog import ModelSource
    from etchmark.data.building import Build, Executors
    from etchmark.data.executors import Executor
    from etchmark.data.loading import Benchmark
    from etchmark.publish.pages.writing import Written
    from etchmark.publish.repository import Published
    from etchmark.registry.store import Found
    from etchmark.registry.tables import Entry
    from etchmark.scoring.score import Scored
    from etchmark.submission.campaign import Campaign
    from etchmark.submission.review import Checked
    from etchmark.submission.scoring import Stated
    from etchmark.submission.statements import Statement
    from etchmark.submission.submit import Committed, Prepared
    from etchmark.submission.uploads import Uploads
    from etchmark.submission.withdrawal import Withdrawn


class LocalHub(LocalReader):
    """The hub folder and the content that the settings of this process name."""

    # --- data ---

    def download(
        self,
        name: str,
        *,
        split: str | None = None,
        track: str | None = None,
        out: Path | None = None,
        force: bool = False,
        executors: Executors | None = None,
        say: Callable[[str], None] | None = None,
    ) -> Download:
        from etchmark.api import data
        from etchmark.data.download import Options

        options = Options(split, out, force, executors)
        options = options if say is None else replace(options, say=say)
        return data.download(self.catalog, name, track, options)

    def publish(
        self,
        names: Sequence[str],
        to: str,
        *,
        every: bool = False,
        space: bool = False,
        dry_run: bool = False,
        private: bool = False,
        say: Callable[[str], None] = lambda line: None,
    ) -> Iterator[Published]:
        from etchmark.publish import publishing

        target = publishing.Target(to, private=private)
        wanted = publishing.Wanted(tuple(names), every, space)
        found = publishing.repositories(self.catalog, self.store, wanted, target, say)
        yield from target.publish(found, dry_run=dry_run)

    def write_pages(
        self,
        benchmarks: Sequence[str],
        folder: Path,
        options: PageOptions,
        say: Callable[[str], None],
    ) -> Written:
        from etchmark.api import pages

        return pages.write(self.catalog, self.store, benchmarks, (folder, options), say)

    def build(
        self,
        dataset: str,
        config: str | None = None,
        *,
        out: Path | None = None,
        recompute: bool = False,
        freeze: bool = False,
        force: bool = False,
        executors: Executors | None = None,
    ) -> Build:
        """Build a config from source on this machine; see ``data.building.build``."""
        from etchmark.data import building

        options = building.BuildOptions(
            out=out,
            executors=executors or building.Executors(),
            recompute=recompute,
            freezing=freeze,
            force=force,
        )
        return building.build(self.catalog, dataset, config, options)

    def simulate_labels(
        self, dataset: str, config: str | None, executor: Executor
    ) -> tuple[Path, str]:
        """Simulate the labels of a config into the content; where they are, and how many."""
        from etchmark.data import building

        folder, counts = building.label(self.catalog, dataset, config, executor=executor)
        return folder, counts.describe()

    def template(
        self,
        benchmark: str,
        folder: Path,
        *,
        track: str | None = None,
        protocol: str | None = None,
        force: bool = False,
    ) -> TemplateFiles:
        from etchmark.api import data

        loaded = self._loaded(benchmark)
        return data.template(loaded, folder, track=track, protocol=protocol, force=force)

    # --- submissions ---

    def check_name(self, name: str) -> None:
        from etchmark.submission.statements import check_stored

        check_stored(name, self.store.names())

    def score(
        self,
        path: Path,
        benchmark: str | Benchmark,
        *,
        track: str | None = None,
        protocol: str | None = None,
    ) -> tuple[Stated, Scored]:
        from etchmark.submission.scoring import score_file

        return score_file(self._loaded(benchmark), path, track=track, protocol=protocol)

    def preview(
        self, path: Path, benchmark: str, statement: Statement, *, warm: bool = False
    ) -> Prepared:
        from etchmark.api import submitting

        return submitting.preview(path, benchmark, statement, warm=warm)

    def keep(self, prepared: Prepared, known: Collection[str] | None = None) -> Committed:
        from etchmark.api import submitting

        return submitting.keep(self.store, prepared, known)

    def uploads(self) -> Uploads:
        from etchmark.submission.uploads import uploads_of

        return uploads_of(self.store)

    def submit(
        self,
        path: Path,
        benchmark: str | Benchmark,
        statement: Statement,
        *,
        export: Path | None = None,
        force: bool = False,
    ) -> Submitted:
        from etchmark.api import submitting
        from etchmark.submission.export import check_export

        # What could refuse the result is asked before the data are read.
        if export is not None:
            check_export(export, force=force)
        self.store.require_writable()
        loaded = self._loaded(benchmark)
        return submitting.submit(self.store, loaded, path, statement, folder=export, force=force)

    def to_withdraw(self, submission: str) -> Found:
        from etchmark.submission.withdrawal import to_withdraw

        self.store.require_writable()
        return to_withdraw(self.store, submission)

    def withdraw(self, submission: Found) -> Withdrawn:
        from etchmark.submission.withdrawal import withdraw

        return withdraw(self.store, submission)

    def evaluate(self, model: str, benchmark: str | Benchmark, request: RunRequest) -> Evaluation:
        from etchmark.api import running

        loaded = self._loaded(benchmark, unofficial=request.unofficial)
        source = loaded.catalog.model(model)
        return running.evaluate(loaded, source, request, lambda: self.store)

    # --- the public board ---

    def to_export(self, submission: str) -> Entry:
        from etchmark.submission import export

        return export.to_export(self.store, submission)

    def export(self, submission: Entry, folder: Path, *, force: bool = False) -> None:
        from etchmark.submission import export

        export.export_stored(self.store, submission, folder, force=force)

    def archive(self, submission: Entry) -> bytes:
        from etchmark.submission import export

        return export.archive(self.store, submission)

    def check_export(self, folder: Path, *, baseline: bool = False) -> Checked:
        from etchmark.submission import review
        from etchmark.submission.board_flags import board_flags

        checked = review.check(self.catalog, folder, baseline=baseline)
        record = checked.record
        spec = self._spec(f"{record.benchmark}@{record.benchmark_version}")
        return replace(checked, board_flags=board_flags(spec, self.store, record, checked.samples))

    def check_results(self) -> Iterator[str]:
        """Check the reviewed records themselves; a line for each fault, and a count at the end."""
        from etchmark.catalog import results_of
        from etchmark.errors import UserError
        from etchmark.submission import seeds

        folders = [folder for root in self.catalog.roots if (folder := results_of(root)).is_dir()]
        if not folders:
            raise UserError(
                f"{self.catalog.roots[0]}: holds no reviewed results; name a checkout or content"
                " folder that does in ETCHMARK_CONTENT"
            )
        for folder in folders:
            yield from seeds.check_reviewed(folder)

    def add_export(
        self,
        folder: Path,
        *,
        replace: bool = False,
        into: Path | None = None,
        baseline: bool = False,
    ) -> Path:
        from etchmark.submission import review

        return review.add(self.catalog, folder, replace=replace, into=into, baseline=baseline)

    def migrate_results(self, into: Path | None = None) -> list[tuple[Path, Path]]:
        """Give results of the older layout their readable names; old and new path of each."""
        from etchmark.registry import reviewed

        folders = self._results_to_write(into)
        return [pair for folder in folders for pair in reviewed.migrate(folder)]

    def refresh_results(self, into: Path | None = None) -> Iterator[str]:
        """Recompute intervals of another method in reviewed records; a line for each."""
        from etchmark.submission import refresh

        for folder in self._results_to_write(into):
            yield from refresh.refresh(folder)

    def _results_to_write(self, into: Path | None) -> list[Path]:
        """Every folder of reviewed results that a maintenance command may change."""
        from etchmark.catalog import results_of
        from etchmark.errors import UserError
        from etchmark.registry import reviewed

        roots = self.catalog.roots if into is None else (into,)
        folders = [results_of(root) for root in roots if into or reviewed.is_writable(root)]
        if not folders:
            raise UserError(
                f"{roots[0]}: is installed content, not a checkout; name the checkout (or content"
                " folder) to write to with --into DIR"
            )
        if into is not None and not folders[0].is_dir():
            raise UserError(
                f"{folders[0]}: is not a folder; name a checkout or content folder that has it"
            )
        return [folder for folder in folders if folder.is_dir()]

    def rescore(
        self, benchmark: str, *, version: int | None = None, into: Path | None = None
    ) -> Iterator[str]:
        """Records of the current version from those of an older one; a line for each."""
        from etchmark.submission import rescore

        return rescore.rescore(self.catalog, benchmark, version=version, into=into)

    def run_baselines(
        self, benchmark: str | None, campaign: Campaign, *, scheduler: str | None = None
    ) -> None:
        """Run the baselines that a benchmark names and write their records.

        Args:
            benchmark: its id; every benchmark's missing rows if None.
            campaign: which rows, and where their records go.
            scheduler: address of a Dask cluster that runs the rows; this machine if None.
        """
        from etchmark.data.executors import Dask
        from etchmark.submission import campaign as campaigns

        cluster = None if scheduler is None else Dask(scheduler)
        if benchmark is None:
            campaigns.run_all(campaign, executor=cluster)
        else:
            campaigns.run(benchmark, campaign, executor=cluster)

    def model(self, name: str) -> ModelSource:
        """A model that can be run: a baseline by its name, or a folder with ``model.py``."""
        return self.catalog.model(name)

    def dashboard_script(self) -> Path:
        """What serves the Streamlit app that came with this package."""
        from etchmark.catalog import installed_root
        from etchmark.errors import UserError

        script = installed_root() / "leaderboard" / "serve.py"
        if not script.is_file():
            raise UserError(f"{script}: is missing; reinstall etchmark")
        return script

    def environment_elsewhere(self) -> dict[str, str]:
        """Variables for a process of this hub with another working directory.

        Settings may name folders relative to the present one.
        """
        from etchmark import settings

        return {**os.environ, **settings.elsewhere()}


def open_hub() -> LocalHub:
    """The hub of this machine, shared by all who ask until its folder or its content changes.

    It is another object once the registry was replaced or the reviewed results have changed: these
    are taken into the registry when it is opened. Only the folders of results are looked at here,
    not the files, of which there may be tens of thousands: writing a record changes its folder.
    """
    from etchmark import settings
    from etchmark.api.content import stamp
    from etchmark.catalog import content_roots, results_of

    home, roots = settings.home(), content_roots()
    results = [results_of(root) for root in roots]
    folders = sorted(path for folder in results for path in folder.glob("*") if path.is_dir())
    reviewed = tuple((str(path), *stamp(path)) for path in (*results, *folders))
    return _hub(str(home), stamp(home / REGISTRY_FILES[0])[0], roots, reviewed)


@lru_cache(maxsize=4)
def _hub(home: str, inode: int, roots: tuple[Path, ...], reviewed: tuple[object, ...]) -> LocalHub:
    hub = LocalHub()
    # Opened now, while the settings are those that it is kept by.
    _ = hub.store
    return hub
