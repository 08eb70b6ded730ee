"""What one key's call provokes at an upstream, over real HTTP in a real worker, and what another key finds afterwards."""

import json

import pytest

from runtime.settings.settings import AccountSettings, PoolSettings
from schemas.bus.frames import Bounce, Failed
from tests.fakes.openai import API_KEY, FakeOpenAI, Received, Reply
from tests.fakes.refusals import REFUSALS, Refusal
from tests.fakes.worker import job, model, rig
from workers.providers.base import About, Action

BODY = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}
CALLERS_OWN = json.dumps({"message": "bad", "error": {"message": "bad"}}).encode()  # a 400: leaves no trace


def account(base_url: str) -> AccountSettings:
    """An account that any family can make a call with."""
    return AccountSettings(
        id="only",
        base_url=base_url,
        api_key=API_KEY,
        region="us-east-1",
        access_key_id="AKIDEXAMPLE",
        secret_access_key="secret-of-the-example",
    )


@pytest.mark.parametrize("family", ["openai", "anthropic", "gemini", "bedrock"])
async def test_whatever_one_key_provokes_the_other_is_asked_for(family: str) -> None:
    """After each refusal of the tables, calls of another key go upstream as before: for that model and for another.

    But for credentials that are dead, which no request brings about. A refusal that is about the account has a pool of
    its own, so that each begins with an account that nothing is known of.
    """
    rows = [refusal for refusal in REFUSALS if refusal.family == family and not refusal.sure]
    next_reply: list[Refusal] = []

    def handler(_: Received) -> Reply:
        if next_reply:
            row = next_reply.pop()
            return Reply(row.status, [row.body], dict(row.headers), length=True)
        return Reply(400, [CALLERS_OWN], {"x-amzn-errortype": "ValidationException"}, length=True)

    async with FakeOpenAI(handler, strict=False) as fake:
        names = [
            f"{family}-{number}" if row.about is About.ACCOUNT else family for number, row in enumerate(rows)
        ]
        pools = tuple(
            PoolSettings(name=name, provider=family, accounts=(account(fake.base_url),))
            for name in sorted({*names})
        )
        async with rig(pools, tuple(model(pool.name, pool.name, provider=family) for pool in pools)) as made:
            for number, (name, row) in enumerate(zip(names, rows, strict=True)):
                upstream = f"a{number}"

                async def ask(key: str, upstream: str, pool: str = name) -> Failed:
                    call = job(BODY, model=pool, upstream=upstream, scope=key)
                    last = (await made.edge.call(call, pool)).last
                    assert not isinstance(last, Bounce), (key, upstream, last)
                    assert isinstance(last, Failed)
                    return last

                next_reply.append(row)
                assert (await ask("one", upstream)).error.status == row.told, row
                for wanted in (upstream, "b"):
                    asked = len(fake.received)
                    assert (await ask("two", wanted)).error.status == 400, row
                    assert len(fake.received) == asked + 1, row
                beat = made.beat(name)
                assert beat is not None
                assert beat.models == (name,)


async def test_a_limit_that_two_keys_meet_spares_the_other_model() -> None:
    """Then it stands for all: a third key is told to wait without asking, for that model; another model is served."""
    row = next(row for row in REFUSALS if row.action is Action.COOL and row.headers.get("retry-after"))

    def handler(received: Received) -> Reply:
        if received.json["model"] == "limited":
            return Reply(row.status, [row.body], dict(row.headers), length=True)
        return Reply(400, [CALLERS_OWN], length=True)

    async with (
        FakeOpenAI(handler) as fake,
        rig((PoolSettings(name="openai", provider="openai", accounts=(account(fake.base_url),)),)) as made,
    ):
        for key in ("one", "two"):
            call = job(BODY, upstream="limited", scope=key)
            assert (await made.edge.call(call)).failed.error.status == 429
        assert len(fake.received) == 2
        bounced = (await made.edge.call(job(BODY, upstream="limited", scope="three"))).last
        assert isinstance(bounced, Bounce)
        assert bounced.error is not None
        assert bounced.error.status == 429
        assert 15 < (bounced.error.retry_after_s or 0) <= 20
        assert len(fake.received) == 2
        assert (await made.edge.call(job(BODY, upstream="fine", scope="three"))).failed.error.status == 400
        assert len(fake.received) == 3
