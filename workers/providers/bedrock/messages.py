"""Owns the conversation on its way to Converse: turns and their blocks."""

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from schemas.catalogue.bedrock import DOCUMENT_FORMATS
from schemas.chat.conversations import usable
from schemas.chat.media import Media, data_url, file_media
from schemas.chat.request import (
    AudioPart,
    CacheControl,
    ChatRequest,
    FilePart,
    ImagePart,
    Message,
    Part,
    RefusalPart,
    TextPart,
    ThoughtfulMessage,
)
from schemas.dialects.messages.names import told_id
from schemas.errors import invalid, unsupported_value
from workers.providers.base import RefusedError
from workers.providers.call_ids import ID_CHARS_MAX, CallIds

Json = dict[str, Any]

IMAGE_FORMATS: Final = {"image/png": "png", "image/jpeg": "jpeg", "image/gif": "gif", "image/webp": "webp"}
# A conversation must open with the user: a caller's that does not gets this before it.
OPENING_TEXT: Final = "."
THOUGHT: Final = "blocks"  # the kind of reasoning that is a list of Converse's blocks
_TOOL_ID: Final = re.compile(r"[A-Za-z0-9_.:-]{1,64}", re.ASCII)
_NOT_IN_NAMES: Final = re.compile(r"[^A-Za-z0-9 ()\[\]-]+", re.ASCII)
_SPACES: Final = re.compile(r" {2,}")
_NAME_CHARS_MAX: Final = 180  # of the 200 that the API takes, so that a number fits behind


class _Turn(Struct):
    role: str
    content: list[dict[str, Raw]]


_encode = msgspec.json.Encoder().encode
_decode_fields = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_turns = msgspec.json.Decoder(list[_Turn]).decode
_REASONING_SIGN: Final = b'"reasoningContent"'


class Conversation:
    """Maps messages one by one. `tools_sent` False flattens tool calls and results to text.

    Converse refuses tool blocks in a request without tools, and a tool that nobody offered must not be invented.
    """

    def __init__(
        self, request: ChatRequest, *, tools_sent: bool, cache_points: int, thoughts: Mapping[str, str]
    ) -> None:
        self.system: list[Json] = []
        self.turns: list[Json] = []
        self._tools_sent = tools_sent
        self.cache_points_used = 0
        self.replays_all = True  # no step of the running tool turn lacks its reasoning
        self._cache_points = cache_points
        self._thoughts = thoughts
        self._names: dict[str, str] = {}
        self._ids = CallIds(tool_use_id)
        self._documents: set[str] = set()
        for index, message in enumerate(request.messages):
            self._message(message, f"messages[{index}]")
        self._settle()
        if request.cache_control is not None:
            last = self.turns[-1]
            last["content"] = self._with_cache_point(last["content"], request.cache_control)

    def _message(self, message: Message, path: str) -> None:
        if message.role in ("system", "developer"):
            blocks = self._blocks(message, path)
            _only_text(blocks, path)
            self.system += self._with_cache_point(blocks, message.cache_control)
            return
        if message.role == "assistant":
            role, blocks = "assistant", self._assistant(message, path)
        elif message.role in ("tool", "function"):
            role, blocks = "user", self._result(message, path)
        else:
            role, blocks = "user", self._blocks(message, path)
            self.replays_all = True  # what came before is over
        blocks = self._with_cache_point(blocks, message.cache_control)
        if not blocks:
            return
        if self.turns and self.turns[-1]["role"] == role:
            self.turns[-1]["content"] += blocks
        else:
            self.turns.append({"role": role, "content": blocks})

    def _settle(self) -> None:
        if not self.turns:
            # Instructions alone are no turn: they become what the user says.
            self.turns, self.system = [{"role": "user", "content": self.system}], []
        if not self.turns[0]["content"]:
            raise RefusedError(invalid("`messages` has no text or other content.", param="messages"))
        if self.turns[0]["role"] == "assistant":
            self.turns.insert(0, {"role": "user", "content": [{"text": OPENING_TEXT}]})
        for turn in self.turns:
            blocks = turn["content"]
            if any("toolResult" in block for block in blocks):
                blocks.sort(key=_after_results)
            if any("document" in block for block in blocks) and not any("text" in block for block in blocks):
                names = ", ".join(block["document"]["name"] for block in blocks if "document" in block)
                blocks.append({"text": f"Attached: {names}"})

    def _blocks(self, message: Message, path: str) -> list[Json]:
        content = message.content
        if content is None:
            return []
        if isinstance(content, str):
            return _text(content)
        blocks: list[Json] = []
        for k, part in enumerate(content):
            mapped = self._part(part, f"{path}.content[{k}]")
            blocks += self._with_cache_point(mapped, getattr(part, "cache_control", None))
        return blocks

    def _with_cache_point(self, blocks: list[Json], control: CacheControl | None) -> list[Json]:
        if control is None or not blocks or self.cache_points_used >= self._cache_points:
            return blocks
        self.cache_points_used += 1
        return [*blocks, cache_point(control)]

    def _part(self, part: Part, path: str) -> list[Json]:
        match part:
            case TextPart():
                return _text(part.text)
            case RefusalPart():
                return _text(part.refusal)
            case ImagePart():
                return [_image(data_url(part.image_url.url), f"{path}.image_url.url")]
            case FilePart():
                return [self._document(part, f"{path}.file.file_data")]
            case AudioPart():
                raise RefusedError(unsupported_value(f"{path}.type", "This model takes no audio."))

    def _document(self, part: FilePart, path: str) -> Json:
        media = file_media(part.file)
        kind = DOCUMENT_FORMATS.get(media.media_type) if media is not None else None
        if media is None or kind is None:
            raise RefusedError(unsupported_value(path, "This model takes no such file."))
        name = self._document_name((part.file.filename or "").rpartition(".")[0] or part.file.filename or "")
        return {"document": {"format": kind, "name": name, "source": {"bytes": media.data}}}

    def _document_name(self, title: str) -> str:
        """A name as the API wants it: a few characters only, and no two the same."""
        name = _SPACES.sub(" ", _NOT_IN_NAMES.sub(" ", title)).strip()[:_NAME_CHARS_MAX].strip() or "document"
        unique, number = name, 1
        while unique in self._documents:
            number += 1
            unique = f"{name} ({number})"
        self._documents.add(unique)
        return unique

    def _assistant(self, message: Message, path: str) -> list[Json]:
        blocks = self._blocks(message, path)
        if message.refusal and not blocks:
            blocks += _text(message.refusal)
        brought = self._brought(message)
        blocks[:0] = brought
        for k, call in enumerate(message.tool_calls or ()):
            if k == 0 and not brought:
                kept = decode_thoughts(self._thoughts.get(call.id, "")) if self._tools_sent else []
                self.replays_all = self.replays_all and bool(kept)
                blocks[:0] = kept
            if call.function is not None:
                given = call.function
                blocks.append(self._tool_use(call.id, given.name, given.arguments))
        if (old := message.function_call) is not None:
            blocks.append(self._tool_use(old.name, old.name, old.arguments))
        return blocks

    def _brought(self, message: Message) -> list[Json]:
        """The reasoning that a turn brings back."""
        if not isinstance(message, ThoughtfulMessage) or not self._tools_sent:
            return []
        kept = [decode_thoughts(thought.payload) for thought in message.thoughts if thought.kind == THOUGHT]
        return [block for blocks in kept for block in blocks]

    def _tool_use(self, call_id: str, name: str, text: str) -> Json:
        self._names[call_id] = name
        if not self._tools_sent:
            return {"text": f"[Called the tool {name} with {text.strip() or '{}'}]"}
        given = Raw(usable(text).encode())
        return {"toolUse": {"toolUseId": self._ids.call(call_id), "name": name, "input": given}}

    def _result(self, message: Message, path: str) -> list[Json]:
        where = "tool_call_id" if message.role == "tool" else "name"
        asked = (message.tool_call_id if message.role == "tool" else message.name) or ""
        if asked not in self._names:
            raise RefusedError(invalid("It names no earlier call.", param=f"{path}.{where}"))
        content = [block for block in self._blocks(message, path) if "cachePoint" not in block]
        if not self._tools_sent:
            text = "".join(block["text"] for block in content if "text" in block)
            media = [block for block in content if "text" not in block]
            return [{"text": f"[Result of the tool {self._names[asked]}: {text}]"}, *media]
        return [{"toolResult": {"toolUseId": self._ids.result(asked), "content": content}}]


