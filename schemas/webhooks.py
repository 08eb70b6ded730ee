"""Owns what a webhook endpoint may be: its address, its secrets, and which events it wants."""

import base64
import binascii
import secrets
from collections.abc import Sequence
from typing import Final
from urllib.parse import SplitResult, urlsplit

from schemas.events import ALL, BY_NAME

SECRET_PREFIX: Final = "whsec_"  # noqa: S105  what secrets begin with
SECRET_BYTES: Final = 32
SECRET_BYTES_MIN: Final = 24
SECRET_BYTES_MAX: Final = 64
URL_CHARS_MAX: Final = 2_048
ENDPOINTS_MAX: Final = 100  # of an organisation, and as many for all of them
OVERLAP_MS: Final = 86_400_000  # for so long both secrets sign, after a rotation
OVERLAP_MAX_MS: Final = 7 * OVERLAP_MS
BY_OPERATOR: Final = "by an operator"  # why an endpoint is disabled that nothing is wrong with
LOCAL_HOSTS: Final = ("localhost", "127.0.0.1", "::1")  # that plain http may be sent to, where it is allowed


def new_secret() -> str:
    """A fresh secret of an endpoint."""
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def key_of(secret: str) -> bytes:
    """The key that a secret stands for; empty for what is none."""
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        return b""
    fits = secret.startswith(SECRET_PREFIX) and SECRET_BYTES_MIN <= len(key) <= SECRET_BYTES_MAX
    return key if fits else b""


def secret_problem(secret: str) -> str:
    """Why a text is no secret; empty if it is."""
    if key_of(secret):
        return ""
    return f"a secret is {SECRET_PREFIX} and the base64 of {SECRET_BYTES_MIN} to {SECRET_BYTES_MAX} bytes"


def split(url: str) -> SplitResult | None:
    """The parts of a URL that something can be sent to; None of any other text."""
    if (
        len(url) > URL_CHARS_MAX
        or not url.isascii()
        or any(ord(sign) <= 32 or sign in '\\"<>' for sign in url)
    ):
        return None
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    wanted = parts.scheme in ("https", "http") and parts.hostname and port != 0
    return parts if wanted and parts.username is None and parts.password is None else None


def url_problem(url: str) -> str:
    """Why nothing can be sent to a URL; empty if it can. Where its name leads is looked at when something is sent."""
    parts = split(url)
    if parts is None:
        return (
            f"the URL must be one like https://example.com/path, of at most {URL_CHARS_MAX} plain characters"
        )
    if parts.scheme == "http" and parts.hostname not in LOCAL_HOSTS:
        return "the URL must begin with https: plain http is for this machine alone"
    return ""


def events_problem(events: Sequence[str]) -> str:
    """Why a list of types cannot be wanted; empty if it can."""
    if not events:
        return f"name events, or {ALL} for all of them"
    if tuple(events) == (ALL,):
        return ""
    unknown = [one for one in events if one not in BY_NAME]
    return f"there is no event {unknown[0][:64]!r}" if unknown else ""
