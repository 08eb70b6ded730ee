"""Owns the chat request as OpenAI defines it: the types that refusals, bounds and the translated families read."""

from typing import Any

from msgspec import Raw, Struct

CHAT = "chat"  # the names of the two dialects whose requests these are
COMPLETIONS = "completions"
NO_JSON = Raw(b"")  # an absent raw value; an explicit null is Raw(b"null") and means the same


class CacheControl(Struct, frozen=True, omit_defaults=True):
    """The cache breakpoint that callers may put on parts, messages and tools (an extension of Anthropic's)."""

    type: str = "ephemeral"
    ttl: str | None = None


class TextPart(Struct, frozen=True, tag_field="type", tag="text"):
    """Text."""

    text: str
    cache_control: CacheControl | None = None


class RefusalPart(Struct, frozen=True, tag_field="type", tag="refusal"):
    """An assistant's earlier refusal."""

    refusal: str


class ImageUrl(Struct, frozen=True):
    """A data URL or an https URL, and how closely to look."""

    url: str
    detail: str | None = None


class ImagePart(Struct, frozen=True, tag_field="type", tag="image_url"):
    """An image."""

    image_url: ImageUrl
    cache_control: CacheControl | None = None


class AudioData(Struct, frozen=True):
    """Base64 audio, wav or mp3."""

    data: str
    format: str


class AudioPart(Struct, frozen=True, tag_field="type", tag="input_audio"):
    """Audio."""

    input_audio: AudioData
    cache_control: CacheControl | None = None


class FileData(Struct, frozen=True):
    """A file inline (base64 or a data URL), or the id of one kept by a provider."""

    file_data: str | None = None
    file_id: str | None = None
    filename: str | None = None


class FilePart(Struct, frozen=True, tag_field="type", tag="file"):
    """A file."""

    file: FileData
    cache_control: CacheControl | None = None


Part = TextPart | RefusalPart | ImagePart | AudioPart | FilePart


class FunctionCall(Struct, frozen=True):
    """A call the model made; `arguments` is a JSON text, perhaps not a valid one."""

    name: str
    arguments: str


class CustomCall(Struct, frozen=True):
    """A call of a custom tool: free text in."""

    name: str
    input: str


class ToolCall(Struct, frozen=True):
    """One entry of an assistant's `tool_calls`."""

    id: str
    type: str = "function"
    function: FunctionCall | None = None
    custom: CustomCall | None = None


class Message(Struct, frozen=True):
    """One message of a conversation, any role."""

    role: str
    content: str | list[Part] | None = None
    name: str | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None
    refusal: str | None = None
    function_call: FunctionCall | None = None
    audio: dict[str, Any] | None = None
    cache_control: CacheControl | None = None


class Thought(Struct, frozen=True):
    """Reasoning that the model's own provider gave, and wants back: `kind` and `payload` are its family's words."""

    kind: str
    payload: str
    before: int = 0  # how many of the turn's tool calls stand before it


class ThoughtfulMessage(Message, frozen=True):
    """An assistant's turn with its reasoning. No body can say it: what callers carry is sealed, and opened elsewhere."""

    thoughts: tuple[Thought, ...] = ()


class Function(Struct, frozen=True):
    """A function that the model may call; `parameters` is a JSON Schema, kept raw so that its order survives."""

    name: str
    description: str | None = None
    parameters: Raw = NO_JSON
    strict: bool | None = None


class CustomTool(Struct, frozen=True):
    """A tool that takes free text."""

    name: str
    description: str | None = None
    format: Raw = NO_JSON


class Tool(Struct, frozen=True):
    """One entry of `tools`."""

    type: str
    function: Function | None = None
    custom: CustomTool | None = None
    cache_control: CacheControl | None = None


class JsonSchema(Struct, frozen=True):
    """A named JSON Schema for the answer."""

    name: str
    schema: Raw = NO_JSON
    description: str | None = None
    strict: bool | None = None


class ResponseFormat(Struct, frozen=True):
    """text, json_object or json_schema."""

    type: str
    json_schema: JsonSchema | None = None


class StreamOptions(Struct, frozen=True):
    """What a stream carries besides its content."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class ChatRequest(Struct, frozen=True, kw_only=True):
    """A chat completion request with every field that a translated family honours, ignores knowingly or refuses.

    Unknown fields are ignored here: the pass-through family sends the caller's own bytes instead. Null is absent.
    """

    model: str
    messages: list[Message]
    tools: list[Tool] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    functions: list[Function] | None = None
    function_call: str | dict[str, Any] | None = None
    response_format: ResponseFormat | None = None
    stop: str | list[str] | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    n: int | None = None
    seed: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    logit_bias: dict[str, float] | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    reasoning_effort: str | None = None
    verbosity: str | None = None
    modalities: list[str] | None = None
    audio: dict[str, Any] | None = None
    prediction: dict[str, Any] | None = None
    web_search_options: dict[str, Any] | None = None
    moderation: dict[str, Any] | None = None
    service_tier: str | None = None
    user: str | None = None
    safety_identifier: str | None = None
    metadata: dict[str, str] | None = None
    store: bool | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    cache_control: CacheControl | None = None


class CompletionRequest(Struct, frozen=True, kw_only=True):
    """A legacy completion request. `prompt` is a text, texts, token ids or lists of them."""

    model: str
    prompt: str | list[Any] | None = None
    suffix: str | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    n: int | None = None
    best_of: int | None = None
    echo: bool | None = None
    logprobs: int | None = None
    logit_bias: dict[str, float] | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    user: str | None = None
