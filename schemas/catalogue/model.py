"""Owns the models: what callers may name, who serves it, at which prices, and what each model can do."""

from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Final

from msgspec import Struct, structs

from schemas.catalogue.forwarded import Forwarded
from schemas.catalogue.media import Pictures
from schemas.catalogue.vectors import Vectors
from schemas.money.pricing import Price

WINDOW_TOKENS: Final = (
    10_000_000  # longer than any window: a file or recording is bounded by its model's alone
)


# What becomes of an upstream's answer whose caller has left: it is hung up on, or read on to its usage.
CLOSE: Final = "close"
DRAIN: Final = "drain"
HANGUPS: Final = (CLOSE, DRAIN)


# Who counts the tokens of a body for nothing: the gateway, by an estimate, or the model's provider.
ESTIMATE: Final = "estimate"
NATIVE: Final = "native"
COUNTS: Final = (ESTIMATE, NATIVE)


class Lifecycle(StrEnum):
    """Where a model stands with its provider, by its provider's own announcements."""

    ACTIVE = "active"
    DEPRECATED = "deprecated"
    RETIRED = "retired"


class Capabilities(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a model can do, as data: translation, refusals and the bound of a prompt all follow from this row."""

    chat: bool = True
    responses: bool = False  # the upstream has /v1/responses itself; else it is asked through chat
    messages: bool = False  # Claude on Bedrock takes Messages bodies itself; else it is asked by Converse
    completions: bool = False  # the upstream has /v1/completions itself; else it is emulated over chat
    embeddings: Vectors | None = None  # how it embeds; None: it does not
    stream: bool = True
    tools: bool = True
    images: bool = False
    audio_in: bool = False
    files: bool = False
    image_types: tuple[str, ...] = ("image/jpeg", "image/png", "image/gif", "image/webp")
    file_types: tuple[str, ...] = ()  # media types of files; none named: any
    images_max: int = 0  # how many in one request; 0: no bound of the model's own
    image_bytes_max: int = 0  # of one image
    files_max: int = 0
    file_bytes_max: int = 0
    remote_images: bool = False  # the provider fetches image URLs: their size cannot be bounded before a hold
    json_schema: bool = False
    json_object: bool = False
    n_max: int = 1
    logprobs: bool = False
    stop_max: int = 4
    stop_pattern: str = ""  # what a stop sequence must match as a whole; empty: anything
    limit_field: str = "max_tokens"  # what the provider calls the output limit
    needs_limit: bool = (
        False  # the upstream may not stop at max_output of itself: a `limit_field` is always sent
    )
    sampling: bool = True  # temperature, top_p and penalties are honoured, not only their defaults
    sampling_at_none: bool = False  # … but only while the effort is "none": sampling, logprobs and stop
    penalties: bool = False  # presence and frequency penalties are honoured, where `sampling` is
    top_k: bool = False
    temperature_with_top_p: bool = True  # both may be other than their default
    prefill: bool = False  # a last assistant message is continued
    json_by_tool: bool = False  # a json_schema answer is asked for by forcing a tool
    json_with_tools: bool = True  # a JSON answer may be asked for beside tools
    efforts: tuple[str, ...] = ()  # the values of reasoning_effort that can be honoured; none: it is refused
    effort_default: str = ""  # what an unset reasoning_effort means, where that is known
    reasons: bool = (
        False  # it reasons unasked, whatever is known of efforts: its server may have words of its own
    )
    thinking: str = ""  # how reasoning_effort is put: "level", "budget" (tokens), or the family's one way
    thinking_min: int = 0  # the smallest budget; below it, only "none" where `efforts` has it
    thinking_max: int = 0  # the largest budget
    thinking_off: str = "disabled"  # how the family says an effort of "none", where it has a word for it
    thinking_exclusive: bool = (
        False  # while it reasons: no forced tool, no sampling of the caller's, no prefill
    )
    signatures: bool = False  # tool calls of the running turn must carry their thought signatures
    tool_pattern: str = (
        ""  # what a function's name must match as a whole, beyond OpenAI's rule; empty: nothing
    )
    strict_tools: bool = False  # `strict` of a function is honoured; else its schema is a strong hint
    result_media: bool = False  # a tool's result may hold pictures and files; else they follow as the user's
    serial_tools: bool = True  # parallel_tool_calls=false is honoured
    forced_tools: bool = True  # tool_choice may name a function, or require one
    cache_points: int = 0  # how many cache_control breakpoints are honoured; 0: they are ignored
    service_tiers: tuple[str, ...] = ()  # honoured beside auto and default, which always are
    overhead_tokens: int = 0  # the provider's hidden prompt for tools and formats
    pictures: Pictures | None = None  # how an image is counted by its size; None: each counts the most
    image_tokens_max: int = 0  # most tokens of one image; 0: none is taken
    file_tokens_max: int = 0  # of one file, at most the window
    audio_tokens_max: int = 0  # of one recording, at most the window
    audio_tokens_per_s: int = 0  # of a recording whose length is known; 0: each counts the most
    guessed: bool = False  # the id is newer than this table, or nobody's: another model stands for it


class Model(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One row of the catalogue. `id` is what callers write, `upstream` what the provider is asked for.

    `provider` is the name of a preset: the vendor that callers see and that keys allow. `family` is the code that
    speaks with it; a row of a version that knew no families names its provider's own. `forwards` is what of a request
    goes on to it.
    """

    id: str
    pool: str
    upstream: str
    provider: str
    context: int
    max_output: int
    prices: tuple[Price, ...] = ()
    rate: Decimal = Decimal("0.60")
    created: int = 0
    owned_by: str = ""
    lifecycle: Lifecycle = Lifecycle.ACTIVE
    shutdown_date: date | None = None
    successor: str | None = None
    capabilities: Capabilities = Capabilities()
    family: str = ""
    forwards: Forwarded = Forwarded()
    dated: bool = False  # its pool is at its provider's own address: there its shutdown date ends it
    pinned: bool = False  # a row of the operator's own: neither a date nor a list ends it
    on_hangup: str = (
        ""  # what becomes of an answer whose caller has left: CLOSE or DRAIN; empty: as its pool says
    )
    count: str = ""  # who counts /v1/messages/count_tokens: NATIVE, or ESTIMATE, which empty means too

    def __post_init__(self) -> None:
        if not self.family:
            structs.force_setattr(self, "family", self.provider)
