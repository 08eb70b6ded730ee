"""The routes beside that of responses, and what an edge says of failures in its dialect."""

import json

import httpx
import pytest

from tests.edge.conftest import Rig

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
    async with httpx.AsyncClient(base_url=rig.http.base_url) as stranger:
        assert (await stranger.request(method, path)).status_code == 401


async def test_compacting_says_what_to_set(rig: Rig) -> None:
    """404 with the remedy for the one client that asks."""
    answer = await rig.http.post(f"{PATH}/compact", json={"model": "x", "input": "hi"})
    assert answer.status_code == 404
    assert "another name" in answer.json()["error"]["message"]


async def test_input_tokens_are_estimated_for_nothing(rig: Rig) -> None:
    """Everything that reaches a model counts; a body that is none is refused as a call's is; nothing is held."""
    counts = []
    tool = {"type": "function", "name": "f", "description": "x" * 400}
    picture = {"type": "input_image", "image_url": "data:image/png;base64,AAAA"}
    for more in (
        {},
        {"instructions": "y" * 400},
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
    assert counts[1] - counts[0] >= 400 / 3.5
    assert counts[2] - counts[0] >= 400 / 3.5
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
