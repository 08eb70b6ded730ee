"""Owns generated chat bodies: mostly well-formed, with every field and many values that some model cannot honour.

Plain random choices from a seed: a body is remade from its seed, and ten thousand take a second.
"""

import base64
import json
from random import Random
from typing import Any

_TEXTS = ("hi", "", " ", "\n", "Wie geht's? 日本語 🎉", "a" * 300, '{"a": 1}', "x\u0000y", "tail  ")
_NAMES = ("f", "get_weather", "a-b", "x" * 64)
_BAD_NAMES = ("", "a b", "x" * 65, "é")
_SCHEMAS: tuple[Any, ...] = (
    {"type": "object", "properties": {}},
    {"type": "object", "properties": {"a": {"type": "integer", "minimum": 1}}, "required": ["a"]},
    {
        "properties": {"b": {"$ref": "#/$defs/t"}},
        "$defs": {"t": {"type": "object", "properties": {"c": {"type": ["string", "null"]}}}},
    },
    {
        "type": "object",
        "properties": {
            "enum": {"enum": [{"type": "object"}, 1]},
            "type": {"type": "array", "items": {"type": "object"}},
        },
    },
    {"type": "string"},
    {},
    None,
)
_ARGUMENTS = (
    "{}",
    "",
    " ",
    '{"city": "Oslo", "n": 1.10}',
    '{"a": {"b": [1, null, true]}}',
    "[1]",
    "{",
    "nonsense",
)
_PNG = "iVBORw0KGgo="
_MARKS: tuple[Any, ...] = (
    {"type": "ephemeral"},
    {"type": "ephemeral", "ttl": "1h"},
    {"type": "ephemeral", "ttl": "9h"},
)
_FIELDS: dict[str, tuple[Any, ...]] = {
    "n": (1, 1, 2, 0, None),
    "temperature": (0, 0.3, 1, 1.0, 1.9, 2.5, None),
    "top_p": (0.1, 1, 1, None, -1),
    "top_k": (1, 40, 0),
    "seed": (0, 7, None),
    "stop": ("END", ["a", "b"], "\n", ["x", " "], [], None, ["a"] * 6),
    "presence_penalty": (0, 0, 0.5, None),
    "frequency_penalty": (0, 0, -1.5, None),
    "logit_bias": ({}, {"5": 10}, None),
    "logprobs": (False, True, None),
    "top_logprobs": (0, 3, None),
    "reasoning_effort": ("none", "minimal", "low", "medium", "high", "xhigh", "max", "silly", None),
    "verbosity": ("low", "high", None),
    "modalities": (["text"], ["text", "audio"], None),
    "service_tier": ("auto", "default", "flex", "priority", None),
    "user": ("a@b.test", "u", "", None),
    "safety_identifier": ("id", None),
    "metadata": ({"a": "b"}, None),
    "store": (True, False, None),
    "parallel_tool_calls": (True, False, None),
    "max_tokens": (1, 16, 5000, 0, None),
    "max_completion_tokens": (1, 2000, None),
    "prompt_cache_key": ("k",),
    "prediction": (None, {"type": "content", "content": "x"}),
    "web_search_options": (None, {}),
    "functions": (None, [{"name": "f"}]),
    "of_another_day": (1, {"x": [1]}),
    "cache_control": _MARKS,
}


def body(seed: int) -> dict[str, Any]:
    """The body of one seed."""
    random = Random(seed)
    made: dict[str, Any] = {"model": "M", "messages": _messages(random)}
    stream = random.choice((True, False, None))
    if stream is not None:
        made["stream"] = stream
    if stream and random.random() < 0.5:
        made["stream_options"] = {"include_usage": random.choice((True, False))}
    for name in random.sample(sorted(_FIELDS), random.choice((0, 0, 1, 1, 2, 3, 5))):
        made[name] = random.choice(_FIELDS[name])
    if random.random() < 0.5:
        made["tools"] = [_tool(random, index) for index in range(random.randint(0, 3))]
        if random.random() < 0.5:
            made["tool_choice"] = _tool_choice(random)
    if random.random() < 0.25:
        made["response_format"] = _format(random)
    return made


def encoded(seed: int) -> bytes:
    """The same as JSON."""
    return json.dumps(body(seed)).encode()


