"""Owns a ledger of the last release beside the ledger under test: its own code on the same database, in a process of its own."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).resolve().parents[2]
# 0.2.0 in the folders of now, by its commit: not every clone has tags.
RELEASE = "fc3ccb26e6e838778d6089c6a959584ea89048ea"
PARTS = ("ledger", "runtime", "schemas", "tests")
ANSWER_S = 120.0

# What runs there. Each line that comes in is a command, each line that goes out its answer.
PROGRAM = """
import asyncio, json, sys
from pathlib import Path
from ledger.app import open_store
from ledger.store.base import StoreDown
from schemas.money.pricing import TokenUsage
from tests.ledger.harness import Books, Clock, event

async def calls(books, prefix, number):
    await books.hold(f"{prefix}{number}", "old")
    await books.settle(event(f"{prefix}{number}", TokenUsage(input=50, output=20)))

async def main(url):
    store = await open_store(url, Clock())
    books, looping = await Books.open(store, Clock()), None
    if not await store.fetch("SELECT id FROM api_keys"):
        await books.key("old", 1000 * 10**9)
    loop = asyncio.get_running_loop()
    print(json.dumps("ready"), flush=True)
    stop, done, number, locked = False, 0, 0, 0

    async def again(call):
        nonlocal locked
        while True:
            try:
                return await call()
            except StoreDown:  # as the writer of a ledger does
                locked += 1
                await asyncio.sleep(0.2)

    async def go():
        nonlocal done
        while not stop:
            name = f"loop{done + 1}"
            await again(lambda: books.hold(name, "old"))
            await again(lambda: books.settle(event(name, TokenUsage(input=50, output=20))))
            done += 1
            await asyncio.sleep(0.002)

    while line := await loop.run_in_executor(None, sys.stdin.readline):
        word, *rest = json.loads(line)
        try:
            if word == "calls":
                for _ in range(rest[0]):
                    number += 1
                    await calls(books, "call", number)
                answer = number
            elif word == "loop":
                looping, answer = asyncio.ensure_future(go()), "looping"
            elif word == "done":
                if looping.done():
                    looping.result()
                answer = done
            elif word == "locked":
                answer = locked
            elif word == "stop":
                stop = True
                await looping
                answer = done
            else:
                async with store.write() as tx:
                    await tx.execute(rest[0])
                answer = "executed"
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)

asyncio.run(main(sys.argv[1]))
"""


def known() -> bool:
    """Whether this clone has the release: shallow ones have not."""
    asked = ["git", "rev-parse", "--verify", "--quiet", f"{RELEASE}^{{commit}}"]
    return subprocess.run(asked, cwd=ROOT, capture_output=True, check=False).returncode == 0


class Neighbour:
    """The last release's ledger on a database. Use as an async context manager."""

    def __init__(self, url: str, folder: Path) -> None:
        self._url = url
        self._folder = folder / "neighbour"
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        self._folder.mkdir()
        archive = subprocess.run(
            ["git", "archive", RELEASE, *PARTS], cwd=ROOT, check=True, capture_output=True
        ).stdout
        subprocess.run(["tar", "-x"], cwd=self._folder, check=True, input=archive)
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            PROGRAM,
            self._url,
            cwd=self._folder,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert await self._answer() == "ready"
        return self

    async def ask(self, *words: str | int) -> Any:
        """The answer to one command; an object with `error` if it failed."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(words).encode() + b"\n")
        return await self._answer()

    async def _answer(self) -> Any:
        assert self._process is not None
        assert self._process.stdout is not None
        line = await asyncio.wait_for(self._process.stdout.readline(), ANSWER_S)
        assert line, "the neighbour has ended"
        return json.loads(line)

    async def __aexit__(self, *_: object) -> None:
        assert self._process is not None
        if self._process.returncode is None:
            self._process.kill()
        await self._process.communicate()
