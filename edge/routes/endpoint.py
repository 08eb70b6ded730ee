"""Owns what every route has: its row, what handlers stand on, and the boundary behind which each failure is an answer."""

from collections.abc import Awaitable, Callable, Sequence

import msgspec
from msgspec import Struct
from starlette.routing import Route as Path
from starlette.routing import Router
from starlette.types import Receive, Scope, Send

from edge import telemetry
from edge.admission.admission import Admission
from edge.admission.catalogue import Catalogue
from edge.admission.listing import Listing
from edge.budget import Budget
from edge.calls.relay import Relay
from edge.calls.roster import Roster
from edge.faults import LEDGER_AWAY
from edge.http.exchange import CallerGoneError, ErrorBody, Exchange
from edge.limits import Limits
from runtime.bus.bus import Bus
from runtime.ledger import LedgerAwayError, LedgerClient
from runtime.log import get_logger
from schemas.chat.priced import RequestError
from schemas.errors import WireError, internal, unavailable, unknown_path, wrong_method

ID_CHARS_MAX = 256  # of a path or an id that an answer repeats
GET = ("GET", "HEAD")
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
    pools: tuple[str, ...]


Handler = Callable[[Backing, Exchange], Awaitable[None]]


class Row(Struct, frozen=True, kw_only=True):
    """One route. `name` is its label in metrics; errors have OpenAI's envelope unless its protocol has another."""

    path: str  # Starlette's pattern
    name: str
    handler: Handler
    methods: tuple[str, ...] | None = GET  # None for any
    error_body: ErrorBody = WireError.body


class Endpoint:
    """One route as an ASGI app: counts, refuses wrong methods, and turns what is raised into an answer."""

    def __init__(self, row: Row, backing: Backing) -> None:
        self._row = row
        self._backing = backing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        row, load = self._row, self._backing.load
        exchange = Exchange(scope, receive, send, row.error_body)
        load.requests += 1
        try:
            if row.methods is not None and exchange.method not in row.methods:
                error = wrong_method(exchange.method, exchange.path[:ID_CHARS_MAX])
                await exchange.refuse(error, (b"allow", ", ".join(row.methods).encode()))
            elif load.requests > load.limits.requests:
                await exchange.refuse(
                    unavailable("The gateway answers too many requests now. Retry with backoff.")
                )
            else:
                await row.handler(self._backing, exchange)
        except RequestError as refused:
            await exchange.refuse(refused.error)
        except LedgerAwayError:
            await exchange.refuse(LEDGER_AWAY)
        except CallerGoneError:
            pass
        except Exception:
            _logger.exception("a request failed", request_id=exchange.request_id, route=row.name)
            if exchange.status:
                exchange.connection.abort()
            else:
                await exchange.refuse(internal())
        finally:
            load.requests -= 1
            telemetry.count_request(row.name, exchange.status)


def router(rows: Sequence[Row], backing: Backing) -> Router:
    """Starlette's router over these routes, in their order."""
    other = Row(path="", name="unknown", methods=None, handler=_unknown)
    return Router(
        [Path(row.path, Endpoint(row, backing), name=row.name) for row in rows],
        redirect_slashes=False,
        default=Endpoint(other, backing),
    )


async def _unknown(backing: Backing, exchange: Exchange) -> None:
    """Every other path."""
    del backing
    await exchange.refuse(unknown_path(exchange.method, exchange.path[:ID_CHARS_MAX]))
