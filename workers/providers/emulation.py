"""Owns legacy completions where the upstream has only chat: each prompt becomes one user message and one exchange."""

from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import Struct, structs

from runtime.settings.settings import AccountSettings
from schemas.bus.frames import Job
from schemas.catalogue.model import Model
from schemas.chat.priced import RequestError
from schemas.chat.refusals import as_chats
from schemas.chat.request import CHAT, ChatRequest, CompletionRequest
from schemas.dialects import NAMED
from schemas.money.pricing import TokenUsage
from workers.answers import answers
from workers.answers.base import Answer
from workers.providers.base import Exchange, Fault, RefusedError, Yielding
from workers.upstream.request import UpstreamRequest
from workers.upstream.sse import EventReader

_encode = msgspec.json.Encoder().encode


def requests(job: Job, model: Model) -> list[tuple[ChatRequest, Answer]]:
    """What a translated family has to serve for a job: each chat request with the answer of its exchange.

    One for a chat job; for a legacy completion one a prompt, in order, whose answers make one answer of them all.
    Raises RefusedError for a body that is not valid.
    """
    request = _read(job, model)
    if isinstance(request, ChatRequest):
        return [(request, answers(job)[0])]
    chats = as_chats(request)
    texts = [request.prompt] if isinstance(request.prompt, str) else request.prompt
    echoes = texts if request.echo and texts else ()
    return list(zip(chats, answers(job, len(chats), echoes), strict=True))


def emulate(job: Job, model: Model, open_chat: Callable[[Job], list[Exchange]]) -> list[Exchange]:
    """The exchanges of a legacy completion for a family whose answers are OpenAI's own chat bytes.

    `open_chat` opens the one exchange of a chat job. Raises RefusedError for a body that is not valid.
    """
    return [
        _Emulated(_chat_job(job, chat, model), answer, open_chat) for chat, answer in requests(job, model)
    ]


def _read(job: Job, model: Model) -> ChatRequest | CompletionRequest:
    try:
        return NAMED[job.dialect].translate(model, job.body, job.scope)
    except RequestError as refused:
        raise RefusedError(refused.error) from None


def _chat_job(job: Job, chat: ChatRequest, model: Model) -> Job:
    body = {
        name: value
        for name in ChatRequest.__struct_fields__
        if (value := getattr(chat, name)) is not None and name not in ("max_tokens", "stream_options")
    }
    body["messages"] = [{"role": message.role, "content": message.content} for message in chat.messages]
    body[model.capabilities.limit_field] = job.limit
    raw = _encode(body)
    return structs.replace(
        job,
        dialect=CHAT,
        body=raw,
        body_bytes=len(raw),
        parts=0,
        include_usage=True,
        include_cost=False,
        choices=chat.n or 1,
    )


class _Text(Struct):
    """What a chunk's delta or a plain answer's message says."""

    content: str | None = None
    refusal: str | None = None


class _Logprobs(Struct):
    content: list[dict[str, Any]] | None = None


class _Choice(Struct):
    index: int = 0
    delta: _Text | None = None
    message: _Text | None = None
    logprobs: _Logprobs | None = None
    finish_reason: str | None = None


class _Answer(Struct):
    """A chunk or a plain answer of OpenAI's chat, as far as a legacy completion can say it."""

    choices: list[_Choice] = []


_decode = msgspec.json.Decoder(_Answer).decode


class _Emulated:
    """One chat exchange, told in the shape of legacy completions."""

    def __init__(self, job: Job, render: Answer, open_chat: Callable[[Job], list[Exchange]]) -> None:
        self._job = job
        self._render = render
        self._open_chat = open_chat
        self._restart()

    def _restart(self) -> None:
        self._chat = self._open_chat(self._job)[0]
        self._events = EventReader()
        self._render.restart()
        self._ended = False

    @property
    def usage(self) -> TokenUsage | None:
        """As the chat exchange's."""
        return self._chat.usage

    @property
    def output_bytes(self) -> int:
        """As the chat exchange's."""
        return self._chat.output_bytes

    @property
    def uplifts(self) -> tuple[str, ...]:
        """As the chat exchange's."""
        return self._chat.uplifts

    @property
    def finished(self) -> bool:
        """As the chat exchange's."""
        return self._chat.finished

    @property
    def fault(self) -> Fault | None:
        """As the chat exchange's."""
        return self._chat.fault

    @property
    def thoughts(self) -> dict[str, str]:
        """As the chat exchange's."""
        return self._chat.thoughts

    def request(self, account: AccountSettings) -> UpstreamRequest:
        """The chat call; forgets what an earlier try has read."""
        self._restart()
        return self._chat.request(account)

    def without(self, status: int, body: bytes) -> UpstreamRequest | None:
        """As the chat exchange's."""
        return self._chat.without(status, body) if isinstance(self._chat, Yielding) else None

    def taken(self) -> None:
        """As the chat exchange's."""
        if isinstance(self._chat, Yielding):
            self._chat.taken()

    def answer(self, body: bytes) -> bytes:
        """The legacy body; b"" until the last exchange of the job."""
        chat = self._chat.answer(body)
        if self._chat.fault is not None:
            return b""
        self._say(_decode(chat))
        return self._end()

    def feed(self, data: bytes) -> bytes:
        """The legacy chunks for some bytes of the chat stream."""
        return self._chunks(self._chat.feed(data))

    def close(self) -> bytes:
        """The last legacy chunks."""
        return self._chunks(self._chat.close())

    def _chunks(self, chat: bytes) -> bytes:
        out = b"".join(self._say(_decode(event)) for event in self._events.feed(chat))
        return out + self._end() if self._chat.finished else out

    def _say(self, answer: _Answer) -> bytes:
        out = b""
        for choice in answer.choices:
            said = choice.delta or choice.message
            if said is not None:
                logprobs = choice.logprobs.content if choice.logprobs is not None else None
                out += self._render.text(choice.index, said.content or said.refusal or "", logprobs)
            if choice.finish_reason is not None:
                reason = choice.finish_reason
                out += self._render.finish(
                    choice.index, reason if reason in ("length", "content_filter") else "stop"
                )
        return out

    def _end(self) -> bytes:
        if self._ended:
            return b""
        self._ended = True
        return self._render.end(self._chat.usage, self._chat.uplifts)
