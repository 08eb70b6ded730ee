"""Owns the nonces of sign-ins by a provider: a ledger gives each, bound to one browser, and knows it again by its code.

None is kept before it is used, so strangers who begin sign-ins fill nothing.
"""

import base64
import binascii
import hashlib
import hmac
import secrets
from typing import Final

from msgspec import Struct

from schemas.admin.operators import SIGN_IN_S

RANDOM_BYTES: Final = 16
TIME_BYTES: Final = 8
BINDING_BYTES: Final = 32
_CODE_BYTES: Final = 32
_BODY_BYTES: Final = TIME_BYTES + RANDOM_BYTES
_PURPOSE: Final = b"nonce of a sign-in\0"


class Given(Struct, frozen=True):
    """A nonce of ours that is not too old. `id` stands for it in the books."""

    id: str
    given_ms: int

    @property
    def ends_ms(self) -> int:
        """From when on it is refused by its age."""
        return self.given_ms + SIGN_IN_S * 1000


def _code(secret: bytes, body: bytes, binding: bytes) -> bytes:
    return hmac.new(hashlib.sha256(_PURPOSE + secret).digest(), body + binding, hashlib.sha256).digest()


def new_nonce(secret: bytes, binding: bytes, now_ms: int) -> str:
    """A fresh nonce for whoever can show the binding, fit for a URL."""
    body = now_ms.to_bytes(TIME_BYTES) + secrets.token_bytes(RANDOM_BYTES)
    return base64.urlsafe_b64encode(body + _code(secret, body, binding)).decode().rstrip("=")


def given(secret: bytes, binding: bytes, nonce: object, now_ms: int) -> Given | None:
    """A nonce that this ledger, or another on its books, gave for this binding lately; None for any other."""
    if not isinstance(nonce, str) or not nonce.isascii() or len(nonce) > 2 * (_BODY_BYTES + _CODE_BYTES):
        return None
    try:
        raw = base64.b64decode(nonce + "=" * (-len(nonce) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    body, code = raw[:_BODY_BYTES], raw[_BODY_BYTES:]
    if len(binding) != BINDING_BYTES or not hmac.compare_digest(code, _code(secret, body, binding)):
        return None
    found = Given(hashlib.sha256(body).hexdigest(), int.from_bytes(body[:TIME_BYTES]))
    return found if found.given_ms <= now_ms + 1000 and now_ms < found.ends_ms else None
