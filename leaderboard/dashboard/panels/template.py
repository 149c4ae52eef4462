"""Before a submission: test inputs and a predictions file to fill."""

from __future__ import annotations

import streamlit as st

from dashboard.panels.task import Task
from dashboard.text import literal
from etchmark.api import Hub, prediction_note, temporary_folder
from etchmark.errors import UserError

MAX_BYTES = 64 << 20
"""Size of the data up to which the page offers the template for download."""


@st.cache_data(max_entries=16, show_spinner="Preparing the template")
def template_files(
    _hub: Hub, key: str, stamp: str, benchmark: str, track: str, protocol: str
) -> list[tuple[str, bytes]]:
    """Test inputs and predictions files to fill, as names and contents."""
    with temporary_folder() as folder:
        written = _hub.template(benchmark, folder, track=track, protocol=protocol)
        paths = [*written.inputs, *written.predictions]
        return [(path.name, path.read_bytes()) for path in paths]


def show(hub: Hub, task: Task) -> None:
    st.header("Fill the template", anchor=False)
    _explain(task)
    spec, config = task.spec, task.spec.tracks[task.track].config
    folder = hub.config_folder(spec.dataset, config)
    build = folder is None and st.button("Build the data for this track", icon=":material/build:")
    if folder is None and not build:
        _show_command(
            task,
            "These data are not on this machine yet. Building simulated data of full size takes"
            " from a minute to a quarter of an hour. The same in a terminal:",
        )
        return
    manifest = hub.manifest(spec.dataset, config)
    size = sum(file.bytes for file in manifest.files) if manifest else 0
    if size > MAX_BYTES:
        _show_command(
            task, f"The inputs are {size / 2**20:,.0f} MiB. Write them in a terminal instead:"
        )
        return
    try:
        contents = template_files(hub, spec.key, str(folder), spec.id, task.track, task.protocol)
    except UserError as error:
        # Predictions that were made elsewhere can still be submitted.
        st.warning(literal(str(error)))
        return
    if build:
        # The data are here now: run again, without the button.
        st.rerun()
    with st.container(horizontal=True):
        for name, content in contents:
            st.download_button(
                name, content, file_name=name, icon=":material/download:", on_click="ignore"
            )


def _show_command(task: Task, caption: str) -> None:
    st.caption(caption)
    st.code(f"etchmark template {task.options}", language="bash", wrap_lines=True)


def _explain(task: Task) -> None:
    """What to predict, in which form, and what to learn from."""
    spec = task.spec
    quantity, unit = literal(spec.target.quantity), literal(spec.target.unit)
    measured = "" if spec.target.unit == "1" else f" in {unit}"
    st.markdown(
        f"Predict **{quantity}**{measured} for every id. Columns: `id`, `prediction`, and `seed` if"
        " the model was run with several."
    )
    if note := prediction_note(spec):
        st.markdown(note)
    download = f"`etchmark download {spec.id} --track {task.track}`"
    if spec.protocols[task.protocol].fold_column is not None:
        st.markdown(
            "The inputs hold the fold of each sample: predict the samples of a fold with a model"
            f" trained on all others. {download} has the labels."
        )
    else:
        st.markdown(f"Training data: {download}, or the page *Datasets*.")
