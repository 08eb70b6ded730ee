"""What each route does, and its manners: lists, expansions, versions, idempotency, errors, rates."""

from typing import Any

import pytest

from console.api.app import BODY_BYTES_MAX
from console.api.rates import Rate, Rates
from schemas import keys
from schemas.admin.credentials import digest, new_management_key
from tests.console.api.rig import Rig, populated, serving
from tests.ledger.deployment import Deployment, until

USD = 1_000_000_000
sqlite = pytest.mark.parametrize("dialect", ["sqlite"])


async def test_a_key_from_first_to_last(rig: Rig) -> None:
    """Make, call, list, change, rotate, revoke: each answer is the key as it is then, its secret in one of them alone."""
    owner = await rig.key()
    acme = await populated(rig, "acme", owner)
    body = {
        "name": "ci",
        "organization": "acme",
        "opening_nano": 3 * USD,
        "models": ["gpt-*"],
        "expires_in": 3600,
        "limits": {"requests_per_minute": 60},
        "caps": [{"period": "day", "limit_usd": "1.5"}],
        "low_balance_usd": "0.5",
        "metadata": {"team": "blue"},
    }
    made = await rig.ask("POST", "/keys", body, key=owner)
    key = made.json()
    assert (made.status_code, made.headers["tokn-version"]) == (201, "2026-12-01")
    assert keys.is_well_formed(key["key"])
    assert key["balance"]["posted_nano"] == 3 * USD
    assert key["limits"]["requests_per_minute"] == 60
    assert (key["metadata"], key["low_balance_nano"]) == ({"team": "blue"}, USD // 2)
    await rig.call("req_a", key["key"])

    async def billed() -> bool:
        return bool((await rig.done("GET", f"/calls?key={key['id']}", key=owner))["data"])

    await until(billed, "the call is billed")
    shown = await rig.done(
        "GET", f"/keys/{key['id']}?expand[]=caps&expand[]=limits.used&expand[]=organization", key=owner
    )
    assert shown["key"] is None
    assert shown["caps"][0]["limit_nano"] == 1_500_000_000
    assert shown["limits"]["used"]["requests_per_minute"] == 1
    assert shown["organization"]["id"] == "acme"
    assert shown["secrets"][0]["hint"] == key["key"][-4:]
    change = {"status": "paused", "limits": {"requests_per_minute": None, "in_flight": 3}, "models": None}
    changed = await rig.done("PATCH", f"/keys/{key['id']}", change, key=owner)
    assert (changed["status"], changed["models"], changed["version"]) == ("paused", None, 2)
    assert changed["limits"] == {
        "requests_per_minute": None,
        "tokens_per_minute": None,
        "in_flight": 3,
        "used": None,
    }
    rotated = await rig.done("POST", f"/keys/{key['id']}/rotate", {"overlap": 60}, key=owner)
    assert rotated["key"] not in (None, key["key"])
    assert len(rotated["secrets"]) == 2
    found = await rig.done("GET", f"/keys?digest={keys.digest(rotated['key']).hex()}", key=owner)
    assert [one["id"] for one in found["data"]] == [key["id"]]
    revoked = await rig.done("POST", f"/keys/{key['id']}/revoke", {"reason": "left"}, key=owner)
    assert revoked["status"] == "revoked"
    own = await rig.done("POST", "/keys", {"digest": "ab" * 32, "organization": acme.organization}, key=owner)
    assert own["key"] is None
    assert (await rig.deployment.audit())["ok"]


async def test_money(rig: Rig) -> None:
    """Credits of each kind, a move, refunds in parts and too much: answers, lists, and the proof of the books agree."""
    owner = await rig.key()
    acme = await populated(rig, "acme", owner)
    given = {"key": acme.k1, "amount_usd": "2", "reason": "r"}
    promo = await rig.done(
        "POST", "/credits", given | {"kind": "promotional", "expires_at": 1_800_000_000}, key=owner
    )
    assert (promo["remaining_nano"], promo["expires_at"]) == (2 * USD, 1_800_000_000)
    taken = given | {"kind": "adjustment", "amount_usd": "-1"}
    assert (await rig.done("POST", "/credits", taken, key=owner))["amount_nano"] == -USD
    too_much = await rig.ask("POST", "/credits", taken | {"amount_usd": "-1000"}, key=owner)
    assert (too_much.status_code, too_much.json()["error"]["code"]) == (409, "insufficient_available")
    twice = given | {"kind": "deposit", "reference": "inv-1"}
    await rig.done("POST", "/credits", twice, key=owner)
    used = await rig.ask("POST", "/credits", twice, key=owner)
    assert (used.status_code, used.json()["error"]["code"]) == (409, "reference_used")
    move = {"from": {"key": acme.k1}, "to": {"organization": "acme"}, "amount_usd": "1", "reason": "m"}
    moved = await rig.done("POST", "/moves", move, key=owner)
    assert (moved["amount_nano"], moved["to"]["posted_nano"]) == (USD, 6 * USD)

    async def billed() -> bool:
        return (await rig.done("GET", f"/calls/{acme.call}", key=owner))["outcome"] == "ok"

    await until(billed, "the call is billed")
    receipt = await rig.done("GET", f"/calls/{acme.call}", key=owner)
    assert receipt["tries"][0]["account"] == "main"
    bill = receipt["billed_nano"]
    part = {"amount_nano": 1, "reason": "sorry"}
    assert (await rig.done("POST", f"/calls/{acme.call}/refunds", part, key=owner))["amount_nano"] == 1
    rest = await rig.done("POST", f"/calls/{acme.call}/refunds", {"reason": "all"}, key=owner)
    assert rest["amount_nano"] == bill - 1
    over = await rig.ask(
        "POST", f"/calls/{acme.call}/refunds", {"reason": "x", "amount_nano": bill + 1}, key=owner
    )
    assert over.status_code == 400  # nothing is left
    listed = await rig.done("GET", "/calls?organization=acme&expand[]=refunds&expand[]=receipt", key=owner)
    (call,) = listed["data"]
    assert [one["amount_nano"] for one in call["refunds"]] == [1, bill - 1]
    assert (call["net_nano"], call["receipt"]["held_nano"] > 0) == (0, True)
    sums = await rig.done("GET", "/usage?group_by=day,key&organization=acme", key=owner)
    assert [(one["key"], one["billed_nano"], one["refunded_nano"]) for one in sums["buckets"]] == [
        (acme.k1, bill, bill)
    ]
    assert (sums["rest"]["billed_nano"], sums["has_more"]) == (0, False)
    (page, following) = [
        await rig.done("GET", f"/usage?group_by=key&order={order}&limit=1", key=owner)
        for order in ("billed", "group")
    ]
    for one in (page, following):
        whole = (await rig.done("GET", "/usage", key=owner))["buckets"][0]["billed_nano"]
        assert one["buckets"][0]["billed_nano"] + one["rest"]["billed_nano"] == whole
    if following["has_more"]:
        after = f"/usage?group_by=key&limit=1&starting_after={following['next']}"
        assert (await rig.done("GET", after, key=owner))["buckets"]
    kinds = [one["kind"] for one in (await rig.done("GET", f"/credits?key={acme.k1}", key=owner))["data"]]
    assert set(kinds) == {"refund", "move", "deposit", "adjustment", "promotional", "goodwill"}
    top_up = {"amount_usd": "7", "reason": "paid"}
    await rig.done("POST", "/pools/openai/accounts/main/credits", top_up, key=owner)
    assert (await rig.done("POST", "/books/audit", key=owner))["ok"]
    assert (await rig.done("GET", "/books", key=owner))["findings"] == []


@sqlite
async def test_lists(rig: Rig) -> None:
    """Newest first, page by page by id or by `next`, each row once; a start that is not in the list is refused."""
    owner = await rig.key()
    await rig.done("POST", "/organizations", {"id": "acme", "name": "Acme"}, key=owner)
    for number in range(5):
        await rig.done("POST", "/keys", {"name": f"k{number}", "organization": "acme"}, key=owner)
        rig.deployment.clock.turn(1)
    seen: list[str] = []
    after = ""
    while True:
        page = await rig.done("GET", f"/keys?limit=2&starting_after={after}&organization=acme", key=owner)
        seen += [one["name"] for one in page["data"]]
        assert page["has_more"] == (page["next"] is not None)
        if not page["has_more"]:
            break
        after = page["next"]
    assert seen == ["k4", "k3", "k2", "k1", "k0"]
    nowhere = await rig.ask("GET", "/keys?starting_after=key_none", key=owner)
    assert (nowhere.status_code, nowhere.json()["error"]["param"]) == (400, "starting_after")
    for name, expected in (("K1", ["k1"]), ("%", [])):
        page = await rig.ask("GET", "/keys", key=owner)
        found = await rig.client.get(
            "/keys", params={"name": name}, headers={"authorization": f"Bearer {owner}"}
        )
        assert [one["name"] for one in found.json()["data"]] == expected
        assert page.status_code == 200


@sqlite
async def test_versions_and_repeats(rig: Rig) -> None:
    """A change for a version that is gone is refused with the object; the same key with the same request has one effect."""
    owner = await rig.key()
    body = {"name": "Acme"}
    first = await rig.ask("POST", "/organizations", body, key=owner, idempotency_key="one")
    again = await rig.ask("POST", "/organizations", body, key=owner, idempotency_key="one")
    assert (again.status_code, again.json()) == (201, first.json())
    assert ("idempotent-replayed" in first.headers, again.headers["idempotent-replayed"]) == (False, "true")
    other = await rig.ask("POST", "/organizations", {"name": "B"}, key=owner, idempotency_key="one")
    assert (other.status_code, other.json()["error"]["code"]) == (409, "idempotency_mismatch")
    id_ = first.json()["id"]
    changed = await rig.done("PATCH", f"/organizations/{id_}", {"name": "B"}, key=owner, if_match='"1"')
    stale = await rig.ask("PATCH", f"/organizations/{id_}", {"name": "C"}, key=owner, if_match='"1"')
    assert (stale.status_code, stale.json()["error"]["code"]) == (409, "version_conflict")
    assert (stale.json()["current"]["name"], changed["version"]) == ("B", 2)
    secret = {"organization": id_}
    made = await rig.done("POST", "/keys", secret, key=owner, idempotency_key="key")
    repeated = await rig.done("POST", "/keys", secret, key=owner, idempotency_key="key")
    assert (repeated["id"], repeated["key"], made["key"] is None) == (made["id"], None, False)
    taken = await rig.ask("POST", "/organizations", {"id": id_, "name": "D"}, key=owner)
    assert (taken.status_code, taken.json()["error"]["code"]) == (409, "already_exists")


WRONG: tuple[tuple[str, str, Any, int, str | None], ...] = (
    ("POST", "/keys", {"nmae": "x"}, 400, "nmae"),
    ("POST", "/keys", {"caps": [{"period": "day", "limit_nano": "x"}]}, 400, "caps[0].limit_nano"),
    ("POST", "/keys", {"caps": [{"period": "day"}]}, 400, "caps[0].limit_nano"),
    ("POST", "/keys", {"opening_nano": 1, "opening_usd": "1"}, 400, "opening_nano"),
    ("POST", "/keys", {"opening_usd": "1.0000000001"}, 400, "opening_usd"),
    ("POST", "/keys", {"opening_nano": -1}, 400, None),
    ("POST", "/keys", {"name": "a\0b"}, 400, "name"),
    ("POST", "/keys", {"organization": "none"}, 404, None),
    ("POST", "/keys", {"expires_in": 1, "expires_at": 2}, 400, "expires_at"),
    ("POST", "/keys", {"limits": {"in_flight": 0}}, 400, "limits.in_flight"),
    ("POST", "/credits", {"kind": "deposit", "amount_usd": "1"}, 400, "key"),
    ("POST", "/credits", {"key": "key_x", "kind": "theft", "amount_usd": "1"}, 400, "kind"),
    ("POST", "/caps", {"period": "day", "limit_nano": 1, "key": "a", "organization": "b"}, 400, "key"),
    ("POST", "/moves", {"from": {}, "to": {"key": "k"}, "amount_nano": 1}, 400, "from.key"),
    ("GET", "/keys?limit=0", None, 400, "limit"),
    ("GET", "/keys?limit=201", None, 400, "limit"),
    ("GET", "/keys?color=red", None, 400, "color"),
    ("GET", "/keys?limit=1&limit=2", None, 400, "limit"),
    ("GET", "/keys?expand[]=money", None, 400, "expand[]"),
    ("GET", "/usage?group_by=color", None, 400, "group_by"),
    ("GET", "/usage?group_by=key&starting_after=7", None, 400, "starting_after"),
    ("GET", "/usage?group_by=day&starting_after=1:0:k", None, 400, "starting_after"),
    ("GET", "/keys/key_none", None, 404, None),
    ("GET", "/nothing", None, 404, None),
    ("PUT", "/keys", {}, 405, None),
    ("DELETE", "/keys/key_none", {"a": 1}, 400, None),
)


@sqlite
async def test_errors(rig: Rig) -> None:
    """Whatever is wrong has the envelope, a request id, and the path to what is wrong."""
    owner = await rig.key()
    for method, path, body, status, param in WRONG:
        answer = await rig.ask(method, path, body, key=owner)
        assert answer.status_code == status, (method, path, body, answer.text)
        error = answer.json()["error"]
        assert set(error) == {"message", "type", "param", "code"}
        assert error["param"] == param, (method, path, body, error)
        assert answer.headers["x-request-id"].startswith("req_")
    for headers in ({"if_match": "x"}, {"idempotency_key": "x" * 256}):
        answer = await rig.ask("PATCH", "/keys/key_none", {}, key=owner, **headers)
        assert answer.status_code == 400
    broken = await rig.client.post(
        "/keys",
        content=b"{",
        headers={"authorization": f"Bearer {owner}", "content-type": "application/json"},
    )
    assert broken.status_code == 400
    big = await rig.client.post(
        "/keys", content=b" " * (BODY_BYTES_MAX + 1), headers={"authorization": f"Bearer {owner}"}
    )
    assert (big.status_code, big.json()["error"]["code"]) == (413, "request_too_large")
    assert (await rig.ask("PUT", "/keys", key=owner)).headers["allow"] == "POST, GET"


@sqlite
async def test_rates_and_an_absent_ledger(deployment: Deployment) -> None:
    """Beyond its burst a credential has 429 with the wait, another one has its own; without a ledger it is 503."""
    await deployment.start()
    rates = Rates(reads=Rate(0.001, 3), writes=Rate(0.001, 1), credentials_max=2)
    async with serving(deployment, rates, patience_s=0.5) as rig:
        first, second = await rig.key(), await rig.key()
        codes = [(await rig.ask("GET", "/me", key=first)).status_code for _ in range(4)]
        assert codes == [200, 200, 200, 429]
        limited = await rig.ask("GET", "/me", key=first)
        assert int(limited.headers["retry-after"]) >= 1
        assert limited.json()["error"]["code"] == "rate_limit_exceeded"
        assert (await rig.ask("POST", "/organizations", {"name": "x"}, key=first)).status_code == 201
        assert (await rig.ask("GET", "/me", key=second)).status_code == 200
        await deployment.stop()
        away = await rig.ask("GET", "/me", key=second)
        assert (away.status_code, away.json()["error"]["code"]) == (503, "ledger_away")


@sqlite
async def test_who_is_asking(rig: Rig) -> None:
    """`/me` tells a management key its scopes and organisation; what is no key is refused without asking a ledger."""
    key = await rig.key("keys:read", "money:write")
    me = await rig.done("GET", "/me", key=key)
    assert (me["kind"], me["scopes"], me["organization"]) == (
        "management_key",
        ["keys:read", "money:write"],
        None,
    )
    await rig.deployment.stop()
    for nothing in ("", "tokn_admin_x", keys.generate(), new_management_key() + "x"):
        answer = await rig.ask("GET", "/me", key=nothing)
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_management_key")
    assert digest(key) != digest(new_management_key())
