"""Owns what a model behind OpenAI's chat protocol can do, by its upstream id: facts of docs/providers/openai.md, as data.

Requests of this family go on as the caller wrote them, and their server judges them. What the gateway itself writes
follows from these rows.
"""

import re
from typing import Final

from msgspec import structs

from schemas.catalogue.beginnings import longest
from schemas.catalogue.media import Patches, Pictures, Tiles, most_tokens, with_margin
from schemas.catalogue.model import WINDOW_TOKENS, Capabilities

_NEW_LIMIT: Final = "max_completion_tokens"
_ANY_LIMIT: Final = "max_tokens"
_LOW: Final = ("low", "medium", "high")
_XHIGH: Final = (*_LOW, "xhigh")
_ALL: Final = (*_XHIGH, "max")
_PDF: Final = ("application/pdf",)


def _seeing(able: Capabilities, pictures: Pictures, **more: int) -> Capabilities:
    """A row that takes pictures, counted by a formula, and PDFs, whose pages are drawn."""
    seen = {"image_tokens_max": with_margin(most_tokens(pictures)), **more}
    return structs.replace(
        able,
        images=True,
        remote_images=True,
        pictures=pictures,
        files=True,
        file_types=_PDF,
        file_tokens_max=WINDOW_TOKENS,
        **seen,
    )


def _patches(factor_permille: int) -> Patches:
    # The page also says 2,048 px, at which no picture has 6,144 patches: the larger figure is relied on.
    return Patches(factor_permille=factor_permille, patches_max=6_144)


_TEXT: Final = Capabilities(
    json_object=True, n_max=128, logprobs=True, penalties=True, limit_field=_ANY_LIMIT, overhead_tokens=64
)
_SCHEMAS: Final = structs.replace(_TEXT, json_schema=True, strict_tools=True)
_TILES_4: Final = Tiles(base_tokens=85, tile_tokens=170)
GPT_4O: Final = _seeing(_SCHEMAS, _TILES_4, image_tokens_max=1_500)
GPT_4: Final = structs.replace(GPT_4O, files=False, file_types=(), file_tokens_max=0)
GPT_4O_MINI: Final = _seeing(_SCHEMAS, Tiles(base_tokens=2_833, tile_tokens=5_667), image_tokens_max=50_000)
_MINI: Final = _patches(1_620)
_NANO: Final = _patches(2_460)
# Input at 10 tokens a second is not written down anywhere: what speech costs on its way out is the bound.
_AUDIO: Final = structs.replace(
    _TEXT, audio_in=True, audio_tokens_max=WINDOW_TOKENS, audio_tokens_per_s=20, n_max=1
)

# Always reasons; samples and stops as it likes.
_REASONING: Final = structs.replace(
    _SCHEMAS,
    limit_field=_NEW_LIMIT,
    sampling=False,
    penalties=False,
    logprobs=False,
    efforts=_LOW,
    effort_default="medium",
)
_UNSTOPPED: Final = structs.replace(_REASONING, stop_max=0)
_O_TILES: Final = Tiles(base_tokens=75, tile_tokens=150)
_TILES_5: Final = Tiles(base_tokens=70, tile_tokens=140)
_GPT_5: Final = structs.replace(_UNSTOPPED, efforts=("minimal", *_LOW))
_CODEX: Final = structs.replace(_UNSTOPPED, efforts=_XHIGH)
_CHAT_LATEST: Final = structs.replace(_UNSTOPPED, efforts=("medium",))
_PRO: Final = structs.replace(_UNSTOPPED, efforts=("medium", "high", "xhigh"))
# Reasons when told to, and samples while it does not.
_AT_NONE: Final = structs.replace(
    _SCHEMAS,
    limit_field=_NEW_LIMIT,
    sampling_at_none=True,
    efforts=("none", *_XHIGH),
    effort_default="none",
)
_GPT_51: Final = structs.replace(_AT_NONE, efforts=("none", *_LOW))
_GPT_55: Final = structs.replace(_AT_NONE, effort_default="medium")
_GPT_56: Final = structs.replace(_GPT_55, efforts=("none", *_ALL), cache_points=4)
_ASTRA: Final = structs.replace(_UNSTOPPED, efforts=_ALL, cache_points=4)
_ORDINARY: Final = _patches(1_200)
_ORIGINAL_54: Final = Patches(
    factor_permille=1_200,
    patches_max=10_000,
    edge_px_max=6_000,
    high_patches_max=2_500,
    high_edge_px_max=2_048,
    auto_is_high=True,
)
_ORIGINAL_55: Final = structs.replace(_ORIGINAL_54, auto_is_high=False)
_ORIGINAL: Final = Patches(factor_permille=1_200, patches_max=30_000)  # more is refused, never shrunk

