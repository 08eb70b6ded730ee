"""Owns the way of usage events from the stream into the books: pulled, committed, then acknowledged.

The books are the truth, not the stream: an event may come any number of times. The watch compares both each second: a
consumer that is ahead of the books is reset (they were restored), another identity starts a new position (the stream
was lost), and a backlog that the stream might soon discard stops new calls.
"""

import asyncio
import time

import msgspec

from ledger import jetstream
from ledger.batch import save_position
from ledger.commit import Delivery
from ledger.jetstream import StreamProblem
from ledger.telemetry import Telemetry
from ledger.writer import Writer
from runtime.bus import Bus, BusError, Message
from runtime.log import get_logger
from schemas.subjects import Role, new_id, reply_prefix
from schemas.usage import decode_batch
from schemas.wire import VERSION

PULL_MESSAGES = 64
PULL_EXPIRES_S = 20.0
HELD_MAX = 2 * PULL_MESSAGES  # messages asked for or waiting for their commit
WATCH_INTERVAL_S = 1.0
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
        self._asked = 0  # messages that the open pull may still bring
        self._asked_until = 0.0
        self._held = 0  # messages handed to the writer
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
                break
            except (BusError, StreamProblem) as error:
                if time.monotonic() > give_up:
                    raise
                _logger.warning("the stream does not answer yet", error=str(error))
                await asyncio.sleep(START_PAUSE_S)
        await self._bus.subscribe(self._inbox, self._on_message)
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
        try:
            self._bus.publish(subject, body, self._inbox)
        except BusError:
            self._asked_until = time.monotonic() + 0.2
            return
        self._asked = PULL_MESSAGES
        self._asked_until = time.monotonic() + PULL_EXPIRES_S + 1.0

    def _on_message(self, message: Message) -> None:
        sequence = jetstream.stream_sequence(message.reply)
        if not sequence:
            # The pull's end (expired, or its consumer is gone): the next one is due, but never in a tight circle.
            self._asked = 0
            asyncio.get_running_loop().call_later(0.05, self._wake.set)
            return
        self._asked = max(self._asked - 1, 0)
        self._held += 1
        reply, identity = message.reply, self._identity
        self._writer.apply(_delivery(identity, sequence, message.data), lambda: self._done(reply))
        if not self._asked:
            self._wake.set()

    def _done(self, reply: str) -> None:
        self._held -= 1
        self._wake.set()
        try:
            self._bus.publish(reply, b"+ACK")
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
        # The floor is read before the books: messages are acknowledged after their commit, so it is never ahead.
        consumer = await jetstream.consumer(self._bus)
        stream = await jetstream.usage_stream(self._bus)
        floor = consumer.ack_floor.stream_seq
        position = await self._position(stream)
        identity = position[0]
        applied = position[1]
        if floor > applied:
            await self._catch_up(identity, applied, floor, stream.state.last_seq)
        elif stream.state.first_seq > applied + 1 and stream.state.messages:
            await self._writer.between(lambda: self._skip(identity, stream.state.first_seq - 1))
        unapplied = max(stream.state.last_seq - applied, 0)
        average = stream.state.bytes / max(stream.state.messages, 1)
        backlog = unapplied * average > stream.config.max_bytes / 2
        if backlog != self._writer.committer.backlog:
            _logger.error("backlog of events" if backlog else "backlog is gone", unapplied=unapplied)
        self._writer.committer.backlog = backlog
        self._telemetry.backlog.set(backlog)
        self._telemetry.unapplied.set(unapplied)
        self._identity = identity
        self.last_seq = stream.state.last_seq
        self.acknowledged = (identity, floor)
        self.watched = began
        self._wake.set()

    async def _catch_up(self, identity: str, applied: int, floor: int, last_seq: int) -> None:
        """What the books lack though it was acknowledged is replayed; what the stream itself has lost is passed over."""
        kept = await jetstream.first_kept(self._bus, applied + 1)
        lost_through = last_seq if kept is None else kept - 1
        if lost_through > applied:
            _logger.error("the stream has lost events", first=applied + 1, last=lost_through)
            await self._writer.between(lambda: self._skip(identity, lost_through))
            return
        _logger.error("the books are behind what was acknowledged: replaying", floor=floor, applied=applied)
        self._telemetry.resets.inc()
        await jetstream.reset_consumer(self._bus, applied + 1)

    async def _position(self, stream: jetstream.Stream) -> tuple[str, int]:
        rows = await self._store.fetch(
            "SELECT identity, applied_seq FROM stream_positions WHERE current ORDER BY opened_ms DESC"
        )
        if rows and rows[0][0].partition("#")[0] == stream.created and rows[0][1] <= stream.state.last_seq:
            return rows[0][0], rows[0][1]
        reason = ""
        identity = stream.created
        if rows:
            # Restored streams keep their date of birth, so a stream that went back gets a name of its own.
            went_back = rows[0][0].partition("#")[0] == stream.created
            identity = f"{stream.created}#{rows[0][1]}" if went_back else stream.created
            reason = f"replaced by {identity} at {stream.state.last_seq}"
            _logger.error("the stream of usage events is another one", was=rows[0][0], now=identity)
        await self._writer.between(lambda: self._adopt(identity, reason))
        return await self._adopted(identity)

    async def _adopted(self, identity: str) -> tuple[str, int]:
        rows = await self._store.fetch(
            "SELECT applied_seq FROM stream_positions WHERE identity = $1", identity
        )
        return identity, rows[0][0]

    async def _adopt(self, identity: str, reason: str) -> None:
        async with self._store.write() as tx:
            await tx.execute(
                "UPDATE stream_positions SET current = $1, detail = $2 WHERE current AND identity <> $3",
                False,
                reason,
                identity,
            )
            await tx.execute(
                "INSERT INTO stream_positions (identity, applied_seq, current, opened_ms, detail) "
                "VALUES ($1, 0, $2, $3, '') ON CONFLICT (identity) DO UPDATE SET current = excluded.current",
                identity,
                True,
                tx.now_ms,
            )

    async def _skip(self, identity: str, through: int) -> None:
        """Moves past what the stream no longer has: it was applied, or it is lost and its holds expire."""
        async with self._store.write() as tx:
            await save_position(tx, identity, [(1, through)])


def _delivery(identity: str, sequence: int, data: bytes) -> Delivery:
    try:
        batch = decode_batch(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        return Delivery(identity, sequence, (), f"unreadable: {error}"[:500], data)
    if batch.v > VERSION:
        return Delivery(identity, sequence, (), f"version {batch.v} is not known", data)
    return Delivery(identity, sequence, batch.events)
