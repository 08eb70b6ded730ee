"""Owns the rules of tools, tool choices and answer formats: what a translated model can be asked for."""

import re
from typing import Any

import msgspec
from msgspec import Raw

from schemas.catalogue.model import Model
from schemas.chat.priced import RequestError
from schemas.chat.request import ChatRequest, Tool
from schemas.errors import WireError, invalid, unsupported_parameter, unsupported_value
from schemas.json import UNREADABLE

TOOLS_MAX = 128  # as at OpenAI
TOOL_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")  # what OpenAI takes, and most families
TOOL_NAME_CHARS_MAX = 256  # of a name that is told in another way

_decode_object = msgspec.json.Decoder(dict[str, Any]).decode


def check_tools(request: ChatRequest, model: Model) -> None:
    """Raises RequestError for tools, a tool choice or an answer format that the model cannot honour."""
    names = _check_list(request.tools or [], model)
    _check_choice(request, names, model)
    if names and request.parallel_tool_calls is False and not model.capabilities.serial_tools:
        message = f"The model `{model.id}` ({model.provider}) may always call tools in parallel."
        raise RequestError(unsupported_value("parallel_tool_calls", message))
    _check_format(request, model, tools=bool(names))


def choice_names(choice: dict[str, Any]) -> tuple[str, list[str]]:
    """The mode ("auto" or "required") and the function names of a tool choice that is an object.

    Raises RequestError if it is not one of OpenAI's forms, or names a tool that is no function.
    """
    kind = choice.get("type")
    if kind == "function":
        return "required", [_function_name(choice, "tool_choice")]
    if kind == "custom":
        raise RequestError(
            unsupported_value("tool_choice.type", "Custom tools are not supported by this model.")
        )
    allowed = choice.get("allowed_tools")
    if kind != "allowed_tools" or not isinstance(allowed, dict):
        raise RequestError(_invalid("tool_choice", "It must be none, auto, required, or name tools."))
    mode, tools = allowed.get("mode"), allowed.get("tools")
    if mode not in ("auto", "required"):
        raise RequestError(_invalid("tool_choice.allowed_tools.mode", "It must be auto or required."))
    if not isinstance(tools, list) or not tools:
        raise RequestError(_invalid("tool_choice.allowed_tools.tools", "It must list at least one tool."))
    path = "tool_choice.allowed_tools.tools"
    return mode, [_function_name(tool, f"{path}[{index}]") for index, tool in enumerate(tools)]


def is_schema(raw: Raw) -> bool:
    """Whether a raw value is a JSON Schema of an object, as the parameters of a function must be."""
    try:
        schema = _decode_object(raw)
    except UNREADABLE:
        return False
    return bool(schema.get("type", "object") == "object")


def absent(raw: Raw) -> bool:
    """Whether a raw value was left out or is null."""
    return bytes(raw) in (b"", b"null")


def _check_list(tools: list[Tool], model: Model) -> set[str]:
    if tools and not model.capabilities.tools:
        message = f"'tools' is not supported by the model `{model.id}` ({model.provider})."
        raise RequestError(unsupported_parameter("tools", message))
    if len(tools) > TOOLS_MAX:
        raise RequestError(_invalid("tools", f"There may be at most {TOOLS_MAX}."))
    names: set[str] = set()
    for index, tool in enumerate(tools):
        path = f"tools[{index}]"
        if tool.type == "custom":
            message = f"Custom tools are not supported by the model `{model.id}` ({model.provider})."
            raise RequestError(unsupported_value(f"{path}.type", message))
        if tool.type != "function":
            raise RequestError(_invalid(f"{path}.type", "It must be function."))
        if tool.function is None:
            raise RequestError(_missing(f"{path}.function"))
        _check_name(tool.function.name, f"{path}.function.name", names)
        names.add(tool.function.name)
        parameters = tool.function.parameters
        if not absent(parameters) and not is_schema(parameters):
            message = "It must be a JSON Schema of type object."
            raise RequestError(
                invalid(message, param=f"{path}.function.parameters", code="invalid_function_parameters")
            )
    return names


def _check_name(name: str, path: str, names: set[str]) -> None:
    if not 0 < len(name) <= TOOL_NAME_CHARS_MAX:
        raise RequestError(_invalid(path, f"It must have 1 to {TOOL_NAME_CHARS_MAX} characters."))
    if name in names:
        raise RequestError(_invalid(path, f"`{name}` is there twice."))


def _check_choice(request: ChatRequest, names: set[str], model: Model) -> None:
    choice = request.tool_choice
    if choice is None or choice in ("none", "auto"):
        return
    if isinstance(choice, str):
        if choice != "required":
            raise RequestError(_invalid("tool_choice", "It must be none, auto, required, or name tools."))
        mode, asked = "required", list(names)
    else:
        mode, asked = choice_names(choice)
    if not names:
        raise RequestError(_invalid("tool_choice", "It is only allowed when 'tools' are given."))
    for name in asked:
        if name not in names:
            raise RequestError(_invalid("tool_choice", f"`{name[:64]}` is not one of 'tools'."))
    if mode == "required" and not model.capabilities.forced_tools:
        message = f"The model `{model.id}` ({model.provider}) cannot be forced to call a tool."
        raise RequestError(unsupported_value("tool_choice", message))


def _check_format(request: ChatRequest, model: Model, *, tools: bool) -> None:
    wanted = request.response_format
    if wanted is None or wanted.type == "text":
        return
    able = model.capabilities
    if wanted.type not in ("json_object", "json_schema"):
        raise RequestError(_invalid("response_format.type", "It must be text, json_object or json_schema."))
    if not (able.json_schema if wanted.type == "json_schema" else able.json_object):
        message = f"The model `{model.id}` ({model.provider}) does not support {wanted.type} answers."
        raise RequestError(unsupported_value("response_format.type", message))
    if tools and not able.json_with_tools:
        message = f"The model `{model.id}` ({model.provider}) cannot give a JSON answer beside tools."
        raise RequestError(unsupported_parameter("response_format", message))
    if wanted.type == "json_object":
        return
    if wanted.json_schema is None:
        raise RequestError(_missing("response_format.json_schema"))
    if TOOL_NAME.fullmatch(wanted.json_schema.name) is None:
        path = "response_format.json_schema.name"
        raise RequestError(_invalid(path, "It must be 1 to 64 of A-Z, a-z, 0-9, _ and -."))
    if absent(wanted.json_schema.schema):
        raise RequestError(_missing("response_format.json_schema.schema"))
    if not is_schema(wanted.json_schema.schema):
        message = "'schema' must be a JSON Schema of type object."
        raise RequestError(
            invalid(message, param="response_format.json_schema.schema", code="invalid_json_schema")
        )


def _function_name(tool: Any, path: str) -> str:
    function = tool.get("function") if isinstance(tool, dict) else None
    name = function.get("name") if isinstance(function, dict) else None
    if not isinstance(name, str):
        raise RequestError(_missing(f"{path}.function.name"))
    return name


def _invalid(path: str, why: str) -> WireError:
    return invalid(f"Invalid '{path}'. {why}", param=path, code="invalid_value")


def _missing(path: str) -> WireError:
    return invalid(f"Missing required parameter: '{path}'.", param=path, code="missing_required_parameter")
