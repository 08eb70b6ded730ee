"""Whatever a caller sends: it is refused with a 400, or what goes to Gemini satisfies the API's types and rules."""

import base64
import json
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.chat.refusals import refuse
from schemas.chat.request import CHAT
from tests.fakes.gemini_rules import check
from tests.workers.providers.gemini.cases import ACCOUNT, job, model
from workers.providers.gemini.family import Gemini

ROWS = tuple(
    model(name)
    for name in (
        "gemini-1.5-pro",
        "gemini-2.5-flash",
        "gemini-2.5-pro",
        "gemini-3-flash-preview",
        "gemini-3.8-flash",
    )
)
TEXTS = (
    "",
    " ",
    "hi",
    "日本語 🏔",
    "\n",
    "\x00",
    '{"a":1}',
    '{"$ref":"#/x","b":[]}',
    "[1]",
    "{broken",
    "x" * 300,
)
NAMES = ("f", "g", "get_weather", "1st", "-x", "a.b", "", "n" * 64, "n" * 65, "日本")
DATA = base64.b64encode(b"\x89PNG\r\n").decode()
URLS = (
    f"data:image/png;base64,{DATA}",
    f"data:image/jpg;base64,{DATA}",
    f"data:image/bmp;base64,{DATA}",
    "data:image/png;base64,***",
    "data:image/png;base64,",
    "data:,hi",
    "https://example.com/a.png",
    "",
)
SCHEMAS: tuple[Any, ...] = (
    {},
    {"type": "object"},
    {"type": "object", "properties": {"a": {"type": ["string", "null"], "const": "x"}}, "required": ["a"]},
    {"$defs": {"x": {"type": "integer"}}, "type": "object", "properties": {"a": {"$ref": "#/$defs/x"}}},
    {"type": "array"},
    None,
    [],
    "x",
)
WRONG: tuple[Any, ...] = (None, True, -1, 0, 3.5, 10**20, "x", [], {}, [None], {"type": "x"})


