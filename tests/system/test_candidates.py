"""Owns calls that several models may serve, over the whole path with the official SDK: who serves, and who pays what."""

import asyncio
import functools
import json
from decimal import Decimal
from typing import Any

import httpx
import openai
import pytest
from msgspec import Struct

from tests.fakes.caller import until
from tests.fakes.tokn import Tokn
from tests.fakes.upstream import API_KEY, SCRIPTED, Upstream, pool_toml

pytestmark = pytest.mark.system

SAY = [{"role": "user", "content": "hello"}]
RATE = Decimal("0.6137")
PROMPT, WORDS = 9, 5
SERVED_NANO = int((PROMPT * Decimal("2.50") + WORDS * Decimal("10.00")) * 1_000 * RATE)
WAYS = [False, True]


def says(status: int, code: str | None, message: str = "no") -> dict[str, Any]:
    """An upstream's error of a shape."""
    error = {"message": message, "type": "x", "param": None, "code": code}
    return {"status": status, "raw": json.dumps({"error": error})}


class Case(Struct, frozen=True):
    """How the first model fails: the script of its upstream, and what it says if it is not let pass."""

    name: str
    script: dict[str, Any]


PASSES = [
    Case("500", says(500, None)),
    Case("503", says(503, None)),
    Case("529", says(529, None)),
    Case("429", says(429, "rate_limit_exceeded")),
    Case("spent", says(429, "insufficient_quota")),
    Case("gone", says(404, "model_not_found")),
    Case("refused", says(401, "invalid_api_key")),
    Case("too-long", says(400, "context_length_exceeded")),
    Case("nonsense", {"raw": "nonsense"}),
]
FULL = "full"


def pool(name: str, base_url: str, more: str = "") -> str:
    """A pool whose only model has its own name, at a price of its own and at another rate than the second's."""
    return f"""
[pools.{name}]
provider = "openai"
{SCRIPTED}rate = 0.90
[[pools.{name}.accounts]]
id = "main"
api_key = "{API_KEY}"
base_url = "{base_url}"
{more}
[[models]]
id = "{name}"
pool = "{name}"
input = 1.00
output = 55.00
context = 128000
max_output = 16384
"""


def names() -> list[str]:
    """A pool for each case and way: a failure must not cool the account of another."""
    return [f"{case.name}-{way}" for case in PASSES for way in ("plain", "stream")] + ["own", "begun"]


@pytest.fixture(scope="module")
def tokn(upstream, tmp_path_factory):
    """`tokn up` with the model `priced`, one that fails in each way, and one that has room for a single call."""
    config = pool_toml(upstream.base_url, rate=str(RATE))
    config += "".join(pool(name, upstream.base_url) for name in names())
    config += pool(FULL, upstream.base_url, "max_inflight = 1")
    config += '[[aliases]]\nid = "ours"\nmodels = ["priced", "own"]\n'
    with Tokn(tmp_path_factory.mktemp("candidates") / "data", config) as running:
        yield running


class Buyer:
    """A key of its own with the official SDK."""

    def __init__(self, tokn: Tokn) -> None:
        made = tokn.row("key", "create", "--balance", "1")
        self.tokn = tokn
        self.id, self.key = made["id"], made["key"]
        self.sdk = openai.AsyncOpenAI(api_key=self.key, base_url=f"{tokn.url}/v1", max_retries=0, timeout=60)

    async def call(self, first: str, script: dict[str, Any], *, stream: bool, **more: Any) -> "Told":
        """One call of a list, whose first model follows a script."""
        body = {"models": more.pop("models", [first, "priced"]), "x_scripts": {first: script}}
        body |= {"x_script": {"prompt": PROMPT, "words": WORDS, "tag": first}}
        made = await self.sdk.chat.completions.with_raw_response.create(
            model=more.pop("model", first), messages=SAY, stream=stream, extra_body=body, **more
        )
        told = Told(made.headers["x-request-id"], made.headers.get("x-tokn-model", ""))
        answer = made.parse()
        if not stream:
            return Told(told.request_id, told.header, (answer.model,), str(answer.choices[0].message.content))
        chunks = [chunk async for chunk in answer]
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
        return Told(told.request_id, told.header, tuple({chunk.model for chunk in chunks}), text)

    def receipt(self, request_id: str) -> dict[str, Any]:
        """What a call cost, as its caller sees it."""
        answer = httpx.get(
            f"{self.tokn.url}/v1/generations/{request_id}",
            headers={"authorization": f"Bearer {self.key}"},
            timeout=60,
        )
        return dict(answer.json()) if answer.status_code == 200 else {}


class Told(Struct, frozen=True):
    """What a caller was told."""

    request_id: str
    header: str
    models: tuple[str, ...] = ()
    text: str = ""


