"""Owns what every route has: its row, what handlers stand on, and the boundary behind which each failure is an answer."""

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import partial
from typing import Any

import msgspec
from msgspec import Struct
from starlette.routing import Route as Path
from starlette.routing import Router
from starlette.types import Receive, Scope, Send

from edge import refusals, telemetry
from edge.admission.admission import Admission
from edge.admission.catalogue import Catalogue
from edge.admission.listing import Listing
from edge.budget import Budget
from edge.calls.relay import Relay
from edge.calls.roster import Roster
from edge.faults import LEDGER_AWAY
from edge.http.cors import Cors
from edge.http.exchange import NO_ORIGIN, CallerGoneError, Exchange
from edge.limits import Limits
from edge.own import OwnReads
from runtime.bus.bus import Bus
from runtime.ledger import LedgerAwayError, LedgerClient
from runtime.log import get_logger
from schemas.chat.priced import RequestError
from schemas.dialects import envelope_at
from schemas.dialects.base import Envelope
from schemas.errors import WireError, internal, unavailable, unknown_path, wrong_method

ID_CHARS_MAX = 256  # of a path or an id that an answer repeats
GET = ("GET", "HEAD")
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")  # of a path that has no route
TEXT = (b"content-type", b"text/plain; charset=utf-8")

encode = msgspec.json.Encoder(decimal_format="string").encode
_logger = get_logger("edge.routes")


class Load:
    """What all requests of an edge count together."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.requests = 0
        self.stopping = False
        self.ledger_seen: float | None = None  # when it last answered a question about readiness; monotonic


class Backing(Struct, frozen=True, kw_only=True):
    """The parts of an edge that handlers stand on."""

    load: Load
    bus: Bus
    ledger: LedgerClient
    catalogue: Catalogue
    listing: Listing
    roster: Roster
    relay: Relay
    admission: Admission
    budget: Budget
    pools: Sequence[str]  # as the settings have them now
    cors: Cors
    own: OwnReads


Handler = Callable[[Backing, Exchange], Awaitable[None]]


class Row(Struct, frozen=True, kw_only=True):
    """One route. `name` is its label in metrics; without an `envelope`, its path says whose errors it has."""

    path: str  # Starlette's pattern
    name: str
    handler: Handler
    methods: tuple[str, ...] | None = GET  # None for any
    envelope: Envelope | None = None
    listed: bool = True  # whether a 404 names it among the routes that there are
    otherwise: Handler | None = None  # answers methods that it has not; left out: with a 405
    for_pages: bool = True  # whether pages of other origins may read it


class Endpoint:
    """One route as an ASGI app: counts, refuses wrong methods, and turns what is raised into an answer."""

    def __init__(self, row: Row, backing: Backing) -> None:
        self._row = row
        self._backing = backing
        self._cors = backing.cors if row.for_pages else NO_ORIGIN

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        row, load = self._row, self._backing.load
        envelope = row.envelope or envelope_at(scope["path"])
        exchange = Exchange(scope, receive, send, envelope, self._cors)
        load.requests += 1
        try:
            if row.for_pages and self._cors.is_preflight(exchange.method, exchange.headers):
                allowed = self._cors.preflight(exchange.headers, row.methods or METHODS)
                await exchange.answer(204, b"", *allowed)
            elif row.methods is not None and exchange.method not in row.methods:
                if row.otherwise is not None:
                    await row.otherwise(self._backing, exchange)
                    return
                error = wrong_method(exchange.method, exchange.path[:ID_CHARS_MAX])
                await exchange.refuse(error, (b"allow", ", ".join(row.methods).encode()))
            elif load.requests - exchange.connection.places.receiving > load.limits.requests:
                # Who still sends a body under an unknown key gives way by his place, and takes none from others here.
                await exchange.refuse(
                    unavailable("The gateway answers too many requests now. Retry with backoff.")
                )
            else:
                await row.handler(self._backing, exchange)
        except RequestError as refused:
            await exchange.refuse(refused.error, *refused.headers)
        except LedgerAwayError:
            await exchange.refuse(LEDGER_AWAY)
        except CallerGoneError:
            pass
        except Exception:
            _logger.exception(
                "a request failed", request_id=exchange.request_id, route=row.name, **exchange.trace
            )
            if exchange.status:
                exchange.connection.abort()
            else:
                await exchange.refuse(internal())
        finally:
            load.requests -= 1
            self._over(exchange)

    def _over(self, exchange: Exchange) -> None:
        row = self._row
        telemetry.count_request(row.name, exchange.status)
        if exchange.refused is not None and row.for_pages:
            client = exchange.scope.get("client")
            refusals.say(
                exchange.refused,
                request_id=exchange.request_id,
                key_id=exchange.key_id,
                client=client[0] if client else "",
                route=row.name,
                streamed=exchange.status == 200,
                trace=exchange.trace,
            )


class Routes:
    """All routes as one ASGI app: Starlette's router, in their order. A path without parameters is looked up beforehand.

    To be asked for each route in turn, and to note in the scope which it was, costs a call more than its key does.
    """

    def __init__(self, rows: Sequence[Row], backing: Backing) -> None:
        other = Row(path="", name="unknown", methods=None, handler=partial(_unknown, rows))
        endpoints = [Endpoint(row, backing) for row in rows]
        routes = [Path(row.path, end, name=row.name) for row, end in zip(rows, endpoints, strict=True)]
        self._router = Router(routes, redirect_slashes=False, default=Endpoint(other, backing))
        self._endpoints: dict[str, Endpoint] = {}
        for route, end in zip(routes, endpoints, strict=True):
            first = next(one for one in routes if one.path_regex.match(route.path))
            if first is route and not route.param_convertors:
                self._endpoints[route.path] = end

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Coroutine[Any, Any, None]:
        """Answers one request."""
        return (self._endpoints.get(scope["path"]) or self._router)(scope, receive, send)


async def _unknown(rows: Sequence[Row], backing: Backing, exchange: Exchange) -> None:
    """Every other path."""
    del backing
    await exchange.refuse(no_route(rows, exchange.method, exchange.path[:ID_CHARS_MAX]))


def no_route(rows: Sequence[Row], method: str, path: str) -> WireError:
    """404 for a path without a route: names the one that was meant, and all that there are."""
    callers = {
        row.path.replace(":path}", "}"): (row.methods or METHODS)[0]
        for row in rows
        if row.for_pages and row.listed
    }
    bare = "/" + path.strip("/").removeprefix("v1/").removeprefix("v1/")
    meant = next((known for known in (f"/v1{bare}", bare) if known in callers and known != path), "")
    return unknown_path(method, path, meant, [f"{verb} {known}" for known, verb in callers.items()])
