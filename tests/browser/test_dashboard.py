"""The dashboard as people use it, in headless Chromium: ``make test-browser``."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("selenium")
pytest.importorskip("streamlit")
from etchmark.data.loading import load_benchmark

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

BENCHMARK, PROTOCOL, TRACK = "superalloy-hardness", "leave-paper-out", "composition"
PAGES = {
    "overview": "",
    "leaderboard": f"leaderboard?benchmark={BENCHMARK}",
    "leaderboard-volumes": "leaderboard?benchmark=composite-stiffness-3d",
    "leaderboard-forecast": "leaderboard?benchmark=spinodal-forecast",
    "leaderboard-drawer": f"leaderboard?benchmark={BENCHMARK}&model={{model}}",
    "model": "model?name={name}",
    "model-errors": "model?name={name}&tab=errors",
    "search": "search?q=stepper",
    "compare": f"compare?benchmark={BENCHMARK}",
    "datasets": "data?dataset=superalloys&config=composition",
    "datasets-volumes": "data?dataset=composites&config=3d-mini&split=test",
    "submit": "submit",
    "how-to-read": "how-to-read",
    "how-to-read-interval": f"how-to-read?about=interval&benchmark={BENCHMARK}",
    "how-to-read-told-apart": f"how-to-read?about=told-apart&benchmark={BENCHMARK}",
}
# Colours do not depend on the page, so dark ones are looked at where most kinds of parts are.
DARK = (
    *("overview", "leaderboard", "leaderboard-drawer", "model", "datasets-volumes", "submit"),
    "how-to-read-interval",
)
VIEWS = {
    "wide": (1280, False, tuple(PAGES)),
    "narrow": (390, False, tuple(PAGES)),
    "wide-dark": (1280, True, DARK),
}


def places(hub: Path) -> dict[str, str]:
    """What the addresses of pages name: the first row of the board."""
    first = board(hub)[0]
    return {"model": str(first["submission"])[:12], "name": quote(str(first["model"]), safe="")}


def board(hub: Path) -> list[dict]:
    """What the command line says of the same registry."""
    command = [sys.executable, "-m", "etchmark", "leaderboard", BENCHMARK, "--json"]
    ran = subprocess.run(command, env=environment(hub), check=True, capture_output=True, text=True)
    return json.loads(ran.stdout)


def environment(hub: Path) -> dict[str, str]:
    import os

    return {**os.environ, "ETCHMARK_HOME": str(hub), "ETCHMARK_OFFLINE": "1"}


@pytest.mark.parametrize("view", VIEWS)
def test_every_page_is_whole_and_fits(
    served: str, hub: Path, window: Callable, shots: Path, view: str
) -> None:
    width, dark, pages = VIEWS[view]
    browser = window(width, dark=dark)
    named = places(hub)
    for name in pages:
        browser.open(served + PAGES[name].format(**named))
        browser.shot(shots / f"{name}-{view}.png")
        text = browser.text()
        assert "Traceback" not in text, name
        assert "could not be shown" not in text, name
        assert not browser.alerts() or name == "submit", (name, browser.alerts())
        assert browser.overflow() <= 0, name
        assert browser.complaints() == [], name
        assert browser.foreign() == set(), name
        assert browser.all("h1"), name


def test_filter_and_follow_the_link(served: str, window: Callable) -> None:
    browser = window()
    browser.open(served + f"leaderboard?benchmark={BENCHMARK}")
    browser.click(browser.one("[data-testid=stPopover] button"))
    browser.settle()
    browser.choose("pick-tags", "composition")
    browser.until("pass the filters")
    said = [line for line in browser.text().splitlines() if "pass the filters" in line]
    link = browser.driver.current_url
    assert "tags=composition" in link
    other = window()
    other.open(link)
    assert said[0] in other.text().splitlines()


def test_a_click_on_a_benchmark_of_the_overview(served: str, window: Callable) -> None:
    browser = window()
    browser.open(served)
    title = browser.one(".em-decide th[scope=row] a").text
    browser.click(browser.one(".em-decide .em-links a"))
    browser.until("ranked submissions")
    assert "benchmark=" in browser.driver.current_url
    assert browser.one("h1").text == title
    assert len(browser.driver.window_handles) == 1
    # The benchmark stays the one that was chosen on other pages. The address is whole at rest.
    browser.settle()
    chosen = browser.driver.current_url
    browser.press("Compare")
    browser.press("Leaderboard")
    browser.until("ranked submissions")
    assert browser.driver.current_url == chosen


def test_a_term_below_a_board_leads_to_its_page(served: str, window: Callable) -> None:
    browser = window()
    browser.open(served + f"leaderboard?benchmark={BENCHMARK}")
    link = browser.one("a[href^='how-to-read?about=rank']")
    assert link.get_attribute("tabIndex") == "0", "the keyboard reaches it"
    browser.open(str(link.get_attribute("href")))
    assert browser.one("h1").text == "Rank, rank range and best"
    assert browser.one("[data-testid=stVegaLiteChart]")
    # What the figure shows stands below it in words.
    browser.until("dots are ranks")
    browser.press("Next: Gain")
    browser.until("by how much the error is smaller")
    assert "about=gain" in browser.driver.current_url


def test_search_leads_to_the_page_of_a_model(served: str, hub: Path, window: Callable) -> None:
    from selenium.webdriver.common.keys import Keys

    name = str(board(hub)[0]["model"])
    browser = window()
    browser.open(served + "submit")
    browser.one(".st-key-search-for input").send_keys(name, Keys.ENTER)
    browser.until("hold every word of")
    browser.settle()
    browser.click(browser.one(".em a[href^='model?']"))
    browser.until("Where it stands")
    assert browser.one("h1").text == name
    assert browser.driver.title.startswith(name)


def test_a_click_on_a_row_opens_it_beside_the_table(
    served: str, hub: Path, window: Callable
) -> None:
    from selenium.webdriver.common.action_chains import ActionChains

    browser = window()
    browser.open(served + f"leaderboard?benchmark={BENCHMARK}")
    canvas = browser.one("[data-testid=stDataFrame] canvas")
    browser.script("arguments[0].scrollIntoView({block: 'center'})", canvas)
    width, height = canvas.size["width"], canvas.size["height"]
    # The middle of the first row, and of the second column of text.
    across, down = 300 - width // 2, 52 - height // 2
    ActionChains(browser.driver).move_to_element_with_offset(canvas, across, down).click().perform()
    browser.until("Model page")
    browser.settle()
    first = board(hub)[0]
    assert f"model={str(first['submission'])[:12]}" in browser.driver.current_url
    table, beside = browser.one("[data-testid=stDataFrame]"), browser.button("Model page")
    assert beside.location["x"] > table.location["x"] + table.size["width"]


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (1280, True), (390, False)])
def test_axe_finds_nothing_serious_in_what_we_render(
    served: str, hub: Path, window: Callable, axe: str, width: int, dark: bool
) -> None:
    """Streamlit's own parts are left out, and listed in the documentation."""
    browser = window(width, dark=dark)
    for page in ("", PAGES["model"], PAGES["leaderboard-drawer"], PAGES["search"]):
        browser.open(served + page.format(**places(hub)))
        browser.script(axe)
        found = browser.driver.execute_async_script(
            "axe.run({include: [['.em']]}, {resultTypes: ['violations']})"
            ".then(arguments[arguments.length - 1])"
        )
        serious = [
            (rule["id"], [node["html"][:200] for node in rule["nodes"]][:3])
            for rule in found["violations"]
            if rule["impact"] in ("serious", "critical")
        ]
        assert serious == [], page


