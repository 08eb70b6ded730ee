"""Owns the sandbox: a model without an upstream that says the same words at a set pace, and says what it is."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

import msgspec
from msgspec import Struct

from schemas.json import UNREADABLE
from workers.providers.openai.family import OpenAI
from workers.upstream.http import UpstreamAnswer
from workers.upstream.request import UpstreamRequest

_TEXT = (
    "This is the tokn sandbox: no language model wrote these words. They are the same for every request, they come "
    "at a steady pace, and they are billed like any other answer, so that keys, streams and balances can be tried "
    "without credentials of a provider. "
)
_WORDS = [word + " " for word in _TEXT.split()]
_DEFAULT_WORDS = len(_WORDS)
_WAIT_MIN_S = 0.005  # shorter pauses are saved up, so that a high pace costs no timer a word
_ID = "chatcmpl-sandbox"

_encode = msgspec.json.Encoder().encode


class _StreamOptions(Struct):
    include_usage: bool = False


class _Request(Struct):
    model: str
    messages: Any = None
    prompt: Any = None
    n: int | None = None
    stop: str | list[str] | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    stream: bool | None = None
    stream_options: _StreamOptions | None = None


_decode = msgspec.json.Decoder(_Request).decode


class Sandbox(OpenAI):
    """Speaks OpenAI's protocol like its parent, to an upstream inside this process."""

    def upstream(self, words_per_s: float) -> "SandboxUpstream":
        """What answers the calls of this family."""
        return SandboxUpstream(words_per_s)


class SandboxUpstream:
    """An upstream without a network: each output word is one token."""

    def __init__(self, words_per_s: float) -> None:
        self._pause_s = 1.0 / words_per_s if words_per_s > 0 else 0.0

    async def open(self, request: UpstreamRequest) -> UpstreamAnswer:
        """Answers 200, or 400 to a body that is not a request."""
        try:
            asked = _decode(request.body)
        except UNREADABLE as error:
            return SandboxAnswer(400, _once(_encode({"error": {"message": str(error)}})))
        legacy = request.url.endswith("/completions") and not request.url.endswith("/chat/completions")
        script = _Script(asked, legacy=legacy, pause_s=self._pause_s)
        return SandboxAnswer(200, script.stream() if asked.stream else script.plain())

    async def aclose(self) -> None:
        """Nothing to close."""


class SandboxAnswer:
    """An answer whose body is generated as it is read."""

    def __init__(self, status: int, body: AsyncIterator[bytes]) -> None:
        self.status = status
        self.headers: Mapping[str, str] = {}
        self._body = body

    async def read(self) -> bytes:
        """The next bytes, when their time has come; b"" at the end."""
        return await anext(self._body, b"")

    def close(self) -> None:
        """Nothing runs between reads."""


class _Script:
    """What one request is answered with."""

    def __init__(self, asked: _Request, *, legacy: bool, pause_s: float) -> None:
        self._asked = asked
        self._legacy = legacy
        self._pause_s = pause_s
        limits = [limit for limit in (asked.max_tokens, asked.max_completion_tokens) if limit is not None]
        wanted = max(limits) if limits else _DEFAULT_WORDS
        words = [_WORDS[index % len(_WORDS)] for index in range(max(0, min(wanted, _DEFAULT_WORDS)))]
        self._words, stopped = _stop(words, asked.stop)
        self._finish = "stop" if stopped or wanted >= _DEFAULT_WORDS else "length"
        prompts = asked.prompt if legacy and isinstance(asked.prompt, list) else [None]
        self._choices = max(1, asked.n or 1) * (
            len(prompts) if prompts and isinstance(prompts[0], str) else 1
        )
        prompt_words = len(str(asked.prompt if legacy else asked.messages).split())
        completion = len(self._words) * self._choices
        self._usage = {
            "prompt_tokens": prompt_words,
            "completion_tokens": completion,
            "total_tokens": prompt_words + completion,
        }
        self._created = int(time.time())

    async def plain(self) -> AsyncIterator[bytes]:
        await self._wait(len(self._words))
        text = "".join(self._words)
        said: dict[str, Any] = (
            {"text": text}
            if self._legacy
            else {"message": {"role": "assistant", "content": text, "refusal": None}}
        )
        choices = [
            {"index": index, **said, "logprobs": None, "finish_reason": self._finish}
            for index in range(self._choices)
        ]
        kind = "text_completion" if self._legacy else "chat.completion"
        yield _encode(self._envelope(kind) | {"choices": choices, "usage": self._usage})

    async def stream(self) -> AsyncIterator[bytes]:
        owed = 0
        if not self._legacy:
            yield self._chunks({"delta": {"role": "assistant", "content": ""}}, None)
        for word in self._words:
            owed += 1
            if owed * self._pause_s >= _WAIT_MIN_S:
                await self._wait(owed)
                owed = 0
            yield self._chunks({"text": word} if self._legacy else {"delta": {"content": word}}, None)
        yield self._chunks({"text": ""} if self._legacy else {"delta": {}}, self._finish)
        if self._asked.stream_options is not None and self._asked.stream_options.include_usage:
            yield _event(self._envelope(self._kind) | {"choices": [], "usage": self._usage})
        yield b"data: [DONE]\n\n"

    @property
    def _kind(self) -> str:
        return "text_completion" if self._legacy else "chat.completion.chunk"

    def _envelope(self, kind: str) -> dict[str, Any]:
        return {"id": _ID, "object": kind, "created": self._created, "model": self._asked.model}

    def _chunks(self, said: dict[str, Any], finish: str | None) -> bytes:
        envelope = self._envelope(self._kind)
        return b"".join(
            _event(
                envelope | {"choices": [{"index": index, **said, "logprobs": None, "finish_reason": finish}]}
            )
            for index in range(self._choices)
        )

    async def _wait(self, words: int) -> None:
        if self._pause_s:
            await asyncio.sleep(words * self._pause_s)


def _stop(words: list[str], stop: str | list[str] | None) -> tuple[list[str], bool]:
    # The words before the first stop sequence, whole words only: a token is a word here.
    sequences = [stop] if isinstance(stop, str) else stop or []
    text = "".join(words)
    cuts = [at for sequence in sequences if sequence and (at := text.find(sequence)) >= 0]
    if not cuts:
        return words, False
    kept: list[str] = []
    size = 0
    for word in words:
        size += len(word)
        if size > min(cuts):
            break
        kept.append(word)
    return kept, True


async def _once(body: bytes) -> AsyncIterator[bytes]:
    yield body


def _event(fields: dict[str, Any]) -> bytes:
    return b"data: " + _encode(fields) + b"\n\n"
