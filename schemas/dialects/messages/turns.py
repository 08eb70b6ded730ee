"""Owns a Messages conversation on its way into chat messages: roles, blocks, results, and reasoning brought back."""

from typing import Final

import msgspec
from msgspec import Raw

from schemas.catalogue.families import PASS_THROUGH
from schemas.catalogue.model import Model
from schemas.chat.caching import takes_marks
from schemas.chat.media import PDF
from schemas.chat.request import (
    CacheControl,
    FileData,
    FilePart,
    FunctionCall,
    ImagePart,
    ImageUrl,
    Message,
    Part,
    TextPart,
    Thought,
    ThoughtfulMessage,
    ToolCall,
)
from schemas.dialects.blobs import unseal
from schemas.dialects.messages.names import told_id, told_name
from schemas.dialects.messages.priced import refuse
from schemas.dialects.messages.request import Block, MessagesRequest, Source, Turn
from schemas.json import UNREADABLE

DEPTH_MAX: Final = 8  # of blocks in one another
# The client's own label for a bill: only its provider takes it off, anywhere else a model would read it.
BILLING_LABEL: Final = "x-anthropic-billing-header:"
_DEFAULT_TITLE: Final = "document.pdf"
_OPENAI: Final = "openai"
_decode_object = msgspec.json.Decoder(dict[str, Raw]).decode


def reminder(text: str) -> str:
    """Instructions as part of a user's turn, in the words by which Claude Code marks its own."""
    return f"<system-reminder>\n{text}\n</system-reminder>"


