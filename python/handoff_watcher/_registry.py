"""What is ready now."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from . import _abi, _checks
from ._errors import Unique
from ._handle import Handle
from ._native import lib
from ._payload import Payload


@dataclasses.dataclass(frozen=True)
class PoolStatus:
    """A pool as a heartbeat reports it."""

    pool_id: str
    """The pool."""
    ready: bool
    """At least one of its replicas is ready."""
    slots_free: int
    """The free slots of its ready replicas; one that does not say counts with all of its slots."""
    slots_total: int
    """The slots of its ready replicas; one that does not say counts with none."""
    engine: str | None
    """The engine of its first ready replica, by id, that names one."""
    replicas_ready: int
    """How many of its replicas are ready."""


class Registry(Unique):
    """What is ready now, by replica and by pool.

    It follows the directory: it changes before the event of a change is handed out, and also when
    nobody takes events. Any thread may ask it, callbacks too, until the watcher is closed; after
    that everything raises :class:`StoppedError`.
    """

    def __init__(self, handle: Handle) -> None:
        self._handle = handle

    def get(self, pool_id: str, replica_id: str) -> Payload | None:
        """Give a replica's handoff, if it is ready."""
        ids = _checks.text("pool_id", pool_id), _checks.text("replica_id", replica_id)
        found = self._json(lib.handoff_registry_get, *ids)
        return None if found is None else Payload.from_dict(found)

    def pools(self) -> list[PoolStatus]:
        """Give every pool of which there is a handoff, ready or not: what a heartbeat carries."""
        pools = self._json(lib.handoff_registry_pools)
        return [PoolStatus(**{"engine": None, **pool}) for pool in pools]

    def is_ready(self, pool_id: str) -> bool:
        """Tell whether at least one replica of a pool is ready."""
        pool = _checks.text("pool_id", pool_id)
        ask = lib.handoff_registry_is_ready
        status = self._handle.call(lambda watcher: _abi.check(ask(watcher, pool)))
        return bool(status == lib.HANDOFF_OK)

    def wait_ready(
        self, pool_id: str, replica_id: str | None = None, *, timeout: float | None = None
    ) -> bool:
        """Wait until a pool has a ready replica, or until that replica is ready.

        ``timeout`` is in seconds; ``None`` waits for as long as it takes. Returns whether it is.
        Ctrl-C is noticed within 50 ms.

        Raises :class:`StoppedError` when the watcher is stopped meanwhile.
        """
        ids = [_checks.text("pool_id", pool_id)]
        function = lib.handoff_registry_wait_ready
        if replica_id is not None:
            ids.append(_checks.text("replica_id", replica_id))
            function = lib.handoff_registry_wait_replica_ready
        return bool(
            self._handle.wait(lambda *args: _abi.check(function(*args)), *ids, timeout=timeout)
            == lib.HANDOFF_OK
        )

    @property
    def generation(self) -> int:
        """A number that grows with every change of the registry, and with nothing else."""
        return self._handle.call(lambda it: _abi.number(lib.handoff_registry_generation, it))

    def __len__(self) -> int:
        return self._handle.call(lambda it: _abi.number(lib.handoff_registry_count, it))

    def __bool__(self) -> bool:
        """Be true, also when nothing is ready: a registry is there."""
        return True

    def __repr__(self) -> str:
        return (
            f"<handoff_watcher.Registry, {len(self)} ready>"
            if self._handle.is_open
            else ("<handoff_watcher.Registry, closed>")
        )

    # Behind all that is annotated with the type of the same name.
    def list(self) -> list[Payload]:
        """Give all that is ready, sorted by pool and replica."""
        return [Payload.from_dict(payload) for payload in self._json(lib.handoff_registry_list)]

    def _json(self, function: Any, *args: bytes) -> Any:
        text = self._handle.call(lambda watcher: _abi.string(function, watcher, *args))
        return None if text is None else json.loads(text)
