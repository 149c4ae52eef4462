"""Scores a predictions file in a process of its own and stores nothing.

Whoever takes files from strangers (the dashboard's submit page) calls ``preview``: a file that
eats memory or time takes a child process down and not the caller. The child is this module, run
with ``python -m`` on a folder; it reads the request there and leaves record and per-sample table.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import psutil

from etchmark import files
from etchmark.errors import UserError
from etchmark.evaluation.options import Limits
from etchmark.scoring.doubts import Doubt
from etchmark.specs import ModelCard, ResultRecord
from etchmark.submission.export import RECORD, TABLE
from etchmark.submission.statements import check_name
from etchmark.submission.submit import Prepared

REQUEST, ERROR, DOUBTS, LOG = "request.json", "error.txt", "doubts.json", "log.txt"
LIMITS = Limits(seconds=120.0, memory_bytes=4 << 30)
POLL_S = 0.05
REMEDY = "check that the file holds only id, prediction and seed"


def preview(
    path: Path,
    benchmark: str,
    *,
    name: str,
    card: ModelCard,
    track: str | None,
    protocol: str | None,
    limits: Limits = LIMITS,
) -> Prepared:
    """What ``submit.prepare_file`` returns, computed within limits in another process.

    Args:
        path: predictions file.
        benchmark: id of the benchmark it is for.
        name: the model's name on the board.
        card: what the submission says of itself.
        track: which inputs the model read.
        protocol: which protocol the predictions follow.
        limits: wall time and resident memory that the child may take.

    Raises:
        UserError: the file is refused, or the child ran out of time or memory.
    """
    check_name(name)
    request = {
        "file": str(path.absolute()),
        "benchmark": benchmark,
        "name": name,
        "track": track,
        "protocol": protocol,
        "card": card.model_dump(mode="json"),
    }
    with files.temporary_folder() as folder:
        try:
            (folder / REQUEST).write_text(json.dumps(request), encoding="utf-8")
        except OSError as error:
            raise UserError(_no_room(error)) from None
        command = [sys.executable, "-m", "etchmark.submission.preview", str(folder)]
        code, said = _run(command, folder / LOG, limits)
        if (folder / ERROR).is_file():
            raise UserError((folder / ERROR).read_text(encoding="utf-8"))
        if code != 0 or not (folder / RECORD).is_file():
            last = said.strip().splitlines()[-1:] or ["no message"]
            raise UserError(
                f"the file could not be scored (exit {code}: {last[0][:200]}); {REMEDY}"
            )
        record = ResultRecord.model_validate_json((folder / RECORD).read_bytes())
        doubts = [Doubt(**row) for row in json.loads((folder / DOUBTS).read_text(encoding="utf-8"))]
        return Prepared(record, (folder / TABLE).read_bytes(), [path], doubts)


def _run(command: list[str], path: Path, limits: Limits) -> tuple[int, str]:
    """Run the child within limits; its exit code and the end of what it wrote to the log."""
    # -m would put the working directory on the path: the child imports nothing from there.
    environment = {**os.environ, "PYTHONSAFEPATH": "1"}
    with path.open("w+b") as log:
        with subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment
        ) as child:
            try:
                _watch(child, limits)
            finally:
                child.kill()
        log.seek(max(0, log.seek(0, os.SEEK_END) - 4096))
        return child.returncode, log.read().decode("utf-8", "replace")


def _watch(child: subprocess.Popen[bytes], limits: Limits) -> None:
    deadline = time.monotonic() + limits.seconds
    process = psutil.Process(child.pid)
    while True:
        try:
            child.wait(POLL_S)
            return
        except subprocess.TimeoutExpired:
            resident = _resident(process)
        if time.monotonic() > deadline:
            raise UserError(
                f"scoring took more than {limits.seconds:g} s and was stopped; {REMEDY}"
            )
        if limits.memory_bytes is not None and resident > limits.memory_bytes:
            raise UserError(
                f"scoring took more than {limits.memory_bytes / 2**30:.3g} GiB of memory and was"
                f" stopped; {REMEDY}"
            )


def _resident(process: psutil.Process) -> int:
    try:
        return process.memory_info().rss
    except psutil.NoSuchProcess:
        return 0


def _no_room(error: OSError) -> str:
    return (
        f"the file could not be scored ({error.strerror or error}); free some space or let TMPDIR"
        " name another folder"
    )


def _score(folder: Path) -> None:
    from etchmark.data.loading import load_benchmark
    from etchmark.submission.submit import prepare_file

    request = json.loads((folder / REQUEST).read_text(encoding="utf-8"))
    prepared = prepare_file(
        load_benchmark(request["benchmark"]),
        Path(request["file"]),
        name=request["name"],
        card=ModelCard.model_validate(request["card"]),
        track=request["track"],
        protocol=request["protocol"],
    )
    (folder / TABLE).write_bytes(prepared.samples or b"")
    doubts = [asdict(doubt) for doubt in prepared.doubts]
    (folder / DOUBTS).write_text(json.dumps(doubts), encoding="utf-8")
    text = prepared.record.model_dump_json(by_alias=True)
    (folder / RECORD).write_text(text, encoding="utf-8")


def main(folder: Path) -> int:
    """The child: exit 0 with record and table in the folder, or 2 with the one line there."""
    try:
        _score(folder)
    except UserError as error:
        reason = str(error)
    except MemoryError:
        reason = f"there is not enough memory to score the file; {REMEDY}"
    except OSError as error:
        reason = _no_room(error)
    else:
        return 0
    (folder / ERROR).write_text(reason, encoding="utf-8")
    return 2


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
