"""Owns the changes to nats-py's client (pinned version) that its traps and our hot path make necessary.

Everything that reaches into the library is in this module; each override says which trap it closes.
"""

import asyncio
import ssl
from collections.abc import Callable
from typing import Any

import msgspec

from runtime.lean import late, without

with without("aiohttp"), late("nats.js"):
    from nats.aio.client import Client, Srv
    from nats.aio.subscription import Subscription as NatsSubscription
    from nats.errors import MaxPayloadError, SlowConsumerError, StaleConnectionError, UnexpectedEOF
    from nats.protocol.parser import AUTHORIZATION_VIOLATION, PERMISSIONS_ERR

from runtime.bus.messages import BusDown
from runtime.bus.replies import expire
from runtime.bus.wire import CLOSE_TIMEOUT_S, Parser, ProtocolError, PushTransport
from runtime.settings.settings import NatsSettings, SettingsError

# What headers may add to a payload: the server closes a connection that goes beyond
HEADROOM_BYTES = 16 * 1024
LEAVE_TIMEOUT_S = 5.0
JOIN_BYTES_MAX = 64 * 1024  # below it one joined write is cheaper than a vector

__all__ = [
    "HEADROOM_BYTES",
    "Client",
    "GuardedClient",
    "SlowConsumerError",
    "Subscription",
    "tls_context",
]

Deliver = Callable[[bytes, bytes, bytes, bytes], None]  # subject, reply, headers, data


