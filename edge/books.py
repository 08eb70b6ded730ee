"""Owns the edge's requests to the ledger: a deadline for each, and patience with a ledger that is restarted."""

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

import msgspec
from msgspec import Struct

from edge.faults import LEDGER_AWAY
from edge.limits import Limits
from runtime.bus.bus import Bus, BusDenied, BusError, PayloadTooLarge
from schemas.bus import subjects
from schemas.bus.subjects import LedgerVerb
from schemas.chat.priced import RequestError
from schemas.verbs import calls as books
from schemas.verbs.calls import (
    Authorise,
    AuthoriseReply,
    CatalogueQuery,
    CatalogueReply,
    Done,
    Estimate,
    GenerationQuery,
    GenerationReply,
    KeyQuery,
    KeyReply,
    Ping,
    Reattempt,
    Release,
    Renew,
)

RETRY_INTERVAL_S = 0.1
T = TypeVar("T")

_authorise = msgspec.msgpack.Decoder(AuthoriseReply).decode
_catalogue = msgspec.msgpack.Decoder(CatalogueReply).decode
_done = msgspec.msgpack.Decoder(Done).decode
_generation = msgspec.msgpack.Decoder(GenerationReply).decode
_key = msgspec.msgpack.Decoder(KeyReply).decode


class LedgerAwayError(RequestError):
    """No ledger answered in time; the caller gets a 503."""

    def __init__(self) -> None:
        super().__init__(LEDGER_AWAY)


class Books:
    """The ledger, as an edge sees it. Every method raises LedgerAwayError."""

    def __init__(self, bus: Bus, limits: Limits) -> None:
        self._bus = bus
        self._limits = limits

    async def key(self, digest: bytes) -> KeyReply:
        """Whether a key lives."""
        return await self._ask(LedgerVerb.KEY, KeyQuery(books.VERSION, digest), _key)

    async def catalogue(self) -> CatalogueReply:
        """All models with their prices."""
        return await self._ask(LedgerVerb.CATALOGUE, CatalogueQuery(), _catalogue)

    async def authorise(self, message: Authorise) -> AuthoriseReply:
        """A hold, or why not. Asked again, the answer is the same: so it is asked again while a ledger restarts."""
        return await self._ask(LedgerVerb.AUTHORISE, message, _authorise)

    async def reattempt(self, message: Reattempt) -> Done:
        """Makes another attempt the current one."""
        return await self._ask(LedgerVerb.REATTEMPT, message, _done)

    async def release(self, request_id: str, token: str) -> Done:
        """Ends a hold that no worker has or can have."""
        return await self._ask(LedgerVerb.RELEASE, Release(books.VERSION, request_id, token), _done)

    async def estimate(self, message: Estimate) -> Done:
        """Settles a call whose worker is dead."""
        return await self._ask(LedgerVerb.ESTIMATE, message, _done)

    async def renew(self, request_ids: tuple[str, ...]) -> Done:
        """Renews the leases of calls."""
        return await self._ask(LedgerVerb.RENEW, Renew(books.VERSION, request_ids), _done)

    async def generation(self, digest: bytes, request_id: str) -> GenerationReply:
        """The receipt of a call."""
        return await self._ask(
            LedgerVerb.GENERATION, GenerationQuery(books.VERSION, digest, request_id), _generation
        )

    async def ping(self, timeout_s: float) -> bool:
        """Whether a ledger answers now."""
        try:
            await self._bus.request(subjects.ledger(LedgerVerb.PING), books.encode(Ping()), timeout_s)
        except BusError:
            return False
        return True

    async def _ask(self, verb: LedgerVerb, message: Struct, decode: Callable[[bytes], T]) -> T:
        """Asks until there is an answer: every verb may be repeated without harm."""
        subject = subjects.ledger(verb)
        data = books.encode(message)
        deadline = time.monotonic() + self._limits.ledger_s
        while True:
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                raise LedgerAwayError
            try:
                return decode(await self._bus.request(subject, data, min(left_s, self._limits.ledger_try_s)))
            except (BusDenied, PayloadTooLarge):
                raise
            except BusError:
                await asyncio.sleep(min(RETRY_INTERVAL_S, max(left_s, 0)))
