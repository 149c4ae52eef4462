"""A dashboard of one's own and a headless Chromium that looks at it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By

WAIT_S = 60.0
TALLEST = 4000
"""Pixels of a picture: without a graphics card every one of them is drawn by the processor."""
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ARGUMENTS = (
    "--headless=new", "--no-sandbox", "--no-first-run", "--hide-scrollbars",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage",
)  # fmt: skip
# Volumes are drawn with WebGL, which a machine without a graphics card has in software; then
# everything else is drawn that way too, which is slower than drawing it without.
WEBGL = ("--use-angle=swiftshader", "--enable-unsafe-swiftshader")
READY = "[data-testid=stApp][data-test-script-state=notRunning]"
BUSY = "[data-testid=stSkeleton], [data-stale=true]"


class NoBrowser(RuntimeError):
    """There is none, and none could be had."""


def found() -> tuple[str | None, str | None]:
    """Browser and driver on this machine; None for what Selenium has to fetch."""
    given = os.environ.get("ETCHMARK_CHROMIUM", "").strip()
    browser = given or next((path for name in NAMES if (path := shutil.which(name))), None)
    return browser, shutil.which("chromedriver")


@contextmanager
def dashboard(home: Path, content: Path | None = None) -> Iterator[str]:
    """Serve a hub folder; the address of the dashboard."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    environment = {**os.environ, "ETCHMARK_HOME": str(home), "ETCHMARK_OFFLINE": "1"}
    if content is not None:
        environment |= {"ETCHMARK_CONTENT": str(content), "ETCHMARK_CONTENT_ONLY": "1"}
    command = [sys.executable, "-m", "etchmark", "dashboard", "--port", str(port)]
    with (home / "dashboard.log").open("wb") as log:
        served = subprocess.Popen(
            command, env=environment, stdout=log, stderr=log, start_new_session=True
        )
    address = f"http://localhost:{port}/"
    try:
        _await(address, served, home)
        yield address
    finally:
        os.killpg(served.pid, signal.SIGTERM)
        served.wait(30)


def _await(address: str, served: subprocess.Popen[bytes], home: Path) -> None:
    for _ in range(int(WAIT_S * 10)):
        if served.poll() is not None:
            raise RuntimeError((home / "dashboard.log").read_text(errors="replace")[-2000:])
        try:
            with urllib.request.urlopen(address + "_stcore/health", timeout=5):
                return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError("the dashboard did not answer")


