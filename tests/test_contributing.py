"""The examples of CONTRIBUTING.md work as they stand there."""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import yaml

from etchmark import SklearnModel
from etchmark.catalog import catalog
from etchmark.specs import BaselineCard, Protocol, Role, Variant

TEXT = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text(encoding="utf-8")
DATA = TEXT[TEXT.index("## A benchmark or a dataset") :]
BLOCK = re.compile(
    r"`((?:datasets|benchmarks)/[\w/.]+)`[^\n]*\n(?:[^\n]*\n)*?\n```\w+\n(.*?)```", re.S
)
ZEROS = '"' + "0" * 64 + '"'

Write = Callable[[str], None]


@pytest.fixture
def content(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files that CONTRIBUTING.md shows."""
    files = BLOCK.findall(DATA)
    assert [name for name, _ in files] == [
        "datasets/dots/dataset.yaml",
        "datasets/dots/build.py",
        "benchmarks/dots.yaml",
    ]
    for name, text in files:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    (tmp_path / "baselines").mkdir()
    monkeypatch.setenv("ETCHMARK_CONTENT", str(tmp_path))
    return tmp_path


def write_fingerprints(content: Path, command: Any, benchmark: str) -> None:
    """Into a benchmark's file, as a contributor does."""
    prints = json.loads(command("show", benchmark, "--fingerprints", "--json").fine())
    path = content / "benchmarks" / f"{benchmark}.yaml"
    spec = yaml.safe_load(path.read_text(encoding="utf-8"))
    spec["target_fingerprint"] = prints["target_fingerprint"]
    for name, track in spec["tracks"].items():
        track["fingerprint"] = prints["tracks"][name]
    path.write_text(yaml.safe_dump(spec, sort_keys=False), encoding="utf-8")


def test_a_dataset_of_images_with_folds(content: Path, command: Any) -> None:
    import etchmark

    command("build", "dots", "--freeze").fine()
    write_fingerprints(content, command, "dots")
    model = content / "mine"
    model.mkdir()
    (model / "model.py").write_text(
        "import numpy as np\n"
        "class Share:\n"
        "    def fit(self, train, validation):\n"
        "        assert train.inputs['phases'].shape == (30, 32, 32)\n"
        "        assert len(set(train.groups)) == 3\n"
        "        share = train.inputs['phases'].mean(axis=(1, 2))\n"
        "        self.line = np.polyfit(share, train.target, 1)\n"
        "    def predict(self, inputs):\n"
        "        return np.polyval(self.line, inputs['phases'].mean(axis=(1, 2)))\n"
        "def build(seed, device): return Share()\n",
        encoding="utf-8",
    )
    command("evaluate", model, "dots").fine()
    (row,) = json.loads(command("leaderboard", "dots", "--json").fine())
    assert (row["n"], row["units"], row["protocol"]) == (40, 4, "leave-specimen-out")
    assert row["score"] == pytest.approx(0.0, abs=1e-9)
    benchmark = etchmark.load_benchmark("dots")
    frame = benchmark.frame("samples")
    assert [photo.shape for photo in frame["photo"][:6]] == [(20 + row % 5, 32) for row in range(6)]
    assert np.array_equal(frame["photo"].iloc[3], 255 * frame["phases"].iloc[3][:23])
    # Hugging Face reads both columns as what they are.
    first = benchmark.split("samples")[3]
    assert first["photo"].size == (32, 23)
    assert np.array_equal(np.array(first["phases"]), frame["phases"].iloc[3])


def test_a_fixed_split() -> None:
    (text,) = re.findall(r"```yaml\n(protocols:\n  fixed:.*?)```", DATA, re.S)
    protocol = Protocol.model_validate(yaml.safe_load(text)["protocols"]["fixed"])
    splits = (protocol.train_split, protocol.validation_split, protocol.split)
    assert splits == ("train", "validation", "test")
    assert protocol.extra_splits == ["other_alloys"]
    without = yaml.safe_load(text)["protocols"]["fixed"]
    del without["validation_split"]
    assert Protocol.model_validate(without).validation_split is None


def test_a_new_version(content: Path, command: Any) -> None:
    command("build", "dots", "--freeze").fine()
    write_fingerprints(content, command, "dots")
    model = content / "mine"
    model.mkdir()
    (model / "model.py").write_text(
        "from etchmark import SklearnModel\n"
        "from sklearn.dummy import DummyRegressor\n"
        "class Mean(DummyRegressor):\n"
        "    def fit(self, X, y): return super().fit([[0.0]] * len(y), y)\n"
        "    def predict(self, X): return super().predict([[0.0]] * len(X))\n"
        "def build(seed, device): return SklearnModel(Mean())\n",
        encoding="utf-8",
    )
    command("evaluate", model, "dots").fine()
    (before,) = json.loads(command("leaderboard", "dots", "--json").fine())
    build = content / "datasets" / "dots" / "build.py"
    build.write_text(build.read_text().replace("100 + 300 *", "100 + 600 *"), encoding="utf-8")
    ran = command("build", "dots")
    assert ran.rc == 1
    (said,) = ran.stderr.splitlines()
    steps = TEXT[TEXT.index("### A new version") :]
    for step in ("A new version", "`version`", "dataset.yaml", "--freeze", "--fingerprints"):
        assert step in said
        assert step in steps
    for name in ("datasets/dots/dataset.yaml", "benchmarks/dots.yaml"):
        text = (content / name).read_text(encoding="utf-8")
        assert text.count("version: 1\n") == 1
        (content / name).write_text(text.replace("version: 1\n", "version: 2\n"), encoding="utf-8")
    assert "frozen in" in command("build", "dots", "--freeze").fine()
    write_fingerprints(content, command, "dots")
    assert "equal to the frozen release" in command("build", "dots").fine()
    assert json.loads(command("leaderboard", "dots", "--json").fine()) == []
    command("evaluate", model, "dots").fine()
    (row,) = json.loads(command("leaderboard", "dots", "--json").fine())
    assert row["score"] == pytest.approx(2 * before["score"])


def test_the_table_of_the_context_names_every_attribute() -> None:
    from etchmark.data.shards import BuildContext

    table = DATA[DATA.index("| attribute of `context`") :].partition("\n\n")[0]
    names = re.findall(r"^\| `(\w+)` \|", table, re.M)
    assert names == [field.name for field in dataclasses.fields(BuildContext)]


def _card() -> str:
    (text,) = re.findall(r"```yaml\n(schema: 1\nname: my_forest.*?)```", TEXT, re.S)
    return text


def test_the_card_is_complete_and_a_model_runs_with_it(
    toy_content: Path, tmp_path: Path, command: Any
) -> None:
    value = yaml.safe_load(_card())
    card = BaselineCard.model_validate(value)
    left_out = set(BaselineCard.model_fields) - card.model_fields_set
    # Keys of special cases, which pages on roles, flags and weights explain.
    special = {"takes_weights", "training_data_note", "training_sets", "role"}
    assert left_out == special | {"benchmarks"}
    deep = card.variants["deep"]
    assert set(Variant.model_fields) - deep.model_fields_set == {"benchmarks"}  # older cards alone
    assert {spec.param for spec in card.curves.values()} == {None, "max_depth"}
    folder = tmp_path / "my_forest"
    folder.mkdir()
    (model,) = re.findall(r"```python\n(from etchmark import SklearnModel\n.*?)```", TEXT, re.S)
    (folder / "card.yaml").write_text(_card())
    (folder / "model.py").write_text(model.replace('["Cr_at", "Al_at"]', '["a"]'))
    track = ("--track", "features")
    command("evaluate", f"{folder}/shallow", "toy-line", *track).fine()
    ran = command("evaluate", f"{folder}/deep", "toy-line", *track, "--curves", "--json")
    assert ran.rc == 0
    record = json.loads(ran.stdout)
    assert record["name"] == "my_forest/deep"
    assert record["card"]["tags"] == ["composition", "large"]
    assert [curve["name"] for curve in record["curves"]] == ["training-size", "depth"]


def test_the_lines_that_name_baselines(toy_content: Path) -> None:
    (text,) = re.findall(r"```yaml\n(baselines:\n.*?)```", TEXT, re.S)
    folder = toy_content / "baselines" / "my_forest"
    shutil.copytree(toy_content / "baselines" / "toy_mean", folder)
    (folder / "card.yaml").write_text(_card())
    path = toy_content / "benchmarks" / "toy-line.yaml"
    named = yaml.safe_load(text.replace("composition", "features").replace("training_m", "toy_m"))
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | named))
    spec = catalog().benchmark("toy-line")
    roles = {name: spec.use_of(name) for name in catalog().model_names()}
    assert {name: use and use.role for name, use in roles.items()} == {
        "toy_mean": "reference",
        "my_forest/shallow": "exploratory",
        "my_forest/deep": None,
    }
    table = TEXT[TEXT.index("| role | the baseline |") :].partition("\n\n")[0]
    assert re.findall(r"^\| `(\w+)`", table, re.M) == list(get_args(Role))


def test_the_option_that_hands_groups_on_is_explained(toy_content: Path, command: Any) -> None:
    assert "SklearnModel(estimator, groups=True)" in TEXT
    assert "groups" in inspect.signature(SklearnModel).parameters


def test_what_a_model_sees_of_the_environment_is_explained() -> None:
    assert "ETCHMARK_PASS_ENV" in TEXT
    (path,) = re.findall(r"`(src/etchmark/[\w/]+\.py)` lists them", TEXT)
    assert "NAMES = frozenset" in (Path(__file__).parents[1] / path).read_text(encoding="utf-8")