def cache_point(control: CacheControl) -> Json:
    """The block that stands after what is to be cached."""
    point: Json = {"type": "default"}
    if control.ttl in ("5m", "1h"):
        point["ttl"] = control.ttl
    return {"cachePoint": point}


def tool_use_id(call_id: str) -> str:
    """A call's id as the API takes it; ids of other providers that it does not take become a digest of themselves."""
    if _TOOL_ID.fullmatch(call_id):
        return call_id
    return told_id(call_id, ID_CHARS_MAX)


def encode_thoughts(blocks: list[Json]) -> str:
    """Reasoning blocks as a text to keep by tool-call id."""
    return msgspec.json.encode(blocks).decode()


def decode_thoughts(kept: str) -> list[Json]:
    """Reasoning blocks to replay; none if there is no text, or it is not ours."""
    if not kept:
        return []
    try:
        return [{"reasoningContent": block} for block in msgspec.json.decode(kept, type=list[Json])]
    except msgspec.MsgspecError:
        return []


def without_reasoning(body: bytes) -> bytes | None:
    """The same Converse call without earlier reasoning; None if it has none.

    A budget of thinking goes too, which wants the reasoning of a running turn back.
    """
    if _REASONING_SIGN not in body:
        return None
    fields = _decode_fields(body)
    turns = _decode_turns(fields["messages"])
    for turn in turns:
        turn.content = [block for block in turn.content if "reasoningContent" not in block]
    fields["messages"] = Raw(_encode([turn for turn in turns if turn.content]))
    extra = _decode_fields(fields.get("additionalModelRequestFields", Raw(b"{}")))
    if b'"enabled"' in bytes(extra.get("thinking", b"")):
        del extra["thinking"]
        fields["additionalModelRequestFields"] = Raw(_encode(extra))
    return _encode(fields)


def _after_results(block: Json) -> bool:
    return "toolResult" not in block


def _text(text: str) -> list[Json]:
    # Converse refuses empty blocks, and blocks of white space alone.
    return [{"text": text}] if text and not text.isspace() else []


def _image(media: Media | None, path: str) -> Json:
    kind = IMAGE_FORMATS.get(media.media_type) if media is not None else None
    if media is None or kind is None:
        raise RefusedError(unsupported_value(path, "This model takes no such image."))
    return {"image": {"format": kind, "source": {"bytes": media.data}}}


def _only_text(blocks: list[Json], path: str) -> None:
    if any("text" not in block and "cachePoint" not in block for block in blocks):
        raise RefusedError(unsupported_value(f"{path}.content", "This message may hold text only."))
