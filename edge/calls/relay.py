"""Owns all calls of one edge: frames in, jobs out, and the tick that every deadline hangs on."""

import hashlib
import secrets
import time
from collections.abc import Mapping

import msgspec

from edge import telemetry
from edge.budget import Budget
from edge.calls.call import Call
from edge.calls.candidates import Candidates, Offer
from edge.calls.control import Control
from edge.calls.counts import Counts
from edge.calls.errands import Errands
from edge.calls.host import CallView, Settle, State
from edge.calls.leases import Leases
from edge.calls.liveness import Liveness
from edge.calls.neighbours import Neighbours
from edge.calls.overruns import Overruns
from edge.calls.parts import Parts
from edge.calls.roster import Roster
from edge.calls.turns import Turns
from edge.limits import Limits
from runtime.bus.bus import Bus, BusError, Message, Subscription
from runtime.ledger import LedgerClient
from runtime.log import get_logger
from runtime.settings.fairness import Fairness
from schemas.bus import frames, subjects
from schemas.bus.frames import FRAME_BYTES_MAX, Accept, Bounce, Credit, Job
from schemas.errors import WireError
from schemas.money.pricing import TokenUsage
from schemas.verbs.calls import Hold

CALLS_MAX = 20_000  # those whose callers have left included
SECRET_BYTES = 16  # of an inbox's name

_logger = get_logger("edge.relay")


