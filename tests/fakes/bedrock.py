"""Owns a strict, scriptable Bedrock over real HTTP: it sees the raw path, and refuses what the real one refuses."""

import asyncio
import base64
import contextlib
import json
import re
import threading
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

from aiohttp import web
from msgspec import Struct

from tests.fakes import bedrock_claude, embeddings
from tests.fakes import bedrock_frames as frames
from tests.fakes.bedrock_rules import InvalidError, check, check_titan
from tests.fakes.bedrock_sigv4 import SignatureRefusedError, verify
from tests.fakes.hosted import Hosted, answered
from tests.fakes.lists import Shown, bedrock_page

REGION = "us-east-1"
ACCESS_KEY = "AKIDEXAMPLE"
SECRET_KEY = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
BEARER = "ABSKQmVkcm9ja0FQSUtleS1leGFtcGxl"
ACCOUNT = "123456789012"
_ROUTE = re.compile(r"/model/([^/]+)/(converse|converse-stream|invoke|invoke-with-response-stream)")
_STATUS = {
    "ThrottlingException": 429,
    "ModelNotReadyException": 429,
    "ServiceQuotaExceededException": 400,
    "ModelTimeoutException": 408,
    "ModelErrorException": 424,
    "InternalServerException": 500,
    "ServiceUnavailableException": 503,
    "ValidationException": 400,
    "ResourceNotFoundException": 404,
    "AccessDeniedException": 403,
    "ExpiredTokenException": 403,
}
GATE_S = 30.0
STREAM_TYPE = "application/vnd.amazon.eventstream"


class Call(Struct):
    """One request as it came in, and what became of it. `closed_at` is time.monotonic(), 0.0 while it runs."""

    raw_path: str
    model: str
    verb: str
    headers: dict[str, str]  # lower-case names
    body: dict[str, Any]
    sent: int = 0  # frames that went out
    finished: bool = False
    closed_at: float = 0.0


class Reply(Struct, kw_only=True):
    """How to answer one call. A stream is sent in pieces of `piece_bytes`, or frame by frame with `pace_s` between.

    `cut` breaks the connection after so many frames; `end` closes it cleanly after so many, without the rest. After
    `held` frames it waits for the `gate`.
    """

    body: dict[str, Any] | None = None
    frames: list[bytes] | None = None
    error: str = ""  # the name of an exception
    message: str = "scripted"
    headers: dict[str, str] = {}
    piece_bytes: int = 0
    pace_s: float = 0.0
    delay_s: float = 0.0
    cut: int | None = None
    end: int | None = None
    held: int | None = None
    gate: threading.Event | None = None


def usage(input_tokens: int, output_tokens: int, **more: Any) -> dict[str, Any]:
    """A usage object whose total counts the cache classes too."""
    cached = more.get("cacheReadInputTokens", 0) + more.get("cacheWriteInputTokens", 0)
    total = input_tokens + output_tokens + cached
    return {"inputTokens": input_tokens, "outputTokens": output_tokens, "totalTokens": total, **more}


def answer(
    text: str = "Hi", *, stop: str = "end_turn", counted: dict[str, Any] | None = None
) -> dict[str, Any]:
    """A Converse answer of one text block."""
    return {
        "output": {"message": {"role": "assistant", "content": [{"text": text}]}},
        "stopReason": stop,
        "usage": counted or usage(10, 2),
        "metrics": {"latencyMs": 9},
    }


