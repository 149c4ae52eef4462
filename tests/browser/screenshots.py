"""Pictures of the dashboard for the documentation: ``make screenshots``.

They show the hub folder that is named, or else one that is built for them.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from chromium import Browser, dashboard
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "docs"
BUILDS = (
    ("superalloys", "composition"),
    ("composites", "2d-morphologies-full"),
    ("composites", "3d-mini"),
)
MODEL = "composite-stiffness-2d"
# Page, the heading that is uppermost (the page's own if empty), and pixels below it.
PAGES = {
    "overview": ("", "", 1230),
    "board": ("leaderboard?benchmark=superalloy-hardness", "", 1150),
    "model": (f"model?name={{model}}&benchmark={MODEL}", "", 1500),
    "datasets": ("data?dataset=composites&config=3d-mini&split=test", "Samples", 1130),
}
WIDTH, COLOURS = 1280, 128


def environment(home: Path) -> dict[str, str]:
    return {**os.environ, "ETCHMARK_HOME": str(home), "ETCHMARK_OFFLINE": "1"}


def etchmark(home: Path, *arguments: str) -> str:
    """Run a command on the hub that is shown, and return what it prints."""
    command = [sys.executable, "-m", "etchmark", *arguments]
    return subprocess.run(
        command, env=environment(home), check=True, stdout=subprocess.PIPE, text=True
    ).stdout


def leader(home: Path, benchmark: str) -> str:
    """Name of the model in the first place."""
    return str(json.loads(etchmark(home, "leaderboard", benchmark, "--json"))[0]["model"])


def small(content: bytes) -> Image.Image:
    """A picture in few colours."""
    with Image.open(io.BytesIO(content)) as image:
        return image.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)


def scroll_to(browser: Browser, heading: str) -> None:
    """Bring a heading of the page to the top of the window, below the navigation."""
    browser.script(
        "const all = [...document.querySelectorAll('h2, h3, strong')];"
        "const top = all.find(element => element.innerText === arguments[0]);"
        "top.style.scrollMarginTop = '90px'; top.scrollIntoView()",
        heading,
    )


def take(home: Path, scratch: Path) -> None:
    """Write all pictures.

    Args:
        home: the hub folder that is shown.
        scratch: for files that are thrown away.
    """
    model = leader(home, MODEL)
    with dashboard(home) as address:
        browser = Browser(scratch, WIDTH)
        try:
            for name, (page, heading, height) in PAGES.items():
                browser.open(address + page.format(model=model))
                browser.resize(WIDTH, height)
                browser.settle()
                if heading:
                    scroll_to(browser, heading)
                    browser.settle()
                path = FOLDER / f"{name}.png"
                small(browser.driver.get_screenshot_as_png()).save(path, optimize=True)
                print(f"docs/{path.name}: {path.stat().st_size:,} bytes")
        finally:
            browser.close()


def main(home: Path | None) -> None:
    with tempfile.TemporaryDirectory() as folder:
        if home is None:
            home = Path(folder) / "hub"
            home.mkdir()
            for dataset, config in BUILDS:
                etchmark(home, "build", dataset, "--config", config)
        take(home, Path(folder))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
