"""Owns the items of a Responses answer: the events that each opens, fills and closes with, and what it is at last."""

from collections.abc import Sequence
from typing import Any, Final, Protocol

from schemas.responses.local_tools import APPLY_PATCH, LOCAL_TOOLS
from schemas.responses.tools import CUSTOM, Named
from workers.answers.responses.custom import CustomInput
from workers.answers.responses.events import Events, encode, escaped, template

DONE: Final = "completed"
CUT: Final = "incomplete"
_BEGUN: Final = "in_progress"


class Item(Protocol):
    """One item of an answer, the only one that is open."""

    def close(self, status: str) -> tuple[bytes, bytes]:
        """Its last events, and the item itself as JSON."""
        ...


class MessageItem:
    """What the model says, or its refusal in its own words."""

    __slots__ = ("_delta", "_events", "_head", "_logprobs", "_name", "_output", "_text", "_where", "refused")

    def __init__(self, events: Events, output: int, item_id: str, *, refused: bool) -> None:
        self._events = events
        self._output = output
        self.refused = refused
        self._text: list[str] = []
        self._logprobs: list[dict[str, Any]] = []
        self._head = b'"id":%b,"type":"message","status":"' % encode(item_id)
        self._where = b'"item_id":%b,"output_index":%d,"content_index":0,' % (encode(item_id), output)
        self._name = b"refusal.delta" if refused else b"output_text.delta"
        self._delta = template(self._name, self._where + b'"delta":', b"" if refused else b',"logprobs":[]')

    def open(self) -> bytes:
        """The item without a word, and its only part."""
        event = self._events.event
        item = b'"output_index":%d,"item":{%bin_progress","role":"assistant","content":[]}'
        added = event(b"output_item.added", item % (self._output, self._head))
        return added + event(b"content_part.added", b'%b"part":%b' % (self._where, self._part("", b"[]")))

    def say(self, text: str, logprobs: Sequence[dict[str, Any]] | None = None) -> bytes:
        """A piece of it."""
        self._text.append(text)
        if not logprobs:
            return self._events.fill(self._delta, text)
        self._logprobs += logprobs
        fields = b'%b"delta":%b,"logprobs":%b' % (self._where, encode(text), encode(logprobs))
        return self._events.event(self._name, fields)

    def close(self, status: str) -> tuple[bytes, bytes]:
        """Its last events, and the item itself as JSON."""
        event, text = self._events.event, "".join(self._text)
        logprobs = encode(self._logprobs)
        part = self._part(text, logprobs)
        if self.refused:
            out = event(b"refusal.done", b'%b"refusal":%b' % (self._where, encode(text)))
        else:
            said = b'%b"text":%b,"logprobs":%b' % (self._where, encode(text), logprobs)
            out = event(b"output_text.done", said)
        out += event(b"content_part.done", b'%b"part":%b' % (self._where, part))
        item = b'{%b%b","role":"assistant","content":[%b]}' % (self._head, status.encode(), part)
        return out + event(b"output_item.done", b'"output_index":%d,"item":%b' % (self._output, item)), item

    def _part(self, text: str, logprobs: bytes) -> bytes:
        if self.refused:
            return b'{"type":"refusal","refusal":%b}' % encode(text)
        return b'{"type":"output_text","text":%b,"annotations":[],"logprobs":%b}' % (encode(text), logprobs)


class ReasoningItem:
    """What a provider shows of its reasoning, as a summary, with what proves it to that provider alone."""

    __slots__ = ("_delta", "_events", "_head", "_output", "_text", "_where", "blob")

    def __init__(self, events: Events, output: int, item_id: str) -> None:
        self._events = events
        self._output = output
        self._text: list[str] = []
        self._head = b'"id":%b,"type":"reasoning","summary":[' % encode(item_id)
        self._where = b'"item_id":%b,"output_index":%d,"summary_index":0,' % (encode(item_id), output)
        self._delta = template(b"reasoning_summary_text.delta", self._where + b'"delta":')
        self.blob = ""  # for `encrypted_content`

    def open(self) -> bytes:
        """The item without a word."""
        return self._events.event(
            b"output_item.added", b'"output_index":%d,"item":{%b]}' % (self._output, self._head)
        )

    def show(self, text: str) -> bytes:
        """A piece of it."""
        opened = b""
        if not self._text:
            part = b'%b"part":{"type":"summary_text","text":""}' % self._where
            opened = self._events.event(b"reasoning_summary_part.added", part)
        self._text.append(text)
        return opened + self._events.fill(self._delta, text)

    def close(self, status: str) -> tuple[bytes, bytes]:
        """Its last events, and the item itself as JSON."""
        del status
        event, out, parts = self._events.event, b"", b""
        if self._text:
            text = encode("".join(self._text))
            parts = b'{"type":"summary_text","text":%b}' % text
            out = event(b"reasoning_summary_text.done", b'%b"text":%b' % (self._where, text))
            out += event(b"reasoning_summary_part.done", b'%b"part":%b' % (self._where, parts))
        blob = b',"encrypted_content":%b' % encode(self.blob) if self.blob else b""
        item = b"{%b%b]%b}" % (self._head, parts, blob)
        return out + event(b"output_item.done", b'"output_index":%d,"item":%b' % (self._output, item)), item


