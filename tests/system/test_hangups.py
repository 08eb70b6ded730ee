"""Owns callers who leave: the upstream is closed at once, and they pay by the estimation rule, never above the hold."""

import asyncio
import time

import pytest

from tests.fakes.caller import body, call, session, until
from tests.fakes.estimated import asked_tokens, output_tokens

pytestmark = pytest.mark.system

WORDS = 400
PACE_S = 0.02
CLOSED_WITHIN_S = 1.0
TEXT = "The ferry leaves a little after seven. " * 10
UPSTREAM = "gpt-4o"  # as estimates know it
IN_NANO, OUT_NANO = 1_500, 6_000  # 2.50 and 10.00 at rate 0.60, a token


def content(words: int) -> str:
    return "".join(f"w{index} " for index in range(words))


async def hang_up(tokn, upstream, client, *, key: str, k: int, turn: int) -> tuple[str, int, int, int]:
    """Leaves a stream after k chunks: request id, prompt's tokens, chunks read, chunks sent when it was closed."""
    tag = f"leave-{k}-{turn}"
    request = body(tag, text=TEXT, words=WORDS, pace_s=PACE_S) | {"max_completion_tokens": 4_000}
    seen = await call(client, tokn.url, key, request, leave=lambda seen: seen.words >= k)
    left_at = time.monotonic()
    (only,) = upstream.named(tag)
    await until(lambda: only.closed_at, CLOSED_WITHIN_S + 1, f"the upstream of {tag} is closed")
    assert only.closed_at - left_at < CLOSED_WITHIN_S
    assert not only.finished
    return seen.request_id, asked_tokens(request, UPSTREAM), seen.words, only.chunks


@pytest.mark.parametrize("turns", [2, pytest.param(50, marks=pytest.mark.long)])
async def test_callers_who_hang_up(tokn, upstream, turns):
    """After k = 0 to 20 chunks: closed within 1 s, estimated, billed for at least what was read, at most the hold."""
    key = tokn.row("key", "create", "--name", "leavers", "--balance", "50")
    left: dict[str, tuple[int, int]] = {}
    prompts: dict[str, int] = {}
    async with session() as client:
        for k in range(21):
            outcomes = await asyncio.gather(
                *(hang_up(tokn, upstream, client, key=key["key"], k=k, turn=turn) for turn in range(turns))
            )
            left |= {request_id: (read, sent) for request_id, _, read, sent in outcomes}
            prompts |= {request_id: count for request_id, count, _, _ in outcomes}
    assert len(left) == 21 * turns
    await asyncio.to_thread(tokn.settled, key["id"])
    rows = {
        row["request_id"]: row
        for row in tokn.rows("usage", "--key", key["id"], "--limit", str(21 * turns + 1))
    }
    assert rows.keys() == left.keys()
    for request_id, (read, sent) in left.items():
        row = rows[request_id]
        assert row["outcome"] == "cancelled"
        assert row["known"] == "estimated"
        assert row["prompt_tokens"] == prompts[request_id]
        least, most = (output_tokens(content(words), UPSTREAM) for words in (read, sent))
        assert least <= row["completion_tokens"] <= most
        assert row["billed_nano"] == row["prompt_tokens"] * IN_NANO + row["completion_tokens"] * OUT_NANO
    spent = 50_000_000_000 - tokn.balance(key["id"])["posted_nano"]
    assert spent == sum(row["billed_nano"] for row in rows.values())
    assert tokn.audit()["ok"] is True


async def test_leaving_a_plain_call(tokn, upstream):
    """A caller who leaves a plain call before its answer closes the upstream, and pays its prompt and one token."""
    key = tokn.row("key", "create", "--name", "plain-leaver", "--balance", "5")
    request = body("leave-plain", stream=False, text=TEXT, pace_s=20)
    async with session() as client:
        task = asyncio.create_task(call(client, tokn.url, key["key"], request))
        (only,) = await until(lambda: upstream.named("leave-plain"), 20, "the upstream has the call")
        task.cancel()
        left_at = time.monotonic()
        await asyncio.gather(task, return_exceptions=True)
    await until(lambda: only.closed_at, CLOSED_WITHIN_S + 1, "the upstream is closed")
    assert only.closed_at - left_at < CLOSED_WITHIN_S
    await asyncio.to_thread(tokn.settled, key["id"])
    (row,) = tokn.rows("usage", "--key", key["id"])
    assert (row["outcome"], row["known"]) == ("cancelled", "estimated")
    assert row["prompt_tokens"] == asked_tokens(request, UPSTREAM)
    assert row["completion_tokens"] in {0, 1}
    assert row["billed_nano"] == row["prompt_tokens"] * IN_NANO + row["completion_tokens"] * OUT_NANO
