"""What can go wrong: a small tree under :class:`HandoffError`."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn


class HandoffError(Exception):
    """Whatever this library refuses or cannot do; its text is one line, complete in itself.

    Catching it catches everything of this library, but for the :class:`TypeError` of an argument
    of a wrong type. A kind that this version has no class for is raised as this class itself.
    """

    code: int = 0
    """The stable number of the kind, the same as in C and Rust: ``HANDOFF_ERROR_…``."""
    kind: str = "unknown"
    """The stable name of the kind, such as ``"config"``."""

    def __init__(
        self,
        message: str,
        *,
        field: str | None = None,
        line: int | None = None,
        column: int | None = None,
        path: Path | None = None,
    ) -> None:
        super().__init__(message)
        self.field = field
        """The field of the handoff, the setting, the argument or the environment variable."""
        self.line = line
        """The line in the document, counted from 1."""
        self.column = column
        """The column in that line, counted from 1 in bytes."""
        self.path = path
        """The file or directory."""


class ConfigError(HandoffError, ValueError):
    """A setting or an environment variable has an impossible value; ``field`` names it."""

    code, kind = -1, "config"


class IoError(HandoffError):
    """The operating system refused; ``path`` says where."""

    code, kind = -2, "io"


class DocumentError(HandoffError, ValueError):
    """A document is no handoff: one of the two below."""


class DocumentSyntaxError(DocumentError):
    """The content is not one JSON document in UTF-8; ``line`` and ``column`` say where."""

    code, kind = -3, "syntax"


class SchemaError(DocumentError):
    """The content is JSON, but no handoff: a field is missing, doubled or impossible."""

    code, kind = -4, "schema"


class SpawnError(HandoffError):
    """A thread could not be started."""

    code, kind = -7, "spawn"


class StoppedError(HandoffError):
    """The watcher has been stopped or closed: nothing will come any more."""

    code, kind = -8, "stopped"


class InternalError(HandoffError):
    """A defect of this library, which caught itself; please report it with the text."""

    code, kind = -9, "internal"


class ArgumentError(HandoffError, ValueError):
    """An argument that cannot be; ``field`` names it."""

    code, kind = -10, "invalid_argument"


class ForkedError(HandoffError):
    """The watcher belongs to another process, of which this one is a fork.

    Nothing was touched, and the parent's watcher goes on. A child makes watchers of its own.
    """

    code, kind = -11, "forked"


class BusyError(HandoffError):
    """From inside a callback, or a signal handler: this would wait for the very call it is in."""

    code, kind = -12, "busy"


BY_CODE: dict[int, type[HandoffError]] = {
    error.code: error
    for error in (
        ConfigError,
        IoError,
        DocumentSyntaxError,
        SchemaError,
        SpawnError,
        StoppedError,
        InternalError,
        ArgumentError,
        ForkedError,
        BusyError,
    )
}


class Unique:
    """What owns something of the library's: a second object would free it under the first one."""

    def __reduce__(self) -> NoReturn:
        """Refuse to be copied and to be pickled, which both ask for this."""
        name = type(self).__name__
        raise TypeError(
            f"a {name} cannot be copied or pickled: it is one watcher; share the object"
        )