def test_the_keyboard_reaches_the_controls(served: str, window: Callable) -> None:
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    browser = window()
    browser.open(served + f"leaderboard?benchmark={BENCHMARK}")
    reached = set()
    for _ in range(30):
        ActionChains(browser.driver).send_keys(Keys.TAB).perform()
        reached.add(
            browser.script(
                "const a = document.activeElement;"
                "return a.getAttribute('aria-label') || a.innerText || a.tagName"
            ).strip()
        )
    said = " | ".join(reached)
    for control in ("Overview", "Submit", "Benchmark", "Track", "Metric", "Filters"):
        assert any(control in one for one in reached), (control, said)


def test_the_keyboard_reaches_the_first_row_in_twelve_presses(
    served: str, window: Callable
) -> None:
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    browser = window()
    browser.open(served + f"leaderboard?benchmark={BENCHMARK}")
    presses = 0
    while not browser.script("return document.activeElement.getAttribute('role') === 'gridcell'"):
        focus = "document.activeElement"
        said = browser.script(f"return {focus}.tagName === 'A' ? {focus}.innerText : ''")
        skips = said.startswith("Skip to")
        # A skip link takes the reader further than the next key.
        ActionChains(browser.driver).send_keys(Keys.ENTER if skips else Keys.TAB).perform()
        presses += 1
        assert presses <= 12, said
    # The first row is then open beside the table.
    browser.until("Model page")


def test_download_a_split_and_check_it(
    served: str, hub: Path, window: Callable, tmp_path: Path
) -> None:
    from chromium import await_file

    browser = window()
    browser.open(served + "data?dataset=superalloys&config=composition")
    browser.click(browser.one(".st-key-have-samples button"))
    got = await_file(tmp_path / "downloads")
    folder = hub / "datasets" / "superalloys"
    (manifest,) = folder.rglob("manifest.json")
    (file,) = json.loads(manifest.read_text(encoding="utf-8"))["files"]
    assert hashlib.sha256(got.read_bytes()).hexdigest() == file["sha256"]


# --- submitting --------------------------------------------------------------------------------


def good(seed: int = 0) -> pd.DataFrame:
    truth = load_benchmark(BENCHMARK).truth("samples", PROTOCOL)
    noise = np.random.default_rng(seed).normal(0, 60, len(truth.ids))
    return pd.DataFrame({"id": truth.ids, "prediction": truth.target + noise})


