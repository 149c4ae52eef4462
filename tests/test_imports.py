"""The core is light, commands load late, and no room imports from a room above it."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[1] / "src" / "etchmark"
# From the ground up; what is not named here belongs to the ground floor.
ROOMS = {
    "catalog": 2,
    "data": 3,
    "scoring": 4,
    "evaluation": 5,
    "registry": 5,
    "api": 6,
    "citations": 6,
    "present": 6,
    "present_compare": 6,
    "present_content": 6,
    "cli": 7,
}
# Physics and statistics alone: nothing of the hub but its errors.
APART = {"simulation", "descriptors"}
EXTRAS = ("torch", "timm", "streamlit", "plotly", "dvc")

BLOCKED = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in BLOCKED:
            raise ImportError(f"{name} belongs to an extra")

BLOCKED = set(sys.argv[1].split(","))
sys.meta_path.insert(0, Blocker())
import etchmark
from etchmark.cli import main
for line in sys.stdin:
    print("$", line.strip())
    try:
        main(line.split())
    except SystemExit as stopped:
        if stopped.code:
            raise
"""


def run(code: str, *arguments: str, given: str = "") -> str:
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        input=given,
        env=dict(os.environ),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def test_client_commands_need_no_extra(
    toy_content: Path, toy_predictions: Callable[..., Path]
) -> None:
    path = toy_predictions()
    lines = [
        "list",
        "show toy-line",
        "build toy",
        "template toy-line --out " + str(path.parent / "template"),
        f"score {path} toy-line --protocol holdout",
        f"submit {path} toy-line --protocol holdout --track features --name mine",
        "evaluate toy_mean toy-line",
        "leaderboard toy-line",
        "download toy --split test",
    ]
    out = run(BLOCKED, ",".join(EXTRAS), given="\n".join(lines))
    assert out.count("$ ") == len(lines)
    assert "rank" in out


def test_extras_are_not_even_looked_for(home: Path) -> None:
    code = "import sys, etchmark, etchmark.api, etchmark.present; print(*sys.modules)"
    assert not set(EXTRAS) & set(run(code).split())


def test_help_and_bare_import_load_nothing_heavy(home: Path) -> None:
    heavy = {"numpy", "pandas", "datasets", "sqlalchemy", "pyarrow", "scipy", "pydantic", "yaml"}
    heavy |= {"requests", "tqdm", "sklearn", "PIL", *EXTRAS}
    code = """
import sys
import etchmark.cli
try:
    etchmark.cli.main(["--help"])
except SystemExit:
    print(*sys.modules)
"""
    assert not heavy & set(run(code).splitlines()[-1].split())


def test_what_import_etchmark_offers(home: Path) -> None:
    import etchmark

    for name in etchmark.__all__:
        assert getattr(etchmark, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        etchmark.nothing  # noqa: B018


def _imports(path: Path) -> Iterator[str]:
    """Modules of etchmark that a file imports, wherever in it that stands, types apart."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("etchmark"))
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            if node.module == "etchmark":
                yield from (f"etchmark.{alias.name}" for alias in node.names)
            elif node.module and node.module.startswith("etchmark."):
                yield node.module


def _room(module: str) -> str:
    return [*module.split("."), ""][1]


FILES = sorted(path for path in SOURCE.rglob("*.py") if path != SOURCE / "__init__.py")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(SOURCE).as_posix())
def test_a_module_imports_only_from_rooms_below(path: Path) -> None:
    own = path.relative_to(SOURCE).parts[0].removesuffix(".py")
    for module in _imports(path):
        room = _room(module)
        if room.startswith("__") or room == own:
            continue
        if own in APART:
            assert room == "errors", f"{own} imports {module}"
        assert ROOMS.get(room, 1) <= ROOMS.get(own, 1), f"{own} imports {module}"
        assert (own, room) != ("evaluation", "registry"), f"{own} imports {module}"


def test_the_engine_names_no_content() -> None:
    root = SOURCE.parents[1]
    names = {path.name for kind in ("datasets", "baselines") for path in (root / kind).iterdir()}
    names |= {path.stem for path in (root / "benchmarks").glob("*.yaml")}
    for path in FILES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        docs = {
            id(node.body[0].value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
            and node.body
            and isinstance(node.body[0], ast.Expr)
        }
        for node in ast.walk(tree):
            if (
                isinstance(node, ast.Constant)
                and isinstance(node.value, str)
                and id(node) not in docs
            ):
                assert node.value not in names, f"{path}, line {node.lineno}"


def test_json_of_the_listing(toy_content: Path, command: Callable) -> None:
    found = json.loads(command("list", "--json").fine())
    assert [one["id"] for one in found["benchmarks"]] == ["toy-fields", "toy-line"]
    assert found["datasets"][0]["configs"] == ["scalar-mini", "fields-mini"]
    assert found["baselines"] == [{"name": "toy_mean", "title": "Mean"}]
