"""Top-ups from end to end: a console over a real bus, a ledger on each database, Stripe's own package, and a stand-in for Stripe."""

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from console.api.openapi import described
from console.api.routes import EVERY_ROUTE, ROUTES
from console.api.topups import TOPUPS
from console.desk import Desk
from console.guard import Guard
from console.limits import LIMITS
from console.stripe import PATH
from ledger.payments.told import TYPES
from runtime.bus.bus import Bus
from runtime.http import HttpServer, listen
from runtime.ledger import LedgerClient, Patience
from runtime.settings.console import ConsoleSettings
from runtime.settings.settings import Settings
from runtime.settings.stripe import StripeSettings
from schemas.bus.subjects import Role
from tests.console.api.rig import ROOT, Rig
from tests.console.api.test_examples import run
from tests.console.conftest import PAGES
from tests.fakes.caller import until
from tests.fakes.stripe import FakeStripe
from tests.fakes.stripe_events import SECRET, Paid, signed
from tests.ledger.deployment import Deployment

USD = 1_000_000_000
PAGE = Path(__file__).resolve().parents[3] / "docs" / "payments.md"


class Shop:
    """A deployment that takes payments, its API, and Stripe."""

    def __init__(self, rig: Rig, stripe: FakeStripe) -> None:
        self.rig = rig
        self.stripe = stripe

    async def event(self, body: bytes, *, secret: str = SECRET) -> httpx.Response:
        """Sends an event as Stripe does."""
        sent = signed(body, secret=secret)
        headers = {"stripe-signature": sent.signature, "content-type": "application/json; charset=utf-8"}
        return await self.rig.client.post(f"{self.rig.url}{PATH}", content=sent.body, headers=headers)

    async def pay(self, topup: dict[str, Any]) -> Paid:
        """A top-up's payment."""
        (session,) = (
            one for one in self.stripe.sessions.values() if one["client_reference_id"] == topup["id"]
        )
        cents = topup["amount_nano"] // 10_000_000
        return Paid(topup["id"], session["id"], self.stripe.intent("pi_1", topup["id"], cents), cents)


@pytest.fixture
async def shop(deployment: Deployment) -> AsyncIterator[Shop]:
    """A ledger and a whole console before it."""
    with FakeStripe() as stripe:
        deployment.stripe = StripeSettings(
            api_key=stripe.key, webhook_secret=SECRET, api_base=stripe.base_url
        )
        await deployment.start()
        bus = await Bus.connect(
            deployment.server.settings(), Role.CONSOLE, name="test", on_closed=lambda: None
        )
        deployment.buses[Role.CONSOLE] = bus  # it closes them
        ledger = LedgerClient(bus, Patience(total_s=20.0, try_s=2.0, pause_s=0.05))
        listener: socket.socket = listen("127.0.0.1", 0)
        # What a console knows: that it is on, and no secret.
        desk = Desk(Settings(stripe=StripeSettings()), ledger, LIMITS, PAGES)
        stop = asyncio.Event()
        server = HttpServer(Guard(desk), LIMITS.http)
        running = asyncio.create_task(server.run_until(listener, stop))
        await until(lambda: server.started, 10, "the console listens")
        rig = Rig(deployment, f"http://127.0.0.1:{listener.getsockname()[1]}")
        try:
            yield Shop(rig, stripe)
        finally:
            await rig.client.aclose()
            stop.set()
            await running
            listener.close()
            await deployment.stop()


async def test_from_the_first_request_to_a_dispute(shop: Shop) -> None:
    """A buyer of one organisation pays, once, and is credited by Stripe's word alone; a dispute suspends the organisation."""
    rig = shop.rig
    owner = await rig.key()
    for id_ in ("acme", "beta"):
        await rig.done("POST", "/organizations", {"id": id_, "name": id_}, key=owner)
    buyer = await rig.key("money:read", organization="acme")
    body = {"organization": "acme", "amount_usd": "25"}
    made = await rig.ask("POST", "/topups", body, key=buyer, idempotency_key="one")
    again = await rig.ask("POST", "/topups", body, key=buyer, idempotency_key="one")
    assert (made.status_code, again.json()) == (201, made.json())
    assert (again.headers["idempotent-replayed"], len(shop.stripe.sessions)) == ("true", 1)
    topup = made.json()
    assert topup["url"].startswith(f"http://localhost:{shop.stripe.port}/c/pay/")
    assert (topup["status"], topup["amount_nano"], topup["live"]) == ("open", 25 * USD, False)
    paid = await shop.pay(topup)
    forged = await shop.event(paid.event("checkout.session.completed"), secret="whsec_other")
    assert forged.status_code == 400
    odd = {"stripe-signature": b"t=1,v1=\xe9"}
    assert (await rig.client.post(f"{rig.url}{PATH}", content=b"{}", headers=odd)).status_code == 400
    answers = [await shop.event(paid.event("checkout.session.completed")) for _ in range(3)]
    assert {one.status_code for one in answers} == {200}
    shown = await rig.done("GET", f"/topups/{topup['id']}", key=buyer)
    assert (shown["status"], shown["credited_nano"], shown["url"]) == ("paid", 25 * USD, None)
    (credit,) = (await rig.done("GET", "/credits?organization=acme", key=buyer))["data"]
    assert (credit["kind"], credit["reference"], credit["actor"]) == ("deposit", paid.payment, "stripe")
    await shop.event(paid.event("charge.dispute.created"))
    shown = await rig.done("GET", f"/topups/{topup['id']}", key=buyer)
    assert (shown["disputed_nano"], shown["bad_debt_nano"]) == (25 * USD, 0)
    acme = await rig.done("GET", "/organizations/acme", key=owner)
    assert (acme["status"], acme["balance"]["posted_nano"]) == ("suspended", 0)
    kinds = [one["kind"] for one in (await rig.done("GET", "/credits?organization=acme", key=buyer))["data"]]
    assert sorted(kinds) == ["deposit", "dispute"]
    proof = await rig.deployment.audit()
    assert proof["ok"], proof["findings"]


