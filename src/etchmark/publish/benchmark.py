"""The repository of a benchmark: its card, frozen protocols, reference lines and standings."""

from __future__ import annotations

import io
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from etchmark.boards.references import reference_values
from etchmark.boards.standings import standings as board
from etchmark.boards.statements import statements
from etchmark.catalog import Catalog, results_of
from etchmark.data import packaging, release
from etchmark.data.loading import Benchmark, find_config
from etchmark.errors import UserError
from etchmark.publish import cards, citation, standings
from etchmark.publish.repository import MARKS, Item, Repository
from etchmark.publish.standings import Reviewed
from etchmark.registry.store import Store
from etchmark.specs import BenchmarkSpec, DatasetSpec, Protocol
from etchmark.targets import metric as metric_by_id

SHOWN = 10
"""Rows of the standings on a card."""


def repository(catalog: Catalog, reviewed: Reviewed, name: str) -> Repository:
    """The repository of the current version of a benchmark.

    Args:
        catalog: where it is declared.
        reviewed: rows of this hub that are shown.
        name: of the benchmark.

    Raises:
        UserError: an unknown name, or its protocols can be read neither from records nor from data.
    """
    spec = catalog.benchmark(name)
    root = catalog.root_of_benchmark(name)
    store = reviewed.of(spec)
    frame, said = standings.of(spec, store), statements(spec, board(spec, store))
    references = _references(catalog, spec, store)
    protocols = {each: protocol_table(catalog, spec, each) for each in spec.protocols}
    cff = citation.citation_file(
        root, spec.title, spec.version, spec.licence, spec.citations, "benchmark"
    )
    items = [
        Item(MARKS[0], b"published by etchmark\n"),
        Item("benchmark.yaml", catalog.benchmark_card(name)),
        *(Item(f"protocols/{each}.parquet", _parquet(t)) for each, t in protocols.items()),
        Item("references.json", cards.as_json(references)),
        Item("standings.csv", frame.to_csv(index=False, lineterminator="\n").encode()),
        Item(citation.FILE, cff),
        Item(
            packaging.README,
            _card(spec, catalog.dataset(spec.dataset), protocols, references, frame, said).encode(),
        ),
    ]
    return Repository(name, "dataset", spec.title, spec.licence, tuple(items), owned=("protocols",))


# --- protocols ---------------------------------------------------------------------------------


def protocol_table(catalog: Catalog, spec: BenchmarkSpec, name: str) -> pa.Table:
    """Every sample of a protocol: ``id``, ``split``, ``part``, ``fold`` and ``unit``.

    Ids of splits stand in the frozen release. Folds and units of scored samples are those of any
    reviewed row of the protocol; where there is none, they are read from the data, which have to be
    on this machine.
    """
    declared = spec.protocols[name]
    parts = _parts(declared)
    config = next(iter(spec.tracks.values())).config
    table = release.frozen_ids(catalog.dataset_folder(spec.dataset), config).to_pandas()
    table = table[table["split"].isin(list(parts))]
    table["part"] = table["split"].map(parts)
    scored = _of_rows(catalog, spec, name)
    if scored is None:
        if find_config(catalog, spec.dataset, config) is None:
            raise UserError(
                f"{spec.key}: its protocol {name} has no reviewed row yet, and its data are not"
                f" here; run `etchmark download {spec.id}` first"
            )
        scored = _of_data(Benchmark(catalog, spec), name)
    table = table.merge(scored, on=["id", "split"], how="left")
    return pa.table(
        {
            "id": pa.array(table["id"].astype(str), pa.string()),
            "split": pa.array(table["split"].astype(str), pa.string()),
            "part": pa.array(table["part"].astype(str), pa.string()),
            "fold": pa.array(table["fold"], pa.int32(), from_pandas=True),
            "unit": pa.array(table["unit"], pa.string(), from_pandas=True),
        }
    )


def _parts(protocol: Protocol) -> dict[str, str]:
    """What each split of a protocol is for."""
    parts = {protocol.split: "folds" if protocol.kind == "folds" else "test"}
    for split, part in ((protocol.train_split, "train"), (protocol.validation_split, "validation")):
        if split is not None:
            parts.setdefault(split, part)
    return parts | dict.fromkeys(protocol.extra_splits, "extra test")


def _of_rows(catalog: Catalog, spec: BenchmarkSpec, protocol: str) -> pd.DataFrame | None:
    folder = results_of(catalog.root_of_benchmark(spec.id)) / spec.key
    for path in sorted(folder.glob(f"*--{protocol}.parquet")):
        table = pq.read_table(path, columns=["id", "split", "fold", "unit"]).to_pandas()
        table["fold"] = table["fold"].astype("Int32")
        return table.drop_duplicates(["id", "split"])
    return None


def _of_data(benchmark: Benchmark, protocol: str) -> pd.DataFrame:
    frames = []
    for split, truth in benchmark.scored_splits(protocol).items():
        frame = pd.DataFrame({"id": truth.ids, "unit": truth.units}).assign(split=split)
        frame["fold"] = pd.array(truth.folds, "Int32") if truth.folds is not None else pd.NA
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def _parquet(table: pa.Table) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()


# --- references and card -----------------------------------------------------------------------


