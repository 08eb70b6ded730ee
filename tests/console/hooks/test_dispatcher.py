"""The dispatcher: every event arrives, signed, whoever is down or killed meanwhile, and the log says all of it."""

import asyncio
import time
from pathlib import Path

import pytest
from standardwebhooks import Webhook

from console.hooks.endpoint import IN_FLIGHT_MAX
from console.hooks.retries import ATTEMPTS_MAX, JITTER, TABLE_S
from ledger.rules import webhooks
from ledger.stream import hooks
from schemas.verbs.webhooks import WebhookRef, WebhookReplay, WebhookRotate, WebhookUpdate
from schemas.webhooks import new_secret
from tests.console.hooks.receiver import Receiver, answer
from tests.console.hooks.standing import SECRET, Standing, until
from tests.fakes.nats import NatsServer

FAST = 1 / 60_000  # the whole table in seconds


@pytest.fixture(scope="module")
def server():
    with NatsServer() as running:
        yield running


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch):
    """What a dispatcher that was killed has not acknowledged comes again after two seconds."""
    monkeypatch.setattr(hooks, "ACK_WAIT_S", 2.0)


@pytest.fixture
async def standing(server: NatsServer, tmp_path: Path):
    async with Standing(server, tmp_path) as made:
        yield made


async def test_what_is_wanted_arrives_signed(standing: Standing) -> None:
    """An endpoint gets its types of its organisation, once each, signed by its secrets; a test and a replay reach it alone."""
    await standing.key("beta")
    async with Receiver() as every, Receiver() as acme:
        first = await standing.endpoint(every.url, "*")
        key_id = await standing.key("acme")
        own = await standing.endpoint(acme.url, "key.created", organization="acme")
        running = await standing.dispatcher()
        await standing.key("beta")
        mine = await standing.key("acme")

        async def came() -> bool:
            return len(acme.ids) >= 1 and len(every.ids) >= 4

        await until(came, "all of it arrives")
        (body,) = acme.verified(SECRET)
        assert (body["type"], body["data"]["object"]["id"]) == ("key.created", mine)
        assert key_id not in str(acme.bodies), "what happened before its time is not for it"
        assert len(set(every.ids)) == len(every.ids)
        newer = new_secret()
        await standing.act("webhook_rotate", WebhookRotate(1, own, newer))

        async def known() -> bool:
            return len(running.made._deliveries[own][0].hook.secrets) == 2

        await until(known, "the dispatcher has both secrets")
        tested = await standing.act("webhook_test", WebhookRef(1, own))
        await until(lambda: _has(acme, tested["event"]), "the test arrives")
        assert acme.verified(SECRET)[-1]["type"] == "webhook.test"
        Webhook(newer).verify(acme.bodies[-1], acme.heads[-1])
        await standing.act("webhook_replay", WebhookReplay(1, own, acme.ids[0]))
        await until(lambda: _times(acme, acme.ids[0], 2), "it comes again with its id")
        assert acme.bodies[-1] == acme.bodies[0]
        assert every.ids.count(acme.ids[0]) == 1
        assert tested["event"] not in every.ids

        async def noted_all() -> bool:
            return len(await standing.deliveries(own)) == 3

        await until(noted_all, "each is noted")
        noted = await standing.deliveries(own)
        assert {(one["status"], one["code"]) for one in noted} == {("succeeded", 200)}
        await standing.act("webhook_delete", WebhookRef(1, first))


async def _has(receiver: Receiver, id_: str) -> bool:
    return id_ in receiver.ids


async def _times(receiver: Receiver, id_: str, count: int) -> bool:
    return receiver.ids.count(id_) >= count


