"""What content declares is found by its folder and refused with one clear line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from etchmark.catalog import (
    Catalog,
    catalog,
    content_root,
    pick_protocol,
    pick_track,
    read_record,
    read_yaml,
)
from etchmark.errors import UserError
from etchmark.specs import ModelCard

ROOT = Path(__file__).resolve().parents[1]


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
    with pytest.raises(UserError, match=r"tittle: unknown key; correct the card"):
        read_record(card("tittle: x"), ModelCard)
    with pytest.raises(UserError, match=r"a: unknown key \(and 1 more\)"):
        read_record(card("a: 1\nb: 2"), ModelCard)
    with pytest.raises(UserError, match=r"title: is longer than 200 characters; correct"):
        read_record(card(f"title: {'x' * 201}"), ModelCard)
    with pytest.raises(UserError, match=r"training_data: must be 'none', 'declared' or 'unknown'"):
        read_record(card("training_data: much"), ModelCard)
    with pytest.raises(UserError, match=r"title: must be text; correct"):
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


def test_everything_declared_in_this_checkout_is_valid() -> None:
    content = Catalog(ROOT)
    assert "superalloys" in content.dataset_names()
    assert "superalloy-hardness" in content.benchmark_names()
    for name in content.dataset_names():
        assert (content.dataset_folder(name) / "build.py").is_file()
        content.dataset(name)
    for name in content.benchmark_names():
        spec = content.benchmark(name)
        configs = content.dataset(spec.dataset).configs
        assert {track.config for track in spec.tracks.values()} <= set(configs)
    for name in content.model_names():
        model = content.model(name)
        assert model.code.is_file()
        for benchmark, track in model.uses.items():
            pick_track(content.benchmark(benchmark), track)


def test_names_that_do_not_exist(toy_content: Path) -> None:
    content = catalog()
    with pytest.raises(UserError, match=r"unknown dataset 'toi'; did you mean: toy"):
        content.dataset("toi")
    with pytest.raises(UserError, match=r"unknown benchmark 'zzz'; known are: toy-fields"):
        content.benchmark("zzz")
    with pytest.raises(UserError, match="is at version 1 here, not 2"):
        content.benchmark("toy-line@2")
    assert content.benchmark("toy-line@1").key == "toy-line@1"
    for name in ("", "../toy", "toy_mean/x", "~no-such-user-here/m", "/nowhere", "a\nb"):
        with pytest.raises(UserError):
            content.model(name)
    for name in ("../toy-line", "toy-line.yaml", "", "@1"):
        with pytest.raises(UserError, match="unknown benchmark"):
            content.benchmark(name)


def test_folder_and_name_must_agree(toy_content: Path) -> None:
    (toy_content / "benchmarks/toy-line.yaml").rename(toy_content / "benchmarks/other.yaml")
    with pytest.raises(UserError, match=r"id is 'toy-line' but the file is 'other'"):
        catalog().benchmark("other")
    (toy_content / "datasets/toy").rename(toy_content / "datasets/other")
    with pytest.raises(UserError, match=r"name is 'toy' but the folder is 'other'"):
        catalog().dataset("other")
    (toy_content / "baselines/toy_mean/model.py").unlink()
    with pytest.raises(UserError, match=r"has no model.py"):
        catalog().model("toy_mean")


def test_a_broken_card_does_not_take_the_others_down(toy_content: Path) -> None:
    (toy_content / "benchmarks/broken.yaml").write_text("schema: 9", encoding="utf-8")
    assert catalog().benchmark("toy-line").id == "toy-line"


def test_variants(toy_content: Path) -> None:
    path = toy_content / "baselines/toy_mean/card.yaml"
    card = yaml.safe_load(path.read_text(encoding="utf-8"))
    card["tags"] = ["trivial"]
    card["variants"] = {
        "one": {"title": "One", "params": {"k": 1}, "tags": ["trivial", "small"]},
        "two": {"title": "Two", "benchmarks": {"toy-line": {"track": "kinds"}}},
    }
    path.write_text(yaml.safe_dump(card), encoding="utf-8")
    content = catalog()
    assert content.model_names() == ["toy_mean/one", "toy_mean/two"]
    one, two = content.model("toy_mean/one"), content.model("toy_mean/two")
    assert (one.name, one.params, one.card.title) == ("toy_mean/one", {"k": 1}, "One")
    assert one.card.tags == ["trivial", "small"]
    assert one.uses == {"toy-line": "features", "toy-fields": "features"}
    assert two.uses == {"toy-line": "kinds"}
    with pytest.raises(UserError, match=r"has variants; name one of: toy_mean/one, toy_mean/two"):
        content.model("toy_mean")
    with pytest.raises(UserError, match=r"unknown variant of toy_mean 'ome'; did you mean: one"):
        content.model("toy_mean/ome")
    assert content.model(str(path.parent / "one")).params == {"k": 1}


def test_a_model_in_a_folder_of_its_own(toy_content: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    with pytest.raises(UserError, match=r"has no model.py"):
        catalog().model(str(folder))
    (folder / "model.py").touch()
    assert catalog().model(str(folder)).name == "mine"
    with pytest.raises(UserError, match=r"has no card.yaml, so there is no variant 'x'"):
        catalog().model(str(folder / "x"))
    (folder / "card.yaml").write_text("title: Mine", encoding="utf-8")
    assert catalog().model(str(folder)).card.title == "Mine"
    with pytest.raises(UserError, match=r"declares no variants"):
        catalog().model(str(folder / "x"))


def test_tracks_and_protocols(toy_content: Path) -> None:
    line, fields = catalog().benchmark("toy-line"), catalog().benchmark("toy-fields")
    assert pick_track(fields, None)[0] == "features"
    with pytest.raises(UserError, match=r"has the tracks features, kinds; say which with --track"):
        pick_track(line, None)
    with pytest.raises(UserError, match=r"unknown track of toy-line 'feature'"):
        pick_track(line, "feature")
    assert pick_protocol(line, None, default=True) == "holdout"
    assert pick_protocol(fields, None, default=False) == "holdout"
    with pytest.raises(UserError, match=r"has the protocols holdout, folds and .* names none"):
        pick_protocol(line, None, default=False)
    with pytest.raises(UserError, match=r"unknown protocol of toy-line 'fold'"):
        pick_protocol(line, "fold", default=True)


def test_where_content_is(
    home: Path, toy_content: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert content_root() == toy_content
    monkeypatch.setenv("ETCHMARK_CONTENT", str(tmp_path))
    with pytest.raises(UserError, match="has no benchmarks/ folder"):
        content_root()
    monkeypatch.delenv("ETCHMARK_CONTENT")
    assert content_root() == ROOT


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


@pytest.mark.parametrize("asked", ["", "/low"])
def test_one_mistake_in_a_card_has_one_message(
    toy_content: Path, tmp_path: Path, command: Any, asked: str
) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "model.py").write_text("def build(seed, device, k=1): raise RuntimeError")
    card = folder / "card.yaml"
    card.write_text("title: Mine\nvariants:\n  low: {title: low}\n")
    said = command("evaluate", f"{folder}{asked}", "toy-line").refusal()
    assert said == (
        f"{card}: a card with 'variants' also needs 'schema' and 'name' and 'benchmarks'; add what"
        " is missing (CONTRIBUTING.md shows a complete card)"
    )
    card.write_text("schema: 1\nname: mine\nvariants:\n  low: {title: low}\n")
    said = command("evaluate", f"{folder}{asked}", "toy-line").refusal()
    assert "a card with 'variants' also needs 'benchmarks'; add" in said
    card.write_text("name: mine\n")
    said = command("evaluate", f"{folder}{asked}", "toy-line").refusal()
    assert "the card of a model also needs 'schema' and 'benchmarks'; add" in said
