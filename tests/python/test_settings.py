"""What is refused of arguments: by name, with what was expected in Python's units, and found."""

from __future__ import annotations

import decimal
import fractions
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import handoff_watcher as h
import pytest
from conftest import QUICK, Directory
from handoff_watcher import _abi
from handoff_watcher._native import ffi, lib

NAN, INFINITE = float("nan"), float("inf")
DAY = "expected 0.001 to 86400 seconds, found "


@pytest.mark.parametrize(
    ("setting", "value", "expected"),
    [
        ("poll_interval", 0, DAY + "0"),
        ("poll_interval", -1, DAY + "-1"),
        ("poll_interval", 0.0001, DAY + "0.0001"),
        ("poll_interval", NAN, DAY + "nan"),
        ("poll_interval", INFINITE, DAY + "inf"),
        ("poll_interval", 86_401, DAY + "86401"),
        ("poll_interval", 10**400, DAY + "1000"),
        ("poll_interval", -(10**400), DAY + "-1000"),
        ("settle_time", -1, "expected 0 to 3600 seconds, found -1"),
        ("settle_time", -0.0001, "expected 0 to 3600 seconds, found -0.0001"),
        ("settle_time", 3600.001, "expected 0 to 3600 seconds, found 3600.001"),
        ("retry_backoff", (1,), "expected two numbers of seconds, (first, most), found (1,)"),
        ("retry_backoff", (1, 2, 3), "expected two numbers of seconds, (first, most), found (1, 2"),
        ("retry_backoff", (), "expected two numbers of seconds, (first, most), found ()"),
        ("retry_backoff", (0, 1), DAY + "0"),
        ("retry_backoff", (1, 86_401), DAY + "86401"),
        (
            "retry_backoff",
            (2, 1),
            "expected the first not to be longer than the most, found (2, 1)",
        ),
        ("max_file_size", 0, "expected 1 to 1073741824 bytes, found 0"),
        ("max_file_size", 2**30 + 1, "expected 1 to 1073741824 bytes, found 1073741825"),
        ("max_file_size", 2**64, "expected 1 to 1073741824 bytes, found 18446744073709551616"),
        ("channel_capacity", 0, "expected 1 to 65536 events, found 0"),
        ("channel_capacity", 65_537, "expected 1 to 65536 events, found 65537"),
        ("trusted_uids", [-1], "expected user ids from 0 to 4294967295, found -1"),
        ("trusted_uids", [2**32], "expected user ids from 0 to 4294967295, found 4294967296"),
        ("trusted_uids", range(65_537), "expected at most 65536 user ids, found 65537"),
        ("trusted_uids", [0], "expected none without trust=True, found [0]"),
        ("mode", "messages", "expected 'state' or 'announcements', found 'messages'"),
        ("consume", True, "expected False without mode='announcements', found True"),
        ("thread_name", "", 'expected a name without NUL, found ""'),
        ("thread_name", "a\0b", "expected no NUL in it, found 'a\\x00b'"),
        ("thread_name", "\ud800", "expected Unicode text, found '\\ud800'"),
        ("runtime_dir", "", 'expected the path of a directory, found ""'),
        ("runtime_dir", "a\0b", "expected no NUL in it, found 'a\\x00b'"),
    ],
)
def test_regression_an_impossible_setting_is_refused_by_name(
    setting: str, value: Any, expected: str
) -> None:
    with pytest.raises(
        h.ConfigError, match=re.escape(f"setting `{setting}`: {expected}")
    ) as caught:
        h.watch(**{setting: value})
    error = caught.value
    assert (error.field, error.code, error.kind) == (setting, -1, "config")
    assert isinstance(error, (h.HandoffError, ValueError))


@pytest.mark.parametrize(
    ("setting", "values", "expected"),
    [
        ("poll_interval", ["1", b"1", True, 1j, [1]], "a number of seconds"),
        ("settle_time", ["1"], "a number of seconds"),
        ("retry_backoff", [1, "ab", (None, 1)], "two numbers of seconds, (first, most)"),
        ("retry_backoff", [("1", 2)], "a number of seconds"),
        ("max_file_size", [1.5, "1", True], "a whole number of bytes"),
        ("channel_capacity", [1.0, "1"], "a whole number of events"),
        ("trusted_uids", [5, "0", b"0"], "a sequence of user ids from 0 to 4294967295"),
        ("trusted_uids", [["0"], [0.0], [None]], "user ids from 0 to 4294967295"),
        ("follow_symlinks", ["no", None, 1], "True or False"),
        ("instant", ["no", 2], "True or False"),
        ("trust", ["no"], "True or False"),
        ("check_processes", ["no"], "True or False"),
        ("consume", ["no"], "True or False"),
        ("mode", [5, [], None], "'state' or 'announcements'"),
        ("thread_name", [5, b"name"], "a string"),
        ("runtime_dir", [5, []], "a path, as str, bytes or os.PathLike"),
    ],
)
def test_regression_a_setting_of_a_wrong_type_is_refused_by_name(
    setting: str, values: list[Any], expected: str
) -> None:
    for value in values:
        with pytest.raises(TypeError, match=re.escape(f"`{setting}`: expected {expected}, found ")):
            h.watch(**{setting: value})


