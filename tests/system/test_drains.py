"""Owns answers that are read on without their callers, over the whole path: their bills, their bounds, and what cuts them."""

import asyncio
import signal
from typing import Any

import aiohttp
import pytest
from msgspec import Struct

from tests.fakes.caller import call, session, until
from tests.fakes.spoken import CHAT, COMPLETIONS, MESSAGES, RESPONSES
from tests.fakes.tokn import Tokn, alive
from tests.fakes.ways import IN_NANO, OUT_NANO, Way, ways_toml
from workers.calls.drains import KEY_DRAINS_MAX

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]

PROMPT, WORDS, REASONING = 9, 5, 400
LIMIT = 900
GRACE_S = 2
SECRET, DIRECT, CLAUDE = "secret", "secret-direct", "secret-claude"
WAYS = (
    Way(CHAT, SECRET),
    Way(COMPLETIONS, SECRET),
    Way(MESSAGES, SECRET),
    Way(RESPONSES, SECRET),
    Way(RESPONSES, DIRECT),
    Way(MESSAGES, CLAUDE),
    Way(CHAT, CLAUDE),
)
OPEN = Way(CHAT, "priced")  # of a model that does not reason
REPORTED_NANO = PROMPT * IN_NANO + (WORDS + REASONING) * OUT_NANO


def models() -> str:
    """Rows of models that reason in secret, at the prices of the others."""
    return "".join(
        f'[[models]]\nid = "{name}"\npool = "{pool}"\nupstream = "{name}-upstream"\ninput = 2.50\ncached_input = 1.25\n'
        "output = 10.00\ncontext = 128000\nmax_output = 16384\n[models.capabilities]\nreasons = true\n"
        for name, pool in ((SECRET, "openai"), (DIRECT, "direct"), (CLAUDE, "claude"))
    )


@pytest.fixture(scope="module")
def tokn(upstream, tmp_path_factory):
    """`tokn up` with such models, whose stops are short."""
    text = f"[edge]\ngrace_s = {GRACE_S}\nfull_wait_s = 15\n" + ways_toml(upstream.base_url, more=models())
    with Tokn(tmp_path_factory.mktemp("drains") / "data", text) as running:
        yield running
        proof = running.audit()
        assert (proof["ok"], proof["open_holds"], proof["expired"]) == (True, 0, 0), proof
        assert running.stop()[0] == 0
        assert not running.orphans()


class Scene(Struct):
    """Who leaves whom."""

    tokn: Tokn
    upstream: Any
    client: aiohttp.ClientSession

    async def key(self) -> dict[str, Any]:
        """A new key."""
        return await asyncio.to_thread(self.tokn.row, "key", "create", "--name", "leaver", "--balance", "5")

    async def left(self, key: dict[str, Any], way: Way, tag: str, *, stream: bool = True) -> Any:
        """The upstream's side of a call whose caller has left before anything came."""
        said = WORDS + REASONING
        request = way.ask(
            tag, stream=stream, limit=LIMIT, gate=True, words=WORDS, prompt=PROMPT, completion=said, reasoning=REASONING
        )  # fmt: skip
        task = asyncio.create_task(call(self.client, self.tokn.url, key["key"], request, path=way.path))
        (only,) = await until(lambda: self.upstream.named(tag), 30, f"the upstream has {tag}")
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return only

    async def heard(self, key: dict[str, Any], tag: str) -> None:
        """The worker has heard that the callers before have left: it has hung up on one that is not read on."""
        marker = await self.left(key, OPEN, f"{tag}-marker")
        await until(lambda: marker.closed_at, 20, "an answer that is not read on is closed")

    async def back(self, key: dict[str, Any]) -> None:
        """A worker serves again. Until it says so, a call is refused at once."""
        for _ in range(600):
            request = OPEN.ask("again", stream=True)
            if (await call(self.client, self.tokn.url, key["key"], request, path=OPEN.path)).complete:
                return
            await asyncio.sleep(0.1)
        raise TimeoutError("no worker is back")

    async def rows(self, key: dict[str, Any], count: int) -> list[dict[str, Any]]:
        """The bills of a key for models that reason, once there are so many."""

        def found() -> list[dict[str, Any]] | None:
            rows = [row for row in self.tokn.rows("usage", "--key", key["id"]) if row["model"] != OPEN.model]
            return rows if len(rows) >= count else None

        for _ in range(400):
            if rows := await asyncio.to_thread(found):
                return rows
            await asyncio.sleep(0.1)
        raise TimeoutError("the bills are not there")


