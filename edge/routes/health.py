"""Owns the routes that a deployment asks: whether the edge lives, whether it is ready, and its metrics."""

import time

import msgspec

from edge import telemetry
from edge.http.exchange import Exchange
from edge.routes.endpoint import TEXT, Backing, Row
from runtime import metrics
from runtime.bus.bus import BusError
from runtime.ledger import once
from schemas.chat.priced import RequestError
from schemas.errors import unavailable
from schemas.verbs.base import Done
from schemas.verbs.ping import PING, Ping

_METRICS = (b"content-type", metrics.CONTENT_TYPE.encode())


async def healthz(backing: Backing, exchange: Exchange) -> None:
    """200 while the process lives."""
    del backing
    await exchange.answer(200, b"ok\n", kind=TEXT)


async def readyz(backing: Backing, exchange: Exchange) -> None:
    """200 when NATS and the ledger answer and every configured pool has a worker."""
    if missing := await _missing(backing):
        raise RequestError(unavailable(f"Not ready: {missing}."))
    await exchange.answer(200, b"ok\n", kind=TEXT)


async def _missing(backing: Backing) -> str:
    if backing.load.stopping:
        return "the edge is stopping"
    if not backing.bus.connected:
        return "NATS does not answer"
    if not backing.catalogue.loaded:
        return "the ledger does not answer"
    if unable := await _of_ledger(backing):
        return unable
    lacking = [pool for pool in backing.pools if backing.roster.silent(pool)]
    return f"no worker for {', '.join(lacking)}" if lacking else ""


async def _of_ledger(backing: Backing) -> str:
    """What the ledger lacks: it answers, and its last commit went well."""
    # Cache the ledger's answer briefly, so that frequent probes do not load it.
    load = backing.load
    if load.ledger_seen is not None and time.monotonic() - load.ledger_seen < load.limits.ready_s:
        return ""
    try:
        reply = await backing.ledger.ask(PING, Ping(), patience=once(load.limits.ready_s))
    except BusError:
        return "the ledger does not answer"
    except msgspec.MsgspecError:
        reply = Done()  # of another version, perhaps, but there
    if not reply.ok:
        return f"the ledger cannot write: {reply.detail}"
    load.ledger_seen = time.monotonic()
    return ""


async def show_metrics(backing: Backing, exchange: Exchange) -> None:
    """GET /metrics: Prometheus text."""
    telemetry.IN_FLIGHT.set(backing.load.requests)
    telemetry.CALLS.set(len(backing.relay))
    telemetry.BUFFERED.set(backing.budget.used)
    await exchange.answer(200, metrics.text(), kind=_METRICS)


ROUTES = (
    *(Row(path=path, name="healthz", handler=healthz, for_pages=False) for path in ("/healthz", "/health")),
    Row(path="/readyz", name="readyz", handler=readyz, for_pages=False),
    Row(path="/metrics", name="metrics", handler=show_metrics, for_pages=False),
)
