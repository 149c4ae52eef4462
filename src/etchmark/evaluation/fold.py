"""One fold and seed: its data, laid out apart from the labels it is scored by, and its run.

What runs a model's code (``run_fold``) and what holds labels (``take_samples``, ``lay_out``) are in
processes of their own; see ``evaluation.worker``.
"""

from __future__ import annotations

import difflib
import importlib.util
import inspect
import random
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from etchmark import files
from etchmark.errors import CannotRun, UserError
from etchmark.evaluation import stated
from etchmark.evaluation.checkpoints import Stopwatch
from etchmark.evaluation.tables import Table, pick, write
from etchmark.model import Samples
from etchmark.targets import kind_named

TARGET = "etchmark_target"
GROUP = "etchmark_group"
FOLD = "etchmark_fold"
SAMPLES, TRAIN, VALIDATION = "samples.arrow", "train.arrow", "validation.arrow"
DRAWS_SEED = 20261121


def inputs_file(split: str) -> str:
    return f"inputs-{split}.arrow"


def load_build(code: Path) -> Callable[..., Any]:
    """The ``build`` function of a ``model.py``."""
    sys.path.insert(0, str(code.parent))
    # Under its own name, so that processes a model starts find what is pickled by reference.
    spec = importlib.util.spec_from_file_location(code.stem, code)
    if spec is None or spec.loader is None:
        raise ImportError(f"{code} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[code.stem] = module
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
    torch = sys.modules.get("torch")
    cuda = torch is not None and torch.cuda.is_available()
    if device == "auto":
        return "cuda" if cuda else "cpu"
    if device.startswith("cuda") and torch is not None and not cuda:
        raise CannotRun(f"device {device!r}: torch finds no CUDA device here; give --device cpu")
    return device


def _check_params(build: Callable[..., Any], params: Mapping[str, Any]) -> None:
    """Refuse what ``build`` does not take: a card's mistake, which is no failure of the model."""
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


def _labelled(path: Path, inputs: list[str]) -> Samples | None:
    if not path.is_file():
        return None
    everything = Table(path)
    return Samples(
        ids=everything["id"].astype(str),
        inputs=Table(path, inputs),
        target=everything[TARGET],
        groups=everything[GROUP].astype(str) if GROUP in everything else None,
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
    train = _labelled(folder / TRAIN, run["inputs"])
    validation = _labelled(folder / VALIDATION, run["inputs"])
    _check_params(build, run["params"])
    model = build(seed=seed, device=device, **run["params"])
    # What is kept between runs counts alike whether it was there or not: features never in fitting
    # (each fold reads the same ones), those of predicted samples always in predicting.
    with Stopwatch(noted, lambda: stated.feature_seconds(model).now) as fitting:
        model.fit(train, validation)
    read, kind = stated.feature_seconds(model), kind_named(run["target"]["kind"])
    seconds = 0.0
    for split in run["splits"]:
        inputs = Table(folder / inputs_file(split), run["inputs"])
        rows = inputs.rows()
        started = time.perf_counter()
        given = model.predict(inputs)
        seconds += time.perf_counter() - started
        values = kind.checked(given, rows, run["shapes"][split], run["target"])
        # A result counts once it is complete: its own file is written last and as a whole.
        with (folder / f"predictions-{split}-{seed}.npy").open("wb") as handle:
            np.save(handle, values, allow_pickle=False)
    total = stated.feature_seconds(model)
    result = {
        "made_with": stated.made_with(model),
        "feature_seconds": float(total.ever) if hasattr(model, "feature_seconds") else None,
        "fit_seconds": fitting.seconds,
        "predict_seconds": stated.predict_seconds(seconds, read, total),
        "parameters": stated.parameter_count(model),
        "flops": stated.flops(model),
        "device": device,
    }
    files.write_json(folder / f"result-{seed}.json", result)


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
    """Mask of the samples that a share of ``count`` consists of: at least two, if there are.

    Samples of a smaller share are also in the larger ones of the same draw, and every model gets
    the same ones.
    """
    order = np.random.default_rng([DRAWS_SEED, draw]).permutation(count)
    mask = np.zeros(count, dtype=bool)
    mask[order[: max(2, round(share * count))]] = True
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
