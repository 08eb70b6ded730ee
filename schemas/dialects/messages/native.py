"""Owns what is checked of a Messages request that goes on as it is, and what is taken out of its history."""

from typing import Final

import msgspec
from msgspec import Raw, Struct

from schemas.catalogue.model import Model
from schemas.chat.caching import LONG_TTLS, SHORT_TTLS, ttls
from schemas.chat.kinds import misfit
from schemas.dialects.blobs import PREFIX
from schemas.dialects.messages.fields import KINDS, tool_tokens
from schemas.dialects.messages.priced import refuse
from schemas.dialects.messages.request import Metadata, Thinking
from schemas.json import UNREADABLE
from schemas.money.pricing import prices_long_caches

Fields = dict[str, Raw]


class _Tool(Struct, frozen=True):
    type: str | None = None


class _Native(Struct, frozen=True):
    """What is read of a body beside what is priced."""

    max_tokens: int
    tools: list[_Tool] | None = None
    thinking: Thinking | None = None
    metadata: Metadata | None = None


_decode = msgspec.json.Decoder(_Native).decode
_decode_fields = msgspec.json.Decoder(Fields).decode
_decode_objects = msgspec.json.Decoder(list[Fields]).decode
_encode = msgspec.json.Encoder().encode

_THINKING: Final = b'thinking"'
_PROOFS: Final = {b'"thinking"': "signature", b'"redacted_thinking"': "data"}
_NONE: Final = (b"null", b'""')
_FOREIGN: Final = (b'"' + PREFIX.encode(), b'"gAAAA')  # how the gateway's own proofs begin, and OpenAI's


def check(model: Model, body: bytes) -> None:
    """Raises RequestError for what would cost more than is held, or acts for the gateway."""
    try:
        fields = _decode_fields(body)
        if (found := misfit(fields, KINDS)) is not None:
            refuse(found[0], f"Input should be {found[1]}", "invalid_type")
        asked = _decode(body)
        cleaned(fields["messages"])
    except UNREADABLE as fault:
        refuse("body", str(fault)[:200])
    for at, tool in enumerate(asked.tools or ()):
        if tool_tokens(tool.type) is None:
            refuse(
                f"tools.{at}.type", f"the tool {str(tool.type)[:64]!r} is not served: it runs at the provider"
            )
    thinking = asked.thinking
    if thinking is not None and (thinking.budget_tokens or 0) >= asked.max_tokens:
        refuse("thinking.budget_tokens", "`max_tokens` must be greater than `thinking.budget_tokens`")
    for ttl in ttls(fields) - SHORT_TTLS:
        if ttl not in LONG_TTLS or not prices_long_caches(model.prices):
            refuse("cache_control.ttl", f"the model `{model.id}` has no price for a cache of {ttl[:40]!r}")


def cleaned(messages: Raw) -> Raw:
    """A conversation without reasoning that Anthropic cannot have signed; byte for byte the same if it has none."""
    raw = bytes(messages)
    if _THINKING not in raw or not (any(sign in raw for sign in _FOREIGN) or _unsigned(raw)):
        return messages
    turns: list[Fields] = []
    changed = False
    for turn in _decode_objects(messages):
        content = turn.get("content")
        if content is not None and bytes(content).startswith(b"["):
            blocks = _decode_objects(content)
            kept = [block for block in blocks if not _is_foreign(block)]
            if len(kept) != len(blocks):
                changed = True
                if not kept:
                    continue
                turn = turn | {"content": Raw(_encode(kept))}  # noqa: PLW2901  the same turn, with less in it
        turns.append(turn)
    return Raw(_encode(turns)) if changed else messages


def _unsigned(raw: bytes) -> bool:
    return raw.count(b'"signature"') < raw.count(_THINKING) or b'""' in raw or b"null" in raw


def _is_foreign(block: Fields) -> bool:
    kind = bytes(block.get("type", b""))
    proof = _PROOFS.get(kind)
    if proof is None:
        return False
    signature = bytes(block.get(proof, b"null"))
    return signature in _NONE or signature.startswith(_FOREIGN)
