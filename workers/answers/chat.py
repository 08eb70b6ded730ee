"""Owns how a translated answer looks to the caller: OpenAI's chunks and bodies, for chat and legacy completions."""

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Raw, Struct

from schemas.bus.frames import Job
from schemas.bus.usage import estimate
from schemas.chat.request import CHAT
from schemas.chat.usage_object import usage_object
from schemas.money.amounts import nano_to_usd
from schemas.money.pricing import NO_USAGE, TokenUsage, charge

_encode = msgspec.json.Encoder().encode
_CHAT = CHAT


def usage_json(job: Job, usage: TokenUsage, uplifts: tuple[str, ...] = ()) -> Raw:
    """OpenAI's usage object as JSON, with `cost` (what the call is billed, a decimal string of USD) if the caller asked for it."""
    body = usage_object(usage)
    if job.include_cost and job.price is not None:
        body["cost"] = nano_to_usd(charge(usage, job.price, job.rate, uplifts))
    return Raw(_encode(body))


class _Tool(Struct):
    """A tool call of a plain answer, while its arguments arrive."""

    id: str
    name: str
    arguments: list[str]

    def done(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "type": "function",
            "function": {"name": self.name, "arguments": "".join(self.arguments)},
        }


class _Choice(Struct):
    """What has been rendered of one choice."""

    index: int
    content: list[str]
    refusal: list[str]
    tools: list[_Tool]
    logprobs: list[dict[str, Any]]
    text_prefix: bytes  # of a stream's content chunk, up to the text itself
    text_chars: int = 0  # of a legacy stream so far: where the next token starts
    tools_count: int = 0
    tool_empty: bool = False  # the newest tool call has no arguments yet
    finish: str | None = None


class Reply:
    """What the renderers of one job share: the constant head, and what has ended so far.

    `id` and `created` follow from the job alone, so they are the same on every chunk, whichever exchange made it.
    """

    __slots__ = ("chat", "choices", "ended", "head", "job", "parts", "plain", "tail")

    def __init__(self, job: Job, parts: int) -> None:
        self.job = job
        self.parts = parts  # exchanges that serve the job
        self.chat = job.dialect == _CHAT
        self.plain = not job.stream
        prefix, kind = ("chatcmpl", "chat.completion") if self.chat else ("cmpl", "text_completion")
        if self.chat and job.stream:
            kind = "chat.completion.chunk"
        self.head = b'{"id":%s,"object":"%s","created":%d,"model":%s,"choices":[' % (
            _encode(f"{prefix}-{job.request_id}"),
            kind.encode(),
            job.published_ms // 1000,
            _encode(job.model),
        )
        self.tail = b'],"usage":null}\n\n' if job.include_usage else b"]}\n\n"
        self.choices: dict[int, list[dict[str, Any]]] = {}  # finished plain choices by part
        self.ended: dict[int, tuple[TokenUsage, tuple[str, ...]]] = {}

    def end(self, part: int, usage: TokenUsage, uplifts: tuple[str, ...]) -> bytes:
        """What closes the whole answer, if this part was the last of them: the usage chunk, or the body."""
        self.ended[part] = (usage, uplifts)
        if len(self.ended) < self.parts:
            return b""
        total = NO_USAGE
        for of_part, _ in self.ended.values():
            total += of_part
        if self.plain:
            choices = [choice for index in sorted(self.choices) for choice in self.choices[index]]
            inner = _encode(choices)[1:-1]
            return b"".join(
                (self.head, inner, b'],"usage":', bytes(usage_json(self.job, total, uplifts)), b"}")
            )
        if not self.job.include_usage:
            return b""
        return b"".join(
            (b"data: ", self.head, b'],"usage":', bytes(usage_json(self.job, total, uplifts)), b"}\n\n")
        )


