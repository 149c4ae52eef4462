"""Content is found by its folder, and each dataset, benchmark and model by its name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from etchmark.catalog import Catalog, catalog, pick_protocol, pick_track, use_of
from etchmark.errors import UserError
from etchmark.specs import BenchmarkSpec

ROOT = Path(__file__).resolve().parents[2]


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
    older = [content.benchmark(path.stem) for path in (ROOT / "benchmarks" / "old").glob("*.yaml")]
    for name in content.model_names():
        model = content.model(name)
        assert model.code.is_file()
        assert not model.uses, "benchmarks name their baselines"
        runs_on_an_older_version = any(spec.use_of(name) is not None for spec in older)
        assert content.boards_of(model) or runs_on_an_older_version, "no benchmark runs it"


BEFORE_NAMES = {"scalar", "array", "frames"}
"""Kinds of targets that were told by their shape before kinds had names."""


def test_every_benchmark_names_the_kind_of_its_target() -> None:
    """A card without a kind means what it meant before kinds had names."""
    root = Path(__file__).resolve().parents[2] / "benchmarks"
    cards = sorted(root.rglob("*.yaml"))
    assert cards
    for path in cards:
        card = yaml.safe_load(path.read_text(encoding="utf-8"))
        spec = BenchmarkSpec.model_validate(card)
        kind = card["target"].pop("kind")
        assert kind == spec.target.kind, path.name
        if kind in BEFORE_NAMES:
            assert BenchmarkSpec.model_validate(card) == spec, path.name


def test_names_that_do_not_exist(toy_content: Path) -> None:
    content = catalog()
    with pytest.raises(UserError, match=r"unknown dataset 'toi'; did you mean: toy"):
        content.dataset("toi")
    with pytest.raises(UserError, match=r"unknown benchmark 'zzz'; choose from: toy-fields"):
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


def test_variants(toy_content: Path, name_baseline: Any) -> None:
    path = toy_content / "baselines/toy_mean/card.yaml"
    card = yaml.safe_load(path.read_text(encoding="utf-8"))
    card["tags"] = ["trivial"]
    card["variants"] = {
        "one": {"title": "One", "params": {"k": 1}, "tags": ["trivial", "small"]},
        "two": {"title": "Two"},
    }
    path.write_text(yaml.safe_dump(card), encoding="utf-8")
    content = catalog()
    assert content.model_names() == ["toy_mean/one", "toy_mean/two"]
    one, two = content.model("toy_mean/one"), content.model("toy_mean/two")
    assert (one.name, one.params, one.card.title) == ("toy_mean/one", {"k": 1}, "One")
    assert one.card.tags == ["trivial", "small"]
    name_baseline("toy_mean/two", track="kinds", role="control")
    spec = content.benchmark("toy-line")
    uses = [use_of(spec, source) for source in (one, two)]
    assert [(use.track, use.role) for use in uses if use] == [
        ("features", "reference"),
        ("kinds", "control"),
    ]
    name_baseline("toy_mean", without=["one"])
    spec = content.benchmark("toy-line")
    assert use_of(spec, one) is None
    assert content.boards_of(two).keys() == {"toy-fields", "toy-line"}
    assert content.boards_of(one).keys() == {"toy-fields"}
    with pytest.raises(UserError, match=r"has variants; name one of: toy_mean/one, toy_mean/two"):
        content.model("toy_mean")
    with pytest.raises(UserError, match=r"unknown variant of toy_mean 'ome'; did you mean: one"):
        content.model("toy_mean/ome")
    assert content.model(str(path.parent / "one")).params == {"k": 1}


def test_an_older_card_says_where_it_runs(toy_content: Path, tmp_path: Path) -> None:
    folder = tmp_path / "older"
    folder.mkdir()
    (folder / "model.py").touch()
    card = {
        "schema": 1,
        "name": "older",
        "title": "Older",
        "benchmarks": {"toy-line": {"track": "kinds"}},
        "variants": {
            "one": {"title": "One"},
            "two": {"title": "Two", "benchmarks": {"toy-fields": {"track": "features"}}},
        },
    }
    (folder / "card.yaml").write_text(yaml.safe_dump(card))
    content = catalog()
    with pytest.warns(UserWarning, match="'benchmarks' will be removed in the next release"):
        one, two = content.model(str(folder / "one")), content.model(str(folder / "two"))
    use = use_of(content.benchmark("toy-line"), one)
    assert use is not None
    assert (use.track, use.role) == ("kinds", "entry")
    assert use_of(content.benchmark("toy-line"), two) is None
    assert content.boards_of(two).keys() == {"toy-fields"}


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
        f"{card}: a card with 'variants' also needs 'schema' and 'name'; add what"
        " is missing (CONTRIBUTING.md shows a complete card)"
    )
    card.write_text("schema: 1\nvariants:\n  low: {title: low}\n")
    said = command("evaluate", f"{folder}{asked}", "toy-line").refusal()
    assert "a card with 'variants' also needs 'name'; add" in said
    card.write_text("name: mine\n")
    said = command("evaluate", f"{folder}{asked}", "toy-line").refusal()
    assert "the card of a model also needs 'schema'; add" in said


@pytest.mark.parametrize(
    ("name", "change", "expected"),
    [
        ("toy-line@1.yaml", {"version": 2}, "holds toy-line@2, not toy-line@1"),
        ("toy-line@1.yaml", {"colour": "red"}, "colour: unknown key"),
        ("toy-line@1.yaml", {}, "does not come before version 1"),
        ("toy-line.yaml", {}, "is not named <id>@<version>.yaml after a benchmark"),
        ("toy-lime@1.yaml", {}, "is not named <id>@<version>.yaml after a benchmark"),
    ],
)
def test_a_broken_superseded_version_is_told(
    toy_content: Path, command: Any, name: str, change: dict[str, Any], expected: str
) -> None:
    old = toy_content / "benchmarks" / "old" / name
    old.parent.mkdir()
    spec = yaml.safe_load((toy_content / "benchmarks" / "toy-line.yaml").read_text())
    old.write_text(yaml.safe_dump(spec | change))
    ran = command("list")
    assert ran.rc == 0
    (line,) = ran.stderr.splitlines()
    assert line.startswith(f"warning: {old}: ")
    assert expected in line
    assert "cannot be used" not in ran.stdout
