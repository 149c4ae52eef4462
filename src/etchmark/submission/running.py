"""A model that this hub runs, from its code to a scored submission."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from etchmark import files
from etchmark.catalog import ModelSource, pick_protocol
from etchmark.data.loading import Benchmark
from etchmark.errors import UserError
from etchmark.evaluation.curves import Curves, Say
from etchmark.evaluation.evaluate import one_line, resolve_track, run_model
from etchmark.evaluation.options import Options
from etchmark.scoring.doubts import better_than_on_validation
from etchmark.specs.task import Task
from etchmark.submission.export import PREDICTIONS
from etchmark.submission.scoring import score_file, table_of
from etchmark.submission.statements import check_name, check_source
from etchmark.submission.submit import Outcome, Prepared, RunFacts, make_record
from etchmark.submission.training_sets import trained_on_test


@dataclass(frozen=True)
class Evaluated:
    """A model that was run: its record and per-sample table, and what it printed."""

    prepared: Prepared
    log: str
    checkpoints: Path | None = None
    trace: str = ""
    """The traceback of a failure."""

    def forget(self) -> None:
        """Remove the checkpoints of a run whose record is kept."""
        if self.checkpoints is not None and self.prepared.record.outcome == "ok":
            shutil.rmtree(self.checkpoints, ignore_errors=True)


def evaluate_model(
    benchmark: Benchmark,
    source: ModelSource,
    folder: Path,
    *,
    track: str | None = None,
    protocol: str | None = None,
    options: Options = Options(),
    say: Say | None = None,
) -> Evaluated:
    """Run a model, then score the predictions file it wrote; nothing is stored.

    Args:
        folder: where the predictions file is kept while it is needed.
        options: how it is run; with ``resume``, ``forget`` the checkpoints once it is stored.
        say: also measure the curves that the model's card declares, and tell of every point.

    Raises:
        CannotRun: the model needs something that this machine lacks.
    """
    task = Task(
        benchmark.spec,
        resolve_track(source, benchmark, track),
        pick_protocol(benchmark.spec, protocol, default=True),
    )
    check_name(source.name)
    check_source(None, benchmark.catalog, source)
    path = folder / f"{PREDICTIONS}.parquet"
    run = run_model(source, benchmark, task, path, options)
    failure, scored = run.failure, None
    if failure is None:
        try:
            _, scored = score_file(benchmark, path, track=task.track, protocol=task.protocol)
            scored = scored.doubted(trained_on_test(benchmark, source.card, task.protocol))
        except UserError as error:
            # Predictions that cannot be scored are the model's failure, not the caller's.
            failure = one_line(str(error).removeprefix(f"{path}: "))
    curves = [] if run.training is None else [run.training]
    if scored is not None and say is not None:
        whole = next(score for score in scored.scores if score.split == task.headline)
        curves += Curves(source, benchmark, task, whole, folder, options, say).measure()
        doubt = better_than_on_validation(benchmark.spec, whole, curves, source.params)
        scored = scored.doubted([] if doubt is None else [doubt])
    predictions = [] if scored is None else [path]
    record = make_record(
        task,
        name=source.name,
        card=source.card,
        outcome=Outcome(scored, [files.sha256_of(path) for path in predictions], failure),
        run=RunFacts(source.params, run.cost, run.made_with, curves, run.artefact),
        role=source.role,
    )
    samples = None if scored is None else table_of(scored)
    return Evaluated(Prepared(record, samples, predictions), run.log, run.checkpoints, run.trace)
