"""Counts that a provider makes, as a worker asks for them: in each family's words, and without a trace in its accounts."""

import asyncio
import base64
import json
from types import SimpleNamespace
from typing import Any

import pytest

from runtime.settings.settings import AccountSettings
from schemas.bus.frames import Bounce, Data, Job, decode_frame
from schemas.catalogue.bedrock import bedrock_capabilities
from schemas.catalogue.gemini import gemini_capabilities
from schemas.catalogue.model import Capabilities, Model
from schemas.dialects.messages.counting import COUNT
from tests.workers.providers.anthropic import cases
from workers.calls import counts as module
from workers.calls.accounts import Accounts
from workers.calls.counts import AT_ONCE_MAX, Counts
from workers.providers import family
from workers.upstream.http import UpstreamError
from workers.upstream.request import UpstreamRequest

ACCOUNT = AccountSettings(
    id="a", api_key="", region="us-east-1", access_key_id="AKIDEXAMPLE", secret_access_key="secret"
)
OTHER = AccountSettings(id="b", api_key="k")
CLAUDE = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
BODY = {
    "max_tokens": 64,
    "system": "Be brief.",
    "messages": [{"role": "user", "content": "hi"}],
    "tools": [{"name": "f", "input_schema": {"type": "object", "properties": {}}}],
    "temperature": 0.5,
    "metadata": {"user_id": "me"},
}
FIGURES = {"anthropic": "input_tokens", "bedrock": "inputTokens", "gemini": "totalTokens"}


class Upstream:
    """Answers each call as it is told to."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked: list[UpstreamRequest] = []
        self.gate: asyncio.Event | None = None

    async def open(self, request: UpstreamRequest) -> Any:
        """As HttpUpstream."""
        self.asked.append(request)
        if self.gate is not None:
            await self.gate.wait()
        answer = self.answers.pop(0) if self.answers else (200, {"input_tokens": 9})
        if isinstance(answer, Exception):
            raise answer
        status, body = answer
        pieces = [json.dumps(body).encode(), b""]

        async def read() -> bytes:
            return pieces.pop(0)

        return SimpleNamespace(status=status, headers={}, read=read, close=lambda: None)


class Rig:
    """A pool of one family, and what it tells its edges."""

    def __init__(self, provider: str, upstream: Upstream, *accounts: AccountSettings) -> None:
        name, able = {
            "anthropic": ("claude-opus-4-8", cases.NEW.capabilities),
            "bedrock": (CLAUDE, bedrock_capabilities(CLAUDE)),
            "gemini": ("gemini-x", gemini_capabilities("gemini-x")),
            "openai": ("gpt-4o", Capabilities()),
        }[provider]
        self.model = Model(
            id="M",
            pool="p",
            provider=provider,
            upstream=name,
            context=200_000,
            max_output=8_000,
            capabilities=able,
        )
        self.upstream = upstream
        self.told: list[Any] = []
        self.accounts = Accounts(accounts or (ACCOUNT,))
        self.counts = Counts(
            SimpleNamespace(
                pool="p",
                worker_id="w",
                bus=SimpleNamespace(publish=lambda subject, data: self.told.append(decode_frame(data))),
                family=family(provider),
                upstream=upstream,
                accounts=self.accounts,
                models={"M": self.model},
            )
        )

    def job(self, **fields: Any) -> Job:
        """A count."""
        return cases.job(
            BODY, dialect=COUNT, upstream=self.model.upstream, scope="s", deadline_s=3.0, **fields
        )

    async def count(self, **fields: Any) -> Any:
        """What an edge is told."""
        before = len(self.told)
        self.counts.take(self.job(**fields), "inbox")
        while len(self.told) == before:
            await asyncio.sleep(0)
        return self.told[-1]


@pytest.mark.parametrize("provider", FIGURES)
async def test_each_family_asks_in_its_own_words(provider: str):
    """The figure is the provider's, the body what a call would send, and no place at an account is taken."""
    rig = Rig(provider, Upstream((200, {FIGURES[provider]: 1234})))
    assert await rig.count(headers=(("anthropic-beta", "effort-2025-11-24"),)) == Data(0, b"1234")
    (request,) = rig.upstream.asked
    sent = json.loads(request.body)
    if provider == "anthropic":
        assert request.url == "https://api.anthropic.com/v1/messages/count_tokens"
        assert sent.keys() == {"model", "messages", "system", "tools"}
        assert request.headers["anthropic-beta"] == "effort-2025-11-24"
    elif provider == "bedrock":
        assert request.url.endswith(f"/model/{CLAUDE.replace(':', '%3A')}/count-tokens")
        assert "Credential=" in request.headers["Authorization"]
        inner = json.loads(base64.b64decode(sent["input"]["invokeModel"]["body"]))
        assert inner["anthropic_version"] == "bedrock-2023-05-31"
        assert inner["messages"] == BODY["messages"]
    else:
        assert request.url.endswith("/models/gemini-x:countTokens")
        assert sent["generateContentRequest"]["model"] == "models/gemini-x"
        assert sent["generateContentRequest"]["contents"][0]["parts"] == [{"text": "hi"}]
    assert [account.inflight for account in rig.accounts.all] == [0]


