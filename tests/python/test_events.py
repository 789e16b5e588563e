"""What is told, with all of its fields, and the views of it: registry, figures."""

from __future__ import annotations

import dataclasses
import os
import pickle
import sys
from pathlib import Path
from typing import TypeVar

import handoff_watcher as h
import pytest
from conftest import QUICK, Directory

PAYLOAD = h.Payload(
    "pool-0",
    "r0",
    "http://localhost:8080",
    engine="llamacpp",
    slots=4,
    slots_free=3,
    pid=4711,
    model=h.Model(path="/models/m.gguf", extra={"quant": "q4"}),
    flags=("--threads", "8"),
    extra={"zone": "b", "größe": [1, 2.5, None, "\0"]},
)


E = TypeVar("E", bound=h.Event)


def expect(watcher: h.Watcher, kind: type[E]) -> E:
    event = watcher.next(timeout=30)
    assert isinstance(event, kind), event
    return event


def test_a_life(directory: Directory) -> None:
    with h.watch(directory.path, **QUICK) as watcher:
        assert expect(watcher, h.Synced) == h.Synced()
        assert watcher.next(timeout=0) is None
        before = watcher.registry.generation
        assert not watcher.registry.is_ready("pool-0")
        assert watcher.registry.get("pool-0", "r0") is None
        assert not watcher.wait_ready("pool-0", timeout=0)

        file = h.publish(directory.path, PAYLOAD)
        assert file == directory.path / "pool-0-r0.json"
        ready = expect(watcher, h.Ready)
        assert isinstance(ready, h.Ready)
        assert ready.payload == PAYLOAD
        assert ready == h.Ready(file, "pool-0", "r0", PAYLOAD, ready.latency_ms)
        assert ready.latency_ms is not None and ready.latency_ms >= 0
        assert str(ready) == "ready pool-0 r0 http://localhost:8080"

        registry = watcher.registry
        assert registry.generation > before and len(registry) == 1 and registry
        assert registry.is_ready("pool-0") and registry.wait_ready("pool-0", "r0")
        assert registry.get("pool-0", "r0") == PAYLOAD and registry.list() == [PAYLOAD]
        assert registry.pools() == [h.PoolStatus("pool-0", True, 3, 4, "llamacpp", 1)]

        changed = dataclasses.replace(PAYLOAD, slots=8)
        h.publish(directory.path, changed.to_dict())
        updated = expect(watcher, h.Updated)
        assert isinstance(updated, h.Updated)
        assert (updated.previous, updated.payload) == (PAYLOAD, changed)

        other = directory.write("z.json", '{"pool_id":"pool-0","replica_id":"r0","url":"http://z"}')
        assert expect(watcher, h.Conflict) == h.Conflict("pool-0", "r0", other, (file,))
        expect(watcher, h.Updated)
        directory.remove("z.json")
        expect(watcher, h.Updated)

        assert h.withdraw(directory.path, "pool-0", "r0")
        assert not h.withdraw(directory.path, "pool-0", "r0")
        gone = h.Removed(file, "pool-0", "r0", changed, "file_removed")
        assert expect(watcher, h.Removed) == gone
        assert watcher.registry.pools() == []

        bad = directory.write("bad.json", '{"pool_id":"p",\n "replica_id":"r","slots":-1}')
        invalid = expect(watcher, h.Invalid)
        assert isinstance(invalid, h.Invalid)
        assert (invalid.file, invalid.error_kind, invalid.field) == (bad, "schema", "slots")
        assert invalid.line == 2 and invalid.column
        assert str(invalid).startswith(f"invalid {bad}:2:{invalid.column}: field `slots`")

        aside = directory.path.rename(directory.path.with_name("aside"))
        with pytest.raises(h.IoError) as caught:
            watcher.rescan()
        assert caught.value.path == directory.path and caught.value.kind == "io"
        unavailable = expect(watcher, h.Unavailable)
        assert isinstance(unavailable, h.Unavailable) and unavailable.error_kind == "io"
        assert not watcher.health().ok and watcher.health().error
        aside.rename(directory.path)
        watcher.rescan()
        assert expect(watcher, h.Available) == h.Available()

        stats = watcher.stats()
        assert stats.events == h.EventCounts(1, 3, 1, 1, 1, 1, 1, 1)
        assert stats.scans > 0 and stats.available and stats.scan_age_seconds is not None
        assert sum(stats.latency.buckets) == stats.latency.count == 3
        assert len(stats.latency.buckets) == len(h.LATENCY_BUCKETS)
        assert '\nhandoff_watcher_events_total{event="updated"} 3\n' in watcher.metrics()
        assert watcher.health().ok and watcher.health() == h.Health(
            True, True, False, None, "polling", None
        )


def test_events_can_be_pickled_hashed_and_not_changed() -> None:
    event = h.Ready(Path("a.json"), "pool-0", "r0", PAYLOAD, 1.5)
    assert pickle.loads(pickle.dumps(event)) == event
    assert len({event, dataclasses.replace(event)}) == 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        event.pool_id = "other"  # type: ignore[misc]


@pytest.mark.skipif(sys.platform == "darwin", reason="its file system refuses such names")
def test_a_path_that_is_not_utf8_is_exact(directory: Directory) -> None:
    handoff = '{"pool_id":"p","replica_id":"r","url":"http://h"}'
    first = directory.write(b"a\xff.json", handoff)
    with h.watch(directory.path, **QUICK) as watcher:
        ready = expect(watcher, h.Ready)
        assert isinstance(ready, h.Ready) and ready.file == first and ready.file.exists()
        told = ready.to_dict()
        assert told["file"].endswith("a\ufffd.json")
        assert bytes(told["file_bytes"]) == os.fsencode(first)
        expect(watcher, h.Synced)
        second = directory.write(b"b\xfe.json", handoff)
        conflict = expect(watcher, h.Conflict)
        assert isinstance(conflict, h.Conflict)
        assert (conflict.winner, conflict.losers) == (second, (first,))
    named = directory.path / os.fsdecode(b"\xfd")
    named.mkdir()
    with h.watch(os.fsencode(named)) as watcher:
        expect(watcher, h.Synced)
        assert h.publish(named, handoff).parent == named
