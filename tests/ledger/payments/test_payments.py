"""What is given for payments through Stripe and taken back: once, by its word alone, whatever comes twice, late or forged."""

import asyncio
import itertools
import json
import time
from collections.abc import AsyncIterator, Callable

import pytest
from structlog.testing import capture_logs

from ledger.acts import topups as acts
from ledger.payments import payments as module
from ledger.payments.client import TOLERANCE_S, StripeClient
from ledger.payments.provider import ProviderAwayError
from ledger.payments.told import TYPES
from ledger.rules.topup_rows import Opened, Topup
from runtime.bounded import Warnings
from runtime.log import get_logger
from runtime.settings.stripe import StripeSettings
from schemas.admin.credentials import ManagementKey, digest
from schemas.admin.reasons import Reason
from schemas.verbs.base import Rows
from schemas.verbs.money import Post
from schemas.verbs.topups import StripeEvent
from tests.fakes.caller import until
from tests.fakes.stripe import LIVE_KEY
from tests.fakes.stripe_events import SECRET, Paid, signed
from tests.ledger.harness import USD, Books
from tests.ledger.payments.paying import BUYER, Paying, paying

DONE = "checkout.session.completed"
LATER = "checkout.session.async_payment_succeeded"
REFUNDED = "charge.refunded"
DISPUTED = "charge.dispute.created"
CLOSED = "charge.dispute.closed"
PAID = 25 * USD


@pytest.fixture
async def payments(books: Books) -> AsyncIterator[Paying]:
    """Payments on empty books, with an organisation."""
    async with paying(books) as made:
        await made.organization("acme")
        yield made
        await books.check()


def _why(answer: Rows) -> object:
    return answer.rows[0].get("why") if answer.rows else answer.problem


async def test_a_payment_is_a_deposit_once(payments: Paying) -> None:
    """A paid session gives its amount to the wallet, under the payment's id; told again in any way, it gives nothing more."""
    paid = await payments.open("acme")
    (session,) = payments.stripe.sessions.values()
    assert session["amount_total"] == 2_500
    assert session["success_url"].startswith(
        "https://console.example/topups/back?organization=acme&topup=tup_"
    )
    await payments.take(paid.event(DONE), paid.event(DONE), paid.event(LATER))
    other_id = paid.event(DONE, of={"id": "evt_other"})
    await payments.take(other_id)
    assert await payments.wallet("acme") == PAID
    (credit,) = await payments.books.store.fetch(
        "SELECT kind, amount_nano, transfer, reference, actor FROM credits"
    )
    assert tuple(credit) == ("deposit", PAID, paid.topup, paid.payment, "stripe")
    told = await payments.books.events("credit.created")
    assert [(one["organization"], one["data"]["amount_nano"]) for one in told] == [("acme", PAID)]
    entries = await payments.books.store.fetch(
        "SELECT action, target, actor FROM audit_entries WHERE action LIKE 'topup%' ORDER BY number"
    )
    assert [tuple(one)[:2] for one in entries] == [
        ("topup_create", paid.topup),
        ("topup_opened", paid.topup),
        ("topup_said", paid.topup),
    ]
    assert entries[2][2] == "stripe"


async def test_twenty_at_once(payments: Paying) -> None:
    """The same event twenty times at once, and the two events of one payment, give once."""
    paid = await payments.open("acme")
    await asyncio.gather(*(payments.take(paid.event(one)) for one in (DONE, LATER) for _ in range(10)))
    assert await payments.wallet("acme") == PAID


async def test_a_slow_bank(payments: Paying) -> None:
    """A session that is completed and not paid gives nothing, until its payment has succeeded; or has failed, or expired."""
    paid, failed, gone = [await payments.open("acme") for _ in range(3)]
    await payments.take(*(one.event(DONE, payment_status="unpaid") for one in (paid, failed)))
    assert (await payments.row(paid.topup))["status"] == "processing"
    assert await payments.wallet("acme") == 0
    await payments.take(paid.event(LATER), failed.event("checkout.session.async_payment_failed"))
    await payments.take(gone.event("checkout.session.expired"))
    assert [(await payments.row(one.topup))["status"] for one in (paid, failed, gone)] == [
        "paid",
        "failed",
        "expired",
    ]
    assert await payments.wallet("acme") == PAID


