"""Static HTML pages: of a model, of a board, and the list of both.

Names, titles and descriptions come from strangers: every text is escaped here. The pages hold no
script and load nothing from elsewhere, which their content security policy makes sure of.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote, urlencode

from etchmark.publish.pages.badge import Standing
from etchmark.text import one_line, plain_lines

STYLE = """
:root { color-scheme: light dark; }
body { font-family: system-ui, sans-serif; line-height: 1.45; margin: 0 auto; max-width: 60rem;
  padding: 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 0.95rem; }
th, td { text-align: left; vertical-align: top; padding: 0.4rem 0.6rem;
  border-bottom: 1px solid #8886; }
pre { overflow-x: auto; padding: 0.8rem; border: 1px solid #8886; border-radius: 5px; }
img { max-width: 100%; height: auto; }
"""
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src 'self'; base-uri 'none'"


@dataclass(frozen=True)
class Addresses:
    """Where the pages and the dashboard will be found.

    Attributes:
        site: address of the folder of pages, without a slash at its end; None if unknown, which
            leaves out the tags that need an absolute address.
        dashboard: the same of the dashboard; None if no page links to it.
    """

    site: str | None = None
    dashboard: str | None = None

    def model(self, name: str, benchmark: str | None = None) -> str | None:
        """The dashboard's page of a model."""
        query = {"name": name} | ({} if benchmark is None else {"benchmark": benchmark})
        return self._page("model", query)

    def board(self, benchmark: str) -> str | None:
        """The dashboard's page of a board."""
        return self._page("leaderboard", {"benchmark": benchmark})

    def _page(self, page: str, query: dict[str, str]) -> str | None:
        return None if self.dashboard is None else f"{self.dashboard}/{page}?{urlencode(query)}"


@dataclass(frozen=True)
class Head:
    """What a page says of itself to whoever links to it.

    Attributes:
        path: of the page below the folder, with forward slashes.
        title: of the page.
        description: one or two sentences.
        picture: path of its picture below the folder; None if it has none.
    """

    path: str
    title: str
    description: str
    picture: str | None = None


def escaped(text: object) -> str:
    """Text for HTML, on one line."""
    return html.escape(one_line(text))


def link(address: str, text: str) -> str:
    """A link; ``text`` is escaped here."""
    return f'<a href="{html.escape(address)}">{escaped(text)}</a>'


def page(head: Head, body: Sequence[str], addresses: Addresses) -> bytes:
    """A page of HTML.

    Args:
        head: what it says of itself.
        body: its parts, which are HTML already.
        addresses: where it will be found.
    """
    tags = {
        "og:type": "website",
        "og:site_name": "etchmark",
        "og:title": head.title,
        "og:description": head.description,
    }
    if addresses.site is not None:
        folder = head.path.removesuffix("index.html")
        tags["og:url"] = f"{addresses.site}/{quote(folder)}"
        if head.picture is not None:
            tags["og:image"] = f"{addresses.site}/{quote(head.picture)}"
            tags["og:image:alt"] = f"{head.title}: {head.description}"
    cards = "summary_large_image" if "og:image" in tags else "summary"
    lines = [
        "<!doctype html>",
        '<html lang="en">',
        "<head>",
        '<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escaped(head.title)}</title>",
        f'<meta name="description" content="{escaped(head.description)}">',
        *(f'<meta property="{name}" content="{escaped(value)}">' for name, value in tags.items()),
        f'<meta name="twitter:card" content="{cards}">',
        f"<style>{STYLE}</style>",
        "</head>",
        "<body>",
        *body,
        "</body>",
        "</html>",
        "",
    ]
    return "\n".join(lines).encode()


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; titles are escaped here, cells are HTML already."""
    head = "".join(f'<th scope="col">{escaped(name)}</th>' for name in columns)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>\n" for row in rows)
    return (
        f'<div class="wide"><table><thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{body}</tbody></table></div>"
    )


def code(text: str) -> str:
    """Lines to copy."""
    return f"<pre><code>{html.escape(plain_lines(text))}</code></pre>"


def picture(source: str, standing: Standing) -> str:
    """A badge, which says in words what it shows."""
    return f'<p><img src="{html.escape(source)}" alt="{escaped(standing.alone)}"></p>'
