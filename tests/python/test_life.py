"""A watcher's life: callbacks, threads, signals, garbage, forks, and the interpreter's exit."""

from __future__ import annotations

import functools
import gc
import logging
import os
import signal
import threading
import time
from pathlib import Path

import handoff_watcher as h
import pytest
from conftest import DEADLINE, QUICK, Directory, eventually, python
from handoff_watcher import _handle


def test_an_exception_in_the_callback_means_retry_and_is_logged(
    directory: Directory, caplog: pytest.LogCaptureFixture
) -> None:
    directory.handoff()
    told: list[h.Event] = []

    def on_event(event: h.Event) -> None:
        told.append(event)
        if len(told) < 3:
            raise ValueError("not yet")

    caplog.set_level(logging.WARNING, "handoff_watcher")
    with h.watch(directory.path, on_event=on_event, **QUICK) as watcher:
        eventually(lambda: watcher.stats().events.synced)
        assert watcher.stats().retries == 2
        with pytest.raises(h.ArgumentError):
            watcher.next(timeout=0)
    assert [event.event for event in told].count("ready") >= 1
    logged = [record for record in caplog.records if record.exc_info]
    assert len(logged) == 2 and "not yet" in caplog.text
    assert all(record.name == "handoff_watcher" for record in caplog.records)


def test_nothing_calls_back_after_close(directory: Directory) -> None:
    entered, leave = threading.Event(), threading.Event()
    under_way = []

    def on_event(event: h.Event) -> None:
        under_way.append(event)
        entered.set()
        assert leave.wait(DEADLINE)
        under_way.clear()

    watcher = h.watch(directory.path, on_event=on_event, **QUICK)
    assert entered.wait(DEADLINE)
    closer = threading.Thread(target=watcher.close)
    closer.start()
    eventually(lambda: watcher._handle.stop_asked)
    assert closer.is_alive() and under_way
    leave.set()
    closer.join(DEADLINE)
    assert not closer.is_alive() and not under_way
    watcher.close()
    with pytest.raises(h.StoppedError):
        watcher.stats()


def test_a_callback_may_stop_its_watcher_and_not_close_it(directory: Directory) -> None:
    for i in range(5):
        directory.handoff(replica=f"r{i}")
    told: list[h.Event] = []
    errors: list[Exception] = []
    ready = threading.Event()

    def on_event(event: h.Event) -> None:
        told.append(event)
        assert ready.wait(DEADLINE)
        try:
            watcher.close()
        except h.BusyError as error:
            errors.append(error)
        watcher.stop()

    watcher = h.watch(directory.path, on_event=on_event, **QUICK)
    ready.set()
    eventually(lambda: errors and not watcher.health().running)
    watcher.close()
    assert len(told) == len(errors) == 1


def test_a_watcher_with_a_callback_lives_without_being_held(directory: Directory) -> None:
    told: list[h.Event] = []
    h.watch(directory.path, on_event=told.append, **QUICK)
    gc.collect()
    eventually(lambda: told)
    directory.handoff()
    eventually(lambda: len(told) == 2)
    _handle._close_all()
    _handle._exiting = False


