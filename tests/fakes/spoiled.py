"""Owns generated bodies of every dialect: sound ones, with any field that its vendor has published right or wrong.

A body is remade from its dialect and its seed.
"""

import copy
import json
from collections.abc import Callable
from random import Random
from typing import Any

from tests.fakes import bodies, embeddings, message_bodies
from tests.fakes.published.schemas import fields
from tests.fakes.published.values import Values
from tests.workers.providers import test_responses_bodies as responses_bodies

# What each dialect's own vendor has published: the vendor, and the form of the request.
PUBLISHED = {
    "chat": ("openai", "chat"),
    "completions": ("openai", "completions"),
    "embeddings": ("openai", "embeddings"),
    "responses": ("openai", "responses"),
    "messages": ("anthropic", "messages with betas"),
}
_OWN = ("usage", "models", "extra_body", "of_another_day", "input_type", "top_k", "Model", "MAX_TOKENS")
_ODD_TEXTS = ("\ud800", "\udc00\ud800", "\x00", "\u2028", "\u202e", "\ufeff", "🏔" * 40, "\ud83d", "\r\n\r\n")
_ODD_NUMBERS = (0, -1, 1, 2**31, 2**53 + 1, 2**64, -(2**63) - 1, 0.1, -0.0, 1e308, 1e-300)
_ODD: tuple[Any, ...] = (
    None, True, False, "", " ", [], {}, [[]], [None], [{}], {"": {}}, {"type": None}, {"type": "x"}, [1, "a"],
)  # fmt: skip
_RAW = (b"1e999", b"-1e999", b"1.0", b"1E2", b"[" * 2_000 + b"]" * 2_000, b'{"a":' * 900 + b"1" + b"}" * 900)


def anything(random: Random) -> Any:
    """A value that few fields want."""
    kinds: tuple[tuple[Any, ...], ...] = (_ODD, _ODD_NUMBERS, _ODD_TEXTS)
    return copy.deepcopy(random.choice(random.choice(kinds)))


def _chat(random: Random) -> dict[str, Any]:
    if random.random() < 0.4:
        return {"messages": [{"role": "user", "content": "hi"}]}
    return bodies.body(random.getrandbits(32))


def _completions(random: Random) -> dict[str, Any]:
    prompts: tuple[Any, ...] = ("hi", "Once upon", ["a", "b"], [1, 2], [[1], [2]], "", [], None, 3)
    return {"prompt": random.choice(prompts[:3] * 3 + prompts)}


def _embeddings(random: Random) -> dict[str, Any]:
    return embeddings.any_body(random)


def _messages(random: Random) -> dict[str, Any]:
    if random.random() < 0.4:
        return {"max_tokens": 2_000, "messages": [{"role": "user", "content": "hi"}]}
    return message_bodies.body(random.getrandbits(32))


def _responses(random: Random) -> dict[str, Any]:
    return {"input": "hi"} if random.random() < 0.4 else responses_bodies.body(random)


_CORES: dict[str, Callable[[Random], dict[str, Any]]] = {
    "chat": _chat,
    "completions": _completions,
    "embeddings": _embeddings,
    "messages": _messages,
    "responses": _responses,
}


def sound(dialect: str, random: Random) -> dict[str, Any]:
    """A body with nothing wrong in it, but for what models cannot do; its model is still to be named."""
    return copy.deepcopy(_CORES[dialect](random))


def body(dialect: str, seed: int, model: str) -> bytes:
    """The body of one seed, as a caller of a model sends it."""
    random = Random(f"{dialect}-{seed}")
    made = copy.deepcopy(_CORES[dialect](random)) | {"model": model}
    vendor, form = PUBLISHED[dialect]
    values = Values(vendor, random)
    known = fields(vendor, form)
    names = [*sorted(known), *_OWN]
    for name in random.sample(names, random.choice((0, 0, 1, 1, 2, 3))):
        if name == "model":
            continue
        right = values.of(known[name]) if name in known else anything(random)
        made[name] = _right_or_wrong(random, copy.deepcopy(right))
    if random.random() < 0.15:
        _spoil(random, made)
    return _written(random, made)


def _right_or_wrong(random: Random, right: Any) -> Any:
    """Mostly what fits, else nothing, something else, or what fits with a fault somewhere in it."""
    kind = random.random()
    if kind < 0.6:
        return right
    if kind < 0.7:
        return None
    if kind < 0.85:
        return anything(random)
    if isinstance(right, dict | list):
        _spoil(random, right)
    return right


def _spoil(random: Random, value: Any) -> None:
    """Changes, adds or takes out something at some depth."""
    while True:
        keys = list(value) if isinstance(value, dict) else list(range(len(value)))
        if not keys:
            return
        key = random.choice(keys)
        if isinstance(value[key], dict | list) and value[key] and random.random() < 0.7:
            value = value[key]
            continue
        kind = random.randrange(4)
        if kind == 0 and isinstance(value, dict) and key != "model":
            del value[key]
        elif kind == 1 and isinstance(value, dict):
            value[random.choice(("of_another_day", "type", "id", "name", "cache_control"))] = anything(random)
        elif key != "model":
            value[key] = anything(random)
        return


def _written(random: Random, made: dict[str, Any]) -> bytes:
    """As JSON: now and then with a name twice, a value that no number or nesting may have, or a character cut in half."""
    raw = json.dumps(made, ensure_ascii=random.random() < 0.8).encode("utf-8", "surrogatepass")
    kind = random.random()
    if kind < 0.05:
        name = random.choice(list(made))
        twice = json.dumps(_right_or_wrong(random, made[name])).encode()
        raw = b"{" + json.dumps(name).encode() + b":" + twice + b"," + raw[1:]
    elif kind < 0.1:
        name = random.choice([*made, "metadata", "tools", "of_another_day"])
        if name != "model":
            raw = raw[:-1] + b"," + json.dumps(name).encode() + b":" + random.choice(_RAW) + b"}"
    elif kind < 0.11:
        raw = raw[: random.randrange(len(raw))]
    return raw
