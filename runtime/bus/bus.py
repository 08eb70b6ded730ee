"""Owns what every service says and hears on NATS: guarded, bounded, with a synchronous hot path."""

import asyncio
import contextlib
import secrets
from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import Struct

from runtime.bus.client import Client, Subscription
from runtime.bus.connection import PENDING_BYTES_MAX, RECONNECT_INTERVAL_S, Connection
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
from runtime.log import get_logger
from runtime.settings.settings import NatsSettings, SettingsError
from schemas.bus.subjects import Role

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

SUBSCRIBE_TIMEOUT_S = 5.0

_logger = get_logger("runtime.bus")


class _RefusedError(SettingsError):
    """The server does not know this password of a role."""


class _Ack(Struct):
    """JetStream's answer to a publish."""

    error: dict[str, object] | None = None


_decode_ack = msgspec.json.Decoder(_Ack).decode


class Bus(Connection):
    """One connection of one role. All methods belong to the event loop that made it."""

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
