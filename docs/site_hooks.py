"""Pages of the site that stand elsewhere in the repository, and links between them.

Dataset cards, CONTRIBUTING.md and the like stay where a reader of the repository looks for them.
The site takes them in, and links that lead out of ``docs/`` are changed to fit: to the page that a
file becomes, or to plain text where the site has no such page.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mkdocs.structure.files import Files

ROOT = Path(__file__).resolve().parents[1]
IMAGES = (".png", ".gif", ".jpg", ".svg")
FENCE = re.compile(r"^\s*(```|~~~)")
FETCHED = re.compile(
    r"""<(?:script|img|iframe|link)\b[^>]*\b(?:src|href)=["']?(https?://[^"'\s>]+)"""
)
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^()\s#]+)(#[^()\s]+)?\)")


def places() -> dict[str, str]:
    """Files of the repository outside ``docs/`` and what they are called on the site."""
    found = {"CONTRIBUTING.md": "contributing.md"}
    for card in sorted(ROOT.glob("datasets/*/README.md")):
        folder = card.parent
        found[f"datasets/{folder.name}/README.md"] = f"datasets/{folder.name}.md"
        for image in sorted(folder.iterdir()):
            if image.suffix in IMAGES:
                found[f"datasets/{folder.name}/{image.name}"] = (
                    f"datasets/{folder.name}/{image.name}"
                )
    for note in sorted(ROOT.glob("baselines/*/*.md")):
        path = note.relative_to(ROOT).as_posix()
        found[path] = path
    return found


def fitted(markdown: str, source: str, page: str, pages: dict[str, str]) -> str:
    """Markdown whose relative links fit the site.

    Args:
        markdown: of a file.
        source: the file, relative to the repository.
        page: what it is called on the site.
        pages: where files outside ``docs/`` are on the site.
    """

    def fit(match: re.Match[str]) -> str:
        image, text, target, anchor = match.groups()
        if ":" in target or target.startswith("/"):
            return match.group()
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        place = path.removeprefix("docs/") if path.startswith("docs/") else pages.get(path)
        if place is None:
            return text
        link = posixpath.relpath(place, posixpath.dirname(page) or ".")
        return f"{image}[{text}]({link}{anchor or ''})"

    # Joined, since the text of a link may go over two lines.
    parts: list[list[str]] = [[]]
    fenced = False
    for line in markdown.split("\n"):
        if FENCE.match(line):
            fenced = not fenced
            # Of the two lines that bound a block, the last one belongs to it.
            parts.append([line]) if fenced else parts[-1].append(line)
            if not fenced:
                parts.append([])
            continue
        parts[-1].append(line)
    return "\n".join(
        "\n".join(part) if part and FENCE.match(part[0]) else LINK.sub(fit, "\n".join(part))
        for part in parts
        if part
    )


def on_files(files: Files, config: Any) -> Files:
    """Take in the pages and pictures from outside ``docs/``."""
    from mkdocs.structure.files import File

    for path, page in places().items():
        source = ROOT / path
        if source.suffix == ".md":
            text = fitted(source.read_text(encoding="utf-8"), path, page, places())
            files.append(File.generated(config, page, content=text))
        else:
            files.append(File.generated(config, page, abs_src_path=str(source)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Fit the links of pages that do stand in ``docs/``."""
    if page.file.generated_by:
        return markdown
    return fitted(markdown, f"docs/{page.file.src_uri}", page.file.src_uri, places())


def fetched(html: str) -> list[str]:
    """Addresses from which a page would fetch scripts, styles or pictures."""
    return FETCHED.findall(html)


def on_post_page(output: str, page: Any, **_: Any) -> None:
    """Refuse a page that fetches anything from elsewhere: the site is read offline too."""
    from mkdocs.exceptions import PluginError

    if addresses := fetched(output):
        raise PluginError(f"{page.file.src_uri} fetches {', '.join(addresses)}")
