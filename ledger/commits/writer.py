"""Owns the one writer of a ledger: it commits together what has arrived while the last commit was under way.

There is no timer: a command that finds the writer idle is committed at once, and the busier the ledger, the larger its
commits. While commands wait, a commit takes few events, so that a backlog of settlements never holds up a call.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from msgspec import Struct

from ledger.commits.commands import Command
from ledger.commits.commit import Committer, Delivery
from ledger.store.base import StoreConflict, StoreError, again, is_at_fault
from ledger.telemetry import Telemetry
from runtime.bounded import Warnings
from runtime.log import get_logger
from schemas.bus.subjects import is_token
from schemas.verbs.base import Done
from schemas.verbs.calls import Renew

COMMANDS_MAX = 512  # in one commit
EVENTS_MAX = 256  # in one commit, while no command waits
EVENTS_BESIDE_COMMANDS_MAX = 100
WAITING_MAX = 20_000  # commands that wait; beyond it they are turned away
COMMAND_AGE_MAX_S = 5.0  # whoever sent an older command has given it up
RETRY_PAUSE_S = 0.2
PROBE_S = 1.0

_logger = get_logger("ledger.writer")
_away = Warnings(_logger, "the database does not answer")


class _Waiting(Struct, frozen=True, eq=False):
    command: Command
    answer: Callable[[Any], None]
    since: float


class _Work(Struct, frozen=True, eq=False):
    delivery: Delivery
    done: Callable[[], None]


class Writer:
    """Takes commands and deliveries; `run` commits them. Callbacks run after the commit, and must not block."""

    def __init__(self, committer: Committer, telemetry: Telemetry) -> None:
        self.committer = committer
        self._telemetry = telemetry
        self._commands: deque[_Waiting] = deque()
        self._works: deque[_Work] = deque()
        self._renewals: list[tuple[set[str], Callable[[Any], None]]] = []
        self._errands: deque[tuple[Callable[[], Awaitable[Any]], asyncio.Future[Any]]] = deque()
        self._wake = asyncio.Event()
        self._probed = 0.0
        self._closing = False

    @property
    def waiting(self) -> int:
        """Commands that wait."""
        return len(self._commands)

    def submit(self, command: Command, answer: Callable[[Any], None]) -> None:
        """Queues a command. No answer comes if its sender has given up, or if the command itself cannot be done."""
        if len(self._commands) >= WAITING_MAX:
            self._telemetry.turned_away.inc()
            if command.write.busy is not None:
                answer(command.write.busy)
            return
        self._commands.append(_Waiting(command, answer, time.monotonic()))
        self._wake.set()

    def renew(self, request: Renew, answer: Callable[[Any], None]) -> None:
        """Queues a renewal of leases."""
        if len(self._renewals) < WAITING_MAX:
            # An id that no database takes must not keep the others from their renewal.
            self._renewals.append((set(filter(is_token, request.request_ids)), answer))
            self._wake.set()

    def apply(self, delivery: Delivery, done: Callable[[], None]) -> None:
        """Queues a delivery; `done` is called once it is durable. The consumer bounds how many there are."""
        self._works.append(_Work(delivery, done))
        self._wake.set()

    async def between(self, errand: Callable[[], Awaitable[Any]]) -> Any:
        """Runs something that writes one transaction, between two commits; at conflicts with other ledgers again."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._errands.append((errand, future))
        self._wake.set()
        return await future

    def stop(self) -> None:
        """Ends `run` once everything queued is committed."""
        self._closing = True
        self._wake.set()

    async def run(self) -> None:
        """Commits until stopped."""
        while True:
            if not (self._commands or self._works or self._renewals or self._errands):
                if self._closing:
                    return
                self._wake.clear()
                await self._something()
            try:
                await self._step()
                await self._probe()
            except StoreError as error:
                self._failed(error)
                await asyncio.sleep(RETRY_PAUSE_S)

    async def _something(self) -> None:
        """Waits for work; after a commit that failed also for the time of the next probe."""
        try:
            async with asyncio.timeout(None if self.committer.writable else PROBE_S):
                await self._wake.wait()
        except TimeoutError:
            return

    def _failed(self, error: StoreError) -> None:
        _away.say("", error=str(error))
        self._telemetry.failures.inc()
        if is_at_fault(error) and self.committer.writable:
            self.committer.writable = False
            self._telemetry.writable.set(0)

    async def _probe(self) -> None:
        """After a commit that failed, one row each PROBE_S until it goes well: till then no call is served anyway."""
        now = time.monotonic()
        if self.committer.writable or now - self._probed < PROBE_S:
            return
        self._probed = now
        await self.committer.probe()
        self.committer.writable = True
        self._telemetry.writable.set(1)
        _logger.warning("the database takes writes again")

    async def _step(self) -> None:
        if self._commands or self._works:
            await self._commit_some()
        if self._renewals:
            await self._commit_renewals()
        if self._errands:
            errand, future = self._errands.popleft()
            try:
                result = await again(errand)
            except Exception as error:  # noqa: BLE001  the errand's sender hears of it
                if isinstance(error, StoreError) and is_at_fault(error):
                    self._failed(error)
                if not future.done():
                    future.set_exception(error)
            else:
                if not future.done():
                    future.set_result(result)

    def _drop_old(self) -> None:
        oldest = time.monotonic() - COMMAND_AGE_MAX_S
        while self._commands and self._commands[0].since < oldest:
            self._commands.popleft()

    async def _commit_renewals(self) -> None:
        renewals, self._renewals = self._renewals, []
        try:
            await self.committer.renew(set().union(*(ids for ids, _ in renewals)))
        except StoreError:
            self._renewals = (renewals + self._renewals)[:WAITING_MAX]
            raise
        for _, answer in renewals:
            answer(Done())

    async def _commit_some(self) -> None:
        self._drop_old()
        if self._is_next_alone():  # and then a batch, so that acts one after another hold nothing else up
            await self._commit_these([self._commands.popleft()], [])
        commands: list[_Waiting] = []
        while self._commands and len(commands) < COMMANDS_MAX and not self._is_next_alone():
            commands.append(self._commands.popleft())
        budget = EVENTS_BESIDE_COMMANDS_MAX if commands else EVENTS_MAX
        works: list[_Work] = []
        while self._works and (not works or budget >= len(self._works[0].delivery.events)):
            if works and works[0].delivery.identity != self._works[0].delivery.identity:
                break
            work = self._works.popleft()
            budget -= len(work.delivery.events)
            works.append(work)
        if commands or works:
            await self._commit_these(commands, works)

    def _is_next_alone(self) -> bool:
        return bool(self._commands) and self._commands[0].command.write.alone

    async def _commit_these(self, commands: list[_Waiting], works: list[_Work]) -> None:
        try:
            answers = await self.committer.commit(
                [one.command for one in commands], [one.delivery for one in works]
            )
        except Exception as error:
            if _can_wait(error):
                self._put_back(commands, works)
                raise
            _logger.warning("a batch failed; its parts are committed one by one", error=repr(error))
            self._telemetry.failures.inc()
            await self._one_by_one(deque(commands), deque(works))
            return
        for waiting, answer in zip(commands, answers, strict=True):
            waiting.answer(answer)
        for work in works:
            work.done()

    def _put_back(self, commands: Sequence[_Waiting], works: Sequence[_Work]) -> None:
        """What was taken and is not committed comes first again: nothing is ever dropped without its `done`."""
        self._commands.extendleft(reversed(commands))
        self._works.extendleft(reversed(works))

    async def _one_by_one(self, commands: deque[_Waiting], works: deque[_Work]) -> None:
        """Commits each part of a failed batch by itself. What was committed before a failure changes nothing again."""
        try:
            while commands:
                await self._alone(commands[0])
                commands.popleft()
            while works:
                await self._apart(works[0].delivery)
                works.popleft().done()
        except BaseException:
            self._put_back(commands, works)
            raise

    async def _alone(self, waiting: _Waiting) -> None:
        try:
            waiting.answer((await self.committer.commit([waiting.command]))[0])
        except Exception as error:
            if _can_wait(error):
                raise
            # No answer: nothing was changed, and its sender asks again or gives up.
            _logger.exception("a command failed", command=waiting.command.write.verb.name)

    async def _apart(self, delivery: Delivery) -> None:
        """Each event of a message by itself; one that cannot be applied is parked. Then the message's position."""
        for event in delivery.events:
            try:
                await self.committer.commit([], [Delivery(delivery.identity, 0, (event,))])
            except Exception as error:
                if _can_wait(error):
                    raise
                _logger.exception("an event failed and is parked", request_id=event.request_id)
                await self.committer.park(event, repr(error)[:500])
        rest = Delivery(delivery.identity, delivery.sequence, (), delivery.problem, delivery.payload)
        await self.committer.commit([], [rest])


def _can_wait(error: Exception) -> bool:
    """Whether the same commit may go well later. Only values that the database refuses, and failures of our own code, can not."""
    return is_at_fault(error) or isinstance(error, StoreConflict)
