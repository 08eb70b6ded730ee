"""Owns a strict stand-in for Google's Gemini API: real HTTP, the refusals of the real one, and any script.

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

from schemas.catalogue.gemini import gemini_capabilities
from tests.fakes import embeddings
from tests.fakes.gemini_rules import RefusalError, check
from tests.fakes.hosted import Hosted, answered
from tests.fakes.lists import Shown, gemini_page

API_KEY = "AIzaCanary0123456789abcdefghijklmnopqrs"
_HELLO = (
    {"candidates": [{"content": {"role": "model", "parts": [{"text": "Hel"}]}, "index": 0}]},
    {
        "candidates": [
            {"content": {"role": "model", "parts": [{"text": "lo"}]}, "finishReason": "STOP", "index": 0}
        ],
        "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 2, "totalTokenCount": 5},
    },
)


class Script(msgspec.Struct, frozen=True):
    """How to answer one request. `events` are the chunks of a stream; a plain answer is their sum.

    `cut` breaks the connection after so many events, `end` ends the body cleanly there; `pace_s` waits before each.
    With a `status` other than 200 the answer is `error`, as a list of one if `wrapped`; else it has `headers`.
    """

    events: tuple[Any, ...] = _HELLO
    cut: int | None = None
    end: int | None = None
    pace_s: float = 0.0
    status: int = 200
    error: Any = None
    wrapped: bool = False
    headers: dict[str, str] = {}


def error_body(code: int, status: str, message: str, *details: Any) -> dict[str, Any]:
    """Google's error envelope."""
    error: dict[str, Any] = {"code": code, "message": message, "status": status}
    if details:
        error["details"] = list(details)
    return {"error": error}


class Call(msgspec.Struct):
    """One request as it came in."""

    path: str
    model: str
    stream: bool
    headers: dict[str, str]
    body: Any
    finished: bool = False


class FakeGemini(Hosted):
    """The server."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Call] = []
        self.refusals: list[str] = []
        self.gone: set[str] = set()
        self.shown = Shown()
        self.respond: Callable[[Any], Script] = lambda _: Script()  # to a body, where no script is queued
        self._scripts: deque[Script] = deque()

    def routes(self) -> list[web.AbstractRouteDef]:
        """Calls, and the list of models."""
        return [
            web.post("/{version:v1|v1beta}/models/{model}:{verb}", self._answer),
            web.get("/v1beta/models", self._list),
        ]

    async def _list(self, request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        return answered(lambda: gemini_page(self.shown, request.raw_path, headers, API_KEY))

    def play(self, *scripts: Script) -> None:
        """Queues the answers of the next requests."""
        self._scripts += scripts

    def _refuse(self, status: int, body: Any) -> web.Response:
        self.refusals.append(body["error"]["message"])
        return web.json_response(body, status=status)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        key = request.headers.get("x-goog-api-key")
        if key is None or "key" in request.query:
            message = "Method doesn't allow unregistered callers: send the header x-goog-api-key."
            return self._refuse(403, error_body(403, "PERMISSION_DENIED", message))
        if key != API_KEY:
            info = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}
            message = "API key not valid. Please pass a valid API key."
            return self._refuse(400, error_body(400, "INVALID_ARGUMENT", message, info))
        model, verb = request.match_info["model"], request.match_info["verb"]
        if verb == "batchEmbedContents" and request.content_type == "application/json":
            return await self._embed(request, model)
        if model in self.gone or verb not in ("generateContent", "streamGenerateContent"):
            message = f"models/{model} is not found for API version v1beta, or is not supported for {verb}."
            return self._refuse(404, error_body(404, "NOT_FOUND", message))
        if request.content_type != "application/json":
            return self._refuse(400, error_body(400, "INVALID_ARGUMENT", "Send application/json."))
        try:
            body = check(await request.read(), gemini_capabilities(model))
        except RefusalError as refusal:
            return self._refuse(400, error_body(400, "INVALID_ARGUMENT", str(refusal)))
        call = Call(request.path, model, verb == "streamGenerateContent", dict(request.headers), body)
        self.calls.append(call)
        script = self._scripts.popleft() if self._scripts else self.respond(body)
        if script.status != 200:
            error = script.error or error_body(script.status, "UNKNOWN", f"scripted {script.status}")
            return web.json_response([error] if script.wrapped else error, status=script.status)
        if not call.stream:
            await asyncio.sleep(script.pace_s)
            call.finished = True
            return web.json_response(whole(script.events), headers=script.headers)
        if request.query.get("alt") != "sse":
            return web.json_response(list(script.events))
        return await self._stream(request, call, script)

    async def _embed(self, request: web.Request, model: str) -> web.Response:
        if model in self.gone or "embedding" not in model:
            message = f"models/{model} is not found for API version v1beta, or is not supported for it."
            return self._refuse(404, error_body(404, "NOT_FOUND", message))
        body = await request.json()
        if why := embeddings.refused_by_gemini(model, body):
            return self._refuse(400, error_body(400, "INVALID_ARGUMENT", why))
        self.calls.append(Call(request.path, model, False, dict(request.headers), body, finished=True))
        return web.json_response(embeddings.gemini_answer(body))

    async def _stream(self, request: web.Request, call: Call, script: Script) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", **script.headers})
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
    """One event as Google frames it; text and bytes go as they are."""
    text = event if isinstance(event, str | bytes) else json.dumps(event)
    data = text.encode() if isinstance(text, str) else text
    return b"data: " + data + b"\r\n\r\n"


def whole(events: tuple[Any, ...]) -> dict[str, Any]:
    """The plain answer that a stream's chunks add up to."""
    merged: dict[str, Any] = {}
    candidates: dict[int, dict[str, Any]] = {}
    for event in events:
        chunk = json.loads(event) if isinstance(event, str | bytes) else event
        merged |= {name: value for name, value in chunk.items() if name != "candidates"}
        for part in chunk.get("candidates", ()):
            candidate = candidates.setdefault(part.get("index", 0), {"index": part.get("index", 0)})
            parts = candidate.get("content", {}).get("parts", []) + part.get("content", {}).get("parts", [])
            candidate |= part
            candidate["content"] = {"role": "model", "parts": parts}
    if candidates:
        merged["candidates"] = [candidates[index] for index in sorted(candidates)]
    return merged
