"""A few submissions side by side: by how much they differ, where, and whether the data can tell.

All differences are paired: the same resamples of the same units for every model.
"""

from __future__ import annotations

import difflib
import itertools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from etchmark.boards.standings import Board, sample_scores, to_records, unit_sums
from etchmark.catalog import pick_track
from etchmark.errors import UserError
from etchmark.registry.store import Store
from etchmark.registry.tables import MIN_PREFIX, Entry
from etchmark.scoring.samples import SampleScores
from etchmark.scoring.uncertainty import SumsOfUnits, over_horizon, paired_difference, score
from etchmark.specs import BenchmarkSpec
from etchmark.targets import Metric, kind_named, metric
from etchmark.targets import metric as metric_by_id
from etchmark.text import plain

MOST_UNITS = 40
"""Units (papers, say) up to which each is shown by itself."""
PAIR_COLUMNS = (
    "split", "first", "second", "metric", "unit", "difference", "ci_low", "ci_high", "units",
    "better",
)  # fmt: skip
RESERVED = ("id", "unit", "kind", "group", "samples")
"""Names of columns beside those of the models."""


@dataclass(frozen=True)
class Side:
    """A submission under the name it is shown by."""

    name: str
    entry: Entry


def sides(entries: Sequence[Entry]) -> list[Side]:
    """Submissions with names that tell them apart."""
    names = [plain(entry.record.name) for entry in entries]
    tracks = [f"{name} ({entry.record.track})" for name, entry in zip(names, entries, strict=True)]
    clear = len(set(names)) == len(names) and not set(names) & set(RESERVED)
    chosen = names if clear else tracks
    if len(set(chosen)) < len(chosen):
        chosen = [
            f"{name} {entry.record.submission[:8]}"
            for name, entry in zip(names, entries, strict=True)
        ]
    return [Side(name, entry) for name, entry in zip(chosen, entries, strict=True)]


def differences(given: Sequence[Side], split: str, name: str) -> pd.DataFrame:
    """Score of each model minus that of each later one, with the paired 95 % interval.

    Columns: first, second, difference, ci_low, ci_high (in the metric's unit) and better, which
    names the better one where the interval leaves zero out and is empty elsewhere.

    Raises:
        UserError: a submission has no scores on the split.
    """
    chosen = metric(name)
    sums: dict[str, SumsOfUnits] = {}
    units: set[tuple[str, ...]] = set()
    for side in given:
        found = unit_sums(side.entry, split)
        if found is None:
            raise UserError(f"{side.name} has no predictions of split {split!r}; leave it out")
        sums[side.name] = found[0]
        units.add(found[1])
    if len(units) > 1:
        raise UserError(f"the submissions were scored on other samples of split {split!r}")
    rows = []
    for first, second in itertools.combinations([side.name for side in given], 2):
        value, low, high = paired_difference(chosen, sums[first], sums[second])
        better = first if value * chosen.sign() < 0 else second
        told = math.isfinite(low) and math.isfinite(high) and (low > 0 or high < 0)
        rows.append((first, second, value, low, high, better if told else ""))
    columns = ["first", "second", "difference", "ci_low", "ci_high", "better"]
    return pd.DataFrame(rows, columns=columns)


def relation(row: Mapping[Any, Any], unit_names: str) -> str:
    """What a row of ``differences`` shows, in words."""
    if not row["better"]:
        return f"{row['first']} and {row['second']} are not told apart by these {unit_names}"
    worse = row["second"] if row["better"] == row["first"] else row["first"]
    return f"{row['better']} is better than {worse}"


@dataclass(frozen=True)
class Pair:
    """Two submissions to one protocol, side by side."""

    spec: BenchmarkSpec
    protocol: str
    metric: str
    sides: tuple[Side, Side]
    frame: pd.DataFrame
    """One row per split: columns split, first, second, metric, unit, difference, ci_low, ci_high,
    units (how many), better."""


