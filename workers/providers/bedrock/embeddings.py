"""Owns embeddings on Bedrock: InvokeModel in the forms of Titan, one text a call, and of Cohere, whole batches."""

# ruff: noqa: N815  the API's names

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct

from runtime.settings.settings import AccountSettings
from schemas.catalogue.bedrock import region_uplifts
from workers.answers.vectors import packed
from workers.providers.bedrock.auth import Signer
from workers.providers.embedding import Batch, EmbeddingExchange, Wanted, prompt_usage
from workers.upstream.request import UpstreamRequest

_HEADERS: Final = {"content-type": "application/json"}
_COUNT_HEADER: Final = "x-amzn-bedrock-input-token-count"
_DOCUMENT: Final = "search_document"  # Cohere's newer models want to be told
_COHERE: Final = "cohere."


class _Titan(Struct):
    embedding: list[float]
    inputTextTokenCount: Any = None


class _ByType(Struct):
    float: list[list[float]]


class _Cohere(Struct):
    embeddings: _ByType


_encode = msgspec.json.Encoder().encode
_decode_titan = msgspec.json.Decoder(_Titan).decode
_decode_cohere = msgspec.json.Decoder(_Cohere).decode


def exchanges(of: Wanted, signer: Signer) -> list[EmbeddingExchange]:
    """One call a batch, in the form that the model's maker has."""
    form = CohereEmbeddings if _COHERE in of.model.upstream else TitanEmbeddings
    return [form(of, batch, signer) for batch in of.batches]


class _Invoked(EmbeddingExchange):
    """One InvokeModel call."""

    def __init__(self, of: Wanted, batch: Batch, signer: Signer) -> None:
        self._signer = signer
        self._body = _encode(self._fields(of, batch.texts()))
        price = of.job.price
        # The price of a row is that of exactly its id: a region that it has no factor for is in it.
        self._regions = tuple(
            name for name in region_uplifts(of.model.upstream) if price is None or name in price.uplifts
        )
        super().__init__(of, batch)

    def _request(self, account: AccountSettings) -> UpstreamRequest:
        self.uplifts = self._regions
        url, headers = self._signer.call(account, self._of.model.upstream, "invoke", _HEADERS, self._body)
        headers["Accept"] = "application/json"
        return UpstreamRequest("POST", url, headers, self._body)

    def head(self, headers: Mapping[str, str]) -> None:
        """What was read, where only the head of an answer says it."""
        count = headers.get(_COUNT_HEADER, "")
        self.usage = prompt_usage(int(count)) if count.isascii() and count.isdigit() else None

    def _fields(self, of: Wanted, texts: list[str]) -> dict[str, Any]:
        raise NotImplementedError


class TitanEmbeddings(_Invoked):
    """One text."""

    def _fields(self, of: Wanted, texts: list[str]) -> dict[str, Any]:
        (text,) = texts
        return {"inputText": text} | ({} if of.dimensions is None else {"dimensions": of.dimensions})

    def _read(self, body: bytes) -> list[bytes]:
        answer = _decode_titan(body)
        self.usage = prompt_usage(answer.inputTextTokenCount) or self.usage
        return [packed(answer.embedding)]


class CohereEmbeddings(_Invoked):
    """Up to 96 texts."""

    def _fields(self, of: Wanted, texts: list[str]) -> dict[str, Any]:
        fields: dict[str, Any] = {"texts": texts, "input_type": of.request.input_type or _DOCUMENT}
        fields["embedding_types"] = ["float"]
        return fields | ({} if of.dimensions is None else {"output_dimension": of.dimensions})

    def _read(self, body: bytes) -> list[bytes]:
        return [packed(values) for values in _decode_cohere(body).embeddings.float]
