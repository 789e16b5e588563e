"""What a handoff says: :class:`Payload`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any


@dataclasses.dataclass(frozen=True)
class Model:
    """The model that an engine serves."""

    id: str | None = None
    """Where the model came from, such as ``"hf:meta-llama/Llama-3.1-8B-Instruct"``."""
    path: str | None = None
    """Where the model lies on this machine."""
    extra: Mapping[str, Any] = dataclasses.field(default_factory=dict, hash=False)
    """Every other field of the object, as it stands there; of very large numbers see
    :attr:`Payload.extra`."""

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Model:
        """Take it from what JSON says, as this library writes it."""
        return cls(**_known(cls, fields))

    def to_dict(self) -> dict[str, Any]:
        """Give it as it stands in JSON."""
        return _present(self)


@dataclasses.dataclass(frozen=True)
class Payload:
    """One handoff: what an engine-provisioner says of a running engine.

    It is plain data: nothing is checked here. :func:`check` and :func:`publish` do that.
    """

    pool_id: str
    """The pool that the replica belongs to."""
    replica_id: str
    """The replica, unique within its pool."""
    url: str
    """Where the engine answers: an ``http`` or ``https`` URL, as the document has it."""
    engine: str | None = None
    """The engine, such as ``"llamacpp"``."""
    engine_version: str | None = None
    """The engine's version, in the engine's own notation."""
    provisioning_mode: str | None = None
    """How the engine was provisioned, such as ``"source"``."""
    device_mask: str | None = None
    """The devices that the engine runs on, such as ``"0,1"``. Not interpreted."""
    slots: int | None = None
    """How many requests the engine serves at once."""
    slots_free: int | None = None
    """How many slots were free when the document was written."""
    pid: int | None = None
    """The engine's process on this machine. Nothing says that it still runs."""
    model: Model | None = None
    """The model that the engine serves."""
    flags: tuple[str, ...] | None = None
    """The flags that the engine was started with."""
    ready: bool | None = None
    """Whether the engine takes requests. ``None``, for absent, means that it does."""
    extra: Mapping[str, Any] = dataclasses.field(default_factory=dict, hash=False)
    """Every other field of the document, as it stands there; but a whole number that fits into
    neither 64 bits with a sign nor 64 without comes back as the nearest float, also in what
    :func:`publish` writes."""

    @property
    def is_ready(self) -> bool:
        """Whether the engine takes requests: unless the document says that it does not."""
        return self.ready is not False

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Payload:
        """Take it from what JSON says, as this library writes it (``url``, not its other name)."""
        known = _known(cls, fields)
        if known.get("model") is not None:
            known["model"] = Model.from_dict(known["model"])
        if known.get("flags") is not None:
            known["flags"] = tuple(known["flags"])
        return cls(**known)

    def to_dict(self) -> dict[str, Any]:
        """Give it as it stands in JSON: without what is absent, the unknown fields last."""
        fields = _present(self)
        if self.model is not None:
            fields["model"] = self.model.to_dict()
        if self.flags is not None:
            fields["flags"] = list(self.flags)
        return fields


def _names(cls: type[Model | Payload]) -> list[str]:
    names = [field.name for field in dataclasses.fields(cls) if field.name != "extra"]
    if cls is Payload:
        # In JSON the address follows what it is the address of; here, what is required comes first.
        names.remove("url")
        names.insert(names.index("device_mask"), "url")
    return names


def _known(cls: type[Model | Payload], fields: Mapping[str, Any]) -> dict[str, Any]:
    names = _names(cls)
    known = {name: value for name, value in fields.items() if name in names}
    known["extra"] = {name: value for name, value in fields.items() if name not in names}
    return known


def _present(of: Model | Payload) -> dict[str, Any]:
    fields = {name: getattr(of, name) for name in _names(type(of))}
    return {name: value for name, value in fields.items() if value is not None} | dict(of.extra)
