"""Owns the response object: all its fields in OpenAI's order, as bytes that an edge and a worker write alike."""

from typing import Any, Final

import msgspec
from msgspec import Raw

from schemas.asked import Fields
from schemas.errors import WireError
from schemas.json import UNREADABLE

_NULL: Final = b"null"
_TEXT: Final = b'{"format":{"type":"text"}}'
_OPTIONAL: Final = ("safety_identifier", "user", "prompt_cache_key")  # their types have no null
_TIERS: Final = frozenset(("flex", "priority", "scale", "fast", "ultrafast"))
_REASONING: Final = ("effort", "summary")
# OpenAI's own list of what a failed response may say.
_CODES: Final = {429: "rate_limit_exceeded"}
_KEPT_CODES: Final = frozenset(("context_length_exceeded", "insufficient_quota"))
_encode = msgspec.json.Encoder().encode
_decode_map = msgspec.json.Decoder(dict[str, Raw]).decode


def response_id(request_id: str) -> str:
    """The id of a call's response, and with another prefix of its items."""
    return f"resp_{bare(request_id)}"


def bare(request_id: str) -> str:
    """What of a call's id all ids in its answer share."""
    return request_id.removeprefix("req_")


class Shape:
    """The response object of one call: what it says again of the request is encoded once."""

    __slots__ = ("_after", "_before", "_head")

    def __init__(self, request_id: str, created_s: int, model: str, asked: Fields) -> None:
        given = {name: _one_line(value) for name, value in asked.items() if bytes(value) != _NULL}

        def said(name: str, otherwise: bytes = _NULL) -> bytes:
            return given.get(name, otherwise)

        self._head = b'{"id":%b,"object":"response","created_at":%d' % (
            _encode(response_id(request_id)),
            created_s,
        )
        self._before = (
            b'"instructions":%b,"max_output_tokens":%b,"max_tool_calls":null,"metadata":%b,"model":%b'
            % (
                said("instructions"),
                said("max_output_tokens"),
                said("metadata", b"{}"),
                _encode(model),
            )
        )
        optional = b"".join(b',"%b":%b' % (name.encode(), given[name]) for name in _OPTIONAL if name in given)
        self._after = (
            b'"parallel_tool_calls":%b,"previous_response_id":null,"reasoning":%b,"service_tier":"\0","store":false,'
            b'"temperature":%b,"text":%b,"tool_choice":%b,"tools":%b,"top_logprobs":%b,"top_p":%b,"truncation":%b%b'
            % (
                said("parallel_tool_calls", b"true"),
                _reasoning(given),
                said("temperature", b"1.0"),
                _text(given),
                said("tool_choice", b'"auto"'),
                said("tools", b"[]"),
                said("top_logprobs", b"0"),
                said("top_p", b"1.0"),
                said("truncation", b'"disabled"'),
                optional,
            )
        )

    def whole(
        self,
        status: str,
        *,
        output: bytes = b"[]",
        usage: bytes = _NULL,
        completed_s: int | None = None,
        error: WireError | None = None,
        why_incomplete: str = "",
        uplifts: tuple[str, ...] = (),
    ) -> bytes:
        """The object as JSON. `output` and `usage` are JSON too; `uplifts` say which service tier has served."""
        tier = next((name for name in uplifts if name in _TIERS), "default").encode()
        details = b'{"reason":"%b"}' % why_incomplete.encode() if why_incomplete else _NULL
        failed = _NULL if error is None else _encode({"code": failure_code(error), "message": error.message})
        return (
            b'%b,"status":"%b","background":false,"completed_at":%b,"error":%b,"incomplete_details":%b,%b,'
            b'"output":%b,%b,"usage":%b}'
            % (
                self._head,
                status.encode(),
                _NULL if completed_s is None else b"%d" % completed_s,
                failed,
                details,
                self._before,
                output,
                self._after.replace(b"\0", tier, 1),
                usage,
            )
        )


def failure_code(error: WireError) -> str:
    """What a response that failed says of it: clients wait, give up or try again by these words."""
    if error.code in _KEPT_CODES:
        return str(error.code)
    return _CODES.get(error.status, "server_error" if error.status >= 500 else "invalid_prompt")


def failure_event(error: WireError, number: int) -> bytes:
    """The event that says that a stream failed, in the flat form of OpenAI's schema and in the one that SDKs raise on."""
    told: dict[str, Any] = {"code": failure_code(error), "message": error.message, "param": error.param}
    data = {"type": "error", "sequence_number": number, **told, "error": {"type": error.type, **told}}
    return b"event: error\ndata: %b\n\n" % _encode(data)


def _one_line(value: Raw) -> bytes:
    """A raw value without the ends of lines that its caller wrote between tokens: an event's data has one line."""
    raw = bytes(value)
    return raw.replace(b"\n", b" ").replace(b"\r", b" ") if b"\n" in raw or b"\r" in raw else raw


def _reasoning(given: dict[str, bytes]) -> bytes:
    asked = _object(given.get("reasoning"))
    return _encode({name: asked.get(name, Raw(_NULL)) for name in _REASONING})


def _text(given: dict[str, bytes]) -> bytes:
    asked = _object(given.get("text"))
    return _encode({"format": Raw(b'{"type":"text"}'), **asked}) if asked else _TEXT


def _object(raw: bytes | None) -> dict[str, Raw]:
    try:
        found = _decode_map(raw) if raw is not None else {}
    except UNREADABLE:
        return {}
    return {name: value for name, value in found.items() if bytes(value) != _NULL}
