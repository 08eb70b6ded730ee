"""Owns the public pages over HTTP: who gets what, under which headers, and that nothing else has changed for it."""

import asyncio
import contextlib
import json
import re
import socket
from html import escape, unescape

import pytest

from edge.routes import site
from edge.site.site import COMPILED, LIVE, MODEL, RATE, ROOT, with_models
from schemas.bus.subjects import new_id
from tests.edge.conftest import FAST, Rig
from tests.edge.stand_ins import until
from web.headers import CONTENT_SECURITY_POLICY

HTML = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
PAGES = ("/", "/docs", "/playground")
SEED = (  # what the page that this product was asked for with says
    "OpenAI-compatible surface",
    "Point any OpenAI SDK at our gateway.",
    "You choose the model string per request; billing follows metered usage at roughly 60% of typical list per token",
    "Authorization: Bearer <TOKN_API_KEY>",
    "POST /v1/chat/completions",
    "streaming and non-streaming JSON bodies match OpenAI",
    "POST /v1/completions",
    "GET /v1/models",
    "filter client-side to the providers you enabled for your key",
    "upstream availability depends on live pool inventory",
    "gpt-4o-mini",
    "claude-3-opus-20240229",
    "gemini-1.5-flash-latest",
    "amazon.titan-text-express-v1",
    "Hello from tokn$",
    'import OpenAI from "openai"',
    "missing or invalid key",
    "insufficient metered balance for this key",
    "upstream or pool saturation: retry with backoff",
)


