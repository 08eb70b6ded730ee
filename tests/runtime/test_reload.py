"""Reloads: read whole, prepared by all, switched by all or none; and files that are watched."""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from msgspec import structs

from runtime import metrics, reload
from runtime.reload import STATUS, Live, Reloads, Watched
from runtime.settings.changes import Change
from runtime.settings.settings import Settings, SettingsError, load


class Part:
    """Remembers what it is asked, and refuses what it is told to."""

    def __init__(self) -> None:
        self.asked: list[tuple[object, ...]] = []
        self.refuses = ""

    async def prepare(self, generation: int, settings: Settings) -> None:
        """Raises SettingsError where it is to."""
        self.asked.append(("prepare", generation, settings.full_wait_s, settings.port))
        if self.refuses:
            raise SettingsError(self.refuses)

    async def switch(self, generation: int, changes: tuple[Change, ...] = ()) -> None:
        """Notes it."""
        self.asked.append(("switch", generation))

    async def drop(self, generation: int, *, ok: bool | None, why: str = "") -> None:
        """Notes it."""
        self.asked.append(("drop", generation, ok))


class File:
    """Settings that a test changes, as they are read."""

    def __init__(self) -> None:
        self.settings = Settings()
        self.part = Part()
        self.reloads = Reloads(self.settings, self.read, self.part)

    def read(self) -> Settings:
        """What the file has now; less than no time is wrong."""
        if self.settings.full_wait_s < 0:
            raise SettingsError("tokn.toml: [edge] full_wait_s: is wrong")
        return self.settings

    def have(self, **changes: object) -> None:
        """Writes another file."""
        self.settings = structs.replace(self.settings, **changes)


async def test_settings_are_prepared_then_switched() -> None:
    """What differs is prepared and switched under one number, once; what needs a restart is handed on as it was."""
    file = File()
    file.have(full_wait_s=9.0, port=9)
    outcome = await file.reloads.reload()
    assert file.part.asked == [("prepare", 2, 9.0, 8000), ("switch", 2)]
    assert [change.line for change in outcome.changes] == [
        "[edge] port: 8000 -> 9: needs a restart of edge",
        "[edge] full_wait_s: 2.0 -> 9.0",
    ]
    again = await file.reloads.reload()
    assert file.part.asked[2:] == [("drop", 3, True)]
    assert again.generation == outcome.generation == 2
    assert [change.place for change in again.changes] == ["[edge] port"], "until it is restarted"


async def test_what_is_wrong_is_dropped() -> None:
    """Settings that cannot be read, or that somebody cannot run on, leave all as it was; the right ones are taken later."""
    file = File()
    file.have(full_wait_s=-1.0)
    with pytest.raises(SettingsError, match="full_wait_s"):
        await file.reloads.reload()
    file.have(full_wait_s=1.0)
    file.part.refuses = "tokn.toml: [[models]] id 'x': no price"
    with pytest.raises(SettingsError, match="no price"):
        await file.reloads.reload()
    assert file.part.asked == [("drop", 2, False), ("prepare", 3, 1.0, 8000), ("drop", 3, False)]
    assert file.reloads.settings == Settings()
    file.part.refuses = ""
    assert (await file.reloads.reload()).generation == 4


async def test_a_check_switches_nothing() -> None:
    """A check prepares and drops, and a check of what is wrong says so: neither is a reload."""
    file = File()
    file.have(full_wait_s=9.0)
    outcome = await file.reloads.reload(check=True)
    assert outcome.generation == 1
    assert outcome.changes
    file.part.refuses = "no"
    with pytest.raises(SettingsError):
        await file.reloads.reload(check=True)
    assert [what for what in file.part.asked if what[0] != "prepare"] == [
        ("drop", 2, None),
        ("drop", 3, None),
    ]
    assert file.reloads.settings == Settings()