class _Bodies:
    """Bodies that are mostly what callers send, and in places anything."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)

    def _one(self, values):
        return self.random.choice(values)

    def _often(self, share=0.85):
        return self.random.random() < share

    def _body(self) -> dict[str, Any]:
        body: dict[str, Any] = {"model": "M", "messages": self._messages()}
        for name, make in self._fields().items():
            if self._often(0.05):
                body[name] = make() if self._often(0.97) else self._one(WRONG)
        if self._often(0.4):
            body["tools"] = self._tools()
        if self._often(0.02):
            body[self._one(("messages", "tools", "unknown_field"))] = self._one(WRONG)
        return body

    def _fields(self) -> dict[str, Any]:
        one, random = self._one, self.random
        return {
            "temperature": lambda: random.uniform(-0.2, 2.2),
            "top_p": lambda: random.uniform(0, 1.1),
            "top_k": lambda: random.randint(0, 50),
            "presence_penalty": lambda: one((0, 0.0, 1, -2, 3)),
            "frequency_penalty": lambda: one((0, 1.5, -3)),
            "seed": lambda: one((0, -1, 42, 2**40, -(2**70))),
            "stop": lambda: one(("\n", "", "END", ["a"], ["a", "b", "c", "d", "e", "f"], ["", "x"], [])),
            "n": lambda: one((1, 1, 1, 2, 8, 9)),
            "max_tokens": lambda: one((0, 1, 100, 10**9)),
            "max_completion_tokens": lambda: one((1, 4096)),
            "logprobs": lambda: one((True, False)),
            "top_logprobs": lambda: one((0, 3, 20, 21)),
            "logit_bias": lambda: one(({}, {}, {"1": 5})),
            "reasoning_effort": lambda: one(
                ("none", "minimal", "low", "medium", "high", "xhigh", "max", "huge")
            ),
            "response_format": self._response_format,
            "tool_choice": self._tool_choice,
            "parallel_tool_calls": lambda: one((True, False)),
            "service_tier": lambda: one(("auto", "default", "auto", "flex")),
            "modalities": lambda: ["text"] if self._often() else ["text", "audio"],
            "stream": lambda: one((True, False)),
            "stream_options": lambda: one(({"include_usage": True}, {})),
            "user": lambda: "u",
            "metadata": lambda: {"a": "b"},
            "store": lambda: True,
        }

    def _messages(self) -> list[Any]:
        messages: list[Any] = []
        if self._often(0.4):
            messages.append({"role": self._one(("system", "developer")), "content": self._text_content()})
        for _ in range(self.random.randint(0, 4)):
            messages += self._one((self._user, self._assistant, self._tool_turn))()
        if self._often(0.97):
            messages += self._user() if self._often(0.7) else self._tool_turn()
        if self._often(0.02):
            self.random.shuffle(messages)
        return messages

    def _user(self) -> list[Any]:
        content = (
            self._one(TEXTS) if self._often(0.6) else [self._part() for _ in range(self.random.randint(0, 3))]
        )
        return [{"role": "user", "content": content}]

    def _assistant(self) -> list[Any]:
        message: dict[str, Any] = {"role": "assistant", "content": self._text_content()}
        if self._often(0.1):
            message["refusal"] = "no"
        return [message]

    def _tool_turn(self) -> list[Any]:
        ids = [f"call_{k}" for k in self.random.sample(range(50), self.random.randint(1, 3))]
        calls = [
            {
                "id": call_id,
                "type": "function" if self._often(0.99) else "custom",
                "function": {
                    "name": self._one(NAMES[:3] if self._often(0.98) else NAMES),
                    "arguments": self._arguments(),
                },
            }
            for call_id in ids
        ]
        results = [
            {"role": "tool", "tool_call_id": call_id, "content": self._text_content()} for call_id in ids
        ]
        self.random.shuffle(results)
        if self._often(0.04):
            results = results[1:]
        content = self._one((None, "", "Let me look."))
        return [{"role": "assistant", "content": content, "tool_calls": calls}, *results]

    def _arguments(self) -> str:
        return self._one(("{}", "", '{"a":1}', '{"a":"é"}')) if self._often(0.96) else self._one(TEXTS)

    def _text_content(self) -> Any:
        if self._often(0.7):
            return self._one(TEXTS)
        return [{"type": "text", "text": self._one(TEXTS)} for _ in range(self.random.randint(0, 2))]

    def _part(self) -> Any:
        good, one = self._often(0.93), self._one
        if not good and self._often(0.3):
            return one(({"type": "file", "file": {"file_id": "file-1"}}, {"type": "video", "video": 1}))
        audio = {"data": DATA if good else one(("", "*")), "format": one(("wav", "mp3")) if good else "ogg"}
        file = one((DATA, f"data:application/pdf;base64,{DATA}")) if good else one(URLS)
        return one(
            (
                {"type": "text", "text": one(TEXTS)},
                {
                    "type": "image_url",
                    "image_url": {"url": one(URLS[:2]) if good else one(URLS), "detail": "high"},
                },
                {"type": "input_audio", "input_audio": audio},
                {"type": "file", "file": {"file_data": file}},
            )
        )

    def _tools(self) -> list[Any]:
        tools = []
        for name in self.random.sample(NAMES[:3] if self._often(0.95) else NAMES, self.random.randint(1, 3)):
            function = {"name": name, "parameters": self._one(SCHEMAS[:4] if self._often(0.95) else SCHEMAS)}
            if self._often(0.5):
                function["description"] = self._one(TEXTS)
            tools.append({"type": "function" if self._often(0.98) else "custom", "function": function})
        return tools

    def _tool_choice(self) -> Any:
        function = {"type": "function", "function": {"name": self._one(NAMES[:3])}}
        allowed = {"mode": self._one(("auto", "required")), "tools": [function]}
        return self._one(
            ("none", "auto", "required", function, {"type": "allowed_tools", "allowed_tools": allowed})
        )

    def _response_format(self) -> Any:
        schema = {"name": self._one(NAMES[:3]), "schema": self._one(SCHEMAS), "strict": True}
        return self._one(
            ({"type": "text"}, {"type": "json_object"}, {"type": "json_schema", "json_schema": schema})
        )


@given(st.integers(0, 2**64 - 1))
def _check_one(seed):
    bodies = _Bodies(seed)
    body, row = bodies._body(), bodies._one(ROWS)
    raw = json.dumps(body).encode()
    refused = refuse(row, CHAT, raw)
    if refused is not None:
        assert refused.status == 400
        return
    (made,) = Gemini().open(job(body), row, {})
    check(made.request(ACCOUNT).body, row.capabilities)


@pytest.mark.parametrize("count", [500, pytest.param(10_000, marks=pytest.mark.long)])
def test_every_body_is_refused_or_valid_for_the_api(count):
    """A generated body gets a 400 before money, or what the worker sends is something that the API takes."""
    settings(max_examples=count, deadline=None, derandomize=True, database=None)(_check_one)()
