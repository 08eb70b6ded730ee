"""Owns other dialects where the upstream has only chat: one exchange, or for a legacy completion one a prompt."""

from collections.abc import Callable

import msgspec
from msgspec import structs

from runtime.settings.settings import AccountSettings
from schemas.bus.frames import Job
from schemas.catalogue.families import PASS_THROUGH
from schemas.catalogue.model import Model
from schemas.chat.priced import RequestError
from schemas.chat.refusals import as_chats
from schemas.chat.request import CHAT, ChatRequest, CompletionRequest
from schemas.dialects import NAMED
from schemas.money.pricing import TokenUsage
from workers.answers import answers
from workers.answers.base import Answer
from workers.providers.base import Exchange, Fault, RefusedError, Yielding
from workers.providers.chat_answers import ChatReader
from workers.providers.chat_bodies import chat_body
from workers.providers.told_tools import answer_of, told
from workers.upstream.request import UpstreamRequest

_EVENT_END = b"\n\n"  # of the events that a chat exchange makes: each is one line of data
_DATA_BYTES = len(b"data: ")
_encode = msgspec.json.Encoder().encode


def requests(job: Job, model: Model) -> list[tuple[ChatRequest, Answer]]:
    """What a translated family has to serve for a job: each chat request with the answer of its exchange.

    One for a chat job; for a legacy completion one a prompt, in order, whose answers make one answer of them all.
    Raises RefusedError for a body that is not valid.
    """
    request = _read(job, model)
    if isinstance(request, ChatRequest):
        chat, names = told(request, model) if model.family not in PASS_THROUGH else (request, {})
        return [(chat, answer_of(answers(job)[0], names))]
    chats = as_chats(request)
    texts = [request.prompt] if isinstance(request.prompt, str) else request.prompt
    echoes = texts if request.echo and texts else ()
    return list(zip(chats, answers(job, len(chats), echoes), strict=True))


def emulate(job: Job, model: Model, open_chat: Callable[[Job], list[Exchange]]) -> list[Exchange]:
    """The exchanges of another dialect's job for a family whose answers are OpenAI's own chat bytes.

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
    raw = _encode(chat_body(chat, job, model))
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


class _Emulated:
    """One chat exchange, told in the shape of its caller's dialect."""

    def __init__(self, job: Job, render: Answer, open_chat: Callable[[Job], list[Exchange]]) -> None:
        self._job = job
        self._render = render
        self._open_chat = open_chat
        self._restart()

    def _restart(self) -> None:
        self._chat = self._open_chat(self._job)[0]
        self._reader = ChatReader(self._render)
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
        return self._chat.finished and self._reader.fault is None

    @property
    def fault(self) -> Fault | None:
        """As the chat exchange's, or that what it said cannot be told."""
        return self._chat.fault or self._reader.fault

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
        """The caller's body; b"" until the last exchange of the job."""
        chat = self._chat.answer(body)
        if self._chat.fault is not None:
            return b""
        self._reader.say(chat)
        return self._end() if self._reader.fault is None else b""

    def feed(self, data: bytes) -> bytes:
        """The caller's events for some bytes of the chat stream."""
        return self._chunks(self._chat.feed(data))

    def close(self) -> bytes:
        """The caller's last events."""
        return self._chunks(self._chat.close())

    def _chunks(self, chat: bytes) -> bytes:
        out = b""
        for event in chat.split(_EVENT_END)[:-1]:
            out += self._reader.say(event[_DATA_BYTES:])
            if self._reader.fault is not None:
                return out
        return out + self._end() if self._chat.finished else out

    def _end(self) -> bytes:
        if self._ended:
            return b""
        self._ended = True
        return self._render.end(self._chat.usage, self._chat.uplifts)
