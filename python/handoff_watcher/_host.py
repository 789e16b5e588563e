"""The way from the library into Python: ``on_event``, and the log."""

from __future__ import annotations

import inspect
import logging
import reprlib
from typing import Any, Callable

from . import _abi
from ._checks import wrong_type
from ._events import Event
from ._native import ffi, lib

logger = logging.getLogger("handoff_watcher")
"""Where everything is logged: what the library says, and exceptions of ``on_event``."""

_LEVELS = {
    lib.HANDOFF_LOG_ERROR: logging.ERROR,
    lib.HANDOFF_LOG_WARN: logging.WARNING,
    lib.HANDOFF_LOG_INFO: logging.INFO,
    lib.HANDOFF_LOG_DEBUG: logging.DEBUG,
}


def log_level() -> int:
    """Ask for a line per event only if someone reads them: each waits for the interpreter."""
    level: int = (
        lib.HANDOFF_LOG_DEBUG if logger.isEnabledFor(logging.DEBUG) else lib.HANDOFF_LOG_INFO
    )
    return level


def check_callback(on_event: object) -> None:
    """Refuse what could not do its work when it is called, before an event is lost to it."""
    if not callable(on_event):
        raise wrong_type("on_event", "a function that takes an event", on_event)
    # An object is as asynchronous as its `__call__`.
    for function in (on_event, type(on_event).__call__):
        if any(is_kind(function) for is_kind in _RUN_LATER):
            expected = (
                "a function that has done its work when it returns (for asyncio, leave it out and "
                "take the events by `async for`)"
            )
            raise wrong_type("on_event", expected, on_event)


_RUN_LATER = (
    inspect.iscoroutinefunction,
    inspect.isasyncgenfunction,
    inspect.isgeneratorfunction,
)


def _take_event(event: Any, user_data: Any) -> int:
    on_event: Callable[[Event], object] = ffi.from_handle(user_data)
    # Whatever it is: C has no use for it, and the event has not been taken.
    try:
        if not _is_left_undone(on_event(_abi.read(event))):
            return int(lib.HANDOFF_ACCEPT)
    except BaseException:
        logger.exception("on_event raised an exception: the event will come again")
    return int(lib.HANDOFF_RETRY)


def _is_left_undone(result: object) -> bool:
    """Tell whether a callback gave back work that is still to be done, which nobody would do."""
    if not (inspect.isawaitable(result) or inspect.isasyncgen(result)):
        return False
    if inspect.iscoroutine(result):
        # It has failed already; that nobody awaited it need not be said twice.
        result.close()
    text = "on_event returned %s, which nothing awaits: the event will come again"
    logger.error(text, reprlib.repr(result))
    return True


def _take_log(level: int, text: Any, _user_data: Any) -> None:
    logger.log(_LEVELS.get(level, logging.INFO), "%s", ffi.string(text).decode("utf-8", "replace"))


# Made once and kept for good: a thread may be in one of them for as long as there is a watcher.
on_event = ffi.callback("handoff_on_event", _take_event, error=lib.HANDOFF_RETRY)
on_log = ffi.callback("handoff_on_log", _take_log)
