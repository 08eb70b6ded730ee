"""What every page does: it escapes what others wrote, is shown to whom it is meant for, and keeps what was typed."""

import html
import re
from collections import Counter
from html.parser import HTMLParser

import msgspec
import pytest

from console.pages import ROWS
from schemas.admin.authority import OperatorRole
from schemas.admin.credentials import digest
from schemas.admin.reads import StatementRef
from schemas.admin.reasons import Reason
from schemas.admin.settings import SettingsReload
from schemas.verbs.base import Rows
from schemas.verbs.caps import CapCreate
from schemas.verbs.exports import ExportBegin
from schemas.verbs.keys import KeyCreate, KeyRef, KeyRotate, KeyUpdate
from schemas.verbs.money import Post, Refund
from schemas.verbs.webhooks import WebhookCreate, WebhookRef, WebhookReplay, WebhookUpdate
from schemas.webhooks import key_of
from tests.console.conftest import PAGES
from tests.console.rows import HOSTILE, SAYS, SCRIPT

PATHS = [
    "/",
    "/keys",
    "/keys/new",
    "/keys/key_1",
    "/organizations",
    "/organizations/acme",
    "/usage",
    "/usage?by=model&period=hour&from=2026-11-26&to=2026-11-26",
    "/usage?by=key&period=&from=2026-11-26&to=2026-11-26",
    "/calls",
    "/calls/req_1",
    "/pools",
    "/models",
    "/models/a%2Fb",
    "/models/m?prompt=1000&answer=500",
    "/books",
    "/statements/stm_202611_acme",
    "/webhooks",
    "/webhooks/whe_1",
    "/settings",
    "/settings/log",
]
OF_MONEY = ("/keys", "/organ", "/usage", "/calls", "/books", "/statements", "/settings")
# Who may see what, written out by hand.
SEEN = {
    "owner": set(PATHS),
    "admin": set(PATHS),
    "viewer": set(PATHS) - {"/keys/new", "/settings/log"},
    "billing": {one for one in PATHS if one.startswith(OF_MONEY)} - {"/keys/new", "/settings/log"} | {"/"},
    "support": {one for one in PATHS if one.startswith(OF_MONEY)} - {"/settings/log"} | {"/"},
}


class Reader(HTMLParser):
    """What a browser would make of a page: its tags, and whatever would run."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """One tag."""
        self.tags.append((tag, dict(attrs)))

    @property
    def runs(self) -> list[str]:
        """What is no script file of ours and would run, or style itself, or lead to another scheme."""
        found = [
            tag
            for tag, has in self.tags
            if tag == "script" and not str(has.get("src", "")).startswith("/static/")
        ]
        found += [
            f"{tag} {name}"
            for tag, has in self.tags
            for name in has
            if name.startswith("on") or name == "style"
        ]
        links = (
            str(has[name]) for _, has in self.tags for name in ("href", "src", "action") if has.get(name)
        )
        return found + [link for link in links if re.match(r"\s*(//|[a-z]+:)", link, re.IGNORECASE)]


@pytest.mark.parametrize("path", PATHS)
async def test_what_others_wrote_is_text(rig, path):
    """Names, reasons, upstream errors, addresses: whatever a page shows of them is escaped, wherever it stands."""
    await rig.sign_in()
    rig.ledger.says = dict(SAYS)
    answer = await rig.browser.get(path)
    assert answer.status_code == 200, answer.text[:500]
    assert SCRIPT not in answer.text
    assert "onerror=alert(1)>" not in answer.text
    assert Reader(answer.text).runs == []
    assert "<img" not in answer.text
    ids = [has["id"] for _, has in Reader(answer.text).tags if "id" in has]
    assert not [one for one, times in Counter(ids).items() if times > 1], (
        "a label would lead to another's field"
    )


@pytest.mark.parametrize("name", ["name", "status", "secret", "after", "from", "by", "said", "text", "id"])
async def test_what_an_address_says_is_text(rig, name):
    """A link that somebody sends shows nothing of its own making."""
    await rig.sign_in()
    rig.ledger.says = dict(SAYS)
    for path in ("/keys", "/usage", "/calls", "/models", "/settings/log", "/none"):
        answer = await rig.browser.get(path, params={name: HOSTILE})
        assert answer.status_code in {200, 303, 400, 404}
        assert SCRIPT not in answer.text
        assert Reader(answer.text).runs == []


@pytest.mark.parametrize("role", list(OperatorRole))
async def test_who_sees_what(rig, role):
    """Each role sees the pages of its scopes; the others say what they need, and no way leads to them."""
    await rig.sign_in(role)
    rig.ledger.says = dict(SAYS)
    for path in PATHS:
        answer = await rig.browser.get(path)
        assert (answer.status_code == 200) == (path in SEEN[role]), (path, answer.status_code)
        assert answer.status_code in {200, 403}
        for link in re.findall(r'<li><a href="([^"]+)"', answer.text):
            assert link in SEEN[role], link


async def test_who_is_of_one_organisation_sees_nothing_of_the_deployment(rig):
    """Pools, books and the log are the whole deployment's, whatever the role."""
    await rig.sign_in()
    rig.ledger.person["organization"] = "acme"
    rig.ledger.says = dict(SAYS)
    for path in ("/pools", "/books", "/settings/log"):
        assert (await rig.browser.get(path)).status_code == 403
    home = (await rig.browser.get("/")).text
    assert 'href="/pools"' not in home
    assert 'href="/keys"' in home


