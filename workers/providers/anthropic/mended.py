"""Owns what is put right in a request that goes to Anthropic as it is: what other providers and their models left in it."""

import re
from collections import Counter
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from schemas.dialects.messages.names import told_name
from schemas.json import UNREADABLE
from workers.providers.call_ids import ID_CHARS_MAX, CallIds

Fields = dict[str, Raw]

# Cheap signs that there may be something to put right. Without any a conversation is not even decoded.
_TOOL_SIGN: Final = b'"tool_'
_BLANK_BEGINS: Final = re.compile(rb':\s?"(?:"|\s|\\[nrt])')  # a value that is empty or blank, or begins so
_BLANK: Final = re.compile(rb'"(?:\s|\\[nrt])*"')
_BEGINS: Final = re.compile(rb'\[\s*\{\s*"role"\s*:\s*"assistant"')
_OPENING: Final[Fields] = {"role": Raw(b'"user"'), "content": Raw(b'"."')}
_NONE: Final = Raw(b"[]")
_CALL: Final = b'"tool_use"'
_RESULT: Final = b'"tool_result"'
_TEXT: Final = b'"text"'
_ASSISTANT: Final = b'"assistant"'
_USER: Final = b'"user"'
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,128}", re.ASCII)
_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
_NOT_IN_IDS: Final = re.compile(r"[^A-Za-z0-9_-]", re.ASCII)
_decode_objects = msgspec.json.Decoder(list[Fields]).decode
_encode = msgspec.json.Encoder().encode


class _SeenBlock(Struct):
    type: str
    text: str = ""
    id: str = ""
    name: str = ""
    input: Raw = Raw(b"")
    tool_use_id: str = ""


class _Seen(Struct):
    """A message, as far as it is looked at before anything is changed."""

    role: str
    content: str | list[_SeenBlock]


_decode_seen = msgspec.json.Decoder(list[_Seen]).decode


def mended(messages: Raw) -> Raw:
    """A conversation without what makes Anthropic refuse a history, whoever wrote it; the same one where it has none.

    Ids of calls that repeat, or that it does not take, are told in another way, the same in their results. An input
    that is no object becomes one that holds it. Of two results for one call the last counts, one for no call is text,
    and results come first. Empty texts go, and a turn that is empty without them. The user opens.

    Calls without a result stay: Anthropic says so, in words that its clients know.
    """
    raw = bytes(messages)
    if _TOOL_SIGN not in raw and _BLANK_BEGINS.search(raw) is None and _BEGINS.match(raw) is None:
        return messages
    try:
        return messages if _is_right(_decode_seen(raw)) else _mended(messages)
    except UNREADABLE:
        return messages  # Anthropic says what is wrong with it


def _mended(messages: Raw) -> Raw:
    turns = [_Turn(fields) for fields in _decode_objects(messages)]
    _settle_results(turns)
    ids = CallIds(spelt_id)
    for turn in turns:
        turn.rename()
        turn.respell(ids)
        turn.put_right()
    kept = [turn.fields for turn in turns if not turn.is_empty]
    changed = len(kept) < len(turns) or any(turn.changed for turn in turns)
    if kept and bytes(kept[0].get("role", b"")) == _ASSISTANT:
        kept.insert(0, _OPENING)
        changed = True
    return Raw(_encode(kept)) if changed and kept else messages


def _is_right(turns: list[_Seen]) -> bool:
    """Whether Anthropic takes a conversation as it is, as far as is put right here: nearly each one is."""
    used: set[str] = set()
    waiting: set[str] = set()
    for at, turn in enumerate(turns):
        content = turn.content
        if turn.role == "assistant":
            if at == 0:
                return False
            waiting = set()
        if isinstance(content, str) and not content.strip():
            return False
        if isinstance(content, list) and not _are_right(content, used, waiting):
            return False
    return True


def _are_right(blocks: list[_SeenBlock], used: set[str], waiting: set[str]) -> bool:
    """The same for the blocks of one turn: `used` holds all ids of calls before it, `waiting` those without a result."""
    first = True  # nothing but results so far
    for block in blocks:
        if block.type == "tool_result":
            if not first or block.tool_use_id not in waiting:
                return False
            waiting.discard(block.tool_use_id)
            continue
        first = False
        if block.type == "tool_use":
            if block.id in used or not _takes(block):
                return False
            used.add(block.id)
            waiting.add(block.id)
        elif block.type == "text" and not block.text.strip():
            return False
    return True


def _takes(call: _SeenBlock) -> bool:
    spelt = _ID.fullmatch(call.id) is not None and _NAME.fullmatch(call.name) is not None
    return spelt and bytes(call.input).startswith(b"{")


def spelt_id(call_id: str) -> str:
    """A call's id in the characters that Anthropic takes, never longer than it was."""
    return _NOT_IN_IDS.sub("_", call_id)[:ID_CHARS_MAX] or "_"


def own_name(name: str) -> str:
    """A tool's name as Anthropic takes it."""
    return name if _NAME.fullmatch(name) else told_name(name)


