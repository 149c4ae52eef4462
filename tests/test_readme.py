"""The numbers of the README's result sections are those of the reviewed records.

Every cell of its tables is read and compared with the record it stands for; sentences with numbers
are written down here as templates that the records fill. A new row, column or number needs an
entry here, so a change of either side that the other does not follow fails.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


@cache
def records() -> dict[tuple[str, str, str], dict[str, Any]]:
    """Records by benchmark, protocol and name."""
    found = {}
    for path in (ROOT / "leaderboard" / "results").glob("*/*.json"):
        record = json.loads(path.read_text(encoding="utf-8"))
        key = (record["benchmark"], record["protocol"], record["name"])
        assert key not in found, f"two records of {key}"
        found[key] = record
    return found


@dataclass(frozen=True)
class Score:
    """Where a number stands: a score of a record, or milliseconds per frame."""

    benchmark: str
    protocol: str
    split: str
    metric: str

    def of(self, name: str) -> tuple[float, float, float]:
        """Value and limits of the interval."""
        record = records()[self.benchmark, self.protocol, name]
        if self.metric == "ms":
            value = 1000 * record["cost"]["seconds_each"]
            return value, value, value
        [score] = [score for score in record["scores"] if score["split"] == self.split]
        metric = score["metrics"][self.metric]
        return metric["value"], metric["ci_low"], metric["ci_high"]


def section(title: str) -> str:
    [text] = re.findall(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", README, re.M | re.S)
    return text


def tables(text: str) -> Iterator[list[list[str]]]:
    """Tables as rows of cells, the headings first and the ruler left out."""
    for block in re.findall(r"(?:^\|.*\n)+", text, re.M):
        rows = [
            [cell.strip() for cell in line.strip("|").split("|")] for line in block.splitlines()
        ]
        yield [rows[0], *rows[2:]]


def shown(value: float, like: str) -> str:
    """A value with as many decimals as a text has."""
    return f"{value:.{len(like.partition('.')[2])}f}"


# --- tables ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Table:
    """A table of the README: what its columns and rows are called in the records."""

    title: str
    """Heading of its section."""
    number: int
    """Its place in the section."""
    columns: dict[str, Score]
    rows: dict[str, str | dict[str, str]]
    """The model of each row, or that of each column by its heading."""
    ignored: tuple[str, ...] = field(default=())


def hardness(protocol: str) -> Score:
    return Score("superalloy-hardness", protocol, "samples", "mae")


def stiffness(split: str, benchmark: str = "composite-stiffness-3d") -> Score:
    return Score(benchmark, "holdout", split, "mape")


def images(protocol: str) -> Score:
    return Score("composite-stiffness-2d", protocol, "samples", "mape")


def forecast(kind: str, split: str, metric: str = "rmse") -> Score:
    return Score(f"{kind}-forecast", "holdout", split, metric)


SHORT, FRACTION = "two_point_statistics/short-lags", "volume_fraction/cubic-log"
HARDNESS = ("hardness, new paper", "hardness, random folds")
FEATURES = {
    "three faces of a volume": stiffness("test", "composite-stiffness-3d-sections"),
    "2D, morphology never seen": images("leave-morphology-out"),
    "2D, morphologies mixed": images("iid"),
    "hardness, new paper": hardness("leave-paper-out"),
    "hardness, random folds": hardness("as-published"),
}


def either(stiff: str, hard: str) -> dict[str, str]:
    """One model for the columns of stiffness, another for those of hardness."""
    return {heading: hard if heading in HARDNESS else stiff for heading in FEATURES}


def encoder(name: str) -> str:
    return f"foundation_features/{name}"


TABLES = [
    Table(
        "What the first board says",
        0,
        {
            "new paper (leave-paper-out)": hardness("leave-paper-out"),
            "random folds (as published)": hardness("as-published"),
        },
        {
            "mean of the training samples": "training_mean",
            "mean of the same paper": "same_paper_mean",
            "gradient-boosted trees": "composition_regression/gradient-boosting",
            "Gaussian process": "composition_regression/gaussian-process",
            "DINOv2-B features, SVR": "published_features/dinov2-b-svr",
            "DINOv2-L features, linear": "published_features/dinov2-l-linear",
            "two-point statistics, linear": "two_point_statistics/micrograph-linear",
        },
        ("model", "reads"),
    ),
    Table(
        "What the composite boards say",
        0,
        {
            "test": stiffness("test"),
            "stiff spheres": stiffness("stiff_spheres"),
            "soft spheres": stiffness("soft_spheres"),
            "fibres x": stiffness("fibres_x"),
            "fibres z": stiffness("fibres_z"),
            "spinodal": stiffness("spinodal"),
        },
        {
            "mean of the training volumes": "training_mean",
            "self-consistent estimate (nothing fitted)": "bounds/self-consistent",
            "volume fraction, cubic, log target": FRACTION,
            "two-point statistics, quadratic": "two_point_statistics/quadratic",
            "two-point statistics, quadratic, log target": "two_point_statistics/quadratic-log",
            "two-point statistics, Gaussian process": "two_point_statistics/gaussian-process",
            "two-point statistics at short lags, quadratic, log target": SHORT,
            "two-point statistics at short lags, cubic, log target": f"{SHORT}-cubic",
            "3D CNN after Yang et al.": "cnn3d/yang",
            "periodic 3D CNN between the bounds of Voigt and Reuss": "cnn3d/periodic",
        },
        ("model, from the volume",),
    ),
    Table(
        "What frozen features of image encoders say so far",
        0,
        FEATURES,
        {
            "none: volume fraction and contrast; mean": either(FRACTION, "training_mean"),
            "two-point statistics, at short lags for stiffness": either(
                SHORT, "two_point_statistics/micrograph-linear"
            ),
            "pixels, averaged to 32 × 32": encoder("pixels"),
            "ViT-Tiny, random weights": encoder("vit-tiny-random"),
            "ResNet-50, random weights": encoder("resnet50-random"),
            "ViT-Tiny, ImageNet-21k": encoder("vit-tiny-in21k"),
            "the same, images not normalised (as published)": encoder(
                "vit-tiny-in21k-as-published"
            ),
            "SqueezeNet, ImageNet-1k": encoder("squeezenet"),
            "pruned VGG-19": encoder("vgg19-pruned"),
        },
        ("features",),
    ),
    Table(
        "What the forecast boards say so far",
        0,
        {
            "test": forecast("spinodal", "test"),
            "other composition": forecast("spinodal", "composition"),
            "twice the mobility": forecast("spinodal", "mobility"),
            "190 frames": forecast("spinodal", "long"),
            "ms per frame": forecast("spinodal", "", "ms"),
        },
        {
            "last frame, repeated": "persistence/last-frame",
            "ConvLSTM, 481 k parameters": "convlstm/small",
            "SimVP with gated attention, 196 k": "fcn/small",
            "3D CNN over ten frames, 226 k": "cnn_frames/small",
            "residual CNN stepper, 32 k": "stepper/free",
            "the same, conserves mass": "stepper/conserving",
            "the solver itself, mobility 10 % off": "coarse_solver/mobility-10-percent-off",
            "the solver itself, 1 step per frame": "coarse_solver/steps-1",
            "2 steps": "coarse_solver/steps-2",
            "4 steps": "coarse_solver/steps-4",
            "10 steps": "coarse_solver/steps-10",
        },
        ("spinodal decomposition",),
    ),
    Table(
        "What the forecast boards say so far",
        1,
        {
            "test": forecast("grain-growth", "test"),
            "twice as many grains": forecast("grain-growth", "density"),
            "anisotropic mobility": forecast("grain-growth", "anisotropy"),
            "190 frames": forecast("grain-growth", "long"),
            "ms per frame": forecast("grain-growth", "", "ms"),
        },
        {
            "last frame, repeated": "persistence/last-frame",
            "the solver itself from a map of the grains, one cell per pixel": (
                "grain_solver/cells-1"
            ),
            "the same with the cells of the data": "grain_solver/cells-2-long-steps",
            "the same, mobility 10 % off": "grain_solver/mobility-10-percent-off",
            "ConvLSTM, 481 k parameters": "convlstm/small",
            "SimVP with gated attention, 196 k": "fcn/small",
            "3D CNN over ten frames, 226 k": "cnn_frames/small",
            "residual CNN stepper, 32 k": "stepper/free",
        },
        ("grain growth",),
    ),
]
RESULTS = list(dict.fromkeys(table.title for table in TABLES))


def test_every_table_of_results_is_checked() -> None:
    found = [
        (title, number)
        for title in re.findall(r"^## (.*)$", README, re.M)
        for number, rows in enumerate(tables(section(title)))
        if re.search(r"\[-?\d+\.\d+, ", str(rows))
    ]
    assert found == [(table.title, table.number) for table in TABLES]


@pytest.mark.parametrize("table", TABLES, ids=lambda table: f"{table.title} {table.number}")
def test_tables_show_what_the_records_hold(table: Table) -> None:
    headings, *rows = list(tables(section(table.title)))[table.number]
    assert [name for name in headings if name not in table.ignored] == list(table.columns)
    assert [row[0].replace("*", "") for row in rows] == list(table.rows)
    wrong = []
    for row in rows:
        label = row[0].replace("*", "")
        for heading, cell in zip(headings, row, strict=True):
            texts = NUMBER.findall(cell)
            if heading in table.ignored or not texts:
                continue
            names = table.rows[label]
            name = names if isinstance(names, str) else names[heading]
            values = table.columns[heading].of(name)
            expected = [shown(value, text) for value, text in zip(values, texts, strict=False)]
            if texts != expected:
                wrong.append(f"{label}, {heading}: {cell}, the record says {expected}")
    assert not wrong, "\n".join(wrong)


# --- sentences ------------------------------------------------------------------------------------

Pair = Callable[[Score, str, str], "Difference"]
VOLUMES, FACES = "composite-stiffness-3d", "composite-stiffness-3d-sections"
PAPERS, FOLDS = hardness("leave-paper-out"), hardness("as-published")
MORPHOLOGIES, MIXED = images("leave-morphology-out"), images("iid")
ON_FACES = stiffness("test", FACES)
VIT, VGG = encoder("vit-tiny-in21k"), encoder("vgg19-pruned")
NETWORKS = ("convlstm/small", "fcn/small", "cnn_frames/small", "stepper/free")


@dataclass(frozen=True)
class Difference:
    """First less second, with the paired interval, and which is better if they are told apart."""

    value: float
    low: float
    high: float
    better: str

    def range(self, decimals: int) -> str:
        return f"{self.low:.{decimals}f} to {self.high:.{decimals}f}"


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """The paired comparison that the dashboard shows."""
    from etchmark.boards import compare
    from etchmark.registry.store import Store

    store = Store(tmp_path_factory.mktemp("hub"), ROOT / "leaderboard" / "results")
    entries = cache(lambda benchmark: store.entries(benchmark, 1))

    def differ(score: Score, first: str, second: str) -> Difference:
        sides = [
            compare.Side(name, entry)
            for name in (first, second)
            for entry in entries(score.benchmark)
            if (entry.record.name, entry.record.protocol) == (name, score.protocol)
        ]
        row = compare.differences(sides, score.split, score.metric).iloc[0]
        return Difference(row["difference"], row["ci_low"], row["ci_high"], row["better"])

    return differ


def number(score: Score, name: str, decimals: int = 1) -> str:
    return f"{score.of(name)[0]:.{decimals}f}"


def interval(score: Score, name: str, decimals: int = 1) -> str:
    return "{:.{d}f} [{:.{d}f}, {:.{d}f}]".format(*score.of(name), d=decimals)


def between(values: list[float], decimals: int, link: str = " to ") -> str:
    return f"{min(values):.{decimals}f}{link}{max(values):.{decimals}f}"


def states(*claims: str) -> None:
    """The README holds every claim, whatever its line breaks."""
    text = " ".join(README.replace("**", "").split())
    for claim in claims:
        assert claim in text, f"the records say: {claim}"


def names(benchmark: str, protocol: str, start: str | tuple[str, ...]) -> list[str]:
    keys = records()
    return [
        name for b, p, name in keys if (b, p) == (benchmark, protocol) and name.startswith(start)
    ]


def test_sentences_on_hardness(pair: Pair) -> None:
    board = "superalloy-hardness"
    seen, same = names(board, "as-published", encoder("")), "same_paper_mean"
    seen += names(board, "as-published", "published_features/")
    best = FOLDS.of(same)[0]
    assert all(FOLDS.of(name)[0] > best for name in seen)
    told = sum(pair(FOLDS, name, same).better == same for name in seen)
    states(
        f"all {len(seen)} baselines built on image features, and a clearly smaller one than"
        f" {told} of them."
        " Only two regressions on composition do better"
    )
    everything = names(board, "as-published", "")
    ahead = {name for name in everything if FOLDS.of(name)[0] < best}
    trees = "composition_regression/gradient-boosting"
    assert ahead == {trees, "composition_regression/gaussian-process"}
    assert [name for name in ahead if pair(FOLDS, name, same).better] == [trees]
    states(f"hardness values of superalloys from 19 papers, {len(everything)} baselines")

    fit = Score(board, "leave-paper-out", "samples", "r2")
    entries = names(board, "leave-paper-out", "")
    assert 0.05 < max(fit.of(name)[0] for name in entries) < 0.06
    better = {name for name in entries if pair(PAPERS, name, "training_mean").better == name}
    assert better == {"composition_regression/exploratory-solute-root-sum"}
    smallest = sorted(entries, key=lambda name: PAPERS.of(name)[0])[:4]
    assert sorted(smallest) == [
        "composition_regression/exploratory-element-count",
        "composition_regression/exploratory-solute-root-sum",
        "published_features/dinov2-b-svr",
        "published_features/dinov2-l-svr",
    ]
    gains = [-pair(PAPERS, name, "training_mean").value for name in smallest]
    states(f"differ from the mean by {between(gains, 0)} HV")

    units = [f"composition_regression/ridge{end}" for end in ("", "-as-listed", "-all-atomic")]
    units.append("composition_regression/ridge-all-weight")
    papers, folds = ([score.of(name)[0] for name in units] for score in (PAPERS, FOLDS))
    assert max(papers) == papers[1]
    states(
        f"by up to {max(papers) - min(papers):.0f} HV on a paper never seen, where it is worst as"
        f" listed, and by up to {max(folds) - min(folds):.0f} HV with random folds"
    )


def test_sentences_on_composites(pair: Pair) -> None:
    splits = ["test", "stiff_spheres", "soft_spheres", "fibres_x", "fibres_z", "spinodal"]
    statistics = names(VOLUMES, "holdout", "two_point_statistics/")
    balls = stiffness("stiff_spheres")
    spheres = [balls.of(name)[0] for name in statistics]
    formula = number(balls, "bounds/self-consistent", 0)
    states(f"off by {between(spheres, 0)} %, where a formula of 1965 is off by {formula} %")
    network, yang = "cnn3d/periodic", "cnn3d/yang"
    best = min(statistics, key=lambda name: stiffness("test").of(name)[0])
    for split in splits:
        for name in statistics:
            assert pair(stiffness(split), name, network).better == network
    ratio = stiffness("test").of(network)[0] / stiffness("test").of(best)[0]
    assert 0.19 < ratio < 0.22, "a fifth"
    assert 3 <= balls.of(network)[0] / balls.of("bounds/self-consistent")[0] < 3.5
    assert 2.6 < stiffness("test").of(yang)[0] / stiffness("test").of(network)[0] < 3
    components = [name for name in statistics if not name.startswith(SHORT)]
    for name in components:
        assert pair(stiffness("test"), name, SHORT).better == SHORT
    faces = names(FACES, "holdout", "two_point_statistics/")
    maps = [ON_FACES.of(name)[0] for name in faces if name != SHORT]
    states(
        f"reaches {interval(ON_FACES, 'cnn2d/sections')}, short lags {number(ON_FACES, SHORT)} and"
        f" principal components {between(maps, 1)}",
    )
    record = records()[MORPHOLOGIES.benchmark, MORPHOLOGIES.protocol, "cnn2d/images"]
    folds = [fold["values"]["mape"] for fold in record["scores"][0]["folds"]]
    whole = [f"two_point_statistics/{end}" for end in ("gaussian-process", "quadratic-log")]
    states(
        f"has an error of {interval(MORPHOLOGIES, 'cnn2d/images')}, and none of the five"
        f" morphologies is worse than {max(folds):.1f}.",
        f"Short lags give {interval(MORPHOLOGIES, SHORT)}, the self-consistent estimate"
        f" {number(MORPHOLOGIES, 'bounds/self-consistent')}, the volume fraction alone"
        f" {number(MORPHOLOGIES, FRACTION)}, and principal components of the whole map"
        f" {between([MORPHOLOGIES.of(name)[0] for name in whole], 1)}.",
        f"the last give {number(MIXED, whole[0])} (Gaussian process) and"
        f" {number(MIXED, whole[1])}, the network {number(MIXED, 'cnn2d/images')}:",
    )


def test_sentences_on_image_encoders(pair: Pair) -> None:
    drawn, linear = encoder("vit-tiny-random"), encoder("vit-tiny-in21k-as-published")
    effect = pair(ON_FACES, VIT, drawn)
    maps = [name for name in names(FACES, "holdout", "two_point_statistics/") if name != SHORT]
    nearest = pair(ON_FACES, min(maps, key=lambda name: ON_FACES.of(name)[0]), VGG)
    assert not effect.better
    assert nearest.better == VGG
    assert not pair(ON_FACES, SHORT, VGG).better
    assert {pair(ON_FACES, name, "cnn2d/sections").better for name in (SHORT, VGG)} == {
        "cnn2d/sections"
    }
    for name in (VGG, encoder("squeezenet")):
        assert pair(ON_FACES, name, VIT).better == name
    states(
        f"{number(ON_FACES, VIT)} against {number(ON_FACES, drawn)} with random weights (paired"
        f" interval of the difference {effect.range(1)})",
        f"the best of them by {nearest.value:.1f}, {nearest.range(1)}) and is not told apart from"
        f" 27 numbers at short lags ({number(ON_FACES, SHORT)})",
        f"ahead of both ({number(ON_FACES, 'cnn2d/sections')})",
    )
    trained, fraction = pair(MIXED, drawn, VIT), pair(MIXED, FRACTION, VIT)
    assert trained.better == fraction.better == VIT
    assert pair(MIXED, SHORT, VIT).better == SHORT
    assert MORPHOLOGIES.of(VIT)[0] > 2 * MORPHOLOGIES.of(FRACTION)[0]
    states(
        f"takes {trained.value:.1f} points (paired interval {trained.range(1)}) off",
        f"and {fraction.value:.1f} ({fraction.range(1)}) off the volume fraction",
    )
    encoders = [*names(PAPERS.benchmark, PAPERS.protocol, (encoder(""), "published_features/"))]
    assert all(pair(PAPERS, name, "training_mean").better != name for name in encoders)
    gain = pair(FOLDS, "training_mean", encoder("squeezenet"))
    states(f"({gain.value:.1f} HV less, {gain.range(1)})")
    papers, images_ = pair(PAPERS, VIT, linear), pair(MORPHOLOGIES, VIT, linear)
    states(
        f"takes {papers.value:.1f} HV ({papers.range(1)}) off the error on papers never seen, and"
        f" {images_.value:.0f} points ({images_.range(0)}) on morphologies never seen"
    )


def test_sentences_on_forecasts(pair: Pair) -> None:
    home, grains = forecast("spinodal", "test"), forecast("grain-growth", "test")
    stepper, conserving = "stepper/free", "stepper/conserving"
    for name in NETWORKS[:3]:
        for split in ("test", "density", "long"):
            assert pair(forecast("grain-growth", split), name, stepper).better == stepper
    rival = pair(home, "cnn_frames/small", stepper)
    assert not rival.better
    others = sorted({number(grains, name, 3) for name in NETWORKS[:3]})
    states(
        f"({number(grains, stepper, 4)} against {others[0]} and {others[1]}), on spinodal"
        f" decomposition not from the 3D CNN (paired interval {rival.range(3)})"
    )
    mass, other = pair(home, conserving, stepper), forecast("spinodal", "composition")
    assert not mass.better
    assert pair(other, conserving, stepper).better == conserving
    states(
        f"({number(home, conserving, 3)} against {number(home, stepper, 3)}, paired interval of the"
        f" difference {mass.range(3)}) and helps at a composition never seen"
        f" ({number(other, conserving, 3)} against {number(other, stepper, 3)})"
    )
    faster, turned = forecast("spinodal", "mobility"), forecast("grain-growth", "anisotropy")
    states(
        f"off by {between([faster.of(name)[0] for name in (*NETWORKS, conserving)], 2)}, half",
        f"at {between([turned.of(name)[0] for name in NETWORKS], 2)}, four to nineteen times",
    )
    ratios = [turned.of(name)[0] / grains.of(name)[0] for name in NETWORKS]
    assert between(ratios, 0) == "4 to 19"
    two = "coarse_solver/steps-2"
    assert not pair(home, two, stepper).better
    assert (
        forecast("spinodal", "", "ms").of(two)[0]
        < forecast("spinodal", "", "ms").of(stepper)[0] / 20
    )
    simvp = pair(home, "convlstm/small", "fcn/small")
    level = pair(grains, "convlstm/small", "fcn/small")
    assert simvp.better == "fcn/small"
    assert not level.better
    states(
        f"(paired interval of the difference {simvp.range(3)}) and is level with it on grains"
        f" (within {max(-level.low, level.high):.3f})"
    )
    minutes = {
        name: [
            records()[f"{kind}-forecast", "holdout", name]["cost"]["fit_seconds"] / 60
            for kind in ("spinodal", "grain-growth")
        ]
        for name in NETWORKS
    }
    simvp_took, other_took = (between(minutes[name], 0) for name in ("fcn/small", "convlstm/small"))
    everything = [value for values in minutes.values() for value in values]
    states(
        f"{simvp_took} minutes against {other_took}",
        f"on such a core for {between(everything, 0)} minutes",
    )
    soon = {
        kind: Score(f"{kind}-forecast-10", "holdout", "test", "rmse")
        for kind in ("spinodal", "grain-growth")
    }
    states(
        f"the stepper is at {number(soon['spinodal'], conserving, 4)} and"
        f" {number(soon['grain-growth'], stepper, 4)}, a repeated last frame at"
        f" {number(soon['spinodal'], 'persistence/last-frame', 2)} and"
        f" {number(soon['grain-growth'], 'persistence/last-frame', 3)}, the solver with four steps"
        f" per frame at {number(soon['spinodal'], 'coarse_solver/steps-4', 4)}"
    )
    times = [
        1000 * record["cost"]["seconds_each"]
        for (_, _, name), record in records().items()
        if name.startswith("stepper/")
    ]
    assert len(times) == 5
    states(f"(the stepper took {between(times, 1)} ms in five runs)")
