"""Owns the sealed form of a provider's reasoning: callers carry it between turns, and only its own key brings it back.

Dialects whose histories show reasoning have a place for its provider's proof: a signature, or reasoning that only the
provider reads. Another provider than the dialect's own has one too, in words that its callers would not know. So the
gateway wraps it: `tokn1.`, the payload, and a code made with the `scope` of the key whose call it is.
"""

import base64
import binascii
import hmac

import msgspec
from msgspec import Struct

from schemas.json import UNREADABLE

PREFIX = "tokn1."
BLOB_CHARS_MAX = 4 * 1024 * 1024  # of one that is opened
_CODE_BYTES = 16


class Blob(Struct, frozen=True, array_like=True):
    """What one provider gave with one piece of reasoning; `payload` means something to that model of it alone."""

    family: str
    upstream: str
    kind: str  # what the family calls it: it has several
    payload: str


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Blob).decode


def _code(scope: str, data: bytes) -> bytes:
    return hmac.digest(scope.encode(), data, "sha256")[:_CODE_BYTES]


def seal(scope: str, blob: Blob) -> str:
    """The text that a caller carries: base64url without padding, so that it fits wherever a signature does."""
    data = _encode(blob)
    return PREFIX + base64.urlsafe_b64encode(_code(scope, data) + data).rstrip(b"=").decode()


def is_ours(text: str) -> bool:
    """Whether a gateway made a text, for whichever key."""
    return text.startswith(PREFIX)


def unseal(scope: str, text: str) -> Blob | None:
    """What was sealed for a scope; None for anything else: another key's, one that was changed, or no blob at all."""
    if not is_ours(text) or len(text) > BLOB_CHARS_MAX or not scope:
        return None
    packed = text.removeprefix(PREFIX)
    try:
        raw = base64.b64decode(packed + "=" * (-len(packed) % 4), altchars=b"-_", validate=True)
        code, data = raw[:_CODE_BYTES], raw[_CODE_BYTES:]
        if not hmac.compare_digest(code, _code(scope, data)):
            return None
        return _decode(data)
    except (*UNREADABLE, binascii.Error, ValueError):
        return None
