"""Owns what a start says of its console: where it is, and the link that signs in once."""

from runtime.settings.console import ConsoleSettings
from tokn.ports import exchange

SIGN_IN = "tokn console login"


def link(url: str, token: str) -> str:
    """Where a token signs in. It stands behind a #, which no browser sends and no log has."""
    return f"{url}/login#t={token}"


def console_line(console: ConsoleSettings, token: str) -> str:
    """The line of a start; without a token it says how to sign in."""
    if token:
        return f"console: {link(console.url, token)}   (once, within 10 minutes; again: {SIGN_IN})"
    return f"console: {console.url}   (to sign in: {SIGN_IN})"


async def console_answers(console: ConsoleSettings) -> bool:
    """Whether the console is there."""
    head = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
    return (await exchange(console.host, console.port, head)).startswith(b"HTTP/1.1 200")
