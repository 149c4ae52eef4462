"""The dashboard in a real browser; see ``chromium.py``."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
ROOT = Path(__file__).resolve().parents[2]
BUILDS = (("superalloys", "composition"), ("composites", "3d-mini"))
AXE = "4.14.1"
"""Version of axe-core."""


@pytest.fixture(scope="session")
def shots() -> Path:
    """Where pictures of the pages are kept to be looked at."""
    return Path(os.environ.get("ETCHMARK_SHOTS", "").strip() or ROOT / ".cache" / "screenshots")


@pytest.fixture(scope="session")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hub folder with the small datasets and the reviewed results."""
    home = tmp_path_factory.mktemp("hub")
    environment = {**os.environ, "ETCHMARK_HOME": str(home), "ETCHMARK_OFFLINE": "1"}
    builds = [("build", dataset, "--config", config) for dataset, config in BUILDS]
    # The first command that asks for a board reads the reviewed results, which takes a while.
    for arguments in (*builds, ("leaderboard", "superalloy-hardness", "--json")):
        command = [sys.executable, "-m", "etchmark", *arguments]
        subprocess.run(command, env=environment, check=True, capture_output=True)
    return home


@pytest.fixture(scope="session")
def served(hub: Path) -> Iterator[str]:
    pytest.importorskip("selenium")
    from chromium import dashboard

    with dashboard(hub) as address:
        yield address


@pytest.fixture
def window(tmp_path: Path) -> Iterator[Callable]:
    """Opens browsers, which are closed at the end; what they download lies in ``downloads``."""
    from chromium import Browser, NoBrowser

    downloads = tmp_path / "downloads"
    downloads.mkdir()
    opened: list[Browser] = []

    def start(width: int = 1280, height: int = 1400, *, dark: bool = False) -> Browser:
        try:
            one = Browser(downloads, width, height, dark=dark)
        except NoBrowser as error:
            pytest.fail(str(error), pytrace=False)
        opened.append(one)
        return one

    yield start
    for one in opened:
        one.close()


@pytest.fixture(scope="session")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The code of axe-core, which npm fetches."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm, which fetches axe-core, is not installed")
    folder = tmp_path_factory.mktemp("axe")
    command = [npm, "pack", f"axe-core@{AXE}", "--silent"]
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    if ran.returncode:
        pytest.skip(f"npm could not fetch axe-core: {ran.stderr.strip()[-200:]}")
    with tarfile.open(next(folder.glob("*.tgz"))) as archive:
        file = archive.extractfile("package/axe.min.js")
        assert file is not None
        return file.read().decode("utf-8")