class Renderer:
    """Renders one exchange of a job. Made by `renderers`.

    For a stream every method returns the caller's SSE events (b"" for none); for a plain answer they return b"" and
    `end` returns the body. Choices are counted from 0 within the exchange. Order for each choice: `open`, then
    text, refusal and tool calls as they come, then `finish`; after all choices, `end` once. Anything said for a
    choice that is not open opens it, and `end` finishes none: a choice without a reason is the family's fault to find.

    `output_bytes` counts the bytes of content, refusals and tool arguments given; families add reasoning by
    `reasoning`.
    """

    __slots__ = ("_choices", "_echo", "_offset", "_part", "_reply", "output_bytes")

    def __init__(self, reply: Reply, part: int, offset: int, echo: str) -> None:
        self._reply = reply
        self._part = part
        self._offset = offset
        self._echo = echo
        self.restart()

    def restart(self) -> None:
        """Forgets everything rendered by this exchange: another account is tried from the beginning."""
        self._choices: dict[int, _Choice] = {}
        self.output_bytes = 0
        self._reply.choices.pop(self._part, None)
        self._reply.ended.pop(self._part, None)

    def open(self, choice: int = 0) -> bytes:
        """The role chunk of a choice; for legacy completions its echoed prompt, if that was asked for."""
        if choice in self._choices:
            return b""
        index = self._offset + choice
        reply = self._reply
        start = b'data: %b{"index":%d,' % (reply.head, index)
        prefix = start + (b'"delta":{"content":' if reply.chat else b'"text":')
        self._choices[choice] = _Choice(index, [], [], [], [], prefix)
        if reply.chat:
            return b"" if reply.plain else self._chunk(index, b'{"role":"assistant","content":""}')
        if not self._echo:
            return b""
        echoed = self.text(choice, self._echo)
        self.output_bytes = 0  # the prompt is no output
        return echoed

    def text(self, choice: int, text: str, logprobs: Sequence[dict[str, Any]] | None = None) -> bytes:
        """A piece of content. `logprobs` holds entries in the chat shape: token, logprob, bytes, top_logprobs."""
        opened = b"" if choice in self._choices else self.open(choice)
        if not text and not logprobs:
            return opened
        state = self._choices[choice]
        self.output_bytes += len(text) if text.isascii() else len(text.encode())
        reply = self._reply
        if reply.plain:
            state.content.append(text)
            state.logprobs += logprobs or ()
            return b""
        if reply.chat:
            extra = b"}" if not logprobs else b'},"logprobs":' + _encode(_chat_logprobs(logprobs))
        else:
            extra = b',"logprobs":'
            extra += b"null" if not logprobs else _encode(_legacy_logprobs(logprobs, state.text_chars))
            state.text_chars += len(text)
        return b"".join(
            (opened, state.text_prefix, _encode(text), extra, b',"finish_reason":null}', reply.tail)
        )

    def refusal(self, choice: int, text: str) -> bytes:
        """A piece of a refusal in the model's own words."""
        if not self._reply.chat:
            return self.text(choice, text)
        opened = b"" if choice in self._choices else self.open(choice)
        self.output_bytes += len(text.encode())
        state = self._choices[choice]
        if self._reply.plain:
            state.refusal.append(text)
            return b""
        return opened + self._chunk(state.index, b'{"refusal":%b}' % _encode(text))

    def tool(self, choice: int, call_id: str, name: str) -> bytes:
        """The opener of a tool call: the only place where its id and name are said."""
        opened = (b"" if choice in self._choices else self.open(choice)) + self.tool_end(choice)
        state = self._choices[choice]
        position = state.tools_count
        state.tools_count += 1
        state.tool_empty = True
        if self._reply.plain:
            state.tools.append(_Tool(call_id, name, []))
            return b""
        opener = (
            b'{"tool_calls":[{"index":%d,"id":%b,"type":"function","function":{"name":%b,"arguments":""}}]}'
        )
        return opened + self._chunk(state.index, opener % (position, _encode(call_id), _encode(name)))

    def arguments(self, choice: int, fragment: str) -> bytes:
        """A fragment of the newest tool call's arguments; empty ones are dropped."""
        if not fragment:
            return b""
        state = self._choices[choice]
        state.tool_empty = False
        self.output_bytes += len(fragment) if fragment.isascii() else len(fragment.encode())
        if self._reply.plain:
            state.tools[-1].arguments.append(fragment)
            return b""
        delta = b'{"tool_calls":[{"index":%d,"function":{"arguments":%b}}]}'
        return self._chunk(state.index, delta % (state.tools_count - 1, _encode(fragment)))

    def tool_end(self, choice: int) -> bytes:
        """Ends the newest tool call: one that had no arguments gets "{}". Called again by `tool` and `finish`."""
        state = self._choices.get(choice)
        return self.arguments(choice, "{}") if state is not None and state.tool_empty else b""

    def tool_calls(self, choice: int) -> int:
        """How many tool calls a choice has so far."""
        state = self._choices.get(choice)
        return state.tools_count if state is not None else 0

    def reasoning(self, count_bytes: int) -> None:
        """Counts reasoning that the caller is not shown, for estimates."""
        self.output_bytes += count_bytes

    def finished(self, choice: int) -> bool:
        """Whether a choice has had its finish reason."""
        state = self._choices.get(choice)
        return state is not None and state.finish is not None

    def finish(self, choice: int, reason: str) -> bytes:
        """The finish chunk of a choice. "stop" becomes "tool_calls" if it made any; a second finish is ignored."""
        opened = b"" if choice in self._choices else self.open(choice)
        state = self._choices[choice]
        if state.finish is not None:
            return opened
        opened += self.tool_end(choice)
        if reason == "stop" and state.tools_count:
            reason = "tool_calls"
        state.finish = reason
        if self._reply.plain:
            return b""
        if self._reply.chat:
            return opened + self._chunk(state.index, b"{}", reason)
        body = b'data: %b{"index":%d,"text":"","logprobs":null,"finish_reason":"%b"}%b'
        return opened + body % (self._reply.head, state.index, reason.encode(), self._reply.tail)

    def end(self, usage: TokenUsage | None, uplifts: tuple[str, ...] = ()) -> bytes:
        """Ends this exchange. Of the last one: the usage chunk if it was asked for, or the whole plain body.

        Usage is summed over the exchanges of the job. None, from a provider that has reported none, is estimated by
        the rule that bills it.
        """
        reply = self._reply
        if usage is None:
            usage = estimate(
                None,
                prompt_max=reply.job.prompt_max // reply.parts,
                text_bytes=reply.job.text_bytes // reply.parts,
                output_max=reply.job.limit * reply.job.choices // reply.parts,
                output_bytes=self.output_bytes,
                answered=True,
            )
        if reply.plain:
            make = _message if reply.chat else _legacy
            states = sorted(self._choices.values(), key=lambda state: state.index)
            reply.choices[self._part] = [make(state) for state in states]
        return reply.end(self._part, usage, uplifts)

    def _chunk(self, index: int, delta: bytes, reason: str | None = None) -> bytes:
        finish = b"null" if reason is None else b'"%b"' % reason.encode()
        return b'data: %b{"index":%d,"delta":%b,"finish_reason":%b}%b' % (
            self._reply.head,
            index,
            delta,
            finish,
            self._reply.tail,
        )


