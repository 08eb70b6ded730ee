"""Owns the verbs: what comes in on `ledger.<verb>`, who does it, and its reply."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from ledger.commits.writer import Writer
from ledger.store.base import StoreError
from ledger.stream.consumer import Consumer
from ledger.telemetry import Telemetry
from ledger.verbs import reads
from ledger.verbs.audit import audit
from ledger.verbs.pools import Pools
from runtime.bus.bus import Bus, BusError, Message
from runtime.log import get_logger
from schemas.bus.subjects import LEDGER_QUEUE, LedgerVerb
from schemas.verbs import calls as books
from schemas.verbs.calls import CatalogueReply, Done, GenerationReply, InventoryReply, Rows

READS_GRACE_S = 3.0  # at a stop
READS_MAX = 256  # that run at once; beyond it they are turned away
_SUBJECT = "ledger."
_logger = get_logger("ledger.requests")

_FORMS: dict[LedgerVerb, type] = {
    LedgerVerb.PING: books.Ping,
    LedgerVerb.KEY: books.KeyQuery,
    LedgerVerb.CATALOGUE: books.CatalogueQuery,
    LedgerVerb.AUTHORISE: books.Authorise,
    LedgerVerb.REATTEMPT: books.Reattempt,
    LedgerVerb.RENEW: books.Renew,
    LedgerVerb.RELEASE: books.Release,
    LedgerVerb.ESTIMATE: books.Estimate,
    LedgerVerb.GENERATION: books.GenerationQuery,
    LedgerVerb.INVENTORY: books.Inventory,
    LedgerVerb.KEY_CREATE: books.KeyCreate,
    LedgerVerb.KEY_LIST: books.KeyList,
    LedgerVerb.KEY_SHOW: books.KeyRef,
    LedgerVerb.KEY_REVOKE: books.KeyRef,
    LedgerVerb.CREDIT: books.Credit,
    LedgerVerb.BALANCE: books.KeyRef,
    LedgerVerb.USAGE: books.UsageQuery,
    LedgerVerb.POOLS: books.PoolsQuery,
    LedgerVerb.AUDIT: books.AuditQuery,
}
_WRITES = {
    LedgerVerb.AUTHORISE,
    LedgerVerb.REATTEMPT,
    LedgerVerb.RELEASE,
    LedgerVerb.ESTIMATE,
    LedgerVerb.KEY_CREATE,
    LedgerVerb.KEY_REVOKE,
    LedgerVerb.CREDIT,
}
_DECODERS: dict[str, tuple[LedgerVerb, Callable[[bytes], Any]]] = {
    _SUBJECT + verb.value: (verb, msgspec.msgpack.Decoder(form).decode) for verb, form in _FORMS.items()
}


class Requests:
    """Answers requests: writes go to the writer, reads run beside it."""

    def __init__(
        self, bus: Bus, writer: Writer, consumer: Consumer, pools: Pools, telemetry: Telemetry
    ) -> None:
        self._bus = bus
        self._writer = writer
        self._store = writer.committer.store
        self._consumer = consumer
        self._pools = pools
        self._telemetry = telemetry
        self._reads: set[asyncio.Task[None]] = set()
        self._catalogue = books.encode(CatalogueReply(tuple(writer.committer.catalogue.models.values())))
        self._auditing = asyncio.Lock()
        self._readers: dict[LedgerVerb, Callable[[Any], Awaitable[Any]]] = {
            LedgerVerb.PING: self._ping,
            LedgerVerb.KEY: lambda request: reads.key(self._store, self._digest(request)),
            LedgerVerb.GENERATION: self._generation,
            LedgerVerb.INVENTORY: self._inventory,
            LedgerVerb.KEY_LIST: lambda request: reads.key_list(self._store, request),
            LedgerVerb.KEY_SHOW: lambda request: reads.key_show(self._store, request.key_id),
            LedgerVerb.BALANCE: lambda request: reads.balance(self._store, request.key_id),
            LedgerVerb.USAGE: lambda request: reads.usage(self._store, request),
            LedgerVerb.POOLS: self._show_pools,
            LedgerVerb.AUDIT: self._audit,
        }

    async def listen(self) -> Callable[[], Awaitable[None]]:
        """Starts to answer; returns what stops it: no more come then, and those on their way are still taken."""
        subscription = await self._bus.subscribe(f"{_SUBJECT}*", self.on_message, LEDGER_QUEUE)

        async def stop() -> None:
            await subscription.leave()
            if self._reads:
                await asyncio.wait(self._reads, timeout=READS_GRACE_S)

        return stop

    def on_message(self, message: Message) -> None:
        """Takes one request. What cannot be read gets no answer: its sender speaks another version."""
        if not message.reply.startswith("_INBOX."):
            return
        try:
            verb, decode = _DECODERS[message.subject]
            request = decode(message.data)
        except (KeyError, msgspec.MsgspecError, UnicodeDecodeError) as error:
            _logger.warning("a request cannot be read", subject=message.subject, error=str(error)[:200])
            return
        reply = message.reply
        if verb in _WRITES:
            self._writer.submit(request, lambda answer: self._reply(reply, answer))
        elif verb is LedgerVerb.RENEW:
            self._writer.renew(request, lambda answer: self._reply(reply, answer))
        elif verb is LedgerVerb.CATALOGUE:
            self._send(reply, self._catalogue)
        elif len(self._reads) >= READS_MAX:
            self._telemetry.turned_away.inc()
        else:
            task = asyncio.ensure_future(self._read(verb, request, reply))
            self._reads.add(task)
            task.add_done_callback(self._reads.discard)

    async def _read(self, verb: LedgerVerb, request: Any, reply: str) -> None:
        try:
            self._reply(reply, await self._readers[verb](request))
        except StoreError as error:
            _logger.warning("the database does not answer", verb=verb.value, error=str(error))
        except Exception:
            _logger.exception("a request failed", verb=verb.value)

    def _reply(self, reply: str, answer: Any) -> None:
        self._send(reply, books.encode(answer))

    def _send(self, reply: str, data: bytes) -> None:
        try:
            self._bus.publish(reply, data)
        except BusError as error:
            # Asking again is safe for every verb.
            _logger.info("a reply was lost", error=str(error))

    def _digest(self, request: books.KeyQuery | books.GenerationQuery) -> str:
        return self._writer.committer.digest(request.digest)

    async def _ping(self, _request: books.Ping) -> Done:
        await self._store.fetch("SELECT 1")
        return Done()

    async def _generation(self, request: books.GenerationQuery) -> GenerationReply:
        key = await reads.key(self._store, self._digest(request))
        if not key.active:
            return GenerationReply(active=False, receipt=None)
        return GenerationReply(
            active=True, receipt=await reads.receipt(self._store, key.key_id, request.request_id)
        )

    async def _inventory(self, request: books.Inventory) -> InventoryReply:
        return InventoryReply(await reads.inventory(self._store, request.pool))

    async def _show_pools(self, _request: books.PoolsQuery) -> Rows:
        return Rows(tuple(await self._pools.rows(self._store)))

    async def _audit(self, _request: books.AuditQuery) -> Rows:
        acknowledged = self._consumer.acknowledged
        async with self._auditing, self._store.snapshot() as snapshot:
            return Rows((await audit(snapshot, acknowledged),))
