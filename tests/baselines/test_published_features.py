"""Published features: every encoder whose features were released has four variants."""

from __future__ import annotations

from pathlib import Path

import yaml

from etchmark.catalog import Catalog

ROOT = Path(__file__).resolve().parents[2]


def test_every_released_encoder_has_four_variants() -> None:
    card = yaml.safe_load((ROOT / "baselines/published_features/card.yaml").read_text("utf-8"))
    spec = Catalog(ROOT).benchmark("superalloy-hardness")
    inputs = spec.tracks["published-features"].inputs
    encoders = inputs[: inputs.index("base")]
    assert len(encoders) == 9
    declared = [
        (params["encoder"], params["head"], params.get("composition", False))
        for params in (variant["params"] for variant in card["variants"].values())
    ]
    expected = {
        (encoder, head, composition)
        for encoder in encoders
        for head in ("linear", "svr")
        for composition in (False, True)
    }
    assert len(declared) == len(expected)
    assert set(declared) == expected
    for name, variant in card["variants"].items():
        params = variant["params"]
        assert params["head"] in name.split("-")
        assert name.endswith("-composition") == params.get("composition", False)
        use = spec.use_of(f"published_features/{name}")
        assert use is not None
        assert use.track == "published-features"
