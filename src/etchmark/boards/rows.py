"""Rows of a board as a typed table, and as plain objects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from etchmark.registry.tables import Brief
from etchmark.specs import BenchmarkSpec, reference_units
from etchmark.targets import kind_of
from etchmark.targets import metric as metric_by_id
from etchmark.text import number

COLUMNS = (
    "rank", "rank_low", "rank_high", "model", "title", "metric", "unit", "score", "ci_low",
    "ci_high", "n", "units", "seeds", "seed_sd", "fold_mean", "fold_sd", "protocol", "track",
    "split", "subset", "status", "outcome", "reason", "superseded", "parameters", "fit_seconds",
    "predict_seconds", "seconds_each", "feature_seconds", "flops", "peak_memory_bytes", "hardware",
    "training_data", "tags", "origin", "date", "submission", "benchmark", "claimed", "role",
    "flags", "interval_method", "cpu_seconds", "total_parameters", "reference_seconds", "artefact",
    "may_be_best", "gain", "gain_low", "gain_high", "gain_p", "reference_cpu_seconds",
    "cpu_seconds_each", "reference_units", "gain_relation", "behind",
)  # fmt: skip
GAIN_COLUMNS = ("gain", "gain_low", "gain_high", "gain_p")
SCORE_COLUMNS = ("ci_low", "ci_high", "seed_sd", "fold_mean", "fold_sd")


def row_of(
    spec: BenchmarkSpec, brief: Brief, split: str, metric: str, subset: str
) -> dict[str, Any]:
    """The row of a submission, without ranks; an empty ``subset`` stands for all samples."""
    scored = brief.content["scores"].get(split, {}).get(subset)
    score = {} if scored is None else scored["metrics"].get(metric, {})
    counts = scored or {"n": 0, "units": 0, "seeds": 0}
    cost = {**brief.content["cost"], "seconds_each": _seconds_each(spec, brief)}
    return {
        "model": brief.name,
        "title": brief.content["card"]["title"],
        "metric": metric,
        "unit": metric_by_id(metric).unit_for(spec.target.unit),
        "score": score.get("value"),
        **{name: score.get(name) for name in SCORE_COLUMNS},
        **{name: counts[name] for name in ("n", "units", "seeds")},
        "protocol": brief.protocol,
        "track": brief.track,
        "split": split,
        "subset": subset or None,
        "status": brief.status,
        "outcome": brief.outcome,
        "reason": brief.content["reason"],
        **cost,
        "reference_units": reference_units(cost["cpu_seconds"], cost["reference_cpu_seconds"]),
        "training_data": brief.content["card"]["training_data"],
        "tags": brief.content["card"]["tags"],
        "origin": brief.origin,
        "date": brief.created.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "submission": brief.submission,
        "benchmark": spec.key,
        # Beside the columns of cost, never in them: this hub did not measure it.
        "claimed": brief.content["claimed"],
        # The benchmark's present word counts, whatever it was when the record was made.
        "role": spec.role_of(brief.name, brief.content["role"]),
        # Those that depend on other rows are added by the board.
        "flags": brief.content["flags"],
        "interval_method": brief.content["interval_method"],
        "artefact": (brief.content["artefact"] or {}).get("sha256"),
    }


def _seconds_each(spec: BenchmarkSpec, brief: Brief) -> float | None:
    """Wall seconds of one prediction; of an older record, of all predictions by their number."""
    cost = brief.content["cost"]
    stated, seconds = cost["seconds_each"], cost["predict_seconds"]
    # How many pieces a prediction holds is not in the record, unless it is a piece itself.
    if stated is not None or seconds is None or kind_of(spec.target).piece != "sample":
        return stated
    predicted = sum(subsets[""]["n"] for subsets in brief.content["scores"].values())
    return seconds / predicted if predicted else None


def called(row: Mapping[Any, Any]) -> str:
    """What the model of a row is called: its title, else its name."""
    known = isinstance(row["title"], str) and row["title"].strip()
    return str(row["title"] if known else row["model"])


def ahead_of(frame: pd.DataFrame, row: Mapping[Any, Any]) -> str | None:
    """Title of the best row that a row is shown to be behind; None where there is none.

    Args:
        frame: rows of ``Board.standings``.
        row: of that board.
    """
    if pd.isna(row["behind"]):
        return None
    ahead = frame[frame["submission"] == row["behind"]]
    return None if ahead.empty else called(ahead.iloc[0].to_dict())


def typed(frame: pd.DataFrame) -> pd.DataFrame:
    """Number columns of types that have a missing value."""
    whole = (
        "rank", "rank_low", "rank_high", "n", "units", "seeds", "parameters", "total_parameters",
        "peak_memory_bytes",
    )  # fmt: skip
    real = (
        "score", *SCORE_COLUMNS, *GAIN_COLUMNS, "fit_seconds", "predict_seconds", "seconds_each",
        "feature_seconds", "cpu_seconds", "cpu_seconds_each", "reference_units", "flops",
    )  # fmt: skip
    kinds = dict.fromkeys(whole, "Int64") | dict.fromkeys(real, "Float64")
    return frame.astype(
        kinds | {"may_be_best": "boolean", "gain_relation": "string", "behind": "string"}
    )


def to_records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as plain objects, null for what is unknown, as ``leaderboard --json`` prints them."""
    records = []
    for row in frame.to_dict(orient="records"):
        records.append(
            {
                str(name): None if not isinstance(value, list) and pd.isna(value) else value
                for name, value in row.items()
            }
        )
    return records


def seeds_text(row: Mapping[Any, Any]) -> str:
    """With how many seeds a model was fitted, and the spread of the scores: ``3, sd 0.12``.

    Args:
        row: by the names of ``COLUMNS``.

    Returns:
        A dash for a row without a score; the count alone of one seed, whose interval is for that
        fit only.
    """
    if pd.isna(row["score"]):
        return "–"
    spread = row["seed_sd"]
    return f"{row['seeds']}" + ("" if pd.isna(spread) else f", sd {number(spread)}")
