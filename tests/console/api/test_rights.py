"""Each route by each right: no credential, one without the scope, one of another organisation, and one that has it."""

import json
from collections.abc import Callable
from typing import Any

from msgspec.structs import asdict

from console.api.base import Route
from console.api.routes import ROUTES
from schemas.admin.authority import SCOPES, allows
from schemas.admin.credentials import new_management_key
from tests.console.api.rig import Rig, World, populated
from tests.ledger.deployment import until

Ask = Callable[[World], tuple[str, Any]]
NONE = "none"  # the id of nothing


def _to(world: World, **fields: Any) -> dict[str, Any]:
    return {"key": world.k1, "reason": "r", "amount_nano": 1, **fields}


# What each route is asked about an organisation: the path, and the body.
OF: dict[str, Ask] = {
    "POST /organizations": lambda w: ("/organizations", {"id": f"{w.organization}2", "name": "n"}),
    "GET /organizations": lambda _: ("/organizations", None),
    "GET /organizations/{id}": lambda w: (f"/organizations/{w.organization}", None),
    "PATCH /organizations/{id}": lambda w: (f"/organizations/{w.organization}", {"name": "changed"}),
    "POST /keys": lambda w: ("/keys", {"organization": w.organization}),
    "GET /keys": lambda w: (f"/keys?organization={w.organization}", None),
    "GET /keys/{id}": lambda w: (f"/keys/{w.k1}", None),
    "PATCH /keys/{id}": lambda w: (f"/keys/{w.k1}", {"name": "changed"}),
    "POST /keys/{id}/rotate": lambda w: (f"/keys/{w.k2}/rotate", {}),
    "POST /keys/{id}/revoke": lambda w: (f"/keys/{w.k3}/revoke", {}),
    "DELETE /keys/{id}": lambda w: (f"/keys/{w.k4}", None),
    "POST /caps": lambda w: ("/caps", {"key": w.k1, "period": "day", "limit_nano": 10**12}),
    "GET /caps": lambda w: (f"/caps?organization={w.organization}", None),
    "GET /caps/{id}": lambda w: (f"/caps/{w.cap}", None),
    "PATCH /caps/{id}": lambda w: (f"/caps/{w.cap}", {"alert_percent": 50}),
    "DELETE /caps/{id}": lambda w: (f"/caps/{w.cap2}", None),
    "POST /credits": lambda w: ("/credits", _to(w, kind="deposit")),
    "GET /credits": lambda w: (f"/credits?organization={w.organization}", None),
    "GET /credits/{id}": lambda w: (f"/credits/{w.credit}", None),
    "POST /moves": lambda w: (
        "/moves",
        {"from": {"key": w.k1}, "to": {"organization": w.organization}, "amount_nano": 1},
    ),
    "GET /calls": lambda w: (f"/calls?organization={w.organization}", None),
    "GET /calls/{id}": lambda w: (f"/calls/{w.call}", None),
    "POST /calls/{id}/refunds": lambda w: (f"/calls/{w.call}/refunds", {"reason": "r", "amount_nano": 1}),
    "GET /usage": lambda w: (f"/usage?group_by=key&organization={w.organization}", None),
    "GET /statements": lambda w: (f"/statements?organization={w.organization}", None),
    "GET /statements/{id}": lambda w: (f"/statements/{w.statement}", None),
    "POST /statements/{id}/issue": lambda w: (f"/statements/{w.statement}/issue", None),
    "GET /exports/journal.csv": lambda w: (f"/exports/journal.csv?organization={w.organization}", None),
    "GET /exports/calls.csv": lambda w: (f"/exports/calls.csv?organization={w.organization}", None),
    "GET /exports/focus.csv": lambda w: (f"/exports/focus.csv?organization={w.organization}", None),
    "GET /models": lambda _: ("/models", None),
    "GET /models/{model}/prices": lambda _: ("/models/gpt-4o/prices", None),
    "GET /models/{model}": lambda _: ("/models/gpt-4o", None),
    "GET /pools": lambda _: ("/pools", None),
    "GET /pools/{name}": lambda _: ("/pools/openai", None),
    "POST /pools/{pool}/accounts/{account}/credits": lambda _: (
        "/pools/openai/accounts/main/credits",
        {"amount_nano": 1},
    ),
    "POST /webhook_endpoints": lambda w: (
        "/webhook_endpoints",
        {"url": "https://example.com/", "organization": w.organization},
    ),
    "GET /webhook_endpoints": lambda w: (f"/webhook_endpoints?organization={w.organization}", None),
    "GET /webhook_endpoints/{id}": lambda w: (f"/webhook_endpoints/{w.endpoint}", None),
    "PATCH /webhook_endpoints/{id}": lambda w: (
        f"/webhook_endpoints/{w.endpoint}",
        {"events": ["balance.low", "organization.created"]},
    ),
    "DELETE /webhook_endpoints/{id}": lambda w: (f"/webhook_endpoints/{w.endpoint2}", None),
    "POST /webhook_endpoints/{id}/rotate": lambda w: (f"/webhook_endpoints/{w.endpoint}/rotate", {}),
    "POST /webhook_endpoints/{id}/test": lambda w: (f"/webhook_endpoints/{w.endpoint}/test", None),
    "POST /webhook_endpoints/{id}/replay": lambda w: (
        f"/webhook_endpoints/{w.endpoint}/replay",
        {"since": 1},
    ),
    "GET /events": lambda w: (f"/events?organization={w.organization}", None),
    "GET /events/{id}": lambda w: (f"/events/{w.event}", None),
    "GET /events/{id}/deliveries": lambda w: (f"/events/{w.event}/deliveries", None),
    "POST /events/{id}/deliveries": lambda w: (f"/events/{w.event}/deliveries", {"endpoint": w.endpoint}),
    "GET /books": lambda _: ("/books", None),
    "POST /books/audit": lambda _: ("/books/audit", None),
    "GET /audit_entries": lambda _: ("/audit_entries", None),
    "GET /settings": lambda _: ("/settings", None),
    "GET /settings/check": lambda _: ("/settings/check", None),
    "POST /settings/reload": lambda _: ("/settings/reload", None),
    "GET /me": lambda _: ("/me", None),
    "POST /operators": lambda w: (
        "/operators",
        {"name": "x", "role": "viewer", "organization": w.organization},
    ),
    "GET /operators": lambda _: ("/operators", None),
    "GET /operators/{id}": lambda w: (f"/operators/{w.operator}", None),
    "PATCH /operators/{id}": lambda w: (f"/operators/{w.operator}", {"name": "y"}),
    "DELETE /operators/{id}": lambda w: (f"/operators/{w.operator2}", None),
    "POST /operators/{id}/invite": lambda w: (f"/operators/{w.operator}/invite", None),
    "POST /management_keys": lambda w: (
        "/management_keys",
        {"scopes": ["keys:read"], "organization": w.organization},
    ),
    "GET /management_keys": lambda _: ("/management_keys", None),
    "GET /management_keys/{id}": lambda w: (f"/management_keys/{w.management_key}", None),
    "PATCH /management_keys/{id}": lambda w: (f"/management_keys/{w.management_key}", {"name": "z"}),
    "DELETE /management_keys/{id}": lambda w: (f"/management_keys/{w.management_key2}", None),
    "GET /sessions": lambda _: ("/sessions", None),
    "GET /sessions/{id}": lambda w: (f"/sessions/{w.session}", None),
    "DELETE /sessions/{id}": lambda w: (f"/sessions/{w.session}", None),
}
# The deployment's: a credential of an organisation has none of it.
DEPLOYMENT = {
    "POST /organizations",
    "GET /pools",
    "GET /pools/{name}",
    "POST /pools/{pool}/accounts/{account}/credits",
    "GET /books",
    "POST /books/audit",
    "GET /audit_entries",
    "GET /settings",
    "GET /settings/check",
    "POST /settings/reload",
}
# These change no row: what they do is sent, and their entry names where.
SENDS = {
    "POST /webhook_endpoints/{id}/test",
    "POST /webhook_endpoints/{id}/replay",
    "POST /events/{id}/deliveries",
    "POST /settings/reload",
}
SHARED = {"GET /me", "GET /models", "GET /models/{model}", "GET /models/{model}/prices"}
GIVES_RIGHTS = {"PATCH /operators/{id}", "DELETE /operators/{id}", "POST /operators/{id}/invite"}
GIVES_RIGHTS |= {"POST /operators", "POST /management_keys", "PATCH /management_keys/{id}"}
GIVES_RIGHTS |= {"DELETE /management_keys/{id}", "DELETE /sessions/{id}"}


