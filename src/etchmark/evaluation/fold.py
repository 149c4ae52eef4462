"""One fold and seed: its data, laid out apart from the labels it is scored by, and its run.

What runs a model's code (``run_fold``) and what holds labels (``take_samples``, ``lay_out``) are in
processes of their own; see ``evaluation.worker``.
"""

from __future__ import annotations

import difflib
import inspect
import random
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from etchmark import files
from etchmark.artefacts import pickles
from etchmark.artefacts.loading import import_model
from etchmark.errors import UserError
from etchmark.evaluation import counting, devices, stated
from etchmark.evaluation.checkpoints import Stopwatch, cpu_now
from etchmark.evaluation.tables import Table, pick, write
from etchmark.model import FeatureSeconds, Samples
from etchmark.targets import kind_named

TARGET = "etchmark_target"
GROUP = "etchmark_group"
FOLD = "etchmark_fold"
SAMPLES, TRAIN, VALIDATION = "samples.arrow", "train.arrow", "validation.arrow"
DRAWS_SEED = 20261121


def inputs_file(split: str) -> str:
    return f"inputs-{split}.arrow"


def load_build(code: Path, *, keep: bool = False) -> Callable[..., Any]:
    """The ``build`` function of a ``model.py``.

    Args:
        code: the file.
        keep: the fitted model is to be kept, so there must be ``load`` as well.

    Raises:
        AttributeError: the file defines no ``build``.
        UserError: it defines no ``load``.
    """
    module = import_model(code)
    if not callable(getattr(module, "build", None)):
        raise AttributeError("model.py defines no function build(seed, device, **params)")
    if keep and not callable(getattr(module, "load", None)):
        raise UserError(
            "model.py defines no function load(folder, device), so a fitted model could not be used"
            " again; add it (see etchmark.saving), or drop --keep-model"
        )
    return module.build


