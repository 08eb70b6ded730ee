"""Owns what a chat request becomes on its way to Gemini: the turns of the conversation and their parts."""

import binascii
from collections.abc import Mapping
from typing import Any, Final, NoReturn

from schemas.bus.frames import Job
from schemas.catalogue.model import Model
from schemas.chat.conversations import arguments, says, usable
from schemas.chat.media import Media, data_url, file_media
from schemas.chat.request import (
    AudioPart,
    ChatRequest,
    FilePart,
    ImagePart,
    Message,
    Part,
    RefusalPart,
    TextPart,
    ThoughtfulMessage,
    ToolCall,
)
from schemas.errors import invalid, unsupported_parameter, unsupported_value
from workers.providers.base import RefusedError
from workers.providers.gemini.options import Json, generation_config, put_tools

# The API accepts this where the signature of a call in the running turn is lost; it costs the model its reasoning
# from before that call, nothing else.
LOST_SIGNATURE: Final = "c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I="
THOUGHT: Final = "call"  # the kind of a signature that stands on a call
# A conversation may not open with the model: a caller's that does gets this before it.
OPENING_TEXT: Final = "."
# The API resolves references in a result as if it were a schema, and answers 400 to any that dangle.
_REFERENCES: Final = frozenset({"$ref", "$defs"})


def build(request: ChatRequest, job: Job, model: Model, thoughts: Mapping[str, str]) -> Json:
    """The body of a generateContent call. Raises RefusedError for what Gemini has no words for."""
    able = model.capabilities
    system, contents = _conversation(request.messages, thoughts)
    if not contents:
        # Instructions alone are no turn for Gemini: they become what the user says.
        contents, system = [_content("user", system)], []
    if contents[-1]["role"] == "model":
        _refuse_prefill(model)
    if contents[0]["role"] == "model":
        contents.insert(0, _content("user", [{"text": OPENING_TEXT}]))
    if not contents[0]["parts"]:
        raise RefusedError(invalid("`messages` has no text or other content.", param="messages"))
    if able.signatures:
        _sign_running_turn(contents)
    body: Json = {"contents": contents}
    if system:
        body["systemInstruction"] = {"parts": [{"text": "\n".join(part["text"] for part in system)}]}
    put_tools(body, request)
    if config := generation_config(request, job, able):
        body["generationConfig"] = config
    if request.service_tier in able.service_tiers:
        body["serviceTier"] = request.service_tier
    return body


def _refuse_prefill(model: Model) -> NoReturn:
    raise RefusedError(
        unsupported_value(
            "messages",
            f"`{model.id}` (gemini) cannot continue an assistant message: end with a user message.",
        )
    )


def _content(role: str, parts: list[Json]) -> Json:
    return {"role": role, "parts": parts}


def _conversation(messages: list[Message], thoughts: Mapping[str, str]) -> tuple[list[Json], list[Json]]:
    system: list[Json] = []
    contents: list[Json] = []
    names: dict[str, str] = {}
    for index, message in enumerate(messages):
        if message.role in ("system", "developer"):
            system += _parts(message, index)
            continue
        if message.role == "assistant":
            if not says(message):
                continue
            role, parts = "model", _assistant_parts(message, index, names, thoughts)
        elif message.role in ("tool", "function"):
            role, parts = "user", [_tool_result(message, index, names)]
        else:
            role, parts = "user", _parts(message, index)
        if not parts:
            continue
        if contents and contents[-1]["role"] == role:
            contents[-1]["parts"] += parts
        else:
            contents.append(_content(role, parts))
    return system, contents


def _sign_running_turn(contents: list[Json]) -> None:
    """Each step of the running turn must carry a signature on its first call; the steps of earlier turns need none."""
    for content in reversed(contents):
        parts = content["parts"]
        if content["role"] == "user":
            if any("functionResponse" not in part for part in parts):
                return
            continue
        first = next((part for part in parts if "functionCall" in part), None)
        if first is not None:
            first.setdefault("thoughtSignature", LOST_SIGNATURE)


