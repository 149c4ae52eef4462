"""Which track and protocol is meant."""

from __future__ import annotations

from etchmark.catalog.models import ModelSource
from etchmark.catalog.names import unknown
from etchmark.errors import UserError
from etchmark.specs import BaselineUse, BenchmarkSpec, Track


def use_of(spec: BenchmarkSpec, source: ModelSource) -> BaselineUse | None:
    """How a benchmark runs a model, or else what an older card says; None if neither says so."""
    if (use := spec.use_of(source.name)) is not None:
        return use
    track = source.uses.get(spec.id)
    return None if track is None else BaselineUse(track=track)


def pick_track(spec: BenchmarkSpec, track: str | None, why: str = "") -> tuple[str, Track]:
    """The named track, or the only one there is."""
    if track is None:
        if len(spec.tracks) > 1:
            raise UserError(
                f"{spec.id} has the tracks {', '.join(spec.tracks)}; say which with --track{why}"
            )
        track = next(iter(spec.tracks))
    if track not in spec.tracks:
        raise unknown(f"track of {spec.id}", track, spec.tracks)
    return track, spec.tracks[track]


def pick_protocol(spec: BenchmarkSpec, protocol: str | None, *, default: bool) -> str:
    """The named protocol; the headline one (``default``) or a refusal where several exist."""
    if protocol is None:
        if len(spec.protocols) > 1 and not default:
            raise UserError(
                f"{spec.id} has the protocols {', '.join(spec.protocols)} and the submission names"
                " none; say which with --protocol"
            )
        return spec.headline
    if protocol not in spec.protocols:
        raise unknown(f"protocol of {spec.id}", protocol, spec.protocols)
    return protocol
