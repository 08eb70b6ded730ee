"""Ten thousand hostile bodies through the whole app in process: no 5xx, every answer in OpenAI's shape."""

import asyncio
import json
import random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.catalogue.builtin import BUILTIN
from tests.fakes.apps import App, Books, openai_error

BODIES = 10_000
PATHS = ("/v1/chat/completions", "/v1/completions", "/v1/responses")
PER_EXAMPLE = 50  # drawing pieces is dear, putting them together is not
MODELS = [model.id for model in BUILTIN]

numbers = st.one_of(
    st.integers(-(2**70), 2**70), st.floats(), st.sampled_from([0, 1, -1, 2**31, 2**63, 1e308])
)
texts = st.one_of(
    st.text(max_size=8),
    st.sampled_from(["user", "\x00", "\ud7ff", "file", "image_url", "function_call", "auto", *MODELS]),
)
scalars = st.one_of(st.none(), st.booleans(), numbers, texts)
names = st.sampled_from(
    [
        "model",
        "messages",
        "n",
        "best_of",
        "max_tokens",
        "max_completion_tokens",
        "stream",
        "stream_options",
        "prompt",
        "usage",
        "tools",
        "tool_choice",
        "role",
        "content",
        "type",
        "text",
        "image_url",
        "input_audio",
        "file",
        "url",
        "data",
        "file_data",
        "file_id",
        "input_image",
        "output",
        "call_id",
        "arguments",
        "encrypted_content",
        "effort",
        "format",
        "audio",
        "id",
        "function",
        "name",
        "parameters",
        "include",
        "include_usage",
        "service_tier",
        "web_search_options",
        "response_format",
        "stop",
        "temperature",
        "logit_bias",
        "metadata",
    ]
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(names, inner, max_size=5)),
    max_leaves=12,
)
fragments = st.lists(values, min_size=2, max_size=5)
FIELDS = [
    "n",
    "best_of",
    "max_tokens",
    "max_completion_tokens",
    "stream",
    "stream_options",
    "usage",
    "tools",
    "tool_choice",
    "service_tier",
    "response_format",
    "stop",
    "web_search_options",
    "temperature",
    "prompt",
    "instructions",
    "reasoning",
    "text",
    "include",
    "max_output_tokens",
    "previous_response_id",
]


def assemble(rng: random.Random, pieces: list[Any]) -> bytes:
    """A body in which anything may be one of the pieces."""
    content = rng.choice(
        ["hi", rng.choice(pieces), pieces, [{"type": "text", "text": "hi"}, rng.choice(pieces)]]
    )
    message = {"role": "user", "content": content} | (
        {"audio": rng.choice(pieces)} if rng.random() < 0.1 else {}
    )
    body = {
        "model": rng.choice([*MODELS, rng.choice(pieces)]),
        "messages": rng.choice([[message], [message, rng.choice(pieces)], rng.choice(pieces)]),
        "input": rng.choice(["hi", [message], pieces, rng.choice(pieces)]),
    }
    for name in rng.sample(FIELDS, rng.choice([0, 0, 1, 2, 5])):
        body[name] = rng.choice([1, True, "auto", None, rng.choice(pieces)])
    return json.dumps(body, ensure_ascii=rng.random() < 0.5).encode("utf-8", "surrogatepass")


def damage(rng: random.Random, body: bytes) -> bytes:
    """A body cut, doubled, or with bytes changed."""
    kind = rng.randrange(6)
    if not body or kind == 0:
        return body
    if kind == 1:
        return body[: rng.randrange(len(body))]
    if kind == 2:
        return body.replace(b"{", b'{"model":"gpt-4o",', 1)
    if kind == 3:
        return body[:-1] + b',"pad":' + b"[" * 20_000
    changed = bytearray(body)
    for _ in range(3):
        changed[rng.randrange(len(changed))] = rng.choice(b'\x00\xff{}[]",:\\u0e-9')
    return bytes(changed)


@pytest.mark.timeout(280)
def test_hostile_bodies() -> None:
    """No generated body, whole or damaged, gets a 5xx, harms the app, or is answered outside OpenAI's error shape."""
    loop = asyncio.new_event_loop()

    async def build() -> App:
        return App(Books())

    app = loop.run_until_complete(build())
    seen = 0
    statuses: dict[int, int] = {}

    @settings(
        max_examples=BODIES // PER_EXAMPLE,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(fragments, st.integers(0, 2**32))
    def run(pieces: list[Any], seed: int) -> None:
        nonlocal seen
        rng = random.Random(seed)
        for _ in range(PER_EXAMPLE):
            data = assemble(rng, pieces)
            if rng.random() < 0.3:
                data = damage(rng, data)
            path = rng.choice(PATHS)
            status, answer = loop.run_until_complete(app.post(path, data))
            statuses[status] = statuses.get(status, 0) + 1
            seen += 1
            assert status in (400, 402, 404), (status, data, answer)
            assert openai_error(answer)

    run()
    loop.close()
    assert seen >= BODIES
    assert len(statuses) == 3, statuses
    assert app.budget.used == 0
    assert app.books.authorised > 100, "the generator must reach the ledger, too"
