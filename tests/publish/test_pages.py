"""Static pages and badges: safe to embed, true to the board, and careful with foreign files."""

from __future__ import annotations

import io
import json
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pandas as pd
import pytest
from PIL import Image

from etchmark.api import LocalHub, draw_badge, embed_badge, standing_of
from etchmark.data.loading import load_benchmark
from etchmark.publish.pages import picture, site, writing
from etchmark.publish.repository import Item
from etchmark.registry.store import LOCAL, Store
from etchmark.registry.tables import Entry
from etchmark.specs import ModelCard
from etchmark.submission import submit as submissions

Command = Callable[..., Any]
HOSTILE = '"><script>alert(1)</script>&\u202e'
SVG = "{http://www.w3.org/2000/svg}"


def submit(folder: Path, name: str, offset: float, **card: Any) -> Entry:
    """Predictions of ``toy-line`` that are too high by ``offset``, stored."""
    benchmark = load_benchmark("toy-line")
    truth = benchmark.truth("test")
    path = folder / "p.csv"
    pd.DataFrame({"id": truth.ids, "prediction": truth.target + offset}).to_csv(path, index=False)
    prepared = submissions.prepare_file(
        benchmark, path, name=name, card=ModelCard(**card), track="features", protocol="holdout"
    )
    submissions.commit(Store(), prepared)
    return Entry(prepared.record, prepared.samples, LOCAL)


