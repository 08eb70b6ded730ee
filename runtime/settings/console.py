"""Owns where a console listens, under which address people reach it, and whose word it takes, from `[console]`."""

from collections.abc import Callable
from ipaddress import ip_address
from urllib.parse import urlsplit

from msgspec import Struct

from runtime.settings.edge import read_proxies
from runtime.settings.oidc import OidcSettings, read_oidc
from runtime.toml import Table

PORT = 8001


class ConsoleSettings(Struct, frozen=True, kw_only=True):
    """`tokn up` starts a console unless it is not `enabled`; port 0 takes a free one.

    `public_url` is an origin, as `https://console.example`, or empty: people then reach it on this machine alone.
    `trusted_proxies` are networks in CIDR form whose forwarded headers are believed. With `trusted_proxy` only a proxy
    of the operator's can reach the port. With `allow_private_webhooks` events go to private addresses too. With `oidc`
    people may sign in by an OpenID provider, too.
    """

    enabled: bool = True
    host: str = "127.0.0.1"
    port: int = PORT
    public_url: str = ""
    trusted_proxy: bool = False
    trusted_proxies: tuple[str, ...] = ()
    allow_private_webhooks: bool = False
    oidc: OidcSettings | None = None

    @property
    def url(self) -> str:
        """What people open."""
        if self.public_url:
            return self.public_url
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104  compared with, never listened on
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"


def is_loopback(host: str) -> bool:
    """Whether an address is of this machine alone."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def read_console(console: Table, resolve: Callable[[Table, str], str]) -> ConsoleSettings:
    """The settings of a file; `resolve` reads a secret, or passes over it. Raises SettingsError."""
    url = console.text("public_url").rstrip("/")
    if url and not _is_origin(url):
        raise console.problem("public_url", f'"{url}" is not an address as "https://console.example"')
    settings = ConsoleSettings(
        enabled=console.boolean("enabled", default=True),
        host=console.text("host", "127.0.0.1"),
        port=console.integer("port", PORT, least=0, most=65_535) or 0,
        public_url=url,
        trusted_proxy=console.boolean("trusted_proxy", default=False),
        trusted_proxies=read_proxies(console),
        allow_private_webhooks=console.boolean("allow_private_webhooks", default=False),
        oidc=read_oidc(console.table("oidc"), resolve) if console.has("oidc") else None,
    )
    console.done()
    return settings


def _is_origin(url: str) -> bool:
    try:
        parts = urlsplit(url)
        bare = not (parts.path or parts.query or parts.fragment or "@" in parts.netloc)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and bare and parts.port != 0
    except ValueError:
        return False


def exposed(settings: ConsoleSettings) -> str:
    """Why a console may not listen so; empty if it may: what people type may not cross a network in the clear."""
    if is_loopback(settings.host) or settings.trusted_proxy or settings.public_url.startswith("https://"):
        return ""
    return (
        f"a console on {settings.host} would send its pages in the clear: put https in front of it and name it in"
        " [console] public_url, or say trusted_proxy = true if only your proxy reaches the port"
    )
