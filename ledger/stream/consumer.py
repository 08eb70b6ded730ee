"""Owns the way of usage events from the stream into the books: pulled, committed, then acknowledged.

The books are the truth, not the stream: an event may come any number of times. The watch compares both each second: a
consumer that is ahead of the books is reset (they were restored), another identity starts a new position (the stream
was lost), and a backlog that the stream might soon discard stops new calls.
"""

import asyncio
import time

import msgspec

from ledger.commits.commit import Delivery
from ledger.commits.writer import Writer
from ledger.stream import jetstream, positions
from ledger.telemetry import Telemetry
from runtime.bus.bus import Bus, BusError, Message
from runtime.bus.streams import ACK, StreamProblem
from runtime.log import get_logger
from schemas.bus.subjects import Role, new_id, reply_prefix
from schemas.bus.usage import VERSION, decode_batch, version_of

PULL_MESSAGES = 64
PULL_EXPIRES_S = 5.0  # a pull from before a reconnect may still deliver this long
HELD_MAX = 2 * PULL_MESSAGES  # messages asked for or waiting for their commit
WATCH_INTERVAL_S = 1.0
FLOOR_STILL_MAX_S = 2.0 * jetstream.ACK_WAIT_S  # by then JetStream has redelivered what a dead ledger held
GAPS_MAX = 1_000  # in a stream that was damaged, passed over in one watch
START_TIMEOUT_S = 60.0  # for a cluster that still elects its leaders
START_PAUSE_S = 0.3
_logger = get_logger("ledger.consumer")


