"""Pools of a worker that come, change and go while calls run: nothing in flight is lost, and nothing of before is left."""

import asyncio
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from runtime import metrics
from runtime.reload import STATUS
from runtime.settings.settings import PoolSettings, SettingsError
from schemas.bus.frames import End
from schemas.bus.subjects import Role
from schemas.bus.usage import Outcome
from tests.fakes.openai import FakeOpenAI, Received, Reply, plain, usage
from tests.fakes.worker import Answered, Rig, account, job, model, rig, until

MODELS = (model(), model("b-m", "b"))
BODY: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}


@pytest.fixture(autouse=True)
def _status(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("generation", "ok", "at"):
        monkeypatch.setattr(STATUS, name, getattr(STATUS, name))


class Gate:
    """An upstream's answers, which come once it is open."""

    def __init__(self) -> None:
        self.open = asyncio.Event()

    def answer(self, received: Received) -> Reply:
        """An answer that waits."""
        del received
        return Reply(pieces=[plain("hello", usage(7, 4))], before=[self.open], length=True)


def pool(name: str, fake: FakeOpenAI, **more: Any) -> PoolSettings:
    """A pool with one account at a fake upstream."""
    return PoolSettings(name=name, provider="openai", accounts=(account(fake.base_url),), **more)


async def in_flight(made: Rig, fake: FakeOpenAI, name: str = "openai", of: str = "m") -> Answered:
    """A call of a pool that waits for its upstream."""
    before = len(fake.received)
    answered = made.edge.offer(job(BODY | {"model": of}, model=of), name)
    await until(lambda: len(fake.received) > before, "the call's upstream")
    return answered


async def served(made: Rig, name: str, of: str = "m") -> bool:
    """Whether a worker takes a job of this pool and answers it."""
    return isinstance((await made.edge.call(job(BODY | {"model": of}, model=of), name)).last, End)


async def bill(made: Rig, answered: Answered) -> Outcome:
    """How a call ended, by its one bill."""
    assert isinstance((await answered.end()).last, End)
    return (await made.ledger.event(answered.job)).outcome


async def test_a_pool_that_is_gone_ends_its_calls() -> None:
    """It takes no more jobs and says no more; a call in flight is renewed, ends and is billed. Then it may come back."""
    gate = Gate()
    async with FakeOpenAI(gate.answer) as fake, rig((pool("openai", fake), pool("b", fake)), MODELS) as made:
        answered = await in_flight(made, fake)
        await made.reload(pool("b", fake), models=MODELS)
        beat = made.beat()
        assert beat is not None
        assert not beat.accepting
        beats = sum(one.pool == "openai" for one in made.edge.beats)
        late = made.edge.offer(job(BODY))
        await until(
            lambda: sum(one.pool == "b" for one in made.edge.beats) > 3, "further beats of the other pool"
        )
        assert sum(one.pool == "openai" for one in made.edge.beats) == beats
        assert late.frames == []
        gate.open.set()
        assert await bill(made, answered) is Outcome.OK
        assert await served(made, "b", "b-m")
        await made.reload(pool("openai", fake), pool("b", fake), models=MODELS)
        assert await served(made, "openai")


async def test_a_pool_of_another_provider_is_another() -> None:
    """A pool whose provider changes goes on with what it has by the old one, and begins by the new one, under the same name."""
    gate = Gate()
    async with FakeOpenAI(gate.answer) as fake, rig((pool("openai", fake),), MODELS, named=False) as made:
        answered = await in_flight(made, fake)
        other = PoolSettings(name="openai", provider="sandbox", accounts=(account("", "s"),), words_per_s=0)
        of = model("m", provider="sandbox", family="sandbox")
        await made.reload(other, models=(of,))
        assert await served(made, "openai")
        assert len(fake.received) == 1
        gate.open.set()
        assert await bill(made, answered) is Outcome.OK
        text = metrics.text().decode()
        names = [
            (sample.name, *sorted(sample.labels.items()))
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        ]
        assert len(names) == len(set(names)), "one series of each"


async def test_a_new_pool_and_a_new_model_are_served_at_once() -> None:
    """Once a worker has switched it takes jobs of what is new, and its beat has said so."""
    async with FakeOpenAI() as fake, rig((pool("b", fake),), MODELS, named=False) as made:
        await made.reload(
            pool("b", fake), pool("c", fake), models=(*MODELS, model("n", "b"), model("c-m", "c"))
        )
        await until(lambda: made.beat("c") is not None, "a beat of the new pool")
        assert await served(made, "c", "c-m")
        assert await served(made, "b", "n")


async def test_a_worker_serves_what_its_command_names() -> None:
    """A named worker leaves other pools of the file to others."""
    async with FakeOpenAI() as fake, rig((pool("openai", fake), pool("b", fake)), MODELS) as made:
        await made.reload(pool("openai", fake), pool("b", fake), pool("c", fake), models=MODELS)
        await until(lambda: made.beat("b") is not None, "a beat")
        assert made.beat("c") is None


async def test_a_worker_of_one_pools_user_serves_no_other() -> None:
    """One that is connected by its pool's own password refuses settings with another pool, and says what to do."""
    async with FakeOpenAI() as fake, rig((pool("openai", fake),), MODELS, named=False) as made:
        assert f"{Role.WORKER}.openai" in made.settings.nats.passwords
        with pytest.raises(SettingsError, match=r"\[pools.b\].*restart it"):
            await made.reload(pool("openai", fake), pool("b", fake), models=MODELS)
        assert await served(made, "openai")
