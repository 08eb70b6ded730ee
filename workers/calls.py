"""Owns the calls in flight of a worker process: which control message is whose, and what every call needs regularly."""

import asyncio
import time
from collections import deque

import msgspec

from runtime.bus import Bus, BusError, Message
from runtime.log import get_logger
from schemas.wire import Cancel, Credit, Part, decode_control
from workers.call import Call, Stop
from workers.frames import FrameWriter

LINGER_S = 5.0  # a finished call's last frames are kept so long, in case a reconnect lost them
LINGERING_MAX = 2048
LINGERING_BYTES_MAX = 32 * 1024 * 1024

_SUBJECT_HEADER = b"Nats-Subject: "
_logger = get_logger("workers.calls")


class Calls:
    """All calls in flight by request id, with the attempt that is current."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._calls: dict[str, Call] = {}
        self._lingering: deque[tuple[float, str, int, FrameWriter]] = deque()
        self._lingering_bytes = 0
        self._older: set[Call] = set()  # replaced by a newer attempt, still settling
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
            older.stop(Stop.CANCELLED)
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
        self._lingering.append((time.monotonic() + LINGER_S, call.job.request_id, call.job.attempt, frames))
        self._lingering_bytes += frames.kept_bytes
        while len(self._lingering) > LINGERING_MAX or self._lingering_bytes > LINGERING_BYTES_MAX:
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        _, _, _, frames = self._lingering.popleft()
        self._lingering_bytes -= frames.kept_bytes

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
        elif message.reply:
            try:
                self._bus.publish(message.reply, b"")
            except BusError:
                return  # the prober asks again

    def _dispatch(self, control: Credit | Cancel | Part) -> None:
        call = self._calls.get(control.request_id)
        if call is None or call.job.attempt != control.attempt:
            return
        if isinstance(control, Credit):
            call.frames.credit(control.through)
        elif isinstance(control, Cancel):
            call.stop(Stop.CANCELLED)
        elif call.parts is not None:
            call.parts.add(control.index, control.data)

    def _nobody_heard(self, headers: bytes) -> None:
        # The server names the subject that nobody listens on: `_INBOX.<edge>.f.<call>.<attempt>`.
        start = headers.find(_SUBJECT_HEADER)
        if start < 0:
            return
        subject = headers[start + len(_SUBJECT_HEADER) :].split(b"\r\n", 1)[0].decode(errors="replace")
        tokens = subject.split(".")
        call = self._calls.get(tokens[3]) if len(tokens) == 5 else None
        if call is not None and str(call.job.attempt) == tokens[4]:
            call.frames.no_responders(time.monotonic())

    def tick(self, now: float) -> None:
        """Deadlines, keep-alives, and the end of lingering; to be called several times a second."""
        for call in list(self._calls.values()):
            call.tick(now)
        for call in list(self._older):
            call.tick(now)
        while self._lingering and self._lingering[0][0] <= now:
            self._forget_oldest()

    def _reconnected(self) -> None:
        for call in self._calls.values():
            call.frames.reconnected()
        for _, _, _, frames in self._lingering:
            frames.reconnected()

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
