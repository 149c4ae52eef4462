"""From a predictions file to a stored record, and out again as an export."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import etchmark
from etchmark import files, predictions
from etchmark.errors import UserError
from etchmark.registry.store import REVIEWED, Store, read_record
from etchmark.registry.tables import Entry
from etchmark.submission import submit as submissions

TRACK = ("--track", "features")
HOLDOUT = ("--protocol", "holdout")


@pytest.fixture
def submit(command, toy_predictions):
    def run(*options: str, file=None, name: str = "mine"):
        file = toy_predictions() if file is None else file
        return command("submit", file, "toy-line", "--name", name, *(options or TRACK + HOLDOUT))

    return run


@pytest.fixture
def declared(toy_predictions, tmp_path):
    """A parquet file that says what it is for."""

    def write(**said: str):
        table = pq.read_table(toy_predictions("plain.parquet")).replace_schema_metadata(
            {f"etchmark.{key}": value for key, value in said.items()}
        )
        path = tmp_path / "declared.parquet"
        pq.write_table(table, path)
        return path

    return write


def _names(*, everything: bool = True) -> list[str]:
    return [entry.record.name for entry in Store().entries("toy-line", 1)]


# --- the id ------------------------------------------------------------------------------------


def test_submission_id_is_what_the_design_says():
    parts = ["toy-line@1", "features", "holdout", ["a" * 64, "b" * 64], "Größe"]
    text = json.dumps(parts, ensure_ascii=False).encode("utf-8")
    expected = hashlib.sha256(text).hexdigest()
    given = submissions.submission_id(
        "toy-line@1", "features", "holdout", ["b" * 64, "a" * 64], "Größe"
    )
    assert given == expected


def test_submission_id_tells_everything_apart():
    one = ("toy-line@1", "features", "holdout", ["a" * 64], "mine")
    others = [
        ("toy-line@2", *one[1:]),
        (one[0], "kinds", *one[2:]),
        (*one[:2], "folds", *one[3:]),
        (*one[:3], ["b" * 64], one[4]),
        (*one[:4], "other"),
        (*one[:3], [], one[4]),
    ]
    ids = {submissions.submission_id(*given) for given in [one, *others]}
    assert len(ids) == len(others) + 1


# --- storing -----------------------------------------------------------------------------------


def test_a_submission_is_scored_stored_and_ranked(submit, command):
    said = submit().fine()
    record = Store().entries("toy-line", 1)[0].record
    assert f"stored as {record.submission[:12]}: rank 1 of 1" in said
    assert record.status == "scored"
    assert record.scores[0].metrics["mae"].value == pytest.approx(1.0)
    assert (datetime.now(UTC) - record.created).total_seconds() < 60
    assert record.cost.fit_seconds is None


def test_a_resubmission_is_idempotent(submit, home):
    submit().fine()
    before = Store().entries("toy-line", 1)
    stored = sorted((home / "predictions").glob("*/*"))
    assert "was stored already as" in submit().fine()
    after = Store().entries("toy-line", 1)
    assert [one.record.submission for one in after] == [one.record.submission for one in before]
    assert after[0].samples == before[0].samples
    assert sorted((home / "predictions").glob("*/*")) == stored


def test_a_resubmission_corrects_the_card(submit, tmp_path):
    submit().fine()
    card = tmp_path / "card.yaml"
    card.write_text("title: Better\nauthors: [A. Author]\ntraining_data: declared\n")
    submit(*TRACK, *HOLDOUT, "--card", str(card)).fine()
    (entry,) = Store().entries("toy-line", 1)
    assert entry.record.card.title == "Better"


def test_a_newer_submission_of_the_same_model_supersedes_the_older(
    submit, toy_predictions, command, monkeypatch
):
    submit().fine()
    (old,) = Store().entries("toy-line", 1)
    later = old.record.model_copy(update={"created": datetime(2020, 1, 1, tzinfo=UTC)})
    Store().add(Entry(later, old.samples, old.origin))
    submit(file=toy_predictions("both.csv", splits=("test", "hard"))).fine()
    (row,) = json.loads(command("leaderboard", "toy-line", "--json").fine())
    assert row["submission"] != old.record.submission
    rows = json.loads(command("leaderboard", "toy-line", "--json", "--all").fine())
    by_id = {row["submission"]: row for row in rows}
    assert by_id[old.record.submission]["superseded"] is True
    assert by_id[old.record.submission]["rank"] is None


def test_other_tracks_and_protocols_do_not_supersede(submit, toy_predictions, command):
    submit().fine()
    submit("--track", "kinds", *HOLDOUT).fine()
    folds = toy_predictions("folds.csv", splits=("train",))
    submit(*TRACK, "--protocol", "folds", file=folds).fine()
    assert len(json.loads(command("leaderboard", "toy-line", "--json").fine())) == 2
    line = json.loads(command("leaderboard", "toy-line", "--json", "--protocol", "folds").fine())
    assert len(line) == 1


def test_the_same_file_under_two_names_is_kept_once(submit, home):
    submit().fine()
    submit(name="other").fine()
    assert _names() == ["mine", "other"]
    assert len(list((home / "predictions").glob("*/*"))) == 1


def test_a_reviewed_record_is_not_replaced_by_the_same_submission(submit):
    submit().fine()
    (entry,) = Store().entries("toy-line", 1)
    Store().add(Entry(entry.record, entry.samples, REVIEWED))
    assert "was stored already" in submit().fine()
    assert Store().entries("toy-line", 1)[0].origin == REVIEWED


def test_a_file_that_changes_while_it_is_scored_is_refused(toy_predictions, command):
    from etchmark.specs import ModelCard

    path = toy_predictions()
    prepared = submissions.prepare_file(
        etchmark.load_benchmark("toy-line"),
        path,
        name="mine",
        card=ModelCard(),
        track="features",
        protocol="holdout",
    )
    path.write_text(path.read_text() + "\n")
    with pytest.raises(UserError, match="changed while it was scored"):
        submissions.commit(Store(), prepared)
    assert Store().entries("toy-line", 1) == []


# --- refusals ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["toy_mean", "Toy_Mean", "t\u043ey_mean", "ｔoy_mean"])
def test_the_name_of_a_baseline_is_refused(submit, name):
    assert "is a baseline of this hub" in submit(name=name).refusal()
    assert _names() == []


@pytest.mark.parametrize(
    "name", ["", " ", " mine", "mine ", "a\nb", "a\x1b[2J", "x" * 101, "a\u2028b", "a\udcffb"]
)
def test_a_name_that_is_no_line_is_refused(submit, name):
    assert "must be one line of 1 to 100 characters" in submit(name=name).refusal()
    assert _names() == []


@pytest.mark.parametrize(
    "name", ["=1+1", "<script>", "Größe 模型 🧪", "'; drop table x", "../up", "a/b"]
)
def test_an_unusual_name_is_a_name(submit, name):
    submit(name=name).fine()
    assert _names() == [name]


def test_the_protocol_must_be_said_where_several_exist(submit):
    line = submit(*TRACK).refusal()
    assert "holdout, folds" in line
    assert "--protocol" in line


def test_the_track_must_be_said_where_several_exist(submit):
    line = submit(*HOLDOUT).refusal()
    assert "features, kinds" in line
    assert "--track" in line
    assert _names() == []


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"benchmark": "other@1"}, "the file says it is for other@1, not toy-line@1"),
        ({"benchmark": "toy-line@2"}, "the file says it is for toy-line@2"),
        ({"track": "kinds"}, "the file says track 'kinds' but 'features' was asked for"),
        ({"protocol": "folds"}, "says protocol 'folds' but 'holdout' was asked for"),
    ],
)
def test_a_file_that_contradicts_the_options_is_refused(submit, declared, said, expected):
    assert expected in submit(file=declared(**said)).refusal()
    assert _names() == []


def test_unknown_names_in_the_files_metadata_are_refused(submit, declared):
    assert "unknown track" in submit(*HOLDOUT, file=declared(track="no")).refusal()
    assert "unknown protocol" in submit(*TRACK, file=declared(protocol="no")).refusal()


def test_a_file_that_says_everything_needs_no_options(command, declared):
    file = declared(benchmark="toy-line@1", track="kinds", protocol="holdout")
    command("submit", file, "toy-line", "--name", "mine").fine()
    (entry,) = Store().entries("toy-line", 1)
    assert (entry.record.track, entry.record.protocol) == ("kinds", "holdout")


def test_unofficial_data_never_enter_a_board(toy_predictions):
    from etchmark.specs import ModelCard

    loaded = etchmark.load_benchmark("toy-line", unofficial=True)
    with pytest.raises(UserError, match="never enter a board"):
        submissions.prepare_file(
            loaded,
            toy_predictions(),
            name="mine",
            card=ModelCard(),
            track="features",
            protocol="holdout",
        )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("colour: red\n", "colour: unknown key"),
        ("title: a\ntitle: b\n", "duplicate key"),
        ("- a\n", "must be a mapping of keys, not a list"),
        ("title: [\n", "not valid YAML"),
        ("training_data: perhaps\n", "training_data"),
        ("code: javascript:alert(1)\n", "code"),
        ("title: !!python/object/apply:os.system ['true']\n", "not valid YAML"),
    ],
)
def test_a_bad_card_is_refused(submit, tmp_path, text, expected):
    card = tmp_path / "card.yaml"
    card.write_text(text)
    line = submit(*TRACK, *HOLDOUT, "--card", str(card)).refusal()
    assert expected in line
    assert "card.yaml" in line
    assert _names() == []


@pytest.mark.parametrize(
    "change",
    [
        lambda table: table.slice(1),
        lambda table: pa.concat_tables([table, table.slice(0, 1)]),
        lambda table: table.set_column(0, "id", pa.array(["x"] * table.num_rows)),
        lambda table: table.set_column(1, "prediction", pa.array([float("nan")] * table.num_rows)),
        lambda table: table.set_column(1, "prediction", pa.array(["high"] * table.num_rows)),
    ],
)
def test_a_refused_file_leaves_the_registry_as_it_was(submit, toy_predictions, home, change):
    submit(name="before").fine()
    stored = sorted((home / "predictions").glob("*/*"))
    before = Store().entries("toy-line", 1)
    assert "bad.csv" in submit(file=toy_predictions("bad.csv", change=change)).refusal()
    assert Store().entries("toy-line", 1) == before
    assert sorted((home / "predictions").glob("*/*")) == stored


# --- export ------------------------------------------------------------------------------------


def test_export_holds_record_samples_and_predictions(submit, tmp_path, toy_predictions):
    folder = tmp_path / "deep" / "export"
    submit(*TRACK, *HOLDOUT, "--export", str(folder)).fine()
    assert sorted(path.name for path in folder.iterdir()) == [
        "predictions.csv",
        "record.json",
        "samples.parquet",
    ]
    record = read_record(folder / "record.json")
    assert record == Store().entries("toy-line", 1)[0].record
    assert files.sha256_of(folder / "predictions.csv") == record.fingerprints.predictions[0]
    samples = pq.read_table(folder / "samples.parquet")
    assert samples.num_rows == 9
    assert not [path for path in folder.parent.iterdir() if path != folder]


def test_export_into_what_is_there_is_refused(submit, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("years of work")
    (tmp_path / "file").write_text("x")
    for name in ("full", "file"):
        line = submit(*TRACK, *HOLDOUT, "--export", str(tmp_path / name)).refusal()
        assert "is not an empty folder" in line
    line = submit(*TRACK, *HOLDOUT, "--export", str(tmp_path / "file" / "below")).refusal()
    assert "--export" in line
    assert (tmp_path / "full" / "thesis.tex").read_text() == "years of work"
    assert _names() == []


def test_export_into_an_empty_folder_and_through_a_relative_path(submit, tmp_path, monkeypatch):
    (tmp_path / "empty" / "below").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "empty" / "below")
    submit(*TRACK, *HOLDOUT, "--export", ".").fine()
    assert (tmp_path / "empty" / "below" / "record.json").is_file()


# --- Python ------------------------------------------------------------------------------------


def test_python_submits_a_frame(toy_content):
    truth = etchmark.load_benchmark("toy-line").truth("test")
    import pandas as pd

    frame = pd.DataFrame({"id": truth.ids, "prediction": truth.target + 2.0})
    record = etchmark.submit(
        frame,
        "toy-line",
        name="framed",
        card={"title": "From a frame"},
        track="features",
        protocol="holdout",
    )
    assert record.scores[0].metrics["mae"].value == pytest.approx(2.0)
    board = etchmark.standings("toy-line")
    assert board["model"].tolist() == ["framed"]
    with pytest.raises(UserError, match="unknown key"):
        etchmark.submit(frame, "toy-line", name="x", card={"colour": 1})


def test_python_evaluates_and_failures_are_records(toy_content):
    record = etchmark.evaluate("toy_mean", "toy-line", protocol="folds")
    assert record.outcome == "ok"
    assert etchmark.standings("toy-line", protocol="folds")["rank"].tolist() == [1]


def test_written_predictions_declare_what_they_are_for(tmp_path):
    path = tmp_path / "p.parquet"
    said = predictions.Declared("toy-line@1", "features", "holdout")
    predictions.write(path, ["a"], pa.array([1.0]).to_numpy(), declared=said)
    assert predictions.read(path, rows=1).declared == said


# --- who comes first ---------------------------------------------------------------------------


def test_a_correction_within_the_same_second_stands(toy_content, toy_predictions):
    view = {"name": "mine", "track": "features", "protocol": "holdout"}
    for attempt in range(6):
        for offset in (1.0, 2.0):

            def change(table: pa.Table, by: float = offset + 4 * attempt) -> pa.Table:
                return table.set_column(
                    1, "prediction", pa.array(table["prediction"].to_numpy() + by)
                )

            record = etchmark.submit(
                toy_predictions("again.parquet", change=change), "toy-line", **view
            )
        (row,) = etchmark.standings("toy-line").to_dict(orient="records")
        assert row["submission"] == record.submission


def test_names_that_look_alike_do_not_both_get_in_at_the_same_time(
    toy_content, toy_predictions, monkeypatch
):
    names = Store.names

    def slowly(store: Store, *arguments: str) -> list[str]:
        known = names(store, *arguments)
        time.sleep(0.5)
        return known

    monkeypatch.setattr(Store, "names", slowly)
    file, refused = toy_predictions(), []

    def submit(name: str) -> None:
        try:
            etchmark.submit(file, "toy-line", name=name, track="features", protocol="holdout")
        except UserError as error:
            refused.append(str(error))

    # The second begins with a Cyrillic letter.
    threads = [threading.Thread(target=submit, args=(name,)) for name in ("paper", "раper")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    monkeypatch.undo()
    assert len(refused) == 1
    assert "looks like" in refused[0]
