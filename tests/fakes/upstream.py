"""Owns an upstream whose answer each request scripts itself, in its field `x_script`, or in its prompt behind `MARK`.

It speaks as OpenAI does, and at /v1/messages as Anthropic. Its pools forward that field, which no list has.
It runs in a thread of its own, so that tests of every kind can use it, and remembers every call as it came in.
"""

import asyncio
import base64
import contextlib
import json
import re
import time
from collections.abc import Iterator
from typing import Any

import msgspec
from aiohttp import web

from tests.fakes import telling
from tests.fakes.hosted import Hosted

API_KEY = "sk-upstream-canary-0123456789abcdefghij"
CREATED = 1_763_769_600
SCRIPTED = 'extra_fields = ["x_script", "x_scripts"]\n'  # of a pool: its callers write the answers


class Script(msgspec.Struct, frozen=True):
    """How to answer. `cut` breaks the connection after so many chunks; `gate` waits for `Upstream.open_gate`."""

    prompt: int = 7
    cached: int = 0
    words: int = 5
    completion: int | None = None  # tokens reported, if not one a word
    reasoning: int = 0
    pace_s: float = 0.0
    status: int = 200
    retry_after: str = ""
    cut: int | None = None
    gate: bool = False
    usage: dict[str, Any] | None = None  # reported instead of what the fields above say
    raw: str = ""  # the whole answer's body, so many times, as this type
    times: int = 1
    content_type: str = "application/json"
    location: str = ""
    tag: str = ""

    @property
    def said(self) -> int:
        """Tokens of output that are reported."""
        return self.words if self.completion is None else self.completion


class Call:
    """One request as it came in, and what became of it. Times are time.monotonic(); 0.0 means not yet."""

    def __init__(self, path: str, headers: dict[str, str], body: bytes, script: Script) -> None:
        self.path = path
        self.headers = headers
        self.body = body
        self.script = script
        self.chunks = 0
        self.finished = False
        self.closed_at = 0.0


class _Fields(msgspec.Struct, frozen=True):
    """What of a request decides the answer; the rest is taken as it comes."""

    model: str
    stream: bool | None = None
    stream_options: dict[str, Any] | None = None
    x_script: Script = Script()
    x_scripts: dict[str, Script] = {}  # those of some models, by what the upstream calls them


class _Marked(msgspec.Struct, frozen=True):
    """What a prompt says behind the mark."""

    x_script: Script = Script()
    x_scripts: dict[str, Script] = {}


_decode = msgspec.json.Decoder(_Fields).decode
_decode_marked = msgspec.json.Decoder(_Marked).decode
MARK = b"script:"  # stands in a prompt before a script in base64
_MARKED = re.compile(MARK + rb"([A-Za-z0-9_=-]+)")


def _script(fields: _Fields, body: bytes) -> Script:
    """The script of a request for its model."""
    told: _Fields | _Marked = fields
    if (found := _MARKED.search(body)) is not None:
        told = _decode_marked(base64.urlsafe_b64decode(found[1]))
    return told.x_scripts.get(fields.model, told.x_script)


