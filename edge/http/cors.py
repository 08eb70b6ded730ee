"""Owns what lets a page of another origin read this edge: the headers of CORS, and the answer to its preflight.

Keys travel in headers that a page sets itself, never in cookies, so credentials are never allowed.
"""

from collections.abc import Sequence

Headers = tuple[tuple[bytes, bytes], ...]

EVERY_ORIGIN = "*"
ASKED_BYTES_MAX = 1_024  # of the header names that a preflight asks for
PREFLIGHT_AGE_S = 7_200  # browsers keep a preflight's answer no longer
ORIGIN = b"origin"
_ASKED_METHOD = b"access-control-request-method"
_ASKED_HEADERS = b"access-control-request-headers"
_VARY = (b"vary", b"origin")
_NAMES = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$%&'*+-.^_`|~, \t")


def _first(headers: Sequence[tuple[bytes, bytes]], name: bytes) -> bytes | None:
    for key, value in headers:
        if key == name:
            return value
    return None


class Cors:
    """Which origins may read answers: all with `*`, none with an empty list. An origin is `https://host[:port]`."""

    def __init__(self, origins: Sequence[str]) -> None:
        self.allow(origins)

    def allow(self, origins: Sequence[str]) -> None:
        """These may from now on."""
        self._every = EVERY_ORIGIN in origins
        self._origins = frozenset(origin.encode() for origin in origins)

    @property
    def unheard(self) -> Headers:
        """What an answer says before any header of its request was read."""
        return ((b"access-control-allow-origin", b"*"),) if self._every else ()

    def headers(self, request: Sequence[tuple[bytes, bytes]]) -> Headers:
        """What an answer says to the origin that a request names; nothing if it names none."""
        origin = _first(request, ORIGIN)
        if origin is None:
            return ()
        if not self._every and origin not in self._origins:
            return (_VARY,)
        return (
            (b"access-control-allow-origin", b"*" if self._every else origin),
            # Every header but those that a browser keeps back from all pages; without credentials `*` means that.
            (b"access-control-expose-headers", b"*"),
            _VARY,
        )

    def is_preflight(self, method: str, request: Sequence[tuple[bytes, bytes]]) -> bool:
        """Whether a browser asks what a page may send."""
        return method == "OPTIONS" and None not in (_first(request, ORIGIN), _first(request, _ASKED_METHOD))

    def preflight(self, request: Sequence[tuple[bytes, bytes]], methods: Sequence[str]) -> Headers:
        """What a page may send to a route with these methods: the headers that it asks for, whatever they are.

        The gateway reads few of them, and SDKs add their own with each release.
        """
        asked = _first(request, _ASKED_HEADERS) or b""
        if len(asked) > ASKED_BYTES_MAX or not _NAMES.issuperset(asked):
            asked = b""
        said = [
            (b"access-control-allow-methods", ", ".join(methods).encode()),
            (b"access-control-max-age", b"%d" % PREFLIGHT_AGE_S),
            (b"vary", b"access-control-request-headers"),
        ]
        if asked:
            said.append((b"access-control-allow-headers", asked))
        return tuple(said)
