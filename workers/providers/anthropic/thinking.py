"""Owns Messages calls whose earlier reasoning is not there, or cannot be verified: what is left of them."""

from typing import Any, Final

import msgspec
from msgspec import Raw

from schemas.json import UNREADABLE

_KINDS: Final = frozenset(("thinking", "redacted_thinking"))
_SIGN: Final = b'thinking"'
BUDGET: Final = "enabled"  # thinking with a budget: it wants the reasoning of a running turn back
_CALLED: Final = b'"tool_result"'
_NONE: Final = Raw(b"null")
_encode = msgspec.json.Encoder().encode
_decode_fields = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_objects = msgspec.json.Decoder(list[dict[str, Raw]]).decode
_decode = msgspec.json.decode


def without_reasoning(body: bytes) -> bytes | None:
    """The same call without any; None if there is none. A turn that is empty without it is left out.

    A budget of thinking goes too where the last turn brings results: the model then goes on without.
    """
    try:
        return _without_reasoning(body)
    except UNREADABLE:
        return None


def _without_reasoning(body: bytes) -> bytes | None:
    fields = _decode_fields(body)
    turns = _decode_objects(fields["messages"])
    kept: list[dict[str, Raw]] = []
    dropped = False
    for turn in turns:
        content = turn.get("content", _NONE)
        if not bytes(content).startswith(b"[") or _SIGN not in bytes(content):
            kept.append(turn)
            continue
        blocks = _decode_objects(content)
        left = [block for block in blocks if _value(block, "type") not in _KINDS]
        dropped = dropped or len(left) < len(blocks)
        if left:
            kept.append(turn | {"content": Raw(_encode(left))})
    if not dropped or not kept:
        return None
    fields["messages"] = Raw(_encode(kept))
    thinking = _decode_fields(fields["thinking"]) if "thinking" in fields else {}
    if _value(thinking, "type") == BUDGET and _CALLED in bytes(kept[-1].get("content", _NONE)):
        del fields["thinking"]
        fields.pop("context_management", None)  # what it clears is gone, and it may not stand alone
    return _encode(fields)


def lacks_reasoning(messages: Raw) -> bool:
    """Whether the turn under way is one of calls whose reasoning is not there: a budget of thinking is refused then."""
    try:
        turns = _decode_objects(messages)
        return _lacks_reasoning(turns)
    except UNREADABLE:
        return False  # Anthropic says what is wrong with it


def _lacks_reasoning(turns: list[dict[str, Raw]]) -> bool:
    if not turns or _CALLED not in bytes(turns[-1].get("content", b"")):
        return False
    last = next((turn for turn in reversed(turns) if _value(turn, "role") == "assistant"), None)
    content = last.get("content") if last is not None else None
    if content is None or not bytes(content).startswith(b"["):
        return False
    blocks = _decode_objects(content)
    return bool(blocks) and _value(blocks[0], "type") not in _KINDS


def _value(fields: dict[str, Raw], name: str) -> Any:
    return _decode(fields[name]) if name in fields else None
