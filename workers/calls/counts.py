"""Owns counts of tokens that a provider makes itself, for one pool: no call, no bill, and no account's condition is theirs."""

import asyncio
import time
from typing import Final

from msgspec import structs

from runtime.bus.bus import BusError
from runtime.tasks import noted
from schemas.bus.frames import Bounce, Data, Job, encode
from schemas.bus.usage import TOKENS_MAX
from schemas.dialects.messages.counting import COUNT_S
from schemas.dialects.messages.request import MESSAGES
from workers.calls.accounts import Account
from workers.calls.serving import Serving
from workers.providers.base import AccountError, Counting, RefusedError
from workers.upstream.http import UpstreamError, read_some
from workers.upstream.request import UpstreamRequest

AT_ONCE_MAX: Final = 16  # counts of one pool of a worker
COOL_S: Final = 60.0  # how long no account is asked that could not count
ANSWER_BYTES_MAX: Final = 64 * 1024
_REQUESTS_FAULT: Final = frozenset((400, 413, 422))  # says nothing about the account


class Counts:
    """Asks providers, and tells edges what they say or that they say nothing. An edge then estimates."""

    def __init__(self, serving: Serving) -> None:
        self._serving = serving
        self._tasks: set[asyncio.Task[None]] = set()
        self._cool_until: dict[str, float] = {}  # by account

    def take(self, job: Job, reply: str) -> None:
        """Answers one count at `reply`: at once where nobody can be asked."""
        if len(self._tasks) >= AT_ONCE_MAX or job.parts:
            self._say(reply, None)
            return
        task = asyncio.create_task(self._count(job, reply), name=f"count {self._serving.pool}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        noted(task)

    async def _count(self, job: Job, reply: str) -> None:
        tokens: int | None = None
        try:
            tokens = await self._ask(structs.replace(job, dialect=MESSAGES))
        finally:
            self._say(reply, tokens)

    async def _ask(self, job: Job) -> int | None:
        now = time.monotonic()
        account = self._account(job, now)
        request = self._request(job, account) if account is not None else None
        if account is None or request is None:
            return None
        try:
            async with asyncio.timeout(min(job.deadline_s, COUNT_S)):
                answer = await self._serving.upstream.open(request)
                body = await read_some(answer, ANSWER_BYTES_MAX)
        except (TimeoutError, UpstreamError):
            self._cool(account, now)
            return None
        family = self._serving.family
        if not 200 <= answer.status < 300 or not isinstance(family, Counting):
            if answer.status not in _REQUESTS_FAULT:
                self._cool(account, now)
            return None
        tokens = family.counted(body)
        if tokens is None or not 0 <= tokens <= TOKENS_MAX:
            self._cool(account, now)
            return None
        return tokens

    def _account(self, job: Job, now: float) -> Account | None:
        self._cool_until = {name: until for name, until in self._cool_until.items() if until > now}
        return self._serving.accounts.pick(job.upstream, job.scope, 0, set(self._cool_until), now)

    def _request(self, job: Job, account: Account) -> UpstreamRequest | None:
        model, family = self._serving.models.get(job.model), self._serving.family
        if model is None or not isinstance(family, Counting):
            return None
        try:
            return family.count(job, model, account.settings)
        except (RefusedError, AccountError):
            return None

    def _cool(self, account: Account, now: float) -> None:
        self._cool_until[account.settings.id] = now + COOL_S

    def _say(self, reply: str, tokens: int | None) -> None:
        serving = self._serving
        told = Bounce(serving.worker_id) if tokens is None else Data(0, b"%d" % tokens)
        try:
            serving.bus.publish(reply, encode(told))
        except BusError:
            return  # the edge waits no longer than COUNT_S
