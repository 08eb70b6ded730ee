"""Owns the refusal of who has no key, from the head of a request alone: neither a task nor a body is spent on it."""

from collections.abc import Mapping, Sequence

from msgspec import Struct

from edge import telemetry
from edge.http.heads import key_in
from runtime.bounded import Warnings
from runtime.log import get_logger
from schemas.errors import WireError, missing_key

_refused = Warnings(get_logger("edge.http.gate"), "a request was refused")


class Door(Struct, frozen=True):
    """A route that wants a key: its name in metrics, and the headers in which a key may stand."""

    name: str
    key_headers: tuple[bytes, ...]


class Gate:
    """The routes that want a key, by method and path."""

    def __init__(self, doors: Mapping[tuple[bytes, bytes], Door]) -> None:
        self._doors = doors

    def refusal(
        self, method: bytes, path: bytes, headers: Sequence[tuple[bytes, bytes]]
    ) -> tuple[str, WireError] | None:
        """The route, and what a request is told that has no header with a key's form; None if its route says it better."""
        door = self._doors.get((method, path))
        if door is None:
            return None
        for name in door.key_headers:
            for heard, value in headers:
                if heard == name and isinstance(problem := key_in(name, value), WireError):
                    return door.name, problem
        return door.name, missing_key()

    def tell(
        self,
        route: str,
        error: WireError,
        request_id: str,
        client: tuple[str, int] | None,
        trace: Mapping[str, str],
    ) -> None:
        """Counts a refusal, and logs it unless there are too many."""
        telemetry.count_request(route, error.status)
        _refused.say(
            str(error.status),
            request_id=request_id,
            client=client[0] if client else "",
            route=route,
            status=error.status,
            code=error.code or error.type,
            message=error.message,
            **trace,
        )
