"""Owns what each Gemini model can do, by the id that Google is asked for: facts of docs/providers/gemini.md, as data."""

import re
from typing import Final

from msgspec import structs

from schemas.catalogue.beginnings import longest
from schemas.catalogue.media import Crops, Flat, most_tokens, with_margin
from schemas.catalogue.model import WINDOW_TOKENS, Capabilities

_LEVELS: Final = ("low", "medium", "high")
_BUDGETS: Final = ("minimal", "low", "medium", "high", "xhigh", "max")

# Before 2.5: no reasoning, and a JSON answer excludes tools.
GEMINI_1: Final = Capabilities(
    images=True,
    image_types=("image/jpeg", "image/png", "image/webp", "image/heic", "image/heif"),
    audio_in=True,
    files=True,
    file_types=(
        "application/pdf",
        "text/plain",
        "text/html",
        "text/csv",
        "text/markdown",
        "text/xml",
        "application/json",
    ),
    json_schema=True,
    json_object=True,
    json_with_tools=False,
    serial_tools=False,
    tool_pattern="[A-Za-z_].*",
    penalties=True,
    top_k=True,
    n_max=8,
    logprobs=True,
    stop_max=5,
    limit_field="maxOutputTokens",
    efforts=("none",),
    overhead_tokens=400,
    pictures=Crops(tokens_max=5_160),
    image_tokens_max=5_200,
    file_tokens_max=WINDOW_TOKENS,
    audio_tokens_max=WINDOW_TOKENS,
    audio_tokens_per_s=32,
)
_GEMINI_25_FLASH: Final = structs.replace(
    GEMINI_1,
    logprobs=False,
    penalties=False,
    efforts=("none", *_BUDGETS),
    thinking="budget",
    thinking_min=1,
    thinking_max=24_576,
)
_GEMINI_25_LITE: Final = structs.replace(_GEMINI_25_FLASH, thinking_min=512)
_GEMINI_25_PRO: Final = structs.replace(
    _GEMINI_25_FLASH, efforts=_BUDGETS, thinking_min=128, thinking_max=32_768
)
_FLAT: Final = Flat(picture_tokens=1_120)  # at the resolution that a request without one gets
# From 3 on: levels instead of budgets, signatures are asked back, JSON and tools go together.
GEMINI_3: Final = structs.replace(
    GEMINI_1,
    json_with_tools=True,
    n_max=1,
    logprobs=False,
    penalties=False,
    efforts=_LEVELS,
    thinking="level",
    signatures=True,
    result_media=True,
    pictures=_FLAT,
    image_tokens_max=with_margin(most_tokens(_FLAT)),
)
_GEMINI_3_MINIMAL: Final = structs.replace(GEMINI_3, efforts=("minimal", *_LEVELS))
_GEMINI_3_MINIMAL_UNSAMPLED: Final = structs.replace(_GEMINI_3_MINIMAL, sampling=False)
_GEMINI_3_UNSAMPLED: Final = structs.replace(GEMINI_3, sampling=False)

# By the longest beginning that fits: ids end in dates and stages.
_ROWS: Final = {
    "gemini-1.5-pro": GEMINI_1,
    "gemini-1.5-flash": GEMINI_1,
    "gemini-1.5-flash-8b": GEMINI_1,
    "gemini-2.0-flash": GEMINI_1,
    "gemini-2.0-flash-lite": GEMINI_1,
    "gemini-2.5-flash": _GEMINI_25_FLASH,
    "gemini-2.5-flash-lite": _GEMINI_25_LITE,
    "gemini-2.5-pro": _GEMINI_25_PRO,
    "gemini-3-pro": structs.replace(GEMINI_3, efforts=("low", "high")),
    "gemini-3-flash": _GEMINI_3_MINIMAL,
    "gemini-3.1-pro": GEMINI_3,
    "gemini-3.1-flash-lite": _GEMINI_3_MINIMAL,
    "gemini-3.5-flash": _GEMINI_3_MINIMAL,
    "gemini-3.5-flash-lite": _GEMINI_3_MINIMAL_UNSAMPLED,
    "gemini-3.6-flash": _GEMINI_3_MINIMAL_UNSAMPLED,
    "gemini-3.7-flash": _GEMINI_3_UNSAMPLED,
    "gemini-3.8-flash": _GEMINI_3_UNSAMPLED,
    "gemini-4-argon": GEMINI_3,
    "gemini-4-carbon": GEMINI_3,
}
_RELEASE: Final = re.compile(r"(-(latest|preview|exp|\d[\d-]*))*")


def _known(upstream: str) -> str:
    return longest(_ROWS, upstream)


def knows_gemini(upstream: str) -> bool:
    """Whether a row is this very model's: what follows its beginning is no more than a release."""
    known = _known(upstream)
    return bool(known) and _RELEASE.fullmatch(upstream, len(known)) is not None


def gemini_capabilities(upstream: str) -> Capabilities:
    """What a model can do; one that is newer than this table, what the newest of its line can."""
    if knows_gemini(upstream):
        return _ROWS[_known(upstream)]
    if "flash-lite" in upstream:
        return _ROWS["gemini-3.5-flash-lite"]
    return _ROWS["gemini-3.8-flash" if "flash" in upstream else "gemini-4-argon"]
