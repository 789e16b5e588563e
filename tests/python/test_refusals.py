"""What is refused, and how: settings, arguments, documents, and a header that cffi cannot take."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import handoff_watcher as h
import pytest
from conftest import HANDOFFS, ROOT, Directory, skip


def test_settings_reach_the_library(directory: Directory) -> None:
    directory.handoff()
    (directory.path / "link.json").symlink_to(directory.path / "pool-0-r0.json")
    settings: dict[str, Any] = {"settle_time": 0, "max_file_size": 10, "follow_symlinks": False}
    with h.watch(directory.path, thread_name="näme", channel_capacity=1, **settings) as watcher:
        told = [watcher.next(30) for _ in range(3)]
    kinds = {event.error_kind for event in told if isinstance(event, h.Invalid)}
    assert kinds == {"too_large", "file_type"}


def test_a_process_that_has_ended_is_no_engine(directory: Directory) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        directory.handoff(pid=process.pid)
        settings: dict[str, Any] = {"check_processes": True, "poll_interval": 0.02}
        with h.watch(directory.path, instant=sys.platform == "linux", **settings) as watcher:
            assert isinstance(watcher.next(30), h.Ready) and watcher.next(30) == h.Synced()
            if sys.platform == "linux":
                assert watcher.health().mode == "instant"
            process.communicate(b"\n")
            told = [watcher.next(30), watcher.next(30)]
            removed = [event for event in told if isinstance(event, h.Removed)]
            assert removed[0].reason == "process_exited"


def test_what_others_may_write_is_not_trusted(directory: Directory) -> None:
    directory.path.chmod(0o755)
    file = directory.handoff()
    file.chmod(0o666)
    with h.watch(directory.path, trust=True, poll_interval=0.02) as watcher:
        told = watcher.next(30)
        assert isinstance(told, h.Invalid) and (told.error_kind, told.file) == ("untrusted", file)
        assert "writable by others (mode 0666)" in str(told)
        assert watcher.next(30) == h.Synced()
        file.chmod(0o644)
        assert isinstance(watcher.next(30), h.Ready)
        directory.path.chmod(0o777)
        away = watcher.next(30)
        assert isinstance(away, h.Unavailable) and away.error_kind == "untrusted"
        with pytest.raises(h.HandoffError, match="the directory is writable by others") as caught:
            watcher.rescan()
        assert caught.value.path == directory.path
        assert watcher.registry.is_ready("pool-0")
    with h.watch(directory.path, poll_interval=0.02) as watcher:
        assert isinstance(watcher.next(30), h.Ready), "nothing asks for trust"


def test_more_users_may_be_trusted(directory: Directory) -> None:
    if os.geteuid() != 0:
        skip("no file changed its owner: only root can give files away")
    directory.path.chmod(0o755)
    file = directory.handoff()
    file.chmod(0o644)
    os.chown(file, 12345, -1)
    with h.watch(directory.path, trust=True, trusted_uids=[7]) as watcher:
        told = watcher.next(30)
        assert isinstance(told, h.Invalid) and told.error_kind == "untrusted"
        assert "owned by uid 12345: expected 0 or 7;" in str(told)
    with h.watch(directory.path, trust=True, trusted_uids=[7, 12345]) as watcher:
        assert isinstance(watcher.next(30), h.Ready)


def test_users_are_trusted_only_where_trust_is_asked_for(directory: Directory) -> None:
    with pytest.raises(h.ConfigError) as caught:
        h.watch(directory.path, trusted_uids=[0])
    assert caught.value.field == "trusted_uids"


def test_a_message_goes_when_it_was_taken(directory: Directory) -> None:
    directory.handoff()
    settings: dict[str, Any] = {"mode": "announcements", "consume": True, "poll_interval": 0.02}
    with h.watch(directory.path, **settings) as watcher:
        assert isinstance(watcher.next(30), h.Ready)
        deadline = time.monotonic() + 30
        while list(directory.path.iterdir()):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert [pool.ready for pool in watcher.registry.pools()] == [True]


def test_the_environment_says_what_is_not_given(
    directory: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory.handoff()
    monkeypatch.setenv("POOL_MANAGERD_RUNTIME_DIR", str(directory.path))
    with h.watch() as watcher:
        assert isinstance(watcher.next(30), h.Ready)
    monkeypatch.setenv("POOL_MANAGERD_WATCH_INTERVAL_MS", "soon")
    with pytest.raises(h.ConfigError) as caught:
        h.watch()
    assert caught.value.field == "POOL_MANAGERD_WATCH_INTERVAL_MS"
    # What is given is not asked for.
    with h.watch(poll_interval=0.1) as watcher:
        assert isinstance(watcher.next(30), h.Ready)
    # Asked for by name, a directory does not come with an interval from elsewhere.
    h.watch(directory.path).close()


def test_arguments_that_cannot_be(directory: Directory) -> None:
    with h.watch(directory.path) as watcher:
        for text in ("a\0b", "\ud800"):
            with pytest.raises(h.ArgumentError) as caught:
                watcher.registry.get("p", text)
            assert caught.value.field == "replica_id"
    with pytest.raises(h.ArgumentError):
        h.withdraw("a\0b", "p", "r")


@pytest.mark.parametrize("path", sorted((HANDOFFS / "reject").iterdir()), ids=lambda it: it.name)
def test_what_a_watcher_rejects_is_refused(path: Path, tmp_path: Path) -> None:
    with pytest.raises(h.DocumentError) as caught:
        h.check(path.read_bytes())
    assert caught.value.kind in ("syntax", "schema")
    with pytest.raises(h.DocumentError):
        h.publish(tmp_path, path.read_bytes())


@pytest.mark.parametrize("path", sorted((HANDOFFS / "accept").iterdir()), ids=lambda it: it.name)
def test_what_a_watcher_accepts_survives_the_way_there_and_back(path: Path, tmp_path: Path) -> None:
    payload = h.check(path.read_bytes())
    assert h.check(payload) == payload == h.Payload.from_dict(payload.to_dict())
    assert h.check(h.publish(tmp_path, payload).read_text()) == payload


def test_a_document_that_json_cannot_say() -> None:
    for document in ({"pool_id": object()}, "\ud800", {"pool_id": float("nan")}, ""):
        with pytest.raises(h.DocumentError):
            h.check(document)


def test_the_error_of_a_path_says_which(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(h.IoError) as caught:
        h.publish(tmp_path / "file", h.Payload("p", "r", "http://h"))
    assert caught.value.path == tmp_path / "file"
    with pytest.raises(h.SchemaError) as schema:
        h.publish(tmp_path, h.Payload("p", "r", "no url"))
    assert (schema.value.field, schema.value.path) == ("url", None)


def test_the_header_for_python_is_the_checked_in_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "python" / "backend"))
    backend = importlib.import_module("maturin_with_header")

    header = (ROOT / "include" / "handoff_watcher.h").read_text()
    taken = backend.declarations(header)
    assert "#include" not in taken and 'extern "C"' not in taken
    assert "#define HANDOFF_ERROR_CONFIG -1" in taken and "handoff_withdraw(" in taken
    with pytest.raises(ValueError, match="cffi cannot take"):
        backend.declarations("#define A B\n")


def test_the_version_is_that_of_the_package() -> None:
    assert h.__version__ == importlib.metadata.version("handoff-watcher")
