"""Tells its host which engines are ready, by watching a directory of handoff files.

    import handoff_watcher
    from handoff_watcher import Ready, Removed, Updated

    with handoff_watcher.watch(".runtime/engines") as watcher:
        for event in watcher:
            match event:
                case Ready(payload=engine) | Updated(payload=engine):
                    print(engine.pool_id, engine.replica_id, "is at", engine.url)
                case Removed(pool_id=pool, replica_id=replica):
                    print(pool, replica, "is gone")

The same with ``async with`` and ``async for`` on asyncio's loop, where it has no thread of its own,
or with ``watch(directory, on_event=callback)``. What is told, once and in order, is the difference
between what the directory says and what was taken: nothing is lost, told twice, or made up.

What the library and failing callbacks have to say is logged to the logger ``handoff_watcher``; a
line per event comes at the level ``DEBUG``, if that is enabled when the watcher is made.
"""

from ._abi import version as _version
from ._errors import (
    ArgumentError,
    BusyError,
    ConfigError,
    DocumentError,
    DocumentSyntaxError,
    ForkedError,
    HandoffError,
    InternalError,
    IoError,
    SchemaError,
    SpawnError,
    StoppedError,
)
from ._events import (
    Available,
    Conflict,
    Event,
    Invalid,
    Ready,
    Removed,
    Synced,
    Unavailable,
    Updated,
)
from ._figures import LATENCY_BUCKETS, EventCounts, Health, Latency, Stats
from ._payload import Model, Payload
from ._producer import check, publish, withdraw
from ._registry import PoolStatus, Registry
from ._watcher import Watcher, watch

__version__ = _version()
__all__ = [
    "LATENCY_BUCKETS",
    "ArgumentError",
    "Available",
    "BusyError",
    "ConfigError",
    "Conflict",
    "DocumentError",
    "DocumentSyntaxError",
    "Event",
    "EventCounts",
    "ForkedError",
    "HandoffError",
    "Health",
    "InternalError",
    "Invalid",
    "IoError",
    "Latency",
    "Model",
    "Payload",
    "PoolStatus",
    "Ready",
    "Registry",
    "Removed",
    "SchemaError",
    "SpawnError",
    "Stats",
    "StoppedError",
    "Synced",
    "Unavailable",
    "Updated",
    "Watcher",
    "check",
    "publish",
    "watch",
    "withdraw",
]