def stream_of(body: dict[str, Any], *, pieces: int = 3) -> list[bytes]:
    """The frames of a stream that says what a Converse answer says."""
    out = [frames.event("messageStart", {"role": "assistant"})]
    for index, block in enumerate(body["output"]["message"]["content"]):
        if "toolUse" in block:
            tool = block["toolUse"]
            start = {"toolUse": {"toolUseId": tool["toolUseId"], "name": tool["name"]}}
            out.append(frames.event("contentBlockStart", {"contentBlockIndex": index, "start": start}))
            text = json.dumps(tool["input"], separators=(",", ":"))
            deltas = [{"toolUse": {"input": part}} for part in _cut(text, pieces)]
        elif "reasoningContent" in block:
            said = block["reasoningContent"]["reasoningText"]
            deltas = [{"reasoningContent": {"text": part}} for part in _cut(said["text"], pieces)]
            deltas.append({"reasoningContent": {"signature": said["signature"]}})
        else:
            deltas = [{"text": part} for part in _cut(block["text"], pieces)]
        for delta in deltas:
            body_of = {"contentBlockIndex": index, "delta": delta, "p": "abcdefghij"}
            out.append(frames.event("contentBlockDelta", body_of))
        out.append(frames.event("contentBlockStop", {"contentBlockIndex": index}))
    out.append(frames.event("messageStop", {"stopReason": body["stopReason"]}))
    out.append(frames.event("metadata", {"usage": body["usage"], "metrics": body["metrics"]}))
    return out


def titan_answer(text: str = "\nHello", reason: str = "FINISH") -> dict[str, Any]:
    """A Titan answer, as InvokeModel gives it."""
    result = {"tokenCount": 2, "outputText": text, "completionReason": reason}
    return {"inputTextTokenCount": 3, "results": [result]}


def titan_chunk(text: str, **more: Any) -> bytes:
    """One frame of a Titan stream."""
    body = {
        "outputText": text,
        "index": 0,
        "totalOutputTextTokenCount": None,
        "completionReason": None,
        "inputTextTokenCount": None,
        **more,
    }
    return frames.event("chunk", {"bytes": base64.b64encode(json.dumps(body).encode()).decode()})


def titan_stream(text: str = "\nHello", reason: str = "FINISH") -> list[bytes]:
    """The frames of a Titan stream: the last holds text, reason and metrics."""
    half = len(text) // 2
    metrics = {"inputTokenCount": 3, "outputTokenCount": 2, "invocationLatency": 9, "firstByteLatency": 5}
    last = {
        "totalOutputTextTokenCount": 2,
        "completionReason": reason,
        "amazon-bedrock-invocationMetrics": metrics,
    }
    return [titan_chunk(text[:half], inputTextTokenCount=3), titan_chunk(text[half:], **last)]


