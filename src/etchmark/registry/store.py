"""The registry: result records and per-sample tables in a database, prediction files by hash.

The database is SQLite in WAL mode in the hub folder, flushed at every commit, or PostgreSQL where
``ETCHMARK_REGISTRY`` names one. A submission is acknowledged only after its transaction is on
disk; before that nothing of it is visible. A row that cannot be read is left out with a warning
that names it. A hub folder that cannot be written is read from a private copy.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from etchmark import settings
from etchmark.catalog import content_roots, results_of
from etchmark.registry import dialects, intake, opening, schema
from etchmark.registry.digests import VERSION
from etchmark.registry.reading import Found
from etchmark.registry.records import read_record
from etchmark.registry.tables import LOCAL, REVIEWED, BriefRow, SubmissionRow, SumsRow
from etchmark.registry.writing import Writer, patiently

__all__ = ["LOCAL", "REVIEWED", "Found", "Store", "read_record"]


class Store(Writer):
    """The registry of one hub.

    Args:
        home: the hub folder; the setting if None.
        results: folder of reviewed records, taken in at every start; those of all
            content folders if None.
        url: of a PostgreSQL database that takes the place of the file in the hub folder; the
            setting if neither this nor ``home`` is given.
    """

    def __init__(
        self, home: Path | None = None, results: Path | None = None, url: str | None = None
    ) -> None:
        super().__init__()
        if url is None and home is None:
            url = settings.registry()
        self.home = home or settings.home()
        self.results = [results] if results else [results_of(root) for root in content_roots()]
        self.path = self.home / "registry.sqlite"
        self._snapshot: opening.Snapshot | None = None
        if url is None:
            self.where = str(self.path)
            with self._explained():
                self._open_file()
        else:
            self._open_server(url)

    def _open_file(self) -> None:
        self.read_only = opening.read_only_reason(self.path)
        if self.read_only is None:
            self.engine = dialects.connect(dialects.sqlite_url(self.path))
            self.read_only = patiently(lambda: schema.prepare(self.engine, self.where))
        if self.read_only is None:
            self._bring_up_to_date()
        else:
            self._refresh()

    def _open_server(self, text: str) -> None:
        url = dialects.registry_url(text)
        self.where = url.render_as_string(hide_password=True)
        self.remedy = "start the server, or correct ETCHMARK_REGISTRY"
        with self._explained():
            self.engine = dialects.connect(url)
            if settings.read_only():
                self.read_only = opening.READ_ONLY
                return
            self.read_only = schema.prepare(self.engine, self.where)
            if self.read_only is None:
                self._bring_up_to_date()

    def _bring_up_to_date(self) -> None:
        patiently(lambda: intake.take_reviewed(self, self.results))
        patiently(self._make_digests)
        if self.left_out:
            patiently(lambda: intake.recover_reviewed(self, self.results))

    def _refresh(self) -> None:
        """Copy a hub folder that cannot be written once more if its owner has changed it."""
        if self.read_only is None or self.where != str(self.path):
            return
        with self._refreshing:
            if self._snapshot and self._snapshot.stamp == opening.stamp(self.path):
                return
            self._snapshot = opening.Snapshot(self.path)
            self.engine = dialects.connect(dialects.sqlite_url(self._snapshot.path))
            if schema.prepare(self.engine, self.where) is not None:
                schema.rebuild_copy(self.engine)
            self._bring_up_to_date()

    def _make_digests(self) -> None:
        """Make what boards need of submissions that an etchmark stored which made none, or others.

        Those that cannot be read are left out: a record that has been damaged since has another
        size than the one its brief was made from.
        """
        made = exists().where(
            BriefRow.id == SubmissionRow.id,
            BriefRow.form == VERSION,
            BriefRow.record_bytes == dialects.octets(SubmissionRow.record, self.engine),
        )
        summed = exists().where(SumsRow.id == SubmissionRow.id)
        stale = select(SubmissionRow.id).where(~(made & (summed | SubmissionRow.samples.is_(None))))
        with Session(self.engine) as session:
            submissions = list(session.scalars(stale))
        self.digest_again(submissions)