def pair(
    spec: BenchmarkSpec,
    store: Store,
    models: tuple[str, str],
    *,
    split: str | None = None,
    metric: str | None = None,
    track: str | None = None,
    protocol: str | None = None,
) -> Pair:
    """Score of the first model minus that of the second on every split that both predict.

    Args:
        spec: the benchmark.
        store: the registry.
        models: names, or ids of submissions or their first characters.
        split: this split alone.
        metric: the primary one if None.
        track: only submissions of this track; any if None.
        protocol: the headline one if None.

    Raises:
        UserError: a name is unknown or ambiguous, or a model has no predictions of the split.
    """
    if track is not None:
        pick_track(spec, track)
    board = Board(spec, store, protocol=protocol, split=split, metric=metric)
    rows = to_records(board.frame)
    rows = [row for row in rows if track in (None, row["track"])]
    ids = [_submission(spec, board, rows, model) for model in models]
    if ids[0] == ids[1]:
        raise UserError(f"{models[0]!r} and {models[1]!r} are the same submission {ids[0][:12]}")
    entries = [store.get(submission) for submission in ids]
    given = sides([entry for entry in entries if entry is not None])
    if len(given) < 2:
        raise UserError("a submission was withdrawn at this moment; compare again")
    chosen = spec.protocols[board.protocol]
    splits = [board.split] if split is not None else [chosen.split, *chosen.extra_splits]
    scored = [one.entry.record.score_of for one in given]
    if split is None:
        splits = [one for one in splits if all(score(one) is not None for score in scored)]
    parts = [differences(given, one, board.metric).assign(split=one) for one in splits]
    if not parts:
        raise UserError(f"{given[0].name} and {given[1].name} have no split in common")
    frame = pd.concat(parts, ignore_index=True)
    # Not every metric has a value on every split.
    frame = frame[np.isfinite(frame["difference"])]
    if frame.empty:
        raise UserError(f"{board.metric} has no value on {', '.join(splits)}; choose another split")
    counts = [score.units if (score := scored[0](one)) else 0 for one in frame["split"]]
    unit = metric_by_id(board.metric).unit_for(spec.target.unit)
    frame = frame.assign(metric=board.metric, unit=unit, units=counts)
    frame = frame.reindex(columns=list(PAIR_COLUMNS))
    return Pair(spec, board.protocol, board.metric, (given[0], given[1]), frame)


def _submission(
    spec: BenchmarkSpec, board: Board, rows: Sequence[dict[str, Any]], text: str
) -> str:
    """The submission that a name or the beginning of an id stands for; superseded ones do not."""
    where = f"{spec.key}, protocol {board.protocol}"
    standing = [row for row in rows if row["outcome"] == "ok" and not row["superseded"]]
    found = [row for row in standing if row["model"] == text]
    if re.fullmatch(f"[0-9a-f]{{{MIN_PREFIX},64}}", text):
        named = {row["submission"] for row in found}
        # A name may be chosen to look like the id of another submission: neither one wins.
        found += [
            row
            for row in rows
            if row["submission"].startswith(text) and row["submission"] not in named
        ]
    if len(found) > 1:
        listing = "; ".join(
            f"{row['submission'][:12]} {row['model']} ({row['track']})" for row in found[:6]
        )
        raise UserError(
            f"{text!r} is not one submission to {where}: {listing}; give --track or more of an id"
        )
    if not found:
        names = sorted({row["model"] for row in standing})
        near = difflib.get_close_matches(text, names, n=3, cutoff=0.5)
        failed = " but a failed one" if any(row["model"] == text for row in rows) else ""
        if not names:
            hint = "there is none at all"
        elif near:
            hint = f"did you mean: {', '.join(near)}"
        else:
            hint = f"`etchmark leaderboard {spec.id}` lists the {len(names)} that can be compared"
        raise UserError(f"no submission {text!r} to {where}{failed}; {hint}")
    (row,) = found
    if row["outcome"] != "ok":
        raise UserError(f"submission {text!r} to {where} failed: there is nothing to compare")
    if row["superseded"]:
        raise UserError(
            f"submission {text!r} to {where} is superseded; compare {row['model']!r} by its name"
        )
    return str(row["submission"])


def by_group(spec: BenchmarkSpec, given: Sequence[Side], protocol: str, name: str) -> pd.DataFrame:
    """Scores by split, subset, fold and unit: columns kind, group, samples and one per model.

    Units are told apart only where they are few and hold several samples. Splits that a model has
    no predictions of are NaN.
    """
    chosen = metric(name)
    parts: dict[tuple[str, str], dict[str, tuple[int, float]]] = {}
    for side in given:
        for split in (spec.protocols[protocol].split, *spec.protocols[protocol].extra_splits):
            found = sample_scores(side.entry, split)
            if found is None:
                continue
            for key, some in _groups(spec, found, headline=split == spec.protocols[protocol].split):
                parts.setdefault(key, {})[side.name] = (len(some.ids), _score(chosen, some))
    rows = []
    for (kind, group), scores in parts.items():
        size = next(iter(scores.values()))[0]
        values = {side.name: scores.get(side.name, (0, math.nan))[1] for side in given}
        rows.append({"kind": kind, "group": group, "samples": size, **values})
    return pd.DataFrame(rows)


