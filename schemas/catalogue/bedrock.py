"""Owns what each model on Bedrock can do, by the id that AWS is asked for: facts of docs/providers/bedrock.md, as data."""

from typing import Final

from msgspec import structs

from schemas.catalogue.anthropic import anthropic_capabilities, knows_claude
from schemas.catalogue.beginnings import longest
from schemas.catalogue.model import WINDOW_TOKENS, Capabilities

_EFFORTS: Final = ("minimal", "low", "medium", "high")
# A stop sequence of white space alone is refused by the models.
_VISIBLE: Final = r"(?s:.*\S.*)"
DOCUMENT_FORMATS: Final = {
    "application/pdf": "pdf",
    "text/csv": "csv",
    "application/msword": "doc",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "application/vnd.ms-excel": "xls",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
    "text/html": "html",
    "text/plain": "txt",
    "text/markdown": "md",
}

# What Converse itself has, of a model that this table does not know: tools, but no say in whether they are used.
PLAIN: Final = Capabilities(
    serial_tools=False,
    forced_tools=False,
    limit_field="maxTokens",
    stop_max=4,
    stop_pattern=_VISIBLE,
    file_types=tuple(DOCUMENT_FORMATS),
    json_object=True,
    images_max=20,
    image_bytes_max=3_750_000,
    files_max=5,
    file_bytes_max=4_500_000,
    overhead_tokens=800,
)
TITAN: Final = Capabilities(
    tools=False,
    serial_tools=False,
    forced_tools=False,
    prefill=True,
    limit_field="maxTokenCount",
    stop_max=4,
    stop_pattern=r"\|+|User:",
    overhead_tokens=32,
)
_NOVA_MICRO: Final = structs.replace(
    PLAIN, forced_tools=True, top_k=True, cache_points=4, service_tiers=("flex", "priority")
)
_NOVA: Final = structs.replace(
    _NOVA_MICRO,
    images=True,
    files=True,
    result_media=True,
    image_tokens_max=2_700,
    file_tokens_max=WINDOW_TOKENS,
)
_NOVA_2: Final = structs.replace(_NOVA, efforts=("none", *_EFFORTS), thinking="level")


def _claude(upstream: str) -> Capabilities:
    """A Claude is what it is at Anthropic, but for what Converse has no words for: only Messages go by its own form."""
    own = anthropic_capabilities(upstream)
    return structs.replace(
        own,
        messages=True,
        limit_field="maxTokens",
        stop_pattern=_VISIBLE,
        file_types=PLAIN.file_types,
        images_max=PLAIN.images_max,
        image_bytes_max=PLAIN.image_bytes_max,
        files_max=PLAIN.files_max,
        file_bytes_max=PLAIN.file_bytes_max,
        json_schema=own.json_schema and not own.json_by_tool,
        json_by_tool=False,
        service_tiers=(),
    )


# By the longest beginning that fits: ids end in dates and versions.
_ROWS: Final = {
    "amazon.titan-text": TITAN,
    "amazon.nova-micro": _NOVA_MICRO,
    "amazon.nova-": _NOVA,
    "amazon.nova-2-": _NOVA_2,
}
_KNOWN: Final = (
    "amazon.titan-text",
    "amazon.nova-micro",
    "amazon.nova-lite",
    "amazon.nova-pro",
    "amazon.nova-premier",
    "amazon.nova-2-",
)
_CLAUDE: Final = "anthropic."
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
    if name.startswith(_CLAUDE):
        return _claude(name.removeprefix(_CLAUDE))
    return _ROWS.get(longest(_ROWS, name), PLAIN)


def knows_bedrock(upstream: str) -> bool:
    """Whether a row is this very model's, and not a guess from another of its maker's."""
    _, name = _split(upstream)
    if name.startswith(_CLAUDE):
        return knows_claude(name.removeprefix(_CLAUDE))
    return name.startswith(_KNOWN)


def region_uplifts(upstream: str) -> tuple[str, ...]:
    """Where a profile is bound to, by the name that a price row's uplifts may have: "us", "eu", "apac"."""
    region, _ = _split(upstream)
    return (region,) if region and region != _GLOBAL else ()


def is_claude(upstream: str) -> bool:
    """Whether a model is one of Anthropic's, which has fields of its own beside those of Converse."""
    return _split(upstream)[1].startswith(_CLAUDE)


def is_nova(upstream: str) -> bool:
    """Whether a model takes the request fields of Amazon's Nova beside those of Converse."""
    return _split(upstream)[1].startswith("amazon.nova")


def is_titan_text(upstream: str) -> bool:
    """Whether a model is served by InvokeModel in its own format, which Converse does not speak for it."""
    return _split(upstream)[1].startswith("amazon.titan-text")
