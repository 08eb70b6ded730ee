"""Owns the connection to NATS that every service stands on: guarded, bounded, with a synchronous hot path."""

import asyncio
import contextlib
import secrets
import time
from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import Struct

from runtime.bus.client import (
    HEADROOM_BYTES,
    Client,
    GuardedClient,
    SlowConsumerError,
    Subscription,
    tls_context,
)
from runtime.bus.identity import SEED_BYTES, Identity
from runtime.bus.messages import (
    BusDenied,
    BusDown,
    BusError,
    BusFull,
    BusRejected,
    BusTimeout,
    Message,
    NoResponders,
    PayloadTooLarge,
    message_of,
)
from runtime.bus.replies import Replies
from runtime.log import get_logger
from runtime.settings.settings import NatsSettings, SettingsError
from schemas.bus.subjects import Role, new_id, reply_prefix

__all__ = [
    "Bus",
    "BusDenied",
    "BusDown",
    "BusError",
    "BusFull",
    "BusRejected",
    "BusTimeout",
    "Message",
    "NoResponders",
    "PayloadTooLarge",
    "Subscription",
]

PENDING_BYTES_MAX = 8 * 1024 * 1024  # published and not yet taken by the socket
RECONNECT_INTERVAL_S = 0.1
CONNECT_TIMEOUT_S = 2.0
PING_INTERVAL_S = 1.0
PINGS_MAX = 3  # a server that is silent for PING_INTERVAL_S * (PINGS_MAX + 1) is left
SUBSCRIBE_TIMEOUT_S = 5.0
_OPTIONS: dict[str, Any] = {
    # Seconds: the library's annotations say int, but it only adds and compares them.
    "reconnect_time_wait": RECONNECT_INTERVAL_S,
    "connect_timeout": CONNECT_TIMEOUT_S,
    "ping_interval": PING_INTERVAL_S,
    "allow_reconnect": True,
    "max_reconnect_attempts": -1,
    "max_outstanding_pings": PINGS_MAX,
    "pending_size": PENDING_BYTES_MAX,
    "dont_randomize": False,
    "no_echo": False,
}
_QUIET_S = 5.0  # a connection that cannot be made is logged this often

_logger = get_logger("runtime.bus")


class _RefusedError(SettingsError):
    """The server does not know this password of a role."""


class _Ack(Struct):
    """JetStream's answer to a publish."""

    error: dict[str, object] | None = None


_decode_ack = msgspec.json.Decoder(_Ack).decode


