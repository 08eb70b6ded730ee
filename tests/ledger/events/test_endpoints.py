"""Webhook endpoints in the books: made, changed, rotated, ended; their secrets sealed, their deliveries noted."""

from types import SimpleNamespace
from typing import Any

from ledger.acts import ACTS
from ledger.commits.pepper import Peppers
from ledger.rules.webhooks import OVERDUE_MS
from ledger.verbs.acts import log_page
from ledger.verbs.hooks import hooks
from ledger.verbs.webhooks import deliveries_page, events_page, webhooks_page
from schemas.bus.subjects import new_id
from schemas.events import EVENTS
from schemas.verbs.acts import LogQuery
from schemas.verbs.base import Rows
from schemas.verbs.hooks import Attempt, HookDisable, HookLog, HooksQuery, HooksReply, Outcome
from schemas.verbs.webhooks import (
    DeliveriesQuery,
    EventsQuery,
    WebhookCreate,
    WebhookRef,
    WebhookReplay,
    WebhookRotate,
    WebhooksQuery,
    WebhookUpdate,
)
from schemas.webhooks import ENDPOINTS_MAX, new_secret
from tests.ledger.harness import Books

URL = "https://example.com/hooks"


async def made(books: Books, *events: str, secret: str = "", **fields: Any) -> str:
    """An endpoint's id."""
    form = WebhookCreate(1, URL, secret or new_secret(), events or ("*",), **fields)
    reply = await books.act("webhook_create", form)
    assert not reply.problem, reply.problem
    return str(reply.rows[0]["id"])


async def asked(books: Books, known: int = -1) -> HooksReply:
    """What a dispatcher is told."""
    services: Any = SimpleNamespace(store=books.store, committer=books.committer)
    return await hooks(services, HooksQuery(known=known))


def attempt(endpoint: str, outcome: str, **fields: Any) -> Attempt:
    """One that a dispatcher notes."""
    values = {"code": 200, "ms": 3, "response": "", "error": "", "retry_ms": 0} | fields
    return Attempt(
        new_id("dlv_"), endpoint, values.pop("event", "evt_1"), "key.created", 1, outcome, **values
    )


async def test_secrets_are_sealed(books: Books) -> None:
    """A secret stands in no table and no log, a dispatcher is told it, and another pepper does not open it."""
    secret, newer = new_secret(), new_secret()
    id_ = await made(books, secret=secret)
    assert [one.secrets for one in (await asked(books)).hooks] == [(secret,)]
    reply = await books.act("webhook_rotate", WebhookRotate(1, id_, newer))
    assert [one["hint"] for one in reply.rows[0]["secrets"]] == [newer[-4:], secret[-4:]]
    assert [one.secrets for one in (await asked(books)).hooks] == [(newer, secret)]
    await books.act("webhook_test", WebhookRef(1, id_))
    for table in ("webhook_endpoints", "audit_entries", "events"):
        rows = await books.store.fetch(f"SELECT * FROM {table}")
        assert rows
        assert not any(one in str(list(map(tuple, rows))) for one in (secret, newer, secret[6:30]))
    books.committer.peppers = Peppers((b"another", b"pepper"))
    assert [one.secrets for one in (await asked(books)).hooks] == [(newer, secret)]
    books.committer.peppers = Peppers((b"another",))
    assert [one.secrets for one in (await asked(books)).hooks] == [()]


async def test_an_overlap_ends(books: Books) -> None:
    """After a rotation both secrets sign for its overlap; without one only the new one does. A deleted endpoint has none."""
    secret, newer, last = new_secret(), new_secret(), new_secret()
    id_ = await made(books, secret=secret)
    await books.act("webhook_rotate", WebhookRotate(1, id_, newer))
    books.clock.turn(86_401)
    assert [one.secrets for one in (await asked(books)).hooks] == [(newer,)]
    await books.act("webhook_rotate", WebhookRotate(1, id_, last, 0))
    assert [one.secrets for one in (await asked(books)).hooks] == [(last,)]
    before = (await asked(books)).version
    await books.act("webhook_delete", WebhookRef(1, id_))
    after = await asked(books, before)
    assert (after.hooks, after.version > before) == ((), True)
    assert (await books.act("webhook_test", WebhookRef(1, id_))).missing
    rows = await books.store.fetch("SELECT secrets FROM webhook_endpoints")
    assert [row[0] for row in rows] == ["[]"]


