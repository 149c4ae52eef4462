"""The examples of README and docs run as they stand there, on small data."""

from __future__ import annotations

import importlib.util
import json
import os
import pkgutil
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import yaml

import etchmark
from etchmark import settings
from etchmark.catalog import catalog
from etchmark.scoring import uncertainty
from etchmark.targets import metric

ROOT = Path(__file__).resolve().parents[1]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.S | re.M)
FENCE = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```', re.S | re.M)
LINE = re.compile(r"^```bash\n(.*?)^```", re.S | re.M)


def blocks(name: str) -> list[str]:
    """The Python examples of a document."""
    return BLOCK.findall((ROOT / name).read_text(encoding="utf-8"))


@pytest.fixture
def small(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """The content of this checkout, of which some benchmarks read the small config."""
    from etchmark.catalog import Catalog
    from etchmark.data.loading import load_benchmark
    from etchmark.evaluation.mini import mini_of

    root = tmp_path / "content"
    for name in ("datasets", "baselines"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("data"))
    shutil.copytree(ROOT / "benchmarks", root / "benchmarks")
    (root / "leaderboard" / "results").mkdir(parents=True)

    def shrink(name: str) -> None:
        loaded = load_benchmark(name, catalog=Catalog(ROOT))
        path = root / "benchmarks" / f"{name}.yaml"
        spec = yaml.safe_load(path.read_text(encoding="utf-8"))
        for track in spec["tracks"]:
            mini = mini_of(loaded, track)
            assert mini is not None
            small = mini.spec.tracks[track]
            spec["tracks"][track] |= {"config": small.config, "fingerprint": small.fingerprint}
            spec["target_fingerprint"] = mini.spec.target_fingerprint
        if "shape" in spec["target"]:
            spec["target"]["shape"] = [size and size // 2 for size in spec["target"]["shape"]]
        path.write_text(yaml.safe_dump(spec, sort_keys=False), encoding="utf-8")

    monkeypatch.setenv("ETCHMARK_CONTENT", str(root))
    monkeypatch.setenv("ETCHMARK_CONTENT_ONLY", "1")
    monkeypatch.chdir(tmp_path)
    return shrink


@dataclass(frozen=True)
class Block:
    """A fenced block of a document: its language, its title and its text."""

    language: str
    title: str
    text: str


def all_blocks(name: str) -> list[Block]:
    text = (ROOT / name).read_text(encoding="utf-8")
    return [Block(*groups) for groups in FENCE.findall(text)]


def lines_of(block: Block) -> Iterator[list[str]]:
    """The commands of a block, as words; comments are left out."""
    for line in block.text.replace("\\\n", " ").splitlines():
        if words := shlex.split(line, comments=True):
            yield words


SERVERS = (["etchmark", "dashboard"], ["make", "demo"], ["make", "test"])
"""Run by ``.ci/run`` and the browser suite."""


class Reader:
    """Somebody who does what a document says, block after block, in a folder of their own.

    A block with a title is written into the file of that name; commands and Python run. Python
    blocks of a document share their names.
    """

    def __init__(self, command: Any, setenv: Callable[[str, str], None]) -> None:
        self.command, self.setenv = command, setenv
        self.names: dict[str, Any] = {}
        self.outputs: dict[str, str] = {}
        self.after: dict[str, Callable[[str], None]] = {}
        """What is done by hand with the output of a command, as the document asks."""

    def follow(self, name: str) -> None:
        for block in all_blocks(name):
            if block.title:
                path = Path(block.title)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(block.text, encoding="utf-8")
            elif block.language == "python":
                exec(compile(block.text, name, "exec"), self.names)
            elif block.language == "bash":
                for words in lines_of(block):
                    self.run(words)

    def run(self, words: list[str]) -> None:
        if words in SERVERS:
            return
        line = " ".join(words)
        if words[0] == "export":
            self.setenv(*words[1].split("=", 1))
        elif words[0] == "etchmark":
            ran = self.command(*words[1:])
            assert ran.rc == 0, (line, ran.stdout, ran.stderr)
            self.outputs[line] = ran.stdout
        else:
            assert words[0] == "python", line
            subprocess.run([sys.executable, *words[1:]], check=True, capture_output=True)
        if line in self.after:
            self.after[line](self.outputs[line])


@pytest.fixture
def reader(reviewed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Any) -> Reader:
    """A reader in an empty folder, beside what a checkout has."""
    for name in ("baselines", "leaderboard"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    return Reader(command, monkeypatch.setenv)


def test_the_readme(reader: Reader) -> None:
    reader.follow("README.md")
    assert reader.names["table"].num_rows == 149
    images = reader.names["images"]
    assert images["microstructure"].iloc[0].shape == (64, 64)
    # What the README says of the Dataset holds for a table with images as well.
    files = "images/data/*.parquet"
    frame: Any = datasets.load_dataset("parquet", data_files=files, split="train").to_pandas()
    first = frame[frame.fold_iid == 0]
    joined = first.merge(frame.query("contrast > 0")[["id", "contrast"]], on="id")
    assert len(joined) == len(first) > 0
    image = images.set_index("id")["microstructure"][joined.iloc[0]["id"]]
    assert np.array_equal(joined.iloc[0]["microstructure"], image)
    # The model runs as it stands there.
    (model,) = [block for block in all_blocks("README.md") if "SklearnModel" in block.text]
    Path("mine").mkdir()
    Path("mine", "model.py").write_text(model.text, encoding="utf-8")
    ran = reader.command("evaluate", "mine", "superalloy-hardness", "--track", "composition")
    assert ran.rc == 0


def test_the_readme_is_short() -> None:
    words = (ROOT / "README.md").read_text(encoding="utf-8").split()
    assert len(words) <= 900


@pytest.mark.parametrize("page", ["download", "submit", "model", "browse"])
def test_quickstarts(reader: Reader, page: str) -> None:
    reader.follow(f"docs/quickstart/{page}.md")
    if page == "submit":
        assert reader.names["scores"][0].n == 149
    if page == "model":
        (difference,) = [line for line in reader.outputs if " compare " in line]
        assert "my_ridge" in reader.outputs[difference]


def test_a_benchmark_from_the_quickstart_alone(reader: Reader, tmp_path: Path) -> None:
    def fill_in(name: str, output: str) -> None:
        path = tmp_path / "my-content" / "benchmarks" / f"{name}.yaml"
        spec = yaml.safe_load(path.read_text(encoding="utf-8"))
        printed = dict(re.findall(r"^([\w.-]+): ([0-9a-f]{64})$", output, re.M))
        spec["target_fingerprint"] = printed["target_fingerprint"]
        spec["tracks"]["porosity"]["fingerprint"] = printed["tracks.porosity.fingerprint"]
        path.write_text(yaml.safe_dump(spec, sort_keys=False), encoding="utf-8")

    for name in ("porosity-strength", "porosity-quality"):
        reader.after[f"etchmark show {name} --fingerprints"] = partial(fill_in, name)
    reader.follow("docs/quickstart/benchmark.md")
    assert "my_line" in reader.outputs["etchmark leaderboard porosity-strength"]
    assert "my_classes" in reader.outputs["etchmark leaderboard porosity-quality"]
    # The classes stand in the declared order, which is not that of the alphabet.
    board = etchmark.standings("porosity-quality", metric="accuracy")
    assert board["score"].tolist() == [1.0]


PAGE = """
    import etchmark
    from pages import fine, model_page, table_with

    (submission,) = etchmark.standings("toy-kind").query("model == 'perfect'")["submission"]
    table = table_with(fine(model_page(submission[:12], tab="errors")), "true grade")
    assert [table[str(grade)][grade] > 0 for grade in range(3)] == [True] * 3
    assert table[["0", "1", "2"]].to_numpy().sum() == 9
"""


@pytest.mark.slow
def test_a_kind_of_target_from_the_quickstart_alone(tmp_path: Path) -> None:
    pytest.importorskip("streamlit", reason="streamlit (extra `dashboard`) is not installed")
    for name in ("src", "leaderboard", "tests"):
        unneeded = shutil.ignore_patterns("results", "records-1", "__pycache__")
        shutil.copytree(ROOT / name, tmp_path / name, ignore=unneeded)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for block in all_blocks("docs/quickstart/kind.md"):
        if block.language != "python":
            continue
        title, _, added = block.title.partition(" ")
        path = tmp_path / title
        assert path.exists() == bool(added), "nothing but the union of targets is edited"
        if added:
            text = path.read_text(encoding="utf-8")
            assert text.count("\nKinds = ") == 1
            union = f"\n{block.text}\n\nKinds = GradeTarget | "
            path.write_text(text.replace("\nKinds = ", union), encoding="utf-8")
        else:
            path.write_text(block.text, encoding="utf-8")
    with (tmp_path / "tests" / "targets" / "test_grade.py").open("a", encoding="utf-8") as test:
        test.write(PAGE)
    # An environment of its own, since a model's process sees none but what is installed there.
    environment = tmp_path / "environment"
    venv.create(environment, symlinks=True)
    base = {"base": str(environment), "platbase": str(environment)}
    packages = Path(sysconfig.get_path("purelib", "venv", base))
    shared = [f"import site; site.addsitedir({p!r})" for p in sys.path if "-packages" in p]
    (packages / "copy.pth").write_text("\n".join([str(tmp_path / "src"), *shared]) + "\n")
    python = sysconfig.get_path("scripts", "venv", base) + "/python"
    options = ("-q", "-p", "no:cacheprovider", "tests/targets/test_grade.py")
    # Options for this run are none for the one inside it.
    quiet = {name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"}
    command = [python, "-m", "pytest", *options]
    done = subprocess.run(command, cwd=tmp_path, env=quiet, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("... "), "three tests pass, none is skipped"


def test_the_examples_of_the_solvers(reader: Reader) -> None:
    pytest.importorskip("torch", reason="torch (extra `simulate`) is not installed")
    pytest.importorskip("numba", reason="numba (extra `simulate`) is not installed")
    reader.follow("docs/methods/simulation.md")
    assert reader.names["statistics"].shape == (17, 17)


def test_every_page_with_python_is_run() -> None:
    pages = [path.relative_to(ROOT).as_posix() for path in sorted(ROOT.glob("docs/**/*.md"))]
    with_python = {page for page in pages if any(b.language == "python" for b in all_blocks(page))}
    quickstarts = {f"docs/quickstart/{path.name}" for path in ROOT.glob("docs/quickstart/*.md")}
    others = {"docs/forecasts.md", "docs/methods/simulation.md"}
    others |= {"docs/segmentation.md", "docs/reconstruction.md"}
    assert with_python - quickstarts == others


def test_settings_are_documented() -> None:
    known = set(re.findall(r"^``(\w+)`` ", settings.__doc__ or "", re.M))
    table = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.M)) == known


def test_metrics_are_documented() -> None:
    text = (ROOT / "docs" / "methods" / "scores.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([\w:]+)` \| .* \| (lower|higher) \|$", text, re.M)
    directions = {True: "higher", False: "lower"}
    assert dict(rows) == {name: directions[metric(name).higher_is_better] for name, _ in rows}
    documented = {name.partition(":")[0] for name, _ in rows}
    specs = [catalog().benchmark(name) for name in catalog().benchmark_names()]
    assert {name.partition(":")[0] for spec in specs for name in spec.metrics} <= documented


