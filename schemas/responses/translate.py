"""Owns what a Responses request is as a chat request, for models that speak no Responses themselves."""

import re
from typing import Any, Final

import msgspec
from msgspec import Struct, structs

from schemas.catalogue.families import PASS_THROUGH
from schemas.catalogue.model import Model
from schemas.chat.priced import RequestError
from schemas.chat.request import ChatRequest, JsonSchema, Message, ResponseFormat
from schemas.errors import WireError, invalid, unsupported_parameter, unsupported_value
from schemas.responses.items import Conversation, Placed, read_items
from schemas.responses.reading import refuse_missing, refuse_value, take
from schemas.responses.references import check_references, judged_now
from schemas.responses.request import Format, Item, Request
from schemas.responses.tools import Named, Toolset

ENCRYPTED: Final = "reasoning.encrypted_content"  # of `include`: reasoning that the caller carries on
LOGPROBS: Final = "message.output_text.logprobs"
LOGPROBS_MAX: Final = 20
_MESSAGE_PATH: Final = re.compile(r"messages\[(\d+)\](?:\.tool_calls\[(\d+)\])?")
_TOOL_PATH: Final = re.compile(r"tools\[(\d+)\](?:\.function)?")
# What chat calls by another name, the longer ones first.
_RENAMED: Final = (
    ("response_format.json_schema", "text.format"),
    ("response_format", "text.format"),
    ("max_completion_tokens", "max_output_tokens"),
    ("reasoning_effort", "reasoning.effort"),
    ("verbosity", "text.verbosity"),
    ("logprobs", "include"),
    ("messages", "input"),
)
_MORE_TOOLS: Final = b'"additional_tools"'
_decode = msgspec.json.Decoder(Request).decode
_decode_item = msgspec.json.Decoder(Item).decode


class Translated(Struct, frozen=True):
    """A chat request, and what leads back from it to the body that it came from."""

    chat: ChatRequest
    messages: list[Placed]  # of `chat`, but for the instructions before them
    names: dict[str, Named]  # what calls mean, where a chat model knows their tools by other names
    places: tuple[str, ...]  # of each tool

    def told(self, error: WireError) -> WireError:
        """An error about the chat request as one about the caller's own body."""
        if error.param is None:
            return error
        param = self._place(error.param)
        return structs.replace(error, param=param, message=error.message.replace(error.param, param))

    def _place(self, param: str) -> str:
        before = len(self.chat.messages) - len(self.messages)
        if found := _MESSAGE_PATH.match(param):
            at = int(found[1]) - before
            if not 0 <= at < len(self.messages):
                return "instructions"
            placed = self.messages[at]
            calls = placed.calls if found[2] is not None else []
            place = calls[int(found[2])] if calls else placed.place
            rest = param[found.end() :].replace(".image_url.url", ".image_url").replace(".file.", ".")
            return place + rest.replace(".function.", ".")
        if (found := _TOOL_PATH.match(param)) and int(found[1]) < len(self.places):
            return self.places[int(found[1])] + param[found.end() :]
        for name, own in _RENAMED:
            if param == name or param.startswith(f"{name}."):
                return own + param[len(name) :]
        return param


def read(body: bytes) -> Request:
    """A body as a typed request. Raises RequestError 400."""
    return take(_decode, body, "")


def translate(body: bytes, model: Model, *, pending: bool = False) -> Translated:
    """The chat request that a body stands for, with what this model can only ignore left out.

    With references `pending` it is what can be judged before they are resolved. Raises RequestError with the 400 or
    404 of what has no place in one.
    """
    request = read(body)
    check(request)
    items = [] if request.input is None or isinstance(request.input, str) else read_items(request.input)
    check_references(items, pending=pending)
    if pending:
        items = judged_now(items)
    tools = Toolset()
    tools.add(request.tools or [], "tools")
    messages = Conversation(
        items, tools, shown=model.capabilities.result_media and model.family not in PASS_THROUGH
    ).messages
    if isinstance(request.input, str):
        messages.append(Placed(Message("user", request.input), "input"))
    first = [Message("system", request.instructions)] if request.instructions else []
    choice = tools.choice(request.tool_choice)
    chat = _chat(request, [*first, *(one.message for one in messages)], tools, choice)
    return Translated(
        chat=_suited(chat, model),
        messages=messages,
        names=tools.names,
        places=tuple(one.place for one in tools.offered),
    )