class Turns:
    """Maps one conversation; `messages` is the result, and `origins` says where each of them came from."""

    def __init__(self, asked: MessagesRequest, model: Model, scope: str) -> None:
        self._model = model
        self._scope = scope
        self._marks = takes_marks(model)
        # Whether pictures and files may stand in a tool's result.
        self._shows = model.capabilities.result_media and model.family not in PASS_THROUGH
        self._open: dict[str, int] = {}  # calls of the last assistant's turn, and their places in it
        self._said: list[list[Part]] = []  # of each message of the user, till all is told
        self._late: list[str] = []  # instructions between calls and their results, which nothing may part
        self.messages: list[Message] = []
        self._system(asked.system)
        self.origins = ["system"] * len(self.messages)  # where each message stands in the body
        for index, turn in enumerate(asked.messages):
            self._turn(turn, path := f"messages.{index}")
            self.origins += [path] * (len(self.messages) - len(self.origins))
        said = iter(self._said)
        self.messages = [
            Message("user", _joined(next(said))) if message.role == "user" else message
            for message in self.messages
        ]

    def _system(self, system: str | list[Block] | None) -> None:
        blocks = [Block("text", text=system)] if isinstance(system, str) else system or []
        parts: list[Part] = [
            self._text(block.text, block.cache_control)
            for block in blocks
            if block.text and not block.text.startswith(BILLING_LABEL)
        ]
        if parts:
            self.messages.append(Message("system", _joined(parts)))

    def _turn(self, turn: Turn, path: str) -> None:
        blocks = [Block("text", text=turn.content)] if isinstance(turn.content, str) else turn.content
        match turn.role:
            case "user":
                self._user(blocks, path)
            case "assistant":
                self._assistant(blocks)
            case "system":
                self._instruct(blocks)
            case _:
                refuse(f"{path}.role", "It must be user, assistant or system.")

    def _instruct(self, blocks: list[Block]) -> None:
        """Instructions amid a conversation stay where they are: at the top they would change a cached prompt."""
        text = "\n\n".join(block.text for block in blocks if block.text)
        if text and self._open:
            self._late.append(text)
        elif text:
            self._add_instruction(text)

    def _add_instruction(self, text: str) -> None:
        if self._model.provider == _OPENAI:
            self.messages.append(Message("system", text))
        else:
            self._say([TextPart(reminder(text))])

    def _assistant(self, blocks: list[Block]) -> None:
        parts: list[Part] = []
        calls: list[ToolCall] = []
        thoughts: list[Thought] = []
        for block in blocks:
            if block.type == "text" and block.text:
                parts.append(self._text(block.text, block.cache_control))
            elif block.type == "tool_use":
                function = FunctionCall(told_name(block.name), _arguments(block.input))
                calls.append(ToolCall(told_id(block.id), function=function))
            elif block.type in ("thinking", "redacted_thinking"):
                thoughts += self._thought(block, len(calls))
        if not parts and not calls:
            return
        self._open = {
            call_id: place for place, call_id in enumerate(dict.fromkeys(call.id for call in calls))
        }
        content = _joined(parts, "") if parts else None
        if thoughts:
            self.messages.append(
                ThoughtfulMessage("assistant", content, tool_calls=calls or None, thoughts=tuple(thoughts))
            )
        else:
            self.messages.append(Message("assistant", content, tool_calls=calls or None))

    def _thought(self, block: Block, before: int) -> list[Thought]:
        """What a model gave itself, earlier and to the same key; anything else means nothing to it."""
        blob = unseal(self._scope, block.signature or block.data or "")
        if blob is None or (blob.family, blob.upstream) != (self._model.family, self._model.upstream):
            return []
        return [Thought(blob.kind, blob.payload, before)]

    def _user(self, blocks: list[Block], path: str) -> None:
        results: dict[str, Message] = {}
        parts: list[Part] = []
        shown: list[Part] = []  # what stands in results and is no text
        for place, block in enumerate(blocks):
            where = f"{path}.content.{place}"
            if block.type != "tool_result":
                parts += self._parts(block, where)
                continue
            call_id = told_id(block.tool_use_id)
            text, media = self._result(block, where)
            native = bool(media) and self._shows and call_id in self._open
            if media and not native:
                shown += [TextPart(f"Image from tool call {call_id}:"), *media]
            if call_id in self._open:
                # Of two results for one call the last counts.
                mark = block.cache_control if self._marks else None
                content: str | list[Part] = [TextPart(text, mark)] if mark is not None else text
                if native:
                    content = [*([TextPart(text, mark)] if text else []), *media]
                results[call_id] = Message("tool", content, tool_call_id=call_id)
            elif text:
                parts.append(TextPart(f"[Result of tool call {call_id}: {text}]"))
        self.messages += [results[call_id] for call_id in sorted(results, key=self._open.__getitem__)]
        for call_id in results:
            del self._open[call_id]
        late, self._late = self._late, []
        for text in late:
            self._add_instruction(text)
        if shown or parts:
            self._say(shown + parts)

    def _say(self, parts: list[Part]) -> None:
        """Adds to the newest message if it is the user's, or begins one."""
        if self.messages and self.messages[-1].role == "user":
            self._said[-1] += parts
        else:
            self.messages.append(Message("user"))
            self._said.append(parts)

    def _result(self, block: Block, path: str) -> tuple[str, list[Part]]:
        """A result's text, and what of it is none."""
        content = block.content
        blocks = content if isinstance(content, list) else []
        parts = [part for at, one in enumerate(blocks) for part in self._parts(one, f"{path}.content.{at}")]
        texts = [content] if isinstance(content, str) else []
        texts += [part.text for part in parts if isinstance(part, TextPart)]
        text = "\n".join(texts)
        return ("Error: " if block.is_error else "") + text, [
            part for part in parts if not isinstance(part, TextPart)
        ]

    def _parts(self, block: Block, path: str, depth: int = 0) -> list[Part]:
        if depth > DEPTH_MAX:
            refuse(path, "its blocks are nested too deeply")
        match block.type:
            case "text":
                return [self._text(block.text, block.cache_control)] if block.text else []
            case "image" if isinstance(block.source, Source):
                return [self._image(block.source, block.cache_control, path)]
            case "document" if isinstance(block.source, Source):
                return self._document(block, block.source, path, depth)
            case "search_result":
                texts = (
                    [one.text for one in block.content if one.text] if isinstance(block.content, list) else []
                )
                source = block.source if isinstance(block.source, str) else ""
                return [self._text("\n".join([block.title or "", source, *texts]), block.cache_control)]
            case "tool_reference":
                return [TextPart(f"tool {block.tool_name} loaded")]
        return []  # other kinds are history of what ran elsewhere

    def _image(self, source: Source, mark: CacheControl | None, path: str) -> Part:
        if source.type == "base64":
            url = f"data:{source.media_type};base64,{source.data}"
        elif source.type == "url" and source.url:
            url = source.url
        else:
            refuse(f"{path}.source", "images are taken inline, as base64")
        return ImagePart(ImageUrl(url), mark if self._marks else None)

    def _document(self, block: Block, source: Source, path: str, depth: int) -> list[Part]:
        mark = block.cache_control if self._marks else None
        title = block.title or ""
        if source.type == "text":
            return [self._text(f"{title}\n{source.data}" if title else source.data, mark)]
        if source.type == "content":
            content = source.content or ""
            inner = [Block("text", text=content)] if isinstance(content, str) else content
            return [part for one in inner for part in self._parts(one, path, depth + 1)]
        if source.type != "base64":
            refuse(f"{path}.source", "documents are taken inline, as base64 or text")
        if source.media_type == PDF and not title.lower().endswith(".pdf"):
            title = f"{title}.pdf" if title else _DEFAULT_TITLE
        data = f"data:{source.media_type};base64,{source.data}"
        return [FilePart(FileData(file_data=data, filename=title), mark)]

    def _text(self, text: str | None, mark: CacheControl | None) -> TextPart:
        return TextPart(text or "", mark if self._marks else None)


def _joined(parts: list[Part], between: str = "\n\n") -> str | list[Part]:
    """One text where all is text without marks: many servers take nothing else."""
    texts = [part for part in parts if isinstance(part, TextPart) and part.cache_control is None]
    return between.join(part.text for part in texts) if len(texts) == len(parts) else parts


def _arguments(raw: Raw) -> str:
    """A call's input as the text of an object, whatever was left of it: history must not stop a session."""
    try:
        _decode_object(raw)
    except UNREADABLE:
        value = bytes(raw)
        return "{}" if value in (b"", b"null") else '{"value":' + value.decode(errors="replace") + "}"
    return msgspec.json.format(bytes(raw), indent=-1).decode()
