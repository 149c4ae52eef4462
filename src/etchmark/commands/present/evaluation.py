"""A model that was run: its scores and cost, or why it failed."""

from __future__ import annotations

import sys

from etchmark.api import TOO_GOOD, Committed, Evaluation, Hub, RunRequest, kind_of_flag
from etchmark.commands.present import scores
from etchmark.errors import UserError
from etchmark.text import number, one_line, print_json

TRACE_LINES = 15


def show(
    hub: Hub, evaluation: Evaluation, request: RunRequest, show_log: bool, as_json: bool
) -> None:
    """Print the outcome.

    Raises:
        UserError: the model failed.
    """
    record = evaluation.record
    if record.outcome == "failed":
        if show_log:
            for line in evaluation.trace.splitlines()[-TRACE_LINES:]:
                echo(line)
        kept = evaluation.committed is not None
        noted = "recorded as failed, not ranked" if kept else "nothing stored"
        more = "; its checkpoints are kept for --resume" if request.options.resume else ""
        more += "" if show_log else "; --show-log prints what it printed and where it failed"
        raise UserError(f"{record.name} failed: {record.reason} ({noted}{more})")
    if as_json:
        print_json(record.model_dump(mode="json", by_alias=True))
        return
    spec, cost = evaluation.benchmark.spec, record.cost
    scores.show(hub, spec, record.protocol, record.scores)
    print(
        f"{one_line(record.name)}, track {record.track}: fit {number(cost.fit_seconds)} s, predict"
        f" {number(cost.predict_seconds)} s, {(cost.peak_memory_bytes or 0) / 2**20:.0f} MiB,"
        f" {number(cost.cpu_seconds)} s of processor time,"
        f" {number(cost.reference_units)} reference units"
    )
    if record.artefact is not None:
        print(f"kept the fitted model as artefact {record.artefact.sha256}")
    if evaluation.committed is None:
        print("nothing stored")
        return
    new = evaluation.committed is Committed.NEW
    again = "" if new else " again, in place of the run that predicted the very same"
    where = scores.standing(hub, spec, record)
    print(f"stored as {record.submission[:12]}{again}{where}")
    kept = [flag for flag in record.flags or () if kind_of_flag(flag) in TOO_GOOD]
    scores.show_flags([*kept, *scores.flags_of_board(hub, record)])


def echo(line: str) -> None:
    """Show a line that a model has printed."""
    print(f"  | {one_line(line)[:200]}".rstrip(), file=sys.stderr, flush=True)
