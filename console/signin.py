"""Owns how a browser shows that somebody is signed in: cookies, the token in each form, and how often one may try.

Nothing is kept here: a session is its secret in a cookie, of which a ledger knows a hash, and a form's token follows from it.
"""

import hashlib
import hmac
import time
from collections import OrderedDict
from typing import Literal
from urllib.parse import quote, unquote

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from console.origin import Origins
from runtime.peers import share_of
from schemas.admin.credentials import new_token
from schemas.admin.operators import SESSION_S, SIGN_IN_S, TRIES_WINDOW_S

SECRET_CHARS_MAX = 128
GOING_CHARS_MAX = 2_048
_FORM_PURPOSE = b"tokn console form"
WINDOW_S = float(TRIES_WINDOW_S)


class Cookies(Struct, frozen=True):
    """The cookies of one console under one address.

    Browsers keep cookies apart by name and not by port, so their names have the port; under https no other host may
    set them.
    """

    port: int
    secure: bool

    @classmethod
    def of(cls, request: Request, origins: Origins) -> "Cookies":
        """Those that a request may have."""
        return cls(origins.port(request), origins.https)

    def _name(self, kind: str) -> str:
        return f"{'__Host-' if self.secure else ''}tokn_{kind}_{self.port}"

    def session(self, request: Request) -> str:
        """The secret of a session, "" without one."""
        return request.cookies.get(self._name("session"), "")[:SECRET_CHARS_MAX]

    def stranger(self, request: Request) -> str:
        """What the form to sign in is bound to, "" before its first look."""
        return request.cookies.get(self._name("stranger"), "")[:SECRET_CHARS_MAX]

    def sign_in(self, response: Response, secret: str) -> None:
        """Has a browser keep a session, until it ends for good."""
        self._set(response, "session", secret, SESSION_S)

    def sign_out(self, response: Response) -> None:
        """Has a browser forget its session."""
        self._set(response, "session", "", 0)

    def greet(self, response: Response, secret: str) -> None:
        """Has a browser keep what its form to sign in is bound to, until it is closed."""
        self._set(response, "stranger", secret, None)

    def going(self, request: Request) -> tuple[str, str]:
        """The secret of a sign-in that went to a provider, and where its browser was going; "" without one."""
        value = request.cookies.get(self._name("going"), "")[:GOING_CHARS_MAX]
        secret, _, where = value.partition(".")
        return secret[:SECRET_CHARS_MAX], unquote(where)

    def send(self, response: Response, secret: str, where: str) -> None:
        """Has a browser keep that while it is at the provider, from where it comes back with no stricter cookie."""
        self._set(response, "going", f"{secret}.{quote(where, safe='')}", SIGN_IN_S, "lax")

    def back(self, response: Response) -> None:
        """Has a browser forget it: it is good once."""
        self._set(response, "going", "", 0, "lax")

    def _set(
        self,
        response: Response,
        kind: str,
        value: str,
        max_age_s: int | None,
        site: Literal["strict", "lax"] = "strict",
    ) -> None:
        response.set_cookie(
            self._name(kind),
            value,
            max_age=max_age_s,
            path="/",
            secure=self.secure,
            httponly=True,
            samesite=site,
        )


def form_token(secret: str) -> str:
    """What each form of a session has, and no other origin can know."""
    return hmac.new(secret.encode(), _FORM_PURPOSE, hashlib.sha256).hexdigest()


def is_form_token(secret: str, token: str) -> bool:
    """Whether a form was made for this session."""
    return bool(secret) and hmac.compare_digest(form_token(secret).encode(), token.encode())


def fresh_secret() -> str:
    """A secret that nobody could have set before: 256 bits."""
    return new_token()


class Tries:
    """How often each address has tried to sign in: at most so many in each minute, the addresses that came last."""

    def __init__(self, most: int, addresses: int) -> None:
        self._most = most
        self._addresses = addresses
        self._times: OrderedDict[str, list[float]] = OrderedDict()

    def taken(self, address: str) -> bool:
        """Counts a try; False if there were too many."""
        now, share = time.monotonic(), share_of(address)
        times = [at for at in self._times.pop(share, ()) if now - at < WINDOW_S]
        allowed = len(times) < self._most
        if allowed:
            times.append(now)
        self._times[share] = times
        if len(self._times) > self._addresses:
            self._times.popitem(last=False)
        return allowed
