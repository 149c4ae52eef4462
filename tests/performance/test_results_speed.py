"""A results folder of 20,000 records, opened beside the way etchmark 0.1.0 opened it.

Every record is a file of its own in the folder, and a row in the registry: what is timed is finding
out that nothing has changed, what one changed record costs, and a rerun of a dashboard page.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from side_by_side import Change

from etchmark import api
from etchmark.registry import intake, layout, reviewed
from etchmark.registry.identity import id_of
from etchmark.registry.store import REVIEWED, Store, read_record
from etchmark.registry.tables import Base, Entry, ReviewedRow, rows_of
from etchmark.registry.writing import put

pytestmark = [pytest.mark.speed, pytest.mark.timeout(1200)]

RECORDS = 20_000
BATCH = 500
COMMAND = ("toy-line", "--track", "features", "--protocol", "holdout", "--name", "mine")


def _listed_before(folder: Path) -> list[Any]:
    """The listing that version 0.1.0 made of a results folder whenever a registry was opened."""
    listing = []
    for path in sorted(folder.glob("*/*")):
        if path.name.startswith("."):
            continue
        status = path.stat()
        listing.append((path.relative_to(folder).as_posix(), status.st_size, status.st_mtime_ns))
    return listing


def _looked_at_before(folder: Path) -> tuple[Any, ...]:
    """What its dashboard looked at on every rerun of a page, before the registry did the same."""
    stats = [(path, path.stat()) for path in sorted(folder.glob("*/*"))]
    return tuple((str(path), one.st_ino, one.st_mtime_ns, one.st_size) for path, one in stats)


@pytest.fixture
def results(
    toy_content: Path, toy_predictions: Callable[..., Path], command: Callable[..., Any],
    tmp_path: Path, home: Path,
) -> Path:  # fmt: skip
    """The folder, and a registry that holds all of it."""
    export = tmp_path / "export"
    command("submit", toy_predictions(), *COMMAND, "--export", export).fine()
    shutil.rmtree(home)
    record = read_record(export / "record.json")
    samples = (export / "samples.parquet").read_bytes()
    folder = toy_content / "leaderboard" / "results"
    text = record.model_dump_json(by_alias=True, indent=2)
    store = Store()
    (folder / "toy-line@1").mkdir()
    batch: list[Base] = []
    ids: dict[str, str] = {}
    for number in range(RECORDS):
        other = record.model_copy(update={"name": f"model-of-somebody-{number}"})
        other = other.model_copy(update={"submission": id_of(other)})
        path = layout.path_of(folder, other)
        named = text.replace('"mine"', f'"{other.name}"')
        path.write_text(named.replace(record.submission, other.submission))
        path.with_suffix(".parquet").write_bytes(samples)
        ids[f"toy-line@1/{path.name}"] = other.submission
        batch += rows_of(Entry(other, samples, REVIEWED))
        if len(batch) >= BATCH or number == RECORDS - 1:
            store.write(lambda session, rows=tuple(batch): put(session, rows))
            batch.clear()
    layout.write_index(folder / "toy-line@1", layout.digests(folder / "toy-line@1"))
    states = intake.states(folder, intake.list_files(folder))
    taken: list[Base] = [
        ReviewedRow(path=path, id=ids[path], state=state) for path, state in states.items()
    ]
    store.write(lambda session: put(session, taken))
    return folder


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def test_opening_a_folder_of_20000_records(
    results: Path,
    report: Callable[..., None],
    shortest: Callable[..., list[float]],
    since_first_version: Callable[..., None],
) -> None:
    assert len(intake.list_files(results)) == len(_listed_before(results)) == 2 * RECORDS + 1

    def opened_before() -> None:
        _looked_at_before(results)
        json.dumps(_listed_before(results))

    def opened() -> None:
        json.dumps(intake.list_files(results))

    before, after = shortest(5, opened_before, opened)
    report(
        f"Seeing that a folder of {RECORDS:,} records is the one that the registry holds",
        ("as version 0.1.0 looked for changes", before, "s"),
        ("now", after, "s"),
        ("ratio", before / after, ""),
        goal="ratio >= 5",
    )
    api.open_hub()
    page, rerun = shortest(5, lambda: _looked_at_before(results), api.open_hub)
    report(
        "A rerun of a page of the dashboard",
        ("as version 0.1.0 looked for changes", page, "s"),
        ("now", rerun, "s"),
        ("ratio", page / rerun, ""),
        goal="ratio >= 50",
    )
    changed, *others = (results / "toy-line@1").glob("*.json")
    changed.write_text(changed.read_text() + "\n")
    one_changed = _seconds(Store)
    # Version 0.1.0 read every record again: how long that takes is said by a hundred of them.
    some = [f"toy-line@1/{path.name}" for path in others[:100]]
    all_read = _seconds(lambda: list(reviewed.read_some(results, some))) * RECORDS / len(some)
    report(
        "Opening it when one record has changed",
        ("all read again, from a hundred", all_read, "s"),
        ("now", one_changed, "s"),
        ("ratio", all_read / one_changed, ""),
        goal="ratio >= 5",
    )
    since_first_version(
        f"Opening a folder of {RECORDS:,} records",
        Change("see that nothing has changed", before, after),
        Change("see that nothing has changed, when a page of the dashboard is rerun", page, rerun),
        Change(
            "open it when one record has changed (0.1.0 read all of them; estimated from a"
            " hundred)",
            all_read,
            one_changed,
        ),
    )
    assert len(Store().briefs("toy-line", 1, "holdout")) == RECORDS
    assert before / after >= 5
    assert page / rerun >= 50
    assert all_read / one_changed >= 5
