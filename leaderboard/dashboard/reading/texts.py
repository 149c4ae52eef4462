"""The text of each term, 120 words at most, with what the benchmark declares filled in."""

from __future__ import annotations

from collections.abc import Callable

from dashboard.text import literal
from etchmark.api import FEWEST_UNITS, RESAMPLES, Hub, discretisation_in_words
from etchmark.specs import BenchmarkSpec
from etchmark.text import number, one_line

Writer = Callable[[Hub, BenchmarkSpec], str]
STATUSES = {
    "verified": "this hub ran the model, also on samples drawn after it was submitted.",
    "run": "this hub ran the model: predictions, scores and cost are from that run.",
    "scored": "scored here from a predictions file; how the file was made is its author's word.",
    "reported": "the submitter's own scores; nothing was recomputed.",
}
ROLES = {
    "entry": "a model that competes.",
    "reference": "trivial or classical; what entries have to beat.",
    "oracle": "makes or reproduces the labels, such as the solver.",
    "control": "shows a leak or a confound.",
    "exploratory": "found by looking at test scores.",
}


def _listed(meanings: dict[str, str]) -> str:
    return "\n".join(f"- **{name}**: {meaning}" for name, meaning in meanings.items())


def task(hub: Hub, spec: BenchmarkSpec) -> str:
    target = spec.target
    unit = "" if target.unit == "1" else f", in {literal(target.unit)}"
    return (
        f"{literal(one_line(spec.summary))}\n\n"
        f"Target: **{literal(target.quantity)}**{unit}. Benchmark `{spec.key}`, licence"
        f" {literal(spec.licence)}."
    )


def protocol(hub: Hub, spec: BenchmarkSpec) -> str:
    general = (
        "A protocol says which samples a model learns from and which it is scored on. The first is"
        " the **headline**, by which models are ranked unless you choose another."
    )
    headline, unit = spec.protocols[spec.headline], literal(spec.unit_name)
    if headline.group_column is None or spec.unit_name == "sample":
        return general
    return (
        f"{general}\n\nWhy `{spec.headline}` is the headline: samples of one {unit} resemble each"
        " other in ways that have nothing to do with the question. If some of them are in the"
        f" training data, a model can score well by recognising the {unit}. Under the headline"
        f" protocol no {unit} is on both sides, so the score is what a user with a new {unit} can"
        " expect."
    )


def score(hub: Hub, spec: BenchmarkSpec) -> str:
    text = (
        "A **score** is computed over all samples of the test data together, from the predictions"
        " alone, by the same function for every model. The primary **metric** ranks a board; the"
        " others show what it leaves out. Two metrics need not order models alike.\n\nA **track**"
        " says what a model may look at. Models of different tracks stand on one board, so that"
        " they compare."
    )
    if any(declared.fold_statistics for declared in spec.protocols.values()):
        text += (
            "\n\n**Mean ± sd over folds** is shown beside the score where papers report it that"
            " way. Its spread is that of small test folds, not an interval for the score."
        )
    return text


def interval(hub: Hub, spec: BenchmarkSpec) -> str:
    units = literal(spec.unit_names)
    return (
        f"A score depends on which {units} happen to be in the data. With other {units} it would"
        " likely lie in its 95 % **interval**."
        f" Each {literal(spec.unit_name)} is left out in turn, and the spread of the scores gives"
        " the interval.\n\nA model that was fitted once has the interval of that fit; with several"
        " seeds it includes how the score varies between them. With fewer than"
        f" {FEWEST_UNITS} {units} there is no interval. Errors of the labels are left out."
        "\n\nIf two intervals overlap, one of the models may still be shown to be better. The test"
        f" that decides this looks at both models on the same {units}: see *Told apart*."
    )


def told_apart(hub: Hub, spec: BenchmarkSpec) -> str:
    return (
        f"For each {literal(spec.unit_name)}, take the difference between two models: how much"
        " worse one did than the other. If both were equally good, each difference could as well"
        " have had the other sign. So the signs are flipped in many patterns, and the differences"
        " of each pattern are added up. **p** is the share of these sums that are at least as far"
        " from zero as the sum of the data. If p is at most 5 %, the models are **told apart**."
        "\n\nOtherwise the data do not show which model is better, which does not make them equal."
        " They are **equal in practice** if their scores differ by less than what matters here:"
        f" {smallest_difference(hub, spec)}."
    )


