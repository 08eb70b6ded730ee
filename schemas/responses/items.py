"""Owns the input of a Responses request as a conversation: which item becomes which message, and where it stood."""

from collections import defaultdict, deque
from typing import Final, NoReturn

import msgspec
from msgspec import Raw, Struct, structs

from schemas.chat.conversations import usable
from schemas.chat.priced import RequestError
from schemas.chat.request import FunctionCall, Message, TextPart, ToolCall
from schemas.chat.request import Part as ChatPart
from schemas.chat.toolsets import absent
from schemas.errors import invalid
from schemas.responses.local_tools import LOCAL_TOOLS
from schemas.responses.parts import (
    Content,
    content_of,
    heard,
    joined_content,
    output_of,
    spoken,
    texts_of,
)
from schemas.responses.reading import refuse_missing, refuse_unsupported, refuse_value, take
from schemas.responses.request import Item
from schemas.responses.tools import Toolset, chat_name, is_callers

ITEMS_MAX: Final = 100_000
_MESSAGE: Final = "message"
REFERENCE: Final = "item_reference"
MORE_TOOLS: Final = "additional_tools"
_ROLES: Final = {"user": "user", "assistant": "assistant", "system": "system", "developer": "system"}
# Calls that run at the caller, and the names under which a history tells a chat model of them.
CALLS: Final = {
    "function_call": "",
    "custom_tool_call": "",
    **{tool.call: tool.kind for tool in LOCAL_TOOLS.values()},
}
OUTPUTS: Final = frozenset(f"{kind}_output" for kind in CALLS)
_SHELL_CALL: Final = "shell_call"
_SHELL_OUTPUT: Final = "shell_call_output"
_HOSTED_SHELL: Final = (
    "hosted_shell_call"  # of a shell_call and its output, where the shell was not the caller's
)
# What a provider ran by itself: a chat model has no place for it in a history.
HOSTED: Final = frozenset(
    (
        _HOSTED_SHELL,
        "code_interpreter_call",
        "computer_call",
        "computer_call_output",
        "file_search_call",
        "image_generation_call",
        "mcp_approval_request",
        "mcp_approval_response",
        "mcp_call",
        "mcp_list_tools",
        "program",
        "program_output",
        "tool_search_call",
        "tool_search_output",
        "web_search_call",
    )
)
KNOWN: Final = (
    frozenset((_MESSAGE, REFERENCE, "reasoning", MORE_TOOLS, "compaction", "compaction_trigger"))
    | frozenset(CALLS)
    | OUTPUTS
    | HOSTED
)
_PATCHED: Final = "apply_patch_call_output"
_FAILED: Final = b'"failed"'
_COMPLETED: Final = b'"completed"'
_decode_item = msgspec.json.Decoder(Item).decode
_encode = msgspec.json.Encoder().encode


class Carried(Struct, frozen=True):
    """Reasoning that a caller carries: as it is written, and how many calls of its turn stand before it."""

    text: str
    before: int


class Placed(Struct):
    """A message, and the places in the body of it and of each of its calls; `carried` is its turn's reasoning."""

    message: Message
    place: str
    calls: list[str] = []
    carried: list[Carried] = []


def read_items(raws: list[Raw]) -> list[Item]:
    """The items of an input. Raises RequestError 400."""
    if len(raws) > ITEMS_MAX:
        refuse_value("input", f"At most {ITEMS_MAX} items are taken.")
    return [take(_decode_item, raw, f"input[{index}]") for index, raw in enumerate(raws)]


def kind_of(item: Item) -> str:
    """An item's type, where it may be left out too."""
    return kind(item.type, item.id, item.role, item.content)


def kind(said: str | None, item_id: str | None, role: str | None, content: Raw) -> str:
    """The same, by what of an item tells it."""
    if said is None:
        return REFERENCE if item_id and role is None and absent(content) else _MESSAGE
    return said


def kinds_of(items: list[Item]) -> list[str]:
    """Each item's type; that of a shell's call and output in a history says whether it ran at the caller."""
    kinds: list[str] = []
    hosted: set[str | None] = set()  # ids of calls
    for item in items:
        kind = kind_of(item)
        if kind == _SHELL_CALL and not is_callers(item.environment):
            hosted.add(item.call_id or item.id)
            kind = _HOSTED_SHELL
        elif kind == _SHELL_OUTPUT and (
            not is_callers(item.environment) or (item.call_id or item.id) in hosted
        ):
            kind = _HOSTED_SHELL
        kinds.append(kind)
    return kinds


