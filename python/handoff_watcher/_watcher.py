"""The watcher: events as an iterator, as an asynchronous iterator, or by a callback."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import os
import select
import time
import warnings
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Callable, Literal

from . import _abi, _checks, _host
from ._checks import StrPath
from ._errors import InternalError, StoppedError, Unique
from ._events import Event
from ._figures import Health, Stats
from ._handle import Handle
from ._native import ffi, lib
from ._registry import Registry


def watch(
    runtime_dir: StrPath | None = None,
    *,
    on_event: Callable[[Event], object] | None = None,
    poll_interval: float | None = None,
    settle_time: float | None = None,
    retry_backoff: tuple[float, float] | None = None,
    max_file_size: int | None = None,
    channel_capacity: int | None = None,
    follow_symlinks: bool = True,
    instant: bool = False,
    trust: bool = False,
    trusted_uids: Sequence[int] = (),
    check_processes: bool = False,
    mode: Literal["state", "announcements"] = "state",
    consume: bool = False,
    thread_name: str | None = None,
) -> Watcher:
    """Start to watch a directory of handoff files.

    Without ``on_event`` the events are taken by iterating over the watcher. With it, each is given
    to the callback, on a thread of the library and never two at once. An exception in the callback
    is logged, to the logger ``handoff_watcher``, and means that the event is to come again; so does
    an awaitable that it returns, which nothing would await: for asyncio there is ``async for``.
    Such a watcher lives until it is closed, whether or not anyone holds it; inside its callback
    :meth:`Watcher.stop` may be called, and :meth:`Watcher.close` may not.

    Every setting is checked, and nothing is clamped: what cannot be is refused with
    :class:`ConfigError`, and what is of a wrong type with :class:`TypeError`. Times count to the
    millisecond.

    :param runtime_dir: The directory whose ``*.json`` files are watched. It need not exist: it is
        waited for. A relative path is relative to the working directory at each poll. Default: the
        environment variable ``POOL_MANAGERD_RUNTIME_DIR``, else ``.runtime/engines``.
    :param poll_interval: Seconds from the start of one poll to that of the next. Default: 1; where
        ``runtime_dir`` is not given either, what ``POOL_MANAGERD_WATCH_INTERVAL_MS`` says. Range: a
        millisecond to a day.
    :param settle_time: How many seconds unusable content must have stayed the same before it is
        called invalid: until then it may be half-written. Default: 1. Range: 0 to an hour.
    :param retry_backoff: Seconds before the first retry of an event, which double with each, and
        the most that they become. Default: ``(0.1, 30)``. Range: a millisecond to a day.
    :param max_file_size: The largest accepted file, in bytes. Default: 1 MiB. Range: 1 to 1 GiB.
    :param channel_capacity: How many events are prepared ahead of the host; what does not fit loses
        nothing. Default: 1024. Range: 1 to 65536.
    :param follow_symlinks: Whether handoffs may be symbolic links.
    :param instant: Whether a notification of the kernel (inotify, Linux) lets the next scan begin
        at once. Polling stays the truth; :meth:`Watcher.health` says which is in force.
    :param trust: Whether only handoffs are believed that belong to root, to this user or to
        ``trusted_uids``, that nobody else may write, in a directory for which the same holds.
    :param trusted_uids: More users that may own handoffs, with ``trust``.
    :param check_processes: Whether the process that a handoff names in its ``pid`` has to run.
        Linux only, and only where the watcher shares the pid namespace of the engines.
    :param mode: What a handoff file stands for. ``"state"``: what no file says is not so.
        ``"announcements"``: each version of a file is a message, which stands until another one of
        the same replica takes its place, whatever becomes of the file; one with ``"ready": false``
        ends it.
    :param consume: Whether a file is deleted when the host has taken what it says, if it is still
        the version that was taken. Symbolic links stay. Needs the right to write to the directory;
        only one host may consume it. Only with ``mode="announcements"``.
    :param thread_name: The name of the scanning thread. Default: ``"handoff-watcher"``.
    """
    if on_event is not None:
        _host.check_callback(on_event)
    config = ffi.new("handoff_config *", {"struct_size": ffi.sizeof("handoff_config")})
    # What a structure points to lives for as long as someone here holds it.
    texts = []
    if runtime_dir is None:
        config.read_environment = 1
    else:
        texts.append(ffi.new("char[]", _checks.path("runtime_dir", runtime_dir, is_setting=True)))
        config.runtime_dir = texts[-1]
    if thread_name is not None:
        texts.append(ffi.new("char[]", _checks.text("thread_name", thread_name, is_setting=True)))
        config.thread_name = texts[-1]
    config.poll_interval_ms = _checks.seconds("poll_interval", poll_interval, 0.001, _checks.DAY)
    config.settle_time_ms = _checks.seconds("settle_time", settle_time, 0, 3600)
    first, most = _checks.backoff("retry_backoff", retry_backoff)
    config.retry_first_ms, config.retry_most_ms = first, most
    config.max_file_size = _checks.count("max_file_size", max_file_size, 2**30, "bytes")
    config.channel_capacity = _checks.count("channel_capacity", channel_capacity, 65_536, "events")
    config.no_follow_symlinks = not _checks.flag("follow_symlinks", follow_symlinks)
    config.instant = _checks.flag("instant", instant)
    config.trust = _checks.flag("trust", trust)
    config.check_processes = _checks.flag("check_processes", check_processes)
    config.mode = _checks.choice("mode", mode, _MODES)
    config.consume = _checks.flag("consume", consume)
    if consume and config.mode != lib.HANDOFF_MODE_ANNOUNCEMENTS:
        raise _checks.wrong_value("consume", "False without mode='announcements'", consume)
    uids = ffi.new("uint32_t[]", _checks.uids("trusted_uids", trusted_uids))
    if len(uids) and not trust:
        raise _checks.wrong_value("trusted_uids", "none without trust=True", trusted_uids)
    config.trusted_uids = uids
    config.trusted_uid_count = len(uids)
    config.log_level = _host.log_level()
    config.on_log = _host.on_log
    keep = None
    if on_event is not None:
        keep = config.user_data = ffi.new_handle(on_event)
        config.on_event = _host.on_event
    watcher = Watcher(Handle(config, keep))
    if on_event is not None:
        watcher._handle.hold(watcher)
    return watcher


class Watcher(Unique):
    """A watched directory; made by :func:`watch`.

    Close it: by ``with``, ``async with`` or :meth:`close`. What is still open when the interpreter
    exits is closed then, which waits for a callback that is under way. What is garbage while it is
    open is closed too, with a :class:`ResourceWarning`.

    Any thread may use it, several at once too; each event goes to one of them. Waiting does not
    hold the interpreter's lock, and ends at once at Ctrl-C. A forked child may not use it:
    everything but :meth:`close`, which then does nothing, raises :class:`ForkedError`.
    """

    def __init__(self, handle: Handle) -> None:
        self._handle = handle
        self._registry = Registry(handle)

    @property
    def registry(self) -> Registry:
        """What is ready now."""
        return self._registry

    def next(self, timeout: float | None = None) -> Event | None:
        """Wait for the next event, and take it; ``None`` when none came in time.

        ``timeout`` is in seconds; 0 does not wait, ``None`` waits for as long as it takes.

        Raises :class:`StoppedError` when the watcher is stopped, also while this waits, and
        :class:`ArgumentError` for a watcher that has a callback.
        """
        timeout = _checks.timeout(timeout)
        deadline = None if timeout is None else time.monotonic() + timeout
        return self._handle.call(self._next, deadline)

    def wait_ready(
        self, pool_id: str, replica_id: str | None = None, *, timeout: float | None = None
    ) -> bool:
        """Do the same as :meth:`Registry.wait_ready`."""
        return self._registry.wait_ready(pool_id, replica_id, timeout=timeout)

    def rescan(self) -> None:
        """List the directory now, and return when the registry is up to date.

        What needs time to be decided, half-written or gone missing, may still be undecided.

        Raises :class:`IoError` when the directory cannot be listed, :class:`StoppedError`.
        """
        self._handle.call(lambda watcher: _abi.check(lib.handoff_watcher_rescan(watcher)))

    def stats(self) -> Stats:
        """Give the figures, as of the last round of the scanning thread."""
        return Stats.from_dict(self._json(lib.handoff_watcher_stats_json))

    def health(self) -> Health:
        """Tell whether it does its work."""
        return Health(**self._json(lib.handoff_watcher_health_json))

    def metrics(self) -> str:
        """Give figures, health and pools as text for Prometheus, in the format of version 0.0.4.

        To be served as ``text/plain; version=0.0.4``. There is a series for each pool.
        """
        text = self._handle.call(lambda it: _abi.string(lib.handoff_watcher_metrics, it))
        return (text or b"").decode("utf-8", "replace")

    def stop(self) -> None:
        """Ask for the end, and do not wait: iterations end, and no further callback starts.

        It may be called from a callback and from the handler of a signal, and again. After
        :meth:`close` it does nothing.
        """
        with contextlib.suppress(StoppedError):
            self._handle.stop()

    def close(self) -> None:
        """Stop, wait for a callback that is under way, and free everything; again, do nothing.

        When this has returned, nothing calls back any more.

        Raises :class:`BusyError` inside a callback of this watcher, and in the handler of a signal
        that interrupted a call to it: :meth:`stop` is for them.
        """
        self._handle.close()

    async def aclose(self) -> None:
        """Do the same as :meth:`close`, while the event loop goes on."""
        self.stop()
        # A callback that is under way may be waiting for this very loop.
        await asyncio.to_thread(self.close)

    def __iter__(self) -> Watcher:
        return self

    def __next__(self) -> Event:
        try:
            event = self.next()
        except StoppedError:
            raise StopIteration from None
        assert event is not None, "there is no time that could be over"
        return event

    def __aiter__(self) -> Watcher:
        return self

    async def __anext__(self) -> Event:
        # A long backlog is not to hold up everything else; nor is anything taken that a
        # cancellation could then lose.
        await asyncio.sleep(0)
        try:
            while (event := self._handle.call(self._take)) is None:
                await self._readable()
        except StoppedError:
            raise StopAsyncIteration from None
        return event

    def __enter__(self) -> Watcher:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    async def __aenter__(self) -> Watcher:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"<handoff_watcher.Watcher, {'open' if self._handle.is_open else 'closed'}>"

    def __del__(self, _warn: Any = warnings.warn) -> None:
        # Without one where the constructor was not reached.
        handle: Handle | None = getattr(self, "_handle", None)
        if handle is not None and handle.is_open:
            _warn(f"unclosed {self!r}", ResourceWarning, source=self)
            handle.abandon()

    def _take(self, watcher: Any) -> Event | None:
        place = ffi.new("handoff_event **")
        try:
            status = _abi.check(lib.handoff_watcher_next(watcher, 0, place))
        except StoppedError:
            self._raise_defect()
            raise
        return _abi.take(place[0]) if status == lib.HANDOFF_OK else None

    def _next(self, watcher: Any, deadline: float | None) -> Event | None:
        poll = None
        while (event := self._take(watcher)) is None:
            left = math.inf if deadline is None else deadline - time.monotonic()
            if left <= 0:
                break
            if poll is None:
                # Waiting in Python, so that a signal ends it at once; a stop makes it readable.
                poll = select.poll()
                poll.register(_abi.check(lib.handoff_watcher_fd(watcher)), select.POLLIN)
            poll.poll(None if left == math.inf else math.ceil(min(left, 86_400) * 1000))
        return event

    async def _readable(self) -> None:
        loop = asyncio.get_running_loop()
        ready = asyncio.Event()
        # A descriptor for each who waits: two of them do not take the loop's attention from each
        # other, and it stays valid when someone closes the watcher meanwhile.
        fd = self._handle.call(lambda it: os.dup(_abi.check(lib.handoff_watcher_fd(it))))
        try:
            loop.add_reader(fd, ready.set)
            await ready.wait()
        finally:
            loop.remove_reader(fd)
            os.close(fd)

    def _raise_defect(self) -> None:
        if not self._handle.stop_asked:
            error = self.health().error
            if error is not None:
                raise InternalError(error)

    def _json(self, function: Any) -> Any:
        return json.loads(self._handle.call(lambda it: _abi.string(function, it)) or b"")


_MODES = {"state": lib.HANDOFF_MODE_STATE, "announcements": lib.HANDOFF_MODE_ANNOUNCEMENTS}