class GuardedClient(Client):
    """nats-py's client with a synchronous hot path. `direct` maps subscription ids to functions called at once."""

    def __init__(self, on_down: Callable[[], None], on_writable: Callable[[], None]) -> None:
        super().__init__()
        self.direct: dict[int, Deliver] = {}
        self.on_handler_error: Callable[[Exception], None] = lambda _error: None
        self._on_down = on_down
        self._on_writable = on_writable
        self._loop = asyncio.get_running_loop()
        self._parser = Parser(self)
        self._flush_scheduled = False
        self._ended = False
        self._errands: set[asyncio.Task[None]] = set()

    # Writing. nats-py's publish is a coroutine that wakes a flusher task through a queue and swallows a cancel
    # while it waits for room. Here commands are appended, and written once at the end of the loop's iteration.

    def enqueue(self, *pieces: bytes) -> None:
        """Appends one command to what is written at the end of this iteration of the loop."""
        for piece in pieces:
            self._pending.append(piece)
            self._pending_data_size += len(piece)
        if not self._flush_scheduled:
            self._flush_scheduled = True
            self._loop.call_soon(self.write_pending)

    def write_pending(self) -> None:
        """Gives the socket what has been appended, unless it is full: then the rest waits for `resume_writing`."""
        self._flush_scheduled = False
        transport = self._transport
        if not self._pending or not isinstance(transport, PushTransport) or not transport.writable:
            return
        if self._status != Client.CONNECTED:
            return
        pieces, self._pending = self._pending, []
        size, self._pending_data_size = self._pending_data_size, 0
        if size <= JOIN_BYTES_MAX:
            transport.write(b"".join(pieces))
        else:
            transport.writelines(pieces)
            if transport.writable:
                # The socket took it all without a pause, so no `resume_writing` will come: who waits for room is told.
                self._on_writable()

    async def drained(self, timeout_s: float) -> None:
        """Waits until the server has read everything written so far. Raises BusTimeout, BusDown."""
        if not self.is_connected:
            raise BusDown("not connected to NATS")
        pong: asyncio.Future[bool] = self._loop.create_future()
        timer = self._loop.call_later(timeout_s, expire, pong)
        try:
            await self._send_ping(pong)  # nats-py's own flush() is cancelled when the connection is lost
            await asyncio.wait([pong])
            if pong.cancelled():
                raise BusDown("the connection to NATS was lost")
            pong.result()
        finally:
            timer.cancel()
            pong.cancel()

    def _writable(self) -> None:
        self.write_pending()
        self._on_writable()

    async def _send_command(self, cmd: bytes, priority: bool = False) -> None:
        del priority
        self.enqueue(cmd)

    async def _flush_pending(self, force_flush: bool = False) -> Any:
        # Trap: a cancel while waiting for room was swallowed here. Nothing waits any more.
        del force_flush
        self.write_pending()

    async def _flusher(self) -> None:
        # The library asks whether this task lives; the writing itself needs none.
        await self._loop.create_future()

    async def _send_ping(self, future: asyncio.Future[bool] | None = None) -> None:
        # Trap: the library's PING overtakes commands that are still pending, so its flush proved nothing.
        self._pongs.append(future if future is not None else self._loop.create_future())
        self.enqueue(b"PING\r\n")

    async def _send_publish(
        self, subject: str, reply: str, payload: bytes, payload_size: int, headers: dict[str, Any] | None
    ) -> None:
        # Trap: only the payload is checked, and the server closes for good when payload + headers are too large.
        room = sum(len(key) + len(str(value)) + 8 for key, value in (headers or {}).items())
        if payload_size + room > self.max_payload - (HEADROOM_BYTES if room else 0):
            raise MaxPayloadError
        await super()._send_publish(subject, reply, payload, payload_size, headers)

    # Reading. Bytes are pushed by the socket, parsed, and handed to the subscription's function at once.

    async def _connect_to_server(self, s: Srv) -> None:
        if self._ended:
            raise asyncio.CancelledError
        if not isinstance(self._transport, PushTransport):
            self._transport = PushTransport(self._writable)
        await super()._connect_to_server(s)

    async def _read_loop(self) -> None:
        assert isinstance(self._transport, PushTransport)  # noqa: S101  for mypy: _connect_to_server set it
        self._parser.reset()
        transport = self._transport
        try:
            error = await transport.push_to(self._on_bytes)
        except asyncio.CancelledError:
            return
        if self._transport is transport:
            await self._process_op_err(error if error is not None else UnexpectedEOF())

    def _on_bytes(self, data: bytes) -> None:
        # Whatever arrives proves that the server lives: a PONG may stand behind a lot of messages.
        self._pings_outstanding = 0
        try:
            self._parser.feed(data)
        except Exception as error:  # noqa: BLE001  whatever it is, the stream cannot be trusted any more
            self._parser.reset()
            self._errand(self._process_op_err(error))

    def on_message(self, sid: int, subject: bytes, reply: bytes, headers: bytes, data: bytes) -> None:
        """One message. A handler's exception ends neither the connection nor the messages behind it."""
        deliver = self.direct.get(sid)
        if deliver is None:
            if sid in self._subs:
                self._deliver_to_library(sid, subject, reply, headers, data)
            return
        try:
            deliver(subject, reply, headers, data)
        except Exception as error:  # noqa: BLE001  a handler must not be able to end the connection
            self.on_handler_error(error)

    def _deliver_to_library(
        self, sid: int, subject: bytes, reply: bytes, headers: bytes, data: bytes
    ) -> None:
        # JetStream management subscribes through nats-py. Its own processing only awaits callbacks of errors, so it
        # is run to its end here, in order; should it ever wait, it goes on as a task.
        step = self._process_msg(sid, subject, reply, data, headers)
        try:
            step.send(None)
        except StopIteration:
            return
        except Exception as error:  # noqa: BLE001  as in on_message
            self.on_handler_error(error)
            return
        step.close()
        self.on_handler_error(RuntimeError("nats-py waited while it processed a message, which was dropped"))

    def on_control(self, line: bytes) -> None:
        """PING, PONG, -ERR and INFO; anything else is not the protocol. Raises ProtocolError."""
        if line == b"PONG":
            self._pong()
        elif line == b"PING":
            self.enqueue(b"PONG\r\n")
        elif line.startswith(b"-ERR"):
            self._errand(self._process_err(line[4:].strip().decode(errors="replace").lower()))
        elif line.startswith(b"INFO "):
            self._errand(self._process_info(msgspec.json.decode(line[5:])))
        elif not line.startswith(b"+OK"):
            raise ProtocolError("an unknown control line")

    def _pong(self) -> None:
        # Trap: the library sets the result of a future that a timeout has cancelled, and its read loop ends.
        if self._pongs:
            future = self._pongs.pop(0)
            if not future.done():
                future.set_result(True)

    # Staying connected.

    async def _process_err(self, err_msg: str) -> None:
        # Trap: any error but two closes the client for good. Only refused credentials do here: the server closes the
        # connection after the others, and a reconnect is the cure.
        if AUTHORIZATION_VIOLATION in err_msg or PERMISSIONS_ERR in err_msg:
            await super()._process_err(err_msg)
        else:
            await self._error_cb(StaleConnectionError() if "stale" in err_msg else ServerError(err_msg))
            await self._process_op_err(ServerError(err_msg))

    async def _attempt_reconnect(self) -> None:
        # What was not written is dropped, never sent late: its senders are told (BusDown) and decide.
        self._pending = []
        self._pending_data_size = 0
        for future in self._pongs:
            future.cancel()
        self._on_down()
        try:
            await super()._attempt_reconnect()
        except Exception as error:  # noqa: BLE001  nobody awaits this task: whoever greeted us was no server of NATS
            self.on_handler_error(error)
            self._reconnection_task = None  # this one: the close would cancel it before it has told the owner
            await self.close()

    async def close(self) -> None:
        """Closes for good, whatever the connection was at."""
        # Trap: the library cancels a reconnection once, asyncio.wait_for may swallow that, and it reconnects after all.
        self._ended = True
        try:
            await super().close()
        finally:
            task = self._reconnection_task
            if task is not None and task is not asyncio.current_task():
                task.cancel()
                await asyncio.wait([task], timeout=CLOSE_TIMEOUT_S)
            if isinstance(self._transport, PushTransport):
                self._transport.abort()

    def _errand(self, work: Any) -> None:
        task = self._loop.create_task(work)
        self._errands.add(task)
        task.add_done_callback(self._errands.discard)


