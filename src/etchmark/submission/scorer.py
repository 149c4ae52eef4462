"""Scores predictions files in a process of its own: ``python -m etchmark.submission.scorer``.

The process replies to requests (see `evaluation.channel`) of whoever takes files from strangers,
until that one closes the channel. Each request brings a folder for everything that is written.
"""

from __future__ import annotations

import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from etchmark.data.loading import load_benchmark
from etchmark.errors import UserError
from etchmark.evaluation.channel import Reply, respond
from etchmark.specs import SubmissionCard
from etchmark.submission.submit import prepare_file

TABLE = "samples.parquet"
REMEDY = "check that the file holds only id, prediction and seed"


def no_room(error: OSError) -> str:
    """The message for an error of the system amid scoring."""
    return (
        f"the file could not be scored ({error.strerror or error}); free some space or let TMPDIR"
        " name another folder"
    )


def score(request: dict[str, Any]) -> Reply:
    """Score a file: the record and doubts about it, or the one line why it is refused.

    The per-sample table is left in the folder of the request.
    """
    # Removed by whoever asked, also if this process is ended amid the request.
    tempfile.tempdir = request["folder"]
    try:
        return Reply(_scored(request))
    except UserError as error:
        return Reply({"refused": str(error)})
    except MemoryError:
        return _given_up(f"there is not enough memory to score the file; {REMEDY}")
    except OSError as error:
        return _given_up(no_room(error))


def _given_up(reason: str) -> Reply:
    """A refusal after which this process is in an unknown state."""
    return Reply({"refused": reason}, reusable=False)


def _scored(request: dict[str, Any]) -> dict[str, Any]:
    prepared = prepare_file(
        load_benchmark(request["benchmark"]),
        Path(request["file"]),
        name=request["name"],
        card=SubmissionCard.model_validate(request["card"]),
        track=request["track"],
        protocol=request["protocol"],
        role=request["role"],
    )
    (Path(request["folder"]) / TABLE).write_bytes(prepared.samples or b"")
    return {
        "record": prepared.record.model_dump_json(by_alias=True),
        "doubts": [asdict(doubt) for doubt in prepared.doubts],
    }


if __name__ == "__main__":
    respond(score)
