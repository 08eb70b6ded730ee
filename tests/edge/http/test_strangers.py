"""What strangers cost: no body is read before a key, a lost connection leaves nothing, and others give way in order."""

import asyncio
import contextlib
import gc
import json
import socket
import struct
import weakref
from collections.abc import AsyncIterator, Iterator
from typing import Any

import msgspec
import pytest
import uvloop

from edge.admission.admission import Caller
from edge.app import WOKEN_AT_ONCE
from edge.http.connection import BoundedProtocol
from edge.http.link import Link
from schemas import keys
from schemas.verbs.calls import Reason, Refusal
from schemas.verbs.keys import KEY
from tests.edge.conftest import FAST, Rig
from tests.edge.http.test_http import say
from tests.edge.stand_ins import Attempt, until
from tests.fakes.nats import NatsServer
from tests.runtime.test_peers import header

POST = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n"
PATIENT = msgspec.structs.replace(FAST, head_s=60.0, body_s=60.0)  # so that no deadline does what is tested


def auth(key: str) -> bytes:
    return b"Authorization: Bearer %s\r\n" % key.encode()


def links(rig: Rig) -> list[Link]:
    return [one for one in rig.edge.server.server_state.connections if isinstance(one, Link)]


def heard(link: Link) -> bool:
    """Whether anything of a connection has been read."""
    return bool(link.url or link._lingers)


@contextlib.asynccontextmanager
async def connected(
    rig: Rig, data: bytes = b""
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection that has said something."""
    reader, writer = await asyncio.open_connection("127.0.0.1", rig.edge.port)
    try:
        writer.write(data)
        yield reader, writer
    finally:
        writer.close()


@pytest.fixture
def uncollected() -> Iterator[None]:
    """No look for cycles during a test: what goes, goes by its count of references."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


WAYS = {
    "silent": b"",
    "half a head": POST + b"X-A: ",
    "a body without a key": POST + b"Content-Length: 1000000\r\n\r\n" + b"x" * 60_000,
    "a body to nowhere": b"POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"
    + b"x" * 60_000,
    "a small body under an unknown key": POST
    + auth(keys.generate())
    + b"Content-Length: 60000\r\n\r\n"
    + b"x" * 59_000,
    "a large body under an unknown key": POST
    + auth(keys.generate())
    + b"Content-Length: 99999\r\n\r\n"
    + b"x" * 60_000,
    "pipelined": b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" * 4,
    "not HTTP": b"\x16\x03\x01" * 100,
}


async def leaves_nothing(rig: Rig, way: str, reset: bool) -> None:
    async with connected(rig) as (_, writer):
        writer.write(WAYS[way])
        await until(lambda: links(rig) and (way == "silent" or heard(links(rig)[0])))
        ghosts = [weakref.ref(one) for one in links(rig)]
        if reset:
            writer.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
            )
        writer.transport.abort()
    await until(lambda: not any(ghost() for ghost in ghosts))
    await until(lambda: rig.edge.load.requests == 0)
    assert rig.edge.budget.used == 0
    assert len(rig.edge.places) == 0


@pytest.mark.parametrize("rig", [PATIENT], indirect=True)
@pytest.mark.parametrize("reset", [True, False], ids=["reset", "closed"])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.usefixtures("uncollected")
async def test_a_lost_connection_leaves_nothing(rig: Rig, way: str, reset: bool) -> None:
    """However a stranger leaves, nothing of his connection is kept: no timer, no body, no look for cycles is needed."""
    await leaves_nothing(rig, way, reset)


@pytest.mark.usefixtures("uncollected")
def test_nor_does_the_loop_that_edges_run_on(nats: NatsServer) -> None:
    """The same holds on uvloop, whose transports are others."""

    async def run() -> None:
        async with contextlib.AsyncExitStack() as stack:
            rig = await fresh(nats, stack)
            for way in WAYS:
                for reset in (True, False):
                    await leaves_nothing(rig, way, reset)

    uvloop.run(run())


