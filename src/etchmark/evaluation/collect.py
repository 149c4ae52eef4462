"""What a worker left in its run folder: predictions, costs, or why there are none.

The model's process can write there, so whoever reads it takes nothing for granted: reading
results may raise ``OSError``, ``EOFError``, ``ValueError``, ``KeyError`` or ``TypeError``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from etchmark import environment
from etchmark.data.loading import Benchmark
from etchmark.evaluation.checkpoints import usage_name
from etchmark.evaluation.fold import lost_file, saved_folder
from etchmark.evaluation.worker import MAX_TRACE, TRACE
from etchmark.predictions import Declared
from etchmark.specs import Cost, Curve, CurvePoint, MetricScore
from etchmark.specs.cards import TRAINING_CURVE
from etchmark.specs.task import Task
from etchmark.targets import TargetKind
from etchmark.text import plain

MAX_REASON = 500


def one_line(text: str) -> str:
    """Text that can be stored and printed: one line, bounded, no control characters."""
    shown = plain(" ".join(text.split()))
    return shown if len(shown) <= MAX_REASON else shown[: MAX_REASON - 1] + "…"


@dataclass(frozen=True)
class RunFolder:
    """The folder that a worker runs in.

    Attributes:
        root: where it is.
        run: what the worker is asked for, as in ``run.json``.
        order: for each split the rows of its samples that each fold predicts.
    """

    root: Path
    run: dict[str, Any]
    order: dict[str, list[np.ndarray]]

    def result_files(self) -> list[Path]:
        """One file per fold and seed, written once its predictions are complete."""
        names = [f"result-{seed}.json" for seed in self.run["seeds"]]
        return [self.root / fold / name for fold in self.run["folds"] for name in names]

    # --- failures ---

    def failure(self) -> str | None:
        """Why the worker ended without a result; None if it has one."""
        if (self.root / "done.json").is_file():
            return None
        try:
            reason = self._json("failure.json")["reason"]
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return "the model's process ended without a result"
        return one_line(str(reason)) or "the model's process gave no reason"

    def cannot_run(self) -> bool:
        """Whether the model said that this machine lacks something."""
        try:
            return self._json("failure.json").get("cannot_run") is True
        except (OSError, ValueError, AttributeError, RecursionError):
            return False

    def trace(self) -> str:
        """The end of the traceback of a failure."""
        try:
            with (self.root / TRACE).open(encoding="utf-8", errors="replace") as handle:
                return handle.read(MAX_TRACE)
        except OSError:
            return ""

    def _json(self, name: str) -> Any:
        return json.loads((self.root / name).read_text(encoding="utf-8"))

    # --- results ---

    def _results(self) -> list[dict[str, Any]]:
        return [json.loads(path.read_text(encoding="utf-8")) for path in self.result_files()]

    def _usages(self) -> list[dict[str, Any]]:
        names = [usage_name(seed) for seed in self.run["seeds"]]
        return [self._json(f"{fold}/{name}") for fold in self.run["folds"] for name in names]

    def cost(self, kind: TargetKind) -> Cost:
        """What the run took: summed over folds, the mean over seeds.

        Args:
            kind: of the target; it says what a prediction is counted by.
        """
        results, usages, run = self._results(), self._usages(), self.run
        counts = [result["parameters"] for result in results]
        seeds = len(run["seeds"])
        # What an older version of etchmark kept of a fold lacks these; so does a run without fork.
        cpu = [
            result["cpu_seconds"] + usage["left_cpu_seconds"]
            for result, usage in zip(results, usages, strict=True)
            if "cpu_seconds" in result and "left_cpu_seconds" in usage
        ]
        peaks = [
            max(result["peak_bytes"], usage["left_peak_bytes"])
            for result, usage in zip(results, usages, strict=True)
            if result.get("peak_bytes") is not None and "left_peak_bytes" in usage
        ]
        predicting = [
            result["predict_cpu_seconds"]
            for result in results
            if result.get("predict_cpu_seconds") is not None
        ]
        on_accelerator = any(result["device"] != "cpu" for result in results)
        done = self._json("done.json")
        predict_seconds = sum(result["predict_seconds"] for result in results) / seeds
        predicted = sum(
            run["rows"][split] * kind.pieces(run["shapes"][split]) for split in run["splits"]
        )
        return Cost(
            fit_seconds=sum(result["fit_seconds"] for result in results) / seeds,
            predict_seconds=predict_seconds,
            seconds_each=predict_seconds / predicted,
            flops=results[0]["flops"],
            peak_memory_bytes=max(peaks, default=None),
            parameters=None if None in counts else max(counts),
            # All folds have the same images, so those of one are all.
            feature_seconds=results[0]["feature_seconds"],
            hardware=environment.hardware(results[0]["device"]),
            cpu_seconds=None if len(cpu) < len(usages) else sum(cpu) / seeds,
            total_parameters=results[0].get("total_parameters"),
            reference_seconds=done["reference_seconds"],
            # Processor time says nothing about the work of an accelerator.
            reference_cpu_seconds=None if on_accelerator else done["reference_cpu_seconds"],
            cpu_seconds_each=None
            if len(predicting) < len(results)
            else sum(predicting) / seeds / predicted,
        )

    def made_with(self) -> dict[str, str]:
        """What the model says it used, beside its code and the data.

        Where folds or seeds differ, such as in a layer that each chose, every value stands once.
        """
        stated = [result["made_with"] for result in self._results()]
        values = {
            name: dict.fromkeys(each[name] for each in stated if name in each)
            for name in list(stated[0])[:20]
        }
        return {one_line(name)[:40]: one_line(", ".join(each)) for name, each in values.items()}

    def training_curve(self, benchmark: Benchmark, task: Task) -> Curve | None:
        """Error on the validation split during training, the mean over seeds.

        None over folds, where there is no such split; of a model that does not say, or not the same
        of every seed; and on an accelerator, whose work takes no processor time.
        """
        protocol, results = benchmark.spec.protocols[task.protocol], self._results()
        split, train = protocol.validation_split, protocol.train_split
        told = [result.get("history") for result in results]
        known = [history for history in told if history is not None]
        if split is None or train is None or len(self.run["folds"]) > 1:
            return None
        if len(known) < len(told) or len({history["metric"] for history in known}) != 1:
            return None
        if any(result["device"] != "cpu" for result in results):
            return None
        # Seeds may have ended after different numbers of epochs.
        count = min(len(history["points"]) for history in known)
        points = np.array([history["points"][:count] for history in known], dtype=np.float64)
        # An epoch after which some forecast has no error has no point: it is NaN here.
        points = points[:, ~np.isnan(points).any(axis=(0, 2))]
        if not points.shape[1]:
            return None
        samples = len(benchmark.truth(train, task.protocol, task.track).ids)
        return Curve(
            name=TRAINING_CURVE,
            title="Error on validation samples during training",
            axis="processor seconds of training",
            param="processor_seconds",
            split=split,
            scored_on="validation",
            metric=known[0]["metric"],
            points=[
                CurvePoint(
                    value=float(at[:, 0].mean()),
                    samples=samples,
                    score=MetricScore(value=float(at[:, 1].mean())),
                    draws=at[:, 1].tolist() if len(known) > 1 else [],
                )
                for at in points.transpose(1, 0, 2)
            ],
        )

    def saved_models(self) -> dict[tuple[str, int], Path]:
        """The folders that fitted models were saved in, by fold and seed.

        Raises:
            ValueError: one could not be saved, or not loaded again; says why.
        """
        models = {}
        for fold in self.run["folds"]:
            for seed in self.run["seeds"]:
                lost = self.root / fold / lost_file(seed)
                if lost.is_file():
                    reason = json.loads(lost.read_text(encoding="utf-8"))["reason"]
                    raise ValueError(one_line(str(reason)))
                models[fold, seed] = self.root / fold / saved_folder(seed)
        return models

    def collect(self, benchmark: Benchmark, task: Task, out: Path) -> None:
        """Write the predictions file ``out``."""
        parts = self._parts(benchmark, task)
        declared = Declared(task.benchmark.key, task.track, task.protocol)
        benchmark.kind.write(out, parts, declared, seeds=len(self.run["seeds"]) > 1)

    def _parts(
        self, benchmark: Benchmark, task: Task
    ) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Ids, predictions and seeds, one split and seed at a time."""
        for split, rows in self.order.items():
            names = benchmark.truth(split, task.protocol, task.track).ids
            shape = tuple(self.run["shapes"][split])
            for seed in self.run["seeds"]:
                files = [
                    self.root / fold / f"predictions-{split}-{seed}.npy"
                    for fold in self.run["folds"]
                ]
                parts = [np.load(file, allow_pickle=False) for file in files]
                whole = np.empty((len(names), *shape), dtype=np.result_type(*parts))
                for part, where in zip(parts, rows, strict=True):
                    if part.shape != (len(where), *shape):
                        raise ValueError(f"predictions have shape {part.shape}")
                    whole[where] = part
                yield names, whole, np.full(len(names), seed)
