"""Owns the conversation on its way to Anthropic's Messages API: system, turns and their content blocks."""

from typing import Any, Final

import msgspec
from msgspec import Raw

from schemas.catalogue.model import Capabilities
from schemas.chat.conversations import plain_text, usable
from schemas.chat.media import PDF, data_url, file_media
from schemas.chat.request import (
    AudioPart,
    CacheControl,
    FilePart,
    ImagePart,
    Message,
    Part,
    RefusalPart,
    TextPart,
    ThoughtfulMessage,
)
from schemas.dialects.messages.names import told_id
from schemas.errors import unsupported_value
from workers.providers.base import RefusedError
from workers.providers.call_ids import ID_CHARS_MAX, CallIds

Json = dict[str, Any]

# A conversation must open with the user: a caller's that does not gets this before it.
OPENING_TEXT: Final = "."
THOUGHT: Final = "block"  # the kind of reasoning that is a whole block of the API


class Conversation:
    """Maps messages one by one; `system` and `turns` are the result.

    System messages are hoisted, neighbours of one role merged, results of tools come first in their turn, and blank
    texts are left out where the API refuses them. With `tools_sent` False tool calls and results become text: the API
    takes their blocks only beside tools, and a tool that nobody offered must not be invented.
    """

    def __init__(self, messages: list[Message], able: Capabilities, *, tools_sent: bool) -> None:
        self.system: list[Json] = []
        self.turns: list[Json] = []
        # The last turn brings results of tools, so the model's own turn goes on, and its reasoning is not all here.
        self.calls_running = False
        self._able = able
        self._tools_sent = tools_sent
        self._names: dict[str, str] = {}
        self._ids = CallIds(tool_id)
        for index, message in enumerate(messages):
            self._message(message, f"messages[{index}]")
        self._settle()

    def _message(self, message: Message, path: str) -> None:
        match message.role:
            case "system" | "developer":
                self.system += self._marked(self._parts(message, path), message.cache_control)
                return
            case "assistant":
                role, blocks = "assistant", self._assistant(message, path)
            case "tool" | "function":
                role, blocks = "user", self._result(message, path)
            case _:
                role, blocks = "user", self._parts(message, path)
        self.turns.append({"role": role, "content": self._marked(blocks, message.cache_control)})

    def _marked(self, blocks: list[Json], mark: CacheControl | None) -> list[Json]:
        if mark is not None and blocks:
            self._mark(blocks[-1], mark)
        return blocks

    def _mark(self, block: Json, mark: CacheControl | None) -> Json:
        if mark is not None and self._able.cache_points:
            block["cache_control"] = cache_control(mark)
        return block

    def _parts(self, message: Message, path: str) -> list[Json]:
        content = message.content
        if content is None:
            return []
        if isinstance(content, str):
            return [_text(content)] if content else []
        blocks = [self._part(part, f"{path}.content[{index}]") for index, part in enumerate(content)]
        return [block for block in blocks if block is not None]

    def _part(self, part: Part, path: str) -> Json | None:
        match part:
            case TextPart():
                return self._mark(_text(part.text), part.cache_control) if part.text else None
            case RefusalPart():
                return _text(part.refusal) if part.refusal else None
            case ImagePart():
                return self._mark(
                    {"type": "image", "source": self._image(part.image_url.url, path)}, part.cache_control
                )
            case FilePart():
                return self._mark(self._document(part, path), part.cache_control)
            case AudioPart():
                raise RefusedError(unsupported_value(f"{path}.type", "Claude takes no audio input."))

    def _image(self, url: str, path: str) -> Json:
        media = data_url(url)
        if media is not None:
            return {"type": "base64", "media_type": media.media_type, "data": media.data}
        if self._able.remote_images and url[:8].lower() == "https://":
            return {"type": "url", "url": url}
        message = "Images are taken inline: send a base64 data URL."
        raise RefusedError(unsupported_value(f"{path}.image_url.url", message))

    def _document(self, part: FilePart, path: str) -> Json:
        media = file_media(part.file)
        if media is None:
            message = "Files are taken inline: send 'file_data'."
            raise RefusedError(unsupported_value(f"{path}.file", message))
        if media.media_type == PDF:
            source = {"type": "base64", "media_type": PDF, "data": media.data}
        else:
            source = {"type": "text", "media_type": "text/plain", "data": plain_text(media.data)}
        block: Json = {"type": "document", "source": source}
        if part.file.filename:
            block["title"] = part.file.filename[:255]
        return block

    def _assistant(self, message: Message, path: str) -> list[Json]:
        blocks = self._parts(message, path)
        if message.refusal and not blocks:
            blocks.append(_text(message.refusal))
        thoughts = _thoughts(message)
        blocks[:0] = thoughts.pop(0, [])
        for place, call in enumerate(message.tool_calls or ()):
            blocks += thoughts.pop(place, [])
            if call.function is None:
                raise RefusedError(unsupported_value(f"{path}.tool_calls", "Claude has function tools only."))
            blocks.append(self._call(call.id, call.function.name, call.function.arguments))
        if (old := message.function_call) is not None:
            blocks.append(self._call(old.name, old.name, old.arguments))
        return blocks

    def _call(self, call_id: str, name: str, text: str) -> Json:
        self._names[call_id] = name
        if not self._tools_sent:
            return _text(f"[called {name} with {text.strip() or '{}'}]")
        given = Raw(usable(text).encode())
        return {"type": "tool_use", "id": self._ids.call(call_id), "name": name, "input": given}

    def _result(self, message: Message, path: str) -> list[Json]:
        call_id = (message.tool_call_id if message.role == "tool" else message.name) or ""
        content = message.content
        mark = None
        media: list[Json] = []
        if isinstance(content, list):
            mark = next((part.cache_control for part in content if isinstance(part, TextPart)), None)
            media = [block for block in self._parts(message, path) if block["type"] != "text"]
            content = "".join(part.text for part in content if isinstance(part, TextPart))
        if not self._tools_sent:
            name = self._names.get(call_id, "tool")
            return [self._mark(_text(f"[{name} returned {content or 'nothing'}]"), mark), *media]
        told: Any = content or ""
        if media:
            told = [*([_text(content)] if content else []), *media]
        block = {"type": "tool_result", "tool_use_id": self._ids.result(call_id), "content": told}
        return [self._mark(block, mark)]

    def _settle(self) -> None:
        self.system = [block for block in self.system if block["text"].strip()]
        merged: list[Json] = []
        for turn in self.turns:
            blocks = _not_blank(turn["content"])
            if not blocks:
                continue
            if merged and merged[-1]["role"] == turn["role"]:
                merged[-1]["content"] += blocks
            else:
                merged.append({"role": turn["role"], "content": blocks})
        if not merged and self.system:
            # Instructions alone are no turn: they become what the user says.
            merged.append({"role": "user", "content": self.system})
            self.system = []
        if merged and merged[0]["role"] == "assistant":
            merged.insert(0, {"role": "user", "content": [_text(OPENING_TEXT)]})
        if merged and merged[-1]["role"] == "assistant":
            _trim_end(merged)
        self.turns = merged
        running = bool(merged) and any(block["type"] == "tool_result" for block in merged[-1]["content"])
        self.calls_running = running and not _thought(merged)


