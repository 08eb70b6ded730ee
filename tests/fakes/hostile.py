"""Owns hostile request bodies: a seeded stream of JSON that parsers, prices and bounds stumble over."""

import json
import random
from collections.abc import Iterator
from typing import Any

FIELDS = [
    "model",
    "messages",
    "prompt",
    "n",
    "best_of",
    "max_tokens",
    "max_completion_tokens",
    "stream",
    "stream_options",
    "tools",
    "tool_choice",
    "functions",
    "response_format",
    "stop",
    "temperature",
    "top_p",
    "logit_bias",
    "logprobs",
    "user",
    "metadata",
    "usage",
    "modalities",
    "audio",
    "service_tier",
    "echo",
]
NUMBERS = [
    "0",
    "-1",
    "-0",
    "1",
    "2",
    "1e400",
    "-1e400",
    "1e-400",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551616",
    "1.5",
    "0.1",
    "1e2",
    "-9223372036854775809",
    "123456789012345678901234567890",
]
STRINGS = (
    '""',
    '"priced"',
    '"\\u0000"',
    '"\\ud800"',
    '"\\udc00\\ud800"',
    '"a\\r\\nX-Injected: 1"',
    '"pool.>"',
    '"../../etc/passwd"',
    '"\\u202e"',
    json.dumps("x" * 5_000),
    '"\' OR 1=1 --"',
    '"data: [DONE]\\n\\n"',
    '"%00"',
)
WORDS = ("null", "true", "false", "NaN", "Infinity", "-Infinity", "undefined")
GOOD: dict[str, Any] = {"model": "priced", "messages": [{"role": "user", "content": "hello"}]}
PARTS = (
    '{"type":"text","text":"a"}',
    '{"type":"text"}',
    '{"type":"image_url","image_url":{"url":"http://169.254.169.254/latest"}}',
    '{"type":"image_url","image_url":"data:image/png;base64,AAAA"}',
    '{"type":"image_url","image_url":{"url":"data:image/png;base64,****"}}',
    '{"type":"input_audio","input_audio":{"data":"","format":"wav"}}',
    '{"type":"file","file":{"file_id":"f"}}',
    '{"type":"nothing"}',
    "null",
    "7",
    '"a"',
    "[]",
)


def _value(dice: random.Random, depth: int = 0) -> str:
    kind = dice.randrange(10 if depth < 4 else 6)
    if kind < 2:
        return dice.choice(NUMBERS)
    if kind < 4:
        return dice.choice(STRINGS)
    if kind < 5:
        return dice.choice(WORDS[:3])
    if kind < 6:
        return dice.choice(PARTS)
    if kind < 8:
        return "[" + ",".join(_value(dice, depth + 1) for _ in range(dice.randrange(4))) + "]"
    names = [dice.choice([*FIELDS, "role", "content", "type", "url", ""]) for _ in range(dice.randrange(4))]
    return "{" + ",".join(f"{json.dumps(name)}:{_value(dice, depth + 1)}" for name in names) + "}"


def _object(fields: list[tuple[str, str]]) -> bytes:
    return ("{" + ",".join(f"{json.dumps(name)}:{value}" for name, value in fields) + "}").encode()


def _fields() -> list[tuple[str, str]]:
    return [(name, json.dumps(value)) for name, value in GOOD.items()]


def _replaced(dice: random.Random) -> bytes:
    fields = _fields()
    for _ in range(dice.randint(1, 3)):
        fields.append((dice.choice(FIELDS), _value(dice)))
    dice.shuffle(fields)
    return _object(fields)


def _messages(dice: random.Random) -> bytes:
    content = dice.choice(
        [_value(dice), "[" + ",".join(dice.choices(PARTS, k=dice.randint(1, 3))) + "]", '"hello"']
    )
    role = dice.choice(['"user"', '"system"', '"tool"', '"developer"', '"function"', '"nobody"', "7", "null"])
    extra = f",{json.dumps(dice.choice(FIELDS))}:{_value(dice)}" if dice.random() < 0.3 else ""
    calls = f',"tool_calls":{_value(dice)}' if dice.random() < 0.2 else ""
    messages = f'[{{"role":{role},"content":{content}{calls}{extra}}}]'
    return _object([("model", '"priced"'), ("messages", messages)])


def _cut(dice: random.Random) -> bytes:
    whole = _replaced(dice)
    return whole[: dice.randrange(len(whole))]


def _noise(dice: random.Random) -> bytes:
    whole = bytearray(_replaced(dice))
    for _ in range(dice.randint(1, 8)):
        whole[dice.randrange(len(whole))] = dice.randrange(256)
    return bytes(whole)


def _bytes(dice: random.Random) -> bytes:
    return dice.choice(
        [b"", b"\xef\xbb\xbf{}", b"\xff\xfe{\x00}\x00", b"\x00", dice.randbytes(dice.randrange(200))]
    )


def _deep(dice: random.Random) -> bytes:
    depth = dice.choice([500, 1_100, 20_000, 100_000])
    opened, closed = dice.choice([("[", "]"), ('{"a":', "}")])
    value = opened * depth + ("1" if opened != "[" else "") + closed * (depth if dice.random() < 0.7 else 0)
    place = dice.choice(
        ["x_unknown", "messages", "tools", "metadata", "stop", "stream_options", "response_format"]
    )
    return _object([*_fields(), (place, value)]) if dice.random() < 0.8 else value.encode()


def _wide(dice: random.Random) -> bytes:
    count = dice.choice([300, 5_000])
    return _object([*_fields(), *((f"k{index}", "0") for index in range(count))])


def _not_an_object(dice: random.Random) -> bytes:
    return dice.choice(
        [*WORDS, *NUMBERS, *STRINGS, "[]", "[{}]", "{}", '{"model":"priced"}', "{,}", "{}{}"]
    ).encode()


def _twice(dice: random.Random) -> bytes:
    name = dice.choice(["model", "messages", "n", "max_tokens", "stream"])
    return _object([*_fields(), (name, _value(dice)), (name, _value(dice))])


KINDS = (
    _replaced,
    _replaced,
    _replaced,
    _messages,
    _messages,
    _cut,
    _noise,
    _bytes,
    _wide,
    _not_an_object,
    _twice,
)


def bodies(seed: int, count: int) -> Iterator[tuple[str, bytes]]:
    """So many (path, body) pairs. The same seed gives the same ones. One in fifty is deeply nested."""
    dice = random.Random(seed)
    for index in range(count):
        path = "/v1/completions" if dice.random() < 0.25 else "/v1/chat/completions"
        make = _deep if index % 50 == 0 else dice.choice(KINDS)
        yield path, make(dice)