@pytest.mark.parametrize("role", [OperatorRole.VIEWER, OperatorRole.BILLING])
async def test_who_may_not_write_is_refused(rig, role):
    """A form that a page does not have is refused when it is sent all the same: nothing is asked of the ledger."""
    await rig.sign_in(role)
    rig.ledger.says = dict(SAYS)
    rig.ledger.acts.clear()
    for row in ROWS:
        if row.act is None or row.act_needs.startswith("money") or row.act_needs.endswith(":read"):
            continue
        path = re.sub(r"\{.*?\}", "x", row.path)
        assert (await rig.post(path, {"name": "x"})).status_code == 403, path
    assert rig.ledger.acts == []


def form_of(rig, kind, name):
    """The form of the last act, which has this name."""
    asked, act = rig.ledger.acts[-1]
    assert asked == name
    return msgspec.msgpack.decode(act.form, type=kind)


async def test_a_key_is_made_once_and_shown_once(rig):
    """The answer has the key; the ledger has its SHA-256 and its end. The same form again is the same act."""
    await rig.sign_in()
    rig.ledger.says = SAYS | {"key_create": Rows(({"id": "key_9"},))}
    fields = await rig.fields("/keys/new")
    typed = {
        "name": "a",
        "balance": "2.50",
        "cap_period": "day",
        "cap_usd": "1",
        "rpm": "60",
        "expires_in": "30d",
    }
    first = await rig.browser.post("/keys", data=fields | typed)
    assert first.status_code == 200
    (secret,) = set(re.findall(r"tokn_[0-9A-Za-z]{38}", first.text))
    made = form_of(rig, KeyCreate, "key_create")
    assert (made.name, made.posted_nano, made.rpm, made.expires_in_s) == ("a", 2_500_000_000, 60, 30 * 86_400)
    assert made.hint == secret[-4:]
    assert made.caps[0].limit_nano == 1_000_000_000
    assert secret.encode() not in rig.ledger.acts[-1][1].form
    rig.ledger.says["key_create"] = Rows(({"id": "key_9"},), replayed=True)
    again = await rig.browser.post("/keys", data=fields | typed)
    assert "tokn_" not in re.sub(r"tokn_(session|stranger)", "", again.text)
    assert "done before" in again.text
    one, two = (act for _, act in rig.ledger.acts[-2:])
    assert (one.idempotency_key, one.request_hash) == (two.idempotency_key, two.request_hash)