def _cut(text: str, pieces: int) -> list[str]:
    size = max(1, -(-len(text) // pieces))
    return [text[start : start + size] for start in range(0, len(text), size)]


def _default(call: Call) -> Reply:
    if embeddings.is_on_bedrock(call.model):
        answered, headers = embeddings.bedrock_answer(call.model, call.body)
        return Reply(body=answered, headers=headers)
    if call.verb == "converse" or (call.verb == "invoke" and bedrock_claude.serves(call.model)):
        return Reply(body=answer())
    if call.verb == "converse-stream" or bedrock_claude.serves(call.model):
        return Reply(frames=stream_of(answer()))
    return Reply(body=titan_answer()) if call.verb == "invoke" else Reply(frames=titan_stream())


class Bedrock(Hosted):
    """The server.

    Answers by `replies`, first in first out, then by `respond`. `secrets`: by access key, secret and session token.
    """

    def __init__(self, respond: Callable[[Call], Reply] = _default) -> None:
        super().__init__()
        self.calls: list[Call] = []
        self.replies: list[Reply] = []
        self.respond = respond
        self.secrets: dict[str, tuple[str, str]] = {ACCESS_KEY: (SECRET_KEY, "")}
        self.region = REGION
        self.gone: set[str] = set()
        self.shown = Shown()

    def routes(self) -> list[web.AbstractRouteDef]:
        """Everything."""
        return [web.route("*", "/{path:.*}", self._serve)]

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        headers = {name.lower(): value for name, value in request.headers.items()}
        if request.method == "GET":
            return answered(
                lambda: bedrock_page(
                    self.shown,
                    request.raw_path,
                    headers,
                    secrets=self.secrets,
                    bearer=BEARER,
                    region=self.region,
                )
            )
        found = _ROUTE.fullmatch(request.raw_path)
        if request.method != "POST" or found is None:
            return refusal("UnknownOperationException", "", 404)
        try:
            self._admit(request, headers, body)
            call = Call(request.raw_path, unquote(found[1]), found[2], headers, json.loads(body))
            self._check(call)
        except SignatureRefusedError as problem:
            return refusal(problem.name, problem.message, 403)
        except (InvalidError, ValueError) as problem:
            return refusal("ValidationException", str(problem))
        self.calls.append(call)
        reply = self.replies.pop(0) if self.replies else self.respond(call)
        try:
            return await self._play(request, call, reply)
        except (asyncio.CancelledError, ConnectionError):
            call.closed_at = time.monotonic()
            raise

    def _admit(self, request: web.Request, headers: dict[str, str], body: bytes) -> None:
        if len(request.headers.getall("Host")) != 1:
            raise SignatureRefusedError("InvalidSignatureException", "Two hosts.")
        if headers.get("authorization", "").startswith("Bearer "):
            if headers["authorization"] != f"Bearer {BEARER}":
                raise SignatureRefusedError("UnrecognizedClientException", f"Invalid API Key {BEARER}")
            return
        verify(
            method=request.method,
            raw_path=request.raw_path,
            headers=headers,
            body=body,
            secrets=self.secrets,
            region=self.region,
        )

    def _check(self, call: Call) -> None:
        if call.headers.get("content-type") != "application/json":
            raise InvalidError("The content type must be application/json.")
        if call.model in self.gone:
            raise InvalidError("The provided model identifier is invalid.")
        if call.verb.startswith("converse"):
            if "titan-text" in call.model:
                raise InvalidError("This model doesn't support the converse API.")
            operation = "ConverseStream" if call.verb.endswith("stream") else "Converse"
            check(operation, call.model, call.body)
        elif embeddings.is_on_bedrock(call.model):
            if why := embeddings.refused_by_bedrock(call.model, call.body):
                raise InvalidError(why)
        elif "titan-text" in call.model:
            check_titan(call.model, call.body)
        elif bedrock_claude.serves(call.model):
            bedrock_claude.check(call.model, call.body)
        else:
            raise InvalidError("This fake invokes Titan, Cohere and Claude models only.")

    async def _play(self, request: web.Request, call: Call, reply: Reply) -> web.StreamResponse:
        await asyncio.sleep(reply.delay_s)
        if call.verb.startswith("invoke") and bedrock_claude.serves(call.model):
            reply = bedrock_claude.claudes(reply)
        if reply.error:
            return refusal(reply.error, reply.message, headers=reply.headers)
        if reply.frames is None:
            call.finished = True
            return web.json_response(reply.body, headers={"x-amzn-RequestId": "req-1", **reply.headers})
        response = web.StreamResponse(headers={"Content-Type": STREAM_TYPE, **reply.headers})
        if call.verb.startswith("invoke"):
            response.headers["X-Amzn-Bedrock-Content-Type"] = "application/json"
        await response.prepare(request)
        for frame in reply.frames[: reply.end]:
            if reply.cut == call.sent:
                assert request.transport is not None
                request.transport.abort()
                return response
            if reply.gate is not None and reply.held == call.sent:
                await asyncio.to_thread(reply.gate.wait, GATE_S)
            size = reply.piece_bytes or len(frame)
            for start in range(0, len(frame), size):
                await response.write(frame[start : start + size])
            call.sent += 1
            if reply.pace_s:
                await asyncio.sleep(reply.pace_s)
        call.finished = True
        with contextlib.suppress(ConnectionError):
            await response.write_eof()
        return response


def refusal(name: str, message: str, status: int = 0, headers: dict[str, str] | None = None) -> web.Response:
    """An error as AWS answers it: its name in a header, its words in the body."""
    named = {
        "x-amzn-ErrorType": f"{name}:http://internal.amazon.com/coral/com.amazon.bedrock/",
        **(headers or {}),
    }
    return web.json_response({"message": message}, status=status or _STATUS.get(name, 500), headers=named)


def account_toml(base_url: str) -> str:
    """A pool's account on this fake, for tokn.toml."""
    return f"""
[[pools.bedrock.accounts]]
id = "main"
region = "{REGION}"
base_url = "{base_url}"
access_key_id = "{ACCESS_KEY}"
secret_access_key = "{SECRET_KEY}"
"""