@pytest.mark.parametrize(
    ("setting", "least", "most", "field", "beyond"),
    [
        ("poll_interval", 0.001, 86_400, "poll_interval_ms", 86_400_001),
        ("settle_time", 0, 3600, "settle_time_ms", 3_600_001),
        ("retry_backoff", (0.001, 0.001), (86_400, 86_400), "retry_most_ms", 86_400_001),
        ("max_file_size", 1, 2**30, "max_file_size", 2**30 + 1),
        ("channel_capacity", 1, 65_536, "channel_capacity", 65_537),
    ],
)
def test_the_ranges_are_those_of_the_library(
    directory: Directory, setting: str, least: Any, most: Any, field: str, beyond: int
) -> None:
    for edge in (least, most):
        h.watch(directory.path, **{setting: edge}).close()
    config = ffi.new("handoff_config *", {"struct_size": ffi.sizeof("handoff_config")})
    setattr(config, field, beyond)
    with pytest.raises(h.ConfigError) as caught:
        _abi.check(lib.handoff_watcher_new(config, ffi.new("handoff_watcher **")))
    assert caught.value.field == field


def test_any_kind_of_number_is_one(directory: Directory) -> None:
    for number in (decimal.Decimal("0.5"), fractions.Fraction(1, 2), 1):
        settings: dict[str, Any] = {"poll_interval": number, "retry_backoff": [number, number]}
        with h.watch(directory.path, settle_time=0.0005, **settings) as watcher:
            assert watcher.next(INFINITE) == h.Synced()
            assert watcher.next(-INFINITE) is watcher.next(-1) is watcher.next(0) is None
            assert not watcher.wait_ready("p", timeout=-INFINITE)


def test_regression_an_argument_of_a_wrong_type_is_refused_by_name(directory: Directory) -> None:
    with h.watch(directory.path, **QUICK) as watcher:
        wait, registry = watcher.wait_ready, watcher.registry
        wrong: list[tuple[str, Callable[[Any], object]]] = [
            ("pool_id", wait),
            ("replica_id", lambda it: wait("p", it)),
            ("pool_id", registry.is_ready),
            ("replica_id", lambda it: registry.get("p", it)),
            ("pool_id", lambda it: h.withdraw(directory.path, it, "r")),
            ("replica_id", lambda it: h.withdraw(directory.path, "p", it)),
            ("runtime_dir", lambda it: h.withdraw(it, "p", "r")),
            ("runtime_dir", lambda it: h.publish(it, h.Payload("p", "r", "http://h"))),
        ]
        for name, call in wrong:
            with pytest.raises(TypeError, match=f"argument `{name}`: expected a .*, found 5"):
                call(5)
        waits: list[Callable[[Any], object]] = [watcher.next, lambda it: wait("p", timeout=it)]
        for call in waits:
            with pytest.raises(TypeError, match="argument `timeout`: expected a number of seconds"):
                call("5")
            with pytest.raises(h.ArgumentError, match="of seconds, found nan") as caught:
                call(math.nan)
            assert caught.value.field == "timeout"


def test_regression_no_directory_is_not_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    acts: list[Callable[[], object]] = [
        lambda: h.publish("", h.Payload("p", "r", "http://h")),
        lambda: h.withdraw(b"", "p", "r"),
    ]
    for act in acts:
        with pytest.raises(h.ConfigError, match="the path of a directory, found") as caught:
            act()
        assert caught.value.field == "runtime_dir"
    assert list(tmp_path.iterdir()) == []


def test_a_very_large_number_in_an_unknown_field_becomes_a_float() -> None:
    document = {"pool_id": "p", "replica_id": "r", "url": "http://h", "in": 2**64 - 1, "out": 2**64}
    extra = h.check(document).extra
    assert [(it, type(it)) for it in extra.values()] == [(2**64 - 1, int), (2.0**64, float)]
