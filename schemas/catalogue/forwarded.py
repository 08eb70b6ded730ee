"""Owns which fields of a request, and which types of tools, go on to an upstream: lists by name, and what rows add."""

import re
from collections.abc import Iterable
from typing import Final

from msgspec import Struct

MORE_MAX: Final = 64  # names that a pool may add
NAME_CHARS_MAX: Final = 64

_ROUTED: Final = frozenset(("model", "models", "stream", "stream_options", "usage"))  # of any request
_SAMPLED: Final = frozenset(
    (
        "frequency_penalty",
        "logit_bias",
        "logprobs",
        "max_completion_tokens",
        "max_tokens",
        "n",
        "presence_penalty",
        "seed",
        "stop",
        "temperature",
        "top_p",
        "user",
    )
)
_CHAT: Final = (
    _ROUTED
    | _SAMPLED
    | {
        "audio",
        "function_call",
        "functions",
        "messages",
        "metadata",
        "modalities",
        "moderation",
        "parallel_tool_calls",
        "prediction",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "reasoning_effort",
        "response_format",
        "safety_identifier",
        "service_tier",
        "store",
        "tool_choice",
        "tools",
        "top_logprobs",
        "verbosity",
        "web_search_options",
    }
)
_COMPLETIONS: Final = (
    _ROUTED | _SAMPLED | {"best_of", "echo", "prompt", "safety_identifier", "service_tier", "suffix"}
)
_TRANSLATED: Final = frozenset(("cache_control", "top_k"))
# What OpenAI's older route does not know.
_CHATS_OWN: Final = frozenset(("max_completion_tokens", "safety_identifier", "service_tier"))
# What open models sample by, and how their servers take a grammar: none of it reaches a prompt or bounds an answer.
_COMPATIBLE: Final = _TRANSLATED | {
    "guided_choice",
    "guided_grammar",
    "guided_json",
    "guided_regex",
    "ignore_eos",
    "include_reasoning",
    "min_p",
    "reasoning_format",
    "repetition_penalty",
    "stop_token_ids",
    "structured_outputs",
    "top_a",
    "typical_p",
}

LISTED: Final = _CHAT | _COMPLETIONS | _COMPATIBLE  # in some list

OPENAI: Final = "openai"  # what OpenAI documents
COMPATIBLE: Final = "compatible"  # and what servers of open models take beside
_LISTS: Final = {
    OPENAI: (_CHAT, _COMPLETIONS - _CHATS_OWN),
    "translated": (_CHAT | _TRANSLATED, _COMPLETIONS),
    COMPATIBLE: (_CHAT | _COMPATIBLE, _COMPLETIONS | _COMPATIBLE),
}
BASES: Final = tuple(_LISTS)
CLIENT_TOOLS: Final = ("function", "custom")  # they run at the caller

# Whatever moves a price, a prompt or its bound, in the spellings of any server: no pool may add one.
_PRICED_NAMES: Final = """
maxtokens maxcompletiontokens maxoutputtokens maxnewtokens maxlength maxlen maxgenlen
maxtokenstosample maxtokenstogenerate maxcompletionlength mintokens minlength minnewtokens numpredict npredict numctx thinkingbudget reasoningbudget
budgettokens truncateprompttokens truncation tokenlimit
n bestof candidatecount choices numcompletions numreturnsequences numbeams numgenerations beamwidth usebeamsearch
usage stream streamoptions streaming
cachecontrol cachedcontent cachesalt caching promptcachekey promptcacheoptions promptcacheretention
promptcachebreakpoint
servicetier tier speed priority performanceconfig inferencegeo latency fast
modalities audio images imageconfig video videos speech mmprocessorkwargs mediaiokwargs mediaresolution
model models modelid route routing provider providers fallbacks fallback transforms loras lora adapter adapterid
draftmodel prediction speculative
messages prompt input inputs system systeminstruction instructions documents document context prefix suffix
promptmode safeprompt chattemplate chattemplatekwargs addgenerationprompt continuefinalmessage
addspecialtokens echo includeprompt promptlogprobs returnfulltext
conversation previousresponseid backgroundoptions contextmanagement compaction thread diagnostics accessprograms
fallbackcredittoken billingpolicy userprofileid workspaceid outputconfig
datasources citationoptions enablecitation connectors fileids files attachments knowledge collections
tools toolchoice toolresources toolconfig functions functioncall builtintools mcpservers mcp plugins agents container
websearch websearchoptions search searchoptions searchparameters searchsettings searchmode searchcontextsize
enablesearch forcedsearch disablesearch returnimages returnrelatedquestions
extrabody extra options parameters config generationconfig kwargs background moderation batch
"""
_PRICED: Final = frozenset(_PRICED_NAMES.split())
_JOINTS: Final = re.compile(r"[^a-z0-9]")


class Forwarded(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What of a request goes on: the fields of one of BASES and some `more`, and tools of these `tools` types.

    A base that is not known here is of a newer version: it is taken for the shortest.
    """

    base: str = COMPATIBLE
    more: tuple[str, ...] = ()
    tools: tuple[str, ...] = CLIENT_TOOLS

    def fields(self, *, chat: bool) -> frozenset[str]:
        """The base's top-level fields of a chat request, or of a legacy completion."""
        return _LISTS.get(self.base, _LISTS[OPENAI])[0 if chat else 1]

    def added(self, names: Iterable[str]) -> tuple[str, ...]:
        """Those of some names that the row or the pool adds."""
        return tuple(name for name in names if name in self.more) if self.more else ()


def why_not_more(name: str) -> str:
    """Why a pool may not add a field of this name; "" if it may."""
    if not 0 < len(name) <= NAME_CHARS_MAX or not name.isprintable():
        return f"a field's name is 1 to {NAME_CHARS_MAX} printable characters"
    if name in _CHAT or name in _COMPLETIONS:
        return f"{name!r} goes on where its dialect has it"
    folded = name.casefold()
    if folded in LISTED and folded != name:
        return f"{name!r} is {folded!r} in other letters, and some servers do not tell them apart"
    if _JOINTS.sub("", folded) in _PRICED:
        return f"{name!r} may move the price or the bound of a call, so that no hold would cover it"
    return ""
