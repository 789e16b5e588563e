"""Callbacks that cannot work, and objects that there is only one of."""

from __future__ import annotations

import asyncio
import copy
import functools
import gc
import logging
import pickle
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from typing import Any

import handoff_watcher as h
import pytest
from conftest import QUICK, Directory, eventually


async def asynchronous(event: h.Event) -> None:
    pytest.fail("nobody awaits it")


async def asynchronous_generator(event: h.Event) -> AsyncIterator[h.Event]:
    yield event


def generator(event: h.Event) -> Iterator[h.Event]:
    yield event


class Asynchronous:
    async def __call__(self, event: h.Event) -> None:
        pytest.fail("nobody awaits it")

    async def method(self, event: h.Event) -> None:
        pytest.fail("nobody awaits it")


@pytest.mark.parametrize("on_event", [5, "print", (), object()])
def test_regression_what_cannot_be_called_is_refused_at_once(
    directory: Directory, on_event: Any
) -> None:
    with pytest.raises(TypeError, match="`on_event`: expected a function"):
        h.watch(directory.path, on_event=on_event)


@pytest.mark.parametrize(
    "on_event",
    [
        asynchronous,
        asynchronous_generator,
        generator,
        Asynchronous(),
        Asynchronous().method,
        functools.partial(asynchronous),
    ],
)
def test_regression_a_coroutine_function_is_refused_at_once(
    directory: Directory, on_event: Callable[[h.Event], object]
) -> None:
    with pytest.raises(TypeError, match=r"`on_event`: .* `async for`"):
        h.watch(directory.path, on_event=on_event)


class Awaitable:
    def __await__(self) -> Generator[None, None, None]:
        raise AssertionError("nobody awaits it")


@pytest.mark.parametrize(
    "undone",
    [lambda: asynchronous(h.Synced()), lambda: asynchronous_generator(h.Synced()), Awaitable],
)
def test_regression_an_event_whose_callback_returns_an_awaitable_comes_again(
    directory: Directory, caplog: pytest.LogCaptureFixture, undone: Callable[[], object]
) -> None:
    told: list[h.Event] = []

    def on_event(event: h.Event) -> object:
        told.append(event)
        return undone() if len(told) < 3 else None

    caplog.set_level(logging.ERROR, "handoff_watcher")
    with h.watch(directory.path, on_event=on_event, **QUICK) as watcher:
        eventually(lambda: watcher.stats().events.synced)
        assert watcher.stats().retries == 2
    assert told == [h.Synced()] * 3
    assert caplog.text.count("which nothing awaits: the event will come again") == 2
    # A coroutine that was left alone would warn now.
    gc.collect()


def test_a_callback_may_return_anything_else(directory: Directory) -> None:
    returned: list[object] = [object(), False, [], asyncio.Lock]
    with h.watch(directory.path, on_event=lambda _: returned.pop(), **QUICK) as watcher:
        for i in range(3):
            directory.handoff(replica=f"r{i}")
        eventually(lambda: not returned)
        assert watcher.stats().retries == 0


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickle.dumps])
def test_regression_a_watcher_is_not_copied(
    directory: Directory, duplicate: Callable[[object], object]
) -> None:
    with h.watch(directory.path, **QUICK) as watcher:
        for only in (watcher, watcher.registry, watcher._handle):
            with pytest.raises(TypeError, match=f"a {type(only).__name__} cannot be copied"):
                duplicate(only)
        gc.collect()
        assert watcher.next(30) == h.Synced()
