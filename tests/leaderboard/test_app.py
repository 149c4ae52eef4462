"""The dashboard as a whole."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib

import pytest

pytest.importorskip("streamlit")

from pages import BENCHMARK, FOLDER

from etchmark.registry.tables import Entry

MODULES = sorted(FOLDER.glob("dashboard/**/*.py")) + sorted(FOLDER.glob("app*/*.py"))
VISIT = """
import sys
from streamlit.testing.v1 import AppTest

script, benchmark, model = sys.argv[1:]
app = AppTest.from_file(script, default_timeout=60).run()
app.query_params.update(benchmark=benchmark, model=model)
for name in ("leaderboard", "compare", "data", "submit", "how_to_read"):
    app.switch_page(f"app_pages/{name}.py").run()
    assert not app.exception and not app.error, name
assert "torch" not in sys.modules
"""


def test_the_pages_import_no_torch(board: dict[str, Entry]) -> None:
    """Importing it takes seconds, and Streamlit runs a page again at every click."""
    model = board["good"].record.submission[:12]
    command = [sys.executable, "-c", VISIT, str(FOLDER / "app.py"), BENCHMARK, model]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", MODULES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_module_is_short_and_needs_no_alias_for_its_package(path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 300
    aliases = [
        alias.asname
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
        if alias.asname
    ]
    assert not [name for name in aliases if name.startswith("dashboard")]


def test_settings_keep_tracebacks_and_statistics_away() -> None:
    config = tomllib.loads((FOLDER / ".streamlit" / "config.toml").read_text("utf-8"))
    assert config["client"]["showErrorDetails"] == "none"
    assert config["browser"]["gatherUsageStats"] is False
    assert config["server"]["maxUploadSize"] <= 1024
