"""How a browser signs in: by a link once, into a session that nobody could have set, under a cookie that nobody else reads."""

import pytest

from runtime.settings.console import ConsoleSettings, exposed
from schemas.admin.credentials import Session, SignInToken, digest
from schemas.admin.operators import SESSION_S
from tests.console.conftest import TOKEN, console


async def test_a_link_signs_in_once(rig):
    """The ledger hears digests alone: the token's and the new session's. The same link again is refused, and says why."""
    answer = await rig.post("/login", {"token": TOKEN}, page="/login")
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    ((name, act),) = rig.ledger.acts
    secret = rig.browser.cookies[rig.cookie]
    assert name == "sign_in"
    assert act.credential == SignInToken(digest(TOKEN))
    assert digest(secret) in act.form
    assert secret.encode() not in act.form
    assert len(secret) >= 43  # 256 bits
    assert (await rig.browser.get("/")).status_code == 200
    again = await rig.post("/login", {"token": TOKEN}, page="/login")
    assert again.status_code == 401
    assert "was used" in again.text


async def test_the_sessions_cookie_is_hard_to_steal(rig):
    """HttpOnly, SameSite=Strict, the whole site and no other host; over https Secure under a __Host- name. It has a date."""
    answer = await rig.post("/login", {"token": TOKEN}, page="/login")
    said = next(one for one in answer.headers.get_list("set-cookie") if "session" in one)
    assert said.startswith(f"tokn_session_{rig.port}=")
    assert "HttpOnly" in said
    assert "SameSite=strict" in said
    assert "Path=/" in said
    assert "Domain" not in said
    assert f"Max-Age={SESSION_S}" in said
    assert "Secure" not in said
    async with console(ConsoleSettings(public_url="https://console.example")) as public:
        host = {"host": "console.example"}
        page = await public.browser.get("/login", headers=host)
        (greeting,) = page.headers.get_list("set-cookie")
        assert greeting.startswith("__Host-tokn_stranger_443=")
        assert "Secure" in greeting


async def test_a_session_that_was_there_before_is_not_taken(rig):
    """What somebody has set in a browser beforehand is no session after it has signed in, and opens nothing."""
    rig.browser.cookies.set(rig.cookie, "fixed-by-another", domain="127.0.0.1")
    fields = await rig.fields("/login")
    answer = await rig.browser.post("/login", data={**fields, "token": TOKEN})
    assert answer.status_code == 303
    said = next(one for one in answer.headers.get_list("set-cookie") if "session" in one)
    assert "fixed-by-another" not in said
    assert digest("fixed-by-another") not in rig.ledger.sessions


async def test_signing_in_ends_the_session_before(rig):
    """A browser has one session: the one before it is ended at the ledger."""
    await rig.sign_in()
    before = digest(rig.browser.cookies[rig.cookie])
    await rig.sign_in()
    assert before not in rig.ledger.sessions
    assert ("session_end", Session(before)) in [(name, act.credential) for name, act in rig.ledger.acts]


async def test_signing_out_ends_the_session_itself(rig):
    """The cookie is taken back, and a copy of it opens nothing."""
    await rig.sign_in()
    copy = rig.browser.cookies[rig.cookie]
    answer = await rig.post("/logout", {})
    assert (answer.status_code, answer.headers["location"]) == (303, "/login")
    assert rig.cookie not in rig.browser.cookies
    rig.browser.cookies.set(rig.cookie, copy, domain="127.0.0.1")
    assert (await rig.browser.get("/")).headers["location"] == "/login"


async def test_reading_the_way_out_signs_nobody_out(rig):
    """A link or a picture of another page that leads to /logout changes nothing."""
    await rig.sign_in()
    await rig.browser.get("/logout")
    assert (await rig.browser.get("/")).status_code == 200


async def test_only_so_many_tries_a_minute(rig):
    """After five a right link is refused as well, and is still good afterwards for another address."""
    for _ in range(5):
        assert (await rig.post("/login", {"token": "wrong"}, page="/login")).status_code == 401
    answer = await rig.post("/login", {"token": TOKEN}, page="/login")
    assert answer.status_code == 429
    assert digest(TOKEN) in rig.ledger.links


async def test_an_address_is_believed_from_trusted_proxies_alone():
    """A header counts from a proxy that is named, its last foreign hop; else anybody had as many tries as he can count."""
    for trusted, seen in (((), "127.0.0.1"), (("127.0.0.0/8",), "203.0.113.9")):
        async with console(ConsoleSettings(trusted_proxies=trusted)) as rig:
            sent = "198.51.100.1, 203.0.113.9, 127.0.0.5"
            await rig.post("/login", {"token": TOKEN}, page="/login", x_forwarded_for=sent)
            assert rig.ledger.acts[0][1].ip == seen


@pytest.mark.parametrize(
    ("following", "where"),
    [
        ("/keys?status=paused", "/keys?status=paused"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("https://evil.example", "/"),
        ("/a\r\nset-cookie: x=y", "/"),
        ("", "/"),
    ],
)
async def test_it_goes_on_within_the_console(rig, following, where):
    """Where somebody was going is kept over the sign-in, and never leads elsewhere."""
    answer = await rig.post("/login", {"token": TOKEN, "next": following}, page="/login")
    assert answer.headers["location"] == where


async def test_a_whole_link_can_be_pasted(rig):
    """Without a script people paste what they have: the link, or its end."""
    answer = await rig.post("/login", {"token": f" {rig.url}/login#t={TOKEN} "}, page="/login")
    assert answer.status_code == 303


async def test_the_form_is_of_the_browser_that_loaded_it(rig):
    """Another's form does not sign this browser in to another's session."""
    foreign = {"csrf": "0" * 64, "token": TOKEN}
    assert (await rig.browser.post("/login", data=foreign)).status_code == 403
    fields = await rig.fields("/login")
    rig.browser.cookies.clear()
    answer = await rig.browser.post("/login", data={**fields, "token": TOKEN})
    assert answer.status_code == 403
    assert digest(TOKEN) in rig.ledger.links


@pytest.mark.parametrize(
    ("settings", "allowed"),
    [
        ({"host": "127.0.0.1"}, True),
        ({"host": "127.8.8.8"}, True),
        ({"host": "::1"}, True),
        ({"host": "localhost"}, True),
        ({"host": "0.0.0.0"}, False),
        ({"host": "192.0.2.1"}, False),
        ({"host": "::"}, False),
        ({"host": "0.0.0.0", "public_url": "http://console.example"}, False),
        ({"host": "0.0.0.0", "public_url": "https://console.example"}, True),
        ({"host": "0.0.0.0", "trusted_proxy": True}, True),
    ],
    ids=str,
)
def test_what_people_type_crosses_no_network_in_the_clear(settings, allowed):
    """Beyond this machine a console wants https in front of it, or a word that nobody else reaches it."""
    assert bool(exposed(ConsoleSettings(**settings))) is not allowed
