"""Resolves the track and the protocol that a command or function leaves out."""

from __future__ import annotations

from etchmark.catalog.models import ModelSource
from etchmark.catalog.names import unknown
from etchmark.errors import UserError
from etchmark.specs import BaselineUse, BenchmarkSpec, Track


def use_of(spec: BenchmarkSpec, source: ModelSource) -> BaselineUse | None:
    """How a model runs on a benchmark, by its YAML or else by an older card; None if neither."""
    if (use := spec.use_of(source.name)) is not None:
        return use
    track = source.uses.get(spec.id)
    return None if track is None else BaselineUse(track=track)


def pick_track(spec: BenchmarkSpec, track: str | None, why: str = "") -> tuple[str, Track]:
    """The named track, or the only one; ``why`` is appended to the message that asks for one.

    Raises:
        UserError: the track is unknown, or none is named and there are several.
    """
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
    """The named protocol; without a name, the headline protocol.

    Raises:
        UserError: the protocol is unknown; or none is named, there are several, and ``default`` is
            false.
    """
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
