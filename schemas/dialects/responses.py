"""Owns the dialect of /v1/responses."""

from msgspec import structs

from schemas.asked import NOTHING_SEEN, Ask, Bound, Fields, Seen
from schemas.catalogue.families import PASS_THROUGH
from schemas.catalogue.model import Model
from schemas.chat.priced import RequestError
from schemas.chat.refusals import embeds_only, out_of_range, refuse_chat
from schemas.chat.request import (
    ChatRequest,
    Message,
    RefusalPart,
    TextPart,
    Thought,
    ThoughtfulMessage,
)
from schemas.dialects.base import Ending
from schemas.dialects.blobs import unseal
from schemas.dialects.openai import OpenAI
from schemas.errors import WireError, invalid, unsupported_value
from schemas.responses import priced
from schemas.responses.items import Placed
from schemas.responses.request import RESPONSES
from schemas.responses.response import Shape, failure_event
from schemas.responses.translate import translate


class Responses(OpenAI):
    """OpenAI's newer dialect: errors before a stream are the older ones', those within it have events of their own."""

    def read(self, fields: Fields) -> Ask:
        """What is asked for. Raises RequestError 400."""
        return priced.read(fields)

    def bound(self, fields: Fields, ask: Ask, model: Model, seen: Seen = NOTHING_SEEN) -> Bound:
        """What the call can cost. Raises RequestError 400."""
        return priced.bound(fields, ask, model, seen)

    def translate(self, model: Model, body: bytes, scope: str = "") -> ChatRequest:
        """The chat request that a body stands for, with the reasoning that was sealed for this key and model."""
        translated = translate(body, model)
        messages = [_thoughtful(placed, model, scope) for placed in translated.messages]
        first = translated.chat.messages[: len(translated.chat.messages) - len(messages)]
        return structs.replace(translated.chat, messages=[*first, *messages])

    def refuse(self, model: Model, body: bytes) -> WireError | None:
        """The error for a body that a model cannot honour, told of the caller's own fields."""
        try:
            translated = translate(body, model, pending=True)
        except RequestError as refused:
            return refused.error
        able = model.capabilities
        if able.responses:
            return out_of_range(translated.chat)
        if (error := embeds_only(model)) is not None:
            return error
        if not able.chat:
            path = "/v1/completions" if able.completions else "/v1/responses at OpenAI itself"
            return invalid(f"`{model.id}` is not a chat model. Use {path}.", param="model")
        if model.family not in PASS_THROUGH:
            error = refuse_chat(model, translated.chat)
        elif translated.chat.messages:
            error = out_of_range(translated.chat) or _misplaced(translated.chat.messages)
        else:
            error = invalid("Nothing of 'input' can be sent to this model.", param="input")
        return None if error is None else translated.told(error)

    def error_event(self, error: WireError, ending: Ending) -> bytes:
        """Two events: no client understands both, and each client one of them."""
        failed = Shape(ending.request_id, ending.created_s, ending.model, {}).whole("failed", error=error)
        return (
            b'%bevent: response.failed\ndata: {"type":"response.failed","sequence_number":%d,"response":%b}\n\n'
            % (
                failure_event(error, ending.events),
                ending.events + 1,
                failed,
            )
        )

    def end(self, ending: Ending) -> bytes:
        """Nothing: the last event is the end."""
        del ending
        return b""


def _misplaced(messages: list[Message]) -> WireError | None:
    """The 400 for what a server of chat takes from users alone."""
    for index, message in enumerate(messages):
        if message.role == "user" or not isinstance(message.content, list):
            continue
        for place, part in enumerate(message.content):
            if not isinstance(part, TextPart | RefusalPart):
                text = "Images, files and sound are taken in users' messages and in results of tools."
                return unsupported_value(f"messages[{index}].content[{place}]", text)
    return None


def _thoughtful(placed: Placed, model: Model, scope: str) -> Message:
    """A turn with what its model's own provider wants back of it; what another one gave is left out."""
    thoughts = [
        Thought(blob.kind, blob.payload, carried.before)
        for carried in placed.carried
        if (blob := unseal(scope, carried.text)) is not None
        and (blob.family, blob.upstream) == (model.family, model.upstream)
    ]
    if not thoughts:
        return placed.message
    said = {name: getattr(placed.message, name) for name in Message.__struct_fields__}
    return ThoughtfulMessage(**said, thoughts=tuple(thoughts))


DIALECT = Responses(RESPONSES, "/v1/responses")
