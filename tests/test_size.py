"""Functions take few arguments and modules are short."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[1] / "src" / "etchmark"
MOST_PARAMETERS, MOST_LINES = 7, 410
# Public functions keep the signatures that users call by keyword.
PUBLIC = {
    "api.functions.evaluate": 14,
    "api.functions.standings": 11,
    "api.functions.submit": 8,
    # One call for what `Homogenizer` takes (four) and what its `solve` takes (six).
    "simulation.homogenization.homogenize": 9,
}


def _modules() -> Iterator[tuple[str, str]]:
    for path in sorted(SOURCE.rglob("*.py")):
        name = ".".join(path.relative_to(SOURCE).with_suffix("").parts)
        yield name, path.read_text(encoding="utf-8")


def _is_command(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether Typer calls a function: it has a parameter for each option."""
    return any(
        isinstance(decorator, ast.Call)
        and isinstance(decorator.func, ast.Attribute)
        and decorator.func.attr == "command"
        for decorator in function.decorator_list
    )


def parameters(function: ast.FunctionDef | ast.AsyncFunctionDef, *, method: bool) -> int:
    """How many arguments a function takes, but for ``self`` or ``cls``."""
    given = function.args
    named = [*given.posonlyargs, *given.args, *given.kwonlyargs]
    static = any(
        isinstance(decorator, ast.Name) and decorator.id == "staticmethod"
        for decorator in function.decorator_list
    )
    return len(named) + bool(given.vararg) + bool(given.kwarg) - (method and not static)


def functions(tree: ast.AST, where: str, *, method: bool = False) -> Iterator[tuple[str, int]]:
    """Every function below a node with its number of parameters; commands are left out."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            name = f"{where}.{node.name}"
            if not _is_command(node):
                yield name, parameters(node, method=method)
            yield from functions(node, name)
        elif isinstance(node, ast.ClassDef):
            yield from functions(node, f"{where}.{node.name}", method=True)
        else:
            yield from functions(node, where, method=method)


def test_functions_take_at_most_seven_arguments() -> None:
    many = {
        name: count
        for module, text in _modules()
        for name, count in functions(ast.parse(text), module)
        if count > MOST_PARAMETERS
    }
    assert many.keys() <= PUBLIC.keys(), "group what belongs together in a dataclass"
    assert PUBLIC.keys() <= many.keys(), "remove from the list what takes few arguments now"
    assert not {name for name, count in many.items() if count > PUBLIC[name]}, "more than before"


def test_modules_are_short() -> None:
    long = {
        module: lines
        for module, text in _modules()
        if (lines := len(text.splitlines())) > MOST_LINES
    }
    assert not long, "split the module"


def test_what_the_counting_sees() -> None:
    code = """
def plain(a, b, /, c, *args, d=1, **more): ...
class Some:
    def method(self, a, b):
        def inner(x): ...
    @staticmethod
    def static(a, b): ...
if True:
    async def late(a): ...
@app.command(cls=Working)
def command(a, b, c, d, e, f, g, h): ...
@app.callback()
def callback(a): ...
"""
    assert dict(functions(ast.parse(code), "m")) == {
        "m.plain": 6,
        "m.Some.method": 2,
        "m.Some.method.inner": 1,
        "m.Some.static": 2,
        "m.late": 1,
        "m.callback": 1,
    }
