"""Owns where an error stands in what a server sends: under which key, in which choice, or as the whole object."""

from collections.abc import Mapping
from typing import Any, Final

from workers.providers.openai.statuses import plainly, status_of_base_resp

_MESSAGES: Final = ("message", "msg", "detail", "error_msg", "error_message", "error_description")
_TEXTS: Final = ("code", "type", "param")
# The fields that an error may stand in, or speak through.
TELLING: Final = frozenset(
    (
        *_MESSAGES,
        *_TEXTS,
        "error",
        "errors",
        "base_resp",
        "x_groq",
        "object",
        "success",
        "status",
        "status_code",
        "error_code",
    )
)
_NO_ERROR: Final = (None, "", "0", "200", 0, 200)  # codes of what went well
_MESSAGE_CHARS_MAX: Final = 4_000


def error_of(body: Any) -> dict[str, Any] | None:
    """The error object of an HTTP error's decoded body, in OpenAI's spelling; None if it says nothing."""
    if isinstance(body, list) and body:
        body = body[0]  # Google wraps it
    if isinstance(body, str):
        return {"message": body}
    if not isinstance(body, Mapping):
        return None
    return error_in(body) or _bare(body)


def error_in(fields: Mapping[str, Any]) -> dict[str, Any] | None:
    """The error that an object of a 2xx answer holds or is, in OpenAI's spelling; None if it is no error.

    `fields` is decoded, as far as its names are among TELLING.
    """
    for name in ("error", "errors"):
        if (held := fields.get(name)) and (found := _held(held, fields)) is not None:
            return found
    notes = fields.get("x_groq")
    if isinstance(notes, Mapping) and (held := notes.get("error")):
        return _held(held, {})
    base = fields.get("base_resp")
    if isinstance(base, Mapping):
        code = base.get("status_code")
        if isinstance(code, int) and code:
            status = status_of_base_resp(code)
            return {"message": str(base.get("status_msg") or ""), "code": str(code), "status": status}
    return None


def bare_error(fields: Mapping[str, Any]) -> dict[str, Any] | None:
    """The error that an object without choices and usage is by itself; None for a notice that is no error."""
    kind = fields.get("type")
    named = fields.get("object") == "error" or fields.get("success") is False or "detail" in fields
    named = named or (isinstance(kind, str) and kind.lower().endswith(("error", "exception")))
    coded = any(fields.get(name) not in _NO_ERROR for name in ("code", "error_code", "status_code"))
    return _bare(fields) if named or coded else None


def _bare(fields: Mapping[str, Any]) -> dict[str, Any]:
    message = next((fields[name] for name in _MESSAGES if fields.get(name)), "")
    return plainly({**_told(fields), "message": _text(message)})


def error_in_choice(held: Any) -> dict[str, Any] | None:
    """The error that a choice holds under `error`; None if it says nothing."""
    return _held(held, {}) if held else None


def _held(held: Any, around: Mapping[str, Any]) -> dict[str, Any] | None:
    if isinstance(held, list):
        held = next((item for item in held if item), None)
    if isinstance(held, Mapping):
        if all(value in _NO_ERROR for value in held.values()):
            return None  # a form that was not filled in
        message = next((held[name] for name in _MESSAGES if held.get(name)), "")
        return plainly({**_told(around), **held, "message": _text(message)})
    if isinstance(held, str):
        return plainly({**_told(around), "message": held})
    return _bare(around) if isinstance(held, int | float) else None


def _told(fields: Mapping[str, Any]) -> dict[str, Any]:
    told = {name: fields[name] for name in _TEXTS if name in fields}
    told |= {name: fields[name] for name in ("status", "status_code") if name in fields}
    if "error_code" in fields and "code" not in told:
        told["code"] = fields["error_code"]
    return told


def _text(message: Any) -> str:
    """A message as text: FastAPI tells a list of objects, each with what is wrong and where."""
    if isinstance(message, str):
        return message[:_MESSAGE_CHARS_MAX]
    if isinstance(message, list):
        parts = [_text(item) for item in message[:8]]
        return "; ".join(part for part in parts if part)[:_MESSAGE_CHARS_MAX]
    if isinstance(message, Mapping):
        where = message.get("loc")
        place = ".".join(str(step) for step in where) + ": " if isinstance(where, list) else ""
        return (place + str(message.get("msg") or message.get("message") or ""))[:_MESSAGE_CHARS_MAX]
    return ""
