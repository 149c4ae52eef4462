"""What boards keep of a record, and hubs that kept less of it."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from etchmark.registry.contents import content_of
from etchmark.registry.digests import VERSION, brief
from etchmark.registry.store import Store
from etchmark.scoring.intervals import METHOD
from etchmark.specs import Claims, Cost, ResultRecord
from etchmark.specs.costs import ABSENT_IF_UNKNOWN
from etchmark.specs.results import SINCE_2, Artefact

HUB = Path(__file__).resolve().parents[1] / "fixtures" / "records-1" / "hub"
Command = Callable[..., Any]
COST = Cost(
    fit_seconds=1.5,
    predict_seconds=0.5,
    peak_memory_bytes=1 << 30,
    parameters=7,
    hardware="a pocket calculator",
    feature_seconds=0.25,
    seconds_each=0.125,
    flops=1e6,
    cpu_seconds=3.0,
    total_parameters=11,
    reference_seconds=(1.0, 1.25),
    reference_cpu_seconds=(0.75, 1.0),
    cpu_seconds_each=0.25,
)


@pytest.fixture
def hub(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the hub of version 0.1.0."""
    folder = tmp_path / "hub"
    shutil.copytree(HUB, folder)
    monkeypatch.setenv("ETCHMARK_HOME", str(folder / "home"))
    monkeypatch.setenv("ETCHMARK_CONTENT", str(folder / "content"))
    monkeypatch.setenv("ETCHMARK_CONTENT_ONLY", "1")
    return folder


def _briefs(hub: Path) -> dict[str, tuple[int, dict[str, Any]]]:
    with sqlite3.connect(hub / "home" / "registry.sqlite") as connection:
        rows = connection.execute("select id, form, content from briefs").fetchall()
    connection.close()
    return {name: (form, json.loads(content)) for name, form, content in rows}


def _record(hub: Path) -> ResultRecord:
    return next(
        entry.record for entry in Store().entries("toy-line", 1) if entry.record.outcome == "ok"
    )


def test_a_brief_holds_every_cost_and_every_key_of_schema_2(hub: Path) -> None:
    assert None not in COST.model_dump().values()
    new = {
        "role": "oracle",
        "flags": ["constant: every prediction is 3"],
        "interval_method": "percentile-bootstrap-2000",
        "artefact": Artefact(sha256="a" * 64, bytes=7),
    }
    assert set(new) == set(SINCE_2)
    record = _record(hub).model_copy(
        update={"schema_": 2, "cost": COST, "claims": Claims(cost=COST), **new}
    )
    content = content_of(json.dumps(brief(record)))
    stated = json.loads(COST.model_dump_json())
    assert content["cost"] == content["claimed"] == stated
    expected = {**new, "artefact": {"sha256": "a" * 64, "bytes": 7}}
    assert {key: content[key] for key in SINCE_2} == expected


def test_what_a_record_does_not_know_is_null(hub: Path) -> None:
    content = content_of(json.dumps(brief(_record(hub))))
    assert all(content[key] is None for key in SINCE_2)
    assert content["cost"]["cpu_seconds"] is None
    assert set(content["cost"]) == set(Cost.model_fields)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("role", "winner"),
        ("flags", "constant"),
        ("interval_method", "two words"),
        ("artefact", {"sha256": "a", "bytes": 7}),
        ("cost", {}),
    ],
)
def test_a_damaged_brief_is_refused(hub: Path, key: str, value: Any) -> None:
    content = brief(_record(hub)) | {key: value}
    with pytest.raises(ValueError, match=key):
        content_of(json.dumps(content))


def _board(command: Command) -> list[dict[str, Any]]:
    return json.loads(command("leaderboard", "toy-line", "--all", "--json").fine())


def test_a_hub_of_an_earlier_form_is_read_and_brought_up_to_date(
    hub: Path, command: Command
) -> None:
    before = _briefs(hub)
    assert {form for form, _ in before.values()} != {VERSION}
    rows = _board(command)
    after = _briefs(hub)
    assert set(before) <= set(after)
    assert {form for form, _ in after.values()} == {VERSION}
    for row in rows:
        # The role is what the benchmark says today; the rest was never recorded.
        assert row["role"] == "entry"
        assert all(flag.startswith("same_predictions: ") for flag in row["flags"] or ())
        if row["outcome"] == "ok":
            assert row["interval_method"] == METHOD
        assert row["cpu_seconds"] is None
    assert any(row["rank"] == 1 for row in rows)


def test_briefs_of_the_form_before_are_made_again(hub: Path, command: Command) -> None:
    rows = _board(command)
    with sqlite3.connect(hub / "home" / "registry.sqlite") as connection:
        for name, (_, content) in _briefs(hub).items():
            cost = {
                key: value for key, value in content["cost"].items() if key not in ABSENT_IF_UNKNOWN
            }
            older = {key: value for key, value in content.items() if key not in SINCE_2}
            connection.execute(
                "update briefs set form = ?, content = ? where id = ?",
                (VERSION - 1, json.dumps(older | {"cost": cost}), name),
            )
    connection.close()
    assert _board(command) == rows
    assert {form for form, _ in _briefs(hub).values()} == {VERSION}
