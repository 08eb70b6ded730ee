"""Owns what is priced in a Messages request: what it asks for, and a true bound of its prompt in tokens."""

import re
from typing import Any, Final, NoReturn

import msgspec
from msgspec import Raw, Struct

from schemas.asked import Ask, Bound, Document, Fields, Seen
from schemas.catalogue.families import BEDROCK
from schemas.catalogue.forwarded import why_not_more
from schemas.catalogue.model import Model
from schemas.chat import counted
from schemas.chat.caching import takes_marks
from schemas.chat.counted import NOTHING, Counted
from schemas.chat.growth import growth_tokens
from schemas.chat.media import PDF
from schemas.chat.priced import LIMIT_MAX, MEDIA_MAX, PARTS_MAX, RequestError, candidates, likeness
from schemas.chat.priced import encode as encode_fields
from schemas.chat.request import NO_JSON
from schemas.chat.sieve import Sieve
from schemas.dialects.messages import fields as known
from schemas.dialects.messages.fields import CUSTOM, KNOWN, NO_PROMPT, REFUSED, tool_tokens
from schemas.dialects.messages.forms import FORMS
from schemas.dialects.messages.names import told_name
from schemas.dialects.messages.thinking import fitted
from schemas.errors import invalid, unsupported_value
from schemas.json import UNREADABLE

DEPTH_MAX: Final = 8  # of blocks in one another
SYSTEM_TURN_TOKENS: Final = 64  # what stands around instructions that become part of a user's turn
TOOL_TOKENS: Final = 128  # what stands around a tool's own words in a translation

# What a conversation has before any block of it can be other than text. A key may be written with escapes.
_SIGNS: Final = (b'"source"', b'"file_id"', b'"url"', b"\\u")
_OBJECTS: Final = re.compile(rb"\[\s*\{")
_MEDIA_TYPE: Final = re.compile(r"[\w.+-]+/[\w.+-]+", re.ASCII)
_REMOTE: Final = frozenset(("source", "url", "file_id"))
_TEXTS: Final = frozenset(
    ("text", "thinking", "redacted_thinking", "tool_use", "search_result", "tool_reference")
)
CLOSING_TOKENS: Final = 32  # what closes one object of a strict schema
_OBJECT_SIGN: Final = b"object"
_COMPACT: Final = b"compact"
_CALL_SIGN: Final = b'"tool_use'  # of a call's type, and of the field that names it in a result


class _UsageOptions(Struct, frozen=True):
    include: bool | None = None


class _Tool(Struct, frozen=True):
    type: str | None = None
    name: Any = None
    strict: Any = None
    input_schema: Raw = NO_JSON


_decode_text = msgspec.json.Decoder(str | None).decode
_decode_count = msgspec.json.Decoder(int | None).decode
_decode_flag = msgspec.json.Decoder(bool | None).decode
_decode_usage = msgspec.json.Decoder(_UsageOptions | None).decode
_decode_fields = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_objects = msgspec.json.Decoder(list[dict[str, Raw]]).decode
_decode_tools = msgspec.json.Decoder(list[_Tool] | None).decode
_NULL: Final = Raw(b"null")
_WANTED: Final[dict[Any, str]] = {
    _decode_text: "a string",
    _decode_count: "an integer",
    _decode_flag: "a boolean",
    _decode_usage: 'an object: {"include": true}',
    _decode_tools: "an array of tools",
}


def read(fields: Fields) -> Ask:
    """What a body asks for; what goes no further is taken out of `fields`. Raises RequestError."""
    if (found := likeness(fields, known.LISTED, known.FOLDS, known.LIMIT)) is not None:
        refuse(found[0], f"write `{found[1]}`, once", "unknown_parameter")
    sieve = Sieve(_refuse_place, dotted=True)
    sieve.sift(fields, FORMS)
    for name, why in REFUSED.items():
        if bytes(fields.get(name, _NULL)).strip() not in known.NOTHING:
            refuse(name, f"this gateway does not take it: {why}.")
    names = candidates(fields)
    messages = bytes(fields.get("messages", _NULL))
    if not messages.startswith(b"["):
        refuse("messages", "Field required" if messages == b"null" else "Input should be a valid list")
    if not _OBJECTS.match(messages):
        refuse("messages", "at least one message is required, each of them an object")
    limit = value(fields, "max_tokens", _decode_count)
    if limit is None:
        refuse("max_tokens", "Field required")
    if not 1 <= limit <= LIMIT_MAX:
        refuse("max_tokens", f"It must be an integer from 1 to {LIMIT_MAX}.")
    stream = bool(value(fields, "stream", _decode_flag))
    usage = value(fields, "usage", _decode_usage)
    return Ask(
        candidates=names,
        stream=stream,
        include_usage=stream,
        include_cost=usage is not None and bool(usage.include),
        inputs=1,
        choices=1,
        limit=limit,
        limit_set=True,
        dropped=tuple(
            name
            for name, raw in fields.items()
            if name not in REFUSED and name != "usage" and not _is_null(raw) and not _is_known(fields, name)
        )
        + tuple(sieve.dropped),
    )


