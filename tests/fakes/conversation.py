"""Owns the conversation that every family must serve alike: the caller's request, what the model says, what comes out.

System text, an image, two parallel tool calls, their results, a JSON answer, streamed with usage. A family's test plays
`CALLS` for the first request and `ANSWER` for the second in its own provider's words, and compares with `outcome`.
"""

from typing import Any

from msgspec import Struct

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
CITIES = ("Oslo", "Rome")
ARGUMENTS = ('{"city":"Oslo"}', '{"city":"Rome"}')  # of the two calls, in order
TOOL_NAME = "temperature"
ANSWER = '{"warmest":"Rome","degrees":[4,19]}'
ANSWER_PIECES = ('{"warmest":', '"Rome","degrees"', ":[4,19]}")
CALLS_USAGE = {"prompt": 120, "completion": 30}  # what the provider is made to report
ANSWER_USAGE = {"prompt": 180, "completion": 12}

# A schema: every family has those, while not each has JSON without one.
JSON_ANSWER = {
    "type": "json_schema",
    "json_schema": {
        "name": "report",
        "strict": True,
        "schema": {
            "type": "object",
            "properties": {
                "warmest": {"type": "string"},
                "degrees": {"type": "array", "items": {"type": "integer"}},
            },
            "required": ["warmest", "degrees"],
            "additionalProperties": False,
        },
    },
}

_TOOLS = [
    {
        "type": "function",
        "function": {
            "name": TOOL_NAME,
            "description": "The temperature in a city now, in degrees.",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string"}},
                "required": ["city"],
                "additionalProperties": False,
            },
        },
    }
]
_OPENING = [
    {"role": "system", "content": "You compare the weather. Answer with JSON."},
    {
        "role": "user",
        "content": [
            {"type": "text", "text": "Which of the cities on this map is warmer? Answer with JSON."},
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}", "detail": "low"}},
        ],
    },
]


class Outcome(Struct, frozen=True):
    """What a caller sees of a streamed answer, whatever the provider; ids of calls are the provider's own."""

    content: str
    calls: tuple[tuple[str, str], ...]  # name and arguments
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int


FIRST = Outcome("", tuple((TOOL_NAME, text) for text in ARGUMENTS), "tool_calls", 120, 30)
SECOND = Outcome(ANSWER, (), "stop", 180, 12)


def first_request(model: str) -> dict[str, Any]:
    """The request that two parallel calls answer."""
    return {
        "model": model,
        "messages": _OPENING,
        "tools": _TOOLS,
        "parallel_tool_calls": True,
        "temperature": 0.2,
        "max_completion_tokens": 500,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def second_request(model: str, call_ids: list[str], *, json_with_tools: bool = True) -> dict[str, Any]:
    """The request with the calls' results, which JSON answers.

    `json_with_tools` False, for models that cannot give JSON beside tools, leaves the answer format to the words.
    """
    calls = [
        {"id": call_id, "type": "function", "function": {"name": TOOL_NAME, "arguments": text}}
        for call_id, text in zip(call_ids, ARGUMENTS, strict=True)
    ]
    results = [
        {"role": "tool", "tool_call_id": call_id, "content": f'{{"city":"{city}","degrees":{degrees}}}'}
        for call_id, city, degrees in zip(call_ids, CITIES, (4, 19), strict=True)
    ]
    body = first_request(model)
    body["messages"] = [*_OPENING, {"role": "assistant", "content": None, "tool_calls": calls}, *results]
    if json_with_tools:
        body["response_format"] = {"type": "json_object"}
    return body


def outcome(chunks: list[dict[str, Any]]) -> tuple[Outcome, list[str]]:
    """What the chunks of a stream (as dictionaries) add up to, and the ids of its tool calls in order."""
    content, finish, calls = "", "", {}
    usage: dict[str, Any] = {}
    for chunk in chunks:
        usage = chunk.get("usage") or usage
        for choice in chunk["choices"]:
            content += choice["delta"].get("content") or ""
            finish = choice.get("finish_reason") or finish
            for piece in choice["delta"].get("tool_calls") or ():
                call = calls.setdefault(piece["index"], {"id": "", "name": "", "arguments": ""})
                call["id"] += piece.get("id") or ""
                call["name"] += piece["function"].get("name") or ""
                call["arguments"] += piece["function"].get("arguments") or ""
    found = Outcome(
        content,
        tuple((call["name"], call["arguments"]) for call in calls.values()),
        finish,
        usage["prompt_tokens"],
        usage["completion_tokens"],
    )
    return found, [call["id"] for call in calls.values()]