async def test_through_the_table(standing: Standing) -> None:
    """A receiver that always fails is tried as often as the table says, each attempt in the log, and then no more."""
    async with Receiver(answer(500, body="no " * 900)) as receiver:
        id_ = await standing.endpoint(receiver.url)
        await standing.dispatcher(FAST)
        await standing.key()

        async def over() -> bool:
            noted = await standing.deliveries(id_)
            return bool(noted) and noted[-1]["status"] == "failed"

        await until(over, "it has failed")
        noted = await standing.deliveries(id_)
        assert [one["attempt"] for one in noted] == list(range(1, ATTEMPTS_MAX + 1))
        assert [one["status"] for one in noted[:-1]] == ["retrying"] * (ATTEMPTS_MAX - 1)
        assert all(one["code"] == 500 and len(one["response"]) == 1_024 for one in noted)
        assert len(set(receiver.ids)) == 1
        assert len(receiver.ids) == ATTEMPTS_MAX
        assert await standing.status(id_) == "enabled"
        assert noted[-1]["next_at"] is None


async def test_an_outage_and_a_killed_dispatcher(soon: None, standing: Standing) -> None:
    """A receiver that is away for a while and a dispatcher that is killed in the middle: every event arrives, the log has all."""
    await _outage(standing, away_s=4.0, factor=1 / 600, count=20)


@pytest.mark.long
@pytest.mark.timeout(5_400)
async def test_forty_minutes(soon: None, standing: Standing) -> None:
    """The same with forty real minutes, after which the next attempt comes within twenty more."""
    assert _next_s(2_400.0, 1 / 60) < 1_200.0
    await _outage(standing, away_s=2_400.0, factor=1 / 60, count=200)


def _next_s(away_s: float, factor: float) -> float:
    """How long after an outage its last delivery is tried at the latest, if each pause before was as long as it may be."""
    tried_s = 0.0
    for pause_s in TABLE_S:
        tried_s += pause_s * factor * (1 + JITTER)
        if tried_s > away_s:
            return tried_s - away_s
    raise AssertionError("it has been given up by then")


async def _outage(standing: Standing, away_s: float, factor: float, count: int) -> None:
    receiver = Receiver(secret=SECRET)
    async with receiver:
        pass
    id_ = await standing.endpoint(receiver.url)
    killed, other = await standing.dispatcher(factor), await standing.dispatcher(factor)
    begun = time.monotonic()
    for _ in range(count):
        await standing.key()

    async def tried() -> bool:
        return len({one["event"] for one in await standing.deliveries(id_)}) >= count // 2

    await until(tried, "both have begun")
    await killed.bus.client.close()  # as when its process is gone: nothing it has is given back
    killed.cancel()
    left_s = away_s - (time.monotonic() - begun)
    await asyncio.sleep(max(left_s, 0))  # the outage itself
    async with receiver:

        async def all_came() -> bool:
            return len(set(receiver.ids)) == count

        await until(all_came, "every event has arrived", 60 + _next_s(away_s, factor))
        assert not other.done()

        async def noted_all() -> bool:
            noted = await standing.deliveries(id_)
            return len({one["event"] for one in noted if one["status"] == "succeeded"}) >= min(count, 100)

        await until(noted_all, "the log has every success")
        assert len(receiver.events) == len(receiver.ids)


async def test_killed_between_the_post_and_the_log(soon: None, standing: Standing) -> None:
    """A dispatcher that is gone once a receiver has the event, before it has said so: another one delivers it, with the same id."""
    async with Receiver() as receiver:
        receiver.wait = asyncio.Event()
        id_ = await standing.endpoint(receiver.url)
        first = await standing.dispatcher()
        await standing.key()

        async def has_it() -> bool:
            return len(receiver.ids) == 1

        await until(has_it, "the receiver has it")
        await first.bus.client.close()
        first.cancel()
        receiver.wait.set()
        receiver.wait = None
        await standing.dispatcher()
        await until(lambda: _times(receiver, receiver.ids[0], 2), "it comes again")

        async def noted() -> bool:
            return [one["status"] for one in await standing.deliveries(id_)][-1:] == ["succeeded"]

        await until(noted, "and is noted")