@pytest.mark.parametrize(
    ("path", "page", "typed", "field"),
    [
        ("/keys", "/keys/new", {"name": "n", "balance": "a lot"}, "balance"),
        ("/keys", "/keys/new", {"name": "n", "balance": "-1"}, "balance"),
        ("/keys", "/keys/new", {"name": "n", "cap_period": "day", "cap_usd": "0"}, "cap_usd"),
        ("/keys", "/keys/new", {"name": "n", "rpm": "many"}, "rpm"),
        ("/keys", "/keys/new", {"name": "n", "expires_in": "3y"}, "expires_in"),
        ("/keys/key_1/revoke", "/keys/key_1", {"confirm": "another"}, "confirm"),
        (
            "/keys/key_1/money",
            "/keys/key_1",
            {"kind": "deposit", "amount_usd": "1e999", "reason": "r"},
            "amount_usd",
        ),
        ("/keys/key_1/money", "/keys/key_1", {"kind": "deposit", "amount_usd": "1"}, "reason"),
        ("/keys/key_1/limits", "/keys/key_1", {"rpm": "-4"}, "rpm"),
        ("/keys/key_1/caps", "/keys/key_1", {"period": "day", "limit_usd": "0.0000000001"}, "limit_usd"),
        ("/organizations", "/organizations", {"name": "n"}, "id"),
        (
            "/organizations/acme/money",
            "/organizations/acme",
            {"kind": "deposit", "amount_usd": ""},
            "amount_usd",
        ),
        ("/calls/req_1/refund", "/calls/req_1", {"amount_usd": "x", "reason": "because"}, "amount_usd"),
        ("/pools", "/pools", {"account": "p:a", "amount_usd": "0", "reason": "r"}, "amount_usd"),
        ("/settings/operators", "/settings", {"role": "viewer", "email": "a@b.c"}, "name"),
        ("/webhooks", "/webhooks", {"url": "", "organization": "acme"}, "url"),
        ("/webhooks/whe_1/replay", "/webhooks/whe_1", {"since": "yesterday"}, "since"),
        ("/webhooks/whe_1/rotate", "/webhooks/whe_1", {"overlap": "3"}, "overlap"),
    ],
)
async def test_a_form_keeps_what_was_typed(rig, path, page, typed, field):
    """With what is wrong beside its field, and named once more at the top with a link to it; nothing is asked."""
    await rig.sign_in()
    rig.ledger.says = dict(SAYS)
    fields = await rig.fields(page)
    rig.ledger.acts.clear()
    answer = await rig.browser.post(path, data=fields | typed)
    assert answer.status_code == 400
    assert rig.ledger.acts == []
    assert f'href="#f-{field}"' in answer.text
    tags = Reader(answer.text).tags
    wrong = [has for _, has in tags if has.get("aria-invalid") == "true"]
    assert field in {has["name"] for has in wrong}
    assert all(has.get("aria-describedby", "").strip() for has in wrong)
    shown = {str(has.get("name")): str(has.get("value")) for tag, has in tags if tag == "input"}
    for name, value in typed.items():
        if name in shown:
            assert value in {str(has.get("value")) for _, has in tags if has.get("name") == name}


async def test_a_ledgers_refusal_stands_where_the_form_is(rig):
    """Its sentence is shown, and what was typed is there still."""
    await rig.sign_in()
    why = Rows(problem="this reference was used", reason=Reason.REFERENCE_USED)
    rig.ledger.says = SAYS | {"deposit": why}
    typed = {"kind": "deposit", "amount_usd": "3", "reason": "paid", "reference": "inv-1"}
    answer = await rig.post("/keys/key_1/money", typed, page="/keys/key_1")
    assert answer.status_code == 400
    assert "This reference was used." in answer.text
    assert 'value="inv-1"' in answer.text


