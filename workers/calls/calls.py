"""Owns the calls in flight of a worker process: which control message is whose, and what every call needs regularly."""

import asyncio
import time

import msgspec

from runtime.bus.bus import Bus, BusError, Message
from runtime.log import get_logger
from schemas.bus import subjects
from schemas.bus.frames import Cancel, Credit, Part, Recite, decode_control
from workers.calls.call import Call
from workers.calls.frames import FrameWriter
from workers.calls.stops import Stop

LINGER_S = 5.0  # a finished call's last frames are kept so long, in case a reconnect lost them
LINGERING_MAX = 2048
LINGERING_BYTES_MAX = 32 * 1024 * 1024
RECITE_MAX = 64

_SUBJECT_HEADER = b"Nats-Subject: "
_logger = get_logger("workers.calls")


class Calls:
    """All calls in flight by request id, with the attempt that is current."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._calls: dict[str, Call] = {}
        self._lingering: dict[tuple[str, int], tuple[float, FrameWriter]] = {}  # oldest first
        self._lingering_bytes = 0
        self._held: set[tuple[str, int]] = (
            set()
        )  # those of them whose frames wait for the bus, or for their edge
        self._older: set[Call] = set()  # replaced by a newer attempt, still settling
        self.recite: set[str] = set()  # pools whose beats somebody wants in full
        bus.on_reconnect(self._reconnected)

    def __len__(self) -> int:
        return len(self._calls) + len(self._older)

    def is_stale(self, request_id: str, attempt: int) -> bool:
        """Whether this attempt, or a newer one of the same call, is already here."""
        current = self._calls.get(request_id)
        return current is not None and current.job.attempt >= attempt

    def add(self, call: Call) -> asyncio.Task[None]:
        """Starts a call; it replaces an older attempt of the same request."""
        request_id = call.job.request_id
        older = self._calls.get(request_id)
        if older is not None:
            self._older.add(older)
            older.stop(Stop.REPLACED)
        self._calls[request_id] = call
        task = call.start()
        task.add_done_callback(lambda _task: self._ended(call))
        return task

    def request_ids(self) -> list[str]:
        """The calls whose leases this worker renews."""
        return list(self._calls)

    def _ended(self, call: Call) -> None:
        if call in self._older:
            self._older.discard(call)
        elif self._calls.get(call.job.request_id) is call:
            del self._calls[call.job.request_id]
        frames = call.frames
        if frames.settled:
            return
        name = (call.job.request_id, call.job.attempt)
        self._lingering[name] = (time.monotonic() + LINGER_S, frames)
        self._lingering_bytes += frames.kept_bytes
        if frames.held:
            self._held.add(name)
        while len(self._lingering) > LINGERING_MAX or self._lingering_bytes > LINGERING_BYTES_MAX:
            self._forget(next(iter(self._lingering)))

    def _forget(self, name: tuple[str, int]) -> None:
        _, frames = self._lingering.pop(name)
        self._lingering_bytes -= frames.kept_bytes
        self._held.discard(name)

    def on_control(self, message: Message) -> None:
        """One message on `worker.<id>`: the handler of its subscription."""
        if message.no_responders:
            self._nobody_heard(message.headers)
            return
        if not message.data:
            return
        try:
            control = decode_control(message.data)
        except msgspec.MsgspecError:
            _logger.warning("a control message cannot be read", size=len(message.data))
            return
        if isinstance(control, Credit | Cancel | Part):
            self._dispatch(control)
        elif isinstance(control, Recite):
            if len(self.recite) < RECITE_MAX:
                self.recite.add(control.pool)
        elif subjects.is_frames_inbox(message.reply):  # a worker writes to nothing else
            try:
                self._bus.publish(message.reply, b"")
            except BusError:
                return  # the prober asks again

    def _dispatch(self, control: Credit | Cancel | Part) -> None:
        call = self._calls.get(control.request_id)
        if call is None or call.job.attempt != control.attempt:
            if not isinstance(control, Part) and (control.request_id, control.attempt) in self._lingering:
                self._consumed(control)
        elif isinstance(control, Credit):
            call.frames.credit(control.through)
        elif isinstance(control, Cancel):
            call.stop(Stop.CANCELLED if control.left else Stop.REPLACED)
        elif call.parts is not None:
            call.parts.add(control)

    def _consumed(self, control: Credit | Cancel) -> None:
        # An edge that knows nothing of a finished call any more has had all of it.
        name = (control.request_id, control.attempt)
        _, frames = self._lingering[name]
        if isinstance(control, Cancel):
            self._forget(name)
            return
        before = frames.kept_bytes
        frames.credit(control.through)
        self._lingering_bytes -= before - frames.kept_bytes
        if frames.settled:
            self._forget(name)

    def _nobody_heard(self, headers: bytes) -> None:
        # The server names the subject that nobody listens on: `_INBOX.<edge>.f.<call>.<attempt>`.
        start = headers.find(_SUBJECT_HEADER)
        if start < 0:
            return
        subject = headers[start + len(_SUBJECT_HEADER) :].split(b"\r\n", 1)[0].decode(errors="replace")
        name = subjects.parse_frames(subject)
        if name is None:
            return
        call = self._calls.get(name[0])
        if call is not None and call.job.attempt == name[1]:
            call.frames.no_responders(time.monotonic())
        elif name in self._lingering:
            self._lingering[name][1].no_responders(time.monotonic())
            self._held.add(name)

    def tick(self, now: float) -> None:
        """Deadlines, keep-alives, and the end of lingering; to be called several times a second."""
        for call in list(self._calls.values()):
            call.tick(now)
        for call in list(self._older):
            call.tick(now)
        while self._lingering:
            name, (until, _) = next(iter(self._lingering.items()))
            if until > now:
                break
            self._forget(name)
        for name in list(self._held):  # thousands linger at a time, and nearly none of them waits
            _, frames = self._lingering[name]
            if frames.gone:
                self._forget(name)
            elif frames.held:
                frames.tick(now)
            else:
                self._held.discard(name)

    def _reconnected(self) -> None:
        for call in self._calls.values():
            call.frames.reconnected()
        for name, (_, frames) in self._lingering.items():
            frames.reconnected()
            if frames.held:
                self._held.add(name)

    def stop_all(self) -> None:
        """Ends every call that still runs: their callers get an error, their usage is estimated."""
        for call in [*self._calls.values(), *self._older]:
            call.stop(Stop.SHUTDOWN)

    async def finished(self, timeout_s: float) -> bool:
        """Waits until no call is left, at most so long."""
        tasks = [call.task for call in [*self._calls.values(), *self._older] if call.task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=timeout_s)
        return not len(self)