class Upstream(Hosted):
    """The server."""

    path = "/v1"

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Call] = []
        self.waiting = 0
        self.keys = {API_KEY}  # those that it takes
        self._gate = asyncio.Event()

    def routes(self) -> list[web.AbstractRouteDef]:
        """Everything."""
        return [web.route("*", "/{path:.*}", self._answer)]

    def open_gate(self) -> None:
        """Lets every call that waits at the gate go on, and none that comes later."""

        def pulse() -> None:
            self._gate.set()
            self._gate = asyncio.Event()

        self._loop.call_soon_threadsafe(pulse)

    def named(self, tag: str) -> list[Call]:
        """The calls whose script carries a tag."""
        return [call for call in self.calls if call.script.tag == tag]

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        if self.keys.isdisjoint(
            (
                request.headers.get("Authorization", "").removeprefix("Bearer "),
                request.headers.get("x-api-key"),
            )
        ):
            return _error(401, "Incorrect API key provided: sk-upst****", "invalid_api_key")
        try:
            fields = _decode(body)
        except msgspec.MsgspecError as problem:
            return _error(400, f"not a request: {problem}", None)
        script = _script(fields, body)
        call = Call(request.path, dict(request.headers), body, script)
        self.calls.append(call)
        try:
            return await self._play(request, call, fields)
        except (asyncio.CancelledError, ConnectionError):
            call.closed_at = time.monotonic()
            raise

    async def _play(self, request: web.Request, call: Call, fields: _Fields) -> web.StreamResponse:
        script = call.script
        if script.gate:
            self.waiting += 1
            try:
                await self._gate.wait()
            finally:
                self.waiting -= 1
        if script.raw:
            return await _send_raw(request, script)
        if script.status != 200:
            return _error(
                script.status, f"scripted {script.status} for {API_KEY}", "scripted", script.retry_after
            )
        legacy = call.path.endswith("/completions") and not call.path.endswith("/chat/completions")
        words = [f"w{index} " for index in range(script.words)]
        told = telling.TOLD.get(call.path.removeprefix("/v1"))
        said = None if told is None else told(fields.model, words, script)
        if fields.stream:
            if said is not None:
                return await self._say(request, call, said.events())
            return await self._stream(request, call, fields, legacy=legacy)
        await asyncio.sleep(script.pace_s)
        if said is not None:
            call.finished = True
            return web.json_response(said.plain())
        text = "".join(words)
        if legacy:
            choice: dict[str, Any] = {"text": text}
        else:
            choice = {"message": {"role": "assistant", "content": text, "refusal": None}}
        choice |= {"index": 0, "logprobs": None, "finish_reason": "stop"}
        call.finished = True
        return web.json_response(
            _envelope(fields.model, legacy=legacy, chunk=False)
            | {"choices": [choice], "usage": _usage(script)}
        )

    async def _say(self, request: web.Request, call: Call, events: Iterator[bytes]) -> web.StreamResponse:
        """Writes what a dialect of its own says for each word, and at the end."""
        script = call.script
        answer = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        await answer.prepare(request)
        for data in events:
            if script.cut is not None and script.cut == call.chunks:
                assert request.transport is not None
                request.transport.abort()
                return answer
            await answer.write(data)
            if call.chunks < script.words:
                call.chunks += 1
                if script.pace_s:
                    await asyncio.sleep(script.pace_s)
        call.finished = True
        with contextlib.suppress(ConnectionError):
            await answer.write_eof()
        return answer

    async def _stream(
        self, request: web.Request, call: Call, fields: _Fields, *, legacy: bool
    ) -> web.StreamResponse:
        script = call.script
        reported = bool((fields.stream_options or {}).get("include_usage"))
        answer = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        await answer.prepare(request)
        envelope = _envelope(fields.model, legacy=legacy, chunk=True)
        if reported:
            envelope["usage"] = None
        for index in range(script.words):
            if script.cut == index:
                assert request.transport is not None
                request.transport.abort()
                return answer
            content = {"text": f"w{index} "} if legacy else {"delta": {"content": f"w{index} "}}
            if index == 0 and not legacy:
                content["delta"] = {"role": "assistant", "content": "w0 "}
            await answer.write(
                _event(envelope | {"choices": [{"index": 0, "finish_reason": None, **content}]})
            )
            call.chunks += 1
            if script.pace_s:
                await asyncio.sleep(script.pace_s)
        last = {"text": ""} if legacy else {"delta": {}}
        await answer.write(_event(envelope | {"choices": [{"index": 0, "finish_reason": "stop", **last}]}))
        if reported:
            await answer.write(_event(envelope | {"choices": [], "usage": _usage(script)}))
        await answer.write(b"data: [DONE]\n\n")
        call.finished = True
        with contextlib.suppress(ConnectionError):
            await answer.write_eof()
        return answer


async def _send_raw(request: web.Request, script: Script) -> web.StreamResponse:
    headers = {"Content-Type": script.content_type} | (
        {"Location": script.location} if script.location else {}
    )
    if script.retry_after:
        headers["Retry-After"] = script.retry_after
    answer = web.StreamResponse(status=script.status, headers=headers)
    await answer.prepare(request)
    for _ in range(script.times):
        await answer.write(script.raw.encode())
    return answer


def pool_toml(base_url: str, *, max_inflight: int = 256, rate: str = "0.60", more: str = "") -> str:
    """A tokn.toml with one pool, `openai`, on this upstream, and the model `priced`: 2.50 in, 1.25 cached, 10.00 out."""
    return f"""
[pools.openai]
provider = "openai"
{SCRIPTED}rate = {rate}
[[pools.openai.accounts]]
id = "main"
api_key = "{API_KEY}"
base_url = "{base_url}"
max_inflight = {max_inflight}

[[models]]
id = "priced"
pool = "openai"
upstream = "priced-upstream"
input = 2.50
cached_input = 1.25
output = 10.00
context = 128000
max_output = 16384
{more}
"""


def pool_of_one(name: str, base_url: str) -> str:
    """A pool with one account and one model, both of this name: a failure of it cools nobody else's account."""
    return f"""
[pools.{name}]
provider = "openai"
{SCRIPTED}[[pools.{name}.accounts]]
id = "main"
api_key = "{API_KEY}"
base_url = "{base_url}"
[[models]]
id = "{name}"
pool = "{name}"
upstream = "priced-upstream"
input = 1.00
output = 1.00
context = 128000
max_output = 16384
"""


def _envelope(model: str, *, legacy: bool, chunk: bool) -> dict[str, Any]:
    kind = "text_completion" if legacy else "chat.completion.chunk" if chunk else "chat.completion"
    return {"id": "chatcmpl-scripted", "object": kind, "created": CREATED, "model": model}


def _usage(script: Script) -> dict[str, Any]:
    if script.usage is not None:
        return script.usage
    completion = script.said
    return {
        "prompt_tokens": script.prompt,
        "completion_tokens": completion,
        "total_tokens": script.prompt + completion,
        "prompt_tokens_details": {"cached_tokens": script.cached},
        "completion_tokens_details": {"reasoning_tokens": script.reasoning},
    }


def _event(body: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(body).encode() + b"\n\n"


def _error(status: int, message: str, code: str | None, retry_after: str = "") -> web.Response:
    headers = {"Retry-After": retry_after} if retry_after else {}
    error = {"message": message, "type": "scripted_error", "param": None, "code": code}
    return web.json_response({"error": error}, status=status, headers=headers)
