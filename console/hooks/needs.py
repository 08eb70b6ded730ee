"""Owns what the dispatcher needs of the process that it runs in: a connection to the bus, and a ledger to ask."""

from collections.abc import Awaitable, Callable
from typing import Protocol

from runtime.bus.bus import Message
from runtime.ledger import Patience
from schemas.bus.subjects import Role
from schemas.verbs.base import Form, Reply, Verb


class Heard(Protocol):
    """A subscription."""

    async def leave(self) -> None:
        """Ends it, once what has arrived is handled."""
        ...


class Line(Protocol):
    """A connection of the role `console`, as `runtime.bus.bus.Bus` is one."""

    role: Role
    id: str

    def publish(self, subject: str, data: bytes, reply: str = "") -> None:
        """Sends at once. Raises BusError."""
        ...

    def subscribe(
        self, subject: str, handler: Callable[[Message], None], queue: str = ""
    ) -> Awaitable[Heard]:
        """Subscribes. Raises BusError."""
        ...


class Ledger(Protocol):
    """Whoever asks a ledger, as `runtime.ledger.LedgerClient` does."""

    async def ask(self, verb: Verb[Form, Reply], request: Form, *, patience: Patience | None = None) -> Reply:
        """A verb's answer. Raises BusError."""
        ...
