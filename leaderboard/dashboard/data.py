"""Samples of a dataset as pictures, volumes that turn, films that play and histograms."""

from __future__ import annotations

import html
import io
from itertools import cycle

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import streamlit as st
from PIL import Image

from dashboard.parts import literal, plain_lines
from dashboard.plots import BLUE, CONFIG, GREEN, LAYOUT, ORANGE, PURPLE, SKY, VERMILION
from etchmark.data.gallery import Gallery, grey
from etchmark.specs import DatasetSpec

__all__ = ["CONFIG", "bibtex", "commands", "histogram", "show_pictures", "summary", "thumbnails"]

SIDE = 256
"""Pixels at least to which a small picture is blown up."""
CELLS = 52
"""Cells per side of a volume that is drawn: more would take the browser seconds."""
FILM_MS = 60
STRIP = 5
"""Frames of a sample that stand side by side where it does not play."""
MOST_FRAMES = 220
COLOURS = (BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY)


def bibtex(spec: DatasetSpec, config: str, found: Gallery | None) -> str:
    """An entry for the data, which names their release."""
    lines = [
        f"@misc{{etchmark-{spec.name},",
        f"  title        = {{{spec.title}}},",
        "  author       = {{The etchmark authors}},",
        f"  howpublished = {{etchmark, dataset {spec.name}, configuration {config}}},",
        f"  note         = {{version {spec.version}"
        + (f", fingerprint {found.manifest.fingerprint[:12]}" if found else "")
        + "},",
        "}",
    ]
    return plain_lines("\n".join(lines))


def commands(spec: DatasetSpec, config: str) -> str:
    """Shell and Python that do what the page does."""
    name = f"{spec.name}:{config}"
    return (
        f"etchmark download {name} --out {spec.name}-{config}\n"
        f"python -c \"import datasets; print(datasets.load_dataset('./{spec.name}-{config}'))\""
    )


@st.cache_data(max_entries=64, show_spinner=False)
def _thumbnails(
    _found: Gallery, fingerprint: str, split: str, rows: tuple[int, ...]
) -> list[np.ndarray]:
    made = [_found.thumbnail(split, row) for row in rows]
    return [_apart(sized(one, 112)) for one in made if one is not None]


def thumbnails(found: Gallery, split: str, rows: tuple[int, ...]) -> list[np.ndarray]:
    """Samples at a glance; none where the config has nothing to look at."""
    return _thumbnails(found, f"{found.folder} {found.manifest.fingerprint}", split, rows)


@st.cache_data(max_entries=32, show_spinner=False)
def _strips(
    _found: Gallery, fingerprint: str, split: str, rows: tuple[int, ...]
) -> list[np.ndarray]:
    made = []
    for row in rows:
        film = _found.film(split, row)
        shown = film[np.linspace(0, len(film) - 1, STRIP).round().astype(int)]
        parts = [_apart(sized(one, 112)) for one in shown]
        made.append(np.concatenate(parts, axis=1))
    return made


def strips(found: Gallery, split: str, rows: tuple[int, ...]) -> list[np.ndarray]:
    """Samples of a config with films as some of their frames, from the first to the last."""
    return _strips(found, f"{found.folder} {found.manifest.fingerprint}", split, rows)


