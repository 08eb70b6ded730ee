"""Owns how a body asks an older Claude to think: clients that do not know a model ask it as they ask the newest."""

from typing import Final

import msgspec
from msgspec import Raw

from schemas.asked import Fields
from schemas.catalogue.model import Capabilities
from schemas.json import UNREADABLE

_BY_EFFORT: Final = "effort"  # how models think that take an effort, and decide for themselves
_ADAPTIVE: Final = b"adaptive"
_EFFORT: Final = "effort"
_decode_fields = msgspec.json.Decoder(Fields).decode
_encode = msgspec.json.Encoder().encode


def fitted(fields: Fields, able: Capabilities) -> tuple[Fields, list[str]]:
    """The fields without what such a model takes no word of, and the names of that; the same ones for a newer model."""
    if able.thinking == _BY_EFFORT:
        return fields, []
    kept, dropped = dict(fields), []
    thinking = _inner(fields, "thinking")
    if _ADAPTIVE in bytes(thinking.get("type", b"")):
        del kept["thinking"]
        dropped.append("thinking")
    config = _inner(fields, "output_config")
    if _EFFORT in config:
        del config[_EFFORT]
        dropped.append(f"output_config.{_EFFORT}")
        if config:
            kept["output_config"] = Raw(_encode(config))
        else:
            del kept["output_config"]
    return (kept, dropped) if dropped else (fields, [])


def _inner(fields: Fields, name: str) -> Fields:
    """An object among the fields; empty for anything else."""
    try:
        return _decode_fields(fields[name]) if name in fields else {}
    except UNREADABLE:
        return {}
