"""Owns what each Claude model can do, by the id that Anthropic is asked for: facts of docs/providers/anthropic.md, as data."""

import re
from typing import Final

from msgspec import structs

from schemas.catalogue.beginnings import longest
from schemas.catalogue.media import Cells
from schemas.catalogue.model import WINDOW_TOKENS, Capabilities

_EFFORTS: Final = ("minimal", "low", "medium", "high")
_ALL_EFFORTS: Final = (*_EFFORTS, "xhigh", "max")

# Up to 3.5: no reasoning; an answer by a schema is the input of a tool that the model is forced to call.
CLAUDE_3: Final = Capabilities(
    images=True,
    files=True,
    file_types=("application/pdf", "text/plain"),
    json_schema=True,
    json_object=True,
    json_by_tool=True,
    json_with_tools=False,
    stop_max=8_191,
    stop_pattern=r"(?s:.*\S.*)",
    top_k=True,
    prefill=True,
    result_media=True,
    efforts=("none",),
    cache_points=4,
    overhead_tokens=800,
    pictures=Cells(edge_px_max=1_568, tokens_max=1_568),
    image_tokens_max=1_600,
    file_tokens_max=WINDOW_TOKENS,
)
# 3.7 to 4.1: reasoning with a budget, beside which there is little else.
_CLAUDE_BUDGET: Final = structs.replace(
    CLAUDE_3,
    efforts=("none", *_ALL_EFFORTS),
    thinking="budget",
    thinking_min=1_024,
    thinking_max=32_000,
    thinking_exclusive=True,
)
_CLAUDE_41: Final = structs.replace(_CLAUDE_BUDGET, temperature_with_top_p=False)
_CLAUDE_45: Final = structs.replace(_CLAUDE_41, json_by_tool=False, json_with_tools=True, strict_tools=True)
# From 4.6: the model decides how long it reasons, guided by an effort, and a conversation ends with the user.
_CLAUDE_46: Final = structs.replace(
    _CLAUDE_45,
    prefill=False,
    efforts=("none", *_EFFORTS, "max"),
    thinking="effort",
    thinking_min=0,
    thinking_max=0,
)
# From 4.7: sampling parameters are refused at any other value than their default.
CLAUDE_47: Final = structs.replace(
    _CLAUDE_46,
    sampling=False,
    top_k=False,
    thinking_exclusive=False,
    efforts=("none", *_ALL_EFFORTS),
    pictures=Cells(edge_px_max=2_576, tokens_max=4_784),
    image_tokens_max=4_800,
)
# These always reason, and (but for the first of Fable and Mythos) call tools only of their own will.
_CLAUDE_55: Final = structs.replace(CLAUDE_47, efforts=_ALL_EFFORTS, forced_tools=False)
_FABLE_5: Final = structs.replace(_CLAUDE_55, forced_tools=True)
# Reasons at most between two calls of tools, when told not to.
_SONNET_55: Final = structs.replace(_CLAUDE_55, efforts=("none", *_ALL_EFFORTS), thinking_off="between_tools")

# By the longest beginning that fits: ids end in dates.
_ROWS: Final = {
    "claude-3-": CLAUDE_3,
    "claude-3-5-": CLAUDE_3,
    "claude-3-7-": _CLAUDE_BUDGET,
    "claude-opus-4-": _CLAUDE_BUDGET,
    "claude-opus-4-0": _CLAUDE_BUDGET,
    "claude-sonnet-4-": _CLAUDE_BUDGET,
    "claude-sonnet-4-0": _CLAUDE_BUDGET,
    "claude-opus-4-1": _CLAUDE_41,
    "claude-opus-4-5": _CLAUDE_45,
    "claude-sonnet-4-5": _CLAUDE_45,
    "claude-haiku-4-5": _CLAUDE_45,
    "claude-opus-4-6": _CLAUDE_46,
    "claude-sonnet-4-6": _CLAUDE_46,
    "claude-opus-4-7": CLAUDE_47,
    "claude-opus-4-8": CLAUDE_47,
    "claude-opus-5": CLAUDE_47,
    "claude-sonnet-5": CLAUDE_47,
    "claude-haiku-5": CLAUDE_47,
    "claude-haiku-5-5": CLAUDE_47,
    "claude-opus-5-5": _CLAUDE_55,
    "claude-sonnet-5-5": _SONNET_55,
    "claude-fable-5": _FABLE_5,
    "claude-fable-5-1": _CLAUDE_55,
    "claude-fable-5-2": _CLAUDE_55,
    "claude-mythos-5": _FABLE_5,
    "claude-mythos-5-1": _CLAUDE_55,
    "claude-mythos-5-2": _CLAUDE_55,
}
# What stands for a release that the table does not have.
_NEWEST: Final = {
    "claude-opus-": _ROWS["claude-opus-5-5"],
    "claude-sonnet-": _ROWS["claude-sonnet-5-5"],
    "claude-haiku-": _ROWS["claude-haiku-5-5"],
    "claude-fable-": _ROWS["claude-fable-5-2"],
    "claude-mythos-": _ROWS["claude-mythos-5-2"],
}

_NEWER: Final = re.compile(r"-?\d{1,2}(?!\d)")  # a further number behind a known beginning: another release


def _known(upstream: str) -> str:
    return longest(_ROWS, upstream)


def knows_claude(upstream: str) -> bool:
    """Whether a row is this very release's, and not a guess from its neighbours."""
    known = _known(upstream)
    return bool(known) and _NEWER.match(upstream, len(known)) is None


def anthropic_capabilities(upstream: str) -> Capabilities:
    """What a model can do; one that is newer than this table, what the newest of its line can."""
    found = _ROWS.get(_known(upstream), CLAUDE_47)
    if knows_claude(upstream):
        return found
    line = next((line for line in _NEWEST if upstream.startswith(line)), "")
    return _NEWEST.get(line, found)
