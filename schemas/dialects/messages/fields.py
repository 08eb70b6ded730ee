"""Owns what becomes of each field, tool and beta flag of a Messages request: kept, dropped and named, or refused."""

import re
from typing import Final

from schemas.chat.kinds import LIST, NUMBER, OBJECT, TEXT
from schemas.names import by_fold

# The values of these never reach a prompt; everything else counts.
NO_PROMPT: Final = frozenset(
    [
        "cache_control",
        "context_management",
        "max_tokens",
        "metadata",
        "model",
        "models",
        "service_tier",
        "stop_sequences",
        "stream",
        "temperature",
        "thinking",
        "top_k",
        "top_p",
        "usage",
    ]
)
# What the gateway reads. The rest is dropped and named: a field that nobody here knows may cost what nobody holds.
KNOWN: Final = NO_PROMPT | {"messages", "system", "tools", "tool_choice", "output_config"}
# What each of them is, where Anthropic judges the value itself.
KINDS: Final = {
    "cache_control": OBJECT,
    "context_management": OBJECT,
    "metadata": OBJECT,
    "output_config": OBJECT,
    "service_tier": TEXT,
    "stop_sequences": LIST,
    "system": TEXT + LIST,
    "temperature": NUMBER,
    "thinking": OBJECT,
    "tool_choice": OBJECT,
    "tools": LIST,
    "top_k": NUMBER,
    "top_p": NUMBER,
}
# Each has a fee of its own, or acts on objects in the operator's account.
REFUSED: Final = {
    "container": "containers belong to the gateway's account at the provider",
    "fallback_credit_token": "fallbacks are billed outside known prices",
    "fallbacks": "fallbacks are billed outside known prices: name several in 'models'",
    "billing_policy": "it is billed outside known prices",
    "inference_geo": "it is billed outside known prices",
    "mcp_servers": "connectors act from the gateway's account",
    "speed": "it is billed outside known prices",
    "user_profile_id": "profiles belong to the gateway's account at the provider",
    "workspace_id": "workspaces belong to the gateway's account at the provider",
}
# What a body may hold, and how a careless reader takes other names for these.
LISTED: Final = KNOWN | REFUSED.keys()
FOLDS: Final = by_fold(LISTED)
LIMIT: Final = "max_tokens"
NOTHING: Final = frozenset((b"null", b'"standard"', b"[]"))  # what a refused field may say all the same

# What Bedrock's Claude refuses beside what Anthropic's takes.
BEDROCK_DROPS: Final = frozenset(("context_management", "service_tier"))

# Tools that run at the caller, by the beginning of their type, and the tokens that each adds to a prompt.
CALLERS_TOOLS: Final = {"bash_": 300, "text_editor_": 900, "memory_": 3_000, "computer_": 1_500}
CUSTOM: Final = "custom"

_FREE: Final = ""
_WINDOW: Final = "context"  # bounded by the row's context
_OUTPUT: Final = "max_output"
_NEVER: Final = "never"
# By the longest beginning that fits. One that is not here goes on: the body fields that go with it are all known.
_BETAS: Final = {
    "advisor-tool-": _NEVER,
    "code-execution-": _NEVER,
    "compact-": _NEVER,
    "context-1m-": _WINDOW,
    "fast-mode-": _NEVER,
    "files-api-": _NEVER,
    "managed-agents-": _NEVER,
    "mcp-client-": _NEVER,
    "message-threads-": _NEVER,
    "oauth-": _NEVER,
    "output-128k-": _OUTPUT,
    "server-side-fallback-": _NEVER,
    "skills-": _NEVER,
    "web-fetch-": _NEVER,
    "web-search-": _NEVER,
}
# Fields that go on together with a flag, or not at all: a provider refuses one without the other.
FLAGGED: Final = {"context_management": "context-management-"}
_TOKENS_MIN: Final = {_WINDOW: 1_000_000, _OUTPUT: 128_000}
_FLAG: Final = re.compile(r"[a-zA-Z0-9._-]{1,64}")
FLAGS_MAX: Final = 64


def allowed_betas(header: str, *, context: int, max_output: int) -> list[str]:
    """The flags of an `anthropic-beta` header that may go on to a model with such a window and such an output."""
    bounds = {_FREE: 0, _WINDOW: context, _OUTPUT: max_output}
    kept: list[str] = []
    for flag in dict.fromkeys(map(str.strip, header.split(","))):
        if _FLAG.fullmatch(flag) is None or len(kept) == FLAGS_MAX:
            continue
        kind = next((kind for start, kind in _BETAS.items() if flag.startswith(start)), _FREE)
        if kind != _NEVER and bounds[kind] >= _TOKENS_MIN.get(kind, 0):
            kept.append(flag)
    return kept


def tool_tokens(kind: str | None) -> int | None:
    """The tokens that a tool adds beside its own words, by its type; None for one that does not run at the caller."""
    if kind in (None, CUSTOM):
        return 0
    return next((tokens for start, tokens in CALLERS_TOOLS.items() if (kind or "").startswith(start)), None)