class Browser:
    """One window.

    Args:
        downloads: where files that are downloaded lie.
        width: pixels; below 600 it says it is a telephone.
        height: pixels.
        dark: whether the reader prefers dark pages.
        plain: neither WebGL nor a log of what is asked for; quicker, to measure time.
    """

    def __init__(
        self,
        downloads: Path,
        width: int = 1280,
        height: int = 1400,
        *,
        dark: bool = False,
        plain: bool = False,
    ) -> None:
        options = Options()
        drawing = ("--disable-gpu",) if plain else WEBGL
        for argument in (*ARGUMENTS, *drawing, f"--window-size={max(width, 500)},{height}"):
            options.add_argument(argument)
        if not plain:
            options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        options.add_experimental_option(
            "prefs", {"download.default_directory": str(downloads), "download.prompt": False}
        )
        browser, driver = found()
        if browser:
            options.binary_location = browser
        try:
            service = Service(driver) if driver else Service()
            self.driver = webdriver.Chrome(options=options, service=service)
        except (WebDriverException, OSError) as error:
            reason = (str(error).splitlines() or ["no reason given"])[0]
            raise NoBrowser(
                f"no Chromium could be started ({reason}); install it (Debian: apt install"
                " chromium chromium-driver) or set ETCHMARK_CHROMIUM to its path"
            ) from None
        self.width = width
        self.resize(width, height)
        if dark:
            feature = {"name": "prefers-color-scheme", "value": "dark"}
            self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})

    def resize(self, width: int, height: int) -> None:
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def close(self) -> None:
        self.driver.quit()

    # --- going and waiting ---

    def open(self, address: str) -> None:
        self.driver.get(address)
        self.settle()

    def settle(self, least: float = 0.4) -> None:
        """Wait until the page's script has run and everything is drawn."""
        end, quiet = time.monotonic() + WAIT_S, 0.0
        time.sleep(0.1)
        while quiet < least:
            if time.monotonic() > end:
                raise TimeoutError(f"{self.driver.current_url} did not come to rest")
            ready = self.all(READY) and not self.all(BUSY)
            quiet = quiet + 0.1 if ready else 0.0
            time.sleep(0.1)

    def until(self, text: str, seconds: float = WAIT_S) -> None:
        """Wait until the page says something."""
        end = time.monotonic() + seconds
        while text not in self.text():
            if time.monotonic() > end:
                raise TimeoutError(f"the page never said {text!r}; it says: {self.text()[-3000:]}")
            time.sleep(0.1)

    # --- looking ---

    def all(self, selector: str) -> list[Any]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def one(self, selector: str) -> Any:
        elements = self.all(selector)
        if not elements:
            raise LookupError(f"{selector}: not on the page, which says: {self.text()[-2000:]}")
        return elements[0]

    def text(self) -> str:
        return str(self.script("return document.body.innerText"))

    def alerts(self) -> list[str]:
        return [one.text for one in self.all("[data-testid=stAlert]")]

    def script(self, code: str, *arguments: object) -> Any:
        return self.driver.execute_script(code, *arguments)

    def height(self) -> int:
        """Pixels of the whole page, which scrolls inside an element of its own."""
        return int(
            self.script(
                "const m = document.querySelector('[data-testid=stMain]');"
                "return m ? m.scrollHeight : document.body.scrollHeight"
            )
        )

    def overflow(self) -> int:
        """Pixels by which the page is wider than the window."""
        return int(self.script("return document.documentElement.scrollWidth - window.innerWidth"))

    def shot(self, path: Path) -> None:
        """A picture of the page, of its first ``TALLEST`` pixels at most."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self.resize(self.width, min(self.height() + 80, TALLEST))
        self.settle()
        self.driver.save_screenshot(str(path))

    def complaints(self) -> list[str]:
        """Errors on the browser's console since the last call."""
        # Streamlit asks for these beside the page before it asks at the root.
        known = ("/_stcore/health", "/_stcore/host-config")
        return [
            str(one["message"])
            for one in self.driver.get_log("browser")
            if one["level"] == "SEVERE" and not any(path in one["message"] for path in known)
        ]

    def foreign(self) -> set[str]:
        """Addresses that were asked for outside this machine since the last call."""
        hosts = set()
        for line in self.driver.get_log("performance"):
            message: Mapping[str, Any] = json.loads(line["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                address = message["params"]["request"]["url"]
                if not address.startswith(("http://localhost", "data:", "blob:")):
                    hosts.add(address)
        return hosts

    # --- doing ---

    def click(self, element: Any) -> None:
        self.script("arguments[0].scrollIntoView({block: 'center'})", element)
        time.sleep(0.1)
        element.click()

    def button(self, label: str) -> Any:
        """The button or link that is named so."""
        path = f"//*[self::button or self::a][normalize-space()='{label}' or .//p[.='{label}']]"
        elements = self.driver.find_elements(By.XPATH, path)
        if not elements:
            raise LookupError(f"no button {label!r}; the page says: {self.text()[-2000:]}")
        return elements[0]

    def press(self, label: str) -> None:
        self.click(self.button(label))
        self.settle()

    def choose(self, key: str, option: str) -> None:
        """An option of a select box or of a choice of several, by the widget's key."""
        field = self.one(f".st-key-{key} input")
        self.click(field)
        field.send_keys(option)
        end = time.monotonic() + WAIT_S
        while True:
            listed = [one for one in self.all("[role=option]") if one.text.strip() == option]
            if listed:
                break
            if time.monotonic() > end:
                raise LookupError(f"{key} has no option {option!r}")
            time.sleep(0.1)
        listed[0].click()
        self.settle()


def await_file(folder: Path, seconds: float = WAIT_S) -> Path:
    """The one file that is being downloaded into an empty folder."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        done = [one for one in folder.iterdir() if not one.name.endswith((".crdownload", ".tmp"))]
        done = [one for one in done if not one.name.startswith(".")]
        if done and not list(folder.glob("*.crdownload")):
            return done[0]
        time.sleep(0.1)
    raise TimeoutError(f"nothing was downloaded into {folder}")
