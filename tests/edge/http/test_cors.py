"""Pages of other origins: they read every answer to a key, errors too, and nothing that is for operators."""

import asyncio
import json

import httpx
import pytest

from edge.http.cors import ASKED_BYTES_MAX, Cors
from runtime.settings.origins import read_origins
from runtime.toml import SettingsError, Table
from tests.edge.calls.test_slow_readers import chat
from tests.edge.conftest import FAST, Rig
from tests.edge.http.test_http import say
from tests.fakes.nats import NatsServer

PAGE = "https://app.example"
CHAT = "/v1/chat/completions"
ALLOWED = "access-control-allow-origin"
ASKED = {"origin": PAGE, "access-control-request-method": "POST"}


async def test_every_answer_to_a_key_can_be_read(rig: Rig) -> None:
    """Plain, streamed, listed, and each kind of error: the origin may read body and headers, never with credentials."""
    origin = {"origin": PAGE}
    body = {"model": "tokn-sandbox", "messages": [{"role": "user", "content": "hi"}]}
    answers = [
        await rig.http.post(CHAT, json=body, headers=origin),
        await rig.http.post(CHAT, json=body | {"stream": True}, headers=origin),
        await rig.http.get("/v1/models", headers=origin),
        await rig.http.post(CHAT, json=body, headers=origin | {"authorization": "Bearer tokn_no"}),
        await rig.http.post(CHAT, json={}, headers=origin),
        await rig.http.get(CHAT, headers=origin),
        await rig.http.get("/nowhere", headers=origin),
    ]
    assert [one.status_code for one in answers] == [200, 200, 200, 401, 400, 405, 404]
    for one in answers:
        assert one.headers[ALLOWED] == "*"
        assert one.headers["access-control-expose-headers"] == "*"
        assert "access-control-allow-credentials" not in one.headers


async def test_without_an_origin_nothing_is_said(rig: Rig) -> None:
    """Programs that are no pages get the headers that they always got."""
    answer = await rig.chat()
    assert not [name for name in answer.headers if name.startswith("access-control") or name == "vary"]


@pytest.mark.parametrize("path", ["/metrics", "/readyz", "/healthz", "/health"])
async def test_pages_read_nothing_of_an_operator(rig: Rig, path: str) -> None:
    """What a deployment asks for is for no page, and has no preflight."""
    assert ALLOWED not in (await rig.http.get(path, headers={"origin": PAGE})).headers
    asked = await rig.http.options(path, headers=ASKED)
    assert asked.status_code == 405
    assert ALLOWED not in asked.headers


@pytest.mark.parametrize("path", [CHAT, "/v1/models", "/v1/nowhere"])
@pytest.mark.parametrize(
    "names", ["authorization,content-type,x-stainless-os", "", "x y; é".encode().decode("latin-1")]
)
async def test_a_preflight_gets_what_it_asks_for(rig: Rig, path: str, names: str) -> None:
    """Without a key it is a 204 that repeats the headers asked for, if they are names, and lists the methods."""
    headers = dict(ASKED, authorization="") | ({"access-control-request-headers": names} if names else {})
    encoded = [(name, value.encode("latin-1")) for name, value in headers.items()]
    answer = await rig.http.options(path, headers=encoded)
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers[ALLOWED] == "*"
    assert ("POST" if path == CHAT else "GET") in answer.headers["access-control-allow-methods"]
    valid = bool(names) and ";" not in names
    assert answer.headers.get("access-control-allow-headers") == (names if valid else None)
    assert int(answer.headers["access-control-max-age"]) > 0
    assert "origin" in answer.headers.get_list("vary")


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"POST / HTTP/1.1\r\nOrigin: https://app.example\r\nHost: a\r\nHost: b\r\n\r\n",
        b"\x16\x03\x01 what is this",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 40_000 + b"\r\n\r\n",
    ],
)
async def test_answers_below_the_router_can_be_read(rig: Rig, request_bytes: bytes) -> None:
    """What never becomes a request is refused in words that a page can read, too."""
    got = await say(rig, request_bytes)
    head, _, body = got.partition(b"\r\n\r\n")
    assert b"\r\naccess-control-allow-origin: *\r\n" in head + b"\r\n"
    assert json.loads(body)["error"]["message"]


async def test_only_the_origins_of_the_configuration(nats: NatsServer) -> None:
    """With a list, an origin of it is named back, another is not, and caches are told that the answer depends on it."""
    made = Rig(nats)
    made.cors_origins = (PAGE,)
    async with made.stack:
        await made.open(FAST)
        good = await made.http.get("/v1/models", headers={"origin": PAGE})
        bad = await made.http.get("/v1/models", headers={"origin": "https://evil.example"})
        refused = await made.http.options("/v1/models", headers=dict(ASKED, origin="null"))
        below = await say(made, b"nonsense\r\n\r\n")
    assert (good.headers[ALLOWED], good.headers["vary"]) == (PAGE, "origin")
    assert ALLOWED not in bad.headers
    assert bad.headers["vary"] == "origin"
    assert ALLOWED not in refused.headers
    assert b"access-control-allow-origin" not in below


def test_names_asked_for_are_bounded() -> None:
    """A list of header names that is too long is not repeated."""
    asked = [(b"access-control-request-headers", b"a" * (ASKED_BYTES_MAX + 1))]
    assert b"access-control-allow-headers" not in dict(Cors(("*",)).preflight(asked, ("POST",)))


@pytest.mark.parametrize(
    ("written", "origins"),
    [
        (None, ("*",)),
        ([], ()),
        (["*"], ("*",)),
        (["https://a.example", "http://127.0.0.1:3000"], ("https://a.example", "http://127.0.0.1:3000")),
        (["https://a.example/"], None),
        (["a.example"], None),
        (["https://*.example"], None),
        (["https://A.example"], None),
        ("*", None),
        (["*"] * 101, None),
    ],
)
def test_the_configuration_names_origins(written: object, origins: tuple[str, ...] | None) -> None:
    """What no browser would send as an origin is refused at the start, as it would silently match nothing."""
    table = Table("tokn.toml", "edge", {} if written is None else {"cors_origins": written})
    if origins is None:
        with pytest.raises(SettingsError, match="cors_origins"):
            read_origins(table)
    else:
        assert read_origins(table) == origins


@pytest.mark.parametrize("stream", [True, False])
async def test_http_1_0_gets_no_chunks(rig: Rig, stream: bool) -> None:
    """A proxy that speaks HTTP/1.0 gets a stream that ends with its connection, and a plain answer with its length."""
    request = chat(rig, stream=stream).replace(b" HTTP/1.1\r\n", b" HTTP/1.0\r\n")
    reader, writer = await asyncio.open_connection("127.0.0.1", rig.edge.port)
    writer.write(request)
    got = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    head, _, body = got.partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in head
    assert b"\r\nconnection: close" in head
    if stream:
        assert body.startswith(b"data: ")
        assert body.endswith(b"data: [DONE]\n\n")
    else:
        assert json.loads(body)["choices"]


async def test_health_is_known_by_both_names(rig: Rig) -> None:
    """Probes ask for /healthz or /health."""
    answers: list[httpx.Response] = [await rig.http.get(path) for path in ("/health", "/healthz")]
    assert [(one.status_code, one.text) for one in answers] == [(200, "ok\n")] * 2
