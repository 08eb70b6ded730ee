"""Owns the consumers of the stream EVENTS: one for each webhook endpoint that is enabled, which dispatchers share.

A ledger makes them, since whoever may make a consumer can have the server publish to any subject.
"""

import time
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from msgspec import Struct

from ledger.rules.event_rows import Endpoint
from ledger.rules.rows import row_of
from ledger.rules.webhooks import types_of, wants_all
from ledger.store.base import Store
from ledger.store.statements import ENDPOINTS, columns
from runtime.bus.bus import Bus
from runtime.bus.streams import NANO, NO_CONSUMER, StreamProblem, ask
from runtime.log import get_logger
from schemas.bus import subjects
from schemas.bus.subjects import EVENTS_STREAM, HOOK_CONSUMER, hook_consumer

ACK_WAIT_S: Final = 60.0  # of a dispatcher that was killed: then another one gets its messages
PENDING_MAX: Final = 50_000  # messages of one endpoint that wait for another attempt
AGAIN_S: Final = 60.0  # they are looked over so often, changed or not
CLOCKS_MS: Final = 300_000  # by which nats-server's clock may be behind the database's
PAGES_MAX: Final = 1_000
_VERSION_SQL = "SELECT COALESCE(SUM(version), 0) FROM webhook_endpoints"
_ENABLED_SQL = f"SELECT {columns(ENDPOINTS)} FROM webhook_endpoints WHERE status = 'enabled'"  # noqa: S608  made of our own column names
_logger = get_logger("ledger.hooks")


class _Names(Struct):
    consumers: list[str] | None = None
    total: int = 0


_decode_names = msgspec.json.Decoder(_Names).decode


class Consumers:
    """Keeps the consumers as the endpoints are."""

    def __init__(self, bus: Bus, store: Store) -> None:
        self._bus = bus
        self._store = store
        self._version = -1
        self._looked = 0.0
        self._made: dict[str, dict[str, Any]] = {}

    def forget(self) -> None:
        """Has all of them looked over again: the stream may be another one."""
        self._version = -1
        self._made.clear()

    async def keep(self) -> None:
        """Makes those that lack, changes those that differ, deletes the rest. Raises StreamProblem, BusError, StoreError."""
        ((version,),) = await self._store.fetch(_VERSION_SQL)
        now = time.monotonic()
        if int(version) == self._version and now - self._looked < AGAIN_S:
            return
        # The names first: whoever has made one knew of an endpoint that the books have by now.
        known = await self._names()
        wanted = {one.id: _config(one) for one in await self._enabled()}
        for name in sorted(known - {hook_consumer(id_) for id_ in wanted}):
            await self._delete(name)
        for id_, config in wanted.items():
            if self._made.get(id_) != config or hook_consumer(id_) not in known:
                await self._make(config)
                self._made[id_] = config
        self._made = {id_: self._made[id_] for id_ in wanted}
        self._version, self._looked = int(version), now

    async def _enabled(self) -> list[Endpoint]:
        return [row_of(Endpoint, row) for row in await self._store.fetch(_ENABLED_SQL)]

    async def _names(self) -> set[str]:
        names: set[str] = set()
        seen = 0
        for _ in range(PAGES_MAX):
            page = _decode_names(await ask(self._bus, f"CONSUMER.NAMES.{EVENTS_STREAM}", {"offset": seen}))
            found = page.consumers or []
            names.update(found)
            seen += len(found)
            if not found or seen >= page.total:
                break
        return {name for name in names if name.startswith(HOOK_CONSUMER)}

    async def _make(self, config: dict[str, Any]) -> None:
        name = config["durable_name"]
        body = {"stream_name": EVENTS_STREAM, "config": config}
        api = f"CONSUMER.DURABLE.CREATE.{EVENTS_STREAM}.{name}"
        try:
            await ask(self._bus, api, body)
        except StreamProblem as problem:
            # It was disabled, and is enabled again before anybody has looked: it begins anew.
            _logger.info("a consumer of events is made anew", consumer=name, error=str(problem))
            await self._delete(name)
            await ask(self._bus, api, body)

    async def _delete(self, name: str) -> None:
        try:
            await ask(self._bus, f"CONSUMER.DELETE.{EVENTS_STREAM}.{name}")
        except StreamProblem as problem:
            if problem.code != NO_CONSUMER:
                raise


def _config(endpoint: Endpoint) -> dict[str, Any]:
    begin = datetime.fromtimestamp((endpoint.since_ms - CLOCKS_MS) / 1000, UTC)
    types = (">",) if wants_all(endpoint) else types_of(endpoint)
    return {
        "durable_name": hook_consumer(endpoint.id),
        "filter_subjects": [*map(subjects.event, types), subjects.hook(endpoint.id)],
        "deliver_policy": "by_start_time",
        "opt_start_time": begin.isoformat().replace("+00:00", "Z"),
        "ack_policy": "explicit",
        "ack_wait": int(ACK_WAIT_S * NANO),
        "max_deliver": -1,
        "max_ack_pending": PENDING_MAX,
        "replay_policy": "instant",
    }