def _references(catalog: Catalog, spec: BenchmarkSpec, store: Store) -> dict[str, Any]:
    """Values of the reference lines of each protocol, on each split, by the primary metric."""
    lines: dict[str, Any] = {}
    for name, protocol in spec.protocols.items():
        for split in (protocol.split, *protocol.extra_splits):
            values = reference_values(
                catalog, spec, store, protocol=name, metric=spec.primary_metric, split=split
            )
            lines.setdefault(name, {})[split] = [
                {"label": line.label, "model": line.model, "value": value} for line, value in values
            ]
    return {
        "benchmark": spec.key,
        "metric": spec.primary_metric,
        "gains_over": spec.gains_over,
        "lines": lines,
    }


def _card(
    spec: BenchmarkSpec,
    dataset: DatasetSpec,
    protocols: dict[str, pa.Table],
    references: dict[str, Any],
    frame: pd.DataFrame,
    said: list[str],
) -> str:
    head = cards.head(
        spec.title,
        spec.licence,
        configs=[
            {"config_name": name, "default": True, "data_files": f"protocols/{name}.parquet"}
            if name == next(iter(protocols))
            else {"config_name": name, "data_files": f"protocols/{name}.parquet"}
            for name in protocols
        ],
    )
    headline = next(iter(spec.protocols))
    metric = metric_by_id(spec.primary_metric)
    unit = metric.unit_for(spec.target.unit)
    better = "larger" if metric.higher_is_better else "smaller"
    return "\n".join(
        [
            *head,
            f"# {spec.title}",
            "",
            spec.summary.strip(),
            "",
            spec.description.strip(),
            "",
            f"Benchmark `{spec.key}`. Licence: {spec.licence}. Primary metric: `{metric.id}`"
            f" ({metric.title}{f', {unit}' if unit else ''}); {better} is better.",
            "",
            *_data(spec, dataset),
            "",
            "## Tracks",
            "",
            *cards.table(
                ("track", "what a model reads", "inputs", "fingerprint of the data"),
                (
                    (f"`{name}`", t.title, ", ".join(t.inputs), f"`{t.fingerprint[:12]}…`")
                    for name, t in spec.tracks.items()
                ),
            ),
            "## Protocols",
            "",
            *cards.table(
                ("protocol", "what it is", "samples", "file"),
                (
                    (f"`{name}`", p.title, len(protocols[name]), f"`protocols/{name}.parquet`")
                    for name, p in spec.protocols.items()
                ),
            ),
            "A file of a protocol lists every sample with its split, what the split is for, and,"
            " where it is scored, its fold and the unit that intervals generalise over.",
            "",
            "## Reference lines",
            "",
            *_lines(references, unit),
            "## Standings",
            "",
            *said,
            "",
            *_standings(unit, frame, headline),
            "## Take part",
            "",
            "```bash",
            f"etchmark template {spec.id}       # test inputs and a predictions file to fill",
            f"etchmark submit predictions.parquet {spec.id} --name my-model",
            "```",
            "",
            *citation.works(spec.citations),
        ]
    )


def _data(spec: BenchmarkSpec, dataset: DatasetSpec) -> list[str]:
    """Where the data of each track are."""
    lines = []
    for config in sorted({track.config for track in spec.tracks.values()}):
        name = f"{spec.dataset}:{config}"
        if dataset.configs[config].own_use:
            how = (
                "its sources grant no licence, so it is not published: build it with"
                f" `etchmark build {spec.dataset} --config {config}`"
            )
        else:
            how = (
                f"config `{config}` of `{cards.HERE}/{spec.dataset}` where that is published, or"
                f" `etchmark download {name}`"
            )
        lines.append(f"- Data `{name}`: {how}.")
    return lines


def _lines(references: dict[str, Any], unit: str) -> list[str]:
    rows = [
        (line["label"], f"`{protocol}`", split, cards.shown(line["value"]))
        for protocol, splits in references["lines"].items()
        for split, lines in splits.items()
        for line in lines
    ]
    if not rows:
        return ["None has a score yet.", ""]
    return cards.table(("line", "protocol", "split", _with(references["metric"], unit)), rows)


def _with(metric: str, unit: str) -> str:
    return f"{metric}, {unit}" if unit else metric


def _standings(unit: str, frame: pd.DataFrame, protocol: str) -> list[str]:
    rows = frame[frame["protocol"] == protocol] if len(frame) else frame
    ranked = rows[rows["rank"].notna()] if len(rows) else rows
    if not len(ranked):
        return ["No row is ranked yet.", ""]
    metric = str(ranked["metric"].iloc[0])
    lines = cards.table(
        ("rank", "model", f"{_with(metric, unit)}, with 95 % interval", "n"),
        (
            (row.rank, f"{row.title} (`{row.model}`)", _score(row), row.n)
            for row in ranked.head(SHOWN).itertuples()
        ),
    )
    rest = len(ranked) - SHOWN
    more = f"{rest} further ranked rows, and those" if rest > 0 else "Rows that are"
    note = (
        f"Protocol `{protocol}`. Neighbours in rank are often not told apart: see `may_be_best` and"
        f" `gain_relation` in `standings.csv`. {more} listed apart, stand there too."
    )
    return [*lines, note, ""]


def _score(row: Any) -> str:
    values = (row.score, row.ci_low, row.ci_high)
    return cards.shown(*(None if pd.isna(value) else float(value) for value in values))
