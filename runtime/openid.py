"""Owns what an OpenID provider says of itself: its discovery document, asked for with bounds and kept for a while.

A console and a ledger read it each for itself: what one of them was told is no word for the other.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final, Generic, TypeVar

import msgspec
from msgspec import Struct

from runtime.fetch import FetchError, Tls, fetch, system_tls
from runtime.settings.oidc import is_secure

DOCUMENT: Final = "/.well-known/openid-configuration"
DOCUMENT_BYTES_MAX: Final = 128 * 1024
TIMEOUT_S: Final = 4.0
KEPT_S: Final = 3_600.0
AGAIN_S: Final = 5.0  # after a failure, until a provider is asked once more
_T = TypeVar("_T")


class ProviderError(Exception):
    """A provider cannot be asked, or says what cannot be: a sentence for people, without anything secret."""


class Metadata(Struct, frozen=True):
    """The parts of a discovery document that sign-in needs. What else it has is passed over."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    token_endpoint_auth_methods_supported: tuple[str, ...] = ("client_secret_basic",)
    authorization_response_iss_parameter_supported: bool = False


_decode = msgspec.json.Decoder(Metadata).decode


class Kept(Generic[_T]):
    """Something that is asked for over the network, kept for a while. Whoever comes meanwhile waits for the same answer."""

    def __init__(self, ask: Callable[[], Awaitable[_T]]) -> None:
        self._ask = ask
        self._turn = asyncio.Lock()
        self._known: tuple[_T, float] | None = None
        self._failed: tuple[str, float] | None = None

    async def get(self, younger_s: float = KEPT_S) -> _T:
        """What is known, if it was asked for within so many seconds; else what is answered now. Raises ProviderError."""
        async with self._turn:
            now = time.monotonic()
            if self._known is not None and now - self._known[1] < younger_s:
                return self._known[0]
            if self._failed is not None and now - self._failed[1] < AGAIN_S:
                raise ProviderError(self._failed[0])
            try:
                answer = await self._ask()
            except ProviderError as error:
                self._failed = (str(error), time.monotonic())
                raise
            self._known, self._failed = (answer, time.monotonic()), None
            return answer


async def discovered(issuer: str, tls: Tls = system_tls) -> Metadata:
    """What a provider says of itself. Raises ProviderError."""
    body = await asked(f"{issuer.rstrip('/')}{DOCUMENT}", "discovery document", DOCUMENT_BYTES_MAX, tls)
    try:
        found = _decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise ProviderError("the provider's discovery document cannot be read") from None
    if found.issuer != issuer:
        raise ProviderError("the provider calls itself by another name than [console.oidc] issuer")
    addresses = (found.authorization_endpoint, found.token_endpoint, found.jwks_uri)
    if not all(map(is_secure, addresses)):
        raise ProviderError("the provider's discovery document has an address that is not https")
    return found


async def asked(url: str, what: str, bytes_max: int, tls: Tls = system_tls) -> bytes:
    """The body of a document of a provider. Raises ProviderError."""
    try:
        answer = await fetch(url, bytes_max=bytes_max, timeout_s=TIMEOUT_S, tls=tls)
    except FetchError as error:
        raise ProviderError(f"the provider's {what} cannot be read: {error}") from None
    if answer.status != 200:
        raise ProviderError(f"the provider's {what} cannot be read: it answers {answer.status}")
    return answer.body
