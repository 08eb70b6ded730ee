"""Owns OpenAI's chat answers as typed answer events: what a chat upstream says, for a caller of another dialect."""

from collections.abc import Callable
from functools import partial
from typing import Any, Final

import msgspec
from msgspec import Struct

from schemas.chat.conversations import arguments
from schemas.errors import upstream_failed
from schemas.json import UNREADABLE
from workers.answers.base import Answer
from workers.providers.base import Action, Fault
from workers.providers.faults import NONSENSE

CALLS_MAX: Final = 1_024  # of one choice: more is no answer
HELD_CHARS_MAX: Final = 65_536  # of one answer: what is said while a call is not whole waits for its end

# What servers write in the place of a stop sequence though none was met: a caller's sequence of that very word is not told.
_MERE_REASONS: Final = frozenset(
    ("", "complete", "completed", "end_turn", "eos", "eos_token", "stop", "stop_sequence")
)
_ENDS: Final = frozenset(("length", "content_filter"))  # any other reason is a way of having said all
BROKEN_CALL: Final = Fault(
    upstream_failed("The model made a tool call with invalid tool arguments. Retry."),
    Action.NEXT,
    unbilled=False,
)


class _Function(Struct):
    name: str | None = None
    arguments: str | None = None


class _ToolCall(Struct):
    index: int | None = None
    id: str | None = None
    function: _Function | None = None
    custom: Any = None  # no dialect has a place for it here


class ChatSaid(Struct):
    """What a chunk's delta or a plain answer's message says."""

    content: str | None = None
    refusal: str | None = None
    reasoning_content: Any = None  # servers differ in these two: one that is no text says nothing
    reasoning: Any = None
    tool_calls: list[_ToolCall] | None = None
    function_call: Any = None  # nor for this


class _Top(Struct):
    token: str
    logprob: float | None


class _Entry(_Top):
    top_logprobs: list[_Top] | None = None


class _Logprobs(Struct):
    content: list[_Entry] | None = None


class ChatChoice(Struct):
    """What a chunk or a plain answer says of one choice."""

    index: int = 0
    delta: ChatSaid | None = None
    message: ChatSaid | None = None
    logprobs: Any = None
    finish_reason: str | None = None
    stop_reason: Any = None  # where a server stopped, by two names: a sequence, a token's number or nothing
    matched_stop: Any = None

    @property
    def matched(self) -> str | None:
        """The stop sequence that a server names. A word that may be no more than a reason for the end is not taken for one."""
        if self.finish_reason != "stop":
            return None
        told = _text(self.stop_reason) or _text(self.matched_stop)
        return None if told in _MERE_REASONS else told


class _Body(Struct):
    """A chunk or a plain answer, as far as another dialect can say it."""

    choices: list[ChatChoice] = []


_decode = msgspec.json.Decoder(_Body).decode


class _Call(Struct):
    """One tool call so far."""

    id: str = ""
    name: str = ""
    pieces: list[str] = []
    told: bool = False

    @property
    def whole(self) -> bool:
        # Parsed only where the last piece may end an object, so that a long call costs little.
        last = next((piece for piece in reversed(self.pieces) if not piece.isspace()), "")
        return last.rstrip().endswith("}") and not self.broken

    @property
    def broken(self) -> bool:
        """Whether nobody can use its arguments as they are; none at all can be used."""
        return arguments("".join(self.pieces)) is None


class _Calls:
    """The tool calls of one choice. An answer tells them one after the other; chunks may go back and forth."""

    def __init__(self) -> None:
        self.calls: dict[int, _Call] = {}
        self.told = 0  # how many have been opened
        self.open: _Call | None = None  # the last of them, until something else is told: it takes fragments
        self.held: list[tuple[str, Callable[[], bytes]]] = []  # said while it was not whole


