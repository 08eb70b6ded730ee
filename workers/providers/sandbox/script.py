"""Owns what the sandbox answers with: words, a form that fits its schema, or calls of tools whose arguments fit theirs.

The same request has the same answer. With tools it calls those that the last message names, else the first; once
their results are there, it answers. One piece of its output is one token.
"""

import asyncio
import re
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from workers.providers.sandbox.request import Message, Request, Tool, forced, form
from workers.providers.sandbox.samples import sample

_TEXT = (
    "This is the tokn sandbox: no language model wrote these words. They are the same for every request, they come "
    "at a steady pace, and they are billed like any other answer, so that keys, streams and balances can be tried "
    "without credentials of a provider. "
)
WORDS = [word + " " for word in _TEXT.split()]
CALLS_MAX = 8
_PIECE = re.compile(r"\s*\S{1,12}\s*")  # of JSON, which may have no spaces
_WAIT_MIN_S = 0.005  # shorter pauses are saved up, so that a high pace costs no timer a word
_encode = msgspec.json.Encoder().encode


class Call(Struct, frozen=True):
    """A tool call: its arguments, or the input of a custom tool, in pieces."""

    id: str
    name: str
    custom: bool
    pieces: list[str]

    def said(self, choice: int, pieces: str) -> dict[str, Any]:
        """The call as a message or a delta of one choice shows it."""
        call_id = f"{self.id}{choice:02x}"
        if self.custom:
            return {"id": call_id, "type": "custom", "custom": {"name": self.name, "input": pieces}}
        return {"id": call_id, "type": "function", "function": {"name": self.name, "arguments": pieces}}

    def further(self, piece: str) -> dict[str, Any]:
        """A piece of it, after the first delta."""
        return {"custom": {"input": piece}} if self.custom else {"function": {"arguments": piece}}


