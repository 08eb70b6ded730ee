"""Owns the request of the Responses dialect as OpenAI defines it: the types of what is read of it."""

from typing import Any

from msgspec import Raw, Struct

from schemas.chat.request import NO_JSON, StreamOptions

RESPONSES = "responses"  # the dialect's name


class Part(Struct, frozen=True):
    """A part of a content or of a tool's output, whatever its type."""

    type: str | None = None
    text: str | None = None
    refusal: str | None = None
    image_url: str | None = None  # a data URL or an https URL
    detail: str | None = None
    filename: str | None = None
    file_data: str | None = None
    file_id: str | None = None
    file_url: str | None = None
    input_audio: dict[str, Any] | None = None


class Item(Struct, frozen=True):
    """An item of `input`, whatever its type; one without a type is a message, or a reference where it has an id alone.

    `content` and `output` are a text or parts, `summary` parts, `tools` and `environment` as in a request: raw, for
    they mean something in some types alone.
    """

    type: str | None = None
    id: str | None = None
    role: str | None = None
    content: Raw = NO_JSON
    call_id: str | None = None
    name: str | None = None
    namespace: str | None = None
    arguments: str | None = None
    input: str | None = None
    output: Raw = NO_JSON
    status: Raw = NO_JSON
    action: Raw = NO_JSON
    operation: Raw = NO_JSON
    encrypted_content: str | None = None
    environment: Raw = NO_JSON
    tools: Raw = NO_JSON


class Tool(Struct, frozen=True):
    """An entry of `tools`, whatever its type."""

    type: str | None = None
    name: str | None = None
    description: str | None = None
    parameters: Raw = NO_JSON
    strict: bool | None = None
    format: Raw = NO_JSON
    environment: Raw = NO_JSON  # where a shell runs
    tools: list[Raw] | None = None


class Format(Struct, frozen=True):
    """`text.format`: text, json_object, or a named JSON Schema."""

    type: str = "text"
    name: str | None = None
    schema: Raw = NO_JSON
    description: str | None = None
    strict: bool | None = None


class Text(Struct, frozen=True):
    """`text`: how the answer's text is to be."""

    format: Format | None = None
    verbosity: str | None = None


class Reasoning(Struct, frozen=True):
    """`reasoning`: how hard to think. What of it to show is the upstream's to read, or all that there is."""

    effort: str | None = None
    mode: str | None = None


class Request(Struct, frozen=True, kw_only=True):
    """A request with every field that is honoured, knowingly ignored, or refused. Null is absent."""

    model: str | None = None
    input: str | list[Raw] | None = None
    instructions: str | None = None
    tools: list[Raw] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    text: Text | None = None
    reasoning: Reasoning | None = None
    include: list[str] | None = None
    top_logprobs: int | None = None
    max_output_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    service_tier: str | None = None
    user: str | None = None
    safety_identifier: str | None = None
    metadata: dict[str, str] | None = None
    store: bool | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    truncation: str | None = None
    prompt_cache_key: str | None = None
    background: bool | None = None
    previous_response_id: str | None = None
    conversation: Any = None
    prompt: Any = None
    moderation: Any = None
