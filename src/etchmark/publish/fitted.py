"""Repositories of fitted models: what predicts, the code that loads it, and what it scored."""

from __future__ import annotations

import yaml

from etchmark.artefacts import store as artefacts
from etchmark.boards.standings import superseded
from etchmark.catalog import Catalog
from etchmark.data import packaging
from etchmark.errors import UserError
from etchmark.publish import cards, pretrained
from etchmark.publish.repository import MARKS, Item, Repository
from etchmark.registry.layout import slug
from etchmark.registry.store import Store
from etchmark.specs import BenchmarkSpec, ResultRecord
from etchmark.specs.artefacts import Artefact
from etchmark.targets import metric as metric_by_id

FOLDER = "artefact"
HELD = {
    True: "holds weights derived from them",
    False: "holds none of them",
    None: "may hold some of them, which was not checked",
}
LONGEST_NAME = 96
"""Of a repository, on the Hub."""


def kept(catalog: Catalog, store: Store) -> dict[tuple[str, str], list[str]]:
    """Submissions whose fitted model is on this machine, by name and benchmark.

    Only the newest of each model, on the headline protocol of the current version of a benchmark.
    """
    submissions: dict[tuple[str, str], list[str]] = {}
    for name in catalog.benchmark_names():
        spec = catalog.benchmark(name)
        briefs = store.briefs(spec.id, spec.version, next(iter(spec.protocols)))
        old = superseded(briefs)
        for brief in briefs:
            artefact = brief.content["artefact"]
            if brief.submission in old or artefact is None:
                continue
            if artefacts.folder_of(artefact["sha256"]).is_dir():
                submissions.setdefault((brief.name, spec.id), []).append(brief.submission)
    return submissions


def repository(catalog: Catalog, store: Store, submission: str, organisation: str) -> Repository:
    """The repository of a fitted model.

    Args:
        catalog: where benchmarks are declared.
        store: the registry of this hub.
        submission: whose model it is.
        organisation: that publishes it.

    Raises:
        UserError: the model states no licence, holds weights that may not be passed on, or was
            changed since it was kept.
    """
    entry = store.get(submission)
    if entry is None or entry.record.artefact is None:
        raise UserError(f"{submission[:12]}: has no fitted model")
    return _repository(catalog, entry.record, organisation)


def repository_name(record: ResultRecord) -> str:
    """Name of the repository, from benchmark, model and track."""
    name = f"{record.benchmark}.{slug(record.name, record.submission)}.{record.track}"
    if len(name) > LONGEST_NAME:
        raise UserError(f"{name}: is too long for a repository; give the model a shorter name")
    return name


def _repository(catalog: Catalog, record: ResultRecord, organisation: str) -> Repository:
    assert record.artefact is not None  # noqa: S101 (the caller looked)
    card, spec = record.card, catalog.benchmark(f"{record.benchmark}@{record.benchmark_version}")
    config = spec.tracks[record.track].config
    if catalog.dataset(spec.dataset).configs[config].own_use:
        raise UserError(
            f"{record.name}: its fitted model is not published, since it was fitted on"
            f" {spec.dataset}:{config}, whose sources grant no licence, and may hold parts of them"
        )
    folder = artefacts.folder_of(record.artefact.sha256)
    manifest = artefacts.verify(folder)
    if card.licence is None:
        raise UserError(
            f"{record.name}: its card states no licence, so its fitted model is not published; add"
            " `licence` to the card and evaluate it again"
        )
    weights = pretrained.used(catalog, record.made_with, folder / artefacts.MODELS)
    for each in weights:
        if (reason := each.refusal()) is not None:
            raise UserError(f"{record.name}: its fitted model is not published, since it {reason}")
    paths = [*(file.path for file in manifest.files), artefacts.MANIFEST]
    results = _evaluation_results(spec, record, organisation)
    items = [
        Item(MARKS[0], b"published by etchmark\n"),
        *(Item(f"{FOLDER}/{path}", folder / path) for path in paths),
        Item("record.json", cards.as_json(record.model_dump(mode="json", by_alias=True))),
        Item(f".eval_results/{spec.id}.yaml", results),
        Item(packaging.README, _card(spec, record, manifest, weights).encode()),
    ]
    name = repository_name(record)
    title = f"{card.title or record.name} on {spec.title}"
    return Repository(name, "model", title, card.licence, tuple(items), owned=(FOLDER,))


