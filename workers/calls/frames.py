"""Owns the frames of one attempt on their way to its edge: numbering, the window, sending again."""

import asyncio
import time
from collections import deque

from runtime.bus.bus import Bus, BusError
from schemas.bus.frames import (
    ALIVE_INTERVAL_S,
    FRAME_BYTES_MAX,
    WINDOW_BYTES_MAX,
    Accept,
    Alive,
    Data,
    EarlyUsage,
    End,
    Failed,
    encode,
)
from schemas.errors import WireError
from schemas.money.pricing import TokenUsage

EDGE_GONE_S = 3.0  # "no responders" for so long, while connected: nobody hears this call any more
PROBE_INTERVAL_S = 0.5  # while the edge seems away, it is asked for so often
PROBE_ANSWER_S = 0.3  # a probe that met nobody is known within this time


class FrameWriter:
    """Sends frames in order. Frames without credit are kept, and sent again after a reconnect.

    While the bus is down or the edge is away, frames are kept and not sent, so that no gap can be seen; then the whole
    window goes out before anything new. `gone` becomes True when the edge has been away for EDGE_GONE_S.
    """

    __slots__ = (
        "_away_since",
        "_bus",
        "_held",
        "_kept",
        "_kept_bytes",
        "_last_sent",
        "_muted",
        "_no_answer_at",
        "_probed_at",
        "_reply",
        "_room",
        "_seq",
        "_subject",
        "_through",
        "events",
        "gone",
        "output_tokens",
    )

    def __init__(self, bus: Bus, subject: str, reply: str) -> None:
        self._bus = bus
        self._subject = subject
        self._reply = reply
        self._seq = 0  # of the next frame
        self._through = -1  # consumed by the edge
        self._kept: deque[tuple[int, bytes]] = deque()
        self._kept_bytes = 0
        self._held = False
        self._muted = False
        self._room: asyncio.Future[None] | None = None
        self._last_sent = time.monotonic()
        self._away_since: float | None = None
        self._no_answer_at = 0.0
        self._probed_at = 0.0
        self.gone = False
        self.events = 0  # so far, as the caller's dialect numbers them, where it does: as `output_tokens`
        self.output_tokens = (
            0  # what the attempt has produced so far: frames carry the figure of their moment
        )

    @property
    def muted(self) -> bool:
        """Whether nothing is sent any more."""
        return self._muted

    @property
    def data_sent(self) -> bool:
        """Whether anything beyond the accept went out."""
        return self._seq > 1

    @property
    def settled(self) -> bool:
        """Whether the edge has consumed everything."""
        return not self._kept

    @property
    def held(self) -> bool:
        """Whether frames wait for the bus, or for an edge that is away."""
        return self._held

    @property
    def kept_bytes(self) -> int:
        """What is kept for sending again."""
        return self._kept_bytes

    def mute(self) -> None:
        """Sends nothing more, and lets whoever waits for room go on: nobody listens."""
        self._muted = True
        self._kept.clear()
        self._kept_bytes = 0
        if self._room is not None and not self._room.done():
            self._room.set_result(None)

    def accept(self, worker_id: str, seal: bytes = b"") -> None:
        """The first frame, with the key that the body's parts are to be sealed to."""
        self._send(Accept(self._next(), worker_id, seal=seal))

    def data(self, data: bytes) -> None:
        """Bytes for the caller, in as few frames as their size allows."""
        if self._muted:
            return
        if len(data) <= FRAME_BYTES_MAX:
            self._send(Data(self._next(), data, self.output_tokens, self.events))
            return
        for start in range(0, len(data), FRAME_BYTES_MAX):
            piece = data[start : start + FRAME_BYTES_MAX]
            self._send(Data(self._next(), piece, self.output_tokens, self.events))

    def early_usage(self, usage: TokenUsage) -> None:
        """What the provider says so far."""
        if not self._muted:
            self._send(EarlyUsage(self._next(), usage))

    def end(self, data: bytes, usage: TokenUsage, billed_nano: int | None = None) -> None:
        """The last frame of a call that is complete, with the last of its bytes, and its bill where it is wanted."""
        if len(data) > FRAME_BYTES_MAX:
            self.data(data)
            data = b""
        self._send(End(self._next(), data, usage, billed_nano))

    def failed(self, error: WireError, *, gives_way: bool = False) -> None:
        """The last frame of a call that failed, or that another candidate may serve."""
        self._send(Failed(self._next(), error, gives_way))

    def over(self, error: WireError) -> None:
        """Says that a call whose caller has left is recorded. If this is lost, its edge follows the call for a while."""
        self.mute()
        self._publish(encode(Failed(self._next(), error)))

    @property
    def full(self) -> bool:
        """Whether the window is full: `room` must be awaited before more is read from upstream."""
        return self._kept_bytes >= WINDOW_BYTES_MAX

    async def room(self) -> None:
        """Waits until the edge has consumed enough. The caller's deadline bounds the wait."""
        while self._kept_bytes >= WINDOW_BYTES_MAX:
            self._room = asyncio.get_running_loop().create_future()
            await self._room

    def credit(self, through: int) -> None:
        """The edge has consumed all frames up to this one."""
        self._away_since = None
        if self._held and self._bus.connected:
            self._release()
        self._through = max(self._through, through)
        kept = self._kept
        while kept and kept[0][0] <= through:
            self._kept_bytes -= len(kept.popleft()[1])
        if self._room is not None and self._kept_bytes < WINDOW_BYTES_MAX and not self._room.done():
            self._room.set_result(None)

    def reconnected(self) -> None:
        """The bus is back: what was on its way may be lost, so the window goes out again."""
        self._release()

    def no_responders(self, now: float) -> None:
        """A frame, or a probe, met nobody."""
        self._held = True
        self._no_answer_at = now
        if self._away_since is None:
            self._away_since = now
            self._probed_at = now

    def tick(self, now: float) -> None:
        """Keep-alives, and the search for an edge that is away; to be called several times a second."""
        if self._muted:
            return
        if not self._bus.connected:
            self._held = True
            self._away_since = None
            return
        if self._away_since is not None:
            self._search(now)
        elif self._held:
            self._release()
        elif now - self._last_sent >= ALIVE_INTERVAL_S:
            self._alive(self._seq - 1)

    def _search(self, now: float) -> None:
        if self._away_since is not None and now - self._away_since >= EDGE_GONE_S:
            self.gone = True
        elif self._probed_at > self._no_answer_at and now - self._probed_at >= PROBE_ANSWER_S:
            self._away_since = None  # somebody heard the last probe: what was sent before it may be lost
            self._release()
        elif now - self._probed_at >= PROBE_INTERVAL_S:
            self._probed_at = now
            self._alive(max(self._through, 0))

    def _alive(self, last_seq: int) -> None:
        self._last_sent = time.monotonic()
        self._publish(encode(Alive(last_seq, self.output_tokens)))

    def _next(self) -> int:
        seq = self._seq
        self._seq = seq + 1
        return seq

    def _send(self, frame: Accept | Data | EarlyUsage | End | Failed) -> None:
        if self._muted:
            return
        payload = encode(frame)
        self._kept.append((frame.seq, payload))
        self._kept_bytes += len(payload)
        if not self._held:
            self._last_sent = time.monotonic()
            self._held = not self._publish(payload)

    def _release(self) -> None:
        # In order, or not at all: a later frame that overtakes an earlier one is a gap.
        self._held = not all(self._publish(payload) for _, payload in self._kept)

    def _publish(self, payload: bytes) -> bool:
        try:
            self._bus.publish(self._subject, payload, self._reply)
        except BusError:
            return False
        return True
