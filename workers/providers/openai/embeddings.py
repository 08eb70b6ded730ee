"""Owns embeddings in the OpenAI family: the caller's own inputs, asked for as base64, read in whatever form they come."""

from typing import Any, Final

import msgspec
from msgspec import Raw, Struct, structs

from runtime.catalogue.presets import presets
from runtime.settings.settings import AccountSettings
from schemas.catalogue.regions import is_openai, openai_region
from schemas.embeddings.request import BASE64
from schemas.json import UNREADABLE
from schemas.money.pricing import TokenUsage
from workers.answers.vectors import VectorError, from_base64, packed
from workers.providers.embedding import Batch, EmbeddingExchange, Wanted, prompt_usage
from workers.providers.faults import NONSENSE
from workers.providers.openai import calling
from workers.providers.openai.errors import event_fault
from workers.providers.openai.places import error_of
from workers.providers.openai.quirks import suit
from workers.providers.openai.requests import Refusals
from workers.providers.openai.usage import token_usage
from workers.upstream.request import UpstreamRequest

_FORMAT: Final = "encoding_format"
_FORMAT_SIGNS: Final = (_FORMAT.encode(), BASE64.encode())
_REFUSED: Final = (400, 422)
_NULL: Final = Raw(b"null")


class _Item(Struct):
    embedding: Raw
    index: int | None = None


class _Total(Struct):
    total_tokens: Any = None


class _Answer(Struct):
    data: list[_Item] | None = None
    usage: Raw = _NULL


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Answer).decode
_decode_map = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_any = msgspec.json.decode
_decode_text = msgspec.json.Decoder(str).decode
_decode_floats = msgspec.json.Decoder(list[float]).decode
_decode_total = msgspec.json.Decoder(_Total | None).decode


class OpenAIEmbeddings(EmbeddingExchange):
    """One call. `refusals` holds the accounts whose servers know nothing of `encoding_format`."""

    def __init__(self, of: Wanted, batch: Batch, refusals: Refusals) -> None:
        self._refusals = refusals
        self._account: AccountSettings | None = None  # that of the try under way
        self._bare_for = ""  # the account that is asked for numbers, as its server refused base64
        super().__init__(of, batch)

    def _request(self, account: AccountSettings) -> UpstreamRequest:
        self._account = account
        base = account.base_url.rstrip("/") or calling.BASE_URL
        region = openai_region("openai", base)
        self.uplifts = (region,) if region else ()
        job = self._of.job
        headers = calling.headers(account, job, None)
        return UpstreamRequest("POST", calling.url(account, job), headers, self._body(account, base))

    def _body(self, account: AccountSettings, base: str) -> bytes:
        of = self._of
        fields = {"model": Raw(_encode(of.job.upstream)), "input": self._batch.input}
        if account.id != self._bare_for and not self._refusals.has(account.id):
            fields[_FORMAT] = Raw(_encode(BASE64))
        said = {"dimensions": of.dimensions, "user": of.request.user}
        if of.able.hint:
            said[of.able.hint] = getattr(of.request, of.able.hint)
        fields |= {name: Raw(_encode(value)) for name, value in said.items() if value is not None}
        fields |= self._added()
        preset = presets().get(of.model.provider)
        if not is_openai(base) and preset is not None and preset.quirks is not None:
            suit(fields, preset.quirks)
        return _encode(fields)

    def _added(self) -> dict[str, Raw]:
        """What the caller wrote in fields that the pool adds."""
        of = self._of
        if not of.model.forwards.more:
            return {}
        given = _decode_map(of.job.body)
        return {name: given[name] for name in of.model.forwards.added(given)}

    def without(self, status: int, body: bytes) -> UpstreamRequest | None:
        """The same call once more, for numbers, where a server's refusal names base64 or its field."""
        account = self._account
        if account is None or account.id == self._bare_for or self._refusals.has(account.id):
            return None
        if status not in _REFUSED or not any(sign in body for sign in _FORMAT_SIGNS):
            return None
        self._bare_for = account.id
        return self.request(account)

    def taken(self) -> None:
        """The server took the call: its account is remembered."""
        if self._bare_for:
            self._refusals.add(self._bare_for)

    def _read(self, body: bytes) -> list[bytes] | None:
        answer = _decode(body)
        if answer.data is None:
            error = error_of(_decode_any(body))
            self.fault = NONSENSE if error is None else event_fault(error)
            return None
        self.usage = _usage(answer.usage)
        items = answer.data
        if all(item.index is not None for item in items):
            items = sorted(items, key=lambda item: item.index or 0)
            if [item.index for item in items] != list(range(len(items))):
                raise VectorError
        return [_vector(item.embedding) for item in items]


def _vector(raw: Raw) -> bytes:
    if bytes(memoryview(raw)[:1]) == b'"':
        return from_base64(_decode_text(raw))
    return packed(_decode_floats(raw))


def _usage(raw: Raw) -> TokenUsage | None:
    """What was read; vectors are no output, whatever a server counts. Some count a total alone, and 0 is no count."""
    found = token_usage(raw, vectors=True)
    if found is not None and found.prompt:
        return structs.replace(found, output=0, reasoning=0, output_audio=0)
    try:
        total = _decode_total(raw)
    except UNREADABLE:
        return None
    return prompt_usage(total.total_tokens) if total is not None and total.total_tokens else None
