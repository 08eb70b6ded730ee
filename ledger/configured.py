"""Owns what a ledger says of its configuration: what it runs on, the reloads that it is asked for, and what came of each."""

import asyncio
from collections import deque
from collections.abc import Coroutine, Mapping
from functools import partial
from typing import Any, Final

from msgspec import to_builtins

from ledger.acts.base import add_entry
from ledger.acts.settings import SETTINGS_RELOAD
from ledger.commits.load_act import load_act
from ledger.commits.load_save import save, wanted
from ledger.commits.telling_alone import lone_book, turned
from ledger.commits.writer import Writer
from ledger.rules.book import Told
from ledger.rules.grants import Grant, refused
from ledger.rules.missing import missing
from ledger.store.base import Store, StoreError
from runtime.log import get_logger
from runtime.reload import STATUS, Live, News, Outcome, problem_of
from runtime.settings.changes import Change
from runtime.settings.described import described
from runtime.settings.settings import Settings, SettingsError
from schemas.admin.reasons import Reason
from schemas.verbs.acts import ActRequest
from schemas.verbs.base import VERSION, Rows

ASKED_MS: Final = 300_000  # for so long an act allows its reload
KEPT_MAX: Final = 100  # reloads of which it is known what came of them
NEWS_MAX: Final = 100  # that wait for a database that is away
CHANGES_MAX: Final = 200  # that an event or an entry tells of
AGAIN_S: Final = 1.0
SYSTEM: Final = "system"
RELOADED, REJECTED = "config.reloaded", "config.rejected"
_TOLD: Final = "configuration"  # what is remembered of the last one that was told
_ASKED_SQL: Final = "SELECT actor, created_ms FROM audit_entries WHERE action = $1 AND target = $2"
_ALONE: Final = "nobody reads files for this ledger: restart it"
_logger = get_logger("ledger.configured")


class Configured:
    """The configuration of one ledger. `settings` are those of its own file, as they were taken."""

    def __init__(self, writer: Writer, settings: Settings, live: Live | None) -> None:
        self.settings = settings
        self._writer = writer
        self._store: Store = writer.committer.store
        self._live = live
        self._checking: asyncio.Task[Rows] | None = None
        self._made: dict[str, asyncio.Task[Rows]] = {}  # by the act's id
        self._news: deque[News] = deque(maxlen=NEWS_MAX)
        self._heard = asyncio.Event()
        self._problem = ""  # of the newest reload

    # Asked by whoever may.

    def shown(self) -> Rows:
        """What it runs on."""
        together = self._live is not None and self._live.together
        return Rows(
            (
                {
                    "object": "settings",
                    "source": self.settings.source,
                    "generation": STATUS.generation,
                    "ok": STATUS.ok,
                    "reloaded_at": int(STATUS.at),
                    "watched": self.settings.watch,
                    "together": together,
                    "values": to_builtins(described(self.settings)),
                },
            )
        )

    async def check(self) -> Rows:
        """What the file would change. Whoever asks while it is read has the same answer."""
        if self._checking is None or self._checking.done():
            self._checking = _task(self._check())
        return await asyncio.shield(self._checking)

    async def _check(self) -> Rows:
        outcome = await self._asked(check=True)
        if isinstance(outcome, str):
            return Rows((_came(STATUS.generation, (), outcome),))
        return Rows((_came(outcome.generation, outcome.changes, ""),))

    async def reload(self, grant: Grant, id_: str) -> Rows:
        """Makes the reload that an act of this grant has allowed, once. Raises StoreError."""
        rows = await self._store.fetch(_ASKED_SQL, SETTINGS_RELOAD.name, id_)
        if not rows or rows[0][0] != grant.actor:
            return missing("such reload")
        made = self._made.get(id_)
        if made is None:
            if self._store.now_ms() - int(rows[0][1]) > ASKED_MS:
                return Rows(problem="this reload was asked for long ago: ask for another one")
            made = self._made[id_] = _task(self._reload(id_))
            while len(self._made) > KEPT_MAX:
                self._made.pop(next(iter(self._made)))
        return await asyncio.shield(made)

    async def _reload(self, id_: str) -> Rows:
        outcome = await self._asked(check=False)
        if isinstance(outcome, str):
            return refused(Reason.CONFIG_REJECTED, f"not reloaded, nothing has changed: {outcome}")
        row = _came(outcome.generation, outcome.changes, "")
        return Rows(({**row, "object": "reload", "id": id_},))

    async def _asked(self, *, check: bool) -> Outcome | str:
        """What came of a reload, or why nothing has changed."""
        if self._live is None or self._live.ask is None:
            return _ALONE
        try:
            return await self._live.ask(check)
        except SettingsError as error:
            return str(error)
        except Exception as error:
            _logger.exception("a reload failed")
            return problem_of(error)

    # Told to everybody.

    def heard(self, news: News) -> None:
        """Takes note of what a reload came to; `run` tells it."""
        if news.problem and news.problem == self._problem:
            return  # a file that is watched is tried again and again
        self._problem = news.problem
        self._news.append(news)
        self._heard.set()

    async def run(self) -> None:
        """Tells of reloads until cancelled."""
        while True:
            await self._heard.wait()
            self._heard.clear()
            while self._news:
                try:
                    await self._writer.between(
                        partial(_tell, self._store, self.settings.source, self._news[0])
                    )
                except StoreError as error:
                    _logger.warning("the word of a reload has to wait", error=str(error))
                    await asyncio.sleep(AGAIN_S)
                    continue
                except Exception:
                    _logger.exception("a reload could not be told")
                self._news.popleft()


def _task(work: Coroutine[Any, Any, Rows]) -> asyncio.Task[Rows]:
    return asyncio.get_running_loop().create_task(work)


def _came(generation: int, changes: tuple[Change, ...], problem: str) -> dict[str, Any]:
    return {
        "object": "settings_check",
        "ok": not problem,
        "problem": problem or None,
        "generation": generation,
        "changes": to_builtins(changes),
    }


async def _tell(store: Store, source: str, news: News) -> None:
    """Enters a reload in the log and tells of it, but for a problem that was told last, by whichever ledger."""
    async with store.write() as tx:
        before = await turned(tx, _TOLD, news.problem)
        if not news.taken and (before is None or not news.problem):
            return
        book = lone_book(tx)
        await load_act(tx, book, wanted())  # it has the log's head now: others wait
        data: Mapping[str, Any] = {"id": source, "generation": news.generation}
        if news.problem:
            happened, data = REJECTED, {**data, "problem": news.problem}
        else:
            happened, data = RELOADED, {**data, "changes": to_builtins(news.changes[:CHANGES_MAX])}
        book.tell(Told(happened, source, "", dict(data)))
        action = happened.replace(".", "_")
        add_entry(
            book,
            action=action,
            target=source,
            request=ActRequest(VERSION, action, b"", actor=SYSTEM),
            changed=({}, {_TOLD: dict(data)}),
            answer=Rows(),
        )
        await save(tx, book, None)