class CallItem:
    """A call of a function, or of a custom tool under the caller's own name for it."""

    __slots__ = ("_custom", "_events", "_fragment", "_head", "_named", "_output", "_text", "_where")

    def __init__(self, events: Events, output: int, item_id: str, call_id: str, named: Named) -> None:
        self._events = events
        self._output = output
        self._named = named
        self._text: list[str] = []
        self._custom = CustomInput() if named.kind == CUSTOM else None
        kind = b"function_call" if self._custom is None else b"custom_tool_call"
        self._head = b'"id":%b,"type":"%b","status":"%%b","call_id":%b,"name":%b,"%b":%%b%b' % (
            escaped(encode(item_id)),
            kind,
            escaped(encode(call_id)),
            escaped(encode(named.name)),
            b"arguments" if self._custom is None else b"input",
            b',"namespace":%b' % escaped(encode(named.namespace)) if named.namespace else b"",
        )
        self._where = b'"item_id":%b,"output_index":%d,' % (encode(item_id), output)
        name = b"function_call_arguments" if self._custom is None else b"custom_tool_call_input"
        self._fragment = template(name + b".delta", self._where + b'"delta":')

    def open(self) -> bytes:
        """The call without its arguments."""
        item = self._head % (b"in_progress", b'""')
        return self._events.event(
            b"output_item.added", b'"output_index":%d,"item":{%b}' % (self._output, item)
        )

    def argue(self, fragment: str) -> bytes:
        """A piece of its arguments."""
        if self._custom is not None:
            return self._delta(self._custom.feed(fragment))
        self._text.append(fragment)
        return self._delta(fragment)

    def _delta(self, text: str) -> bytes:
        return self._events.fill(self._fragment, text) if text else b""

    def close(self, status: str) -> tuple[bytes, bytes]:
        """Its last events, and the item itself as JSON."""
        event = self._events.event
        if self._custom is not None:
            out = self._delta(self._custom.end())
            text = encode(self._custom.told)
            out += event(b"custom_tool_call_input.done", b'%b"input":%b' % (self._where, text))
        else:
            text = encode("".join(self._text))
            done = b'%b"name":%b,"arguments":%b' % (self._where, encode(self._named.name), text)
            out = event(b"function_call_arguments.done", done)
        item = b"{%b}" % (self._head % (status.encode(), text))
        return out + event(b"output_item.done", b'"output_index":%d,"item":%b' % (self._output, item)), item


class LocalItem(CallItem):
    """A call of one of OpenAI's own tools that run at the caller: told once it is whole, for its fields have no pieces."""

    __slots__ = ("_arguments", "_names", "_tool")

    def __init__(self, events: Events, output: int, item_id: str, call_id: str, named: Named) -> None:
        super().__init__(events, output, item_id, call_id, named)
        self._tool = LOCAL_TOOLS[named.kind]
        self._names = {"id": item_id, "type": self._tool.call, "call_id": call_id}
        self._arguments: list[str] = []

    def open(self) -> bytes:
        """Nothing yet."""
        return b""

    def argue(self, fragment: str) -> bytes:
        """Keeps a piece of its arguments."""
        self._arguments.append(fragment)
        return b""

    def close(self, status: str) -> tuple[bytes, bytes]:
        """Its events, and the item itself as JSON. One that was cut asks for nothing: what it would do is not known."""
        fields = self._tool.item("".join(self._arguments) if status == DONE else "")
        before = encode(self._names | {"status": _BEGUN} | self._tool.begun(fields))
        # The type of a patch has no word for one that was cut.
        told = _BEGUN if status == CUT and self._tool.kind == APPLY_PATCH else status
        item = encode(self._names | {"status": told} | fields)
        event, where = self._events.event, b'"output_index":%d,"item":%b'
        out = event(b"output_item.added", where % (self._output, before))
        return out + event(b"output_item.done", where % (self._output, item)), item
