"""Owns the requests of one connection that wait for their reply."""

import asyncio

from runtime.bus.messages import BusDenied, BusDown, BusFull, BusTimeout, Message, NoResponders
from schemas.bus.subjects import Role

REQUESTS_MAX = 16_384  # of one connection


class Replies:
    """Requests by their token, which is the last part of their reply subject: `inbox` and then the token."""

    def __init__(self, inbox: str, loop: asyncio.AbstractEventLoop) -> None:
        self.inbox = inbox
        self._inbox_chars = len(inbox)
        self._loop = loop
        self._waiting: dict[str, tuple[asyncio.Future[bytes], str]] = {}
        self._next_token = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def expect(self, subject: str, timeout_s: float) -> tuple[str, asyncio.Future[bytes]]:
        """A token for a request to a subject, and its reply to come: bytes, or a BusError. Raises BusFull.

        Whoever expects must `forget`, whatever happens.
        """
        if len(self._waiting) >= REQUESTS_MAX:
            raise BusFull("too many requests wait for their replies")
        self._next_token += 1
        token = f"{self._next_token:x}"
        future: asyncio.Future[bytes] = self._loop.create_future()
        self._waiting[token] = (future, subject)
        timer = self._loop.call_later(timeout_s, expire, future)
        future.add_done_callback(lambda _future: timer.cancel())
        return token, future

    def forget(self, token: str) -> None:
        """Nobody waits for this reply any more."""
        future, _ = self._waiting.pop(token)
        if not future.done():
            future.cancel()
        elif not future.cancelled():
            future.exception()  # seen: its task may have been cancelled in the same moment

    def on_reply(self, message: Message) -> None:
        """A message at the inbox; too late, or a second one, it is dropped."""
        waiting = self._waiting.get(message.subject[self._inbox_chars :])
        if waiting is None or waiting[0].done():
            return
        if message.no_responders:
            waiting[0].set_exception(NoResponders(waiting[1]))
        else:
            waiting[0].set_result(message.data)

    def fail(self) -> None:
        """The connection is lost, and every reply with it."""
        for future, _ in list(self._waiting.values()):
            if not future.done():
                future.set_exception(BusDown("the connection to NATS was lost"))

    def deny(self, violation: str, role: Role) -> None:
        """The server does not let this role publish to the subject that a violation names."""
        for future, subject in list(self._waiting.values()):
            if f'"{subject.lower()}"' in violation and not future.done():
                future.set_exception(BusDenied(f"the role {role.value!r} may not publish to {subject}"))


def expire(future: asyncio.Future[bytes] | asyncio.Future[bool]) -> None:
    """Fails what has not come in time."""
    if not future.done():
        future.set_exception(BusTimeout("no reply in time"))
