"""Generated Responses bodies: each is refused before a hold, or becomes a request that every family's rules allow."""

import json
import random
from typing import Any

import pytest
from msgspec import structs

from schemas.asked import Bound
from schemas.bus.frames import Job
from schemas.catalogue.model import Capabilities, Model
from schemas.chat.priced import RequestError
from schemas.dialects.responses import DIALECT
from schemas.responses.request import RESPONSES
from tests.fakes.responses import refusal
from tests.workers.providers.anthropic.cases import job
from tests.workers.providers.test_families import ACCOUNT, CASES, Case
from workers.providers import family

BODIES = 2_000
NATIVE = "native"
WAYS = (*(case.provider for case in CASES), NATIVE)
PNG = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
WORDS = [
    "hi",
    "",
    " ",
    "\x00",
    "\ud800",
    "é\u2028",
    "x" * 80,
    "call_a",
    "f",
    "a.b",
    "auto",
    "user",
    "gpt",
    5,
    -1,
    2**70,
    0.5,
    None,
    True,
]


def anything(rng: random.Random, depth: int = 2) -> Any:
    kind = rng.randrange(6)
    if kind == 0 and depth:
        return [anything(rng, depth - 1) for _ in range(rng.randrange(3))]
    if kind == 1 and depth:
        names = rng.sample(["type", "name", "text", "role", "id", "format", "effort", "x"], rng.randrange(4))
        return {name: anything(rng, depth - 1) for name in names}
    return rng.choice(WORDS)


