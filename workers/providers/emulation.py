"""Owns other dialects where the upstream has only chat: one exchange, or for a legacy completion one a prompt."""

import msgspec
from msgspec import structs

from schemas.bus.frames import Job
from schemas.catalogue.families import PASS_THROUGH
from schemas.catalogue.model import Model
from schemas.chat.priced import RequestError
from schemas.chat.refusals import as_chats
from schemas.chat.request import CHAT, ChatRequest, CompletionRequest
from schemas.dialects import NAMED
from workers.answers import answers
from workers.answers.base import Answer
from workers.providers.base import RefusedError
from workers.providers.chat_bodies import chat_body
from workers.providers.told_tools import answer_of, told

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


def _read(job: Job, model: Model) -> ChatRequest | CompletionRequest:
    try:
        return NAMED[job.dialect].translate(model, job.body, job.scope)
    except RequestError as refused:
        raise RefusedError(refused.error) from None


def chat_job(job: Job, chat: ChatRequest, model: Model) -> Job:
    """The chat job that stands for a job of another dialect, at an upstream that takes OpenAI's own chat bodies."""
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
