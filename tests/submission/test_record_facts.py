"""Role, flags and interval method of a record: written, held to the benchmark, and shown."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml

from etchmark.api import LocalHub
from etchmark.registry import reviewed
from etchmark.registry.store import Store, read_record
from etchmark.scoring import intervals
from etchmark.specs import ResultRecord

BENCHMARK = "toy-line"
SUBMIT = (BENCHMARK, "--track", "features", "--protocol", "holdout")
Command = Callable[..., Any]
Age = Callable[[Path, Path], None]


def _set_roles(content: Path, **roles: str) -> None:
    path = content / "benchmarks" / f"{BENCHMARK}.yaml"
    value = yaml.safe_load(path.read_text())
    uses = {name: {"track": "features", "role": role} for name, role in roles.items()}
    path.write_text(yaml.safe_dump(value | {"baselines": uses}, sort_keys=False))


def _add_baseline(content: Path, name: str) -> None:
    folder = content / "baselines" / name
    shutil.copytree(content / "baselines" / "toy_mean", folder)
    card = yaml.safe_load((folder / "card.yaml").read_text()) | {"name": name}
    (folder / "card.yaml").write_text(yaml.safe_dump(card))


def _record(entry_of: str) -> ResultRecord:
    return next(
        entry.record for entry in Store().entries(BENCHMARK, 1) if entry.record.name == entry_of
    )


@pytest.fixture
def export(toy_predictions: Callable[..., Path], command: Command, tmp_path: Path) -> Path:
    folder = tmp_path / "export"
    file = toy_predictions("p.csv", splits=("test", "hard"))
    command("submit", file, *SUBMIT, "--name", "mine", "--export", folder).fine()
    return folder


def _edit(folder: Path, **change: Any) -> None:
    path = folder / "record.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))


# --- written -----------------------------------------------------------------------------------


def test_a_submission_is_an_entry_without_flags(export: Path) -> None:
    record = read_record(export / "record.json")
    assert (record.role, record.flags) == ("entry", [])
    assert record.interval_method == intervals.METHOD == "jackknife-t"
    assert _record("mine") == record


def test_flags_are_what_the_submitter_is_told(
    toy_predictions: Callable[..., Path], command: Command
) -> None:
    def constant(table: pa.Table) -> pa.Table:
        return table.set_column(1, "prediction", pa.array([3.0] * len(table)))

    file = toy_predictions("c.parquet", change=constant)
    ran = command("submit", file, *SUBMIT, "--name", "flat")
    assert ran.rc == 0
    (told,) = (line.removeprefix("warning: ") for line in ran.stderr.splitlines())
    assert _record("flat").flags == [f"constant: {told}"]


def test_a_run_has_the_role_that_the_benchmark_declares(
    toy_content: Path, command: Command
) -> None:
    _set_roles(toy_content, toy_mean="control")
    command("evaluate", "toy_mean", BENCHMARK).fine()
    record = _record("toy_mean")
    assert (record.role, record.interval_method) == ("control", intervals.METHOD)
    # A mean is constant, and that is said of it although it is nobody's mistake.
    assert [flag.partition(":")[0] for flag in record.flags or ()] == ["constant"] * 2


def test_a_name_of_a_baselines_family_is_not_free(
    toy_predictions: Callable[..., Path], command: Command
) -> None:
    said = command("submit", toy_predictions(), *SUBMIT, "--name", "toy_mean/better").refusal()
    assert "reads as a variant of 'toy_mean'" in said


# --- reviewed ----------------------------------------------------------------------------------


def test_a_record_cannot_promote_itself(export: Path, command: Command) -> None:
    _edit(export, role="reference")
    said = command("results", "check", export).refusal()
    assert "role is said to be 'reference', but on toy-line@1 'mine' is 'entry'" in said


def test_another_interval_method_is_refused(export: Path, command: Command) -> None:
    _edit(export, interval_method="gut-feeling")
    said = command("results", "check", export).refusal()
    assert "interval_method: must be 'percentile-bootstrap-2000' or 'jackknife-t'" in said


def test_flags_are_those_of_this_hub(export: Path, command: Command) -> None:
    _edit(export, flags=["constant: so the submitter says"])
    path = Path(command("results", "add", export).fine().removeprefix("wrote ").strip())
    assert read_record(path).flags == []


def test_an_older_export_gets_what_it_lacks(export: Path, command: Command, age: Age) -> None:
    age(export / "record.json", export / "samples.parquet")
    assert read_record(export / "record.json").scores[0].metrics["mae"].ci_low is not None
    path = Path(command("results", "add", export).fine().removeprefix("wrote ").strip())
    record = read_record(path)
    assert (record.schema_, record.role, record.flags) == (2, "entry", [])
    assert record.interval_method == intervals.METHOD
    assert record.scores[0].metrics["mae"].ci_low is None


def test_an_interval_edited_in_an_older_export_is_told(
    export: Path, command: Command, age: Age
) -> None:
    age(export / "record.json", export / "samples.parquet")
    value = json.loads((export / "record.json").read_text())
    value["scores"][0]["metrics"]["mae"]["ci_high"] = 7.0
    (export / "record.json").write_text(json.dumps(value))
    said = command("results", "check", export).refusal()
    assert "mae.ci_high of split 'test' is said to be 7 but the predictions give 1" in said


def test_a_reviewed_record_of_schema_1_is_there_already(
    export: Path, command: Command, age: Age
) -> None:
    path = Path(command("results", "add", export).fine().removeprefix("wrote ").strip())
    age(path, path.with_suffix(".parquet"))
    older = path.read_bytes()
    assert f"nothing, {path} is there already" in command("results", "check", export).fine()
    command("results", "add", export).fine()
    assert path.read_bytes() == older
    (record, _) = next(iter(reviewed.read_all(path.parents[1])))  # type: ignore[misc]
    assert record.role is None


# --- shown -------------------------------------------------------------------------------------


def _board(command: Command, *options: str) -> dict[str, dict[str, Any]]:
    rows = json.loads(command("leaderboard", BENCHMARK, "--json", *options).fine())
    return {row["model"]: row for row in rows}


def test_unranked_roles_are_listed_apart_and_never_lead(
    toy_content: Path, export: Path, command: Command
) -> None:
    for name in ("solver", "confound"):
        _add_baseline(toy_content, name)
    _set_roles(toy_content, toy_mean="reference", solver="oracle", confound="control")
    for name in ("solver", "confound", "toy_mean"):
        command("evaluate", name, BENCHMARK).fine()
    rows = _board(command)
    ranked = {name: row["rank"] for name, row in rows.items()}
    assert ranked == {"mine": 1, "toy_mean": 2, "confound": None, "solver": None}
    assert list(rows)[:2] == ["mine", "toy_mean"]
    assert {name: row["role"] for name, row in rows.items()} == {
        "mine": "entry", "toy_mean": "reference", "confound": "control", "solver": "oracle",
    }  # fmt: skip
    assert rows["solver"]["score"] == rows["toy_mean"]["score"]
    assert rows["toy_mean"]["flags"][0].startswith("constant: ")
    assert rows["mine"]["interval_method"] == intervals.METHOD
    said = command("leaderboard", BENCHMARK).fine()
    assert "listed apart: oracle" in said
    assert (
        "listed apart, not ranked (role oracle)" in command("evaluate", "solver", BENCHMARK).fine()
    )


def test_a_reference_line_may_be_a_control(toy_content: Path, command: Command) -> None:
    _set_roles(toy_content, toy_mean="control")
    path = toy_content / "benchmarks" / f"{BENCHMARK}.yaml"
    line = {"label": "what the leak is worth", "model": "toy_mean"}
    value = yaml.safe_load(path.read_text()) | {"reference_lines": [line]}
    path.write_text(yaml.safe_dump(value, sort_keys=False))
    command("results", "run", BENCHMARK, "--protocol", "holdout").fine()
    row = _board(command)["toy_mean"]
    assert (row["rank"], row["role"]) == (None, "control")
    ((declared, score),) = LocalHub().references(BENCHMARK)
    assert (declared.label, score) == (line["label"], row["score"])


def test_the_role_in_force_is_the_benchmarks(
    toy_content: Path, export: Path, command: Command
) -> None:
    command("evaluate", "toy_mean", BENCHMARK).fine()
    assert _board(command)["toy_mean"]["rank"] == 2
    _set_roles(toy_content, toy_mean="exploratory")
    row = _board(command)["toy_mean"]
    assert (row["role"], row["rank"]) == ("exploratory", None)


def test_what_an_older_record_lacks_is_unknown_and_hides_nothing(
    toy_content: Path, export: Path, command: Command, age: Age
) -> None:
    path = Path(command("results", "add", export).fine().removeprefix("wrote ").strip())
    age(path, path.with_suffix(".parquet"))
    _set_roles(toy_content, toy_mean="reference")
    row = _board(command)["mine"]
    assert (row["role"], row["flags"], row["interval_method"]) == ("entry", None, intervals.METHOD)
    assert (row["rank"], row["rank_low"], row["rank_high"]) == (1, 1, 1)