def part(rng: random.Random) -> Any:
    return rng.choice(
        [
            {"type": "input_text", "text": "hi"},
            {"type": "output_text", "text": "so", "annotations": []},
            {"type": "input_image", "image_url": PNG, "detail": rng.choice(["low", "auto", None, 5])},
            {"type": "input_file", "filename": "a.txt", "file_data": "data:text/plain;base64,aGk="},
            {"type": "input_file", "file_id": "file_1"},
            {"type": "refusal", "refusal": "no"},
            {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
            {"type": anything(rng)},
            anything(rng),
        ]
    )


def content(rng: random.Random) -> Any:
    return rng.choice(
        ["hi", [{"type": "input_text", "text": "hi"}], [part(rng) for _ in range(3)], anything(rng)]
    )


def items(rng: random.Random) -> list[Any]:
    made: list[Any] = []
    for _ in range(rng.randrange(1, 6)):
        call_id = rng.choice(["call_a", "call_b", "x" * 90])
        name = rng.choice(["f", "a.b", "x" * 80])
        call = {
            "type": "function_call",
            "call_id": call_id,
            "name": name,
            "arguments": rng.choice(["{}", '{"a":1}', "{cut", ""]),
        }
        output = {
            "type": "function_call_output",
            "call_id": call_id,
            "output": rng.choice(["ok", "", [part(rng)], anything(rng)]),
        }
        custom = {"type": "custom_tool_call", "call_id": call_id, "name": "c", "input": "x"}
        made += rng.choice(
            [
                [{"role": rng.choice(["user", "assistant", "developer", "system"]), "content": content(rng)}],
                [call, output],
                [call],
                [call | {"namespace": "n"}, {"role": "assistant", "content": "so"}, output],
                [custom, output | {"type": "custom_tool_call_output"}],
                [
                    {
                        "type": "reasoning",
                        "id": "rs_1",
                        "summary": [],
                        "encrypted_content": rng.choice(["gAAAA", "tokn1.x", "c2ln", None]),
                    }
                ],
                [
                    {"type": "shell_call", "call_id": call_id, "action": {"commands": ["ls"]}},
                    {"type": "shell_call_output", "call_id": call_id, "output": [{"stdout": "x"}]},
                ],
                [{"type": "item_reference", "id": rng.choice(["rs_1", "msg_1"])}],
                [{"type": "web_search_call", "id": "ws_1"}],
                [{"type": "agent_message", "content": content(rng)}],
                [
                    {
                        "type": rng.choice(["message", "reasoning", "compaction", "additional_tools"]),
                        "x": anything(rng),
                    }
                ],
                [anything(rng)],
            ]
        )
    return made


def tools(rng: random.Random) -> list[Any]:
    function = {
        "type": "function",
        "name": rng.choice(["f", "a.b", "9x", "x" * 80]),
        "parameters": rng.choice(
            [None, {}, {"type": "object", "properties": {"a": {"type": "integer"}}}, anything(rng)]
        ),
    }
    return rng.sample(
        [
            function,
            {
                "type": "custom",
                "name": "c",
                "format": {"type": "grammar", "syntax": "lark", "definition": rng.choice(WORDS)},
            },
            {"type": "namespace", "name": "n", "tools": [{"type": "function", "name": "f"}]},
            {"type": "web_search"},
            {"type": "local_shell"},
            {
                "type": "shell",
                "environment": rng.choice([None, {"type": "local"}, {"type": "container_auto"}]),
            },
            {"type": "apply_patch"},
            {"type": "mcp", "server_url": "x"},
            anything(rng),
        ],
        rng.randrange(4),
    )


def body(rng: random.Random) -> dict[str, Any]:
    """A body that is mostly one, with a few fields that may be anything."""
    made: dict[str, Any] = {
        "model": "M",
        "input": rng.choice(
            ["hi", items(rng), items(rng), [{"role": "user", "content": "go"}, *items(rng)], anything(rng)]
        ),
    }
    fields = {
        "instructions": "Be brief.",
        "tools": tools(rng),
        "tool_choice": rng.choice(
            [
                "auto",
                "none",
                "required",
                {"type": "function", "name": "f"},
                {"type": "custom", "name": "c"},
                {"type": "shell"},
                anything(rng),
            ]
        ),
        "parallel_tool_calls": rng.choice([True, False]),
        "text": rng.choice(
            [
                {"format": {"type": "json_object"}},
                {
                    "format": {
                        "type": "json_schema",
                        "name": "s",
                        "schema": {"type": "object", "properties": {}},
                    }
                },
                {"verbosity": "low"},
            ]
        ),
        "reasoning": rng.choice([{"effort": "high", "summary": "auto"}, {"effort": "none"}, {}]),
        "include": rng.choice([[], ["reasoning.encrypted_content"], ["message.output_text.logprobs"]]),
        "max_output_tokens": rng.choice([1, 16, 4_000, 2**31, 0]),
        "temperature": rng.choice([0, 1, 2, 0.5]),
        "top_logprobs": rng.choice([0, 5, 50]),
        "stream": rng.choice([True, False]),
        "store": rng.choice([True, False]),
        "background": False,
        "service_tier": "auto",
        "metadata": {"a": "b"},
        "unknown": anything(rng),
    }
    for name in rng.sample(sorted(fields), rng.randrange(6)):
        made[name] = fields[name] if rng.random() < 0.9 else anything(rng)
    return made


def row(way: str) -> Model:
    """The row of a family's model, or of one whose server speaks the dialect itself."""
    if way == NATIVE:
        return structs.replace(
            CASES[0].model, provider="openai", family="openai", capabilities=Capabilities(responses=True)
        )
    return case(way).model


def case(way: str) -> Case:
    return next(one for one in CASES if one.provider == way)


def admitted(raw: bytes, model: Model) -> tuple[Bound, bytes] | int:
    """What the edge makes of a body: its bound and what goes on, or the status of a refusal."""
    try:
        fields = DIALECT.decode(raw)
        ask = DIALECT.read(fields)
        encoded = DIALECT.encode(fields)
        bound = DIALECT.bound(fields, ask, model)
    except RequestError as refused:
        return refused.error.status
    error = DIALECT.refuse(model, encoded)
    return (bound, encoded) if error is None else error.status


def made(raw: bytes, bound: Bound, model: Model) -> Job:
    limit = bound.limit or model.max_output
    return job(
        {},
        dialect=RESPONSES,
        body=raw,
        stream=bool(json.loads(raw).get("stream")),
        limit=limit,
        upstream=model.upstream,
    )


@pytest.mark.parametrize("way", WAYS)
def test_generated_bodies(way: str) -> None:
    """No exception but a 4xx before the hold; what gets past it is a request that the family's own rules allow."""
    rng = random.Random(way)
    model, served = row(way), family(row(way).family)
    seen: dict[Any, int] = {}
    for _ in range(BODIES // len(WAYS)):
        raw = json.dumps(body(rng), ensure_ascii=rng.random() < 0.5).encode("utf-8", "surrogatepass")
        got = admitted(raw, model)
        if isinstance(got, int):
            assert got in (400, 404), (raw, got)
            seen[got] = seen.get(got, 0) + 1
            continue
        bound, encoded = got
        assert bound.prompt_max >= 1
        (exchange,) = served.open(made(encoded, bound, model), model, {})
        sent = exchange.request(ACCOUNT).body
        if way == NATIVE:
            told = refusal(json.loads(sent))
            assert told is None, (told, sent)
        else:
            case(way).check(sent, model.capabilities, model.upstream)
        seen["served"] = seen.get("served", 0) + 1
    assert min(seen.get("served", 0), seen.get(400, 0), seen.get(404, 0)) > 5, seen
