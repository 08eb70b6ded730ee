"""Owns callers of all dialects who leave at the awkward moments: before any header, and while the usage is on its way."""

import asyncio
import random

import pytest

from tests.fakes.books import opened, unexplained
from tests.fakes.caller import Seen, call, session, until
from tests.fakes.estimated import output_tokens
from tests.fakes.spoken import CHAT, COMPLETIONS
from tests.fakes.tokn import Tokn
from tests.fakes.ways import SPEAKING, WAYS, ways_toml

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(600)]

IN_NANO, OUT_NANO = 1_500, 6_000
WORDS = 20
PROMPT = 9
rounds = pytest.mark.parametrize("turns", [20, pytest.param(50 * 21, marks=pytest.mark.long)])
AT_ONCE = 10
BEFORE_USAGE = ("response.output_item.done", "content_block_stop")  # the events before the last


@pytest.fixture(scope="module")
def tokn(upstream, tmp_path_factory):
    """`tokn up` that is called in every way."""
    with Tokn(tmp_path_factory.mktemp("hangups") / "data", ways_toml(upstream.base_url)) as running:
        yield running
        assert running.stop()[0] == 0
        assert not running.orphans()


def bills(tokn: Tokn, key_id: str) -> dict[str, tuple[str, str, int, int]]:
    """Outcome, how it is known, billed and held, by request id: of every hold of a key."""
    with opened(tokn.data) as books:
        rows = books.execute(
            "SELECT h.request_id, h.state, COALESCE(u.known, ''), COALESCE(u.billed_nano, 0), h.amount_nano "
            "FROM holds h LEFT JOIN usage u ON u.request_id = h.request_id AND u.slot = 0 WHERE h.key_id = ?",
            (key_id,),
        ).fetchall()
    return {row[0]: tuple(row[1:]) for row in rows}


async def closed(tokn: Tokn, key_id: str) -> None:
    """Every hold has ended and the audit passes: nobody's money is left behind."""
    await asyncio.to_thread(tokn.settled, key_id, 40)
    proof = await asyncio.to_thread(tokn.audit)
    assert proof["ok"], proof["findings"]


@rounds
async def test_before_headers(tokn, upstream, turns):
    """Leaving up to half a second after the request, before anything came back: the hold ends, and what went upstream is paid for."""
    key = tokn.row("key", "create", "--name", "early", "--balance", "1000")
    dice = random.Random(turns)
    waits = [dice.choice([0.0, 0.005, 0.02, 0.1, 0.5]) for _ in range(turns)]

    async def leave(client, number: int) -> None:
        # The upstream waits at a gate that nobody opens, so that no header can have come.
        way, stream = WAYS[number % len(WAYS)], bool(number // len(WAYS) % 2)
        request = way.ask(f"early-{turns}-{number}", stream=stream, limit=50, gate=True, words=2)
        task = asyncio.create_task(call(client, tokn.url, key["key"], request, path=way.path))
        await asyncio.sleep(waits[number])
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async with session() as client:
        for first in range(0, turns, AT_ONCE):
            await asyncio.gather(
                *(leave(client, number) for number in range(first, min(first + AT_ONCE, turns)))
            )
    await closed(tokn, key["id"])
    calls = [one for one in upstream.calls if one.script.tag.startswith(f"early-{turns}-")]
    assert calls
    await until(lambda: all(one.closed_at or one.finished for one in calls), 20, "every upstream is closed")
    found = bills(tokn, key["id"])
    assert {state for state, *_ in found.values()} <= {"settled", "released", "estimated"}, found
    paid = [row for row in found.values() if row[2] > 0]
    # Never free: each call that reached the upstream is paid for, by the estimation rule, within its hold.
    assert len(paid) >= len(calls)
    assert all(known == "estimated" and billed <= held for _, known, billed, held in paid)


@rounds
async def test_during_the_usage_frame(tokn, upstream, turns):
    """Leaving at the chunk before the usage: billed in full as reported, or by what was sent; never free, never twice."""
    key = tokn.row("key", "create", "--name", "late", "--balance", "1000")
    left: dict[str, str] = {}

    def over(seen: Seen) -> bool:
        last = seen.chunks[-1] if seen.chunks else {}
        choices = last.get("choices")
        return last.get("type") in BEFORE_USAGE or bool(choices and choices[0].get("finish_reason"))

    async def leave(client, number: int) -> None:
        tag = f"late-{turns}-{number}"
        way = SPEAKING[number % len(SPEAKING)]
        request = way.ask(tag, stream=True, limit=50, words=WORDS, prompt=PROMPT)
        if way.dialect in (CHAT, COMPLETIONS):
            request |= {"stream_options": {"include_usage": True}}
        seen = await call(client, tokn.url, key["key"], request, path=way.path, leave=over)
        assert not seen.done
        left[seen.request_id] = tag

    async with session() as client:
        for first in range(0, turns, AT_ONCE):
            await asyncio.gather(
                *(leave(client, number) for number in range(first, min(first + AT_ONCE, turns)))
            )
    await closed(tokn, key["id"])
    found = bills(tokn, key["id"])
    assert found.keys() == left.keys()
    content = output_tokens("".join(f"w{index} " for index in range(WORDS)), "gpt-4o")
    for request_id, (state, known, billed, held) in found.items():
        assert state in {"settled", "estimated"}
        if known == "reported":
            assert billed == PROMPT * IN_NANO + WORDS * OUT_NANO, request_id
        else:
            assert content * OUT_NANO < billed <= held, request_id
    assert not unexplained(
        tokn.data, {request_id: len(upstream.named(tag)) for request_id, tag in left.items()}
    )
    spent = 1_000_000_000_000 - tokn.balance(key["id"])["posted_nano"]
    assert spent == sum(billed for _, _, billed, _ in found.values())