async def test_what_is_refused(books: Books) -> None:
    """An address that is none, an unknown event, a short secret, an unknown organisation, one endpoint too many: refused."""
    for url in (
        "http://example.com",
        "ftp://example.com",
        "https://",
        "https://user:pw@example.com",
        "https://example.com/\r\nX: y",
        "https://example.com:99999",
        "https://exämple.com",
        "https://" + "a" * 3_000,
        "file:///etc/passwd",
    ):
        form = WebhookCreate(1, url, new_secret(), ("*",))
        assert (await books.act("webhook_create", form)).problem, url
    for secret in ("", "whsec_", "whsec_c2hvcnQ=", "whsec_!!!!", new_secret().removeprefix("whsec_")):
        assert (await books.act("webhook_create", WebhookCreate(1, URL, secret, ("*",)))).problem
    for events in ((), ("no.such",), ("*", "key.created")):
        assert (await books.act("webhook_create", WebhookCreate(1, URL, new_secret(), events))).problem
    form = WebhookCreate(1, URL, new_secret(), ("*",), "nobody")
    assert (await books.act("webhook_create", form)).missing
    for _ in range(ENDPOINTS_MAX):
        await made(books)
    reply: Rows = await books.act("webhook_create", WebhookCreate(1, URL, new_secret(), ("*",)))
    assert str(ENDPOINTS_MAX) in reply.problem
    await books.key(profile="acme")
    await made(books, organization="acme")


async def test_every_act_has_its_entry(books: Books) -> None:
    """Each act on an endpoint is in the log with what it changed, and who asked; sending again, too, with or without a key."""
    id_ = await made(books)
    await books.key()
    (told,) = await books.events("key.created")
    forms = {
        "webhook_update": WebhookUpdate(1, id_, url=f"{URL}2"),
        "webhook_rotate": WebhookRotate(1, id_, new_secret()),
        "webhook_test": WebhookRef(1, id_),
        "webhook_replay": WebhookReplay(1, id_, told["id"]),
        "webhook_delete": WebhookRef(1, id_),
    }
    for name, form in forms.items():
        assert not (await books.act(name, form, actor="cli:ann@desk")).problem
    rows = (await log_page(books.store, LogQuery(actor="cli:ann@desk"))).rows
    assert {row["action"]: row["target"] for row in rows} == dict.fromkeys(forms, id_)
    assert {one.name for one in ACTS if one.name.startswith("webhook_")} == {*forms, "webhook_create"}
    entries = {row["action"]: row for row in rows}
    place = f"webhook_endpoints/{id_}"
    assert entries["webhook_update"]["before"][place]["url"] == URL
    assert entries["webhook_update"]["after"][place]["url"] == f"{URL}2"
    assert entries["webhook_delete"]["after"][place]["status"] == "deleted"
    await books.check()


async def test_pages(books: Books) -> None:
    """Endpoints, deliveries and events come in pages, by what they are asked for."""
    await books.key(profile="acme")
    first = await made(books, organization="acme")
    second = await made(books, "key.created", "cap.reached", "key.created")
    rows = (await webhooks_page(books.store, WebhooksQuery(organization="acme"))).rows
    assert [row["id"] for row in rows] == [first]
    (row,) = (await webhooks_page(books.store, WebhooksQuery(id=second))).rows
    assert row["events"] == ["key.created", "cap.reached"]
    page = await webhooks_page(books.store, WebhooksQuery(limit=1))
    assert [row["id"] for row in page.rows] == [first]
    assert (await webhooks_page(books.store, WebhooksQuery(after=str(page.cursor)))).rows[0]["id"] == second
    log = [attempt(first, Outcome.SUCCEEDED, event=f"evt_{number}") for number in range(3)]
    await books.do(HookLog(1, tuple(log)))
    await books.do(HookLog(1, (*log, attempt(second, Outcome.FAILED, code=0, error="x\x00y", event="evt_1"))))
    rows = (await deliveries_page(books.store, DeliveriesQuery(endpoint=first))).rows
    assert [row["id"] for row in rows] == sorted((one.id for one in log), reverse=True), (
        "noted once, newest first"
    )
    rows = (await deliveries_page(books.store, DeliveriesQuery(event="evt_1"))).rows
    assert {row["endpoint"] for row in rows} == {first, second}
    assert rows[0]["error"] == "xy"
    rows = (await events_page(books.store, EventsQuery(type="key.created"))).rows
    assert [row["organization"] for row in rows] == ["acme"]
    assert (await events_page(books.store, EventsQuery(id=rows[0]["id"]))).rows[0] == rows[0]
    assert (await events_page(books.store, EventsQuery(id=rows[0]["id"], organization="b"))).missing


