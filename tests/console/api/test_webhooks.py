"""Webhooks over HTTP: a secret is shown once, an event has its deliveries, and what one organisation has is nobody else's."""

import pytest
from standardwebhooks import Webhook

from schemas.bus.subjects import Role
from schemas.verbs.base import Rows
from schemas.verbs.hooks import HOOK_LOG, HOOKS, Attempt, HookLog, HooksQuery, HooksReply, Outcome
from tests.console.api.rig import Rig, populated

sqlite = pytest.mark.parametrize("dialect", ["sqlite"])


async def _secrets(rig: Rig, endpoint: str) -> tuple[str, ...]:
    """What signs for an endpoint, as the dispatcher is told it."""
    reply: HooksReply = await rig.deployment.ask(Role.CONSOLE, HOOKS, HooksQuery(), HooksReply)
    return next((one.secrets for one in reply.hooks if one.id == endpoint), ())


async def _delivered(rig: Rig, endpoint: str, event: str, number: int, code: int) -> None:
    outcome = Outcome.SUCCEEDED if code == 200 else Outcome.RETRYING
    attempt = Attempt(
        f"dlv_{number}", endpoint, event, "key.created", number, outcome, code, 12, "said", "", 0
    )
    rows: Rows = await rig.deployment.ask(Role.CONSOLE, HOOK_LOG, HookLog(1, (attempt,)), Rows)
    assert not rows.problem


@sqlite
async def test_a_secret_is_shown_once_and_signs(rig: Rig) -> None:
    """The answer that makes it has it, and none after; a repeated request does not; a rotation has both sign for a while."""
    owner = await rig.key()
    body = {"url": "https://example.com/hook", "events": ["balance.low"]}
    first = await rig.done("POST", "/webhook_endpoints", body, key=owner, idempotency_key="k")
    secret = first["secret"]
    assert first["secrets"][0]["hint"] == secret[-4:]
    Webhook(secret)  # a library takes it
    again = await rig.ask("POST", "/webhook_endpoints", body, key=owner, idempotency_key="k")
    assert again.headers["idempotent-replayed"] == "true"
    assert again.json() == first | {"secret": None}
    path = f"/webhook_endpoints/{first['id']}"
    assert (await rig.done("GET", path, key=owner))["secret"] is None
    rotated = await rig.done("POST", f"{path}/rotate", {"overlap": 3_600}, key=owner)
    assert await _secrets(rig, first["id"]) == (rotated["secret"], secret)
    at_once = await rig.done("POST", f"{path}/rotate", {"overlap": 0}, key=owner)
    assert await _secrets(rig, first["id"]) == (at_once["secret"],)
    log = (await rig.ask("GET", "/audit_entries?limit=200", key=owner)).text
    assert not [one for one in (secret, rotated["secret"], at_once["secret"]) if one in log]


@sqlite
async def test_what_an_endpoint_may_be(rig: Rig) -> None:
    """What nothing could be sent to, and a type that is none, is refused with a sentence; a version is kept to."""
    owner = await rig.key()
    for body, said in (
        ({"url": "http://example.com/"}, "https"),
        ({"url": "https://user@example.com/"}, "URL"),
        ({"url": "https://example.com/", "events": ["no.such"]}, "events"),
        ({"url": "https://example.com/", "events": ["*", "balance.low"]}, "'*'"),
        ({"url": "https://example.com/", "secret": "x"}, "secret"),
    ):
        answer = await rig.ask("POST", "/webhook_endpoints", body, key=owner)
        assert (answer.status_code, said in answer.text) == (400, True), (body, answer.text)
    made = await rig.done("POST", "/webhook_endpoints", {"url": "https://example.com/"}, key=owner)
    path = f"/webhook_endpoints/{made['id']}"
    off = await rig.done("PATCH", path, {"status": "disabled"}, key=owner, if_match='"1"')
    assert (off["status"], off["disabled_reason"]) == ("disabled", "by an operator")
    stale = await rig.ask("PATCH", path, {"status": "enabled"}, key=owner, if_match='"1"')
    assert (stale.status_code, stale.json()["current"]["version"]) == (409, off["version"])
    untested = await rig.ask("POST", f"{path}/test", key=owner)
    assert (untested.status_code, "enable it first" in untested.text) == (400, True)
    gone = await rig.done("DELETE", path, key=owner)
    assert (gone["status"], gone["secrets"]) == ("deleted", [])
    assert (await rig.ask("GET", path, key=owner)).status_code == 404
    assert not (await rig.done("GET", "/webhook_endpoints", key=owner))["data"]


