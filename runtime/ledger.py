"""Owns asking a ledger: one client for every service and command, with as much patience as its asker has."""

import asyncio
import time

import msgspec
from msgspec import Struct

from runtime.bus.bus import Bus, BusDenied, BusError, NoResponders, PayloadTooLarge
from schemas.verbs.base import Form, Reply, Verb, encode
from schemas.verbs.ping import PING, Ping


class LedgerAwayError(BusError):
    """No ledger answered in time. Its cause is what the bus said last; `reached` says that one may have had the request."""

    def __init__(self, why: str, *, reached: bool = True) -> None:
        super().__init__(why)
        self.reached = reached


class Patience(Struct, frozen=True, kw_only=True):
    """How long an asker waits for an answer, all tries together, and each of them.

    A try that fails is followed by another after `pause_s`: a ledger may be restarting. None: there is one try.
    """

    total_s: float
    try_s: float
    pause_s: float | None = None


def once(timeout_s: float) -> Patience:
    """The patience for one try."""
    return Patience(total_s=timeout_s, try_s=timeout_s)


class LedgerClient:
    """The ledger, as those see it who ask. Every verb may be asked again without harm."""

    def __init__(self, bus: Bus, patience: Patience) -> None:
        self._bus = bus
        self._patience = patience

    async def ask(self, verb: Verb[Form, Reply], request: Form, *, patience: Patience | None = None) -> Reply:
        """A verb's answer. Raises LedgerAwayError, and BusDenied and PayloadTooLarge, which no patience mends."""
        waits = patience or self._patience
        data = encode(request)
        deadline = time.monotonic() + waits.total_s
        left_s = waits.total_s
        reached = False
        while True:
            try:
                reply = await self._bus.request(verb.subject, data, min(left_s, waits.try_s))
            except (BusDenied, PayloadTooLarge):
                raise
            except BusError as error:
                reached = reached or not isinstance(error, NoResponders)
                if waits.pause_s is None:
                    raise LedgerAwayError(str(error), reached=reached) from error
                await asyncio.sleep(min(waits.pause_s, left_s))
                left_s = deadline - time.monotonic()
                if left_s <= 0:
                    raise LedgerAwayError(str(error), reached=reached) from error
            else:
                return verb.reply_decoder.decode(reply)

    async def answers(self, timeout_s: float) -> bool:
        """Whether a ledger answers now."""
        try:
            await self.ask(PING, Ping(), patience=once(timeout_s))
        except BusError:
            return False
        except msgspec.MsgspecError:
            return True  # of another version, perhaps, but there
        return True