def name_of(route: Route) -> str:
    return f"{route.method} {route.path}"


def test_every_route_is_in_the_table():
    """Whoever adds a route says here what it is asked."""
    assert [name_of(route) for route in ROUTES] == list(OF)


def nothing(world: World) -> World:
    """The same with ids of nothing."""
    return World(**dict.fromkeys(asdict(world), NONE))


async def _two(rig: Rig, owner: str) -> tuple[World, World]:
    first, second = await populated(rig, "acme", owner), await populated(rig, "beta", owner)

    async def billed() -> bool:
        calls = [await rig.done("GET", f"/calls/{one.call}", key=owner) for one in (first, second)]
        return all(one["outcome"] for one in calls)

    await until(billed, "both calls are billed")
    return first, second


async def _dead(rig: Rig, owner: str) -> list[str]:
    """Credentials that are none any more, or never were."""
    made = await rig.done("POST", "/management_keys", {"scopes": list(SCOPES)}, key=owner)
    await rig.done("DELETE", f"/management_keys/{made['id']}", key=owner)
    body = {"scopes": list(SCOPES), "expires_in": 60}
    late = await rig.done("POST", "/management_keys", body, key=owner)
    rig.deployment.clock.turn(61)
    return ["", "tokn_admin_x", new_management_key(), made["key"], late["key"]]


