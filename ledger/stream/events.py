"""Owns the way of events from the outbox into the stream EVENTS: published in their order, then marked.

A commit never waits for it. Which rows are published stands in the rows themselves, so one that a slow transaction adds
late, below others that are published, is found all the same. One ledger publishes at a time, for as long as its lease
lasts; what another publishes once more, after a kill or a freeze, has the same id, and JetStream drops it.
"""

import asyncio
import time
from collections.abc import Sequence
from typing import Any, Final

from ledger.commits.writer import Writer
from ledger.store.base import Row, StoreError, Transaction
from ledger.stream.hooks import Consumers
from ledger.stream.jetstream import make_stream, stream_config
from runtime.bounded import Warnings
from runtime.bus.bus import Bus, BusError
from runtime.bus.streams import StreamProblem
from runtime.log import get_logger
from schemas.bus import subjects
from schemas.bus.subjects import EVENTS_STREAM, new_id
from schemas.events import Event, encode_event

INTERVAL_S: Final = 1.0
ROWS_MAX: Final = 200  # of one round
ROUND_S: Final = 8.0  # no round publishes longer than that …
LEASE_MS: Final = 15_000  # … and whoever publishes has the turn for so long
PUBLISH_TIMEOUT_S: Final = 3.0
MAX_AGE_S: Final = 30 * 86_400
MAX_BYTES: Final = 256 * 1024 * 1024
DUPLICATE_WINDOW_S: Final = 7_200
VERSION: Final = 1
_WAITING_SQL = (
    "SELECT seq, id, type, organization, body, created_ms, endpoint, again FROM events "
    "WHERE NOT published ORDER BY seq LIMIT $1"
)
_CLAIM_SQL = (
    "INSERT INTO told (id, state, at_ms) VALUES ('publisher', $1, $2) ON CONFLICT (id) DO UPDATE "
    "SET state = excluded.state, at_ms = excluded.at_ms WHERE told.state = excluded.state OR told.at_ms < $3"
)
_logger = get_logger("ledger.events")
_away = Warnings(_logger, "events have to wait")


def events_stream(replicas: int) -> dict[str, Any]:
    """The stream EVENTS."""
    return stream_config(
        EVENTS_STREAM,
        [subjects.event(">"), subjects.hook("*")],
        replicas=replicas,
        age_s=MAX_AGE_S,
        size_bytes=MAX_BYTES,
        window_s=DUPLICATE_WINDOW_S,
        deny_purge=True,
    )


class Publishing:
    """The errand of one ledger."""

    def __init__(self, bus: Bus, writer: Writer, replicas: int = 1) -> None:
        self._bus = bus
        self._writer = writer
        self._store = writer.committer.store
        self._replicas = replicas
        self._holder = new_id()
        self._consumers = Consumers(bus, self._store)
        self._made = -1  # reconnections of the bus when the stream was last made

    async def run(self, interval_s: float = INTERVAL_S) -> None:
        """Publishes until cancelled."""
        while True:
            try:
                while await self.step() == ROWS_MAX:
                    pass
            except (BusError, StreamProblem, StoreError) as error:
                self._made = -1
                _away.say("", error=str(error))
            except Exception:
                _logger.exception("events could not be published")
            await asyncio.sleep(interval_s)

    async def step(self) -> int:
        """One round. Returns how many events it has published. Raises BusError, StreamProblem, StoreError."""
        if self._made != self._bus.reconnects:
            reconnects = self._bus.reconnects
            await make_stream(self._bus, events_stream(self._replicas))
            self._made = reconnects
            self._consumers.forget()
        await self._consumers.keep()
        rows = await self._store.fetch(_WAITING_SQL, ROWS_MAX)
        if not rows or not await self._writer.between(self._claim):
            return 0
        published: list[int] = []
        try:
            await self._publish(rows, published)
        except BusError:
            await self._marked(published)
            raise
        # At a stop nothing is marked, since the writer stops as well: it is published again under the same id.
        await self._marked(published)
        return len(published)

    async def _marked(self, published: Sequence[int]) -> None:
        if published:
            await self._writer.between(lambda: self._mark(published))

    async def _claim(self) -> bool:
        async with self._store.write() as tx:
            await tx.execute(_CLAIM_SQL, self._holder, tx.now_ms + LEASE_MS, tx.now_ms)
            return await _holder(tx) == self._holder

    async def _publish(self, rows: Sequence[Row], published: list[int]) -> None:
        until = time.monotonic() + ROUND_S
        for seq, id_, type_, organization, body, created_ms, endpoint, again in rows:
            if time.monotonic() > until:
                return
            subject = subjects.hook(endpoint) if endpoint else subjects.event(type_)
            name = f"{id_}:{seq}" if again else id_
            data = encode_event(Event(VERSION, id_, type_, organization, body.encode(), created_ms))
            await self._bus.js_publish(subject, data, name, PUBLISH_TIMEOUT_S)
            published.append(seq)

    async def _mark(self, published: Sequence[int]) -> None:
        async with self._store.write() as tx:
            for seq in published:
                await tx.execute("UPDATE events SET published = true WHERE seq = $1", seq)


async def _holder(tx: Transaction) -> str:
    ((state,),) = await tx.fetch("SELECT state FROM told WHERE id = 'publisher'")
    return str(state)
