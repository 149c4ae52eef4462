"""Cards are read as typed records; whatever is wrong with one is told in one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from etchmark.catalog import read_record, read_yaml, reading
from etchmark.errors import UserError
from etchmark.specs import DatasetSpec, ModelCard

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def card(tmp_path: Path) -> Callable[[str | bytes], Path]:
    def write(text: str | bytes) -> Path:
        path = tmp_path / "card.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def _bomb(levels: int) -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    for level in range(1, levels):
        lines.append(f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 9)}]")
    return "\n".join(lines)


HOSTILE: dict[str, str | bytes] = {
    "unknown key": "tittle: x",
    "key twice": "title: x\ntitle: y",
    "key twice in a mapping": "title: {a: 1, a: 2}",
    "list": "- a\n- b",
    "text": "just text",
    "nothing": "",
    "number key": "1: x",
    "null key": "~: x",
    "sequence key": "? [a, b]\n: x",
    "bomb": _bomb(12),
    "bomb as a key": _bomb(9) + "\n? *a8\n: x",
    "bomb in a tag": _bomb(12) + "\ntags: *a11",
    "itself": "tags: &a [*a]",
    "itself whole": "&a\nx: *a",
    "python object": "title: !!python/object/apply:os.system [echo]",
    "two documents": "title: a\n---\ntitle: b",
    "deep": "- " * 20_000,
    "deep flow": "title: " + "[" * 100_000,
    "unclosed": "title: 'x",
    "tabs": "title:\n\t- x",
    "empty int": "title: !!int ''",
    "empty float": "title: !!float ''",
    "no bool": "title: !!bool maybe",
    "no time": "title: !!timestamp x",
    "no binary": "title: !!binary '%%%'",
    "no date": "title: 2025-99-99",
    "long int": "title: " + "9" * 5000,
    "control": b"title: a\x1b[31mb",
    "nul": b"title: a\x00b",
    "latin": "title: Härte".encode("latin-1"),
    "binary": bytes(range(256)),
    "large": b"#" * (1 << 18) + b"\ntitle: x",
    "wrong type": "title: [a]",
    "nan": "title: .nan",
}


@pytest.mark.timeout(20)
@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_cards_get_one_line(card: Callable[[str | bytes], Path], text: str | bytes) -> None:
    path = card(text)
    with pytest.raises(UserError) as refused:
        read_record(path, ModelCard)
    line = str(refused.value)
    assert line.startswith(str(path))
    assert len(line.removeprefix(str(path))) < 400


def test_the_line_says_where(card: Callable[[str | bytes], Path]) -> None:
    with pytest.raises(UserError, match=r"line 2: not valid YAML: duplicate key 'title'"):
        read_yaml(card("title: x\ntitle: y"))
    with pytest.raises(UserError, match=r"tittle: unknown key; correct this file"):
        read_record(card("tittle: x"), ModelCard)
    with pytest.raises(UserError, match=r"a: unknown key; b: unknown key; correct"):
        read_record(card("a: 1\nb: 2"), ModelCard)
    with pytest.raises(UserError, match=r"c: unknown key \(and 2 more\); correct"):
        read_record(card("\n".join(f"{key}: 1" for key in "abcde")), ModelCard)
    with pytest.raises(UserError, match=r"title: is longer than 200 characters; correct"):
        read_record(card(f"title: {'x' * 201}"), ModelCard)
    with pytest.raises(UserError, match=r"training_data: must be 'none', 'declared' or .*'much'"):
        read_record(card("training_data: much"), ModelCard)
    with pytest.raises(UserError, match=r"title: must be text, not a list; correct"):
        read_record(card("title: [1]"), ModelCard)


def test_cards_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No such file"):
        read_yaml(tmp_path / "none.yaml")
    with pytest.raises(UserError, match="Is a directory"):
        read_yaml(tmp_path)


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="needs /dev/zero")
@pytest.mark.timeout(20)
def test_a_card_that_never_ends() -> None:
    with pytest.raises(UserError, match="larger than"):
        read_yaml(Path("/dev/zero"))


def test_a_card_may_have_a_byte_order_mark(card: Callable[[str | bytes], Path]) -> None:
    assert read_record(card(b"\xef\xbb\xbftitle: x"), ModelCard).title == "x"


@pytest.mark.parametrize(
    ("written", "number"),
    [("1.0e0", 1.0), ("1e5", 1e5), ("1e-3", 1e-3), ("-2E7", -2e7), (".5e3", 500.0), ("1e16", 1e16)],
)
def test_a_parameter_that_looks_like_a_number_and_is_text(
    toy_content: Path, command: Any, written: str, number: float
) -> None:
    path = toy_content / "baselines/toy_mean/card.yaml"
    head = path.read_text(encoding="utf-8")
    body = "variants:\n  one:\n    title: 1e5\n    params: {alpha: [2, %s]}\n"
    path.write_text(head + body % written, encoding="utf-8")
    ran = command("evaluate", "toy_mean/two", "toy-line")
    warning, _ = ran.stderr.splitlines()
    where = f"line {len(head.splitlines()) + 4}: variants.one.params.alpha[1]"
    assert f"{path}, {where} is read as the text {written!r}, not as a number" in warning
    remedy = warning.partition("; write ")[2].split(" ")[0]
    assert yaml.safe_load(remedy) == number
    for fine in (remedy, f"'{written}'", "1.2.3", "rbf", "nan"):
        path.write_text(head + body % fine, encoding="utf-8")
        assert len(command("evaluate", "toy_mean/two", "toy-line").stderr.splitlines()) == 1


def test_anchors_that_multiply_are_looked_at_once(card: Callable[[str | bytes], Path]) -> None:
    lines = ["params:", "  a0: &a0 [1e5]"]
    lines += [f"  a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)]
    with pytest.warns(UserWarning, match="is read as the text '1e5'") as said:
        read_yaml(card("\n".join(lines)))
    assert len(said) == 1


def test_a_list_that_contains_itself(card: Callable[[str | bytes], Path]) -> None:
    path = card("configs: {c: {columns: &a [*a]}}")
    with pytest.raises(UserError, match="a list contains itself; write it out"):
        read_record(path, DatasetSpec)


def test_a_variant_that_makes_its_card_too_long(toy_content: Path, command: Any) -> None:
    path = toy_content / "baselines/toy_mean/card.yaml"
    value = yaml.safe_load(path.read_text(encoding="utf-8"))
    value["tags"] = [f"tag{number}" for number in range(20)]
    value["variants"] = {"small": {"title": "Small", "tags": ["one more"]}}
    path.write_text(yaml.safe_dump(value), encoding="utf-8")
    refusal = command("evaluate", "toy_mean/small", "toy-line").refusal()
    assert refusal == (
        f"{path}: variants.small: tags: must have at most 20 entries, not 21; correct this file"
    )


@pytest.mark.parametrize("version", ["1" + "0" * 30, "one", "0", "1.5", "[1]"])
def test_a_version_is_a_whole_number(toy_content: Path, command: Any, version: str) -> None:
    path = toy_content / "benchmarks/toy-line.yaml"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("version: 1", f"version: {version}"), encoding="utf-8")
    refusal = command("leaderboard", "toy-line").refusal()
    assert refusal.startswith(f"{path}: version: must be ")
    assert refusal.endswith("; correct this file")


@pytest.mark.skipif(reading._FastLoader is None, reason="this PyYAML has no parser in C")
@pytest.mark.parametrize("path", sorted(ROOT.glob("benchmarks/*.yaml")), ids=lambda path: path.stem)
def test_both_parsers_read_the_same(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    (fast, value), (slow, same) = (
        reading._loaded(text, kind) for kind in (reading._FastLoader, reading._Loader)
    )
    assert value == same
    assert [where for where, _ in reading._texts_like_numbers(fast)] == [
        where for where, _ in reading._texts_like_numbers(slow)
    ]
