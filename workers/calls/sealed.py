"""Owns how an item is named and sealed in the bucket: by its key's scope, so that no other key can find or read it."""

import hashlib
import hmac
import secrets
from typing import Any, Final

from msgspec import Struct

from schemas.responses.marks import ITEM_BYTES_MAX

_NONCE_BYTES: Final = 12
_SCOPE_CHARS: Final = 32
_ITEM_CHARS: Final = 40


class Ring(Struct, frozen=True):
    """Of how many items of at most so many bytes one scope has the newest; `name` is a token of their subjects."""

    name: str
    item_bytes_max: int
    items_max: int


# Two MiB each: long items push out long ones alone, and of another scope none.
RINGS: Final = (Ring("s", 2 * 1024, 1_024), Ring("m", 16 * 1024, 128), Ring("l", ITEM_BYTES_MAX, 32))


def ring_of(size_bytes: int) -> Ring:
    """The ring of an item by its length, which is at most ITEM_BYTES_MAX."""
    return next(ring for ring in RINGS if size_bytes <= ring.item_bytes_max)


class Seal:
    """What one scope's items are named and sealed with."""

    __slots__ = ("_cipher", "_scope", "name")

    def __init__(self, scope: str) -> None:
        from cryptography.hazmat.primitives.ciphers.aead import (  # noqa: PLC0415  9 MB that most workers never need
            AESGCM,
        )

        self._scope = scope.encode()
        self._cipher: Any = AESGCM(self._derived(b"seal"))
        self.name = self._derived(b"bucket").hex()[:_SCOPE_CHARS]

    def _derived(self, purpose: bytes) -> bytes:
        return hmac.digest(self._scope, b"items:" + purpose, "sha256")

    def key(self, ring: str, item_id: str) -> str:
        """An item's key in the bucket; `*` stands for any ring."""
        digest = hmac.digest(self._scope, b"item:" + item_id.encode(), hashlib.sha256)
        return f"{self.name}.{ring}.{digest.hex()[:_ITEM_CHARS]}"

    def close(self, item_id: str, data: bytes) -> bytes:
        """An item as it is kept: sealed to its id."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + bytes(self._cipher.encrypt(nonce, data, item_id.encode()))

    def open(self, item_id: str, kept: bytes) -> bytes | None:
        """The item; None for what was not sealed so."""
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415  as above

        try:
            return bytes(self._cipher.decrypt(kept[:_NONCE_BYTES], kept[_NONCE_BYTES:], item_id.encode()))
        except (InvalidTag, ValueError):
            return None