async def test_a_family_without_counts_says_so_at_once():
    """OpenAI's chat has none, nor have models on Bedrock that are no Claude."""
    rig = Rig("openai", Upstream())
    assert await rig.count() == Bounce("w")
    assert not rig.upstream.asked
    rig = Rig("anthropic", Upstream())
    assert await rig.count(model="gone") == Bounce("w")


@pytest.mark.parametrize(
    ("answer", "cools"),
    [
        ((400, {}), False),
        ((429, {}), True),
        ((404, {}), True),
        ((500, {}), True),
        (UpstreamError("no route", sent=False), True),
        ((200, {}), True),
        ((200, {"input_tokens": -1}), True),
        ((200, {"input_tokens": "9"}), True),
        ((200, [1]), True),
    ],
)
async def test_a_failure_cools_counting_alone(answer: Any, cools: bool):
    """An account that cannot count is not asked for a while, another is; for calls it is what it was."""
    rig = Rig("anthropic", Upstream(answer), ACCOUNT, OTHER)
    assert await rig.count() == Bounce("w")
    assert await rig.count() == Data(0, b"9")
    keys = [request.headers["x-api-key"] for request in rig.upstream.asked]
    assert (keys == ["", "k"]) is cools
    assert all(account.usable(0.0) for account in rig.accounts.all)
    alone = Rig("anthropic", Upstream(answer))
    await alone.count()
    assert (await alone.count() == Bounce("w")) is cools


async def test_only_so_many_at_a_time():
    """Beyond the limit an edge is told at once; a body in parts is none that can be counted."""
    upstream = Upstream()
    upstream.gate = asyncio.Event()
    rig = Rig("anthropic", upstream)
    for _ in range(AT_ONCE_MAX):
        rig.counts.take(rig.job(), "inbox")
    assert await rig.count() == Bounce("w")
    assert await rig.count(parts=2) == Bounce("w")
    upstream.gate.set()
    while len(rig.told) < AT_ONCE_MAX + 2:
        await asyncio.sleep(0)
    assert rig.told[2:] == [Data(0, b"9")] * AT_ONCE_MAX


async def test_a_slow_provider_is_given_up(monkeypatch: pytest.MonkeyPatch):
    """No figure in time is none, and the account is left alone."""
    monkeypatch.setattr(module, "COUNT_S", 0.01)
    upstream = Upstream()
    upstream.gate = asyncio.Event()
    rig = Rig("anthropic", upstream)
    assert await rig.count() == Bounce("w")
    upstream.gate.set()
    assert await rig.count() == Bounce("w")
    assert len(upstream.asked) == 1
