"""Owns the rules of a conversation: roles, parts, and tool results that match the calls they answer."""

from typing import Any

import msgspec

from schemas import shape
from schemas.catalogue.model import Model
from schemas.chat.media import TEXT, Media, data_url, file_media
from schemas.chat.priced import RequestError
from schemas.chat.request import (
    AudioPart,
    ChatRequest,
    FilePart,
    ImagePart,
    Message,
    Part,
    RefusalPart,
    TextPart,
    ToolCall,
)
from schemas.chat.toolsets import TOOL_NAME_CHARS_MAX
from schemas.errors import WireError, invalid, unsupported_parameter, unsupported_value
from schemas.json import UNREADABLE, mending, paired
from schemas.media.encoded import pieces
from schemas.money.pricing import prices_long_caches

AUDIO_FORMATS = frozenset(("wav", "mp3"))
CALL_ID_CHARS_MAX = 256

_SYSTEM = frozenset(("system", "developer"))
_RESULTS = frozenset(("tool", "function"))
_ROLES = _SYSTEM | _RESULTS | {"user", "assistant"}
_decode_any_object = msgspec.json.Decoder(dict[str, Any]).decode
_encode = msgspec.json.Encoder().encode


def check_conversation(request: ChatRequest, model: Model) -> None:
    """Raises RequestError for messages that the model cannot be sent."""
    if not request.messages:
        raise RequestError(_invalid("messages", "There must be at least one message."))
    open_calls: dict[str, int] = {}  # ids of calls without a result yet, with the message that made them
    calls: dict[str, int] = {}  # the same of all calls of the newest turn that made any
    said = False
    for index, message in enumerate(request.messages):
        path = f"messages[{index}]"
        if message.role not in _ROLES:
            raise RequestError(
                _invalid(f"{path}.role", "It must be system, developer, user, assistant or tool.")
            )
        if open_calls and message.role in ("user", "assistant"):
            raise RequestError(_unanswered(open_calls))
        if message.role in _RESULTS:
            _check_result(message, path, open_calls, calls)
        elif message.role == "assistant":
            _check_assistant(message, path, model)
            calls = _calls(message, path, index, model)
            open_calls = dict(calls)
        _check_content(message, path, model)
        if message.role != "assistant":
            calls = calls if message.role != "user" else {}
            said = said or message.role in _RESULTS or _has_content(message)
    if open_calls:
        raise RequestError(_unanswered(open_calls))
    if not said:
        raise RequestError(_invalid("messages", "They have no text or other content."))
    _check_end(request, model)
    _check_cache(request, model)
    _check_media(request, model)


def _decode_object(raw: bytes) -> dict[str, Any]:
    """An object that stands in a text. Raises UNREADABLE, also for one that holds too much."""
    shape.check(raw)
    return _decode_any_object(raw)


def arguments(text: str) -> dict[str, Any] | None:
    """The arguments of an earlier tool call, {} for blank ones; None if they are not a JSON object."""
    if not text.strip():
        return {}
    try:
        return mending(_decode_object, text.encode())
    except (*UNREADABLE, UnicodeEncodeError):
        return None


def usable(text: str) -> str:
    """The arguments of an earlier tool call as the text of a JSON object, whatever is left of them.

    What was cut off, or is no object, becomes one that holds the text itself: a history must not stop a session. An
    object stays as it is written, for no number may change.
    """
    if not text.strip():
        return "{}"
    raw = text.encode(errors="replace")
    try:
        _decode_object(raw)
    except UNREADABLE:
        mended = paired(raw)
        if mended is not raw and arguments(text) is not None:
            return mended.decode()
        return _encode({"arguments": raw.decode()}).decode()
    return text


def _check_result(message: Message, path: str, open_calls: dict[str, int], calls: dict[str, int]) -> None:
    field = "tool_call_id" if message.role == "tool" else "name"
    answered = message.tool_call_id if message.role == "tool" else message.name
    if answered is None:
        raise RequestError(_missing(f"{path}.{field}"))
    open_calls.pop(answered, None)
    if answered not in calls:  # of two results for one call the last counts
        why = "A tool result must follow the assistant message whose 'tool_calls' have this id."
        raise RequestError(_invalid(f"{path}.{field}", why))
    if message.content is None:
        raise RequestError(_missing(f"{path}.content"))


def _check_assistant(message: Message, path: str, model: Model) -> None:
    if message.audio is not None:
        text = f"The model `{model.id}` ({model.provider}) takes no audio of earlier answers."
        raise RequestError(unsupported_parameter(f"{path}.audio", text))
    called = message.tool_calls or message.function_call is not None
    if message.content is None and not called and message.refusal is None:
        raise RequestError(_missing(f"{path}.content"))