def test_what_the_notes_on_scores_say_of_resamples() -> None:
    text = (ROOT / "docs" / "methods" / "scores.md").read_text(encoding="utf-8")
    assert f"drawn again with replacement {uncertainty.RESAMPLES:,} times" in " ".join(text.split())
    assert f"{100 * uncertainty.LEVEL:g} % interval" in text


def test_every_public_name_is_in_the_reference() -> None:
    pytest.importorskip("torch", reason="torch (extra `simulate`) is not installed")
    pages = sorted((ROOT / "docs" / "reference").glob("*.md"))
    places = [
        place
        for page in pages
        for place in re.findall(r"^::: (\S+)$", page.read_text(encoding="utf-8"), re.M)
    ]
    things = [pkgutil.resolve_name(place) for place in places]
    for name in etchmark.__all__:
        thing = getattr(etchmark, name)
        assert any(thing is shown for shown in things) or thing.__module__ in places, name
    for package in ("learning", "simulation"):
        assert [place for place in places if place.startswith(f"etchmark.{package}.")]


def test_modules_that_have_moved() -> None:
    text = (ROOT / "docs" / "upgrading.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([\w.]+)` \| `([\w.]+)` \| (alias|gone) \|$", text, re.M)
    assert len(rows) >= 9
    for old, new, state in rows:
        assert importlib.util.find_spec(new) is not None
        assert (importlib.util.find_spec(old) is not None) == (state == "alias"), old


