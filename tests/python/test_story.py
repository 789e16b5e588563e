"""One directory, many hosts: each tells the same story."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import handoff_watcher as h
import pytest
from conftest import HANDOFFS, ROOT, Directory, Process, eventually
from handoff_watcher import _native


def steps(directory: Directory, quiet: Callable[[], None]) -> Iterator[int]:
    """What happens to the handoffs; after each step, how many events it is told by."""
    engine = json.loads((HANDOFFS / "accept" / "engine.json").read_text())
    # Overwritten, the same again in other words, with an older time.
    directory.write("engine.json", json.dumps({**engine, "slots": 2}))
    yield 1
    path = directory.write("engine.json", json.dumps({**engine, "slots": 3}))
    os.utime(path, (1, 1))
    yield 1
    # The file moves, then what it says: another replica, which is two events.
    (directory.path / "engine.json").rename(directory.path / "moved.json")
    yield 1
    # The old name is confirmed to be gone before it counts for nothing.
    quiet()
    directory.write("moved.json", json.dumps({**engine, "replica_id": "r1"}))
    yield 2
    # A rival, which goes again.
    directory.write("rival.json", json.dumps({**engine, "replica_id": "r1", "url": "http://rival"}))
    yield 2
    directory.remove("rival.json")
    yield 1
    quiet()
    # Truncated, which is invalid and removes nothing; then whole again.
    (directory.path / "moved.json").write_bytes(b'{"pool_id":')
    yield 1
    directory.write("moved.json", json.dumps({**engine, "replica_id": "r1", "slots": 5}))
    yield 1
    directory.write("moved.json", json.dumps({**engine, "replica_id": "r1", "ready": False}))
    yield 1
    directory.remove("llamacpp.json")
    yield 1


def quiet(watcher: h.Watcher, scans: int) -> None:
    """Wait until nothing is undecided, and for some polls more, which the others make too."""
    end = watcher.stats().scans + scans
    eventually(lambda: watcher.stats().scans >= end and not watcher.stats().pending_files)


def without_latency(line: str) -> list[tuple[str, Any]]:
    return [(name, value) for name, value in json.loads(line).items() if name != "latency_ms"]


def in_any_order(told: Iterable[object]) -> list[str]:
    """What one round finds out about different replicas has no order."""
    return sorted(map(str, told))


def columns(event: h.Event) -> str:
    """Give an event as the examples print it."""
    fields = event.to_dict()
    url = fields.get("payload", {}).get("url", "-")
    return " ".join((event.event, fields.get("pool_id", "-"), url))


def test_python_tells_what_the_command_line_prints(directory: Directory, cli: Path) -> None:
    accepted = sorted((HANDOFFS / "accept").iterdir())
    for path in accepted:
        shutil.copy(path, directory.path)
    # A name that is no UTF-8, and a document that is none, are told alike too.
    directory.write(b"\xff.json", b"\xff")
    command = Process(cli, "watch", "--json", "--poll-interval-ms", "20", directory.path)
    with h.watch(directory.path, poll_interval=0.02) as watcher:

        def compare(count: int) -> None:
            told = [watcher.next(timeout=30) for _ in range(count)]
            ours = [without_latency(event.to_json()) for event in told if event is not None]
            assert in_any_order(ours) == in_any_order(without_latency(command.line()) for _ in told)

        compare(len(accepted) + 2)
        for count in steps(directory, lambda: quiet(watcher, 10)):
            compare(count)
        quiet(watcher, 10)
        assert watcher.next(timeout=0) is None
    command.signal()
    assert command.end() == (0, "")


@pytest.fixture
def hosts(tmp_path: Path, directory: Directory) -> Iterator[list[Process]]:
    library = tmp_path / "libhandoff_watcher.so.0"
    library.symlink_to(Path(str(_native.__file__)).with_name("lib_native.so"))
    link = [str(library), f"-Wl,-rpath,{tmp_path}", "-I", str(ROOT / "include"), "-pthread"]
    for compiler, source in (("cc", "c/watch.c"), ("c++ -std=c++17", "cpp/watch.cpp")):
        program = tmp_path / source.replace("/", "-")
        command = [*compiler.split(), str(ROOT / "examples" / source), "-o", str(program), *link]
        subprocess.run(command, check=True)
    python = [sys.executable, "-X", "dev", "-W", "error"]
    examples = ROOT / "examples" / "python"
    hosts = [
        Process(tmp_path / "c-watch.c", directory.path),
        Process(tmp_path / "cpp-watch.cpp", directory.path),
        Process(*python, examples / "watch.py", directory.path),
        Process(*python, examples / "service.py", tmp_path / "socket", directory.path),
    ]
    yield hosts
    for host in hosts:
        host.kill()


def test_four_languages_tell_the_same_story(
    directory: Directory, hosts: list[Process], tmp_path: Path
) -> None:
    # The fifth witness.
    with h.watch(directory.path) as watcher:

        def compare(count: int) -> None:
            told = [watcher.next(timeout=30) for _ in range(count)]
            ours = in_any_order(columns(event) for event in told if event is not None)
            for host in hosts:
                assert in_any_order(host.line() for _ in told) == ours, host.name

        compare(1)
        # One at a time: each host polls at a time of its own, and would join what lies between.
        for name in ("engine.json", "llamacpp.json", "vllm-unicode.json"):
            directory.write(name, (HANDOFFS / "accept" / name).read_bytes())
            compare(1)
        for count in steps(directory, lambda: quiet(watcher, 1)):
            compare(count)
        ready = [dataclasses.asdict(pool) for pool in watcher.registry.pools()]
        assert ask(tmp_path / "socket") == ready
    # C and C++ end by the signal, Python in its own way. Warnings are logged.
    for host, status in zip(hosts, (-2, -2, 0, 0), strict=True):
        host.signal()
        ended, complaint = host.end()
        assert ended == status and "Traceback" not in complaint, (host.name, complaint)


def ask(path: Path) -> Any:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(path))
        with connection.makefile("rb") as answer:
            return json.loads(answer.read())
