"""Owns the admin API as an ASGI application: who asks, how often and what, and every answer's headers."""

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from msgspec import Struct
from starlette.datastructures import Headers, QueryParams
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from console.api import openapi
from console.api.accept import wanted
from console.api.base import Asking, Call, Means, Route
from console.api.errors import ApiError, invalid
from console.api.rates import Buckets, Rates
from console.api.routes import DOCUMENT, PREFIX, Found, found
from console.pieces import Places
from runtime.bus.bus import BusError
from runtime.ledger import LedgerClient
from runtime.log import get_logger
from schemas.admin.credentials import Credential, ManagementKey, digest, is_management_key
from schemas.admin.verbs import EXPANSIONS_MAX
from schemas.bus.subjects import new_id
from web.pages import Pages

VERSION = "2026-12-01"
BODY_BYTES_MAX = 64 * 1024
PATH_CHARS_MAX = 1_000
KEY_CHARS_MAX = 255
_JSON = (b"content-type", b"application/json")
_logger = get_logger("console.api")
_encode = msgspec.json.Encoder().encode


class Answer(Struct, frozen=True):
    """One answer of HTTP."""

    status: int
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ()


class Api:
    """The admin API. `session` says whose session a request comes with, if it does and may; `address` where from."""

    def __init__(
        self,
        ledger: LedgerClient,
        pages: Pages,
        places: Places,
        *,
        rates: Rates = Rates(),  # noqa: B008  frozen
        session: Callable[[Request], Credential | None] = lambda _: None,
        address: Callable[[Request], str] = lambda request: request.client.host if request.client else "",
        payments: bool = False,
    ) -> None:
        self._ledger = ledger
        self._means = Means(pages, places)
        self._buckets = Buckets(rates)
        self._session = session
        self._address = address
        self._payments = payments

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        request = Request(scope, receive)
        request_id = getattr(request.state, "request_id", "") or new_id("req_")
        try:
            answer = await self._answer(request, request_id)
        except ApiError as error:
            answer = _refusal(error)
        except BusError as error:
            _logger.warning("no ledger answers", request_id=request_id, error=str(error))
            answer = _refusal(
                ApiError(503, "ledger_away", "No ledger answers. Ask again in a moment.", retry_after_s=1)
            )
        except Exception:
            _logger.exception("a request failed", request_id=request_id)
            answer = _refusal(ApiError(500, None, f"This failed. The log has it as {request_id}."))
        own = (
            (b"x-request-id", request_id.encode()),
            (b"tokn-version", VERSION.encode()),
            (b"cache-control", b"no-store"),
        )
        if isinstance(answer, Response):
            answer.raw_headers += own
            await answer(scope, receive, send)
            return
        headers = [_JSON, (b"content-length", str(len(answer.body)).encode()), *own, *answer.headers]
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body})

    async def _answer(self, request: Request, request_id: str) -> Answer | Response:
        path = request.scope["path"].removeprefix(PREFIX)
        if path == DOCUMENT and request.method == "GET":
            return Answer(200, openapi.document(payments=self._payments))
        route, parts = _route(request.method, path, payments=self._payments)
        credential = self._credential(request)
        wait_s = self._buckets.wait_s(credential.digest, writes=route.writes)
        if wait_s:
            raise ApiError(429, "rate_limit_exceeded", "Too many requests at once.", retry_after_s=wait_s)
        body = await _body(request)
        query, expand = _query(route, request.query_params)
        key = _idempotency_key(request.headers) if route.writes else ""
        asking = Asking(
            ledger=self._ledger,
            credential=credential,
            ip=self._address(request),
            user_agent=request.headers.get("user-agent", ""),
            request_id=request_id,
            idempotency_key=key or new_id("idem_"),  # a request is sent again when no answer comes
            request_hash=_hash(request.method, path, body),
            if_version=_version(request.headers) if route.writes else 0,
        )
        call = Call(
            asking,
            route,
            path=parts,
            body=_decoded(route, body),
            query=query,
            expand=expand,
            means=self._means,
            accept=wanted(request.headers.get("accept", ""), route),
        )
        answer = await route.handle(call)
        if isinstance(answer, Response):
            return answer
        replayed = ((b"idempotent-replayed", b"true"),) if call.replayed else ()
        return Answer(route.status, _encode(answer), replayed)

    def _credential(self, request: Request) -> Credential:
        """Who asks: by a management key, else by a session. Raises ApiError."""
        kind, _, told = request.headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer":
            told = told.strip()
            if is_management_key(told):
                return ManagementKey(digest(told))
        elif (session := self._session(request)) is not None:
            return session
        raise ApiError(
            401, "invalid_management_key", "Give a management key: Authorization: Bearer tokn_admin_…"
        )


