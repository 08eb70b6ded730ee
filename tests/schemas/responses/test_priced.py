"""What a Responses request is held for: no less than what a chat model is told."""

import json
import random
from typing import Any

import msgspec

from schemas.catalogue.model import Capabilities, Model
from schemas.dialects.responses import DIALECT
from schemas.responses.local_tools import LOCAL_TOOLS
from schemas.responses.translate import translate

MODEL = Model(id="m", pool="p", provider="gemini", upstream="m", context=10**9, max_output=500)
NATIVE = msgspec.structs.replace(MODEL, capabilities=Capabilities(responses=True))
NAMES = ("a", "a.b", "é", "x" * 64, "x" * 200, "1", '"\\', "\x00")


def held(body: dict[str, Any], model: Model = MODEL) -> int:
    """The bytes of the prompt's bound, one token each."""
    fields = DIALECT.decode(json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode())
    return DIALECT.bound(fields, DIALECT.read(fields), model).prompt_max - model.capabilities.overhead_tokens


def told(body: dict[str, Any]) -> int:
    """The bytes of the tools that a chat model is told of."""
    return len(msgspec.json.encode(translate(json.dumps(body).encode(), MODEL).chat.tools))


def tool(rng: random.Random, depth: int = 1) -> dict[str, Any]:
    """A tool of any kind, with as little said of it as may be or with all."""
    kinds = ("function", "custom", *LOCAL_TOOLS)
    kind = rng.choice((*kinds, "namespace") if depth else kinds)
    made: dict[str, Any] = {"type": kind, "name": rng.choice(NAMES)}
    if kind == "namespace":
        return made | {"tools": [tool(rng, 0) for _ in range(rng.randrange(9))]}
    more: dict[str, Any] = {
        "description": rng.choice(("", 'é \u2028\n"', "word " * 20)),
        "parameters": rng.choice(({}, {"type": "object", "properties": {"é": {}}})),
        "strict": rng.choice((True, False, None)),
        "format": {
            "type": "grammar",
            "syntax": rng.choice(("lark", "regex", "", [1e15, None] * 9, {"é": "\u2028" * 9})),
            "definition": rng.choice(("", "a", "\n\t\x01é")),
        },
    }
    return made | {name: more[name] for name in rng.sample(sorted(more), rng.randrange(len(more) + 1))}


def test_tools_are_held_for_as_they_are_told() -> None:
    """Of every kind, wherever they stand: the told names, the schema of a custom tool and its grammar count too."""
    rng = random.Random(0)
    for _ in range(500):
        tools = [tool(rng) for _ in range(rng.randrange(1, 9))]
        item = {"type": "additional_tools", "role": "developer", "tools": tools}
        for body in ({"input": "i", "tools": tools}, {"input": [item]}):
            assert held({"model": "m", **body}) >= told({"model": "m", **body}), body


def test_a_namespace_of_short_names_is_held_for() -> None:
    """Each function is told under the long name of its namespace; at a server that is not told so, none is added."""
    functions = [{"type": "function", "name": f"a{index}"} for index in range(1_000)]
    space = {"type": "namespace", "name": "n" * 62, "tools": functions}
    body = {"model": "m", "input": "i", "tools": [space]}
    assert held(body) >= told(body) > held(body, NATIVE)
