"""Owns names of tools that OpenAI does not take: told in another way on the way there, and the caller's on the way back."""

import json
import re
from collections.abc import Iterable
from typing import Final

import msgspec
from msgspec import Struct

from schemas.chat.toolsets import TOOL_NAME
from schemas.dialects.messages.names import told_apart
from schemas.json import UNREADABLE


class _Named(Struct):
    name: str | None = None


class _Tool(Struct):
    """A tool or a call, in either of OpenAI's dialects; a namespace has tools of its own."""

    name: str | None = None
    function: _Named | None = None
    custom: _Named | None = None
    tools: list["_Tool"] | None = None

    def names(self) -> Iterable[str | None]:
        """Its own, and those within it."""
        yield from (one.name for one in (self, self.function, self.custom) if one is not None)
        for tool in self.tools or ():
            yield from tool.names()


class _Message(Struct):
    tool_calls: list[_Tool] | None = None


class _Item(Struct):
    type: str | None = None
    name: str | None = None


class _Body(Struct):
    tools: list[_Tool] | None = None
    messages: list[_Message] | None = None
    input: str | list[_Item] | None = None


_decode = msgspec.json.Decoder(_Body).decode
_BACK: Final = rb'("name"\s*:\s*)"(%b)"'


class Names:
    """The names in one request that OpenAI refuses, each with one that it takes; false if there are none.

    Only values under the key `name` change. A quote within a text is escaped, so that no text looks like one.
    """

    def __init__(self, body: bytes) -> None:
        known = dict.fromkeys(_found(body))
        self._told: dict[bytes, bytes] = {}  # as JSON has them, between the quotes
        self._own: dict[bytes, bytes] = {}
        refused = [name for name in known if TOOL_NAME.fullmatch(name) is None]
        for name, told in told_apart(refused, known).items():
            self._own[told.encode()] = msgspec.json.encode(name)[1:-1]
            for written in (msgspec.json.encode(name), json.dumps(name).encode()):
                self._told[written[1:-1]] = told.encode()

    def __bool__(self) -> bool:
        return bool(self._own)

    def there(self, body: bytes) -> bytes:
        """A request as OpenAI takes it."""
        return _renamed(body, self._told)

    def back(self, answer: bytes) -> bytes:
        """An answer, or an event of one, with the caller's names."""
        return _renamed(answer, self._own)


def _found(body: bytes) -> Iterable[str]:
    try:
        asked = _decode(body)
    except UNREADABLE:
        return  # the provider says what is wrong with it
    tools = [*(asked.tools or ())]
    for message in asked.messages or ():
        tools += message.tool_calls or ()
    for tool in tools:
        yield from (name for name in tool.names() if name)
    for item in asked.input if isinstance(asked.input, list) else ():
        if item.name and (item.type or "").endswith("_call"):
            yield item.name


def _renamed(raw: bytes, names: dict[bytes, bytes]) -> bytes:
    pattern = _BACK % b"|".join(map(re.escape, names))
    return re.sub(pattern, lambda found: b'%b"%b"' % (found[1], names[found[2]]), raw)
