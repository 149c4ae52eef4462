"""Search by words of names and titles."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from etchmark.api import Match, open_hub


def test_every_word_must_be_in_a_name_or_title(toy_content: Path, command: Callable) -> None:
    hub = open_hub()
    assert hub.search("") == hub.search("  ") == []
    assert hub.search("toy mean") == [], "a model that was never scored has no page"
    command("evaluate", "toy_mean", "toy-line").fine()
    assert hub.search("TOY mean") == [Match("model", "toy_mean", "Mean")]
    assert [match.name for match in hub.search("toy") if match.sort == "benchmark"] == [
        "toy-fields",
        "toy-line",
    ]
    assert {match.sort for match in hub.search("toy")} == {"benchmark", "dataset", "model"}
    assert len([match for match in hub.search("toy", 1) if match.sort == "benchmark"]) == 1
    assert hub.search("toy' or 1=1 --") == []


def test_a_misspelled_word_stands_for_the_nearest(toy_content: Path) -> None:
    hub = open_hub()
    near = hub.search("toy-lien")
    assert [(match.sort, match.name, match.near) for match in near] == [
        (match.sort, match.name, True) for match in hub.search("toy line")
    ]
    assert near
    assert not any(match.near for match in hub.search("toy"))
    assert hub.search("zzzz") == []


def test_submissions_of_a_model(toy_content: Path, command: Callable) -> None:
    command("evaluate", "toy_mean", "toy-line", "--protocol", "holdout").fine()
    (recent,) = open_hub().submissions_of("toy_mean")
    assert (recent.benchmark, recent.protocol, recent.superseded) == ("toy-line", "holdout", False)
    assert open_hub().submissions_of("no such model") == []
