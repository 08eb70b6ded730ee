"""Owns a stand-in for Stripe's API, as strict as it: what its own package can send is checked against that package's forms."""

import asyncio
import json
import re
import types
import typing
from collections.abc import Mapping
from typing import Any

import typing_extensions
from aiohttp import web
from stripe.params.checkout import SessionCreateParams

from tests.fakes.hosted import Hosted

TEST_KEY = "sk_test_tokn"
LIVE_KEY = "sk_live_tokn"
_UNLOADED = {
    "StripeContext": object,
    "Mapping": Mapping,
}  # which that package loads for checkers of types alone
_NAME = re.compile(r"[^\[\]]+")


class RefusalError(Exception):
    """An error of Stripe: its status, its kind, and the parameter that it is about."""

    def __init__(self, status: int, kind: str, message: str, *, param: str = "", code: str = "") -> None:
        super().__init__(message)
        self.status = status
        told = {"type": kind, "message": message, "param": param or None, "code": code or None}
        self.body = {"error": {name: value for name, value in told.items() if value is not None}}


def nested(pairs: list[tuple[str, str]]) -> dict[str, Any]:
    """A form of names as `a[b][0][c]`, as the object that it stands for."""
    made: dict[str, Any] = {}
    for name, value in pairs:
        *places, last = _NAME.findall(name)
        inner = made
        for place in places:
            inner = inner.setdefault(place, {})
        if last in inner:
            raise RefusalError(400, "invalid_request_error", f"{name} was given twice", param=name)
        inner[last] = value
    return made


def check(values: dict[str, Any], form: Any, place: str = "") -> None:
    """Refuses what Stripe's form does not have. Raises RefusalError."""
    hints = typing_extensions.get_type_hints(form, localns=_UNLOADED)
    for name, value in values.items():
        at = f"{place}[{name}]" if place else name
        if name not in hints:
            why = f"Received unknown parameter: {at}"
            raise RefusalError(400, "invalid_request_error", why, param=at, code="parameter_unknown")
        _inside(value, hints[name], at)


def _inside(value: Any, hint: Any, at: str) -> None:
    if not isinstance(value, dict):
        return
    if typing_extensions.is_typeddict(hint):
        check(value, hint, at)
    elif typing.get_origin(hint) is list:
        for place, one in value.items():
            _inside(one, typing.get_args(hint)[0], f"{at}[{place}]")
    elif typing.get_origin(hint) in {typing.Union, types.UnionType}:
        _inside(value, typing.get_args(hint)[0], at)


class FakeStripe(Hosted):
    """One account at Stripe. `sessions` are those that were made, by their ids; `failing` answers all with that status."""

    def __init__(self, key: str = TEST_KEY) -> None:
        super().__init__()
        self.key = key
        self.failing = 0
        self.silent = False  # it takes requests, and does not answer
        self.calls: list[str] = []
        self.sessions: dict[str, dict[str, Any]] = {}
        self.intents: dict[str, dict[str, Any]] = {}
        self._done: dict[str, tuple[str, dict[str, Any]]] = {}

    def routes(self) -> list[web.AbstractRouteDef]:
        """What is asked of it here."""
        return [
            web.post("/v1/checkout/sessions", self._answered(self._create)),
            web.get("/v1/payment_intents/{id}", self._answered(self._intent)),
            web.get("/c/pay/{id}", self._page),
            web.get("/favicon.ico", self._icon),
        ]

    @property
    def live(self) -> bool:
        """Its key's mode."""
        return "_live_" in self.key

    def intent(self, id_: str, topup: str, cents: int, **fields: Any) -> str:
        """A payment of it, with what its session gave it to remember."""
        self.intents[id_] = {
            "id": id_,
            "object": "payment_intent",
            "amount": cents,
            "currency": "usd",
            "livemode": self.live,
            "metadata": {"tokn_topup": topup} if topup else {},
            "status": "succeeded",
            **fields,
        }
        return id_

    def _answered(self, handler: Any) -> Any:
        async def answer(request: web.Request) -> web.Response:
            self.calls.append(f"{request.method} {request.path}")
            while self.silent:
                await asyncio.sleep(0.02)
            try:
                self._admit(request)
                made = await handler(request)
            except RefusalError as refusal:
                return web.json_response(refusal.body, status=refusal.status)
            return web.json_response(made, headers={"request-id": "req_fake"})

        return answer

    def _admit(self, request: web.Request) -> None:
        if self.failing:
            raise RefusalError(self.failing, "api_error", "An error occurred on our end.")
        if request.headers.get("authorization") != f"Bearer {self.key}":
            raise RefusalError(401, "invalid_request_error", "Invalid API Key provided: sk_test_****okn")

    async def _create(self, request: web.Request) -> dict[str, Any]:
        if request.content_type != "application/x-www-form-urlencoded":
            raise RefusalError(400, "invalid_request_error", "Invalid request")
        form = list((await request.post()).items())
        told = json.dumps(sorted(form))
        if key := request.headers.get("idempotency-key", ""):
            known = self._done.get(key)
            if known is not None and known[0] != told:
                raise RefusalError(
                    400,
                    "idempotency_error",
                    "Keys for idempotent requests can only be used again with the same parameters",
                )
            if known is not None:
                return known[1]
        values = nested(form)
        check(values, SessionCreateParams)
        made = self._session(values)
        if key:
            self._done[key] = (told, made)
        return made

    def _session(self, values: dict[str, Any]) -> dict[str, Any]:
        for needed in ("mode", "line_items", "success_url"):
            if needed not in values:
                raise RefusalError(
                    400, "invalid_request_error", f"Missing required param: {needed}.", param=needed
                )
        lines = values["line_items"].values()
        total = sum(int(one["quantity"]) * int(one["price_data"]["unit_amount"]) for one in lines)
        if total < 50:
            raise RefusalError(
                400,
                "invalid_request_error",
                "The total amount due must add up to at least $0.50 usd",
                code="amount_too_small",
            )
        id_ = f"cs_{'live' if self.live else 'test'}_a1fake{len(self.sessions):052d}"
        made = {
            "id": id_,
            "object": "checkout.session",
            "amount_total": total,
            "client_reference_id": values.get("client_reference_id"),
            "currency": next(iter(lines))["price_data"]["currency"],
            "livemode": self.live,
            "metadata": values.get("metadata", {}),
            "mode": values["mode"],
            "payment_intent": None,
            "payment_status": "unpaid",
            "status": "open",
            "success_url": values["success_url"],
            "cancel_url": values.get("cancel_url"),
            # Another site than 127.0.0.1 to a browser, as Stripe is to a console.
            "url": f"http://localhost:{self.port}/c/pay/{id_}#fidkdWxOYHwnPyd1blpxYHZxWjA0",
        }
        self.sessions[id_] = made
        return made

    async def _intent(self, request: web.Request) -> dict[str, Any]:
        found = self.intents.get(request.match_info["id"])
        if found is None:
            why = f"No such payment_intent: '{request.match_info['id']}'"
            raise RefusalError(404, "invalid_request_error", why, param="intent", code="resource_missing")
        return found

    async def _icon(self, _request: web.Request) -> web.Response:
        return web.Response(status=204)

    async def _page(self, request: web.Request) -> web.Response:
        session = self.sessions[request.match_info["id"]]
        text = f"<title>Checkout</title><a id=pay href='{session['success_url']}'>Pay</a><a id=back href='{session['cancel_url']}'>Back</a>"
        return web.Response(text=text, content_type="text/html")
