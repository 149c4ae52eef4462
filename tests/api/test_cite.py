"""BibTeX entries: whole, with year and version, and what a title holds is not a command."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from etchmark.api.cite import escaped

Command = Callable[..., Any]
ROOT = Path(__file__).resolve().parents[2]


def _entries(text: str) -> dict[str, dict[str, str]]:
    """Entries by key, fields by name; whatever is not a whole entry is an error."""
    entries = {}
    for block in text.strip().split("\n\n"):
        head, *fields, tail = block.splitlines()
        assert tail == "}"
        key = re.fullmatch(r"@(?:misc|article)\{([a-z0-9_-]+),", head)
        assert key, head
        assert block.count("{") - block.count(r"\{") == block.count("}") - block.count(r"\}")
        parsed = [re.fullmatch(r"  (\w+) = \{(.*)\},", field) for field in fields]
        assert all(parsed), fields
        assert key.group(1) not in entries
        entries[key.group(1)] = {found.group(1): found.group(2) for found in parsed if found}
    return entries


def _add(path: Path, text: str) -> None:
    path.write_text(path.read_text(encoding="utf-8") + text, encoding="utf-8")


def test_a_benchmark_and_its_papers(toy_content: Path, command: Command) -> None:
    (toy_content / "CITATION.cff").write_text(
        "title: toy\nversion: 2.3.4\ndate-released: 2024-05-06\nurl: https://toy.example/a_b\n"
        "authors:\n- family-names: Müller & Co\n  given-names: Ann\n- name: The toy_makers\n"
    )
    _add(
        toy_content / "benchmarks" / "toy-line.yaml",
        "citations:\n- {title: 'Ohm & Volt (1827), Z. 50 % {x}', doi: 10.1000/a_b}\n"
        "- {title: 'Ohm (1827), another', url: 'https://toy.example/p'}\n",
    )
    _add(
        toy_content / "datasets" / "toy" / "dataset.yaml",
        "citations:\n- {title: 'Ohm & Volt (1827), Z. 50 % {x}', doi: 10.1000/a_b}\n",
    )
    entries = _entries(command("cite", "toy-line@1").fine())
    assert list(entries) == ["etchmark-toy-line-1", "ohm1827", "ohm1827b"]
    own = entries["etchmark-toy-line-1"]
    assert own["author"] == r"Müller \& Co, Ann and {The toy\_makers}"
    assert own["title"] == r"{The toy's scalar-mini}, etchmark benchmark toy-line, version 1"
    assert (own["year"], own["version"]) == ("2024", "1")
    assert own["howpublished"] == "etchmark 2.3.4"
    assert own["url"] == "https://toy.example/a_b"
    assert re.search(r"features: [0-9a-f]{64}", own["note"])
    paper = entries["ohm1827"]
    assert paper["title"] == r"{Ohm \& Volt (1827), Z. 50 \% \{x\}}"
    assert (paper["year"], paper["doi"]) == ("1827", "10.1000/a_b")
    assert "doi" not in entries["ohm1827b"]
    assert entries["ohm1827b"]["url"] == "https://toy.example/p"


def test_the_parts_of_a_paper(toy_content: Path, command: Command) -> None:
    titles = (
        "Ohm, Volt & Al-Ampère (1827), Z. Phys. B 50, 15-a7",
        "Watt et al. (1788), arXiv 2602.19915",
        "Joule (1840), Phil. Mag. 5, 2 and more",
    )
    cited = "".join(f"- {{title: '{title}', doi: 10.1000/x}}\n" for title in titles)
    _add(toy_content / "benchmarks" / "toy-line.yaml", f"citations:\n{cited}")
    text = command("cite", "toy-line").fine()
    _, article, preprint, other = _entries(text).values()
    assert "@article{ohm1827," in text
    assert article == {
        "author": "{Ohm} and {Volt} and {Al-Ampère}",
        "year": "1827",
        "journal": "Z. Phys. B",
        "volume": "50",
        "pages": "15-a7",
        "doi": "10.1000/x",
    }
    assert (preprint["author"], preprint["eprint"]) == ("{Watt} and others", "2602.19915")
    assert "title" not in preprint
    # What has another form stays as it is written.
    assert other == {"title": f"{{{titles[2]}}}", "year": "1840", "doi": "10.1000/x"}


def test_a_dataset(toy_content: Path, command: Command) -> None:
    (own,) = _entries(command("cite", "toy").fine()).values()
    assert own["title"].startswith("{Toy: numbers made for tests}, etchmark dataset toy, version 1")
    # The content says nothing of itself: then it is etchmark's.
    assert own["author"] == "{The etchmark authors}"
    assert re.fullmatch(r"20\d\d", own["year"])


def test_whatever_is_released_can_be_cited(home: Path, command: Command) -> None:
    names = [path.stem for path in (ROOT / "benchmarks").glob("*.yaml")]
    # A dataset that nobody could build yet has no fingerprint.
    names += [path.parent.name for path in (ROOT / "datasets").glob("*/frozen")]
    assert len(names) > 8
    for name in names:
        own, *papers = _entries(command("cite", name).fine()).values()
        assert re.fullmatch(r"20\d\d", own["year"])
        assert re.search(r"[0-9a-f]{64}", own["note"])
        assert papers
        assert all(paper["year"] and (paper.get("doi") or paper.get("url")) for paper in papers)


def test_an_unknown_name_is_refused(toy_content: Path, command: Command) -> None:
    assert "unknown benchmark or dataset 'toy-lin'" in command("cite", "toy-lin").refusal()
    assert "version 1 here, not 2" in command("cite", "toy-line@2").refusal()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a&b_c", r"a\&b\_c"),
        ("\\input{x}", r"\textbackslash{}input\{x\}"),
        ("Größe 5 %", r"Größe 5 \%"),
    ],
)
def test_text_is_set_as_it_is_written(text: str, expected: str) -> None:
    assert escaped(text) == expected