class _Reader(HTMLParser):
    """The tags of a page with their attributes, and its text."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(content)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    def meta(self, name: str) -> str | None:
        metas = self.all("meta")
        values = [m["content"] for m in metas if name in (m.get("property"), m.get("name"))]
        assert len(values) <= 1
        return values[0] if values else None


def read(path: Path) -> _Reader:
    return _Reader(path.read_text(encoding="utf-8"))


@pytest.fixture
def folder(toy_samples: Path, tmp_path: Path) -> Path:
    """Where pages go; the hub has two models on ``toy-line`` that tests tell apart."""
    submit(tmp_path, "good", 1.0, title="Good one")
    submit(tmp_path, "group/worse", 5.0)
    return tmp_path / "out"


def test_pages_say_what_the_board_says(folder: Path, command: Command) -> None:
    said = command("pages", "toy-line", "--to", folder).fine()
    assert said == f"{folder}: 8 files, 8 new or changed\n"
    page = read(folder / "models" / "good" / "index.html")
    frame = LocalHub().standings("toy-line")
    first = frame.iloc[0]
    assert first["model"] == "good"
    for part in (
        "Good one", "The toy's scalar-mini", "mae 1.000 mm", "rank 1 of 2 (range 1–1)",
        "clear winner", "9 samples", str(first["submission"])[:12], "protocol holdout",
    ):  # fmt: skip
        assert part in page.text, part
    assert "behind a better row" in read(folder / "models" / "group.worse" / "index.html").text
    board = read(folder / "benchmarks" / "toy-line" / "index.html")
    assert "@misc{etchmark-toy-line-1," in board.text
    assert board.text.index("Good one") < board.text.index("group/worse")
    for path in folder.rglob("*.html"):
        for link in read(path).all("a"):
            assert (path.parent / str(link["href"])).is_file(), (path, link)


def test_tags_of_a_page(folder: Path, command: Command) -> None:
    places = ("--site", "https://a.example/p/", "--dashboard", "http://b.example:8501")
    command("pages", "toy-line", "--to", folder, *places).fine()
    page = read(folder / "models" / "group.worse" / "index.html")
    assert page.meta("og:title") == "group/worse · etchmark"
    assert page.meta("og:description") == page.meta("description")
    assert str(page.meta("description")).startswith("toy-line: mae 5.000 mm, behind a better row")
    assert page.meta("og:url") == "https://a.example/p/models/group.worse/"
    image = "https://a.example/p/models/group.worse/card.png"
    assert page.meta("og:image") == image
    with Image.open(folder / image.removeprefix("https://a.example/p/")) as drawn:
        assert drawn.size == (1200, 630)
        assert len(drawn.convert("L").getcolors(1 << 16) or []) > 10, "letters were drawn"
    links = [urlsplit(str(link["href"])) for link in page.all("a")]
    (there,) = [link for link in links if link.netloc]
    assert (there.netloc, there.path) == ("b.example:8501", "/model")
    assert parse_qs(there.query) == {"name": ["group/worse"]}
    assert "](http://b.example:8501/model?name=group%2Fworse&benchmark=toy-line)" in page.text
    assert "(https://a.example/p/models/group.worse/toy-line.svg)" in page.text
    boards = read(folder / "benchmarks" / "toy-line" / "index.html").all("a")
    assert "http://b.example:8501/leaderboard?benchmark=toy-line" in [a["href"] for a in boards]


def test_without_addresses_nothing_absolute_is_said(folder: Path, command: Command) -> None:
    command("pages", "toy-line", "--to", folder).fine()
    page = read(folder / "models" / "good" / "index.html")
    assert page.meta("og:url") is None
    assert page.meta("og:image") is None
    for path in folder.rglob("*.html"):
        assert "http" not in path.read_text("utf-8").replace("http-equiv", ""), path


@pytest.mark.parametrize("option", ["--site", "--dashboard"])
@pytest.mark.parametrize(
    "text",
    ["", "a.example", "ftp://a.example", "https://", "https://a.example/?q=1", "https://a b", "https://[",
     'https://a.example/"', "https://ä.example"],
)  # fmt: skip
def test_an_address_that_cannot_be_linked(
    folder: Path, command: Command, option: str, text: str
) -> None:
    said = command("pages", "--to", folder, option, text).refusal()
    assert said == f"{option} {text!r}: give an address such as https://example.org/boards"
    assert not folder.exists()


def test_names_by_strangers_stay_text(toy_samples: Path, tmp_path: Path, command: Command) -> None:
    entry = submit(tmp_path, "plain", 1.0)
    card = entry.record.card.model_construct(**{**entry.record.card.__dict__, "title": HOSTILE})
    record = entry.record.model_copy(update={"name": f"..\\{HOSTILE}", "card": card})
    Store().add(Entry(record, entry.samples, LOCAL))
    folder = tmp_path / "out"
    command("pages", "toy-line", "--to", folder, "--site", "https://a.example").fine()
    for path in folder.rglob("*.html"):
        page = read(path)
        assert not page.all("script")
        assert not [name for _, tag in page.tags for name in tag if name.startswith("on")]
        assert "\u202e" not in path.read_text("utf-8")
    (model,) = (folder / "models").iterdir()
    assert re.fullmatch(r"[a-z0-9_.-]+", model.name)
    assert "<script>alert(1)</script>" in read(model / "index.html").text
    root = ElementTree.fromstring((model / "toy-line.svg").read_text("utf-8"))
    assert {element.tag for element in root.iter()} == {
        f"{SVG}{tag}" for tag in ("svg", "title", "desc", "style", "rect", "text")
    }
    assert "<script>alert(1)</script>" in str(root.findtext(f"{SVG}title"))


def test_a_badge_refers_to_nothing_and_reads_alone(folder: Path) -> None:
    hub = LocalHub()
    spec, frame = hub.benchmark("toy-line"), hub.standings("toy-line")
    text = draw_badge(standing_of(spec, frame, str(frame["submission"].iloc[1])))
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"url\(|@import|href|script", text)
    root = ElementTree.fromstring(text)
    assert root.get("role") == "img"
    said = root.findtext(f"{SVG}title")
    row = frame.iloc[1]
    interval = f"(95 % interval {row['ci_low']:.3f} … {row['ci_high']:.3f})"
    assert said == (
        "group/worse on The toy's scalar-mini, version 1: mae 5.000 mm"
        f" {interval}, rank 2 of 2 (range 2–2); behind a better row"
    )
    lines = [element.text for element in root.iter(f"{SVG}text")]
    assert lines[2] == "behind a better row"
    assert all(line and 6 * len(line) < float(root.attrib["width"]) for line in lines)
    assert "prefers-color-scheme:dark" in text


def test_a_doubted_score_is_flagged_on_its_badge(folder: Path) -> None:
    hub = LocalHub()
    spec, frame = hub.benchmark("toy-line"), hub.standings("toy-line")
    frame["flags"] = [["far_ahead: so"], []]
    standing = standing_of(spec, frame, str(frame["submission"].iloc[0]))
    assert standing.verdict.startswith("clear winner; flagged: ")
    assert "#009E73" not in draw_badge(standing)
    doubted = replace(standing, said=replace(standing.said, doubts=""))
    assert "#009E73" in draw_badge(doubted)


def test_lines_that_embed_a_badge(folder: Path) -> None:
    hub = LocalHub()
    spec, frame = hub.benchmark("toy-line"), hub.standings("toy-line")
    standing = standing_of(spec, frame, str(frame["submission"].iloc[0]))
    hostile = replace(standing, title='a](javascript:x)"><b>')
    markdown, shown = embed_badge("b.svg", "https://a.example/?a=1&b=2", hostile).split("\n\n")
    assert markdown.startswith(r"[![a\]\(javascript:x\)")
    assert markdown.endswith("](b.svg)](https://a.example/?a=1&b=2)")
    page = _Reader(shown)
    assert [tag for tag, _ in page.tags] == ["a", "img"]
    assert page.all("a")[0]["href"] == "https://a.example/?a=1&b=2"
    assert str(page.all("img")[0]["alt"]).startswith('a](javascript:x)"><b> on The toy')


def test_rows_of_a_model_on_two_tracks_have_badges_of_their_own(
    folder: Path, command: Command, tmp_path: Path
) -> None:
    place = ("--protocol", "holdout", "--track", "kinds")
    command("submit", tmp_path / "p.csv", "toy-line", "--name", "good", *place).fine()
    command("pages", "toy-line", "--to", folder).fine()
    badges = sorted(path.name for path in (folder / "models" / "good").glob("*.svg"))
    assert badges == ["toy-line--kinds.svg", "toy-line.svg"]
    assert "track features" in (folder / "models" / "good" / "toy-line.svg").read_text("utf-8")


def test_reviewed_rows_alone(folder: Path, command: Command) -> None:
    said = command("pages", "toy-line", "--to", folder, "--reviewed").refusal()
    assert said == "toy-line: has no row yet; submit one first"
    assert not folder.exists()


def test_what_cannot_be_shown(folder: Path, command: Command) -> None:
    ran = command("pages", "--to", folder)
    assert ran.rc == 0
    assert ran.stderr == "note: left out: toy-fields: has no row yet; submit one first\n"
    assert "toy-lin" in command("pages", "toy-lin", "--to", folder).refusal()
    assert "name toy-line" in command("pages", "toy-line@1", "--to", folder).refusal()
    (folder.parent / "file").write_text("")
    said = command("pages", "--to", folder.parent / "file").refusal()
    assert said == f"{folder.parent / 'file'}: is not a folder; give another --to"


# --- writing -----------------------------------------------------------------------------------


def test_a_second_run_writes_what_has_changed(
    folder: Path, command: Command, tmp_path: Path
) -> None:
    command("pages", "toy-line", "--to", folder).fine()
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    said = command("pages", "toy-line", "--to", folder).fine()
    assert said.endswith("8 files, 0 new or changed\n")
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    entry = submit(tmp_path, "third", 9.0)
    said = command("pages", "toy-line", "--to", folder).fine()
    assert said.endswith("11 files, 9 new or changed\n"), "all but the pictures of the first two"
    command("withdraw", entry.record.submission, "--yes")
    said = command("pages", "toy-line", "--to", folder).fine()
    assert "removed: models/third/index.html\n" in said
    assert not (folder / "models" / "third").exists()


def items(**content: str) -> list[Item]:
    return [Item(name.replace("_", "/"), text.encode()) for name, text in content.items()]


def test_foreign_files_stay(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "notes").write_text("mine")
    (tmp_path / "same").write_text("1")
    written = writing.write(items(a_b="1", same="1"), tmp_path)
    assert written.written == ("a/b",)
    assert writing.write(items(same="1"), tmp_path).removed == ("a/b",)
    assert (tmp_path / "a" / "notes").read_text() == "mine"


@pytest.mark.parametrize("changed", ["replaced", "stale"])
def test_a_page_that_somebody_edited_is_not_lost(tmp_path: Path, changed: str) -> None:
    writing.write(items(a="1", b="1"), tmp_path)
    (tmp_path / "a").write_text("edited")
    new = items(a="2", b="2") if changed == "replaced" else items(b="2")
    with pytest.raises(writing.UserError, match=r"a: was changed since it was written here"):
        writing.write(new, tmp_path)
    assert (tmp_path / "a").read_text() == "edited"
    assert (tmp_path / "b").read_text() == "1", "nothing is written"


@pytest.mark.parametrize("kind", ["file", "folder", "link", "linked folder", "file above"])
def test_what_is_in_the_way_is_named(tmp_path: Path, kind: str) -> None:
    out = tmp_path / "out"
    out.mkdir()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    if kind == "file":
        (out / "a").mkdir()
        (out / "a" / "b").write_text("theirs")
    elif kind == "folder":
        (out / "a" / "b").mkdir(parents=True)
    elif kind == "link":
        (out / "a").mkdir()
        (out / "a" / "b").symlink_to(elsewhere / "x")
    elif kind == "linked folder":
        (out / "a").symlink_to(elsewhere)
    else:
        (out / "a").write_text("theirs")
    with pytest.raises(writing.UserError, match="another --to"):
        writing.write(items(a_b="1", z="1"), out)
    assert not (out / "z").exists()
    assert not list(elsewhere.iterdir())


def test_a_run_that_was_killed_is_taken_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writing.write(items(a="1", b="1"), tmp_path)
    write = writing.files.write_bytes

    def full(path: Path, content: bytes) -> None:
        if path.name == "b":
            raise OSError(28, "No space left on device", str(path))
        write(path, content)

    monkeypatch.setattr(writing.files, "write_bytes", full)
    with pytest.raises(writing.UserError, match="No space left on device"):
        writing.write(items(a="2", b="2"), tmp_path)
    assert [(tmp_path / name).read_text() for name in "ab"] == ["2", "1"]
    monkeypatch.undo()
    # The boards have changed meanwhile.
    assert writing.write(items(a="3", b="3"), tmp_path).written == ("a", "b")
    manifest = json.loads((tmp_path / writing.MANIFEST).read_text())
    assert [len(hashes) for hashes in manifest["files"].values()] == [1, 1]


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"schema": 1, "files": {"../x": []}}', '{"schema": 2}']
)
def test_a_manifest_that_cannot_be_read(tmp_path: Path, text: str) -> None:
    (tmp_path / "x").write_text("theirs")
    out = tmp_path / "out"
    out.mkdir()
    (out / writing.MANIFEST).write_text(text)
    with pytest.raises(writing.UserError, match="cannot be read"):
        writing.write(items(a="1"), out)
    assert (tmp_path / "x").read_text() == "theirs"


def test_a_folder_of_a_model_stays_the_same_and_is_its_own() -> None:
    assert site.folder_of("cnn3d/periodic") == "models/cnn3d.periodic"
    assert site.folder_of("Big Net") == site.folder_of("Big Net") != site.folder_of("big net")
    assert re.fullmatch(r"models/model-[0-9a-f]{8}", site.folder_of("模型"))
    assert ".." not in site.folder_of("../..")


def test_a_picture_needs_letters(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = picture.png("x" * 300, ["y" * 500] * 9)
    assert drawn is not None
    assert Image.open(io.BytesIO(drawn)).format == "PNG"
    monkeypatch.setattr("PIL.features.check", lambda name: False)
    assert picture.png("x", []) is None
