"""Owns how a connection ends while its caller still sends: the answer must arrive before the connection is reset.

A socket that is closed with bytes unread tells its caller so by a reset, which takes away what was answered.
"""

import asyncio
from collections.abc import Callable

LINGER_S = 2.0  # for the caller to read its answer
LINGER_BYTES_MAX = 64 * 1024 * 1024  # that are read and thrown away meanwhile


class Lingering(asyncio.Transport):
    """A transport as an answer sees it while its request's body is on its way: closing it is left to `on_close`."""

    def __init__(self, transport: asyncio.Transport, on_close: Callable[[], None]) -> None:
        super().__init__()
        self._transport = transport
        self._on_close = on_close

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Sends."""
        self._transport.write(data)

    def is_closing(self) -> bool:
        """Whether the connection is gone."""
        return self._transport.is_closing()

    def close(self) -> None:
        """Ends the connection once the answer is read, or has had its time."""
        self._on_close()
