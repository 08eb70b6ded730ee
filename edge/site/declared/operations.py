"""Owns the API as a list: each operation of the edge, in the order of its document."""

from typing import Any, Final

from edge.site.declared import samples, shapes
from edge.site.declared.base import Operation, Parameter, called
from edge.site.declared.failures import OF_CALLS, OF_READS
from edge.site.declared.plain import Plain
from schemas.chat.request import ChatRequest, CompletionRequest
from schemas.dialects.messages.request import MessagesRequest
from schemas.embeddings.request import EmbeddingRequest
from schemas.responses.request import Request as ResponsesRequest

MODELS_PAGE_MAX: Final = 1_000  # as the routes have them, which a test compares
PAGE: Final = 20
PAGE_MAX: Final = 200
_SAY: Final = [{"role": "user", "content": "Hello from tokn$"}]
_FURTHER: Final[tuple[tuple[str, Any, Any], ...]] = (
    ("model", str, ""),
    ("models", list[str] | None, None),
    ("usage", dict[str, bool] | None, None),
)
_NAMED: Final = {
    "ChatRequest": _FURTHER,
    "CompletionRequest": _FURTHER,
    "MessagesRequest": _FURTHER,
    "Request": _FURTHER,
}
_messages: Final = Plain("Messages", _NAMED).of(MessagesRequest)
_responses: Final = Plain("Responses", _NAMED).of(ResponsesRequest)
_CALL_ID: Final = Parameter(
    name="id",
    place="path",
    required=True,
    text="The `x-request-id` of the call's answer.",
    schema={"type": "string", "minLength": 1},
)
_RESPONSE_ID: Final = Parameter(
    name="id", place="path", required=True, text="An id.", schema={"type": "string", "minLength": 1}
)
_BY_ANTHROPIC: Final = (*OF_CALLS, 529)


def _text(name: str, text: str, **schema: Any) -> Parameter:
    return Parameter(name=name, text=text, schema={"type": "string", **schema})


def _whole(name: str, text: str, least: int, most: int) -> Parameter:
    return Parameter(name=name, text=text, schema={"type": "integer", "minimum": least, "maximum": most})


