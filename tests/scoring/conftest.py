"""Predictions of the toy benchmarks, scored."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from etchmark import predictions
from etchmark.data.loading import Benchmark, load_benchmark
from etchmark.scoring.score import Scored, read_for, score_predictions


@pytest.fixture
def line(toy_content: Path) -> Benchmark:
    return load_benchmark("toy-line")


@pytest.fixture
def fields(toy_content: Path) -> Benchmark:
    return load_benchmark("toy-fields")


@pytest.fixture
def score(tmp_path: Path) -> Callable[..., Scored]:
    """Scores target plus noise on whole splits, after a change to the rows."""

    def run(
        benchmark: Benchmark,
        protocol: str,
        splits: list[str],
        *,
        seeds: int = 1,
        keep: Callable[[np.ndarray], np.ndarray] = lambda ids: np.ones(len(ids), bool),
        scale: float = 1.0,
    ) -> Scored:
        truths = [benchmark.truth(split, protocol) for split in splits]
        ids = np.concatenate([truth.ids for truth in truths])
        target = np.concatenate([truth.target for truth in truths]).astype(float)
        parts = []
        for seed in range(seeds):
            noise = np.random.default_rng(seed).normal(size=target.shape)
            parts.append((target + noise) * scale)
        kept = np.tile(keep(ids), seeds)
        path = tmp_path / "p.parquet"
        predictions.write(
            path,
            np.tile(ids, seeds)[kept],
            np.concatenate(parts)[kept],
            seeds=np.repeat(np.arange(seeds), len(ids))[kept] if seeds > 1 else None,
        )
        return score_predictions(benchmark, protocol, path, read_for(benchmark, protocol, path))

    return run
