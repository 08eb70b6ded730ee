"""Owns the console in a real browser: a person's way from the printed link to a refund, by mouse, by keyboard, on a phone."""

import csv
import io
import json
import os
import re
import struct
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from pypdf import PdfReader

from tests.fakes import chromium
from tests.fakes.tokn import Tokn, wait_for
from web.figures import usd

pytestmark = [pytest.mark.system, pytest.mark.browser]

TOML = (
    '[console]\nport = 0\n[billing]\nname = "Seller & Sons"\naddress = "1 Road\\nTown"\n'
    '[pools.sandbox]\nprovider = "sandbox"\nwords_per_s = 0\n'
)
LINK = re.compile(r"console: (http://127\.0\.0\.1:\d+)/login#t=(\S+)")
PAGES = (
    "/login",
    "/",
    "/keys",
    "/keys/new",
    "/keys/{key}",
    "/organizations",
    "/organizations/default",
    "/statements/{statement}",
    "/usage",
    "/calls",
    "/calls/{call}",
    "/pools",
    "/models",
    "/models/tokn-sandbox",
    "/books",
    "/webhooks",
    "/webhooks/{endpoint}",
    "/settings",
    "/settings/log",
)
ROOT = Path(__file__).resolve().parents[2]
PICTURE = ROOT / "docs" / "console.png"
FOCUSED = """(() => {
  const at = document.activeElement;
  const names = [at.getAttribute("aria-label"), at.innerText, ...[...(at.labels ?? [])].map((one) => one.innerText)];
  return [names.map((name) => (name ?? "").trim()), getComputedStyle(at).outlineStyle];
})()"""
LOOKS = {
    "light": {"viewport": {"width": 1280, "height": 900}, "color_scheme": "light"},
    "dark": {"viewport": {"width": 1280, "height": 900}, "color_scheme": "dark"},
    "phone": {"viewport": {"width": 360, "height": 740}, "color_scheme": "dark", "reduced_motion": "reduce"},
}


class WithConsole(Tokn):
    """A deployment with its console."""

    console = True

    @property
    def link(self) -> str:
        """The link of the first start."""
        found = wait_for(lambda: LINK.search("\n".join(self.lines)), 20, "the console's line")
        return f"{found[1]}/login#t={found[2]}"

    def another_link(self) -> str:
        """A link that nobody has used."""
        return str(self.row("console", "login")["url"])


@pytest.fixture(scope="module")
def tokn(tmp_path_factory):
    """One deployment with its console on a sandbox."""
    with WithConsole(tmp_path_factory.mktemp("pages") / "data", TOML) as running:
        yield running


@pytest.fixture(scope="module")
def browser():
    """One Chromium."""
    with chromium.opened() as running:
        yield running


@pytest.fixture(scope="module")
def signed_in(tokn, browser):
    """What a window is opened with to be signed in, and where: each address may sign in five times a minute."""
    link = tokn.another_link()
    context = browser.new_context()
    page = context.new_page()
    page.goto(link)
    page.wait_for_url(f"{origin(link)}/")
    state = context.storage_state()
    context.close()
    return state, origin(link)


def origin(link: str) -> str:
    """Of a link."""
    return link.partition("/login")[0]


def call(tokn: Tokn, key: str) -> str:
    """Makes one call, and says its id."""
    answer = httpx.post(
        f"{tokn.url}/v1/chat/completions",
        headers={"Authorization": f"Bearer {key}"},
        json={"model": "tokn-sandbox", "messages": [{"role": "user", "content": "Say hello"}]},
        timeout=60,
    )
    assert answer.status_code == 200
    return answer.headers["x-request-id"]


def in_the_books(tokn: Tokn, call_id: str) -> None:
    """Waits until a call is billed."""
    wait_for(lambda: tokn.run("usage", call_id, "--json").returncode == 0, 20, "the call is in the books")
    wait_for(lambda: json.loads(tokn.run("usage", call_id, "--json").stdout)["outcome"], 20, "its bill")


