"""Owns Google's access tokens for accounts of Vertex AI: minted off the loop by one thread, and renewed before they end."""

import asyncio
import math
import re
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from http.client import HTTPException
from pathlib import Path
from typing import Any, Final

import google.oauth2.credentials
import google.oauth2.service_account
import msgspec
from google.auth.credentials import Credentials
from google.auth.exceptions import TransportError
from msgspec import Struct

from runtime.log import get_logger
from runtime.settings.settings import AccountSettings
from schemas.errors import upstream_auth
from workers.providers.base import About, AccountError, Action, Fault
from workers.providers.scrub import FORMER_S, hide

SCOPE: Final = "https://www.googleapis.com/auth/cloud-platform"
RENEW_BEFORE_S: Final = 300.0  # of a token's life; half of it where it lives less than twice as long
ENDED_S: Final = 30.0  # a token that ends sooner opens no call
RETRY_S: Final = 5.0  # after a mint that failed
MINT_MAX_S: Final = 10.0  # of one mint, with the library's own retries
PREPARE_MAX_S: Final = 20.0  # a worker waits so long for its first tokens, then starts without them
FILE_BYTES_MAX: Final = 64 * 1024
ANSWER_BYTES_MAX: Final = 64 * 1024
_UNTOLD_LIFE_S: Final = 600.0  # of a token whose end nobody told
_CODE: Final = re.compile(r"[a-z_]{1,40}")

_logger = get_logger("workers.vertex")
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class CredentialsFileError(Exception):
    """A credential file that is none, or of a kind that is not known here. Its text says so, and nothing of the file."""


class _Answer(Struct, frozen=True):
    """What google-auth wants of an HTTP answer."""

    status: int
    headers: Mapping[str, str]
    data: bytes


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object, **__: object) -> None:
        """A credential goes where it was sent."""


class Http:
    """google-auth's HTTP for one mint: what it does together ends by one deadline. No proxies, no redirects."""

    def __init__(self, deadline: float) -> None:
        self._deadline = deadline
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirects())

    def __call__(
        self,
        url: str,
        method: str = "GET",
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        **_: object,
    ) -> _Answer:
        """One exchange. Raises TransportError."""
        del timeout
        request = urllib.request.Request(url, data=body, headers=dict(headers or {}), method=method)  # noqa: S310  an operator's own file names it, https or a test's
        try:
            try:
                answer = self._opener.open(request, timeout=self._left_s())
            except urllib.error.HTTPError as error:
                answer = error
            with answer:
                return _Answer(answer.status, dict(answer.headers), self._read(answer))
        except (OSError, ValueError, HTTPException) as error:
            raise TransportError(type(error).__name__) from None

    def _left_s(self) -> float:
        left_s = self._deadline - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        return left_s

    def _read(self, answer: Any) -> bytes:
        data = b""
        while piece := answer.read1(ANSWER_BYTES_MAX):
            data += piece
            self._left_s()
            if len(data) > ANSWER_BYTES_MAX:
                raise ValueError
        return data