def renamed(fields: Fields) -> dict[str, str]:
    """Gives the tools and the tool choice of a request, in place, names that Anthropic takes: the caller's by those.

    What cannot be read stays as it is.
    """
    try:
        tools = _decode_objects(fields.get("tools", _NONE))
    except UNREADABLE:
        return {}
    names: dict[str, str] = {}
    for tool in tools:
        name = _text_of(tool.get("name"))
        if name and (told := own_name(name)) != name:
            names[told] = name
            tool["name"] = Raw(_encode(told))
    if not names:
        return names
    fields["tools"] = Raw(_encode(tools))
    choice = bytes(fields.get("tool_choice", b""))
    if choice.startswith(b"{"):
        chosen: Fields = msgspec.json.decode(choice, type=Fields)
        if name := _text_of(chosen.get("name")):
            fields["tool_choice"] = Raw(_encode(chosen | {"name": Raw(_encode(own_name(name)))}))
    return names


class _Turn:
    """One message, and its blocks where there may be something to put right in them."""

    def __init__(self, fields: Fields) -> None:
        self._fields = fields
        self.changed = False
        self.role = bytes(fields.get("role", b""))
        content = bytes(fields.get("content", b""))
        self.blocks: list[Fields] | None = _decode_objects(content) if content.startswith(b"[") else None
        self.is_empty = self.role in (_ASSISTANT, _USER) and _BLANK.fullmatch(content) is not None

    @property
    def fields(self) -> Fields:
        """The message, as little changed as can be."""
        if not self.changed:
            return self._fields
        return self._fields | {"content": Raw(_encode(self.blocks))}

    def of_kind(self, kind: bytes) -> list[Fields]:
        """Its blocks of one type."""
        return [block for block in self.blocks or () if bytes(block.get("type", b"")) == kind]

    def replace(self, blocks: list[Fields]) -> None:
        """Gives it other blocks."""
        self.blocks = blocks
        self.changed = True

    def rename(self) -> None:
        """Tells the names of its calls."""
        for block in self.of_kind(_CALL):
            if (name := _text_of(block.get("name"))) and (told := own_name(name)) != name:
                block["name"] = Raw(_encode(told))
                self.changed = True

    def respell(self, ids: CallIds) -> None:
        """Tells the ids of its calls and results."""
        for kind, name, told in ((_CALL, "id", ids.call), (_RESULT, "tool_use_id", ids.result)):
            for block in self.of_kind(kind):
                given = _text_of(block.get(name))
                if given is not None and (sent := told(given)) != given:
                    block[name] = Raw(_encode(sent))
                    self.changed = True

    def put_right(self) -> None:
        """Inputs are objects, no text is empty, and results come first."""
        if self.blocks is None:
            return
        for block in self.of_kind(_CALL):
            given = bytes(block.get("input", b"null"))
            if not given.startswith(b"{"):
                block["input"] = Raw(b"{}" if given in (b"null", b'""') else b'{"value":%b}' % given)
                self.changed = True
        texts = [_text_of(block.get("text")) for block in self.of_kind(_TEXT)]
        blank = not any(text is None or text.strip() for text in texts)
        kept = [block for block in self.blocks if not _is_empty(block, blank=blank)]
        if len(kept) < len(self.blocks):
            self.replace(kept)
        self.is_empty = not kept and bool(texts)
        if self.role == _USER:
            ordered = sorted(kept, key=_is_no_result)
            if ordered != kept:
                self.replace(ordered)


def _is_empty(block: Fields, *, blank: bool) -> bool:
    """Whether a block is an empty text, or a blank one where no other text stands beside it."""
    if bytes(block.get("type", b"")) != _TEXT:
        return False
    text = _text_of(block.get("text"))
    return text is not None and (not text or (blank and not text.strip()))


def _is_no_result(block: Fields) -> bool:
    return bytes(block.get("type", b"")) != _RESULT


def _settle_results(turns: list[_Turn]) -> None:
    """Leaves each call of a turn its last result, and tells results of no call as text."""
    calls: Counter[str | None] = Counter()
    behind: list[_Turn] = []  # the user's turns since those calls
    for turn in turns:
        if turn.role == _ASSISTANT:
            if behind:
                _settle(calls, behind)
                calls, behind = Counter(), []
            calls.update(_text_of(block.get("id")) for block in turn.of_kind(_CALL))
        elif turn.role == _USER:
            behind.append(turn)
    _settle(calls, behind)


def _settle(calls: Counter[str | None], turns: list[_Turn]) -> None:
    left = calls.copy()
    for turn in reversed(turns):
        kept: list[Fields] = []
        changed = False
        for block in reversed(turn.blocks or []):
            call_id = None if _is_no_result(block) else _text_of(block.get("tool_use_id"))
            if call_id is None or left[call_id] > 0:
                left[call_id] -= 1
                kept.append(block)
                continue
            changed = True
            if call_id not in calls:
                kept += reversed(_as_text(block, call_id))
        if changed:
            turn.replace(kept[::-1])


def _as_text(result: Fields, call_id: str) -> list[Fields]:
    """What a result of no call says."""
    content = result.get("content", Raw(b'""'))
    label = f"[Result of tool call {call_id}]"
    if bytes(content).startswith(b"["):
        return [_text_block(label), *_decode_objects(content)]
    said = _text_of(content) or ""
    return [_text_block(f"{label}\n{said}".strip())]


def _text_block(text: str) -> Fields:
    return {"type": Raw(_TEXT), "text": Raw(_encode(text))}


def _text_of(raw: Raw | None) -> str | None:
    """A value that is a text; None for any other."""
    if raw is None or not bytes(raw).startswith(b'"'):
        return None
    value: Any = msgspec.json.decode(raw)
    return str(value)