_CALLS: Final = (
    Operation(
        method="post",
        path="/v1/chat/completions",
        id="createChatCompletion",
        tag="Calls",
        summary="Chat",
        text="Streaming and non-streaming JSON bodies match OpenAI's, for every model. A stream ends with `[DONE]`, after its bill.",
        body=Plain("Chat", _NAMED).of(ChatRequest),
        answer=shapes.ChatCompletion,
        streams=True,
        errors=OF_CALLS,
        samples=samples.CHAT,
        example={"model": "tokn-sandbox", "messages": _SAY},
    ),
    Operation(
        method="post",
        path="/v1/completions",
        id="createCompletion",
        tag="Calls",
        summary="Legacy completions",
        text="Passed through where the upstream has them, else emulated over chat. Without `max_tokens` the limit is 16.",
        body=Plain("Completion", _NAMED).of(CompletionRequest),
        answer=shapes.TextCompletion,
        streams=True,
        errors=OF_CALLS,
        samples=samples.COMPLETIONS,
        example={"model": "tokn-sandbox", "prompt": "Once upon a time", "max_tokens": 16},
    ),
    Operation(
        method="post",
        path="/v1/responses",
        id="createResponse",
        tag="Calls",
        summary="Responses",
        text="OpenAI's Responses, for every model. No response is kept: send the whole conversation in `input`.",
        body=_responses,
        answer=shapes.Response,
        streams=True,
        errors=OF_CALLS,
        samples=samples.RESPONSES,
        example={"model": "tokn-sandbox", "input": "Hello from tokn$"},
    ),
    Operation(
        method="post",
        path="/v1/messages",
        id="createMessage",
        tag="Calls",
        summary="Messages",
        text="Anthropic's Messages, for every model. The key may stand in `x-api-key`, as its clients send it.",
        body=_messages,
        answer=shapes.MessageAnswer,
        streams=True,
        errors=_BY_ANTHROPIC,
        envelope="MessagesError",
        samples=samples.MESSAGES,
        example={"model": "tokn-sandbox", "max_tokens": 100, "messages": _SAY},
    ),
    Operation(
        method="post",
        path="/v1/embeddings",
        id="createEmbedding",
        tag="Calls",
        summary="Embeddings",
        text="Vectors of texts, as numbers or as base64; never streamed.",
        body=Plain("Embedding").of(EmbeddingRequest),
        answer=shapes.Embeddings,
        errors=OF_CALLS,
        samples=samples.EMBEDDINGS,
        example={"model": "tokn-sandbox", "input": ["the sea", "the shore"]},
    ),
    Operation(
        method="post",
        path="/v1/messages/count_tokens",
        id="countMessageTokens",
        tag="Calls",
        summary="Count a message's tokens",
        text="An estimate, or its provider's own count. It is free.",
        body=_messages,
        answer=shapes.TokenCount,
        errors=_BY_ANTHROPIC,
        envelope="MessagesError",
        samples=samples.COUNT,
        example={"model": "tokn-sandbox", "messages": _SAY},
    ),
    Operation(
        method="post",
        path="/v1/responses/input_tokens",
        id="countResponseInput",
        tag="Calls",
        summary="Count a response's input",
        text="An estimate, for nothing. The body is that of a response.",
        body=_responses,
        answer=shapes.InputTokens,
        errors=OF_CALLS,
        example={"model": "tokn-sandbox", "input": "Hello"},
    ),
)
_MODELS: Final = (
    Operation(
        method="get",
        path="/v1/models",
        id="listModels",
        tag="Models",
        summary="Models that can be called now",
        text="Filter them to the providers that you enabled for your key; a key with a list of models sees only these.",
        parameters=(
            _whole("limit", f"A page of so many, to {MODELS_PAGE_MAX:,}.", 1, MODELS_PAGE_MAX),
            _text("after_id", "The page behind this id."),
            _text("before_id", "The page before this id."),
        ),
        answer=shapes.ModelList,
        errors=OF_READS,
        samples=(called("/v1/models"),),
    ),
    Operation(
        method="get",
        path="/v1/models/{id}",
        id="getModel",
        tag="Models",
        summary="One model",
        text="Ids may hold `/` and `:`.",
        parameters=(
            Parameter(
                name="id",
                place="path",
                required=True,
                text="The model's id.",
                schema={"type": "string", "minLength": 1},
            ),
        ),
        answer=shapes.ModelEntry,
        errors=(*OF_READS, 403),
        samples=(called("/v1/models/tokn-sandbox"),),
    ),
)
_OWN: Final = (
    Operation(
        method="get",
        path="/v1/key",
        id="getKey",
        tag="Your key",
        summary="The key about itself",
        text="What it has used today, this week, this month (UTC) and in all, its tightest cap and its limits.",
        answer=shapes.KeyAnswer,
        errors=OF_READS,
        samples=(called("/v1/key"),),
    ),
    Operation(
        method="get",
        path="/v1/auth/key",
        id="getAuthKey",
        tag="Your key",
        summary="The same, where older clients ask for it",
        answer=shapes.KeyAnswer,
        errors=OF_READS,
    ),
    Operation(
        method="get",
        path="/v1/credits",
        id="getCredits",
        tag="Your key",
        summary="Credits and use",
        answer=shapes.CreditsAnswer,
        errors=OF_READS,
        samples=(called("/v1/credits"),),
    ),
    Operation(
        method="get",
        path="/v1/activity",
        id="getActivity",
        tag="Your key",
        summary="Use by day, model and provider",
        text="Of the last 30 whole days (UTC), or of one of them.",
        parameters=(_text("date", "One day, such as 2026-11-25.", format="date"),),
        answer=shapes.Activity,
        errors=OF_READS,
        samples=(called("/v1/activity"),),
    ),
    Operation(
        method="get",
        path="/v1/usage",
        id="listCalls",
        tag="Your key",
        summary="The key's calls",
        parameters=(
            _whole("limit", f"A page of so many; {PAGE} without it.", 1, PAGE_MAX),
            _text("starting_after", "The id of a call: the page behind it."),
            _whole("created_gte", "From this moment on, in unix seconds.", 0, 10**12 - 1),
            _whole("created_lt", "Before this moment, in unix seconds.", 0, 10**12 - 1),
            _text("model", "Calls of this model alone."),
        ),
        answer=shapes.CallList,
        errors=OF_READS,
        samples=(called("/v1/usage?limit=5"),),
    ),
    Operation(
        method="get",
        path="/v1/generations/{id}",
        id="getReceipt",
        tag="Your key",
        summary="The receipt of a call",
        text="Tokens by class, list price, rate and bill, tries and times. It is there as soon as its answer is.",
        parameters=(_CALL_ID,),
        answer=shapes.Receipt,
        errors=OF_READS,
        samples=(called("/v1/generations/$REQUEST_ID"),),
    ),
    Operation(
        method="get",
        path="/v1/generation",
        id="getGeneration",
        tag="Your key",
        summary="The receipt in OpenRouter's shape",
        parameters=(
            Parameter(
                name="id",
                required=True,
                text="The `x-request-id` of the call's answer.",
                schema={"type": "string", "minLength": 1},
            ),
        ),
        answer=shapes.GenerationAnswer,
        errors=OF_READS,
    ),
)