def test_from_the_printed_link_to_a_refund(tokn, browser):
    """A link signs in, once; a key is made and called with; usage, receipt, refund and balance say what happened."""
    link = tokn.link
    with chromium.window(browser, origin(link), **LOOKS["light"]) as window:
        page = window.page
        page.goto(link)
        page.wait_for_url(f"{origin(link)}/")
        assert "#" not in page.url
        page.get_by_role("link", name="Make a key").first.click()
        page.get_by_label("Name").fill("<b>bot</b> & co")
        page.get_by_label("Opening balance, USD").fill("2")
        page.get_by_text("What bounds it").click()
        page.get_by_label("Cap", exact=True).select_option("day")
        page.get_by_label("At most, USD").fill("1")
        page.get_by_role("button", name="Make the key").click()
        key = page.get_by_label("The key", exact=True).inner_text().strip()
        assert re.fullmatch(r"tokn_[0-9A-Za-z]{38}", key)
        call_id = call(tokn, key)
        in_the_books(tokn, call_id)
        page.get_by_role("link", name="To the key").click()
        page.get_by_role("heading", name="<b>bot</b> & co").wait_for()
        key_id = page.url.rpartition("/")[2]
        page.get_by_role("link", name="Its usage").click()
        assert page.get_by_role("table", name="Sums of usage").get_by_role("row").count() == 2
        billed = tokn.row("usage", call_id)["billed_nano"]
        assert usd(billed) in page.get_by_role("table", name="Sums of usage").inner_text()
        page.goto(f"{origin(link)}/calls/{call_id}")
        page.locator("figcaption", has_text="What took how long").wait_for()
        page.get_by_role("table", name="Tries").wait_for()
        page.get_by_label("Reason").fill("a test of refunds")
        page.get_by_role("button", name="Refund").click()
        page.get_by_role("status").filter(has_text="Refunded.").wait_for()
        assert tokn.row("usage", call_id)["refunded_nano"] == billed > 0
        page.goto(f"{origin(link)}/keys/{key_id}")
        page.get_by_text("$2.00", exact=True).first.wait_for()
        assert tokn.balance(key_id)["posted_nano"] == 2_000_000_000
        assert "$0.00 of $1.00 a day" in page.content()
        page.goto(f"{origin(link)}/organizations/default")
        page.get_by_role("table", name="Statements").get_by_role("link", name=month()).first.click()
        sheet = page.get_by_role("table")
        sheet.get_by_role("row", name=re.compile(f"Refunds .*{re.escape(usd(billed))}")).wait_for()
        assert f"Usage: tokn-sandbox, {key_id}" in sheet.inner_text()
        accounts = sum(row["posted_nano"] for row in tokn.rows("key", "list"))
        assert usd(accounts) in sheet.get_by_role("row", name="Closing balance").inner_text()
        assert "Seller & Sons" in page.inner_text("header")
        with page.expect_download() as download:
            page.get_by_role("link", name="CSV").click()
        lines = list(csv.DictReader(io.StringIO(download.value.path().read_text())))
        amounts = [int(line["amount_nano"]) for line in lines]
        assert sum(amounts[:-1]) == amounts[-1] == accounts
        assert on_a4(page) == 1
        page.get_by_role("link", name="The organisation").click()
        page.wait_for_url(f"{origin(link)}/organizations/default")
        page.get_by_role("button", name="Sign out").click()
        page.wait_for_url(f"{origin(link)}/login")
    with chromium.window(browser, origin(link), **LOOKS["light"]) as window:
        window.page.goto(link)
        window.page.get_by_role("alert").filter(has_text="This link was used").wait_for()
        window.errors[:] = [one for one in window.errors if "401" not in one]  # the refusal itself
    assert tokn.audit()["ok"]


def on_a4(page) -> int:
    """How many pages of A4 the page prints on; nothing of it is a way to another."""
    page.emulate_media(media="print")
    assert not page.get_by_role("link").first.is_visible()
    printed = PdfReader(io.BytesIO(page.pdf(prefer_css_page_size=True)))
    page.emulate_media(media="screen")
    assert [round(float(one)) for one in printed.pages[0].mediabox[2:]] == [595, 842]
    return len(printed.pages)


def month() -> str:
    """The month that runs."""
    return datetime.now(UTC).strftime("%Y-%m")


def test_by_keyboard_alone(tokn, browser):
    """From the link to a key that is made, paused and resumed, with Tab, Enter and letters; the focus is always seen."""
    link = tokn.another_link()
    with chromium.window(browser, origin(link), **LOOKS["light"]) as window:
        page, press = window.page, window.page.keyboard.press
        page.goto(f"{origin(link)}/login")

        def tab_to(name: str) -> None:
            for _ in range(60):
                press("Tab")
                names, outline = page.evaluate(FOCUSED)
                if name in names:
                    assert outline != "none", name
                    return
            raise AssertionError(f"no way to {name}")

        def enter(path: str) -> None:
            press("Enter")
            page.wait_for_url(origin(link) + path)

        press("Tab")
        assert page.locator(":focus").inner_text() == "Skip to content"
        tab_to("The link, or what follows #t= in it")
        page.keyboard.type(link)
        enter("/")
        tab_to("Keys")
        enter("/keys")
        tab_to("Make a key")
        enter("/keys/new")
        page.keyboard.type("by keyboard")  # the first field has the focus
        enter("/keys")
        tab_to("To the key")
        press("Enter")
        page.wait_for_url(re.compile("/keys/key_"))
        tab_to("Pause")
        press("Enter")
        page.get_by_role("status").filter(has_text="Paused").wait_for()
        tab_to("Resume")
        press("Enter")
        page.get_by_role("status").filter(has_text="Resumed").wait_for()


