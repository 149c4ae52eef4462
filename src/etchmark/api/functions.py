"""The functions of ``import etchmark``: a hub's use cases with plain arguments."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etchmark.api.arguments import as_path, check_required, check_text, check_texts
from etchmark.api.local import LocalHub
from etchmark.errors import DoubtWarning, UserError

if TYPE_CHECKING:
    import pandas as pd

    from etchmark.data.loading import Benchmark
    from etchmark.evaluation.options import Limits
    from etchmark.scoring.doubts import Doubt
    from etchmark.specs import ModelCard, ResultRecord, SplitScore

__all__ = ["compare", "evaluate", "score", "standings", "submit"]


def _is_loaded(benchmark: object) -> bool:
    """Whether a benchmark comes with its data; what is neither that nor a name is refused."""
    from etchmark.data.loading import Benchmark

    if not isinstance(benchmark, str | Benchmark):
        kind = type(benchmark).__name__
        raise UserError(f"benchmark must be text or a loaded benchmark, not {kind}; correct it")
    return not isinstance(benchmark, str)


def _loaded(benchmark: str | Benchmark) -> Benchmark:
    from etchmark.data.loading import load_benchmark

    _is_loaded(benchmark)
    return load_benchmark(benchmark) if isinstance(benchmark, str) else benchmark


def _card(card: object) -> ModelCard:
    from etchmark.specs import ModelCard
    from etchmark.submission.statements import card_from_mapping

    if card is None:
        return ModelCard()
    if not isinstance(card, Mapping):
        raise UserError(f"card must be a mapping, not {type(card).__name__}; correct it")
    return card_from_mapping(dict(card))


@contextmanager
def _as_file(predictions: object, benchmark: Benchmark) -> Iterator[Path]:
    """A predictions file; a table is written to one, so that there is one way to every score."""
    if isinstance(predictions, str | os.PathLike):
        yield Path(predictions)
        return
    from etchmark import files
    from etchmark.predictions import incoming
    from etchmark.predictions.checks import named
    from etchmark.scoring.score import request_of

    with files.temporary_folder() as folder:
        path = folder / "predictions.parquet"
        with named(path, incoming.NAME):
            incoming.write(predictions, request_of(benchmark), path)
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
    check_text(protocol=protocol, track=track)
    loaded = _loaded(benchmark)
    with _as_file(given, loaded) as path:
        _, scored = LocalHub().score(path, loaded, track=track, protocol=protocol)
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
    role: str | None = None,
) -> ResultRecord:
    """Score predictions and enter them into this machine's registry.

    Args:
        given: predictions file or table, as ``score`` takes it.
        benchmark: what it is scored on.
        name: the model's name on the board.
        card: authors, paper, code, licence, tags, training data (``specs.SubmissionCard``).
        protocol: which protocol the predictions follow.
        track: which inputs the model read.
        export: also write the submission as a folder for ``etchmark results check``.
        role: ``exploratory`` if it was chosen by looking at test scores, ``oracle`` if it makes or
            reproduces the labels: neither is ranked. What the card says if None, else ``entry``.

    Warns:
        DoubtWarning: the predictions can be scored and look like a mistake.

    Raises:
        UserError: the submission is refused, or the hub can only be read; nothing is stored.
    """
    from etchmark.submission.statements import Statement

    check_required(name=name)
    check_text(protocol=protocol, track=track, role=role)
    _is_loaded(benchmark)
    statement = Statement(name, _card(card), track, protocol, role)
    folder = None if export is None else as_path("export", export)
    loaded = _loaded(benchmark)
    with _as_file(given, loaded) as path:
        prepared = LocalHub().submit(path, loaded, statement, export=folder).prepared
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
    limits: Limits | None = None,
    mini: bool = False,
    resume: bool = False,
    weights: str | Path | None = None,
    curves: bool = False,
    keep_model: bool = False,
    role: str | None = None,
) -> ResultRecord:
    """Run a model (``<baseline>[/<variant>]`` or a folder with ``model.py``) and record its scores.

    A model that fails gives a record of outcome ``failed``; it is never ranked.

    Args:
        model: what is run.
        benchmark: what it is run on.
        track: the inputs it reads; what its card says if None.
        protocol: the headline one if None.
        seeds: run with seeds 0 to ``seeds - 1``.
        device: ``cpu``, ``cuda``, ``cuda:N`` or ``auto``.
        store: enter the record into this machine's registry.
        limits: time and memory; four hours, and nine tenths of what is free, if None.
        mini: run on the dataset's small config where it has one; nothing is stored.
        resume: go on where an interrupted run of the very same model stopped.
        weights: safetensors file for a model that takes one.
        curves: also measure the curves that the model's card declares.
        keep_model: keep the fitted model in the hub folder; the record names it by content hash.
        role: ``entry``, ``exploratory`` or ``oracle``; what its card says if None.
    """
    from etchmark.api.types import RunRequest
    from etchmark.evaluation.options import Limits, Options

    check_text(track=track, protocol=protocol, device=device, role=role)
    weights_file = None if weights is None else as_path("weights", weights)
    name = model if isinstance(model, str) else str(as_path("model", model))
    _is_loaded(benchmark)
    limits = Limits() if limits is None else limits
    request = RunRequest(
        Options(
            seeds=seeds,
            device=device,
            limits=limits,
            resume=resume,
            weights=weights_file,
            keep=keep_model,
        ),
        track=track,
        protocol=protocol,
        role=role,
        mini=mini,
        keep=store,
        curves=(lambda _: None) if curves else None,
    )
    return LocalHub().evaluate(name, benchmark, request).record


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
        split: one of the protocol's, or ``"worst split"``: that on which each row does worst,
            without intervals and tests.
        status: only rows with one of these.
        tags: only rows with all of these.
        training_data: only ``none`` (but the benchmark's), ``declared`` or ``unknown``.
        max_parameters: only rows that say to have at most so many.
        everything: also failed, incomplete and superseded submissions.

    Raises:
        UserError: an argument is of another type, or names nothing that the benchmark declares.
    """
    from etchmark.boards.view import View, Where

    check_text(track=track, protocol=protocol, split=split, metric=metric, subset=subset)
    check_texts(status=status, tags=tags, training_data=training_data)
    _is_loaded(benchmark)
    return LocalHub().standings(
        benchmark,
        View(protocol, split, metric, subset, track),
        where=Where.of(status, tags, training_data, max_parameters),
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
    from etchmark.boards.view import View

    check_required(first=first, second=second)
    check_text(split=split, metric=metric, track=track, protocol=protocol)
    _is_loaded(benchmark)
    view = View(protocol=protocol, split=split, metric=metric, track=track)
    return LocalHub().compare(benchmark, (first, second), view).frame