class Script:
    """What one request is answered with, plain or streamed."""

    def __init__(self, asked: Request, *, legacy: bool, pause_s: float) -> None:
        self._asked = asked
        self._legacy = legacy
        self._pause_s = pause_s
        self._id = f"{'cmpl' if legacy else 'chatcmpl'}-{secrets.token_hex(12)}"
        self._created = int(time.time())
        self._calls = [] if legacy else _calls(asked)
        limits = [limit for limit in (asked.max_tokens, asked.max_completion_tokens) if limit is not None]
        self._cut(max(limits) if limits else None)
        prompts = asked.prompt if legacy and isinstance(asked.prompt, list) else [None]
        several = len(prompts) if prompts and isinstance(prompts[0], str) else 1
        self._choices = max(1, asked.n or 1) * several
        self._usage = self._count()

    def _cut(self, limit: int | None) -> None:
        """The pieces that fit the limit, and why they end."""
        self._words: list[str] = []
        if self._calls:
            left = limit
            for call in self._calls:
                if left is not None:
                    del call.pieces[max(left, 0) :]
                    left -= len(call.pieces)
            whole = left is None or left > 0
            self._finish = "tool_calls" if whole else "length"
            return
        words = _form(self._asked) or list(WORDS)
        kept = words if limit is None else words[: max(limit, 0)]
        self._words, stopped = _stop(kept, self._asked.stop)
        self._finish = "stop" if stopped or len(kept) == len(words) else "length"

    def _count(self) -> dict[str, int]:
        asked = self._asked
        texts = asked.prompt if self._legacy else [_words_of(message) for message in asked.messages or ()]
        prompt = len(str(texts).split()) + len(asked.tools or ())
        said = len(self._words) + sum(len(call.pieces) + 1 for call in self._calls)
        completion = said * self._choices
        return {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
        }

    async def plain(self) -> AsyncIterator[bytes]:
        """The whole body, after as long as it would have streamed."""
        await self._wait(len(self._words) + sum(len(call.pieces) for call in self._calls))
        choices = [
            {"index": index, **self._whole(index), "logprobs": None, "finish_reason": self._finish}
            for index in range(self._choices)
        ]
        kind = "text_completion" if self._legacy else "chat.completion"
        yield _encode(self._envelope(kind) | {"choices": choices, "usage": self._usage})

    def _whole(self, choice: int) -> dict[str, Any]:
        text = "".join(self._words)
        if self._legacy:
            return {"text": text}
        message: dict[str, Any] = {"role": "assistant", "content": text, "refusal": None}
        if self._calls:
            message["content"] = None
            message["tool_calls"] = [call.said(choice, "".join(call.pieces)) for call in self._calls]
        return {"message": message}

    async def stream(self) -> AsyncIterator[bytes]:
        """The same in events, piece by piece."""
        owed = 0
        if not self._legacy:
            content = None if self._calls else ""
            yield self._same({"delta": {"role": "assistant", "content": content}}, None)
        for said in zip(*(self._pieces(choice) for choice in range(self._choices)), strict=True):
            owed += 1
            if owed * self._pause_s >= _WAIT_MIN_S:
                await self._wait(owed)
                owed = 0
            yield self._chunks(said, None)
        yield self._same({"text": ""} if self._legacy else {"delta": {}}, self._finish)
        if self._asked.stream_options is not None and self._asked.stream_options.include_usage:
            yield _event(self._envelope(self._kind) | {"choices": [], "usage": self._usage})
        yield b"data: [DONE]\n\n"

    def _pieces(self, choice: int) -> list[dict[str, Any]]:
        """What each event of a choice says."""
        said: list[dict[str, Any]] = [
            {"text": word} if self._legacy else {"delta": {"content": word}} for word in self._words
        ]
        for place, call in enumerate(self._calls):
            said.append({"delta": {"tool_calls": [{"index": place, **call.said(choice, "")}]}})
            said += [
                {"delta": {"tool_calls": [{"index": place, **call.further(piece)}]}} for piece in call.pieces
            ]
        return said

    @property
    def _kind(self) -> str:
        return "text_completion" if self._legacy else "chat.completion.chunk"

    def _envelope(self, kind: str) -> dict[str, Any]:
        return {"id": self._id, "object": kind, "created": self._created, "model": self._asked.model}

    def _same(self, said: dict[str, Any], finish: str | None) -> bytes:
        return self._chunks([said] * self._choices, finish)

    def _chunks(self, said: Sequence[dict[str, Any]], finish: str | None) -> bytes:
        """One event for each choice."""
        envelope = self._envelope(self._kind)
        return b"".join(
            _event(
                envelope | {"choices": [{"index": index, **one, "logprobs": None, "finish_reason": finish}]}
            )
            for index, one in enumerate(said)
        )

    async def _wait(self, words: int) -> None:
        if self._pause_s:
            await asyncio.sleep(words * self._pause_s)


def _words_of(message: Message) -> str:
    content = message.content
    return content if isinstance(content, str) else _encode(content).decode()


def _calls(asked: Request) -> list[Call]:
    """The tools that are called; none where there are none, where none may be, or where results are there."""
    messages = asked.messages or []
    if not asked.tools or asked.tool_choice == "none" or (messages and messages[-1].role == "tool"):
        return []
    choice = forced(asked) or asked.tools
    text = _words_of(messages[-1]) if messages else ""
    named = [tool for tool in choice if re.search(rf"\b{re.escape(tool.name)}\b", text)] or choice[:1]
    if asked.parallel_tool_calls is False:
        named = named[:1]
    return [_call(tool) for tool in named[:CALLS_MAX]]


def _call(tool: Tool) -> Call:
    call_id = f"call_{secrets.token_hex(12)}"
    if tool.function is None:
        return Call(call_id, tool.name, custom=True, pieces=WORDS[:5])
    arguments = sample(form(tool.function.parameters))
    text = _encode(arguments if isinstance(arguments, dict) else {}).decode()
    return Call(call_id, tool.name, custom=False, pieces=_PIECE.findall(text))


def _form(asked: Request) -> list[str]:
    """The JSON that is asked for, in pieces; nothing where words are."""
    wanted = asked.response_format
    if wanted is None or wanted.type == "text":
        return []
    if wanted.json_schema is None:
        return _PIECE.findall(_encode({"answer": _TEXT.strip()}).decode())
    return _PIECE.findall(_encode(sample(form(wanted.json_schema.schema))).decode())


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


def _event(fields: dict[str, Any]) -> bytes:
    return b"data: " + _encode(fields) + b"\n\n"
