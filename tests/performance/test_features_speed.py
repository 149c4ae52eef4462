"""Speed of image features beside the loop of the published notebooks, in the same run.

``make speed`` prints them. The weights are random, which costs the same as pretrained ones.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch (extra `features`) is not installed")
timm = pytest.importorskip("timm", reason="timm (extra `features`) is not installed")

from etchmark.features.encoders import Encoder  # noqa: E402
from etchmark.features.extract import features  # noqa: E402
from etchmark.features.locating import locate  # noqa: E402
from etchmark.features.spec import EncoderSpec, Output  # noqa: E402
from etchmark.learning.training import multiplies_bfloat16  # noqa: E402

pytestmark = [pytest.mark.speed, pytest.mark.timeout(1200)]

TINY, SMALL, BASE = (f"vit_{size}_patch16_224" for size in ("tiny", "small", "base"))
CLASS = [Output("last", "class")]


def pictures(count: int, side: int = 51, seed: int = 0) -> list[np.ndarray]:
    generator = np.random.default_rng(seed)
    return [(generator.random((side, side)) < 0.4).astype(np.uint8) * 255 for _ in range(count)]


def spec(name: str, **more: object) -> EncoderSpec:
    return EncoderSpec(name, weights="random", **{"precision": "float32", **more})  # type: ignore[arg-type]


def loop(network: torch.nn.Module, given: list[np.ndarray]) -> np.ndarray:
    """One image at a time, as in the published notebooks."""
    from PIL import Image
    from timm.data.config import resolve_data_config
    from timm.data.transforms_factory import create_transform

    transform = create_transform(**resolve_data_config({}, model=network), is_training=False)
    found = []
    with torch.no_grad():
        for one in given:
            batch = transform(Image.fromarray(one).convert("RGB")).unsqueeze(0)  # type: ignore[union-attr]
            found.append(network.forward_features(batch)[:, 0].numpy())  # type: ignore[operator]
    return np.concatenate(found)


def in_batches(encoder: Encoder, given: list[np.ndarray]) -> tuple[float, np.ndarray]:
    """Images per second and their features, in batches as the store fills."""
    size, started = encoder.at_once, time.perf_counter()
    parts = [encoder(given[at : at + size], CLASS)[0] for at in range(0, len(given), size)]
    return len(given) / (time.perf_counter() - started), np.concatenate(parts)


@pytest.mark.parametrize(("name", "count"), [(TINY, 96), (SMALL, 32), (BASE, 16)])
def test_batches_beside_a_loop(name: str, count: int, report: Callable[..., None]) -> None:
    given = pictures(count)
    chosen = spec(name)
    encoder = Encoder(chosen, locate(chosen))
    rates, outputs = {"batches": 0.0, "loop": 0.0}, {}
    for _ in range(4):  # in turns, and the best of each counts: the first is a warm-up
        rate, outputs["batches"] = in_batches(encoder, given)
        rates["batches"] = max(rates["batches"], rate)
        started = time.perf_counter()
        outputs["loop"] = loop(encoder.network, given)
        rates["loop"] = max(rates["loop"], count / (time.perf_counter() - started))
    apart = float(np.abs(outputs["batches"] - outputs["loop"]).max())
    values = [
        ("etchmark, float32", rates["batches"], "images/s"),
        ("loop over images", rates["loop"], "images/s"),
        ("ratio", rates["batches"] / rates["loop"], ""),
        ("largest difference", apart, ""),
    ]
    if multiplies_bfloat16("cpu"):
        half = Encoder(spec(name, precision="bfloat16"), locate(chosen))
        for _ in range(2):
            rates["half"], made = in_batches(half, given)
        cosine = (made * outputs["loop"]).sum(1)
        cosine /= np.linalg.norm(made, axis=1) * np.linalg.norm(outputs["loop"], axis=1)
        values += [
            ("etchmark, bfloat16", rates["half"], "images/s"),
            ("ratio", rates["half"] / rates["loop"], ""),
            ("smallest cosine", float(cosine.min()), ""),
        ]
    report(f"{name}, 224 pixels", *values, goal="float32 >= 1, bfloat16 >= 3 times the loop")
    assert apart < 1e-3
    assert rates["batches"] >= 0.95 * rates["loop"]
    if "half" in rates:
        assert rates["half"] >= 3 * rates["loop"]
        assert cosine.min() >= 0.9999
    else:
        print("  bfloat16: this processor has no instructions for it, so it is not measured")


def test_a_small_input_is_much_faster(report: Callable[..., None]) -> None:
    given, rates = pictures(64), {}
    for size in (224, 64):
        chosen = spec(TINY, size=size, crop=1.0)
        encoder = Encoder(chosen, locate(chosen))
        encoder(given[:8], CLASS)
        started = time.perf_counter()
        encoder(given, CLASS)
        rates[size] = len(given) / (time.perf_counter() - started)
    report(
        "ViT-Tiny on 51 x 51 sections",
        ("input of 224 pixels", rates[224], "images/s"),
        ("input of 64 pixels", rates[64], "images/s"),
        ("ratio", rates[64] / rates[224], ""),
        goal="more than 3",
    )
    assert rates[64] > 3 * rates[224]


def test_a_warm_store(tmp_path: Path, report: Callable[..., None]) -> None:
    given, seconds = pictures(400), []
    for _ in range(2):
        started = time.perf_counter()
        features(given, spec(TINY), CLASS, folder=tmp_path)
        seconds.append(time.perf_counter() - started)
    report(
        "400 images through the store",
        ("cold", seconds[0], "s"),
        ("warm", seconds[1], "s"),
        ("ratio", seconds[0] / seconds[1], ""),
        goal="at least 100 times faster",
    )
    assert seconds[0] >= 100 * seconds[1]


PEAK = """
import resource, sys
from pathlib import Path
sys.path.insert(0, {folder!r})
from test_features_speed import CLASS, TINY, pictures, spec
from etchmark.features.extract import features
given = pictures({count})
chosen = spec(TINY, size=32, crop=1.0)
features(given[:200], chosen, CLASS, folder=Path({store!r}))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
features(given, chosen, CLASS, folder=Path({store!r}))
print(before, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.skipif(not hasattr(resource, "getrusage"), reason="peak memory is not told here")
def test_memory_is_flat(tmp_path: Path, report: Callable[..., None]) -> None:
    grown = {}
    for count in (2000, 10_000):
        store = str(tmp_path / str(count))
        code = PEAK.format(folder=str(Path(__file__).parent), count=count, store=store)
        ran = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        before, after = map(int, ran.stdout.split())
        grown[count] = (after - before) / 1024
    # The vectors themselves are what is asked for: 192 numbers of 4 bytes per image.
    vectors = (10_000 - 2000) * 192 * 4 / 2**20
    report(
        "Peak memory beyond that of 200 images",
        ("2,000 images", grown[2000], "MiB"),
        ("10,000 images", grown[10_000], "MiB"),
        ("of which the vectors that are returned", vectors, "MiB"),
        goal="flat but for the vectors",
    )
    assert grown[10_000] - grown[2000] < 10 * vectors
