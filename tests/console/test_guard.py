"""What no page of a console does: answer to another's name, take another site's form, serve a file by a path, stay silent."""

import msgspec
import pytest

from console.limits import LIMITS
from runtime.http import HttpLimits
from runtime.settings.console import ConsoleSettings
from tests.console.conftest import Rig, console

HEAD = b"GET /login HTTP/1.1\r\nHost: 127.0.0.1\r\n"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:PORT", 200),
        ("localhost:PORT", 200),
        ("LOCALHOST", 200),
        ("[::1]:PORT", 200),
        ("[::1]", 200),
        ("console.example", 200),
        ("evil.example", 421),
        ("evil.example:PORT", 421),
        ("127.0.0.1.evil.example", 421),
        ("console.example.evil.example", 421),
        ("localhost.", 421),
        ("127.0.0.1@evil.example", 421),
        ("localhost:80@evil", 421),
        ("", 421),
    ],
)
async def test_it_answers_to_its_own_names_alone(host, status):
    """A name that somebody points at this machine opens nothing: not a page, not a file, not the API."""
    async with console(ConsoleSettings(public_url="https://console.example")) as rig:
        named = host.replace("PORT", str(rig.port))
        for path in ("/login", rig.desk.pages.assets.url("style.css")):
            answer = await rig.browser.get(path, headers={"host": named})
            assert answer.status_code == status, path
            assert answer.headers["content-security-policy"] == POLICY


async def test_every_answer_forbids_what_no_page_needs(rig):
    """Pages, files, refusals and redirects: no script or style but ours, no frame, no sniffing; data are kept nowhere."""
    static = rig.desk.pages.assets.url("style.css")
    for path, status in (("/login", 200), ("/", 303), ("/none", 303), (static, 200), ("/static/x", 404)):
        answer = await rig.browser.get(path)
        assert answer.status_code == status
        assert answer.headers["content-security-policy"] == POLICY
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cross-origin-opener-policy"] == "same-origin"
        assert answer.headers["x-request-id"].startswith("req_")
        kept = "immutable" if path == static else "no-store"
        assert kept in answer.headers["cache-control"]


@pytest.mark.parametrize(
    "path",
    [
        "/static/../../pyproject.toml",
        "/static/..%2f..%2fpyproject.toml",
        "/static/%2e%2e/%2e%2e/pyproject.toml",
        "/static//etc/passwd",
        "/static/..\\..\\pyproject.toml",
        "/static/style.css",
        "/static/",
        "/static/style.css%00.css",
    ],
)
async def test_no_path_leads_out_of_the_static_files(rig, path):
    """Only names with their hash are served: whatever else stands there is not found."""
    answer = await rig.raw(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
    assert answer.split()[1] in {b"404", b"400", b"303"}
    assert b"[project]" not in answer
    assert b"root:" not in answer


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "cross-site", "origin": "http://127.0.0.1:PORT"},
        {"origin": "https://evil.example"},
        {"origin": "http://127.0.0.1:1"},
        {"origin": "null"},
        {"origin": "https://127.0.0.1:PORT"},
        {},
    ],
    ids=str,
)
@pytest.mark.parametrize("path", ["/login", "/logout", "/keys", "/none"])
async def test_a_form_of_another_origin_is_refused(rig, headers, path):
    """Another site, another port, another scheme, or nobody's word: nothing is asked of the ledger, whatever is signed in."""
    await rig.sign_in()
    fields = await rig.fields("/")
    rig.ledger.acts.clear()
    del rig.browser.headers["sec-fetch-site"]
    said = {name: value.replace("PORT", str(rig.port)) for name, value in headers.items()}
    answer = await rig.browser.post(path, data=fields, headers=said)
    assert answer.status_code == 403
    assert "another site" in answer.text
    assert not rig.ledger.acts


async def test_a_browser_that_says_its_own_origin_is_let_in(rig):
    """Without Sec-Fetch-Site, a form's Origin decides."""
    await rig.sign_in()
    fields = await rig.fields("/")
    del rig.browser.headers["sec-fetch-site"]
    answer = await rig.browser.post("/logout", data=fields, headers={"origin": rig.url})
    assert answer.status_code == 303


@pytest.mark.parametrize("token", ["", "0" * 64, "é"])
async def test_a_form_without_its_sessions_token_is_refused(rig, token):
    """Another service on this machine sees the same cookies, and still cannot make a form."""
    await rig.sign_in()
    rig.ledger.acts.clear()
    answer = await rig.browser.post("/logout", data={"csrf": token})
    assert answer.status_code == 403
    assert not rig.ledger.acts
    assert (await rig.browser.get("/")).status_code == 200


