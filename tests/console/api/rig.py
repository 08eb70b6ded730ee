"""The admin API over real HTTP, a real bus and a real ledger: a server, clients with credentials, and two organisations."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Any

import httpx
import uvicorn
from msgspec import Struct

from console.api.app import Api
from console.api.rates import Rate, Rates
from console.limits import LIMITS
from console.pieces import Places
from ledger.statements.issuing import DELAY_MS
from ledger.statements.months import month_at
from runtime.bus.bus import Bus
from runtime.ledger import LedgerClient, Patience
from runtime.settings.billing import UTC
from schemas.admin.authority import SCOPES
from schemas.admin.credentials import SignInToken, digest, new_management_key
from schemas.admin.management_keys import ManagementKeyCreate
from schemas.admin.operators import SignIn, SignInCreate
from schemas.admin.verbs import CONSOLE_WRITE, ConsoleWrite
from schemas.bus.subjects import Role, new_id
from schemas.money.pricing import TokenUsage
from schemas.verbs.acts import ACT, ActRequest
from schemas.verbs.base import Rows, encode
from tests.console.conftest import PAGES
from tests.ledger.deployment import Deployment
from tests.ledger.harness import event

ROOT = "/admin/v1"
FAST = Rates(reads=Rate(10_000.0, 10_000), writes=Rate(10_000.0, 10_000))


class Rig:
    """One API on a deployment of ledgers, and what tests do to it."""

    def __init__(self, deployment: Deployment, url: str) -> None:
        self.deployment = deployment
        self.url = url
        self.client = httpx.AsyncClient(base_url=url + ROOT, timeout=60.0, trust_env=False)

    async def act(self, name: str, form: Any) -> dict[str, Any]:
        """An act of the command."""
        request = ActRequest(1, name, encode(form), new_id("idem_"), "cli:tests")
        rows: Rows = await self.deployment.ask(Role.COMMAND, ACT, request, Rows)
        assert not rows.problem, (name, rows)
        return dict(rows.rows[0])

    async def key(self, *scopes: str, organization: str = "", **fields: Any) -> str:
        """A fresh management key, by the command."""
        secret = new_management_key()
        form = ManagementKeyCreate(
            1, digest(secret), secret[-4:], "of a test", scopes or SCOPES, organization=organization, **fields
        )
        await self.act("management_key_create", form)
        return secret

    async def ask(
        self, method: str, path: str, body: Any = None, *, key: str = "", **headers: str
    ) -> httpx.Response:
        """One request; header names have underscores."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if key:
            sent["authorization"] = f"Bearer {key}"
        return await self.client.request(method, path, json=body, headers=sent)

    async def done(self, method: str, path: str, body: Any = None, *, key: str, **headers: str) -> Any:
        """The answer of a request that works."""
        answer = await self.ask(method, path, body, key=key, **headers)
        assert answer.status_code in {200, 201}, (method, path, answer.text)
        return answer.json()

    async def call(self, request_id: str, secret: str) -> None:
        """A call of a key, billed."""
        hold = await self.deployment.authorise(request_id, secret)
        assert hold.request_id == request_id, hold
        await self.deployment.publish(request_id, event(request_id, TokenUsage(input=80, output=40)))


class World(Struct):
    """What there is of one organisation, by id; `k1` to `k4` are keys with 50 USD each."""

    organization: str
    k1: str
    k2: str
    k3: str
    k4: str
    cap: str
    cap2: str
    credit: str
    call: str
    statement: str
    operator: str
    operator2: str
    management_key: str
    management_key2: str
    session: str
    endpoint: str
    endpoint2: str
    event: str


async def populated(rig: Rig, name: str, owner: str) -> World:
    """An organisation with one of everything."""
    made = await rig.done("POST", "/organizations", {"id": name, "name": name.title()}, key=owner)
    ids: dict[str, str] = {"organization": made["id"]}
    secrets = {}
    for one in ("k1", "k2", "k3", "k4"):
        body = {"name": f"{name} {one}", "organization": name, "opening_usd": "50"}
        key = await rig.done("POST", "/keys", body, key=owner)
        ids[one], secrets[one] = key["id"], key["key"]
    await rig.done("POST", "/credits", _given(organization=name, kind="deposit"), key=owner)
    for one, period in (("cap", "day"), ("cap2", "month")):
        body = {"organization": name, "period": period, "limit_usd": "100"}
        ids[one] = (await rig.done("POST", "/caps", body, key=owner))["id"]
    ids["credit"] = (await rig.done("POST", "/credits", _given(key=ids["k1"], kind="goodwill"), key=owner))[
        "id"
    ]
    ids["statement"] = _month_over(rig, name)
    ids["call"] = new_id("req_")
    await rig.call(ids["call"], secrets["k1"])
    for one in ("operator", "operator2"):
        body = {"name": f"{name} {one}", "role": "owner", "organization": name}
        ids[one] = (await rig.done("POST", "/operators", body, key=owner))["id"]
    for one in ("management_key", "management_key2"):
        body = {"name": f"{name} {one}", "scopes": ["keys:read"], "organization": name}
        ids[one] = (await rig.done("POST", "/management_keys", body, key=owner))["id"]
    for one in ("endpoint", "endpoint2"):
        body = {"url": f"https://{name}.example/{one}", "organization": name}
        ids[one] = (await rig.done("POST", "/webhook_endpoints", body, key=owner))["id"]
    made = await rig.done("GET", f"/events?type=organization.created&organization={name}", key=owner)
    ids["event"] = made["data"][0]["id"]
    ids["session"] = await _session(rig, ids["operator"], f"link of {name}")
    return World(**ids)


def _month_over(rig: Rig, organization: str) -> str:
    """Turns the clock to when the month that runs can be issued. Returns its statement's id."""
    clock = rig.deployment.clock
    month = month_at(clock.ms, UTC)
    clock.ms = month.end_ms + DELAY_MS
    return month.id_of(organization)


def _given(**fields: Any) -> dict[str, Any]:
    return {"amount_usd": "5", "reason": "a test", **fields}


async def _session(rig: Rig, operator: str, token: str) -> str:
    await rig.act("sign_in_create", SignInCreate(1, operator, digest(token)))
    form = encode(SignIn(1, digest(f"session of {token}")))
    asked = ConsoleWrite(1, "sign_in", form, SignInToken(digest(token)))
    rows: Rows = await rig.deployment.ask(Role.CONSOLE, CONSOLE_WRITE, asked, Rows)
    return str(rows.rows[0]["id"])


@contextlib.asynccontextmanager
async def serving(
    deployment: Deployment, rates: Rates = FAST, patience_s: float = 20.0
) -> AsyncIterator[Rig]:
    """The API on a deployment, from its bus to its port."""
    bus = await Bus.connect(deployment.server.settings(), Role.CONSOLE, name="test", on_closed=lambda: None)
    deployment.buses[Role.CONSOLE] = bus  # it closes them
    ledger = LedgerClient(bus, Patience(total_s=patience_s, try_s=2.0, pause_s=0.05))
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        Api(ledger, PAGES, Places(LIMITS.exports), rates=rates), log_level="warning", lifespan="off"
    )
    server = uvicorn.Server(config)
    running = asyncio.ensure_future(server.serve(sockets=[listener]))
    rig = Rig(deployment, f"http://127.0.0.1:{listener.getsockname()[1]}")
    try:
        yield rig
    finally:
        await rig.client.aclose()
        server.should_exit = True
        await running
        listener.close()
