import time

import pytest
from msgspec import json, structs

from schemas.catalogue.builtin import BUILTIN
from tests.fakes import bedrock as fake
from tests.fakes import costs
from tests.workers.providers.bedrock.cases import CLAUDE, job, model
from workers.providers.bedrock.family import Bedrock
from workers.providers.openai.family import OpenAI

CHUNKS = 50
ROUNDS, STREAMS = 8, 20  # rounds of four times so many streams


def cpu_s(family, row, asked, reads) -> float:
    """CPU seconds of some streams one after another."""
    start = time.process_time()
    for _ in range(STREAMS):
        made = family.open(asked, row, {})[0]
        for data in reads:
            made.feed(data)
        made.close()
        assert made.finished
    return time.process_time() - start


def openai_reads() -> list[bytes]:
    head = {
        "id": "chatcmpl-x",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "gpt",
        "usage": None,
    }
    deltas = [{"role": "assistant", "content": ""}, *[{"content": "hello wor"}] * CHUNKS]
    bodies = [head | {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    bodies.append(head | {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    usage = {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8}
    bodies.append(head | {"choices": [], "usage": usage})
    return [b"data: " + json.encode(body) + b"\n\n" for body in bodies] + [b"data: [DONE]\n\n"]


@pytest.mark.alone
def test_a_stream_costs_at_most_twice_the_pass_through():
    """CPU of 50 chunks through `feed`, each in a read of its own, beside the family that only passes on."""
    reads = fake.stream_of(fake.answer("hello wor" * CHUNKS), pieces=CHUNKS)
    plain = next(row for row in BUILTIN if row.provider == "openai")
    theirs, passed = structs.replace(job(), model=plain.id), openai_reads()
    found = costs.ratio(
        lambda: cpu_s(Bedrock(), model(CLAUDE), job(CLAUDE), reads),
        lambda: cpu_s(OpenAI(), plain, theirs, passed),
        ROUNDS,
    )
    assert found <= 2, f"{found:.2f}"
