"""Runs one model in a process of its own: ``python -m etchmark.evaluation.worker RUN_FOLDER``.

The run folder holds ``run.json`` and, for each fold, ``train.parquet``, perhaps
``validation.parquet``, and ``inputs-<split>.parquet`` with nothing but ids and declared inputs.
Where the system can fork, every fold runs in a fork of its own: what a model remembers of one
fold's training data cannot reach the next, and peak memory is measured per fold.
"""

from __future__ import annotations

import importlib.util
import json
import os
import random
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from etchmark import files
from etchmark.data.columns import Columns
from etchmark.evaluation.model import Samples

TARGET = "etchmark_target"
GROUP = "etchmark_group"


def load_build(code: Path) -> Callable[..., Any]:
    """The ``build`` function of a ``model.py``."""
    sys.path.insert(0, str(code.parent))
    spec = importlib.util.spec_from_file_location("etchmark_model", code)
    if spec is None or spec.loader is None:
        raise ImportError(f"{code} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules["etchmark_model"] = module
    spec.loader.exec_module(module)
    if not callable(getattr(module, "build", None)):
        raise AttributeError("model.py defines no function build(seed, device, **params)")
    return module.build


def seed_everything(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 (models of others use the global generator)
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.manual_seed(seed)


def resolve_device(device: str) -> str:
    if device != "auto":
        return device
    torch = sys.modules.get("torch")
    return "cuda" if torch is not None and torch.cuda.is_available() else "cpu"


def _labelled(path: Path, inputs: list[str]) -> Samples | None:
    if not path.is_file():
        return None
    everything = Columns([path])
    return Samples(
        ids=everything["id"].astype(str),
        inputs=Columns([path], inputs),
        target=everything[TARGET],
        groups=everything[GROUP].astype(str) if GROUP in everything else None,
    )


def _checked(given: Any, rows: int, shape: list[int]) -> np.ndarray:
    values = np.asarray(given)
    if values.dtype == object or not (
        np.issubdtype(values.dtype, np.number) or values.dtype == bool
    ):
        raise ValueError(f"predict returned {values.dtype}, not numbers")
    if values.shape == (rows, 1) and not shape:
        values = values[:, 0]
    if values.shape != (rows, *shape):
        raise ValueError(f"predict returned shape {values.shape}, expected {(rows, *shape)}")
    if not np.isfinite(values).all():
        bad = int((~np.isfinite(values.reshape(rows, -1)).all(axis=1)).sum())
        raise ValueError(f"predict returned {bad} rows that are not finite")
    return values


def run_fold(build: Callable[..., Any], run: dict[str, Any], seed: int, fold: int, folder: Path) -> None:
    """Fit and predict one fold; leaves predictions and ``result-<seed>.json`` in its folder."""
    device = resolve_device(run["device"])
    seed_everything(seed + 1000 * fold)
    train = _labelled(folder / "train.parquet", run["inputs"])
    validation = _labelled(folder / "validation.parquet", run["inputs"])
    model = build(seed=seed, device=device, **run["params"])
    started = time.perf_counter()
    model.fit(train, validation)
    fit_seconds = time.perf_counter() - started
    predict_seconds = 0.0
    for split in run["splits"]:
        source = folder / f"inputs-{split}.parquet"
        rows = len(Columns([source], ["id"])["id"])
        inputs = Columns([source], run["inputs"])
        started = time.perf_counter()
        given = model.predict(inputs)
        predict_seconds += time.perf_counter() - started
        values = _checked(given, rows, run["shape"])
        with files.replacing(folder / f"predictions-{split}-{seed}.npy") as temporary:
            with temporary.open("wb") as handle:
                np.save(handle, values, allow_pickle=False)
    count = model.parameter_count() if hasattr(model, "parameter_count") else None
    result = {
        "fit_seconds": fit_seconds,
        "predict_seconds": predict_seconds,
        "parameters": None if count is None else int(count),
        "device": device,
    }
    files.write_json(folder / f"result-{seed}.json", result)


def describe(error: BaseException) -> str:
    """One line: what was raised and where in the model's own code."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if Path(frame.filename).name == "model.py"]
    where = f" (model.py, line {own[-1].lineno})" if own else ""
    if isinstance(error, MemoryError):
        return f"ran out of memory{where}"
    text = " ".join(str(error).split())[:300]
    return f"{type(error).__name__}: {text}{where}"


def _fail(root: Path, error: BaseException) -> None:
    traceback.print_exception(error)
    sys.stderr.flush()
    files.write_json(root / "failure.json", {"reason": describe(error)})


def _forked(root: Path, work: Callable[[], None]) -> int | None:
    """Run ``work`` in a fork; its peak memory in bytes, or None if it failed."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            status = 0
        except BaseException as error:
            _fail(root, error)
        finally:
            sys.stdout.flush()
            os._exit(status)
    _, status, usage = os.wait4(child, 0)
    if status == 0:
        return usage.ru_maxrss * 1024
    if not (root / "failure.json").is_file():
        reason = f"killed by signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else "exited"
        files.write_json(root / "failure.json", {"reason": f"the model's process was {reason}"})
    return None


def main(root: Path) -> int:
    run = json.loads((root / "run.json").read_text(encoding="utf-8"))
    fork = sys.platform == "linux"
    peaks: list[int] = []
    try:
        build = load_build(Path(run["code"]))
        for seed in run["seeds"]:
            for fold, name in enumerate(run["folds"]):
                folder = root / name
                if not fork:
                    run_fold(build, run, seed, fold, folder)
                    continue
                peak = _forked(
                    root,
                    lambda seed=seed, fold=fold, folder=folder: run_fold(
                        build, run, seed, fold, folder
                    ),
                )
                if peak is None:
                    return 1
                peaks.append(peak)
    except BaseException as error:
        _fail(root, error)
        return 1
    files.write_json(root / "done.json", {"peak_memory_bytes": max(peaks, default=None)})
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
