"""Owns ports of this machine: which are free, and what answers there."""

import asyncio
import errno
import socket

from runtime.settings.settings import SettingsError

ANSWER_S = 1.0
ANSWER_BYTES_MAX = 4096


def free_port() -> int:
    """A port of the loopback that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def checked_port(host: str, port: int) -> int:
    """The port to listen on; 0 becomes a free one. Raises SettingsError if nothing could listen there."""
    try:
        return _bound(host, port)
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise SettingsError(f"cannot listen on {host} port {port}: {why}; choose another --port") from None


def some_port(host: str, port: int) -> int:
    """A port, or a free one if another process has it. Raises SettingsError if nothing could listen there."""
    try:
        return _bound(host, port)
    except OSError as error:
        return checked_port(host, 0 if error.errno == errno.EADDRINUSE else port)


def _bound(host: str, port: int) -> int:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    with socket.socket(found[0], found[1]) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(found[4])
        return int(probe.getsockname()[1])


async def exchange(host: str, port: int, request: bytes, *, whole: bool = False) -> bytes:
    """The first bytes that a server answers with, or all of them; empty if nothing answers within a second."""
    try:
        async with asyncio.timeout(ANSWER_S):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                writer.write(request)
                answer = await reader.read(ANSWER_BYTES_MAX)
                while (
                    whole and len(answer) < ANSWER_BYTES_MAX and (more := await reader.read(ANSWER_BYTES_MAX))
                ):
                    answer += more
                return answer
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return b""
