"""Owns what a vendor's quirks do to a request: what it would refuse is left out, or said in its own words."""

import hashlib
import string
from collections.abc import Callable
from typing import Any, Final

import msgspec
from msgspec import Raw

from runtime.catalogue.quirks import Quirks
from schemas.json import UNREADABLE

_DEVELOPER: Final = b'"developer"'
_SYSTEM: Final = Raw(b'"system"')
_ASSISTANT: Final = b'"assistant"'
_EMPTY_TEXT: Final = Raw(b'""')
_STRICT: Final = "strict"
_STRICT_SIGN: Final = b'"strict"'
_CALLS: Final = "tool_calls"
_RESULT_OF: Final = "tool_call_id"
_CALL_SIGN: Final = b'"tool_call'
# What servers call it: the first that is a text counts.
_REASONINGS: Final = ("reasoning_content", "reasoning")
_ID_ALPHABET: Final = string.digits + string.ascii_letters

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.decode
_decode_map = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_list = msgspec.json.Decoder(list[Raw]).decode

Fields = dict[str, Raw]


def suit(fields: Fields, quirks: Quirks) -> None:
    """Makes a body, one level deep, what a vendor with these quirks takes. What is no quirk stays byte for byte."""
    for name in quirks.drop:
        fields.pop(name, None)
    for name, value in quirks.unsaid.items():
        if name in fields and _is(fields[name], value):
            del fields[name]
    for name, here in quirks.rename.items():
        if name in fields:
            fields[here] = fields.pop(name)
    if quirks.model_prefix and "/" not in (model := str(_decode(fields["model"]))):  # the row's own id
        fields["model"] = Raw(_encode(quirks.model_prefix + model))
    if not quirks.strict_tools:
        _each(fields, "tools", _STRICT_SIGN, _loosen)
    raw = bytes(fields.get("messages", b""))
    if any(sign in raw for sign in _signs(quirks)):
        _each(fields, "messages", b"", lambda message: _mend(message, quirks))


def _signs(quirks: Quirks) -> tuple[bytes, ...]:
    """What stands in messages that may have to change: without any of it they are not even decoded."""
    said = tuple(f'"{name}"'.encode() for name in quirks.drop_said)
    calls = (_CALL_SIGN,) if quirks.reasoning or quirks.call_id_chars else ()
    return (_DEVELOPER, *said, *calls)


def _is(raw: Raw, value: Any) -> bool:
    """Whether a raw value is this one, or none at all: 1 and 1.0 are one number, and true is no number."""
    try:
        found = _decode(raw)
    except UNREADABLE:  # too deep
        return False
    return found is None or (isinstance(found, bool) is isinstance(value, bool) and bool(found == value))


def _each(fields: Fields, name: str, sign: bytes, change: Callable[[Fields], bool]) -> bool:
    """Applies a change to each object of a list that holds a sign. Each says whether it was one, as this does of all."""
    raw = fields.get(name)
    if raw is None or bytes(raw)[:1] != b"[" or sign not in bytes(raw):
        return False
    items = _decode_list(raw)
    changed = False
    for at, item in enumerate(items):
        if bytes(item)[:1] != b"{":
            continue
        inner = _decode_map(item)
        if change(inner):
            items[at] = Raw(_encode(inner))
            changed = True
    if changed:
        fields[name] = Raw(_encode(items))
    return changed


def _loosen(tool: Fields) -> bool:
    function = tool.get("function")
    if function is None or bytes(function)[:1] != b"{":
        return False
    inner = _decode_map(function)
    if inner.pop(_STRICT, None) is None:
        return False
    tool["function"] = Raw(_encode(inner))
    return True


def _mend(message: Fields, quirks: Quirks) -> bool:
    role = bytes(message.get("role", b""))
    changed = False
    if role == _DEVELOPER:
        message["role"] = _SYSTEM
        changed = True
    if role == _ASSISTANT:
        if quirks.reasoning and _calls(message):
            changed = _bring_reasoning(message, quirks.reasoning)
        for name in quirks.drop_said:
            changed = message.pop(name, None) is not None or changed
    if quirks.call_id_chars:
        changed = _shorten(message, quirks.call_id_chars) or changed
    return changed


def _calls(message: Fields) -> bool:
    return bytes(message.get(_CALLS, b"null")) not in (b"null", b"[]")


def _bring_reasoning(message: Fields, name: str) -> bool:
    """Puts the reasoning of a message under its name here; none at all is an empty text, for it has to be there."""
    if _is_text(message.get(name)):
        return False
    found = (message.pop(other) for other in _REASONINGS if other != name and _is_text(message.get(other)))
    message[name] = next(found, _EMPTY_TEXT)
    return True


def _is_text(raw: Raw | None) -> bool:
    return raw is not None and bytes(raw)[:1] == b'"'


def _shorten(message: Fields, chars: int) -> bool:
    changed = _respell(message, _RESULT_OF, chars)
    return _each(message, _CALLS, b"", lambda call: _respell(call, "id", chars)) or changed


def _respell(fields: Fields, name: str, chars: int) -> bool:
    """Writes an id as the vendor takes it: the same text always gives the same id, so a result finds its call."""
    raw = fields.get(name)
    if raw is None or not _is_text(raw):
        return False
    given = str(_decode(raw))
    if len(given) == chars and given.isascii() and given.isalnum():
        return False
    number = int.from_bytes(hashlib.sha256(given.encode()).digest(), "big")
    letters = []
    for _ in range(chars):
        number, digit = divmod(number, len(_ID_ALPHABET))
        letters.append(_ID_ALPHABET[digit])
    fields[name] = Raw(_encode("".join(letters)))
    return True
