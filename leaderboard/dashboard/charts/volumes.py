"""Volumes of voxels as a solid that can be turned."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go

CELLS = 52
"""Cells per side of a volume that is drawn: more would take the browser seconds."""
SHADOW, LIGHT = "#303030", "#E8E8E8"
"""Of faces that look away from the light, and into it."""


def faces(cells: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The surface of cells that are set: corners, shape (4 faces, 3), and triangles, (2 faces, 3).

    Seen from outside, the corners of a triangle run counter-clockwise; otherwise it would be dark.
    """
    padded = np.pad(cells.astype(np.int8), 1)
    corners = []
    for axis in range(3):
        change = np.diff(padded, axis=axis)
        origins = np.argwhere(change).astype(np.float32)
        # The face lies behind the cell along this axis; along the others padding adds one cell.
        others = [other for other in range(3) if other != axis]
        origins[:, others] -= 1
        square = np.zeros((4, 3), np.float32)
        square[[1, 2], others[0]] = 1
        square[[2, 3], others[1]] = 1
        # In this order the corners suit faces that look along the axis (along the second axis:
        # against it), which are those where the set cells end.
        reversed_order = (change[change != 0] > 0) != (axis == 1)
        square_of_face = np.where(reversed_order[:, None, None], square[::-1], square)
        corners.append(origins[:, None] + square_of_face)
    points = np.concatenate(corners).reshape(-1, 3)
    first = 4 * np.arange(len(points) // 4, dtype=np.int32)[:, None]
    halves = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
    return points, (first[:, None] + halves).reshape(-1, 3)


def shades(corners: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Brightness of faces, 0 to 1, as if light fell from above and slightly from one side."""
    a, b, c = corners[triangles].swapaxes(0, 1)
    normals = np.sign(np.cross(b - a, c - a))
    return (0.5 + normals @ np.array([0.08, -0.17, 0.4])).astype(np.float32)


def solid(volume: np.ndarray) -> go.Figure:
    """The cells that are not 0; in a large volume several are drawn as one."""
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
            # Shaded here by where a face looks: plotly's light leaves large meshes flat.
            intensity=shades(corners, triangles),
            intensitymode="cell",
            cmin=0,
            cmax=1,
            # Light, as phase 1 is everywhere: between the two on a white and on a black page.
            colorscale=[[0, SHADOW], [1, LIGHT]],
            showscale=False,
            lighting={"ambient": 1, "diffuse": 0, "specular": 0, "fresnel": 0},
            hoverinfo="skip",
        )
    )
    axes = {
        f"{name}axis": {"title": f"{name} / voxels", "range": [0, size], "showbackground": False}
        for name, size in zip("xyz", volume.shape, strict=True)
    }
    figure.update_layout(
        height=380,
        margin={"l": 0, "r": 0, "t": 0, "b": 0},
        scene={**axes, "aspectmode": "data"},
    )
    return figure
