"""Owns how a key's holder asks about it: so often a second, with answers that are kept for one."""

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

import msgspec
from msgspec import Struct

from runtime.ledger import LedgerClient
from schemas.chat.priced import RequestError
from schemas.errors import bad_key, expired_key, invalid, saturated
from schemas.verbs.base import VERSION
from schemas.verbs.self import SELF, Ask, SelfQuery, SelfReply

PER_S: Final = 5.0
BURST: Final = 20.0
KEYS_MAX: Final = 10_000  # whose questions are counted
KEPT_MAX: Final = 64  # answers: a page of calls has some 400 KiB
KEPT_S: Final = 1.0

_encode = msgspec.msgpack.Encoder().encode


class _Budget(Struct):
    left: float
    seen: float


class OwnReads:
    """Asks a ledger for what keys may read about themselves. Raises RequestError 400, 401, 429."""

    def __init__(self, ledger: LedgerClient, clock: Callable[[], float] = time.monotonic) -> None:
        self._ledger = ledger
        self._clock = clock
        self._budgets: OrderedDict[bytes, _Budget] = OrderedDict()
        self._kept: OrderedDict[bytes, tuple[float, SelfReply]] = OrderedDict()

    async def ask(self, digest: bytes, ask: Ask, param: str = "") -> SelfReply:
        """One answer. `param` is what a problem is about."""
        now = self._clock()
        self._take(digest, now)
        self._forget(now)
        name = _encode((digest, ask))
        kept = self._kept.get(name)
        if kept is not None:
            reply = kept[1]
        else:
            reply = await self._ledger.ask(SELF, SelfQuery(VERSION, digest, ask))
            self._kept[name] = self._clock(), reply
            self._kept.move_to_end(name)
            if len(self._kept) > KEPT_MAX:
                self._kept.popitem(last=False)
        if not reply.active:
            raise RequestError(expired_key(reply.expired_ms) if reply.expired_ms else bad_key())
        if reply.problem:
            raise RequestError(invalid(f"{reply.problem}.", param=param, code="invalid_value"))
        return reply

    def _forget(self, now: float) -> None:
        """Drops the answers that are too old; they stand in the order of their coming."""
        while self._kept and now - next(iter(self._kept.values()))[0] >= KEPT_S:
            self._kept.popitem(last=False)

    def _take(self, digest: bytes, now: float) -> None:
        budget = self._budgets.get(digest)
        if budget is None:
            budget = self._budgets[digest] = _Budget(BURST, now)
            if len(self._budgets) > KEYS_MAX:
                self._budgets.popitem(last=False)
        self._budgets.move_to_end(digest)
        budget.left = min(budget.left + (now - budget.seen) * PER_S, BURST)
        budget.seen = now
        if budget.left < 1:
            message = f"A key may ask {PER_S:.0f} such questions a second. Retry with backoff."
            raise RequestError(saturated(message, retry_after_s=(1 - budget.left) / PER_S))
        budget.left -= 1
