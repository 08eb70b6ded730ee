"""Owns what a reader is told about fields of requests, beside their types."""

from typing import Final

_MODEL: Final = "The model's id, exactly as the model list has it."
_MODELS: Final = "Up to 8 models or aliases, tried in order; `model`, where it is there, comes first."
_USAGE: Final = 'With `{"include": true}` the answer\'s usage says what the call cost.'
_STREAM: Final = "Whether the answer comes as server-sent events."
_LIMIT: Final = "The most output tokens. Unset, the call is granted what its model and the balance allow."
_TEMPERATURE: Final = "How freely to choose words, where the model samples."
_NAMED: Final = {"model": _MODEL, "models": _MODELS, "usage": _USAGE, "stream": _STREAM}

NOTES: Final[dict[str, dict[str, str]]] = {
    "ChatRequest": {
        **_NAMED,
        "messages": "The conversation, oldest first.",
        "max_tokens": _LIMIT,
        "max_completion_tokens": _LIMIT,
        "temperature": _TEMPERATURE,
        "stop": "Texts at which the answer ends.",
        "tools": "Functions that the model may call.",
        "response_format": "The form of the answer: text, any JSON object, or JSON of a schema.",
        "reasoning_effort": "How hard to think, where the model reasons. It is billed as output.",
        "stream_options": "With `include_usage` the stream's last event has the usage.",
        "n": "How many answers; each is billed.",
    },
    "CompletionRequest": {
        **_NAMED,
        "prompt": "A text, texts, token ids or lists of them.",
        "max_tokens": "The most output tokens; 16 without it.",
        "temperature": _TEMPERATURE,
    },
    "ResponsesRequest": {
        **_NAMED,
        "input": "A text, or the items of the whole conversation.",
        "instructions": "What the model is told before the conversation.",
        "max_output_tokens": _LIMIT,
        "store": "Taken, and answered as false: no response is kept.",
        "previous_response_id": "Always a 400: no response is kept.",
    },
    "MessagesRequest": {
        **_NAMED,
        "messages": "The conversation, oldest first.",
        "max_tokens": "The most output tokens.",
        "system": "What the model is told before the conversation.",
        "thinking": "How much to think; it is billed as output.",
        "temperature": _TEMPERATURE,
    },
    "EmbeddingRequest": {
        "model": _MODEL,
        "input": "A text, up to 2,048 texts, token ids, or up to 2,048 lists of them; none of them empty.",
        "dimensions": "Of each vector, where the model makes vectors of several sizes.",
        "encoding_format": "`float`, the default, or `base64`.",
    },
}
