"""Whatever a caller sends: it is refused with a 400, or what goes to Bedrock satisfies botocore's model and the rules."""

import base64
import json
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from schemas.chat.refusals import refuse
from schemas.chat.request import CHAT
from tests.fakes.bedrock_rules import check, check_titan
from tests.workers.providers.bedrock.cases import (
    CLAUDE,
    CLAUDE_3,
    CLAUDE_EFFORT,
    LLAMA,
    NOVA,
    NOVA_2,
    TITAN,
    job,
    model,
)
from workers.providers.bedrock.family import Bedrock

UPSTREAMS = (CLAUDE, CLAUDE, CLAUDE_3, CLAUDE_EFFORT, NOVA, NOVA_2, LLAMA, TITAN)
ROWS = {upstream: model(upstream) for upstream in UPSTREAMS}
FAMILY = Bedrock()
DATA = base64.b64encode(b"\x89PNG\r\n").decode()
TEXTS = ("hi", "日本語 🏔", "a\nb", "x" * 300, '{"a":1}', "", " ", "\n\t", "\u00a0", "\u2028", "\x00")
URLS = (
    f"data:image/png;base64,{DATA}",
    f"data:image/JPG;base64,{DATA}",
    f"data:image/webp;charset=x;base64,{DATA}",
    f"data:image/bmp;base64,{DATA}",
    "data:image/png;base64,***",
    "data:image/png;base64,iVBO",
    "data:image/png;base64,",
    "https://example.com/a.png",
)
FILES: tuple[dict[str, Any], ...] = (
    {"filename": "a.csv", "file_data": f"data:text/csv;base64,{DATA}"},
    {"filename": "ä ö  [1].pdf", "file_data": DATA},
    {"filename": "...", "file_data": DATA},
    {"file_data": f"data:application/pdf;base64,{DATA}"},
    {"filename": "n" * 300 + ".txt", "file_data": "aGk="},
    {"filename": "x.json", "file_data": DATA},
    {"filename": "x.txt", "file_data": DATA},
    {"file_id": "file-1"},
    {"file_data": "data:application/pdf;base64,=="},
)
NAMES = ("f", "get_weather", "G-2", "n" * 64, "a.b", "", "日本", "n" * 65)
IDS = ("call_1", "toolu_01A", "a.b:c-d", "x" * 64, "x" * 65, "with space", "日本", "call_1")
SCHEMAS: tuple[Any, ...] = (
    {"type": "object", "properties": {"a": {"type": ["string", "null"]}}, "required": ["a"]},
    {"properties": {"n": {"const": 1.5}}},
    {},
    None,
    {"type": "array"},
    [],
    "x",
)
MARKS: tuple[Any, ...] = (
    {"type": "ephemeral"},
    {"type": "ephemeral", "ttl": "1h"},
    {"type": "ephemeral", "ttl": "2h"},
)
WRONG: tuple[Any, ...] = (None, True, -1, 0, 3.5, 10**20, "x", [], {}, [None], {"type": "x"})


