"""Ledgers on one database whose files differ in age: an older one never brings back a price, and all sell alike."""

import asyncio
import os
from pathlib import Path

import pytest
from msgspec import structs

from ledger.app import serve
from ledger.commits.newest import body_of, selling, take
from ledger.reload import catalogue_of
from ledger.store.base import Store
from runtime.reload import STATUS, Live, Reloads
from runtime.settings.generation import Generation
from runtime.settings.settings import Settings, SettingsError, load
from schemas.bus.subjects import Role
from schemas.verbs.calls import AUTHORISE, Authorise, AuthoriseReply, Hold
from tests.fakes.upstream import pool_toml
from tests.ledger.deployment import Deployment, until
from tests.ledger.harness import digest_of
from tokn.up import alone

DAY_S = 86_400
NOON_S = 1_790_000_000  # when the oldest file was written
CALLS = 12  # so many that each of two ledgers has some


@pytest.fixture(autouse=True)
def _status(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("generation", "ok", "at"):
        monkeypatch.setattr(STATUS, name, getattr(STATUS, name))


def write(path: Path, usd: str, day: int, more: str = "") -> None:
    """A configuration file that sells a million tokens at a price, as it was changed on a day."""
    path.write_text(pool_toml("http://127.0.0.1:9").replace("input = 2.50", f"input = {usd}") + more)
    os.utime(path, (NOON_S + day * DAY_S, NOON_S + day * DAY_S))


class Machine:
    """One ledger on a file of its own."""

    def __init__(self, deployment: Deployment, file: Path) -> None:
        self.file = file
        self._deployment = deployment
        self._live = Live()

    def read(self) -> Settings:
        """Its settings."""
        found = load(self.file, credentials=False, environment={})
        deployment = self._deployment
        return structs.replace(
            found,
            nats=deployment.server.settings(Role.LEDGER),
            database_url=deployment.source.url,
            pepper="pepper",
        )

    async def start(self) -> None:
        """Runs it, until it answers."""
        settings = self.read()
        self.reloads = Reloads(settings, self.read, self._live)
        self.stopping, ready = asyncio.Event(), asyncio.Event()
        self.task = asyncio.ensure_future(
            serve(
                settings,
                self.stopping,
                quiet_s=0.0,
                clock=self._deployment.clock,
                ready=ready,
                live=self._live,
            )
        )
        self._deployment.running.append((self.stopping, self.task))
        ended = asyncio.ensure_future(ready.wait())
        await asyncio.wait([self.task, ended], return_when=asyncio.FIRST_COMPLETED)
        ended.cancel()
        if self.task.done():
            self._deployment.running.pop()
            self.task.result()

    async def stop(self) -> None:
        """Ends it."""
        self.stopping.set()
        await asyncio.wait_for(self.task, 10)
        self._deployment.running.remove((self.stopping, self.task))


async def prices(deployment: Deployment, name: str) -> set[str]:
    """What an input costs by holds of now, whichever ledger takes them."""

    async def one(number: int) -> str:
        request = Authorise(
            v=1,
            request_id=f"{name}-{number}",
            digest=digest_of("key"),
            model="priced",
            prompt_max=100,
            choices=1,
            limit=50,
        )
        found = await deployment.ask(Role.EDGE, AUTHORISE, request, AuthoriseReply)
        assert isinstance(found, Hold), found
        return str(found.price.tiers[0].input)

    return set(await asyncio.gather(*map(one, range(CALLS))))


async def sells(deployment: Deployment, usd: str) -> None:
    """Waits until every ledger sells at a price."""
    count = 0

    async def all_of_them() -> bool:
        nonlocal count
        count += 1
        return await prices(deployment, f"{usd}-{count}") == {usd}

    await until(all_of_them, f"all ledgers sell at {usd}")


async def test_an_older_file_never_brings_back_a_price(
    deployment: Deployment, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two ledgers, each with its own file. What one takes the other sells too; its older file is refused, at a reload and a start.

    Once both have the new file they sell alike, and a newer one yet is taken by either.
    """
    first, second = (Machine(deployment, tmp_path / f"{name}.toml") for name in ("first", "second"))
    write(first.file, "2.50", day=0)
    write(second.file, "2.50", day=0)
    await first.start()
    await second.start()
    await deployment.key()
    await sells(deployment, "2.50")
    write(first.file, "5.00", day=2)
    await first.reloads.reload()
    await sells(deployment, "5.00")
    write(second.file, "9.00", day=1)
    with pytest.raises(SettingsError, match=r"second\.toml: is older.*09-22.*theirs.*09-23.*generation"):
        await second.reloads.reload(check=True)
    with pytest.raises(SettingsError, match="is older"):
        await second.reloads.reload()
    assert await prices(deployment, "refused") == {"5.00"}
    await second.stop()
    capsys.readouterr()
    await second.start()
    assert await prices(deployment, "started") == {"5.00"}
    (warned,) = [line for line in capsys.readouterr().err.splitlines() if '"level":"warning"' in line]
    assert all(word in warned for word in ("older", "second.toml", "09-22", "09-23")), warned
    await first.stop()
    assert await prices(deployment, "alone") == {"5.00"}, "it has it from the books"
    await first.start()
    write(second.file, "5.00", day=2)
    await second.reloads.reload()
    assert await prices(deployment, "alike") == {"5.00"}
    write(second.file, "7.00", day=3)
    await second.reloads.reload()
    await sells(deployment, "7.00")
    assert (await deployment.audit())["ok"]
    written = {row[0] for row in await deployment.store.fetch("SELECT id FROM models")}
    assert "priced" in written


async def test_a_number_says_which_file_is_newer(deployment: Deployment, tmp_path: Path) -> None:
    """A file with a higher `[reload] generation` is newer, whenever it was changed; one without a number is older than any."""
    first, second = (Machine(deployment, tmp_path / f"{name}.toml") for name in ("first", "second"))
    write(first.file, "2.50", day=9, more="[reload]\ngeneration = 4\n")
    await first.start()
    await deployment.key()
    for text in ("", "[reload]\ngeneration = 3\n"):
        write(second.file, "3.00", day=20, more=text)
        await second.start()
        assert await prices(deployment, f"older {len(text)}") == {"2.50"}
        await second.stop()
    write(second.file, "3.00", day=1, more="[reload]\ngeneration = 5\n")
    await second.start()
    await sells(deployment, "3.00")


async def test_the_same_in_an_older_file_is_no_conflict(deployment: Deployment, tmp_path: Path) -> None:
    """A copy whose time differs sells the same, so it is taken; what another machine has besides makes no difference."""
    first, second = (Machine(deployment, tmp_path / f"{name}.toml") for name in ("first", "second"))
    write(first.file, "2.50", day=5)
    write(second.file, "2.50", day=1, more="[edge]\nfull_wait_s = 9\n")
    await first.start()
    await second.start()
    await second.reloads.reload()
    assert second.reloads.settings.full_wait_s == 9
    write(second.file, "2.50", day=2)
    await second.reloads.reload()
    assert second.reloads.settings.generation == Generation(0, (NOON_S + 2 * DAY_S) * 1000)


async def test_what_is_taken_is_what_is_sold(store: Store, tmp_path: Path) -> None:
    """A catalogue made from what the books keep is that of the file, to the last price; no credential is in it."""
    file = tmp_path / "tokn.toml"
    text = '[[aliases]]\nid = "best"\nmodels = ["priced"]\n'
    write(file, "2.50", day=0, more=text)
    settings = load(file, credentials=True, environment={})
    body = body_of(settings)
    assert catalogue_of(selling(Settings(), body)).version == catalogue_of(settings).version
    key = settings.pools[0].accounts[0].api_key
    assert key
    assert key not in body
    async with store.write() as tx:
        await take(tx, settings.generation, body)
        taken = await take(tx, Generation(), "of a deployment without a file")
        assert taken.generation == settings.generation
        assert (await take(tx, Generation(0, 1), "of an older one")) == taken
        assert (await take(tx, Generation(0, 1), taken.body)) == taken


def test_a_deployment_by_itself_stands_back_to_none(tmp_path: Path) -> None:
    """`tokn up` on SQLite has its books to itself: it takes whatever file it is given; a number is compared all the same."""
    file = tmp_path / "tokn.toml"
    write(file, "2.50", day=0)
    own = alone(load(file, credentials=True, data=tmp_path, environment={}))
    assert not own.generation.known
    shared = structs.replace(
        load(file, credentials=True, environment={}), database_url="postgresql+asyncpg://x/y"
    )
    assert alone(shared).generation == Generation(0, NOON_S * 1000)
    write(file, "2.50", day=0, more="[reload]\ngeneration = 7\n")
    assert alone(load(file, credentials=True, data=tmp_path, environment={})).generation.number == 7
