"""Predictions of frames: read in parts, scored like everything else."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

metrics = pytest.importorskip(
    "skimage.metrics", reason="scikit-image (extra `simulate`) is not installed"
)

import etchmark  # noqa: E402
from etchmark import predictions  # noqa: E402
from etchmark.data.loading import Benchmark, load_benchmark  # noqa: E402
from etchmark.errors import UserError  # noqa: E402
from etchmark.predictions import streaming  # noqa: E402
from etchmark.scoring import template  # noqa: E402
from etchmark.scoring.intervals import FEWEST_UNITS  # noqa: E402
from etchmark.scoring.samples import from_table, table_bytes, to_table  # noqa: E402
from etchmark.scoring.score import score_samples  # noqa: E402
from etchmark.specs import SplitScore  # noqa: E402
from etchmark.specs.targets import FreeEnergy  # noqa: E402
from etchmark.submission.scoring import score_file  # noqa: E402
from etchmark.targets.frames.metrics import free_energy  # noqa: E402
from etchmark.targets.frames.rollouts import decode  # noqa: E402

Frames = dict[str, np.ndarray]
Write = Callable[..., Path]


@pytest.fixture
def waves(toy_frames: Path) -> Benchmark:
    return load_benchmark("toy-waves")


@pytest.fixture
def truth(waves: Benchmark) -> Frames:
    """Frames to be predicted, by split, in double precision."""
    found = {}
    for split in ("test", "long"):
        found[split] = waves.truth(split).values.astype(np.float64)
    return found


@pytest.fixture
def write(waves: Benchmark, tmp_path: Path) -> Write:
    def made(values: Frames, seed: int | None = None) -> Path:
        path = tmp_path / "predictions.parquet"
        parts = [
            (waves.truth(split).ids, one, np.full(len(one), seed or 0))
            for split, one in values.items()
        ]
        predictions.write_parts(path, parts)
        return path

    return made


def noisy(truth: Frames, scale: float = 0.1) -> Frames:
    """Predictions as they are stored: float16."""
    generator = np.random.default_rng(0)
    made = {name: one + scale * generator.normal(size=one.shape) for name, one in truth.items()}
    return {name: one.astype(np.float16).astype(np.float64) for name, one in made.items()}


def scores(waves: Benchmark, path: Path) -> dict[str, SplitScore]:
    return {one.split: one for one in score_file(waves, path)[1].scores}


def test_scores_are_those_of_all_values_together(
    waves: Benchmark, truth: Frames, write: Write
) -> None:
    given = noisy(truth)
    found = scores(waves, write(given))
    assert list(found) == ["test", "long"]
    for split, score in found.items():
        error = given[split] - truth[split]
        values = {name: one.value for name, one in score.metrics.items()}
        assert (score.n, score.units, score.seeds) == (len(error), len(error), 1)
        assert values["rmse"] == pytest.approx(np.sqrt(np.mean(error**2)), rel=1e-12)
        assert values["mae"] == pytest.approx(np.abs(error).mean(), rel=1e-12)
        pairs = zip(truth[split].reshape(-1, 8, 8), given[split].reshape(-1, 8, 8), strict=True)
        alike = [metrics.structural_similarity(one, two, data_range=1.0) for one, two in pairs]
        assert values["ssim"] == pytest.approx(np.mean(alike), rel=1e-9)
        last = truth[split][:, :1].mean(axis=(2, 3))  # waves keep their mean
        drift = np.abs(given[split].mean(axis=(2, 3)) - last)
        assert values["composition_drift"] == pytest.approx(drift.mean(), rel=1e-6)
        beyond = (given[split] < -0.03) | (given[split] > 1.03)
        assert 0 < values["out_of_range"] == pytest.approx(100 * beyond.mean())
        low, high = score.metrics["rmse"].ci_low, score.metrics["rmse"].ci_high
        assert (low is None) == (high is None) == (score.units < FEWEST_UNITS)
        if low is not None and high is not None:
            assert low < values["rmse"] < high


def test_the_truth_has_no_error(waves: Benchmark, truth: Frames, write: Write) -> None:
    for score in scores(waves, write(truth)).values():
        assert score.metrics["rmse"].value == 0
        assert score.metrics["ssim"].value == pytest.approx(1)
        assert score.metrics["energy_rises"].value == 0


def test_energy_is_counted_from_the_last_frame_given(
    waves: Benchmark, truth: Frames, write: Write
) -> None:
    """Frames that double at once rise once, against the frame before."""
    doubled = {split: 2 * one for split, one in truth.items()}
    for split, score in scores(waves, write(doubled)).items():
        expected = 100 / truth[split].shape[1]
        assert score.metrics["energy_rises"].value == pytest.approx(expected)


def with_energy(content: Path, **energy: object) -> None:
    path = content / "benchmarks" / "toy-waves.yaml"
    spec = yaml.safe_load(path.read_text(encoding="utf-8"))
    spec["frames"]["energy"] = {"coefficients": [0, 0, 1], "tolerance": 1e-3, **energy}
    path.write_text(yaml.safe_dump(spec), encoding="utf-8")


def test_a_gradient_energy_of_each_samples_own(
    toy_frames: Path, truth: Frames, write: Write
) -> None:
    """Bulk energy falls and waves get shorter: the energy rises where the gradient counts most."""
    y, x = np.mgrid[:8, :8]
    given = {}
    for split, one in truth.items():
        frame = np.arange(one.shape[1])[:, None, None]
        short = 0.02 * frame * np.cos(np.pi * (x + y))
        given[split] = (0.9**frame * one + short).astype(np.float16).astype(np.float64)
    path = write(given)

    def rises(**energy: object) -> dict[str, float]:
        with_energy(toy_frames, **energy)
        found = scores(load_benchmark("toy-waves"), path)
        return {split: score.metrics["energy_rises"].value for split, score in found.items()}

    own = rises(gradient_energy_column="kappa")
    kappas = {split: np.linspace(0.5, 50.0, len(one)) for split, one in truth.items()}
    for split, one in truth.items():
        last = load_benchmark("toy-waves").inputs(split, "frames")["seen"][:, -1]
        count = 0
        for row, kappa in enumerate(kappas[split]):
            well = FreeEnergy(coefficients=[0, 0, 1], gradient_energy=kappa, tolerance=1e-3)
            frames = np.concatenate([last[row][None], given[split][row]]).astype(np.float64)
            energies = free_energy(frames, well)
            count += int((np.diff(energies) > 1e-3 * np.abs(energies[:-1])).sum())
        assert own[split] == pytest.approx(100 * count / one[..., 0, 0].size)
    # One value for all would count other frames.
    assert own["test"] != rises(gradient_energy=50.0)["test"]


def test_a_gradient_energy_is_given_once(toy_frames: Path) -> None:
    with_energy(toy_frames)
    with pytest.raises(UserError, match="give either gradient_energy or gradient_energy_column"):
        load_benchmark("toy-waves")
    with_energy(toy_frames, gradient_energy=1.0, gradient_energy_column="kappa")
    with pytest.raises(UserError, match="give either"):
        load_benchmark("toy-waves")
    with_energy(toy_frames, gradient_energy_column="kapa")
    with pytest.raises(UserError, match=r"gradient_energy_column: unknown.* 'kapa'.*kappa"):
        load_benchmark("toy-waves").check_target()


def test_a_gradient_energy_is_positive(toy_frames: Path) -> None:
    build = toy_frames / "datasets" / "waves" / "build.py"
    text = build.read_text(encoding="utf-8").replace("linspace(0.5,", "linspace(-0.5,")
    build.write_text(text, encoding="utf-8")
    with_energy(toy_frames, gradient_energy_column="kappa")
    changed = load_benchmark("toy-waves", unofficial=True)
    with pytest.raises(UserError, match=r"'kappa' holds -0\.5 where a gradient energy must be"):
        changed.check_target()


def test_the_order_of_rows_does_not_matter(waves: Benchmark, truth: Frames, write: Write) -> None:
    path = write(noisy(truth))
    straight = scores(waves, path)
    table = pq.read_table(path)
    order = np.random.default_rng(1).permutation(len(table))
    # In row groups of their own, and in single precision.
    shuffled = table.take(order)
    wide = shuffled["prediction"].cast(pa.list_(pa.float32()))
    pq.write_table(shuffled.set_column(1, "prediction", wide), path, row_group_size=2)
    assert scores(waves, path) == straight


def test_seeds(waves: Benchmark, truth: Frames, tmp_path: Path) -> None:
    path = tmp_path / "seeds.parquet"
    given = [noisy(truth, scale) for scale in (0.1, 0.2)]
    parts = [
        (waves.truth(split).ids, one[split], np.full(len(one[split]), seed))
        for seed, one in enumerate(given)
        for split in truth
    ]
    predictions.write_parts(path, parts)
    score = scores(waves, path)["test"]
    each = [np.sqrt(np.mean((one["test"] - truth["test"]) ** 2)) for one in given]
    assert score.seeds == 2
    assert score.metrics["rmse"].value == pytest.approx(np.mean(each))
    assert score.metrics["rmse"].seed_sd == pytest.approx(np.std(each, ddof=1))


def test_extra_splits_may_be_left_out(waves: Benchmark, truth: Frames, write: Write) -> None:
    given = noisy(truth)
    assert list(scores(waves, write({"test": given["test"]}))) == ["test"]
    with pytest.raises(UserError, match=r"5 of 5 predictions of split 'test' are missing"):
        scores(waves, write({"long": given["long"]}))


def test_the_table_gives_the_same_scores_and_the_error_over_the_horizon(
    waves: Benchmark, truth: Frames, write: Write
) -> None:
    given = noisy(truth)
    scored = score_file(waves, write(given))[1]
    assert pq.read_table(pa.BufferReader(table_bytes(scored.samples))).num_rows == 8
    again = from_table(to_table(scored.samples))
    for one, score in zip(again, scored.scores, strict=True):
        assert score_samples(waves.spec, "holdout", one) == score
        errors = np.mean((given[one.split] - truth[one.split]) ** 2, axis=(2, 3))
        np.testing.assert_allclose(one.outcome.outputs["frame_squared_error"][0], errors, rtol=1e-6)
        assert one.outcome.outputs["frame_ssim"].shape == (1, *errors.shape)


def test_the_table_keeps_a_picture_of_one_sample_of_the_headline_split(
    waves: Benchmark, truth: Frames, write: Write
) -> None:
    given = noisy(truth)
    scored = score_file(waves, write(given))[1]
    table = to_table(scored.samples)
    # Five samples of one split, three of the other.
    assert [one is not None for one in table["rollout"].to_pylist()] == [True] + 7 * [False]
    picture, none = (split.outcome.picture for split in from_table(table))
    assert none is None
    assert picture is not None
    kept = decode("test-00", picture)
    assert kept.samples == ["test-00"] * 5
    assert kept.titles == [f"{ahead} ahead" for ahead in (1, 2, 4, 5, 6)]
    rows = np.array([1, 2, 4, 5, 6]) - 1
    for found, frames in ((kept.truth, truth["test"]), (kept.predicted, given["test"])):
        expected = np.clip(frames[0, rows].astype(float), 0, 1)
        np.testing.assert_allclose(found / 255, expected, atol=0.5 / 255 + 1e-9)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda one: one[:, :5], r"the prediction of 'test-00' has 320 values; its split asks for"),
        (lambda one: one * np.nan, r"5 predictions are not finite \(ids 'test-00', 'test-01'"),
        (lambda one: one * 1e6, r"predictions are not finite"),
    ],
)
def test_predictions_that_cannot_be_scored(
    waves: Benchmark, truth: Frames, write: Write, change: Callable, why: str
) -> None:
    with pytest.raises(UserError, match=why):
        scores(waves, write({"test": change(truth["test"])}))


def test_files_that_are_none(waves: Benchmark, truth: Frames, write: Write, tmp_path: Path) -> None:
    path = tmp_path / "predictions.csv"
    path.write_text("id,prediction\ntest-00,1\n")
    with pytest.raises(UserError, match="is not parquet"):
        scores(waves, path)
    path = write({"test": truth["test"]})
    pq.write_table(pa.table({"id": ["test-00"], "prediction": [1.0]}), path)
    with pytest.raises(
        UserError, match=r"holds double, not lists of floats; .* as a list of at most 576 floats$"
    ):
        scores(waves, path)
    empty = pa.array([[0.5] * 383 + [None]] * 5, pa.list_(pa.float32()))
    pq.write_table(pa.table({"id": waves.truth("test").ids, "prediction": empty}), path)
    with pytest.raises(UserError, match="empty cells"):
        scores(waves, path)
    for kind in (pa.list_(pa.float32()), pa.list_(pa.float32(), 384)):
        missing = pa.array([[0.5] * 384] * 4 + [None], kind)
        pq.write_table(pa.table({"id": waves.truth("test").ids, "prediction": missing}), path)
        with pytest.raises(UserError, match="empty cells"):
            scores(waves, path)
    damaged = write({"test": truth["test"]})
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 0x40
    damaged.write_bytes(bytes(content))
    with pytest.raises(UserError, match="is not readable parquet"):
        scores(waves, damaged)


def test_reading_takes_a_few_samples_at_a_time(
    waves: Benchmark, truth: Frames, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(noisy(truth))
    whole = scores(waves, path)
    monkeypatch.setattr(streaming, "VALUES_AT_ONCE", 1)
    assert scores(waves, path) == whole


@pytest.mark.parametrize("splits", [("test",), ("test", "long")])
@pytest.mark.parametrize("kind", [np.float16, np.float32])
def test_a_data_frame(
    waves: Benchmark, truth: Frames, write: Write, splits: tuple[str, ...], kind: type
) -> None:
    """Of one length, which is stored as such, and of several."""
    given = {split: noisy(truth)[split] for split in splits}
    table = pd.DataFrame(
        {
            "id": np.concatenate([waves.truth(split).ids for split in splits]),
            "prediction": [row.astype(kind) for one in given.values() for row in one],
        }
    )
    found = {one.split: one for one in etchmark.score(table, waves)}
    assert found == scores(waves, write(given))


def test_a_template(waves: Benchmark, truth: Frames, tmp_path: Path) -> None:
    made = template.write(waves, "frames", "holdout", tmp_path)
    assert [path.name for path in made.predictions] == ["predictions.parquet"]
    with pytest.raises(UserError, match="8 predictions are not finite"):
        scores(waves, made.predictions[0])
    table = pq.read_table(made.predictions[0])
    every = [row.ravel().tolist() for one in truth.values() for row in one]
    filled = pa.array(every, pa.list_(pa.float16()))
    pq.write_table(table.set_column(1, "prediction", filled), made.predictions[0])
    assert scores(waves, made.predictions[0])["long"].metrics["rmse"].value == 0


def test_other_frames_are_other_labels(toy_frames: Path, waves: Benchmark) -> None:
    waves.check_target()
    folder, manifest = waves.config_folder("frames")
    path = folder / next(file.path for file in manifest.files if file.split == "long")
    table = pq.read_table(path)
    cells = table["next"].to_pylist()
    cells[1][7][3][2] += 0.25
    at = table.schema.get_field_index("next")
    changed = pa.array(cells, table.schema.field(at).type)
    pq.write_table(table.set_column(at, table.schema.field(at), changed), path)
    other = Benchmark(waves.catalog, waves.spec, unofficial=True)
    other._folders["frames"] = (folder, manifest)
    assert other.target_fingerprint != waves.spec.target_fingerprint


# --- models ------------------------------------------------------------------------------------


def test_a_model_is_run_and_scored(toy_frames: Path, truth: Frames, command: Callable) -> None:
    record = json.loads(command("evaluate", "toy_last", "toy-waves", "--json").fine())
    for score in record["scores"]:
        target = truth[score["split"]]
        # What came before the first frame: the wave, moved back by a row.
        last = np.roll(target[:, :1], -1, axis=2)
        expected = np.sqrt(np.mean((last - target) ** 2))
        assert score["metrics"]["rmse"]["value"] == pytest.approx(expected, rel=1e-3)


def test_several_seeds_of_a_model(toy_frames: Path, command: Callable) -> None:
    said = command("evaluate", "toy_last", "toy-waves", "--json", "--seeds", "3").fine()
    headline, cost = json.loads(said)["scores"][0], json.loads(said)["cost"]
    assert headline["seeds"] == 3
    # By frame: six of each of five samples, nine of each of three.
    assert cost["seconds_each"] == pytest.approx(cost["predict_seconds"] / (5 * 6 + 3 * 9))
    assert cost["flops"] is None
    assert headline["metrics"]["rmse"]["seed_sd"] > 0


def test_only_the_first_frames_are_asked_for(
    toy_frames: Path, truth: Frames, command: Callable, tmp_path: Path
) -> None:
    short = load_benchmark("toy-waves-2")
    assert short.truth("long").target.shape == (3, 2, 8, 8)
    made = template.write(short, "frames", "holdout", tmp_path)
    assert pq.read_table(made.inputs[1])["horizon"].to_pylist() == [2, 2, 2]
    record = json.loads(command("evaluate", "toy_last", "toy-waves-2", "--json").fine())
    target = truth["long"][:, :2]
    last = np.roll(target[:, :1], -1, axis=2)
    expected = np.sqrt(np.mean((last - target) ** 2))
    assert record["scores"][1]["metrics"]["rmse"]["value"] == pytest.approx(expected, rel=1e-3)


def test_a_model_that_leaves_the_range_of_float16_fails(
    toy_frames: Path, command: Callable
) -> None:
    code = toy_frames / "baselines" / "toy_last" / "model.py"
    code.write_text(code.read_text().replace("offset=0.0", "offset=1e6"))
    ran = command("evaluate", "toy_last", "toy-waves")
    assert "8 predictions are not finite" in ran.stderr
    assert "recorded as failed" in ran.stderr