async def test_events_and_their_deliveries(rig: Rig) -> None:
    """Events are pages, newest first; each has its attempts; one is sent again to an endpoint, or all since a moment."""
    owner = await rig.key()
    acme = await populated(rig, "acme", owner)
    pages, after = [], ""
    while True:
        page = await rig.done("GET", f"/events?limit=3&starting_after={after}", key=owner)
        pages += page["data"]
        if not page["has_more"]:
            break
        after = page["next"]
    assert len({one["id"] for one in pages}) == len(pages) > 3
    created = [one for one in pages if one["type"] == "key.created"]
    assert [one["about"] for one in created] == [acme.k4, acme.k3, acme.k2, acme.k1]
    event = created[0]
    shown = await rig.done("GET", f"/events/{event['id']}", key=owner)
    assert shown | {"published": None} == event | {"published": None}  # it goes on meanwhile
    assert event["data"]["object"]["id"] == acme.k4
    for number, code in ((1, 500), (2, 200)):
        await _delivered(rig, acme.endpoint, event["id"], number, code)
    listed = await rig.done("GET", f"/events/{event['id']}/deliveries", key=owner)
    assert [(one["attempt"], one["code"]) for one in listed["data"]] == [(2, 200), (1, 500)]
    sent = await rig.done(
        "POST", f"/events/{event['id']}/deliveries", {"endpoint": acme.endpoint2}, key=owner
    )
    assert (sent["endpoint"], sent["events"]) == (acme.endpoint2, 1)
    path = f"/webhook_endpoints/{acme.endpoint}"
    since = await rig.done("POST", f"{path}/replay", {"since": event["created"] - 86_400}, key=owner)
    assert since["events"] > 4
    test = await rig.done("POST", f"{path}/test", key=owner)
    told = await rig.done("GET", f"/events/{test['event']}", key=owner)
    assert (told["type"], told["about"]) == ("webhook.test", acme.endpoint)
    assert test["event"] not in (await rig.ask("GET", "/events?limit=200", key=owner)).text


async def test_what_the_deployment_is_answered_is_not_an_organisations(rig: Rig) -> None:
    """A key of an organisation sees its events, and of their deliveries those to its own endpoints alone."""
    owner = await rig.key()
    acme = await populated(rig, "acme", owner)
    of_acme = await rig.key("webhooks:write", organization="acme")
    ours = await rig.done("POST", "/webhook_endpoints", {"url": "https://ours.example/"}, key=owner)
    for number, endpoint in enumerate((ours["id"], acme.endpoint), 1):
        await _delivered(rig, endpoint, acme.event, number, 200)
    listed = await rig.done("GET", f"/events/{acme.event}/deliveries", key=of_acme)
    assert [one["endpoint"] for one in listed["data"]] == [acme.endpoint]
    everything = await rig.done("GET", f"/events/{acme.event}/deliveries", key=owner)
    assert len(everything["data"]) == 2
    made = await rig.done("POST", "/webhook_endpoints", {"url": "https://a.example/"}, key=of_acme)
    assert made["organization"] == "acme"
    sent = await rig.ask("POST", f"/events/{acme.event}/deliveries", {"endpoint": ours["id"]}, key=of_acme)
    assert sent.status_code == 404