class Consumer:
    """Keeps pulls open, hands messages to the writer, acknowledges what is committed."""

    def __init__(self, bus: Bus, writer: Writer, telemetry: Telemetry, replicas: int = 1) -> None:
        self._bus = bus
        self._replicas = replicas
        self._writer = writer
        self._store = writer.committer.store
        self._telemetry = telemetry
        self._inbox = f"{reply_prefix(Role.LEDGER)}.{new_id()}"
        self._identity = ""
        self._pulls = 0  # so far; its number is in the reply subject of each
        self._asked = 0  # messages that the open pull may still bring
        self._asked_until = 0.0
        self._held = 0  # messages handed to the writer
        self._floor = 0  # everything up to it is acknowledged …
        self._floor_since = 0.0  # … since so long
        self._wake = asyncio.Event()
        self._stopping = False
        self.last_seq = 0  # of the stream, at `watched`
        self.acknowledged: tuple[str, int] | None = None  # identity and ack floor, at the last watch
        self.watched = 0.0  # time.monotonic() before the last watch that worked

    async def start(self) -> None:
        """Makes the streams, takes the position, starts to listen. Raises StreamProblem, BusError."""
        give_up = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                await jetstream.ensure_streams(self._bus, self._replicas)
                await self.watch()
                await jetstream.update_consumer(self._bus)
                break
            except (BusError, StreamProblem) as error:
                if time.monotonic() > give_up:
                    raise
                _logger.warning("the stream does not answer yet", error=str(error))
                await asyncio.sleep(START_PAUSE_S)
        await self._bus.subscribe(f"{self._inbox}.*", self._on_message)
        self._bus.on_reconnect(self._forget_pull)

    def _forget_pull(self) -> None:
        self._asked = 0
        self._wake.set()

    def stop(self) -> None:
        """Stops pulling. What was handed to the writer is still committed and acknowledged."""
        self._stopping = True
        self._wake.set()

    async def run(self) -> None:
        """Pulls until stopped."""
        while not self._stopping:
            self._pull()
            self._wake.clear()
            try:
                async with asyncio.timeout(max(self._asked_until - time.monotonic(), 0.1)):
                    await self._wake.wait()
            except TimeoutError:
                self._asked = 0  # the pull has expired, or was lost with its connection

    def _pull(self) -> None:
        if self._asked or self._held > HELD_MAX - PULL_MESSAGES or not self._identity:
            return
        subject, body = jetstream.next_request(PULL_MESSAGES, PULL_EXPIRES_S)
        self._pulls += 1
        try:
            self._bus.publish(subject, body, f"{self._inbox}.{self._pulls}")
        except BusError:
            self._asked_until = time.monotonic() + 0.2
            return
        self._asked = PULL_MESSAGES
        self._asked_until = time.monotonic() + PULL_EXPIRES_S + 1.0

    def _on_message(self, message: Message) -> None:
        sequence = jetstream.stream_sequence(message.reply)
        if not sequence:
            self._pull_ended(message.subject)
            return
        self._asked = max(self._asked - 1, 0)
        if not self._asked:
            self._wake.set()
        delivery = _delivery(self._identity, sequence, message.data)
        if delivery is None:
            _logger.error("a usage event of a newer version waits for a newer ledger", sequence=sequence)
            self._answer(message.reply, jetstream.LATER)
            return
        self._held += 1
        self._writer.apply(delivery, lambda: self._done(message.reply))

    def _pull_ended(self, subject: str) -> None:
        # Expired, full, or its consumer is gone: the next one is due, but never in a tight circle. A pull that a lost
        # connection left behind ends later, and says nothing of the one that is open now.
        if subject == f"{self._inbox}.{self._pulls}":
            self._asked = 0
            asyncio.get_running_loop().call_later(0.05, self._wake.set)

    def _done(self, reply: str) -> None:
        self._held -= 1
        self._wake.set()
        self._answer(reply, ACK)

    def _answer(self, reply: str, word: bytes) -> None:
        try:
            self._bus.publish(reply, word)
        except BusError as error:
            _logger.info("an acknowledgement was lost; its message comes again", error=str(error))

    async def watch_forever(self) -> None:
        """Watches each second."""
        while True:
            try:
                await self.watch()
            except (BusError, StreamProblem) as error:
                _logger.warning("the stream does not answer", error=str(error))
                if isinstance(error, StreamProblem):
                    await self._remake()
            except Exception:
                _logger.exception("the watch of the stream failed")
            await asyncio.sleep(WATCH_INTERVAL_S)

    async def _remake(self) -> None:
        try:
            await jetstream.ensure_streams(self._bus, self._replicas)
        except (BusError, StreamProblem) as error:
            _logger.warning("the stream cannot be made", error=str(error))

    async def watch(self) -> None:
        """Compares stream, consumer and books once. Raises StreamProblem, BusError, StoreError."""
        began = time.monotonic()
        # The order matters: each number grows only after the next one.
        # So healthy books satisfy ack floor <= applied <= last sequence.
        floor = await jetstream.ack_floor(self._bus)
        position = await positions.current(self._store)
        stream = await jetstream.usage_stream(self._bus)
        if position is None or not position.is_of(stream):
            position = await self._adopt(position, stream)
        first_seq, last_seq = stream.state.first_seq, stream.state.last_seq
        if floor is None:
            # Without a consumer the ack floor is unknown, and a restored stream may reuse sequences.
            # So everything is read from 1. Each event counts once.
            await jetstream.make_consumer(self._bus, 1)
            floor = 0
        elif floor > position.applied:
            position = await self._catch_up(position, floor, last_seq)
        elif first_seq > position.applied + 1:
            position = await self._skip(position.identity, first_seq - 1)
        else:
            await self._unstick(floor, position.applied)
        self._weigh(stream, max(last_seq - position.applied, 0))
        self._identity = position.identity
        self.last_seq = last_seq
        # What the stream has not got any more, nobody will acknowledge.
        self.acknowledged = (position.identity, max(floor, first_seq - 1))
        self.watched = began
        self._wake.set()

    def _weigh(self, stream: jetstream.Stream, unapplied: int) -> None:
        """Stops new calls while the stream might discard what is not applied."""
        average = stream.state.bytes / max(stream.state.messages, 1)
        backlog = unapplied * average > stream.config.max_bytes / 2
        if backlog != self._writer.committer.backlog:
            _logger.error("backlog of events" if backlog else "backlog is gone", unapplied=unapplied)
        self._writer.committer.backlog = backlog
        self._telemetry.backlog.set(backlog)
        self._telemetry.unapplied.set(unapplied)

    async def _adopt(self, was: positions.Position | None, stream: jetstream.Stream) -> positions.Position:
        now: positions.Position = await self._writer.between(
            lambda: positions.adopt(self._store, was, stream)
        )
        if was is not None:
            _logger.error("the stream of usage events is another one", was=was.identity, now=now.identity)
        return now

    async def _catch_up(self, position: positions.Position, floor: int, last_seq: int) -> positions.Position:
        """What the books lack though it was acknowledged is replayed; what the stream itself has lost is passed over."""
        for _ in range(GAPS_MAX):
            if floor <= position.applied:
                break
            kept = await jetstream.first_kept(self._bus, position.applied + 1)
            lost_through = last_seq if kept is None else kept - 1
            if lost_through <= position.applied:
                _logger.error(
                    "the books are behind what was acknowledged", floor=floor, applied=position.applied
                )
                self._telemetry.resets.inc()
                await jetstream.reset_consumer(self._bus, position.applied + 1)
                break
            _logger.error("the stream has lost events", first=position.applied + 1, last=lost_through)
            position = await self._skip(position.identity, lost_through)
        return position

    async def _unstick(self, floor: int, applied: int) -> None:
        """Resets the consumer to the ack floor, if that has not moved for FLOOR_STILL_MAX_S while the books are ahead.

        Seen after a kill of nats-server that damaged its files: a message stays unacknowledged and is never redelivered.
        Without the reset no hold could ever expire. What is delivered twice counts once.
        """
        now = time.monotonic()
        if floor >= applied or floor != self._floor:
            self._floor, self._floor_since = floor, now
        elif now - self._floor_since >= FLOOR_STILL_MAX_S:
            _logger.error("acknowledgements are stuck", floor=floor, applied=applied)
            self._telemetry.resets.inc()
            self._floor_since = now
            await jetstream.reset_consumer(self._bus, floor + 1)

    async def _skip(self, identity: str, through: int) -> positions.Position:
        now: positions.Position = await self._writer.between(
            lambda: positions.skip(self._store, identity, through)
        )
        return now


def _delivery(identity: str, sequence: int, data: bytes) -> Delivery | None:
    """A message for the books; None if it is of the next version, which this ledger must leave to its successor."""
    try:
        version = version_of(data)
        if version == VERSION + 1:
            return None
        if version > VERSION:
            return Delivery(identity, sequence, (), f"version {version} is not known", data)
        return Delivery(identity, sequence, decode_batch(data).events)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        return Delivery(identity, sequence, (), f"unreadable: {error}"[:500], data)
