"""Text by strangers stays text on every page."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("streamlit")

from dashboard.text import literal, web_address
from pages import BENCHMARK, HOSTILE, figure_text, fine, page, start, submit, table, values

from etchmark.registry.store import LOCAL, Store
from etchmark.registry.tables import Entry
from etchmark.specs import ModelCard


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_names_and_cards_stay_text(kind: str, toy_content: Path, tmp_path: Path) -> None:
    name = HOSTILE[kind]
    card = ModelCard(
        title=name,
        description=(name + "\n") * (9_000 // len(name)),
        authors=[name],
        licence=name,
        tags=[name[:40].strip()],
        training_data_note=name,
        bibtex=name,
        paper="10.1000/<script>\"'" if kind == "markup" else None,
    )
    # A name with characters that are not seen is refused; the texts of a card are shown escaped.
    entry = submit(tmp_path, "hostile" if "\u202e" in name else name, card=card)
    app = fine(start(benchmark=BENCHMARK, model=entry.record.submission[:12]))
    # Markdown sees none of it unescaped; tables, st.text and st.code show text as it is.
    rendered = [element.value for element in (*app.markdown, *app.caption, *app.header, *app.title)]
    for text in rendered:
        assert not re.search(r"(?<!\\)(<script|<img|\[click\]|!\[|\*\*bold|:red\[)", text), text
        assert "https://evil" not in text
    everything = rendered + table(app)["model"].tolist() + values(app.text)
    assert not any(char in text for text in everything for char in "\u202e\u202c")
    labels = figure_text(app)
    assert "<script" not in labels
    assert "<img" not in labels
    links = [element.proto.url for element in app.get("link_button")]
    assert all(link.startswith("https://doi.org/10.1000/%3Cscript%3E") for link in links)


STEERING = "\u202e\u202c\u2066\u200b\u200f\ufeff"


def _sent(node: Any) -> Iterator[str]:
    """All that a page sends to the browser, as text in which every character stands for itself."""
    children = getattr(node, "children", None)
    if isinstance(children, dict):
        for child in children.values():
            yield from _sent(child)
    proto = getattr(node, "proto", None)
    if proto is not None:
        text = proto.SerializeToString().decode("utf-8", "replace")
        if node.type == "plotly_chart":
            text = json.dumps(json.loads(proto.spec), ensure_ascii=False)
        # Messages and tables hold bytes that are not text; what steers is three bytes of UTF-8.
        yield f"{node.type}: {text}"


@pytest.mark.parametrize("name", ["overview", "leaderboard", "compare", "how_to_read"])
def test_no_page_sends_control_characters(name: str, toy_content: Path, tmp_path: Path) -> None:
    """A record of an older version may hold what intake would refuse today."""
    hostile = "a\u202eb\u200bc\u2066d\u200fe\ufefff"
    entries = [submit(tmp_path, "one", 1.0), submit(tmp_path, "two", 3.0)]
    for number, entry in enumerate(entries):
        card = ModelCard.model_construct(
            **{
                **entry.record.card.__dict__,
                **dict.fromkeys(("title", "description", "licence", "bibtex"), hostile),
                "authors": [hostile],
                "tags": [hostile],
            }
        )
        update = {"name": f"{hostile}{number}", "card": card}
        update["cost"] = entry.record.cost.model_copy(update={"hardware": hostile})
        update["created"] = datetime.now(UTC)
        Store().add(Entry(entry.record.model_copy(update=update), entry.samples, LOCAL))
    first = entries[0].record.submission
    query = {"benchmark": BENCHMARK}
    query |= {"model": first[:12]} if name == "leaderboard" else {}
    query |= {"models": ",".join(element.record.submission[:12] for element in entries)}
    app = fine(page(name, **query))
    sent = list(_sent(app.main))
    assert name == "how_to_read" or any(r"a\u202eb" in text for text in sent)
    for text in sent:
        shown = [char for char in STEERING if char in text]
        assert not shown, (shown, text[:300])


def test_literal_escapes_all_markdown() -> None:
    shown = literal("a*b_[c](d)<e>`f`#$x$ :red[y] http://z.example w@v.example :smile:")
    broken = re.findall(r"(?<!\\):color\[(.*?)\]", shown)
    assert broken == ["http", "\\@", "\\:"], "what would be a link or a picture, in elements apart"
    shown = re.sub(r"(?<!\\):color\[(.*?)\]", "", shown)
    assert not re.search(r"(?<!\\)[*_\[\]()<>`#$:]", shown)
    assert literal("plain words") == "plain words"
    assert literal("x" + HOSTILE["address"]).isascii(), "nothing unseen is copied"


@pytest.mark.parametrize(
    "given",
    ["javascript:alert(1)", "data:text/html,x", "ftp://x", "//x", "http://a b", "10.1/x", "", None],
)
def test_only_http_and_doi_become_links(given: str | None) -> None:
    assert web_address(given) is None


def test_links() -> None:
    assert web_address("10.1016/j.x.2025.1") == "https://doi.org/10.1016/j.x.2025.1"
    assert web_address("https://a.example/b?c=d") == "https://a.example/b?c=d"
