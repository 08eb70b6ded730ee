"""Owns signing in by an OpenID provider that is real: there and back as a browser goes, and what nobody gets that way."""

import asyncio
import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import pytest

from console.openid import Going, Provider
from runtime.bus.bus import Bus
from runtime.ledger import LedgerClient, once
from runtime.settings.oidc import OidcSettings
from runtime.settings.settings import NatsSettings
from schemas.admin.credentials import IdToken, digest, new_token
from schemas.admin.oidc import OIDC_BEGIN, OidcBegin
from schemas.admin.operators import SignIn
from schemas.admin.reasons import Reason, reason_of
from schemas.admin.verbs import CONSOLE_WRITE, ConsoleWrite
from schemas.bus.subjects import Role
from schemas.verbs.base import encode
from tests.fakes.openid import CLIENT, SECRET, OpenIdProvider, let_in
from tests.fakes.ports import free_port
from tests.fakes.tokn import Tokn, status, wait_for

pytestmark = pytest.mark.system

CSRF = re.compile(r'name="csrf" value="([^"]+)"')
ALERT = re.compile(r'role="alert">([^<]+)<')
BACK = "/login/oidc"
TOML = '[console]\nport = {port}\ntrusted_proxies = ["127.0.0.0/8"]\n{oidc}[pools.sandbox]\nprovider = "sandbox"\n'


class WithConsole(Tokn):
    """A deployment with its console."""

    console = True


class Deployed:
    """A deployment whose console knows a provider."""

    def __init__(self, tokn: Tokn, provider: OpenIdProvider, port: int) -> None:
        self.tokn = tokn
        self.provider = provider
        self.url = f"http://127.0.0.1:{port}"
        self._browsers = 0

    def browser(self) -> "Browser":
        """Another one, at an address of its own."""
        self._browsers += 1
        return Browser(self.url, f"192.0.2.{self._browsers}")

    def failed(self) -> list[str]:
        """Why sign-ins were refused by the ledger, newest first."""
        rows = self.tokn.rows("audit", "log")
        return [row["reason"] for row in rows if row["action"] == "sign_in_oidc_failed"]


class Browser(httpx.Client):
    """A browser that follows nothing by itself."""

    def __init__(self, url: str, address: str) -> None:
        super().__init__(
            base_url=url,
            headers={"sec-fetch-site": "same-origin", "x-forwarded-for": address},
            timeout=30,
        )

    def begin(self, **fields: str) -> httpx.Response:
        """Presses the button."""
        csrf = CSRF.search(self.get("/login").text)
        assert csrf is not None
        return self.post(BACK, data={"csrf": csrf[1], **fields})

    def sent(self, **fields: str) -> str:
        """Where the button leads."""
        return onward(self.begin(**fields))

    def sign_in(self, name: str, **fields: str) -> httpx.Response:
        """All the way there and back."""
        return self.get(let_in(self.sent(**fields), name))


def onward(answer: httpx.Response) -> str:
    """Where a page goes on to."""
    assert answer.status_code == 200, answer.text
    wait, _, where = answer.headers["refresh"].partition(";url=")
    assert wait == "0"
    return where


def alert(answer: httpx.Response) -> str:
    """What a page complains of."""
    found = ALERT.search(answer.text)
    assert found is not None, answer.text
    return found[1]


def query(url: str) -> dict[str, str]:
    """The fields of an address."""
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    """One deployment and one provider, each in processes of its own."""
    port = free_port()
    with OpenIdProvider(f"http://127.0.0.1:{port}{BACK}") as provider:
        provider.know(
            ada={"name": "Ada", "tokn_roles": ["staff", "admin"]},
            eve={"name": "Eve", "tokn_roles": ["staff"]},
        )
        text = TOML.format(port=port, oidc=provider.toml)
        with WithConsole(tmp_path_factory.mktemp("openid") / "data", text) as tokn:
            found = Deployed(tokn, provider, port)
            wait_for(lambda: status(port, "/login") == 421, 20, "the console")
            yield found