def _forged(body: bytes) -> dict[str, StripeEvent]:
    now_s = int(time.time())
    good = signed(body)
    return {
        "another secret": signed(body, secret="whsec_other"),
        "another body": StripeEvent(1, body.replace(b"2500", b"9900"), good.signature),
        "too old": signed(body, at_s=now_s - TOLERANCE_S - 5),
        "none": StripeEvent(1, body, ""),
        "nonsense": StripeEvent(1, body, "t=x,v1="),
        "another scheme": StripeEvent(1, body, good.signature.replace("v1=", "v0=")),
        "not of ASCII": StripeEvent(1, body, "t=1,v1=\xe9"),
        "no character": StripeEvent(1, body, f"{good.signature},v1=\ud800"),
        "no text": StripeEvent(1, b"\xff\xfe", good.signature),
    }


async def test_what_is_not_of_stripe(payments: Paying) -> None:
    """By Stripe's own code: without its signature of this body and of now, an event is refused and nothing changes."""
    paid = await payments.open("acme")
    before = await payments.books.state()
    for name, sent in _forged(paid.event(DONE)).items():
        answer = await payments.payments.take(sent)
        assert answer.reason == Reason.INVALID_SIGNATURE, name
    assert await payments.books.state() == before
    good = signed(paid.event(DONE))  # while a secret is changed, Stripe signs with both
    both = f"{good.signature},v1={'0' * 64}"
    await payments.payments.take(StripeEvent(1, good.body, both))
    assert await payments.wallet("acme") == PAID