@pytest.mark.parametrize("dialect", ["sqlite"])
async def test_who_may(shop: Shop) -> None:
    """Nobody without the scope, and nobody of another organisation, makes or sees a top-up; each route is documented."""
    rig = shop.rig
    owner = await rig.key()
    for id_ in ("acme", "beta"):
        await rig.done("POST", "/organizations", {"id": id_, "name": id_}, key=owner)
    topup = await rig.done("POST", "/topups", {"organization": "acme", "amount_nano": 5 * USD}, key=owner)
    other, narrow = await rig.key(organization="beta"), await rig.key("keys:write", "usage:read")
    asked = {
        "POST /topups": ("/topups", {"organization": "acme", "amount_usd": "5"}),
        "GET /topups": ("/topups?organization=acme", None),
        "GET /topups/{id}": (f"/topups/{topup['id']}", None),
    }
    assert [f"{one.method} {one.path}" for one in TOPUPS] == list(asked)
    for route in TOPUPS:
        path, body = asked[f"{route.method} {route.path}"]
        assert (await rig.ask(route.method, path, body)).status_code == 401
        refused = await rig.ask(route.method, path, body, key=narrow)
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "missing_scope")
        answer = await rig.ask(route.method, path, body, key=other)
        if route.path == "/topups" and route.method == "GET":
            assert answer.json()["data"] == []
        else:
            assert (answer.status_code, answer.json()["error"]["code"]) == (404, "resource_missing")
    assert len(shop.stripe.sessions) == 1
    shop.stripe.failing = 500
    away = await rig.ask("POST", "/topups", asked["POST /topups"][1], key=owner)
    assert (away.status_code, away.json()["error"]["code"]) == (503, "payments_away")
    for wrong in ({"amount_usd": "0.5"}, {"amount_usd": "1.001"}, {"amount_nano": -1}, {}):
        assert (
            await rig.ask("POST", "/topups", {"organization": "acme"} | wrong, key=owner)
        ).status_code == 400
    served = (await rig.client.get(f"{rig.url}{ROOT}/openapi.json")).json()
    assert served == described(payments=True)
    assert set(described(payments=True)["paths"]) - set(described()["paths"]) == {
        f"{ROOT}{one.path}" for one in EVERY_ROUTE[len(ROUTES) :]
    }
    from openapi_spec_validator import validate  # noqa: PLC0415  only who runs this pays for it

    validate(served)


@pytest.mark.parametrize("dialect", ["sqlite"])
async def test_a_reload_takes_where_payers_come_back_to(shop: Shop) -> None:
    """An address of the console that a reload has taken is that of the next top-up."""
    owner = await shop.rig.key()
    await shop.rig.done("POST", "/organizations", {"id": "acme", "name": "acme"}, key=owner)
    shop.rig.deployment.file = {"console": ConsoleSettings(public_url="https://moved.example")}
    made = await shop.rig.done("POST", "/settings/reload", key=owner)
    assert [(one["place"], one["restart"]) for one in made["changes"]] == [("[console] public_url", [])]
    await shop.rig.done("POST", "/topups", {"organization": "acme", "amount_usd": "5"}, key=owner)
    (session,) = shop.stripe.sessions.values()
    assert session["success_url"].startswith("https://moved.example/topups/back?")


@pytest.mark.parametrize("dialect", ["sqlite"])
async def test_its_page_is_true(shop: Shop) -> None:
    """Each example of the page succeeds, and it names the route and every type of event that is read."""
    owner = await shop.rig.key()
    await shop.rig.done("POST", "/organizations", {"id": "default", "name": "Default"}, key=owner)
    await run(shop.rig, PAGE, 2)
    assert len(shop.stripe.sessions) == 1
    text = PAGE.read_text()
    assert [one for one in (*TYPES, PATH) if f"{one}`" not in text] == []
