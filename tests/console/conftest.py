"""Owns a console on a real port over a ledger that a test scripts: what it is asked, and what it says."""

import asyncio
import contextlib
import re
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import msgspec
import pytest
from msgspec import Raw, structs

from console.desk import Desk, read_pages
from console.guard import Guard
from console.limits import LIMITS, Limits
from runtime.http import HttpServer, listen
from runtime.ledger import LedgerAwayError
from runtime.settings.console import ConsoleSettings
from runtime.settings.settings import Settings
from runtime.settings.stripe import StripeSettings
from schemas.admin.authority import ROLES, OperatorRole
from schemas.admin.credentials import Session, SignInToken, digest
from schemas.admin.oidc import OidcBegin
from schemas.admin.reads import QUESTIONS
from schemas.admin.reasons import Reason
from schemas.admin.verbs import ConsoleRead, ConsoleWrite
from schemas.verbs.base import Rows
from schemas.verbs.topups import StripeEvent
from tests.fakes.caller import until

PAGES = read_pages()  # compiled once for all tests
TOKEN = "the token of a link"
CSRF = re.compile(r'name="csrf" value="([^"]+)"')
IDEM = re.compile(r'name="idem" value="([^"]+)"')
_FORMS = {question.name: question.form for question in QUESTIONS}
Answer = Rows | Callable[[Any], Rows]


class ScriptedLedger:
    """Knows links, sessions and their roles as a ledger does; all else is what a test has put into `says`."""

    def __init__(self) -> None:
        self.away = False
        self.links = {digest(TOKEN)}
        self.sessions: dict[bytes, str] = {}
        self.nonce = Rows(({"nonce": "a nonce"},))
        self.says: dict[str, Answer] = {}
        self.asked: list[tuple[str, Any]] = []
        self.acts: list[tuple[str, ConsoleWrite]] = []
        self.events: list[StripeEvent] = []
        self.event_answer = Rows(({},))
        self.answering = asyncio.Event()
        self.answering.set()
        self.person = {
            "object": "me",
            "id": "opr_1",
            "kind": "operator",
            "name": "Ada",
            "organization": None,
            "session": "ses_1",
        }

    async def answers(self, _timeout_s: float) -> bool:
        """Whether it is there."""
        return not self.away

    async def ask(
        self, _verb: Any, request: ConsoleRead | ConsoleWrite | OidcBegin | StripeEvent, **_: Any
    ) -> Rows:
        """What a ledger would say."""
        if self.away:
            raise LedgerAwayError("scripted")
        if isinstance(request, OidcBegin):
            return self.nonce
        if isinstance(request, StripeEvent):
            self.events.append(request)
            await self.answering.wait()
            return self.event_answer
        if isinstance(request, ConsoleWrite):
            self.acts.append((request.name, request))
        return self._answer(request)

    def _answer(self, request: ConsoleRead | ConsoleWrite) -> Rows:
        credential = request.credential
        if isinstance(credential, SignInToken):
            if credential.digest not in self.links:
                return Rows(problem="this link is of no use", reason=Reason.INVALID_SIGN_IN)
            self.links.discard(credential.digest)
            self.sessions[msgspec.msgpack.decode(request.form)[1]] = OperatorRole.OWNER
            return Rows(({},))
        assert isinstance(credential, Session)
        role = self.sessions.get(credential.digest)
        if role is None:
            return Rows(problem="this session has ended", reason=Reason.INVALID_SESSION)
        if request.name == "me":
            return Rows(({**self.person, "role": role, "scopes": list(ROLES[OperatorRole(role)])},))
        if request.name == "session_end":
            del self.sessions[credential.digest]
            return Rows(({},))
        said = self.says.get(request.name, Rows())
        if callable(said):
            form = _FORMS.get(request.name, Raw)
            return said(request.form if form is Raw else msgspec.msgpack.decode(request.form, type=form))
        return said


class Rig:
    """A console, its ledger, and a browser's way to it."""

    def __init__(self, port: int, ledger: ScriptedLedger, desk: Desk) -> None:
        self.port = port
        self.ledger = ledger
        self.desk = desk
        self.url = f"http://127.0.0.1:{port}"
        self.browser = httpx.AsyncClient(base_url=self.url, headers={"sec-fetch-site": "same-origin"})

    @property
    def cookie(self) -> str:
        """The name of the session's cookie."""
        return f"tokn_session_{self.port}"

    async def sign_in(self, role: str = OperatorRole.OWNER) -> None:
        """Signs in as an operator of a role."""
        self.ledger.links.add(digest(TOKEN))
        answer = await self.post("/login", {"token": TOKEN}, page="/login")
        assert answer.status_code == 303, answer.text
        secret = self.browser.cookies[self.cookie]
        self.ledger.sessions[digest(secret)] = role

    async def fields(self, page: str) -> dict[str, str]:
        """The hidden fields of the forms of a page."""
        text = (await self.browser.get(page)).text
        found = {"csrf": CSRF.findall(text)[-1]}
        if idem := IDEM.findall(text):
            found["idem"] = idem[-1]
        return found

    async def post(
        self, path: str, typed: dict[str, str], *, page: str = "/", **headers: str
    ) -> httpx.Response:
        """Sends a form of a page."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.browser.post(path, data={**await self.fields(page), **typed}, headers=named)

    async def begun(
        self, path: str, headers: dict[str, str]
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection on which a request has begun whose body has not come."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        head = "".join(f"{name}: {value}\r\n" for name, value in ({"host": "127.0.0.1"} | headers).items())
        writer.write(f"POST {path} HTTP/1.1\r\n{head}\r\n".encode())
        await writer.drain()
        return reader, writer

    async def raw(self, data: bytes) -> bytes:
        """What comes back for some bytes, to the end of the connection."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(data)
            return await asyncio.wait_for(reader.read(), 10)
        finally:
            writer.close()


@contextlib.asynccontextmanager
async def console(
    own: ConsoleSettings | None = None, limits: Limits = LIMITS, stripe: StripeSettings | None = None
) -> AsyncIterator[Rig]:
    """A console that runs."""
    ledger = ScriptedLedger()
    listener: socket.socket = listen("127.0.0.1", 0)
    port = int(listener.getsockname()[1])
    settings = Settings(console=structs.replace(own or ConsoleSettings(), port=port), stripe=stripe)
    desk = Desk(settings, ledger, limits, PAGES)  # type: ignore[arg-type]  # it answers as a client of a ledger does
    stop = asyncio.Event()
    server = HttpServer(Guard(desk), limits.http)
    running = asyncio.create_task(server.run_until(listener, stop))
    await until(lambda: server.started, 10, "the console listens")
    rig = Rig(port, ledger, desk)
    try:
        yield rig
    finally:
        await rig.browser.aclose()
        stop.set()
        await running
        listener.close()


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    """A console on the loopback."""
    async with console() as running:
        yield running