@pytest.fixture(scope="module")
def used(tokn):
    """A key's id and a call's, of a deployment that has something to show."""
    call_id = call(tokn, tokn.key)
    in_the_books(tokn, call_id)
    key_id = next(row["id"] for row in tokn.rows("key", "list") if row["name"] == "first")
    tokn.row("cap", "create", "1", "--period", "day", "--key", key_id)
    hook = tokn.row("webhook", "create", "https://hooks.example/tokn", "--events", "balance.low,key.created")
    statement = f"stm_{month().replace('-', '')}_default"
    return {"key": key_id, "call": call_id, "statement": statement, "endpoint": hook["id"]}


@pytest.mark.parametrize("look", LOOKS)
def test_every_page_can_be_used_by_everybody(browser, signed_in, used, look, tmp_path):
    """In either scheme and on a phone: axe finds nothing, nothing is wider than the window, nothing is complained of."""
    state, home = signed_in
    with chromium.window(browser, home, storage_state=state, **LOOKS[look]) as window:
        for path in PAGES:
            window.page.goto(home + path.format(**used))
            window.page.evaluate("document.querySelectorAll('details').forEach((one) => (one.open = true))")
            name = path.strip("/").replace("/", "-").format(**used) or "overview"
            window.picture(tmp_path / f"{name}.png")
            assert window.findings() == [], path
            assert not window.overflows(), path


def test_pages_work_without_scripts(tokn, browser):
    """The link is pasted, a filter is sent, a form is done: all without a line of JavaScript."""
    link = tokn.another_link()
    with chromium.window(browser, origin(link), java_script_enabled=False) as window:
        page = window.page
        page.goto(link)
        page.get_by_label("The link").fill(link)
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url(f"{origin(link)}/")
        page.goto(f"{origin(link)}/keys")
        page.get_by_label("Status").select_option("revoked")
        page.get_by_role("button", name="Find").click()
        page.get_by_text("No key fits that.").wait_for()
        page.goto(f"{origin(link)}/keys/new")
        page.get_by_label("Opening balance, USD").fill("much")
        page.get_by_role("button", name="Make the key").click()
        page.get_by_role("alert").get_by_role("link", name="Write dollars").wait_for()
        assert page.get_by_label("Opening balance, USD").input_value() == "much"
        page.goto(f"{origin(link)}/books")
        page.get_by_label("From").fill("2026-01-01")
        for name in ("Journal", "Calls", "FOCUS"):
            with page.expect_download() as download:
                page.get_by_role("button", name=name, exact=True).click()
            assert download.value.suggested_filename == f"{name.lower()}.csv"
            text = download.value.path().read_text()
            assert ("\n# rows=" in text) == (name != "FOCUS"), text[-200:]
        window.errors[:] = [one for one in window.errors if "400" not in one]  # the refusal itself


def test_webhooks_without_scripts(tokn, browser, signed_in):
    """An endpoint is made, tested, rotated, disabled, enabled, and deleted, by forms alone; each secret is shown once."""
    state, home = signed_in
    with chromium.window(browser, home, storage_state=state, java_script_enabled=False) as window:
        page = window.page

        def said(text: str) -> None:
            page.get_by_role("status").filter(has_text=text).first.wait_for()

        page.goto(f"{home}/webhooks")
        page.get_by_label("Address").fill("https://receiver.example/hook")
        page.get_by_label("balance.low").check()
        page.get_by_role("button", name="Make the endpoint").click()
        secrets = [page.get_by_label("The secret", exact=True).inner_text().strip()]
        page.get_by_role("link", name="To the endpoint").click()
        (made,) = (row for row in tokn.rows("webhook", "list") if "receiver" in row["url"])
        assert (made["events"], made["secrets"][0]["hint"]) == (["balance.low"], secrets[0][-4:])
        page.get_by_role("button", name="Send a test").click()
        said("A test is on its way")
        wait_for(lambda: tokn.rows("webhook", "log", made["id"]), 30, "the test was tried")
        page.reload()
        assert page.get_by_role("table", name="Deliveries").get_by_text("webhook.test").count() == 1
        page.get_by_label("The old one signs too for").select_option("3600")
        page.get_by_role("button", name="Rotate").click()
        secrets.append(page.get_by_label("The secret", exact=True).inner_text().strip())
        page.get_by_role("link", name="To the endpoint").click()
        page.get_by_label("Since, UTC").fill("2026-01-01T00:00")
        page.get_by_role("button", name="Replay").click()
        said("On its way again")
        page.get_by_role("button", name="Disable").click()
        page.get_by_role("alert").filter(has_text="It is sent nothing").wait_for()
        page.get_by_role("button", name="Enable").click()
        said("Enabled")
        assert not [one for one in secrets if one in page.content()]
        page.get_by_role("button", name="Delete for good").click()
        said("deleted for good")
    assert len(set(secrets)) == 2
    assert not [row for row in tokn.rows("webhook", "list") if "receiver" in row["url"]]


