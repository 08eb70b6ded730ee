"""Owns the shapes of answers, as far as a document says them: an answer may have more fields than these."""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from schemas.catalogue.model import Capabilities

Nano = Annotated[int, Meta(description="Nano-dollars: 1,000,000,000 are one US dollar.")]
Unix = Annotated[int, Meta(description="Unix time in seconds.")]
Count = Annotated[int, Meta(ge=0)]


class TokenDetails(Struct):
    """Parts of a sum of tokens."""

    cached_tokens: Count = 0
    reasoning_tokens: Count = 0
    audio_tokens: Count = 0


class Usage(Struct):
    """What a call used. `cost` is there where the call asked for it: USD, an exact number."""

    prompt_tokens: Count
    completion_tokens: Count
    total_tokens: Count
    prompt_tokens_details: TokenDetails | None = None
    completion_tokens_details: TokenDetails | None = None
    cost: float | None = None


class AnswerMessage(Struct):
    """What the model says. `reasoning_content` is reasoning that its provider shows."""

    role: str
    content: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[dict[str, Any]] | None = None


class ChatChoice(Struct):
    """One answer."""

    index: int
    message: AnswerMessage
    finish_reason: str | None


class ChatCompletion(Struct):
    """A chat completion. Streamed, it comes as `chat.completion.chunk` events with a `delta` each, then `[DONE]`."""

    id: str
    object: Literal["chat.completion"]
    created: Unix
    model: str
    choices: list[ChatChoice]
    usage: Usage | None = None


class TextChoice(Struct):
    """One completion."""

    index: int
    text: str
    finish_reason: str | None


class TextCompletion(Struct):
    """A legacy completion."""

    id: str
    object: Literal["text_completion"]
    created: Unix
    model: str
    choices: list[TextChoice]
    usage: Usage | None = None


class ResponsesUsage(Struct):
    """What a response used."""

    input_tokens: Count
    output_tokens: Count
    total_tokens: Count


class Response(Struct):
    """A response. Streamed, it comes as `response.*` events; the last is `response.completed` or `response.incomplete`."""

    id: str
    object: Literal["response"]
    created_at: float
    status: str
    model: str
    output: list[dict[str, Any]]
    usage: ResponsesUsage | None = None


class InputTokens(Struct):
    """An estimate of an input's length."""

    object: Literal["response.input_tokens"]
    input_tokens: Count


class MessagesUsage(Struct):
    """What a message used, in classes that exclude one another."""

    input_tokens: Count
    output_tokens: Count
    cache_read_input_tokens: Count | None = None
    cache_creation_input_tokens: Count | None = None


class MessageAnswer(Struct):
    """A message. Streamed, it comes as Anthropic's events, from `message_start` to `message_stop`."""

    id: str
    type: Literal["message"]
    role: Literal["assistant"]
    model: str
    content: list[dict[str, Any]]
    stop_reason: str | None
    usage: MessagesUsage
    stop_sequence: str | None = None


class TokenCount(Struct):
    """How many tokens a Messages body is."""

    input_tokens: Count


