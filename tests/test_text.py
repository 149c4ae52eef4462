"""Foreign text as commands show it: nothing steers a terminal, a spreadsheet or a reader's eye."""

from __future__ import annotations

import csv
import io
import json
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from etchmark import text
from etchmark.registry.store import LOCAL, Store
from etchmark.registry.tables import Entry
from etchmark.submission.submit import prepare_file

HOSTILE = "a\u202eb\u200bc\x1b[31md\x7fe\x9bf\u2028g\u2066h\ufeffi\U000e0041j\u3164k"
"""Right-to-left override, zero-width space, escape, delete, CSI, line separator, tag, filler."""
VISIBLE = r"a\u202eb\u200bc\x1b[31md\x7fe\x9bf\u2028g\u2066h\ufeffi\U000e0041j\u3164k"
HOSTILE_NAME = "a\u202eb\u200bcg\u2066h\ufeffi\U000e0041j\u3164k"
"""What of it the name of a model in a record can hold: no control characters."""
VISIBLE_NAME = r"a\u202eb\u200bcg\u2066h\ufeffi\U000e0041j\u3164k"


def hidden(shown: str) -> list[str]:
    """Characters of an output that steer a display or show nothing."""
    bad = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
    return [
        char
        for char in shown
        if (unicodedata.category(char) in bad and char != "\n") or char == "\u3164"
    ]


def test_plain_text_shows_what_would_hide() -> None:
    assert text.plain(HOSTILE) == VISIBLE
    assert text.plain("two\nlines") == r"two\x0alines"
    assert text.plain_lines("two\nlines\r") == "two\nlines\\x0d"
    assert text.one_line(" two\n  lines ") == "two lines"
    for kept in ("Ångström – 95 % α→β", "模型 モデル", "é e\u0301", "😀", "a\u00a0b"):
        assert text.plain(kept) == kept
    assert text.plain("👩\u200d🔬") == r"👩\u200d🔬"
    assert text.plain("\udcff") == r"\udcff"


def test_json_stays_equal_and_hides_nothing() -> None:
    value = {HOSTILE: [HOSTILE, 1.5, None, "\udcff", "\U000f0000", "Ωα\n"]}
    shown = text.json_text(value)
    assert json.loads(shown) == value
    assert hidden(shown) == []
    assert "Ωα" in shown
    assert text.escape_json('{"a": "plain é"}') == '{"a": "plain é"}'
    with pytest.raises(ValueError, match="not JSON compliant"):
        text.json_text(float("nan"))


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", " =1", "＝1", "\r@x"])
def test_csv_holds_no_formula(name: str) -> None:
    frame = pd.DataFrame({"name": [name, "good"], "score": [-1.25, 2.0], "tags": [["=a"], []]})
    rows = list(csv.DictReader(io.StringIO(text.csv_text(frame))))
    assert rows[0]["name"].startswith(("'", r"\x"))
    assert rows[0]["tags"] == "'=a"
    assert [float(row["score"]) for row in rows] == [-1.25, 2.0]


def test_csv_is_on_one_line_per_row() -> None:
    frame = pd.DataFrame({"name": [HOSTILE + "\r\n=1", None], "n": pd.array([1, None], "Int64")})
    shown = text.csv_text(frame)
    assert hidden(shown) == []
    assert len(shown.splitlines()) == 3
    assert pd.read_csv(io.StringIO(shown))["name"].isna().tolist() == [False, True]


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "–"), (float("nan"), "–"), (2e9, "2.000e+09"), (1234.5, "1,234"), (0.5, "0.5000"),
     (0.00012345, "0.000123"), (-3, "-3.000"), (pd.NA, "–")],
)  # fmt: skip
def test_numbers(value: Any, shown: str) -> None:
    assert text.number(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.386, "0.386"), (0.5, "0.5"), (3.0, "3"), (40.0, "40"), (1200.0, "1,200"),
     (4.4e-4, "0.00044"), (1e-7, "1e-07"), (None, "–")],
)  # fmt: skip
def test_declared_numbers_gain_no_zeros(value: Any, shown: str) -> None:
    assert text.declared_number(value) == shown


# --- through the commands ----------------------------------------------------------------------