def smallest_difference(hub: Hub, spec: BenchmarkSpec) -> str:
    """The smallest difference that matters, as the benchmark declares it."""
    declared = spec.smallest_difference
    if declared is None or declared.value is None:
        share = 0.01 if declared is None else declared.share or 0.0
        return f"{100 * share:g} % of the score"
    unit = hub.metric(spec, spec.primary_metric).unit
    return literal(number(declared.value) + ("" if unit == "1" else f" {unit}"))


def rank(hub: Hub, spec: BenchmarkSpec) -> str:
    return (
        "The **rank** is the order of the scores: 1 is best, and equal scores share a rank. It is"
        " made among the rows that are shown, so a filter changes it.\n\n**Rank range**: all models"
        f" are ranked on {RESAMPLES:,} resamples of the {literal(spec.unit_names)}; the range holds"
        " the middle 95 % of a model's ranks. It describes how ranks vary and tests nothing.\n\n"
        "**Best** marks the rows that may be the best. Those that a test finds behind a better row"
        " are taken away, one after the other. It allows for the number of pairs: only on about 5 %"
        " of boards does it take away the row that is truly the best."
    )


def gain(hub: Hub, spec: BenchmarkSpec) -> str:
    reference = literal(spec.gains_over or "none is declared here")
    return (
        "The **gain** is by how much the error is smaller than that of one reference, declared"
        f" before any score was seen ({reference}). At 100 % no error is left; below 0 % the model"
        " is worse than the reference. An interval is for one row alone, but the test allows for"
        " the number of rows: a gain may count as not shown although its interval excludes 0."
        "\n\n**Reference lines** say what else to compare with. A model that does not beat a"
        " trivial predictor (a mean, the last frame repeated) has not shown that it learned"
        " anything. Beside a formula or a solver, a model has to be more accurate or cheaper."
    )


def roles(hub: Hub, spec: BenchmarkSpec) -> str:
    return (
        f"{_listed(ROLES)}\n\nOnly entries and references are ranked. The others are listed apart,"
        " never lead, and have no gain. The benchmark declares the roles of its baselines; a"
        " submission states its own."
    )


def discretisation_error(hub: Hub, spec: BenchmarkSpec) -> str:
    text = (
        "Simulated labels are computed on a grid. A label is exact for its voxels, and a solver on"
        " the same grid reproduces it. The **discretisation error** is how far the label would move"
        " if the same picture were drawn with ever smaller voxels.\n\nIt does not limit which"
        " models can be told apart. It is the grey band of the plots: a model whose error lies in"
        " it has learnt the grid along with the material."
    )
    declared = spec.discretisation_error
    if declared is None:
        return f"{text}\n\nThis benchmark declares none."
    if declared.unknown is not None:
        return f"{text}\n\nHere it is {literal(discretisation_in_words(declared, '1'))}."
    return text


def verified(hub: Hub, spec: BenchmarkSpec) -> str:
    return (
        f"The status says who computed a score.\n\n{_listed(STATUSES)}\n\n"
        "What a submitter states about cost is shown on the model's page, as a claim. Failed runs"
        " are kept, never ranked and never averaged. A newer submission of the same name, track and"
        " protocol takes the place of an older one. *Show failed and superseded runs* shows both."
    )


def cost(hub: Hub, spec: BenchmarkSpec) -> str:
    return (
        "**Processor time** (cpu s) is that of fitting and predicting, summed over cores and folds."
        " **Reference units** divide it by the processor time of a fixed piece of work, timed"
        " beside the run, so that runs on different or busy machines compare. **Parameters**"
        " are all that a prediction depends on. Wall times are on each model's page. Frozen image"
        " features are a cost of their own.\n\nOnly what this hub measured counts: a predictions"
        " file has no measured cost. What a record does not hold is unknown, and nothing is"
        " estimated in its place."
    )


def flags(hub: Hub, spec: BenchmarkSpec) -> str:
    return (
        "A **flag** is a doubt that the hub found by itself: predictions that are constant, equal"
        " to the labels, worse than a trivial reference or the same as those of another row; a"
        " score below the discretisation error, far ahead of all others or much better than on"
        " validation samples; training data that hold test samples.\n\nA flag refuses no file and"
        " changes no score and no rank. It asks you to look. On the overview, a lead that a flag"
        " doubts is not shown in green."
    )


WRITERS: dict[str, Writer] = {
    "task": task,
    "protocol": protocol,
    "score": score,
    "interval": interval,
    "told-apart": told_apart,
    "rank": rank,
    "gain": gain,
    "roles": roles,
    "discretisation-error": discretisation_error,
    "verified": verified,
    "cost": cost,
    "flags": flags,
}
"""By the key of the term."""
