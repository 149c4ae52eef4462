"""A few submissions side by side: how much they differ, where, and whether the data show it.

All differences are paired: the same resamples of the same units for every model.
"""

from __future__ import annotations

import difflib
import itertools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from etchmark.boards.samples import sample_scores
from etchmark.boards.standings import Board, to_records
from etchmark.catalog import pick_track
from etchmark.errors import UserError
from etchmark.registry.store import Store
from etchmark.registry.tables import MIN_PREFIX, Entry
from etchmark.scoring import intervals
from etchmark.scoring.doubts import flags_to_show
from etchmark.scoring.samples import SampleScores
from etchmark.scoring.separation import differences_of_pair, pair_statistics, verdict
from etchmark.scoring.uncertainty import SumsOfUnits, score
from etchmark.specs import BenchmarkSpec
from etchmark.targets import Metric, kind_named
from etchmark.targets import metric as metric_by_id
from etchmark.text import plain

MOST_UNITS = 40
"""Units, such as papers, are shown one by one up to this number."""
PAIR_COLUMNS = (
    "split", "first", "second", "metric", "unit", "difference", "ci_low", "ci_high", "units",
    "better", "relation", "p",
)  # fmt: skip
RESERVED = ("id", "unit", "kind", "group", "samples")
"""Columns beside those of the models: no model may be shown under such a name."""


@dataclass(frozen=True)
class Side:
    """A submission and the name it is shown under."""

    name: str
    entry: Entry


def sides(entries: Sequence[Entry]) -> list[Side]:
    """Submissions with different names: track and id are added where names are equal."""
    names = [plain(entry.record.name) for entry in entries]
    tracks = [f"{name} ({entry.record.track})" for name, entry in zip(names, entries, strict=True)]
    clear = len(set(names)) == len(names) and not set(names) & set(RESERVED)
    shown = names if clear else tracks
    if len(set(shown)) < len(shown):
        shown = [
            f"{name} {entry.record.submission[:8]}"
            for name, entry in zip(names, entries, strict=True)
        ]
    return [Side(name, entry) for name, entry in zip(shown, entries, strict=True)]


def differences(
    spec: BenchmarkSpec, models: Sequence[Side], split: str, name: str, subset: str | None = None
) -> pd.DataFrame:
    """Score of each model minus that of each later one, with the paired 95 % interval.

    Columns: first, second, difference, ci_low, ci_high (in the metric's unit); p, of this pair
    alone (NaN where it cannot be tested); relation of the first to the second, as
    ``separation.verdict`` finds it; and better: the better model if they are told apart, else
    empty.

    Raises:
        UserError: a submission has no scores on the split, or they are of different samples.
    """
    metric = metric_by_id(name)
    sums: dict[str, SumsOfUnits] = {}
    units: set[tuple[str, ...]] = set()
    for side in models:
        scores_of_side = sample_scores(side.entry, split, subset)
        if scores_of_side is None:
            place = f"split {split!r}" if subset is None else f"subset {subset!r}"
            raise UserError(f"{side.name} has no predictions of {place}; leave it out")
        sums[side.name] = scores_of_side.sums()
        units.add(tuple(np.unique(scores_of_side.units)))
    if len(units) > 1:
        raise UserError(
            f"the submissions were scored on different samples of split {split!r}; compare"
            " submissions to the same version of the benchmark"
        )
    rows = []
    for first, second in itertools.combinations([side.name for side in models], 2):
        value, low, high = intervals.difference(metric, sums[first], sums[second])
        scores = [float(score(metric, sums[side]).mean()) for side in (first, second)]
        leading = min(scores, key=lambda value: value * metric.sign())
        least = spec.smallest_difference_of(name, leading)
        judged = verdict(metric, sums[first], sums[second], least)
        better = {"better": first, "worse": second}.get(judged.relation, "")
        rows.append((first, second, value, low, high, judged.p, judged.relation, better))
    columns = [
        "first", "second", "difference", "ci_low", "ci_high", "p", "relation", "better"
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=columns)


def sign_flips(
    models: Sequence[Side], split: str, name: str, subset: str | None = None
) -> np.ndarray:
    """What the test of a pair compares: its statistic in every pattern of signs.

    Args:
        models: two submissions that ``differences`` accepts.
        split: on which they are compared.
        name: of the metric.
        subset: only the samples of this subset; all samples if None.

    Returns:
        Shape (patterns,), the data's own pattern first; the share that is as far from 0 as the
        first is the p-value. Empty where the pair cannot be tested.
    """
    metric = metric_by_id(name)
    first, second = (sample_scores(side.entry, split, subset) for side in models)
    if first is None or second is None or set(first.units) != set(second.units):
        return np.empty(0)
    flipped = differences_of_pair(metric, first.sums(), second.sums())
    usable = len(flipped) > 0 and bool(np.isfinite(flipped).all())
    return pair_statistics(flipped) if usable else np.empty(0)


