"""Owns one connection to NATS: whether it is up, what goes wrong with it, and who is told of that."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

from runtime.bus.client import (
    HEADROOM_BYTES,
    Client,
    GuardedClient,
    SlowConsumerError,
    tls_context,
)
from runtime.bus.identity import Identity
from runtime.bus.replies import Replies
from runtime.log import get_logger
from runtime.settings.settings import NatsSettings
from schemas.bus.subjects import Role, new_id, reply_prefix

PENDING_BYTES_MAX = 8 * 1024 * 1024  # published and not yet taken by the socket
RECONNECT_INTERVAL_S = 0.1
CONNECT_TIMEOUT_S = 2.0
PING_INTERVAL_S = 1.0
PINGS_MAX = 3  # a server that is silent for PING_INTERVAL_S * (PINGS_MAX + 1) is left
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


class Connection:
    """The connection that a bus stands on, made again whenever it is lost."""

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

    def on_reconnect(self, callback: Callable[[], None]) -> None:
        """Calls `callback` after each reconnect, once the server knows our subscriptions again."""
        self._callbacks.append(callback)

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