def test_each_event_goes_to_one_of_many_threads(directory: Directory) -> None:
    taken: list[h.Event] = []

    def take(watcher: h.Watcher) -> None:
        for event in watcher:
            taken.append(event)

    with h.watch(directory.path, **QUICK) as watcher:
        threads = [threading.Thread(target=take, args=(watcher,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for i in range(50):
            directory.handoff(replica=f"r{i}")
        eventually(lambda: len(taken) == 51)
        # Closed under those who wait: they leave.
        watcher.close()
        for thread in threads:
            thread.join(DEADLINE)
            assert not thread.is_alive()
    assert len({event.replica_id for event in taken if isinstance(event, h.Ready)}) == 50


def test_close_ends_whoever_waits(directory: Directory) -> None:
    outcomes: list[object] = []

    def wait(watcher: h.Watcher) -> None:
        try:
            outcomes.append(watcher.wait_ready("pool-9"))
        except h.StoppedError as error:
            outcomes.append(error)

    watcher = h.watch(directory.path, **QUICK)
    thread = threading.Thread(target=wait, args=(watcher,))
    thread.start()
    eventually(lambda: watcher._handle._calls)
    watcher.close()
    thread.join(DEADLINE)
    assert isinstance(outcomes[0], h.StoppedError)


def test_threads_close_and_use_at_once(directory: Directory) -> None:
    for _ in range(50):
        watcher = h.watch(directory.path, **QUICK)
        barrier = threading.Barrier(4)

        def use(watcher: h.Watcher = watcher, barrier: threading.Barrier = barrier) -> None:
            barrier.wait(DEADLINE)
            try:
                while True:
                    watcher.stats()
                    watcher.registry.list()
                    watcher.next(timeout=0)
            except h.StoppedError:
                pass

        def close(watcher: h.Watcher = watcher, barrier: threading.Barrier = barrier) -> None:
            barrier.wait(DEADLINE)
            watcher.close()

        threads = [threading.Thread(target=it) for it in (use, use, close, close)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(DEADLINE)
            assert not thread.is_alive()


def test_garbage_is_closed_with_a_warning(directory: Directory) -> None:
    watcher = h.watch(directory.path, **QUICK)
    handle = watcher._handle
    with pytest.warns(ResourceWarning, match="unclosed <handoff_watcher.Watcher, open>"):
        del watcher
        gc.collect()
    for other in list(_handle._live):
        other.sweep(1000)
    assert handle not in _handle._live


def test_a_handler_of_a_signal_may_stop_and_not_close(directory: Directory) -> None:
    errors: list[Exception] = []
    with h.watch(directory.path) as watcher:

        def handler(*_: object) -> None:
            try:
                watcher.close()
            except h.BusyError as error:
                errors.append(error)
            watcher.stop()

        before = signal.signal(signal.SIGUSR1, handler)
        try:
            for event in watcher:
                assert event == h.Synced()
                threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGUSR1)).start()
        finally:
            signal.signal(signal.SIGUSR1, before)
    assert len(errors) == 1


FORK = """
import os, sys, warnings, handoff_watcher as h
warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads, from CPython 3.12
with h.watch(sys.argv[1], poll_interval=0.005) as watcher:
    assert watcher.next(30) == h.Synced()
    child = os.fork()
    if child == 0:
        for use in (watcher.next, watcher.stats, watcher.rescan, watcher.stop,
                    watcher.registry.list, lambda: next(watcher), lambda: len(watcher.registry)):
            try:
                use()
            except h.ForkedError as error:
                assert "of which this one is a fork" in str(error) and error.code == -11
            else:
                raise AssertionError(use)
        with h.watch(sys.argv[1]) as own:
            assert own.next(30) == h.Synced()
        # Through `with` and the hooks of the exit, which leave the parent's alone.
        sys.exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    h.publish(sys.argv[1], h.Payload("p", "r", "http://h"))
    assert isinstance(watcher.next(30), h.Ready)
"""


def test_a_forked_child_gets_a_clear_error(directory: Directory) -> None:
    assert python(FORK, directory.path).end() == (0, "")


CTRL_C = """
import sys, time, threading, handoff_watcher as h
with h.watch(sys.argv[1]) as watcher:
    wait = {"for": lambda: [print(event, flush=True) for event in watcher],
            "next": lambda: (print("synced", flush=True), watcher.next(), watcher.next()),
            "ready": lambda: (print("synced", flush=True), watcher.wait_ready("pool-9"))}
    try:
        wait[sys.argv[2]]()
    except KeyboardInterrupt:
        print(time.time(), flush=True)
print("closed", flush=True)
"""


@pytest.mark.parametrize("wait", ["for", "next", "ready"])
def test_ctrl_c_ends_it_at_once(directory: Directory, wait: str) -> None:
    took = []
    # The best of some: the machine may be busy.
    for _ in range(5):
        process = python(CTRL_C, directory.path, wait)
        assert process.line() == "synced"
        eventually(functools.partial(is_asleep, process.child.pid))
        at = time.time()
        process.signal()
        took.append(float(process.line()) - at)
        assert process.line() == "closed"
        assert process.end() == (0, "")
        if took[-1] < 0.1:
            return
    pytest.fail(f"Ctrl-C took {took}")


def is_asleep(pid: int) -> bool:
    """Whether its main thread waits in the kernel, on a machine that tells."""
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or ") S " in stat.read_text()


EXIT = """
import contextlib, logging, sys, threading, time, handoff_watcher as h
logging.basicConfig(level=logging.DEBUG, handlers=[logging.NullHandler()])
entered = threading.Event()
def slow(event):
    entered.set()
    time.sleep(0.02)
    raise ValueError("comes again")
quick = dict(poll_interval=0.001, retry_backoff=(0.001, 0.001))
h.publish(sys.argv[1], h.Payload("p", "r", "http://h"))
called = [h.watch(sys.argv[1], on_event=slow, **quick) for _ in range(4)]
asked = [h.watch(sys.argv[1], **quick) for _ in range(4)]
threads = [threading.Thread(target=lambda it=it: list(it), daemon=True) for it in asked[:2]]
def wait():
    with contextlib.suppress(h.StoppedError):
        asked[2].wait_ready("never")
threads.append(threading.Thread(target=wait, daemon=True))
for thread in threads:
    thread.start()
assert entered.wait(30)
"""
ENDS = ["", "sys.exit(0)", "import atexit; atexit.register(lambda: time.sleep(0.01))"]


def test_the_interpreter_exits_cleanly_with_live_watchers(directory: Directory) -> None:
    """Callbacks, waiting threads and log lines are under way: 20 runs, none of which aborts."""
    for run in range(20):
        process = python(EXIT + ENDS[run % len(ENDS)], directory.path)
        assert process.end() == (0, ""), run
