"""Content folders are laid over each other; a name that occurs twice closes nothing but itself."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from etchmark.catalog import catalog, content_root, content_roots, results_of
from etchmark.errors import UserError
from etchmark.registry.store import Store, read_record

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def layers(
    toy_content: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., list[Path]]:
    """Content folders from the toy's: what each holds is given by paths below it."""

    def make(*layers: tuple[str, ...]) -> list[Path]:
        roots = []
        for number, paths in enumerate(layers):
            root = tmp_path / f"layer-{number}"
            for path in paths:
                source, target = toy_content / path, root / path
                target.parent.mkdir(parents=True, exist_ok=True)
                copy = shutil.copytree if source.is_dir() else shutil.copy
                copy(source, target)
            roots.append(root)
        monkeypatch.setenv("ETCHMARK_CONTENT", os.pathsep.join(map(str, roots)))
        return roots

    return make


def test_where_content_is(
    home: Path, toy_content: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert content_roots() == (toy_content,)
    monkeypatch.delenv("ETCHMARK_CONTENT_ONLY")
    assert content_roots() == (toy_content, ROOT)
    assert content_root() == toy_content
    monkeypatch.setenv("ETCHMARK_CONTENT", os.pathsep.join([str(ROOT), str(toy_content)]))
    assert content_roots() == (ROOT, toy_content)
    monkeypatch.setenv("ETCHMARK_CONTENT", str(tmp_path))
    with pytest.raises(UserError, match="has no folder datasets, benchmarks or baselines"):
        content_roots()
    monkeypatch.delenv("ETCHMARK_CONTENT")
    assert content_roots() == (ROOT,)
    monkeypatch.setenv("ETCHMARK_CONTENT_ONLY", "1")
    with pytest.raises(UserError, match="ETCHMARK_CONTENT_ONLY leaves no content"):
        content_roots()


def test_a_folder_of_ones_own_hides_nothing(
    toy_content: Path, monkeypatch: pytest.MonkeyPatch, command: Any
) -> None:
    monkeypatch.delenv("ETCHMARK_CONTENT_ONLY")
    listing = json.loads(command("list", "--json").fine())
    benchmarks = [row["id"] for row in listing["benchmarks"]]
    assert {"toy-line", "superalloy-hardness"} <= set(benchmarks)
    assert benchmarks == sorted(benchmarks)
    assert {"toy_mean", "training_mean"} <= {row["name"] for row in listing["baselines"]}
    command("show", "superalloys").fine()
    command("show", "toy").fine()
    assert str(toy_content) not in command("cite", "superalloys").fine()


def test_dataset_benchmark_and_baseline_in_different_layers(
    layers: Callable[..., list[Path]], command: Any
) -> None:
    _, with_benchmark, _ = layers(
        ("baselines/toy_mean",), ("benchmarks/toy-line.yaml",), ("datasets/toy",)
    )
    command("results", "run", "toy-line", "--protocol", "folds").fine()
    # Reviewed results stand beside the benchmark, unless another folder is named.
    (record,) = results_of(with_benchmark).glob("toy-line@1/*.json")
    (row,) = json.loads(command("leaderboard", "toy-line", "--protocol", "folds", "--json").fine())
    assert (row["model"], row["submission"]) == ("toy_mean", read_record(record).submission)


def test_results_of_all_layers_are_on_the_board(
    layers: Callable[..., list[Path]], command: Any
) -> None:
    model, rest = layers(
        ("baselines/toy_mean",), ("benchmarks/toy-line.yaml", "datasets/toy", "leaderboard")
    )
    command("results", "run", "toy-line", "--protocol", "folds").fine()
    command("results", "run", "toy-line", "--protocol", "holdout", "--into", model).fine()
    for protocol, root in (("folds", rest), ("holdout", model)):
        (record,) = results_of(root).glob("toy-line@1/*.json")
        shown = command("leaderboard", "toy-line", "--protocol", protocol, "--json").fine()
        assert [row["submission"] for row in json.loads(shown)] == [read_record(record).submission]
    # The record of one layer is held to the benchmark that another declares.
    text = record.read_text(encoding="utf-8")
    record.write_text(text.replace('"track": "features"', '"track": "kinds"'), encoding="utf-8")
    with pytest.warns(UserWarning, match="left out: "):
        assert len(Store().entries("toy-line", 1)) == 1


@pytest.mark.parametrize(
    ("path", "kind", "name"),
    [
        ("datasets/toy", "datasets", "toy"),
        ("benchmarks/toy-line.yaml", "benchmarks", "toy-line"),
        ("baselines/toy_mean", "baselines", "toy_mean"),
    ],
)
def test_a_name_that_occurs_twice_is_refused(
    layers: Callable[..., list[Path]], command: Any, path: str, kind: str, name: str
) -> None:
    everything = ("datasets/toy", "benchmarks", "baselines/toy_mean")
    first, second = layers((path,), everything)
    said = command("show", name).refusal()
    assert said.startswith(f"two {kind} are named {name!r}: {first / path}")
    assert str(second / path) in said
    assert "rename one" in said
    content = catalog()
    assert name in [*content.dataset_names(), *content.benchmark_names(), *content.model_names()]
    # Everything else stays open.
    ran = command("list", "--json")
    assert ran.rc == 0
    assert f"two {kind} are named {name!r}" in ran.stderr
    for other in {"datasets/toy", "benchmarks/toy-line", "baselines/toy_mean"}:
        if kind not in other:
            command("show", other.rpartition("/")[2]).fine()
    command("show", "toy-fields").fine()


def test_a_changed_card_is_seen_at_once(toy_content: Path) -> None:
    path = toy_content / "benchmarks" / "toy-line.yaml"
    assert catalog().benchmark("toy-line").title == "The toy's scalar-mini"
    spec = yaml.safe_load(path.read_text(encoding="utf-8"))
    path.write_text(yaml.safe_dump(spec | {"title": "A line"}), encoding="utf-8")
    assert catalog().benchmark("toy-line").title == "A line"