def _messages(random: Random) -> list[Any]:
    made: list[Any] = []
    if random.random() < 0.4:
        made.append(
            {"role": random.choice(("system", "developer")), "content": _content(random, media=False)}
        )
    for _ in range(random.randint(1, 4)):
        role = random.choice(
            ("user", "user", "user", "assistant", "tools", "tools", "system", "function", "robot")
        )
        if role == "tools":
            made += _exchange(random)
        elif role == "function":
            made.append(
                {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}}
            )
            made.append({"role": "function", "name": "f", "content": random.choice(_TEXTS)})
        elif role == "robot" and random.random() < 0.8:
            made.append({"role": "user", "content": "hello", "name": "ann"})
        else:
            made.append(_marked(random, {"role": role, "content": _content(random, media=role == "user")}))
    if random.random() < 0.7:
        made.append({"role": "user", "content": "go on"})
    return made


def _marked(random: Random, made: dict[str, Any]) -> dict[str, Any]:
    if random.random() < 0.08:
        made["cache_control"] = random.choice(_MARKS[:2] * 4 + _MARKS)
    return made


def _content(random: Random, *, media: bool) -> Any:
    if random.random() < 0.6:
        return random.choice(_TEXTS[:1] * 3 + _TEXTS)
    parts = [
        _marked(random, {"type": "text", "text": random.choice(_TEXTS)}) for _ in range(random.randint(0, 3))
    ]
    if media and random.random() < 0.5:
        parts.insert(random.randint(0, len(parts)), _media(random))
    return parts


def _media(random: Random) -> dict[str, Any]:
    image = random.choice(("image/png", "image/jpg", "image/webp", "image/bmp"))
    text = base64.b64encode(random.choice(("words", " ")).encode()).decode()
    return random.choice(
        (
            {"type": "image_url", "image_url": {"url": f"data:{image};base64,{_PNG}", "detail": "high"}},
            {"type": "image_url", "image_url": {"url": f"data:{image};base64,{_PNG}"}},
            {"type": "image_url", "image_url": {"url": "https://images.test/a.png"}},
            {
                "type": "input_audio",
                "input_audio": {"data": _PNG, "format": random.choice(("wav", "mp3", "ogg"))},
            },
            {
                "type": "file",
                "file": {"file_data": f"data:application/pdf;base64,{_PNG}", "filename": "a b.pdf"},
            },
            {"type": "file", "file": {"file_data": text, "filename": "notes.txt"}},
            {"type": "file", "file": {"file_id": "file-1"}},
        )
    )


def _exchange(random: Random) -> list[Any]:
    """An assistant's calls and their results, now and then one too few or out of order."""
    good = random.random() < 0.85
    calls = [
        {
            "id": random.choice((f"call_{random.randint(0, 99)}{index}", f"odd:{index}/é" + "x" * 70)),
            "type": "function",
            "function": {
                "name": random.choice(_NAMES),
                "arguments": random.choice(_ARGUMENTS[:5] if good else _ARGUMENTS),
            },
        }
        for index in range(random.randint(1, 3))
    ]
    results = [
        {"role": "tool", "tool_call_id": call["id"], "content": _content(random, media=False)}
        for call in calls
    ]
    random.shuffle(results)
    if not good and random.random() < 0.5:
        results.pop()
    content = random.choice((None, "", "Let me see.", " "))
    return [{"role": "assistant", "content": content, "tool_calls": calls}, *results]


def _tool(random: Random, index: int) -> dict[str, Any]:
    if random.random() < 0.03:
        return {"type": "custom", "custom": {"name": "c"}}
    name = random.choice(_BAD_NAMES) if random.random() < 0.03 else _NAMES[index]
    function: dict[str, Any] = {"name": name}
    if random.random() < 0.7:
        function["parameters"] = random.choice(_SCHEMAS[:4] * 4 + _SCHEMAS)
    if random.random() < 0.5:
        function["description"] = random.choice(("Does it.", ""))
    if random.random() < 0.3:
        function["strict"] = random.choice((True, False, None))
    return _marked(random, {"type": "function", "function": function})


def _tool_choice(random: Random) -> Any:
    named = {"type": "function", "function": {"name": random.choice(_NAMES[:3])}}
    allowed = {"mode": random.choice(("auto", "required")), "tools": [named]}
    return random.choice(
        (
            "none",
            "auto",
            "auto",
            "required",
            named,
            {"type": "allowed_tools", "allowed_tools": allowed},
            "silly",
            None,
        )
    )


def _format(random: Random) -> dict[str, Any]:
    schema = {
        "name": random.choice(_NAMES),
        "schema": random.choice(_SCHEMAS[:4] * 4 + _SCHEMAS),
        "strict": True,
    }
    return random.choice(
        (
            {"type": "text"},
            {"type": "json_object"},
            {"type": "json_schema", "json_schema": schema},
            {"type": "yaml"},
        )
    )
