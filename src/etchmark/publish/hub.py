"""Publishing to the Hugging Face Hub, in one commit for each repository."""

from __future__ import annotations

import hashlib
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from etchmark import settings
from etchmark.errors import UserError
from etchmark.publish.repository import Item, Published, Repository

if TYPE_CHECKING:
    from huggingface_hub import HfApi

T = TypeVar("T")
TRIES, BACKOFF_S, LONGEST_S = 5, 1.0, 60.0
PREFIXES = {"dataset": "datasets/", "model": "", "space": "spaces/"}
AT_ONCE = 256
"""Paths that are asked about in one request."""


class Hub:
    """Repositories of one organisation or user.

    Args:
        organisation: its name.
        private: new repositories can be seen by its members alone.

    Raises:
        UserError: the network is off, or nobody is logged in.
    """

    def __init__(self, organisation: str, *, private: bool = False) -> None:
        from huggingface_hub import HfApi, get_token

        self.organisation, self.private = organisation, private
        self.endpoint = (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")
        if settings.offline():
            raise UserError(
                f"hf://{organisation}: not published, since ETCHMARK_OFFLINE is set; unset it to"
                " use the network"
            )
        token = get_token()
        if token is None:
            raise UserError(
                f"hf://{organisation}: nobody is logged in; run `hf auth login`, or set HF_TOKEN"
            )
        self.api: HfApi = HfApi(endpoint=self.endpoint, token=token)

    def publish(self, repository: Repository, *, dry_run: bool) -> Published:
        """Bring a repository to its newest state; what is there already is not sent again.

        Args:
            repository: what to publish.
            dry_run: send nothing, but say what would be.

        Raises:
            UserError: the Hub refuses it, or fails repeatedly.
        """
        name = f"{self.organisation}/{repository.name}"
        place = f"hf://{PREFIXES[repository.kind]}{name}"
        head, held = self._held(name, repository)
        lacking = [item for item in repository.items if not _equal(item, held.get(item.path))]
        stale = repository.stale(held, place)
        sent, removed = tuple(item.path for item in lacking), tuple(stale)
        if dry_run or not (lacking or stale):
            return Published(repository, place, sent, removed, head)
        if head is None:
            self._patiently(
                place,
                lambda: self.api.create_repo(
                    name,
                    repo_type=repository.kind,
                    private=self.private,
                    exist_ok=True,
                    space_sdk="docker" if repository.kind == "space" else None,
                ),
            )
        revision = self._patiently(place, lambda: self._commit(name, repository, lacking, stale))
        _, now = self._held(name, repository, revision)
        wrong = [item.path for item in repository.items if not _equal(item, now.get(item.path))]
        if wrong:
            raise UserError(
                f"{place}: {wrong[0]} is not there as it was sent; run the same command again"
            )
        return Published(repository, place, sent, removed, revision)

    def _commit(
        self, name: str, repository: Repository, lacking: list[Item], stale: list[str]
    ) -> str:
        """One commit with all that is lacking; the id of the newest one if it was made already."""
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete

        # An answer may have been lost on its way, though the commit was made.
        head, held = self._held(name, repository)
        made = all(_equal(item, held.get(item.path)) for item in lacking)
        if head is not None and made and not repository.stale(held, name):
            return head
        additions = [
            CommitOperationAdd(
                item.path, item.content if isinstance(item.content, bytes) else str(item.content)
            )
            for item in lacking
        ]
        done = self.api.create_commit(
            name,
            [*additions, *(CommitOperationDelete(path) for path in stale)],
            commit_message=f"{repository.title}: {len(lacking)} files",
            repo_type=repository.kind,
        )
        return str(done.oid)

    def _held(
        self, name: str, repository: Repository, revision: str | None = None
    ) -> tuple[str | None, dict[str, tuple[int, str]]]:
        """Commit, and size and hash of each file that is there; nothing where there is none."""
        from huggingface_hub.errors import RepositoryNotFoundError

        kind, place = repository.kind, f"hf://{name}"
        try:
            info = self._patiently(
                place, lambda: self.api.repo_info(name, repo_type=kind, revision=revision)
            )
        except RepositoryNotFoundError:
            return None, {}
        head = str(info.sha)
        there = [file.rfilename for file in getattr(info, "siblings", None) or []]
        if self.private and not getattr(info, "private", True):
            raise UserError(
                f"{place}: is public already; make it private in its settings, or drop --private"
            )
        own = {item.path for item in repository.items}
        stale = repository.stale(there, place)
        paths = [path for path in there if path in own or path in stale]
        held: dict[str, tuple[int, str]] = {}
        for start in range(0, len(paths), AT_ONCE):
            part = paths[start : start + AT_ONCE]
            found = self._patiently(
                place,
                lambda part=part: self.api.get_paths_info(
                    name, part, repo_type=kind, revision=head
                ),
            )
            for file in found:
                lfs = getattr(file, "lfs", None)
                digest = lfs.sha256 if lfs is not None else getattr(file, "blob_id", "")
                held[file.path] = (getattr(file, "size", 0), str(digest))
        return head, held

    def _patiently(self, place: str, work: Callable[[], T]) -> T:
        """Ask the Hub again while it is busy or cannot be reached; its own client gives up."""
        from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError

        # The client's library for HTTP has no errors of Python's own kinds.
        transport: type[Exception] = HfHubHTTPError.__bases__[0]
        for tries in range(1, TRIES + 1):
            try:
                with _quietly():
                    return work()
            except RepositoryNotFoundError:
                raise
            except (HfHubHTTPError, transport, OSError, RuntimeError) as error:
                response = getattr(error, "response", None)
                status = getattr(response, "status_code", None)
                reason = " ".join(str(error).split()) or type(error).__name__
                if status is not None and status < 500 and status not in {408, 412, 429}:
                    raise UserError(
                        f"{place}: the Hub answers {status} ({_short(reason)}); check the name, and"
                        " that the token may write there"
                    ) from None
                if tries == TRIES:
                    raise UserError(
                        f"{place}: the Hub cannot be reached or fails ({_short(reason)}); run the"
                        " same command again, which sends what is lacking"
                    ) from None
                time.sleep(min(LONGEST_S, max(BACKOFF_S * 2 ** (tries - 1), _asked(response))))
            except ValueError as error:
                reason = _short(" ".join(str(error).split()))
                raise UserError(f"{place}: the Hub does not take it ({reason})") from None
        raise AssertionError("the last try returns or raises")


@contextmanager
def _quietly() -> Iterator[None]:
    """Bars on a terminal alone, and no word of what the client's own libraries deprecate, or of
    data in a Space."""
    from huggingface_hub import utils

    silent = not sys.stderr.isatty() and not utils.are_progress_bars_disabled()
    if silent:
        utils.disable_progress_bars()
    try:
        with warnings.catch_warnings():
            for kind in (DeprecationWarning, UserWarning):
                warnings.simplefilter("ignore", kind)
            yield
    finally:
        if silent:
            utils.enable_progress_bars()


def _short(reason: str) -> str:
    return reason if len(reason) <= 200 else f"{reason[:200]}…"


def _asked(response: object) -> float:
    """Seconds that a busy server asks to wait."""
    value = str(getattr(response, "headers", {}).get("Retry-After", ""))
    return float(value) if value.isdigit() else 0.0


def _equal(item: Item, held: tuple[int, str] | None) -> bool:
    """Whether the Hub has a file as it is here."""
    if held is None or held[0] != item.size:
        return False
    if len(held[1]) == 64:
        return held[1] == item.sha256
    content = item.content
    content = content if isinstance(content, bytes) else content.read_bytes()
    blob = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False)
    return held[1] == blob.hexdigest()
