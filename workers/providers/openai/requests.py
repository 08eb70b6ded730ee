"""Owns what a request to a compatible server says otherwise than one to OpenAI: what that server would refuse."""

from collections import OrderedDict
from typing import Final

import msgspec
from msgspec import Raw

from runtime.catalogue.presets import presets
from schemas.bus.frames import Job
from schemas.catalogue.model import Model
from workers.providers.openai import histories
from workers.providers.openai.limit import NAMES, limit_name, write_limit
from workers.providers.openai.quirks import suit

REFUSALS_MAX: Final = 1_024  # accounts that are remembered to refuse a field

_MARK: Final = "cache_control"
_MARK_SIGN: Final = b"cache_control"
_OPTIONS: Final = "stream_options"
_INCLUDE_USAGE: Final = "include_usage"
_OWN_OPTIONS: Final = Raw(b'{"include_usage":true}')
_OPTIONS_SIGNS: Final = (_OPTIONS.encode(), _INCLUDE_USAGE.encode())
_REFUSED: Final = (400, 422)

_encode = msgspec.json.Encoder().encode
_decode_map = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_list = msgspec.json.Decoder(list[Raw]).decode


class Refusals:
    """The accounts whose servers refuse one field of the gateway's own: the newest REFUSALS_MAX, until the worker ends."""

    def __init__(self) -> None:
        self._accounts: OrderedDict[str, None] = OrderedDict()

    def has(self, account_id: str) -> bool:
        """Whether this account is known to refuse it."""
        return account_id in self._accounts

    def add(self, account_id: str) -> None:
        """Remembers an account, and forgets the oldest beyond the bound."""
        self._accounts[account_id] = None
        while len(self._accounts) > REFUSALS_MAX:
            self._accounts.popitem(last=False)


def refuses_options(status: int, body: bytes) -> bool:
    """Whether an error answer says that the server does not take `stream_options`."""
    return status in _REFUSED and any(sign in body for sign in _OPTIONS_SIGNS)


def own_options(fields: dict[str, Raw]) -> Raw | None:
    """`stream_options` without what the caller put beside the gateway's own; None if there is nothing beside it.

    A refusal may be of that alone. Then the account is not one that refuses them, whatever its server's words are.
    """
    options = fields.get(_OPTIONS)
    if options is None or set(_decode_map(options)) <= {_INCLUDE_USAGE}:
        return None
    return _OWN_OPTIONS


def suited(fields: dict[str, Raw], job: Job, model: Model, *, with_options: bool) -> bytes:
    """The body with a job's fields as a compatible server takes them. The fields stay as they are.

    A limit is written under the row's own name, cache marks are left out where the model has no use for them,
    `stream_options` where the server is known to refuse them, and the vendor's quirks are followed.
    """
    fields = dict(fields)
    name = limit_name(job, model)
    if [one for one in NAMES if bytes(fields.get(one, b"null")) != b"null"] not in ([], [name]):
        write_limit(fields, name, job.limit)
    if not model.capabilities.cache_points:
        _unmark(fields)
    if histories.SIGN in job.body:
        histories.whole(fields)
    if not with_options:
        fields.pop(_OPTIONS, None)
    preset = presets().get(model.provider)
    if preset is not None and preset.quirks is not None:
        suit(fields, preset.quirks)
    return _encode(fields)


def _unmark(fields: dict[str, Raw]) -> None:
    """Takes cache marks off the request, its messages and their parts, and its tools: nowhere else, as in a schema."""
    fields.pop(_MARK, None)
    for name in ("messages", "tools"):
        raw = fields.get(name)
        if raw is not None and _MARK_SIGN in bytes(raw) and (clean := _unmarked_items(raw)) is not None:
            fields[name] = clean


def _unmarked_items(raw: Raw) -> Raw | None:
    """A list whose objects, and the parts of their `content`, carry no mark; None if nothing changed."""
    if bytes(raw)[:1] != b"[":
        return None
    items = _decode_list(raw)
    changed = False
    for at, item in enumerate(items):
        if _MARK_SIGN not in bytes(item) or bytes(item)[:1] != b"{":
            continue
        fields = _decode_map(item)
        marked = fields.pop(_MARK, None) is not None
        for name in ("content", "function"):
            inner = fields.get(name)
            if inner is not None and (clean := _unmarked(inner)) is not None:
                fields[name] = clean
                marked = True
        if marked:
            items[at] = Raw(_encode(fields))
            changed = True
    return Raw(_encode(items)) if changed else None


def _unmarked(raw: Raw) -> Raw | None:
    """A list of parts, or one object, without marks of its own; None if nothing changed."""
    if bytes(raw)[:1] == b"[":
        return _unmarked_items(raw)
    if bytes(raw)[:1] != b"{" or _MARK_SIGN not in bytes(raw):
        return None
    fields = _decode_map(raw)
    return Raw(_encode(fields)) if fields.pop(_MARK, None) is not None else None
