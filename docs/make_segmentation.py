"""Writes the tables of ``docs/segmentation.md`` from the reviewed records."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from etchmark import files
from etchmark.catalog import catalog, results_of
from etchmark.specs import BenchmarkSpec

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "segmentation.md"
BOARDS = ("uhcs-segmentation", "superalloy-segmentation", "coating-segmentation")
FEW_SHOT, CURVE = "superalloy-segmentation", "training-size"
EXPECTED = {
    "majority_class": "17",
    "grey_levels": "20",
    "pixel_forest/filters": "35",
    "hypercolumns/pruned-vgg-random-mlp": "38",
    "hypercolumns/vit-tiny-mlp": "50",
    "hypercolumns/squeezenet-linear": "59",
    "hypercolumns/pruned-vgg-linear": "61",
    "hypercolumns/pruned-vgg-mlp": "65",
    "hypercolumns/vgg19-mlp": "68.3",
}
"""Pooled mean IoU in per cent on unseen specimens of the steel, of trials made before these boards
stood: another implementation of each, every third pixel scored."""


def records(spec: BenchmarkSpec) -> list[dict[str, Any]]:
    """The reviewed records of a board's current version."""
    folder = results_of(ROOT) / spec.key
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]


def scores(spec: BenchmarkSpec) -> dict[str, dict[str, dict[str, Any]]]:
    """The first split's metrics by model and protocol, best on the headline first."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for record in records(spec):
        if record["outcome"] == "ok":
            metrics = record["scores"][0]["metrics"]
            found.setdefault(record["name"], {})[record["protocol"]] = metrics
    headline = {
        name: by[spec.headline]["mean_iou"]["value"]
        for name, by in found.items()
        if spec.headline in by
    }
    return {name: found[name] for name in sorted(headline, key=lambda name: -headline[name])}


def percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f}"


def table(name: str) -> str:
    """One row per model: score on the headline with its interval, and on the other protocol."""
    spec = catalog().benchmark(name)
    other = [protocol for protocol in spec.protocols if protocol != spec.headline]
    trials = name == BOARDS[0]
    heads = ["model", "role", f"`{spec.headline}`", *(f"`{each}`" for each in other)]
    heads += ["mean over micrographs", *(["trial"] if trials else [])]
    lines = [f"| {' | '.join(heads)} |", f"|{' --- |' * len(heads)}"]
    for model, by in scores(spec).items():
        score = by[spec.headline]["mean_iou"]
        text = percent(score["value"])
        if score["ci_low"] is not None:
            text += f" [{percent(score['ci_low'])}, {percent(score['ci_high'])}]"
        cells = [f"`{model}`", spec.role_of(model), text]
        cells += [percent(by[each]["mean_iou"]["value"]) if each in by else "–" for each in other]
        cells.append(percent(by[spec.headline]["mean_iou_of_images"]["value"]))
        cells += [EXPECTED.get(model, "–")] if trials else []
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) if len(lines) > 2 else "No row yet."


def curves(name: str) -> str:
    """One row per model with a curve on the headline: score from so many training micrographs."""
    spec = catalog().benchmark(name)
    rows: dict[str, dict[int, str]] = {}
    for record in records(spec):
        if record["outcome"] != "ok" or record["protocol"] != spec.headline:
            continue
        for curve in record.get("curves", []):
            if curve["name"] == CURVE:
                scored = [point for point in curve["points"] if point["score"] is not None]
                rows[record["name"]] = {
                    point["samples"]: percent(point["score"]["value"]) for point in scored
                }
    if not rows:
        return "No curve yet."
    sizes = sorted({size for row in rows.values() for size in row})
    lines = [f"| from so many micrographs | {' | '.join(map(str, sizes))} |"]
    lines.append(f"| --- |{' --- |' * len(sizes)}")
    for model, row in rows.items():
        cells = [row.get(size, "–") for size in sizes]
        lines.append(f"| `{model}` | {' | '.join(cells)} |")
    return "\n".join(lines)


def page() -> str:
    """The page with its tables."""
    text = PAGE.read_text(encoding="utf-8")
    blocks = {name: table(name) for name in BOARDS}
    blocks[f"curves of {FEW_SHOT}"] = curves(FEW_SHOT)
    for name, content in blocks.items():
        start, end = f"<!-- {name}: docs/make_segmentation.py -->", f"<!-- end of {name} -->"
        before, rest = text.split(start)
        text = f"{before}{start}\n{content}\n{end}{rest.split(end)[1]}"
    return text


if __name__ == "__main__":
    files.write_text(PAGE, page())