def _refuse_place(place: str, why: str, code: str) -> NoReturn:
    refuse(place or "body", why, code)


def encode(fields: Fields) -> bytes:
    """The body that goes on: the same map in the same order, but for what is dropped, absent or the gateway's own.

    A name that a pool may add stays until it is known which pool serves.
    """
    kept = {
        name: raw
        for name, raw in fields.items()
        if not _is_null(raw)
        and (_is_known(fields, name) or (name not in known.LISTED and not why_not_more(name)))
    }
    return encode_fields(kept)


def _is_null(raw: Raw) -> bool:
    """Whether a field is absent in other words: Anthropic refuses a null."""
    return bytes(memoryview(raw)[:1]) == b"n"


def _is_known(fields: Fields, name: str) -> bool:
    if name == "context_management":
        # A compaction is a second prompt that no hold has.
        return _COMPACT not in bytes(fields[name]) and b"\\u" not in bytes(fields[name])
    return name in KNOWN


def bound(fields: Fields, ask: Ask, model: Model, seen: Seen, *, native: bool) -> Bound:
    """The bound of a body's prompt for one model, as `schemas.chat.priced` has it. Raises RequestError."""
    text_bytes = sum(len(bytes(raw)) for name, raw in fields.items() if name not in NO_PROMPT)
    tools = value(fields, "tools", _decode_tools) or []
    extra = sum(tool_tokens(tool.type) or 0 for tool in tools)
    messages = bytes(fields["messages"])
    media = _Media(model, seen, native=native)
    if any(sign in messages for sign in _SIGNS):
        media.read(fields["messages"])
        text_bytes -= media.inline_bytes
    elsewhere = model.family == BEDROCK  # Claude's own bodies, but for what Bedrock lacks
    if not native or elsewhere:
        extra += SYSTEM_TURN_TOKENS * (messages.count(b'"system"') + messages.count(b"\\u"))
    if not native:
        extra += sum(_told_tokens(tool) for tool in tools)
        extra += growth_tokens(messages, _CALL_SIGN)
    tokens_max = text_bytes + media.sum.most + extra + model.capabilities.overhead_tokens
    limit = min(ask.limit or LIMIT_MAX, model.max_output)  # `read` takes no body without one
    dropped = [f"tools[{at}]:{tool.type}" for at, tool in enumerate(tools) if not _is_kept(tool, native)]
    dropped += fitted(fields, model.capabilities)[1] if native else _unhonoured(fields, model)
    if native and elsewhere:
        dropped += [name for name in fields if name in known.BEDROCK_DROPS and not _is_null(fields[name])]
    if limit < (ask.limit or 0):
        dropped.append("max_tokens")
    return Bound(
        prompt_max=max(min(model.context, tokens_max), 1),
        text_bytes=text_bytes,
        limit=limit,
        media_tokens=media.sum.likely,
        documents=tuple(media.documents),
        dropped=tuple(dropped),
        kept=model.forwards.added(fields) if native else (),
    )


def _told_tokens(tool: _Tool) -> int:
    """The most that a translation adds to a tool."""
    closing = bytes(tool.input_schema).count(_OBJECT_SIGN) * CLOSING_TOKENS if tool.strict else 0
    return TOOL_TOKENS + closing + (len(told_name(tool.name)) if isinstance(tool.name, str) else 0)


def _is_kept(tool: _Tool, native: bool) -> bool:
    return native or tool.type in (None, CUSTOM)


def _unhonoured(fields: Fields, model: Model) -> list[str]:
    """Fields that a model of another family has no use for."""
    able = model.capabilities
    useless = {
        "cache_control": not takes_marks(model),
        "context_management": True,
        "service_tier": True,
        "thinking": not able.efforts,
        "top_k": not (able.top_k and able.sampling),
        "temperature": not able.sampling,
        "top_p": not able.sampling,
    }
    return [name for name, is_so in useless.items() if is_so and bytes(fields.get(name, _NULL)) != b"null"]


