"""The socket by which `tokn reload` asks a running `tokn up`: for its owner alone, at any length of path, with one answer."""

import asyncio
import socket

import pytest

from runtime.reload import Outcome
from runtime.settings.changes import Change
from runtime.settings.settings import SettingsError
from tokn import asking
from tokn.asking import Answer, Asked, Question
from tokn.errors import NoLedgerError
from tokn.folder import Folder

CHANGES = (Change("[edge] port", "1 -> 2", ("edge",)),)


class Reloads:
    """Answers as it is told to."""

    def __init__(self) -> None:
        self.asked: list[bool] = []
        self.problem: Exception | None = None

    async def reload(self, *, check: bool = False) -> Outcome:
        """Raises what it is to."""
        self.asked.append(check)
        if self.problem is not None:
            raise self.problem
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