@pytest.mark.parametrize(
    "case",
    [
        (
            "/keys/key_1/pause",
            {},
            "key_update",
            KeyUpdate,
            {"key_id": "key_1", "status": "paused"},
            "/keys/key_1",
        ),
        ("/keys/key_1/resume", {}, "key_update", KeyUpdate, {"status": "active"}, "/keys/key_1"),
        (
            "/keys/key_1/update",
            {"name": "b", "models": "a, b*", "providers": "", "expires_in": "never"},
            "key_update",
            KeyUpdate,
            {"name": "b", "models": ("a", "b*"), "providers": (), "expires_ms": 0},
            "/keys/key_1",
        ),
        (
            "/keys/key_1/limits",
            {"rpm": "9", "tpm": ""},
            "key_update",
            KeyUpdate,
            {"rpm": 9, "tpm": 0},
            "/keys/key_1",
        ),
        (
            "/keys/key_1/caps",
            {"period": "month", "limit_usd": "9", "alert_percent": "50"},
            "cap_create",
            CapCreate,
            {"key_id": "key_1"},
            "/keys/key_1",
        ),
        (
            "/keys/key_1/money",
            {"kind": "debit", "amount_usd": "1", "reason": "r"},
            "adjustment",
            Post,
            {"owner": "key:key_1", "amount_nano": -1_000_000_000},
            "/keys/key_1",
        ),
        (
            "/keys/key_1/revoke",
            {"confirm": "key_1"},
            "key_revoke",
            KeyRef,
            {"key_id": "key_1"},
            "/keys/key_1",
        ),
        (
            "/organizations/acme/money",
            {
                "balance": "playground",
                "kind": "promotional",
                "amount_usd": "2",
                "reason": "r",
                "expires_in": "7d",
            },
            "promotional",
            Post,
            {"owner": "playground:acme", "amount_nano": 2_000_000_000, "expires_in_s": 604_800},
            "/organizations/acme",
        ),
        (
            "/organizations/acme/issue",
            {"statement": "stm_202611_acme"},
            "statement_issue",
            StatementRef,
            {"id": "stm_202611_acme"},
            "/organizations/acme",
        ),
        (
            "/calls/req_1/refund",
            {"amount_usd": "", "reason": "r"},
            "refund",
            Refund,
            {"request_id": "req_1", "amount_nano": 0},
            "/calls/req_1",
        ),
        (
            "/webhooks/whe_1/update",
            {"url": "https://b.example/", "events": "balance.low"},
            "webhook_update",
            WebhookUpdate,
            {"url": "https://b.example/", "events": ("balance.low",), "status": ""},
            "/webhooks/whe_1",
        ),
        (
            "/webhooks/whe_1/disable",
            {},
            "webhook_update",
            WebhookUpdate,
            {"url": None, "status": "disabled"},
            "/webhooks/whe_1",
        ),
        ("/webhooks/whe_1/test", {}, "webhook_test", WebhookRef, {"id": "whe_1"}, "/webhooks/whe_1"),
        (
            "/webhooks/whe_1/replay",
            {"since": "2026-11-26T10:00"},
            "webhook_replay",
            WebhookReplay,
            {"since_ms": 1_795_687_200_000, "event": ""},
            "/webhooks/whe_1",
        ),
    ],
    ids=lambda case: f"{case[0]} {case[2]}",
)
async def test_a_form_is_one_act(rig, case):
    """What was typed becomes the act's form, and the browser is sent on: to load the page again does nothing."""
    path, typed, act, kind, fields, where = case
    await rig.sign_in()
    rig.ledger.says = dict(SAYS)
    answer = await rig.post(path, typed, page=where)
    assert answer.status_code == 303, answer.text[:2_000]
    assert answer.headers["location"].partition("?")[0] == where
    form = form_of(rig, kind, act)
    assert {name: getattr(form, name) for name in fields} == fields
    assert rig.ledger.acts[-1][1].idempotency_key.startswith("idem_")
    assert 'role="status"' in (await rig.browser.get(answer.headers["location"])).text


async def test_a_rotated_key_is_shown_once(rig):
    """Its new secret is in the answer alone; the old one lasts as long as was chosen."""
    await rig.sign_in()
    rig.ledger.says = SAYS | {"key_rotate": Rows(({"id": "key_1"},))}
    answer = await rig.post("/keys/key_1/rotate", {"overlap": "1h"}, page="/keys/key_1")
    assert re.search(r"tokn_[0-9A-Za-z]{38}", answer.text)
    assert form_of(rig, KeyRotate, "key_rotate").overlap_ms == 3_600_000