class Vector(Struct):
    """One input's vector, as numbers or as base64 of little-endian float32."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class EmbeddingsUsage(Struct):
    """What embeddings used."""

    prompt_tokens: Count
    total_tokens: Count


class Embeddings(Struct):
    """Vectors in the order of their inputs."""

    object: Literal["list"]
    data: list[Vector]
    model: str
    usage: EmbeddingsUsage


class ModelEntry(Struct):
    """One model that can be called now. `pricing` has list and billed USD per million tokens."""

    id: str
    object: Literal["model"]
    created: Unix
    owned_by: str
    provider: str
    pool: str
    lifecycle: str
    context_window: int
    max_output_tokens: int
    capabilities: Capabilities
    shutdown_date: str | None = None
    successor: str | None = None
    pricing: dict[str, Any] | None = None
    models: list[str] | None = None


class ModelList(Struct):
    """The models that some worker can serve now, by id."""

    object: Literal["list"]
    data: list[ModelEntry]
    has_more: bool
    first_id: str | None
    last_id: str | None


class Tokens(Struct):
    """Tokens, each in exactly one class."""

    input: Count
    cached: Count
    cache_write: Count
    cache_write_long: Count
    input_audio: Count
    output: Count
    reasoning: Count
    output_audio: Count
    cached_audio: Count


class Try(Struct):
    """One try at an upstream."""

    upstream: str
    outcome: str
    status: int


class Bill(Struct, kw_only=True):
    """What a call used and was billed."""

    request_id: str
    key_id: str
    model: str
    provider: str
    pool: str
    outcome: str
    known: str
    prompt_tokens: Count
    cached_tokens: Count
    cache_write_tokens: Count
    completion_tokens: Count
    reasoning_tokens: Count
    tokens: Tokens
    list_nano: Nano
    rate: Annotated[str, Meta(description="The share of list price that is billed, a decimal number.")]
    billed_nano: Nano
    refunded_nano: Nano
    net_nano: Nano
    uncollected_nano: Nano
    price_ref: str
    price: dict[str, Any] | None
    attempts: int
    queued_ms: int
    first_byte_ms: int
    duration_ms: int
    created: Unix


class Receipt(Bill, kw_only=True):
    """All that the books have of one call: `asked` is what was named, `model` what served."""

    id: str
    asked: list[str]
    upstream: str
    list_usd: Annotated[str, Meta(description="A decimal string of US dollars, exact.")]
    cost_usd: Annotated[str, Meta(description="A decimal string of US dollars, exact.")]
    held_nano: Nano
    tries: list[Try]


class Call(Bill, kw_only=True):
    """One of the key's calls."""

    object: Literal["call"]
    id: str


class CallList(Struct):
    """Calls, newest first; `next` is the `starting_after` of the page that follows."""

    object: Literal["list"]
    data: list[Call]
    has_more: bool
    next: str | None


class RateLimit(Struct):
    """Requests a minute of the key; -1 is for no limit."""

    requests: int
    interval: str
    note: str


class KeyObject(Struct, kw_only=True):
    """The key as tokn knows it."""

    object: Literal["key"]
    id: str
    name: str
    organization: str
    status: str
    posted_nano: Nano
    held_nano: Nano
    available_nano: Nano
    spent_nano: Nano
    used_nano: Nano
    used_day_nano: Nano
    used_week_nano: Nano
    used_month_nano: Nano
    limits: dict[str, Any]
    cap: dict[str, Any] | None
    expires: Unix | None
    created: Unix


class KeyData(Struct):
    """The key in OpenRouter's shape. Amounts are dollars as JSON numbers."""

    label: str
    limit: float | None
    limit_remaining: float | None
    limit_reset: str | None
    usage: float
    usage_daily: float
    usage_weekly: float
    usage_monthly: float
    is_free_tier: bool
    expires_at: str | None
    rate_limit: RateLimit
    tokn: KeyObject


class KeyAnswer(Struct):
    """The key about itself."""

    data: KeyData


class CreditsData(Struct):
    """Their difference is the balance. Dollars as JSON numbers."""

    total_credits: float
    total_usage: float


class CreditsAnswer(Struct):
    """What the account that the key draws on ever had, and what was spent of it."""

    data: CreditsData


class ActivityRow(Struct):
    """One day's use of one model."""

    date: str
    model: str
    provider_name: str
    usage: float
    requests: int
    prompt_tokens: Count
    completion_tokens: Count
    reasoning_tokens: Count


class Activity(Struct):
    """Use by day, model and provider."""

    data: list[ActivityRow]


class GenerationData(Struct):
    """A receipt in OpenRouter's shape; what tokn does not know is null."""

    id: str
    model: str
    provider_name: str
    created_at: str
    cancelled: bool
    tokens_prompt: Count
    tokens_completion: Count
    total_cost: float
    usage: float
    latency: int
    generation_time: int


class GenerationAnswer(Struct):
    """A receipt in OpenRouter's shape."""

    data: GenerationData


class Start(Struct):
    """Where to begin."""

    name: str
    base_url: str
    docs: str
