"""Owns the routes: what each path answers, and the boundary behind which every failure has OpenAI's shape."""

import time
from collections.abc import Awaitable, Callable

import msgspec
from starlette.routing import Route as Path
from starlette.routing import Router
from starlette.types import Receive, Scope, Send

from edge import telemetry
from edge.admission.admission import Admission
from edge.admission.catalogue import Catalogue, describe, live_models
from edge.calls import answer
from edge.calls.relay import Relay
from edge.calls.roster import Roster
from edge.faults import LEDGER_AWAY
from edge.http.exchange import CallerGoneError, Exchange
from edge.http.intake import Budget
from edge.limits import Limits
from runtime import metrics
from runtime.bus.bus import Bus
from runtime.ledger import LedgerAwayError, LedgerClient
from runtime.log import get_logger
from schemas.chat.priced import RequestError
from schemas.chat.request import CHAT, COMPLETIONS
from schemas.errors import (
    INVALID_REQUEST,
    WireError,
    bad_key,
    internal,
    model_not_found,
    saturated,
    unavailable,
    unknown_path,
    wrong_method,
)
from schemas.verbs.base import VERSION
from schemas.verbs.usage import GENERATION, GenerationQuery

Handler = Callable[[Exchange], Awaitable[None]]
_TEXT = (b"content-type", b"text/plain; charset=utf-8")
_METRICS = (b"content-type", metrics.CONTENT_TYPE.encode())
_ID_CHARS_MAX = 256
_logger = get_logger("edge.routes")
_encode = msgspec.json.Encoder(decimal_format="string").encode


class Endpoint:
    """One route as an ASGI app: counts, refuses wrong methods, and turns what is raised into an answer."""

    def __init__(self, name: str, methods: tuple[str, ...] | None, handler: Handler, state: "State") -> None:
        self._name = name
        self._methods = methods
        self._handler = handler
        self._state = state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        exchange = Exchange(scope, receive, send)
        state = self._state
        state.requests += 1
        try:
            if self._methods is not None and exchange.method not in self._methods:
                error = wrong_method(exchange.method, exchange.path[:_ID_CHARS_MAX])
                await exchange.refuse(error, (b"allow", ", ".join(self._methods).encode()))
            elif state.requests > state.limits.requests:
                await exchange.refuse(
                    unavailable("The gateway answers too many requests now. Retry with backoff.")
                )
            else:
                await self._handler(exchange)
        except RequestError as refused:
            await exchange.refuse(refused.error)
        except LedgerAwayError:
            await exchange.refuse(LEDGER_AWAY)
        except CallerGoneError:
            pass
        except Exception:
            _logger.exception("a request failed", request_id=exchange.request_id, route=self._name)
            if exchange.status:
                exchange.connection.abort()
            else:
                await exchange.refuse(internal())
        finally:
            state.requests -= 1
            telemetry.count_request(self._name, exchange.status)


