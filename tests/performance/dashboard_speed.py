"""How long the dashboard's pages take in Chromium with 10,000 submissions on 20 benchmarks.

    python tests/performance/dashboard_speed.py FOLDER [--each 500] [--repeat 3]

makes the registry in FOLDER if there is none (``large_registry.py``), serves it, and prints a
table. First paint: from asking for the address until what the page is for can be seen; a new
browser has to fetch and compile Streamlit's own scripts first, others have them in their cache.
Change: from the click until the page shows what it led to. Last, the memory that the server keeps
after two hundred visits (``visits.py``).
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import chain, cycle, islice
from pathlib import Path
from urllib.parse import quote

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "browser")]

import large_registry  # noqa: E402
from chromium import Browser, dashboard  # noqa: E402
from selenium.common.exceptions import TimeoutException  # noqa: E402
from visits import memory, visit  # noqa: E402

from etchmark.registry.store import Store  # noqa: E402

PAINT_S, CHANGE_S = 2.0, 0.3
WARM_S = 1.0
MEMORY_MIB, VISITS = 1500, 200
BENCHMARKS = 20
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
    try:
        return float(browser.driver.execute_async_script(code, None, click or None)) / 1000
    except TimeoutException:
        raise LookupError(
            f"{browser.driver.current_url}: no {selector!r} with {text!r} in a minute"
        ) from None


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
ALERT = "[data-testid=stAlert]"
PAGE_LINK = "[data-testid=stPageLink]"
CHART = "[data-testid=stVegaLiteChart]"
LED = ".em-decide .em-links"
"""There once a row of the overview names its leader; the verdict stands in the same cell."""
DECIDED = ".em-decide td:has(.em-links) .em-chip"


def pages(address: str, model: str, repeat: int) -> Iterator[tuple[str, float, float]]:
    """The page that is asked for first also has the server import and read everything."""
    own = f"model?name={quote(model, safe='')}"
    board = f"{address}leaderboard?benchmark=composite-stiffness-3d"
    yield "overview, server just started, new browser", paint(address, LED), PAINT_S
    yield "overview, new browser", paint(address, LED), PAINT_S
    yield "overview", paint(address, LED, "", repeat), WARM_S
    yield "overview, verdicts", paint(address, DECIDED, "", repeat), WARM_S
    yield "leaderboard, new browser", paint(board, TABLE), PAINT_S
    yield "leaderboard", paint(board, TABLE, "", repeat), WARM_S
    for name, path, what in (
        ("compare", "compare?benchmark=composite-stiffness-3d", ".js-plotly-plot .main-svg"),
        ("datasets", "data?dataset=superalloys", "[data-testid=stCode]"),
        ("submit", "submit", "[data-testid=stFileUploader]"),
        ("how to read this", "how-to-read", VERDICT),
        ("how to read this, one term", "how-to-read?about=interval", CHART),
        ("search", "search?q=model-01", ".em a[href^='model?']"),
        ("model", own, CHART),
        ("model, errors", f"{own}&tab=errors", ".js-plotly-plot .main-svg"),
    ):
        yield name, paint(address + path, what, "", repeat), WARM_S


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
        yield f"filter by {title}, 500 rows", taken, CHANGE_S
    for place in ("stiff_spheres", "worst split"):
        browser.open(f"{address}leaderboard?benchmark=composite-stiffness-3d-sections")
        field = browser.one(".st-key-pick-by input")
        browser.click(field)
        field.send_keys(place)
        time.sleep(1)
        spot = f'//*[@role="option"][normalize-space()="{place}"]'
        yield f"rank by {place}", until(browser, ALERT, "Not ranked by", spot), CHANGE_S
    browser.open(f"{address}leaderboard?benchmark=composite-stiffness-3d-sections")
    browser.click(browser.one(".st-key-pick-model input"))
    time.sleep(1)
    yield "open a row", until(browser, PAGE_LINK, "Model page", '//*[@role="option"]'), CHANGE_S
    browser.open(f"{address}leaderboard?benchmark=composite-stiffness-2d")
    spot = "//button[normalize-space()='iid']"
    taken = until(browser, VERDICT, "Not the headline protocol", spot)
    yield "another protocol", taken, CHANGE_S


def after_visits(address: str, names: list[str], model: str) -> float:
    """MiB of the server after many visits to all kinds of pages."""
    boards = [f"leaderboard?benchmark={name}" for name in names]
    rest = [f"compare?benchmark={names[0]}", f"model?name={quote(model, safe='')}", "submit"]
    for page in islice(cycle(["", *rest, *boards]), VISITS):
        visit(address + page)
    return memory(address)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--each", type=int, default=500)
    parser.add_argument("--repeat", type=int, default=4)
    given = parser.parse_args()
    folder = given.folder.absolute()
    if not (folder / "home" / "registry.sqlite").is_file():
        large_registry.build(folder, BENCHMARKS, given.each)
    store = Store(folder / "home", folder / "content" / "leaderboard" / "results")
    model = sorted(store.names())[0]
    names = sorted(path.stem for path in (folder / "content" / "benchmarks").glob("*.yaml"))
    with dashboard(folder / "home", folder / "content") as address:
        print(f"{'what':44} seconds  goal", flush=True)
        measured = chain(pages(address, model, given.repeat), changes(address))
        for name, seconds, goal in measured:
            over = "" if seconds <= goal else "over"
            print(f"{name:44} {seconds:7.2f} {goal:5.1f}  {over}", flush=True)
        print(f"MiB after {VISITS} visits, at most {MEMORY_MIB}:", end=" ")
        print(f"{after_visits(address, names, model):.0f}")


if __name__ == "__main__":
    main()