def _groups(
    spec: BenchmarkSpec, whole: SampleScores, *, headline: bool
) -> list[tuple[tuple[str, str], SampleScores]]:
    found = [(("split", whole.split), whole)]
    if not headline:
        return found
    for name, member in whole.subsets.items():
        if member.any():
            title = spec.subsets[name].title if name in spec.subsets else name
            found.append((("subset", title), whole.among(member)))
    units = np.unique(whole.units)
    few = 1 < len(units) <= MOST_UNITS and len(units) < len(whole.ids)
    folds = [] if whole.folds is None else np.unique(whole.folds).tolist()
    # Where a fold is a unit, it is named as that.
    if not (few and len(folds) == len(units)):
        for fold in folds:
            found.append((("fold", str(int(fold))), whole.among(whole.folds == fold)))
    if few:
        for unit in units:
            found.append(((spec.unit_name, str(unit)), whole.among(whole.units == unit)))
    return found


def _score(chosen: Metric, some: SampleScores) -> float:
    with np.errstate(invalid="ignore", divide="ignore"):
        return float(score(chosen, some.sums()).mean())


@dataclass(frozen=True)
class Errors:
    """Error of each sample, mean over seeds: columns id, unit and one per model.

    ``metric`` says which: the one asked for if it is an error that a sample has by itself, else one
    that every sample has, such as the root mean squared error.
    """

    metric: str
    frame: pd.DataFrame

    def shares(self, first: str, second: str) -> tuple[float, float]:
        """Shares of the samples on which the first model is closer, and both are alike."""
        one, other = (self.frame[name].to_numpy(dtype=float) for name in (first, second))
        return float(np.mean(one < other)), float(np.mean(one == other))


def errors(given: Sequence[Side], split: str, name: str) -> Errors:
    """Sample by sample, those models that have predictions of the split."""
    found: dict[str, SampleScores] = {}
    for side in given:
        one = sample_scores(side.entry, split)
        if one is not None:
            found[side.name] = one
    if not found:
        return Errors(name, pd.DataFrame(columns=["id", "unit"]))
    first = next(iter(found.values()))
    terms = {side: _in_order(one, first.ids) for side, one in found.items()}
    own = metric(name)
    each = {side: _own(own, one) for side, one in terms.items()}
    if own.higher_is_better or any(not np.isfinite(values).all() for values in each.values()):
        name = kind_named(first.kind).sample_metric
        each = {side: _own(metric(name), one) for side, one in terms.items()}
    return Errors(name, pd.DataFrame({"id": first.ids, "unit": first.units, **each}))


def _in_order(one: SampleScores, ids: np.ndarray) -> dict[str, np.ndarray]:
    """Terms of the samples in another order."""
    order = {sample: row for row, sample in enumerate(one.ids.tolist())}
    rows = [order[sample] for sample in ids.tolist()]
    return {key: values[:, rows] for key, values in one.terms.items()}


def _own(chosen: Metric, terms: dict[str, np.ndarray]) -> np.ndarray:
    """A metric of every sample by itself, mean over seeds; NaN where it has none."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return chosen.of(terms).mean(axis=0)


def horizons(given: Sequence[Side], split: str) -> pd.DataFrame:
    """RMSE of every step of a prediction: columns model, ahead, value, ci_low, ci_high.

    Of several seeds it is the root of the mean over all of them. Empty where predictions
    have no steps.
    """
    parts = []
    for side in given:
        scores = sample_scores(side.entry, split)
        if scores is None:
            continue
        squared_error = kind_named(scores.kind).horizon(scores.outcome)
        if squared_error is None:
            continue
        value, low, high = over_horizon(squared_error, scores.units)
        ahead = np.arange(1, len(value) + 1)
        columns = {"ahead": ahead, "value": value, "ci_low": low, "ci_high": high}
        parts.append(pd.DataFrame({"model": side.name, **columns}))
    if not parts:
        return pd.DataFrame(columns=["model", "ahead", "value", "ci_low", "ci_high"])
    return pd.concat(parts, ignore_index=True)