async def test_a_token_is_of_its_own_session(rig):
    """What another session's forms have opens nothing."""
    await rig.sign_in()
    other = await rig.fields("/")
    await rig.post("/logout", {})
    await rig.sign_in()
    assert (await rig.browser.post("/logout", data=other)).status_code == 403


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET /login HTTP/1.1\r\n\r\n", 400),
        (HEAD + b"Host: b\r\n\r\n", 400),
        (b"nonsense\r\n\r\n", 400),
        (HEAD + b"X: " + b"a" * 20_000 + b"\r\n\r\n", 431),
        (b"POST /login HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 70000\r\n\r\n", 413),
        (b"POST /login HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: x\r\n\r\n", 400),
        (
            b"POST /login HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n11170\r\n"
            + b"a" * 70_000,
            413,
        ),
        (HEAD + b"Connection: upgrade\r\nUpgrade: websocket\r\n\r\n", 400),
        (b"CONNECT a:1 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 400),
    ],
)
async def test_what_is_no_request_is_refused(rig, data, status):
    """A head or body beyond its bound, two hosts, another protocol: an answer that says so, and the connection ends."""
    answer = await rig.raw(data)
    assert answer.startswith(b"HTTP/1.1 %d " % status), answer[:200]


async def test_who_is_slow_is_let_go():
    """A head or a body that does not come ends its connection; others are served meanwhile."""
    limits = msgspec.structs.replace(LIMITS, http=HttpLimits(head_s=0.2, body_s=0.2))
    async with console(limits=limits) as rig:
        assert (await rig.raw(HEAD)).startswith(b"HTTP/1.1 408 ")
        body = b"POST /login HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 10\r\n\r\na"
        answer = await rig.raw(body)  # which was refused from its head already
        assert answer.startswith(b"HTTP/1.1 403 ")
        assert answer.count(b"HTTP/1.1 ") == 1
        assert (await rig.browser.get("/login")).status_code == 200


async def test_there_are_only_so_many_connections():
    """One more than may be is told so, and those that are there go on."""
    limits = msgspec.structs.replace(LIMITS, http=HttpLimits(connections=1))
    async with console(limits=limits) as rig:
        assert (await rig.browser.get("/login")).status_code == 200
        assert (await rig.raw(b"")).startswith(b"HTTP/1.1 503 ")
        assert (await rig.browser.get("/login")).status_code == 200


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/json", b"{}"),
        ("multipart/form-data; boundary=x", b"--x--"),
        ("application/x-www-form-urlencoded", b"a=%ff"),
        ("application/x-www-form-urlencoded", b"&".join(b"a%d=1" % number for number in range(300))),
        ("", b""),
    ],
)
async def test_what_is_no_form_is_refused(rig, kind, body):
    """Another type of body, bytes that are no text, more fields than any form has: 400, and nothing is asked."""
    headers = {"content-type": kind} if kind else {}
    answer = await rig.browser.post("/login", content=body, headers=headers)
    assert answer.status_code == 400
    assert not rig.ledger.acts


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
async def test_pages_know_two_methods(rig, method):
    """Whatever else comes is told so."""
    assert (await rig.browser.request(method, "/keys")).status_code == 405


async def test_an_absent_ledger_is_a_page_that_recovers(rig):
    """It says so with 503 and asks again by itself; once the ledger is back, the same address shows what it did."""
    await rig.sign_in()
    rig.ledger.away = True
    answer = await rig.browser.get("/")
    assert answer.status_code == 503
    assert answer.headers["refresh"] == "3"
    assert "No ledger answers" in answer.text
    rig.ledger.away = False
    assert (await rig.browser.get("/")).status_code == 200


async def test_a_form_that_met_no_ledger_can_be_sent_again(rig):
    """What was typed is there still, with the key by which it is done once."""
    await rig.sign_in()
    fields = await rig.fields("/") | {"idem": "idem_1", "name": 'a "name"'}
    rig.ledger.away = True
    answer = await rig.browser.post("/keys", data=fields)
    assert answer.status_code == 503
    assert "refresh" not in answer.headers
    assert 'value="idem_1"' in answer.text
    assert 'value="a &#34;name&#34;"' in answer.text


async def test_what_fails_is_told_without_its_reason(rig: Rig):
    """An error of ours is a 500 with the id under which the log has it; the process goes on."""
    await rig.sign_in()

    def broken(_):
        raise RuntimeError("a secret of the console")

    rig.ledger.says["usage"] = broken
    answer = await rig.browser.get("/")
    assert answer.status_code == 500
    assert answer.headers["x-request-id"] in answer.text
    assert "secret" not in answer.text
    assert answer.headers["content-security-policy"] == POLICY


async def test_a_session_opens_the_api_for_our_pages_alone(rig):
    """Another origin's request gets none of it by the cookie, and nothing is changed without the session's token."""
    await rig.sign_in()
    token = (await rig.fields("/"))["csrf"]
    me = "/admin/v1/me"
    assert (await rig.browser.get(me)).status_code == 200
    for site in ("cross-site", "same-site"):
        assert (await rig.browser.get(me, headers={"sec-fetch-site": site})).status_code == 401
    rig.ledger.acts.clear()
    assert (await rig.browser.post("/admin/v1/keys", json={})).status_code == 401
    assert not rig.ledger.acts
    await rig.browser.post("/admin/v1/keys", json={}, headers={"x-csrf-token": token})
    assert [name for name, _ in rig.ledger.acts] == ["key_create"]
    await rig.post("/logout", {})
    assert (await rig.browser.get(me)).status_code == 401


async def test_the_api_says_so_where_no_ledger_answers(rig):
    """503 in the API's own words, to whom it may concern."""
    await rig.sign_in()
    rig.ledger.away = True
    answer = await rig.browser.get("/admin/v1/me")
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "ledger_away"
