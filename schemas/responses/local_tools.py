"""Owns OpenAI's own tools that run at the caller: how any other model is told of one, and what its calls come back as."""

from collections.abc import Callable
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from schemas.json import UNREADABLE

SHELL: Final = "shell"  # whose `environment` says where it runs
LOCAL_SHELL: Final = "local_shell"
APPLY_PATCH: Final = "apply_patch"
_DECODE: Final = msgspec.json.Decoder(dict[str, Any]).decode
_OPERATIONS: Final = ("create_file", "update_file", "delete_file")
_DELETE: Final = "delete_file"


def _texts(value: Any) -> list[str]:
    return value if isinstance(value, list) and all(isinstance(one, str) for one in value) else []


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _given(arguments: dict[str, Any], kind: type, *names: str) -> dict[str, Any]:
    return {name: arguments[name] for name in names if type(arguments.get(name)) is kind}


def _shell(arguments: dict[str, Any]) -> dict[str, Any]:
    commands = arguments.get("commands")
    action: dict[str, Any] = {"commands": [commands] if isinstance(commands, str) else _texts(commands)}
    action |= {"timeout_ms": None, "max_output_length": None}
    return {"action": action | _given(arguments, int, "timeout_ms", "max_output_length")}


def _local_shell(arguments: dict[str, Any]) -> dict[str, Any]:
    command = arguments.get("command")
    words = ["sh", "-c", command] if isinstance(command, str) else _texts(command)
    action: dict[str, Any] = {"type": "exec", "command": words, "env": {}}
    action |= _given(arguments, int, "timeout_ms") | _given(arguments, str, "working_directory")
    return {"action": action}


def _apply_patch(arguments: dict[str, Any]) -> dict[str, Any]:
    kind = arguments.get("type")
    operation = {
        "type": kind if kind in _OPERATIONS else "update_file",
        "path": _text(arguments.get("path")),
    }
    if operation["type"] != _DELETE:
        operation["diff"] = _text(arguments.get("diff"))
    return {"operation": operation}


class LocalTool(Struct, frozen=True):
    """One of them. A chat model gets it as the function `kind`; `begun` is what is known of a call without arguments."""

    kind: str
    call: str  # the type of its calls' items
    prefix: str  # of their ids
    description: str
    parameters: Raw
    fields: Callable[[dict[str, Any]], dict[str, Any]]  # of an item, by the arguments of a call

    def item(self, arguments: str) -> dict[str, Any]:
        """What a call's item says beside its names: arguments of another form ask for nothing."""
        try:
            return self.fields(_DECODE(arguments))
        except UNREADABLE:
            return self.fields({})

    def begun(self, item: dict[str, Any]) -> dict[str, Any]:
        """The same before its text has come: clients must know at once which file a change is of."""
        operation = item.get("operation")
        if operation is None:
            return self.fields({})
        return {"operation": operation | {"diff": ""} if "diff" in operation else operation}


LOCAL_TOOLS: Final = {
    tool.kind: tool
    for tool in (
        LocalTool(
            LOCAL_SHELL,
            "local_shell_call",
            "lsh",
            "Runs one command on the user's machine, without a shell, and returns what it printed.",
            Raw(
                b'{"type":"object","properties":{"command":{"type":"array","items":{"type":"string"},"description":'
                b'"The program and its arguments."},"working_directory":{"type":"string"},"timeout_ms":'
                b'{"type":"integer"}},"required":["command"]}'
            ),
            _local_shell,
        ),
        LocalTool(
            SHELL,
            "shell_call",
            "sh",
            "Runs commands in a shell on the user's machine, and returns what each printed and how it ended.",
            Raw(
                b'{"type":"object","properties":{"commands":{"type":"array","items":{"type":"string"},"description":'
                b'"Each runs by itself."},"timeout_ms":{"type":"integer"},"max_output_length":{"type":"integer",'
                b'"description":"Characters to return of each command."}},"required":["commands"]}'
            ),
            _shell,
        ),
        LocalTool(
            APPLY_PATCH,
            "apply_patch_call",
            "apc",
            "Creates, changes or deletes one file on the user's machine.",
            Raw(
                b'{"type":"object","properties":{"type":{"type":"string","enum":["create_file","update_file",'
                b'"delete_file"]},"path":{"type":"string"},"diff":{"type":"string","description":"Left out to delete. '
                b"To create: the file's lines, each behind a plus sign. To change: hunks, each with a line of two at signs "
                b"and perhaps the function or class that it is in, then lines that stay behind a space, lines that go "
                b'behind a minus sign and new ones behind a plus sign."}},"required":["type","path"]}'
            ),
            _apply_patch,
        ),
    )
}
