"""Owns the tools of a Responses request: which run at the caller, what a chat model is offered, and what its calls mean."""

import hashlib
import re
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from schemas.chat.request import Function
from schemas.chat.request import Tool as ChatTool
from schemas.chat.toolsets import absent
from schemas.json import UNREADABLE
from schemas.responses.local_tools import LOCAL_TOOLS, SHELL, LocalTool
from schemas.responses.reading import refuse_missing, refuse_unsupported, refuse_value, take
from schemas.responses.request import Tool

FUNCTION: Final = "function"
CUSTOM: Final = "custom"
NAMESPACE: Final = "namespace"
CLIENT_TOOLS: Final = frozenset((FUNCTION, CUSTOM, NAMESPACE, *LOCAL_TOOLS))  # they run at the caller
NAME_CHARS_MAX: Final = 64
TOOLS_MAX: Final = 1_024  # of one request, those in namespaces included
LEVELS_MAX: Final = 2  # a namespace has no namespaces
_HASH_CHARS: Final = 8
_CUSTOM_INPUT: Final = Raw(
    b'{"type":"object","properties":{"input":{"type":"string"}},"required":["input"],"additionalProperties":false}'
)
_GRAMMAR: Final = "\n\nThe input must match this {} grammar:\n"
_ANYWHERE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")
_BEGINS: Final = re.compile(r"[A-Za-z_]")
_NOT_IN_NAMES: Final = re.compile(r"[^A-Za-z0-9_-]")
_decode_tool = msgspec.json.Decoder(Tool).decode
_decode_any = msgspec.json.Decoder().decode
_decode_tools = msgspec.json.Decoder(list[Raw]).decode


class Named(Struct, frozen=True):
    """What a caller calls a tool, of which a chat model knows a name of its own."""

    kind: str  # FUNCTION, CUSTOM, or one of LOCAL_TOOLS
    name: str
    namespace: str | None = None


class Offered(Struct, frozen=True):
    """A tool as a chat model gets it: its place in the body, and what its calls mean."""

    tool: ChatTool
    place: str
    named: Named


class _Environment(Struct):
    type: Any = None


_decode_environment = msgspec.json.Decoder(_Environment).decode


def is_local(kind: str | None, environment: Raw) -> bool:
    """Whether a tool of this type runs at the caller; a shell does unless it names another place."""
    return kind in CLIENT_TOOLS and (kind != SHELL or is_callers(environment))


def is_callers(environment: Raw) -> bool:
    """Whether a shell's environment is the caller's own machine: what cannot be read is not."""
    if absent(environment):
        return True
    try:
        return bool(_decode_environment(environment).type == "local")
    except UNREADABLE:
        return False


def chat_name(name: str, namespace: str | None = None) -> str:
    """The name under which a chat model gets a tool: one that every family takes, and no two alike by cutting."""
    whole = f"{namespace}__{name}" if namespace else name
    if _ANYWHERE.fullmatch(whole) is not None:
        return whole
    digest = hashlib.sha256(whole.encode(errors="surrogatepass")).hexdigest()[:_HASH_CHARS]
    kept = _NOT_IN_NAMES.sub("_", whole if _BEGINS.match(whole) else f"_{whole}")[
        : NAME_CHARS_MAX - _HASH_CHARS - 1
    ]
    return f"{kept}_{digest}"


def _empty_bytes(parameters: Raw, description: str) -> int:
    """The size of a tool with no words of its caller's."""
    return len(msgspec.json.encode(ChatTool(FUNCTION, Function("", description, parameters, strict=False))))


_ADDED_BYTES: Final = {
    FUNCTION: _empty_bytes(Raw(b"{}"), ""),
    CUSTOM: _empty_bytes(_CUSTOM_INPUT, _GRAMMAR.format("lark")),
    **{kind: _empty_bytes(tool.parameters, tool.description) for kind, tool in LOCAL_TOOLS.items()},
}


