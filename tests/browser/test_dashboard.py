"""The dashboard as people use it, in headless Chromium: ``make test-browser``."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
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
    "model": f"leaderboard?benchmark={BENCHMARK}&model={{model}}",
    "compare": f"compare?benchmark={BENCHMARK}",
    "datasets": "data?dataset=superalloys&config=composition",
    "datasets-volumes": "data?dataset=composites&config=3d-mini&split=test",
    "submit": "submit",
    "how-to-read": "how_to_read",
}
# Colours do not depend on the page, so dark ones are looked at where most kinds of parts are.
DARK = ("overview", "leaderboard", "model", "datasets-volumes", "submit")
VIEWS = {
    "wide": (1280, False, tuple(PAGES)),
    "narrow": (390, False, tuple(PAGES)),
    "wide-dark": (1280, True, DARK),
}


def first_model(hub: Path) -> str:
    return str(board(hub)[0]["submission"])[:12]


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
    model = first_model(hub)
    for name in pages:
        browser.open(served + PAGES[name].format(model=model))
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
    browser.press("Leaderboard")
    browser.until("ranked submissions")
    assert "benchmark=" in browser.driver.current_url


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
    before = len(board(hub))
    path = tmp_path / "mine.csv"
    good().to_csv(path, index=False)
    name = "<img src=x onerror=window.hit=1> **mine** 😀"
    browser = window()
    fill(browser, served, path, name)
    browser.until("nothing is stored yet")
    browser.shot(shots / "submit-preview-wide.png")
    assert len(board(hub)) == before
    browser.press("Store this submission")
    browser.until("Stored:")
    browser.shot(shots / "submit-receipt-wide.png")
    assert len(board(hub)) == before + 1
    browser.press("See it on the board")
    browser.until("Model details")
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
