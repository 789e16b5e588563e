"""What a host gives, checked and made fit for C: one function for each kind of value.

Each says which argument it is about, what was expected, in Python's units, and what was found: of a
wrong type by a :class:`TypeError`, of a wrong value by a :class:`ConfigError` where it is a setting
of a watcher, else by an :class:`ArgumentError`.
"""

from __future__ import annotations

import math
import numbers
import operator
import os
import reprlib
from collections.abc import Mapping
from typing import Any, Union

from ._errors import ArgumentError, ConfigError

StrPath = Union[str, bytes, "os.PathLike[str]", "os.PathLike[bytes]"]

DAY = 86_400
_LARGEST_UID = 2**32 - 1
_MOST_UIDS = 65_536


def wrong_type(name: str, expected: str, found: object) -> TypeError:
    """Say of an argument that it is of a wrong type."""
    return TypeError(f"argument `{name}`: expected {expected}, found {reprlib.repr(found)}")


def wrong_value(name: str, expected: str, found: object) -> ConfigError:
    """Say of a setting that its value cannot be."""
    text = f"setting `{name}`: expected {expected}, found {reprlib.repr(found)}"
    return ConfigError(text, field=name)


def seconds(name: str, value: float | None, least: float, most: float) -> int:
    """Check a time; give C's milliseconds, whose 0 stands for the default."""
    if value is None:
        return 0
    found = _number(name, value)
    if not least <= found <= most:
        raise wrong_value(name, f"{least} to {most} seconds", value)
    # The finest that there is, and for nothing at all practically the same.
    return max(round(found * 1000), 1)


def backoff(name: str, value: tuple[float, float] | None) -> tuple[int, int]:
    """Check a first time and the most that it becomes."""
    if value is None:
        return 0, 0
    expected = "two numbers of seconds, (first, most)"
    pair = _items(name, value, expected)
    if len(pair) != 2:
        raise wrong_value(name, expected, value)
    if None in pair:
        raise wrong_type(name, expected, value)
    first, most = (seconds(name, item, 0.001, DAY) for item in pair)
    if first > most:
        raise wrong_value(name, "the first not to be longer than the most", value)
    return first, most


def timeout(value: float | None) -> float | None:
    """Check how many seconds to wait: any number, which may be infinite or over already."""
    if value is None:
        return None
    found = _number("timeout", value)
    if math.isnan(found):
        raise _wrong_argument("timeout", "a number of seconds", value)
    return found


def count(name: str, value: int | None, most: int, unit: str) -> int:
    """Check a number of things; C's 0 stands for the default."""
    if value is None:
        return 0
    found = _whole(name, value, f"a whole number of {unit}")
    if not 1 <= found <= most:
        raise wrong_value(name, f"1 to {most} {unit}", value)
    return found


def uids(name: str, value: Any) -> list[int]:
    """Check the numbers of users."""
    expected = f"user ids from 0 to {_LARGEST_UID}"
    found = [
        _whole(name, uid, expected) for uid in _items(name, value, f"a sequence of {expected}")
    ]
    for uid in found:
        if not 0 <= uid <= _LARGEST_UID:
            raise wrong_value(name, expected, uid)
    if len(found) > _MOST_UIDS:
        raise wrong_value(name, f"at most {_MOST_UIDS} user ids", len(found))
    return found


def flag(name: str, value: bool) -> bool:
    """Check a flag: what is merely true, such as ``"no"``, may have been meant otherwise."""
    if not isinstance(value, bool):
        raise wrong_type(name, "True or False", value)
    return value


def choice(name: str, value: str, choices: Mapping[str, int]) -> int:
    """Check a word; give C's number for it."""
    expected = " or ".join(map(repr, choices))
    if not isinstance(value, str):
        raise wrong_type(name, expected, value)
    if value not in choices:
        raise wrong_value(name, expected, value)
    return choices[value]


def text(name: str, value: str, is_setting: bool = False) -> bytes:
    """Make text fit for C, which cannot see what stands behind a NUL."""
    if not isinstance(value, str):
        raise wrong_type(name, "a string", value)
    return _bytes(name, "Unicode text", value, str.encode, is_setting)


def path(name: str, value: StrPath, is_setting: bool = False) -> bytes:
    """Make a path fit for C: its bytes, whatever they are."""
    expected = "a path, as str, bytes or os.PathLike"
    if not isinstance(value, (str, bytes, os.PathLike)):
        raise wrong_type(name, expected, value)
    return _bytes(name, expected, value, os.fsencode, is_setting)


def _bytes(name: str, expected: str, value: Any, encode: Any, is_setting: bool) -> bytes:
    refused = wrong_value if is_setting else _wrong_argument
    try:
        encoded = bytes(encode(value))
    except UnicodeEncodeError:
        raise refused(name, expected, value) from None
    if b"\0" in encoded:
        raise refused(name, "no NUL in it", value)
    return encoded


def _wrong_argument(name: str, expected: str, found: object) -> ArgumentError:
    text = f"argument `{name}`: expected {expected}, found {reprlib.repr(found)}"
    return ArgumentError(text, field=name)


def _number(name: str, value: Any) -> float:
    # Of the strings that `float` would take, none is a number.
    if isinstance(value, numbers.Number) and not isinstance(value, (bool, complex)):
        try:
            return float(value)  # type: ignore[arg-type]
        except OverflowError:
            return math.inf if value > 0 else -math.inf  # type: ignore[operator]
    raise wrong_type(name, "a number of seconds", value)


def _whole(name: str, value: Any, expected: str) -> int:
    try:
        if not isinstance(value, bool):
            return operator.index(value)
    except TypeError:
        pass
    raise wrong_type(name, expected, value)


def _items(name: str, value: Any, expected: str) -> tuple[Any, ...]:
    try:
        if not isinstance(value, (str, bytes)):
            return tuple(value)
    except TypeError:
        pass
    raise wrong_type(name, expected, value)
