"""The scores of one submission: their table, and how their intervals were computed."""

from __future__ import annotations

import pandas as pd

from etchmark.api import BOOTSTRAP, Hub, method_in_words, why_none
from etchmark.specs import BenchmarkSpec, ResultRecord
from etchmark.text import number, span


def scores_table(hub: Hub, spec: BenchmarkSpec, record: ResultRecord) -> pd.DataFrame:
    """Every metric of every split, as text with four significant digits."""
    rows = []
    for split in record.scores:
        for name, score in split.metrics.items():
            rows.append(
                {
                    "split": split.split,
                    "metric": name,
                    "unit": hub.metric(spec, name).unit,
                    "score": number(score.value),
                    "95 % interval": span(score.ci_low, score.ci_high),
                    "mean ± sd over folds": f"{number(score.fold_mean)} ± {number(score.fold_sd)}"
                    if score.fold_mean is not None
                    else None,
                    "sd over seeds": number(score.seed_sd) if score.seed_sd is not None else None,
                    "n": split.n,
                    spec.unit_names: split.units,
                    "seeds": split.seeds,
                }
            )
        absent = [name for name in spec.metrics if name not in split.metrics]
        rows += [
            {"split": split.split, "metric": name, "score": "not applicable"} for name in absent
        ]
    return pd.DataFrame(rows).dropna(axis="columns", how="all")


def intervals_in_words(spec: BenchmarkSpec, record: ResultRecord) -> str:
    """How the intervals were computed, and why some are missing, in words."""
    # Older records name no method: there was one only.
    method = record.interval_method or BOOTSTRAP
    words = method_in_words(
        method,
        spec.unit_names,
        record.scores[0].seeds,
        deterministic=_is_deterministic(spec, record),
    )
    absent = {
        why_none(split.units, spec.unit_names): None
        for split in record.scores
        for score in split.metrics.values()
        if score.ci_low is None
    }
    return " ".join([f"Intervals: {words}.", *(f"–: {reason}." for reason in absent)])


def _is_deterministic(spec: BenchmarkSpec, record: ResultRecord) -> bool:
    """Whether another seed gives the same scores: as declared, or as several seeds have shown."""
    use = spec.use_of(record.name)
    if use is not None and use.deterministic:
        return True
    scores = [score for split in record.scores for score in split.metrics.values()]
    # The mean of equal numbers may differ from them in the last bit.
    return all(
        score.seed_sd is not None and score.seed_sd <= 1e-12 * abs(score.value) for score in scores
    )
