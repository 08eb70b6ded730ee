"""Errors under a dialect's path, made before any route is known: each in the dialect's own envelope."""

import asyncio
import json

import msgspec
import pytest

from schemas.errors import overloaded, saturated
from tests.edge.conftest import FAST, Rig
from tests.edge.http.test_http import say
from tests.edge.stand_ins import Attempt

PATH = b"/v1/messages"
SMALL = msgspec.structs.replace(FAST, body_bytes=1_000, early_bytes=500)


def envelope(answer: bytes) -> tuple[int, str]:
    """An answer's status and the type of its error, in Anthropic's shape; its request is named alike everywhere."""
    head, _, body = answer.partition(b"\r\n\r\n")
    told = json.loads(body)
    assert (set(told), told["type"]) == ({"type", "error", "request_id"}, "error")
    assert set(told["error"]) == {"type", "message"}
    named = {line.split(b": ")[1] for line in head.split(b"\r\n") if b"request-id: " in line}
    assert named == {told["request_id"].encode()}
    return int(head[9:12]), told["error"]["type"]


@pytest.mark.parametrize(
    ("tail", "expected"),
    [
        (
            b" HTTP/1.1\r\nHost: x\r\nX: " + b"a" * FAST.head_bytes + b"\r\n\r\n",
            (431, "invalid_request_error"),
        ),
        (b" HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", (400, "invalid_request_error")),
        (b"?beta=true HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", (400, "invalid_request_error")),
        (
            b"/batches HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            (404, "not_found_error"),
        ),
        (
            b" HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            (401, "authentication_error"),
        ),
    ],
)
async def test_before_routing(rig: Rig, tail: bytes, expected: tuple[int, str]) -> None:
    """What is no HTTP, too large a head, no route and no key: the path alone says whose errors these are."""
    assert envelope(await say(rig, b"POST " + PATH + tail)) == expected


async def test_a_body_that_takes_too_long(rig: Rig) -> None:
    """A 408 in the dialect's envelope, by a deadline that no route sees."""
    key = rig.ledger.key.encode()
    data = b"POST %b HTTP/1.1\r\nHost: x\r\nx-api-key: %b\r\nContent-Length: 9\r\n\r\n{" % (PATH, key)
    assert envelope(await _wait(rig, data)) == (408, "timeout_error")


async def _wait(rig: Rig, data: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", rig.edge.port)
    writer.write(data)
    async with asyncio.timeout(10):
        got = await reader.read()
    writer.close()
    return got  # to the end: the connection is closed behind the answer


@pytest.mark.parametrize("rig", [SMALL], indirect=True)
async def test_a_body_that_is_too_large(rig: Rig) -> None:
    """A 413 with Anthropic's type."""
    answer = await rig.http.post("/v1/messages", content=b" " * 2_000)
    assert (answer.status_code, answer.json()["error"]["type"]) == (413, "request_too_large")


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [(overloaded(), 529, "overloaded_error"), (saturated("Full."), 429, "rate_limit_error")],
)
async def test_what_a_worker_says(rig: Rig, error, status: int, kind: str) -> None:
    """A worker's error has the dialect's status and type, and still says when to come back."""

    async def script(attempt: Attempt) -> None:
        attempt.accept()
        attempt.fail(error)

    rig.worker.script = script
    body = {"model": "tokn-sandbox", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
    answer = await rig.http.post("/v1/messages", json=body)
    assert (answer.status_code, answer.json()["error"]["type"]) == (status, kind)
    assert ("retry-after" in answer.headers) is (error.retry_after_s is not None)
