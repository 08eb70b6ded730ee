"""Owns embeddings in the Gemini family: batchEmbedContents, whose vectors are brought back to unit length where cut."""

# ruff: noqa: N815  the API's names

import math
from typing import Any, Final
from urllib.parse import quote

import msgspec
from msgspec import Struct

from runtime.settings.settings import AccountSettings
from workers.answers.vectors import VectorError, packed
from workers.providers.embedding import Batch, EmbeddingExchange, Wanted, prompt_usage
from workers.providers.gemini.errors import fault_of_event
from workers.upstream.request import UpstreamRequest

_VERB: Final = "batchEmbedContents"


class _Vector(Struct):
    values: list[float]


class _Usage(Struct):
    promptTokenCount: Any = None


class _Answer(Struct):
    embeddings: list[_Vector] = []
    usageMetadata: _Usage | None = None
    error: Any = None


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Answer).decode


class GeminiEmbeddings(EmbeddingExchange):
    """One batchEmbedContents call."""

    def __init__(self, of: Wanted, batch: Batch, base_url: str, version: str) -> None:
        self._base_url = base_url
        self._path = f"/{version}/models/{quote(of.model.upstream, safe='-._~')}:{_VERB}"
        shared: dict[str, Any] = {"model": f"models/{of.model.upstream}"}
        if of.dimensions is not None:
            shared["outputDimensionality"] = of.dimensions
        if of.request.task_type is not None:
            shared["taskType"] = of.request.task_type
        texts = batch.texts()
        self._body = _encode(
            {"requests": [shared | {"content": {"parts": [{"text": text}]}} for text in texts]}
        )
        super().__init__(of, batch)

    def _request(self, account: AccountSettings) -> UpstreamRequest:
        base = (account.base_url or self._base_url).rstrip("/")
        headers = {"x-goog-api-key": account.api_key, "content-type": "application/json"}
        return UpstreamRequest("POST", base + self._path, headers, self._body)

    def _read(self, body: bytes) -> list[bytes] | None:
        answer = _decode(body)
        if answer.error is not None:
            self.fault = fault_of_event(answer.error)
            return None
        if answer.usageMetadata is not None:
            self.usage = prompt_usage(answer.usageMetadata.promptTokenCount)
        cut = self._of.dimensions is not None
        return [packed(_unit(one.values) if cut else one.values) for one in answer.embeddings]


def _unit(values: list[float]) -> list[float]:
    """The same direction at length 1: of a vector that was cut short the provider leaves what length is left."""
    length = math.hypot(*values)
    if not math.isfinite(length):
        raise VectorError
    return [value / length for value in values] if length else values