def _parts(message: Message, index: int) -> list[Json]:
    content = message.content
    if content is None:
        return []
    if isinstance(content, str):
        return [{"text": content}] if content else []
    return [
        mapped for k, part in enumerate(content) if (mapped := _part(part, f"messages[{index}].content[{k}]"))
    ]


def _part(part: Part, path: str) -> Json | None:
    match part:
        case TextPart():
            return {"text": part.text} if part.text else None
        case RefusalPart():
            return {"text": part.refusal} if part.refusal else None
        case ImagePart():
            return _inline(data_url(part.image_url.url), f"{path}.image_url.url")
        case AudioPart():
            audio = part.input_audio
            return _inline(Media(f"audio/{audio.format}", audio.data), f"{path}.input_audio.data")
        case FilePart():
            return _inline(file_media(part.file), f"{path}.file.file_data")


def _inline(media: Media | None, path: str) -> Json:
    if media is None:
        raise RefusedError(unsupported_value(path, "This model takes media inline only, as base64 data."))
    try:
        binascii.a2b_base64(media.data, strict_mode=True)
    except ValueError:
        message = f"`{path}` is not valid base64."
        raise RefusedError(invalid(message, param=path, code="invalid_value")) from None
    return {"inlineData": {"mimeType": media.media_type, "data": media.data}}


def _assistant_parts(
    message: Message, index: int, names: dict[str, str], thoughts: Mapping[str, str]
) -> list[Json]:
    parts = _parts(message, index)
    if message.refusal and not message.content:
        parts.append({"text": message.refusal})
    if message.audio is not None:
        raise RefusedError(
            unsupported_parameter(f"messages[{index}].audio", "This model has no audio of earlier answers.")
        )
    brought = _brought(message)
    for k, call in enumerate(message.tool_calls or ()):
        parts.append(_call(call, f"messages[{index}].tool_calls[{k}]", names, thoughts))
        if k in brought:
            parts[-1]["thoughtSignature"] = brought[k]
    if (old := message.function_call) is not None:
        names[old.name] = old.name
        parts.append({"functionCall": {"name": old.name, "args": arguments(usable(old.arguments))}})
    return parts


def _brought(message: Message) -> dict[int, str]:
    """The signatures that a turn brings back, by the place of their call."""
    thoughts = message.thoughts if isinstance(message, ThoughtfulMessage) else ()
    return {thought.before: thought.payload for thought in thoughts if thought.kind == THOUGHT}


def _call(call: ToolCall, path: str, names: dict[str, str], thoughts: Mapping[str, str]) -> Json:
    function = call.function
    if function is None:
        raise RefusedError(unsupported_value(f"{path}.type", "This model has function tools only."))
    names[call.id] = function.name
    args = arguments(usable(function.arguments))
    part: Json = {"functionCall": {"id": call.id, "name": function.name, "args": args}}
    if signature := thoughts.get(call.id):
        part["thoughtSignature"] = signature
    return part


def _tool_result(message: Message, index: int, names: dict[str, str]) -> Json:
    asked = message.tool_call_id if message.role == "tool" else message.name
    name = names.get(asked or "")
    if name is None:
        where = "tool_call_id" if message.role == "tool" else "name"
        raise RefusedError(
            invalid(
                f"`messages[{index}].{where}` does not name a call of an earlier assistant message.",
                param=f"messages[{index}].{where}",
                code="invalid_value",
            )
        )
    parts = _parts(message, index)
    response: Json = {"name": name, "response": _result(parts)}
    if media := [part for part in parts if "text" not in part]:
        response["parts"] = media
    if message.role == "tool":
        response["id"] = asked
    return {"functionResponse": response}


def _result(parts: list[Json]) -> Json:
    """A result that is a JSON object goes as it is, any other text as `output`."""
    text = "".join(part.get("text", "") for part in parts)
    decoded = arguments(text) if text.lstrip().startswith("{") else None
    if decoded is None:
        return {"output": text}
    return {k: _without_references(v) for k, v in decoded.items() if k not in _REFERENCES}


def _without_references(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_references(v) for k, v in value.items() if k not in _REFERENCES}
    if isinstance(value, list):
        return [_without_references(item) for item in value]
    return value