class State:
    """What all requests of an edge share."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.requests = 0
        self.stopping = False


class Routes:
    """The handlers, and the parts of the edge they stand on."""

    def __init__(
        self,
        *,
        state: State,
        bus: Bus,
        ledger: LedgerClient,
        catalogue: Catalogue,
        roster: Roster,
        relay: Relay,
        admission: Admission,
        budget: Budget,
        pools: tuple[str, ...],
    ) -> None:
        self._state = state
        self._bus = bus
        self._ledger = ledger
        self._catalogue = catalogue
        self._roster = roster
        self._relay = relay
        self._admission = admission
        self._budget = budget
        self._pools = pools
        self._ledger_seen = 0.0

    def router(self) -> Router:
        """Starlette's router over all of them."""
        get = ("GET", "HEAD")

        def path(pattern: str, name: str, methods: tuple[str, ...], handler: Handler) -> Path:
            return Path(pattern, Endpoint(name, methods, handler, self._state), name=name)

        return Router(
            [
                path("/v1/chat/completions", "chat", ("POST",), self.chat),
                path("/v1/completions", "completions", ("POST",), self.completions),
                path("/v1/models", "models", get, self.models),
                path("/v1/models/{id:path}", "model", get, self.model),
                path("/v1/generations/{id}", "generation", get, self.generation),
                path("/healthz", "healthz", get, self.healthz),
                path("/readyz", "readyz", get, self.readyz),
                path("/metrics", "metrics", get, self.metrics),
            ],
            redirect_slashes=False,
            default=Endpoint("unknown", None, self.unknown, self._state),
        )

    async def chat(self, exchange: Exchange) -> None:
        """POST /v1/chat/completions."""
        await self._call(exchange, CHAT)

    async def completions(self, exchange: Exchange) -> None:
        """POST /v1/completions."""
        await self._call(exchange, COMPLETIONS)

    async def unknown(self, exchange: Exchange) -> None:
        """Every other path."""
        await exchange.refuse(unknown_path(exchange.method, exchange.path[:_ID_CHARS_MAX]))

    async def _call(self, exchange: Exchange, dialect: str) -> None:
        call, taken = await self._admission.admit(exchange, dialect)
        try:
            call.drop = exchange.connection.abort
            exchange.connection.on_hangup(call.hang_up)
            if call.stream:
                await answer.stream(exchange, call)
            else:
                await answer.plain(exchange, call)
        finally:
            exchange.connection.on_hangup(None)
            call.hang_up()
            self._budget.give_back(taken + call.reserved)
            answer.measure(dialect, call)

    async def models(self, exchange: Exchange) -> None:
        """GET /v1/models: what some worker can serve now."""
        await self._admission.caller(exchange).verify()
        listed = {"object": "list", "data": live_models(self._catalogue, self._roster)}
        await exchange.answer(200, _encode(listed))

    async def model(self, exchange: Exchange) -> None:
        """GET /v1/models/{id}: the entry that the list shows."""
        await self._admission.caller(exchange).verify()
        name = str(exchange.scope["path_params"]["id"])
        if not name:
            raise RequestError(unknown_path(exchange.method, exchange.path))
        model = await self._catalogue.find(name) if len(name) <= _ID_CHARS_MAX else None
        if model is None:
            raise RequestError(model_not_found(name[:_ID_CHARS_MAX]))
        if self._roster.gone(model.pool, model.id):
            raise RequestError(model_not_found(name, model.successor))
        if not self._roster.serves(model.pool, model.id):
            raise RequestError(saturated(f"No worker can serve the model `{name}` now. Retry with backoff."))
        await exchange.answer(200, _encode(describe(model)))

    async def generation(self, exchange: Exchange) -> None:
        """GET /v1/generations/{id}: the receipt of one of the key's own calls."""
        caller = self._admission.caller(exchange)
        name = str(exchange.scope["path_params"]["id"])
        query = GenerationQuery(VERSION, caller.digest, name[:_ID_CHARS_MAX])
        reply = await self._ledger.ask(GENERATION, query)
        if not reply.active:
            raise RequestError(bad_key())
        if reply.receipt is None:
            message = "This key has no call with that id. It is the x-request-id of the call's answer."
            raise RequestError(WireError(404, INVALID_REQUEST, message, "generation_not_found", "id"))
        await exchange.answer(200, _encode(reply.receipt))

    async def healthz(self, exchange: Exchange) -> None:
        """200 while the process lives."""
        await exchange.answer(200, b"ok\n", kind=_TEXT)

    async def readyz(self, exchange: Exchange) -> None:
        """200 when NATS and the ledger answer and every configured pool has a worker."""
        if missing := await self._missing():
            raise RequestError(unavailable(f"Not ready: {missing}."))
        await exchange.answer(200, b"ok\n", kind=_TEXT)

    async def _missing(self) -> str:
        if self._state.stopping:
            return "the edge is stopping"
        if not self._bus.connected:
            return "NATS does not answer"
        if not self._catalogue.loaded or not await self._ledger_answers():
            return "the ledger does not answer"
        lacking = [pool for pool in self._pools if self._roster.silent(pool)]
        return f"no worker for {', '.join(lacking)}" if lacking else ""

    async def _ledger_answers(self) -> bool:
        # Remembered for a moment, so that whoever asks often does not ask the ledger.
        if time.monotonic() - self._ledger_seen < self._state.limits.ready_s:
            return True
        if not await self._ledger.answers(self._state.limits.ready_s):
            return False
        self._ledger_seen = time.monotonic()
        return True

    async def metrics(self, exchange: Exchange) -> None:
        """GET /metrics: Prometheus text."""
        telemetry.IN_FLIGHT.set(self._state.requests)
        telemetry.CALLS.set(len(self._relay))
        telemetry.BUFFERED.set(self._budget.used)
        await exchange.answer(200, metrics.text(), kind=_METRICS)
