"""The routes beside that of responses, and what an edge says of failures in its dialect."""

import json
import time
from pathlib import Path

import httpx
import pytest

from schemas.bus.frames import Data
from schemas.errors import overloaded
from tests.edge.conftest import Rig
from tests.edge.stand_ins import Attempt, without_pings

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures" / "responses"
PATH = "/v1/responses"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_websockets_are_declined_at_once(rig: Rig, method: str) -> None:
    """426 with the protocol that was meant, and the connection is closed: clients go on over HTTP in the same turn."""
    headers = {"connection": "Upgrade", "upgrade": "websocket", "sec-websocket-key": "dGhlIHNhbXBsZQ=="}
    answer = await rig.http.request(method, PATH, headers=headers)
    assert answer.status_code == 426
    assert (answer.headers["upgrade"], answer.headers["connection"]) == ("websocket", "close")
    assert answer.headers["x-request-id"]
    if method == "GET":
        assert answer.json()["error"]["code"] == "upgrade_required"


async def test_other_methods_are_not_allowed(rig: Rig) -> None:
    """405 with what is, where nobody asks for a WebSocket."""
    for method in ("GET", "PUT", "DELETE"):
        answer = await rig.http.request(method, PATH)
        assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", f"{PATH}/resp_x"),
        ("DELETE", f"{PATH}/resp_x"),
        ("POST", f"{PATH}/resp_x/cancel"),
        ("GET", f"{PATH}/resp_x/input_items"),
    ],
)
async def test_no_response_is_kept(rig: Rig, method: str, path: str) -> None:
    """404 in OpenAI's words, to those who have a key."""
    answer = await rig.http.request(method, path)
    assert answer.status_code == 404
    error = answer.json()["error"]
    assert error == {
        "message": "Response with id 'resp_x' not found.",
        "type": "invalid_request_error",
        "param": None,
        "code": None,
    }
    async with httpx.AsyncClient(base_url=rig.http.base_url, timeout=60) as stranger:
        assert (await stranger.request(method, path)).status_code == 401
    routes = (await rig.http.get("/v1/nothing")).json()["error"]["message"]
    assert "POST /v1/responses" in routes
    assert "{id}/cancel" not in routes


async def test_compacting_says_what_to_set(rig: Rig) -> None:
    """404 with the remedy for the one client that asks."""
    answer = await rig.http.post(f"{PATH}/compact", json={"model": "x", "input": "hi"})
    assert answer.status_code == 404
    assert "another name" in answer.json()["error"]["message"]


async def test_input_tokens_are_estimated_for_nothing(rig: Rig) -> None:
    """Everything that reaches a model counts; a body that is none is refused as a call's is; nothing is held."""
    counts = []
    words = "Nothing of this is sent. " * 16
    tool = {"type": "function", "name": "f", "description": words}
    picture = {"type": "input_image", "image_url": "data:image/png;base64,AAAA"}
    for more in (
        {},
        {"instructions": words},
        {"tools": [tool]},
        {"input": [{"role": "user", "content": [picture]}]},
    ):
        body = {"model": "tokn-sandbox", "input": "hi", **more}
        answer = await rig.http.post(f"{PATH}/input_tokens", json=body)
        assert answer.status_code == 200, answer.text
        said = answer.json()
        assert said["object"] == "response.input_tokens"
        counts.append(said["input_tokens"])
    assert 0 < counts[0] < 20
    assert counts[1] - counts[0] >= 0.75 * 16 * 6
    assert counts[2] - counts[0] >= 0.75 * 16 * 6
    assert counts[3] >= 1_600
    for body, status in (
        ({"model": "nobody", "input": "hi"}, 404),
        ({"model": "tokn-sandbox"}, 400),
        ({}, 400),
    ):
        assert (await rig.http.post(f"{PATH}/input_tokens", json=body)).status_code == status


async def test_errors_have_openais_envelope(rig: Rig) -> None:
    """Before a stream as on the older routes, with the path of the caller's own field."""
    for body, param in (
        ({"model": "tokn-sandbox"}, "input"),
        ({"model": "tokn-sandbox", "input": [{"role": "robot", "content": "x"}]}, "input[0].role"),
        ({"input": "hi"}, "model"),
    ):
        answer = await rig.http.post(PATH, json=body)
        assert answer.status_code == 400
        assert answer.json()["error"]["param"] == param
    assert (
        json.loads((await rig.http.post(PATH, content=b"{")).text)["error"]["type"] == "invalid_request_error"
    )


def streamed(count: int) -> bytes:
    """The first so many events of a stream that was recorded."""
    whole = (FIXTURES / "r1-text.sse").read_bytes()
    return b"".join(event + b"\n\n" for event in whole.split(b"\n\n")[:count])


@pytest.mark.parametrize("lost", [False, True], ids=["failed", "lost"])
async def test_a_stream_that_breaks_off_is_numbered_to_its_end(rig: Rig, lost: bool) -> None:
    """Whether its worker says so or falls silent: `error` and a failed response follow what was sent, and no more."""

    async def script(attempt: Attempt) -> None:
        attempt.accept()
        attempt.send(Data(1, streamed(3), events=3))
        attempt.send(Data(2, streamed(5).removeprefix(streamed(3)), events=5))
        attempt.seq = 3 if lost else 2  # then the frame before the last one is missing
        attempt.fail(overloaded())

    rig.worker.script = script
    answer = await rig.http.post(PATH, json={"model": "tokn-sandbox", "input": "hi", "stream": True})
    assert answer.content.startswith(streamed(5))
    told = without_pings(answer.content.removeprefix(streamed(5))).decode().split("\n\n")
    assert told.pop() == ""
    error, failed = (json.loads(event.partition("data: ")[2]) for event in told)
    assert (error["type"], error["sequence_number"], error["code"]) == ("error", 5, "server_error")
    assert (failed["type"], failed["sequence_number"]) == ("response.failed", 6)
    response = failed["response"]
    assert response["id"] == f"resp_{answer.headers['x-request-id'].removeprefix('req_')}"
    assert (response["status"], response["model"]) == ("failed", "tokn-sandbox")
    assert abs(response["created_at"] - time.time()) < 60


async def test_a_stream_ends_with_its_last_event(rig: Rig) -> None:
    """What comes after the bill is the last that its caller is sent: no `[DONE]`."""

    async def script(attempt: Attempt) -> None:
        attempt.accept()
        attempt.send(Data(1, streamed(9), events=9))
        attempt.seq = 1
        attempt.end(streamed(10).removeprefix(streamed(9)))

    rig.worker.script = script
    answer = await rig.http.post(PATH, json={"model": "tokn-sandbox", "input": "hi", "stream": True})
    assert answer.content == streamed(10)
    (job,) = [attempt.job for attempt in rig.worker.attempts]
    assert (job.dialect, job.stream, json.loads(job.body)["input"]) == ("responses", True, "hi")
