"""``docs/findings.md`` says what the reviewed records show, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

DOCS = Path(__file__).resolve().parents[1] / "docs"
# Names of models, papers and quantities, and sizes that define a task.
NAMES = (
    *("C1111", "R²", "3D", "2D", "95 %", "64²", "190 frames", "32 × 32"),
    *("Budiansky (1965)", "Latypov 2025", "10.1016/j.actamat.2025.121217", "DINOv2", "VGG-19"),
)


@pytest.mark.parametrize("name", ["findings.md", "literature.md"])
def test_a_page_is_what_the_records_say(findings: ModuleType, name: str) -> None:
    assert name in findings.PAGES
    assert findings.page(name) == (DOCS / name).read_text(encoding="utf-8"), "run `make findings`"


def test_no_number_is_typed_by_hand() -> None:
    text = (DOCS / "findings.md.j2").read_text(encoding="utf-8")
    prose = re.sub(r"\{#.*?#\}|\{%.*?%\}|\{\{.*?\}\}", "", text, flags=re.S)
    for name in NAMES:
        assert name in text
        prose = prose.replace(name, "")
    assert re.findall(r"[^\n]*\d[^\n]*", prose) == []


def test_a_claim_that_the_records_do_not_support_is_refused(
    findings: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    compare = findings.etchmark.compare

    def undecided(*arguments: Any, **options: Any) -> Any:
        return compare(*arguments, **options).assign(better="", relation="not told apart")

    monkeypatch.setattr(findings.etchmark, "compare", undecided)
    with pytest.raises(
        findings.UnsupportedClaimError, match=r"cnn3d/periodic is better than .*; correct"
    ):
        findings.page("findings.md")


def test_numbers_are_written_as_the_boards_write_them(findings: ModuleType) -> None:
    assert findings.span([38.2, 60.9], 0) == "38 to 61"
    assert findings.span([0.071, 0.0712], 2) == "0.07"
    assert [findings.significant(value) for value in (0.0191, 0.56, 9.96, 104)] == [
        *("0.019", "0.56", "10.0", "100")
    ]
    assert findings.decimals(0.0054, "rmse") == 4
    assert findings.decimals(561.0, "mape") == 0
    column = findings.Column("error", lambda name: f"{len(name)}.0\N{NO-BREAK SPACE}[1,9]", len)
    table = findings.table("model", [column], {"first": "abc", "second": "a", "none": [None]})
    assert table.splitlines()[2:] == [
        "| first | 3.0\N{NO-BREAK SPACE}[1,9] |",
        "| second | **1.0**\N{NO-BREAK SPACE}[1,9] |",
        "| none |  |",
    ]