@pytest.fixture
def data(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests read the labels from the hub that is served."""
    monkeypatch.setenv("ETCHMARK_HOME", str(hub))


def fill(browser, served: str, path: Path, name: str) -> None:
    """Fill the form as far as the button."""
    browser.open(served + f"submit?benchmark={BENCHMARK}&protocol={PROTOCOL}&track={TRACK}")
    browser.one(".st-key-submit-file input[type=file]").send_keys(str(path))
    browser.until(path.name)
    browser.one(".st-key-submit-name input").click()
    # The driver types no characters beyond the basic plane.
    browser.driver.execute_cdp_cmd("Input.insertText", {"text": name})
    browser.settle()
    browser.press("Check and preview")


@pytest.mark.usefixtures("data")
def test_submit_a_good_file_and_see_the_row(
    served: str, hub: Path, window: Callable, tmp_path: Path, shots: Path
) -> None:
    from chromium import await_file

    before = len(board(hub))
    path = tmp_path / "mine.csv"
    good().to_csv(path, index=False)
    name = "<img src=x onerror=window.hit=1> **mine** 😀"
    browser = window()
    fill(browser, served, path, name)
    browser.until("nothing is stored yet")
    browser.shot(shots / "submit-preview-wide.png")
    browser.driver.refresh()
    browser.settle()
    browser.until("nothing is stored yet")
    assert "Kept: mine.csv" in browser.text(), "a reload needs no second upload"
    assert len(board(hub)) == before
    browser.press("Store this submission")
    browser.until("Stored:")
    browser.shot(shots / "submit-receipt-wide.png")
    assert len(board(hub)) == before + 1
    assert list((hub / "uploads").iterdir()) == []
    browser.press("Folder for the pull request (zip)")
    with zipfile.ZipFile(await_file(tmp_path / "downloads")) as folder:
        (predictions,) = [each for each in folder.namelist() if each.endswith("predictions.csv")]
        assert folder.read(predictions) == path.read_bytes()
    browser.press("See it on the board")
    browser.until("Model page")
    ranked = sum(row["rank"] is not None for row in board(hub))
    assert f"Of {ranked} ranked submissions" in browser.text()
    assert name in browser.text(), "as it was written, on the model's own card"
    assert browser.script("return window.hit") is None
    assert browser.complaints() == []


BAD = {
    "missing": lambda frame: frame.iloc[:-3].to_csv(index=False),
    "twice": lambda frame: pd.concat([frame, frame.iloc[:2]]).to_csv(index=False),
    "unknown": lambda frame: frame.assign(id=frame["id"] + "-x").to_csv(index=False),
    "not-finite": lambda frame: frame.assign(prediction=np.nan).to_csv(index=False),
    "words": lambda frame: frame.assign(prediction="hard").to_csv(index=False),
    "columns": lambda frame: frame.rename(columns={"id": "name"}).to_csv(index=False),
    "empty": lambda frame: "",
    "binary": lambda frame: "\x00\x01PAR1\x02" * 50,
}


@pytest.mark.usefixtures("data")
def test_each_bad_file_is_told_in_one_line_and_nothing_is_stored(
    served: str, hub: Path, window: Callable, tmp_path: Path, shots: Path
) -> None:
    before = [row["submission"] for row in board(hub)]
    browser = window()
    told = {}
    for name, spoil in BAD.items():
        path = tmp_path / f"{name}.csv"
        path.write_text(spoil(good()), encoding="utf-8")
        fill(browser, served, path, f"bad {name}")
        (alert,) = browser.alerts()
        told[name] = alert
        assert "could not be shown" not in alert, name
        assert "nothing is stored yet" not in browser.text(), name
        assert str(tmp_path) not in alert, "the page knows no path of the server"
    browser.shot(shots / "submit-refused-wide.png")
    assert len(set(told.values())) == len(told), told
    assert [row["submission"] for row in board(hub)] == before


def test_nothing_filled_is_said(served: str, window: Callable) -> None:
    browser = window()
    browser.open(served + "submit")
    browser.press("Check and preview")
    assert any("no file was given" in one for one in browser.alerts())


def test_a_link_to_what_is_not_there_is_said(served: str, window: Callable) -> None:
    browser = window()
    browser.open(served + f"leaderboard?benchmark=no-such-board&metric={'<b>x' * 30}")
    assert any("no-such-board" in one for one in browser.alerts())
    assert "Traceback" not in browser.text()
    assert browser.all("[data-testid=stDataFrame]")


@pytest.mark.parametrize("page", ["leaderboard?benchmark=", "data?dataset="])
def test_text_from_strangers_copies_as_it_is_and_links_nowhere(
    served: str, window: Callable, page: str
) -> None:
    asked = "https://evil.example/?q=1 (www.evil.example) mailto:w@v.example :smile: :red[x] **b**"
    browser = window()
    browser.open(served + page + quote(asked, safe=""))
    (alert,) = browser.all("[data-testid=stAlert]")
    copied = browser.script(
        "window.getSelection().selectAllChildren(arguments[0]);"
        "return window.getSelection().toString()",
        alert,
    )
    assert asked[:50] in copied
    assert not set(copied) & {"\u200b", "\u2060", "\ufeff"}
    assert not browser.script(
        "return arguments[0].querySelectorAll('a, img, strong').length", alert
    )
