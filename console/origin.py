"""Owns whether a request is meant for this console and comes from its own pages: Host, Origin, forwarded headers.

A browser sends cookies to a name and not to a port, and a name can be pointed at 127.0.0.1 by whoever owns it. So a
console answers to its own names alone, and takes no form from another origin.
"""

from ipaddress import ip_network
from urllib.parse import urlsplit

from starlette.requests import Request

from runtime.peers import Trusted
from runtime.settings.console import ConsoleSettings

_LOOPBACK = frozenset(("127.0.0.1", "localhost", "[::1]"))
_DEFAULT_PORTS = {"http": 80, "https": 443}
_FORWARDED = "x-forwarded-for"
ADDRESS_CHARS_MAX = 64
SAFE = frozenset(("GET", "HEAD"))


class Origins:
    """The names of one console, and the proxies that it believes."""

    def __init__(self, settings: ConsoleSettings) -> None:
        self.allow(settings)

    def allow(self, settings: ConsoleSettings) -> None:
        """These hold from now on."""
        public = urlsplit(settings.public_url)
        self._public = public.netloc.lower()
        self.https = public.scheme == "https"
        self._trusted = Trusted([ip_network(one) for one in settings.trusted_proxies])

    def is_ours(self, request: Request) -> bool:
        """Whether a request names this console as its host."""
        host = request.headers.get("host", "").lower()
        name, _, port = host.rpartition(":") if not host.endswith("]") and ":" in host else (host, "", "")
        return host == self._public or (name in _LOOPBACK and (not port or port.isdecimal()))

    def port(self, request: Request) -> int:
        """Where a browser has reached this console."""
        parts = urlsplit(f"//{request.headers.get('host', '')}")
        return parts.port or _DEFAULT_PORTS["https" if self.https else "http"]

    def is_own_page(self, request: Request) -> bool:
        """Whether a request was made by a page of this console, or by no page at all, as a browser says it."""
        site = request.headers.get("sec-fetch-site")
        if site is not None:
            return site in {"same-origin", "none"}
        return request.headers.get("origin", "").lower() == self.own(request)

    def own(self, request: Request) -> str:
        """The origin by which a browser has reached this console."""
        host = request.headers.get("host", "").lower()
        return f"{'https' if self.https and host == self._public else 'http'}://{host}"

    def address(self, request: Request) -> str:
        """Where a request comes from: what a trusted proxy says last, else the other end of its connection."""
        client = request.client.host if request.client else ""
        if client in self._trusted and (said := request.headers.get(_FORWARDED)):
            for hop in reversed([one.strip() for one in said.split(",")]):
                client = hop[:ADDRESS_CHARS_MAX]
                if hop not in self._trusted:
                    break
        return client
