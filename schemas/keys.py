"""Owns what a key looks like: `tokn_`, 32 random base62 characters, and 6 that check them."""

import hashlib
import re
import secrets
import string
import zlib

PREFIX = "tokn_"
RANDOM_CHARACTERS = 32  # 190 bits
CHECKSUM_CHARACTERS = 6  # 62**6 is more than a CRC-32 can be
_ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
_REST = re.compile(rf"([0-9A-Za-z]{{{RANDOM_CHARACTERS}}})([0-9A-Za-z]{{{CHECKSUM_CHARACTERS}}})")


def _checksum(body: str) -> str:
    rest = zlib.crc32(body.encode())
    digits = []
    for _ in range(CHECKSUM_CHARACTERS):
        rest, digit = divmod(rest, len(_ALPHABET))
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))


def generate(prefix: str = PREFIX) -> str:
    """A fresh key, of callers or of another kind."""
    body = "".join(secrets.choice(_ALPHABET) for _ in range(RANDOM_CHARACTERS))
    return prefix + body + _checksum(body)


def is_well_formed(key: str, prefix: str = PREFIX) -> bool:
    """Whether a text can be a key: anything else is refused without asking a ledger."""
    form = _REST.fullmatch(key, len(prefix)) if key.startswith(prefix) else None
    return form is not None and _checksum(form[1]) == form[2]


def digest(key: str) -> bytes:
    """SHA-256 of the whole key, 32 bytes: what leaves the edge or the command in its stead."""
    return hashlib.sha256(key.encode()).digest()
