"""The Python interface: what ``import etchmark`` offers."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from etchmark import files
from etchmark.boards import compare as comparing
from etchmark.boards import standings as board
from etchmark.catalog import catalog
from etchmark.data.loading import Benchmark, load_benchmark
from etchmark.errors import DoubtWarning, UserError
from etchmark.evaluation.evaluate import Limits, Options, check_inputs
from etchmark.evaluation.mini import mini_of
from etchmark.predictions import incoming
from etchmark.predictions.checks import named
from etchmark.registry.store import Store
from etchmark.scoring.doubts import Doubt
from etchmark.scoring.score import request_of
from etchmark.specs import BenchmarkSpec, ModelCard, ResultRecord, SplitScore
from etchmark.submission import submit as submissions

__all__ = ["compare", "evaluate", "load_benchmark", "score", "standings", "submit"]


def _check_text(**given: object) -> None:
    """Refuse arguments, by name, that are no text; None stands for the default.

    An empty text is no name of anything, so it would pass for the default only by accident.
    """
    for name, value in given.items():
        if value is None:
            continue
        if not isinstance(value, str):
            raise UserError(f"{name} must be text, not {type(value).__name__}; correct it")
        if not value:
            raise UserError(f"{name} is empty; leave it out or name one")


def _check_required(**given: object) -> None:
    """The same of arguments that have no default."""
    for name, value in given.items():
        if value is None:
            raise UserError(f"{name} must be text, not NoneType; correct it")
    _check_text(**given)


def _check_texts(**given: object) -> None:
    """Refuse arguments, by name, that are neither a text nor a list of texts."""
    for name, value in given.items():
        if value is None or isinstance(value, str):
            continue
        if not isinstance(value, Iterable) or isinstance(value, Mapping | bytes):
            raise UserError(
                f"{name} must be a list of texts, not {type(value).__name__}; correct it"
            )
        if isinstance(value, Sequence | Set):
            for part in value:
                _check_required(**{name: part})


def _path(name: str, given: object) -> Path:
    if not isinstance(given, str | os.PathLike):
        raise UserError(f"{name} must be text or a path, not {type(given).__name__}; correct it")
    if not os.fspath(given):
        raise UserError(f"{name} is empty; leave it out or name a path")
    try:
        return Path(given)
    except TypeError:
        raise UserError(f"{name} must be a path of text, not of bytes; correct it") from None


def _check_benchmark(given: object) -> None:
    if not isinstance(given, str | Benchmark):
        kind = type(given).__name__
        raise UserError(f"benchmark must be text or a loaded benchmark, not {kind}; correct it")


def _benchmark(given: str | Benchmark) -> Benchmark:
    _check_benchmark(given)
    return load_benchmark(given) if isinstance(given, str) else given


def _spec(given: str | Benchmark) -> BenchmarkSpec:
    """What is declared of a benchmark; its data are not needed."""
    _check_benchmark(given)
    return catalog().benchmark(given) if isinstance(given, str) else given.spec


def _card(given: object) -> ModelCard:
    if given is None:
        return ModelCard()
    if not isinstance(given, Mapping):
        raise UserError(f"card must be a mapping, not {type(given).__name__}; correct it")
    return submissions.card_from_mapping(dict(given))


@contextmanager
def _as_file(given: object, benchmark: Benchmark) -> Iterator[Path]:
    """A predictions file; a table is written to one, so that there is one door to every score."""
    if isinstance(given, str | os.PathLike):
        yield Path(given)
        return
    with files.temporary_folder() as folder:
        path = folder / "predictions.parquet"
        with named(path, incoming.NAME):
            incoming.write(given, request_of(benchmark), path)
            yield path


def score(
    given: object,
    benchmark: str | Benchmark,
    *,
    protocol: str | None = None,
    track: str | None = None,
) -> list[SplitScore]:
    """Metrics of a predictions file or table; nothing is stored.

    Args:
        given: path of a predictions file; or a pandas or polars DataFrame, Arrow table or other
            object with ``__arrow_c_stream__`` or ``__dataframe__``, of columns ``id``,
            ``prediction`` and optionally ``seed``. Predictions of arrays have the shape that the
            benchmark asks for, or are flat with the last axis fastest.
        benchmark: what it is scored on.
        protocol: which protocol the predictions follow.
        track: which inputs the model read.

    Warns:
        DoubtWarning: the predictions can be scored and look like a mistake.

    Raises:
        UserError: the predictions are not exactly what the benchmark asks for.
    """
    _check_text(protocol=protocol, track=track)
    loaded = _benchmark(benchmark)
    with _as_file(given, loaded) as path:
        _, scored = submissions.score_file(loaded, path, track=track, protocol=protocol)
    _warn(scored.doubts)
    return scored.scores


def submit(
    given: object,
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
        given: predictions file or table, as ``score`` takes it.
        benchmark: what it is scored on.
        name: the model's name on the board.
        card: authors, paper, code, licence, tags, training data (``specs.ModelCard``).
        protocol: which protocol the predictions follow.
        track: which inputs the model read.
        export: also write the submission as a folder for ``etchmark results check``.

    Warns:
        DoubtWarning: the predictions can be scored and look like a mistake.

    Raises:
        UserError: the submission is refused, or the hub can only be read; nothing is stored.
    """
    _check_required(name=name)
    _check_text(protocol=protocol, track=track)
    _check_benchmark(benchmark)
    model_card = _card(card)
    folder = None if export is None else _path("export", export)
    if folder is not None:
        submissions.check_export(folder)
    store = Store()
    store.require_writable()
    loaded = _benchmark(benchmark)
    with _as_file(given, loaded) as path:
        prepared = submissions.prepare_file(
            loaded,
            path,
            name=name,
            card=model_card,
            track=track,
            protocol=protocol,
        )
        submissions.check_stored(name, store.names())
        if folder is not None:
            submissions.export(prepared, folder)
        submissions.commit(store, prepared)
    _warn(prepared.doubts)
    return prepared.record