def test_the_forecasts(small: Callable[[str], None], command: Any) -> None:
    pytest.importorskip("torch", reason="torch (extra `simulate`) is not installed")
    predicting, model, modulated = blocks("docs/forecasts.md")
    small("spinodal-forecast")
    names: dict[str, Any] = {}
    exec(compile(predicting, "docs/forecasts.md", "exec"), names)
    submit = ("submit", "predictions.parquet", "spinodal-forecast", "--name", "my-model")
    ours = json.loads(command(*submit, "--json").fine())["scores"]
    last = command("evaluate", "persistence/last-frame", "spinodal-forecast", "--json").fine()
    theirs = json.loads(last)["scores"]
    scores = [
        next(s["metrics"]["rmse"]["value"] for s in record if s["split"] == "test")
        for record in (ours, theirs)
    ]
    assert scores[0] == pytest.approx(scores[1], rel=1e-6)
    Path("mine").mkdir()
    Path("mine", "model.py").write_text(model, encoding="utf-8")
    ran = command("evaluate", "mine", "spinodal-forecast", "--json")
    assert json.loads(ran.fine())["outcome"] == "ok"
    Path("told").mkdir()
    Path("told", "model.py").write_text(modulated, encoding="utf-8")
    varied = ("evaluate", "told", "spinodal-forecast-varied", "--mini", "--json", "--track")
    ran = command(*varied, "told")
    assert (ran.rc, json.loads(ran.stdout)["outcome"]) == (0, "ok"), ran.stderr
    assert "reads mobility, which this track does not tell" in command(*varied, "inferred").stderr


