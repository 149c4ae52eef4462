"""Builds the micrographs of ultrahigh-carbon steel, each with its primary microconstituent.

The repository publishes a list of its files with their MD5 (METS), a database of what each
micrograph shows, and an archive of the pictures. A file is taken from the mirror if it is there,
else from the cache, else from the network.
"""

from __future__ import annotations

import io
import re
import sqlite3
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pyarrow as pa
from PIL import Image, UnidentifiedImageError

from etchmark import files, settings
from etchmark.columns import IMAGE, image_column, with_features
from etchmark.data import transfer
from etchmark.data.building import BuildContext, main
from etchmark.data.sources import SourcesUnavailable
from etchmark.errors import UserError

METS_BYTES, PICTURE_BYTES = 1 << 20, 1 << 24
"""Largest sizes that are read: of the list of files, and of a picture."""
SETTING = "`source` in dataset.yaml"
"""Where the address of the server stands."""
METS = "mets.xml"
METS_FILE, METS_PLACE = "{http://www.loc.gov/METS/}file", "{http://www.loc.gov/METS/}FLocat"
LINK = "{http://www.w3.org/1999/xlink}href"
PICTURE = re.compile(r"(?:.*/)?micrograph(\d+)\.(?:tiff?|png|jpe?g|bmp)", re.IGNORECASE)
FORMATS = ["TIFF", "PNG", "JPEG", "BMP"]
UNRECORDED = "unrecorded"
"""Specimen of micrographs without one: they may share it, so they stand together."""
QUERY = """
select m.micrograph_id, m.primary_microconstituent, m.micron_bar, m.micron_bar_units,
       m.micron_bar_px, m.magnification, m.detector, s.sample_id, s.label, s.cool_method
from micrograph m left join sample s on s.sample_id = m.sample_key
order by m.micrograph_id
"""


# --- files -------------------------------------------------------------------------------------


def checksums(mets: bytes) -> dict[str, str]:
    """MD5 of each file that a METS document lists, by its name.

    Raises:
        UserError: it is no such document.
    """
    try:
        if len(mets) > METS_BYTES or b"<!DOCTYPE" in mets or b"<!ENTITY" in mets:
            raise ValueError("it is too large, or declares entities")
        root = ElementTree.fromstring(mets)  # noqa: S314 (small, and without entities)
    except (ElementTree.ParseError, ValueError) as error:
        raise UserError(f"{METS}: cannot be read ({error}); download it again") from None
    found = {}
    for entry in root.iter(METS_FILE):
        place = entry.find(METS_PLACE)
        if place is not None and entry.get("CHECKSUMTYPE") == "MD5":
            name = str(place.get(LINK)).partition("?")[0].rpartition("/")[2]
            found[name] = str(entry.get("CHECKSUM")).lower()
    return found


def _folders(source: Mapping[str, str]) -> Iterator[Path]:
    """Where the files may lie on this machine; the last one is written to."""
    place = Path(source["host"], *source["handle"].split("/"))
    mirror = settings.mirror()
    if mirror is not None:
        yield mirror / place
    yield settings.home() / "sources" / place


def _local(folders: list[Path], name: str) -> Path | None:
    return next((folder / name for folder in folders if (folder / name).is_file()), None)


@contextmanager
def _asking(url: str, context: BuildContext, advice: str) -> Iterator[None]:
    """Say what to do where a server cannot be asked or does not answer."""
    try:
        if context.offline:
            raise transfer.Unavailable("downloads are switched off (offline)")
        yield
    except transfer.Unavailable as error:
        raise SourcesUnavailable(f"{url}: {error}; try again later, or {advice}") from None
    except OSError as error:
        raise UserError(f"{url}: cannot be kept ({error}); make room, or {advice}") from None


def _listed(context: BuildContext, folders: list[Path]) -> dict[str, str]:
    """MD5 of each published file; the list is kept only if it can be read."""
    if (path := _local(folders, METS)) is not None:
        return checksums(path.read_bytes())
    url, advice = context.parameters["source"]["mets"], f"put {METS} into {folders[0]}"
    with _asking(url, context, advice):
        content = transfer.read(url, METS_BYTES, transfer.Options(SETTING, advice))
    published = checksums(content)
    folders[-1].mkdir(parents=True, exist_ok=True)
    with files.replacing(folders[-1] / METS) as temporary:
        temporary.write_bytes(content)
    return published


