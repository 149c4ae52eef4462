"""Puts predictions in the order of the samples; refuses anything but whole splits."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from etchmark.errors import UserError
from etchmark.predictions.checks import MAX_SEEDS, Source, listing, refuse
from etchmark.predictions.reading import Predictions


def check_finite(path: Path, predictions: Predictions) -> None:
    """Refuse predictions that hold NaN or infinity.

    Args:
        path: named in messages.
        predictions: what the file holds, in memory.
    """
    finite = np.isfinite(predictions.values).all(axis=tuple(range(1, predictions.values.ndim)))
    if not finite.all():
        raise not_finite(path, predictions.ids[~finite])


def counted(count: int, what: str) -> str:
    return f"{count} {what} is" if count == 1 else f"{count} {what}s are"


def not_finite(path: Path, ids: np.ndarray) -> UserError:
    return refuse(
        path,
        f"{counted(len(ids), 'prediction')} not finite (ids {listing(ids)})",
        "NaN and infinity are refused; predict a number for every sample",
    )


def arrange(
    path: Path,
    given: np.ndarray,
    numbers: np.ndarray,
    splits: Mapping[str, np.ndarray],
    headline: str,
) -> dict[str, tuple[list[int], np.ndarray]]:
    """Where the predictions of each split stand in a file; refuses anything but whole splits.

    Args:
        path: named in messages.
        given: ids, shape (rows,).
        numbers: seeds, shape (rows,).
        splits: ids of each split that can be scored.
        headline: the split that must be there.

    Returns:
        For each split that is there its seeds, and rows of the file, shape (seeds, samples).
    """
    split_of = {value: name for name, ids in splits.items() for value in ids}
    extra = [value for value in dict.fromkeys(given) if value not in split_of]
    if extra:
        raise unknown_ids(path, extra, split_of)
    seeds = sorted({int(seed) for seed in numbers})
    if len(seeds) > MAX_SEEDS:
        raise refuse(path, f"holds {len(seeds)} seeds", f"keep {MAX_SEEDS} at most")
    rows: dict[tuple[str, int], int] = {}
    doubled: list[str] = []
    for row, key in enumerate(zip(given, numbers.tolist(), strict=True)):
        if key in rows:
            doubled.append(key[0])
        rows[key] = row
    if doubled:
        raise refuse(
            path,
            f"{len(doubled)} row{'s repeat' if len(doubled) > 1 else ' repeats'} an id and seed"
            f" (ids {listing(doubled)})",
            "give each sample one row per seed",
        )
    present = {split_of[value] for value in given} | {headline}
    chosen: dict[str, tuple[list[int], np.ndarray]] = {}
    for name, ids in splits.items():
        if name not in present:
            continue
        missing = [value for seed in seeds or [0] for value in ids if (value, seed) not in rows]
        if missing:
            whole = "predict every sample of it" + (", for every seed" if len(seeds) > 1 else "")
            raise refuse(
                path,
                f"{len(missing)} of {len(ids) * max(len(seeds), 1)} predictions of split {name!r}"
                f" {'is' if len(missing) == 1 else 'are'} missing"
                f" (ids {listing(dict.fromkeys(missing))})",
                whole if name == headline else f"{whole}, or leave this split out altogether",
            )
        order = np.array([[rows[(value, seed)] for value in ids] for seed in seeds])
        chosen[name] = (seeds, order)
    return chosen


def check_scored(
    path: Path, ids: Iterable[str], protocol: str, unscored: Mapping[str, str]
) -> None:
    """Refuse ids of splits that a protocol does not score.

    Args:
        path: named in messages.
        ids: those of the file.
        protocol: name of the protocol.
        unscored: the split of each sample of the benchmark that it does not score.
    """
    extra = [name for name in dict.fromkeys(ids) if name in unscored]
    if extra:
        splits = listing(dict.fromkeys(unscored[name] for name in extra))
        raise refuse(
            path,
            f"{counted(len(extra), 'id')} not in a split that protocol {protocol!r} scores"
            f" but in {splits} (ids {listing(extra)})",
            "leave these rows out",
        )


def unknown_ids(path: Source, extra: Sequence[str], known: Collection[str]) -> UserError:
    """Refuse ids that do not exist, and say so if they are nearly those of this benchmark."""
    what = f"{counted(len(extra), 'id')} not in this benchmark (ids {listing(extra)})"
    for form, difference, remedy in (
        (str.strip, "without the spaces around them", "strip the spaces"),
        (str.casefold, "in another case", "write upper and lower case as the template does"),
        (_visible, "in another spelling", "copy the ids from the template"),
    ):
        forms = {form(name) for name in known}
        if count := sum(form(name) in forms for name in extra):
            matches = f"{count} match{'es' if count == 1 else ''}"
            return refuse(
                path, f"{what}: {matches} {difference}", f"{remedy}; ids are compared exactly"
            )
    return refuse(path, what, "`etchmark template` writes the ids that are asked for")


def _visible(name: str) -> str:
    """An id without what a reader may overlook: case, spaces, kinds of dashes, the invisible."""
    text = unicodedata.normalize("NFKC", name).casefold()
    kinds = [(char, unicodedata.category(char)) for char in text]
    return "".join("-" if kind == "Pd" else char for char, kind in kinds if kind[0] not in "CZ")
