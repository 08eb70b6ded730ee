"""Owns the refusal of who has no key, from the head of a request alone: neither a task nor a body is spent on it."""

from collections.abc import Mapping, Sequence

from msgspec import Struct

from edge import telemetry
from edge.http.heads import key_in
from schemas.errors import WireError, missing_key


class Door(Struct, frozen=True):
    """A route that wants a key: its name in metrics, and the headers in which a key may stand."""

    name: str
    key_headers: tuple[bytes, ...]


class Gate:
    """The routes that want a key, by method and path."""

    def __init__(self, doors: Mapping[tuple[bytes, bytes], Door]) -> None:
        self._doors = doors

    def refusal(self, method: bytes, path: bytes, headers: Sequence[tuple[bytes, bytes]]) -> WireError | None:
        """What a request is told that has no header with a key's form; None if its route says it better."""
        door = self._doors.get((method, path))
        if door is None:
            return None
        telemetry.count_request(door.name, 401)
        for name in door.key_headers:
            for heard, value in headers:
                if heard == name and isinstance(problem := key_in(name, value), WireError):
                    return problem
        return missing_key()