def test_the_segmentation(mirror: Path, command: Any, tmp_path: Path, monkeypatch: Any) -> None:
    predicting, model = blocks("docs/segmentation.md")
    monkeypatch.chdir(tmp_path)
    command("download", "uhcs-segmentation").fine()
    names: dict[str, Any] = {}
    exec(compile(predicting, "docs/segmentation.md", "exec"), names)
    assert 0 < names["scores"][0].metrics["mean_iou"].value < 1
    Path("mine").mkdir()
    Path("mine", "model.py").write_text(model, encoding="utf-8")
    ran = command("evaluate", "mine", "uhcs-segmentation", "--json")
    assert json.loads(ran.fine())["outcome"] == "ok"


def _commands() -> list[Any]:
    found = []
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/**/*.md"))]
    for path in [*pages, *sorted(ROOT.glob("datasets/*/README.md"))]:
        for block in LINE.findall(path.read_text(encoding="utf-8")):
            for line in block.replace("\\\n", " ").splitlines():
                if line.startswith("etchmark "):
                    found.append(pytest.param(line.partition("#")[0].split()[1:], id=line.strip()))
    return found


@pytest.mark.parametrize("words", _commands())
def test_commands_and_options_exist(words: list[str]) -> None:
    import typer

    from etchmark.commands.main import app

    command: Any = typer.main.get_command(app)
    while hasattr(command, "commands"):
        command = command.commands[words[0]]
        words = words[1:]
    options = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= options