def relation(row: Mapping[Any, Any], unit_names: str) -> str:
    """What a row of ``differences`` shows, in words."""
    if row["relation"] == "equal in practice":
        return f"{row['first']} and {row['second']} are equal in practice"
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
    units (how many), better, relation, p."""
    flags: tuple[list[str], list[str]] = field(default_factory=lambda: ([], []))
    """Of each submission: doubts that its board shows beside it."""


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
        raise UserError(
            f"{models[0]!r} and {models[1]!r} are the same submission {ids[0][:12]}; name two"
            " different models"
        )
    entries = [store.get(submission) for submission in ids]
    compared = sides([entry for entry in entries if entry is not None])
    if len(compared) < 2:
        raise UserError("a submission was withdrawn just now; compare again")
    declared = spec.protocols[board.protocol]
    splits = [board.split] if split is not None else [declared.split, *declared.extra_splits]
    score_on = [side.entry.record.score_of for side in compared]
    if split is None:
        splits = [name for name in splits if all(score(name) is not None for score in score_on)]
    parts = [differences(spec, compared, name, board.metric).assign(split=name) for name in splits]
    if not parts:
        raise UserError(
            f"{compared[0].name} and {compared[1].name} have no split in common; give models that"
            " predict the same one"
        )
    frame = pd.concat(parts, ignore_index=True)
    # Not every metric has a value on every split.
    frame = frame[np.isfinite(frame["difference"])]
    if frame.empty:
        raise UserError(f"{board.metric} has no value on {', '.join(splits)}; choose another split")
    counts = [scored.units if (scored := score_on[0](name)) else 0 for name in frame["split"]]
    unit = metric_by_id(board.metric).unit_for(spec.target.unit)
    frame = frame.assign(metric=board.metric, unit=unit, units=counts)
    frame = frame.reindex(columns=list(PAIR_COLUMNS))
    flags = {row["submission"]: flags_to_show(row["flags"], row["role"]) for row in rows}
    shown = (compared[0], compared[1])
    return Pair(spec, board.protocol, board.metric, shown, frame, (flags[ids[0]], flags[ids[1]]))


def _submission(
    spec: BenchmarkSpec, board: Board, rows: Sequence[dict[str, Any]], text: str
) -> str:
    """Id of the submission with a name, or with the first characters of an id.

    Superseded submissions are found by their id only.
    """
    where = f"{spec.key}, protocol {board.protocol}"
    current = [row for row in rows if row["outcome"] == "ok" and not row["superseded"]]
    matches = [row for row in current if row["model"] == text]
    if re.fullmatch(f"[0-9a-f]{{{MIN_PREFIX},64}}", text):
        named = {row["submission"] for row in matches}
        # A name may look like the id of another submission: then it is ambiguous, and refused.
        matches += [
            row
            for row in rows
            if row["submission"].startswith(text) and row["submission"] not in named
        ]
    if len(matches) > 1:
        listing = "; ".join(
            f"{row['submission'][:12]} {row['model']} ({row['track']})" for row in matches[:6]
        )
        raise UserError(
            f"{text!r} is not one submission to {where} but {len(matches)}: {listing}; add --track"
            " or give more characters of an id"
        )
    if not matches:
        names = sorted({row["model"] for row in current})
        near = difflib.get_close_matches(text, names, n=3, cutoff=0.5)
        failed = " but a failed one" if any(row["model"] == text for row in rows) else ""
        if not names:
            hint = "it has no submissions yet"
        elif near:
            hint = f"did you mean: {', '.join(near)}"
        else:
            hint = f"`etchmark leaderboard {spec.id}` lists the {len(names)} that can be compared"
        raise UserError(f"no submission {text!r} to {where}{failed}; {hint}")
    (row,) = matches
    if row["outcome"] != "ok":
        raise UserError(f"submission {text!r} to {where} failed, so it has no scores; name another")
    if row["superseded"]:
        raise UserError(
            f"submission {text!r} to {where} is superseded; compare {row['model']!r} by its name"
        )
    return str(row["submission"])


def by_group(spec: BenchmarkSpec, models: Sequence[Side], protocol: str, name: str) -> pd.DataFrame:
    """Scores by split, subset, fold and unit: columns kind, group, samples and one per model.

    Units are listed only if they are few and hold several samples. A split that a model does not
    predict has the score NaN.
    """
    metric = metric_by_id(name)
    parts: dict[tuple[str, str], dict[str, tuple[int, float]]] = {}
    declared = spec.protocols[protocol]
    for side in models:
        for split in (declared.split, *declared.extra_splits):
            scores = sample_scores(side.entry, split)
            if scores is None:
                continue
            for key, group in _groups(spec, scores, headline=split == declared.split):
                parts.setdefault(key, {})[side.name] = (len(group.ids), _score(metric, group))
    rows = []
    for (kind, group), scores in parts.items():
        size = next(iter(scores.values()))[0]
        values = {side.name: scores.get(side.name, (0, math.nan))[1] for side in models}
        rows.append({"kind": kind, "group": group, "samples": size, **values})
    return pd.DataFrame(rows)


def _groups(
    spec: BenchmarkSpec, whole: SampleScores, *, headline: bool
) -> list[tuple[tuple[str, str], SampleScores]]:
    groups = [(("split", whole.split), whole)]
    if not headline:
        return groups
    for name, member in whole.subsets.items():
        if member.any():
            title = spec.subsets[name].title if name in spec.subsets else name
            groups.append((("subset", title), whole.among(member)))
    units = np.unique(whole.units)
    few = 1 < len(units) <= MOST_UNITS and len(units) < len(whole.ids)
    folds = [] if whole.folds is None else np.unique(whole.folds).tolist()
    # If each fold is one unit, listing both would repeat the rows.
    if not (few and len(folds) == len(units)):
        for fold in folds:
            groups.append((("fold", str(int(fold))), whole.among(whole.folds == fold)))
    if few:
        for unit in units:
            groups.append(((spec.unit_name, str(unit)), whole.among(whole.units == unit)))
    return groups


def _score(metric: Metric, samples: SampleScores) -> float:
    with np.errstate(invalid="ignore", divide="ignore"):
        return float(score(metric, samples.sums()).mean())


@dataclass(frozen=True)
class Errors:
    """Error of each sample, mean over seeds: columns id, unit and one per model.

    ``metric`` is the one asked for if it is defined for a single sample, else one that is, such as
    the root mean squared error.
    """

    metric: str
    frame: pd.DataFrame

    def shares(self, first: str, second: str) -> tuple[float, float]:
        """Shares of the samples on which the first model is closer, and on which both are equal."""
        errors, others = (self.frame[name].to_numpy(dtype=float) for name in (first, second))
        return float(np.mean(errors < others)), float(np.mean(errors == others))


def errors(models: Sequence[Side], split: str, name: str, subset: str | None = None) -> Errors:
    """Errors of every sample, for the models that have predictions of the split."""
    scores: dict[str, SampleScores] = {}
    for side in models:
        samples = sample_scores(side.entry, split, subset)
        if samples is not None:
            scores[side.name] = samples
    if not scores:
        return Errors(name, pd.DataFrame(columns=["id", "unit"]))
    first = next(iter(scores.values()))
    terms = {side: _in_order(samples, first.ids) for side, samples in scores.items()}
    metric = metric_by_id(name)
    values = {side: _per_sample(metric, of_side) for side, of_side in terms.items()}
    if metric.higher_is_better or any(not np.isfinite(part).all() for part in values.values()):
        name = kind_named(first.kind).sample_metric
        metric = metric_by_id(name)
        values = {side: _per_sample(metric, of_side) for side, of_side in terms.items()}
    return Errors(name, pd.DataFrame({"id": first.ids, "unit": first.units, **values}))


def _in_order(samples: SampleScores, ids: np.ndarray) -> dict[str, np.ndarray]:
    """Terms of the samples in the order of ``ids``."""
    order = {sample: row for row, sample in enumerate(samples.ids.tolist())}
    rows = [order[sample] for sample in ids.tolist()]
    return {key: values[:, rows] for key, values in samples.terms.items()}


def _per_sample(metric: Metric, terms: dict[str, np.ndarray]) -> np.ndarray:
    """A metric of each single sample, mean over seeds; NaN where it is not defined."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return metric.of(terms).mean(axis=0)


def horizons(models: Sequence[Side], split: str, subset: str | None = None) -> pd.DataFrame:
    """RMSE of every step of a prediction: columns model, ahead, value, ci_low, ci_high.

    Over several seeds it is the root of the mean over all of them. Empty if predictions have no
    steps.
    """
    parts = []
    for side in models:
        scores = sample_scores(side.entry, split, subset)
        if scores is None:
            continue
        squared_error = kind_named(scores.kind).horizon(scores.outcome)
        if squared_error is None:
            continue
        value, low, high = intervals.over_horizon(squared_error, scores.units)
        ahead = np.arange(1, len(value) + 1)
        columns = {"ahead": ahead, "value": value, "ci_low": low, "ci_high": high}
        parts.append(pd.DataFrame({"model": side.name, **columns}))
    if not parts:
        return pd.DataFrame(columns=["model", "ahead", "value", "ci_low", "ci_high"])
    return pd.concat(parts, ignore_index=True)
