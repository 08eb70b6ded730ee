"""The socket by which `tokn reload` asks a running `tokn up`: for its owner alone, at any length of path, with one answer."""

import asyncio
import os
import signal
import socket
from types import SimpleNamespace

import pytest

from runtime.reload import Outcome
from runtime.settings.changes import Change
from runtime.settings.settings import Settings, SettingsError
from tokn import asking, up
from tokn.asking import Answer, Asked, Question
from tokn.errors import NoLedgerError
from tokn.folder import Folder

CHANGES = (Change("[edge] port", "1 -> 2", ("edge",)),)


class Reloads:
    """Answers as it is told to."""

    def __init__(self) -> None:
        self.settings = Settings()
        self.asked: list[bool] = []
        self.problem: Exception | None = None
        self.goes_on: asyncio.Event | None = None
        self.cancelled = False

    async def reload(self, *, check: bool = False) -> Outcome:
        """Raises what it is to."""
        self.asked.append(check)
        if self.problem is not None:
            raise self.problem
        if self.goes_on is not None:
            try:
                await self.goes_on.wait()
            except asyncio.CancelledError:
                self.cancelled = True
                raise
        return Outcome(7, CHANGES)


@pytest.mark.parametrize("depth", [1, 20], ids=["short", "long"])
async def test_a_command_is_answered(tmp_path, depth):
    """Generation and changes come back, or why nothing has changed; also from a folder whose path no socket's address can hold."""
    data = tmp_path.joinpath(*["a-folder"] * depth)
    data.mkdir(parents=True, mode=0o700)
    reloads = Reloads()
    (data / asking.NAME).write_text("left by one that was killed")
    async with Asked(Folder(data), reloads):
        assert (data / asking.NAME).stat().st_mode & 0o777 == 0o600
        for check in (False, True):
            answer = await asyncio.to_thread(asking.ask, data, Question(check))
            assert answer == Answer(7, CHANGES)
        reloads.problem = SettingsError("tokn.toml: [edge] port: is wrong")
        assert (await asyncio.to_thread(asking.ask, data, Question())).error == str(reloads.problem)
        reloads.problem = ValueError("a secret, perhaps")
        assert "secret" not in (await asyncio.to_thread(asking.ask, data, Question())).error
    assert reloads.asked == [False, True, False, False]
    with pytest.raises(NoLedgerError, match="no tokn up answers"):
        await asyncio.to_thread(asking.ask, data, Question())


async def test_nonsense_is_not_answered(tmp_path, monkeypatch):
    """What is no question, is too long, or does not come ends the connection, and the next one is answered."""
    monkeypatch.setattr(asking, "QUESTION_S", 0.2)
    reloads = Reloads()

    def say(words: bytes) -> bytes:
        with socket.socket(socket.AF_UNIX) as link:
            link.settimeout(20)
            link.connect(str(tmp_path / asking.NAME))
            link.sendall(words)
            try:
                return link.recv(100)
            except ConnectionResetError:
                return b""

    async with Asked(Folder(tmp_path), reloads):
        for words in (b"\n", b"{\n", b"x" * 9_000, b'{"check": 1}\n', b""):
            assert await asyncio.to_thread(say, words) == b""
        assert reloads.asked == []
        assert (await asyncio.to_thread(asking.ask, tmp_path, Question())).generation == 7


async def until(holds):
    """Waits for it."""
    async with asyncio.timeout(30):
        while not holds():
            await asyncio.sleep(0.01)


async def test_no_reload_outlives_the_socket(tmp_path):
    """A reload that was asked for has ended once the socket is closed, so that it starts nothing while all ends; its command hears so."""
    reloads = Reloads()
    reloads.goes_on = asyncio.Event()
    async with Asked(Folder(tmp_path), reloads):
        command = asyncio.create_task(asyncio.to_thread(asking.ask, tmp_path, Question()))
        await until(lambda: reloads.asked)
    assert reloads.cancelled
    with pytest.raises(NoLedgerError):
        await command


@pytest.mark.parametrize("why", ["it is a folder", "its folder is gone"])
async def test_without_its_socket_signals_reload(tmp_path, capfd, why):
    """Where the socket cannot be made `tokn up` says so once, and still follows SIGHUP."""
    data = tmp_path / "data"
    if why == "it is a folder":
        (data / asking.NAME).mkdir(parents=True)
    reloads = Reloads()
    before = signal.getsignal(signal.SIGHUP)
    following = asyncio.create_task(
        up._reload(
            SimpleNamespace(folder=SimpleNamespace(path=data), supervisor=SimpleNamespace(asked=None)),
            reloads,
        )
    )
    try:
        await until(lambda: following.done() or signal.getsignal(signal.SIGHUP) != before)
        assert not following.done()
        os.kill(os.getpid(), signal.SIGHUP)
        await until(lambda: reloads.asked)
        assert capfd.readouterr().err.count("tokn reload cannot reach it") == 1
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        asyncio.get_running_loop().remove_signal_handler(signal.SIGHUP)
