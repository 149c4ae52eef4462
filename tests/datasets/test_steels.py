"""The loader of the steel micrographs, on made-up files from a local server."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import sqlite3
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from etchmark.data.shards import BuildContext
from etchmark.data.sources import SourcesUnavailable
from etchmark.errors import UserError

FOLDER = Path(__file__).resolve().parents[2] / "datasets" / "steels"
TABLES = """
create table sample (sample_id integer, label text, cool_method text);
create table micrograph (
  micrograph_id integer, path text, micron_bar real, micron_bar_units text, micron_bar_px integer,
  magnification text, detector text, sample_key integer, primary_microconstituent text);
insert into sample values (29, 'AC1 970C 90M AR', 'AR');
insert into micrograph values (7, 'a.tif', 20.0, 'um', 100, '982x', 'SE', 29, 'spheroidite');
insert into micrograph values (3, 'b.png', null, null, null, null, null, null, 'network');
"""
METS = """<?xml version="1.0"?>
<mets:METS xmlns:mets="http://www.loc.gov/METS/" xmlns:xlink="http://www.w3.org/1999/xlink">
<mets:fileSec>{entries}</mets:fileSec></mets:METS>"""
ENTRY = """<mets:file CHECKSUM="{md5}" CHECKSUMTYPE="MD5" SIZE="1">
<mets:FLocat LOCTYPE="URL" xlink:href="/bitstream/handle/11256/940/{name}?sequence=1"/>
</mets:file>"""


@pytest.fixture(scope="module")
def module() -> Any:
    spec = importlib.util.spec_from_file_location("steels_build", FOLDER / "build.py")
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def picture(grey: int, kind: str) -> bytes:
    """Grey levels with a white bar of text below."""
    pixels = np.full((40, 20), grey, dtype=np.uint8)
    pixels[30:] = 255
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind)
    return stream.getvalue()


def listed(folder: Path) -> None:
    """The list of what lies in a folder."""
    entries = [
        ENTRY.format(md5=hashlib.md5(path.read_bytes()).hexdigest(), name=path.name)
        for path in sorted(folder.iterdir())
        if path.name != "mets.xml"
    ]
    (folder / "mets.xml").write_text(METS.format(entries="".join(entries)), encoding="utf-8")


@pytest.fixture
def deposit(tmp_path: Path) -> Path:
    folder = tmp_path / "deposit"
    folder.mkdir()
    database = sqlite3.connect(folder / "microstructures.sqlite")
    database.executescript(TABLES)
    database.close()
    with zipfile.ZipFile(folder / "micrographs.zip", "w") as archive:
        archive.writestr("micrographs/micrograph7.tif", picture(70, "TIFF"))
        archive.writestr("micrographs/micrograph3.png", picture(30, "PNG"))
        archive.writestr("micrographs/README", "not a picture")
    listed(folder)
    return folder


class Quiet(SimpleHTTPRequestHandler):
    asked: list[str] = []  # noqa: RUF012 (of the only server)

    def log_message(self, *_: Any) -> None:
        self.asked.append(self.path)


@pytest.fixture
def parameters(deposit: Path, home: Path) -> Iterator[dict[str, Any]]:
    Quiet.asked.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(deposit)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_address[1]}"
    declared = yaml.safe_load((FOLDER / "dataset.yaml").read_text(encoding="utf-8"))["parameters"]
    source = {**declared["source"], "url": url, "mets": f"{url}/mets.xml"}
    yield {**declared, "rows": 2, "picture_rows": 30, "source": source}
    server.shutdown()
    server.server_close()


def built(module: Any, parameters: dict[str, Any], *, offline: bool = False) -> Any:
    return module.build(BuildContext(FOLDER, "uhcs", parameters, offline))["samples"]


def test_what_the_deposit_holds_becomes_a_table(module: Any, parameters: dict[str, Any]) -> None:
    table = built(module, parameters)
    rows = table.to_pylist()
    declared = yaml.safe_load((FOLDER / "dataset.yaml").read_text(encoding="utf-8"))
    assert table.column_names == declared["configs"]["uhcs"]["columns"]
    assert [row["id"] for row in rows] == ["uhcs0003", "uhcs0007"]
    assert [row["specimen"] for row in rows] == ["unrecorded", "29"]
    assert [row["constituent"] for row in rows] == ["network", "spheroidite"]
    assert rows[1]["heat_treatment"] == "AC1 970C 90M AR"
    assert rows[1]["um_per_pixel"] == pytest.approx(0.2)
    assert rows[0]["um_per_pixel"] is None
    for row, grey in zip(rows, (30, 70), strict=True):
        pixels = np.asarray(Image.open(io.BytesIO(row["micrograph"]["bytes"])))
        assert pixels.shape == (30, 20)
        assert (pixels == grey).all()
    # What is there is not asked for again.
    count = len(Quiet.asked)
    assert count == 3
    assert built(module, parameters, offline=True).equals(table)
    assert len(Quiet.asked) == count


@pytest.mark.parametrize("name", ["microstructures.sqlite", "micrographs.zip"])
def test_a_file_with_another_checksum_is_refused_and_not_kept(
    module: Any, parameters: dict[str, Any], deposit: Path, home: Path, name: str
) -> None:
    with (deposit / name).open("ab") as handle:
        handle.write(b"more")
    with pytest.raises(UserError, match=rf"{name}: expected a file with md5 [0-9a-f]+, got "):
        built(module, parameters)
    assert not list(home.rglob(name))


def test_offline_says_where_to_put_the_files(
    module: Any, parameters: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ETCHMARK_MIRROR", str(tmp_path))
    place = tmp_path / "materialsdata.nist.gov" / "11256" / "940"
    with pytest.raises(SourcesUnavailable, match=r"put mets\.xml into ") as caught:
        built(module, parameters, offline=True)
    assert str(place) in str(caught.value)


def test_the_mirror_comes_first(
    module: Any,
    parameters: dict[str, Any],
    deposit: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    place = tmp_path / "mirror" / "materialsdata.nist.gov" / "11256" / "940"
    place.parent.mkdir(parents=True)
    deposit.rename(place)
    monkeypatch.setenv("ETCHMARK_MIRROR", str(tmp_path / "mirror"))
    assert len(built(module, parameters, offline=True)) == 2
    assert not Quiet.asked


def test_a_server_that_has_no_such_file(
    module: Any, parameters: dict[str, Any], deposit: Path
) -> None:
    (deposit / "micrographs.zip").unlink()
    with pytest.raises(UserError, match=r"micrographs\.zip: the server answers 404; put "):
        built(module, parameters)


def test_a_file_that_the_list_does_not_name_is_refused(
    module: Any, parameters: dict[str, Any], deposit: Path
) -> None:
    (deposit / "micrographs.zip").unlink()
    listed(deposit)
    with pytest.raises(
        UserError, match=r"mets\.xml: lists no micrographs\.zip; the source changed"
    ):
        built(module, parameters)


def test_a_file_here_that_is_not_the_published_one_is_left_and_named(
    module: Any, parameters: dict[str, Any], home: Path
) -> None:
    path = home / "sources" / "materialsdata.nist.gov" / "11256" / "940" / "micrographs.zip"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"mine")
    with pytest.raises(UserError, match=r"micrographs\.zip: is not the file whose MD5"):
        built(module, parameters)
    assert path.read_bytes() == b"mine"


def test_a_source_that_changed_is_refused(module: Any, parameters: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="describes 2 micrographs instead of 961"):
        built(module, {**parameters, "rows": 961})


def test_a_micrograph_that_is_missing_or_broken_is_named(
    module: Any, parameters: dict[str, Any], deposit: Path
) -> None:
    for content, said in (
        ({"micrograph7.tif": picture(70, "TIFF")}, "holds no micrograph 3"),
        (
            {"micrograph7.tif": b"no", "micrograph3.png": picture(3, "PNG")},
            "micrograph7.tif: cannot",
        ),
    ):
        path = deposit / "archive.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for name, each in content.items():
                archive.writestr(name, each)
        with pytest.raises(UserError, match=said):
            module._pictures(path, [3, 7], 30)


def test_a_list_that_declares_entities_is_refused(module: Any) -> None:
    with pytest.raises(UserError, match=r"mets\.xml: cannot be read"):
        module.checksums(b"<!DOCTYPE x [<!ENTITY a 'b'>]><x/>")


def test_a_page_instead_of_the_list_is_not_kept(
    module: Any, parameters: dict[str, Any], deposit: Path, home: Path
) -> None:
    (deposit / "mets.xml").write_text("<html><p>moved</html>", encoding="utf-8")
    with pytest.raises(UserError, match=r"mets\.xml: cannot be read"):
        built(module, parameters)
    assert not list(home.rglob("mets.xml"))
