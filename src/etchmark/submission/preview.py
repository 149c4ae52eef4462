"""Scores a predictions file in a process of its own and stores nothing.

Whoever takes files from strangers (the dashboard's submit page) calls ``preview``: a file that
eats memory or time takes the process of `submission.scorer` down and not the caller. A server asks
for the warm one, which has imported what scoring needs and is kept for the next file.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from etchmark import files
from etchmark.catalog import content_roots
from etchmark.catalog.content import KINDS
from etchmark.errors import UserError
from etchmark.evaluation.options import Limits
from etchmark.evaluation.process import Ending, bounded
from etchmark.evaluation.responder import Busy, Keeping, KeptResponder, Responder, Unanswered
from etchmark.scoring.doubts import Doubt
from etchmark.specs import ResultRecord
from etchmark.submission.scorer import REMEDY, TABLE
from etchmark.submission.statements import Statement, check_name, check_role
from etchmark.submission.submit import Prepared

COMMAND = (sys.executable, "-m", "etchmark.submission.scorer")
LIMITS = Limits(seconds=120.0, memory_bytes=4 << 30)
KEEPING = Keeping(requests=50, kept_bytes=1 << 30, wait_seconds=60.0)
WHO = "scoring"


@dataclass(frozen=True)
class Scorer:
    """Which process scores a file.

    Attributes:
        limits: wall time and resident memory that scoring one file may take.
        warm: keep the process for the next file; it ends with this one.
    """

    limits: Limits = LIMITS
    warm: bool = False

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """The reply of `submission.scorer`.

        Raises:
            UserError: there is none; says why.
        """
        limits = bounded(self.limits)
        try:
            if self.warm:
                return _kept.ask(request, limits)
            with Responder(COMMAND, _environment(), who=WHO) as responder:
                return responder.ask(request, limits)
        except Busy:
            raise UserError(
                f"other files are being scored, and this one waited {KEEPING.wait_seconds:g} s for"
                " its turn; check it again in a minute"
            ) from None
        except Unanswered as unanswered:
            raise UserError(_reason(unanswered, limits)) from None


def preview(
    path: Path, benchmark: str, statement: Statement, *, scorer: Scorer = Scorer()
) -> Prepared:
    """What ``submit.prepare_file`` returns, computed within limits in another process.

    Args:
        path: predictions file.
        benchmark: id of the benchmark it is for.
        statement: what the submission says of itself.
        scorer: the process that scores.

    Raises:
        UserError: the file is refused, or scoring it took too much time or memory.
    """
    check_name(statement.name)
    check_role(statement.role)
    with files.temporary_folder() as folder:
        reply = scorer.ask(
            {
                "file": str(path.absolute()),
                "benchmark": benchmark,
                "name": statement.name,
                "card": statement.card.model_dump(mode="json"),
                "track": statement.track,
                "protocol": statement.protocol,
                "role": statement.role,
                "folder": str(folder),
            }
        )
        if "refused" in reply:
            raise UserError(reply["refused"])
        record = ResultRecord.model_validate_json(reply["record"])
        doubts = [Doubt(**row) for row in reply["doubts"]]
        return Prepared(record, (folder / TABLE).read_bytes(), [path], doubts)


def _reason(unanswered: Unanswered, limits: Limits) -> str:
    """Why a file could not be scored, in one line."""
    outcome = unanswered.outcome
    if outcome.ending is Ending.OUT_OF_TIME:
        return f"scoring took more than {limits.seconds:g} s and was stopped; {REMEDY}"
    if outcome.ending is Ending.OUT_OF_MEMORY:
        return (
            f"scoring took more than {(limits.memory_bytes or 0) / 2**30:.3g} GiB of memory and was"
            f" stopped; {REMEDY}"
        )
    if outcome.exit_code < 0:
        killed = f"its process was killed by {_signal_name(-outcome.exit_code)}"
        return f"the file could not be scored ({killed}); try again, and {REMEDY}"
    last = unanswered.output.strip().splitlines()[-1:] or ["no message"]
    return f"the file could not be scored (exit {outcome.exit_code}: {last[0][:200]}); {REMEDY}"


def _signal_name(number: int) -> str:
    with suppress(ValueError):
        return signal.Signals(number).name
    return f"signal {number}"


def _environment() -> dict[str, str]:
    # -m would put the working directory on the path: the process imports nothing from there.
    return {**os.environ, "PYTHONSAFEPATH": "1"}


def _content_state() -> object:
    """What changes with the content: path, size and time of each card and of the code beside it."""
    state: list[object] = []
    for root in content_roots():
        for kind in KINDS:
            for path in sorted([*(root / kind).glob("*"), *(root / kind).glob("*/*")]):
                with suppress(OSError):
                    status = path.stat()
                    state.append((path, status.st_ino, status.st_size, status.st_mtime_ns))
    return state


_kept = KeptResponder(
    COMMAND, who=WHO, environment=_environment, state=_content_state, keeping=KEEPING
)
"""Started by the first file that asks for it."""
