"""Owns the fields of an object whose values stay as they were written: whether one says anything."""

from collections.abc import Mapping

from msgspec import Raw


def absent(fields: Mapping[str, Raw], name: str) -> bool:
    """Whether a field was left out, or is null."""
    raw = fields.get(name)
    return raw is None or bytes(raw) == b"null"
