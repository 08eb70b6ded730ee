"""Beats: a list of many models goes once a change, and to whoever asks; a full worker with any room again says so."""

import asyncio
import time

from ledger.verbs.beats import Beats
from runtime.bus.bus import Message
from runtime.settings.settings import AccountSettings, PoolSettings
from schemas.bus import subjects
from schemas.bus.frames import End, Recite, encode
from tests.fakes import lists
from tests.fakes.openai import FakeOpenAI, Received, Reply, answer
from tests.fakes.worker import account, job, model, rig, until
from workers.beats import NAMES_MAX
from workers.calls.listed import UNPRICED_MAX

MANY = tuple(model(f"m{number}") for number in range(2_000))
POOL = (PoolSettings(name="openai", provider="openai", accounts=(account("http://127.0.0.1:9"),)),)


async def test_a_long_list_goes_once_and_again_when_asked() -> None:
    """The first beat has every model; those behind it are small; whoever missed it asks, and gets it."""
    async with rig(POOL, MANY) as made:
        await until(lambda: any(beat.brief for beat in made.edge.beats), "a brief beat")
        full = next(beat for beat in made.edge.beats if not beat.brief)
        brief = next(beat for beat in made.edge.beats if beat.brief)
        assert set(full.models) == {one.id for one in MANY}
        assert full.digest == brief.digest
        assert len(encode(brief)) < 400
        before = len(made.edge.beats)
        made.edge.bus.publish(subjects.control(full.worker_id), encode(Recite("openai")))
        made.edge.bus.publish(subjects.control(full.worker_id), encode(Recite("another")))
        await until(
            lambda: [beat.models for beat in made.edge.beats[before:] if not beat.brief] == [full.models],
            "the whole list",
        )


async def test_a_short_list_is_in_every_beat() -> None:
    """Neighbours of the version before read what they always read."""
    async with rig(POOL, MANY[:NAMES_MAX]) as made:
        await until(lambda: len(made.edge.beats) >= 2, "two beats")
        assert all(len(beat.models) == NAMES_MAX and not beat.digest for beat in made.edge.beats)


async def test_many_models_cost_no_idle_time() -> None:
    """A beat with two thousand models takes less than ten milliseconds, and so does one that ledgers hear."""
    async with rig(POOL, MANY) as made:
        await until(lambda: any(beat.brief for beat in made.edge.beats), "a brief beat")
        full = next(beat for beat in made.edge.beats if not beat.brief)
        brief = next(beat for beat in made.edge.beats if beat.brief)
        heard = Beats()
        best = 1.0
        for _ in range(20):  # a neighbour on the machine makes most of them dearer
            began = time.thread_time()
            for beat in (full, brief):
                heard.on_beat(Message("", "", encode(beat)))
            best = min(best, time.thread_time() - began)
        assert best < 0.010
        assert heard.live()["openai"][0].models == full.models


async def test_what_lists_say_goes_once_a_change() -> None:
    """With half of two thousand models in no list, one full beat says so and the next are small; ledgers know all of it."""
    async with FakeOpenAI() as fake:
        listed = [f"up-m{number}" for number in range(1_000)] + [f"new-{number}" for number in range(500)]
        fake.shown.models = lists.openai(*listed, up_m7={"shutdown_date": "2027-01-14"})
        pool = PoolSettings(name="openai", provider="openai", accounts=(account(fake.base_url),))
        heard = Beats()
        async with rig((pool,), MANY) as made:
            await until(lambda: any(beat.gone for beat in made.edge.beats), "what no list has")
            before = len(made.edge.beats)
            await until(lambda: len(made.edge.beats) >= before + 2, "two more beats")
            full = next(beat for beat in made.edge.beats if beat.gone)
            later = made.edge.beats[-1]
            for beat in (full, later):
                heard.on_beat(Message("", "", encode(beat)))
        assert (len(full.models), len(full.gone), len(full.unpriced)) == (1_000, 1_000, UNPRICED_MAX)
        assert [fact.id for fact in full.facts] == ["up-m7"]
        assert len(encode(full)) < 200_000
        assert (later.brief, later.digest) == (True, full.digest)
        assert len(encode(later)) < 400
        (known,) = heard.live()["openai"]
        assert known.lists == full.lists


async def test_beats_fit_a_message_whatever_is_out() -> None:
    """With forty accounts refused, two thousand models and a reason for each, edges still hear that the worker is there."""
    accounts = tuple(
        AccountSettings(id=f"account-{number}", base_url="http://127.0.0.1:9", keyless=True)
        for number in range(40)
    )
    pool = PoolSettings(name="openai", provider="openai", accounts=accounts)
    async with rig((pool,), MANY) as made:
        await until(lambda: any(not beat.brief for beat in made.edge.beats), "a full beat")
        full = next(beat for beat in made.edge.beats if not beat.brief)
        assert set(full.missing) == {one.id for one in MANY}
        assert all(why.startswith("account account-0: refused (") for why in full.missing.values())


async def test_a_full_worker_comes_back_with_any_room() -> None:
    """Where nine tenths of a worker's calls are long, it takes a further one as soon as one has ended."""
    long, short = asyncio.Event(), asyncio.Event()

    def held(received: Received) -> Reply:
        gate = long if len(fake.received) < 10 else short
        return Reply(pieces=answer(received).pieces, before=[gate], length=True)

    async with (
        FakeOpenAI(held) as fake,
        rig(
            (
                PoolSettings(
                    name="openai", provider="openai", accounts=(account(fake.base_url, max_inflight=10),)
                ),
            )
        ) as made,
    ):
        offered = [
            made.edge.offer(job({"model": "m", "messages": [{"role": "user", "content": "hello"}]}))
            for _ in range(10)
        ]
        await until(lambda: len(fake.received) == 10, "all calls")
        await until(lambda: not made.beat().accepting, "the beat of a full worker")
        short.set()
        await until(lambda: made.beat().accepting, "the beat of one with room")
        assert made.beat().inflight == 9
        assert isinstance(
            (
                await made.edge.call(job({"model": "m", "messages": [{"role": "user", "content": "hello"}]}))
            ).last,
            End,
        )
        long.set()
        await asyncio.gather(*(item.end() for item in offered))