def _refusal(error: ApiError) -> Answer:
    headers: list[tuple[bytes, bytes]] = []
    if error.retry_after_s is not None:
        headers.append((b"retry-after", str(error.retry_after_s).encode()))
    if error.status == 401:
        headers.append((b"www-authenticate", b'Bearer realm="tokn admin"'))
    if error.allow:
        headers.append((b"allow", error.allow.encode()))
    return Answer(error.status, error.body, tuple(headers))


def _route(method: str, path: str, *, payments: bool) -> tuple[Route, dict[str, str]]:
    if len(path) > PATH_CHARS_MAX or "\x00" in path:
        raise ApiError(404, "resource_missing", "There is no such route.")
    one = found(method, path, payments=payments)
    if isinstance(one, Found):
        return one.route, one.parts
    if not one:
        raise ApiError(404, "resource_missing", f"There is no such route: see {PREFIX}{DOCUMENT}.")
    allowed = ", ".join(one)
    raise ApiError(405, "method_not_allowed", f"This route takes {allowed}.", allow=allowed)


async def _body(request: Request) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > BODY_BYTES_MAX:
            why = f"A body has at most {BODY_BYTES_MAX} bytes."
            raise ApiError(413, "request_too_large", why)
        parts.append(part)
    return b"".join(parts)


def _decoded(route: Route, body: bytes) -> Any:
    """A body as its route's form. Raises ApiError."""
    if route.body is None:
        if body.strip() not in (b"", b"{}"):
            raise invalid("This route takes no body.")
        return None
    try:
        return msgspec.json.decode(body or b"{}", type=route.body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise _unreadable(error) from None


def _unreadable(error: Exception) -> ApiError:
    """A refusal with the path to what is wrong, as `caps[0].limit_nano`."""
    said, _, place = str(error).partition(" - at `$")
    param = place.rstrip("`").removeprefix(".")
    name = said.split("`")[1] if "field `" in said else ""
    param = ".".join(filter(None, (param, name)))
    return invalid(f"{said}.", param or None)


def _query(route: Route, params: QueryParams) -> tuple[Any, tuple[str, ...]]:
    expand: list[str] = []
    told: dict[str, str] = {}
    for name, value in params.multi_items():
        if name in ("expand[]", "expand"):
            expand.append(value)
        elif name in told:
            raise invalid("This parameter was given twice.", name)
        else:
            told[name] = value
    for one in expand:
        if one not in route.expand:
            words = ", ".join(route.expand) or "nothing"
            raise invalid(f"This can be expanded by {words}.", "expand[]")
    if len(expand) > EXPANSIONS_MAX:
        raise invalid(f"At most {EXPANSIONS_MAX} things are expanded.", "expand[]")
    return _parameters(route, told), tuple(dict.fromkeys(expand))


def _parameters(route: Route, told: Mapping[str, str]) -> Any:
    if route.query is None:
        if told:
            raise invalid("This route takes no such parameter.", next(iter(told)))
        return None
    try:
        return msgspec.convert(told, route.query, strict=False)
    except msgspec.MsgspecError as error:
        raise _unreadable(error) from None


def _idempotency_key(headers: Headers) -> str:
    key = headers.get("idempotency-key", "")
    if len(key) > KEY_CHARS_MAX:
        raise invalid(f"An Idempotency-Key has at most {KEY_CHARS_MAX} characters.", "Idempotency-Key")
    return key


def _version(headers: Headers) -> int:
    told = headers.get("if-match", "").strip()
    version = told.removeprefix("W/").strip('"')
    if told and not (version.isdecimal() and len(version) < 18 and int(version)):
        raise invalid('If-Match is a version, as in "3".', "If-Match")
    return int(version or 0)


def _hash(method: str, path: str, body: bytes) -> bytes:
    """What tells a request from another one under the same idempotency key."""
    return hashlib.sha256(b"\n".join((method.encode(), path.encode(), body))).digest()
