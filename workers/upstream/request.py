"""Owns one HTTP call as a family builds it and an upstream sends it."""

from msgspec import Struct


class UpstreamRequest(Struct, frozen=True):
    """One HTTP call to make. `url` is sent byte for byte: it may be signed."""

    method: str
    url: str
    headers: dict[str, str]
    body: bytes
