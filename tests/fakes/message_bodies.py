"""Owns generated bodies of /v1/messages: mostly what clients send, with anything in places where they err."""

import json
from random import Random
from typing import Any

_PNG = "iVBORw0KGgo="
_TEXTS = ("hi", "日本語 🏔", "a\nb", "x" * 300, '{"a":1}', "", " ", "\x00", "tokn1.x", "compact")
_IDS = ("toolu_1", "call_2", "a.b:c", "x" * 65, "日本", "")
_NAMES = ("f", "get_weather", "1st", "a.b", "n" * 128, "日本")
_SCHEMAS: tuple[Any, ...] = (
    {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]},
    {"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object"},
    {
        "type": "object",
        "properties": {"a": {"oneOf": [{"type": "string"}, {"minItems": 3, "type": "array"}]}},
    },
    {},
    {"type": "array"},
    None,
    [],
    "silly",
)
_MARKS: tuple[Any, ...] = ({"type": "ephemeral"}, {"type": "ephemeral", "ttl": "1h"}, {"type": "x"}, None, 1)
_SOURCES: tuple[Any, ...] = (
    {"type": "base64", "media_type": "image/png", "data": _PNG},
    {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="},
    {"type": "base64", "media_type": "image/bmp", "data": "***"},
    {"type": "base64", "media_type": "image/png", "data": ""},
    {"type": "url", "url": "https://example.com/a.png"},
    {"type": "file", "file_id": "file_1"},
    {"type": "text", "media_type": "text/plain", "data": "words"},
    {"type": "content", "content": [{"type": "text", "text": "x"}]},
    {"type": "content", "content": "words"},
    "elsewhere",
    None,
)
_FIELDS: dict[str, tuple[Any, ...]] = {
    "system": ("Be brief.", "", [{"type": "text", "text": "x-anthropic-billing-header: a"}], [], None, 3),
    "temperature": (0, 0.5, 1, 2, "hot", None),
    "top_p": (0.5, 1, None),
    "top_k": (1, 40, 0, -1, None),
    "stop_sequences": (["a"], [], ["\n"], ["a"] * 9, [""], "a", None),
    "thinking": (
        {"type": "adaptive"},
        {"type": "enabled", "budget_tokens": 1024},
        {"type": "enabled", "budget_tokens": 10**9},
        {"type": "disabled"},
        {"type": "between_tools"},
        {"type": "enabled", "budget_tokens": -1},
        {},
        None,
    ),
    "output_config": (
        {"effort": "high"},
        {"effort": "silly"},
        {"format": {"type": "json_schema", "schema": _SCHEMAS[0]}},
        {"format": {"type": "yaml"}},
        {"task_budget": {"type": "tokens", "total": 9}},
        None,
    ),
    "metadata": ({"user_id": "u" * 230}, {}, None, {"user_id": 1}),
    "cache_control": _MARKS,
    "context_management": (
        {"edits": [{"type": "clear_tool_uses_20250919"}]},
        {"edits": [{"type": "compact_20260112"}]},
    ),
    "service_tier": ("auto", "standard_only", "silly", None),
    "speed": ("standard", "fast", None),
    "inference_geo": ("us", None),
    "mcp_servers": ([], [{"type": "url", "url": "https://x"}]),
    "container": ("c", None),
    "of_another_day": (1, {"x": [1]}),
    "diagnostics": ({}, None),
    "usage": ({"include": True}, {}, 1),
    "stream": (True, False, None, "yes"),
    "models": (["M"], [], "M"),
}


def body(seed: int) -> dict[str, Any]:
    """The body of one seed."""
    random = Random(seed)
    made: dict[str, Any] = {"model": "M", "max_tokens": random.choice((1, 400, 400, 5_000, 5_000, 32_000))}
    if random.random() < 0.02:
        made["max_tokens"] = random.choice((0, -1, None, "9", 2**40, 1.5))
    made["messages"] = _turns(random)
    for name in random.sample(sorted(_FIELDS), random.choice((0, 0, 1, 1, 2, 3))):
        made[name] = random.choice(_FIELDS[name])
    if random.random() < 0.6:
        made["tools"] = [_tool(random, index) for index in range(random.randint(0, 4))]
        if random.random() < 0.4:
            made["tool_choice"] = _choice(random)
    return made


def encoded(seed: int) -> bytes:
    """The same as JSON."""
    return json.dumps(body(seed)).encode()


def _turns(random: Random) -> Any:
    if random.random() < 0.02:
        return random.choice(([], None, "hi", [1], [{}], {"role": "user"}))
    turns: list[Any] = []
    for _ in range(random.randint(1, 3)):
        turns.append({"role": "user", "content": _content(random)})
        if random.random() < 0.15:
            turns.append({"role": "system", "content": random.choice(("Mind the gap.", [_text(random)]))})
        if random.random() < 0.5:
            turns += _exchange(random)
        elif random.random() < 0.3:
            turns.append({"role": "assistant", "content": [_thought(random), _text(random)]})
    if turns[-1]["role"] == "assistant" and random.random() < 0.9:
        turns.append({"role": "user", "content": "go on"})
    if random.random() < 0.02:
        turns.append({"role": "wizard", "content": "x"})
    return turns


def _exchange(random: Random) -> list[Any]:
    """Some calls and their results, in order or not, with more or fewer of them now and then."""
    calls = [
        {
            "type": "tool_use",
            "id": f"{random.choice(_IDS)}{number}",
            "name": random.choice(_NAMES),
            "input": random.choice(({}, {"a": 1}, {"a": "é"}, None, "cut {", [1])),
        }
        for number in range(random.randint(1, 3))
    ]
    results = [
        {
            "type": "tool_result",
            "tool_use_id": call["id"],
            "content": random.choice(
                ("fine", "", None, [_text(random)], [{"type": "image", "source": _SOURCES[0]}], [])
            ),
            "is_error": random.choice((True, False, None)),
        }
        for call in calls
    ]
    if random.random() < 0.1:
        random.shuffle(results)
        results += results[: random.randint(0, 1)]
    if random.random() < 0.03:
        results.pop()
    before = [_thought(random)] if random.random() < 0.4 else []
    after = [_text(random)] if random.random() < 0.3 else []
    return [
        {"role": "assistant", "content": [*before, *calls]},
        {"role": "user", "content": [*results, *after]},
    ]


def _content(random: Random) -> Any:
    if random.random() < 0.5:
        return random.choice(_TEXTS)
    if random.random() < 0.02:
        return random.choice((None, 1, {"type": "text"}, ["x"]))
    return [_block(random) for _ in range(random.randint(0, 3))]


def _text(random: Random) -> dict[str, Any]:
    made: dict[str, Any] = {"type": "text", "text": random.choice(_TEXTS)}
    if random.random() < 0.2:
        made["cache_control"] = random.choice(_MARKS)
    if random.random() < 0.1:
        made["citations"] = None
    return made


def _thought(random: Random) -> dict[str, Any]:
    return random.choice(
        (
            {
                "type": "thinking",
                "thinking": "Hm.",
                "signature": random.choice(("", "c2ln", "tokn1.AAAA", None)),
            },
            {"type": "redacted_thinking", "data": random.choice(("ZGF0YQ==", "tokn1.AAAA", ""))},
            {"type": "thinking", "thinking": "Hm."},
        )
    )


def _block(random: Random) -> Any:
    if random.random() < 0.6:
        return _text(random)
    return random.choice(
        (
            {"type": "image", "source": random.choice(_SOURCES)},
            {
                "type": "document",
                "source": random.choice(_SOURCES),
                "title": random.choice(("a.pdf", "ä", None)),
            },
            {"type": "search_result", "source": "s", "title": "t", "content": [_text(random)]},
            {"type": "tool_result", "tool_use_id": "nobody", "content": "x"},
            {"type": "tool_reference", "tool_name": "f"},
            {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}},
            {"type": "container_upload", "file_id": "f"},
            {"type": "of_another_day", "x": 1},
            {"type": "of_another_day", "url": "https://x"},
            {"type": None},
            {},
        )
    )


def _tool(random: Random, index: int) -> Any:
    if random.random() < 0.1:
        return random.choice(
            (
                {"type": "web_search_20250305", "name": "web_search"},
                {"type": "bash_20250124", "name": "bash"},
                {"name": "no schema"},
                {"type": "custom"},
                1,
            )
        )
    made: dict[str, Any] = {"name": _NAMES[index % len(_NAMES)]}
    made["input_schema"] = random.choice(_SCHEMAS[:3] * 4 + _SCHEMAS)
    if random.random() < 0.3:
        made |= {"description": "Does it.", "type": "custom", "defer_loading": True, "strict": True}
    if random.random() < 0.2:
        made["cache_control"] = random.choice(_MARKS)
    return made


def _choice(random: Random) -> Any:
    return random.choice(
        (
            {"type": "auto", "disable_parallel_tool_use": True},
            {"type": "any"},
            {"type": "none"},
            {"type": "tool", "name": random.choice(_NAMES)},
            {"type": "tool", "name": "web_search"},
            {"type": "silly"},
            {},
            "auto",
            None,
        )
    )
