"""Owns what the head of a request says before any of its body is read: who may send one, and what proxies call it."""

import re

from schemas import keys
from schemas.errors import WireError, bad_key, missing_key

AUTHORIZATION = b"authorization"
API_KEY = b"x-api-key"  # where Anthropic's clients put it
KEY_NAMES = frozenset((AUTHORIZATION, API_KEY))
_KEY_BYTES_MAX = 256
_BEARER = b"bearer "
_NAME = re.compile(rb"[\x21-\x7e]{1,128}")
_TRACE = re.compile(rb"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
# What a proxy or a caller may name a request by, its form, and the name under which the edge keeps it.
TRACES = {
    b"x-request-id": (_NAME, "client_request_id"),
    b"traceparent": (_TRACE, "traceparent"),
}


def key_in(name: bytes, value: bytes) -> str | WireError:
    """The key in a header's value, bare but in `authorization`; what its sender is told if there is none of its form."""
    if name == AUTHORIZATION:
        if value[:7].lower() != _BEARER:
            return bad_key() if value.strip() not in (b"", b"Bearer", b"bearer") else missing_key()
        value = value[7:]
    key = value.strip()
    if not key:
        return missing_key()
    if len(key) > _KEY_BYTES_MAX or not key.isascii() or not keys.is_well_formed(text := key.decode()):
        return bad_key()
    return text


def trace(name: bytes, value: bytes) -> tuple[str, str] | None:
    """What a header of `TRACES` names the request, under the name that is kept; None if it is not of its form."""
    form, kept = TRACES[name]
    return (kept, value.decode()) if form.fullmatch(value) else None
