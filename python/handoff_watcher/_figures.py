"""How a watcher fares: :class:`Stats` and :class:`Health`. Times are in seconds."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

LATENCY_BUCKETS: tuple[float, ...] = (
    0.001,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.0,
    5.0,
    10.0,
)
"""The upper bounds of :attr:`Latency.buckets`, in seconds."""


@dataclasses.dataclass(frozen=True)
class EventCounts:
    """Events that the host took, by kind."""

    ready: int
    updated: int
    removed: int
    invalid: int
    conflict: int
    synced: int
    unavailable: int
    available: int


@dataclasses.dataclass(frozen=True)
class Latency:
    """From a file's last change to the delivery. What was there at the start has none."""

    count: int
    """Deliveries measured."""
    over_objective: int
    """Those over the objective of 2 seconds."""
    sum_seconds: float
    """The sum of all, for a mean."""
    last_seconds: float | None
    """The last one."""
    max_seconds: float
    """The longest."""
    buckets: tuple[int, ...]
    """How many took at most the bound of the same place in ``LATENCY_BUCKETS``, and more than the
    one before."""


@dataclasses.dataclass(frozen=True)
class Stats:
    """A snapshot of a watcher's figures, as of the last round of the scanning thread."""

    scans: int
    """Complete listings since the start."""
    scan_errors: int
    """Listings that failed or broke off since the start."""
    reads: int
    """Files read since the start."""
    scan_age_seconds: float | None
    """Since the last try to list the directory ended; ``None`` before the first."""
    scan_duration_seconds: float | None
    """How long the last complete listing took, its reads included."""
    available: bool
    """The directory could be listed the last time."""
    files: int
    """Handoff files known."""
    replicas: int
    """Replicas that are ready."""
    invalid_files: int
    """Files that are reported, or about to be reported, as invalid."""
    pending_files: int
    """Files that are not decided yet: half-written, gone missing, to be read."""
    backlog: int
    """Events that the host has not taken yet, retries included."""
    retries: int
    """Deliveries that the host refused, since the start."""
    events: EventCounts
    """Events that the host took, by kind."""
    latency: Latency
    """From a file's last change to the delivery of its event."""

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Stats:
        """Take it from what JSON says."""
        latency = dict(fields["latency"])
        latency["buckets"] = tuple(latency["buckets"])
        return cls(
            **{
                **fields,
                "events": EventCounts(**fields["events"]),
                "latency": Latency(**latency),
            }
        )


@dataclasses.dataclass(frozen=True)
class Health:
    """Whether a watcher does its work."""

    running: bool
    """The scanning thread is alive. False after a stop, and after a defect of this library."""
    available: bool
    """The directory could be listed the last time. False before the first time."""
    stalled: bool
    """The last try to list it ended more than three intervals and two seconds ago."""
    error: str | None
    """Why the directory cannot be listed, or the watcher ended by itself."""
    mode: Literal["polling", "instant"]
    """What lets the next scan begin: ``"polling"``, or ``"instant"``."""
    mode_error: str | None
    """Why that is polling alone although instant mode was asked for."""

    @property
    def ok(self) -> bool:
        """All is well: running, available, not stalled."""
        return self.running and self.available and not self.stalled
