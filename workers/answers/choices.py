"""Owns what chat and legacy completions share: choices in an envelope, the usage of all exchanges, the one body."""

import functools
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Self

import msgspec
from msgspec import Struct

from schemas.bus.frames import Job
from schemas.chat.usage_object import usage_object
from schemas.dialects.blobs import Blob
from schemas.dialects.prompts import text_tokens
from schemas.money.pricing import NO_USAGE, TokenUsage
from workers.answers.beliefs import believable, is_beyond
from workers.answers.costs import cost
from workers.answers.said import Said

encode = msgspec.json.Encoder().encode


def _usage_json(job: Job, usage: TokenUsage) -> bytes:
    """OpenAI's usage object as JSON, with the place of `cost` if the job wants it."""
    return encode(usage_object(usage) | cost(job))


class Kind(Struct, frozen=True):
    """The words by which a dialect's envelopes are known."""

    id_prefix: str
    plain: str  # `object` of a plain body
    stream: str  # and of a chunk
    text_prefix: bytes  # of a stream's content chunk, from behind the choice's index up to the text
    text_suffix: bytes  # of one without logprobs, from behind the text up to the finish reason


class Tool(Struct):
    """A tool call of a plain answer, while its arguments arrive."""

    id: str
    name: str
    arguments: list[str]


class Choice(Struct):
    """What has been said of one choice."""

    index: int
    text_prefix: bytes  # of a stream's content chunk, up to the text itself
    content: list[str] = []
    refusal: list[str] = []
    reasoning: list[str] = []
    logprobs: list[dict[str, Any]] = []
    tools: list[Tool] = []
    text_chars: int = 0  # of a stream so far: where the next token starts
    tools_count: int = 0
    tool_empty: bool = False  # the newest tool call has no arguments yet
    finish: str | None = None


class Reply:
    """What the answers of one job share: the constant head, and what has ended so far.

    `id` and `created` follow from the job alone, so they are the same on every chunk, whichever exchange made it.
    """

    def __init__(self, job: Job, parts: int, kind: Kind) -> None:
        self.job = job
        self.parts = parts  # exchanges that serve the job
        self.plain = not job.stream
        self.text_suffix = kind.text_suffix
        self.head = b'{"id":%s,"object":"%s","created":%d,"model":%s,"choices":[' % (
            encode(f"{kind.id_prefix}-{job.request_id}"),
            (kind.stream if job.stream else kind.plain).encode(),
            job.published_ms // 1000,
            encode(job.model),
        )
        self.tail = b'],"usage":null}\n\n' if job.include_usage else b"]}\n\n"
        self.choices: dict[int, list[dict[str, Any]]] = {}  # finished plain choices by part
        self.ended: dict[int, TokenUsage] = {}

    @functools.cached_property
    def text_tokens(self) -> int:
        """The estimate for the prompt's text, which each exchange of a provider that reports nothing wants."""
        return text_tokens(self.job)

    def end(self, part: int, usage: TokenUsage) -> bytes:
        """What closes the whole answer, if this part was the last of them: the usage chunk, or the body."""
        self.ended[part] = usage
        if len(self.ended) < self.parts:
            return b""
        total = _usage_json(self.job, sum(self.ended.values(), NO_USAGE))
        if self.plain:
            choices = [choice for index in sorted(self.choices) for choice in self.choices[index]]
            inner = encode(choices)[1:-1]
            return b"".join((self.head, inner, b'],"usage":', total, b"}"))
        if not self.job.include_usage:
            return b""
        return b"".join((b"data: ", self.head, b'],"usage":', total, b"}\n\n"))


