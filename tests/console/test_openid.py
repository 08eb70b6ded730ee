"""What a console does for a provider, and what it does without one: nothing at all."""

import subprocess
import sys

import httpx
import pytest

from console.app import Console
from console.limits import LIMITS
from console.openid import Going
from console.reload import Following
from ledger.openid.signing import Signing
from runtime.settings import oidc
from runtime.settings.console import ConsoleSettings
from runtime.settings.oidc import OidcSettings
from runtime.settings.settings import Settings, SettingsError
from schemas.admin.reasons import Reason
from schemas.verbs.base import Rows
from tests.console.conftest import console
from tests.fakes.issuer import CLIENT, Issuer

LOADED = """
import sys
import console.app, console.pages, ledger.app, ledger.openid.signing
print([name for name in sys.modules if name.partition(".")[0] in ("authlib", "joserfc")])
"""


def settings(issuer: str) -> ConsoleSettings:
    """A console with a provider."""
    return ConsoleSettings(oidc=OidcSettings(issuer=issuer, client_id=CLIENT, roles_claim="roles"))


async def test_without_a_provider_there_is_no_way_to_one(rig):
    """No button and no address: a stranger is sent to sign in, whoever is signed in finds nothing."""
    page = await rig.browser.get("/login")
    assert "Sign in with" not in page.text
    assert (await rig.browser.get("/login/oidc?code=x&state=y")).status_code == 303
    await rig.sign_in()
    assert (await rig.browser.get("/login/oidc?code=x&state=y")).status_code == 404
    assert (await rig.post("/login/oidc", {})).status_code == 404


def test_without_a_provider_nothing_is_loaded_for_one():
    """Neither a console nor a ledger loads Authlib, or what comes with it, before one is configured."""
    done = subprocess.run([sys.executable, "-c", LOADED], check=True, capture_output=True, text=True)
    assert done.stdout == "[]\n"


async def test_the_button_names_the_provider():
    """By its host, in a form that works without scripts; the link is still there."""
    async with console(settings("https://id.example/realms/tokn")) as rig:
        page = (await rig.browser.get("/login?next=/keys")).text
        assert "Sign in with id.example</button>" in page
        assert page.count('name="next" value="/keys"') == 2
        assert "tokn console login" in page


async def test_a_provider_that_is_away_is_told_of():
    """A sentence, the way by a link, and no browser that is sent into nothing."""
    async with console(settings("http://127.0.0.1:1")) as rig:
        answer = await rig.post("/login/oidc", {}, page="/login")
        assert answer.status_code == 502
        assert "cannot be reached" in answer.text
        assert "refresh" not in answer.headers


async def test_a_ledger_that_knows_no_provider_is_told_of():
    """Where a console and its ledger were configured differently, nobody is sent away for nothing."""
    with Issuer() as issuer:
        async with console(settings(issuer.url)) as rig:
            rig.ledger.nonce = Rows(problem="no provider is configured here", reason=Reason.SIGN_IN_REFUSED)
            answer = await rig.post("/login/oidc", {}, page="/login")
        assert answer.status_code == 502
        assert "No provider is configured here." in answer.text
        assert not issuer.asked


async def test_to_begin_again_ends_the_session_before():
    """On the way back its cookie is not there, so it is ended on the way out."""
    with Issuer() as issuer:
        async with console(settings(issuer.url)) as rig:
            await rig.sign_in()
            answer = await rig.post("/login/oidc", {}, page="/login")
            assert answer.status_code == 200
            assert rig.ledger.acts[-1][0] == "session_end"
            assert rig.cookie not in rig.browser.cookies


@pytest.mark.parametrize("public", ["", "https://console.example"])
async def test_the_cookie_that_waits_is_no_session(public):
    """Lax, for ten minutes, HttpOnly, and under https of this host alone; the provider is told where a browser came from."""
    with Issuer() as issuer:
        own = settings(issuer.url)
        async with console(ConsoleSettings(public_url=public, oidc=own.oidc)) as rig:
            host = {"host": "console.example"} if public else {}
            page = await rig.browser.get("/login", headers=host)
            greeting = page.headers["set-cookie"].partition(";")[0]
            csrf = page.text.partition('name="csrf" value="')[2].partition('"')[0]
            answer = await rig.browser.post(
                "/login/oidc", data={"csrf": csrf}, headers={**host, "cookie": greeting}
            )
            (going,) = [one for one in answer.headers.get_list("set-cookie") if "_going_" in one]
            assert {"SameSite=lax", "HttpOnly", "Max-Age=600", "Path=/"} <= set(going.split("; "))
            assert ("Secure" in going, going.startswith("__Host-")) == (bool(public), bool(public))
            where = httpx.URL(answer.headers["refresh"].partition("=")[2])
            assert where.params["redirect_uri"] == f"{public or rig.url}/login/oidc"
            assert where.params["nonce"] == "a nonce"


def test_nothing_that_is_sent_tells_the_rest():
    """State, verifier and binding all differ, and are of one secret; no secret means no state."""
    going, other = Going("a secret"), Going("another")
    assert len({going.state, going.verifier, going.binding.hex(), "a secret"}) == 4
    assert going.is_state(going.state)
    assert not going.is_state(other.state)
    assert not Going("").is_state(Going("").state)
    assert not going.is_state("é")


async def test_a_start_without_the_package_says_what_to_install(monkeypatch):
    """Console and ledger end with one sentence, and a running console keeps what it had."""
    monkeypatch.setattr(oidc, "find_spec", lambda _name: None)
    whole = Settings(console=settings("https://id.example"), source="tokn.toml")
    words = "tokn.toml: [console.oidc]: needs Authlib, which is not installed: pip install authlib (the extra oidc)"
    with pytest.raises(SettingsError) as error:
        await Console(whole, LIMITS).open()
    assert str(error.value) == words
    with pytest.raises(SettingsError) as error:
        Signing.of(whole)
    assert str(error.value) == words
    async with console() as rig:
        with pytest.raises(SettingsError, match="needs Authlib"):
            await Following(rig.desk).prepare(whole)
        assert rig.desk.provider is None
