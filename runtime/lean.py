"""Owns importing a library without an optional half of it that this project never uses."""

import importlib.util
import ssl
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType


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


class _Late(MetaPathFinder):
    """Finds one module, as one that is loaded when something of it is first used."""

    def __init__(self, module: str) -> None:
        self._module: str | None = module

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The module's own spec with a loader that waits; None for any other."""
        del path, target
        if fullname != self._module:
            return None
        self._module = None  # what follows asks the finders again
        spec = importlib.util.find_spec(fullname)
        if spec is not None and spec.loader is not None:
            spec.loader = importlib.util.LazyLoader(spec.loader)
        return spec


@contextmanager
def late(module: str) -> Iterator[None]:
    """Has `module` loaded at the first use of what is in it, if something imports it meanwhile.

    It pays where a library imports a large half of itself that may never run: nats-py's JetStream is 40 ms of CPU.
    """
    finder = _Late(module)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


@contextmanager
def uncertified() -> Iterator[None]:
    """Leaves the system's certificates unread while something is imported: contexts made meanwhile trust nobody.

    It pays where a library makes contexts that nothing here uses: aiohttp makes two at 40 ms of CPU each.
    """
    context: type[ssl.SSLContext] = ssl.SSLContext
    context.set_default_verify_paths = _read_none  # type: ignore[assignment]  # an inherited one, hidden for a while
    try:
        yield
    finally:
        del context.set_default_verify_paths


def _read_none(context: ssl.SSLContext) -> None:
    del context
