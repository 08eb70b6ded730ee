"""Owns how a Bedrock account's models are listed: foundation models and inference profiles, on the control host."""

from collections.abc import Callable
from typing import Any, Final
from urllib.parse import quote

import msgspec
from msgspec import Struct

from runtime.settings.settings import AccountSettings
from schemas.json import UNREADABLE
from workers.providers.bedrock.auth import Signer
from workers.providers.listing import Listed, ListError, day_of, gathered
from workers.upstream.request import UpstreamRequest

PAGE_PROFILES: Final = 1_000  # the most that one page may have
_FOUNDATION: Final = "/foundation-models"
_PROFILES: Final = tuple(
    f"/inference-profiles?maxResults={PAGE_PROFILES}&type={kind}"
    for kind in ("SYSTEM_DEFINED", "APPLICATION")
)
_ON_DEMAND: Final = "ON_DEMAND"
_TEXT: Final = "TEXT"
_LEGACY: Final = "LEGACY"


class _Foundation(Struct, rename="camel"):
    model_id: str
    output_modalities: Any = None
    inference_types_supported: Any = None
    model_lifecycle: Any = None


class _Profile(Struct, rename="camel"):
    inference_profile_id: str
    inference_profile_arn: str = ""
    models: Any = None  # those that it leads to


class _FoundationPage(Struct, rename="camel"):
    model_summaries: list[_Foundation]


class _ProfilePage(Struct, rename="camel"):
    inference_profile_summaries: list[_Profile]
    next_token: str | None = None


_decode_foundation: Final = msgspec.json.Decoder(_FoundationPage).decode
_decode_profiles: Final = msgspec.json.Decoder(_ProfilePage).decode


class BedrockReading:
    """One reading: bare ids are listed by foundation models that serve on demand, all others by profiles."""

    def __init__(self, account: AccountSettings, signer: Signer) -> None:
        self.models: dict[str, Listed] = {}
        self._account = account
        self._signer = signer
        self._foundation: dict[str, Listed] = {}  # also what is served by profiles alone
        self._paths = [_FOUNDATION, *_PROFILES]
        self._token = ""

    def request(self) -> UpstreamRequest | None:
        """The next page of the list under way."""
        if not self._paths:
            return None
        token = f"&nextToken={quote(self._token, safe='')}" if self._token else ""
        url, headers = self._signer.control(self._account, self._paths[0] + token)
        return UpstreamRequest("GET", url, headers, b"")

    def take(self, body: bytes) -> None:
        """One page. Raises ListError."""
        read: Callable[[bytes], str] = self._foundations if self._paths[0] == _FOUNDATION else self._profiles
        try:
            self._token = read(body)
        except UNREADABLE as error:
            raise ListError(str(error)) from None
        if not self._token:
            del self._paths[0]

    def _foundations(self, body: bytes) -> str:
        page = _decode_foundation(body).model_summaries
        if not page:
            raise ListError("no foundation models")
        for entry in page:
            if _has(entry.output_modalities, _TEXT):
                self._foundation[entry.model_id] = one = _listed(entry)
                if _has(entry.inference_types_supported, _ON_DEMAND):
                    gathered(self.models, (one,))
        return ""

    def _profiles(self, body: bytes) -> str:
        page = _decode_profiles(body)
        for entry in page.inference_profile_summaries:
            base = next(filter(None, map(self._source, _items(entry.models))), Listed(id=""))
            names = (entry.inference_profile_id, entry.inference_profile_arn)
            gathered(self.models, (msgspec.structs.replace(base, id=name) for name in names))
        return page.next_token or ""

    def _source(self, model: object) -> Listed | None:
        """The foundation model that a profile leads to: it ends when that one does."""
        arn = model.get("modelArn") if isinstance(model, dict) else None
        return self._foundation.get(arn.rpartition("/")[2]) if isinstance(arn, str) else None


def _items(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _has(values: object, wanted: str) -> bool:
    """Whether a list has something; what is no list may have anything."""
    return not isinstance(values, list) or wanted in values


def _listed(entry: _Foundation) -> Listed:
    lifecycle = entry.model_lifecycle if isinstance(entry.model_lifecycle, dict) else {}
    return Listed(
        id=entry.model_id,
        deprecated=lifecycle.get("status") == _LEGACY,
        shutdown=day_of(lifecycle.get("endOfLifeTime")),
    )