def _evaluation_results(spec: BenchmarkSpec, record: ResultRecord, organisation: str) -> bytes:
    """The score in the Hub's own format, which has no place for interval, count or split."""
    from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml

    entries = []
    for score in record.scores:
        value = score.metrics.get(spec.primary_metric)
        if value is None:
            continue
        interval = "no interval"
        if value.ci_low is not None and value.ci_high is not None:
            interval = f"95 % interval {value.ci_low:.6g} to {value.ci_high:.6g}"
        entries.append(
            EvalResultEntry(
                dataset_id=f"{organisation}/{spec.id}",
                task_id=f"{record.protocol}.{score.split}",
                value=value.value,
                date=record.created.isoformat(),
                source_url=f"https://huggingface.co/datasets/{organisation}/results",
                source_name=f"etchmark record {record.submission[:12]}",
                notes=(
                    f"{spec.primary_metric}, {spec.key}, track {record.track}, split {score.split},"
                    f" {interval}, n = {score.n}; record.json has all of it"
                ),
            )
        )
    text = yaml.safe_dump(
        eval_result_entries_to_yaml(entries), allow_unicode=True, sort_keys=False, width=100
    )
    return text.encode()


def _card(
    spec: BenchmarkSpec, record: ResultRecord, manifest: Artefact, weights: list[pretrained.Used]
) -> str:
    card = record.card
    first = manifest.models[0]
    digest = record.artefact.sha256 if record.artefact else ""
    return "\n".join(
        [
            *cards.head(
                card.title or record.name,
                card.licence or "",
                datasets=[f"{cards.HERE}/{spec.dataset}", f"{cards.HERE}/{spec.id}"],
            ),
            f"# {card.title or record.name}",
            "",
            card.description.strip(),
            "",
            f"Model `{record.name}`, fitted on `{spec.key}`, track `{record.track}`, protocol"
            f" `{record.protocol}`. Data: `{spec.dataset}:{spec.tracks[record.track].config}`,"
            f" fingerprint `{manifest.data}`. Licence: {card.licence}. Authors:"
            f" {', '.join(card.authors) or 'not stated'}.",
            "",
            "## Scores",
            "",
            *_scores(spec, record),
            "## Files",
            "",
            f"`{FOLDER}/` holds {len(manifest.models)} fitted"
            f" model{'s' if len(manifest.models) > 1 else ''} (one for each fold and seed) and the"
            " code that loads them; `artefact.json` lists every file with its SHA-256, and its own"
            f" SHA-256 is `{digest}`. There is no pickle."
            " The code runs on your machine when you load a model: read it first. It needs"
            " `etchmark`, and `record.json` lists the versions that the model was fitted with.",
            "",
            "```python",
            "import sys",
            "from pathlib import Path",
            "",
            "from huggingface_hub import snapshot_download",
            "",
            f'whole = snapshot_download("{cards.HERE}/{repository_name(record)}")',
            f'folder = Path(whole) / "{FOLDER}"',
            'sys.path.insert(0, str(folder / "code"))',
            "from model import load",
            "",
            f'model = load(folder / "{first.folder}", "cpu")',
            f"# model.predict(inputs): {', '.join(manifest.inputs)}, one row per sample",
            "```",
            "",
            *_weights(weights),
            *([f"Paper: {_link(str(card.paper))}", ""] if card.paper else []),
        ]
    )


def _scores(spec: BenchmarkSpec, record: ResultRecord) -> list[str]:
    rows = []
    for score in record.scores:
        for name in spec.metrics:
            value = score.metrics.get(name)
            if value is not None:
                shown = cards.shown(value.value, value.ci_low, value.ci_high)
                unit = metric_by_id(name).unit_for(spec.target.unit)
                named = f"{name}, {unit}" if unit else name
                rows.append((f"`{score.split}`", named, shown, score.n))
    return cards.table(("split", "metric", "score with 95 % interval", "samples"), rows)


def _weights(weights: list[pretrained.Used]) -> list[str]:
    if not weights:
        return []
    lines = ["## Pretrained weights", ""]
    for each in weights:
        held = HELD[each.held]
        terms = each.terms
        said = f"{terms.attribution}; licence: {terms.licence or 'none stated'}" if terms else ""
        lines.append(f"- {each.name} (SHA-256 `{each.sha256}`): the model {held}. {said}".rstrip())
    return [*lines, ""]


def _link(reference: str) -> str:
    return reference if "://" in reference else f"https://doi.org/{reference}"