async def test_an_endpoint_that_fails(books: Books) -> None:
    """It is overdue once all has failed for five days; a success ends that; disabling is an act that tells of itself."""
    id_ = await made(books)
    failed = attempt(id_, Outcome.RETRYING, code=500, retry_ms=5_000)
    assert (await books.do(HookLog(1, (failed,)))).rows == ({"id": id_, "overdue": False},)
    (noted,) = (await deliveries_page(books.store, DeliveriesQuery())).rows
    assert noted["next_at"] == books.clock.ms // 1000 + 5
    books.clock.turn(OVERDUE_MS / 1000)
    await books.do(HookLog(1, (attempt(id_, Outcome.SUCCEEDED),)))
    again = attempt(id_, Outcome.FAILED, code=500)
    assert not (await books.do(HookLog(1, (again,)))).rows[0]["overdue"]
    books.clock.turn(OVERDUE_MS / 1000)
    again = attempt(id_, Outcome.FAILED, code=500)
    assert (await books.do(HookLog(1, (again,)))).rows[0]["overdue"]
    reply = await books.do(HookDisable(1, id_, "five days without a success"))
    assert reply.rows[0]["status"] == "disabled"
    (told,) = await books.events("webhook.disabled")
    assert told["object"] == id_
    assert told["data"]["disabled_reason"] == "five days without a success"
    rows = await books.store.fetch("SELECT actor, target FROM audit_entries WHERE action = 'hook_disable'")
    assert [tuple(row) for row in rows] == [("system", id_)]
    assert (await asked(books)).hooks == ()
    await books.act("webhook_update", WebhookUpdate(1, id_, status="enabled"))
    (hook,) = (await asked(books)).hooks
    assert hook.since_ms == books.clock.ms
    await books.do(HookDisable(1, "whe_none", "x"))
    await books.check()


async def test_replays(books: Books) -> None:
    """One event or all since a moment are written again for one endpoint, with their ids, of its types and organisation."""
    await books.key("a", profile="acme")
    mine = await made(books, "key.created", organization="acme")
    every = await made(books)
    books.clock.turn(60)
    since_ms = books.clock.ms
    await books.key("b", profile="acme")
    await books.key("c", profile="beta")
    (first, *others) = await books.events("key.created")
    reply = await books.act("webhook_replay", WebhookReplay(1, mine, first["id"]), key="once")
    assert reply.rows[0]["events"] == 1
    await books.act("webhook_replay", WebhookReplay(1, mine, first["id"]), key="once")
    again = [one for one in await books.events() if one["again"]]
    assert [(one["id"], one["endpoint"], one["data"]) for one in again] == [
        (first["id"], mine, first["data"])
    ]
    assert (await books.act("webhook_replay", WebhookReplay(1, mine, others[1]["id"]))).missing
    reply = await books.act("webhook_replay", WebhookReplay(1, mine, since_ms=since_ms))
    assert reply.rows[0] == {"id": mine, "events": 1, "more_since": None}
    reply = await books.act("webhook_replay", WebhookReplay(1, every, ago_s=1))
    assert reply.rows[0]["events"] >= 4
    assert (await books.act("webhook_replay", WebhookReplay(1, every))).problem
    test = await books.act("webhook_test", WebhookRef(1, mine))
    (told,) = await books.events("webhook.test")
    assert (told["id"], told["endpoint"]) == (test.rows[0]["event"], mine)


def test_every_type_is_told_somewhere() -> None:
    """Types are unlike, are one `what.happened` each, and stand with their object in one order."""
    names = [one.name for one in EVENTS]
    assert len(set(names)) == len(names)
    assert all(name.count(".") == 1 and name.islower() for name in names)