def _calls(message: Message, path: str, index: int, model: Model) -> dict[str, int]:
    calls: dict[str, int] = {}
    if message.tool_calls and not model.capabilities.tools:
        text = f"The model `{model.id}` ({model.provider}) knows no tools."
        raise RequestError(unsupported_value(f"{path}.tool_calls", text))
    for position, call in enumerate(message.tool_calls or ()):
        where = f"{path}.tool_calls[{position}]"
        _check_call(call, where, model)
        if call.id in calls:
            raise RequestError(_invalid(f"{where}.id", "Two calls have this id."))
        calls[call.id] = index
    old = message.function_call
    if old is not None:
        if not model.capabilities.tools:
            text = f"The model `{model.id}` ({model.provider}) knows no tools."
            raise RequestError(unsupported_value(f"{path}.function_call", text))
        _check_function(old.name, old.arguments, f"{path}.function_call")
        calls[old.name] = index
    return calls


def _check_call(call: ToolCall, where: str, model: Model) -> None:
    if call.type == "custom" or call.custom is not None:
        text = f"Custom tools are not supported by the model `{model.id}` ({model.provider})."
        raise RequestError(unsupported_value(f"{where}.type", text))
    if call.type != "function":
        raise RequestError(_invalid(f"{where}.type", "It must be function."))
    if call.function is None:
        raise RequestError(_missing(f"{where}.function"))
    if not 0 < len(call.id) <= CALL_ID_CHARS_MAX:
        raise RequestError(_invalid(f"{where}.id", f"It must have 1 to {CALL_ID_CHARS_MAX} characters."))
    _check_function(call.function.name, call.function.arguments, f"{where}.function")


def _check_function(name: str, text: str, where: str) -> None:
    if not 0 < len(name) <= TOOL_NAME_CHARS_MAX:
        raise RequestError(_invalid(f"{where}.name", f"It must have 1 to {TOOL_NAME_CHARS_MAX} characters."))
    try:
        _decode_object(text.encode(errors="replace"))
    except RecursionError:
        raise RequestError(_invalid(f"{where}.arguments", "They are nested too deeply.")) from None
    except shape.TangledError as fault:
        raise RequestError(_invalid(f"{where}.arguments", f"They have {fault}.")) from None
    except UNREADABLE:
        pass  # what was cut off is told as it is


def _check_content(message: Message, path: str, model: Model) -> None:
    content = message.content
    if content is None:
        if message.role != "assistant":
            raise RequestError(_missing(f"{path}.content"))
        return
    if isinstance(content, str):
        return
    for index, part in enumerate(content):
        _check_part(part, message.role, f"{path}.content[{index}]", model)


def _check_part(part: Part, role: str, path: str, model: Model) -> None:
    if isinstance(part, TextPart):
        return
    if isinstance(part, RefusalPart):
        if role != "assistant":
            raise RequestError(_invalid(f"{path}.type", "Only assistant messages have refusals."))
        return
    if role != "user" and not (role == "tool" and isinstance(part, ImagePart | FilePart)):
        raise RequestError(_invalid(f"{path}.type", f"A message of the role {role} has text parts only."))
    if isinstance(part, ImagePart):
        _check_image(part, path, model)
    elif isinstance(part, AudioPart):
        _check_audio(part, path, model)
    else:
        _check_file(part, path, model)


def _check_image(part: ImagePart, path: str, model: Model) -> None:
    able = model.capabilities
    if not able.images:
        raise RequestError(_no_input("image", path, model))
    url = part.image_url.url
    where = f"{path}.image_url.url"
    if url[:5].lower() != "data:":
        if not able.remote_images or url[:8].lower() != "https://":
            text = f"The model `{model.id}` ({model.provider}) takes images inline: send a base64 data URL."
            raise RequestError(unsupported_value(where, text))
        return
    media = data_url(url)
    if media is None:
        raise RequestError(_invalid(where, "It must be a data URL of the form data:image/png;base64,…"))
    if media.media_type not in able.image_types:
        raise RequestError(_media_type(where, media.media_type, able.image_types, model))


def _check_audio(part: AudioPart, path: str, model: Model) -> None:
    if not model.capabilities.audio_in:
        raise RequestError(_no_input("audio", path, model))
    if part.input_audio.format not in AUDIO_FORMATS:
        raise RequestError(_invalid(f"{path}.input_audio.format", "It must be wav or mp3."))
    if not part.input_audio.data:
        raise RequestError(_missing(f"{path}.input_audio.data"))


def _check_file(part: FilePart, path: str, model: Model) -> None:
    able = model.capabilities
    if not able.files:
        raise RequestError(_no_input("file", path, model))
    if part.file.file_id is not None:
        text = "Files kept at a provider cannot be reached from here: send 'file_data'."
        raise RequestError(unsupported_value(f"{path}.file.file_id", text))
    if not part.file.file_data:
        raise RequestError(_missing(f"{path}.file.file_data"))
    where = f"{path}.file.file_data"
    media = file_media(part.file)
    if media is None:
        raise RequestError(_invalid(where, "It must be base64, or a data URL of the form data:…;base64,…"))
    if able.file_types and media.media_type not in able.file_types:
        raise RequestError(_media_type(where, media.media_type, able.file_types, model))
    if media.media_type == TEXT and not plain_text(media.data):
        raise RequestError(_invalid(where, "A text file must be base64 of UTF-8 text that is not blank."))