class ChoicesAnswer(ABC):
    """What an `Answer` whose envelopes carry choices does in either dialect; a subclass gives the shapes."""

    __slots__ = ("_choices", "_echo", "_offset", "_part", "_reply", "said")

    dialect: ClassVar[str]
    terminal: ClassVar[tuple[bytes, ...]] = ()  # `[DONE]` is the edge's to send
    kind: ClassVar[Kind]

    def __init__(self, reply: Reply, part: int, offset: int, echo: str) -> None:
        self._reply = reply
        self._part = part
        self._offset = offset
        self._echo = echo
        self.restart()

    @classmethod
    def of_job(cls, job: Job, exchanges: int, echoes: Sequence[str]) -> list[Self]:
        """One for each exchange of a job. Choice j of exchange i is the caller's choice i·n + j."""
        reply = Reply(job, exchanges, cls.kind)
        each = max(1, job.choices // exchanges)
        return [cls(reply, part, part * each, echoes[part] if echoes else "") for part in range(exchanges)]

    def restart(self) -> None:
        """Forgets everything said by this exchange: another account is tried from the beginning."""
        self._choices: dict[int, Choice] = {}
        self.said = Said()
        self._reply.choices.pop(self._part, None)
        self._reply.ended.pop(self._part, None)

    @property
    def output_bytes(self) -> int:
        """Bytes of what was said."""
        return self.said.count_bytes

    def open(self, choice: int = 0) -> bytes:
        """What stands before all else of a choice."""
        if choice in self._choices:
            return b""
        index = self._offset + choice
        prefix = b'data: %b{"index":%d,%b' % (self._reply.head, index, self.kind.text_prefix)
        self._choices[choice] = Choice(index, prefix)
        return self._opened(choice, index)

    @abstractmethod
    def _opened(self, choice: int, index: int) -> bytes:
        """What a choice begins with."""

    def text(self, choice: int, text: str, logprobs: Sequence[dict[str, Any]] | None = None) -> bytes:
        """A content chunk, with its logprobs."""
        opened = b"" if choice in self._choices else self.open(choice)
        if not text and not logprobs:
            return opened
        state = self._choices[choice]
        self.said.add(text)
        reply = self._reply
        if reply.plain:
            state.content.append(text)
            state.logprobs += logprobs or ()
            return b""
        suffix = reply.text_suffix if not logprobs else self._logprobs(state, logprobs)
        state.text_chars += len(text)
        return b"".join(
            (opened, state.text_prefix, encode(text), suffix, b',"finish_reason":null}', reply.tail)
        )

    @abstractmethod
    def _logprobs(self, state: Choice, logprobs: Sequence[dict[str, Any]]) -> bytes:
        """What stands in place of `Kind.text_suffix` behind a text with logprobs."""

    @abstractmethod
    def arguments(self, choice: int, fragment: str) -> bytes:
        """A fragment of the newest tool call's arguments, as the dialect shows it."""

    def reasoning(self, choice: int, text: str) -> bytes:
        """Nothing but a count, unless the dialect shows it."""
        del choice
        self.hidden(text)
        return b""

    def hidden(self, text: str) -> None:
        """Counts output that the caller is not shown, for estimates."""
        self.said.add(text)

    def signature(self, choice: int, blob: Blob) -> bytes:
        """Nothing: an envelope of choices has no place for it."""
        del choice, blob
        return b""

    def tool(self, choice: int, call_id: str, name: str) -> bytes:
        """The opener of a tool call."""
        opened = (b"" if choice in self._choices else self.open(choice)) + self.tool_end(choice)
        state = self._choices[choice]
        state.tools_count += 1
        state.tool_empty = True
        return opened + self._tool(state, call_id, name)

    @abstractmethod
    def _tool(self, state: Choice, call_id: str, name: str) -> bytes:
        """How a tool call begins."""

    def tool_end(self, choice: int) -> bytes:
        """Ends the newest tool call: one that had no arguments gets "{}"."""
        state = self._choices.get(choice)
        return self.arguments(choice, "{}") if state is not None and state.tool_empty else b""

    def tool_calls(self, choice: int) -> int:
        """How many tool calls a choice has so far."""
        state = self._choices.get(choice)
        return state.tools_count if state is not None else 0

    def finished(self, choice: int) -> bool:
        """Whether a choice has had its finish reason."""
        state = self._choices.get(choice)
        return state is not None and state.finish is not None

    def finish(self, choice: int, reason: str, matched: str | None = None) -> bytes:
        """The finish chunk of a choice; a second one is ignored."""
        del matched
        opened = b"" if choice in self._choices else self.open(choice)
        state = self._choices[choice]
        if state.finish is not None:
            return opened
        opened += self.tool_end(choice)
        state.finish = self._reason(state, reason)
        return opened if self._reply.plain else opened + self._finish(state, state.finish)

    @abstractmethod
    def _reason(self, state: Choice, reason: str) -> str:
        """The dialect's word for why a choice ends."""

    @abstractmethod
    def _finish(self, state: Choice, reason: str) -> bytes:
        """The event that ends a streamed choice."""

    @abstractmethod
    def _body(self, state: Choice) -> dict[str, Any]:
        """A choice of a plain answer."""

    def end(self, usage: TokenUsage | None, uplifts: tuple[str, ...] = ()) -> bytes:
        """Ends this exchange. Of the last one: the usage chunk if it was asked for, or the whole plain body."""
        del uplifts
        reply = self._reply
        if usage is None or is_beyond(reply.job, usage, reply.parts):
            usage = believable(reply.job, usage, self.said, reply.parts, reply.text_tokens)
        if reply.plain:
            states = sorted(self._choices.values(), key=lambda state: state.index)
            reply.choices[self._part] = [self._body(state) for state in states]
        return reply.end(self._part, usage)
