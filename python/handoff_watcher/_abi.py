"""The C ABI, in Python's types: strings in and out, statuses to exceptions."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any, Callable

from . import _errors
from ._events import Event, from_json
from ._native import ffi, lib

_LONGEST_SECONDS = 2.0**50


def version() -> str:
    """Ask for the version of the library that runs."""
    return _text(lib.handoff_version()) or ""


def check(status: int) -> int:
    """Raise what a status says; return the positive outcomes, being stopped excepted."""
    if status == lib.HANDOFF_STOPPED:
        raise _errors.StoppedError("the watcher has been stopped")
    if status >= 0:
        return status
    line, column = lib.handoff_last_error_line(), lib.handoff_last_error_column()
    path = lib.handoff_last_error_path()
    raise _errors.BY_CODE.get(status, _errors.HandoffError)(
        _text(lib.handoff_last_error()) or "unknown",
        field=_text(lib.handoff_last_error_field()),
        line=None if line < 0 else line,
        column=None if column < 0 else column,
        path=None if path == ffi.NULL else Path(os.fsdecode(ffi.string(path))),
    )


def string(function: Callable[..., int], *args: Any) -> bytes | None:
    """Call what gives a string away by its last argument; ``None`` where there is none."""
    place = ffi.new("char **")
    if check(function(*args, place)) != lib.HANDOFF_OK:
        return None
    try:
        return bytes(ffi.string(place[0]))
    finally:
        lib.handoff_string_free(place[0])


def number(function: Callable[..., int], *args: Any) -> int:
    """Call what writes a number to its last argument."""
    place = ffi.new("uint64_t *")
    check(function(*args, place))
    return int(place[0])


def millis(timeout: float | None) -> int:
    """Turn seconds to wait into C's milliseconds: ``None`` and infinity wait forever."""
    if timeout is None or timeout == math.inf:
        return -1
    # Rounded up: who waits for a little is not to spin.
    return math.ceil(min(max(timeout, 0), _LONGEST_SECONDS) * 1000)


def take(event: Any) -> Event:
    """Turn an event that is ours into Python's, and free it."""
    try:
        return read(event)
    finally:
        lib.handoff_event_free(event)


def read(event: Any) -> Event:
    """Turn an event into Python's."""
    length = ffi.new("size_t *")
    count = lib.handoff_event_loser_count(event)
    losers = [_path(lib.handoff_event_loser(event, i, length), length[0]) for i in range(count)]
    file = lib.handoff_event_file(event, length)
    exact = None if file == ffi.NULL else _path(file, length[0])
    json = string(lib.handoff_event_json, event)
    assert json is not None, "there is always one"
    return from_json(json, exact, tuple(losers))


def _path(start: Any, length: int) -> Path:
    return Path(os.fsdecode(bytes(ffi.buffer(start, length))))


def _text(start: Any) -> str | None:
    return None if start == ffi.NULL else ffi.string(start).decode("utf-8", "replace")
