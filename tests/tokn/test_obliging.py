"""A child of `tokn up` has a reload made, and learns what came of it; only one that may ask is heard."""

import asyncio
import json
import os
import sys

import pytest
from msgspec import structs

from runtime.reload import Live, Reloads
from runtime.settings.settings import Settings, SettingsError
from tests.fakes.caller import until
from tokn import obliging
from tokn.child import Program
from tokn.handing import handed
from tokn.obliging import Obliging
from tokn.settings import plain_environment
from tokn.supervisor import Supervisor

# A child that asks for a check and for a reload, and writes down what came of each.
CHILD = """
import asyncio, json, pathlib, sys
from runtime.reload import Live
from runtime.settings.settings import SettingsError
from tokn import handing
async def main():
    handing.first(0)
    asking = handing.Asking()
    obeying = asyncio.create_task(handing.obey(Live(), asking, 0))
    told = []
    for check in (True, False):
        try:
            came = await asking.ask(check)
            told.append([came.generation, [change.line for change in came.changes]])
        except SettingsError as error:
            told.append(str(error))
    path = pathlib.Path(sys.argv[1])
    path.with_suffix(".new").write_text(json.dumps(told))
    path.with_suffix(".new").replace(path)
    await obeying
asyncio.run(main())
"""


class Up:
    """A supervisor with one child, and the reloads that it may ask for."""

    def __init__(self, supervisor: Supervisor, folder) -> None:
        self.supervisor = supervisor
        self.said = folder / "said.json"
        self.found: Settings | SettingsError = Settings(full_wait_s=9.0)
        self.reloads = Reloads(Settings(), self.read, self.live())

    def live(self) -> Live:
        """A service that takes everything."""
        live = Live()

        async def switch() -> None:
            return None

        async def prepare(_: Settings):
            return switch

        live.follow(prepare)
        return live

    def read(self) -> Settings:
        """What the file has."""
        if isinstance(self.found, SettingsError):
            raise self.found
        return self.found

    async def start(self, *, asks: bool) -> None:
        """The child, anew."""
        self.said.unlink(missing_ok=True)
        program = Program(
            name="child",
            arguments=(sys.executable, "-c", CHILD, str(self.said)),
            environment=plain_environment(),
            settings=handed(1, Settings()),
            stop_s=5.0,
            asks=asks,
        )
        await self.supervisor.start(program)

    async def told(self):
        """What the child learned."""
        await until(self.said.exists, 60, "the child's word")
        return json.loads(self.said.read_text())


@pytest.fixture
async def up(tmp_path):
    """A supervisor whose child is ended after the test."""
    lock_fd = os.open(os.devnull, os.O_RDONLY)
    made = Up(Supervisor(lock_fd, lambda: None), tmp_path)
    async with Obliging(made.supervisor, made.reloads):
        yield made
    await made.supervisor.stop("child")
    os.close(lock_fd)


async def test_a_child_has_a_reload_made(up):
    """A check changes nothing and the reload does; both say what differs."""
    await up.start(asks=True)
    line = "[edge] full_wait_s: 2.0 -> 9.0"
    assert await up.told() == [[1, [line]], [3, [line]]]
    assert up.reloads.settings.full_wait_s == 9.0


async def test_a_refusal_is_its_sentence(up):
    """What is wrong is what a command would be told, and nothing has changed."""
    up.found = SettingsError("tokn.toml: [edge] full_wait_s: is wrong")
    await up.start(asks=True)
    assert await up.told() == ["tokn.toml: [edge] full_wait_s: is wrong"] * 2
    assert up.reloads.settings == Settings()


async def test_who_may_not_ask_is_not_heard(up, monkeypatch):
    """A console has such a line too: what it asks for is not done, and nothing answers; too many at once are told so."""
    heard = asyncio.Event()
    within = up.supervisor.asked

    def asked(child, line) -> None:
        within(child, line)
        heard.set()

    up.supervisor.asked = asked
    await up.start(asks=False)
    async with asyncio.timeout(60):
        await heard.wait()
    assert up.reloads._asked == 1
    assert not up.said.exists()
    await up.supervisor.stop("child")
    monkeypatch.setattr(obliging, "WAITING_MAX", 0)
    up.found = structs.replace(Settings(), full_wait_s=3.0)
    await up.start(asks=True)
    assert await up.told() == ["too many reloads are asked for at once: ask again in a moment"] * 2
    assert up.reloads.settings == Settings()
