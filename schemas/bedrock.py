"""Owns what each model on Bedrock can do, by the id that AWS is asked for: facts of PROTOCOLS.md B4, as data."""

from typing import Final

from msgspec import structs

from schemas.catalogue import Capabilities

_EFFORTS: Final = ("minimal", "low", "medium", "high")

# What Converse itself has, of a model that this table does not know: tools, but no say in whether they are used.
PLAIN: Final = Capabilities(
    serial_tools=False,
    forced_tools=False,
    limit_field="maxTokens",
    stop_max=4,
    overhead_tokens=800,
)
TITAN: Final = Capabilities(
    tools=False,
    serial_tools=False,
    forced_tools=False,
    limit_field="maxTokenCount",
    stop_max=4,
    stop_pattern=r"\|+|User:",
    overhead_tokens=32,
)
_NOVA_MICRO: Final = structs.replace(
    PLAIN, forced_tools=True, cache_points=4, service_tiers=("flex", "priority")
)
_NOVA: Final = structs.replace(
    _NOVA_MICRO, images=True, files=True, image_tokens_max=2_700, file_tokens_max=1_000_000
)
_NOVA_2: Final = structs.replace(_NOVA, efforts=("none", *_EFFORTS), thinking="level")
_CLAUDE_3: Final = Capabilities(
    images=True,
    files=True,
    limit_field="maxTokens",
    stop_max=8_191,
    overhead_tokens=800,
    image_tokens_max=1_600,
    file_tokens_max=1_000_000,
)
_CLAUDE_35: Final = structs.replace(_CLAUDE_3, cache_points=4)
_CLAUDE_BUDGET: Final = structs.replace(
    _CLAUDE_35, efforts=("none", *_EFFORTS, "xhigh", "max"), thinking="budget", thinking_min=1_024
)
_CLAUDE_45: Final = structs.replace(_CLAUDE_BUDGET, json_schema=True)
_CLAUDE_EFFORT: Final = structs.replace(
    _CLAUDE_45, efforts=("none", *_EFFORTS, "max"), thinking="effort", thinking_min=0
)
_CLAUDE_UNSAMPLED: Final = structs.replace(
    _CLAUDE_EFFORT, efforts=("none", *_EFFORTS, "xhigh", "max"), sampling=False
)
_CLAUDE_55: Final = structs.replace(
    _CLAUDE_UNSAMPLED, efforts=(*_EFFORTS, "xhigh", "max"), forced_tools=False
)

# By the longest beginning that fits: ids end in dates and versions.
_ROWS: Final = {
    "amazon.titan-text": TITAN,
    "amazon.nova-micro": _NOVA_MICRO,
    "amazon.nova-": _NOVA,
    "amazon.nova-2-": _NOVA_2,
    "anthropic.claude-3-": _CLAUDE_3,
    "anthropic.claude-3-5-": _CLAUDE_35,
    "anthropic.claude-3-7-": _CLAUDE_BUDGET,
    "anthropic.claude-sonnet-4-": _CLAUDE_BUDGET,
    "anthropic.claude-opus-4-": _CLAUDE_BUDGET,
    "anthropic.claude-sonnet-4-5": _CLAUDE_45,
    "anthropic.claude-opus-4-5": _CLAUDE_45,
    "anthropic.claude-haiku-4-5": _CLAUDE_45,
    "anthropic.claude-sonnet-4-6": _CLAUDE_EFFORT,
    "anthropic.claude-opus-4-6": _CLAUDE_EFFORT,
    "anthropic.claude-opus-4-7": _CLAUDE_UNSAMPLED,
    "anthropic.claude-opus-4-8": _CLAUDE_UNSAMPLED,
    "anthropic.claude-sonnet-5": _CLAUDE_UNSAMPLED,
    "anthropic.claude-opus-5": _CLAUDE_UNSAMPLED,
    "anthropic.claude-sonnet-5-5": _CLAUDE_55,
    "anthropic.claude-opus-5-5": _CLAUDE_55,
    "anthropic.claude-haiku-5": structs.replace(_CLAUDE_UNSAMPLED, forced_tools=True),
}


_GLOBAL: Final = "global"


def _split(upstream: str) -> tuple[str, str]:
    """The part of the world that a profile is bound to ("" for none), and the base id."""
    name = upstream.rpartition("/")[2] if upstream.startswith("arn:") else upstream
    prefix, _, rest = name.partition(".")
    return (prefix, rest) if "." in rest and "-" not in prefix.removeprefix("us-") else ("", name)


def bedrock_capabilities(upstream: str) -> Capabilities:
    """What a model can do; one that this table does not know, what Converse itself has.

    `upstream` may be a base id, the id of a cross-region profile, or an ARN of either.
    """
    _, name = _split(upstream)
    found = max((known for known in _ROWS if name.startswith(known)), key=len, default="")
    return _ROWS.get(found, PLAIN)


def region_uplifts(upstream: str) -> tuple[str, ...]:
    """Where a profile is bound to, by the name that a price row's uplifts may have: "us", "eu", "apac"."""
    region, _ = _split(upstream)
    return (region,) if region and region != _GLOBAL else ()


def is_titan_text(upstream: str) -> bool:
    """Whether a model is served by InvokeModel in its own format, which Converse does not speak for it."""
    return _split(upstream)[1].startswith("amazon.titan-text")
