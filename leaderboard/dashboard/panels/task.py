"""What a predictions file is for: benchmark, protocol and track."""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st

from dashboard import state, terms
from dashboard.text import literal
from etchmark.api import Hub
from etchmark.specs import BenchmarkSpec


@dataclass(frozen=True)
class Task:
    """What the predictions are for."""

    spec: BenchmarkSpec
    track: str
    protocol: str

    @property
    def key(self) -> tuple[str, str, str]:
        return self.spec.key, self.track, self.protocol

    @property
    def link(self) -> state.Link:
        """The same as the address of a page has it."""
        return {"benchmark": self.spec.id, "protocol": self.protocol, "track": self.track}

    @property
    def options(self) -> str:
        """The same as arguments of a command."""
        return f"{self.spec.id} --track {self.track} --protocol {self.protocol}"


def set_to(task: Task) -> None:
    """Let the choices start from a task; before they are shown."""
    st.session_state["submit-benchmark"] = task.spec.id
    st.session_state[f"submit-protocol-{task.spec.id}"] = task.protocol
    st.session_state[f"submit-track-{task.spec.id}"] = task.track


def choose(hub: Hub) -> Task:
    """Choices that start from the view and leave it as it is."""
    first, second, third = st.columns([2, 1, 1])
    with first:
        spec = state.choose_benchmark_apart(hub, "submit-benchmark")
    # What a link says about another benchmark does not apply to this one.
    linked = state.view().get("benchmark", spec.id) == spec.id
    protocols, tracks = list(spec.protocols), list(spec.tracks)
    with second:
        widget = f"submit-protocol-{spec.id}"
        state.start(widget, "protocol", protocols, spec.headline, linked=linked)
        protocol = st.selectbox("Protocol", protocols, key=widget)
    with third:
        widget = f"submit-track-{spec.id}"
        linked &= state.view().get("track") != state.ALL_TRACKS
        state.start(widget, "track", tracks, tracks[0], linked=linked)
        track = st.selectbox("Track: what the model reads", tracks, key=widget)
    details = spec.protocols[protocol]
    st.markdown(
        f"[Protocol]({terms.address('protocol', spec.id)}): **{literal(details.title)}.**"
        f" {literal(details.description)} [Track]({terms.address('score', spec.id)})"
        f" {literal(track)}: {literal(spec.tracks[track].title)}."
    )
    return Task(spec, track, protocol)