@pytest.mark.parametrize("stream", WAYS, ids=["plain", "stream"])
async def test_the_second_serves_and_bills(tokn: Tokn, upstream: Upstream, stream: bool) -> None:
    """Whatever keeps the first from serving, the second does: one bill, at its price and to the nano, and all of it said."""
    for case in PASSES:
        buyer = Buyer(tokn)
        first = f"{case.name}-{'stream' if stream else 'plain'}"
        told = await buyer.call(first, case.script, stream=stream)
        assert (told.header, told.models, told.text) == ("priced", ("priced",), "w0 w1 w2 w3 w4 "), case
        receipt = await until(lambda: buyer.receipt(told.request_id), 10, "a receipt")  # noqa: B023  awaited in this turn
        assert (receipt["asked"], receipt["model"]) == ([first, "priced"], "priced"), case
        assert (receipt["billed_nano"], receipt["rate"]) == (SERVED_NANO, str(RATE)), case
        assert tokn.settled(buyer.id)["posted_nano"] == 1_000_000_000 - SERVED_NANO, case
        assert [row["billed_nano"] for row in tokn.rows("usage", "--key", buyer.id)] == [SERVED_NANO]
        bodies = [json.loads(call.body) for call in upstream.calls[-2:]]
        assert all("models" not in body for body in bodies)
        assert bodies[-1]["model"] == "priced-upstream"
        await buyer.sdk.close()
    assert tokn.audit()["ok"]


async def test_a_full_first_is_not_waited_for_long(tokn: Tokn, upstream: Upstream) -> None:
    """While the first model's only place is taken, the second serves; the hold of the waiting call is one."""
    busy, buyer = Buyer(tokn), Buyer(tokn)
    holding = busy.sdk.chat.completions.create(
        model=FULL, messages=SAY, extra_body={"x_script": {"gate": True}}
    )
    held = asyncio.ensure_future(holding)
    await until(lambda: upstream.waiting, 10, "the place is taken")
    told = await buyer.call(FULL, {}, stream=False)
    assert (told.header, told.models) == ("priced", ("priced",))
    upstream.open_gate()
    assert (await held).model == FULL
    assert tokn.settled(buyer.id)["posted_nano"] == 1_000_000_000 - SERVED_NANO
    await busy.sdk.close()
    await buyer.sdk.close()


async def test_what_is_the_callers_own_is_told(tokn: Tokn, upstream: Upstream) -> None:
    """A body that the first refuses is a 400, and nobody else is asked; it costs nothing."""
    buyer = Buyer(tokn)
    before = len(upstream.calls)
    with pytest.raises(openai.BadRequestError, match="no such thing"):
        await buyer.call("own", says(400, "invalid_value", "no such thing"), stream=False)
    assert len(upstream.calls) == before + 1
    assert tokn.settled(buyer.id)["posted_nano"] == 1_000_000_000
    await buyer.sdk.close()


async def test_nobody_else_after_the_first_byte(tokn: Tokn, upstream: Upstream) -> None:
    """A stream that breaks once its caller has some of it ends with an error, and is the first model's bill."""
    buyer = Buyer(tokn)
    before = len(upstream.calls)
    with pytest.raises(openai.APIError):
        await buyer.call("begun", {"cut": 2, "tag": "begun"}, stream=True)
    assert len(upstream.calls) == before + 1
    assert tokn.settled(buyer.id)["posted_nano"] < 1_000_000_000
    (row,) = tokn.rows("usage", "--key", buyer.id)
    assert (row["model"], row["outcome"]) == ("begun", "failed")
    await buyer.sdk.close()


async def test_a_list_needs_no_model(tokn: Tokn) -> None:
    """`models` alone is a call, on both routes; an alias answers with the model that served, and its receipt says both."""
    buyer = Buyer(tokn)
    authorized = {"authorization": f"Bearer {buyer.key}"}
    async with httpx.AsyncClient(base_url=tokn.url, headers=authorized, timeout=60) as client:
        chat = await client.post("/v1/chat/completions", json={"models": ["priced", "own"], "messages": SAY})
        legacy = await client.post("/v1/completions", json={"models": ["priced", "own"], "prompt": "Once"})
        alias = await client.post("/v1/chat/completions", json={"model": "ours", "messages": SAY})
        plain = await client.post("/v1/chat/completions", json={"model": "priced", "messages": SAY})
    for answer in (chat, legacy, alias, plain):
        assert (answer.status_code, answer.json()["model"]) == (200, "priced"), answer.text
    assert [answer.headers.get("x-tokn-model") for answer in (chat, alias, plain)] == [
        "priced",
        "priced",
        None,
    ]
    for answer, asked in ((alias, ["ours"]), (plain, ["priced"])):
        look = functools.partial(buyer.receipt, answer.headers["x-request-id"])
        assert (await until(look, 10, "a receipt"))["asked"] == asked
    assert (await buyer.sdk.models.retrieve("ours")).id == "ours"
    await buyer.sdk.close()


@pytest.mark.parametrize(
    "models", ["priced", [], [""], [1], {}, ["x"] * 9, ["a\n"], [None], ["x" * 257]], ids=str
)
async def test_bad_lists(tokn: Tokn, models: Any) -> None:
    """A `models` that is no list of 1 to 8 names is a 400 that names it."""
    buyer = Buyer(tokn)
    with pytest.raises(openai.BadRequestError) as caught:
        await buyer.call("priced", {}, stream=False, models=models)
    assert caught.value.param == "models"
    await buyer.sdk.close()
