"""Owns the boundary of a console: which requests are let in, what every answer says, and what becomes of each failure."""

from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from console import telemetry
from console.api.app import Api
from console.api.routes import PREFIX as PREFIX_OF_API
from console.desk import Desk
from console.origin import SAFE
from console.pages import site
from console.signin import Cookies, is_form_token
from console.stripe import PATH as PATH_OF_STRIPE
from console.stripe import StripeEvents
from runtime.log import get_logger
from schemas.admin.credentials import Credential, Session, digest
from schemas.bus.subjects import new_id
from web.assets import PREFIX
from web.headers import ASSET, DATA_PAGE, Headers

_logger = get_logger("console.guard")


class Guard:
    """The ASGI app of a console."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._site = site(desk)
        self._api = Api(
            desk.ledger,
            desk.pages,
            desk.places,
            session=self._session,
            address=desk.origins.address,
            payments=desk.payments,
        )
        self._stripe = StripeEvents(desk.ledger, desk.limits) if desk.payments else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        request = Request(scope, receive)
        request.state.request_id = request_id = new_id("req_")
        part, headers = _part(scope["path"])
        if part == "stripe" and self._stripe is None:
            part = "page"
        status = 0

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                own = [(b"x-request-id", request_id.encode()), *headers]
                set_here = {name for name, _ in own}
                message["headers"] = [
                    *((name, value) for name, value in message.get("headers", ()) if name not in set_here),
                    *own,
                ]
            await send(message)

        try:
            answer = await self._answer(request, part)
            await answer(scope, receive, sending)
        except ClientDisconnect:
            _logger.debug("a body was broken off", request_id=request_id, part=part)
        except Exception:
            _logger.exception("a request failed", request_id=request_id, part=part)
            if not status:
                failed = PlainTextResponse(f"This failed. The log has it as {request_id}.\n", 500)
                await failed(scope, receive, sending)
        finally:
            telemetry.REQUESTS.add((part, str(status)))

    async def _answer(self, request: Request, part: str) -> ASGIApp:
        path = request.url.path
        if not self._desk.origins.is_ours(request):
            telemetry.REFUSED.add(("host",))
            return PlainTextResponse("This console has another name: see [console] public_url.\n", 421)
        if path == "/healthz":
            return PlainTextResponse("ok\n")
        if part == "static":
            return self._asset(request)
        if part == "api":
            return self._api
        if part == "stripe" and self._stripe is not None:
            return await self._stripe.answer(request)
        return await self._site.answer(request)

    def _session(self, request: Request) -> Credential | None:
        """Whose session a request of the API comes with: of a page of ours alone, and to change something with its token."""
        origins = self._desk.origins
        secret = Cookies.of(request, origins).session(request)
        told = request.headers.get("x-csrf-token", "")
        if not secret or not origins.is_own_page(request):
            return None
        return Session(digest(secret)) if request.method in SAFE or is_form_token(secret, told) else None

    def _asset(self, request: Request) -> Response:
        path = request.scope["raw_path"].decode("latin-1").partition("?")[0]
        found = self._desk.pages.assets.at(path)
        if found is None:
            return PlainTextResponse("There is no such file.\n", 404, {"cache-control": "no-store"})
        if request.method not in SAFE:
            return PlainTextResponse("only GET\n", 405, {"allow": "GET, HEAD"})
        return Response(
            found.body,
            media_type=found.kind.decode(),
            headers={name.decode(): value.decode() for name, value in ASSET},
        )


def _part(path: str) -> tuple[str, Headers]:
    """The part of the console that a path belongs to, and what its answers say."""
    if path.startswith(PREFIX):
        return "static", tuple((name, value) for name, value in DATA_PAGE if name != b"cache-control")
    if path == PATH_OF_STRIPE:
        return "stripe", DATA_PAGE
    return ("api" if path.startswith(PREFIX_OF_API) else "page"), DATA_PAGE