@pytest.fixture
async def scene(tokn, upstream):
    """One for each test."""
    async with session() as client:
        yield Scene(tokn, upstream, client)


def bills(rows: list[dict[str, Any]]) -> set[tuple[str, str, int]]:
    """What they say of themselves."""
    return {(row["outcome"], row["known"], row["billed_nano"]) for row in rows}


async def test_every_dialect_pays_what_was_used(scene):
    """Callers who leave before the first word, plain and streamed, are billed what the upstream reports at the end."""
    asked = [(way, stream) for way in WAYS for stream in (True, False)]
    keys = [await scene.key() for _ in range(0, len(asked), KEY_DRAINS_MAX)]
    calls = await asyncio.gather(
        *(
            scene.left(keys[number // KEY_DRAINS_MAX], way, f"used-{number}", stream=stream)
            for number, (way, stream) in enumerate(asked)
        )
    )
    await scene.heard(keys[0], "used")
    assert not any(one.closed_at for one in calls)
    scene.upstream.open_gate()
    for number, key in enumerate(keys):
        count = len(asked[number * KEY_DRAINS_MAX : (number + 1) * KEY_DRAINS_MAX])
        assert bills(await scene.rows(key, count)) == {("cancelled", "reported", REPORTED_NANO)}
    assert all(one.finished and not one.closed_at for one in calls)
    assert (await asyncio.to_thread(scene.tokn.audit))["ok"]


async def test_the_fifth_answer_of_a_key_costs_its_limit(scene):
    """Four are read on to their usage; the next is hung up on at once, and no cheaper for it."""
    key = await scene.key()
    first = [await scene.left(key, WAYS[0], f"first-{number}") for number in range(KEY_DRAINS_MAX)]
    await scene.heard(key, "first")
    fifth = await scene.left(key, WAYS[0], "fifth")
    await until(lambda: fifth.closed_at, 20, "the fifth is closed")
    assert not any(one.closed_at for one in first)
    scene.upstream.open_gate()
    found = await scene.rows(key, KEY_DRAINS_MAX + 1)
    (dear,) = (row for row in found if row["known"] == "estimated")
    assert dear["completion_tokens"] == LIMIT
    assert bills([row for row in found if row is not dear]) == {("cancelled", "reported", REPORTED_NANO)}


async def test_a_restart_of_nats_loses_no_bill(scene):
    """What is read on has no need of the bus: its bill comes when that is back, exact."""
    key = await scene.key()
    await scene.left(key, WAYS[0], "nats")
    await scene.heard(key, "nats")
    gone = await asyncio.to_thread(scene.tokn.kill, "nats-server")
    await until(lambda: not alive(gone), 10, "nats-server has ended")
    scene.upstream.open_gate()
    while (await asyncio.to_thread(scene.tokn.run, "key", "list")).returncode:  # no command can ask meanwhile
        await asyncio.sleep(0.1)
    assert bills(await scene.rows(key, 1)) == {("cancelled", "reported", REPORTED_NANO)}


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGKILL])
async def test_a_worker_that_ends_leaves_an_estimate(scene, sign):
    """Told to stop, it hangs up after its grace and bills the time; dead, its edge settles. Never nothing, never above the limit."""
    key = await scene.key()
    only = await scene.left(key, WAYS[0], f"worker-{sign}")
    await scene.heard(key, f"worker-{sign}")
    worker = await asyncio.to_thread(scene.tokn.kill, "worker", sign)
    (row,) = await scene.rows(key, 1)
    assert row["known"] == "estimated"
    assert 1 <= row["completion_tokens"] <= LIMIT
    if sign == signal.SIGTERM:
        assert row["outcome"] == "cancelled"
        assert row["completion_tokens"] > 50  # two seconds of grace, at the speed of its kind
    await until(lambda: only.closed_at and not alive(worker), 20, "the upstream is closed")
    await scene.back(key)
    assert (await asyncio.to_thread(scene.tokn.audit))["ok"]
