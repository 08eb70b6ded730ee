"""Owns a pool's consumer: which jobs this worker takes, when it leaves the queue group, and when it beats."""

import asyncio
import time
from collections.abc import Iterable, Mapping

import msgspec

from runtime.bus.bus import BusError, Message, Subscription
from runtime.log import get_logger
from runtime.settings.settings import AccountSettings
from runtime.tasks import noted
from schemas.bus import subjects
from schemas.bus.frames import BEAT_INTERVAL_S, VERSION, Bounce, Job, decode_job, encode
from schemas.catalogue.model import Model
from schemas.dialects.messages.counting import COUNT
from schemas.errors import WireError, model_not_found
from workers.answers import speaks
from workers.beats import Beats
from workers.calls.accounts import Account, Accounts
from workers.calls.call import Call
from workers.calls.calls import Calls
from workers.calls.counts import Counts
from workers.calls.parts import Parts
from workers.calls.serving import Serving
from workers.calls.states import States

CALLS_MAX = 1024  # in one pool of one worker, whatever its accounts allow
# A worker that was full comes back at once when so much of its capacity is in use, and with any room at the next tick:
# long calls may have all the rest.
REJOIN_SHARE = 0.9
PARTS_BYTES_MAX = 256 * 1024 * 1024  # bodies under reassembly, all calls of this pool

_logger = get_logger("workers.pool")


def room(accounts: Accounts) -> int:
    """How many calls a pool of a worker takes at once."""
    return min(CALLS_MAX, accounts.capacity)