@pytest.mark.parametrize("rig", [PATIENT], indirect=True)
@pytest.mark.parametrize(
    ("path", "headers", "message"),
    [
        (b"/v1/chat/completions", b"", "API key"),
        (b"/v1/chat/completions", b"Authorization: Bearer nonsense\r\n", "API key"),
        (b"/v1/responses", b"Authorization: Basic abc\r\n", "API key"),
        (b"/v1/embeddings", b"", "API key"),
        (b"/v1/completions?x=1", b"", "API key"),
    ],
)
async def test_the_head_alone_decides(rig: Rig, path: bytes, headers: bytes, message: str) -> None:
    """Without a key a 401 comes before the body does, it arrives though the body goes on, and nothing is read."""
    head = (
        b"POST "
        + path
        + b" HTTP/1.1\r\nHost: x\r\nContent-Length: 10000000\r\nOrigin: https://a.b\r\n"
        + headers
    )
    async with connected(rig, head + b"\r\n") as (reader, writer):
        got = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)
        assert got.startswith(b"HTTP/1.1 401 ")
        assert b"\r\nconnection: close\r\n" in got
        assert b"\r\naccess-control-allow-origin: *\r\n" in got
        for _ in range(50):
            writer.write(b"x" * 100_000)
            await writer.drain()
        (link,) = links(rig)
        assert link.cycle is None
        assert rig.edge.load.requests == rig.edge.budget.used == 0
        assert message in json.loads(await asyncio.wait_for(reader.read(), 30))["error"]["message"]


async def test_a_refusal_of_the_gate_can_be_found(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A 401 from the head is logged with the id that its answer has, and with the name that a proxy gave it."""
    lines: list[dict[str, Any]] = []
    monkeypatch.setattr(
        "edge.refusals._refused.say", lambda kind, **fields: lines.append({"kind": kind, **fields})
    )
    headers = {"authorization": "Bearer tokn_nonsense", "x-request-id": "lb-1"}
    first = await rig.http.post("/v1/chat/completions", json={}, headers=headers)
    second = await rig.http.get("/v1/nowhere", headers={"x-request-id": "lb-2"})
    assert [line["kind"] for line in lines] == ["401", "404"]
    assert [line["request_id"] for line in lines] == [one.headers["x-request-id"] for one in (first, second)]
    assert [line["client_request_id"] for line in lines] == ["lb-1", "lb-2"]
    assert [line["client"] for line in lines] == ["127.0.0.1"] * 2
    assert "nonsense" not in json.dumps(lines)


async def test_the_envelope_is_that_of_the_path(rig: Rig) -> None:
    """A stranger at Anthropic's path is refused in its form."""
    got = await say(rig, b"POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}")
    head, _, body = got.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 401 ")
    assert json.loads(body)["error"]["type"] == "authentication_error"


@pytest.mark.parametrize("rig", [msgspec.structs.replace(PATIENT, slow_s=600.0)], indirect=True)
async def test_a_body_that_is_not_slow_costs_no_question(rig: Rig) -> None:
    """A key is not asked for by itself while its body comes."""
    body = json.dumps({"model": "tokn-sandbox", "messages": [{"role": "user", "content": "hi"}]}).encode()
    head = POST + auth(rig.ledger.key) + b"Content-Length: %d\r\n\r\n" % len(body)
    async with connected(rig, head + body[:10]) as (reader, writer):
        await until(lambda: rig.edge.load.requests == 1)
        writer.write(body[10:])
        assert (await asyncio.wait_for(reader.read(12), 30)) == b"HTTP/1.1 200"
    assert not rig.ledger.of(KEY)


@pytest.mark.parametrize("rig", [msgspec.structs.replace(PATIENT, slow_s=0.1)], indirect=True)
async def test_a_key_that_nobody_has_is_asked_for_once_a_body_is_slow(rig: Rig) -> None:
    """A slow body keeps a request only under a key that lives."""
    slow = b"Content-Length: 1000\r\n\r\n{"
    async with connected(rig, POST + auth(keys.generate()) + slow) as (reader, _):
        got = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)
        assert got.startswith(b"HTTP/1.1 401 ")
        assert b"\r\nconnection: close\r\n" in got
    await until(lambda: rig.edge.load.requests == 0)
    async with connected(rig, POST + auth(rig.ledger.key) + slow):
        await until(lambda: rig.edge.places.working == 1)
        assert len(rig.ledger.of(KEY)) == 2


