"""The standings of a benchmark, with intervals, rank ranges and each model in full."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from math import isnan
from typing import Any

import pandas as pd
import streamlit as st
from dashboard import cost as dashboard_cost
from dashboard import curves as dashboard_curves
from dashboard import filters as dashboard_filters
from dashboard import model as dashboard_model
from dashboard import parts, plots
from dashboard import rollouts as dashboard_rollouts

from etchmark.boards.standings import to_records
from etchmark.errors import UserError
from etchmark.registry.store import Store
from etchmark.specs import BenchmarkSpec
from etchmark.targets import metric as metric_by_id
from etchmark.text import csv_text, json_text, number

# Rows that the table shows at once, and models that the list beside it holds.
TALL, LISTED = 24, 200
FIGURES = {
    "intervals": "Scores with intervals",
    "needs": "What it takes",
    "costs": "What it costs",
    "predictions": "What they predict",
}
BAR, EXTRA = "bar", "on "


def controls() -> tuple[BenchmarkSpec, dict[str, str]]:
    """Benchmark, protocol, track, metric: what is looked at, kept in the link."""
    chosen: dict[str, str] = {}
    first, second, third = st.columns([2, 1, 1])
    with first:
        spec = parts.choose_benchmark()
    chosen["benchmark"] = spec.id
    with second:
        tracks = [parts.ALL_TRACKS, *spec.tracks]
        chosen["track"] = parts.choose(
            st.selectbox,
            "Track",
            "track",
            tracks,
            parts.ALL_TRACKS,
            help="What the model may look at. Ranks are made among the rows that are shown.",
        )
    with third:
        chosen["metric"] = parts.choose(
            st.selectbox, "Metric", "metric", list(spec.metrics), spec.primary_metric
        )
    chosen["protocol"] = parts.choose(
        st.segmented_control,
        "Protocol",
        "protocol",
        list(spec.protocols),
        spec.headline,
        required=True,
    )
    protocol = spec.protocols[chosen["protocol"]]
    mark = "Headline" if chosen["protocol"] == spec.headline else "Not the headline"
    title, meaning = parts.literal(protocol.title), parts.literal(protocol.description)
    st.markdown(f"{mark} protocol: **{title}.** {meaning}")
    everything = st.toggle(
        "Also failed and superseded",
        key="pick-all",
        value=False if "pick-all" in st.session_state else parts.view().get("all") == "1",
    )
    if everything:
        chosen["all"] = "1"
    return spec, chosen


def _notes(frame: pd.DataFrame) -> list[str | None]:
    """Why a row has no rank."""
    columns = (frame[name].tolist() for name in ("outcome", "reason", "superseded"))
    return [
        "failed: " + parts.shortened(str(reason), 200)
        if outcome != "ok"
        else ("superseded" if superseded else None)
        for outcome, reason, superseded in zip(*columns, strict=True)
    ]


def _folds(frame: pd.DataFrame) -> list[str | None]:
    mean, sd = (
        frame[name].to_numpy(dtype=float, na_value=float("nan")).tolist()
        for name in ("fold_mean", "fold_sd")
    )
    return [
        None if isnan(one) else f"{number(one)} ± {number(spread)}"
        for one, spread in zip(mean, sd, strict=True)
    ]


def board_table(frame: pd.DataFrame, elsewhere: pd.DataFrame, metric: str) -> pd.DataFrame:
    """The board as it is shown; columns that hold nothing are left out.

    ``elsewhere`` are the scores on other splits, by submission.
    """
    ranked = frame["rank"].notna()
    spans = frame["rank_low"].astype(str) + "–" + frame["rank_high"].astype(str)
    table = pd.DataFrame(
        {
            # On a phone the first three are seen without scrolling, names that are long in part.
            "rank": frame["rank"],
            metric: frame["score"],
            "model": [parts.shortened(name, 100) for name in frame["model"]],
            BAR: plots.interval_bars(frame),
            "range": spans.where(ranked, None),
            "track": frame["track"],
            "low": frame["ci_low"],
            "high": frame["ci_high"],
            **{
                f"{EXTRA}{split}": elsewhere[split].reindex(frame["submission"]).to_numpy()
                for split in elsewhere.columns
                if any(elsewhere[split].notna().tolist())
            },
            "folds": _folds(frame),
            "status": frame["status"],
            "fit s": frame["fit_seconds"],
            "predict s": frame["predict_seconds"],
            "ms each": 1000 * frame["seconds_each"],
            "flops": frame["flops"],
            "parameters": frame["parameters"],
            "n": frame["n"].where(frame["score"].notna()),
            "units": frame["units"].where(frame["score"].notna()),
            "date": frame["date"].str[:10],
            "note": _notes(frame),
        }
    )
    optional = ["folds", "parameters", "fit s", "predict s", "ms each", "flops", "note", "low"]
    optional += ["high", BAR]
    empty = [name for name in optional if not any(table[name].notna().tolist())]
    # The same word in every row says nothing.
    return table.drop(columns=[*empty, *(["track"] if len(set(table["track"])) == 1 else [])])


def column_config(spec: BenchmarkSpec, metric: str, splits: Sequence[str]) -> dict[str, Any]:
    unit = metric_by_id(metric).unit_for(spec.target.unit)
    head = metric if unit == "1" else f"{metric} / {unit}"
    real, each = "%.4g", parts.predicted(spec)
    config = st.column_config
    return {
        "rank": config.NumberColumn(width=50, pinned=True),
        "range": config.TextColumn("rank range", width=85, help="95 % range of the rank"),
        "model": config.TextColumn(width=310),
        "track": config.TextColumn(width=130),
        metric: config.NumberColumn(head, format=real, width=90),
        "low": config.NumberColumn("95 % low", format=real),
        "high": config.NumberColumn("95 % high", format=real),
        BAR: config.ImageColumn("95 % interval", width=130, help="all rows on one scale"),
        **{f"{EXTRA}{one}": config.NumberColumn(one, format=real) for one in splits},
        "folds": config.TextColumn("mean ± sd over folds"),
        "units": config.NumberColumn(spec.unit_names),
        "status": config.TextColumn(help="run: by this harness; scored: from a predictions file"),
        # Wide enough for five figures: what does not fit would be cut off in front.
        "fit s": config.NumberColumn(
            format=real,
            width=90,
            help="wall time of fitting, all folds together, without image features",
        ),
        "predict s": config.NumberColumn(format=real, width=95),
        "ms each": config.NumberColumn(f"ms per {each}", format=real, help="time of prediction"),
        "flops": config.NumberColumn(f"flops per {each}", format="compact"),
        "parameters": config.NumberColumn(format="compact"),
    }


def show_board(
    spec: BenchmarkSpec, frame: pd.DataFrame, elsewhere: pd.DataFrame, chosen: dict[str, str]
) -> None:
    """The table; a click on a row picks the model that is shown below."""
    table = board_table(frame, elsewhere, chosen["metric"])
    # Another view is another table: a selected row number means nothing there.
    version = st.session_state.get("board-version", 0)
    shown = repr((list(frame["submission"]), chosen, version))
    key = f"board-{hashlib.sha256(shown.encode()).hexdigest()[:16]}"

    def picked() -> None:
        rows = st.session_state[key]["selection"]["rows"]
        if rows and rows[0] < len(frame):
            st.session_state["pick-model"] = str(frame["submission"].iloc[rows[0]])

    st.dataframe(
        table,
        hide_index=True,
        column_config=column_config(spec, chosen["metric"], list(elsewhere.columns)),
        height="content" if len(table) <= TALL else 36 * TALL,
        on_select=picked,
        selection_mode="single-row",
        placeholder="–",
        key=key,
    )


def caption(spec: BenchmarkSpec, ranked: pd.DataFrame) -> str:
    units = parts.units_of(spec, max(int(count) for count in ranked["units"].tolist()))
    return (
        f"Interval: 95 % bootstrap interval over {units}; another set of {spec.unit_names} would"
        " likely have put the score there. Rank range: the ranks a model takes in 95 % of the same"
        " resamples. Models whose ranges overlap are not told apart by these data."
    )


def show_plot(
    spec: BenchmarkSpec, store: Store, ranked: pd.DataFrame, chosen: dict[str, str]
) -> None:
    found = parts.reference_values(spec, store, chosen["protocol"], chosen["metric"])
    references = [(line.label, value) for line, value in found]
    declared = spec.label_uncertainty
    split = spec.protocols[chosen["protocol"]].split
    band = declared.value if declared and declared.holds_for(chosen["metric"], split) else None
    drawn = [value for _, value in references] + ([] if band is None else [band])
    limits = plots.axis_range(ranked, drawn)
    title = parts.metric_label(spec, chosen["metric"])
    log = plots.logarithmic(ranked, drawn)
    figure = plots.interval_plot(ranked, references, title, limits, band, log)
    st.plotly_chart(figure, width="stretch", config=plots.CONFIG, key="intervals")
    notes = []
    if len(ranked) > plots.MAX_ROWS:
        notes.append(f"The plot shows the first {plots.MAX_ROWS} of {len(ranked)}.")
    if outside := plots.beyond(ranked, limits):
        notes.append(f"{outside} of the rows reach beyond the axis; the table has their values.")
    notes += [
        f"{parts.literal(line.label)}: {parts.literal(line.note)}."
        for line, _ in found
        if line.note
    ]
    if notes:
        st.caption(" ".join(notes))


def show_figures(
    spec: BenchmarkSpec, store: Store, ranked: pd.DataFrame, chosen: dict[str, str]
) -> None:
    """One figure at a time: drawing them all would keep the browser busy at every change."""
    protocol = chosen["protocol"]
    track = None if chosen["track"] == parts.ALL_TRACKS else chosen["track"]
    there = {
        "intervals": True,
        "needs": dashboard_curves.exist(spec, store, ranked, protocol, track),
        "costs": bool(dashboard_cost.known(ranked)),
        "predictions": spec.target.kind == "frames",
    }
    names = [name for name, yes in there.items() if yes]
    picked = parts.choose(
        st.segmented_control,
        "Figure",
        "figure",
        names,
        names[0],
        required=True,
        format_func=lambda name: FIGURES[name],
        label_visibility="collapsed",
    )
    if picked != names[0]:
        chosen["figure"] = picked
    if picked == "intervals":
        show_plot(spec, store, ranked, chosen)
    elif picked == "needs":
        dashboard_curves.show(spec, store, ranked, protocol, track)
    elif picked == "costs":
        dashboard_cost.show(spec, ranked, chosen)
    else:
        dashboard_rollouts.show(spec, store, ranked, protocol)


def show_downloads(spec: BenchmarkSpec, frame: pd.DataFrame, chosen: dict[str, str]) -> None:
    stem = f"{spec.id}-{spec.version}-{chosen['protocol']}-{chosen['track']}-{chosen['metric']}"

    def as_json() -> str:
        return json_text(to_records(frame))

    # Written when they are asked for: a thousand rows take longer than the rest of the page.
    forms = (("CSV", lambda: csv_text(frame), "text/csv"), ("JSON", as_json, "application/json"))
    with st.container(horizontal=True):
        for name, content, kind in forms:
            st.download_button(
                name,
                content,
                file_name=f"{stem}.{name.lower()}",
                mime=kind,
                icon=":material/download:",
                on_click="ignore",
            )


def show_model(spec: BenchmarkSpec, store: Store, frame: pd.DataFrame) -> str | None:
    """The model picked by row, by list or by link; its short id for the link."""
    ids = [str(one) for one in frame["submission"]]
    if "pick-model" not in st.session_state and (asked := parts.view().get("model")):
        found = [one for one in ids if len(asked) >= 8 and one.startswith(asked)]
        if found:
            st.session_state["pick-model"] = found[0]
        else:
            st.warning("The link names a submission that is not in this view.")
    if st.session_state.get("pick-model") not in ids:
        st.session_state["pick-model"] = None
    # A thousand choices would slow every change of the page; a row of the table reaches the others.
    options = ids[:LISTED]
    picked = st.session_state["pick-model"]
    options += [picked] if picked is not None and picked not in options else []
    listing = pd.DataFrame(frame[frame["submission"].isin(options)])
    names = parts.row_names(listing)

    def listed() -> None:
        # The row marked in the table is no longer the one that is shown.
        st.session_state["board-version"] = st.session_state.get("board-version", 0) + 1

    chosen = st.selectbox(
        "Model in full",
        options,
        index=None,
        key="pick-model",
        format_func=lambda one: names.get(one) or str(one),
        placeholder="Pick a model here or a row above",
        on_change=listed,
    )
    if chosen is None:
        return None
    entry = parts.entry(store, chosen)
    if entry is None:
        raise UserError("that submission was withdrawn or cannot be read; reload the page")
    with st.container(border=True):
        dashboard_model.show(spec, store, entry)
    return chosen[:12]


def show_empty(spec: BenchmarkSpec, chosen: dict[str, str]) -> None:
    st.info("No submission here yet. Run a baseline, or submit predictions of your own:")
    model = next((line.model for line in spec.reference_lines if line.model), "MODEL")
    st.code(
        f"etchmark evaluate {model} {spec.id} --protocol {chosen['protocol']}",
        language="bash",
        wrap_lines=True,
    )
    st.page_link("app_pages/submit.py", label="Submit predictions", icon=":material/upload:")


def main() -> None:
    st.title("Leaderboard", anchor=False)
    parts.follow_link()
    spec, chosen = controls()
    store = parts.open_store()
    track = None if chosen["track"] == parts.ALL_TRACKS else chosen["track"]
    board = parts.board(spec, store, protocol=chosen["protocol"], metric=chosen["metric"])
    parts.show_left_out(store)
    where = dashboard_filters.show(board.frame, chosen)
    frame = parts.standings(
        spec,
        store,
        track=track,
        protocol=chosen["protocol"],
        metric=chosen["metric"],
        where=where,
        everything="all" in chosen,
    )
    if frame.empty:
        parts.remember(chosen)
        if where == parts.EVERYWHERE:
            show_empty(spec, chosen)
        else:
            st.info("No submission is left by the filters; widen them.")
        return
    if where != parts.EVERYWHERE:
        st.caption(f"The filters leave {len(frame):,} of {len(board.frame):,} submissions.")
    ranked = frame.dropna(subset=["rank"])
    if len(ranked):
        st.markdown(parts.literal(parts.first_place(ranked)))
    show_board(spec, frame, board.elsewhere(), chosen)
    show_downloads(spec, frame, chosen)
    if len(ranked):
        st.caption(parts.literal(caption(spec, ranked)))
        show_figures(spec, store, ranked, chosen)
    model = show_model(spec, store, frame)
    parts.remember(chosen if model is None else chosen | {"model": model})


main()
