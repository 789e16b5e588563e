"""What a host is told, once: one frozen dataclass for each kind of event.

The fields have the names that they have in JSON and on the command line.
"""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Any, ClassVar, Literal, Union

from ._payload import Payload


@dataclasses.dataclass(frozen=True)
class _Event:
    event: ClassVar[str]
    """The stable name of the kind, as it stands in JSON."""

    def to_dict(self) -> dict[str, Any]:
        """Give it as it stands in JSON, the same as the command line prints.

        A ``file`` that is no UTF-8 has replacement characters there, and its bytes in
        ``file_bytes``.
        """
        fields: dict[str, Any] = {"event": self.event}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value is not None:
                fields[field.name] = _plain(value)
                if field.name == "file" and not _is_utf8(value):
                    fields["file_bytes"] = list(os.fsencode(value))
        return fields

    def to_json(self) -> str:
        """Give it as one line of JSON, the same as the command line prints."""
        return json.dumps(self.to_dict(), ensure_ascii=False, separators=(",", ":"))


@dataclasses.dataclass(frozen=True)
class _ReplicaEvent(_Event):
    file: Path
    """The handoff file; exact also where its name is no UTF-8 (see :func:`os.fsdecode`)."""
    pool_id: str
    """The pool of the replica."""
    replica_id: str
    """The replica, within its pool."""
    payload: Payload
    """What the handoff says; of a removed one, what it said last."""

    def __str__(self) -> str:
        return f"{self.event} {self.pool_id} {self.replica_id} {self.payload.url}"


@dataclasses.dataclass(frozen=True)
class Ready(_ReplicaEvent):
    """A replica that the host does not know, or was told is gone, is ready."""

    event: ClassVar[str] = "ready"
    latency_ms: float | None = None
    """From the file's last change to this delivery; ``None`` for what was there at the start."""


@dataclasses.dataclass(frozen=True)
class Updated(_ReplicaEvent):
    """A replica that the host holds as ready has another payload, or another file."""

    event: ClassVar[str] = "updated"
    previous: Payload
    """What the host was told last."""
    latency_ms: float | None = None
    """From the file's last change to this delivery."""


@dataclasses.dataclass(frozen=True)
class Removed(_ReplicaEvent):
    """A replica that the host holds as ready no longer is."""

    event: ClassVar[str] = "removed"
    reason: Literal["file_removed", "not_ready", "moved", "process_exited"]
    """The file is gone, says ``"ready": false``, or now speaks of another replica; or the process
    that it names has ended."""

    def __str__(self) -> str:
        return f"{super().__str__()} ({self.reason})"


@dataclasses.dataclass(frozen=True)
class Invalid(_Event):
    """A file cannot be taken as a handoff. The last good version stays in force."""

    event: ClassVar[str] = "invalid"
    file: Path
    """The file; exact also where its name is no UTF-8."""
    error: str
    """What is wrong, and what was expected: one line."""
    error_kind: str
    """The stable name of the kind of error, such as ``"schema"``."""
    field: str | None = None
    """The field that it is about, such as ``"model.path"``."""
    line: int | None = None
    """The line in the file, counted from 1."""
    column: int | None = None
    """The column in that line, counted from 1 in bytes."""

    def __str__(self) -> str:
        place = "" if self.line is None else f":{self.line}:{self.column}"
        return f"{self.event} {_text(self.file)}{place}: {self.error}"


@dataclasses.dataclass(frozen=True)
class Conflict(_Event):
    """More than one file claims a replica. Told once per change of the claims."""

    event: ClassVar[str] = "conflict"
    pool_id: str
    """The pool of the claimed replica."""
    replica_id: str
    """The claimed replica."""
    winner: Path
    """The file that is in force: the newest, then the greater name."""
    losers: tuple[Path, ...]
    """The other files, sorted."""

    def __str__(self) -> str:
        losers = ", ".join(map(_text, self.losers))
        return f"{self.event} {self.pool_id} {self.replica_id} {_text(self.winner)} over {losers}"


@dataclasses.dataclass(frozen=True)
class Synced(_Event):
    """Everything that was there at the start has been taken, also what changed since. Told once.

    A file that never comes to rest is waited for until 2 s beyond the settle time.
    """

    event: ClassVar[str] = "synced"

    def __str__(self) -> str:
        return self.event


@dataclasses.dataclass(frozen=True)
class Unavailable(_Event):
    """The directory cannot be listed; everything known stays in force."""

    event: ClassVar[str] = "unavailable"
    error: str
    """Why not: one line."""
    error_kind: str
    """The stable name of the kind of error: ``"io"``."""

    def __str__(self) -> str:
        return f"{self.event} {self.error}"


@dataclasses.dataclass(frozen=True)
class Available(_Event):
    """The directory can be listed again."""

    event: ClassVar[str] = "available"

    def __str__(self) -> str:
        return self.event


Event = Union[Ready, Updated, Removed, Invalid, Conflict, Synced, Unavailable, Available]
"""Any event. A ``match`` over its classes is exhaustive for mypy."""

_KINDS: dict[str, type[Event]] = {
    kind.event: kind
    for kind in (Ready, Updated, Removed, Invalid, Conflict, Synced, Unavailable, Available)
}


def from_json(text: bytes, file: Path | None, losers: tuple[Path, ...]) -> Event:
    """Make an event of its JSON, and of its paths, which JSON need not have exactly."""
    fields: dict[str, Any] = json.loads(text)
    kind = _KINDS[fields.pop("event")]
    fields.pop("file_bytes", None)
    for name in ("payload", "previous"):
        if name in fields:
            fields[name] = Payload.from_dict(fields[name])
    if kind is Conflict:
        fields["winner"], fields["losers"] = file, losers
    elif file is not None:
        fields["file"] = file
    return kind(**fields)


def _plain(value: Any) -> Any:
    if isinstance(value, Payload):
        return value.to_dict()
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return _text(value) if isinstance(value, Path) else value


def _text(path: Path) -> str:
    return os.fsencode(path).decode("utf-8", "replace")


def _is_utf8(path: Path) -> bool:
    try:
        os.fsencode(path).decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