@pytest.mark.parametrize("rig", [msgspec.structs.replace(PATIENT, slow_s=0.05)], indirect=True)
async def test_few_slow_strangers_are_asked_for_at_once(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whose key nobody knows waits for the ledger in a short line; who was served does not wait behind them."""
    asking, most, go_on = 0, 0, asyncio.Event()

    async def verify(caller: Caller) -> None:
        nonlocal asking, most
        asking += 1
        most = max(most, asking)
        await go_on.wait()
        caller.lives()
        asking -= 1

    monkeypatch.setattr(Caller, "verify", verify)
    slow = POST + auth(keys.generate()) + b"Content-Length: 1000\r\n\r\n{"
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(12):
            await stack.enter_async_context(connected(rig, slow))
        await until(lambda: rig.edge.load.requests == 12)
        await until(lambda: not any(link._asks_at for link in links(rig)))
        for _ in range(20):  # turns of the loop, until all twelve stand in line
            await asyncio.sleep(0)
        assert asking == PATIENT.slow_asks
        rig.edge.places.served.add("127.0.0.1")
        await stack.enter_async_context(connected(rig, slow))
        await until(lambda: asking == PATIENT.slow_asks + 1)
        assert rig.edge.places.working == 0
        go_on.set()
        await until(lambda: rig.edge.places.working == 13)
    assert most == PATIENT.slow_asks + 1


@pytest.mark.parametrize(
    "rig", [msgspec.structs.replace(PATIENT, slow_s=0.05, slow_asks=1, requests=2)], indirect=True
)
async def test_bodies_under_unknown_keys_take_no_request_from_others(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More of them than requests may be answered at once stand in line for the ledger: who pays is served all the same."""
    asking, go_on = 0, asyncio.Event()

    async def verify(caller: Caller) -> None:
        nonlocal asking
        asking += 1
        await go_on.wait()
        caller.lives()

    monkeypatch.setattr(Caller, "verify", verify)
    slow = POST + auth(keys.generate()) + b"Content-Length: 1000\r\n\r\n{"
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(8):
            await stack.enter_async_context(connected(rig, slow))
        await until(lambda: rig.edge.load.requests == 8 and asking == 1)
        assert (await rig.chat()).status_code == 200
        go_on.set()
        await until(lambda: asking == 8)
        assert (await rig.http.get("/v1/models")).status_code == 503  # whose keys live count from now on


@pytest.mark.parametrize("rig", [msgspec.structs.replace(PATIENT, slow_s=0.05, slow_asks=1)], indirect=True)
async def test_who_has_left_stands_in_no_line(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Strangers with slow bodies who leave before their turn are forgotten at once; the next turn is another's."""
    asking, go_on = 0, asyncio.Event()

    async def verify(caller: Caller) -> None:
        nonlocal asking
        asking += 1
        await go_on.wait()

    monkeypatch.setattr(Caller, "verify", verify)
    slow = POST + auth(keys.generate()) + b"Content-Length: 1000\r\n\r\n{"
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(connected(rig, slow))
        await until(lambda: asking == 1)
        async with contextlib.AsyncExitStack() as leaving:
            for _ in range(6):
                await leaving.enter_async_context(connected(rig, slow))
            await until(lambda: rig.edge.load.requests == 7)
            await until(lambda: not any(link._asks_at for link in links(rig)))
        await until(lambda: rig.edge.load.requests == 1)
        await stack.enter_async_context(connected(rig, slow))
        await until(lambda: rig.edge.load.requests == 2)
        go_on.set()
        await until(lambda: asking == 2)


async def test_requests_without_a_key_are_hardly_sent_ahead(rig: Rig) -> None:
    """A connection without a key has one answer from a route that wants one, and few from others."""
    got = await say(rig, b"GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n" * 32)
    assert got.count(b"HTTP/1.1 ") == 1
    got = await say(rig, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" * 32)
    assert got.count(b"HTTP/1.1 ") <= 6


SMALL = msgspec.structs.replace(PATIENT, connections=6)


@pytest.mark.parametrize("rig", [SMALL], indirect=True)
async def test_at_the_limit_the_idlest_gives_way(rig: Rig) -> None:
    """Connections that say nothing give way in their order; a call that runs, and one that uploads, go on."""
    async with contextlib.AsyncExitStack() as stack:
        upload = await stack.enter_async_context(
            connected(rig, POST + auth(rig.ledger.key) + b"Content-Length: 100000\r\n\r\n{")
        )
        await until(lambda: rig.edge.places.working == 1)
        silent = [await stack.enter_async_context(connected(rig)) for _ in range(5)]
        await until(lambda: len(rig.edge.places) == 6)
        late = [await stack.enter_async_context(connected(rig)) for _ in range(2)]
        for reader, _ in silent[:2]:
            assert await asyncio.wait_for(reader.read(), 30) == b""
        got = await say(rig, b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert got.startswith(b"HTTP/1.1 200 ")
        assert await asyncio.wait_for(silent[2][0].read(), 30) == b""
        assert not any(reader.at_eof() for reader, _ in [upload, *silent[3:], *late])
        body = json.dumps({"model": "tokn-sandbox", "messages": [{"role": "user", "content": "hi"}]}).encode()
        upload[1].write(body[1:].ljust(99_999))
        assert (await asyncio.wait_for(upload[0].read(12), 30)) == b"HTTP/1.1 200"


CALL = json.dumps({"model": "tokn-sandbox", "messages": [{"role": "user", "content": "hi"}]}).encode()
BY = {  # requests under a living key, and how they are answered
    "a call": (POST, CALL, 200),
    "a call that is refused": (POST, b"{}", 400),
    "a call that its key may not make": (POST, CALL, 402),
    "the list of models": (b"GET /v1/models HTTP/1.1\r\nHost: x\r\n", b"", 200),
    "a receipt": (b"GET /v1/generations/req_1 HTTP/1.1\r\nHost: x\r\n", b"", 200),
    "the key's credits": (b"GET /v1/credits HTTP/1.1\r\nHost: x\r\n", b"", 200),
}


async def asks(
    link: tuple[asyncio.StreamReader, asyncio.StreamWriter], head: bytes, key: str, body: bytes
) -> int:
    """Makes one request on a connection that is kept. Its answer's status."""
    reader, writer = link
    writer.write(head + auth(key) + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    got = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)
    (length,) = [line[15:] for line in got.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    await asyncio.wait_for(reader.readexactly(int(length)), 30)
    return int(got[9:12])


@pytest.mark.parametrize("rig", [msgspec.structs.replace(SMALL, slow_s=600.0)], indirect=True)
@pytest.mark.parametrize("by", BY)
async def test_who_has_called_outstays_strangers(rig: Rig, by: str) -> None:
    """A connection on which a living key was heard is kept between two requests, whatever strangers say or send."""
    head, body, status = BY[by]
    rig.ledger.receipts["req_1"] = {"request_id": "req_1"}
    rig.ledger.own = ({"posted_nano": 2, "spent_nano": 1},)
    rig.ledger.refusal = Refusal(Reason.INSUFFICIENT, key_id="key_1") if status == 402 else None
    async with contextlib.AsyncExitStack() as stack:
        kept = await stack.enter_async_context(connected(rig))
        assert await asks(kept, head, rig.ledger.key, body) == status
        slow = POST + auth(keys.generate()) + b"Content-Length: 1000\r\n\r\n{"
        for count in range(1, 6):
            await stack.enter_async_context(connected(rig, slow))
            await until(lambda count=count: rig.edge.places.receiving == count)
        for _ in range(4):
            last = await stack.enter_async_context(connected(rig, slow))
            await until(lambda: len(rig.edge.places) == 6 and rig.edge.places.receiving == 5)
        silent = [await stack.enter_async_context(connected(rig)) for _ in range(8)]
        assert await asyncio.wait_for(silent[0][0].read(), 30) == b""
        assert not any(reader.at_eof() for reader, _ in (kept, last, silent[-1]))
        assert await asks(kept, head, rig.ledger.key, body) == status


@pytest.mark.parametrize("rig", [msgspec.structs.replace(SMALL, slow_s=600.0)], indirect=True)
async def test_a_caller_whose_next_body_is_slow_gives_way_last(rig: Rig) -> None:
    """While a further request arrives on a caller's connection, no stranger takes its place."""
    async with contextlib.AsyncExitStack() as stack:
        kept = await stack.enter_async_context(connected(rig))
        assert await asks(kept, POST, rig.ledger.key, CALL) == 200
        kept[1].write(POST + auth(rig.ledger.key) + b"Content-Length: %d\r\n\r\n{" % len(CALL))
        await until(lambda: rig.edge.places._callers.receiving)
        silent = [await stack.enter_async_context(connected(rig)) for _ in range(8)]
        assert await asyncio.wait_for(silent[0][0].read(), 30) == b""
        kept[1].write(CALL[1:])
        assert (await asyncio.wait_for(kept[0].read(12), 30)) == b"HTTP/1.1 200"


NEXT = {  # what is sent ahead while a call is answered
    "a slow body": POST + auth(keys.generate()) + b"Content-Length: 1000\r\n\r\n{",
    "a slow body without a key": b"POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{",
    "a request without a key": b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
}


@pytest.mark.parametrize("rig", [msgspec.structs.replace(SMALL, slow_s=600.0)], indirect=True)
@pytest.mark.parametrize("sent_ahead", NEXT)
async def test_a_call_that_runs_keeps_its_place_whatever_is_sent_ahead(rig: Rig, sent_ahead: str) -> None:
    """A connection whose call is being answered does not give way, though its next request is here or on its way."""
    go_on = asyncio.Event()

    async def script(attempt: Attempt) -> None:
        attempt.accept()
        await go_on.wait()
        attempt.data(b"{}")
        attempt.end()

    rig.worker.script = script
    call = POST + auth(rig.ledger.key) + b"Content-Length: %d\r\n\r\n" % len(CALL) + CALL
    async with contextlib.AsyncExitStack() as stack:
        reader, writer = await stack.enter_async_context(connected(rig, call))
        await until(lambda: rig.edge.places._callers.of)
        writer.write(NEXT[sent_ahead])
        (link,) = links(rig)
        await until(lambda: link.pipeline)
        silent = [await stack.enter_async_context(connected(rig)) for _ in range(8)]
        assert await asyncio.wait_for(silent[0][0].read(), 30) == b""
        assert rig.edge.places.working == 1
        go_on.set()
        assert (await asyncio.wait_for(reader.read(12), 30)) == b"HTTP/1.1 200"
        await until(lambda: rig.edge.places.working == 0)  # it waits for that body now, or for nothing


async def test_a_key_that_lives_no_more_keeps_no_connection(rig: Rig) -> None:
    """Once a caller's key is revoked, its next request is the last on its connection."""
    async with connected(rig) as kept:
        assert await asks(kept, POST, rig.ledger.key, CALL) == 200
        rig.ledger.active = False
        assert await asks(kept, POST, rig.ledger.key, CALL) == 401
        assert await asyncio.wait_for(kept[0].read(), 30) == b""
    await until(lambda: len(rig.edge.places) == 0)


async def test_in_a_crowd_a_slow_stranger_has_no_last_word(nats: NatsServer) -> None:
    """While connections are scarce half a head is ended without an answer; one with a key's form still gets its 408."""
    async with contextlib.AsyncExitStack() as stack:
        rig = await fresh(nats, stack)
        keyed = await stack.enter_async_context(connected(rig, POST + auth(rig.ledger.key) + b"X-A: "))
        crowd = [await stack.enter_async_context(connected(rig, POST + b"X-A: ")) for _ in range(5)]
        await until(lambda: len([link for link in links(rig) if heard(link)]) == 6)
        rig.edge.places.most = 1
        for link in links(rig):
            link._deadline = 1e-9
        assert (await asyncio.wait_for(keyed[0].read(), 30)).startswith(b"HTTP/1.1 408 ")
        assert [await asyncio.wait_for(reader.read(), 30) for reader, _ in crowd] == [b""] * 5


async def test_few_are_ended_in_one_step(nats: NatsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many connections that are late together, some end in each turn of the loop: callers have theirs between."""
    async with contextlib.AsyncExitStack() as stack:
        rig = await fresh(nats, stack)
        for _ in range(50):
            await stack.enter_async_context(connected(rig, POST + b"X-A: "))
        await until(lambda: len([link for link in links(rig) if heard(link)]) == 50)
        ended: list[Link] = []

        def overdue(link: Link) -> None:
            ended.append(link)

        monkeypatch.setattr(BoundedProtocol, "overdue", overdue)
        for link in links(rig):
            link._deadline = 1e-9
        sweeping = asyncio.create_task(rig.edge._sweep())
        most, before = 0, 0
        while not sweeping.done():
            await asyncio.sleep(0)
            most, before = max(most, len(ended) - before), len(ended)
        assert len(ended) >= 50
        assert most <= 2 * WOKEN_AT_ONCE  # the edge's own look may be under way


async def test_a_sweep_may_come_to_a_lost_connection(nats: NatsServer) -> None:
    """Who leaves amid a slow body while others are looked at, and is overdue by then, ends nothing but himself."""
    async with contextlib.AsyncExitStack() as stack:
        rig = await fresh(nats, stack)
        slow = POST + auth(rig.ledger.key) + b"Content-Length: 1000\r\n\r\n"
        async with connected(rig, slow) as (_, writer):
            await until(lambda: rig.edge.load.requests == 1)
            (link,) = links(rig)
            link._asks_at = link._deadline = asyncio.get_running_loop().time() + 500
            writer.transport.abort()
            await until(lambda: not links(rig))
        assert not link.sweep(asyncio.get_running_loop().time() + 1_000)


async def test_descriptors_bound_the_connections(nats: NatsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """There are no more connections than descriptors, less those that are kept for the edge itself."""
    monkeypatch.setattr("edge.app.descriptors.limit", lambda: 300)
    async with contextlib.AsyncExitStack() as stack:
        rig = await fresh(nats, stack)
        assert rig.edge.places.most == 300 - FAST.descriptors_kept


async def fresh(nats: NatsServer, stack: contextlib.AsyncExitStack, **more: Any) -> Rig:
    made = Rig(nats)
    for name, value in more.items():
        setattr(made, name, value)
    await stack.enter_async_context(made.stack)
    await made.open(PATIENT)
    return made


@pytest.mark.parametrize("cut", [1, 12, 20, 28, 30])
async def test_a_trusted_proxy_says_for_whom_it_speaks(nats: NatsServer, cut: int) -> None:
    """A PROXY header of a trusted proxy names the caller, however it is cut, and its request is served."""
    async with contextlib.AsyncExitStack() as stack:
        rig = await fresh(nats, stack, trusted_proxies=("127.0.0.0/8",))
        data = header("203.0.113.9") + b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
        async with connected(rig, data[:cut]) as (reader, writer):
            await until(lambda: links(rig))
            writer.write(data[cut:])
            assert (await asyncio.wait_for(reader.read(12), 30)) == b"HTTP/1.1 200"
            (link,) = links(rig)
            assert link.client == ("203.0.113.9", 4_711)
            assert list(rig.edge.places._strangers.of) == ["203.0.113.9"]
        assert (await rig.chat()).status_code == 200  # and one without a header is served as well


async def test_a_header_that_cannot_be_read_ends_its_connection(nats: NatsServer) -> None:
    """A trusted proxy's malformed header ends the connection; half of one ends with the deadline of heads."""
    async with contextlib.AsyncExitStack() as stack:
        rig = Rig(nats)
        rig.trusted_proxies = ("127.0.0.1",)
        await stack.enter_async_context(rig.stack)
        await rig.open(FAST)
        assert await say(rig, header("10.0.0.1", command=0x31)) == b""
        async with connected(rig, header("10.0.0.1")[:20]) as (reader, _):
            assert await asyncio.wait_for(reader.read(), 30) == b""


async def test_nobody_else_is_believed(rig: Rig) -> None:
    """A PROXY header of an address that is not trusted is no HTTP, and X-Forwarded-For changes nothing."""
    got = await say(rig, header("203.0.113.9") + b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    assert got.startswith(b"HTTP/1.1 400 ")
    async with connected(rig, b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 9.9.9.9\r\n\r\n") as (
        reader,
        _,
    ):
        assert (await asyncio.wait_for(reader.read(12), 30)) == b"HTTP/1.1 200"
        assert all(link.client is not None and link.client[0] == "127.0.0.1" for link in links(rig))


TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.mark.parametrize(
    ("said", "kept"),
    [("lb-7f3a/1:2", True), ("x" * 128, True), ("x" * 129, False), ("a b", False), ("é", False)],
)
async def test_a_proxys_name_is_kept_beside_ours(rig: Rig, said: str, kept: bool) -> None:
    """A caller's x-request-id comes back under another name, on every answer to it, if it is short and visible."""
    for answer in (
        await rig.http.get("/healthz", headers={"x-request-id": said.encode("latin-1")}),
        await rig.http.get("/nowhere", headers={"x-request-id": said.encode("latin-1")}),
        await rig.http.post(
            "/v1/responses", json={}, headers={"x-request-id": said.encode("latin-1"), "authorization": ""}
        ),
        await rig.http.get(
            "/v1/models", headers={"x-request-id": said.encode("latin-1"), "traceparent": TRACE}
        ),
    ):
        assert answer.headers["x-request-id"].startswith("req_")
        assert answer.headers.get("x-client-request-id") == (said if kept else None)


async def test_a_line_about_a_request_has_its_other_names(
    rig: Rig, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the edge logs of a request says what a proxy calls it; what is of another form is not there."""

    async def fails(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(rig.edge.catalogue, "find", fails)
    good = {"x-request-id": "lb-1", "traceparent": TRACE}
    await rig.http.get("/v1/models/x", headers=good)
    await rig.http.get("/v1/models/x", headers={"x-request-id": "a b", "traceparent": TRACE.upper()})
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    first, second = [line for line in lines if line["event"] == "a request failed"]
    assert (first["client_request_id"], first["traceparent"]) == ("lb-1", TRACE)
    assert not second.keys() & {"client_request_id", "traceparent"}