async def test_a_webhooks_secret_is_shown_once(rig):
    """The answer has it, and the ledger has it sealed by itself; the same form again shows none."""
    await rig.sign_in()
    rig.ledger.says = SAYS | {"webhook_create": Rows(({"id": "whe_9"},))}
    fields = await rig.fields("/webhooks") | {"url": "https://a.example/", "events": "key.created"}
    first = await rig.browser.post("/webhooks", data=fields)
    (secret,) = set(re.findall(r"whsec_[0-9A-Za-z+/=]+", html.unescape(first.text)))
    assert key_of(secret)
    made = form_of(rig, WebhookCreate, "webhook_create")
    assert (made.secret, made.url, made.events) == (secret, "https://a.example/", ("key.created",))
    rig.ledger.says["webhook_create"] = Rows(({"id": "whe_9"},), replayed=True)
    again = await rig.browser.post("/webhooks", data=fields)
    assert re.findall(r"whsec_[0-9A-Za-z+/=]+", html.unescape(again.text)) == []
    assert "done before" in again.text


async def test_a_configuration_is_checked_and_reloaded(rig):
    """A check shows what differs and changes nothing; a reload is an act, and what came of it; a refusal is its sentence."""
    await rig.sign_in()
    rig.ledger.says = SAYS | {"settings_reload": Rows(({"id": "rld_1"},))}
    checked = await rig.post("/settings/check", {}, page="/settings")
    assert "It can be taken." in checked.text
    assert [name for name, _ in rig.ledger.acts] == ["sign_in"]
    made = await rig.post("/settings/reload", {}, page="/settings")
    assert "this is generation 7" in made.text
    assert form_of(rig, SettingsReload, "settings_reload") == SettingsReload()
    why = "not reloaded, nothing has changed: tokn.toml: [edge] port: must be a number"
    rig.ledger.says["settings_reloaded"] = Rows(problem=why, reason=Reason.CONFIG_REJECTED)
    refused = await rig.post("/settings/reload", {}, page="/settings")
    assert refused.status_code == 400
    assert f"{why[0].upper()}{why[1:]}." in refused.text


async def test_what_a_call_would_cost_is_exact(rig):
    """Each tier of the prompt's length, at list and as billed, without a float."""
    await rig.sign_in()
    rig.ledger.says = dict(SAYS)
    small = (await rig.browser.get("/models/m?prompt=1000&answer=500")).text
    assert "$0.0063" in small  # 1,000 x 1.8 + 500 x 9 a million
    assert "$0.0105" in small
    large = (await rig.browser.get("/models/m?prompt=300000&answer=1")).text
    assert "$1.0800135" in large


async def test_usage_of_more_keys_than_a_page_has(rig):
    """A page of them says what all others come to, and leads on; its totals are those of everything."""
    await rig.sign_in()
    bucket = SAYS["usage"].rows[0]
    rest = bucket | {
        "start": None,
        "key": None,
        "calls": 4_000,
        "billed_nano": 7_000_000_000,
        "refunded_nano": 0,
    }
    asked = []

    def said(query):
        asked.append(query)
        return Rows((bucket,), cursor="9:1:key_1", rest=rest) if query.rest else Rows((bucket,))

    rig.ledger.says = {"usage": said}
    text = (await rig.browser.get("/usage?by=key&period=&from=2026-11-26&to=2026-11-26")).text
    assert re.search(r"All others</th>\s*<td class=.num.>4,000</td>", text)
    assert "<dd>4,003<" in text
    assert "too many to put the largest first" in text
    (link,) = re.findall(r'href="(/usage\?[^"]*)" rel="next"', text)
    await rig.browser.get(html.unescape(link))
    assert (asked[-1].after, asked[-1].largest, asked[-1].by) == ("9:1:key_1", True, ("key",))


async def test_usage_as_csv(rig):
    """The sums as they are, in nano-dollars; a name that a spreadsheet would run is quoted."""
    await rig.sign_in()
    formula = {**SAYS["usage"].rows[0], "model": "=cmd()"}
    rig.ledger.says = {"usage": Rows((formula,))}
    answer = await rig.browser.get("/usage.csv?by=model&period=day&from=2026-11-26&to=2026-11-26")
    head, line = answer.text.splitlines()
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert head.startswith("start,model,calls,failed,cancelled,input_tokens")
    assert line.startswith("2026-11-26,'=cmd(),3,1,0,3,1,4,100,60,10,0,90")


