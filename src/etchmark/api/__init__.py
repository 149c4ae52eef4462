"""The use cases of etchmark, as methods of a `Hub` and as the functions of `import etchmark`.

Everything above this package (the command line, the dashboard, a server) works through it. Nothing
heavy is imported until it is used: the package itself loads in a fraction of the time that pandas
or the registry take.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from etchmark.api.functions import (
    compare,
    evaluate,
    score,
    standings,
    submit,
)
from etchmark.api.hub import Hub
from etchmark.api.local import LocalHub, open_hub

if TYPE_CHECKING:
    from etchmark.api.comparison import Comparison
    from etchmark.api.content import predicted_piece, prediction_note
    from etchmark.api.data import executors_of
    from etchmark.api.samples import kept_pictures, ratio
    from etchmark.api.types import (
        Contents,
        Counts,
        DataFingerprints,
        Download,
        Estimate,
        Evaluation,
        Match,
        MetricInfo,
        PageOptions,
        RecentSubmission,
        RunRequest,
        Submitted,
        TemplateFiles,
    )
    from etchmark.boards.compare import Errors, Pair, Side, relation
    from etchmark.boards.costs import COMPARED, cost_text, front, unknown_costs
    from etchmark.boards.coverage import coverage_in_words
    from etchmark.boards.discretisation import discretisation_in_words
    from etchmark.boards.rows import ahead_of, called, seeds_text
    from etchmark.boards.solver import Solver, seconds_each, with_solver
    from etchmark.boards.standings import Board, to_records
    from etchmark.boards.statements import gain_text, gains, simplest, statements, the_best
    from etchmark.boards.strengths import strengths
    from etchmark.boards.verdicts import Verdict, verdict, verdict_of_row
    from etchmark.boards.view import WORST, View, Where
    from etchmark.boards.worst import by_worst_split
    from etchmark.catalog import explain
    from etchmark.data.building import Build, Executors
    from etchmark.data.gallery import Gallery, grey, groups, numbers
    from etchmark.data.loading import Benchmark, load_benchmark
    from etchmark.evaluation.options import Limits, Options
    from etchmark.files import NO_ROOM, no_room, refusal, temporary_folder, temporary_root
    from etchmark.predictions.checks import named
    from etchmark.publish.pages.badge import Standing, draw_badge, embed_badge, standing_of
    from etchmark.registry.tables import LOCAL, REVIEWED, Entry
    from etchmark.scoring.doubts import (
        BOARD_KINDS,
        TOO_GOOD,
        Doubt,
        doubts_in_words,
        flags_to_show,
        kind_of_flag,
    )
    from etchmark.scoring.intervals import FEWEST_UNITS, method_in_words, why_none
    from etchmark.scoring.samples import SampleScores
    from etchmark.scoring.score import Scored
    from etchmark.scoring.uncertainty import BOOTSTRAP, LEVEL, RESAMPLES
    from etchmark.submission.campaign import Campaign
    from etchmark.submission.export import folder_name
    from etchmark.submission.statements import Statement, card_from_mapping, read_card
    from etchmark.submission.submit import Committed, NameTaken, Prepared
    from etchmark.submission.uploads import Upload, Uploads
    from etchmark.targets.pictures import Pictures

_TYPES = (
    "Contents",
    "Counts",
    "DataFingerprints",
    "Download",
    "Estimate",
    "Evaluation",
    "Match",
    "MetricInfo",
    "PageOptions",
    "RecentSubmission",
    "RunRequest",
    "Submitted",
    "TemplateFiles",
)
# Types that hubs take and return, and functions on them, by the module that defines each: imported
# on first use, so that a page or command pays only for what it shows.
_WHERE = {
    "Campaign": "submission.campaign",
    "explain": "catalog.wording",
    "Comparison": "api.comparison",
    **dict.fromkeys(("predicted_piece", "prediction_note"), "api.content"),
    "executors_of": "api.data",
    **dict.fromkeys(("kept_pictures", "ratio"), "api.samples"),
    **dict.fromkeys(
        ("NO_ROOM", "no_room", "refusal", "temporary_folder", "temporary_root"), "files"
    ),
    "named": "predictions.checks",
    **dict.fromkeys(
        ("Standing", "draw_badge", "embed_badge", "standing_of"), "publish.pages.badge"
    ),
    **dict.fromkeys(_TYPES, "api.types"),
    **dict.fromkeys(("Errors", "Pair", "Side", "relation"), "boards.compare"),
    **dict.fromkeys(("COMPARED", "cost_text", "front", "unknown_costs"), "boards.costs"),
    "coverage_in_words": "boards.coverage",
    "discretisation_in_words": "boards.discretisation",
    **dict.fromkeys(("ahead_of", "called", "seeds_text"), "boards.rows"),
    **dict.fromkeys(("Solver", "seconds_each", "with_solver"), "boards.solver"),
    **dict.fromkeys(("Board", "to_records"), "boards.standings"),
    **dict.fromkeys(
        ("gain_text", "gains", "simplest", "statements", "the_best"), "boards.statements"
    ),
    "strengths": "boards.strengths",
    **dict.fromkeys(("Verdict", "verdict", "verdict_of_row"), "boards.verdicts"),
    **dict.fromkeys(("WORST", "View", "Where"), "boards.view"),
    "by_worst_split": "boards.worst",
    **dict.fromkeys(("Build", "Executors"), "data.building"),
    **dict.fromkeys(("Gallery", "grey", "groups", "numbers"), "data.gallery"),
    **dict.fromkeys(("Benchmark", "load_benchmark"), "data.loading"),
    **dict.fromkeys(("Limits", "Options"), "evaluation.options"),
    **dict.fromkeys(("LOCAL", "REVIEWED", "Entry"), "registry.tables"),
    "Pictures": "targets.pictures",
    **dict.fromkeys(
        (
            "BOARD_KINDS",
            "TOO_GOOD",
            "Doubt",
            "doubts_in_words",
            "flags_to_show",
            "kind_of_flag",
        ),
        "scoring.doubts",
    ),
    "SampleScores": "scoring.samples",
    "Scored": "scoring.score",
    **dict.fromkeys(("BOOTSTRAP", "LEVEL", "RESAMPLES"), "scoring.uncertainty"),
    **dict.fromkeys(("FEWEST_UNITS", "method_in_words", "why_none"), "scoring.intervals"),
    **dict.fromkeys(("Statement", "card_from_mapping", "read_card"), "submission.statements"),
    **dict.fromkeys(("Committed", "NameTaken", "Prepared"), "submission.submit"),
    "folder_name": "submission.export",
    **dict.fromkeys(("Upload", "Uploads"), "submission.uploads"),
}
__all__ = [
    "BOARD_KINDS",
    "BOOTSTRAP",
    "COMPARED",
    "FEWEST_UNITS",
    "LEVEL",
    "LOCAL",
    "NO_ROOM",
    "RESAMPLES",
    "REVIEWED",
    "TOO_GOOD",
    "WORST",
    "Benchmark",
    "Board",
    "Build",
    "Campaign",
    "Committed",
    "Comparison",
    "Contents",
    "Counts",
    "DataFingerprints",
    "Doubt",
    "Download",
    "Entry",
    "Errors",
    "Estimate",
    "Evaluation",
    "Executors",
    "Gallery",
    "Hub",
    "Limits",
    "LocalHub",
    "Match",
    "MetricInfo",
    "NameTaken",
    "Options",
    "PageOptions",
    "Pair",
    "Pictures",
    "Prepared",
    "RecentSubmission",
    "RunRequest",
    "SampleScores",
    "Scored",
    "Side",
    "Solver",
    "Standing",
    "Statement",
    "Submitted",
    "TemplateFiles",
    "Upload",
    "Uploads",
    "Verdict",
    "View",
    "Where",
    "ahead_of",
    "by_worst_split",
    "called",
    "card_from_mapping",
    "compare",
    "cost_text",
    "coverage_in_words",
    "discretisation_in_words",
    "doubts_in_words",
    "draw_badge",
    "embed_badge",
    "evaluate",
    "executors_of",
    "explain",
    "flags_to_show",
    "folder_name",
    "front",
    "gain_text",
    "gains",
    "grey",
    "groups",
    "kept_pictures",
    "kind_of_flag",
    "load_benchmark",
    "method_in_words",
    "named",
    "no_room",
    "numbers",
    "open_hub",
    "predicted_piece",
    "prediction_note",
    "ratio",
    "read_card",
    "refusal",
    "relation",
    "score",
    "seconds_each",
    "seeds_text",
    "simplest",
    "standing_of",
    "standings",
    "statements",
    "strengths",
    "submit",
    "temporary_folder",
    "temporary_root",
    "the_best",
    "to_records",
    "unknown_costs",
    "verdict",
    "verdict_of_row",
    "why_none",
    "with_solver",
]


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(importlib.import_module(f"etchmark.{_WHERE[name]}"), name)
    raise AttributeError(f"module 'etchmark.api' has no attribute {name!r}")