def plain_text(data: str) -> str:
    """The text in a base64 text file; "" if it is not UTF-8, or blank."""
    try:
        text = b"".join(pieces(data)).decode()
    except ValueError:
        return ""
    return text if text.strip() else ""


def ends_with_assistant(messages: list[Message]) -> bool:
    """Whether the last turn is the assistant's: messages without any content, which are not sent, do not count."""
    last = next((message for message in reversed(messages) if says(message)), None)
    return last is not None and last.role == "assistant"


def says(message: Message) -> bool:
    """Whether a turn of the conversation has anything in it: blank text is nothing."""
    if message.role in _SYSTEM:
        return False
    if message.role in _RESULTS or message.tool_calls or message.function_call or message.refusal:
        return True
    return _has_content(message)


def _has_content(message: Message) -> bool:
    content = message.content
    if isinstance(content, str):
        return bool(content.strip())
    return any(not isinstance(part, TextPart) or part.text.strip() for part in content or ())


def _check_end(request: ChatRequest, model: Model) -> None:
    if ends_with_assistant(request.messages) and not model.capabilities.prefill:
        text = f"The model `{model.id}` ({model.provider}) cannot continue an assistant message: end with a user message."
        raise RequestError(unsupported_value("messages", text))


def _check_cache(request: ChatRequest, model: Model) -> None:
    points_max = model.capabilities.cache_points
    if not points_max:
        return
    marks = [request.cache_control, *(tool.cache_control for tool in request.tools or ())]
    for message in request.messages:
        marks.append(message.cache_control)
        if isinstance(message.content, list):
            marks += [getattr(part, "cache_control", None) for part in message.content]
    found = [mark for mark in marks if mark is not None]
    if len(found) > points_max:
        text = f"The model `{model.id}` ({model.provider}) takes at most {points_max} cache breakpoints."
        raise RequestError(unsupported_value("cache_control", text))
    for mark in found:
        if mark.type != "ephemeral" or mark.ttl not in (None, "5m", "1h"):
            text = "A cache breakpoint has the type ephemeral and a ttl of 5m or 1h."
            raise RequestError(unsupported_value("cache_control", text))
        if mark.ttl == "1h" and not prices_long_caches(model.prices):
            text = f"The model `{model.id}` ({model.provider}) has no price for a cache that lives for 1h."
            raise RequestError(unsupported_value("cache_control", text))


def _check_media(request: ChatRequest, model: Model) -> None:
    """That media is base64; how many images and files, and how large, where the model bounds them."""
    able = model.capabilities
    images = files = 0
    for index, message in enumerate(request.messages):
        for position, part in enumerate(message.content if isinstance(message.content, list) else ()):
            path = f"messages[{index}].content[{position}]"
            if isinstance(part, ImagePart):
                images += 1
                _check_size(data_url(part.image_url.url), f"{path}.image_url.url", able.image_bytes_max)
            elif isinstance(part, FilePart):
                files += 1
                _check_size(file_media(part.file), f"{path}.file.file_data", able.file_bytes_max)
            elif isinstance(part, AudioPart):
                _check_size(Media("audio", part.input_audio.data), f"{path}.input_audio.data", 0)
    for count, count_max, kind in ((images, able.images_max, "images"), (files, able.files_max, "files")):
        if count_max and count > count_max:
            text = f"The model `{model.id}` ({model.provider}) takes at most {count_max} {kind} in a request."
            raise RequestError(unsupported_value("messages", text))


def _check_size(media: Media | None, where: str, bytes_max: int) -> None:
    try:
        size = sum(map(len, pieces(media.data))) if media is not None else 0
    except ValueError:
        size = 0
    if not size:
        raise RequestError(_invalid(where, "Its data must be base64."))
    if bytes_max and size > bytes_max:
        raise RequestError(unsupported_value(where, f"It must not be larger than {bytes_max} bytes."))


def _unanswered(open_calls: dict[str, int]) -> WireError:
    missing = ", ".join(call_id[:64] for call_id in open_calls)
    index = next(iter(open_calls.values()))
    return invalid(
        "An assistant message with 'tool_calls' must be followed by tool messages that answer each 'tool_call_id'. "
        f"These have no answer: {missing[:200]}.",
        param=f"messages[{index}].tool_calls",
        code="invalid_value",
    )


def _no_input(kind: str, path: str, model: Model) -> WireError:
    return unsupported_value(
        f"{path}.type", f"The model `{model.id}` ({model.provider}) takes no {kind} input."
    )


def _media_type(where: str, media_type: str, allowed: tuple[str, ...], model: Model) -> WireError:
    text = (
        f"The model `{model.id}` ({model.provider}) takes {', '.join(allowed)} here, not {media_type[:80]}."
    )
    return unsupported_value(where, text)


def _invalid(path: str, why: str) -> WireError:
    return invalid(f"Invalid '{path}'. {why}", param=path, code="invalid_value")


def _missing(path: str) -> WireError:
    return invalid(f"Missing required parameter: '{path}'.", param=path, code="missing_required_parameter")
