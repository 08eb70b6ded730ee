"""Owns what is priced in a request for embeddings: a true bound of its tokens and of its answer, before any hold."""

from typing import Any, Final, NoReturn

import msgspec
from msgspec import Raw

from schemas.asked import Ask, Bound, Fields
from schemas.catalogue.families import PASS_THROUGH
from schemas.catalogue.model import Model
from schemas.catalogue.vectors import COHERE_HINT, GEMINI_HINT, Vectors
from schemas.chat import priced
from schemas.chat.forms import EMBEDDING_FORMS
from schemas.chat.priced import RequestError
from schemas.chat.sieve import sifted
from schemas.embeddings.request import BASE64, FLOAT, Inputs, inputs
from schemas.errors import invalid, unsupported_parameter, unsupported_value
from schemas.json import UNREADABLE
from schemas.names import by_fold

ANSWER_BYTES_MAX: Final = 32 * 1024 * 1024  # of the body that a caller gets
CALLS_MAX: Final = 128  # of a provider that serve one request
FLOAT_BYTES_MAX: Final = 24  # of one dimension and its comma: the longest double that a float32 becomes
ENTRY_BYTES_MAX: Final = 80  # of one vector, beside its dimensions
ENVELOPE_BYTES_MAX: Final = 4 * 1024  # of what is around them: a model's name and the usage
BYTES_PER_TOKEN: Final = 4  # of text, by the rule for estimates

_HINTS: Final = (COHERE_HINT, GEMINI_HINT)
_FIELDS: Final = frozenset(
    ["dimensions", "encoding_format", "input", "model", "models", "stream", "usage", "user", *_HINTS]
)
_FOLDS: Final = by_fold(_FIELDS)
_DIMENSIONS_MAX: Final = 1 << 20
_NULL: Final = Raw(b"null")

_decode_text = msgspec.json.Decoder(str | None).decode


def read(fields: Fields) -> Ask:
    """What a body asks for, and what goes no further is taken out of `fields`: no output is ever billed.

    Raises RequestError 400.
    """
    priced.refuse_likeness(fields, _FIELDS, _FOLDS, "")
    left_out = sifted(fields, EMBEDDING_FORMS)
    names = priced.candidates(fields)
    if bytes(fields.get("input", _NULL)) == b"null":
        _refuse("input", "Missing required parameter: 'input'.", "missing_required_parameter")
    if bytes(fields.get("stream", _NULL)) not in (b"null", b"false"):
        _refuse("stream", "Embeddings are not streamed: leave 'stream' out.", "unsupported_value")
    priced.count(fields, "dimensions", _DIMENSIONS_MAX)
    _format(fields)
    for name in ("user", *_HINTS):
        _text(fields, name)
    return Ask(
        candidates=names,
        stream=False,
        include_usage=False,
        include_cost=priced.wants_cost(fields),
        inputs=len(inputs(fields["input"]).sizes),
        choices=1,
        limit=0,
        limit_set=False,
        dropped=left_out
        + tuple(name for name, raw in fields.items() if name not in _FIELDS and bytes(raw) != b"null"),
    )


def bound(fields: Fields, model: Model) -> Bound:
    """The bound of a batch is the sum over its inputs, each of which is at most a context.

    Raises RequestError 400 for what the model cannot honour, and for an answer that would be too large.
    """
    able = model.capabilities.embeddings
    if able is None:
        _refuse("model", f"The model `{model.id}` does not support embeddings. Use {_route(model)}.")
    found = inputs(fields["input"])
    _check_values(fields, model, able, found)
    _check_size(fields, model, able, len(found.sizes))
    added = model.forwards.added(fields)
    beside = model.capabilities.overhead_tokens + sum(len(bytes(fields[name])) for name in added)
    most = sum(min(size + beside, model.context) for size in found.sizes)
    total = sum(found.sizes)
    return Bound(
        prompt_max=max(most, 1),
        text_bytes=total * BYTES_PER_TOKEN if found.tokens else total,
        limit=0,
        kept=added if model.family in PASS_THROUGH else (),
    )


def _route(model: Model) -> str:
    return "/v1/chat/completions" if model.capabilities.chat else "/v1/completions"


def _check_values(fields: Fields, model: Model, able: Vectors, found: Inputs) -> None:
    if found.tokens and not able.tokens:
        message = (
            f"The model `{model.id}` takes no token ids: send strings. "
            "With langchain, set check_embedding_ctx_length=False."
        )
        raise RequestError(unsupported_value("input", message))
    dimensions = priced.count(fields, "dimensions", _DIMENSIONS_MAX)
    if dimensions is not None and not able.makes(dimensions):
        raise RequestError(unsupported_value("dimensions", _sizes(model, able)))
    for name in _HINTS:
        hint = _text(fields, name)
        if hint is None:
            continue
        if name != able.hint:
            message = f"'{name}' is not supported by the model `{model.id}` ({model.provider})."
            raise RequestError(unsupported_parameter(name, message))
        if able.hints and hint not in able.hints:
            message = f"'{name}' must be one of: {', '.join(able.hints)}."
            raise RequestError(unsupported_value(name, message))


def _sizes(model: Model, able: Vectors) -> str:
    if able.least:
        return f"The model `{model.id}` makes vectors of {able.least} to {able.dimensions} dimensions."
    sizes = ", ".join(map(str, able.sizes or (able.dimensions,)))
    return f"The model `{model.id}` makes vectors of {sizes} dimensions only."


def _check_size(fields: Fields, model: Model, able: Vectors, count: int) -> None:
    dimensions = priced.count(fields, "dimensions", _DIMENSIONS_MAX) or able.dimensions
    in_text = _format(fields) == FLOAT
    each = ENTRY_BYTES_MAX + (dimensions * FLOAT_BYTES_MAX if in_text else base64_chars(4 * dimensions))
    fit = (ANSWER_BYTES_MAX - ENVELOPE_BYTES_MAX) // each
    if count > fit:
        shorter = " As base64 more would." if in_text else ""
        message = f"At most {fit} inputs of {dimensions} dimensions fit into an answer of 32 MiB, and there are {count}.{shorter}"
        _refuse("input", message)
    if count > able.batch * CALLS_MAX:
        message = f"At most {able.batch * CALLS_MAX} inputs are taken for the model `{model.id}` at once, and there are {count}."
        _refuse("input", message)


def base64_chars(count_bytes: int) -> int:
    """Characters of so many bytes in base64."""
    return -(-count_bytes // 3) * 4


def _format(fields: Fields) -> str:
    found = _text(fields, "encoding_format") or FLOAT
    if found not in (FLOAT, BASE64):
        _refuse("encoding_format", "'encoding_format' must be 'float' or 'base64'.")
    return found


def _text(fields: Fields, name: str) -> str | None:
    try:
        found: Any = _decode_text(fields.get(name, _NULL))
    except UNREADABLE:
        _refuse(name, f"'{name}' must be a string.", "invalid_type")
    return None if found is None else str(found)


def _refuse(name: str, message: str, code: str = "invalid_value") -> NoReturn:
    raise RequestError(invalid(message, param=name, code=code))