def seed_everything(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 (models of others use the global generator)
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.manual_seed(seed)


def resolve_device(device: str) -> str:
    torch = sys.modules.get("torch")
    cuda = torch is not None and torch.cuda.is_available()
    if device == "auto":
        return "cuda" if cuda else "cpu"
    if torch is not None:
        devices.require(device)
    return device


def _check_params(build: Callable[..., Any], params: Mapping[str, Any]) -> None:
    """Refuse what ``build`` does not take: a mistake of the card, not a failure of the model."""
    taken = inspect.signature(build).parameters
    if any(one.kind is inspect.Parameter.VAR_KEYWORD for one in taken.values()):
        return
    for name in params:
        if name not in taken:
            known = [one for one in taken if one not in {"seed", "device"}]
            near = difflib.get_close_matches(name, known, 1)
            takes = ", ".join(known) or "no parameters but seed and device"
            hint = f"; did you mean {near[0]!r}?" if near else f"; it takes {takes}"
            raise UserError(f"params in card.yaml: build() takes no {name!r}{hint}")


def _labelled(path: Path, inputs: list[str], classes: list[str] | None) -> Samples | None:
    if not path.is_file():
        return None
    everything = Table(path)
    return Samples(
        ids=everything["id"].astype(str),
        inputs=Table(path, inputs),
        target=everything[TARGET],
        groups=everything[GROUP].astype(str) if GROUP in everything else None,
        classes=None if classes is None else tuple(classes),
    )


def run_fold(
    build: Callable[..., Any],
    run: dict[str, Any],
    seed: int,
    fold: int,
    folder: Path,
    noted: Path | None = None,
) -> None:
    """Fit and predict one fold; leaves predictions and ``result-<seed>.json`` in its folder.

    Args:
        noted: where the time of fitting is noted over interruptions; nowhere if None.
    """
    device = resolve_device(run["device"])
    seed_everything(seed + 1000 * fold)
    train, validation = (
        _labelled(folder / name, run["inputs"], run["classes"]) for name in (TRAIN, VALIDATION)
    )
    _check_params(build, run["params"])
    model = build(seed=seed, device=device, **run["params"])
    if run["keep"] and not hasattr(model, "save"):
        raise UserError(
            f"{type(model).__name__} has no method save(folder), so it could not be used again; add"
            " it (see etchmark.saving), or drop --keep-model"
        )
    # What is kept between runs counts alike whether it was there or not: features never in fitting
    # (each fold reads the same ones), those of predicted samples always in predicting.
    with Stopwatch(
        noted,
        lambda: stated.feature_seconds(model).now,
        lambda: stated.feature_seconds(model).cpu_now,
    ) as fitting:
        model.fit(train, validation)
    read, kind = stated.feature_seconds(model), kind_named(run["target"]["kind"])
    seconds = cpu_seconds = 0.0
    for split in run["splits"]:
        inputs = Table(folder / inputs_file(split), run["inputs"])
        rows = inputs.rows()
        started, started_cpu = time.perf_counter(), cpu_now()
        predictions = model.predict(inputs)
        seconds += time.perf_counter() - started
        cpu_seconds += cpu_now() - started_cpu
        values = kind.checked(predictions, rows, run["shapes"][split], run["target"])
        # A result counts once it is complete: its own file is written last and as a whole.
        with (folder / f"predictions-{split}-{seed}.npy").open("wb") as handle:
            np.save(handle, values, allow_pickle=False)
    total = stated.feature_seconds(model)
    cpu_seconds = max(0.0, cpu_seconds - (total - read).cpu_now)
    # Counting and saving are not the model's work: its memory is read before either.
    result = {
        "cpu_seconds": fitting.cpu_seconds + cpu_seconds,
        # Of features that are kept between runs only the wall time is kept.
        "predict_cpu_seconds": cpu_seconds if total == FeatureSeconds() else None,
        "peak_bytes": _peak_bytes(),
        "made_with": stated.made_with(model),
        "history": stated.training_history(model, [metric.id for metric in kind.metrics]),
        "feature_seconds": float(total.ever) if hasattr(model, "feature_seconds") else None,
        "fit_seconds": fitting.seconds,
        "predict_seconds": stated.predict_seconds(seconds, read, total),
        "device": device,
        **_counts(model, run, seed, folder),
    }
    files.write_json(folder / f"result-{seed}.json", result)
    if run["keep"]:
        # Last: the scores stand, even if saving ends this process.
        _save(model, folder, seed)


def _counts(model: Any, run: dict[str, Any], seed: int, folder: Path) -> dict[str, Any]:
    """Parameters and operations; what is alike in all folds is counted in the first alone."""
    fitted, flops = stated.parameter_count(model), stated.flops(model)
    counts: dict[str, Any] = {"parameters": fitted, "flops": flops}
    if (folder.name, seed) != (run["folds"][0], run["seeds"][0]):
        return counts
    split = run["splits"][0]
    row = Table(folder / inputs_file(split), run["inputs"]).first(1)
    pieces = kind_named(run["target"]["kind"]).pieces(run["shapes"][split])
    counts["flops"] = counting.flops(model, row, pieces) or flops
    counts["total_parameters"] = counting.total_parameters(model, fitted)
    return counts


def _peak_bytes() -> int | None:
    """Largest memory so far of this process or one that it waited for; None if it is unknown."""
    if sys.platform != "linux":
        return None
    import resource

    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return 1024 * max(resource.getrusage(kind).ru_maxrss for kind in kinds)


# --- fitted models that are kept ---------------------------------------------------------------

CHECKED_ROWS = 8
"""Rows that a loaded model predicts again."""
TOLERANCE = 1e-3
"""Relative to the largest prediction: few rows are not multiplied as many are."""


def saved_folder(seed: int) -> str:
    """Name of the folder that a model is saved in, inside that of its fold."""
    return f"model-{seed}"


def lost_file(seed: int) -> str:
    """Name of the file that says why a model could not be kept."""
    return f"lost-{seed}.json"


def _save(model: Any, folder: Path, seed: int) -> None:
    """Save a fitted model; what it predicted stands, even if it cannot be saved."""
    saved = folder / saved_folder(seed)
    lost = folder / lost_file(seed)
    # True until save() returns: it may also end the process.
    files.write_json(lost, {"reason": "save() failed: it ended the model's process"})
    try:
        saved.mkdir(parents=True, exist_ok=True)
        model.save(saved)
        lost.unlink()
    except (Exception, SystemExit) as error:
        lose(folder, seed, f"save() failed: {type(error).__name__}: {error}")


def lose(folder: Path, seed: int, reason: str) -> None:
    shutil.rmtree(folder / saved_folder(seed), ignore_errors=True)
    files.write_json(folder / lost_file(seed), {"reason": reason})


def check_saved(code: Path, run: dict[str, Any], seed: int, folder: Path) -> None:
    """Load a saved model in a fresh process and see that it predicts what it did.

    Leaves ``checked-<seed>.json``, and the reason in ``lost_file`` if it does not.
    """
    saved = folder / saved_folder(seed)
    if not (folder / lost_file(seed)).is_file():
        split = run["splits"][0]
        try:
            # Loading a pickle runs the code that it holds.
            pickles.refuse(saved)
        except ValueError as error:
            lose(folder, seed, str(error))
            files.write_json(folder / f"checked-{seed}.json", {})
            return
        try:
            model = import_model(code).load(saved, resolve_device(run["device"]))
            inputs = Table(folder / inputs_file(split), run["inputs"]).first(CHECKED_ROWS)
            before = np.load(folder / f"predictions-{split}-{seed}.npy", mmap_mode="r")
            _compare(np.asarray(model.predict(inputs)), np.array(before[:CHECKED_ROWS]))
        except Exception as error:
            lose(folder, seed, f"load() gave no such model: {type(error).__name__}: {error}")
    files.write_json(folder / f"checked-{seed}.json", {})


def _compare(again: np.ndarray, before: np.ndarray) -> None:
    again = again.reshape(before.shape)
    allowed = TOLERANCE * float(np.abs(before, dtype=np.float64).max(initial=0.0))
    if not np.allclose(again, before, rtol=0.0, atol=allowed):
        worst = float(np.abs(again.astype(np.float64) - before).max())
        raise ValueError(f"its predictions differ by up to {worst:.3g}")


# --- the data of one fold ----------------------------------------------------------------------


def take_samples(root: Path) -> list[pa.Table]:
    """The samples of all folds, taken off the disk; empty where the parent laid out the data."""
    path = root / SAMPLES
    if not path.is_file():
        return []
    with pa.OSFile(str(path)) as source:
        options = pa.ipc.IpcReadOptions(use_threads=False)
        table = pa.ipc.open_file(source, options=options).read_all()
    path.unlink()
    return [table]


def drawn(count: int, share: float, draw: int) -> np.ndarray:
    """Mask of the samples that a share of ``count`` consists of: at least one, if there are any.

    Samples of a smaller share are also in the larger ones of the same draw, and every model gets
    the same ones.
    """
    order = np.random.default_rng([DRAWS_SEED, draw]).permutation(count)
    mask = np.zeros(count, dtype=bool)
    mask[order[: max(1, round(share * count))]] = True
    return mask


def lay_out(samples: pa.Table, run: dict[str, Any], fold: int, folder: Path) -> None:
    """Write a fold's training samples, and nothing but the inputs of those it holds out."""
    folds = samples.column(FOLD).to_numpy()
    held_out = folds == fold
    folder.mkdir(exist_ok=True)
    bare = samples.select(["id", *run["inputs"]])
    apart = held_out
    if run.get("nested"):
        # What is predicted is an inner fold of the training data of the fold before it.
        apart = held_out | (folds == (fold - 1) % len(run["folds"]))
    rows = np.flatnonzero(~apart)
    taught = np.zeros(len(held_out), dtype=bool)
    taught[rows[drawn(len(rows), run["share"], run["draw"])]] = True
    write(folder / TRAIN, pick(samples.drop_columns([FOLD]), taught))
    write(folder / inputs_file(run["splits"][0]), pick(bare, held_out))


def take_away(folder: Path) -> None:
    for path in folder.glob("*.arrow"):
        path.unlink()
