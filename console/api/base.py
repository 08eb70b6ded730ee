"""Owns what a route of the admin API is, and the request that its handler sees: one question, or one act of a ledger."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from console.api.errors import ApiError, refused
from console.api.fields import Page
from console.pieces import Places
from runtime.ledger import LedgerClient, Patience
from schemas.admin.credentials import Credential
from schemas.admin.reads import ME, Me
from schemas.admin.reasons import Reason, reason_of
from schemas.admin.verbs import CONSOLE_READ, ConsoleWrite, Question, write_verb
from schemas.verbs.base import VERSION, Form, Rows, encode
from web.pages import Pages

_T = TypeVar("_T")
Shape = Callable[[dict[str, Any]], dict[str, Any]]


class Asking(Struct, frozen=True, kw_only=True):
    """By whom, from where and as which request a ledger is asked."""

    ledger: LedgerClient
    credential: Credential
    ip: str
    user_agent: str
    request_id: str
    idempotency_key: str = ""
    request_hash: bytes = b""
    if_version: int = 0


class Means(Struct, frozen=True):
    """What answers are made with, beside a ledger: templates, and the places of exports."""

    pages: Pages
    places: Places


class Call:
    """One request of the API, as its handler sees it. `replayed` is set by an act that was done before.

    `accept` is the media type in which the answer is wanted, of those that the route has.
    """

    def __init__(
        self,
        asking: Asking,
        route: "Route",
        *,
        path: dict[str, str],
        body: Any,
        query: Any,
        expand: tuple[str, ...],
        means: Means,
        accept: str,
    ) -> None:
        self._asking = asking
        self._route = route
        self.path = path
        self.body = body
        self.query = query
        self._expand = expand
        self.means = means
        self.accept = accept
        self.replayed = False

    async def read(self, question: Question[Form], form: Form, patience: Patience | None = None) -> Rows:
        """What a ledger answers, in the time that all have or in another. Raises ApiError, LedgerAwayError."""
        told = self._asking
        asked = question.ask(
            form,
            told.credential,
            expand=self._expand,
            ip=told.ip,
            user_agent=told.user_agent,
            request_id=told.request_id,
        )
        answer = await told.ledger.ask(CONSOLE_READ, asked, patience=patience)
        if answer.problem:
            raise refused(answer, self._route.what)
        return answer

    async def one(self, question: Question[Form], form: Form, kind: type[_T]) -> _T:
        """One object."""
        return shaped((await self.read(question, form)).rows[0], kind)

    async def page(self, question: Question[Form], form: Form, kind: type[_T]) -> Page[_T]:
        """A page of objects."""
        answer = await self.read(question, form)
        return Page(
            data=tuple(shaped(row, kind) for row in answer.rows),
            has_more=bool(answer.cursor),
            next=str(answer.cursor) if answer.cursor else None,
        )

    async def act(self, name: str, form: Any, patience: Patience | None = None) -> dict[str, Any]:
        """Does an act once. Returns its answer's row. Raises ApiError, LedgerAwayError."""
        told = self._asking
        asked = ConsoleWrite(
            VERSION,
            name,
            encode(form),
            told.credential,
            told.idempotency_key,
            told.request_hash,
            told.ip,
            told.user_agent,
            told.request_id,
            told.if_version,
        )
        answer = await told.ledger.ask(write_verb(name), asked, patience=patience)
        if answer.problem:
            raise refused(answer, self._route.what, await self._current(answer))
        self.replayed = answer.replayed
        return dict(answer.rows[0])

    async def _current(self, answer: Rows) -> dict[str, Any] | None:
        """The object of a change that was meant for another version of it."""
        if reason_of(answer) is not Reason.VERSION_CONFLICT or self._route.current is None:
            return None
        try:
            found = await self._route.current(self)
        except ApiError:  # it went meanwhile
            return None
        return dict(msgspec.to_builtins(found))

    @property
    def credential(self) -> Credential:
        """Of whoever asks."""
        return self._asking.credential

    async def organization(self) -> str:
        """The organisation that the credential is bound to, "" for none."""
        me = await self._asking.ledger.ask(CONSOLE_READ, ME.ask(Me(), self._asking.credential))
        if me.problem:
            raise refused(me, self._route.what)
        return me.rows[0]["organization"] or ""


Handler = Callable[[Call], Awaitable[Any]]


class Route(Struct, frozen=True, kw_only=True):
    """One route. `what` is what is missing when it answers 404; `current` reads the object that a change is about.

    `answer` is what it answers in JSON, if it does; `kinds` are the media types that it has beside or in place of it.
    """

    method: str
    path: str
    summary: str
    what: str
    scope: str
    handle: Handler
    answer: Any = None
    kinds: tuple[str, ...] = ()
    body: Any = None
    query: Any = None
    status: int = 200
    expand: tuple[str, ...] = ()
    current: Handler | None = None
    reasons: tuple[Reason, ...] = ()
    public: bool = False  # no credential

    @property
    def writes(self) -> bool:
        """Whether it may change something."""
        return self.method != "GET"


def shaped(row: dict[str, Any], kind: type[_T]) -> _T:
    """A ledger's row as an object of the API."""
    return msgspec.convert(row, kind)