# By the longest beginning that fits: ids end in dates.
_ROWS: Final = {
    "gpt-3.5-turbo": _TEXT,
    "gpt-3.5-turbo-16k": _TEXT,
    "gpt-4": _TEXT,
    "gpt-4-32k": _TEXT,
    "gpt-4-turbo": GPT_4,
    "gpt-4-turbo-preview": _TEXT,
    "gpt-4-vision-preview": GPT_4,
    "gpt-4o": GPT_4O,
    "gpt-4o-mini": GPT_4O_MINI,
    "gpt-4o-audio": _AUDIO,
    "gpt-4o-mini-audio": _AUDIO,
    "gpt-audio": _AUDIO,
    "gpt-audio-1.5": _AUDIO,
    "gpt-audio-mini": _AUDIO,
    "gpt-4.1": _seeing(_SCHEMAS, _TILES_4),
    "gpt-4.1-mini": _seeing(_SCHEMAS, _MINI),
    "gpt-4.1-nano": _seeing(_SCHEMAS, _NANO),
    "gpt-4.5": _seeing(_SCHEMAS, _TILES_4),
    "chatgpt-4o": GPT_4O,
    "computer-use": _seeing(_REASONING, Tiles(base_tokens=65, tile_tokens=129)),
    "o1": _seeing(_REASONING, _O_TILES),
    "o1-mini": _REASONING,
    "o1-preview": _REASONING,
    "o1-pro": _seeing(_REASONING, _O_TILES),
    "o3": _seeing(_UNSTOPPED, _O_TILES),
    "o3-mini": _UNSTOPPED,
    "o3-pro": _seeing(_UNSTOPPED, _O_TILES),
    "o3-deep-research": _seeing(_UNSTOPPED, _O_TILES),
    "o4-mini": _seeing(_UNSTOPPED, _patches(1_720)),
    "o4-mini-deep-research": _seeing(_UNSTOPPED, _patches(1_720)),
    "gpt-5": _seeing(_GPT_5, _TILES_5),
    "gpt-5-mini": _seeing(_GPT_5, _MINI),
    "gpt-5-nano": _seeing(_GPT_5, _NANO),
    "gpt-5-chat": _seeing(structs.replace(_SCHEMAS, limit_field=_NEW_LIMIT), _TILES_5),
    "gpt-5-codex": _seeing(structs.replace(_CODEX, efforts=_LOW), _ORDINARY),
    "gpt-5-pro": _seeing(structs.replace(_PRO, efforts=("high",), effort_default="high"), _TILES_5),
    "gpt-5.1": _seeing(_GPT_51, _ORDINARY),
    "gpt-5.1-chat": _seeing(_CHAT_LATEST, _ORDINARY),
    "gpt-5.1-codex": _seeing(_CODEX, _ORDINARY),
    "gpt-5.1-codex-mini": _seeing(_CODEX, _MINI),
    "gpt-5.1-codex-max": _seeing(_CODEX, _ORDINARY),
    "gpt-5.2": _seeing(_AT_NONE, _ORDINARY),
    "gpt-5.2-chat": _seeing(_CHAT_LATEST, _ORDINARY),
    "gpt-5.2-codex": _seeing(_CODEX, _ORDINARY),
    "gpt-5.2-pro": _seeing(_PRO, _ORDINARY),
    "gpt-5.3": _seeing(_AT_NONE, _ORDINARY),
    "gpt-5.3-chat": _seeing(_CHAT_LATEST, _ORDINARY),
    "gpt-5.3-codex": _seeing(_CODEX, _ORDINARY),
    "gpt-5.4": _seeing(_AT_NONE, _ORIGINAL_54),
    "gpt-5.4-chat": _seeing(_CHAT_LATEST, _ORIGINAL_54),
    "gpt-5.4-mini": _seeing(_AT_NONE, _MINI),
    "gpt-5.4-nano": _seeing(_AT_NONE, _NANO),
    "gpt-5.4-pro": _seeing(_PRO, _ORIGINAL_54),
    "gpt-5.5": _seeing(_GPT_55, _ORIGINAL_55),
    "gpt-5.5-chat": _seeing(_CHAT_LATEST, _ORIGINAL_55),
    "gpt-5.5-pro": _seeing(_PRO, _ORIGINAL_55),
    "gpt-5.6-": _seeing(_GPT_56, _ORIGINAL),
    "gpt-6-luna": _seeing(_GPT_56, _ORIGINAL),
    "gpt-6-sol": _seeing(_GPT_56, _ORIGINAL),
    "gpt-6-astra": _seeing(_ASTRA, _ORIGINAL),
    "gpt-6.1-terra": _seeing(_GPT_56, _ORIGINAL),
    "gpt-6.1-sol": _seeing(_ASTRA, _ORIGINAL),
}
# A newer model than these, perhaps at another server: the name of its limit follows from the address.
_NEWEST: Final = structs.replace(_ROWS["gpt-6.1-sol"], limit_field=_ANY_LIMIT)
# Another server's model: what is not known of it, its server judges.
COMPATIBLE_MODEL: Final = structs.replace(_SCHEMAS, remote_images=True)
_DATED: Final = re.compile(r"(-(latest|preview|\d{4}-\d\d-\d\d|\d{4}))*")
_DATED_WORDS: Final = re.compile(r"\w[\w-]*")
# A line that goes on: GPT from 5, whose open-weight siblings have other names, and the o series.
_NEWER: Final = re.compile(r"gpt-(?:[5-9]|\d\d)(?:[.-]|$)|o[1-9](?:[.-]|$)")


def _known(upstream: str) -> str:
    return longest(_ROWS, upstream)


def knows_openai(upstream: str) -> bool:
    """Whether a row is this very model's: what follows its beginning is no more than a date."""
    known = _known(upstream)
    rest = upstream[len(known) :]
    found = _DATED_WORDS if known.endswith("-") else _DATED
    return bool(known) and found.fullmatch(rest) is not None


def openai_capabilities(upstream: str) -> Capabilities:
    """What a model can do; a newer one of OpenAI's, what the newest can; another server's, what most can."""
    if knows_openai(upstream):
        return _ROWS[_known(upstream)]
    return _NEWEST if _NEWER.match(upstream) else COMPATIBLE_MODEL
