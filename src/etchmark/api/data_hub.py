"""`DataHub`: the part of `Hub` that is about data: what is here, downloads and publishing."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from etchmark.api.types import DataFingerprints, Download, PageOptions, TemplateFiles
    from etchmark.data.building import Executors
    from etchmark.data.gallery import Gallery
    from etchmark.publish.pages.writing import Written
    from etchmark.publish.repository import Published
    from etchmark.specs import Manifest


class DataHub(ABC):
    """The use cases about data."""

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

    @abstractmethod
    def fingerprints(self, benchmark: str) -> DataFingerprints:
        """Fingerprints of a benchmark's data as they are here, released or not."""

    @abstractmethod
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
        """Have data on this machine, verified: as they are, from the remote, or built.

        Args:
            name: ``BENCHMARK`` or ``DATASET[:CONFIG]``.
            split: only this split.
            track: of a benchmark: the track whose inputs are wanted; the first if None.
            out: folder the files are copied to; they stay in the hub folder if None.
            force: replace files in ``out`` that have other content.
            executors: where data that have to be built are made; in this process if None.
            say: told what will be fetched, before it is.
        """

    @abstractmethod
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
        """Publish datasets, benchmarks, fitted models and results, one after the other.

        Args:
            names: ``DATASET[:CONFIG]``, ``BENCHMARK``, ``MODEL[:BENCHMARK]`` or ``results``.
            to: ``hf://ORGANISATION`` or a folder.
            every: all of which anything can be published, in place of names.
            space: the dashboard too, as a Space.
            dry_run: write nothing, but say what would be.
            private: new repositories on the Hub can be seen by members alone.
            say: told which of all cannot be published, and why.
        """

    @abstractmethod
    def write_pages(
        self,
        benchmarks: Sequence[str],
        folder: Path,
        options: PageOptions,
        say: Callable[[str], None],
    ) -> Written:
        """Write static pages and badges of models and boards for any web server.

        Args:
            benchmarks: whose current headline boards are shown; all of them if none is named.
            folder: where; other files in it are left as they are.
            options: addresses, and which rows are shown.
            say: told what is being read, and what is left out and why.
        """

    @abstractmethod
    def template(
        self,
        benchmark: str,
        folder: Path,
        *,
        track: str | None = None,
        protocol: str | None = None,
        force: bool = False,
    ) -> TemplateFiles:
        """Write test inputs and a predictions file to fill; see ``api.data.template``."""