class Conversation:
    """Maps items one by one; `messages` is the result.

    A model's turn is one message: its text and its calls. The results follow it at once, wherever they stood, for all
    families want them there. Where `shown` is False their pictures, which no tool message of OpenAI's can carry, follow
    in a user's message.
    """

    def __init__(self, items: list[Item], tools: Toolset, *, shown: bool = False) -> None:
        self._shown = shown
        self.messages: list[Placed] = []
        self._items = items
        self._tools = tools
        self._open: dict[str, int] = {}  # how many of the last turn's calls with an id have no result yet
        self._turn: Placed | None = None  # the model's own, while it can go on
        self._calls: list[ToolCall] = []  # of that turn, until it is over
        self._said_among: list[Content] = []  # the same of what is said among them
        self._pictures: list[ChatPart] = []  # of results, until all of them are there
        self._carried: list[Carried] = []  # of a turn that has not begun
        self._results: dict[str, deque[int]] = defaultdict(deque)  # by call id, those not yet told
        self._told: dict[str, int] = {}  # by call id, where the results of the last turn stand in `messages`
        kinds = kinds_of(items)
        for index, (item, kind) in enumerate(zip(items, kinds, strict=True)):
            if kind in OUTPUTS and (call_id := item.call_id or item.id):
                self._results[call_id].append(index)
        for index, (item, kind) in enumerate(zip(items, kinds, strict=True)):
            self._item(item, kind, index)
        self._settle()

    def _item(self, item: Item, kind: str, index: int) -> None:
        place = f"input[{index}]"
        if kind in CALLS:
            self._call(item, kind, place)
        elif kind in OUTPUTS:
            self._output(item, index, place)
        elif kind == _MESSAGE:
            self._message(item, place)
        elif kind == "reasoning":
            self._reasoning(item)
        elif kind == MORE_TOOLS:
            self._tools.add_raw(item.tools, f"{place}.tools")
        elif kind == "compaction":
            message = "The encrypted content of this compaction could not be verified: it was not made here."
            raise RequestError(
                invalid(message, param=f"{place}.encrypted_content", code="invalid_encrypted_content")
            )
        elif kind == "compaction_trigger":
            refuse_unsupported(
                f"{place}.type",
                "Conversations are not compacted here. Codex asks for it where its provider's `name` is OpenAI: "
                "give the provider another name.",
            )
        elif kind not in KNOWN:
            self._unknown(item, place)

    def _message(self, item: Item, place: str) -> None:
        role = _ROLES.get(item.role or "")
        if role is None:
            if item.role is None:
                refuse_missing(f"{place}.role")
            refuse_value(f"{place}.role", "It must be user, assistant, system or developer.")
        if absent(item.content):
            refuse_missing(f"{place}.content")
        content = content_of(item.content, f"{place}.content")
        if role == "assistant":
            self._said(spoken(content), place)
            return
        self._settle()
        self._add(Message(role, heard(content) or ""), place)

    def _said(self, said: Content, place: str) -> None:
        """What the model said: beside calls without results it is of their turn, else a turn begins."""
        if self._turn is not None and self._open:
            self._said_among.append(said)
        elif said:
            self._settle()
            self._turn = self._add(Message("assistant", said), place)

    def _reasoning(self, item: Item) -> None:
        """Reasoning of the turn that goes on, or of the next."""
        if not item.encrypted_content:
            return
        turn = self._turn
        carried = self._carried if turn is None else turn.carried
        carried.append(Carried(item.encrypted_content, 0 if turn is None else len(turn.calls)))

    def _call(self, item: Item, kind: str, place: str) -> None:
        call_id = item.call_id or item.id
        if not call_id:
            refuse_missing(f"{place}.call_id")
        name = CALLS[kind] or item.name
        if not name:
            refuse_missing(f"{place}.name")
        function = FunctionCall(chat_name(name, item.namespace), _arguments(item, kind))
        if self._turn is None:
            self._settle()
            self._turn = self._add(Message("assistant"), place)
        self._calls.append(ToolCall(call_id, "function", function))
        self._turn.calls.append(place)
        self._open[call_id] = self._open.get(call_id, 0) + 1

    def _output(self, item: Item, index: int, place: str) -> None:
        call_id = item.call_id or item.id
        if not call_id:
            refuse_missing(f"{place}.call_id")
        waiting = self._results[call_id]
        if not waiting or waiting[0] != index:
            return  # it was told when its turn ended
        if call_id not in self._open:
            self._tell_again(call_id, waiting.popleft())
            return
        self._tell(call_id, waiting.popleft())

    def _tell_again(self, call_id: str, index: int) -> None:
        """One more result for a call that has one: the last counts. Raises RequestError 400 for one of no call."""
        if call_id not in self._told:
            message = f"No tool call found for function call output with call_id {call_id[:128]}."
            raise RequestError(invalid(message, param="input"))
        told = self.messages[self._told[call_id]]
        told.place = f"input[{index}]"
        told.message = self._result(call_id, index)

    def _tell(self, call_id: str, index: int) -> None:
        """One result. The model's turn is over with the first of them."""
        self._open[call_id] -= 1
        if not self._open[call_id]:
            del self._open[call_id]
        self._end_turn()
        self._told[call_id] = len(self.messages)
        self._add(self._result(call_id, index), f"input[{index}]")

    def _result(self, call_id: str, index: int) -> Message:
        """An output as a message of its tool, with the pictures and files in it where that can be."""
        item = self._items[index]
        text, pictures = output_of(item.output, f"input[{index}].output")
        if kind_of(item) == _PATCHED:
            text = _with_status(text, item.status)
        if pictures and self._shown:
            shown = [TextPart(text), *pictures] if text else pictures
            return Message("tool", shown, tool_call_id=call_id)
        if pictures:
            self._pictures += [TextPart(f"Image from tool call {call_id}:"), *pictures]
        return Message("tool", text, tool_call_id=call_id)

    def _unknown(self, item: Item, place: str) -> None:
        """An item of a type that nobody knows: its text goes on as the user's, for it may be all that was asked."""
        texts = texts_of(item.content)
        if texts:
            self._settle()
            self._add(Message("user", texts), place)

    def _settle(self) -> None:
        """The model's turn is over: each of its calls has a result, here or further on."""
        for call_id, left in list(self._open.items()):
            waiting = self._results[call_id]
            for _ in range(left):
                if not waiting:
                    _refuse_unanswered(call_id)
                self._tell(call_id, waiting.popleft())
        self._end_turn()
        if self._pictures:
            pictures, self._pictures = self._pictures, []
            self._add(Message("user", pictures), self.messages[-1].place)

    def _end_turn(self) -> None:
        """What the turn's calls and words come to: once, for a turn may have as many of them as there are items."""
        turn, self._turn = self._turn, None
        if turn is None or not self._calls:
            return
        first = turn.message.content
        said = [content for content in (first, *self._said_among) if content]
        content = joined_content(said) if said else first
        turn.message = structs.replace(turn.message, content=content, tool_calls=self._calls)
        self._calls, self._said_among = [], []

    def _add(self, message: Message, place: str) -> Placed:
        placed = Placed(message, place)
        if message.role != "tool":
            self._told.clear()
        if message.role == "assistant":
            placed.carried, self._carried = self._carried, []
        self.messages.append(placed)
        return placed


def _arguments(item: Item, kind: str) -> str:
    """A call's arguments as the text of an object: what was cut off in an earlier answer must not spoil the next."""
    if kind == "custom_tool_call":
        return _encode({"input": item.input or ""}).decode()
    if kind != "function_call":
        raw = item.action if absent(item.operation) else item.operation
        return "{}" if absent(raw) else bytes(raw).decode()
    return usable(item.arguments or "")


def _with_status(text: str, status: Raw) -> str:
    """A patch's result, which says how it went beside what it says."""
    if bytes(status) == _FAILED:
        return f"failed: {text}" if text else "failed"
    return text or ("completed" if bytes(status) == _COMPLETED else "")


def _refuse_unanswered(call_id: str) -> NoReturn:
    message = f"No tool output found for function call {call_id[:128]}."
    raise RequestError(invalid(message, param="input"))
