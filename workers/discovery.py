"""Owns when a pool's accounts are asked for their own lists of models, within which bounds, and which answer is believed."""

import asyncio
import random
import time
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Final

from msgspec import Struct

from runtime.catalogue.models import rows
from runtime.catalogue.presets import presets
from runtime.log import get_logger
from schemas.catalogue.standing import standing
from workers.calls.accounts import Account
from workers.calls.listed import Stock
from workers.calls.serving import Serving
from workers.providers.base import AccountError
from workers.providers.listing import Listed, ListError, Listing, Reading
from workers.upstream.http import Upstream, UpstreamError, read_all

BYTES_MAX: Final = 4 * 1024 * 1024  # of one list, all pages
PAGES_MAX: Final = 64
LISTS_AT_ONCE: Final = 4  # of one pool
BELIEVED_SHARE: Final = 0.5  # of the last list's models: one with fewer is not believed for an interval
LOGGED_MAX: Final = 20  # models in one line
ENDING_DAYS: Final = 30

_logger = get_logger("workers.discovery")


class Pace(Struct, frozen=True, kw_only=True):
    """How often, and for how long at most. Tests shorten it."""

    interval_s: float = 3_600.0
    spread: float = 0.1  # of the interval, so that workers do not ask in step
    retry_s: float = 60.0  # after a failure, doubled with each further one up to the interval
    miss_gap_s: float = 30.0  # between two readings of one account, whoever misses a model
    deadline_s: float = 10.0  # for a whole list


PACE: Final = Pace()


def utc_today() -> date:
    """The day that retirements go by."""
    return datetime.now(UTC).date()


def stock(serving: Serving) -> Stock | None:
    """A pool's models as lists are compared with them; None where its vendor has no list that says what is served."""
    preset = presets().get(serving.provider)
    if preset is None or preset.lists == "none":
        return None
    known = rows(preset.price_source)
    aliases = {row.id: row.aliases for row in known.values() if row.aliases}
    return Stock(serving.models.values(), aliases if preset.lists == "aliases" else {}, known)


class Discovery:
    """Keeps the lists of one pool's accounts. Calls never wait for it."""

    def __init__(
        self, serving: Serving, stock: Stock, pace: Pace, today: Callable[[], date] = utc_today
    ) -> None:
        self._serving = serving
        self._stock = stock
        self._pace = pace
        self._today = today
        self._turns = asyncio.Semaphore(LISTS_AT_ONCE)
        self._said_on: date | None = None
        self._said: set[str] = set()  # what has been logged on that day

    async def run(self) -> None:
        """Asks every account at once, then at the pace, and soon after a call has missed a model; until cancelled."""
        family = self._serving.family
        if not isinstance(family, Listing):
            return
        async with asyncio.TaskGroup() as group:
            for account in self._serving.accounts.all:
                if not account.settings.keyless:
                    group.create_task(self._follow(family, account))

    async def _follow(self, family: Listing, account: Account) -> None:
        pace, failures = self._pace, 0
        while True:
            while account.heir is not None:  # with other credentials than those that this task began with
                account = account.heir
            async with self._turns:
                began = time.monotonic()
                failures = 0 if await self.ask(family, account) else failures + 1
            wait_s = pace.interval_s
            if failures:
                wait_s = min(pace.retry_s * 2.0 ** min(failures - 1, 16), wait_s)
            wait_s *= random.uniform(1 - pace.spread, 1 + pace.spread)  # noqa: S311  nobody gains by guessing it
            try:
                async with asyncio.timeout(wait_s):  # wait_for may lose the end of this task
                    await account.list.wanted.wait()
            except TimeoutError:
                continue
            await asyncio.sleep(max(0.0, began + pace.miss_gap_s - time.monotonic()))

    async def ask(self, family: Listing, account: Account) -> bool:
        """Reads an account's list once, and draws the consequences. Whether it could be read, and is believed."""
        missed = account.list.begin()
        try:
            async with asyncio.timeout(self._pace.deadline_s):
                reading = family.models(account.settings, self._today())
                listed = await read_list(reading, self._serving.upstream)
            self._believe(listed, account)
        except (ListError, UpstreamError, AccountError, TimeoutError) as error:
            self._failed(account, _told(error))
            return False
        except Exception:
            _logger.exception("a list of models cannot be read", pool=self._serving.pool)
            self._failed(account, "it cannot be read")
            return False
        account.follow(self._stock.compare(listed), self._stock.pinned, missed, time.monotonic())
        self._serving.accounts.follow_lists()
        self._say()
        return True

    def _believe(self, listed: Mapping[str, Listed], account: Account) -> None:
        """Raises ListError for a list that is more likely a fault than the truth; one that stays short is the truth."""
        if not listed:
            raise ListError("it is empty")
        known, now = account.list, time.monotonic()
        if len(listed) < known.believed * BELIEVED_SHARE:
            known.doubted_at = now if known.doubted_at is None else known.doubted_at
            if now - known.doubted_at < self._pace.interval_s:
                raise ListError(f"it has {len(listed)} models where the last had {known.believed}")
        known.believed, known.doubted_at = len(listed), None

    def _failed(self, account: Account, why: str) -> None:
        if why != account.list.error:
            _logger.info(
                "an account's models are not known: none is hidden",
                pool=self._serving.pool,
                account=account.settings.id,
                why=why,
            )
        account.follow_none(why)
        self._serving.accounts.follow_lists()

    def _say(self) -> None:
        """Of each model once a day: that it is served and has no price, or that it is about to end."""
        today, serving = self._today(), self._serving
        if today != self._said_on:
            self._said_on, self._said = today, set()
        for words, names in (
            ("served, not priced: these are not sold", serving.accounts.said.unpriced),
            ("these models end soon", self._ending(today)),
        ):
            if fresh := [name for name in names if name not in self._said]:
                self._said.update(fresh)
                _logger.info(words, pool=serving.pool, models=fresh[:LOGGED_MAX], count=len(fresh))

    def _ending(self, today: date) -> tuple[str, ...]:
        """The upstream models that end within ENDING_DAYS, each with its day; those of lists as well as of rows."""
        said = self._serving.accounts.said
        facts = {fact.id: fact for fact in said.facts}
        ends = {
            model.upstream: day
            for model in self._serving.models.values()
            if (day := standing(model, facts.get(model.upstream), today).ends) is not None
            and model.upstream not in said.lacking
        }
        last = today + timedelta(days=ENDING_DAYS)
        return tuple(f"{name} on {day}" for name, day in sorted(ends.items()) if today < day <= last)


async def read_list(reading: Reading, upstream: Upstream) -> Mapping[str, Listed]:
    """All pages of a list. Raises ListError, UpstreamError or AccountError."""
    left_bytes = BYTES_MAX
    for _ in range(PAGES_MAX):
        request = reading.request()
        if request is None:
            return reading.models
        answer = await upstream.open(request)
        try:
            if answer.status != 200:
                raise ListError(f"status {answer.status}")
            body = await read_all(answer, left_bytes)
        finally:
            answer.close()
        left_bytes -= len(body)
        reading.take(body)
    if reading.request() is None:
        return reading.models
    raise ListError(f"more than {PAGES_MAX} pages")


def _told(error: Exception) -> str:
    """Why, in words without anything of the account's."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return "no credentials yet" if isinstance(error, AccountError) else str(error)
