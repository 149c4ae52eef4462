"""Figures and pictures by themselves."""

from __future__ import annotations

import html
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("streamlit")

from dashboard.charts import images, intervals, rollouts, style, volumes
from dashboard.panels import costs
from pages import figures, fine, page

from etchmark.catalog import catalog
from etchmark.data import building


def test_the_surface_of_a_volume_closes_around_its_cells(toy_volumes: Path) -> None:
    building.build(catalog(), "voxels", "cells-mini")
    app = fine(page("data", dataset="voxels", config="cells-mini"))
    drawn = figures(app)
    assert drawn[0]["data"][0]["type"] == "mesh3d"
    cells = np.zeros((3, 4, 5), bool)
    cells[1, 2, 3] = cells[2, 3, 4] = True
    corners, triangles = volumes.faces(cells)
    assert (corners.shape, triangles.shape) == ((48, 3), (24, 3))
    assert corners.min(axis=0).tolist() == [1, 2, 3]
    assert corners.max(axis=0).tolist() == [3, 4, 5]
    a, b, c = corners[triangles].swapaxes(0, 1)
    areas = np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2
    assert areas.sum() == pytest.approx(12)
    # The divergence theorem: every face looks outwards.
    assert np.sum(a * np.cross(b, c)) / 6 == pytest.approx(2)


@pytest.mark.parametrize(
    ("ends", "expected"),
    [
        ((20, 120), "20 30 40 50 70 100"),
        ((1, 64), "1 3 10 30"),
        ((0.0003, 2000), "0.001 0.01 0.1 1 10 100 1,000"),
        (
            (1e6, 2e7),
            "10<sup>6</sup> 2·10<sup>6</sup> 5·10<sup>6</sup> 10<sup>7</sup> 2·10<sup>7</sup>",
        ),
        ((5, 5), "5"),
    ],
)
def test_logarithmic_axes_write_ticks_in_full(ends: tuple[float, float], expected: str) -> None:
    from dashboard.charts.style import log_axis

    axis = log_axis(ends)
    ticks = zip(axis["tickvals"], axis["ticktext"], strict=True)
    assert " ".join(text for at, text in ticks if ends[0] <= at <= ends[1]) == expected


@pytest.mark.parametrize("shape", [(200, 3, 200), (1, 1, 1), (51, 51, 51), (60, 7, 130)])
def test_a_volume_of_any_shape_is_drawn(shape: tuple[int, int, int]) -> None:
    for volume in (np.zeros(shape, np.uint8), np.ones(shape, np.uint8)):
        drawn = volumes.solid(volume).data[0]
        assert (len(drawn.x) > 0) is bool(volume.any())


def test_a_score_beyond_the_scale_differs_from_one_at_its_end() -> None:
    scores = [10.0, 11.0, 12.0, 13.0, 14.0, 15.0, 90.0, 150.0]
    frame = pd.DataFrame(
        {"score": scores, "ci_low": np.array(scores) - 1, "ci_high": np.array(scores) + 1}
    )
    bars = intervals.interval_bars(frame)
    assert bars[6] == bars[7] == intervals.BEYOND
    assert intervals.BEYOND not in bars[:6]
    assert len(set(bars[:6])) == 6
    # Of metrics that are better when higher, the far ones lie to the left.
    frame = -frame.rename(columns={"ci_low": "ci_high", "ci_high": "ci_low"})
    assert intervals.interval_bars(frame)[5:] == [
        intervals.interval_bars(frame)[5],
        *[intervals.BELOW] * 2,
    ]


def test_differences_are_drawn_on_a_visible_scale() -> None:
    from etchmark.targets.frames.rollouts import decode, encode

    truth = np.full((3, 8, 8), 0.5)
    for added, full in ((0.0, 0.05), (0.02, 0.05), (0.07, 0.1), (0.4, 0.5)):
        frames = decode("a", encode(truth, truth + added))
        assert rollouts.full_scale([frames]) == full
        drawn = rollouts.picture([("m", frames)], full)
        assert f"full colour from {full:g};" in rollouts.caption(frames, "test", full)
        middle = images.CELL // 2
        height = images.LINE * 4 + (images.CELL + images.GAP) * 2 + middle - images.LINE
        red, _, blue, _ = drawn.getpixel((middle, height))
        assert (red > blue + 60) == (added > 0)
    same, far = (decode("a", encode(truth * size, truth + 1)) for size in (1, 0))
    assert rollouts.full_scale([decode("a", encode(truth, truth)), far]) == 0.5
    assert rollouts.full_scale([same]) == 0.5


