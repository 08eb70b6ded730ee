"""Owns what is priced in a Responses request: what it asks for, and a true bound of its prompt, before any hold."""

import msgspec
from msgspec import Raw, Struct

from schemas.asked import NOTHING_SEEN, Ask, Bound, Fields, Seen
from schemas.catalogue.model import Model
from schemas.chat import priced as chat
from schemas.chat.growth import growth_tokens
from schemas.chat.priced import RequestError
from schemas.chat.request import NO_JSON
from schemas.chat.sieve import sifted
from schemas.json import UNREADABLE
from schemas.responses import fields as known
from schemas.responses.fields import NO_PROMPT
from schemas.responses.forms import FORMS
from schemas.responses.items import KNOWN, MORE_TOOLS, REFERENCE, kind
from schemas.responses.marks import bytes_max, is_marked
from schemas.responses.reading import refuse_missing
from schemas.responses.tools import Toolset, is_local
from schemas.responses.translate import Translated, translate

FLOOR = 16  # the least limit that OpenAI takes
# What an input must contain before any part of it can be something other than text; any \u may be a letter of it.
_MEDIA_SIGNS = (b"input_image", b"input_file", b"input_audio", b"\\u")
_NAME_CHARS_MAX = 64
_CALL_SIGN = b'call_id"'


class _Kind(Struct):
    type: str | None = None
    id: str | None = None
    role: str | None = None
    content: Raw = NO_JSON
    environment: Raw = NO_JSON
    tools: Raw = NO_JSON


_decode_kinds = msgspec.json.Decoder(list[_Kind]).decode
_encode = msgspec.json.Encoder().encode
_NULL = Raw(b"null")


def read(fields: Fields) -> Ask:
    """What a body asks for; what goes no further is taken out of `fields`. Raises RequestError."""
    chat.refuse_likeness(fields, known.KNOWN, known.FOLDS, known.LIMIT)
    left_out = sifted(fields, FORMS)
    if bytes(fields.get("input", _NULL)) in (b"null", b'""', b"[]"):
        refuse_missing("input")
    limit = chat.count(fields, "max_output_tokens", chat.LIMIT_MAX)
    items = _kinds(fields, "input")
    hosted = _hosted(fields)
    return Ask(
        candidates=chat.candidates(fields),
        stream=chat.flag(fields, "stream"),
        include_usage=True,
        include_cost=chat.wants_cost(fields),
        inputs=1,
        choices=1,
        limit=limit,
        limit_set=limit is not None,
        limit_name="max_output_tokens",
        floor=FLOOR,
        dropped=(*known.dropped(fields), *_without(left_out, hosted), *hosted, *_unknown(items)),
        keeps=bytes(fields.get("store", _NULL)) != b"false",
        references=_references(items),
    )


def _kinds(fields: Fields, name: str) -> list[_Kind]:
    """The types in a list; none for what is none, which is refused where it is read in full."""
    try:
        return _decode_kinds(fields.get(name, _NULL))
    except UNREADABLE:
        return []


def _hosted(fields: Fields) -> list[str]:
    return [
        f"tools[{index}]:{tool.type[:_NAME_CHARS_MAX]}"
        for index, tool in enumerate(_kinds(fields, "tools"))
        if tool.type is not None and not is_local(tool.type, tool.environment)
    ]


def _without(left_out: tuple[str, ...], hosted: list[str]) -> list[str]:
    """What was left out, but of tools that are left out whole."""
    tools = tuple(f"{name.partition(':')[0]}." for name in hosted)
    return [name for name in left_out if not name.startswith(tools)]


def _references(items: list[_Kind]) -> tuple[str, ...]:
    """The ids that may be resolved: others name nothing that was ever kept."""
    return tuple(
        item.id
        for item in items
        if item.id and is_marked(item.id) and kind(item.type, item.id, item.role, item.content) == REFERENCE
    )


def _unknown(items: list[_Kind]) -> list[str]:
    return [
        f"input[{index}]:{item.type[:_NAME_CHARS_MAX]}"
        for index, item in enumerate(items)
        if item.type is not None and item.type not in KNOWN
    ]


def bound(fields: Fields, ask: Ask, model: Model, seen: Seen = NOTHING_SEEN) -> Bound:
    """The bound of a body's prompt for one model, by the rules of chat. Raises RequestError for what has none."""
    uplift = chat.priced_tier(fields, model)
    text_bytes = sum(len(bytes(value)) for name, value in fields.items() if name not in NO_PROMPT)
    media = chat.Media(model, seen)
    translated = _with_media(fields, model)
    if translated is not None:
        try:
            media.read(Raw(_encode(translated.chat.messages)))
        except RequestError as refused:
            raise RequestError(translated.told(refused.error)) from None
        text_bytes -= media.inline_bytes
    native = model.capabilities.responses
    added_bytes = 0 if native else _added_bytes(fields)
    told = 0 if native else growth_tokens(bytes(fields.get("input", _NULL)), _CALL_SIGN)
    # Not among the bytes of the text: what is behind a reference is known to who resolves it.
    referred_bytes = bytes_max(ask.references)
    tokens_max = text_bytes + added_bytes + referred_bytes + told + media.sum.most
    tokens_max += model.capabilities.overhead_tokens
    wanted = ask.limit if ask.limit is None or not native else max(ask.limit, ask.floor)
    return Bound(
        prompt_max=max(min(model.context, tokens_max), 1),
        text_bytes=text_bytes,
        limit=None if wanted is None else min(wanted, model.max_output),
        media_tokens=media.sum.likely,
        documents=tuple(media.documents),
        uplifts=() if uplift is None else (uplift,),
        dropped=() if native else known.dropped_through_chat(fields),
        kept=model.forwards.added(fields) if native else (),
    )


def _added_bytes(fields: Fields) -> int:
    """How much longer the tools may be as a chat model gets them. Raises RequestError 400."""
    tools = Toolset()
    tools.add_raw(fields.get("tools", _NULL), "tools")
    for index, item in enumerate(_kinds(fields, "input")):
        if item.type == MORE_TOOLS:
            tools.add_raw(item.tools, f"input[{index}].tools")
    return tools.added_bytes


def _with_media(fields: Fields, model: Model) -> Translated | None:
    """The translation of a body that may have media in it."""
    raw = bytes(fields.get("input", _NULL))
    if not any(sign in raw for sign in _MEDIA_SIGNS):
        return None
    return translate(_encode(fields), model, pending=True)