def names_of(request: Request) -> dict[str, Named]:
    """What calls mean, where a chat model knows their tools by other names. Raises RequestError 400."""
    tools = Toolset()
    tools.add(request.tools or [], "tools")
    for raw in request.input if isinstance(request.input, list) else ():
        if _MORE_TOOLS in bytes(raw):
            tools.add_raw(take(_decode_item, raw, "input").tools, "input")
    return tools.names


def check(request: Request) -> None:
    """What no model can be asked for here: state that the gateway does not keep, or that is the operator's.

    Raises RequestError 400.
    """
    if not request.input:
        refuse_missing("input")
    if request.previous_response_id is not None:
        raise RequestError(_no_response(request.previous_response_id))
    if request.conversation is not None:
        message = "This gateway keeps no conversations: send the whole conversation in `input`."
        raise RequestError(unsupported_parameter("conversation", message))
    if request.background:
        message = "Responses are not made in the background here: send `background` as false."
        raise RequestError(unsupported_parameter("background", message))
    if request.prompt is not None:
        message = "Prompt templates are kept in an account at the provider: send `instructions` and `input`."
        raise RequestError(unsupported_parameter("prompt", message))
    if request.moderation is not None:
        message = "Moderation policies cannot be honoured here: leave `moderation` out."
        raise RequestError(unsupported_parameter("moderation", message))
    if request.top_logprobs is not None and not 0 <= request.top_logprobs <= LOGPROBS_MAX:
        refuse_value("top_logprobs", f"It must be an integer from 0 to {LOGPROBS_MAX}.")
    if request.reasoning is not None and request.reasoning.mode not in (None, "standard"):
        message = f"The reasoning mode {request.reasoning.mode[:64]!r} has no price."
        raise RequestError(unsupported_value("reasoning.mode", message))


def _no_response(response_id: str) -> WireError:
    message = (
        f"Previous response with id '{response_id[:128]}' not found. This gateway keeps no responses: send the whole "
        "conversation in `input`."
    )
    return invalid(message, param="previous_response_id", code="previous_response_not_found")


def _chat(
    request: Request, messages: list[Message], tools: Toolset, choice: str | dict[str, Any] | None
) -> ChatRequest:
    offered = [one.tool for one in tools.offered]
    logprobs = LOGPROBS in (request.include or ()) or bool(request.top_logprobs)
    effort = request.reasoning.effort if request.reasoning is not None else None
    return ChatRequest(
        model=request.model or "",
        messages=messages,
        tools=offered or None,
        tool_choice=choice,
        parallel_tool_calls=request.parallel_tool_calls if offered else None,
        response_format=_format(request.text.format) if request.text is not None else None,
        max_completion_tokens=request.max_output_tokens,
        temperature=request.temperature,
        top_p=request.top_p,
        logprobs=True if logprobs else None,
        top_logprobs=request.top_logprobs or None,
        reasoning_effort=effort,
        verbosity=request.text.verbosity if request.text is not None else None,
        service_tier=request.service_tier,
        user=request.user,
        safety_identifier=request.safety_identifier,
        stream=request.stream,
    )


def _format(wanted: Format | None) -> ResponseFormat | None:
    if wanted is None or wanted.type == "text":
        return None
    if wanted.type != "json_schema":
        return ResponseFormat(wanted.type)
    if not wanted.name:
        refuse_missing("text.format.name")
    schema = JsonSchema(wanted.name, wanted.schema, wanted.description, wanted.strict)
    return ResponseFormat(wanted.type, schema)


def _suited(chat: ChatRequest, model: Model) -> ChatRequest:
    """Without wishes that clients of this dialect send to every model: a chat model's provider judges for itself."""
    able = model.capabilities
    if model.family in PASS_THROUGH:
        return chat
    changes: dict[str, None] = {}
    if chat.reasoning_effort is not None and not able.efforts:
        changes["reasoning_effort"] = None
    if chat.parallel_tool_calls is False and not able.serial_tools:
        changes["parallel_tool_calls"] = None
    return structs.replace(chat, **changes) if changes else chat
