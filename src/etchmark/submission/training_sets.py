"""Whether the training data that a card declares hold samples that the submission is scored on."""

from __future__ import annotations

from etchmark.columns import Columns
from etchmark.data.loading import Benchmark, find_config, read_config
from etchmark.scoring.doubts import Doubt
from etchmark.specs import ModelCard


def trained_on_test(benchmark: Benchmark, card: ModelCard, protocol: str) -> list[Doubt]:
    """A doubt for each declared set of this hub that shares samples with a scored split.

    Ids name the samples of a dataset. A config that is on no track of the benchmark is compared
    where it is on this machine; sets of other datasets, and of other hubs, cannot be.

    Args:
        benchmark: what is scored.
        card: of the submission.
        protocol: which of its splits are scored.
    """
    doubts = []
    for text in card.training_sets:
        dataset, config, split = (*text.split(":"), "", "")[:3]
        if dataset != benchmark.spec.dataset:
            continue
        taught = _ids(benchmark, config, split)
        for scored, truth in benchmark.scored_splits(protocol).items() if taught else ():
            ids = truth.ids.tolist()
            shared = sum(name in taught for name in ids)
            if shared:
                message = (
                    f"split {scored!r}: {shared:,} of its {len(ids):,} samples are in {text}, which"
                    " the card declares as training data"
                )
                doubts.append(Doubt("trained_on_test", scored, message))
    return doubts


def _ids(benchmark: Benchmark, config: str, split: str) -> set[str]:
    """Ids of a split, or of all splits, of a config; empty where it is not on this machine."""
    spec = benchmark.spec
    if config in {track.config for track in spec.tracks.values()}:
        # All tracks hold the same samples, so one of them is enough.
        folder, manifest = benchmark.config_folder(benchmark.label_track())
    else:
        known = benchmark.catalog.dataset(spec.dataset).configs
        found = find_config(benchmark.catalog, spec.dataset, config) if config in known else None
        if found is None:
            return set()
        folder, manifest = found, read_config(found, spec.dataset, config)
    paths = [folder / file.path for file in manifest.files if split in ("", file.split)]
    return set(Columns(paths, ["id"])["id"].astype(str).tolist()) if paths else set()