def test_a_configuration_is_reloaded_from_its_page(tokn, browser, signed_in):
    """A wrong file is refused with the line that names it; a right one is checked, then taken by all, without a script."""
    state, home = signed_in
    before = tokn.config.read_text()
    with chromium.window(browser, home, storage_state=state, java_script_enabled=False) as window:
        page = window.page
        try:
            tokn.config.write_text(f"[edge]\nfull_wait_s = -3\n{before}")
            page.goto(f"{home}/settings")
            page.get_by_role("button", name="Reload").click()
            page.get_by_role("alert").filter(has_text=f"{tokn.config}: [edge] full_wait_s").wait_for()
            tokn.config.write_text(f"[edge]\nfull_wait_s = 3.5\nkeep_items = false\n{before}")
            page.get_by_role("button", name="Check the file").click()
            page.get_by_role("status").filter(has_text="It can be taken").wait_for()
            page.get_by_role("button", name="Reload").click()
            page.get_by_role("status").filter(has_text="Reloaded: this is generation").wait_for()
            differs = page.get_by_role("table", name="What differs")
            assert differs.get_by_role("row", name="[edge] full_wait_s").count() == 1
            assert "edge" in differs.get_by_role("row", name="[edge] keep_items").inner_text()
        finally:
            tokn.config.write_text(before)
        page.get_by_role("button", name="Reload").click()
        page.get_by_role("status").filter(has_text="Reloaded: this is generation").wait_for()
        window.errors[:] = [one for one in window.errors if "400" not in one]  # the refusal itself
    wait_for(lambda: len(tokn.rows("events", "--type", "config.reloaded")) == 2, 20, "both are told")
    (refused,) = tokn.rows("events", "--type", "config.rejected")
    assert "full_wait_s" in refused["data"]["object"]["problem"]
    assert tokn.audit()["ok"]


def test_a_pasted_key_finds_its_key_and_stays_in_the_browser(tokn, browser, signed_in):
    """The search sends its SHA-256: neither the address nor any request has the key itself."""
    state, home = signed_in
    with chromium.window(browser, home, storage_state=state, **LOOKS["light"]) as window:
        page = window.page
        sent: list[str] = []
        page.on("request", lambda request: sent.append(request.url + (request.post_data or "")))
        page.goto(f"{home}/keys")
        page.get_by_label("Name, id, or the key itself").fill(tokn.key)
        page.keyboard.press("Enter")
        page.wait_for_url(re.compile("secret="))
        assert page.get_by_role("table", name="Keys").get_by_role("row").count() == 2
        assert not [one for one in sent if tokn.key in one]


def test_pools_are_live(tokn, browser, signed_in):
    """What a page of pools shows follows what happens, without a reload."""
    state, home = signed_in
    with chromium.window(browser, home, storage_state=state, **LOOKS["light"]) as window:
        page = window.page
        page.goto(f"{home}/pools")
        page.get_by_text("1 worker", exact=True).wait_for()
        tokn.child("worker").suspend()
        try:
            page.get_by_text("0 workers", exact=True).wait_for()
        finally:
            tokn.child("worker").resume()
        page.get_by_text("1 worker", exact=True).wait_for()


def test_the_picture_in_the_documents_is_of_this_console(tokn, browser, signed_in, used, tmp_path):
    """The README's picture is taken here: TOKN_TEST_PICTURES=docs puts a new one in its place."""
    state, home = signed_in
    folder = os.environ.get("TOKN_TEST_PICTURES")  # noqa: TID251  where to put it is for who runs the tests
    taken = (ROOT / folder if folder else tmp_path) / PICTURE.name
    in_the_books(tokn, [call(tokn, tokn.key) for _ in range(12)][-1])
    look = LOOKS["light"] | {"viewport": {"width": 1160, "height": 760}}
    with chromium.window(browser, home, storage_state=state, **look) as window:
        window.page.goto(home)
        window.page.get_by_role("heading", level=1).wait_for()
        window.page.screenshot(path=taken)
    sizes = [struct.unpack(">II", path.read_bytes()[16:24]) for path in (PICTURE, taken)]
    assert sizes[0] == sizes[1] == (1160, 760)
    assert PICTURE.stat().st_size < 200_000
