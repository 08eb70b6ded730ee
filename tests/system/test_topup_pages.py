"""Owns a top-up in a real browser, with and without JavaScript: from the form to Stripe, another site, and back, still signed in."""

import httpx
import pytest

from console.stripe import PATH
from tests.fakes import chromium
from tests.fakes.ports import free_port
from tests.fakes.stripe import FakeStripe
from tests.fakes.stripe_events import SECRET, Paid, signed
from tests.fakes.tokn import Tokn

pytestmark = [pytest.mark.system, pytest.mark.browser]

CONFIGURATION = """
[console]
port = {port}
[billing.stripe]
api_key = "{key}"
webhook_secret = "{secret}"
api_base = "{base}"
[pools.sandbox]
provider = "sandbox"
"""


PHONE = {"width": 360, "height": 740}


class WithConsole(Tokn):
    """A deployment with its console."""

    console = True


def _event(origin: str, stripe: FakeStripe) -> httpx.Response:
    """The newest session is paid, and Stripe says so."""
    session = list(stripe.sessions.values())[-1]
    paid = Paid(session["client_reference_id"], session["id"], f"pi_{len(stripe.sessions)}", 2_500)
    sent = signed(paid.event("checkout.session.completed"))
    headers = {"stripe-signature": sent.signature, "content-type": "application/json"}
    return httpx.post(f"{origin}{PATH}", content=sent.body, headers=headers)


def test_a_top_up_by_hand(tmp_path):
    """The form leads to a link, the link to Stripe, Stripe back to a page without a session, and that to the paid top-up."""
    port = free_port()
    origin = f"http://127.0.0.1:{port}"
    with FakeStripe() as stripe, chromium.opened() as browser:
        text = CONFIGURATION.format(port=port, key=stripe.key, secret=SECRET, base=stripe.base_url)
        with WithConsole(tmp_path / "data", text) as tokn:
            for scripts in (True, False):
                shop = f"http://localhost:{stripe.port}"
                with chromium.window(
                    browser, origin, shop, java_script_enabled=scripts, viewport=PHONE
                ) as window:
                    _top_up(window, tokn, origin, stripe, scripts=scripts)
            assert tokn.audit()["ok"]
            assert tokn.row("org", "show", "default")["balance"]["posted_nano"] == 50 * 10**9


def _usable(window):
    """Everybody can use the page as it is, with all of it open."""
    window.page.evaluate("document.querySelectorAll('details').forEach((one) => (one.open = true))")
    assert window.findings() == []
    assert not window.overflows()


def _top_up(window, tokn, origin, stripe, *, scripts):
    page = window.page
    link = str(tokn.row("console", "login")["url"])
    page.goto(link)
    if scripts:
        page.wait_for_url(f"{origin}/")
    else:
        page.get_by_label("The link, or what follows #t= in it").fill(link)
        page.get_by_role("button", name="Sign in").click()
    page.goto(f"{origin}/organizations/default")
    if scripts:
        _usable(window)
    page.locator("#f-topup_usd").fill("25")
    page.get_by_role("button", name="Pay with Stripe").click()
    page.wait_for_url(f"{origin}/organizations/default/topups/tup_*")
    if scripts:
        _usable(window)
    page.get_by_role("link", name="Continue to Stripe").click()
    page.wait_for_url(f"http://localhost:{stripe.port}/**")
    assert _event(origin, stripe).status_code == 200
    page.locator("#pay").click()
    page.wait_for_url(f"{origin}/topups/back?**")
    assert page.get_by_role("heading", name="Thank you").is_visible()
    if scripts:
        _usable(window)
    page.get_by_role("link", name="Back to the console").click()
    page.wait_for_url(f"{origin}/organizations/default/topups/tup_*")
    page.get_by_text("are in the wallet").wait_for()
