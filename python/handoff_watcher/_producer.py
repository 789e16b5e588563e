"""The producer's side, and the check that both sides share."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Union

from . import _abi, _checks
from ._checks import StrPath
from ._errors import SchemaError
from ._native import ffi, lib
from ._payload import Payload

Document = Union[Payload, Mapping[str, Any], str, bytes]
"""A handoff: as a payload, as what JSON would make of it, or as JSON."""


def publish(runtime_dir: StrPath, handoff: Document) -> Path:
    """Write a handoff, so that a watcher sees the old one or the new one whole; return its file.

    The directory is made if it is not there. The content is on the disk when this returns, which
    typically takes some milliseconds. Calls for one replica should come one after the other.

    Raises :class:`DocumentError` when it is no handoff, :class:`IoError` when it cannot be written,
    and :class:`ConfigError` for an empty path: the working directory is ``"."``.
    """
    document = _bytes(handoff)
    directory = _checks.path("runtime_dir", runtime_dir)
    file = ffi.new("char **")
    _abi.check(lib.handoff_publish_json(directory, document, len(document), file))
    try:
        return Path(os.fsdecode(ffi.string(file[0])))
    finally:
        lib.handoff_string_free(file[0])


def withdraw(runtime_dir: StrPath, pool_id: str, replica_id: str) -> bool:
    """Remove the handoff of a replica that was published; return whether there was one.

    Raises :class:`ConfigError` for an empty path: the working directory is ``"."``.
    """
    directory = _checks.path("runtime_dir", runtime_dir)
    ids = _checks.text("pool_id", pool_id), _checks.text("replica_id", replica_id)
    return bool(_abi.check(lib.handoff_withdraw(directory, *ids)) == lib.HANDOFF_OK)


def check(handoff: Document) -> Payload:
    """Check a handoff as a watcher does, whose size limit apart; return what it says.

    Raises :class:`DocumentError`, which says what is wrong, and where.
    """
    document = _bytes(handoff)
    text = _abi.string(lib.handoff_check, document, len(document))
    return Payload.from_dict(json.loads(text or b""))


def _bytes(handoff: Document) -> bytes:
    if isinstance(handoff, bytes):
        return handoff
    if isinstance(handoff, Payload):
        handoff = handoff.to_dict()
    try:
        return (handoff if isinstance(handoff, str) else json.dumps(handoff)).encode()
    except (TypeError, ValueError) as error:
        raise SchemaError(f"the handoff cannot be written as JSON: {error}") from error
