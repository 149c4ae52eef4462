"""The Python interface: what ``import etchmark`` offers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from etchmark.catalog import catalog
from etchmark.data.loading import Benchmark, load_benchmark
from etchmark.errors import UserError
from etchmark.evaluation.evaluate import Limits, Options, check_inputs
from etchmark.evaluation.mini import mini_of
from etchmark.registry import standings as board
from etchmark.registry import submissions
from etchmark.registry.store import Store
from etchmark.scoring import predictions
from etchmark.specs import ModelCard, ResultRecord, SplitScore

__all__ = ["evaluate", "load_benchmark", "score", "standings", "submit"]


def _benchmark(given: str | Benchmark) -> Benchmark:
    return load_benchmark(given) if isinstance(given, str) else given


def _as_file(given: str | Path | pd.DataFrame, folder: str) -> Path:
    """A predictions file; a frame is written to one, so that there is one door to every score."""
    if not isinstance(given, pd.DataFrame):
        return Path(given)
    path = Path(folder) / "predictions.parquet"
    missing = [name for name in ("id", "prediction") if name not in given.columns]
    if missing:
        raise UserError(f"predictions frame has no column {missing[0]!r}; give id and prediction")
    try:
        cells = [_numbers(value) for value in given["prediction"]]
    except (TypeError, ValueError):
        raise UserError("predictions frame: column 'prediction' is not numeric") from None
    ids, seeds = given["id"].to_numpy(), None
    if "seed" in given.columns:
        seeds = given["seed"].to_numpy()
    if len({cell.shape for cell in cells}) > 1:
        # Splits of frames have their own lengths.
        numbers = np.zeros(len(ids), dtype=np.int64) if seeds is None else seeds
        predictions.write_frames(
            path,
            (
                (ids[row : row + 1], cell[None], numbers[row : row + 1])
                for row, cell in enumerate(cells)
            ),
        )
        return path
    values = np.stack(cells) if cells else np.empty(0)
    predictions.write(path, ids, values, seeds=seeds)
    return path


def _numbers(value: Any) -> np.ndarray:
    """A prediction as it is stored: one number in double precision, an array in single or half."""
    found = np.asarray(value)
    if found.ndim == 0 or found.dtype.kind not in "f":
        found = found.astype(np.float64)
    return found if found.ndim == 0 or found.dtype == np.float16 else found.astype(np.float32)


def score(
    given: str | Path | pd.DataFrame,
    benchmark: str | Benchmark,
    *,
    protocol: str | None = None,
    track: str | None = None,
) -> list[SplitScore]:
    """Metrics of a predictions file or frame (``id``, ``prediction``); nothing is stored.

    Raises:
        UserError: the predictions are not exactly what the benchmark asks for.
    """
    with submissions.temporary_folder() as folder:
        path = _as_file(given, folder)
        _, scored = submissions.score_file(
            _benchmark(benchmark), path, track=track, protocol=protocol
        )
    return scored.scores


def submit(
    given: str | Path | pd.DataFrame,
    benchmark: str | Benchmark,
    *,
    name: str,
    card: Mapping[str, Any] | None = None,
    protocol: str | None = None,
    track: str | None = None,
    export: str | Path | None = None,
) -> ResultRecord:
    """Score predictions and enter them into this machine's registry.

    Args:
        given: predictions file, or frame with ``id`` and ``prediction``.
        benchmark: what it is scored on.
        name: the model's name on the board.
        card: authors, paper, code, licence, tags, training data (``specs.ModelCard``).
        protocol: which protocol the predictions follow.
        track: which inputs the model read.
        export: also write the submission as a folder for ``etchmark results check``.
    """
    with submissions.temporary_folder() as folder:
        prepared = submissions.prepare_file(
            _benchmark(benchmark),
            _as_file(given, folder),
            name=name,
            card=submissions.card_from_mapping(dict(card)) if card else ModelCard(),
            track=track,
            protocol=protocol,
        )
        store = Store()
        submissions.check_stored(name, store.names())
        if export is not None:
            submissions.export(prepared, Path(export))
        submissions.commit(store, prepared)
    return prepared.record


def evaluate(
    model: str | Path,
    benchmark: str | Benchmark,
    *,
    track: str | None = None,
    protocol: str | None = None,
    seeds: int = 1,
    device: str = "auto",
    store: bool = True,
    limits: Limits = Limits(),
    mini: bool = False,
    resume: bool = False,
    weights: str | Path | None = None,
    curves: bool = False,
) -> ResultRecord:
    """Run a model (``<baseline>[/<variant>]`` or a folder with ``model.py``) and record its scores.

    A model that fails gives a record of outcome ``failed``; it is never ranked.

    Args:
        model: what is run.
        benchmark: what it is run on.
        track: the inputs it reads; what its card says if None.
        protocol: the headline one if None.
        seeds: run with seeds 0 to ``seeds - 1``.
        device: ``cpu``, ``cuda`` or ``auto``.
        store: enter the record into this machine's registry.
        limits: time and memory.
        mini: run on the dataset's small config where it has one; nothing is stored.
        resume: go on where an interrupted run of the very same model stopped.
        weights: safetensors file for a model that takes one.
        curves: also measure the curves that the model's card declares.
    """
    chosen = _benchmark(benchmark)
    source = chosen.catalog.model(str(model))
    if mini:
        track = check_inputs(source, chosen, track)
        chosen = mini_of(chosen, track) or chosen
    registry = Store() if store and not mini and not chosen.unofficial else None
    submissions.check_source(registry, chosen.catalog, source)
    with submissions.temporary_folder() as folder:
        done = submissions.evaluate_model(
            chosen,
            source,
            Path(folder),
            track=track,
            protocol=protocol,
            options=Options(
                seeds=seeds,
                device=device,
                limits=limits,
                resume=resume,
                weights=None if weights is None else Path(weights),
            ),
            say=(lambda _: None) if curves else None,
        )
        if registry is not None:
            submissions.commit(registry, done.prepared)
        done.forget()
    return done.prepared.record


def standings(
    benchmark: str,
    *,
    track: str | None = None,
    protocol: str | None = None,
    split: str | None = None,
    metric: str | None = None,
    subset: str | None = None,
    status: Sequence[str] = (),
    tags: Sequence[str] = (),
    training_data: Sequence[str] = (),
    max_parameters: int | None = None,
    everything: bool = False,
) -> pd.DataFrame:
    """The board of a benchmark as a frame, best first; see ``etchmark leaderboard``.

    Args:
        status: only rows with one of these.
        tags: only rows with all of these.
        training_data: only ``none`` (but the benchmark's), ``declared`` or ``unknown``.
        max_parameters: only rows that say to have at most so many.
        everything: also failed, incomplete and superseded submissions.
    """
    spec = catalog().benchmark(benchmark)
    return board.standings(
        spec,
        Store(),
        track=track,
        protocol=protocol,
        split=split,
        metric=metric,
        subset=subset,
        where=board.Where.of(status, tags, training_data, max_parameters),
        everything=everything,
    )
