"""Owns a ledger's own copy of the keys that a provider signs with: read from the provider itself, never from a console."""

import time
from typing import Any, Final

import msgspec
from joserfc.errors import JoseError
from joserfc.jwk import JWKRegistry, Key

from runtime.fetch import Tls, system_tls
from runtime.openid import KEPT_S, Kept, ProviderError, asked, discovered

KEYS_BYTES_MAX: Final = 256 * 1024
KEYS_MAX: Final = 32
RSA_CHARS: Final = range(342, 1_366 + 1)  # of a modulus in base64: 2,048 to 8,192 bits
UNKNOWN_S: Final = 30.0  # so often keys are read again for the sake of one that is not among them
_KINDS: Final = {"RSA", "EC"}  # a key that is shared with a client signs nothing here
_PUBLIC: Final = frozenset(("kty", "kid", "alg", "use", "n", "e", "crv", "x", "y"))
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class Keys:
    """The keys of one provider."""

    def __init__(self, issuer: str, tls: Tls = system_tls) -> None:
        self._issuer = issuer
        self._tls = tls
        self._kept = Kept(self._read)
        self._missed: float | None = None  # when one was not among them

    async def find(self, kid: object) -> list[Key]:
        """The keys that may have made a signature: those of the id that it names. Raises ProviderError.

        One that is not there may be new: then they are read again, and no more often than each UNKNOWN_S.
        """
        found, now = _of(await self._kept.get(KEPT_S), kid), time.monotonic()
        if found or (self._missed is not None and now - self._missed < UNKNOWN_S):
            return found
        self._missed = now
        return _of(await self._kept.get(0.0), kid)

    async def _read(self) -> list[tuple[str | None, Key]]:
        metadata = await discovered(self._issuer, self._tls)
        body = await asked(metadata.jwks_uri, "list of keys", KEYS_BYTES_MAX, self._tls)
        try:
            listed = _decode(body).get("keys")
        except (msgspec.MsgspecError, UnicodeDecodeError):
            listed = None
        if not isinstance(listed, list):
            raise ProviderError("the provider's list of keys cannot be read")
        found = [one for told in listed[:KEYS_MAX] if (one := _key(told)) is not None]
        if not found:
            raise ProviderError("the provider has no key that signs ID tokens")
        return found


def _of(keys: list[tuple[str | None, Key]], kid: object) -> list[Key]:
    """Those of an id; a token without one can be of any that has none, or of the only key."""
    if kid is None:
        return [key for _, key in keys] if len(keys) == 1 else [key for own, key in keys if own is None]
    return [key for own, key in keys if own == kid]


def _key(told: Any) -> tuple[str | None, Key] | None:
    """A key that a list tells of, with its id; None for what verifies no signature of an ID token."""
    if not isinstance(told, dict) or told.get("kty") not in _KINDS or told.get("use", "sig") != "sig":
        return None
    try:
        if told["kty"] == "RSA" and len(told["n"]) not in RSA_CHARS:
            return None
        key = JWKRegistry.import_key({name: value for name, value in told.items() if name in _PUBLIC})
    except (JoseError, ValueError, TypeError, KeyError):
        return None
    kid = told.get("kid")
    return (kid if isinstance(kid, str) else None), key
