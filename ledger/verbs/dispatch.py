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
from schemas.bus.subjects import LEDGER_QUEUE, LEDGERS
from schemas.verbs import VERBS
from schemas.verbs.audit import AUDIT, AuditQuery
from schemas.verbs.base import Done, Rows, Verb, encode
from schemas.verbs.calls import AUTHORISE, ESTIMATE, REATTEMPT, RELEASE, RENEW
from schemas.verbs.catalogue import CATALOGUE, CatalogueReply
from schemas.verbs.keys import BALANCE, CREDIT, KEY, KEY_CREATE, KEY_LIST, KEY_REVOKE, KEY_SHOW, KeyQuery
from schemas.verbs.ping import PING, Ping
from schemas.verbs.pools import INVENTORY, POOLS, Inventory, InventoryReply, PoolsQuery
from schemas.verbs.usage import GENERATION, USAGE, GenerationQuery, GenerationReply

READS_GRACE_S = 3.0  # at a stop
READS_MAX = 256  # that run at once; beyond it they are turned away
_logger = get_logger("ledger.requests")

_WRITES = {
    AUTHORISE,
    REATTEMPT,
    RELEASE,
    ESTIMATE,
    KEY_CREATE,
    KEY_REVOKE,
    CREDIT,
}
_DECODERS: dict[str, tuple[Verb[Any, Any], Callable[[bytes], Any]]] = {
    verb.subject: (verb, verb.form_decoder.decode) for verb in VERBS
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
        self._catalogue = encode(CatalogueReply(tuple(writer.committer.catalogue.models.values())))
        self._auditing = asyncio.Lock()
        self._readers: dict[Verb[Any, Any], Callable[[Any], Awaitable[Any]]] = {
            PING: self._ping,
            KEY: lambda request: reads.key(self._store, self._digest(request)),
            GENERATION: self._generation,
            INVENTORY: self._inventory,
            KEY_LIST: lambda request: reads.key_list(self._store, request),
            KEY_SHOW: lambda request: reads.key_show(self._store, request.key_id),
            BALANCE: lambda request: reads.balance(self._store, request.key_id),
            USAGE: lambda request: reads.usage(self._store, request),
            POOLS: self._show_pools,
            AUDIT: self._audit,
        }

    async def listen(self) -> Callable[[], Awaitable[None]]:
        """Starts to answer; returns what stops it: no more come then, and those on their way are still taken."""
        subscription = await self._bus.subscribe(LEDGERS, self.on_message, LEDGER_QUEUE)

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
        elif verb is RENEW:
            self._writer.renew(request, lambda answer: self._reply(reply, answer))
        elif verb is CATALOGUE:
            self._send(reply, self._catalogue)
        elif len(self._reads) >= READS_MAX:
            self._telemetry.turned_away.inc()
        else:
            task = asyncio.ensure_future(self._read(verb, request, reply))
            self._reads.add(task)
            task.add_done_callback(self._reads.discard)

    async def _read(self, verb: Verb[Any, Any], request: Any, reply: str) -> None:
        try:
            self._reply(reply, await self._readers[verb](request))
        except StoreError as error:
            _logger.warning("the database does not answer", verb=verb.name, error=str(error))
        except Exception:
            _logger.exception("a request failed", verb=verb.name)

    def _reply(self, reply: str, answer: Any) -> None:
        self._send(reply, encode(answer))

    def _send(self, reply: str, data: bytes) -> None:
        try:
            self._bus.publish(reply, data)
        except BusError as error:
            # Asking again is safe for every verb.
            _logger.info("a reply was lost", error=str(error))

    def _digest(self, request: KeyQuery | GenerationQuery) -> str:
        return self._writer.committer.digest(request.digest)

    async def _ping(self, _request: Ping) -> Done:
        await self._store.fetch("SELECT 1")
        return Done()

    async def _generation(self, request: GenerationQuery) -> GenerationReply:
        key = await reads.key(self._store, self._digest(request))
        if not key.active:
            return GenerationReply(active=False, receipt=None)
        return GenerationReply(
            active=True, receipt=await reads.receipt(self._store, key.key_id, request.request_id)
        )

    async def _inventory(self, request: Inventory) -> InventoryReply:
        return InventoryReply(await reads.inventory(self._store, request.pool))

    async def _show_pools(self, _request: PoolsQuery) -> Rows:
        return Rows(tuple(await self._pools.rows(self._store)))

    async def _audit(self, _request: AuditQuery) -> Rows:
        acknowledged = self._consumer.acknowledged
        async with self._auditing, self._store.snapshot() as snapshot:
            return Rows((await audit(snapshot, acknowledged),))
