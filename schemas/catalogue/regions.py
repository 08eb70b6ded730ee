"""Owns which addresses are OpenAI's own, and which region each is bound to."""

from functools import lru_cache
from typing import Final
from urllib.parse import urlsplit

REGIONAL: Final = (
    "regional"  # the uplift of a vendor whose every region but the global one costs the same more
)
OPENAI_HOST: Final = "api.openai.com"
_ADDRESSES_MAX: Final = 256  # each is asked about with every call
_REGIONS: Final = {f"{region}.{OPENAI_HOST}": region for region in ("us", "eu")}


@lru_cache(_ADDRESSES_MAX)
def is_openai(base_url: str) -> bool:
    """Whether an address is api.openai.com, which an empty one stands for, or one of its regions'."""
    host = (urlsplit(base_url).hostname or "") if base_url else OPENAI_HOST
    return host == OPENAI_HOST or host.endswith(f".{OPENAI_HOST}")


@lru_cache(_ADDRESSES_MAX)
def openai_region(family: str, base_url: str) -> str:
    """The region of an account at OpenAI itself, by the name that a price row's uplifts have: "us", "eu"; "" for none."""
    return _REGIONS.get(urlsplit(base_url).hostname or "", "") if family == "openai" else ""
