"""What is kept of a fitted model is what is loaded, in the process that is watched alone."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from etchmark.artefacts import store
from etchmark.artefacts.loading import load
from etchmark.errors import UserError


@pytest.fixture
def artefact(home: Path, tmp_path: Path) -> Path:
    source, model = tmp_path / "source", tmp_path / "model"
    for folder in (source / ".hidden", source / "__pycache__", model):
        folder.mkdir(parents=True)
        (folder / "a.bin").write_bytes(b"a")
    (source / "model.py").write_text("def load(folder, device): return folder, device")
    about = {
        "name": "mine",
        "benchmark": "toy-line@1",
        "track": "features",
        "protocol": "holdout",
        "data": "0" * 64,
        "inputs": ["a"],
    }
    return store.folder_of(store.keep(source, {("holdout", 0): model}, about))


def test_hidden_files_and_byte_code_are_left_out(artefact: Path) -> None:
    manifest = store.verify(artefact)
    assert [file.path for file in manifest.files] == ["code/model.py", "models/holdout-0/a.bin"]
    assert [path.name for path in artefact.parent.iterdir()] == [artefact.name]


def test_a_link_is_not_kept(home: Path, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "x").symlink_to("/etc/hostname")
    with pytest.raises(ValueError, match="x is neither a file nor a folder"):
        store.keep(tmp_path / "model", {}, {})
    assert list((home / "artefacts").iterdir()) == []


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("models/holdout-0/a.bin", b"b", "was changed since it was kept"),
        ("models/holdout-0/a.bin", None, "is missing"),
        ("models/holdout-0/b.bin", b"b", "was added since it was kept"),
        ("code/model.py", b"def load(*_): print('run')", "was changed since it was kept"),
        ("artefact.json", b"{}", "holds no artefact that can be read"),
        ("artefact.json", None, "holds no artefact that can be read"),
    ],
)
def test_what_was_changed_is_refused(
    artefact: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: bytes | None, said: str
) -> None:
    path = artefact / name
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    monkeypatch.setenv("ETCHMARK_IN_MODEL", "test")
    with pytest.raises(UserError, match=rf"{said}; remove the folder and evaluate"):
        load(artefact, "holdout", 0, "cpu")


def test_a_changed_manifest_is_refused(artefact: Path) -> None:
    path = artefact / store.MANIFEST
    path.write_text(path.read_text().replace('"mine"', '"yours"'))
    with pytest.raises(UserError, match="was changed since it was kept"):
        store.verify(artefact)


def test_a_model_is_loaded_where_models_run_and_nowhere_else(
    artefact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(RuntimeError, match="in the process that is watched, not here"):
        load(artefact, "holdout", 0, "cpu")
    monkeypatch.setenv("ETCHMARK_IN_MODEL", "test")
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    monkeypatch.delitem(sys.modules, "model", raising=False)
    assert load(artefact, "holdout", 0, "cpu") == (artefact / "models/holdout-0", "cpu")
    monkeypatch.delitem(sys.modules, "model")
    with pytest.raises(UserError, match="has no model of holdout with seed 1; it has"):
        load(artefact, "holdout", 1, "cpu")


def test_a_name_that_no_manifest_holds_is_told_in_words(home: Path, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "a\nb.bin").write_bytes(b"a")
    with pytest.raises(ValueError, match=r"^file 'a\\nb.bin': path: must be a relative path with"):
        store.keep(tmp_path / "model", {("holdout", 0): tmp_path / "model"}, {})
    (tmp_path / "model" / "a\nb.bin").unlink()
    with pytest.raises(ValueError, match=r"^name: is missing; benchmark: is missing; track: is"):
        store.keep(tmp_path / "model", {("holdout", 0): tmp_path / "model"}, {})
