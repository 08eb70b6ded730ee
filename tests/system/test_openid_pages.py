"""Owns signing in by a provider in a real browser, to which the provider is another site: its cookies, the pages' policy."""

import itertools
from functools import partial

import pytest

from tests.fakes import chromium
from tests.fakes.openid import OpenIdProvider
from tests.fakes.ports import free_port
from tests.fakes.tokn import Tokn, status, wait_for

pytestmark = [pytest.mark.system, pytest.mark.browser]

TOML = '[console]\nport = {port}\ntrusted_proxies = ["127.0.0.0/8"]\n{oidc}[pools.sandbox]\nprovider = "sandbox"\n'
LOOKS = {
    "light": {"viewport": {"width": 1280, "height": 900}, "color_scheme": "light"},
    "dark": {"viewport": {"width": 1280, "height": 900}, "color_scheme": "dark"},
    "phone": {"viewport": {"width": 360, "height": 740}, "color_scheme": "dark", "reduced_motion": "reduce"},
}
NUMBERS = itertools.count(1)  # of windows


class WithConsole(Tokn):
    """A deployment with its console."""

    console = True


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """The console's address, and the provider of its deployment."""
    port = free_port()
    with OpenIdProvider(f"http://127.0.0.1:{port}/login/oidc") as provider:
        provider.know(ada={"name": "Ada", "tokn_roles": ["admin"]})
        text = TOML.format(port=port, oidc=provider.toml)
        with WithConsole(tmp_path_factory.mktemp("openid") / "data", text):
            wait_for(lambda: status(port, "/login") == 421, 20, "the console")
            yield f"http://127.0.0.1:{port}", provider


@pytest.fixture(scope="module")
def browser():
    """One Chromium."""
    with chromium.opened() as running:
        yield running


@pytest.fixture
def opened(browser, home):
    """Opens a window at an address of its own: each may sign in five times a minute."""
    url, provider = home
    headers = {"x-forwarded-for": f"192.0.2.{next(NUMBERS)}"}
    return partial(chromium.window, browser, url, provider.issuer, extra_http_headers=headers)


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
def test_there_and_back(opened, home, scripts):
    """From the page that was wanted over the provider to that page, signed in, with no complaint of the browser; and out."""
    url, provider = home
    with opened(java_script_enabled=scripts) as window:
        page = window.page
        page.goto(f"{url}/keys")
        page.get_by_role("button", name=f"Sign in with {provider.issuer.partition('//')[2]}").click()
        page.get_by_label("Name").fill("ada")
        page.get_by_role("button", name="Enter").click()
        page.wait_for_url(f"{url}/keys")
        page.get_by_role("heading", name="Keys", level=1).wait_for()
        assert "Ada" in page.locator(".who").inner_text()
        cookies = {one["name"]: one for one in window.page.context.cookies(url)}
        (session,) = [one for name, one in cookies.items() if "_session_" in name]
        assert (session["sameSite"], session["httpOnly"]) == ("Strict", True)
        assert not [name for name in cookies if "_going_" in name]
        page.get_by_role("button", name="Sign out").click()
        page.wait_for_url(f"{url}/login")


def test_whoever_turns_back_is_told(opened, home):
    """A refusal of the provider's ends on the page to sign in, with a sentence."""
    url, _ = home
    with opened() as window:
        page = window.page
        page.goto(f"{url}/login")
        page.get_by_role("button", name="Sign in with").click()
        page.get_by_role("button", name="Cancel").click()
        page.get_by_role("alert").filter(has_text="did not let you in").wait_for()
        assert window.findings() == []
        window.errors[:] = [one for one in window.errors if "403" not in one]  # the refusal itself


@pytest.mark.parametrize("look", LOOKS)
def test_the_pages_can_be_used_by_everybody(opened, home, look):
    """The page to sign in on, and the one that goes on by itself where it cannot: axe finds nothing, nothing is too wide."""
    url, provider = home
    with opened(**LOOKS[look]) as window:
        page = window.page
        page.goto(f"{url}/login")
        assert window.findings() == []
        assert not window.overflows()
        page.route(
            f"{provider.issuer}/**", lambda route: route.fulfill(status=204)
        )  # which a browser stays for
        page.get_by_role("button", name="Sign in with").click()
        page.get_by_role("link", name="Go on to").wait_for()
        assert window.findings() == []
        assert not window.overflows()
