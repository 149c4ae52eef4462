"""Submit predictions: template, check, preview of the standing, and only then the registry."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st
from dashboard import parts
from dashboard.model import DISCLOSURE, scores_table

from etchmark import files
from etchmark.boards import standings as board
from etchmark.catalog import catalog
from etchmark.data.loading import find_config, load_benchmark, read_config
from etchmark.errors import UserError
from etchmark.predictions.checks import named
from etchmark.registry.store import LOCAL, Store
from etchmark.registry.tables import Entry
from etchmark.scoring import template
from etchmark.specs import BenchmarkSpec, ModelCard
from etchmark.submission import statements
from etchmark.submission import submit as submissions
from etchmark.submission.preview import preview
from etchmark.targets import kind_of
from etchmark.text import escape_json

INLINE_BYTES = 64 << 20
NEIGHBOURS = 5


@dataclass(frozen=True)
class Task:
    """What the predictions are for."""

    spec: BenchmarkSpec
    track: str
    protocol: str

    @property
    def options(self) -> str:
        return f"{self.spec.id} --track {self.track} --protocol {self.protocol}"


@dataclass(frozen=True)
class Preview:
    """A file that was checked and scored and is not stored, with the bytes that were."""

    task: tuple[str, str, str]
    prepared: submissions.Prepared
    content: bytes
    suffix: str
    file: str


# --- what for ----------------------------------------------------------------------------------


def choose_task() -> Task:
    names = parts.benchmark_names()
    first, second, third = st.columns([2, 1, 1])
    with first:
        name = _pick("Benchmark", "benchmark", names, names[0], "submit-benchmark")
    spec = parts.benchmark(name)
    # What a link says of another benchmark is not meant for this one.
    linked = parts.view().get("benchmark", name) == name
    protocols, tracks = list(spec.protocols), list(spec.tracks)
    with second:
        key = f"submit-protocol-{name}"
        protocol = _pick("Protocol", "protocol", protocols, spec.headline, key, linked)
    with third:
        key, label = f"submit-track-{name}", "Track: what the model reads"
        track = _pick(label, "track", tracks, tracks[0], key, linked)
    chosen = spec.protocols[protocol]
    st.markdown(
        f"**{parts.literal(chosen.title)}.** {parts.literal(chosen.description)}"
        f" Track {parts.literal(track)}: {parts.literal(spec.tracks[track].title)}."
    )
    return Task(spec, track, protocol)


def _pick(
    label: str, key: str, options: list[str], default: str, widget: str, linked: bool = True
) -> str:
    """A choice that starts from the link and leaves it as it is."""
    if widget not in st.session_state:
        every = key == "track" and parts.view().get(key) == parts.ALL_TRACKS
        asked = linked and not every
        what = label.partition(":")[0].lower()
        st.session_state[widget] = parts.wanted(key, options, default, what) if asked else default
    title = parts.benchmark_title if key == "benchmark" else str
    return st.selectbox(label, options, format_func=title, key=widget)


# --- template ----------------------------------------------------------------------------------


@st.cache_data(max_entries=16, show_spinner="Preparing the template")
def template_files(
    key: str, stamp: str, benchmark: str, track: str, protocol: str
) -> list[tuple[str, bytes]]:
    """Test inputs and predictions files to fill, as names and contents."""
    with files.temporary_folder() as folder:
        written = template.write(load_benchmark(benchmark), track, protocol, folder)
        paths = [*written.inputs, *written.predictions]
        return [(path.name, path.read_bytes()) for path in paths]


def show_template(task: Task) -> None:
    st.subheader("1. Fill the template", anchor=False)
    spec, config = task.spec, task.spec.tracks[task.track].config
    quantity, unit = parts.literal(spec.target.quantity), parts.literal(spec.target.unit)
    measured = "" if spec.target.unit == "1" else f" in {unit}"
    st.markdown(
        f"Predict **{quantity}**{measured} for every id. Columns: `id`, `prediction`, and `seed` if"
        " the model was run with several."
    )
    if note := kind_of(spec.target).prediction_note(spec.target):
        st.markdown(note)
    if spec.protocols[task.protocol].fold_column is not None:
        st.markdown(
            "The inputs hold the fold of each sample: predict the samples of a fold with a model"
            f" trained on all others. `etchmark download {spec.id} --track {task.track}` has the"
            " labels."
        )
    else:
        st.markdown(
            f"What to learn from: `etchmark download {spec.id} --track {task.track}`, or the page"
            " *Datasets*."
        )
    folder = find_config(catalog(), spec.dataset, config)
    size = 0
    if folder is not None:
        size = sum(file.bytes for file in read_config(folder, spec.dataset, config).files)
    build = folder is None and st.button("Build the data for this track", icon=":material/build:")
    if folder is None and not build:
        st.caption(
            "These data are not on this machine yet; simulated ones of full size take from a minute"
            " to a quarter of an hour. In a terminal the same is:"
        )
        st.code(f"etchmark template {task.options}", language="bash", wrap_lines=True)
        return
    if size > INLINE_BYTES:
        st.caption(f"The inputs are {size / 2**20:,.0f} MiB; write them in a terminal:")
        st.code(f"etchmark template {task.options}", language="bash", wrap_lines=True)
        return
    try:
        found = template_files(spec.key, str(folder), spec.id, task.track, task.protocol)
    except UserError as error:
        # Predictions that were made elsewhere can be submitted all the same.
        st.warning(parts.literal(str(error)))
        return
    if build:
        # They are here now: without the button.
        st.rerun()
    with st.container(horizontal=True):
        for name, content in found:
            st.download_button(
                name, content, file_name=name, icon=":material/download:", on_click="ignore"
            )


# --- file and card -----------------------------------------------------------------------------


def _listed(text: str) -> list[str]:
    return [one.strip() for one in text.split(",") if one.strip()]


def read_form() -> tuple[Any, str, dict[str, Any]] | None:
    """The uploaded file, the name and what was filled of the card; None until the button."""
    st.subheader("2. Check the predictions", anchor=False)
    with st.form("submission", border=True):
        # No list of types: a wrong file is refused by its content, with a reason.
        file = st.file_uploader("Predictions file (.csv or .parquet)", key="submit-file")
        name = st.text_input("Name on the board", max_chars=100, key="submit-name")
        with st.expander("Card (optional): authors, paper, code, licence"):
            card = _card_fields()
        pressed = st.form_submit_button("Check and preview", type="primary")
    if not pressed:
        return None
    # What was checked before is not what the form holds now, whatever becomes of this try.
    st.session_state.pop("preview", None)
    st.session_state.pop("receipt", None)
    if file is None:
        raise UserError("no file was given; drop a predictions file into the box above")
    if not name.strip():
        raise UserError("no name was given; say under which name the model is to be listed")
    return file, name.strip(), {key: value for key, value in card.items() if value}


def _card_fields() -> dict[str, Any]:
    texts = {key: key.capitalize() for key in ("title", "description")}
    card: dict[str, Any] = {
        "title": st.text_input(texts["title"], max_chars=200).strip(),
        "description": st.text_area(texts["description"], max_chars=10_000).strip(),
        "authors": _listed(st.text_input("Authors", help="separated by commas")),
        "paper": st.text_input("Paper", placeholder="10.1000/xyz or https://…").strip(),
        "code": st.text_input("Code", placeholder="https://…").strip(),
        "licence": st.text_input("Licence", placeholder="Apache-2.0").strip(),
        "tags": _listed(st.text_input("Tags", help="separated by commas")),
        "training_data": st.selectbox(
            "Training data",
            ["unknown", "none", "declared"],
            format_func=lambda key: DISCLOSURE[key],
        ),
        "training_data_note": st.text_input("Which other data", max_chars=2000).strip(),
    }
    return card


def card_of(fields: dict[str, Any]) -> ModelCard:
    for key in ("paper", "code"):
        if key in fields and parts.web_address(fields[key]) is None:
            raise UserError(
                f"{key}: {fields[key][:60]!r} is no address; give one that starts with https://"
                + (" or a DOI that starts with 10." if key == "paper" else "")
            )
    return statements.card_from_mapping(fields)


def check_file(task: Task, file: Any, name: str, card: ModelCard) -> Preview:
    """Score an upload in a process of its own; the message names the upload, not its copy."""
    if find_config(catalog(), task.spec.dataset, task.spec.tracks[task.track].config) is None:
        raise UserError(
            "the data to score with are not on this machine; press the button that builds them"
            " above, then check again"
        )
    statements.check_stored(name, parts.open_store().names())
    content = file.getvalue()
    # What it is, not what it is called: parquet begins with these four letters.
    called_csv = str(file.name).lower().endswith(".csv")
    suffix = ".csv" if called_csv and not content.startswith(b"PAR1") else ".parquet"
    with files.temporary_folder() as folder:
        path = (folder / f"predictions{suffix}").absolute()
        _write(path, content)
        with named(path, parts.shortened(str(file.name), 60)):
            prepared = preview(
                path, task.spec.id, name=name, card=card, track=task.track, protocol=task.protocol
            )
    return Preview(
        (task.spec.key, task.track, task.protocol), prepared, content, suffix, str(file.name)
    )


def _write(path: Path, content: bytes) -> None:
    try:
        path.write_bytes(content)
    except OSError as error:
        raise UserError(
            f"the file cannot be kept while it is checked ({error.strerror or error}); free some"
            " space or let TMPDIR name another folder"
        ) from None


# --- preview and commit ------------------------------------------------------------------------


def neighbourhood(frame: pd.DataFrame, submission: str) -> pd.DataFrame:
    """The rows around one submission, marked."""
    at = int((frame["submission"] == submission).to_numpy().argmax())
    near = frame.iloc[max(0, at - NEIGHBOURS) : at + NEIGHBOURS + 1]
    spans = near["rank_low"].astype(str) + "–" + near["rank_high"].astype(str)
    return pd.DataFrame(
        {
            "": ["▶" if one == submission else "" for one in near["submission"]],
            "rank": near["rank"],
            "rank range": spans,
            "model": [parts.shortened(name, 100) for name in near["model"]],
            "track": near["track"],
            str(near["metric"].iloc[0]): near["score"],
            "95 % low": near["ci_low"],
            "95 % high": near["ci_high"],
            "status": near["status"],
        }
    )


def show_standing(spec: BenchmarkSpec, store: Store, entry: Entry) -> None:
    """Where a submission stands among all tracks of its protocol, whether stored or not."""
    record = entry.record
    frame = board.standings(spec, store, board.View(record.protocol), extra=[entry])
    row = frame[frame["submission"] == record.submission]
    if row.empty:
        st.info("A newer submission of the same name stands on the board; this one is superseded.")
        return
    one = row.iloc[0]
    st.markdown(
        f"Rank **{one['rank']}** of {len(frame)}, 95 % range {one['rank_low']}–{one['rank_high']}"
        f" ({parts.literal(record.protocol)}, all tracks)."
    )
    real = st.column_config.NumberColumn(format="%.4g")
    names = [str(one["metric"]), "95 % low", "95 % high"]
    st.dataframe(
        neighbourhood(frame, record.submission),
        hide_index=True,
        column_config={"": st.column_config.TextColumn(width=30), **dict.fromkeys(names, real)},
        placeholder="–",
        key="neighbourhood",
    )


def checks(spec: BenchmarkSpec, done: Preview) -> list[str]:
    """What was checked, line by line."""
    record = done.prepared.record
    kind = done.suffix.removeprefix(".")
    lines = [f"read as {kind}: {len(done.content):,} bytes"]
    for score in record.scores:
        seeds = f", for each of {score.seeds} seeds" if score.seeds > 1 else ""
        over = "" if spec.unit_name == "sample" else f" of {parts.units_of(spec, score.units)}"
        lines.append(
            f"split {score.split}: all {score.n:,} ids{over}, each once{seeds}; every value finite"
        )
    absent = set(_splits(spec, record.protocol)) - {one.split for one in record.scores}
    lines += [f"split {one}: no predictions, so no score there" for one in sorted(absent)]
    return [f"- {parts.literal(line)}" for line in lines]


def _splits(spec: BenchmarkSpec, protocol: str) -> list[str]:
    chosen = spec.protocols[protocol]
    return [chosen.split, *chosen.extra_splits]


def show_checked(task: Task, done: Preview) -> None:
    record = done.prepared.record
    st.success("The file is complete and finite:\n" + "\n".join(checks(task.spec, done)))
    st.dataframe(scores_table(task.spec, record), hide_index=True, key="preview-scores")
    for doubt in done.prepared.doubts:
        st.warning(parts.literal(doubt.message[:1].upper() + doubt.message[1:] + "."))


def store_it(store: Store, done: Preview) -> submissions.Committed:
    with files.temporary_folder() as folder:
        path = folder / f"predictions{done.suffix}"
        _write(path, done.content)
        prepared = submissions.Prepared(done.prepared.record, done.prepared.samples, [path])
        return submissions.commit(store, submissions.dated_now(prepared))


def show_preview(task: Task, store: Store, done: Preview) -> None:
    st.subheader("3. Preview: nothing is stored yet", anchor=False)
    record = done.prepared.record
    card = record.card
    told = ", ".join([*card.authors, *([card.paper] if card.paper else [])])
    st.markdown(
        f"What is stored: **{parts.literal(record.name)}**, from"
        f" {parts.literal(parts.shortened(done.file, 60))}"
        + (f" ({parts.literal(parts.shortened(told, 200))})" if told else "")
        + ". Whatever is changed in the form from here on is not in it; check again."
    )
    show_checked(task, done)
    earlier = submissions.earlier(store, record)
    if earlier:
        st.warning(
            f"It takes the place of {earlier[-1].submission[:12]}, which has the same name, track"
            " and protocol."
        )
    same = submissions.same_predictions(store, record)
    if same:
        names = ", ".join(parts.literal(parts.shortened(one.name, 60)) for one in same[:3])
        st.warning(f"The very same predictions are stored already, as {names}.")
    show_standing(task.spec, store, Entry(record, done.prepared.samples, LOCAL))
    with st.container(horizontal=True):
        confirmed = st.button("Store this submission", type="primary", icon=":material/save:")
        dropped = st.button("Discard")
    if confirmed:
        committed = store_it(store, done)
        del st.session_state["preview"]
        st.session_state["receipt"] = (record.submission, committed)
        st.rerun()
    if dropped:
        del st.session_state["preview"]
        st.rerun()


def show_receipt(store: Store, submission: str, committed: submissions.Committed) -> None:
    entry = store.get(submission)
    if entry is None:
        raise UserError("the stored submission is not in the registry any more; submit it again")
    st.subheader("3. Stored", anchor=False)
    record = entry.record
    said = committed.value[0].upper() + committed.value[1:]
    st.success(parts.literal(f"{said}: {record.name}, submission {submission[:12]}."))
    show_standing(parts.benchmark(record.benchmark), store, entry)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.download_button(
            "Result record: your receipt (JSON)",
            escape_json(record.model_dump_json(by_alias=True, indent=2)),
            file_name=f"{submission[:12]}.json",
            mime="application/json",
            icon=":material/download:",
            on_click="ignore",
        )
        link = {
            "benchmark": record.benchmark,
            "protocol": record.protocol,
            "model": submission[:12],
            # Should a newer one of its name be there, it is not among the ranked.
            **({"all": "1"} if submissions.superseded(store, record) else {}),
        }
        st.page_link(
            "app_pages/leaderboard.py",
            label="See it on the board",
            icon=":material/leaderboard:",
            query_params=link,
        )
    st.caption(
        "This is the registry of this machine. For the public board, export the submission with"
        " etchmark submit --export and open a pull request (CONTRIBUTING.md)."
    )


def main() -> None:
    st.title("Submit predictions", anchor=False)
    parts.follow_link()
    task = choose_task()
    store = parts.open_store()
    show_template(task)
    with parts.guarded():
        given = read_form()
        if given is not None:
            file, name, fields = given
            card = card_of(fields)
            with st.spinner("Checking and scoring"):
                st.session_state["preview"] = check_file(task, file, name, card)
    done = st.session_state.get("preview")
    if done is not None and done.task == (task.spec.key, task.track, task.protocol):
        show_preview(task, store, done)
    elif done is not None:
        del st.session_state["preview"]
        st.info("What was checked was for another benchmark, track or protocol; check again.")
    receipt = st.session_state.get("receipt")
    if receipt is not None:
        show_receipt(store, *receipt)


main()
