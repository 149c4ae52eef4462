"""The repository of a dataset: the files of its configs with a card, a citation and Croissant."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import pyarrow.parquet as pq

from etchmark import files
from etchmark.catalog import Catalog
from etchmark.data import building, packaging, release
from etchmark.data.loading import find_config, read_config
from etchmark.data.transfer import describe_bytes
from etchmark.errors import UserError
from etchmark.publish import citation, croissant
from etchmark.publish.repository import LICENCES, MARKS, Item, Repository
from etchmark.specs import DatasetConfig, DatasetSpec, Manifest

CROISSANT = "croissant.json"
SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"))


def repository(catalog: Catalog, dataset: str, wanted: Sequence[str] = ()) -> Repository:
    """The repository of a dataset with the configs that are built here and may be passed on.

    Args:
        catalog: where it is declared.
        dataset: its name.
        wanted: these configs alone; none for all that can be published.

    Raises:
        UserError: an unknown name, a config that may not be published, is not built, or is not the
            release.
    """
    spec = catalog.dataset(dataset)
    named = [building.config_of(spec, name) for name in wanted]
    names = [name for name in spec.configs if not named or name in named]
    built: dict[str, tuple[Path, Manifest]] = {}
    left_out = []
    for name in names:
        try:
            built[name] = _released(catalog, spec, name)
        except UserError as error:
            if named:
                raise
            left_out.append(str(error))
    if not built:
        raise UserError(f"{dataset}: nothing of it can be published: {left_out[0]}")
    data = [
        Item(f"{name}/{file.path}", folder / file.path)
        for name, (folder, manifest) in built.items()
        for file in manifest.files
    ]
    root = catalog.root_of_dataset(dataset)
    described = [
        *(
            Item(f"{name}/{packaging.MANIFEST}", folder / packaging.MANIFEST)
            for name, (folder, _) in built.items()
        ),
        Item(CROISSANT, _croissant(spec, root, built)),
        Item(
            citation.FILE,
            citation.citation_file(root, spec.title, spec.version, spec.licence, spec.citations),
        ),
        Item(packaging.README, _card(spec, {name: m for name, (_, m) in built.items()}).encode()),
    ]
    return Repository(
        dataset,
        "dataset",
        spec.title,
        spec.licence,
        (Item(MARKS[0], b"published by etchmark\n"), *data, *described),
        tuple(built),
        tuple(name for name, declared in spec.configs.items() if declared.own_use),
        tuple(n for n, declared in spec.configs.items() if n not in built and not declared.own_use),
        tuple(left_out),
    )


def require_licence(spec: DatasetSpec, config: str) -> None:
    """Refuse a config that whoever builds it may not pass on."""
    if spec.configs[config].own_use:
        raise UserError(
            f"{spec.name}:{config}: is not published, since its sources grant no licence; whoever"
            " wants it builds it"
        )


def _released(catalog: Catalog, spec: DatasetSpec, config: str) -> tuple[Path, Manifest]:
    """Folder and manifest of a config that is built here and equals the release."""
    require_licence(spec, config)
    build = f"`etchmark build {spec.name} --config {config}`"
    folder = find_config(catalog, spec.name, config)
    if folder is None:
        raise UserError(f"{spec.name}:{config}: is not built here; run {build} first")
    manifest = read_config(folder, spec.name, config)
    released = release.frozen_fingerprint(catalog.dataset_folder(spec.name), config)
    if released is None:
        raise UserError(f"{spec.name}:{config}: has no frozen release; only releases are published")
    if manifest.fingerprint != released:
        raise UserError(f"{folder}: is not the released config; rebuild with {build}")
    for file in manifest.files:
        path = folder / file.path
        if not path.is_file() or files.sha256_of(path) != file.sha256:
            raise UserError(f"{path}: missing or damaged; rebuild with {build}")
    # A manifest that was edited with its files says what it likes: the content decides.
    if not packaging.has_fingerprint(folder, manifest.files, released):
        raise UserError(f"{folder}: is not the released config; rebuild with {build}")
    return folder, manifest


def _croissant(spec: DatasetSpec, root: Path, built: dict[str, tuple[Path, Manifest]]) -> bytes:
    own = citation.how_to_cite(root)
    cite = f"etchmark dataset {spec.name}, version {spec.version}: {spec.title}"
    configs = {}
    for name, (folder, manifest) in built.items():
        first: dict[str, pq.ParquetFile] = {}
        for file in manifest.files:
            first.setdefault(file.split, pq.ParquetFile(folder / file.path))
        configs[name] = (manifest, first)
    return croissant.described(spec, configs, cite, str(own.get("date-released") or "2026-01-01"))


def _card(spec: DatasetSpec, manifests: dict[str, Manifest]) -> str:
    """``README.md`` of the repository; its head names every file of every split."""
    default = spec.default_config if spec.default_config in manifests else next(iter(manifests))
    return "\n".join(
        [
            *_head(spec, manifests, default),
            f"# {spec.title}",
            "",
            spec.summary.strip(),
            "",
            f"Dataset `{spec.name}`, version {spec.version}. Licence: {spec.licence}. The files"
            " equal the frozen release of etchmark row by row; `manifest.json` of each config has"
            " their SHA-256 and the fingerprint of the content.",
            "",
            "| config | what it is | splits | rows | size | fingerprint |",
            "| --- | --- | --- | --- | --- | --- |",
            *(_row(name, spec.configs[name], found) for name, found in manifests.items()),
            "",
            "```python",
            "from datasets import load_dataset",
            f'table = load_dataset("ORGANISATION/{spec.name}", "{default}")',
            "```",
            "",
            "```bash",
            f"ETCHMARK_REMOTE=hf://ORGANISATION etchmark download {spec.name}:{default}",
            "```",
            "",
            *citation.works(spec.citations),
        ]
    )


def _head(spec: DatasetSpec, manifests: dict[str, Manifest], default: str) -> Iterable[str]:
    rows = sum(file.rows for manifest in manifests.values() for file in manifest.files)
    yield "---"
    yield f"pretty_name: {json.dumps(spec.title, ensure_ascii=False)}"
    if spec.licence in LICENCES:
        yield f"license: {LICENCES[spec.licence][0]}"
    else:
        yield "license: other"
        yield f"license_name: {json.dumps(spec.licence, ensure_ascii=False)}"
    yield f"size_categories: [{next((s for limit, s in SIZES if rows < limit), '100K<n<1M')!r}]"
    yield "tags: [materials-science, microstructure, etchmark]"
    yield "configs:"
    for name, manifest in manifests.items():
        yield f"- config_name: {name}"
        if name == default:
            yield "  default: true"
        yield "  data_files:"
        for split in spec.configs[name].splits:
            yield f"  - split: {split}"
            yield "    path:"
            yield from (f"    - {name}/{f.path}" for f in manifest.files if f.split == split)
    yield "---"
    yield ""


def _row(name: str, config: DatasetConfig, manifest: Manifest) -> str:
    size = describe_bytes(sum(file.bytes for file in manifest.files))
    return (
        f"| `{name}` | {config.title} | {', '.join(config.splits)} | {config.rows} | {size} |"
        f" `{manifest.fingerprint[:12]}…` |"
    )