def sized(pixels: np.ndarray, side: int) -> np.ndarray:
    """About so wide: every pixel several times, or one of several."""
    step = max(1, min(pixels.shape[:2]) // side)
    return enlarged(pixels[::step, ::step], side)


def enlarged(pixels: np.ndarray, side: int = SIDE) -> np.ndarray:
    """Every pixel as often as the picture needs to be at least so wide."""
    times = max(1, -(-side // max(1, min(pixels.shape[:2]))))
    return pixels.repeat(times, axis=0).repeat(times, axis=1)


def _apart(pixels: np.ndarray) -> np.ndarray:
    """With a grey line around, which shows where white ends, and a clear margin."""
    line, margin = max(1, len(pixels) // 100), max(2, len(pixels) // 20)
    grown = [(line + margin, line + margin)] * 2
    colours = pixels if pixels.ndim == 3 else np.stack([pixels] * 3, axis=-1)
    framed = np.pad(colours[..., :3], [*grown, (0, 0)], constant_values=128)
    seen = np.pad(np.full(np.add(pixels.shape[:2], 2 * line), 255, np.uint8), margin)
    return np.concatenate([framed, seen[..., None]], axis=-1)


def show_pictures(found: Gallery, split: str, row: int) -> None:
    """All there is to look at of one sample."""
    _, pictures, volumes, films = found.kinds
    for name in volumes:
        volume = found.cell(split, name, row)
        st.plotly_chart(solid(volume), width="stretch", config=CONFIG, key=f"volume-{name}")
        size = " x ".join(map(str, volume.shape))
        st.caption(literal(f"{name}: the cells that are not 0, of {size}; drag to turn."))
    if films:
        count, made = _film(found, f"{found.folder} {found.manifest.fingerprint}", split, row)
        st.image(made, alt=f"{count} frames, one after the other")
        st.caption(literal(f"{' and '.join(films)}: {count} frames."))
    if pictures:
        cells = [grey(found.cell(split, name, row)) for name in pictures]
        width = None if len(cells) == 1 else 160
        st.image(
            [_apart(enlarged(one)) for one in cells],
            caption=[literal(name) for name in pictures],
            width=width or "content",
            alt=[f"{name} of the sample" for name in pictures],
        )


@st.cache_data(max_entries=16, show_spinner=False)
def _film(_found: Gallery, fingerprint: str, split: str, row: int) -> tuple[int, bytes]:
    frames = _found.film(split, row)
    return len(frames), film(frames)


def film(frames: np.ndarray) -> bytes:
    """A GIF that plays and begins anew."""
    step = -(-len(frames) // MOST_FRAMES)
    made = [Image.fromarray(enlarged(one)) for one in frames[::step]]
    buffer = io.BytesIO()
    made[0].save(
        buffer, "GIF", save_all=True, append_images=made[1:], duration=FILM_MS * step, loop=0
    )
    return buffer.getvalue()


def faces(cells: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where cells that are set end: corners, shape (4 faces, 3), and triangles, (2 faces, 3).

    Seen from outside the corners of a triangle run counter-clockwise, or it would lie in the dark.
    """
    padded = np.pad(cells.astype(np.int8), 1)
    corners = []
    for axis in range(3):
        change = np.diff(padded, axis=axis)
        at = np.argwhere(change).astype(np.float32)
        # The face lies behind the cell along this axis; the padding is one cell of the others.
        others = [other for other in range(3) if other != axis]
        at[:, others] -= 1
        square = np.zeros((4, 3), np.float32)
        square[[1, 2], others[0]] = 1
        square[[2, 3], others[1]] = 1
        # As they stand, the corners run so for faces that look along the axis (of the second axis:
        # against it), which are those where what is set ends.
        turned = (change[change != 0] > 0) != (axis == 1)
        corners.append(at[:, None] + np.where(turned[:, None, None], square[::-1], square))
    found = np.concatenate(corners).reshape(-1, 3)
    first = 4 * np.arange(len(found) // 4, dtype=np.int32)[:, None]
    halves = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
    return found, (first[:, None] + halves).reshape(-1, 3)


def shades(corners: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Brightness of faces, 0 to 1, as if light fell from above and a little from one side."""
    a, b, c = corners[triangles].swapaxes(0, 1)
    normals = np.sign(np.cross(b - a, c - a))
    return (0.5 + normals @ np.array([0.08, -0.17, 0.4])).astype(np.float32)


def solid(volume: np.ndarray) -> go.Figure:
    """The cells that are not 0, several taken together in a large volume."""
    largest = max(1, -(-max(volume.shape) // CELLS))
    blocks = [min(largest, side) for side in volume.shape]
    cells = [side // block for side, block in zip(volume.shape, blocks, strict=True)]
    cut = volume[tuple(slice(n * block) for n, block in zip(cells, blocks, strict=True))] > 0
    sides = [size for pair in zip(cells, blocks, strict=True) for size in pair]
    corners, triangles = faces(cut.reshape(sides).mean(axis=(1, 3, 5)) > 0.5)
    x, y, z = (corners * np.array(blocks, np.float32)).T
    i, j, k = triangles.T
    figure = go.Figure(
        go.Mesh3d(
            x=x,
            y=y,
            z=z,
            i=i,
            j=j,
            k=k,
            # Shaded here, by where a face looks: the light of plotly leaves large meshes flat.
            intensity=shades(corners, triangles),
            intensitymode="cell",
            cmin=0,
            cmax=1,
            colorscale=[[0, "#10243d"], [1, SKY]],
            showscale=False,
            lighting={"ambient": 1, "diffuse": 0, "specular": 0, "fresnel": 0},
            hoverinfo="skip",
        )
    )
    figure.update_layout(
        height=380,
        margin={"l": 0, "r": 0, "t": 0, "b": 0},
        scene={
            **{
                f"{name}axis": {
                    "title": f"{name} / voxels",
                    "range": [0, size],
                    "showbackground": False,
                }
                for name, size in zip("xyz", volume.shape, strict=True)
            },
            "aspectmode": "data",
        },
    )
    return figure


def _parts(table: pd.DataFrame, by: str | None) -> list[tuple[str, pd.DataFrame]]:
    if by is None:
        return [("all", table)]
    return [(str(name), part) for name, part in table.groupby(by, sort=True)]


def _finite(column: pd.Series | pd.DataFrame) -> np.ndarray:
    values = column.to_numpy(dtype=float, na_value=np.nan)
    return values[np.isfinite(values)]


def histogram(
    table: pd.DataFrame, column: str, by: str | None, unit: str | None = None
) -> go.Figure:
    """How often each range of values occurs, one line of steps per group."""
    values = _finite(table[column])
    edges = np.histogram_bin_edges(values, bins=min(40, max(5, int(np.sqrt(len(values))))))
    figure = go.Figure()
    for (name, part), colour in zip(_parts(table, by), cycle(COLOURS), strict=False):
        counts, _ = np.histogram(_finite(part[column]), bins=edges)
        figure.add_scatter(
            x=edges,
            y=[*counts, counts[-1]],
            mode="lines",
            line={"shape": "hv", "color": colour, "width": 2},
            name=html.escape(name[:40], quote=False),
            hovertemplate="from %{x:.4g}: %{y}<extra></extra>",
        )
    figure.update_layout(
        height=340,
        showlegend=by is not None,
        **LAYOUT,
    )
    title = column if unit is None else f"{column} / {unit}"
    figure.update_xaxes(title=html.escape(title, quote=False), zeroline=False)
    figure.update_yaxes(title="number of samples", rangemode="tozero", showgrid=True)
    return figure


def summary(
    table: pd.DataFrame, column: str, by: str | None, unit: str | None = None
) -> pd.DataFrame:
    """Number, mean, spread and range of a quantity, by group."""
    rows, of = [], "" if unit is None else f" / {unit}"
    for name, part in _parts(table, by):
        values = pd.Series(_finite(part[column]))
        rows.append(
            {
                "group": name,
                "samples": len(values),
                f"mean{of}": values.mean(),
                f"sd{of}": values.std(),
                f"least{of}": values.min(),
                f"median{of}": values.median(),
                f"greatest{of}": values.max(),
            }
        )
    return pd.DataFrame(rows)
