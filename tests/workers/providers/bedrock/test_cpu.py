import time

import pytest
from msgspec import json, structs

from schemas.catalogue.builtin import BUILTIN
from tests.fakes import bedrock as fake
from tests.workers.providers.bedrock.cases import CLAUDE, job, model
from workers.providers.bedrock.family import Bedrock
from workers.providers.openai.family import OpenAI

CHUNKS = 50
ROUNDS, REPEATS = 40, 7


def cpu_us(family, row, asked, reads) -> float:
    """CPU of one stream in microseconds: the best of a few rounds, so that neighbours do not count."""
    best = float("inf")
    for _ in range(REPEATS):
        start = time.process_time()
        for _ in range(ROUNDS):
            made = family.open(asked, row, {})[0]
            for data in reads:
                made.feed(data)
            made.close()
            assert made.finished
        best = min(best, time.process_time() - start)
    return best / ROUNDS * 1e6


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
    bedrock = cpu_us(Bedrock(), model(CLAUDE), job(CLAUDE), reads)
    plain = next(row for row in BUILTIN if row.provider == "openai")
    openai = cpu_us(OpenAI(), plain, structs.replace(job(), model=plain.id), openai_reads())
    assert bedrock <= 2 * openai