class ServerError(Exception):
    """An error line of the server."""


class Subscription:
    """A live subscription without a task or a queue: the library replays it after each reconnect. Sends the SUB."""

    def __init__(self, client: GuardedClient, subject: str, queue: str, deliver: Deliver) -> None:
        # The library has no other way to such a subscription than its own tables.
        client._sid += 1  # noqa: SLF001  see the line above
        self._client = client
        self._sid = client._sid  # noqa: SLF001  as above
        client._subs[self._sid] = NatsSubscription(client, self._sid, subject, queue=queue)  # noqa: SLF001  as above
        client.direct[self._sid] = deliver
        client.enqueue(f"SUB {subject} {queue} {self._sid}\r\n".encode())

    def end(self) -> None:
        """Ends it, here and at the server. Messages already on their way are dropped."""
        self._stop()
        self._client.direct.pop(self._sid, None)

    async def unsubscribe(self) -> None:
        """As `end`."""
        self.end()

    async def leave(self) -> None:
        """Ends it, but handles what the server has sent already: a job on its way is bounced, not lost."""
        self._stop()
        if self._client.is_connected:
            pong: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
            await self._client._send_ping(pong)  # noqa: SLF001  as in Bus.flush
            await asyncio.wait([pong], timeout=LEAVE_TIMEOUT_S)
        self.end()

    def _stop(self) -> None:
        known = self._client._subs.pop(self._sid, None)  # noqa: SLF001  see the comment in __init__
        if known is not None and self._client.is_connected:
            self._client.enqueue(f"UNSUB {self._sid}\r\n".encode())


def tls_context(settings: NatsSettings) -> ssl.SSLContext | None:
    """The TLS of a connection, None for none. Raises SettingsError."""
    if not (settings.ca or settings.cert):
        return None
    try:
        context = ssl.create_default_context(cafile=settings.ca or None)
        if settings.cert:
            context.load_cert_chain(settings.cert, settings.key or None)
    except OSError as error:  # an SSLError is one, too
        raise SettingsError(f"[nats] tls: {error}") from None
    return context
