"""Owns the body of a chat call: its fields, limit and tier, and what it goes without where a server refuses that."""

from typing import Final

import msgspec
from msgspec import Raw

from runtime.settings.settings import AccountSettings
from schemas.bus.frames import Job
from schemas.catalogue.model import Model
from schemas.catalogue.regions import is_openai
from schemas.chat.caching import LONG_TTLS, may_name, ttls
from schemas.chat.request import CHAT, COMPLETIONS
from schemas.errors import invalid
from schemas.json import UNREADABLE
from workers.providers.base import RefusedError
from workers.providers.openai import histories
from workers.providers.openai.fields import absent
from workers.providers.openai.limit import NEW, OLD, limit_name, write_limit
from workers.providers.openai.names import Names
from workers.providers.openai.requests import Refusals, own_options, refuses_options, suited
from workers.providers.openai.uplifts import at_default_tier

_PRIVATE_KEYS: Final = ("usage",)  # asks the gateway for `cost`; the edge takes it out, and so do we
_OPTIONS: Final = "stream_options"
_TRUE: Final = Raw(b"true")

_encode = msgspec.json.Encoder().encode
_decode_map = msgspec.json.Decoder(dict[str, Raw]).decode


class Asking:
    """What one call asks for, as each account that it is tried on takes it.

    `elsewhere` is the account of the try under way, where its server is not OpenAI's own and its answer is mended.
    `names` are those of tools, where OpenAI takes others than the caller's. `long_cache` says that what is written to
    a cache is to be kept for long.
    """

    __slots__ = ("_bare_for", "_fields", "_job", "_model", "_refusals", "elsewhere", "long_cache", "names")

    def __init__(self, job: Job, model: Model, refusals: Refusals) -> None:
        """Raises RefusedError for a body that is no JSON object."""
        self._job = job
        self._model = model
        self._refusals = refusals
        self.elsewhere: AccountSettings | None = None
        self._bare_for = ""  # the account that is asked without `stream_options`
        self._fields = _fields(job, model)
        self.names: Names | None = None
        self.long_cache = may_name(job.body) and not LONG_TTLS.isdisjoint(ttls(self._fields))

    def body(self, account: AccountSettings, base: str) -> bytes:
        """The body for an account at the address `base`: the same for every one of OpenAI's own."""
        if is_openai(base):
            self.elsewhere = None
            body = _encode(at_default_tier(self._fields) if self._job.dialect == CHAT else self._fields)
            self.names = self.names or self._refused_names(body)
            return self.names.there(body) if self.names else body
        self.elsewhere = account
        bare = account.id == self._bare_for or self._refusals.has(account.id)
        return suited(self._fields, self._job, self._model, with_options=not bare)

    def _refused_names(self, body: bytes) -> Names | None:
        tools = "tools" in self._fields or histories.SIGN in body
        return (Names(body) if tools and self._job.dialect == CHAT else None) or None

    def yields(self, status: int, body: bytes) -> AccountSettings | None:
        """The account to ask once more without `stream_options`, where a compatible server's refusal names them.

        Or without what the caller put into them beside the gateway's own: it may be no more than that.
        """
        account = self.elsewhere
        if account is None or not self._job.stream or self._bare_for == account.id:
            return None
        if self._refusals.has(account.id) or not refuses_options(status, body):
            return None
        if (own := own_options(self._fields)) is not None:
            self._fields[_OPTIONS] = own
            self._bare_for = ""
        else:
            self._bare_for = account.id
        return account

    def taken(self) -> None:
        """The server took the call: the account is remembered, if it was without them."""
        if self._bare_for:
            self._refusals.add(self._bare_for)


def _fields(job: Job, model: Model) -> dict[str, Raw]:
    try:
        fields = _decode_map(job.body)
        fields["model"] = Raw(_encode(job.upstream))
        for key in _PRIVATE_KEYS:
            fields.pop(key, None)
        if job.stream:
            fields[_OPTIONS] = _with_usage(fields.get(_OPTIONS))
    except UNREADABLE:
        raise RefusedError(invalid("The body is not a JSON object in UTF-8.")) from None
    _limit(fields, job, model)
    if job.dialect == CHAT and histories.SIGN in job.body:
        histories.readable(fields)
    return fields


def _with_usage(raw: Raw | None) -> Raw:
    options = {} if raw is None or bytes(raw) == b"null" else _decode_map(raw)
    options["include_usage"] = _TRUE
    return Raw(_encode(options))


def _limit(fields: dict[str, Raw], job: Job, model: Model) -> None:
    """Leaves a limit as the caller wrote it, or replaces whatever it wrote by the one that was granted."""
    name = limit_name(job, model)
    needed = job.dialect == COMPLETIONS or model.capabilities.needs_limit
    # Newer models refuse the old name; the limit that was priced is the larger of the two.
    renamed = name == NEW and not absent(fields, OLD)
    if job.write_limit or renamed or (needed and absent(fields, name)):
        write_limit(fields, name, job.limit)
