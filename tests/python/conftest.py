"""What the tests share: directories, processes, and conditions with a deadline."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest

ROOT = Path(__file__).resolve().parents[2]
HANDOFFS = ROOT / "tests" / "handoffs"
# Far more than anything takes, on a machine that is busy.
DEADLINE = 30.0
# For whoever does not want to wait for a poll.
QUICK: dict[str, Any] = {
    "poll_interval": 0.005,
    "settle_time": 0.02,
    "retry_backoff": (0.005, 0.02),
}


def eventually(condition: Callable[[], object], what: str = "") -> None:
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end, f"not in time: {what or condition}"
        time.sleep(0.002)


def skip(reason: str) -> NoReturn:
    """What a test cannot do here; where CI is set, nothing may be left out."""
    if "CI" in os.environ:
        pytest.fail(f"left out: {reason}")
    pytest.skip(reason)


class Directory:
    """A directory of handoffs, and what a producer does to it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir()

    def write(self, name: str | bytes, content: str | bytes) -> Path:
        """Write a file whole or not at all."""
        path = self.path / os.fsdecode(name)
        temporary = path.with_name(f".{path.name}.tmp")
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)
        return temporary.replace(path)

    def handoff(self, pool: str = "pool-0", replica: str = "r0", **fields: Any) -> Path:
        document = {"pool_id": pool, "replica_id": replica, "url": "http://localhost:8080"}
        return self.write(f"{pool}-{replica}.json", json.dumps({**document, **fields}))

    def remove(self, name: str) -> None:
        (self.path / name).unlink()


class Process:
    """A program that prints lines, which are waited for one at a time."""

    def __init__(self, *command: str | Path, **options: Any) -> None:
        self.name = " ".join(map(str, command[:2]))
        self._lines: queue.Queue[str | None] = queue.Queue()
        self.child = subprocess.Popen(
            [str(word) for word in command],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def line(self) -> str:
        try:
            line = self._lines.get(timeout=DEADLINE)
        except queue.Empty:
            line = None
        if line is None:
            self.child.kill()
            assert self.child.stderr is not None
            pytest.fail(f"{self.name}: no further line; it complained: {self.child.stderr.read()}")
        return line

    def signal(self, number: int = signal.SIGINT) -> None:
        self.child.send_signal(number)

    def end(self) -> tuple[int, str]:
        """Wait for its end; give its exit status and what it complained of."""
        try:
            self.child.wait(DEADLINE)
        finally:
            self.child.kill()
        assert self.child.stderr is not None and self.child.stdout is not None
        self._reader.join(DEADLINE)
        with self.child.stderr, self.child.stdout:
            return self.child.returncode, self.child.stderr.read()

    def kill(self) -> None:
        if self.child.stderr is not None and not self.child.stderr.closed:
            self.child.kill()
            self.end()

    def _read(self) -> None:
        assert self.child.stdout is not None
        for line in self.child.stdout:
            self._lines.put(line.rstrip("\n"))
        self._lines.put(None)


def python(script: str, *args: str | Path, **options: Any) -> Process:
    return Process(sys.executable, "-X", "dev", "-c", script, *args, **options)


@pytest.fixture
def directory(tmp_path: Path) -> Directory:
    return Directory(tmp_path / "engines")


@pytest.fixture
def cli() -> Path:
    path = os.environ.get("HANDOFF_CLI")
    if path is None:
        skip("HANDOFF_CLI does not say where the command line is")
    return Path(path)


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    from handoff_watcher import _handle

    yield
    assert not _handle._live, "every test closes its watchers"
