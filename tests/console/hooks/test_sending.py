"""Sending: to the address that was looked at, under the name's own TLS; no redirect, no proxy, little of the answer."""

import asyncio
import gc
import ssl

import pytest

from console.hooks.address import target_of
from console.hooks.sending import HEAD_BYTES_MAX, RESPONSE_BYTES_MAX, Answer, post
from tests.console.hooks.receiver import Receiver, answer
from tests.fakes.certificates import certificate

NAME = "hooks.example.com"
BODY = b'{"type":"webhook.test"}'


async def sent(receiver: Receiver, timeout_s: float = 10.0) -> Answer:
    """What it says to a body."""
    target = await target_of(receiver.url, allow_private=True)
    return await post(target, {"webhook-id": "evt_1"}, BODY, ssl.create_default_context(), timeout_s)


async def test_one_post() -> None:
    """A receiver gets one POST with the path, host, headers and body, and its answer is told."""
    async with Receiver(answer(204)) as receiver:
        said = await sent(receiver)
    assert (said.code, said.accepted, said.error) == (204, True, "")
    assert receiver.bodies == [BODY]
    assert receiver.paths == ["/hook?a=b"]
    head = receiver.heads[0]
    assert head["host"] == f"127.0.0.1:{receiver.port}"
    assert head["content-type"] == "application/json"
    assert head["webhook-id"] == "evt_1"


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
async def test_redirects_are_not_followed(code: int) -> None:
    """A redirect is an answer like any other that is no success: nobody is asked what it names."""
    async with Receiver() as inside, Receiver(answer(code, f"Location: {inside.url}")) as receiver:
        said = await sent(receiver)
    assert (said.code, said.accepted) == (code, False)
    assert inside.connections == 0


async def test_proxies_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable of the environment has anything sent elsewhere."""
    async with Receiver() as proxy, Receiver() as receiver:
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        assert (await sent(receiver)).accepted
    assert (proxy.connections, receiver.connections) == (0, 1)


async def test_little_is_read() -> None:
    """Of an answer without end only its first kilobyte is read, at once, and no head without end is waited for."""
    endless = b"HTTP/1.1 500 No\r\nContent-Length: 900000000\r\n\r\n" + b"x" * 500_000
    async with Receiver(endless) as receiver:
        said = await sent(receiver)
    assert (said.code, said.response) == (500, "x" * RESPONSE_BYTES_MAX)
    async with Receiver(b"HTTP/1.1 200 OK\r\nA: " + b"x" * (4 * HEAD_BYTES_MAX)) as receiver:
        said = await sent(receiver)
    assert not said.accepted
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"
    async with Receiver(b"HTTP/1.1 100 Continue\r\n\r\n" + chunked) as receiver:
        said = await sent(receiver)
    assert (said.code, said.response) == (200, "hi")


@pytest.mark.parametrize(
    "said", [None, b"", b"SSH-2.0-OpenSSH_9.2\r\n", b"\x00" * 100, b"HTTP/1.1 xyz\r\n\r\n"]
)
async def test_nonsense(said: bytes | None) -> None:
    """Whatever a receiver does there is an answer, and it says that it was none."""
    async with Receiver(said) as receiver:
        told = await sent(receiver)
    assert (told.code, told.accepted) == (0, False)
    assert told.error


async def test_a_receiver_that_waits() -> None:
    """No answer in time, and none that drips, is a success."""
    async with Receiver() as receiver:
        receiver.wait = asyncio.Event()
        said = await sent(receiver, 0.2)
        assert "within" in said.error
    dripping = b"HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\nab"

    async with Receiver(dripping) as receiver:
        receiver.holds = True
        said = await sent(receiver, 0.3)
    assert not said.accepted


async def test_nobody_is_there() -> None:
    """A port that refuses is an error that names it."""
    async with Receiver() as receiver:
        pass
    said = await sent(receiver)
    assert said.code == 0
    assert "refuse" in said.error.lower() or "connect" in said.error.lower()


async def test_the_names_own_tls(tmp_path) -> None:
    """The connection goes to the address that was looked at, and the certificate must be the name's."""
    tls, trusting = certificate(tmp_path, NAME)

    async def lookup(_host: str, _port: int) -> list[str]:
        return ["127.0.0.1"]

    async with Receiver(tls=tls) as receiver:
        for name, accepted in ((NAME, True), ("other.example.com", False)):
            url = f"https://{name}:{receiver.port}/"
            target = await target_of(url, allow_private=True, lookup=lookup)
            said = await post(target, {}, BODY, trusting)
            assert said.accepted == accepted, said
        target = await target_of(f"https://{NAME}:{receiver.port}/", allow_private=True, lookup=lookup)
        said = await post(target, {}, BODY, ssl.create_default_context())
        assert "certificate" in said.error.lower()
    assert len(receiver.bodies) == 1
    gc.collect()  # asyncio's own writers over TLS warn if they go after their loop