@pytest.mark.parametrize("where", ["read", "prepare", "switch"])
async def test_a_reload_that_breaks_is_shown(monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    """Whatever goes wrong in a reload, metrics show that it failed, nothing prepared is kept, and the next one may be good."""
    for name, value in (("generation", 1), ("ok", True), ("at", 0.0)):
        monkeypatch.setattr(STATUS, name, value)
    live, broken = Live(), True

    def read() -> Settings:
        if broken and where == "read":
            raise RuntimeError("a bug")
        return Settings(full_wait_s=9.0)

    async def prepare(settings: Settings):
        del settings
        if broken and where == "prepare":
            raise RuntimeError("a bug")

        async def switch() -> None:
            if broken:
                raise RuntimeError("the database is away")

        return switch

    live.follow(prepare)
    reloads = Reloads(Settings(), read, live)
    with contextlib.suppress(RuntimeError):
        await reloads.reload(check=True)
    assert b"tokn_config_last_reload_ok 1.0" in metrics.text(), "a check is no reload"
    with pytest.raises(RuntimeError):
        await reloads.reload()
    assert b"tokn_config_last_reload_ok 0.0" in metrics.text()
    assert b"tokn_config_generation 1.0" in metrics.text()
    assert reloads.settings == Settings()
    with pytest.raises(SettingsError, match="nothing was prepared"):
        await live.switch(3)
    broken = False
    assert (await reloads.reload()).generation == 4
    assert b"tokn_config_last_reload_ok 1.0" in metrics.text()


async def test_a_service_takes_only_what_it_prepared(monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that still starts refuses; one that has prepared switches under that number alone, and metrics show it."""
    for name, value in (("generation", 1), ("ok", True), ("at", 0.0)):
        monkeypatch.setattr(STATUS, name, value)
    live, taken = Live(), list[float]()
    with pytest.raises(SettingsError, match="starting"):
        await live.prepare(2, Settings())

    async def prepare(settings: Settings):
        async def switch() -> None:
            taken.append(settings.full_wait_s)

        return switch

    live.follow(prepare)
    await live.prepare(3, Settings(full_wait_s=3.0))
    with pytest.raises(SettingsError, match="nothing was prepared"):
        await live.switch(2)
    await live.prepare(4, Settings(full_wait_s=4.0))
    await live.drop(4, ok=False)
    assert b"tokn_config_last_reload_ok 0.0" in metrics.text()
    with pytest.raises(SettingsError):
        await live.switch(4)
    await live.prepare(5, Settings(full_wait_s=5.0))
    await live.switch(5)
    assert taken == [5.0]
    assert b"tokn_config_generation 5.0" in metrics.text()
    assert b"tokn_config_last_reload_ok 1.0" in metrics.text()


def test_a_file_is_watched_by_its_content(tmp_path: Path) -> None:
    """Another content counts, once; a touch does not; links that lead elsewhere do, and so do files that come and go."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    (tmp_path / "a" / "key").write_text("one")
    (tmp_path / "b" / "key").write_text("two")
    (tmp_path / "link").symlink_to("a")
    files = (str(tmp_path / "link" / "key"), str(tmp_path / "gone"))
    watched = Watched()
    assert watched.changed(files), "nobody knows what was read before"
    assert not watched.changed(files)
    os.utime(files[0], ns=(1, 1))
    assert not watched.changed(files)
    (tmp_path / "next").symlink_to("b")
    (tmp_path / "next").rename(tmp_path / "link")
    assert watched.changed(files)
    assert not watched.changed(files)
    (tmp_path / "gone").write_text("x")
    assert watched.changed(files)
    (tmp_path / "gone").unlink()
    assert watched.changed(files)
    assert not watched.changed(files)


def test_settings_name_the_files_that_they_were_read_from(tmp_path: Path) -> None:
    """The configuration file and each secret's are named, absolute; an account's credentials by their names."""
    (tmp_path / "key").write_text("sk-1\n")
    config = tmp_path / "tokn.toml"
    config.write_text(
        '[reload]\nwatch = true\n[pools.p]\nprovider = "openai"\n'
        '[[pools.p.accounts]]\nid = "a"\napi_key = "file:key"\n'
    )
    settings = load(config, credentials=True, environment={})
    assert settings.watch
    assert settings.files == (str(config), str(tmp_path / "key"))
    (account,) = settings.pools[0].accounts
    assert account.api_key == "sk-1"
    assert account.files == {"api_key": str(tmp_path / "key")}
    unread = load(config, credentials=False, environment={})
    assert unread.files == (str(config),)
    assert unread.pools[0].accounts[0].files == {}


class Followed(File):
    """The same settings from a file that is watched, with every look counted."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.looks = 0
        self.have(watch=True, files=(str(path),))
        self.reloads.settings = self.settings
        self.write("1")

    def write(self, text: str) -> None:
        """Another content of the file, at once: a file that is written in place is empty in between, which is a change, too."""
        written = self.path.with_name("written")
        written.write_text(text)
        written.rename(self.path)

    @property
    def prepared(self) -> int:
        """How often settings were to be prepared."""
        return sum(what[0] == "prepare" for what in self.part.asked)

    async def until(self, holds: Callable[[], bool]) -> None:
        """Waits for it."""
        async with asyncio.timeout(30):
            while not holds():
                await asyncio.sleep(0.01)

    async def look(self, times: int = 5) -> None:
        """Waits for some more looks."""
        wanted = self.looks + times
        await self.until(lambda: self.looks >= wanted)


@pytest.fixture
async def followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Followed]:
    """Settings that are followed, from a file that was looked at, with short waits between two looks."""
    made = Followed(tmp_path / "tokn.toml")
    changed = Watched.changed

    def counted(watched: Watched, files: tuple[str, ...]) -> bool:
        made.looks += 1
        return changed(watched, files)

    monkeypatch.setattr(Watched, "changed", counted)
    monkeypatch.setattr(reload, "WATCH_S", 0.01)
    following = asyncio.create_task(reload.follow(made.reloads, "up"))
    await made.look()
    yield made
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
    asyncio.get_running_loop().remove_signal_handler(signal.SIGHUP)


async def test_what_failed_for_a_moment_is_tried_again(
    followed: Followed, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A watched change that cannot be taken is tried until it can, without a further change; its error is said once."""
    monkeypatch.setattr(reload, "AGAIN_S", 0.02)
    followed.part.refuses = "the worker has ended: try again"
    followed.have(full_wait_s=9.0)
    followed.write("2")
    await followed.until(lambda: followed.prepared >= 4)
    assert capfd.readouterr().err.count("the worker has ended") == 1
    followed.part.refuses = "the edge is away"
    await followed.until(lambda: "the edge is away" in capfd.readouterr().err)
    followed.part.refuses = ""
    await followed.until(lambda: followed.reloads.settings.full_wait_s == 9.0)
    prepared = followed.prepared
    await followed.look()
    assert followed.prepared == prepared, "what was taken is not tried again"


async def test_what_failed_is_not_tried_at_each_look(
    followed: Followed, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Before AGAIN_S has passed only another change or a SIGHUP has a failed reload tried again, and both say the error anew."""
    monkeypatch.setattr(reload, "AGAIN_S", 3_600.0)
    followed.part.refuses = "the worker has ended"
    followed.have(full_wait_s=9.0)
    followed.write("2")
    await followed.until(lambda: followed.prepared == 1)
    await followed.look()
    assert followed.prepared == 1
    followed.write("three")
    await followed.until(lambda: followed.prepared == 2)
    os.kill(os.getpid(), signal.SIGHUP)
    await followed.until(lambda: followed.prepared == 3)
    await followed.look()
    assert followed.prepared == 3
    assert capfd.readouterr().err.count("the worker has ended") == 3