class Relay:
    """Runs the calls of one edge."""

    def __init__(
        self,
        bus: Bus,
        ledger: LedgerClient,
        roster: Roster,
        budget: Budget,
        limits: Limits,
        *,
        rules: Mapping[str, Fairness],
    ) -> None:
        self.edge_id = bus.id
        self._secret = hashlib.blake2b(key=secrets.token_bytes(SECRET_BYTES), digest_size=SECRET_BYTES)
        self._bus = bus
        self._roster = roster
        self._budget = budget
        self._limits = limits
        self._calls: dict[str, Call] = {}
        self._inboxes: dict[str, Call] = {}  # by that of the attempt that is offered or runs
        self._control = Control(bus)
        self._neighbours = Neighbours(bus, self.edge_id, limits.overdue_s)
        self.turns = self._neighbours.turns = Turns(
            roster,
            limits,
            rules,
            ask=self._neighbours.ask,
            met=self._neighbours.introduce,
            connected=lambda: bus.connected,
        )
        self.overruns = Overruns()
        self._parts = Parts(bus)
        self.counts = Counts(self._publish)
        self._errands = Errands(ledger, limits)
        self._liveness = Liveness(bus, roster, self._errands, self._calls, limits)
        self._leases = Leases(ledger, self._errands, self._calls)
        self._subscriptions: list[Subscription] = []

    async def open(self) -> None:
        """Subscribes to this edge's frames and to all beats, and greets the other edges."""
        self._subscriptions.append(
            await self._bus.subscribe(subjects.frames_all(self.edge_id), self.on_frame)
        )
        self._subscriptions.append(await self._bus.subscribe(subjects.BEATS, self.on_beat))
        self._subscriptions.append(await self._bus.subscribe(subjects.EDGE_BEATS, self.on_edge_beat))
        self._neighbours.greet(time.monotonic())
        self._bus.on_reconnect(self._on_reconnect)

    def __len__(self) -> int:
        return len(self._calls)

    def start(self, hold: Hold, first: Offer, *further: Offer) -> Call:
        """Offers a call to the pool of its first candidate."""
        body = first.job.body
        large = len(body) > FRAME_BYTES_MAX
        if large:
            first, further = _in_parts(first), tuple(map(_in_parts, further))
        call = Call(self, self._limits, hold, Candidates(first, further))
        if large:
            call.parts_body = body
        self._calls[call.request_id] = call
        call.offer()
        return call

    # Messages.

    def on_frame(self, message: Message) -> None:
        """A frame of some call's attempt, or word that nobody heard its job."""
        current = self._inboxes.get(message.subject)
        if current is not None:
            request_id, attempt = current.request_id, current.current.number
        elif (parsed := subjects.parse_frames(message.subject)) is None:
            return
        else:
            request_id, attempt = parsed
            call = self._calls.get(request_id)
            current = call if call is not None and call.current.number == attempt else None
            inbox = current.current.inbox if current is not None else self._inbox(request_id, attempt)
            if self._is_done(message, inbox, request_id):
                return
        if message.no_responders:
            if current is not None:
                current.on_no_responders()
            return
        if not message.data:
            self._parts.echoed(request_id, attempt)
            return
        try:
            frame = frames.decode_frame(message.data)
        except msgspec.MsgspecError:
            _logger.warning("a frame that cannot be read", request_id=request_id)
            return
        if current is not None:
            current.on_frame(frame, time.monotonic())
        elif not isinstance(frame, Bounce):
            worker_id = frame.worker_id if isinstance(frame, Accept) else subjects.controlled(message.reply)
            self._control.stale(worker_id, request_id, attempt)

    def _is_done(self, message: Message, inbox: str, request_id: str) -> bool:
        """Whether a message is the answer to a count, or of somebody who has not seen the job: he may end no call, not even by a cancel."""
        if message.subject != inbox:
            telemetry.FOREIGN_FRAMES.inc()
            return True
        return self.counts.hears(request_id, message)

    def on_beat(self, message: Message) -> None:
        """A worker's beat: calls that wait for room are offered to it."""
        try:
            beat = frames.decode_beat(message.data)
        except msgspec.MsgspecError:
            _logger.warning("a beat that cannot be read", subject=message.subject)
            return
        room = self._roster.hear(beat, time.monotonic(), len(message.data))
        if not self._roster.knows(beat):
            self._control.recite(beat)
        self.turns.on_beat(beat.pool, room)

    def on_edge_beat(self, message: Message) -> None:
        """Another edge's beat, or our own."""
        self._neighbours.hear(message, time.monotonic())

    def _on_reconnect(self) -> None:
        self._neighbours.greet(time.monotonic())
        for call in list(self._calls.values()):
            call.on_reconnect()
        self.turns.offer_waiting(again=True)

    # What calls ask for (edge.calls.host.Host).

    @property
    def connected(self) -> bool:
        """Whether NATS can be spoken to."""
        return self._bus.connected

    @property
    def connected_since(self) -> float:
        """Monotonic time of the last (re)connect."""
        return self._bus.connected_since

    def publish_job(self, call: CallView, job: Job) -> bool:
        """Offers a job to the pool; False while NATS is away or backed up."""
        try:
            inbox = call.current.inbox = self._inbox(call.request_id, call.current.number)
            self._inboxes[inbox] = self._calls[call.request_id]
            self._bus.publish(subjects.pool(call.pool), frames.encode(job), inbox)
        except BusError:
            return False
        return True

    def _publish(self, pool: str, job: Job) -> bool:
        """Offers a count to a pool; False while NATS is away or backed up."""
        try:
            self._bus.publish(
                subjects.pool(pool), frames.encode(job), self._inbox(job.request_id, job.attempt)
            )
        except BusError:
            return False
        return True

    def _inbox(self, request_id: str, attempt: int) -> str:
        """Where an attempt's frames go. A server that knows who is who also knows no worker that wants it without a secret."""
        secret = ""
        if self._bus.signed:
            keyed = self._secret.copy()
            keyed.update(f"{request_id}.{attempt}".encode())
            secret = keyed.hexdigest()
        return subjects.frames(self.edge_id, request_id, attempt, secret)

    def cancel(self, worker_id: str, request_id: str, attempt: int, *, left: bool = False) -> None:
        """Tells a worker to stop an attempt, and whether its caller has left."""
        self._control.cancel(worker_id, request_id, attempt, left=left)

    def credit(self, worker_id: str, request_id: str, attempt: int, through: int) -> None:
        """Tells a worker what has been consumed."""
        self._control.tell(worker_id, Credit(request_id, attempt, through))

    def send_parts(self, call: CallView) -> None:
        """Sends a large body to the worker that has accepted."""
        self._errands.start(self._parts.send(call))

    def serves(self, pool: str, model: str) -> bool:
        """Whether a worker of the pool can serve the model; unknown counts as yes."""
        return self._roster.silent(pool) or self._roster.serves(pool, model)

    def deserted(self, pool: str) -> bool:
        """Whether it is certain that a pool has no worker."""
        return (
            self._roster.silent(pool)
            and self.connected
            and time.monotonic() - self.connected_since >= self._limits.settled_s
        )

    def reserve(self, count: int) -> bool:
        """Takes bytes from what all callers may have in memory."""
        return self._budget.take(count)

    def may_follow(self) -> bool:
        """Whether there is room for one more call whose caller has left."""
        return len(self._calls) < CALLS_MAX

    def heard(self, worker_id: str) -> bool:
        """Whether a worker's beat is not overdue."""
        return self._liveness.heard(worker_id, time.monotonic())

    def reattempt(self, call: CallView, replaced: TokenUsage, candidate: int) -> None:
        """Asks the ledger for the next attempt, of the candidate at a place."""
        self._inboxes.pop(call.current.inbox, None)
        self._errands.reattempt(call, replaced, candidate)

    def reported(self, call: CallView, job: Job, usage: TokenUsage) -> None:
        """Compares what a call with media cost with what it was held for."""
        self.overruns.report(call.pool, job.upstream, prompt_max=job.prompt_max, prompt=usage.prompt)

    def settle(self, call: CallView, how: Settle) -> None:
        """Takes an ended call off the list, and tells the books what its end means."""
        self._calls.pop(call.request_id, None)
        self._inboxes.pop(call.current.inbox, None)
        self.turns.leave(call)
        self._errands.settle(call, how)

    # Time.

    def tick(self, now: float) -> None:
        """Compares every deadline with the clock; called each `tick_s`."""
        self._roster.sweep(now)
        for call in list(self._calls.values()):
            call.tick(now)
        self._liveness.tick(now)
        self._neighbours.tick(now)
        self.turns.tick(now)
        self._leases.tick(now)

    def end_all(self, error: WireError) -> None:
        """Ends every call for its caller: the edge stops."""
        # First those that wait: another's place must not become theirs at the last moment.
        for call in sorted(self._calls.values(), key=lambda call: call.state is not State.WAITING):
            call.end_now(error)

    async def close(self, timeout_s: float, refunds_timeout_s: float) -> None:
        """Finishes errands, at most so long each kind, then leaves the bus."""
        self._neighbours.close()
        await self._errands.close(timeout_s, refunds_timeout_s)
        for subscription in self._subscriptions:
            await subscription.unsubscribe()


def _in_parts(offer: Offer) -> Offer:
    """The same offer, whose body follows its job."""
    parts = -(-len(offer.job.body) // FRAME_BYTES_MAX)
    job = msgspec.structs.replace(offer.job, body=b"", parts=parts)
    return msgspec.structs.replace(offer, job=job)
