"""How long the dashboard's pages take in Chromium with 10,000 submissions on 20 benchmarks.

    python tests/performance/dashboard_speed.py FOLDER [--each 500] [--repeat 4]

makes the registry in FOLDER if there is none (``large_registry.py``), serves it, and prints the
table of docs/dashboard.md; what is over its goal is said on standard error. First paint: from
asking for the address until what the page is for can be seen; a new browser has to fetch and
compile Streamlit's own scripts first, others have them in their cache. Change: from the click until
the page shows what it led to. Last, the memory that the server keeps after two hundred visits
(``visits.py``).
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
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
CAPTION = "[data-testid=stCaptionContainer]"
PAGE_LINK = "[data-testid=stPageLink]"
CHART = "[data-testid=stVegaLiteChart]"
FIGURE = ".js-plotly-plot .main-svg"
LED = ".em-decide .em-links"
"""There once a row of the overview names its leader; the verdict stands in the same cell."""
DECIDED = ".em-decide td:has(.em-links) .em-chip"
PLACED = ".em table a[href^='leaderboard?']"
"""A board in the table of where a model stands."""
BOARD = "composite-stiffness-3d"
SECTIONS = "leaderboard?benchmark=composite-stiffness-3d-sections"
FOLDS = "leaderboard?benchmark=composite-stiffness-2d"
Measured = Iterator[tuple[str, float, float]]
"""What was done, the seconds it took, and those it should take at most."""


def pages(address: str, model: str, each: int, repeat: int) -> Measured:
    """The page that is asked for first also has the server import and read everything."""
    own = f"model?name={quote(model, safe='')}"
    board = f"{address}leaderboard?benchmark={BOARD}"
    first = "first visit of a browser"
    just_started = paint(address, LED)
    yield "Overview, leaders", paint(address, LED, "", repeat), WARM_S
    yield "Overview, verdicts", paint(address, DECIDED, "", repeat), WARM_S
    yield f"Overview, {first}", paint(address, LED), PAINT_S
    yield f"Overview, {first}, server just started", just_started, PAINT_S
    yield f"Leaderboard, {each:,} rows", paint(board, TABLE, "", repeat), WARM_S
    yield f"Leaderboard, {first}", paint(board, TABLE), PAINT_S
    for name, path, what in (
        ("Compare", f"compare?benchmark={BOARD}", FIGURE),
        ("Model", own, PLACED),
        ("Model, errors", f"{own}&tab=errors", FIGURE),
        ("Datasets", "data?dataset=superalloys", "[data-testid=stCode]"),
        ("Submit", "submit", "[data-testid=stFileUploader]"),
        ("How to read this", "how-to-read", VERDICT),
        ("How to read this, one term", "how-to-read?about=interval", CHART),
        ("Search", "search?q=model-01", ".em a[href^='model?']"),
    ):
        yield name, paint(address + path, what, "", repeat), WARM_S


def changes(address: str, each: int) -> Measured:
    """Changes of a board, each made for the first time."""
    with tempfile.TemporaryDirectory() as folder:
        browser = Browser(Path(folder), plain=True)
        try:
            yield from filtered(browser, address, each)
            yield from ranked_by(browser, address)
            yield from shown(browser, address)
        finally:
            browser.close()


def option(browser: Browser, key: str, text: str = "") -> str:
    """Open the options of a widget, down to those with a text; the XPath of the first."""
    field = browser.one(f".st-key-{key} input")
    browser.click(field)
    field.send_keys(text)
    time.sleep(1)
    return f'//*[@role="option"][normalize-space()="{text}"]' if text else '//*[@role="option"]'


def filtered(browser: Browser, address: str, each: int) -> Measured:
    for key, text, title in (
        ("pick-status", "run", "status"),
        ("pick-tags", "classical statistics", "tag"),
        ("pick-training", "the benchmark's data only", "training data"),
    ):
        browser.open(address + SECTIONS)
        browser.click(browser.one("[data-testid=stPopover] button"))
        browser.settle()
        taken = until(browser, CAPTION, "pass the filters", option(browser, key, text))
        yield f"Filter by {title}, {each:,} rows", taken, CHANGE_S


def ranked_by(browser: Browser, address: str) -> Measured:
    for place, title in (("stiff_spheres", "another split"), ("worst split", "the worst split")):
        browser.open(address + SECTIONS)
        taken = until(browser, ALERT, "Not ranked by", option(browser, "pick-by", place))
        yield f"Rank by {title}", taken, CHANGE_S
    browser.open(address + FOLDS)
    taken = until(browser, VERDICT, "Not the headline protocol", pressed("iid"))
    yield "Rank by another protocol", taken, CHANGE_S


def shown(browser: Browser, address: str) -> Measured:
    """Sorting by a column is left out: the browser does it without the server."""
    browser.open(address + SECTIONS)
    taken = until(browser, PAGE_LINK, "Model page", option(browser, "pick-model"))
    yield "Drawer of a row", taken, CHANGE_S
    browser.open(address + SECTIONS)
    said = "The plot shows the first"
    taken = until(browser, CAPTION, said, pressed("Scores with intervals"))
    yield "Another figure", taken, CHANGE_S


def pressed(label: str) -> str:
    """XPath of a button."""
    return f"//button[normalize-space()='{label}']"


def after_visits(address: str, names: list[str], model: str, count: int) -> float:
    """MiB of the server after many visits to all kinds of pages."""
    boards = [f"leaderboard?benchmark={name}" for name in names]
    rest = [f"compare?benchmark={names[0]}", f"model?name={quote(model, safe='')}", "submit"]
    for page in islice(cycle(["", *rest, *boards]), count):
        visit(address + page)
    return memory(address)


def line(name: str, value: str, goal: float) -> str:
    """A row of the table in docs/dashboard.md."""
    return f"| {name} | {value} | {goal:g} |"


def show(measured: Iterable[tuple[str, float, float]]) -> None:
    """The table in Markdown, row by row as it is measured."""
    print("| | seconds | goal |\n| --- | --- | --- |", flush=True)
    for name, seconds, goal in measured:
        print(line(name, f"{seconds:.2f}", goal), flush=True)
        if seconds > goal:
            print(f"{name}: {seconds - goal:.2f} s over its goal", file=sys.stderr)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--each", type=int, default=500)
    parser.add_argument("--repeat", type=int, default=4)
    parser.add_argument("--visits", type=int, default=VISITS)
    given = parser.parse_args()
    folder = given.folder.absolute()
    if not (folder / "home" / "registry.sqlite").is_file():
        large_registry.build(folder, BENCHMARKS, given.each)
    # As this checkout declares them, whenever the registry was made.
    large_registry.content(folder / "content", BENCHMARKS)
    store = Store(folder / "home", folder / "content" / "leaderboard" / "results")
    model = sorted(store.names(BOARD))[0]
    names = sorted(path.stem for path in (folder / "content" / "benchmarks").glob("*.yaml"))
    with dashboard(folder / "home", folder / "content") as address:
        show(chain(pages(address, model, given.each, given.repeat), changes(address, given.each)))
        kept = after_visits(address, names, model, given.visits)
    print(
        f"\nAfter {given.visits} visits the server keeps {kept:,.0f} MiB; the goal is at most"
        f" {MEMORY_MIB:,}."
    )


if __name__ == "__main__":
    main()