class Source:
    """The token of one credential. Times are time.time()."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._token = ""
        self._ends = 0.0
        self.ended = False
        self._lock = threading.Lock()  # of the token, which a mint under way may bring after the end
        self._tried = 0.0  # when the newest mint began
        self.due = 0.0  # when the next mint is wanted
        self.why_not = "its first token is not there yet"  # why there is no token
        self.looked = False  # whether a mint has ended, well or badly

    def current(self) -> str:
        """The token; "" if there is none that lives."""
        return self._token if time.time() < self._ends - ENDED_S else ""

    def mint(self) -> None:
        """Mints a token, or says why there is none; the one before stays for its time. Blocks for about MINT_MAX_S at most."""
        self._tried = time.time()
        with self._lock:
            text = self._text
        if self.ended:
            return
        try:
            token, ends = _minted(text)
        except Exception as error:  # noqa: BLE001  keys and files can be damaged in any way, and the thread goes on
            self.due, self.why_not = self._tried + RETRY_S, _reason(error)
            # Never the error itself: it may hold what the endpoint said, or of the file.
            _logger.warning("no google token can be minted", reason=self.why_not)
        else:
            life_s = max(ends - self._tried, 0.0)
            with self._lock:
                hide(token, FORMER_S if self.ended else math.inf)
                if not self.ended:
                    self._token, self._ends = token, ends
            self.due = max(ends - min(RENEW_BEFORE_S, life_s / 2), self._tried + RETRY_S)
        self.looked = True

    def end(self) -> None:
        """No account shows it any more: the token is forgotten, and so is what mints it."""
        with self._lock:
            self.ended = True
            hide(self._token, FORMER_S)
            self._token = self._text = ""

    def spoil(self) -> None:
        """Google refused the token: the next one is minted at once, unless one was tried just now."""
        self.due = min(self.due, self._tried + RETRY_S)


class Tokens:
    """The tokens of a pool's accounts: one mint at a time, and no call ever waits for one."""

    def __init__(self) -> None:
        self._sources: dict[str, Source] = {}
        self._lock = threading.Lock()  # of the sources there are and their thread
        self._wake = threading.Event()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def token(self, account: AccountSettings) -> str:
        """What to show with an account's calls. Raises AccountError while there is none."""
        source = self._source(account)
        if token := source.current():
            return token
        told = f"its Google credentials give no token: {source.why_not}"
        raise AccountError(
            Fault(upstream_auth(), Action.REFUSED, RETRY_S, about=About.ACCOUNT, sure=True, reason=told)
        )

    def spoil(self) -> None:
        """Google refused a token: all are minted anew."""
        for source in self._sources.values():
            source.spoil()
        self._wake.set()

    def keep(self, accounts: Sequence[AccountSettings]) -> None:
        """Ends the tokens that none of these accounts shows. The thread ends with the last one."""
        shown = {account.google_credentials for account in accounts}
        with self._lock:
            for text in self._sources.keys() - shown:
                self._sources.pop(text).end()
        self._wake.set()

    async def prepare(self, accounts: Sequence[AccountSettings]) -> None:
        """Waits for the first mint of each account's token, at most PREPARE_MAX_S."""
        sources = [self._source(account) for account in accounts]
        deadline = asyncio.get_running_loop().time() + PREPARE_MAX_S
        while not all(source.looked for source in sources):
            if asyncio.get_running_loop().time() > deadline:
                return
            await asyncio.sleep(0.02)

    def close(self) -> None:
        """Ends the thread, after the mint under way."""
        self._closed.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout=MINT_MAX_S)

    def _source(self, account: AccountSettings) -> Source:
        source = self._sources.get(account.google_credentials)
        if source is None:
            with self._lock:
                source = self._sources[account.google_credentials] = Source(account.google_credentials)
                self._wake.set()
                if self._thread is None:
                    self._thread = threading.Thread(
                        target=self._keep_fresh, name="google-tokens", daemon=True
                    )
                    self._thread.start()
        return source

    def _keep_fresh(self) -> None:
        while not self._closed.is_set():
            self._wake.clear()
            self._mint_due()
            with self._lock:
                if not self._sources:
                    self._thread = None
                    return
                due = min(source.due for source in self._sources.values())
            self._wake.wait(max(due - time.time(), 0.0))

    def _mint_due(self) -> None:
        # A frame of its own: the thread holds no source while it waits.
        now = time.time()
        for source in list(self._sources.values()):
            if source.due <= now and not source.ended and not self._closed.is_set():
                source.mint()


def _minted(text: str) -> tuple[str, float]:
    """A new token, and when it ends. Raises what files, keys and google-auth raise."""
    made = _credentials(text)
    made.refresh(Http(time.monotonic() + MINT_MAX_S))
    if not made.token:
        raise CredentialsFileError("Google answers without a token")
    return str(made.token), _seconds(made.expiry) or time.time() + _UNTOLD_LIFE_S


def _credentials(text: str) -> Credentials:
    """The credentials of a file's text, or of the file at a path. Raises CredentialsFileError, OSError, ValueError."""
    if not text.lstrip().startswith("{"):
        with Path(text).open("rb") as file:
            text = file.read(FILE_BYTES_MAX).decode()
    try:
        info = _decode(text)
    except (msgspec.MsgspecError, RecursionError):
        raise CredentialsFileError("the credential file is not JSON") from None
    kind = info.get("type")
    made: Credentials
    if kind == "service_account":
        made = google.oauth2.service_account.Credentials.from_service_account_info(info, scopes=[SCOPE])
    elif kind == "authorized_user":
        made = google.oauth2.credentials.Credentials.from_authorized_user_info(info, scopes=[SCOPE])
    else:
        raise CredentialsFileError("the credential file is neither a service account's nor a user's")
    return made


def _seconds(expiry: datetime | None) -> float:
    return 0.0 if expiry is None else expiry.replace(tzinfo=UTC).timestamp()


def _reason(error: Exception) -> str:
    """Why no token was minted, in words that give nothing away: a code of OAuth, or the kind of what went wrong."""
    if isinstance(error, CredentialsFileError):
        return str(error)
    if isinstance(error, OSError):
        return f"the credential file cannot be read: {error.strerror or type(error).__name__}"
    told = error.args[1] if len(error.args) > 1 else None
    code = told.get("error") if isinstance(told, dict) else None
    if isinstance(code, str) and _CODE.fullmatch(code):
        return code
    if isinstance(error, TransportError):
        return "the token endpoint cannot be reached"
    return (
        "the credential file is damaged" if isinstance(error, ValueError | KeyError) else type(error).__name__
    )
