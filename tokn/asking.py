"""Owns how a command asks a running `tokn up` to reload: by a socket in its data folder, for its owner alone."""

import asyncio
import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import msgspec
from msgspec import Struct

from runtime.log import get_logger
from runtime.reload import Reloads
from runtime.settings.changes import Change
from runtime.settings.settings import SettingsError
from tokn.errors import NoLedgerError
from tokn.folder import Folder

NAME = "control.sock"
PATH_CHARS_MAX = 100  # what every system takes as a socket's address
QUESTION_S = 5.0
QUESTION_BYTES_MAX = 4_096
ANSWER_S = 300.0  # until every service is ready and has switched
ANSWER_BYTES_MAX = 16 * 1024 * 1024


class Question(Struct, frozen=True):
    """What is asked for: a reload, or with `check` whether one could be made."""

    check: bool = False


class Answer(Struct, frozen=True):
    """What came of it; `error` is why nothing has changed."""

    generation: int = 0
    changes: tuple[Change, ...] = ()
    error: str = ""


async def answer_to(reloads: Reloads, question: Question) -> Answer:
    """Does what is asked for, and says what came of it."""
    try:
        outcome = await reloads.reload(check=question.check)
    except SettingsError as error:
        return Answer(error=str(error))
    except Exception as error:  # noqa: BLE001  whoever asked learns of it
        get_logger("tokn.asking").exception("a reload failed")
        return Answer(error=f"it failed: {type(error).__name__}; the log says more")
    return Answer(outcome.generation, outcome.changes)


class Asked:
    """The socket of a running `tokn up`. Use as a context manager."""

    def __init__(self, folder: Folder, reloads: Reloads) -> None:
        self._path = folder.path / NAME
        self._reloads = reloads
        self._answers: set[asyncio.Task[None]] = set()
        self._closed = False

    async def __aenter__(self) -> Self:
        """Raises OSError where no socket can be made."""
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._path.unlink(missing_ok=True)
            with _address(self._path) as address:
                listener.bind(address)
            self._path.chmod(0o600)
            self._server = await asyncio.start_unix_server(
                self._asked, sock=listener, limit=QUESTION_BYTES_MAX
            )
        except OSError:
            listener.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        # A reload that goes on would start what the end of `tokn up` no longer stops.
        self._closed = True
        self._server.close()
        for answer in self._answers:
            answer.cancel()
        await asyncio.gather(*self._answers, return_exceptions=True)
        self._path.unlink(missing_ok=True)

    def _asked(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._closed:
            writer.close()
            return
        answer = asyncio.create_task(self._answer(reader, writer), name="answer to tokn reload")
        self._answers.add(answer)
        answer.add_done_callback(self._answers.discard)
        answer.add_done_callback(lambda _: writer.close())

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, TimeoutError, ValueError, msgspec.MsgspecError):
            async with asyncio.timeout(QUESTION_S):
                question = msgspec.json.decode(await reader.readline(), type=Question)
            writer.write(msgspec.json.encode(await answer_to(self._reloads, question)))
            async with asyncio.timeout(QUESTION_S):
                await writer.drain()


def ask(data: Path, question: Question) -> Answer:
    """The answer of the `tokn up` on a data folder. Raises NoLedgerError if none runs or answers."""
    path = data.absolute() / NAME
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link, _address(path) as address:
            link.settimeout(ANSWER_S)
            link.connect(address)
            link.sendall(msgspec.json.encode(question) + b"\n")
            told = bytearray()
            while len(told) < ANSWER_BYTES_MAX and (piece := link.recv(65_536)):
                told += piece
        return msgspec.json.decode(told, type=Answer)
    except (OSError, msgspec.MsgspecError):
        raise NoLedgerError(
            f"no tokn up answers on {data.absolute()}: start it, or name its folder with --data or TOKN_DATA;"
            " a service that runs alone reloads on SIGHUP"
        ) from None


@contextlib.contextmanager
def _address(path: Path) -> Iterator[str]:
    """A path as a socket's address, which has room for a short one only."""
    if len(os.fsencode(path)) <= PATH_CHARS_MAX:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