class _Bodies:
    """Bodies that are mostly what callers send, and in places anything. The first values of each list are good ones."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)

    def one(self, values, good: int = 0):
        """Any of some values; with `good`, mostly one of so many first."""
        return self.random.choice(values[:good] if good and self.often(0.96) else values)

    def often(self, share: float) -> bool:
        return self.random.random() < share

    def body(self) -> dict[str, Any]:
        body: dict[str, Any] = {"messages": self.messages()}
        if self.often(0.45):
            body["tools"] = [
                self.tool(name) for name in self.random.sample(NAMES[:3], self.random.randint(1, 3))
            ]
            if self.often(0.03):
                body["tools"].append(self.tool(self.one(NAMES)))
        for name, make in self.settings().items():
            if self.often(0.07):
                body[name] = make() if self.often(0.97) else self.one(WRONG)
        if self.often(0.02):
            body[self.one(("messages", "tools", "unknown"))] = self.one(WRONG)
        return body

    def settings(self) -> dict[str, Any]:
        one, random = self.one, self.random
        function = {"type": "function", "function": {"name": one(NAMES, 3)}}
        schema = {"name": one(NAMES, 3), "schema": one(SCHEMAS, 2), "description": one(TEXTS)}
        return {
            "temperature": lambda: random.uniform(-0.1, 2.1),
            "top_p": lambda: random.uniform(0, 1.05),
            "top_k": lambda: random.randint(0, 50),
            "presence_penalty": lambda: one((0, 0.0, 1), 2),
            "stop": lambda: one(("END", ["a", "b"], [], ["User:", "||"], "User:", "\n", "", ["a"] * 5), 5),
            "n": lambda: one((1, 1, 2), 2),
            "max_tokens": lambda: one((1, 100, 4_096, 0), 3),
            "reasoning_effort": lambda: one(
                ("none", "minimal", "low", "medium", "high", "xhigh", "max", "huge"), 7
            ),
            "response_format": lambda: one(
                ({"type": "text"}, {"type": "json_schema", "json_schema": schema}, {"type": "json_object"}), 2
            ),
            "tool_choice": lambda: one(
                (
                    "none",
                    "auto",
                    "required",
                    function,
                    {
                        "type": "allowed_tools",
                        "allowed_tools": {"mode": one(("auto", "required")), "tools": [function]},
                    },
                    {"type": "x"},
                ),
                5,
            ),
            "parallel_tool_calls": lambda: one((True, False)),
            "service_tier": lambda: one(("auto", "default", "flex", "priority", "scale"), 4),
            "metadata": lambda: one(
                ({"a": "b"}, {"é": "x", "y": "é" * 300}, {f"k{k}": "v" for k in range(20)})
            ),
            "cache_control": lambda: one(MARKS, 2),
            "user": lambda: "u",
        }

    def marked(self, value: dict[str, Any]) -> dict[str, Any]:
        return value | {"cache_control": self.one(MARKS, 2)} if self.often(0.05) else value

    def text(self) -> str:
        return self.one(TEXTS, 5)

    def texts(self) -> Any:
        if self.often(0.7):
            return self.text() if self.often(0.9) else self.one(TEXTS)
        return [
            self.marked({"type": "text", "text": self.one(TEXTS)}) for _ in range(self.random.randint(0, 3))
        ]

    def messages(self) -> list[Any]:
        messages: list[Any] = []
        if self.often(0.4):
            messages.append(self.marked({"role": self.one(("system", "developer")), "content": self.texts()}))
        for _ in range(self.random.randint(0, 4)):
            messages += self.one((self.user, self.user, self.assistant, self.tool_turn))()
        if self.often(0.95):
            messages += self.user() if self.often(0.7) else self.tool_turn()
        if self.often(0.02):
            self.random.shuffle(messages)
        return messages

    def user(self) -> list[Any]:
        content = self.texts() if self.often(0.7) else [self.part() for _ in range(self.random.randint(0, 4))]
        return [self.marked({"role": "user", "content": content})]

    def assistant(self) -> list[Any]:
        message = {"role": "assistant", "content": self.texts()}
        return [message | {"refusal": "no"} if self.often(0.1) else message]

    def part(self) -> Any:
        image = {"type": "image_url", "image_url": {"url": self.one(URLS, 3), "detail": "low"}}
        file = {"type": "file", "file": self.one(FILES, 4)}
        text = {"type": "text", "text": self.one(TEXTS)}
        audio = {"type": "input_audio", "input_audio": {"data": DATA, "format": "wav"}}
        return self.marked(self.one((text, text, image, file, audio), 4))

    def tool(self, name: str) -> dict[str, Any]:
        function: dict[str, Any] = {"name": name, "parameters": self.one(SCHEMAS, 4)}
        if self.often(0.5):
            function["description"] = self.one(TEXTS)
        if self.often(0.2):
            function["strict"] = self.one((True, False, None))
        return self.marked({"type": "function" if self.often(0.99) else "custom", "function": function})

    def tool_turn(self) -> list[Any]:
        ids = self.random.sample(IDS[:7], self.random.randint(1, 3)) if self.often(0.98) else list(IDS[::7])
        arguments = ("{}", "", '{"a":1}', ' {"n":1.0000000000000000001e5} ', "[]", "{", '{"a":"\\ud800"}')
        calls = [
            {
                "id": call_id,
                "type": "function",
                "function": {"name": self.one(NAMES, 3), "arguments": self.one(arguments, 4)},
            }
            for call_id in ids
        ]
        results = [{"role": "tool", "tool_call_id": call_id, "content": self.texts()} for call_id in ids]
        self.random.shuffle(results)
        if self.often(0.03):
            results = results[1:]
        return [
            {"role": "assistant", "content": self.one((None, "", "I look.")), "tool_calls": calls},
            *results,
        ]


_sent: dict[str, int] = dict.fromkeys(UPSTREAMS, 0)


@given(st.integers(0, 2**64 - 1))
def _check_one(seed):
    bodies = _Bodies(seed)
    upstream = bodies.one(UPSTREAMS)
    row = ROWS[upstream]
    limit = bodies.one((1, 1_000, 8_192, 8_192))
    asked = structs.replace(job(upstream, stream=bodies.often(0.5), **bodies.body()), limit=limit)
    refused = refuse(row, CHAT, asked.body)
    if refused is not None:
        assert refused.status == 400
        return
    built = json.loads(FAMILY.open(asked, row, {})[0]._body)
    if upstream == TITAN:
        check_titan(upstream, built)
    else:
        check("ConverseStream" if asked.stream else "Converse", upstream, built)
    _sent[upstream] += 1


@pytest.mark.parametrize("count", [500, pytest.param(10_000, marks=pytest.mark.long)])
def test_every_body_is_refused_or_valid_for_the_service_model(count):
    """Each body is a 400 before any money moves, or a request that AWS takes; and every model gets many of both."""
    _sent.update(dict.fromkeys(UPSTREAMS, 0))
    settings(max_examples=count, deadline=None, derandomize=True, database=None)(_check_one)()
    assert min(_sent.values()) > count // 200, _sent
