"""On asyncio's loop, through the descriptor, without a thread."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import handoff_watcher as h
import pytest
from conftest import DEADLINE, QUICK, Directory


def run(coroutine: Coroutine[Any, Any, Any]) -> None:
    asyncio.run(asyncio.wait_for(coroutine, DEADLINE))


def descriptors() -> int:
    """How many are open, on a machine that tells."""
    directory = Path("/proc/self/fd")
    return len(list(directory.iterdir())) if directory.exists() else 0


def test_events_come_without_a_thread(directory: Directory) -> None:
    async def main() -> None:
        threads = threading.active_count()
        async with h.watch(directory.path, **QUICK) as watcher:
            events = aiter(watcher)
            assert await anext(events) == h.Synced()
            for i in range(20):
                directory.handoff(replica=f"r{i}")
                event = await anext(events)
                assert isinstance(event, h.Ready) and event.replica_id == f"r{i}"
            assert threading.active_count() == threads

    run(main())


def test_a_cancellation_loses_nothing(directory: Directory) -> None:
    async def main() -> None:
        async with h.watch(directory.path, **QUICK) as watcher:
            told = []
            for i in range(100):
                directory.handoff(replica=f"r{i}")
                waiter = asyncio.ensure_future(anext(watcher))
                for _ in range(i % 7):
                    await asyncio.sleep(0)
                waiter.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    told.append(await waiter)
            while len(told) < 101:
                told.append(await anext(watcher))
            assert len({e.replica_id for e in told if isinstance(e, h.Ready)}) == 100

    run(main())


def test_stop_and_close_end_it(directory: Directory) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        for end in ("stop", "close", "aclose"):
            before = descriptors()
            watcher = h.watch(directory.path, **QUICK)
            told: list[h.Event] = []
            asyncio.ensure_future(anext(watcher)).cancel()

            async def follow(watcher: h.Watcher = watcher, told: list[h.Event] = told) -> None:
                async for event in watcher:
                    told.append(event)

            tasks = [asyncio.ensure_future(follow()) for _ in range(3)]
            while not told:
                await asyncio.sleep(0.001)
            if end == "aclose":
                await watcher.aclose()
            else:
                loop.call_soon(getattr(watcher, end))
            await asyncio.gather(*tasks)
            assert told == [h.Synced()]
            watcher.close()
            # Closing without blocking takes a thread of the loop's own, which stays.
            assert threading.active_count() == 1 or end == "aclose"
            assert descriptors() == before

    run(main())


def test_a_backlog_does_not_hold_up_the_loop(directory: Directory) -> None:
    for i in range(200):
        directory.handoff(replica=f"r{i}")

    async def main() -> None:
        async with h.watch(directory.path, poll_interval=0.005) as watcher:
            assert await asyncio.to_thread(watcher.wait_ready, "pool-0", "r199")
            turns = 0

            async def tick() -> None:
                nonlocal turns
                while True:
                    turns += 1
                    await asyncio.sleep(0)

            ticker = asyncio.ensure_future(tick())
            async for event in watcher:
                if event == h.Synced():
                    break
            assert turns >= 200
            ticker.cancel()

    run(main())


def test_closing_lets_the_loop_go_on_for_a_callback_that_needs_it(directory: Directory) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        entered = asyncio.Event()
        answers = []

        async def answer() -> int:
            entered.set()
            await asyncio.sleep(0.05)
            return 42

        def on_event(event: h.Event) -> None:
            answers.append(asyncio.run_coroutine_threadsafe(answer(), loop).result(DEADLINE))

        async with h.watch(directory.path, on_event=on_event, **QUICK):
            await entered.wait()
        assert answers == [42]

    run(main())


def test_asking_a_watcher_with_a_callback_is_refused(directory: Directory) -> None:
    async def main() -> None:
        async with h.watch(directory.path, on_event=print, **QUICK) as watcher:
            with pytest.raises(h.ArgumentError, match="on_event"):
                await anext(watcher)

    run(main())