def test_a_person_signs_in_and_out(deployed):
    """There with PKCE, state and nonce, and back into a session of the claim's role, on the page that was wanted."""
    with deployed.browser() as browser:
        page = browser.get("/keys")
        assert page.headers["location"] == "/login?next=/keys"
        where = browser.sent(next="/keys?status=paused")
        asked = query(where)
        assert where.startswith(f"{deployed.provider.issuer}/auth?")
        assert (asked["client_id"], asked["response_type"]) == (CLIENT, "code")
        assert (asked["scope"], asked["code_challenge_method"]) == ("openid profile email roles", "S256")
        assert min(len(asked[name]) for name in ("state", "nonce", "code_challenge")) >= 43
        answer = browser.get(let_in(where, "ada"))
        assert onward(answer) == "/keys?status=paused"
        said = {one.partition("=")[0]: one for one in answer.headers.get_list("set-cookie")}
        (session,) = [one for name, one in said.items() if "_session_" in name]
        assert "SameSite=strict" in session
        assert "HttpOnly" in session
        (going,) = [one for name, one in said.items() if "_going_" in name]
        assert "Max-Age=0" in going
        home = browser.get("/keys")
        assert home.status_code == 200
        assert "Ada" in home.text
        csrf = CSRF.search(home.text)
        assert browser.post("/logout", data={"csrf": csrf[1]}).headers["location"] == "/login"
        assert browser.get("/keys").status_code == 303
    (entry,) = [row for row in deployed.tokn.rows("audit", "log") if row["action"] == "sign_in_oidc"][:1]
    assert entry["actor"].startswith("operator:opr_")
    assert entry["ip"].startswith("192.0.2.")


def test_a_role_follows_the_provider(deployed):
    """What it says at the next sign-in holds, for the same operator; without a role nobody comes in, and reads why."""
    with deployed.browser() as browser:
        browser.sign_in("ada")
        before = browser.get("/admin/v1/me").json()
        deployed.provider.know(ada={"name": "Ada", "tokn_roles": ["viewer"]}, eve={"name": "Eve"})
        browser.sign_in("ada")
        after = browser.get("/admin/v1/me").json()
        assert (before["id"], before["role"], after["role"]) == (after["id"], "admin", "viewer")
        refused = browser.sign_in("eve")
        assert refused.status_code == 403
        assert "gives you no role here" in alert(refused)
        assert "its claim tokn_roles has none" in deployed.failed()[0]
    deployed.provider.know(ada={"name": "Ada", "tokn_roles": ["admin"]})


def test_a_removed_operator_stays_out(deployed):
    """His provider lets him in, and the ledger does not."""
    deployed.provider.know(
        bob={"name": "Bob", "tokn_roles": ["owner"]}, ada={"name": "Ada", "tokn_roles": ["admin"]}
    )
    with deployed.browser() as browser:
        onward(browser.sign_in("bob"))
        id_ = browser.get("/admin/v1/me").json()["id"]
        deployed.tokn.run("console", "login")  # there is another owner
        deployed.tokn.row("operator", "create", "carol", "--role", "owner")
        deployed.tokn.row("operator", "remove", id_)
        assert browser.get("/").status_code == 303
        refused = browser.sign_in("bob")
        assert refused.status_code == 403
        assert "You were removed here" in alert(refused)


def test_keys_that_the_provider_has_changed_are_found(deployed):
    """A key that the ledger does not know yet is read from the provider itself."""
    with deployed.browser() as browser:
        onward(browser.sign_in("ada"))
        deployed.provider.rotate()
        onward(browser.sign_in("ada"))


def test_a_way_back_is_good_once(deployed):
    """The same address again opens nothing, and neither does its code where its cookie is put back."""
    with deployed.browser() as browser:
        where = let_in(browser.sent(), "ada")
        kept = dict(browser.cookies)
        onward(browser.get(where))
        again = browser.get(where)
        assert again.status_code == 403
        assert "was not begun in this browser" in alert(again)
        for name, value in kept.items():
            browser.cookies.set(name, value, domain="127.0.0.1")
        again = browser.get(where)
        assert again.status_code == 502
        assert "does not take its own code" in alert(again)


def test_a_way_back_is_of_its_browser(deployed):
    """Another's code and state sign nobody in: not without a cookie, nor with that of another sign-in."""
    with deployed.browser() as browser, deployed.browser() as other:
        where = let_in(browser.sent(), "ada")
        assert other.get(where).status_code == 403
        other.sent()
        assert other.get(where).status_code == 403
        other.sent()
        own = query(other.sent())["state"]
        code = query(where)["code"]
        given = f"{BACK}?{urlencode({'code': code, 'state': own, 'iss': deployed.provider.issuer})}"
        injected = other.get(given)
        assert injected.status_code == 502  # its verifier is the other browser's
        assert not [name for name in other.cookies if "_session_" in name]


@pytest.mark.parametrize(
    ("changed", "status", "words"),
    [
        ({"iss": "http://localhost:1"}, 502, "another provider has answered"),
        ({"iss": None}, 502, "another provider has answered"),
        ({"state": "0" * 64}, 403, "not begun in this browser"),
        ({"state": None}, 403, "not begun in this browser"),
        ({"code": None}, 502, "has sent no code"),
        ({"code": "another"}, 502, "does not take its own code"),
        ({"error": "access_denied"}, 403, "did not let you in"),
        ({"error": "<b>server_error</b>"}, 502, "has failed"),
    ],
    ids=str,
)
def test_a_changed_way_back_opens_nothing(deployed, changed, status, words):
    """Another provider's answer, another state, no code, an error: a page that says so, without a word that was sent."""
    with deployed.browser() as browser:
        told: dict[str, Any] = query(let_in(browser.sent(), "ada")) | changed
        sent = urlencode({name: value for name, value in told.items() if value is not None})
        answer = browser.get(f"{BACK}?{sent}")
        assert answer.status_code == status
        assert words in alert(answer).lower()
        assert "<b>" not in answer.text
        assert not [name for name in browser.cookies if "_session_" in name]


