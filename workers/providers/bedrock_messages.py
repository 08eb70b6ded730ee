"""Owns the conversation on its way to Converse: turns and their blocks."""

import hashlib
import re
from collections.abc import Mapping
from typing import Any, Final, NoReturn

import msgspec
from msgspec import Raw

from schemas.chat import (
    AudioPart,
    CacheControl,
    ChatRequest,
    FilePart,
    ImagePart,
    Message,
    Part,
    RefusalPart,
    TextPart,
    ToolCall,
)
from schemas.errors import invalid, unsupported_parameter, unsupported_value
from workers.providers.base import RefusedError

Json = dict[str, Any]

IMAGE_FORMATS: Final = {
    "image/png": "png",
    "image/jpeg": "jpeg",
    "image/jpg": "jpeg",
    "image/gif": "gif",
    "image/webp": "webp",
}
DOCUMENT_FORMATS: Final = {
    "application/pdf": "pdf",
    "text/csv": "csv",
    "application/msword": "doc",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "application/vnd.ms-excel": "xls",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
    "text/html": "html",
    "text/plain": "txt",
    "text/markdown": "md",
    "text/x-markdown": "md",
}
# A conversation must open with the user: a caller's that does not gets this before it.
OPENING_TEXT: Final = "."
_DOCUMENT_ENDINGS: Final = {*DOCUMENT_FORMATS.values(), "htm"}
_DATA_URL: Final = re.compile(r"data:([\w.+-]+/[\w.+-]+)(?:;[\w=.+-]+)*;base64,", re.ASCII)
_TOOL_ID: Final = re.compile(r"[A-Za-z0-9_.:-]{1,64}", re.ASCII)
_NOT_IN_NAMES: Final = re.compile(r"[^A-Za-z0-9 ()\[\]-]+", re.ASCII)
_SPACES: Final = re.compile(r" {2,}")
_NAME_CHARS_MAX: Final = 180  # of the 200 that the API takes, so that a number fits behind
_object_decode: Final = msgspec.json.Decoder(dict[str, Any]).decode


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
        self._documents: set[str] = set()
        for index, message in enumerate(request.messages):
            self._message(message, f"messages.{index}")
        self._settle()

    def _message(self, message: Message, path: str) -> None:
        if message.role in ("system", "developer"):
            blocks = self._blocks(message, path)
            _only(blocks, ("text", "cachePoint"), path)
            self.system += self._with_cache_point(blocks, message.cache_control)
            return
        if message.role == "assistant":
            role, blocks = "assistant", self._assistant(message, path)
        elif message.role in ("tool", "function"):
            role, blocks = "user", [self._result(message, path)]
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
            mapped = self._part(part, f"{path}.content.{k}")
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
                mime, data = _inline(part.image_url.url, f"{path}.image_url.url")
                kind = IMAGE_FORMATS.get(mime)
                if kind is None:
                    _refuse_type(f"{path}.image_url.url", mime, "png, jpeg, gif or webp")
                return [{"image": {"format": kind, "source": {"bytes": data}}}]
            case AudioPart():
                audio = part.input_audio
                if audio.format not in ("wav", "mp3"):
                    _refuse_type(f"{path}.input_audio.format", audio.format, "wav or mp3")
                return [{"audio": {"format": audio.format, "source": {"bytes": audio.data}}}]
            case FilePart():
                return [self._document(part, f"{path}.file")]

    def _document(self, part: FilePart, path: str) -> Json:
        data = part.file.file_data
        if data is None:
            raise RefusedError(
                unsupported_parameter(
                    f"{path}.file_id", "This model takes files inline only: send `file_data`."
                )
            )
        title, _, ending = (part.file.filename or "").rpartition(".")
        kind: str | None = None
        if data.startswith("data:"):
            mime, data = _inline(data, f"{path}.file_data")
            kind = DOCUMENT_FORMATS.get(mime)
            if kind is None:
                _refuse_type(f"{path}.file_data", mime, "pdf, csv, doc, docx, xls, xlsx, html, txt or md")
        elif ending.lower() in _DOCUMENT_ENDINGS:
            kind = "html" if ending.lower() == "htm" else ending.lower()
        name = self._document_name(title or ending)
        return {"document": {"format": kind or "pdf", "name": name, "source": {"bytes": data}}}

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
        if message.audio is not None:
            raise RefusedError(
                unsupported_parameter(f"{path}.audio", "This model has no audio of earlier answers.")
            )
        blocks = self._blocks(message, path)
        if message.refusal and not blocks:
            blocks += _text(message.refusal)
        calls = message.tool_calls or ()
        for k, call in enumerate(calls):
            if k == 0:
                kept = decode_thoughts(self._thoughts.get(call.id, "")) if self._tools_sent else []
                self.replays_all = self.replays_all and bool(kept)
                blocks[:0] = kept
            blocks.append(self._call(call, f"{path}.tool_calls.{k}"))
        if (old := message.function_call) is not None:
            arguments = _arguments(old.arguments, f"{path}.function_call.arguments")
            blocks.append(self._tool_use(old.name, old.name, arguments))
        return blocks

    def _call(self, call: ToolCall, path: str) -> Json:
        function = call.function
        if function is None:
            raise RefusedError(unsupported_value(f"{path}.type", "This model has function tools only."))
        arguments = _arguments(function.arguments, f"{path}.function.arguments")
        return self._tool_use(call.id, function.name, arguments)

    def _tool_use(self, call_id: str, name: str, arguments: Raw) -> Json:
        self._names[call_id] = name
        if not self._tools_sent:
            return {"text": f"[Called the tool {name} with {bytes(arguments).decode()}]"}
        return {"toolUse": {"toolUseId": tool_use_id(call_id), "name": name, "input": arguments}}

    def _result(self, message: Message, path: str) -> Json:
        where = "tool_call_id" if message.role == "tool" else "name"
        asked = (message.tool_call_id if message.role == "tool" else message.name) or ""
        if asked not in self._names:
            text = f"`{path}.{where}` does not name a call of an earlier assistant message."
            raise RefusedError(invalid(text, param=f"{path}.{where}", code="invalid_value"))
        content = self._blocks(message, path)
        _only(content, ("text", "image", "document", "cachePoint"), path)
        if not self._tools_sent:
            text = "".join(block["text"] for block in content if "text" in block)
            return {"text": f"[Result of the tool {self._names[asked]}: {text}]"}
        content = [block for block in content if "cachePoint" not in block]
        return {"toolResult": {"toolUseId": tool_use_id(asked), "content": content}}


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
    return f"call_{hashlib.sha256(call_id.encode()).hexdigest()[:40]}"


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