class Keys:
    """Management keys by what they may, each made once."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self._made: dict[tuple[Any, ...], str] = {}

    async def of(self, *scopes: str, organization: str = "") -> str:
        """One with some scopes."""
        asked = (scopes, organization)
        if asked not in self._made:
            self._made[asked] = await self._rig.key(*scopes, organization=organization)
        return self._made[asked]


def _without(scope: str) -> list[str]:
    """All scopes that do not allow one."""
    return [one for one in SCOPES if not allows((one,), scope)]


async def test_each_route_by_each_right(rig: Rig):
    """Nobody without the scope, dead, or of another organisation gets anything but its refusal; who has it, has it."""
    owner = await rig.key()
    acme, beta = await _two(rig, owner)
    dead = await _dead(rig, owner)
    ids_of_beta = set(asdict(beta).values())
    of_acme, keys = await rig.key(organization="acme"), Keys(rig)
    before = await _fingerprint(rig, owner)
    for route in ROUTES:
        name = name_of(route)
        path, body = OF[name](beta)
        for key in dead:
            answer = await rig.ask(route.method, path, body, key=key)
            assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_management_key")
        if route.scope:
            narrow = await keys.of(*_without(route.scope))
            answer = await rig.ask(route.method, path, body, key=narrow)
            assert (answer.status_code, answer.json()["error"]["code"]) == (403, "missing_scope"), name
            assert route.scope in answer.json()["error"]["message"]
        answer = await rig.ask(route.method, path, body, key=of_acme)
        if name in DEPLOYMENT:
            assert answer.json()["error"]["code"] == "organization_forbidden", (name, answer.text)
        elif name not in SHARED:
            assert not [one for one in ids_of_beta if json.dumps(one) in answer.text], (name, answer.text)
            await _sees_nothing(rig, route, answer, beta, of_acme)
    assert await _fingerprint(rig, owner) == before
    await _allowed(rig, owner, beta, keys)
    assert (await rig.deployment.audit())["ok"]
    assert acme.organization == "acme"


async def _sees_nothing(rig: Rig, route: Route, answer: Any, beta: World, key: str) -> None:
    """What is another organisation's is not there: the answer is the same as for what never was."""
    name = name_of(route)
    if answer.status_code == 200:
        data = answer.json()
        assert "data" in data or "buckets" in data, name
        path, _ = OF[name](beta)
        if "organization=" in path:
            assert not data.get("data", data.get("buckets")), name
        return
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "resource_missing"), (
        name,
        answer.text,
    )
    path, body = OF[name](nothing(beta))
    never = await rig.ask(route.method, path, body, key=key)
    assert (never.status_code, never.json()) == (404, answer.json()), name