def _fetch(context: BuildContext, names: Sequence[str]) -> list[Path]:
    """Local paths of published files, each compared with its MD5; what differs is never kept."""
    source = context.parameters["source"]
    *_, cache = folders = list(_folders(source))
    published = _listed(context, folders)
    if unlisted := [name for name in names if name not in published]:
        raise UserError(f"{METS}: lists no {unlisted[0]}; the source changed")
    wanted = {
        name: transfer.Wanted(f"{source['url']}/{name}", cache / name, published[name], None, "md5")
        for name in names
    }
    paths = {name: _local(folders, name) or cache / name for name in names}
    for name, path in paths.items():
        if path.is_file() and not wanted[name].holds(path):
            raise UserError(
                f"{path}: is not the file whose MD5 the source publishes, {published[name]}; remove"
                " it, and build again"
            )
    lacking = [wanted[name] for name, path in paths.items() if not path.is_file()]
    if lacking:
        advice = f"put {', '.join(file.path.name for file in lacking)} into {folders[0]}"
        with _asking(lacking[0].url, context, advice), transfer.turn(cache / ".lock"):
            transfer.fetch(lacking, transfer.Options(SETTING, advice))
    return list(paths.values())


# --- content -----------------------------------------------------------------------------------


def _described(path: Path) -> list[dict[str, Any]]:
    """What the database says of each micrograph."""
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as database:
            database.row_factory = sqlite3.Row
            return [dict(row) for row in database.execute(QUERY)]
    except sqlite3.Error as error:
        raise UserError(f"{path}: cannot be read ({error}); download it again") from None


def _pixels(archive: zipfile.ZipFile, member: zipfile.ZipInfo, rows: int) -> np.ndarray:
    """Grey levels of a picture without the bar of text at its foot, uint8."""
    if member.file_size > PICTURE_BYTES:
        raise UserError(f"{member.filename}: is larger than {PICTURE_BYTES:,} bytes; not read")
    try:
        with Image.open(io.BytesIO(archive.read(member)), formats=FORMATS) as image:
            return np.asarray(image.convert("L"))[:rows]
    except (OSError, UnidentifiedImageError, zipfile.BadZipFile, Image.DecompressionBombError) as e:
        raise UserError(f"{member.filename}: cannot be read ({e}); download it again") from None


def _pictures(path: Path, ids: list[int], rows: int) -> list[np.ndarray]:
    try:
        with zipfile.ZipFile(path) as archive:
            matched = (
                (PICTURE.fullmatch(member.filename), member) for member in archive.infolist()
            )
            members = {int(match[1]): member for match, member in matched if match}
            if absent := [number for number in ids if number not in members]:
                raise UserError(f"{path}: holds no micrograph {absent[0]}; the source changed")
            return [_pixels(archive, members[number], rows) for number in ids]
    except zipfile.BadZipFile as error:
        raise UserError(f"{path}: is no archive ({error}); download it again") from None


def _um_per_pixel(row: Mapping[str, Any]) -> float | None:
    bar, pixels = row["micron_bar"], row["micron_bar_px"]
    known = bar and pixels and row["micron_bar_units"] == "um"
    return float(bar) / float(pixels) if known else None


def build(context: BuildContext) -> dict[str, pa.Table]:
    """The only split; refused unless it has as many micrographs as were published."""
    source = context.parameters["source"]
    database, archive = _fetch(context, (source["database"], source["archive"]))
    rows = _described(database)
    if len(rows) != context.parameters["rows"]:
        raise UserError(
            f"{database}: describes {len(rows)} micrographs instead of"
            f" {context.parameters['rows']}; the source changed"
        )
    ids = [int(row["micrograph_id"]) for row in rows]
    pictures = _pictures(archive, ids, context.parameters["picture_rows"])
    specimens = [row["sample_id"] for row in rows]
    columns = {
        "id": [f"uhcs{number:04d}" for number in ids],
        "micrograph": image_column(pictures),
        "constituent": [str(row["primary_microconstituent"] or "") for row in rows],
        "specimen": [UNRECORDED if each is None else str(each) for each in specimens],
        "heat_treatment": [str(row["label"] or "") for row in rows],
        "cooling": [str(row["cool_method"] or "") for row in rows],
        "um_per_pixel": pa.array([_um_per_pixel(row) for row in rows], pa.float64()),
        "magnification": [str(row["magnification"] or "") for row in rows],
        "detector": [str(row["detector"] or "") for row in rows],
    }
    return {"samples": with_features(pa.table(columns), {"micrograph": IMAGE})}


if __name__ == "__main__":
    main(__file__)
