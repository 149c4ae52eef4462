"""What a submission says that it is: an entry, exploratory, or an oracle."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml

import etchmark
from etchmark.api import Statement
from etchmark.data.loading import load_benchmark
from etchmark.errors import UserError
from etchmark.registry.store import Store, read_record
from etchmark.registry.tables import LOCAL, Entry
from etchmark.specs import ModelCard, SubmissionCard
from etchmark.submission.preview import preview

SUBMIT = ("toy-line", "--track", "features", "--protocol", "holdout")
APART = ("exploratory", "oracle")
MODEL = """
import numpy as np

class Model:
    def fit(self, train, validation):
        self.mean = float(np.mean(train.target))
    def predict(self, inputs):
        return np.full(len(next(iter(inputs.values()))), self.mean)

def build(seed, device):
    return Model()
"""


@pytest.fixture
def submit(command, toy_predictions) -> Callable[..., Any]:
    """Submits predictions that are off by a constant."""

    def run(*options: object, name: str = "mine", off: float = 1.0) -> Any:
        def moved(table: pa.Table) -> pa.Table:
            values = table["prediction"].to_numpy() + (off - 1.0)
            return table.set_column(1, "prediction", pa.array(values))

        file = toy_predictions(f"{name}-{off:g}.parquet", change=moved)
        return command("submit", file, *SUBMIT, "--name", name, *options)

    return run


def row(command, name: str) -> dict[str, Any]:
    rows = json.loads(command("leaderboard", "toy-line", "--json").fine())
    return next(row for row in rows if row["model"] == name)


def card_file(folder: Path, **keys: object) -> Path:
    path = folder / "card.yaml"
    path.write_text(yaml.safe_dump(keys), encoding="utf-8")
    return path


@pytest.mark.parametrize("role", APART)
def test_a_row_apart_is_listed_with_its_cost_and_never_ranked(role: str, submit, command) -> None:
    submit(name="far", off=3.0).fine()
    said = submit("--role", role, name="near", off=0.5).fine()
    assert f"listed apart, not ranked (role {role})" in said
    near, far = row(command, "near"), row(command, "far")
    assert (near["role"], far["role"]) == (role, "entry")
    assert near["score"] == pytest.approx(0.5)
    assert far["rank"] == 1
    for name in ("rank", "rank_low", "rank_high", "may_be_best", "gain", "gain_p", "gain_relation"):
        assert near[name] is None
    assert "fit_seconds" in near
    board = command("leaderboard", "toy-line").fine()
    assert f"listed apart: {role}" in board
    assert "One ranked submission: there is nothing to compare it with yet." in board
    (stored,) = [
        entry.record for entry in Store().entries("toy-line", 1) if entry.record.name == "near"
    ]
    assert stored.role == role


def test_an_entry_may_say_that_it_is_one(submit, command) -> None:
    assert "rank 1 of 1" in submit("--role", "entry").fine()
    assert row(command, "mine")["role"] == "entry"


@pytest.mark.parametrize(
    ("role", "why"),
    [
        ("reference", "only the YAML of a benchmark declares a reference; state another role"),
        ("control", "only the YAML of a benchmark declares a control; state another role"),
        ("oracel", "a submission is entry, exploratory or oracle, not 'oracel'; state another"),
        ("Oracle", "not 'Oracle'; state another role, or none"),
    ],
)
def test_roles_that_no_submission_has(role: str, why: str, submit, tmp_path: Path) -> None:
    assert why in submit("--role", role).refusal()
    card = card_file(tmp_path, title="t", role=role)
    refusal = submit("--card", card).refusal()
    assert f"{card}: role: " in refusal
    assert why.partition(";")[0] in refusal
    assert Store().names("toy-line") == []


def test_the_card_may_state_the_role(submit, command, tmp_path: Path) -> None:
    card = card_file(tmp_path, title="Solver", role="oracle")
    submit("--card", card).fine()
    (entry,) = Store().entries("toy-line", 1)
    assert entry.record.role == "oracle"
    # The role has one place in a record.
    assert type(entry.record.card) is ModelCard
    assert entry.record.card.title == "Solver"
    submit("--card", card, "--role", "oracle", name="again").fine()
    refusal = submit("--card", card, "--role", "entry", name="other").refusal()
    assert "the card says role 'oracle' but 'entry' was asked for" in refusal
    assert row(command, "again")["rank"] is None


def test_the_role_from_python(toy_predictions) -> None:
    stated: dict[str, Any] = {"name": "mine", "track": "features", "protocol": "holdout"}
    file = toy_predictions("p.parquet")
    assert etchmark.submit(file, "toy-line", **stated).role == "entry"
    assert etchmark.submit(file, "toy-line", **stated, role="exploratory").role == "exploratory"
    card = {"title": "t", "role": "oracle"}
    assert etchmark.submit(file, "toy-line", **stated, card=card).role == "oracle"
    with pytest.raises(UserError, match="only the YAML of a benchmark declares a control"):
        etchmark.submit(file, "toy-line", **stated, role="control")
    with pytest.raises(UserError, match="card: role: a submission is entry"):
        etchmark.submit(file, "toy-line", **stated, card={"role": "reference"})
    with pytest.raises(UserError, match="role must be text, not int"):
        etchmark.submit(file, "toy-line", **stated, role=1)  # type: ignore[arg-type]


def test_a_resubmission_may_change_the_role(submit, command) -> None:
    submit("--role", "exploratory").fine()
    assert "was stored already as" in submit("--role", "exploratory").fine()
    assert row(command, "mine")["rank"] is None
    assert "role changed; stored as" in submit().fine()
    assert row(command, "mine")["rank"] == 1
    assert "role changed; stored as" in submit("--role", "oracle").fine()
    assert row(command, "mine")["role"] == "oracle"
    (entry,) = Store().entries("toy-line", 1)
    command("withdraw", entry.record.submission, "--yes").fine()
    assert Store().entries("toy-line", 1) == []


def test_a_later_submission_of_the_name_supersedes_whatever_the_roles(submit, command) -> None:
    submit("--role", "oracle").fine()
    submit(off=2.0).fine()
    assert row(command, "mine")["rank"] == 1
    submit("--role", "exploratory", off=3.0).fine()
    assert row(command, "mine")["rank"] is None


def test_the_preview_in_a_process_of_its_own(toy_predictions) -> None:
    statement = Statement("mine", ModelCard(), "features", "holdout", "oracle")
    path = toy_predictions("p.parquet")
    prepared = preview(path, "toy-line", statement)
    assert prepared.record.role == "oracle"
    card = SubmissionCard(title="t", role="exploratory")
    prepared = preview(path, "toy-line", Statement("mine", card, "features", "holdout"))
    assert (prepared.record.role, prepared.record.card.title) == ("exploratory", "t")
    with pytest.raises(UserError, match="declares a control"):
        preview(path, "toy-line", Statement("mine", ModelCard(), role="control"))


def test_a_board_shows_it_before_it_is_stored(toy_predictions, submit) -> None:
    submit(name="far", off=3.0).fine()
    statement = Statement("mine", ModelCard(), "features", "holdout", "oracle")
    prepared = preview(toy_predictions("p.parquet"), "toy-line", statement)
    from etchmark.api import LocalHub, View

    entry = Entry(prepared.record, prepared.samples, LOCAL)
    frame = LocalHub().standings("toy-line", View("holdout"), extra=[entry])
    assert frame["model"].tolist() == ["far", "mine"]
    assert frame["rank"].isna().tolist() == [False, True]


# --- models that this hub runs -----------------------------------------------------------------


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "fitted"
    folder.mkdir()
    (folder / "model.py").write_text(MODEL)
    return folder


def test_the_role_of_a_model_that_is_run(model: Path, toy_content, command) -> None:
    run = ("toy-line", "--track", "features", "--protocol", "holdout", "--json")
    assert json.loads(command("evaluate", model, *run).fine())["role"] == "entry"
    asked = command("evaluate", model, *run, "--role", "exploratory").fine()
    assert json.loads(asked)["role"] == "exploratory"
    card_file(model, title="Solver", role="oracle")
    assert json.loads(command("evaluate", model, *run).fine())["role"] == "oracle"
    assert row(command, "fitted")["rank"] is None
    refusal = command("evaluate", model, *run, "--role", "entry").refusal()
    assert "the card says role 'oracle' but 'entry' was asked for" in refusal
    assert "declares a control" in command("evaluate", model, *run, "--role", "control").refusal()
    card_file(model, role="control")
    assert "card.yaml: role: a submission is entry" in command("evaluate", model, *run).refusal()
    card_file(model, role="exploratory")
    record = etchmark.evaluate(model, "toy-line", track="features", store=False, role="exploratory")
    assert record.role == "exploratory"


def test_the_benchmarks_word_on_its_baselines_stands(toy_content: Path, command) -> None:
    refusal = command("evaluate", "toy_mean", "toy-line", "--role", "oracle").refusal()
    assert "toy_mean has the role 'reference' on toy-line@1, whose YAML declares it" in refusal
    card = toy_content / "baselines" / "toy_mean" / "card.yaml"
    card.write_text(card.read_text() + "role: exploratory\n")
    said = command("evaluate", "toy_mean", "toy-line", "--json").fine()
    assert json.loads(said)["role"] == "reference"
    assert row(command, "toy_mean")["rank"] == 1


def test_what_a_benchmark_declares_later_counts_before_what_was_stated(
    submit, command, toy_content: Path
) -> None:
    submit("--role", "exploratory").fine()
    spec = load_benchmark("toy-line").spec
    assert spec.role_of("mine", "exploratory") == "exploratory"
    declared = spec.model_copy(
        update={
            "baselines": {"mine": spec.baselines["toy_mean"].model_copy(update={"role": "oracle"})}
        }
    )
    assert declared.role_of("mine", "exploratory") == "oracle"
    # Nobody but the benchmark makes a row a reference or a control.
    for role in ("reference", "control"):
        assert spec.role_of("mine", role) == "entry"


# --- the public board --------------------------------------------------------------------------


@pytest.fixture
def exported(submit, tmp_path: Path, home: Path) -> Path:
    """An export of an exploratory submission; the registry it came from is gone."""
    folder = tmp_path / "export"
    submit("--role", "exploratory", "--export", folder).fine()
    shutil.rmtree(home)
    return folder


def say_role(path: Path, role: str | None) -> None:
    value = json.loads(path.read_text())
    value["role"] = role
    path.write_text(json.dumps(value, indent=2))


def test_a_review_keeps_the_role(exported: Path, toy_content: Path, command) -> None:
    said = command("results", "check", exported).fine().splitlines()
    assert said[1] == "track features, role exploratory, status scored"
    command("results", "add", exported).fine()
    (path,) = (toy_content / "leaderboard/results/toy-line@1").glob("*.json")
    assert read_record(path).role == "exploratory"
    assert row(command, "mine")["rank"] is None
    assert "listed apart: exploratory" in command("leaderboard", "toy-line").fine()


@pytest.mark.parametrize("role", ["reference", "control"])
def test_a_review_refuses_a_role_that_only_a_benchmark_gives(
    role: str, exported: Path, command
) -> None:
    say_role(exported / "record.json", role)
    for action in ("check", "add"):
        refusal = command("results", action, exported).refusal()
        assert f"role is said to be '{role}', but on toy-line@1 'mine' is 'entry'" in refusal


@pytest.mark.parametrize("role", ["reference", "control"])
def test_a_forged_role_in_a_reviewed_record_leaves_it_out(
    role: str, exported: Path, toy_content: Path, command
) -> None:
    command("results", "add", exported).fine()
    (path,) = (toy_content / "leaderboard/results/toy-line@1").glob("*.json")
    say_role(path, role)
    with pytest.warns(UserWarning, match=f"its role is '{role}', but toy-line@1 declares no base"):
        assert Store().entries("toy-line", 1) == []


def test_a_reviewed_record_is_read_again_when_the_benchmark_declares_its_name(
    exported: Path, toy_content: Path, command
) -> None:
    command("results", "add", exported).fine()
    assert row(command, "mine")["role"] == "exploratory"
    shutil.copytree(toy_content / "baselines" / "toy_mean", toy_content / "baselines" / "mine")
    card = toy_content / "baselines" / "mine" / "card.yaml"
    card.write_text(card.read_text().replace("toy_mean", "mine"))
    path = toy_content / "benchmarks" / "toy-line.yaml"
    declared = yaml.safe_load(path.read_text())
    declared["baselines"]["mine"] = {"track": "features", "role": "control"}
    path.write_text(yaml.safe_dump(declared, sort_keys=False))
    assert row(command, "mine")["role"] == "control"
    (record,) = (toy_content / "leaderboard/results/toy-line@1").glob("*.json")
    say_role(record, "control")
    assert row(command, "mine")["role"] == "control"
    del declared["baselines"]["mine"]
    path.write_text(yaml.safe_dump(declared, sort_keys=False))
    # Reviewed files are looked at again when one of them has changed.
    os.utime(record, (0, 0))
    with pytest.warns(UserWarning, match="declares no baseline 'mine'"):
        assert Store().entries("toy-line", 1) == []


def test_a_reviewed_row_is_not_changed_by_a_submission(
    exported: Path, submit, command, toy_content: Path
) -> None:
    command("results", "add", exported).fine()
    said = submit().fine()
    assert "only a review corrects its card or role" in said
    assert row(command, "mine")["role"] == "exploratory"


def test_a_record_that_says_nothing_of_its_role_is_an_entry(exported: Path, command) -> None:
    value = json.loads((exported / "record.json").read_text())
    del value["role"]
    (exported / "record.json").write_text(json.dumps(value))
    assert "role entry" in command("results", "check", exported).fine()
