"""Settings are read from the environment when they are used."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from etchmark import settings
from etchmark.errors import UserError


def test_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings.home() == home
    assert not home.exists()
    monkeypatch.setenv("ETCHMARK_HOME", "  ")
    assert settings.home().name == "etchmark"
    monkeypatch.setenv("ETCHMARK_HOME", "~/hub")
    monkeypatch.setenv("HOME", str(home))
    assert settings.home() == home / "hub"
    monkeypatch.chdir(home.parent)
    monkeypatch.setenv("ETCHMARK_HOME", "beside")
    assert settings.home() == home.parent / "beside"


@pytest.mark.parametrize("name", ["ETCHMARK_WEIGHTS", "ETCHMARK_MIRROR"])
def test_folders_must_exist(home: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    read = {"ETCHMARK_WEIGHTS": settings.weights, "ETCHMARK_MIRROR": settings.mirror}[name]
    assert read() is None
    monkeypatch.setenv(name, str(home / "nowhere"))
    with pytest.raises(UserError, match=f"{name}: .*nowhere is not a folder"):
        read()
    home.mkdir()
    monkeypatch.setenv(name, str(home))
    assert read() == home


def test_content_folders(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings.content() == ()
    assert not settings.content_only()
    home.mkdir()
    monkeypatch.setenv("ETCHMARK_CONTENT", os.pathsep.join([str(home), " ", str(home.parent), ""]))
    assert settings.content() == (home, home.parent)
    monkeypatch.setenv("ETCHMARK_CONTENT", f"{home}{os.pathsep}{home / 'nowhere'}")
    with pytest.raises(UserError, match=r"ETCHMARK_CONTENT: .*nowhere is not a folder"):
        settings.content()
    monkeypatch.setenv("ETCHMARK_CONTENT_ONLY", "1")
    assert settings.content_only()


@pytest.mark.parametrize("name", ["ETCHMARK_CONTENT", "ETCHMARK_HOME"])
def test_the_folder_of_an_unknown_user(
    home: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "~no-such-user-here/hub")
    with pytest.raises(UserError, match=f"{name}: .*unknown user"):
        settings.home() if name == "ETCHMARK_HOME" else settings.content()


def test_addresses(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings.remote() is None
    assert settings.sources_url() == settings.RAW_URL
    monkeypatch.setenv("ETCHMARK_REMOTE", "https://example.org/data/")
    monkeypatch.setenv("ETCHMARK_SOURCES_URL", "http://127.0.0.1:1/raw/")
    assert settings.remote() == "https://example.org/data"
    assert settings.sources_url() == "http://127.0.0.1:1/raw"


@pytest.mark.parametrize(
    ("value", "expected"),
    [(word, True) for word in ("1", "yes", "true")]
    + [(word, False) for word in ("0", "", "False", "no", "off", "OFF")],
)
@pytest.mark.parametrize("name", ["ETCHMARK_OFFLINE", "HF_HUB_OFFLINE"])
def test_offline(
    home: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, expected: bool
) -> None:
    monkeypatch.delenv("ETCHMARK_OFFLINE")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    assert not settings.offline()
    monkeypatch.setenv(name, value)
    assert settings.offline() is expected


def test_relative_folders_hold_in_another_working_directory(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(home.parent)
    monkeypatch.setenv("ETCHMARK_HOME", "hub")
    monkeypatch.setenv("ETCHMARK_WEIGHTS", "~/weights")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("ETCHMARK_CONTENT", os.pathsep.join(["own", " ", "/shared"]))
    for name in ("ETCHMARK_MIRROR", "ETCHMARK_FEATURES", "TMPDIR"):
        monkeypatch.delenv(name, raising=False)
    assert settings.elsewhere() == {
        "ETCHMARK_HOME": str(home.parent / "hub"),
        "ETCHMARK_WEIGHTS": str(home / "weights"),
        "ETCHMARK_CONTENT": os.pathsep.join([str(home.parent / "own"), "/shared"]),
    }
