"""Owns how a ledger is put together, started, and stopped in order."""

import asyncio
import contextlib
import secrets
from collections.abc import Callable, Coroutine
from datetime import date
from pathlib import Path
from typing import Any, TypeVar

from ledger.acts.upkeep import keep_lots
from ledger.commits.clock import keep_time
from ledger.commits.commit import Committer
from ledger.commits.pepper import check_pepper
from ledger.commits.roll import Roll
from ledger.commits.rolling import Rolling
from ledger.commits.writer import Writer
from ledger.configured import Configured
from ledger.openid.signing import Signing
from ledger.payments.payments import Payments
from ledger.reload import Reloading, open_sale, peppers_of, providers_of, today_utc
from ledger.rules.book import Rules
from ledger.statements.issuing import Issuing
from ledger.store.base import Store, StoreDown, StoreError, again
from ledger.stream.consumer import Consumer
from ledger.stream.events import Publishing
from ledger.stream.expiry import QUIET_S, Expiry
from ledger.stream.items import keep_bucket
from ledger.telemetry import Telemetry
from ledger.verbs.base import Services
from ledger.verbs.beats import Beats
from ledger.verbs.dispatch import Requests
from ledger.verbs.watching import Watching
from runtime.bus.bus import Bus
from runtime.catalogue.age import age_days, as_of, is_old
from runtime.log import get_logger
from runtime.metrics import watch_bus
from runtime.reload import Live
from runtime.service import end_process
from runtime.settings.settings import Settings, SettingsError
from runtime.tasks import Vital
from schemas.bus.subjects import BEATS, Role
from schemas.catalogue.families import SANDBOX
from schemas.catalogue.profiles import PICTURE_TOKENS_MAX

GRACE_S = 3.0  # for what is queued at a stop
OPEN_TIMEOUT_S = 30.0  # for a database that is still starting
_SQLITE = "sqlite:///"
_T = TypeVar("_T")
_telemetry: list[Telemetry] = []
_logger = get_logger("ledger.app")


async def open_store(url: str, clock: Callable[[], int] | None = None) -> Store:
    """Opens the database of a URL and takes its tables to the newest revision. Raises SettingsError, StoreError."""
    if url.startswith("postgresql"):
        from ledger.store.postgres import PostgresStore  # noqa: PLC0415  its driver is only loaded where it is used

        store: Store = await PostgresStore.open(url, clock, timeout_s=OPEN_TIMEOUT_S)
    elif url.startswith(_SQLITE):
        from ledger.store.sqlite import SqliteStore  # noqa: PLC0415  as above

        try:
            path = Path(url.removeprefix(_SQLITE))
            path.parent.mkdir(parents=True, exist_ok=True)
            store = SqliteStore(path, clock)
        except StoreDown:  # a full disk is no mistake of the configuration: the next start may go well
            raise
        except (OSError, StoreError) as error:
            raise SettingsError(f"[ledger] database_url: cannot open {url}: {error}") from None
    else:
        raise SettingsError("[ledger] database_url: must be sqlite:///<path> or postgresql+asyncpg://…")
    try:
        await store.migrate()
    except BaseException:
        await store.close()
        raise
    return store


def _say_guesses(settings: Settings) -> None:
    for model_id in settings.guessed_pictures:
        _logger.warning(
            "no bound is known for a picture: each holds the most that any known model bills",
            model=model_id,
            image_tokens_max=PICTURE_TOKENS_MAX,
            set="[models.capabilities] image_tokens_max",
            file=settings.source,
        )


def _say_age(settings: Settings, today: date) -> None:
    if not settings.builtin_rows or all(pool.family == SANDBOX for pool in settings.pools):
        return
    days = age_days(today)
    if is_old(days):
        _logger.warning(
            "the built-in prices are old: what has changed since is sold as it was",
            as_of=as_of().isoformat(),
            days=days,
            remedy="upgrade tokn, or set prices in [[models]]",
        )


