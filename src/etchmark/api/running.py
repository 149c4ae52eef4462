"""A model is run, scored and recorded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from etchmark import files
from etchmark.api.types import Evaluation, RunRequest
from etchmark.catalog import ModelSource
from etchmark.data.loading import Benchmark
from etchmark.errors import UserError
from etchmark.evaluation import devices
from etchmark.evaluation.evaluate import resolve_track
from etchmark.evaluation.mini import mini_of
from etchmark.registry.store import Store
from etchmark.submission.export import check_export, export
from etchmark.submission.running import evaluate_model
from etchmark.submission.statements import check_source, with_role
from etchmark.submission.submit import commit


def evaluate(
    benchmark: Benchmark, source: ModelSource, request: RunRequest, open_store: Callable[[], Store]
) -> Evaluation:
    """Run a model and keep what the request asks for.

    A model that fails gives a record of outcome ``failed``.

    Args:
        benchmark: what it is run on.
        source: the model.
        request: how, and what is kept.
        open_store: called if the record is to be stored, before the model is run.

    Raises:
        UserError: the record could not be stored or exported; the model is not run then.
        CannotRun: the model needs something that this machine lacks.
    """
    # Whatever could refuse the result is asked first: hours of work must not end at a refusal.
    devices.require(request.options.device)
    if request.export is not None:
        check_export(request.export, force=request.force)
    store = None
    if request.keep and not request.mini and not benchmark.unofficial:
        store = open_store()
        store.require_writable()
    track = request.track
    if request.mini:
        track = resolve_track(source, benchmark, track)
        benchmark = _small(benchmark, track, request)
    check_source(store, benchmark.catalog, source)
    source = with_role(source, benchmark.spec, request.role)
    with files.temporary_folder() as folder:
        done = evaluate_model(
            benchmark,
            source,
            folder,
            track=track,
            protocol=request.protocol,
            # A mini run is a matter of seconds, and its cost is kept nowhere.
            options=replace(request.options, reference=not request.mini),
            say=request.curves,
        )
        record = done.prepared.record
        committed = None if store is None else commit(store, done.prepared)
        if request.export is not None and record.outcome == "ok":
            export(done.prepared, request.export, force=request.force)
        done.forget()
    return Evaluation(benchmark, record, committed, done.trace)


def _small(benchmark: Benchmark, track: str, request: RunRequest) -> Benchmark:
    """The benchmark on its small config where there is one; said aloud, since scores differ."""
    if request.export is not None:
        raise UserError("a mini run is not a submission; drop --mini or --export")
    small = mini_of(benchmark, track)
    if small is None:
        return benchmark
    if request.notify is not None:
        request.notify(f"mini: {small.spec.tracks[track].config}, not comparable")
    return small
