"""Owns upstreams that lie, babble or break the protocol: callers get an error of ours, and never pay above the hold."""

import asyncio

import httpx
import pytest

from tests.fakes.books import balance, opened
from tests.fakes.caller import body, call, session, until
from tests.fakes.tokn import StartedTokn, Tokn, memory_bytes, wait_for
from tests.fakes.upstream import pool_of_one, pool_toml

pytestmark = pytest.mark.system

LIMIT = 100
MEMORY_GROWTH_MAX_BYTES = 96 * 1024 * 1024
LINE_OF_A_MIB = "x" * (1024 * 1024)


LIES = {
    "above-the-hold": {"prompt_tokens": 10**9, "completion_tokens": 10**9, "total_tokens": 2 * 10**9},
    "negative": {"prompt_tokens": -5_000, "completion_tokens": -5_000, "total_tokens": -10_000},
    "huge": {"prompt_tokens": 2**70, "completion_tokens": 1, "total_tokens": 2**70 + 1},
    "text": {"prompt_tokens": "seven", "completion_tokens": None},
    "cached-above-prompt": {
        "prompt_tokens": 5,
        "completion_tokens": 5,
        "total_tokens": 10,
        "prompt_tokens_details": {"cached_tokens": 50},
    },
    "empty": {},
}


async def test_usage_that_lies(tokn, upstream):
    """Whatever an upstream reports, a call costs at most its hold, a lie our estimate, nobody sees it, the books balance."""
    key_id = tokn.key_id()
    async with session() as client:
        with opened(tokn.data) as books:
            for name, usage in LIES.items():
                for stream in (False, True):
                    before_nano, _ = balance(books, key_id)
                    request = body(name, stream=stream, gate=True, usage=usage) | {
                        "max_completion_tokens": LIMIT
                    }
                    task = asyncio.create_task(call(client, tokn.url, tokn.key, request))
                    await until(lambda: upstream.waiting == 1, 20, "the call waits at the gate")
                    _, hold_nano = balance(books, key_id)
                    upstream.open_gate()
                    seen = await task
                    assert seen.status in {200, 502}, seen
                    await until(lambda: balance(books, key_id)[1] == 0, 20, "the call is settled")
                    spent_nano = before_nano - balance(books, key_id)[0]
                    assert 0 <= spent_nano <= hold_nano, (name, stream)
                    if name == "above-the-hold":
                        assert 0 < spent_nano < hold_nano
                        assert str(10**9) not in repr((seen.chunks, seen.body))
                    if seen.complete:
                        assert spent_nano > 0, (name, stream)
    await asyncio.to_thread(wait_for, lambda: misreported(tokn) == 2, 20, "the account is noted")
    audit = await asyncio.to_thread(tokn.audit)
    assert audit["ok"] is True, audit


def misreported(tokn: Tokn) -> int:
    """How many answers of the first pool said to have used more than was granted."""
    return sum(account["misreported"] for pool in tokn.rows("pools") for account in pool["accounts"])


BROKEN = {
    "html": {"raw": "<html>busy</html>", "content_type": "text/html"},
    "empty-object": {"raw": "{}"},
    "cut-json": {"raw": '{"id": "x", "choices": ['},
    "array": {"raw": "[1, 2]"},
    "redirect": {"raw": "see there", "status": 302, "location": "http://127.0.0.1:9/elsewhere"},
    "teapot": {"raw": "short and stout", "status": 418},
    "nothing-streamed": {"raw": "\n\n", "content_type": "text/event-stream"},
    "nonsense-streamed": {"raw": "data: {nonsense\n\n", "content_type": "text/event-stream"},
    "error-first": {
        "raw": 'data: {"error": {"message": "sk-secret-1234567890abcdef is over", "type": "x"}}\n\n',
        "content_type": "text/event-stream",
    },
}


@pytest.fixture(scope="module")
def tokn(upstream, tmp_path_factory):
    """A deployment with a pool of its own for each case: a failing account is left alone for a while."""
    names = [*BROKEN, "endless-line"]
    config = pool_toml(upstream.base_url) + "".join(pool_of_one(name, upstream.base_url) for name in names)
    with StartedTokn(tmp_path_factory.mktemp("hostile") / "data", config) as running:
        yield running


def ask(tokn: Tokn, name: str, **script) -> httpx.Response:
    """The answer to a call of the pool of this name."""
    stream = script.get("content_type") == "text/event-stream"
    return httpx.post(
        f"{tokn.url}/v1/chat/completions",
        json=body(name, stream=stream, **script) | {"model": name},
        headers={"Authorization": f"Bearer {tokn.key}"},
        timeout=60,
    )


@pytest.mark.parametrize("name", BROKEN)
def test_answers_that_are_none(tokn, name):
    """What is no answer is a 502 (400 where the upstream blames the request), in our words, and costs nothing."""
    key_id = tokn.key_id()
    with opened(tokn.data) as books:
        before = balance(books, key_id)
        answer = ask(tokn, name, **BROKEN[name])
        assert answer.status_code in ({400, 502} if name == "teapot" else {502}), answer.text
        wait_for(lambda: balance(books, key_id) == before, 20, "the call has cost nothing")
    assert answer.json()["error"].keys() == {"message", "type", "param", "code"}
    assert "sk-secret" not in answer.text
    assert "elsewhere" not in answer.text


def test_an_endless_line_is_cut(tokn):
    """A line of 300 MB in a stream ends the call with an error, without growing the gateway's memory by it."""
    before = memory_bytes(tokn.tree())
    answer = ask(tokn, "endless-line", raw=LINE_OF_A_MIB, times=300, content_type="text/event-stream")
    assert answer.status_code == 502, answer.text[:500]
    assert memory_bytes(tokn.tree()) - before < MEMORY_GROWTH_MAX_BYTES
    assert tokn.audit()["ok"] is True