def test_a_sign_in_is_begun_by_a_form_of_ours(deployed):
    """Another site's form, or one without this browser's token, begins none."""
    with deployed.browser() as browser:
        fields = {"csrf": CSRF.search(browser.get("/login").text)[1]}
        foreign = browser.post(BACK, data=fields, headers={"sec-fetch-site": "cross-site"})
        assert foreign.status_code == 403
        assert browser.post(BACK, data={"csrf": "0" * 64}).status_code == 403
        assert not [name for name in browser.cookies if "_going_" in name]
        assert browser.get(BACK).status_code == 200
        assert browser.head(f"{BACK}?code=x").status_code == 200


def test_only_so_many_a_minute(deployed):
    """As by a link: five of one address, whichever way."""
    with deployed.browser() as browser:
        for _ in range(5):
            assert browser.begin().status_code == 200
        answer = browser.begin()
        assert answer.status_code == 429
        assert "More than 5 tries" in alert(answer)


async def test_a_captured_console_signs_in_nobody_by_itself(deployed):
    """With the bus's role and the client's secret: a token for a nonce of its own is worth nothing, nor is one twice."""
    data = deployed.tokn.data
    url = json.loads((data / "run.json").read_text())["nats_url"]
    password = json.loads((data / "secrets.json").read_text())["passwords"]["console"]
    nats = NatsSettings(url=url, passwords={"console": password})
    bus = await Bus.connect(nats, Role.CONSOLE, name="captured", on_closed=lambda: None)
    ledger, back = LedgerClient(bus, once(20)), f"{deployed.url}{BACK}"
    provider = Provider(
        OidcSettings(
            issuer=deployed.provider.issuer,
            client_id=CLIENT,
            client_secret=SECRET,
            roles_claim="tokn_roles",
            scopes=("profile", "roles"),
        )
    )

    async def token(going: Going, nonce: str) -> str:
        where = await provider.begin(going, nonce, back)
        told = query(await asyncio.to_thread(let_in, where, "ada"))
        return await provider.id_token(going, told["code"], told["iss"], back)

    async def signed_in(id_token: str, binding: bytes) -> Reason | None:
        form = encode(SignIn(1, digest(new_token())))
        asked = ConsoleWrite(1, "sign_in_oidc", form, IdToken(id_token, binding))
        return reason_of(await ledger.ask(CONSOLE_WRITE, asked))

    try:
        going = Going("of the captured console")
        own = await token(going, "a nonce of its own")
        assert await signed_in(own, going.binding) is Reason.INVALID_ID_TOKEN
        given = (await ledger.ask(OIDC_BEGIN, OidcBegin(1, going.binding))).rows[0]["nonce"]
        fresh = await token(going, given)
        assert await signed_in(fresh, Going("another").binding) is Reason.INVALID_ID_TOKEN
        assert await signed_in(fresh, going.binding) is None
        assert await signed_in(fresh, going.binding) is Reason.INVALID_ID_TOKEN
        assert await signed_in(await token(going, given), going.binding) is Reason.INVALID_ID_TOKEN
    finally:
        await bus.close()


def test_a_reload_takes_the_provider_away_and_brings_it_back(deployed):
    """Without the table there is no button and no way; with it again people sign in, and no process has restarted."""
    config, whole = deployed.tokn.config, deployed.tokn.config.read_text()
    pids = {name: deployed.tokn.child(name).pid for name in ("console", "ledger")}
    with deployed.browser() as browser:
        where = let_in(browser.sent(), "ada")
        config.write_text(whole.replace(deployed.provider.toml, ""))
        try:
            deployed.tokn.rows("reload")
            assert "Sign in with" not in browser.get("/login").text
            assert browser.get(where).status_code == 303
        finally:
            config.write_text(whole)
            deployed.tokn.rows("reload")
        onward(browser.sign_in("ada"))
    assert pids == {name: deployed.tokn.child(name).pid for name in pids}


def test_the_secret_stays_in_the_console(deployed):
    """No page, no log and no other process has the client's secret."""
    with deployed.browser() as browser:
        onward(browser.sign_in("ada"))
        assert "a secret: of 100%" not in browser.get("/settings").text
    assert deployed.tokn.audit()["ok"]
