"""Owns an Azure OpenAI resource: its two routes, its header, its deployments, and the chunks that it alone sends.

It is strict: what the service would not understand is its error, in its shape.
"""

import asyncio
import json
from typing import Any

from aiohttp import web

from schemas.catalogue.forwarded import OPENAI, Forwarded
from tests.fakes.hosted import Hosted

API_KEY = "azurecanary0123456789abcdef0123456789abcdef"
API_VERSION = "2024-10-21"
DEPLOYMENT = "our gpt/one"  # a name is the operator's: it is no id of a model, and must be escaped in a path
WORDS = ("Hel", "lo", " there")
USAGE = {
    "prompt_tokens": 50,
    "completion_tokens": 30,
    "total_tokens": 80,
    "prompt_tokens_details": {"cached_tokens": 20, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 10, "audio_tokens": 0},
}
_SAFE = {"hate": {"filtered": False, "severity": "safe"}, "violence": {"filtered": False, "severity": "safe"}}
_PROMPT = [{"prompt_index": 0, "content_filter_results": _SAFE}]
_FIELDS = Forwarded(base=OPENAI).fields(chat=True) - {"models", "usage"}


class Azure(Hosted):
    """The resource. `seen` has route, query and body of each call that was served."""

    path = "/openai/v1"

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, str, dict[str, Any]]] = []

    def routes(self) -> list[web.AbstractRouteDef]:
        """Everything: an unknown route has an answer too."""
        return [web.route("*", "/{path:.*}", self._answer)]

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = json.loads(await request.read() or b"{}")
        if request.headers.get("api-key") != API_KEY or "Authorization" in request.headers:
            text = "Access denied due to invalid subscription key or wrong API endpoint."
            return _error(401, "401", text)
        deployment = _deployment(request, body)
        if deployment is None:
            return _error(404, "404", "Resource not found")
        if deployment != DEPLOYMENT:
            text = "The API deployment for this resource does not exist."
            return _error(404, "DeploymentNotFound", text)
        if unknown := set(body) - _FIELDS:
            return _error(400, "unknown_parameter", f"Unknown parameter: {min(unknown)}")
        if "max_tokens" in body:
            text = "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."
            return _error(400, "unsupported_parameter", text)
        self.seen.append((request.rel_url.raw_path, request.query_string, body))
        if body["messages"][-1]["content"] == "flagged":
            return _error(400, "content_filter", "The response was filtered due to the prompt.")
        return await _stream(request, body) if body.get("stream") else web.json_response(_plain())


def _deployment(request: web.Request, body: dict[str, Any]) -> str | None:
    """What a call asks for, by either route; None for neither."""
    if request.method != "POST":
        return None
    if request.path == "/openai/v1/chat/completions" and not request.query_string:
        return str(body.get("model"))
    start, end = "/openai/deployments/", "/chat/completions"
    raw = request.rel_url.raw_path
    name = raw.removeprefix(start).removesuffix(end)
    if raw != f"{start}{name}{end}" or "/" in name or request.query_string != f"api-version={API_VERSION}":
        return None
    return request.path.removeprefix(start).removesuffix(end)


def _plain() -> dict[str, Any]:
    choice = {"index": 0, "finish_reason": "stop", "logprobs": None, "content_filter_results": _SAFE}
    message = {"role": "assistant", "content": "".join(WORDS), "refusal": None, "annotations": []}
    return _envelope("chat.completion") | {
        "choices": [choice | {"message": message}],
        "usage": USAGE,
        "prompt_filter_results": _PROMPT,
    }


async def _stream(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    answer = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
    await answer.prepare(request)
    envelope = _envelope("chat.completion.chunk")
    empty = {"choices": [], "created": 0, "id": "", "model": "", "object": ""}
    await _send(answer, empty | {"prompt_filter_results": _PROMPT})
    await _send(answer, envelope | _choice({"role": "assistant", "content": "", "refusal": None}))
    for word in WORDS:
        await _send(answer, envelope | _choice({"content": word}))
        # The asynchronous filter's verdict comes in chunks of its own, without a delta.
        offsets = {"check_offset": 44, "start_offset": 44, "end_offset": 198}
        verdict = {"index": 0, "finish_reason": None, "content_filter_results": _SAFE}
        await _send(answer, empty | {"choices": [verdict | {"content_filter_offsets": offsets}]})
        await asyncio.sleep(0)
    await _send(answer, envelope | _choice({}, finish="stop"))
    if (body.get("stream_options") or {}).get("include_usage"):
        await _send(answer, envelope | {"choices": [], "usage": USAGE})
    await answer.write(b"data: [DONE]\n\n")
    return answer


def _choice(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    verdict = _SAFE if "content" in delta else {}
    choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}
    return {"choices": [choice | {"content_filter_results": verdict}]}


def _envelope(kind: str) -> dict[str, Any]:
    fields = {"id": "chatcmpl-azure", "object": kind, "created": 1_763_769_600, "model": "gpt-5.1-2025-11-13"}
    return fields | {"system_fingerprint": "fp_1"}


async def _send(answer: web.StreamResponse, chunk: dict[str, Any]) -> None:
    await answer.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")


def _error(status: int, code: str, message: str) -> web.Response:
    return web.json_response({"error": {"code": code, "message": message}}, status=status)
