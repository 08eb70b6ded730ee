"""Owns how a body is sealed on its way to one process: to a key that its reader made for it, by one of its writer's."""

import hmac
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_NONCE_BYTES: Final = 12


def _cipher(shared: bytes, reader: bytes, writer: bytes) -> "AESGCM":
    from cryptography.hazmat.primitives.ciphers.aead import (  # noqa: PLC0415  loaded by the first large body
        AESGCM,
    )

    return AESGCM(hmac.digest(shared, b"tokn body" + reader + writer, "sha256"))


def _nonce(index: int) -> bytes:
    # Never twice for one key: a writer's is for one body, and says each piece of it as often as it likes.
    return index.to_bytes(_NONCE_BYTES, "big")


class _End:
    """One end of it: a key pair of its own."""

    def __init__(self) -> None:
        from cryptography.hazmat.primitives.asymmetric.x25519 import (  # noqa: PLC0415  as above
            X25519PrivateKey,
        )

        self._private = X25519PrivateKey.generate()
        self.public: Final = self._private.public_key().public_bytes_raw()

    def _shared(self, other: bytes) -> bytes:
        from cryptography.hazmat.primitives.asymmetric.x25519 import (  # noqa: PLC0415  as above
            X25519PublicKey,
        )

        return self._private.exchange(X25519PublicKey.from_public_bytes(other))


class Writer(_End):
    """Seals the pieces of one body to its reader's public key. Raises ValueError for what is no such key."""

    def __init__(self, reader: bytes) -> None:
        super().__init__()
        self._sealing = _cipher(self._shared(reader), reader, self.public)

    def seal(self, name: str, index: int, data: bytes) -> bytes:
        """Piece `index` of the body of a name, from 0: 16 bytes longer."""
        return self._sealing.encrypt(_nonce(index), data, name.encode())


class Reader(_End):
    """Opens the pieces of one body, whoever has sealed them to `public`."""

    def __init__(self) -> None:
        super().__init__()
        self._writer = b""
        self._opening: AESGCM | None = None

    def open(self, writer: bytes, name: str, index: int, data: bytes) -> bytes | None:
        """The piece; None for what was not sealed so, or for another body or place."""
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415  as above

        try:
            if self._opening is None or writer != self._writer:
                self._opening, self._writer = _cipher(self._shared(writer), self.public, writer), writer
            return self._opening.decrypt(_nonce(index), data, name.encode())
        except (InvalidTag, ValueError, OverflowError):
            return None
