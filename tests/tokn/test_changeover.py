"""Children of `tokn up` take new settings all or none, and one that fails in between comes back with them."""

import asyncio
import os
import sys

import pytest

from runtime.settings.settings import Settings, SettingsError
from tokn.changeover import Changeover
from tokn.child import Program
from tokn.handing import handed
from tokn.settings import plain_environment
from tokn.supervisor import Supervisor

# A child that runs on the settings' `full_wait_s` and writes it into a file of its own each time that it takes some.
CHILD = """
import asyncio, os, pathlib, sys
from runtime.reload import Live
from runtime.settings.settings import SettingsError
from tokn import handing
name, folder = sys.argv[1], pathlib.Path(sys.argv[2])
_, settings = handing.first(0)
def took(settings):
    (folder / f"{name}.new").write_text(f"{settings.full_wait_s:g}")
    (folder / f"{name}.new").replace(folder / name)
async def main():
    live = Live()
    async def prepare(settings):
        if settings.source == f"refused by {name}":
            raise SettingsError(f"{name} cannot")
        async def switch():
            if settings.source == f"death of {name}":
                os._exit(1)
            if settings.source == f"failure of {name}":
                raise ValueError("broken")
            took(settings)
        return switch
    live.follow(prepare)
    took(settings)
    await handing.obey(live, handing.Asking(), 0)
asyncio.run(main())
"""
NAMES = ("ledger", "worker", "edge")


class Deployment:
    """Three children."""

    def __init__(self, folder, lock_fd: int) -> None:
        self.folder = folder
        self.taken: list[Settings] = []
        self.supervisor = Supervisor(lock_fd, lambda: None)
        self.changeover = Changeover(self.supervisor, self.programs, self.taken.append)

    def programs(self, settings: Settings, generation: int) -> dict[str, Program]:
        """All of them; without a data folder, or as settings name it, there is no worker."""
        return {
            name: Program(
                name=name,
                arguments=(sys.executable, "-c", CHILD, name, str(self.folder)),
                environment=plain_environment(),
                settings=handed(generation, settings),
                stop_s=5.0,
            )
            for name in NAMES
            if name != "worker" or settings.keep_items
        }

    async def run_on(self, *waits: str) -> None:
        """Waits until the children run on these."""

        def now() -> list[str]:
            return [path.read_text() if (path := self.folder / name).exists() else "" for name in NAMES]

        async with asyncio.timeout(60):
            while now() != list(waits):
                await asyncio.sleep(0.02)

    async def reload(self, number: int, wait_s: float, source: str = "a file", **more: object) -> None:
        """One reload, as `Reloads` makes it. Raises SettingsError."""
        settings = Settings(full_wait_s=wait_s, source=source, **more)
        try:
            await self.changeover.prepare(number, settings)
        except SettingsError:
            await self.changeover.drop(number, ok=False)
            raise
        await self.changeover.switch(number)


@pytest.fixture
async def deployment(tmp_path):
    """Three children that run on 1."""
    lock_fd = os.open(os.devnull, os.O_RDONLY)
    made = Deployment(tmp_path, lock_fd)
    with pytest.raises(SettingsError, match="still starting"):
        await made.changeover.prepare(1, Settings())
    await made.changeover.start(Settings(full_wait_s=1.0))
    await made.run_on("1", "1", "1")
    yield made
    for name in list(made.supervisor.children):
        await made.supervisor.stop(name)
    os.close(lock_fd)


async def test_all_switch_or_none(deployment):
    """One that cannot run on settings keeps all from it, whichever it is; the next ones are taken by all, in the same processes."""
    before = {name: child.pid for name, child in deployment.supervisor.children.items()}
    for number, name in enumerate(NAMES, 2):
        with pytest.raises(SettingsError, match=f"{name} cannot"):
            await deployment.reload(number, 2.0, f"refused by {name}")
        await deployment.run_on("1", "1", "1")
    assert deployment.taken == []
    await deployment.reload(9, 3.0)
    await deployment.run_on("3", "3", "3")
    assert [settings.full_wait_s for settings in deployment.taken] == [3.0]
    assert {name: child.pid for name, child in deployment.supervisor.children.items()} == before


@pytest.mark.parametrize("how", ["death", "failure"])
async def test_one_that_fails_in_between_comes_back_with_the_new_settings(deployment, how):
    """Whoever does not switch after all have prepared is started again, and all run on the new settings."""
    killed = deployment.supervisor.children["worker"].pid
    await deployment.reload(2, 2.0, f"{how} of worker")
    await deployment.run_on("2", "2", "2")
    assert deployment.supervisor.children["worker"].pid != killed


async def test_a_service_that_is_not_needed_ends_and_begins(deployment):
    """Settings without pools end the worker, without waiting for it; later ones start it."""
    stop, stopping = deployment.supervisor.stop, asyncio.Event()

    async def late(name: str) -> None:
        await stopping.wait()
        await stop(name)

    deployment.supervisor.stop = late
    await deployment.reload(2, 2.0, keep_items=False)
    with pytest.raises(SettingsError, match="still has calls"):
        await deployment.reload(3, 3.0)
    stopping.set()
    async with asyncio.timeout(30):
        while "worker" in deployment.supervisor.children:
            await asyncio.sleep(0.02)
    await deployment.run_on("2", "1", "2")
    await deployment.reload(4, 4.0)
    await deployment.run_on("4", "4", "4")


async def test_services_that_were_let_go_are_waited_for(deployment):
    """Whoever ends all can wait for a worker that a reload let go, which no longer stops by its name; for none there is no wait."""
    await deployment.changeover.settled()
    stop, stopping = deployment.supervisor.stop, asyncio.Event()
    begun = asyncio.Event()

    async def late(name: str) -> None:
        begun.set()
        await stopping.wait()
        await stop(name)

    deployment.supervisor.stop = late
    await deployment.reload(2, 2.0, keep_items=False)
    settling = asyncio.create_task(deployment.changeover.settled())
    await begun.wait()
    assert not settling.done()
    stopping.set()
    async with asyncio.timeout(30):
        await settling
    assert "worker" not in deployment.supervisor.children
    await deployment.changeover.settled()


async def test_a_child_that_is_away_keeps_all_from_a_reload(deployment):
    """While one is started again nothing is reloaded, and the answer says to try again; a child's old number is not taken."""
    child = deployment.supervisor.children["edge"]
    child.signal(9)
    await child.wait()
    with pytest.raises(SettingsError, match="edge has ended"):
        await deployment.reload(2, 2.0)
    assert deployment.taken == []
    with pytest.raises(SettingsError, match="nothing was prepared"):
        await deployment.changeover.switch(2)
