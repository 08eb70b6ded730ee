"""Owns a strict stand-in for Anthropic's Messages API: real HTTP, the refusals of the real one, and any script.

It runs in a thread of its own and plays scripts in the order they were queued; without one it says "Hello".
"""

import asyncio
import contextlib
import json
from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec
from aiohttp import web

from schemas.catalogue.anthropic import anthropic_capabilities
from tests.fakes.anthropic_rules import RefusalError, check
from tests.fakes.hosted import Hosted, answered
from tests.fakes.lists import Shown, anthropic_page

API_KEY = "sk-ant-api03-canary0123456789abcdefghijkl"
VERSION = "2023-06-01"
VERSIONS = (VERSION, "2026-10-21")  # the later one is what the official SDK sends


def opening(**usage: int) -> dict[str, Any]:
    """The first event of a stream; its usage is what is given, over 3 tokens in."""
    message = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-x",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 3, "output_tokens": 1} | usage,
    }
    return {"type": "message_start", "message": message}


def texts(*pieces: str, index: int = 0) -> list[dict[str, Any]]:
    """A block of text in pieces."""
    start = {"type": "content_block_start", "index": index, "content_block": {"type": "text", "text": ""}}
    deltas = [
        {"type": "content_block_delta", "index": index, "delta": {"type": "text_delta", "text": piece}}
        for piece in pieces
    ]
    return [start, *deltas, {"type": "content_block_stop", "index": index}]


def tool_use(call_id: str, name: str, *fragments: str, index: int = 0) -> list[dict[str, Any]]:
    """A tool call whose input comes in fragments."""
    block = {"type": "tool_use", "id": call_id, "name": name, "input": {}}
    deltas = [
        {
            "type": "content_block_delta",
            "index": index,
            "delta": {"type": "input_json_delta", "partial_json": fragment},
        }
        for fragment in fragments
    ]
    start = {"type": "content_block_start", "index": index, "content_block": block}
    return [start, *deltas, {"type": "content_block_stop", "index": index}]


def ending(reason: str = "end_turn", **usage: Any) -> list[dict[str, Any]]:
    """The last two events of a stream; usage is running totals."""
    delta = {"stop_reason": reason, "stop_sequence": None}
    return [
        {"type": "message_delta", "delta": delta, "usage": {"output_tokens": 2} | usage},
        {"type": "message_stop"},
    ]


def of_betas(raw: bytes, flags: str) -> bytes:
    """A body without the fields that a beta adds, where its flag is there: the SDK's stable types have none of them."""
    body = json.loads(raw)
    asked = isinstance(body, dict) and "context-management-" in flags
    if asked and body.pop("context_management", None) is not None:
        return json.dumps(body).encode()
    return raw


class Script(msgspec.Struct, frozen=True):
    """How to answer one request. `events` are those of a stream; a plain answer is their sum.

    `cut` breaks the connection after so many events, `end` ends the body cleanly there; `pace_s` waits before each.
    With a `status` other than 200 the answer is `error`, with `headers`.
    """

    events: tuple[Any, ...] = (opening(), *texts("Hel", "lo"), *ending())
    cut: int | None = None
    end: int | None = None
    pace_s: float = 0.0
    status: int = 200
    error: Any = None
    headers: dict[str, str] = {}


def error_body(kind: str, message: str, **details: Any) -> dict[str, Any]:
    """Anthropic's error envelope."""
    error: dict[str, Any] = {"type": kind, "message": message}
    if details:
        error["details"] = details
    return {"type": "error", "error": error, "request_id": "req_1"}


COUNT = 4_321  # what every body has, by the route that counts
COUNTED = frozenset(
    ("cache_control", "messages", "model", "output_config", "system", "thinking", "tool_choice", "tools")
)


class Call(msgspec.Struct):
    """One request as it came in."""

    headers: dict[str, str]
    body: Any
    finished: bool = False