class _Media:
    """Counts the blocks of a conversation that are not text."""

    def __init__(self, model: Model, seen: Seen, *, native: bool) -> None:
        self._model = model
        self._native = native
        self._seen = seen
        self.inline_bytes = 0
        self.sum = NOTHING
        self.documents: list[Document] = []
        self._parts = self._media = 0

    def read(self, messages: Raw) -> None:
        """Adds up a raw list of messages."""
        try:
            for index, message in enumerate(self._objects(messages)):
                self._content(message.get("content"), f"messages.{index}", 0)
        except UNREADABLE:
            refuse("messages", "each message must be an object, and each block of its content too")

    def _objects(self, raw: Raw) -> list[Fields]:
        found = _decode_objects(raw)
        self._parts += len(found)
        if self._parts > PARTS_MAX:
            refuse("messages", f"at most {PARTS_MAX} messages and blocks are read where any is media")
        return found

    def _content(self, content: Raw | None, param: str, depth: int) -> None:
        if content is None or not bytes(content).startswith(b"["):
            return
        if depth > DEPTH_MAX:
            refuse(param, "its blocks are nested too deeply")
        for place, block in enumerate(self._objects(content)):
            self._block(block, f"{param}.content.{place}", depth)

    def _block(self, block: Fields, param: str, depth: int) -> None:
        kind = _decode_text(block.get("type", _NULL))
        if kind in _TEXTS:
            return
        if kind == "tool_result":
            self._content(block.get("content"), param, depth + 1)
        elif kind == "image":
            self._picture(_source(block, param), param)
        elif kind == "document":
            self._document(_source(block, param), param, depth)
        elif not _REMOTE.isdisjoint(block) or (self._native and _may_hold_media(block)):
            refuse(param, f"a block of type {kind!r} cannot be bounded before it is paid for")

    def _picture(self, source: Fields, param: str) -> None:
        able = self._model.capabilities
        kind = _decode_text(source.get("type", _NULL))
        if kind == "base64":
            data = _text(source.get("data", _NULL))
            self.inline_bytes += len(bytes(source.get("data", _NULL)))
            self._take("image", param, able.image_tokens_max)
            self._add(counted.picture(able, self._seen, data, 0, None))
        elif kind == "url" and able.remote_images:
            self._take("image", param, able.image_tokens_max)
            self._add(counted.picture(able, self._seen, "", -1, None))
        else:
            self._refuse_source(param, "images")

    def _document(self, source: Fields, param: str, depth: int) -> None:
        kind = _decode_text(source.get("type", _NULL))
        if kind == "text":
            return
        if kind == "content":
            self._content(source.get("content"), param, depth + 1)
        elif kind == "base64":
            able = self._model.capabilities
            data = _text(source.get("data", _NULL))
            self.inline_bytes += len(bytes(source.get("data", _NULL)))
            self._take("document", param, able.file_tokens_max)
            if _text(source.get("media_type", _NULL)) == PDF:
                if able.image_tokens_max and param not in self._seen.pages and not self._seen.caps_only:
                    self.documents.append(Document(param, data, 0))
                self._add(counted.document(able, self._seen, param))
            else:
                self._add(Counted(able.file_tokens_max, able.file_tokens_max))
        else:
            self._refuse_source(param, "documents")

    def _refuse_source(self, param: str, kinds: str) -> NoReturn:
        text = f"{param}.source: {kinds} are taken inline only, as base64: others cannot be bounded before they are paid for."
        raise RequestError(unsupported_value(param, text))

    def _take(self, kind: str, param: str, tokens_max: int) -> None:
        self._media += 1
        if self._media > MEDIA_MAX:
            refuse("messages", f"at most {MEDIA_MAX} images and documents are taken")
        if not tokens_max:
            text = f"{param}: the model `{self._model.id}` takes no {kind} input."
            raise RequestError(unsupported_value(param, text))

    def _add(self, media: Counted) -> None:
        self.sum = Counted(self.sum.most + media.most, self.sum.likely + media.likely)


def _source(block: Fields, param: str) -> Fields:
    """A picture's or document's source. A `media_type` that says more than a type may hold a medium of its own."""
    source = _decode_fields(block.get("source", _NULL))
    if "media_type" in source and not _MEDIA_TYPE.fullmatch(_text(source["media_type"])):
        refuse(f"{param}.source.media_type", "It must be a media type, such as image/png.")
    return source


def _may_hold_media(block: Fields) -> bool:
    """Whether anything of a block that nobody here knows may be media, at any depth. A translation leaves it out."""
    return any(sign in bytes(raw) for raw in block.values() for sign in _SIGNS)


def value(fields: Fields, name: str, decoder: Any) -> Any:
    """A field's value, None if it is absent. Raises RequestError for another type."""
    raw = fields.get(name)
    if raw is None:
        return None
    try:
        return decoder(raw)
    except UNREADABLE:
        refuse(name, f"It must be {_WANTED[decoder]}.", "invalid_type")


def refuse(param: str, why: str, code: str = "invalid_value") -> NoReturn:
    """Raises RequestError 400, in the words of Anthropic's own."""
    raise RequestError(invalid(f"{param}: {why}", param=param, code=code))


def _text(raw: Raw) -> str:
    return msgspec.json.decode(raw, type=str) if bytes(raw).startswith(b'"') else ""