@pytest.fixture
def hostile_board(
    toy_content: Path, toy_predictions: Callable[..., Path], tmp_path: Path
) -> dict[str, Any]:
    """A registry whose only record says hostile things wherever a record holds text.

    Intake may refuse such names; a registry of an older version holds them all the same.
    """
    from etchmark.data.loading import load_benchmark
    from etchmark.specs import ModelCard

    prepared = prepare_file(
        load_benchmark("toy-line"),
        toy_predictions("first.csv"),
        name="first",
        card=ModelCard(),
        track="features",
        protocol="holdout",
    )
    card = prepared.record.card.model_copy(
        update={"title": HOSTILE, "tags": [HOSTILE], "authors": [HOSTILE]}
    )
    cost = prepared.record.cost.model_copy(update={"hardware": HOSTILE})
    record = prepared.record.model_copy(update={"name": HOSTILE_NAME, "card": card, "cost": cost})
    Store().add(Entry(record, prepared.samples, LOCAL))
    return record.model_dump(mode="json", by_alias=True)


@pytest.mark.parametrize("form", [(), ("--csv",), ("--json",)])
def test_a_hostile_name_on_the_board(
    hostile_board: dict[str, Any], command: Callable[..., Any], form: tuple[str, ...]
) -> None:
    shown = command("leaderboard", "toy-line", *form).fine()
    assert hidden(shown) == []
    if form == ("--json",):
        (row,) = json.loads(shown)
        assert (row["model"], row["title"], row["tags"]) == (HOSTILE_NAME, HOSTILE, [HOSTILE])
    elif form:
        (row,) = csv.DictReader(io.StringIO(shown))
        assert row["model"] == VISIBLE_NAME
        assert {row[name] for name in ("title", "tags", "hardware")} == {VISIBLE}
    else:
        assert VISIBLE_NAME[:48] in shown


def test_hostile_names_of_columns_in_csv() -> None:
    frame = pd.DataFrame({HOSTILE: [1], "=1": [2]})
    assert text.csv_text(frame) == f"{VISIBLE},'=1\n1,2\n"


def test_hostile_content(toy_content: Path, command: Callable[..., Any]) -> None:
    """Titles and summaries of cards, however they are listed and shown."""
    spoken = '"a\\u202eb\\u200bc\\x1b[31m"'
    for path, key in (
        ("benchmarks/toy-line.yaml", "summary"),
        ("datasets/toy/dataset.yaml", "summary"),
    ):
        card = toy_content / path
        lines = card.read_text(encoding="utf-8").splitlines()
        at = next(n for n, line in enumerate(lines) if line.startswith(f"{key}:"))
        lines[at] = f"{key}: {spoken}"
        card.write_text("\n".join(lines) + "\n", encoding="utf-8")
    for name in ("toy-line", "toy"):
        shown = command("show", name).fine()
        assert r"a\u202eb\u200bc\x1b[31m" in shown
        assert hidden(shown) == []
        shown = command("show", name, "--json").fine()
        assert hidden(shown) == []
        assert json.loads(shown)["summary"] == "a\u202eb\u200bc\x1b[31m"


def test_hostile_file_names_in_messages(
    toy_content: Path, command: Callable[..., Any], tmp_path: Path
) -> None:
    said = command("score", tmp_path / "a\u202eb\n\u200b.csv", "toy-line").refusal()
    assert r"a\u202eb \u200b.csv" in said
    out = tmp_path / "o\u202ex"
    shown = command("template", "toy-line", "--out", out).fine()
    assert hidden(shown) == []
    assert r"o\u202ex" in shown
    assert (out / "predictions.csv").is_file()


def test_what_a_failed_model_printed(
    toy_content: Path, command: Callable[..., Any], tmp_path: Path
) -> None:
    folder = tmp_path / "loud"
    folder.mkdir()
    (folder / "model.py").write_text(
        "def build(seed, device):\n"
        "    print('a\\u202eb\\x1b[31m', flush=True)\n"
        "    raise ValueError('c\\u202ed')\n",
        encoding="utf-8",
    )
    ran = command("evaluate", folder, "toy-line", "--track", "features", "--mini", "--show-log")
    assert ran.rc == 2
    assert hidden(ran.stderr) == []
    assert r"a\u202eb\x1b[31m" in ran.stderr
    assert r"c\u202ed" in ran.stderr
