"""The core is light, commands load late, and no room imports from a room above it."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import get_args

import pytest

from etchmark.specs import KINDS
from etchmark.specs.targets import Kinds

SOURCE = Path(__file__).resolve().parents[1] / "src" / "etchmark"
# From the ground up: a module imports only from its own room and from rooms named before it.
ROOMS = (
    *("errors", "_version", "text", "names", "patience", "files", "settings", "saving", "threads"),
    *("model", "descriptors", "simulation"),
    *("specs", "environment", "columns", "learning", "predictions", "targets"),
    *("catalog", "data", "features", "scoring", "artefacts", "evaluation"),
    *("registry", "boards", "submission", "publish", "api", "commands", "__main__"),
)
# Names that users' models may still import; they will be removed in the next release.
ALIASES = {"training", "forecasting", "periodic", "heads", "evaluation.model", "data.columns"}
# Physics and statistics alone: nothing of the hub but its errors.
APART = {"simulation", "descriptors"}
# Callers of the hub: they import api, errors, text and the types of specs, and nothing else.
CALLERS = {"commands"}
CALLED = {"api", "errors", "text", "specs"}
# Rooms that name no kind of target in any text.
GENERIC = {"scoring", "predictions", "evaluation", "api", "boards", "submission"}
EXTRAS = ("torch", "timm", "streamlit", "plotly", "dvc")
# What callers above the engine may import, and nothing else.
PUBLIC = {"api", "errors", "text", "specs"}

BLOCKED = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in BLOCKED:
            raise ImportError(f"{name} belongs to an extra")

BLOCKED = set(sys.argv[1].split(","))
sys.meta_path.insert(0, Blocker())
import etchmark
from etchmark.commands.main import main
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
    code = "import sys, etchmark, etchmark.api, etchmark.commands.present; print(*sys.modules)"
    assert not set(EXTRAS) & set(run(code).split())


def test_help_and_bare_import_load_nothing_heavy(home: Path) -> None:
    heavy = {"numpy", "pandas", "datasets", "sqlalchemy", "pyarrow", "scipy", "pydantic", "yaml"}
    heavy |= {"requests", "tqdm", "sklearn", "PIL", *EXTRAS}
    code = """
import sys
import etchmark.commands.main
try:
    etchmark.commands.main.main(["--help"])
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
    """Modules of etchmark that a file imports, types and late imports included."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("etchmark"))
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            if node.module == "etchmark":
                yield from (f"etchmark.{alias.name}" for alias in node.names)
            elif node.module and node.module.startswith("etchmark."):
                for alias in node.names:
                    full = f"{node.module}.{alias.name}"
                    yield full if _is_module(full) else node.module


def _is_module(name: str) -> bool:
    path = SOURCE.parent.joinpath(*name.split("."))
    return path.is_dir() or path.with_suffix(".py").is_file()


def _name(path: Path) -> str:
    return ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__")


FILES = sorted(path for path in SOURCE.rglob("*.py") if path != SOURCE / "__init__.py")
MODULES = [path for path in FILES if _name(path) not in ALIASES]


def test_every_room_is_named() -> None:
    assert {_name(path).partition(".")[0] for path in MODULES} <= set(ROOMS)


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_a_module_imports_only_from_rooms_below(path: Path) -> None:
    own = _name(path).partition(".")[0]
    for module in _imports(path):
        room = f"{module}..".split(".")[1]
        if room in ("", "__version__", own):
            continue
        assert room in ROOMS, f"{_name(path)} imports {module}"
        if own in APART:
            assert room == "errors", f"{_name(path)} imports {module}"
        assert ROOMS.index(room) < ROOMS.index(own), f"{_name(path)} imports {module}"


def test_what_stands_above_the_api_imports_nothing_else() -> None:
    beside = {
        f"{_name(path)} imports {room}"
        for path in MODULES
        if (own := _name(path).partition(".")[0]) in CALLERS
        for room in (f"{module}..".split(".")[1] for module in _imports(path))
        if room not in {"", "__version__", own, *CALLED}
    }
    assert not beside


def test_no_room_has_a_circle() -> None:
    names = {_name(path) for path in MODULES}
    edges = {
        _name(path): {
            module.removeprefix("etchmark.")
            for module in _imports(path)
            if module.removeprefix("etchmark.") in names
        }
        for path in MODULES
    }
    done: set[str] = set()
    while ready := {name for name, below in edges.items() if name not in done and below <= done}:
        done |= ready
    circles = sorted(set(edges) - done)
    assert not circles, circles


def _named_kinds(path: Path) -> set[str]:
    """Kinds of target that a file names by module, by class, or in a comparison."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    kinds = {kind.model_fields["kind"].default: kind.__name__ for kind in get_args(Kinds)}
    named = {module.split(".")[2] for module in _imports(path) if ".targets." in module}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            named |= {kind for kind, declared in kinds.items() if node.id == declared}
        if isinstance(node, ast.Compare | ast.MatchValue | ast.Match):
            named |= {str(part.value) for part in ast.walk(node) if isinstance(part, ast.Constant)}
    if path.is_relative_to(SOURCE) and _name(path).partition(".")[0] in GENERIC:
        named |= {str(node.value) for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    return named & set(kinds)


def test_only_a_kind_itself_names_it() -> None:
    """Adding a kind touches its module, the union of targets, its view and tests."""
    dashboard = SOURCE.parents[1] / "leaderboard"
    own = {"specs.targets", "specs"} | {f"targets.{kind}" for kind in KINDS}
    # Tables of before kinds had names are of these two.
    old = {"targets": {"scalar", "frames"}}
    for path in MODULES:
        name = _name(path)
        if not any(name == room or name.startswith(f"{room}.") for room in own - {"specs"}):
            named = set() if name == "specs" else _named_kinds(path)
            assert named <= old.get(name, set()), f"{name} names {named}"
    for path in [*dashboard.glob("*.py"), *dashboard.glob("*/**/*.py")]:
        named = _named_kinds(path)
        if path.parent.name == "views":
            named -= {path.stem}
        assert not named, f"{path.relative_to(dashboard)} names {named}"
    views = {path.stem for path in (dashboard / "dashboard" / "views").glob("[!_]*.py")}
    assert views == {*KINDS, "base"}


@pytest.mark.parametrize("name", sorted(ALIASES))
def test_an_old_name_still_works_and_warns(name: str, home: Path) -> None:
    if "." not in name:
        pytest.importorskip("torch", reason="torch is not installed")
    code = f"""
import warnings
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    import etchmark.{name} as old
print(old.__name__, [str(one.message) for one in caught if one.filename == "<string>"])
"""
    new = run(code).strip()
    assert new.endswith("the old name will be removed in the next release']")


def test_the_engine_names_no_content() -> None:
    root = SOURCE.parents[1]
    folders = (path for kind in ("datasets", "baselines") for path in (root / kind).iterdir())
    names = {path.name for path in folders if path.is_dir()}
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


def test_the_dashboard_imports_the_api_alone() -> None:
    folder = SOURCE.parents[1] / "leaderboard"
    beside: dict[str, set[str]] = {}
    for path in [*folder.glob("app*.py"), *folder.glob("*/**/*.py")]:
        for module in _imports(path):
            name = module.removeprefix("etchmark").removeprefix(".")
            if name and name.partition(".")[0] not in PUBLIC:
                key = path.relative_to(folder).with_suffix("").as_posix()
                beside.setdefault(key, set()).add(name)
    assert beside == {}