class Bus:
    """One connection of one role. All methods belong to the event loop that made it."""

    def __init__(self, role: Role, on_closed: Callable[[], None], identity: Identity | None = None) -> None:
        self.role = role
        self.id = identity.id if identity is not None else new_id(role.value[0])
        self.connected_since = 0.0
        self.client = GuardedClient(self._went_down, self._has_room)
        self.client.on_handler_error = self._handler_failed
        self.reconnects = 0
        self.dropped = 0
        self.denied = 0
        self.handler_errors = 0
        self._up = False
        self._closing = False
        self._on_closed = on_closed
        self._callbacks: list[Callable[[], None]] = []
        self._loop = asyncio.get_running_loop()
        self._identity = identity
        self._inbox = f"{reply_prefix(role)}.{self.id}"
        self._waiting = Replies(f"{self._inbox}.", self._loop)
        self._payload_max = 0
        self._room: asyncio.Event = asyncio.Event()
        self._quiet_until = 0.0
        self._refused: asyncio.Future[str] = self._loop.create_future()
        self._denials: list[str] = []

    @classmethod
    async def connect(
        cls, settings: NatsSettings, role: Role, *, name: str, on_closed: Callable[[], None], pool: str = ""
    ) -> "Bus":
        """Connects as a role, that of one `pool` alone if there is a password for it; tries until it works or is cancelled.

        Of two passwords the new one is shown first, and that of before to a server that does not know it yet.
        `on_closed` is called once if the connection ends for good (credentials refused): end the process there.
        Raises SettingsError when the credentials are missing or refused.
        """
        user = of_pool if (of_pool := f"{role.value}.{pool}") in settings.passwords else role.value
        password = settings.passwords.get(user, "")
        if settings.passwords and not password:
            raise SettingsError(f"[nats] credentials: there is no line for the role {role.value!r}")
        if former := settings.former.get(user):
            with contextlib.suppress(_RefusedError):
                return await cls._connect(settings, role, user, password, name=name, on_closed=on_closed)
            _logger.warning("the new password is refused; that of before is shown", role=role.value)
            password = former
        return await cls._connect(settings, role, user, password, name=name, on_closed=on_closed)

    @classmethod
    async def _connect(
        cls,
        settings: NatsSettings,
        role: Role,
        user: str,
        password: str,
        *,
        name: str,
        on_closed: Callable[[], None],
    ) -> "Bus":
        identity = Identity(user, password, secrets.token_bytes(SEED_BYTES)) if password else None
        bus = cls(role, on_closed, identity)
        connecting = asyncio.ensure_future(bus._open(settings, user if password else None, password, name))
        try:
            outcomes: set[asyncio.Future[Any]] = {connecting, bus._refused}
            await asyncio.wait(outcomes, return_when=asyncio.FIRST_COMPLETED)
            if not connecting.done():
                problem = f"[nats] credentials: {settings.url} refuses the role {role.value!r}"
                raise _RefusedError(problem)  # noqa: TRY301  the clean-up below is for every failure
            await connecting
            await bus._listen_for_replies()
        except BaseException:
            connecting.cancel()
            await bus.close()
            raise
        return bus

    async def _listen_for_replies(self) -> None:
        while True:
            try:
                await self.subscribe(f"{self._waiting.inbox}*", self._waiting.on_reply)
            except (BusDown, BusTimeout):
                await asyncio.sleep(RECONNECT_INTERVAL_S)
            else:
                return

    async def _open(self, settings: NatsSettings, user: str | None, password: str, name: str) -> None:
        await self.client.connect(
            servers=[url.strip() for url in settings.url.split(",")],
            # A server that signs users asks for a signature and is told no password; any other asks for the password.
            user=user,
            password=password or None,
            user_jwt_cb=self._identity.token if self._identity is not None else None,
            signature_cb=self._identity.prove if self._identity is not None else None,
            name=name,
            tls=tls_context(settings),
            error_cb=self._error,
            disconnected_cb=None,
            reconnected_cb=self._reconnected,
            closed_cb=self._closed,
            inbox_prefix=self._inbox,
            **_OPTIONS,
        )
        self._came_up()

    @property
    def connected(self) -> bool:
        """Whether a message published now goes to a server that knows our subscriptions."""
        return self._up and self.client._status == Client.CONNECTED  # noqa: SLF001  a property call each is dear

    @property
    def signed(self) -> bool:
        """Whether the server knows this connection by its id, and gives it what is its own and nothing else."""
        return self._identity is not None and "nonce" in self.client._server_info  # noqa: SLF001  nats-py shows it nowhere else

    @property
    def payload_max_bytes(self) -> int:
        """Largest payload that can be published."""
        return self._payload_max

    def counts(self) -> dict[str, int]:
        """Counters since the start, for metrics."""
        return {
            "reconnects": self.reconnects,
            "dropped": self.dropped,
            "denied": self.denied,
            "handler_errors": self.handler_errors,
        }

    def publish(self, subject: str, data: bytes, reply: str = "") -> None:
        """Sends at the end of this iteration of the loop. Raises BusDown, BusFull, PayloadTooLarge.

        Core NATS promises nothing: a message may be lost with its connection. Names in subjects are checked where
        they are made (`schemas.bus.subjects`).
        """
        self._send(f"PUB {subject} {reply} {len(data)}\r\n".encode(), data)

    def _send(self, head: bytes, data: bytes) -> None:
        client = self.client
        if not (self._up and client._status == Client.CONNECTED):  # noqa: SLF001  as in connected
            raise BusDown("not connected to NATS")
        if len(data) > self._payload_max:
            raise PayloadTooLarge(f"{len(data)} bytes; at most {self._payload_max}")
        if client._pending_data_size > PENDING_BYTES_MAX:  # noqa: SLF001  nats-py shows what is unsent nowhere else
            self._room.clear()
            raise BusFull("the connection to NATS is backed up")
        client.enqueue(head, data, b"\r\n")

    async def request(self, subject: str, data: bytes, timeout_s: float) -> bytes:
        """The reply to a message. Raises NoResponders, BusTimeout, BusDown, BusDenied, BusFull, PayloadTooLarge."""
        token, future = self._waiting.expect(subject, timeout_s)
        try:
            self.publish(subject, data, self._waiting.inbox + token)
            return await future
        finally:
            self._waiting.forget(token)

    async def js_publish(self, subject: str, data: bytes, msg_id: str, timeout_s: float) -> None:
        """Stores a message in its stream, once per `msg_id` within the stream's window.

        Raises BusTimeout, BusDown, NoResponders (no stream), BusRejected; after any of them it may or may not be
        stored: send it again with the same id.
        """
        token, future = self._waiting.expect(subject, timeout_s)
        headers = f"NATS/1.0\r\nNats-Msg-Id: {msg_id}\r\n\r\n".encode()
        total = len(headers) + len(data)
        try:
            head = f"HPUB {subject} {self._waiting.inbox}{token} {len(headers)} {total}\r\n".encode()
            self._send(head + headers, data)
            answer = await future
        finally:
            self._waiting.forget(token)
        ack = _decode_ack(answer)
        if ack.error is not None:
            raise BusRejected(str(ack.error.get("description", "JetStream did not store the message")))

    async def subscribe(
        self, subject: str, handler: Callable[[Message], None], queue: str = ""
    ) -> Subscription:
        """Subscribes; returns when the server knows it. Raises BusDown, BusDenied, BusTimeout.

        `handler` runs in the read callback: it must not block. What it raises is logged and counted.
        """
        if not self.client.is_connected:
            raise BusDown("not connected to NATS")
        if any(space in subject + queue for space in " \t\r\n") or not subject:
            raise ValueError(f"not a subject: {subject!r}")

        def deliver(subject: bytes, reply: bytes, headers: bytes, data: bytes) -> None:
            handler(message_of(subject, reply, headers, data))

        subscription = Subscription(self.client, subject, queue, deliver)
        seen = len(self._denials)
        try:
            await self.flush(SUBSCRIBE_TIMEOUT_S)
        except BaseException:
            subscription.end()
            raise
        if any(f'"{subject.lower()}"' in denial for denial in self._denials[seen:]):
            subscription.end()
            raise BusDenied(f"the role {self.role.value!r} may not subscribe to {subject}")
        return subscription

    async def flush(self, timeout_s: float) -> None:
        """Waits until the server has read everything published so far. Raises BusTimeout, BusDown."""
        await self.client.drained(timeout_s)

    async def room(self, timeout_s: float) -> None:
        """Waits, after BusFull, until the socket has taken what was published. Raises BusTimeout, BusDown."""
        try:
            async with asyncio.timeout(timeout_s):
                while self.client._pending_data_size > PENDING_BYTES_MAX // 2:  # noqa: SLF001  as in _send
                    if not self.connected:
                        raise BusDown("not connected to NATS")
                    self._room.clear()
                    await self._room.wait()
        except TimeoutError:
            raise BusTimeout("the connection to NATS is backed up") from None

    def on_reconnect(self, callback: Callable[[], None]) -> None:
        """Calls `callback` after each reconnect, once the server knows our subscriptions again."""
        self._callbacks.append(callback)

    async def close(self) -> None:
        """Closes the connection; what is written goes out first, for a second at most."""
        self._closing = True
        if self.connected:
            with contextlib.suppress(BusError):
                await self.flush(1.0)
        self._waiting.fail()
        self._up = False
        with contextlib.suppress(Exception):
            await self.client.close()

    # What the client tells. None of these may raise: the library's tasks would end.

    def _came_up(self) -> None:
        self._payload_max = self.client.max_payload - HEADROOM_BYTES
        self.connected_since = time.monotonic()
        self._up = True

    def _went_down(self) -> None:
        if self._up:
            _logger.warning("disconnected from NATS", role=self.role.value)
        self._up = False
        self._room.set()
        self._waiting.fail()

    def _has_room(self) -> None:
        self._room.set()

    async def _reconnected(self) -> None:
        self.reconnects += 1
        self._came_up()
        _logger.info("reconnected to NATS", role=self.role.value)
        for callback in self._callbacks:
            try:
                callback()
            except Exception as error:  # noqa: BLE001  a callback must not keep the next ones from running
                self._handler_failed(error)

    async def _closed(self) -> None:
        self._went_down()
        if not self._closing:
            self._closing = True
            self._on_closed()

    def _handler_failed(self, error: Exception) -> None:
        self.handler_errors += 1
        _logger.error("a handler of bus messages failed", role=self.role.value, exc_info=error)

    async def _error(self, error: Exception) -> None:
        text = str(error)
        if "permissions violation" in text:
            self._violation(text)
        elif isinstance(error, SlowConsumerError):
            self.dropped += 1
            _logger.error(
                "a message was dropped: its subscription is full", role=self.role.value, subject=error.subject
            )
        elif "authorization violation" in text.lower() and not self._up:
            if not self._refused.done():
                self._refused.set_result(text)
        elif self._loop.time() >= self._quiet_until:
            self._quiet_until = self._loop.time() + _QUIET_S
            _logger.warning(
                "NATS cannot be reached", role=self.role.value, error=text or type(error).__name__
            )

    def _violation(self, text: str) -> None:
        self.denied += 1
        self._denials = [*self._denials[-15:], text]
        _logger.error("the server refuses a subject to this role", role=self.role.value, error=text)
        if "for publish" in text:
            self._waiting.deny(text, self.role)
