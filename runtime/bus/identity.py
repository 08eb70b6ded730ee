"""Owns who a connection is: a key pair of its own, and the user that the password of its role signs for it.

A password never leaves the process. It gives the role's signing key, whose public half stands in the configuration of
nats-server with the role's permissions. Whoever has it makes users of that role, each with a key pair of its own and
the id that is its public half; to be another's, its private half would be needed.
"""

import base64
import binascii
import hashlib
import hmac
from typing import Any, Final

import msgspec

SEED_BYTES: Final = 32
# The first letter of a public key as NATS writes it: its five bits, moved up.
_LETTERS: Final = {"A": 0 << 3, "O": 14 << 3, "U": 20 << 3}
_encode = msgspec.json.Encoder(order="deterministic").encode


def _public(letter: str, raw: bytes) -> str:
    """A public key as NATS writes it: letter, key and checksum, in base 32."""
    data = bytes([_LETTERS[letter]]) + raw
    text = base64.b32encode(data + binascii.crc_hqx(data, 0).to_bytes(2, "little"))
    return text.rstrip(b"=").decode()


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


# The account that all roles are of. Nobody has its private half: it is the hash of a name, and nothing is signed by it.
ACCOUNT: Final = _public("A", hashlib.sha256(b"tokn: the account of the bus").digest())
# The account of a server's own affairs. Nobody has its private half either, so it has no user, and nobody can make one.
SYSTEM: Final = _public("A", hashlib.sha256(b"tokn: the system account of the bus").digest())


def seed_of(purpose: str, secret: str) -> bytes:
    """The seed of a key that a secret stands for."""
    return hmac.digest(secret.encode(), f"tokn bus {purpose}".encode(), "sha256")


class Key:
    """A key pair of NATS, of an account (A), an operator (O) or a user (U)."""

    def __init__(self, letter: str, seed: bytes) -> None:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import (  # noqa: PLC0415  8 MB that a bus without passwords never needs
            Ed25519PrivateKey,
        )

        self._private = Ed25519PrivateKey.from_private_bytes(seed)
        self.public: Final = _public(letter, self._private.public_key().public_bytes_raw())

    def sign(self, data: bytes) -> bytes:
        """The signature of some bytes."""
        return self._private.sign(data)

    def token(self, subject: str, name: str, claims: dict[str, Any]) -> str:
        """What this key says of a subject (a public key), signed: a JWT as NATS reads it, without an end."""
        body = {"iss": self.public, "sub": subject, "name": name, "iat": 0, "nats": claims | {"version": 2}}
        head = {"typ": "JWT", "alg": "ed25519-nkey"}
        signed = f"{_text(_encode(head))}.{_text(_encode(body))}"
        return f"{signed}.{_text(self.sign(signed.encode()))}"


def role_key(role: str, password: str) -> Key:
    """The key by which the users of a role are signed."""
    return Key("A", seed_of(f"role {role}", password))


class Identity:
    """One connection's: its id, which is a token of a subject, and how it proves to be that."""

    def __init__(self, role: str, password: str, seed: bytes) -> None:
        self._own = Key("U", seed)
        self.id: Final = self._own.public
        claims = {"type": "user", "issuer_account": ACCOUNT}
        self._token = role_key(role, password).token(self.id, role, claims)

    def token(self) -> bytes:
        """The user, as its role signed it."""
        return self._token.encode()

    def prove(self, nonce: str) -> bytes:
        """The signature of what a server has just made up."""
        return _text(self._own.sign(nonce.encode())).encode()
