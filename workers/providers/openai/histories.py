"""Owns tool calls and results of a history that began elsewhere: what OpenAI's chat, or a server like it, would refuse of them."""

import re
from typing import Any, Final

import msgspec
from msgspec import Raw

from schemas.chat.conversations import usable
from schemas.dialects.messages.names import told_id
from schemas.json import UNREADABLE

SIGN: Final = b'"tool_call_id"'  # a history without it has no result of a tool, and stays as it is
_LONG_ID: Final = re.compile(rb'"tool_call_id"\s*:\s*"[^"]{41}')  # OpenAI's bound is 40 characters
_MEDIA_SIGNS: Final = (b'"image_url"', b'"file"', b'"input_audio"')
_ID_CHARS_MAX: Final = 40
_TEXT: Final = b'"text"'
_CALLS: Final = "tool_calls"
_RESULT_OF: Final = "tool_call_id"

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.decode
_decode_maps = msgspec.json.Decoder(list[dict[str, Raw]]).decode

Fields = dict[str, Raw]


def readable(fields: Fields) -> None:
    """Makes of a body's `messages`, in place, what OpenAI reads. What it would take stays byte for byte.

    Ids that are too long, as some servers make them, are told in another way, the same in a call and its result.
    Pictures and files, which a tool's message may not hold, follow in a user's.
    """
    raw = bytes(fields.get("messages", b""))
    long = _LONG_ID.search(raw) is not None
    media = any(sign in raw for sign in _MEDIA_SIGNS)
    if not long and not media:
        return
    try:
        made = _shown(_decode_maps(raw)) if media else None
        changed = made is not None
        messages = _decode_maps(raw) if made is None else made
        for message in messages if long else ():
            changed = _respell(message) or changed
    except UNREADABLE:
        return  # the provider says what is wrong with it
    if changed:
        fields["messages"] = Raw(_encode(messages))


def whole(fields: Fields) -> None:
    """Makes the arguments of earlier calls, in place, objects, whatever is left of them: many servers parse them."""
    try:
        messages = _decode_maps(fields.get("messages", Raw(b"[]")))
        changed = [_complete(message) for message in messages]
    except UNREADABLE:
        return
    if any(changed):
        fields["messages"] = Raw(_encode(messages))


def _respell(message: Fields) -> bool:
    changed = _respell_one(message, _RESULT_OF)
    calls = _calls(message)
    respelt = [_respell_one(call, "id") for call in calls]
    if any(respelt):
        message[_CALLS] = Raw(_encode(calls))
        changed = True
    return changed


def _respell_one(fields: Fields, name: str) -> bool:
    given = _text(fields.get(name))
    if len(given) <= _ID_CHARS_MAX:
        return False
    fields[name] = Raw(_encode(told_id(given)))
    return True


def _complete(message: Fields) -> bool:
    calls = _calls(message)
    completed = [_complete_one(call) for call in calls]
    if not any(completed):
        return False
    message[_CALLS] = Raw(_encode(calls))
    return True


def _complete_one(call: Fields) -> bool:
    raw = call.get("function")
    if raw is None or bytes(raw)[:1] != b"{":
        return False
    function: Fields = _decode(raw, type=Fields)
    given = function.get("arguments")
    if given is None or bytes(given)[:1] != b'"':
        return False
    text = _text(given)
    if (told := usable(text)) == text:
        return False
    function["arguments"] = Raw(_encode(told))
    call["function"] = Raw(_encode(function))
    return True


def _shown(messages: list[Fields]) -> list[Fields] | None:
    """The messages with what results show in a user's message behind them; None where they show nothing."""
    made: list[Fields] = []
    shown: list[Any] = []
    moved = False
    for message in messages:
        if bytes(message.get("role", b"")) != b'"tool"':
            made += _as_users(shown)
            shown = []
        elif parts := _not_text(message):
            moved = True
            told = f"Image from tool call {_text(message.get(_RESULT_OF))}:"
            shown += [{"type": "text", "text": told}, *parts]
        made.append(message)
    return [*made, *_as_users(shown)] if moved else None


def _as_users(shown: list[Any]) -> list[Fields]:
    return [{"role": Raw(b'"user"'), "content": Raw(_encode(shown))}] if shown else []


def _not_text(message: Fields) -> list[Fields]:
    """Takes the parts of a result that are no text off it."""
    content = message.get("content")
    if content is None or bytes(content)[:1] != b"[":
        return []
    parts = _decode_maps(content)
    media = [part for part in parts if bytes(part.get("type", _TEXT)) != _TEXT]
    if media:
        texts = [part for part in parts if bytes(part.get("type", _TEXT)) == _TEXT]
        message["content"] = Raw(_encode(texts or ""))
    return media


def _calls(message: Fields) -> list[Fields]:
    raw = message.get(_CALLS)
    return _decode_maps(raw) if raw is not None and bytes(raw)[:1] == b"[" else []


def _text(raw: Raw | None) -> str:
    return str(_decode(raw)) if raw is not None and bytes(raw)[:1] == b'"' else ""