async def raw(port: int, request: bytes) -> tuple[int, bytes]:
    """Status and body of the answer to a request that no client would send."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    head, _, body = (await asyncio.wait_for(reader.read(), 10)).partition(b"\r\n\r\n")
    writer.close()
    await writer.wait_closed()
    return int(head.split()[1]), body


async def get(rig: Rig, path: str, **headers: str):
    """A GET without a key."""
    request = rig.http.build_request("GET", path, headers=headers)
    del request.headers["authorization"]
    return await rig.http.send(request)


@pytest.mark.parametrize("path", PAGES)
async def test_a_browser_gets_a_page(rig: Rig, path: str) -> None:
    """Without a key, under the strict policy, and with every mark of the compiled text filled in."""
    answer = await get(rig, path, **HTML)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert answer.headers["content-security-policy"].encode() == CONTENT_SECURITY_POLICY
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cross-origin-opener-policy"] == "same-origin"
    assert answer.headers["x-request-id"].startswith("req_")
    assert [mark for mark in (ROOT, MODEL, LIVE, RATE, "address-of-") if mark in answer.text] == []
    assert not re.search(
        r"<script(?! type=\"module\" src=\"/static/)|<style|\sstyle=|\son[a-z]+=", answer.text
    )
    for address in re.findall(r'(?:href|src)="(/[^"#]*)"', answer.text):
        assert (await get(rig, address, **HTML)).status_code == 200, address


async def test_the_first_page_says_what_the_product_is(rig: Rig) -> None:
    """Each sentence of the page that this product was asked for with, and how many models can be called."""
    text = " ".join(unescape(re.sub(r"<[^>]+>", "", (await get(rig, "/", **HTML)).text)).split())
    assert [sentence for sentence in SEED if sentence not in text] == []
    assert "1 model can be called on this gateway now." in text
    assert '"model": "tokn-sandbox"' in text


async def test_programs_get_json(rig: Rig) -> None:
    """Who does not ask for HTML is told where to begin; caches know that the answer depends on it."""
    for headers in ({}, {"accept": "application/json"}, {"accept": "*/*"}):
        answer = await get(rig, "/", **headers)
        assert answer.json() == {"name": "tokn", "base_url": f"{rig.url}/v1", "docs": f"{rig.url}/docs"}
        assert answer.headers["vary"] == "accept"
        assert answer.headers["content-type"] == "application/json"
    assert (await get(rig, "/", **HTML)).headers["vary"] == "accept"


@pytest.mark.parametrize("path", [*PAGES, "/openapi.json", "/favicon.svg"])
async def test_a_head_is_a_get_without_its_body(rig: Rig, path: str) -> None:
    """The same status and the same headers but those of the moment."""
    whole = await get(rig, path, **HTML)
    head = await rig.http.head(path, headers=HTML)
    moments = {"date", "x-request-id", "openai-processing-ms"}
    assert head.content == b""
    assert head.status_code == whole.status_code
    assert {n: v for n, v in head.headers.items() if n not in moments} == {
        n: v for n, v in whole.headers.items() if n not in moments
    }


async def test_other_methods_are_refused(rig: Rig) -> None:
    """A page is read and no more; a preflight of another origin gets no leave."""
    answer = await rig.http.post("/docs")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")
    asked = {"origin": "https://app.example", "access-control-request-method": "GET"}
    answer = await rig.http.options("/docs", headers=asked)
    assert answer.status_code == 405
    for path in (*PAGES, "/openapi.json"):
        read = await get(rig, path, origin="https://app.example", **HTML)
        assert not [name for name in read.headers if name.startswith("access-control")]


async def test_assets_are_kept_for_good(rig: Rig) -> None:
    """Their names have their bytes' hash, so a browser asks once; a name that is not there is a 404."""
    page = (await get(rig, "/playground")).text
    names = set(re.findall(r"/static/[a-z]+-[0-9a-f]{12}\.[a-z]+", page))
    assert {name.rsplit("-", 1)[0] for name in names} >= {
        "/static/style",
        "/static/playground",
        "/static/copy",
    }
    for name in names:
        answer = await get(rig, name)
        assert "immutable" in answer.headers["cache-control"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["content-type"].split(";")[0] in {
            "text/css",
            "text/javascript",
            "image/svg+xml",
        }


@pytest.mark.parametrize(
    "path",
    [
        "/static/style.css",
        "/static/",
        "/static",
        "/static/../app.py",
        "/static/%2e%2e/%2e%2e/app.py",
        "/static/..%2fpages.py",
        "/static//etc/passwd",
        "/static/%00",
        "/docs/",
        "/openapi.yaml",
    ],
)
async def test_nothing_else_is_served(rig: Rig, path: str) -> None:
    """There is no folder to climb out of: what is no asset's whole address is the 404 of every unknown path."""
    status, body = await raw(
        rig.edge.port, f"GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode()
    )
    assert status == 404
    error = json.loads(body)["error"]
    assert error["code"] == "unknown_url"
    assert "POST /v1/chat/completions" in error["message"]
    assert "/static" not in error["message"].partition("This gateway serves")[2]


async def test_the_address_is_the_one_that_was_used(rig: Rig) -> None:
    """Snippets name the Host of the request, if it has the form of one, and else where the edge listens."""
    named = await get(rig, "/", host="gateway.example:8443")
    assert named.json()["base_url"] == "http://gateway.example:8443/v1"
    for host in ('x"><script>alert(1)</script>', "a b", "x/y", "évil", "", "a" * 300):
        request = b"GET /docs HTTP/1.1\r\nhost: %b\r\nconnection: close\r\n\r\n" % host.encode("latin-1")
        status, body = await raw(rig.edge.port, request)
        assert status == 200
        assert b"<script>alert" not in body
        assert rig.url.encode() in body


async def test_pages_know_no_key(rig: Rig) -> None:
    """A key in the address, in a header or in a cookie is in no answer."""
    for path in (*PAGES, "/openapi.json"):
        answer = await rig.http.get(
            f"{path}?k={rig.ledger.key}", headers={**HTML, "cookie": f"k={rig.ledger.key}"}
        )
        assert answer.status_code == 200
        assert rig.ledger.key not in answer.text + str(answer.headers)
        assert "set-cookie" not in answer.headers


def test_a_name_of_a_model_is_text() -> None:
    """Whatever an operator calls a model stands in the first page as it is."""
    evil = f"<b>{new_id('m_')}</b>"
    page = with_models((COMPILED / "index.html").read_bytes(), (evil,))
    assert evil.encode() not in page
    assert escape(evil).encode() in page


def stalled(port: int) -> socket.socket:
    """A stranger that asks for the largest page twice and reads nothing."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    made.connect(("127.0.0.1", port))
    made.sendall(b"GET /docs HTTP/1.1\r\nhost: x\r\n\r\n" * 2)
    return made


async def test_who_never_reads_keeps_no_place(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many strangers ask for pages and read none: few are on their way, readers get theirs, and calls go on."""
    monkeypatch.setattr(site, "AT_ONCE", 4)
    with contextlib.ExitStack() as held:
        for _ in range(12):
            held.enter_context(stalled(rig.edge.port))
        await until(lambda: rig.edge.load.requests == 4)
        whole = await asyncio.wait_for(get(rig, "/docs", **HTML), 10)
        assert whole.text.rstrip().endswith("</html>")
        assert (await rig.chat()).status_code == 200
        assert rig.edge.load.requests <= 4
    await until(lambda: rig.edge.load.requests == 0)


async def test_a_page_has_its_time(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who does not take a page in time is cut off."""
    monkeypatch.setattr(site, "SEND_S", 0.2)
    with contextlib.closing(stalled(rig.edge.port)):
        await until(lambda: rig.edge.load.requests == 1)
        await until(lambda: rig.edge.load.requests == 0)


@pytest.fixture
async def told(nats):
    """An edge whose callers are told another address."""
    made = Rig(nats)
    made.public_url = "https://api.example/v1"
    async with made.stack:
        await made.open(FAST)
        yield made


async def test_a_public_address_is_the_one_that_is_told(told: Rig) -> None:
    """NEXT_PUBLIC_CREDEX_API_URL stands in every page and in the document, whatever Host was used."""
    start = (await get(told, "/", host="10.0.0.1")).json()
    assert (start["base_url"], start["docs"]) == ("https://api.example/v1", "https://api.example/docs")
    for path in PAGES:
        text = unescape((await get(told, path, **HTML)).text)
        assert "https://api.example/v1" in text
        assert told.url not in text
        assert "https://api.example/v1/v1" not in text
    assert (await get(told, "/openapi.json")).json()["servers"] == [{"url": "https://api.example"}]


@pytest.fixture
async def bare(nats):
    """An edge without pages."""
    made = Rig(nats)
    made.pages = False
    async with made.stack:
        await made.open(FAST)
        yield made


async def test_without_pages_all_is_as_before(bare: Rig) -> None:
    """`pages = false`: the 404 of every unknown path, and the API as ever."""
    for path in (*PAGES, "/openapi.json", "/favicon.svg"):
        answer = await get(bare, path, **HTML)
        assert answer.status_code == 404
        assert answer.json()["error"]["code"] == "unknown_url"
    assert (await bare.chat()).status_code == 200
