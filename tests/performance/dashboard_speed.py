"""How long the dashboard's pages take in Chromium with 10,000 submissions on 10 benchmarks.

    python tests/performance/dashboard_speed.py FOLDER [--each 1000] [--repeat 3]

makes the registry in FOLDER if there is none (``large_registry.py``), serves it, and prints a
table. First paint: from asking for the address until what the page is for can be seen; a new
browser has to fetch and compile Streamlit's own scripts first, others have them in their cache.
Change: from the click until the page shows what it led to.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "browser")]

import large_registry  # noqa: E402
from chromium import Browser, dashboard  # noqa: E402

PAINT_S, CHANGE_S = 2.0, 0.3
# Polled at every frame; the clock of a page starts when its address is asked for.
AWAIT = """
const done = arguments[arguments.length - 1], start = performance.now();
const act = arguments[1];
if (act) { const e = document.evaluate(act, document, null, 9, null).singleNodeValue; e.click(); }
const from = act ? start : 0;
(function look() {
  const here = [...document.querySelectorAll(arguments_selector)];
  if (here.some(e => e.textContent.includes(arguments_text))) done(performance.now() - from);
  else requestAnimationFrame(look);
})();
"""


def until(browser: Browser, selector: str, text: str, click: str = "") -> float:
    """Seconds until an element holds a text; from a click on an XPath, if one is given."""
    code = AWAIT.replace("arguments_selector", repr(selector)).replace("arguments_text", repr(text))
    browser.driver.set_script_timeout(60)
    return float(browser.driver.execute_async_script(code, None, click or None)) / 1000


def paint(address: str, selector: str, text: str = "", repeat: int = 1) -> float:
    """Seconds to the first useful paint, for one who never was here or, repeated, who was."""
    with tempfile.TemporaryDirectory() as folder:
        browser = Browser(Path(folder), plain=True)
        # The browser has started; what follows is the page alone.
        time.sleep(2)
        try:
            taken = []
            for _ in range(repeat):
                browser.driver.get(address)
                taken.append(until(browser, selector, text))
                browser.settle()
            return statistics.median(taken[1:] or taken)
        finally:
            browser.close()


TABLE = "[data-testid=stDataFrame] canvas"
VERDICT = "[data-testid=stMarkdown]"
DECIDED = ".em-decide .em-chip"


def pages(address: str, repeat: int) -> Iterator[tuple[str, float, float]]:
    """The page that is asked for first also has the server import and read everything."""
    board = f"{address}leaderboard?benchmark=composite-stiffness-3d"
    yield "overview, server just started, new browser", paint(address, DECIDED, "mape"), PAINT_S
    yield "overview, new browser", paint(address, DECIDED, "mape"), PAINT_S
    yield "overview", paint(address, DECIDED, "mape", repeat), PAINT_S
    yield "leaderboard, new browser", paint(board, TABLE), PAINT_S
    yield "leaderboard", paint(board, TABLE, "", repeat), PAINT_S
    for name, path, what in (
        ("compare", "compare?benchmark=composite-stiffness-3d", ".js-plotly-plot .main-svg"),
        ("datasets", "data?dataset=superalloys", "[data-testid=stCode]"),
        ("submit", "submit", "[data-testid=stFileUploader]"),
        ("how to read this", "how-to-read", VERDICT),
    ):
        yield name, paint(address + path, what, "", repeat), PAINT_S


def changes(address: str) -> Iterator[tuple[str, float, float]]:
    """Filters of a board of a thousand rows, each chosen for the first time."""
    with tempfile.TemporaryDirectory() as folder:
        browser = Browser(Path(folder), plain=True)
        try:
            yield from _changes(browser, address)
        finally:
            browser.close()


def _changes(browser: Browser, address: str) -> Iterator[tuple[str, float, float]]:
    for key, option, title in (
        ("pick-tags", "classical statistics", "tag"),
        ("pick-training", "the benchmark's data alone", "training data"),
    ):
        browser.open(f"{address}leaderboard?benchmark=composite-stiffness-3d-sections")
        browser.click(browser.one("[data-testid=stPopover] button"))
        browser.settle()
        field = browser.one(f".st-key-{key} input")
        browser.click(field)
        field.send_keys(option)
        time.sleep(1)
        spot = f'//*[@role="option"][normalize-space()="{option}"]'
        taken = until(browser, "[data-testid=stCaptionContainer]", "The filters leave", spot)
        yield f"filter by {title}, 1,000 rows", taken, CHANGE_S
    browser.open(f"{address}leaderboard?benchmark=composite-stiffness-2d")
    spot = "//button[normalize-space()='iid']"
    taken = until(browser, VERDICT, "Not the headline protocol", spot)
    yield "another protocol", taken, CHANGE_S


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--each", type=int, default=1000)
    parser.add_argument("--repeat", type=int, default=4)
    given = parser.parse_args()
    folder = given.folder.absolute()
    if not (folder / "home" / "registry.sqlite").is_file():
        large_registry.build(folder, 10, given.each)
    with dashboard(folder / "home", folder / "content") as address:
        print(f"{'what':44} seconds  goal", flush=True)
        for name, seconds, goal in chain(pages(address, given.repeat), changes(address)):
            over = "" if seconds <= goal else "over"
            print(f"{name:44} {seconds:7.2f} {goal:5.1f}  {over}", flush=True)


if __name__ == "__main__":
    main()
