"""What a folder of static pages holds: a page and badges per model, a page per board, a list."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import quote, urlsplit

import pandas as pd

from etchmark.boards.statements import statements
from etchmark.boards.verdicts import verdict
from etchmark.errors import UserError
from etchmark.publish.pages import badge, html, picture
from etchmark.publish.pages.badge import Standing
from etchmark.publish.pages.html import Addresses, Head
from etchmark.publish.repository import Item
from etchmark.registry.layout import slug
from etchmark.specs import BenchmarkSpec

INDEX = "index.html"
PICTURE = "card.png"


@dataclass(frozen=True)
class Shown:
    """A board that is shown.

    Attributes:
        spec: the benchmark.
        frame: rows of ``Board.standings``, best first.
        bibtex: how the benchmark is cited.
    """

    spec: BenchmarkSpec
    frame: pd.DataFrame
    bibtex: str


@dataclass
class _Place:
    """A row of a model: its board, where it stands, and the file of its badge."""

    spec: BenchmarkSpec
    standing: Standing
    file: str


@dataclass
class _Model:
    """A model that has rows on the boards."""

    name: str
    folder: str
    places: list[_Place] = field(default_factory=list)


def address(option: str, text: str | None) -> str | None:
    """An address of a site without the slash at its end.

    Raises:
        UserError: it is not the address of a folder on the web.
    """
    if text is None:
        return None
    try:
        parts = urlsplit(text)
        host = parts.hostname
    except ValueError:
        parts, host = urlsplit(""), None
    unfit = not text.isascii() or any(char.isspace() or char in "\"'<>\\" for char in text)
    if unfit or parts.scheme not in ("http", "https") or not host or parts.query or parts.fragment:
        raise UserError(f"{option} {text!r}: give an address such as https://example.org/boards")
    return text.rstrip("/")


def folder_of(name: str) -> str:
    """The folder of a model, which stays the same when it is submitted again."""
    # Names that look the same in ASCII are told apart by digits of the name's hash.
    return f"models/{slug(name, hashlib.sha256(name.encode()).hexdigest())}"


def items(boards: Sequence[Shown], addresses: Addresses) -> list[Item]:
    """The files of the pages: badges and pictures before the pages that show them."""
    models: dict[str, _Model] = {}
    for board in boards:
        _collect(board, models)
    made: list[Item] = []
    for model in models.values():
        made += _model_items(model, addresses)
    made += [_board_page(board, models, addresses) for board in boards]
    return [*made, _list(boards, models, addresses)]


def _collect(board: Shown, models: dict[str, _Model]) -> None:
    """Add the rows of a board to their models; the best row of each has the shortest name."""
    for submission, name in zip(board.frame["submission"], board.frame["model"], strict=True):
        model = models.setdefault(name, _Model(name, folder_of(name)))
        standing = badge.standing_of(board.spec, board.frame, submission)
        own = [place.file for place in model.places if place.spec is board.spec]
        file = f"{board.spec.id}.svg"
        if own:
            track = board.frame.loc[board.frame["submission"] == submission, "track"].iloc[0]
            file = f"{board.spec.id}--{track}.svg"
        model.places.append(_Place(board.spec, standing, file))


def _model_items(model: _Model, addresses: Addresses) -> list[Item]:
    made = [
        Item(f"{model.folder}/{place.file}", badge.draw_badge(place.standing).encode())
        for place in model.places
    ]
    title = model.places[0].standing.title
    lines = [
        f"{place.spec.id}: {place.standing.score.partition(' (')[0]}, {place.standing.verdict}"
        for place in model.places
    ]
    image = picture.png(title, lines)
    if image is not None:
        made.append(Item(f"{model.folder}/{PICTURE}", image))
    more = f" And {len(lines) - 2} more boards." if len(lines) > 2 else ""
    head = Head(
        f"{model.folder}/{INDEX}",
        f"{title} · etchmark",
        badge.shortened("; ".join(lines[:2]), 280) + f".{more}",
        None if image is None else f"{model.folder}/{PICTURE}",
    )
    return [*made, Item(head.path, html.page(head, _model_body(model, addresses), addresses))]


def _model_body(model: _Model, addresses: Addresses) -> list[str]:
    title = model.places[0].standing.title
    rows = []
    for place in model.places:
        standing, spec = place.standing, place.spec
        address = f"../../benchmarks/{quote(spec.id)}/{INDEX}"
        rows.append(
            [
                f"{html.link(address, spec.title)}<br>{html.escaped(standing.place)}",
                html.escaped(standing.score),
                html.escaped(standing.rank),
                html.escaped(standing.verdict),
                html.escaped(standing.basis),
            ]
        )
    body = [f"<h1>{html.escaped(title)}</h1>"]
    if title != model.name:
        body.append(f"<p>{html.escaped(model.name)}</p>")
    if (there := addresses.model(model.name)) is not None:
        body.append(f"<p>{html.link(there, 'This model on the dashboard')}</p>")
    body += [
        "<h2>Where it stands</h2>",
        html.table(["Benchmark", "Score", "Rank", "What the tests show", "Basis"], rows),
        "<h2>Badges</h2>",
    ]
    for place in model.places:
        body.append(html.picture(place.file, place.standing))
        if addresses.site is not None:
            source = f"{addresses.site}/{quote(model.folder)}/{quote(place.file)}"
            there = addresses.model(model.name, place.spec.id)
            target = there or f"{addresses.site}/{quote(model.folder)}/"
            body.append(html.code(badge.embed_badge(source, target, place.standing)))
    return [*body, f"<p>{html.link('../../index.html', 'All models and boards')}</p>"]


def _board_page(board: Shown, models: dict[str, _Model], addresses: Addresses) -> Item:
    spec = board.spec
    rows = [
        [
            html.link(f"../../{quote(model.folder)}/{INDEX}", place.standing.title),
            html.escaped(place.standing.score),
            html.escaped(place.standing.rank),
            html.escaped(place.standing.verdict),
        ]
        for model, place in _in_order(board, models)
    ]
    said = " ".join(statements(spec, board.frame))
    body = [
        f"<h1>{html.escaped(spec.title)}</h1>",
        f"<p>{html.escaped(spec.summary.replace('`', ''))}</p>",
        f"<p>{html.escaped(said)}</p>",
    ]
    if (there := addresses.board(spec.id)) is not None:
        body.append(f"<p>{html.link(there, 'This board on the dashboard')}</p>")
    body += [
        html.table(["Model", "Score", "Rank", "What the tests show"], rows),
        "<h2>How to cite it</h2>",
        html.code(board.bibtex),
        f"<p>{html.link('../../index.html', 'All models and boards')}</p>",
    ]
    head = Head(f"benchmarks/{spec.id}/{INDEX}", f"{spec.title} · etchmark", said)
    return Item(head.path, html.page(head, body, addresses))


def _in_order(board: Shown, models: dict[str, _Model]) -> list[tuple[_Model, _Place]]:
    """The rows of a board, best first, with their models."""
    waiting = {
        name: [place for place in model.places if place.spec is board.spec]
        for name, model in models.items()
    }
    return [(models[name], waiting[name].pop(0)) for name in board.frame["model"].tolist()]


def _list(boards: Sequence[Shown], models: dict[str, _Model], addresses: Addresses) -> Item:
    rows = [
        [
            html.link(f"benchmarks/{quote(board.spec.id)}/{INDEX}", board.spec.title),
            html.escaped(verdict(board.spec, board.frame).text),
        ]
        for board in boards
    ]
    names = [
        f"<li>{html.link(f'{quote(model.folder)}/{INDEX}', model.name)}</li>"
        for model in sorted(models.values(), key=lambda model: model.name)
    ]
    body = [
        "<h1>etchmark: boards and models</h1>",
        html.table(["Benchmark", "Verdict"], rows),
        "<h2>Models</h2>",
        "<ul>",
        *names,
        "</ul>",
    ]
    said = f"{len(boards)} boards and {len(models)} models for material microstructures."
    head = Head(INDEX, "etchmark: boards and models", said)
    return Item(head.path, html.page(head, body, addresses))
