"""Owns what was granted against what is sent, given and billed: on both databases, with upstreams that give all they are let."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.fakes import anthropic, bedrock, gemini, openai
from tests.fakes.caller import call, session, until
from tests.fakes.postgres import PostgresServer
from tests.fakes.talkative import Talkative, talkative
from tests.fakes.tokn import Tokn
from tests.fakes.upstream import API_KEY, SCRIPTED, Upstream

pytestmark = pytest.mark.system

MAX_OUTPUT, SANDBOX_MAX_OUTPUT = 100, 10  # of the rows: far below what the upstreams give of themselves
IN_NANO, OUT_NANO = 1_000, 100_000  # a token
DEAR_MAX_OUTPUT, DEAR_LEAST = 128_000, 4_096  # of the row, and of what a call without a limit is granted
PROMPTS, WORDS = 100, 3_000  # of a batch: each fits a context of 4,096, and no two do
MODELS = {  # by the id of a row: its pool and its upstream
    "openai": ("openai", "talker"),
    "openai-chat": ("openai", "talker"),
    "anthropic": ("anthropic", "claude-sonnet-4-5"),
    "gemini": ("gemini", "gemini-1.5-pro-latest"),
    "bedrock": ("bedrock", "global.anthropic.claude-opus-4-6-v1"),
    "titan": ("bedrock", "amazon.titan-text-express-v1"),
    "sandbox": ("sandbox", "tokn-sandbox"),
}
CHOICES = {"openai": 3, "openai-chat": 3, "gemini": 3, "sandbox": 3}  # the most that is tried
ASKED = {
    "none": {},
    "max_tokens": {"max_tokens": 5_000},
    "max_completion_tokens": {"max_completion_tokens": 5_000},
    "both": {"max_tokens": 7, "max_completion_tokens": 5_000},
}
STREAM = {"stream": True, "stream_options": {"include_usage": True}}


def config(told: Talkative, scripted: Upstream) -> str:
    """A pool for each family, and rows that are stingier than their upstreams; a dear model whose upstream is scripted."""
    keys = {"openai": openai.API_KEY, "anthropic": anthropic.API_KEY, "gemini": gemini.API_KEY}
    accounts = {
        "openai": told.openai.account,
        "anthropic": f'api_key = "{keys["anthropic"]}"\nbase_url = "{told.anthropic.base_url}"\n',
        "gemini": f'api_key = "{keys["gemini"]}"\nbase_url = "{told.gemini.base_url}"\n',
    }
    text = "".join(
        f'[pools.{name}]\nprovider = "{name}"\nrate = 1\n[[pools.{name}.accounts]]\nid = "main"\n{account}'
        for name, account in accounts.items()
    )
    text += '[pools.bedrock]\nprovider = "bedrock"\nrate = 1\n' + bedrock.account_toml(told.bedrock.base_url)
    text += '[pools.sandbox]\nprovider = "sandbox"\nrate = 1\nwords_per_s = 0\n'
    for name, (pool, upstream) in MODELS.items():
        most = SANDBOX_MAX_OUTPUT if name == "sandbox" else MAX_OUTPUT
        text += f'[[models]]\nid = "{name}"\npool = "{pool}"\nupstream = "{upstream}"\ncontext = 4096\n'
        text += f"max_output = {most}\ninput = 1.00\noutput = 100.00\n"
        if name == "openai":
            text += "[models.capabilities]\ncompletions = true\n"
    return text + (
        f'[pools.dear]\nprovider = "openai"\n{SCRIPTED}[[pools.dear.accounts]]\nid = "main"\napi_key = "{API_KEY}"\n'
        f'base_url = "{scripted.base_url}"\n[[models]]\nid = "dear"\npool = "dear"\ncontext = 400000\n'
        f"max_output = {DEAR_MAX_OUTPUT}\ninput = 10.00\noutput = 50.00\n"
    )


@pytest.fixture(scope="module")
def told() -> Iterator[Talkative]:
    """The upstreams."""
    with talkative() as made:
        yield made


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def tokn(request, told, upstream, tmp_path_factory) -> Iterator[Tokn]:
    """`tokn up` on either database."""
    with ExitStack() as stack:
        url = ""
        if request.param == "postgresql":
            url = stack.enter_context(PostgresServer()).url("postgres")
        folder = tmp_path_factory.mktemp("granted") / "data"
        yield stack.enter_context(Tokn(folder, config(told, upstream), database_url=url))


@pytest.fixture(scope="module")
def key(tokn) -> str:
    """A key with plenty."""
    return str(tokn.row("key", "create", "--balance", "1000")["key"])


class Bill:
    """One call as it was billed."""

    def __init__(self, row: Any) -> None:
        self.prompt, self.output, self.billed_nano, self.uncollected_nano, self.known = row


async def billed(tokn: Tokn, key: str, request: dict[str, Any], path: str) -> Bill:
    """Makes a call that goes well, and reads its bill."""
    async with session() as client:
        seen = await call(client, tokn.url, key, request, path=path)
    assert seen.complete, (seen, seen.body)
    sql = "SELECT input, output, billed_nano, uncollected_nano, known FROM usage WHERE request_id = "
    (row,) = await until(lambda: tokn.read(f"{sql}'{seen.request_id}'"), 10, "the bill")
    usage = (seen.body or seen.chunks[-1])["usage"]
    made = Bill(row)
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == (made.prompt, made.output)
    return made


def complete(bill: Bill, output: int) -> None:
    """So many tokens were given, reported, and paid for to the last one."""
    assert (bill.output, bill.known) == (output, "reported")
    assert bill.billed_nano == bill.prompt * IN_NANO + bill.output * OUT_NANO
    assert bill.uncollected_nano == 0


def granted(model: str) -> int:
    """What a limit of 5,000 is granted as."""
    return SANDBOX_MAX_OUTPUT if model == "sandbox" else MAX_OUTPUT


def chat(model: str, **more: Any) -> dict[str, Any]:
    """A chat request."""
    return {"model": model, "messages": [{"role": "user", "content": "say all you can"}], **more}


@pytest.mark.parametrize("stream", [{}, STREAM], ids=["plain", "stream"])
@pytest.mark.parametrize("asked", ASKED)
@pytest.mark.parametrize("model", MODELS)
async def test_a_chat_gets_what_was_granted(tokn, told, key, *, model, asked, stream):
    """Whatever limit a chat writes, or none: its upstream is asked for the row's, gives that, and is paid for it."""
    told.limits.clear()
    for choices in {1, CHOICES.get(model, 1)}:
        request = chat(model, **ASKED[asked], **stream) | ({"n": choices} if choices > 1 else {})
        complete(await billed(tokn, key, request, "/v1/chat/completions"), choices * granted(model))
    assert set(told.limits) == (set() if model == "sandbox" else {granted(model)})