class Toolset:
    """The tools of one request, from `tools` and from items that add some."""

    def __init__(self) -> None:
        self.offered: list[Offered] = []
        self._local: set[str] = set()  # of LOCAL_TOOLS
        self._seen = 0

    def add(self, raws: list[Raw], place: str, namespace: str | None = None, level: int = 1) -> None:
        """Takes a list of tools in. Raises RequestError 400."""
        self._seen += len(raws)
        if self._seen > TOOLS_MAX:
            refuse_value(place, f"At most {TOOLS_MAX} tools are taken.")
        for index, raw in enumerate(raws):
            where = f"{place}[{index}]"
            tool = take(_decode_tool, raw, where)
            if tool.type is None:
                refuse_missing(f"{where}.type")
            if not is_local(tool.type, tool.environment) or level > LEVELS_MAX:
                continue
            if tool.type in LOCAL_TOOLS:
                self._offer_local(LOCAL_TOOLS[tool.type], where)
                continue
            if not tool.name:
                refuse_missing(f"{where}.name")
            if tool.type == NAMESPACE:
                self.add(tool.tools or [], f"{where}.tools", tool.name, level + 1)
            else:
                self._offer(tool, tool.name, where, namespace)

    def add_raw(self, raw: Raw, place: str) -> None:
        """The same for a list that has not been read. Raises RequestError 400."""
        if not absent(raw):
            self.add(take(_decode_tools, raw, place), place)

    def _offer(self, tool: Tool, name: str, where: str, namespace: str | None) -> None:
        called = chat_name(name, namespace)
        if tool.type == CUSTOM:
            function = Function(called, _custom_description(tool, where), _CUSTOM_INPUT)
        else:
            function = Function(called, tool.description, tool.parameters, tool.strict)
        named = Named(tool.type or FUNCTION, name, namespace)
        self.offered.append(Offered(ChatTool(FUNCTION, function), where, named))

    def _offer_local(self, tool: LocalTool, where: str) -> None:
        if tool.kind in self._local:
            return  # it is one, however often it is listed
        self._local.add(tool.kind)
        function = Function(tool.kind, tool.description, tool.parameters)
        self.offered.append(Offered(ChatTool(FUNCTION, function), where, Named(tool.kind, tool.kind)))

    @property
    def names(self) -> dict[str, Named]:
        """What a call of each name means, where it is not simply that of a function."""
        return {
            one.tool.function.name: one.named
            for one in self.offered
            if one.tool.function is not None and one.named != Named(FUNCTION, one.tool.function.name)
        }

    @property
    def added_bytes(self) -> int:
        """What the tools as a chat model gets them may be longer than as the caller wrote them."""
        return sum(
            _ADDED_BYTES[one.named.kind] + len(one.tool.function.name)
            for one in self.offered
            if one.tool.function is not None
        )

    def choice(self, asked: str | dict[str, Any] | None) -> str | dict[str, Any] | None:
        """The tool choice as a chat request has it. Raises RequestError 400 for one of tools that are not offered."""
        if asked is None or isinstance(asked, str):
            return asked if self.offered else None
        kind = asked.get("type")
        if kind in (FUNCTION, CUSTOM):
            return {"type": FUNCTION, "function": {"name": self._chosen(asked, "tool_choice")}}
        if isinstance(kind, str) and kind in self._local:
            return {"type": FUNCTION, "function": {"name": kind}}
        if kind != "allowed_tools":
            refuse_unsupported("tool_choice", f"The tool type {str(kind)[:64]!r} is not served here.")
        listed = asked.get("tools")
        if not isinstance(listed, list):
            refuse_missing("tool_choice.tools")
        names = [
            {"type": FUNCTION, "function": {"name": self._chosen(one, f"tool_choice.tools[{index}]")}}
            for index, one in enumerate(listed)
            if not isinstance(one, dict) or one.get("type") in (FUNCTION, CUSTOM, None, *self._local)
        ]
        return {"type": "allowed_tools", "allowed_tools": {"mode": asked.get("mode", "auto"), "tools": names}}

    @staticmethod
    def _chosen(asked: Any, place: str) -> str:
        if isinstance(asked, dict) and asked.get("type") in LOCAL_TOOLS:
            return str(asked["type"])
        name = asked.get("name") if isinstance(asked, dict) else None
        namespace = asked.get("namespace") if isinstance(asked, dict) else None
        if not isinstance(name, str) or not name:
            refuse_missing(f"{place}.name")
        return chat_name(name, namespace if isinstance(namespace, str) else None)


def _custom_description(tool: Tool, where: str) -> str:
    """A custom tool's own words, and beneath them the grammar that its input must keep to."""
    said = tool.description or ""
    if absent(tool.format):
        return said
    form = take(_decode_any, tool.format, f"{where}.format")
    grammar = form.get("definition") if isinstance(form, dict) else None
    if not isinstance(grammar, str) or not grammar:
        return said
    syntax = form.get("syntax")
    return f"{said}{_GRAMMAR.format(syntax if isinstance(syntax, str) else 'lark')}{grammar}".lstrip()
