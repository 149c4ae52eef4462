"""The folder ``datasets/`` stands beside a dependency of the same name and must not hide it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_import_datasets_is_hugging_faces() -> None:
    # Started like this, the folder it is started in stands first on the path.
    code = "import sys, datasets; assert sys.path[0] == ''; datasets.load_dataset; "
    done = subprocess.run(
        [sys.executable, "-c", code + "print(datasets.__file__)"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    found = Path(done.stdout.splitlines()[0])
    assert found.name == "__init__.py"
    assert not found.is_relative_to(ROOT / "datasets")


def test_nothing_makes_a_package_of_the_folder() -> None:
    found = [
        path
        for folder in ("datasets", "src", "tests", "leaderboard", "baselines")
        for path in (ROOT / folder).rglob("*.py")
        if path.name == "datasets.py"
        or (path.name == "__init__.py" and folder not in {"src", "leaderboard"})
    ]
    assert not (ROOT / "datasets.py").exists()
    assert found == []
    assert not (ROOT / "src" / "etchmark" / "datasets").exists()


def test_no_bare_name_is_handed_to_load_dataset() -> None:
    import ast

    for folder in ("src", "datasets", "baselines", "leaderboard"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and "load_dataset" in ast.unparse(node.func):
                    first = node.args[0] if node.args else None
                    bare = isinstance(first, ast.Constant) and first.value != "parquet"
                    assert not bare, f"{path}, line {node.lineno}"
