"""The console where Stripe is configured, and where it is not: its public route, the form, the way to Stripe and back."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from structlog.testing import capture_logs

from console import telemetry
from console.stripe import PATH
from runtime.settings.stripe import StripeSettings
from schemas.admin.authority import OperatorRole
from schemas.admin.reasons import Reason
from schemas.verbs.base import Rows
from schemas.verbs.topups import EVENT_BYTES_MAX, SIGNATURE_CHARS_MAX
from tests.console.conftest import Rig, console
from tests.console.rows import SAYS, SCRIPT
from tests.fakes.caller import until

SIGNED = {"stripe-signature": "t=1,v1=ab", "content-type": "application/json"}
TOPUP = {
    "id": "tup_1",
    "organization": "acme",
    "amount_nano": 25_000_000_000,
    "currency": "usd",
    "status": "open",
    "url": "https://checkout.stripe.com/c/pay/cs_test_1#x",
    "live": False,
    "payment": None,
    "credited_nano": 0,
    "returned_nano": 0,
    "disputed_nano": 0,
    "bad_debt_nano": 0,
    "created": 1_795_000_000,
}
PAGE = "/organizations/acme/topups/tup_1"
BACK = "/topups/back?organization=acme&topup=tup_1"


@pytest.fixture
async def paid() -> AsyncIterator[Rig]:
    """A console that takes payments."""
    async with console(stripe=StripeSettings()) as rig:
        rig.ledger.says = dict(SAYS) | {"topups": Rows((TOPUP,)), "topup": Rows((TOPUP,))}
        rig.ledger.says["topup_create"] = Rows((TOPUP,))
        yield rig


async def test_it_is_off_unless_configured(rig: Rig) -> None:
    """Without `[billing.stripe]` there is no route for events, no button, no page and no route of the API."""
    rig.ledger.says = dict(SAYS)
    event = await rig.browser.post(PATH, content=b"{}", headers=SIGNED)
    assert event.status_code != 200
    assert rig.ledger.events == []
    await rig.sign_in()
    assert "Stripe" not in (await rig.browser.get("/organizations/acme")).text
    assert (await rig.browser.get(PAGE)).status_code == 404
    assert (await rig.post("/organizations/acme/topups", {"topup_usd": "5"})).status_code == 404
    assert (await rig.browser.get(BACK)).status_code == 404
    assert (await rig.browser.get("/admin/v1/topups")).json()["error"]["code"] == "resource_missing"
    assert "topups" not in (await rig.browser.get("/admin/v1/openapi.json")).text


async def test_an_event_is_passed_on_as_it_came(paid: Rig) -> None:
    """Body and signature reach the ledger byte for byte, from anybody; it is 200 only if the ledger has taken it."""
    body = b'{"id": "evt_1",\n "\xc3\xa4": 1}'
    answer = await paid.browser.post(PATH, content=body, headers=SIGNED)
    assert (answer.status_code, answer.text) == (200, "taken\n")
    assert [(one.body, one.signature) for one in paid.ledger.events] == [(body, "t=1,v1=ab")]
    for reason, status in (
        (Reason.INVALID_SIGNATURE, 400),
        (Reason.PAYMENTS_AWAY, 503),
        (Reason.PAYMENTS_OFF, 503),
    ):
        paid.ledger.event_answer = Rows(problem="so it is", reason=reason)
        assert (await paid.browser.post(PATH, content=body, headers=SIGNED)).status_code == status
    paid.ledger.away = True
    away = await paid.browser.post(PATH, content=body, headers=SIGNED)
    assert (away.status_code, away.headers["retry-after"]) == (503, "5")


async def test_what_cannot_be_an_event_reaches_no_ledger(paid: Rig) -> None:
    """Without the form of a signature, too large, of no length, by another method, or under another name: nobody is asked."""
    wrong: tuple[dict[str, str | bytes], ...] = (
        {"stripe-signature": ""},
        {},
        {"stripe-signature": "t=" + "1" * SIGNATURE_CHARS_MAX},
        {"stripe-signature": b"t=1,v1=\xe9"},
    )
    for headers in wrong:
        assert (await paid.browser.post(PATH, content=b"{}", headers=headers)).status_code == 400
    large = SIGNED | {"content-length": str(EVENT_BYTES_MAX + 1)}
    head = "".join(f"{name}: {value}\r\n" for name, value in (large | {"host": "127.0.0.1"}).items())
    assert b" 413 " in (await paid.raw(f"POST {PATH} HTTP/1.1\r\n{head}\r\n".encode()))[:20]

    async def pieces() -> AsyncIterator[bytes]:
        yield b"{}"

    assert (await paid.browser.post(PATH, content=pieces(), headers=SIGNED)).status_code == 411
    assert (await paid.browser.get(PATH)).status_code == 405
    assert (
        await paid.browser.post(PATH, content=b"{}", headers=SIGNED | {"host": "evil.example"})
    ).status_code == 421
    assert paid.ledger.events == []


async def test_so_many_at_once(paid: Rig) -> None:
    """Beyond eight events that a ledger is asked about, the next is told to come again, and none waits."""
    paid.ledger.answering.clear()
    most = paid.desk.limits.stripe_events
    waiting = [
        asyncio.create_task(paid.browser.post(PATH, content=b"{}", headers=SIGNED)) for _ in range(most)
    ]
    await until(lambda: len(paid.ledger.events) == most, 10, "all are being asked about")
    assert (await paid.browser.post(PATH, content=b"{}", headers=SIGNED)).status_code == 503
    reader, writer = await paid.begun(PATH, SIGNED | {"content-length": "2"})
    assert b" 503 " in await asyncio.wait_for(reader.readline(), 10)  # its body is not waited for
    writer.close()
    paid.ledger.answering.set()
    assert {one.status_code for one in await asyncio.gather(*waiting)} == {200}
    assert (await paid.browser.post(PATH, content=b"{}", headers=SIGNED)).status_code == 200


async def test_a_body_that_is_broken_off(paid: Rig) -> None:
    """Whoever leaves before his body is here is no failure of ours: the log has no traceback of it."""
    counts = telemetry.REQUESTS.counts
    before = counts.get(("stripe", "0"), 0)
    with capture_logs() as lines:
        for _ in range(3):
            _, writer = await paid.begun(PATH, SIGNED | {"content-length": "2"})
            writer.write(b"{")
            await writer.drain()
            writer.close()
        await until(lambda: counts.get(("stripe", "0"), 0) == before + 3, 10, "all are over")
    assert [one for one in lines if one["log_level"] not in {"debug", "info"}] == []
    assert (await paid.browser.post(PATH, content=b"{}", headers=SIGNED)).status_code == 200


@pytest.mark.parametrize("role", [OperatorRole.OWNER, OperatorRole.SUPPORT, OperatorRole.VIEWER])
async def test_a_form_leads_to_a_link(paid: Rig, role: str) -> None:
    """Who may see money can top up: the form leads to a page of ours, since it may lead nowhere else, and that has the link."""
    await paid.sign_in(role)
    page = (await paid.browser.get("/organizations/acme")).text
    assert 'action="/organizations/acme/topups"' in page
    assert SCRIPT not in page
    sent = await paid.post("/organizations/acme/topups", {"topup_usd": "25"}, page="/organizations/acme")
    assert (sent.status_code, sent.headers["location"]) == (303, PAGE)
    assert paid.ledger.acts[-1][0] == "topup_create"
    shown = await paid.browser.get(PAGE)
    assert f'href="{TOPUP["url"]}" rel="noreferrer"' in shown.text
    assert b"form-action 'self'" in shown.headers["content-security-policy"].encode()
    assert "test mode" in shown.text


async def test_what_was_wrong_is_beside_its_field(paid: Rig) -> None:
    """An amount that cannot be, and a Stripe that is away, are told on the page of the form, with what was typed."""
    await paid.sign_in()
    wrong = await paid.post("/organizations/acme/topups", {"topup_usd": "x1"}, page="/organizations/acme")
    assert (wrong.status_code, 'value="x1"' in wrong.text) == (400, True)
    paid.ledger.says["topup_create"] = Rows(problem="Stripe does not answer", reason=Reason.PAYMENTS_AWAY)
    away = await paid.post("/organizations/acme/topups", {"topup_usd": "5"}, page="/organizations/acme")
    assert "Stripe does not answer." in away.text


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"status": "created", "url": None}, "Send the form again"),
        ({"status": "processing", "url": None}, "on its way"),
        ({"status": "expired", "url": None}, "was not paid"),
        ({"status": "paid", "url": None, "credited_nano": 25_000_000_000, "live": True}, "in the wallet"),
        (
            {"status": "paid", "url": None, "credited_nano": 25_000_000_000, "disputed_nano": 10**9},
            "taken back",
        ),
    ],
)
async def test_what_became_of_it(paid: Rig, fields: dict[str, object], said: str) -> None:
    """Each status has its sentence."""
    await paid.sign_in()
    paid.ledger.says["topup"] = Rows((TOPUP | fields,))
    assert said in (await paid.browser.get(PAGE)).text


async def test_back_from_stripe(paid: Rig) -> None:
    """Whoever comes from Stripe has no cookie there: the page asks for none, and its link leads to the top-up, or to the start."""
    answer = await paid.browser.get(f"{BACK}&paid=1", headers={"sec-fetch-site": "cross-site"})
    assert (answer.status_code, f'href="{PAGE}"' in answer.text) == (200, True)
    assert "Thank you" in answer.text
    assert "Not paid" in (await paid.browser.get(BACK)).text
    for bad in ("//evil.example", "a/b", "", SCRIPT):
        other = await paid.browser.get("/topups/back", params={"organization": bad, "topup": "tup_1"})
        assert 'class="button" href="/"' in other.text
        assert "evil" not in other.text
        assert SCRIPT not in other.text
