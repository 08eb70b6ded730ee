"""Owns importing a library without an optional half of it that this project never uses."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without(package: str) -> Iterator[None]:
    """Makes `package` look absent while something else is imported, unless it is loaded already.

    It pays where a library probes for a large one: nats-py loads aiohttp for websockets, structlog loads rich for
    terminals, in every process of a deployment and in every command.
    """
    if package in sys.modules:
        yield
        return
    sys.modules[package] = None  # type: ignore[assignment]  # the import system's own mark for "not there"
    try:
        yield
    finally:
        del sys.modules[package]