class ChatReader:
    """Tells one chat answer to an `Answer`. `fault` is set for what cannot be read, or calls that nobody can use."""

    def __init__(self, render: Answer) -> None:
        self._render = render
        self._calls: dict[int, _Calls] = {}
        self._held_chars = 0
        self.fault: Fault | None = None

    def say(self, raw: bytes) -> bytes:
        """What the caller is sent for one chunk, or for a plain body, as JSON."""
        try:
            answer = _decode(raw)
        except UNREADABLE:
            self.fault = NONSENSE
            return b""
        return self.tell(answer.choices)

    def tell(self, choices: list[ChatChoice]) -> bytes:
        """The same for choices that have been read."""
        out = b""
        for choice in choices:
            said = choice.delta or choice.message
            if said is not None:
                out += self._say(choice, said)
            if choice.finish_reason is not None and self.fault is None:
                out += self._finish(choice.index, choice.finish_reason, choice.matched)
        return out

    def _say(self, choice: ChatChoice, said: ChatSaid) -> bytes:
        render, index = self._render, choice.index
        if choice.logprobs is None and _is_bare(said):  # the usual cases: a text without a call, a call alone
            if index not in self._calls:
                if not said.tool_calls:
                    return render.text(index, said.content or "")
            elif said.tool_calls and not said.content:
                return b"".join([self._call(index, call, at) for at, call in enumerate(said.tool_calls)])
        out = b""
        if reasoning := _text(said.reasoning_content) or _text(said.reasoning):
            out += self._tell(index, reasoning, partial(render.reasoning, index, reasoning))
        logprobs = _logprobs(choice.logprobs)
        if said.refusal:
            out += self._tell(index, said.refusal, partial(render.refusal, index, said.refusal))
        text = said.content or ""
        if text or not (said.refusal or reasoning):
            tell = partial(render.text, index, text, logprobs)
            out += self._tell(index, text, tell) if text or logprobs else tell()
        for position, call in enumerate(said.tool_calls or ()):
            out += self._call(index, call, position)
        return out

    def _tell(self, index: int, text: str, tell: Callable[[], bytes]) -> bytes:
        """Tells it now; or, since that closes the call that is open, once that call is whole."""
        state = self._calls.get(index)
        if state is None or state.open is None:
            return tell()
        if not state.held and state.open.whole:
            state.open = None
            return tell()
        state.held.append((text, tell))
        self._held_chars += len(text) + 1
        if self._held_chars <= HELD_CHARS_MAX:
            return b""
        if state.open.broken:
            self.fault = BROKEN_CALL
            return b""
        return self._release(state)  # a call without arguments so far may well have none

    def _release(self, state: _Calls) -> bytes:
        held, state.held, state.open = state.held, [], None
        self._held_chars -= sum(len(text) + 1 for text, _ in held)
        return b"".join(tell() for _, tell in held)

    def _call(self, index: int, delta: _ToolCall, position: int) -> bytes:
        state = self._calls.get(index)
        if state is None:
            state = self._calls[index] = _Calls()
        place = position if delta.index is None else delta.index
        call = state.calls.get(place)
        if call is not None and call is state.open:
            return self._argue(index, state, call, delta)
        if call is None:
            if len(state.calls) >= CALLS_MAX:
                self.fault = BROKEN_CALL
                return b""
            call = state.calls[place] = _Call(pieces=[])
        function = delta.function or _Function()
        call.id = call.id or delta.id or ""
        call.name = call.name or function.name or ""
        fragment = function.arguments or ""
        if fragment:
            call.pieces.append(fragment)
        if call.told:
            if fragment.strip():
                self.fault = BROKEN_CALL  # it was told as whole
            return b""
        return self._open(index, state, list(state.calls.values()))

    def _argue(self, index: int, state: _Calls, call: _Call, delta: _ToolCall) -> bytes:
        """A fragment of the open call, whose id and name have been told."""
        fragment = (delta.function.arguments if delta.function is not None else None) or ""
        if fragment:
            call.pieces.append(fragment)
        out = self._render.arguments(index, fragment)
        return out + self._release(state) if state.held and call.whole else out

    def _open(self, index: int, state: _Calls, ordered: list[_Call], *, all_of_them: bool = False) -> bytes:
        """Opens the calls whose turn it is: the next one once the one before it is whole."""
        out = b""
        while state.told < len(ordered):
            if state.open is not None and not all_of_them and not state.open.whole:
                break
            call = ordered[state.told]
            if not call.name and not all_of_them:
                break
            state.told += 1
            state.open, call.told = call, True
            out += self._render.tool(index, call.id, call.name)
            out += self._render.arguments(index, "".join(call.pieces))
        return out

    def _finish(self, index: int, reason: str, matched: str | None) -> bytes:
        out = b""
        state = self._calls.get(index)
        if state is not None:
            ordered = list(state.calls.values())
            # Only what is told last can be shown as cut off: whatever is followed is taken for whole.
            followed = reason not in _ENDS or any(text.strip() for text, _ in state.held)
            if any(call.broken for call in (ordered if followed else ordered[:-1])):
                self.fault = BROKEN_CALL
                return b""
            if state.open is not None:
                if state.open.broken:
                    state.held.clear()  # blanks
                out = self._release(state)
            out += self._open(index, state, ordered, all_of_them=True)
            state.open = None
        return out + self._render.finish(index, reason if reason in _ENDS else "stop", matched)


def _is_bare(said: ChatSaid) -> bool:
    """Whether there is nothing but content and calls."""
    return not (said.reasoning_content or said.reasoning or said.refusal)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _logprobs(value: Any) -> list[dict[str, Any]] | None:
    """The entries of a choice's logprobs, as they came; None where they are not in OpenAI's shape."""
    if not isinstance(value, dict):
        return None
    try:
        msgspec.convert(value, _Logprobs)
    except msgspec.ValidationError:
        return None
    entries: list[dict[str, Any]] | None = value.get("content")
    return entries