def _thought(turns: list[Json]) -> bool:
    """Whether every step of the running turn brings its reasoning back."""
    for turn in reversed(turns):
        kinds = [block["type"] for block in turn["content"]]
        if turn["role"] == "assistant":
            if "tool_use" in kinds and kinds[0] not in ("thinking", "redacted_thinking"):
                return False
        elif "tool_result" not in kinds:
            return True
    return True


def tool_id(call_id: str) -> str:
    """A tool-call id that the API takes: the caller's own, or a digest of one that is too long or oddly spelt."""
    return told_id(call_id, ID_CHARS_MAX)


def cache_control(mark: CacheControl) -> Json:
    """A cache breakpoint in the API's words."""
    made: Json = msgspec.to_builtins(mark) | {"type": "ephemeral"}
    return made


def _thoughts(message: Message) -> dict[int, list[Json]]:
    """The blocks of reasoning that a turn brings back, by the number of calls before them."""
    found: dict[int, list[Json]] = {}
    for thought in message.thoughts if isinstance(message, ThoughtfulMessage) else ():
        if thought.kind == THOUGHT:
            found.setdefault(thought.before, []).append(msgspec.json.decode(thought.payload))
    return found


def _text(text: str) -> Json:
    return {"type": "text", "text": text}


def _not_blank(blocks: list[Json]) -> list[Json]:
    """Blank texts are refused unless a real text stands beside them in the same turn."""
    if any(block["type"] == "text" and block["text"].strip() for block in blocks):
        return blocks
    return [block for block in blocks if block["type"] != "text"]


def _trim_end(turns: list[Json]) -> None:
    # The API refuses an answer to continue that ends in white space.
    blocks = turns[-1]["content"]
    while blocks and blocks[-1]["type"] == "text" and not blocks[-1]["text"].strip():
        blocks.pop()
    if blocks and blocks[-1]["type"] == "text":
        blocks[-1]["text"] = blocks[-1]["text"].rstrip()