class Pool:
    """Takes jobs of one pool while there is room, and says each second what it can serve."""

    def __init__(self, serving: Serving, calls: Calls) -> None:
        self.serving = serving
        self._calls = calls
        self._counts = Counts(serving)
        self._capacity = room(serving.accounts)
        self._inflight = 0
        self._parts_bytes = 0
        self._stopping = False
        self._left = False
        self._full = False
        self._subscription: Subscription | None = None
        self._gate: asyncio.Task[None] | None = None
        self._beat_at = 0.0
        self._beat_now = False
        self._beats = Beats(serving)
        self._states = States(serving.pool)

    def follow(self, models: Mapping[str, Model], accounts: Iterable[AccountSettings]) -> None:
        """Sells these models with these accounts from now on. Calls in flight go on as they began."""
        serving = self.serving
        serving.models = models
        serving.accounts.adopt(accounts)
        self._capacity = room(serving.accounts)
        serving.drains.resize(self._capacity)
        self._full = self._inflight >= self._capacity
        self._beats.follow()
        self._changed()
        self.beat(time.monotonic())

    @property
    def inflight(self) -> int:
        """Calls of this pool that are accepted and not settled."""
        return self._inflight

    @property
    def _accepting(self) -> bool:
        return not (self._stopping or self._full or self.serving.usage_events.full)

    def on_job(self, message: Message) -> None:
        """One job: the handler of the queue group's subscription."""
        serving = self.serving
        if not subjects.is_frames_inbox(message.reply):
            serving.counts.invalid_jobs += 1
            return  # nothing is ever written to another subject, or a job could forge a bill
        try:
            job = decode_job(message.data)
        except msgspec.MsgspecError:
            serving.counts.invalid_jobs += 1
            _logger.warning("a job cannot be read", size=len(message.data))
            return
        counts = job.dialect == COUNT
        known = job.v >= VERSION and (counts or speaks(job.dialect))
        if not known or subjects.parse_frames(message.reply) != (job.request_id, job.attempt):
            serving.counts.invalid_jobs += 1
            return
        if counts:
            self._counts.take(job, message.reply)
            return
        if self._calls.is_stale(job.request_id, job.attempt):
            return
        account, error = self._account(job)
        if account is None:
            self._bounce(message.reply, error)
        else:
            self._take(job, message.reply, account)

    def _account(self, job: Job) -> tuple[Account | None, WireError | None]:
        if not self._accepting or self._inflight >= self._capacity or not Parts.acceptable(job):
            return None, None
        if job.parts and self._parts_bytes + job.body_bytes > PARTS_BYTES_MAX:
            return None, None
        now = time.monotonic()
        accounts = self.serving.accounts
        account = accounts.pick(job.upstream, job.scope, job.hold_list_nano, set(), now)
        if account is not None:
            return account, None
        model = self.serving.models.get(job.model)
        if model is not None and accounts.gone(job.upstream, now):
            return None, model_not_found(job.model, self.serving.successor(model, now))
        return None, accounts.refusal(job.upstream, job.scope, job.hold_list_nano, now)

    def _bounce(self, reply: str, error: WireError | None) -> None:
        self.serving.counts.bounced += 1
        try:
            self.serving.bus.publish(reply, encode(Bounce(self.serving.worker_id, error)))
        except BusError:
            return  # the edge hears nothing, and offers the job again

    def _take(self, job: Job, reply: str, account: Account) -> None:
        self.serving.counts.accepted += 1
        self._inflight += 1
        if job.parts:
            self._parts_bytes += job.body_bytes
        account.take(job.hold_list_nano)
        task = self._calls.add(Call(self.serving, job, reply, account))
        task.add_done_callback(lambda _task: self._given_back(job))
        if self._inflight >= self._capacity:
            self._full = True
            self._changed()

    def _given_back(self, job: Job) -> None:
        self._inflight -= 1
        if job.parts:
            self._parts_bytes -= job.body_bytes
        if self._full and self._inflight <= self._capacity * REJOIN_SHARE:
            self._full = False
            self._changed()

    def _changed(self) -> None:
        self._beat_now = True
        if self._gate is None or self._gate.done():
            self._gate = asyncio.create_task(self._follow(), name=f"gate {self.serving.pool}")
            noted(self._gate)  # the next tick tries again

    async def _follow(self) -> None:
        # Joins or leaves the queue group until it agrees with whether we take jobs.
        while (self._subscription is not None) != self._accepting:
            try:
                if self._accepting:
                    subject = subjects.pool(self.serving.pool)
                    self._subscription = await self.serving.jobs.subscribe(
                        subject, self.on_job, queue=subjects.WORKERS_QUEUE
                    )
                else:
                    subscription, self._subscription = self._subscription, None
                    if subscription is not None:
                        await subscription.leave()
            except BusError as error:
                _logger.warning(
                    "cannot join the queue group", pool=self.serving.pool, error=type(error).__name__
                )
                return  # the next tick tries again

    async def start(self) -> None:
        """Joins the queue group and says so."""
        await self._follow()
        self.beat(time.monotonic())

    def tick(self, now: float) -> None:
        """Beats, and the gate; to be called several times a second."""
        serving = self.serving
        serving.accounts.tick(now)
        serving.usage_events.tick(now)
        if self._left:
            return
        if serving.pool in self._calls.recite:
            self._calls.recite.discard(serving.pool)
            self._beats.recite()
            self._beat_now = True
        self._states.look(serving.accounts.all, now)
        self._full = self._inflight >= self._capacity
        if (self._subscription is not None) != self._accepting:
            self._changed()
        if self._beat_now or now - self._beat_at >= BEAT_INTERVAL_S:
            self.beat(now)

    def beat(self, now: float) -> None:
        """Says what this worker can do now."""
        self._beat_at, self._beat_now = now, False
        serving = self.serving
        beat = self._beats.made(
            now, inflight=self._inflight, capacity=self._capacity, accepting=self._accepting
        )
        try:
            serving.bus.publish(subjects.beat(serving.pool, serving.worker_id), encode(beat))
        except BusError:
            self._beat_now = True
            return
        self._beats.said(beat, now)

    async def go(self) -> None:
        """Leaves for good, and says nothing more: another may serve the pool in its place."""
        await self.leave()
        self._left = True

    async def leave(self) -> None:
        """Takes no further jobs: those already on their way are bounced."""
        self._stopping = True
        self.beat(time.monotonic())
        if self._gate is not None and not self._gate.done():
            await self._gate
        await self._follow()