async def test_whatever_goes_wrong_is_answered(payments: Paying, monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody has thought of is a refusal at once, after which Stripe sends the event again, and never silence."""
    paid = await payments.open("acme")

    def broken(_event: object) -> None:
        raise TypeError("nobody thought of it")

    with monkeypatch.context() as patch, capture_logs() as lines:
        patch.setattr(module, "fact_of", broken)
        patch.setattr(module, "_failed", Warnings(get_logger("test"), "failed"))
        (answer,) = await payments.take(paid.event(DONE))
    assert [type(one["exc_info"]) for one in lines] == [TypeError]
    assert (answer.reason, "nobody" in answer.problem) == (Reason.PAYMENTS_AWAY, False)
    await payments.take(paid.event(DONE))
    assert await payments.wallet("acme") == PAID


def _empty(paid: Paid, **fields: object) -> bytes:
    return json.dumps(json.loads(paid.event(DONE)) | {"data": {"object": {}}} | fields).encode()


async def test_what_was_paid_and_is_not_in_the_books(payments: Paying) -> None:
    """A paid session of ours that the books do not have, and an event that cannot be read, are no success: Stripe goes on."""
    paid = await payments.open("acme")
    counted = payments.books.telemetry.unknown_payments
    before = counted._value.get()
    (unknown,) = await payments.take(paid.event(DONE, id="cs_test_of_a_backup"))
    assert (unknown.reason, counted._value.get() - before) == (Reason.RESOURCE_MISSING, 1)
    await payments.books.act("deposit", Post(1, "org:acme", PAID, "by hand", paid.payment))
    (settled,) = await payments.take(paid.event(DONE, id="cs_test_of_a_backup"))
    assert _why(settled) == "it was booked by hand"
    for unread in (_empty(paid), b'{"id": "evt_1"}'):
        (answer,) = await payments.take(unread)
        assert answer.problem == "it cannot be read: see the ledger's log"
    assert await payments.wallet("acme") == PAID


UNFIT: dict[str, Callable[[Paid], bytes]] = {
    "another amount": lambda paid: paid.event(DONE, amount_total=2_501),
    "another currency": lambda paid: paid.event(DONE, currency="eur"),
    "another session": lambda paid: paid.event(DONE, id="cs_test_of_somebody_else", metadata={}),
    "another that is not paid": lambda paid: paid.event("checkout.session.expired", id="cs_test_other"),
    "the other mode": lambda paid: paid.event(DONE, of={"livemode": True}),
    "another account": lambda paid: paid.event(DONE, of={"account": "acct_1Other"}),
    "a subscription": lambda paid: paid.event(DONE, mode="subscription"),
    "no payment": lambda paid: paid.event(DONE, payment_intent=None, payment_status="no_payment_required"),
    "an unknown type": lambda paid: paid.event(DONE, of={"type": "invoice.paid"}),
    "an unknown type without an object": lambda paid: _empty(paid, type="invoice.paid"),
    "another account's without an object": lambda paid: _empty(paid, account="acct_1Other"),
}


async def test_what_was_not_asked_for(payments: Paying) -> None:
    """Another amount, currency, session, mode, account or purpose than the books asked for gives nothing, and is taken."""
    paid = await payments.open("acme")
    for name, unfit in UNFIT.items():
        (answer,) = await payments.take(unfit(paid))
        assert not answer.problem, (name, answer)
        assert await payments.wallet("acme") == 0, name
    await payments.take(paid.event(DONE))
    assert await payments.wallet("acme") == PAID


async def test_live_money_only_for_live_payments(books: Books) -> None:
    """Where real money moves, an event of the test mode gives nothing, though it is signed."""
    settings = StripeSettings(api_key=LIVE_KEY, webhook_secret=SECRET)
    async with paying(books, settings) as made:
        (answer,) = await made.take(Paid("tup_x", "cs_test_x").event(DONE))
        assert _why(answer) == "it is about nothing here"


async def test_one_payment_pays_one_top_up(payments: Paying) -> None:
    """An event that names the payment of another top-up gives nothing."""
    first, second = await payments.open("acme"), await payments.open("acme")
    await payments.take(first.event(DONE), second.event(DONE, payment_intent=first.payment))
    await payments.take(first.event(DONE, payment_intent=second.payment))
    assert await payments.wallet("acme") == PAID


async def test_one_claim_is_of_one_top_up(payments: Paying) -> None:
    """A dispute that stands under one top-up and is told of another is refused, and the writer goes on."""
    first, second = await payments.open("acme"), await payments.open("acme")
    await payments.take(first.event(DONE), second.event(DONE), first.event(DISPUTED, id="du_one"))
    before = await payments.books.state()
    (answer,) = await payments.take(second.event(DISPUTED, id="du_one"))
    assert answer.problem == f"dispute du_one is of top-up {first.topup}"
    assert await payments.books.state() == before
    await payments.take(second.event(DISPUTED, id="du_two"))
    assert await payments.wallet("acme") == 0


async def test_what_was_booked_by_hand(payments: Paying) -> None:
    """A payment that somebody has booked by its id is not given twice, and its refund is his to book."""
    paid = await payments.open("acme")
    await payments.books.act("deposit", Post(1, "org:acme", PAID, "by hand", paid.payment))
    await payments.take(paid.event(DONE), paid.event(REFUNDED, amount_refunded=2_500))
    assert await payments.wallet("acme") == PAID
    assert (await payments.row(paid.topup))["given_nano"] == 0


async def test_refunds_are_the_difference_to_the_cumulative_figure(payments: Paying) -> None:
    """Each refund takes what the figure has grown by; an older figure takes nothing, and one that failed is given back."""
    paid = await payments.open("acme")
    await payments.take(paid.event(DONE), paid.event(REFUNDED), paid.event("refund.created"))
    assert await payments.wallet("acme") == 15 * USD
    await payments.take(paid.event(REFUNDED, amount_refunded=1_700), paid.event(REFUNDED))
    assert await payments.wallet("acme") == 8 * USD
    second = {"id": "re_second", "amount": 700}
    await payments.take(paid.event("refund.updated"), paid.event("refund.created", **second))
    assert await payments.wallet("acme") == 8 * USD
    await payments.take(paid.event("refund.failed"), paid.event("refund.failed"))
    assert await payments.wallet("acme") == 18 * USD
    await payments.take(paid.event("refund.updated"), paid.event(REFUNDED, amount_refunded=1_700))
    assert await payments.wallet("acme") == 18 * USD
    kinds = await payments.books.store.fetch("SELECT kind, amount_nano FROM credits ORDER BY created_ms, id")
    assert sorted((str(one[0]), int(one[1])) for one in kinds) == [
        ("deposit", PAID),
        ("deposit_return", -10 * USD),
        ("deposit_return", -7 * USD),
        ("deposit_return", 10 * USD),
    ]


async def test_a_dispute(payments: Paying) -> None:
    """A dispute takes what is available of what was paid in, the rest is bad debt; the organisation is suspended. Won, all is as it was."""
    paid = await payments.open("acme")
    await payments.take(paid.event(DONE))
    books = payments.books
    await books.act("promotional", Post(1, "org:acme", 3 * USD, "gift"))
    key = await books.key("key", 0, profile="acme", wallet=True)
    await books.act("adjustment", Post(1, "org:acme", -20 * USD, "spent"))
    hold = await books.hold("r1")
    held = (await books.balance(key))[1]
    assert held > 0
    await payments.take(paid.event(DISPUTED), paid.event("charge.dispute.funds_withdrawn"))
    assert await payments.wallet("acme") == 3 * USD + held
    assert await books.account("bad_debt") == -(20 * USD + held)
    assert await payments.status("acme") == "suspended"
    assert not hasattr(await books.authorise("r2"), "token")
    await books.check()
    await books.release(hold)
    won = [paid.event(CLOSED, status="won"), paid.event("charge.dispute.funds_reinstated")]
    await payments.take(paid.event("charge.dispute.updated"), *won)
    assert await payments.wallet("acme") == 8 * USD
    assert await books.account("bad_debt") == 0
    assert await payments.status("acme") == "suspended"  # an operator resumes it
    assert [one["type"] for one in await books.events("organization.suspended")] == ["organization.suspended"]
    assert (await payments.row(paid.topup))["disputed_nano"] == 0


async def test_a_refund_that_leaves_a_debt(payments: Paying) -> None:
    """A refund of what calls hold leaves a debt that nobody collects: the organisation is suspended and it is told, once."""
    paid = await payments.open("acme")
    await payments.take(paid.event(DONE))
    books = payments.books
    await books.key("key", 0, profile="acme", wallet=True)
    await books.act("adjustment", Post(1, "org:acme", -20 * USD, "spent"))
    hold = await books.hold("r1")
    await payments.take(paid.event(REFUNDED, amount_refunded=100))
    assert (await payments.wallet("acme"), await payments.status("acme")) == (4 * USD, "active")
    await payments.take(paid.event(REFUNDED, amount_refunded=2_500), paid.event(REFUNDED))
    await books.release(hold)
    left_nano = await payments.wallet("acme")
    assert 0 < left_nano < 4 * USD
    assert (await payments.row(paid.topup))["returned_debt_nano"] == 20 * USD + left_nano
    assert await payments.status("acme") == "suspended"
    assert (await books.authorise("r2")).reason == "suspended"
    assert [one["object"] for one in await books.events("organization.suspended")] == ["acme"]


async def test_a_dispute_that_is_lost_and_one_that_is_an_inquiry(payments: Paying) -> None:
    """A lost dispute keeps what it took; an inquiry takes nothing and suspends nobody, until it becomes a dispute."""
    await payments.organization("beta")
    lost, asked = await payments.open("acme"), await payments.open("beta")
    await payments.take(lost.event(DONE), asked.event(DONE))
    await payments.take(lost.event(DISPUTED), lost.event(CLOSED, status="lost"))
    assert await payments.wallet("acme") == 0
    own = {"id": "du_of_beta"}
    await payments.take(asked.event(DISPUTED, status="warning_needs_response", **own))
    assert (await payments.wallet("beta"), await payments.status("beta")) == (PAID, "active")
    await payments.take(asked.event("charge.dispute.updated", status="needs_response", **own))
    assert (await payments.wallet("beta"), await payments.status("beta")) == (0, "suspended")


Orders = tuple[Callable[[Paid], bytes], ...]
SETS: dict[str, tuple[Orders, int, str]] = {
    "refunds": (
        (
            lambda paid: paid.event(DONE),
            lambda paid: paid.event(REFUNDED, amount_refunded=1_000),
            lambda paid: paid.event(REFUNDED, amount_refunded=1_500),
            lambda paid: paid.event("refund.created", id=f"re_{paid.topup}"),
        ),
        10 * USD,
        "active",
    ),
    "a refund that failed": (
        (
            lambda paid: paid.event(DONE),
            lambda paid: paid.event(REFUNDED, amount_refunded=1_000),
            lambda paid: paid.event("refund.failed", id=f"re_{paid.topup}"),
            lambda paid: paid.event("refund.updated", id=f"re_{paid.topup}"),
        ),
        PAID,
        "active",
    ),
    "won": (
        (
            lambda paid: paid.event(LATER),
            lambda paid: paid.event(DISPUTED, id=f"du_{paid.topup}"),
            lambda paid: paid.event("charge.dispute.funds_withdrawn", id=f"du_{paid.topup}"),
            lambda paid: paid.event(CLOSED, id=f"du_{paid.topup}", status="won"),
        ),
        PAID,
        "suspended",
    ),
    "refunded in part, and lost": (
        (
            lambda paid: paid.event(DONE),
            lambda paid: paid.event(REFUNDED, amount_refunded=1_000),
            lambda paid: paid.event(DISPUTED, id=f"du_{paid.topup}", amount=1_500),
            lambda paid: paid.event(CLOSED, id=f"du_{paid.topup}", amount=1_500, status="lost"),
        ),
        0,
        "suspended",
    ),
}


@pytest.mark.parametrize("name", SETS)
async def test_every_order(payments: Paying, name: str, dialect: str) -> None:
    """Whatever order the events of a payment come in, the first of them also once more at the end, the books end up the same."""
    events, wallet_nano, status = SETS[name]
    orders = list(itertools.permutations(events))[:: 1 if dialect == "sqlite" else 5]  # the rule is one
    for number, order in enumerate(orders):
        organization = await payments.organization(f"o{number}")
        paid = await payments.open(organization)
        answers = await payments.take(*(one(paid) for one in (*order, order[0])))
        assert not [one for one in answers if one.problem]
        found = (await payments.wallet(organization), await payments.status(organization))
        assert found == (wallet_nano, status), [json.loads(one(paid))["type"] for one in order]
    assert await payments.books.account("bad_debt") == 0


async def test_what_comes_before_its_session(payments: Paying) -> None:
    """A payment that the books do not know is looked up at Stripe; that of something else is none of theirs, and Stripe away means again."""
    paid = await payments.open("acme")
    payments.stripe.intent("pi_of_a_shop", "", 2_500)
    payments.stripe.intent("pi_forged", paid.topup, 9_900)
    foreign = [Paid(paid.topup, paid.session, name).event(DISPUTED) for name in ("pi_of_a_shop", "pi_forged")]
    assert [_why(one) for one in await payments.take(*foreign)] == ["it is about nothing here"] * 2
    payments.stripe.failing = 500
    (away,) = await payments.take(paid.event(DISPUTED))
    assert away.reason == Reason.PAYMENTS_AWAY
    assert await payments.status("acme") == "active"
    payments.stripe.failing = 0
    await payments.take(paid.event(DISPUTED), paid.event(DONE))
    assert (await payments.wallet("acme"), await payments.status("acme")) == (0, "suspended")


async def test_making_one(payments: Paying) -> None:
    """The same idempotency key makes one session, also after Stripe was away; amounts and organisations that cannot be are refused."""
    who = ManagementKey(digest(BUYER))
    payments.stripe.failing = 503
    away = await payments.create("acme", who=who, key="once")
    assert away.reason == Reason.PAYMENTS_AWAY
    assert "sk_test" not in away.problem
    payments.stripe.failing = 0
    first, again = [await payments.create("acme", who=who, key="once") for _ in range(2)]
    assert first.rows[0]["url"].startswith("http")
    assert (again.rows, again.replayed) == (first.rows, True)
    other = await payments.create("acme", 900, who=who, key="once")
    assert other.problem.startswith("idempotency_mismatch")
    assert len(payments.stripe.sessions) == 1
    for cents, organization, why in (
        (99, "acme", "from 1.00"),
        (1_000_001, "acme", "from 1.00"),
        (500, "none", "no organisation"),
    ):
        answer = await payments.create(organization, cents, who=who)
        assert why in answer.problem, answer
    await payments.organization("beta")
    bound = await payments.buyer("of beta", organization="beta")
    assert (await payments.create("acme", who=bound)).missing
    none = await payments.buyer("without", "keys:read")
    assert (await payments.create("acme", who=none)).reason == Reason.MISSING_SCOPE
    assert len(payments.stripe.sessions) == 1


async def test_a_silent_stripe(payments: Paying, monkeypatch: pytest.MonkeyPatch) -> None:
    """So many requests wait for Stripe at once and not one more; each is given up in its time, and then again has its turn."""
    monkeypatch.setattr(module, "STRIPE_S", 2.0)
    who = ManagementKey(digest(BUYER))
    payments.stripe.silent = True
    waiting = [asyncio.create_task(payments.create("acme", who=who)) for _ in range(module.ASKING_MAX)]
    await until(lambda: len(payments.stripe.calls) == module.ASKING_MAX, 10, "all are waiting")
    more = await payments.create("acme", who=who)
    assert more.problem.startswith("too much is asked of Stripe at once")
    answers = await asyncio.gather(*waiting)
    assert {(one.reason, one.problem.partition(";")[0]) for one in answers} == {
        (Reason.PAYMENTS_AWAY, "Stripe does not answer")
    }
    payments.stripe.silent = False
    assert not (await payments.create("acme", who=who)).problem


async def test_a_console_that_has_moved(payments: Paying, monkeypatch: pytest.MonkeyPatch) -> None:
    """Payers come back to the console of now. What Stripe made for the one of before has to be asked for by another key, and is told so."""
    who = ManagementKey(digest(BUYER))
    asked = StripeClient.open

    async def lost(client: StripeClient, topup: Topup) -> Opened:
        await asked(client, topup)
        raise ProviderAwayError("the answer was lost")

    with monkeypatch.context() as patch:
        patch.setattr(StripeClient, "open", lost)
        assert (await payments.create("acme", who=who, key="once")).problem.endswith(
            "the same idempotency key"
        )
    payments.payments.return_to("https://other.example")
    spent = await payments.create("acme", who=who, key="once")
    assert (spent.reason, spent.problem.endswith("another idempotency key")) == (Reason.PAYMENTS_AWAY, True)
    assert not (await payments.create("acme", who=who, key="another")).problem
    urls = [one["success_url"].partition("/topups")[0] for one in payments.stripe.sessions.values()]
    assert urls == ["https://console.example", "https://other.example"]


async def test_so_many_that_nobody_pays(payments: Paying, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond so many of a day that nobody paid an organisation makes no more; a day later it may."""
    monkeypatch.setattr(acts, "UNPAID_MAX", 2)
    who = ManagementKey(digest(BUYER))
    first, _ = await payments.open("acme"), await payments.open("acme")
    assert "are not paid" in (await payments.create("acme", who=who)).problem
    await payments.take(first.event(DONE))
    assert not (await payments.create("acme", who=who)).problem
    assert "are not paid" in (await payments.create("acme", who=who)).problem
    payments.books.clock.turn(86_401)
    assert not (await payments.create("acme", who=who)).problem


async def test_what_was_booked_by_hand_and_is_told_of_later(payments: Paying) -> None:
    """An event that does not name the payment gives nothing, whatever else is known by then."""
    paid = await payments.open("acme")
    await payments.books.act("deposit", Post(1, "org:acme", PAID, "by hand", paid.payment))
    await payments.take(paid.event(DONE), paid.event("checkout.session.expired"))
    assert await payments.wallet("acme") == PAID


def test_every_recorded_event_is_of_a_type_that_is_read() -> None:
    """Of each type that an endpoint is to be sent there is a recorded event, but of the older name of `refund.updated`."""
    paid = Paid("tup_x", "cs_x")
    for type_ in set(TYPES) - {"charge.refund.updated"}:
        assert json.loads(paid.event(type_))["type"] == type_