def _warn(doubts: Iterable[Doubt]) -> None:
    for doubt in doubts:
        # It belongs to the line that called ``score`` or ``submit``.
        warnings.warn(doubt.message, DoubtWarning, stacklevel=3)


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
    _check_text(track=track, protocol=protocol, device=device)
    weights_file = None if weights is None else _path("weights", weights)
    name = model if isinstance(model, str) else str(_path("model", model))
    chosen = _benchmark(benchmark)
    source = chosen.catalog.model(name)
    registry = Store() if store and not mini and not chosen.unofficial else None
    if registry is not None:
        registry.require_writable()
    if mini:
        track = check_inputs(source, chosen, track)
        chosen = mini_of(chosen, track) or chosen
    submissions.check_source(registry, chosen.catalog, source)
    with files.temporary_folder() as folder:
        done = submissions.evaluate_model(
            chosen,
            source,
            folder,
            track=track,
            protocol=protocol,
            options=Options(
                seeds=seeds,
                device=device,
                limits=limits,
                resume=resume,
                weights=weights_file,
            ),
            say=(lambda _: None) if curves else None,
        )
        if registry is not None:
            submissions.commit(registry, done.prepared)
        done.forget()
    return done.prepared.record


def standings(
    benchmark: str | Benchmark,
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
        benchmark: id, or id@version; or a loaded benchmark.
        status: only rows with one of these.
        tags: only rows with all of these.
        training_data: only ``none`` (but the benchmark's), ``declared`` or ``unknown``.
        max_parameters: only rows that say to have at most so many.
        everything: also failed, incomplete and superseded submissions.

    Raises:
        UserError: an argument is of another type, or names nothing that the benchmark declares.
    """
    _check_text(track=track, protocol=protocol, split=split, metric=metric, subset=subset)
    _check_texts(status=status, tags=tags, training_data=training_data)
    spec = _spec(benchmark)
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


def compare(
    benchmark: str | Benchmark,
    first: str,
    second: str,
    *,
    split: str | None = None,
    metric: str | None = None,
    track: str | None = None,
    protocol: str | None = None,
) -> pd.DataFrame:
    """Score of one model minus that of another, with the paired 95 % interval.

    Superseded and failed submissions are left out.

    Args:
        benchmark: id, or id@version; or a loaded benchmark.
        first: a model's name, or the id of a submission or how that begins.
        second: another one.
        split: this split alone; every one that both models predict if None.
        metric: the primary one if None.
        track: only submissions of this track; any if None.
        protocol: the headline one if None.

    Returns:
        One row per split: ``split``, ``first``, ``second``, ``metric``, ``unit``, ``difference``,
        ``ci_low``, ``ci_high`` (in that unit; NaN where undefined), ``units`` (how many
        independent units were resampled) and ``better``, which names the better model where the
        interval leaves zero out and is empty elsewhere.

    Raises:
        UserError: a name is unknown or ambiguous, or a model has no predictions of the split.
    """
    _check_required(first=first, second=second)
    _check_text(split=split, metric=metric, track=track, protocol=protocol)
    spec = _spec(benchmark)
    pair = comparing.pair(
        spec, Store(), (first, second), split=split, metric=metric, track=track, protocol=protocol
    )
    return pair.frame