def _absent(method: str, of: str, name: str) -> Operation:
    return Operation(
        method=method,
        path=f"/v1/responses/{{id}}{of}",
        id=name,
        tag="Not kept",
        summary="Responses are not kept",
        text="Always a 404 with a key that lives: no response is kept.",
        parameters=(_RESPONSE_ID,),
        status=0,
        errors=OF_READS,
    )


_ABSENT: Final = (
    Operation(
        method="get",
        path="/v1/responses",
        id="upgradeResponses",
        tag="Not kept",
        summary="WebSockets are declined",
        text="Clients that offer one go on over HTTP.",
        status=0,
        keyed=False,
        errors=(405, 426, 500, 503),
    ),
    Operation(
        method="post",
        path="/v1/responses/compact",
        id="compactResponse",
        tag="Not kept",
        summary="Conversations are not compacted",
        status=0,
        errors=OF_READS,
    ),
    _absent("get", "", "getResponse"),
    _absent("delete", "", "deleteResponse"),
    _absent("post", "/cancel", "cancelResponse"),
    _absent("get", "/input_items", "listResponseInput"),
)


def _open(
    path: str, name: str, summary: str, kind: str, *, errors: tuple[int, ...] = (500, 503), answer: Any = None
) -> Operation:
    return Operation(
        method="get",
        path=path,
        id=name,
        tag="This gateway",
        summary=summary,
        keyed=False,
        kind=kind,
        errors=errors,
        answer=answer,
    )


_GATEWAY: Final = (
    _open(
        "/",
        "getStart",
        "Where to begin: a page, or JSON for programs",
        "application/json",
        answer=shapes.Start,
    ),
    _open("/docs", "getDocs", "This reference, as a page", "text/html"),
    _open("/playground", "getPlayground", "A page to try a model on", "text/html"),
    _open("/openapi.json", "getDocument", "This document", "application/json", answer=dict[str, Any]),
    Operation(
        method="get",
        path="/static/{name}",
        id="getAsset",
        tag="This gateway",
        summary="What the pages load",
        keyed=False,
        kind="*/*",
        errors=(404, 500, 503),
        parameters=(
            Parameter(
                name="name",
                place="path",
                required=True,
                text="A name with a hash.",
                schema={"type": "string", "minLength": 1},
            ),
        ),
    ),
    _open("/favicon.svg", "getIcon", "The pages' icon", "image/svg+xml"),
    _open("/healthz", "getHealth", "200 while the process lives", "text/plain"),
    _open("/health", "getHealthToo", "The same", "text/plain"),
    _open("/readyz", "getReadiness", "200 when every part that calls need is there", "text/plain"),
    _open("/metrics", "getMetrics", "Prometheus text", "text/plain"),
)
OPERATIONS: Final = (*_CALLS, *_MODELS, *_OWN, *_ABSENT, *_GATEWAY)
