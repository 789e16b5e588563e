"""A watcher's life on this side: who is using it, and when it may be freed.

A fork, a destructor, a signal's handler and the interpreter's exit each have a say in that.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
from typing import Any, Callable, TypeVar

from . import _abi, _checks
from ._errors import BusyError, ForkedError, StoppedError, Unique
from ._native import ffi, lib

T = TypeVar("T")

SLICE_MS = 50
"""The longest that the main thread waits inside C: a signal's handler runs only when it is back."""
_ABANDONED_MS = 200

_live: set[Handle] = set()
"""All that is not freed yet. Before CPython 3.14, a thread that comes into an interpreter that is
gone is ended in the middle of foreign code, which aborts the process: so the exit closes these."""
_exiting = False


class Handle(Unique):
    """A pointer to a watcher, together with the calls that are under way."""

    def __init__(self, config: Any, keep: object) -> None:
        if _exiting:
            raise StoppedError("the interpreter is exiting")
        for handle in list(_live):
            handle.sweep()
        place = ffi.new("handoff_watcher **")
        _abi.check(lib.handoff_watcher_new(config, place))
        self._pointer = place[0]
        self._keep = keep
        self._pid = os.getpid()
        # Added to and taken from without a lock, which a signal's handler could find taken.
        self._calls: set[tuple[int, object]] = set()
        self.stop_asked = False
        self._closing = False
        self._abandoned = False
        # Reentrant, for the same reason.
        self._closer = threading.RLock()
        _live.add(self)

    @property
    def is_open(self) -> bool:
        """Not closed, and of this process."""
        return not self._closing and self._pid == os.getpid()

    def hold(self, watcher: object) -> None:
        """Keep the watcher itself alive until it is freed."""
        self._keep = (self._keep, watcher)

    def call(self, function: Callable[..., T], *args: Any) -> T:
        """Call something with the pointer, which stays valid for as long as that takes."""
        if self._pid != os.getpid():
            text = f"the watcher belongs to process {self._pid}, of which this one is a fork"
            raise ForkedError(text)
        calls, call = self._calls, (threading.get_ident(), object())
        try:
            # First this, then the question: `close` does it the other way round.
            calls.add(call)
            if self._closing:
                raise StoppedError("the watcher is closed")
            return function(self._pointer, *args)
        finally:
            calls.discard(call)

    def wait(self, function: Callable[..., int], *args: Any, timeout: float | None) -> int:
        """Call something that waits: its last argument says how long, its status what came of it.

        Signals are handled on the main thread alone, so no other has to come back for them.
        """
        timeout = _checks.timeout(timeout)
        if threading.current_thread() is not threading.main_thread():
            return self.call(function, *args, _abi.millis(timeout))
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            left = _abi.millis(None if deadline is None else deadline - time.monotonic())
            is_last = 0 <= left <= SLICE_MS
            status = self.call(function, *args, left if is_last else SLICE_MS)
            if status != lib.HANDOFF_TIMEOUT or is_last:
                return status

    def stop(self) -> None:
        """Ask for the end, and do not wait."""
        self.stop_asked = True
        self.call(lambda pointer: _abi.check(lib.handoff_watcher_stop(pointer)))

    def close(self) -> None:
        """Stop, wait for callbacks and for calls of other threads, and free."""
        if self._pid != os.getpid():
            # What there is belongs to the parent.
            _live.discard(self)
            return
        try:
            self.stop()
            if any(thread == threading.get_ident() for thread, _ in self._calls):
                raise BusyError("this would wait for the very call that it interrupts: use stop()")
            _abi.check(self.wait(lib.handoff_watcher_join, timeout=None))
        except StoppedError:
            # Someone else is about to close it, or has.
            pass
        with self._closer:
            self._closing = True
            while self._calls:
                # They have been told by the stop, and need the interpreter to leave.
                time.sleep(0.001)
            self._free()

    def abandon(self) -> None:
        """Close it for a host that forgot to, without ever waiting for long.

        Garbage is collected anywhere: in a callback, or with locks held that one waits for.
        """
        if self._pid != os.getpid():
            _live.discard(self)
            return
        self._abandoned = True
        if lib.handoff_watcher_stop(self._pointer) == lib.HANDOFF_OK:
            self.sweep(_ABANDONED_MS)

    def sweep(self, patience_ms: int = 0) -> None:
        """Free it if it was abandoned, and has ended."""
        if not self._abandoned or self._pid != os.getpid() or self._pointer == ffi.NULL:
            return
        if self._closer.acquire(blocking=False):
            try:
                if lib.handoff_watcher_join(self._pointer, patience_ms) == lib.HANDOFF_OK:
                    self._closing = True
                    # Its registry may have outlived it, and be in use.
                    if not self._calls:
                        self._free()
            finally:
                self._closer.release()

    def _free(self) -> None:
        # Given up first: an exception of a signal's handler must not lead to a second time.
        pointer, self._pointer = self._pointer, ffi.NULL
        _abi.check(lib.handoff_watcher_free(pointer))
        self._keep = None
        _live.discard(self)


@atexit.register
def _close_all() -> None:
    global _exiting
    _exiting = True
    for handle in list(_live):
        handle.close()
