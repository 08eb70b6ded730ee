"""Owns how the secrets of webhook endpoints stand in the books: sealed, since whoever signs needs them themselves.

The key follows from the pepper, which is not in the database: a copy of the database signs nothing.
"""

import base64
import contextlib
import hmac
import os
from collections.abc import Sequence

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from msgspec import Struct

NONCE_BYTES = 12
HINT_CHARS = 4
LIVE_MAX = 3  # of one endpoint
_PURPOSE = b"webhook secrets"


class Sealed(Struct):
    """One secret of an endpoint. `expires_ms` is 0 for the newest, which has no end."""

    id: str
    sealed: str
    hint: str
    created_ms: int
    expires_ms: int = 0


encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder(list[Sealed]).decode


def _key(pepper: bytes) -> AESGCM:
    return AESGCM(hmac.digest(pepper, _PURPOSE, "sha256"))


def seal(pepper: bytes, endpoint: str, secret: str) -> str:
    """A secret as the books have it, of no use for another endpoint."""
    nonce = os.urandom(NONCE_BYTES)
    return base64.b64encode(nonce + _key(pepper).encrypt(nonce, secret.encode(), endpoint.encode())).decode()


def opened(peppers: Sequence[bytes], endpoint: str, sealed: str) -> str:
    """The secret; empty if it was sealed under none of these peppers, or for another endpoint."""
    data = base64.b64decode(sealed)
    for pepper in peppers:
        with contextlib.suppress(InvalidTag):
            found = _key(pepper).decrypt(data[:NONCE_BYTES], data[NONCE_BYTES:], endpoint.encode())
            return found.decode()
    return ""


def live(secrets: Sequence[Sealed], now_ms: int) -> list[Sealed]:
    """Those that still sign, the newest first."""
    return [one for one in secrets if not 0 < one.expires_ms <= now_ms]