def _after_results(block: Json) -> bool:
    return "toolResult" not in block


def _text(text: str) -> list[Json]:
    # Converse refuses empty blocks, and blocks of white space alone.
    return [{"text": text}] if text and not text.isspace() else []


def _inline(url: str, path: str) -> tuple[str, str]:
    found = _DATA_URL.match(url)
    if found is None:
        raise RefusedError(
            unsupported_value(path, "This model takes data inline only: send a base64 data URL, not a link.")
        )
    return found[1].lower(), url[found.end() :]


def _only(blocks: list[Json], kinds: tuple[str, ...], path: str) -> None:
    for block in blocks:
        if not any(kind in block for kind in kinds):
            message = "This message may hold text only."
            raise RefusedError(unsupported_value(f"{path}.content", message))


def _refuse_type(path: str, given: str, taken: str) -> NoReturn:
    raise RefusedError(unsupported_value(path, f"`{given}` is not supported by this model: send {taken}."))


def _arguments(text: str, path: str) -> Raw:
    """A call's arguments as they came, so that no number changes."""
    if not text.strip():
        return Raw(b"{}")
    try:
        _object_decode(text)
    except (msgspec.DecodeError, RecursionError):
        message = "Arguments of an earlier tool call must be a JSON object."
        raise RefusedError(invalid(message, param=path, code="invalid_value")) from None
    return Raw(text.encode())
