"""Owns a caller for tests of the whole path: many calls at once over HTTP, each with what the caller saw and when."""

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

import aiohttp

CALL_S = 120
# How a stream ends where `[DONE]` does not end it. In Messages an error ends it, too.
_LAST = frozenset(("response.completed", "response.incomplete", "response.failed", "message_stop"))


class Seen:
    """One call as its caller saw it. Times are time.monotonic(); 0.0 means never."""

    def __init__(self, tag: str) -> None:
        self.tag = tag
        self.status = 0
        self.request_id = ""
        self.words = 0
        self.chunks: list[dict[str, Any]] = []
        self.error: dict[str, Any] | None = None
        self.done = False  # the last word of a stream in its dialect came: `[DONE]`, or an event
        self.broken = ""  # the connection's own failure
        self.body: Any = None
        self.first_at = 0.0
        self.error_at = 0.0
        self.ended_at = 0.0

    @property
    def complete(self) -> bool:
        """Whether it ended as a good call: 200, its end, and no error."""
        ended = self.done or self.body is not None
        return self.status == 200 and ended and self.error is None and not self.broken

    def __repr__(self) -> str:
        return (
            f"<{self.tag} {self.status} {self.request_id} words={self.words} done={self.done} "
            f"error={self.error} broken={self.broken!r}>"
        )


def body(tag: str, *, stream: bool = True, text: str = "hello", **script: Any) -> dict[str, Any]:
    """A chat request whose upstream is scripted; fields of the request itself are added by the caller."""
    return {
        "model": "priced",
        "messages": [{"role": "user", "content": text}],
        "stream": stream,
        "x_script": {"tag": tag, **script},
    }


def session(connections: int = 512) -> aiohttp.ClientSession:
    """A client without retries."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=connections),
        timeout=aiohttp.ClientTimeout(total=CALL_S),
    )


async def call(
    client: aiohttp.ClientSession,
    url: str,
    key: str,
    request: dict[str, Any],
    *,
    path: str = "/v1/chat/completions",
    leave: Callable[[Seen], bool] | None = None,
    seen: Seen | None = None,
) -> Seen:
    """Makes one call and reads it to its end, or until `leave` says to hang up. Never raises for what it sees."""
    seen = seen or Seen(str(request.get("x_script", {}).get("tag", "")))
    try:
        async with client.post(
            f"{url}{path}", json=request, headers={"Authorization": f"Bearer {key}"}
        ) as answer:
            seen.status = answer.status
            seen.request_id = answer.headers.get("x-request-id", "")
            if answer.content_type == "text/event-stream":
                await _read_events(answer, seen, leave)
            else:
                seen.body = json.loads(await answer.read())
                seen.error = seen.body.get("error")
    except (TimeoutError, aiohttp.ClientError, ValueError) as problem:
        seen.broken = f"{type(problem).__name__}: {problem}"
    seen.ended_at = time.monotonic()
    return seen


async def _read_events(
    answer: aiohttp.ClientResponse, seen: Seen, leave: Callable[[Seen], bool] | None
) -> None:
    if leave and leave(seen):
        answer.close()
        return
    async for line in answer.content:
        if not line.startswith(b"data: "):
            continue
        data = line[6:].strip()
        if data == b"[DONE]":
            seen.done = True
            continue
        event = json.loads(data)
        seen.done = seen.done or event.get("type") in _LAST or "request_id" in event
        if event.get("error"):
            seen.error = event["error"]
            seen.error_at = time.monotonic()
            continue
        seen.first_at = seen.first_at or time.monotonic()
        seen.chunks.append(event)
        seen.words += bool(word_of(event))
        if leave and leave(seen):
            answer.close()
            return


def word_of(event: dict[str, Any]) -> str:
    """The content that an event of a stream brings, in whichever dialect."""
    match event.get("type"):
        case None:
            choice = (event["choices"] or [{}])[0]
            return str(choice.get("text") or choice.get("delta", {}).get("content") or "")
        case "response.output_text.delta":
            return str(event["delta"])
        case "content_block_delta":
            return str(event["delta"].get("text", ""))
    return ""


async def until(condition: Callable[[], Any], within_s: float, what: str) -> Any:
    """The first truthy answer of a condition asked every 20 ms. Raises TimeoutError after `within_s`."""
    deadline = time.monotonic() + within_s
    while not (answer := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {within_s} s: {what}")
        await asyncio.sleep(0.02)
    return answer