def test_the_default_cost_is_one_that_the_leader_states() -> None:
    ranked = pd.DataFrame(
        {
            "submission": list("abcd"),
            "status": "run",
            "seconds_each": [None, 1.0, 2.0, 3.0],
            "fit_seconds": [1.0, 2.0, 3.0, 4.0],
            **dict.fromkeys(set(costs.COSTS) - {"seconds_each", "fit_seconds"}),
        }
    )
    assert costs.default_cost(costs.known(ranked), ranked) == "fit_seconds"
    ranked.loc[0, "seconds_each"] = 0.5
    assert costs.default_cost(costs.known(ranked), ranked) == "seconds_each"
    # What compares between machines comes before wall seconds.
    ranked["reference_units"] = [3.0, None, 1.0, 2.0]
    assert costs.default_cost(costs.known(ranked), ranked) == "reference_units"


def test_a_caption_names_the_rows_without_a_cost() -> None:
    ranked = pd.DataFrame({"submission": list("abc"), "model": ["one", "two", "three"]})
    ranked["hardware"] = "a pocket calculator"
    ranked["feature_seconds"] = None
    notes = costs._notes("cpu_seconds", pd.DataFrame(ranked[1:2]), ranked)
    assert notes[:3] == [
        "1 of 3 rows state this cost.",
        "Not drawn, since they lack it: one, three.",
        "The leader is not drawn.",
    ]
    assert costs._notes("cpu_seconds", ranked, ranked)[0] == "3 of 3 rows state this cost."
    assert "Not drawn" not in " ".join(costs._notes("cpu_seconds", ranked, ranked))


def test_two_blues_swap_on_dark_ground(monkeypatch: pytest.MonkeyPatch) -> None:
    light = style.series_styles()
    monkeypatch.setattr(style, "accent", lambda: style.SKY)
    dark = style.series_styles()
    assert light[0][0] == dark[5][0] == style.BLUE
    assert dark[0][0] == light[5][0] == style.SKY
    assert [element[1:] for element in light] == [element[1:] for element in dark]


def test_names_beside_points_do_not_cover_each_other() -> None:
    from dashboard.charts.names import PLOT_PX, POINT_PX, name_box, name_places, pixels

    generator = np.random.default_rng(0)
    for count, spread in ((1, 1.2), (2, 1.2), (12, 1.2), (12, 1e9), (40, 1e9)):
        across, up = np.exp(generator.uniform(0, np.log(spread), (2, count)))
        across[0], up[0] = 1e10, 1e10
        ends = (up / 3, up * 3)
        names = ["a name of some letters"] * count
        found = name_places(across, up, np.arange(count), names, ends)
        assert found[0]
        x = pixels(across, PLOT_PX[0])
        low, y, high = pixels(np.stack([ends[0], up, ends[1]]), PLOT_PX[1])
        boxes = {
            at: name_box(x[at], y[at], place, names[at]) for at, place in enumerate(found) if place
        }
        for at, box in boxes.items():
            assert box[0] >= 0
            assert box[2] <= PLOT_PX[0]
            for other in set(range(count)) - {at}:
                r = POINT_PX
                bar = np.array([x[other] - r, low[other] - r, x[other] + r, high[other] + r])
                for thing in (bar, *([boxes[other]] if other in boxes else [])):
                    assert not ((box[:2] < thing[2:]) & (thing[:2] < box[2:])).all()
        # All but the first lie on a spot that few names fit around, or have room.
        assert sum(map(bool, found)) <= 5 if spread < 2 else sum(map(bool, found)) >= 4


def test_names_do_not_cover_the_line_that_joins_their_points() -> None:
    from dashboard.charts.names import name_places

    across, up, path = np.array([1.0, 2.0, 100.0]), np.array([1.0, 6.0, 9.0]), np.arange(3)
    names = ["a name of some letters"] * 3
    # Up and to the right of the first, the line to the second would run through its name.
    assert name_places(across, up, path, names)[0] == "top right"
    assert name_places(across, up, path, names, path=path)[0] == "bottom right"


def test_titles_of_axes_fit_a_phone() -> None:
    title = style.axis_title("mape / % of foundation_features/vit-tiny-in21k-kernel & more")
    assert all(len(html.unescape(line)) <= 46 for line in title.split("<br>"))
    assert "&amp;" in title
    better = "Mean intersection over union (higher is better)"
    assert style.axis_title(better) == "Mean intersection over union<br>(higher is better)"


def test_plot_labels_are_escaped() -> None:
    shown = style.label("<a href='javascript:x'>y</a>\u202e")
    assert "<" not in shown
    assert "\u202e" not in html.unescape(shown)
