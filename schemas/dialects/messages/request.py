"""Owns the Messages request as Anthropic defines it, as far as it is translated, counted or refused."""

from msgspec import Raw, Struct

from schemas.chat.request import NO_JSON, CacheControl

MESSAGES = "messages"  # the dialect's name


class Source(Struct, frozen=True):
    """Where the bytes of an image or a document are."""

    type: str = ""
    media_type: str = ""
    data: str = ""
    url: str | None = None
    file_id: str | None = None
    content: "str | list[Block] | None" = None


class Block(Struct, frozen=True):
    """One block of content, whatever its type."""

    type: str
    text: str | None = None
    source: str | Source | None = None
    title: str | None = None
    id: str = ""
    name: str = ""
    input: Raw = NO_JSON
    tool_use_id: str = ""
    tool_name: str = ""
    content: "str | list[Block] | dict[str, Raw] | None" = None
    is_error: bool | None = None
    thinking: str | None = None
    signature: str | None = None
    data: str | None = None
    cache_control: CacheControl | None = None


class Turn(Struct, frozen=True):
    """One message."""

    role: str
    content: str | list[Block]


class Tool(Struct, frozen=True):
    """One entry of `tools`."""

    name: str = ""
    type: str | None = None
    description: str | None = None
    input_schema: Raw = NO_JSON
    strict: bool | None = None
    cache_control: CacheControl | None = None


class ToolChoice(Struct, frozen=True):
    """auto, any, tool or none."""

    type: str
    name: str = ""
    disable_parallel_tool_use: bool | None = None


class Thinking(Struct, frozen=True):
    """enabled with a budget in tokens, adaptive, disabled, or between_tools; `display` is summarized or omitted."""

    type: str
    budget_tokens: int | None = None
    display: str | None = None

    @property
    def shown(self) -> bool:
        """Whether the answer has its text."""
        return self.type != "disabled" and self.display != "omitted"


class Format(Struct, frozen=True):
    """The form of the answer: json_schema."""

    type: str
    schema: Raw = NO_JSON


class OutputConfig(Struct, frozen=True):
    """How much to think, and the form of the answer."""

    effort: str | None = None
    format: Format | None = None


class Metadata(Struct, frozen=True):
    """Who asks."""

    user_id: str | None = None


class MessagesRequest(Struct, frozen=True, kw_only=True):
    """A Messages request. Fields that are not here go no further, or are read as they are."""

    model: str = ""
    messages: list[Turn]
    max_tokens: int | None = None
    system: str | list[Block] | None = None
    tools: list[Tool] | None = None
    tool_choice: ToolChoice | None = None
    stop_sequences: list[str] | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    thinking: Thinking | None = None
    output_config: OutputConfig | None = None
    metadata: Metadata | None = None
    cache_control: CacheControl | None = None
    stream: bool | None = None
