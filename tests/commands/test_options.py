"""Absurd values of every option of every command end in one plain line and exit 2."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from etchmark.commands.main import app

FOREIGN = re.compile(
    r"Input should|Value error|For further|type=|unable to parse|Traceback|ETCHMARK_DEBUG|Errno"
)
ABSURD = ("", "nope-nope", "-1", "x" * 300)
REQUIRED: dict[str, tuple[str, ...]] = {
    "build": ("toy",),
    "download": ("toy-line",),
    "template": ("toy-line", "--out", "written"),
    "evaluate": ("toy_mean", "toy-line"),
    "score": ("{file}", "toy-line", "--protocol", "holdout", "--track", "features"),
    "submit": ("{file}", "toy-line", "--name", "n", "--protocol", "holdout", "--track", "features"),
    "leaderboard": ("toy-line",),
    "compare": ("toy-line", "first", "first"),
    "results rescore": ("toy-line",),
    "results run": ("toy-line",),
    "pages": ("toy-line", "--to", "written"),
}
"""What each command that has options with a value needs before them."""
FREE = {
    # Any text may be meant.
    *("submit --name", "dashboard --host", "results run --only", "leaderboard --tag"),
    # A folder that is made, and one of content, which is written to.
    *("build --out", "download --out", "template --out", "evaluate --export", "submit --export"),
    *("publish --to", "pages --to"),
    *("results run --out", "results add --into", "results migrate --into"),
    *("results refresh --into", "results rescore --into", "results run --into"),
}
"""Options that take what is absurd elsewhere."""
NUMBERS = ("--seeds", "--time-limit", "--memory-limit", "--workers", "--from", "--port")


def _commands(group: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    for key, command in group.commands.items():
        full = f"{name} {key}".strip()
        if hasattr(command, "commands"):
            yield from _commands(command, full)
        else:
            yield full, command


def _options() -> list[tuple[str, str]]:
    """Every option that takes a value, with its command."""
    return [
        (name, parameter.opts[0])
        for name, command in _commands(typer.main.get_command(app))
        for parameter in command.params
        if parameter.param_type_name == "option" and not getattr(parameter, "is_flag", False)
    ]


def test_every_option_is_tried() -> None:
    options = {f"{name} {option}" for name, option in _options()}
    assert options >= FREE
    assert set(NUMBERS) <= {option for _, option in _options()}
    for name, option in _options():
        assert f"{name} {option}" in FREE or name in {*REQUIRED, "dashboard"}, (name, option)


def test_absurd_values_get_one_line(
    toy_content: Path,
    command: Callable[..., Any],
    toy_predictions: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    file = toy_predictions("predictions.csv")
    entry = ("--name", "first", "--protocol", "holdout", "--track", "features")
    command("submit", file, "toy-line", *entry).fine()
    before = sorted(path for path in tmp_path.rglob("*") if "home" not in path.parts)
    for name, option in _options():
        if f"{name} {option}" in FREE:
            continue
        needed = [part.format(file=file) for part in REQUIRED.get(name, ())]
        for value in (*ABSURD, *["nan", "9" * 25] * (option in NUMBERS)):
            ran = command(*name.split(), *needed, option, value)
            assert ran.stdout == "", (name, option, value, ran.stdout)
            assert not FOREIGN.search(ran.refusal()), (name, option, value, ran.stderr)
    assert sorted(path for path in tmp_path.rglob("*") if "home" not in path.parts) == before


@pytest.mark.parametrize("name", ["x" * 300, "x/" * 2500])
def test_a_path_that_no_file_can_have(command: Callable[..., Any], name: str) -> None:
    assert "ame too long" in command("results", "check", name).refusal()
