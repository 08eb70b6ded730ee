"""Owns the TCP ports of the tests' servers: no two test processes of a machine are ever given the same one."""

import fcntl
import itertools
import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

# Below the ports that systems give to connections, so that none of those takes one that a server is about to bind.
FIRST = 10_000
BLOCK = 100
BLOCKS = 200


def _block() -> Iterator[int]:
    """The ports of a block that is this process's until it ends, over and over."""
    folder = Path(tempfile.gettempdir(), f"tokn-ports-{os.geteuid()}")
    folder.mkdir(exist_ok=True)
    for block in range(BLOCKS):
        # The file stays open, and so locked, for as long as this process lives.
        held = os.open(folder / str(block), os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(held)
            continue
        first = FIRST + block * BLOCK
        return itertools.cycle(range(first, first + BLOCK))
    raise RuntimeError(f"{BLOCKS} other processes hold all ports of the tests")


_ports: list[Iterator[int]] = []


def free_port() -> int:
    """A TCP port of 127.0.0.1 on which nobody listens now, and which no other test process is given.

    Raises RuntimeError when there is none.
    """
    if not _ports:
        _ports.append(_block())
    for port in itertools.islice(_ports[0], BLOCK):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError(f"none of {BLOCK} ports is free")
