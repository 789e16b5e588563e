"""The way from the library into Python: ``on_event``, and the log."""

from __future__ import annotations

import logging
from typing import Any, Callable

from . import _abi
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


def _take_event(event: Any, user_data: Any) -> int:
    on_event: Callable[[Event], object] = ffi.from_handle(user_data)
    # Whatever it is: C has no use for it, and the event has not been taken.
    try:
        on_event(_abi.read(event))
    except BaseException:
        logger.exception("on_event raised an exception: the event will come again")
        return int(lib.HANDOFF_RETRY)
    return int(lib.HANDOFF_ACCEPT)


def _take_log(level: int, text: Any, _user_data: Any) -> None:
    logger.log(_LEVELS.get(level, logging.INFO), "%s", ffi.string(text).decode("utf-8", "replace"))


# Made once and kept for good: a thread may be in one of them for as long as there is a watcher.
on_event = ffi.callback("handoff_on_event", _take_event, error=lib.HANDOFF_RETRY)
on_log = ffi.callback("handoff_on_log", _take_log)
