"""A fake Hub, and a toy dataset that was released."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fake_hub
import pytest


@pytest.fixture
def released(toy_content: Path, command: Callable[..., Any]) -> Path:
    """Two configs of the toy, released and built in the hub folder; the content folder."""
    for config in ("scalar-mini", "fields-mini"):
        command("build", "toy", "--config", config, "--freeze").fine()
    return toy_content


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[fake_hub.FakeHub]:
    """The Hub of this process, and of those that it starts."""
    with fake_hub.serving() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        monkeypatch.setenv("HF_TOKEN", "hf_secret")
        monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
        monkeypatch.setenv("ETCHMARK_OFFLINE", "0")
        monkeypatch.setattr("etchmark.publish.hub.BACKOFF_S", 0.01)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
        yield server
