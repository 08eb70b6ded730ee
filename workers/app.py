"""Owns the life of a worker process: its connections, its pools, and a stop that loses nothing."""

import asyncio
import contextlib
from collections import Counter
from datetime import UTC, datetime

from runtime.bus.bus import Bus
from runtime.ledger import LedgerClient
from runtime.log import get_logger
from runtime.metrics import REGISTRY, watch_bus
from runtime.reload import Live
from runtime.service import end_process
from runtime.settings.settings import AccountSettings, PoolSettings, Settings, SettingsError
from runtime.settings.sold import sold_by
from runtime.tasks import Vital
from schemas.bus import subjects
from schemas.bus.subjects import Role
from workers import upkeep
from workers.calls.accounts import Accounts
from workers.calls.calls import Calls
from workers.calls.counting import Counting
from workers.calls.drains import Drains
from workers.calls.items import Keeper
from workers.calls.serving import Counts, Serving
from workers.calls.speeds import Speeds
from workers.calls.usage_events import UsagePublisher
from workers.pool import Pool, room
from workers.pools import Pools
from workers.providers import UnknownProviderError, family
from workers.providers.base import Family, Prepared
from workers.providers.sandbox.family import Sandbox
from workers.telemetry import WorkerCollector
from workers.upstream.http import HttpUpstream, Upstream

ACKS_S = 10.0  # for the last usage events, after the calls in flight
PREPARE_S = 10.0  # for a family's credentials


async def serve(
    settings: Settings, pools: tuple[str, ...], stop: asyncio.Event, *, live: Live | None = None
) -> None:
    """Serves some pools (all, if none is named) until `stop` is set; then finishes what it has. Raises SettingsError."""
    names = dict.fromkeys(_settings(settings, name).name for name in pools) or [
        pool.name for pool in settings.pools
    ]
    alone = next(iter(names)) if len(names) == 1 else ""
    async with contextlib.AsyncExitStack() as stack:
        bus = await Bus.connect(settings.nats, Role.WORKER, name="worker", on_closed=end_process, pool=alone)
        stack.push_async_callback(bus.close)
        worker_id = bus.id  # its control subject is its own: the server lets nobody else hear it
        usage = await Bus.connect(
            settings.nats, Role.USAGE, name=f"{worker_id} usage", on_closed=end_process, pool=alone
        )
        stack.push_async_callback(usage.close)
        http = HttpUpstream()
        stack.push_async_callback(http.aclose)
        calls = Calls(bus)
        ledger = LedgerClient(bus, upkeep.LEDGER_PATIENCE)
        drained: Counter[str] = Counter()
        counting = Counting()
        # One for each name, for good: two publishers of one name would hide each other's events from the stream.
        publishers: dict[str, UsagePublisher] = {}

        async def made(pool: PoolSettings, settings: Settings) -> Serving:
            events = publishers.setdefault(pool.name, UsagePublisher(usage, pool.name, worker_id))
            return await _serving(pool, settings, http, events, bus, drained=drained, counting=counting)

        vital = Vital()
        stack.push_async_callback(vital.close)
        own = f"{Role.WORKER}.{alone}" in settings.nats.passwords
        served = Pools(calls, ledger, vital, made, words=pools, alone=alone if own else "")
        _show(stack, bus, usage, served.current)
        await bus.subscribe(subjects.control(worker_id), calls.on_control)
        vital.start("ticks", upkeep.tick(calls, served.every))
        vital.start("leases", upkeep.renew_leases(ledger, calls, served.every))
        await served.start(settings)
        if live is not None:
            live.follow(served.prepare, served.drop)
        get_logger("workers.app").info("serving", worker_id=worker_id, pools=list(names))
        await vital.until(stop)
        await _finish(calls, served, settings.calls.grace_s)


async def _finish(calls: Calls, served: Pools, grace_s: float) -> None:
    pools = list(served.every)
    await asyncio.gather(*(pool.leave() for pool in served.current))
    if not await calls.finished(grace_s):
        calls.stop_all()
        await calls.finished(ACKS_S)
    unacked = sum(await asyncio.gather(*(pool.serving.usage_events.drain(ACKS_S) for pool in pools)))
    await asyncio.gather(*(pool.serving.items.drain() for pool in pools))
    for pool in pools:
        pool.serving.accounts.adopt(())
    if unacked:
        get_logger("workers.app").error("usage events were not acknowledged before the end", unacked=unacked)


def _settings(settings: Settings, name: str) -> PoolSettings:
    for pool in settings.pools:
        if pool.name == name:
            return pool
    known = ", ".join(pool.name for pool in settings.pools) or "none"
    raise SettingsError(f"{settings.source}: there is no [pools.{name}]; the pools are: {known}")


async def _serving(
    pool: PoolSettings,
    settings: Settings,
    http: Upstream,
    events: UsagePublisher,
    bus: Bus,
    *,
    drained: Counter[str],
    counting: Counting,
) -> Serving:
    try:
        made: Family = family(pool.family)
    except UnknownProviderError:
        raise SettingsError(f"[pools.{pool.name}] provider: {pool.provider!r} is not known") from None
    given = pool.accounts
    upstream = http
    if isinstance(made, Sandbox):
        upstream = made.upstream(pool.words_per_s)
        given = given or (AccountSettings(id="sandbox"),)
    if isinstance(made, Prepared):
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PREPARE_S):
                await made.prepare(given)
    accounts = Accounts(given, made.keep if isinstance(made, Prepared) else None)
    return Serving(
        pool=pool.name,
        provider=pool.provider,
        worker_id=events.worker_id,
        control=subjects.control(events.worker_id),
        bus=bus,
        jobs=events.bus,
        family=made,
        upstream=upstream,
        accounts=accounts,
        models=sold_by(settings, pool, datetime.now(UTC).date()),
        usage_events=events,
        items=Keeper(bus),
        counts=Counts(),
        idle_s=settings.calls.idle_s,
        drains=Drains(room(accounts), drained),
        counting=counting,
        on_hangup=pool.on_hangup,
        drain_s=settings.calls.drain_s,
        speeds=Speeds(pool.provider),
    )


def _show(stack: contextlib.AsyncExitStack, bus: Bus, usage: Bus, pools: list[Pool]) -> None:
    collector = WorkerCollector(pools)
    REGISTRY.register(collector)
    stack.callback(REGISTRY.unregister, collector)
    watch_bus(bus)
    watch_bus(usage)