async def serve(
    settings: Settings,
    stop: asyncio.Event,
    *,
    rules: Rules = Rules(),  # noqa: B008  frozen
    quiet_s: float = QUIET_S,
    clock: Callable[[], int] | None = None,
    ready: asyncio.Event | None = None,
    live: Live | None = None,
) -> None:
    """Runs a ledger until `stop` is set, then commits what is queued and ends; `ready` is set once it answers.

    Raises SettingsError, and BusDown for a NATS that is lost before that.
    """
    peppers, own_id = peppers_of(settings), secrets.token_hex(8)
    async with contextlib.AsyncExitStack() as stack:
        store = await open_store(settings.database_url, clock)
        stack.push_async_callback(store.close)
        await again(lambda: check_pepper(store, peppers, own_id))
        sale = await open_sale(store, settings)
        _say_guesses(settings)
        _say_age(settings, today_utc())
        telemetry = _the_telemetry()
        committer = Committer(store, sale.sold, peppers, telemetry, rules)
        bus = await _bus_of(settings, stop, stack)
        if bus is None:
            return
        writer = Writer(committer, telemetry)
        vital = Vital()
        stack.push_async_callback(vital.close)
        writing = vital.start("the writer", writer.run())
        consumer = Consumer(bus, writer, telemetry, settings.nats.replicas)
        await _unless_stopped(stop, consumer.start(), writing)
        if stop.is_set():
            return
        services = Services(
            store=store,
            committer=committer,
            consumer=consumer,
            beats=await _beats_on(bus),
            providers=providers_of(sale.settings),
            auditing=asyncio.Lock(),
            issuing=Issuing(writer, settings.billing),
            signing=Signing.of(settings),
            payments=payments_of(settings, writer, telemetry, stack),
            configured=Configured(writer, settings, live),
        )
        requests = Requests(bus, writer, services, telemetry)
        stack.push_async_callback(requests.close)
        vital.start("the consumer", consumer.run())
        vital.start("the watch of the stream", consumer.watch_forever())
        vital.start("expiry", Expiry(bus, writer, consumer, quiet_s).run())
        roll = _start_upkeep(vital, Roll(store, writer, own_id), writer, services.issuing)
        _start_telling(vital, bus, services, writer, settings.nats.replicas)
        _follow(Reloading(services, sale), vital, services.configured, live)
        unlisten = await requests.listen()
        if ready is not None:
            ready.set()
        _logger.info(
            "ready", database=store.dialect, models=len(sale.sold.models), catalogue=sale.sold.version
        )
        await vital.until(stop)
        await unlisten()
        consumer.stop()
        writer.stop()
        await asyncio.wait([writing], timeout=GRACE_S)
        await roll.leave()


async def _bus_of(settings: Settings, stop: asyncio.Event, stack: contextlib.AsyncExitStack) -> Bus | None:
    """Its connection, until the stack ends; None if it is told to stop before there is one."""
    connecting = Bus.connect(settings.nats, Role.LEDGER, name="tokn ledger", on_closed=end_process)
    bus = await _unless_stopped(stop, connecting)
    if bus is not None:
        stack.push_async_callback(bus.close)
        watch_bus(bus)
    return bus


async def _beats_on(bus: Bus) -> Beats:
    beats = Beats()
    await bus.subscribe(BEATS, beats.on_beat)
    return beats


def payments_of(
    settings: Settings, writer: Writer, telemetry: Telemetry, stack: contextlib.AsyncExitStack
) -> Payments | None:
    """Payments through Stripe, until the stack ends; None without settings. Raises SettingsError without its package."""
    if settings.stripe is None:
        return None
    try:
        from ledger.payments.client import StripeClient  # noqa: PLC0415  an optional package, and a large one
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "stripe":
            raise
        raise SettingsError(
            f"{settings.source}: [billing.stripe]: the package stripe is not installed: "
            "install requirements-stripe.lock, or tokn[stripe]"
        ) from None
    if not settings.stripe.live:
        _logger.warning("top-ups are paid in Stripe's test mode: what they give was never paid")
    payments = Payments(writer, StripeClient(settings.stripe, settings.console.url), telemetry)
    stack.push_async_callback(payments.close)
    return payments


def _start_upkeep(vital: Vital, roll: Roll, writer: Writer, issuing: Issuing) -> Roll:
    vital.start("this ledger's own row", roll.run())
    vital.start("the end of promotional credit", keep_lots(writer))
    vital.start("roll-ups", Rolling(writer).run())
    vital.start("statements", issuing.run())
    return roll


def _follow(reloading: Reloading, vital: Vital, configured: Configured, live: Live | None) -> None:
    vital.start("newer configurations of other ledgers", reloading.follow())
    vital.start("the word of reloads", configured.run())
    if live is not None:
        live.follow(reloading.prepare, told=configured.heard)


def _start_telling(vital: Vital, bus: Bus, services: Services, writer: Writer, replicas: int) -> None:
    vital.start("the bucket of items", keep_bucket(bus, replicas))
    vital.start("the clock", keep_time(writer))
    vital.start("the watch of pools", Watching(services, writer).run())
    vital.start("events", Publishing(bus, writer, replicas).run())


async def _unless_stopped(
    stop: asyncio.Event, work: Coroutine[Any, Any, _T], *needed: asyncio.Task[Any]
) -> _T | None:
    """What work gives; None, and its end, if the ledger is to stop first. Raises what ends a task that it needs."""
    working, stopping = asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait([working, stopping, *needed], return_when=asyncio.FIRST_COMPLETED)
        for task in needed:
            if task.done():
                task.result()
        return await working if working.done() else None
    finally:
        working.cancel()
        stopping.cancel()


def _the_telemetry() -> Telemetry:
    # A process registers its metrics once; tests run several ledgers in one.
    if not _telemetry:
        _telemetry.append(Telemetry())
    return _telemetry[0]