def renderers(job: Job, exchanges: int = 1, echoes: Sequence[str] = ()) -> list[Renderer]:
    """One renderer for each exchange of a job, in order.

    Choice j of exchange i is the caller's choice i·n + j. `echoes` holds the prompts to repeat before each text.
    """
    reply = Reply(job, exchanges)
    each = max(1, job.choices // exchanges)
    return [Renderer(reply, part, part * each, echoes[part] if echoes else "") for part in range(exchanges)]


def _message(state: _Choice) -> dict[str, Any]:
    content: str | None = "".join(state.content)
    if not content and (state.tools or state.refusal or state.finish == "content_filter"):
        content = None
    refusal = "".join(state.refusal) or None
    message: dict[str, Any] = {"role": "assistant", "content": content, "refusal": refusal}
    if state.tools:
        message["tool_calls"] = [tool.done() for tool in state.tools]
    logprobs = _chat_logprobs(state.logprobs) if state.logprobs else None
    return {"index": state.index, "message": message, "logprobs": logprobs, "finish_reason": state.finish}


def _legacy(state: _Choice) -> dict[str, Any]:
    logprobs = _legacy_logprobs(state.logprobs, 0) if state.logprobs else None
    text = "".join(state.content)
    return {"index": state.index, "text": text, "logprobs": logprobs, "finish_reason": state.finish}


def _chat_logprobs(entries: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {"content": list(entries), "refusal": None}


def _legacy_logprobs(entries: Sequence[dict[str, Any]], offset: int) -> dict[str, Any]:
    offsets = []
    for entry in entries:
        offsets.append(offset)
        offset += len(entry["token"])
    return {
        "tokens": [entry["token"] for entry in entries],
        "token_logprobs": [entry["logprob"] for entry in entries],
        "top_logprobs": [
            {top["token"]: top["logprob"] for top in entry.get("top_logprobs") or ()} for entry in entries
        ],
        "text_offset": offsets,
    }