@pytest.mark.parametrize("stream", [{}, STREAM], ids=["plain", "stream"])
@pytest.mark.parametrize("model", MODELS)
async def test_a_completion_gets_what_was_granted(tokn, told, key, model, stream):
    """The same for prompts and choices of legacy completions; without a limit each has 16 tokens."""
    told.limits.clear()
    for limit, expected in ((5_000, granted(model)), (None, min(16, granted(model)))):
        asked = {} if limit is None else {"max_tokens": limit}
        for choices in {1, CHOICES.get(model, 1)}:
            request = {"model": model, "prompt": ["one", "and two"], **asked, **stream}
            request |= {"n": choices} if choices > 1 else {}
            bill = await billed(tokn, key, request, "/v1/completions")
            complete(bill, 2 * choices * expected)
        assert set(told.limits) <= {expected, granted(model)}


@pytest.mark.parametrize(("n", "best_of", "stream"), [(1, 4, {}), (2, 4, {}), (3, 3, STREAM)])
async def test_best_of_gets_what_was_granted(tokn, told, key, *, n, best_of, stream):
    """Each of the candidates behind `best_of` is granted, and billed, the row's limit, shown or not."""
    told.limits.clear()
    request = {"model": "openai", "prompt": ["one", "two"], "n": n, "best_of": best_of, **stream}
    bill = await billed(tokn, key, request | {"max_tokens": 5_000}, "/v1/completions")
    complete(bill, 2 * best_of * MAX_OUTPUT)
    assert told.limits == [MAX_OUTPUT]


@pytest.mark.parametrize("stream", [{}, STREAM], ids=["plain", "stream"])
@pytest.mark.parametrize("model", MODELS)
async def test_a_batch_is_held_whole(tokn, told, key, model, stream):
    """100 prompts of 3,000 tokens in one call, on a context of 4,096: the hold covers the whole bill."""
    prompts = ["t " * WORDS] * PROMPTS
    request = {"model": model, "prompt": prompts, "max_tokens": 3, **stream}
    bill = await billed(tokn, key, request, "/v1/completions")
    assert bill.prompt >= PROMPTS * WORDS
    complete(bill, PROMPTS * 3)


async def test_ten_calls_without_a_limit_share_five_dollars(tokn, upstream):
    """Ten calls at once of a dear model that set no limit, on a fresh 5 USD: all answer, and each is sent what it was granted."""
    fresh = tokn.row("key", "create", "--balance", "5")
    upstream.calls.clear()
    async with session() as client:
        calls = [
            asyncio.create_task(
                call(client, tokn.url, fresh["key"], chat("dear", x_script={"gate": True}, **stream))
            )
            for stream in [{}, STREAM] * 5
        ]
        try:
            await until(lambda: upstream.waiting == len(calls), 20, "all ten are at their upstream")
        finally:
            upstream.open_gate()
        seen = await asyncio.gather(*calls)
    assert all(one.complete for one in seen), seen
    sent = sorted(json.loads(received.body)["max_tokens"] for received in upstream.calls)
    granted = tokn.read(f"SELECT token_limit, amount_nano FROM holds WHERE key_id = '{fresh['id']}'")
    assert sent == sorted(limit for limit, _ in granted)
    assert DEAR_LEAST <= sent[0] < sent[-1] < DEAR_MAX_OUTPUT
    assert sum(amount for _, amount in granted) <= 5 * 10**9