async def test_two_share(standing: Standing) -> None:
    """Two dispatchers deliver each event once between them, and no more than so many at once each."""
    count = 3 * IN_FLIGHT_MAX
    async with Receiver() as receiver:
        receiver.wait = asyncio.Event()
        await standing.endpoint(receiver.url)
        for _ in range(2):
            await standing.dispatcher()
        for _ in range(count):
            await standing.key()

        async def full() -> bool:
            return len(receiver.ids) == 2 * IN_FLIGHT_MAX

        await until(full, "both are full")
        receiver.wait.set()

        async def done() -> bool:
            return len(receiver.ids) >= count

        await until(done, "all have arrived")
        assert len(set(receiver.ids)) == count


async def test_gone(standing: Standing) -> None:
    """410 disables an endpoint, which others are told; enabled again it gets what happens from then on."""
    async with Receiver(answer(410)) as receiver, Receiver() as others:
        id_ = await standing.endpoint(receiver.url)
        await standing.endpoint(others.url, "webhook.disabled")
        await standing.dispatcher()
        await standing.key()

        async def told() -> bool:
            return await standing.status(id_) == "disabled" and len(others.ids) == 1

        await until(told, "it is disabled, and that is told")
        assert others.verified(SECRET)[0]["data"]["object"]["id"] == id_
        await standing.key()
        receiver.said = answer(200)
        await standing.act("webhook_update", WebhookUpdate(1, id_, status="enabled"))
        key_id = await standing.key()

        async def came() -> bool:
            return key_id in str(receiver.bodies)

        await until(came, "it gets events again")
        assert len(receiver.ids) == 2, "not the one in between"


async def test_a_receiver_asks_for_time(standing: Standing) -> None:
    """Retry-After is waited for."""
    async with Receiver(answer(503, "Retry-After: 2")) as receiver:
        await standing.endpoint(receiver.url)
        await standing.dispatcher(FAST)
        await standing.key()

        async def came(count: int) -> bool:
            return len(receiver.ids) >= count

        await until(lambda: came(1), "it comes")
        begun = time.monotonic()
        receiver.said = answer(200)
        await until(lambda: came(2), "it comes again")
        assert time.monotonic() - begun > 1.5


async def test_inside_is_refused(standing: Standing) -> None:
    """Without leave nothing is sent to this machine, though the name led elsewhere before: the log says why, nothing connects."""
    async with Receiver() as receiver:

        async def rebound(_host: str, _port: int) -> list[str]:
            return ["127.0.0.1"]

        plain = await standing.endpoint(receiver.url)
        named = await standing.endpoint(f"https://example.com:{receiver.port}/")
        await standing.dispatcher(allow_private=False, lookup=rebound)
        await standing.key()

        async def refused() -> bool:
            return all([await standing.deliveries(id_) for id_ in (plain, named)])

        await until(refused, "both are refused")
        for id_, why in ((plain, "plain http"), (named, "no public address")):
            (first, *_) = await standing.deliveries(id_)
            assert why in first["error"]
            assert first["status"] == "retrying"
        assert receiver.connections == 0


async def test_days_without_a_success(standing: Standing, monkeypatch: pytest.MonkeyPatch) -> None:
    """An endpoint at which nothing has succeeded for too long is disabled by the ledger's clock, and that is told."""
    monkeypatch.setattr(webhooks, "OVERDUE_MS", 300)
    async with Receiver(answer(500)) as receiver, Receiver() as others:
        id_ = await standing.endpoint(receiver.url)
        await standing.endpoint(others.url, "webhook.disabled")
        await standing.dispatcher(FAST)
        await standing.key()

        async def told() -> bool:
            return await standing.status(id_) == "disabled" and len(others.ids) == 1

        await until(told, "it is disabled, and that is told")
        assert "five days" in others.verified(SECRET)[0]["data"]["object"]["disabled_reason"]