async def _fingerprint(rig: Rig, owner: str) -> Any:
    """All that a caller of one organisation may not have changed."""
    lists = ("/keys", "/caps", "/credits", "/operators", "/organizations", "/sessions", "/webhook_endpoints")
    found = {path: (await rig.done("GET", f"{path}?limit=200", key=owner))["data"] for path in lists}
    for key in found["/keys"]:
        key["last_used_at"] = None  # is told once the call is rolled up
    return json.dumps(found, sort_keys=True)


async def _allowed(rig: Rig, owner: str, beta: World, keys: Keys) -> None:
    """Who has the one scope that a route names, and is of the organisation or of all, is answered; and each act is entered."""
    done: dict[str, str] = {}
    for route in ROUTES:
        name = name_of(route)
        path, body = OF[name](beta)
        whose = "" if name in DEPLOYMENT else "beta"
        # Nobody gives or takes rights that he has not himself.
        scopes = SCOPES if name in GIVES_RIGHTS or not route.scope else (route.scope,)
        key = await keys.of(*scopes, organization=whose)
        answer = await rig.ask(route.method, path, body, key=key, user_agent="tests")
        assert answer.status_code == route.status, (name, answer.text)
        if route.writes and name != "POST /books/audit":
            done[answer.headers["x-request-id"]] = name
    entries = (await rig.done("GET", "/audit_entries?limit=200", key=owner))["data"]
    entered = {one["request_id"]: one for one in entries}
    for request_id, name in done.items():
        entry = entered[request_id]
        assert entry["actor"]["type"] == "management_key", name
        assert (entry["ip"], entry["user_agent"]) == ("127.0.0.1", "tests"), name
        assert entry["after"] or name in SENDS, name
        assert entry["target"], name
        assert entry["before"] or name.startswith("POST"), name


async def test_scopes_of_an_opening_balance(rig: Rig):
    """Who may make keys gives no money with one, unless he may give money."""
    owner = await rig.key()
    await rig.done("POST", "/organizations", {"id": "acme", "name": "Acme"}, key=owner)
    narrow = await rig.key("keys:write")
    body = {"organization": "acme", "opening_usd": "1"}
    answer = await rig.ask("POST", "/keys", body, key=narrow)
    assert (answer.status_code, "money:write" in answer.text) == (403, True)
    both = await rig.key("keys:write", "money:write")
    assert (await rig.done("POST", "/keys", body, key=both))["balance"]["posted_nano"] == 10**9
    of_acme = await rig.key("keys:write", organization="acme")
    assert (await rig.done("POST", "/keys", {}, key=of_acme))["organization"] == "acme"


async def test_what_is_ours_is_not_told(rig: Rig):
    """A credential of an organisation sees neither our accounts nor our cost, in calls, sums and models."""
    owner = await rig.key()
    acme, _ = await _two(rig, owner)
    of_acme = await rig.key(organization="acme")
    mine = await rig.done("GET", f"/calls/{acme.call}", key=owner)
    theirs = await rig.done("GET", f"/calls/{acme.call}", key=of_acme)
    assert (mine["tries"][0]["account"], theirs["tries"][0]["account"]) == ("main", None)
    assert (mine["cost_nano"] > 0, theirs["cost_nano"]) == (True, None)
    sums = [(await rig.done("GET", "/usage", key=key))["buckets"][0]["cost_nano"] for key in (owner, of_acme)]
    assert (sums[0] > 0, sums[1]) == (True, None)
    assert not (await rig.done("GET", "/models/gpt-4o", key=of_acme))["reasons"]