class FakeAnthropic(Hosted):
    """The server."""

    def __init__(self) -> None:
        super().__init__()
        self.counted: list[Any] = []  # bodies that were to be counted
        self.count_status = 200
        self.calls: list[Call] = []
        self.refusals: list[str] = []
        self.gone: set[str] = set()
        self.shown = Shown()
        self.respond: Callable[[Any], Script] = lambda _: Script()  # to a body, where no script is queued
        self._scripts: deque[Script] = deque()

    def routes(self) -> list[web.AbstractRouteDef]:
        """Calls, and the list of models."""
        return [
            web.post("/v1/messages", self._answer),
            web.post("/v1/messages/count_tokens", self._count),
            web.get("/v1/models", self._list),
        ]

    async def _count(self, request: web.Request) -> web.Response:
        body = await request.json()
        if request.headers.get("x-api-key") != API_KEY:
            return self._refuse(401, "authentication_error", "invalid x-api-key")
        if extra := body.keys() - COUNTED:
            return self._refuse(400, "invalid_request_error", f"{extra}: Extra inputs are not permitted")
        self.counted.append(body)
        if self.count_status != 200:
            return self._refuse(self.count_status, "api_error", "not now")
        return web.json_response({"input_tokens": COUNT})

    async def _list(self, request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        return answered(lambda: anthropic_page(self.shown, request.raw_path, headers, API_KEY, VERSION))

    def play(self, *scripts: Script) -> None:
        """Queues the answers of the next requests."""
        self._scripts += scripts

    def _refuse(self, status: int, kind: str, message: str) -> web.Response:
        self.refusals.append(message)
        return web.json_response(error_body(kind, message), status=status)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        key = request.headers.get("x-api-key") or request.headers.get("authorization", "").removeprefix(
            "Bearer "
        )
        if key != API_KEY:
            return self._refuse(401, "authentication_error", f"invalid x-api-key {key}")
        if request.headers.get("anthropic-version") not in VERSIONS:
            return self._refuse(400, "invalid_request_error", "anthropic-version: header is required")
        if request.content_type != "application/json":
            return self._refuse(400, "invalid_request_error", "content-type: must be application/json")
        raw = await request.read()
        try:
            raw = of_betas(raw, request.headers.get("anthropic-beta", ""))
            body = check(raw, anthropic_capabilities(str(json.loads(raw).get("model"))))
        except RefusalError as refusal:
            return self._refuse(400, "invalid_request_error", str(refusal))
        if body["model"] in self.gone:
            return self._refuse(404, "not_found_error", f"model: {body['model']}")
        call = Call(dict(request.headers), body)
        self.calls.append(call)
        script = self._scripts.popleft() if self._scripts else self.respond(body)
        if script.status != 200:
            error = script.error or error_body("api_error", f"scripted {script.status}")
            return web.json_response(error, status=script.status, headers=script.headers)
        if body.get("stream"):
            return await self._stream(request, call, script)
        await asyncio.sleep(script.pace_s)
        call.finished = True
        return web.json_response(whole(script.events), headers={"request-id": "req_1"})

    async def _stream(self, request: web.Request, call: Call, script: Script) -> web.StreamResponse:
        headers = {"Content-Type": "text/event-stream; charset=utf-8", "request-id": "req_1"}
        response = web.StreamResponse(headers=headers)
        await response.prepare(request)
        for index, event in enumerate(script.events):
            if index == script.cut:
                await asyncio.sleep(script.pace_s)  # what was written must have left
                assert request.transport is not None
                request.transport.abort()
                return response
            if index == script.end:
                break
            if script.pace_s:
                await asyncio.sleep(script.pace_s)
            await response.write(framed(event))
        else:
            call.finished = True
        with contextlib.suppress(ConnectionError):
            await response.write_eof()
        return response


def framed(event: Any) -> bytes:
    """One event as Anthropic frames it; bytes go as they are."""
    if isinstance(event, bytes):
        return event
    return f"event: {event['type']}\ndata: {json.dumps(event, ensure_ascii=False)}\n\n".encode()


def whole(events: tuple[Any, ...]) -> dict[str, Any]:
    """The plain answer that a stream's events add up to."""
    message: dict[str, Any] = {}
    inputs: dict[int, str] = {}
    for event in events:
        kind = event["type"]
        if kind == "message_start":
            message = json.loads(json.dumps(event["message"]))
        elif kind == "content_block_start":
            message["content"].append(dict(event["content_block"]))
        elif kind == "content_block_delta":
            block, delta = message["content"][event["index"]], event["delta"]
            if delta["type"] == "input_json_delta":
                inputs[event["index"]] = inputs.get(event["index"], "") + delta["partial_json"]
                block["input"] = (
                    json.loads(inputs[event["index"]] or "{}") if _is_json(inputs[event["index"]]) else {}
                )
            else:
                name = {"text_delta": "text", "thinking_delta": "thinking", "signature_delta": "signature"}[
                    delta["type"]
                ]
                block[name] = block.get(name, "") + delta[name]
        elif kind == "message_delta":
            message |= event["delta"]
            message["usage"] |= {name: value for name, value in event["usage"].items() if value is not None}
    return message


def _is_json(text: str) -> bool:
    try:
        json.loads(text or "{}")
    except ValueError:
        return False
    return True