async def test_a_statement_as_csv(rig):
    """Its lines between opening and closing; a name that a spreadsheet would run is quoted, and the file's name is plain."""
    await rig.sign_in()
    rig.ledger.says = SAYS | {"statement": Rows(({**SAYS["statement"].rows[0], "organization": "=cmd()"},))}
    answer = await rig.browser.get("/statements/stm_202611_acme/csv")
    assert answer.headers["content-disposition"] == 'attachment; filename="stm_202611_acme.csv"'
    assert [line.split(",")[3] for line in answer.text.splitlines()[1:]] == ["'=cmd()"] * 3
    assert [line.rpartition(",")[2] for line in answer.text.splitlines()[1:]] == ["5", "-2", "3"]


async def test_the_oldest_month_that_is_over_can_be_issued(rig):
    """One button, where there is such a month and whoever looks may; a month that runs has none."""
    over = SAYS["statements"].rows[0]
    running = {**over, "id": "stm_299001_acme", "ends_at": 2**33}
    issued = {**over, "id": "stm_202610_acme", "status": "issued", "number": "2026-000001"}
    rig.ledger.says = SAYS | {"statements": Rows((running, over, issued))}
    for role, there in ((OperatorRole.BILLING, True), (OperatorRole.VIEWER, False)):
        await rig.sign_in(role)
        text = (await rig.browser.get("/organizations/acme")).text
        shown = re.findall(r'name="statement" value="([^"]+)"', text)
        assert shown == (["stm_202611_acme"] if there else [])
        assert "2026-000001" in text


@pytest.mark.parametrize("bound", ["", "acme"])
@pytest.mark.parametrize("status", ["active", "suspended"])
async def test_nobody_is_shown_how_to_suspend_his_own_organisation(rig, bound, status):
    """Suspending and resuming are the deployment's: whoever is bound to an organisation has no button for them."""
    rig.ledger.person["organization"] = bound or None
    await rig.sign_in()
    row = SAYS["organization"].rows[0]
    rig.ledger.says = dict(SAYS) | {"organization": Rows((row | {"status": status},))}
    page = (await rig.browser.get("/organizations/acme")).text
    assert (('/suspend"' in page) or ('/resume"' in page)) == (not bound)
    assert '/update"' in page


@pytest.mark.parametrize("bound", ["", "acme"])
async def test_exports_are_files(rig, bound):
    """Days become moments, whoever is of one organisation gets that one's, and the act comes before the first page."""
    await rig.sign_in()
    rig.ledger.person["organization"] = bound or None
    asked = []

    def page(query):
        asked.append(query)
        rows = [[0, "r", "charge", 1, 0, "a", "b", 5, "acme", "key_1"]]
        return Rows(({"rows": rows},), cursor="" if query.cursor else "more")

    rig.ledger.says = SAYS | {"export": page}
    rig.ledger.acts.clear()
    days = {"from": "2026-11-01", "to": "2026-11-30", "organization": "else"}
    answer = await rig.browser.get("/exports/journal.csv", params=days)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/csv; charset=utf-8")
    assert answer.headers["cache-control"] == "no-store"
    assert answer.text.splitlines()[-1].startswith("# rows=2 sum_nano=10 sha256=")
    ((name, act),) = rig.ledger.acts
    form = msgspec.msgpack.decode(act.form, type=ExportBegin)
    assert (name, form.organization) == ("export", bound or "else")
    assert (form.since_ms, form.until_ms) == (1_793_491_200_000, 1_796_083_200_000)
    assert [one.cursor for one in asked[1:]] == ["", "more"]  # the act, which has the same name, was first
    assert {one.organization for one in asked} == {bound or "else"}


async def test_exports_that_cannot_be(rig):
    """A day that is none, days the wrong way round, and a third file at once are pages that say so."""
    await rig.sign_in()
    rig.ledger.says = dict(SAYS)
    for days in ({"from": "May"}, {"from": "2026-11-02", "to": "2026-11-01"}):
        assert (await rig.browser.get("/exports/calls.csv", params=days)).status_code == 400
    secret = digest(rig.browser.cookies[rig.cookie])
    with rig.desk.places.one(secret), rig.desk.places.one(secret):
        busy = await rig.browser.get("/exports/calls.csv")
    assert (busy.status_code, "wait until one has ended" in busy.text) == (429, True)


def test_templates_are_whole():
    """Every template can be compiled."""
    assert len(PAGES.check()) > 20
