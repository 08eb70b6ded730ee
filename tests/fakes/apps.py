"""Owns the edge's whole app in process: its router with real admission, on a ledger that follows a script."""

import json
from typing import Any

from edge.admission.admission import Admission
from edge.admission.catalogue import Catalogue
from edge.admission.desk import Desk
from edge.admission.listing import Listing
from edge.admission.pages import PageCounter
from edge.budget import Budget
from edge.calls.candidates import Offer
from edge.calls.relay import Relay
from edge.calls.roster import Roster
from edge.http.cors import Cors
from edge.http.link import CONNECTION
from edge.http.places import Places
from edge.limits import LIMITS
from edge.own import OwnReads
from edge.routes import ROUTES
from edge.routes.endpoint import Backing, Load, Routes
from runtime.ledger import LedgerClient, Patience
from schemas import keys, verbs
from schemas.bus.frames import Job
from schemas.catalogue.builtin import BUILTIN
from schemas.catalogue.model import Model
from schemas.chat.priced import RequestError
from schemas.errors import insufficient_balance
from schemas.verbs.base import Verb
from schemas.verbs.calls import Authorise, AuthoriseReply, Hold, Reason, Refusal
from schemas.verbs.catalogue import CatalogueReply
from schemas.verbs.keys import KeyReply

KEY = keys.generate()


class _Connection:
    places = Places(1)

    def on_hangup(self, callback: object) -> None:
        """Never hangs up."""

    def known(self) -> None:
        """Has a place of its own."""

    def unframed(self, scope: object) -> None:
        """Speaks HTTP/1.1."""


class Books(LedgerClient):
    """A ledger that knows one key, and has no balance: whatever gets past the checks ends as a 402."""

    def __init__(self, rows: tuple[Model, ...] = BUILTIN) -> None:
        self.rows = rows
        self.authorised = 0

    async def ask(self, verb: Verb[Any, Any], request: Any, *, patience: Patience | None = None) -> Any:
        """The answer of the script."""
        if verb is verbs.KEY:
            return KeyReply(request.digest == keys.digest(KEY))
        if verb is verbs.CATALOGUE:
            return CatalogueReply(self.rows)
        assert verb is verbs.AUTHORISE
        return self._authorise(request)

    def _authorise(self, message: Authorise) -> AuthoriseReply:
        assert 1 <= message.prompt_max <= 2**40
        assert 1 <= message.choices <= 2**20
        assert message.limit is None or 1 <= message.limit < 2**31
        self.authorised += 1
        return Refusal(Reason.INSUFFICIENT)


class GrantingBooks(Books):
    """A ledger with money for everything."""

    def _authorise(self, message: Authorise) -> AuthoriseReply:
        assert 1 <= message.prompt_max <= 2**40
        (row,) = [row for row in self.rows if row.id == message.model]
        limit = row.max_output if message.limit is None else message.limit
        return Hold(
            request_id=message.request_id,
            token="t",
            key_id="k",
            amount_nano=1,
            list_nano=1,
            limit=limit,
            limited=False,
            pool=row.pool,
            provider=row.provider,
            upstream=row.upstream,
            price=row.prices[0],
            rate=row.rate,
            scope="s",
        )


class _Bus:
    id = "edge"
    signed = False
    connected = True
    connected_since = float("inf")  # just now: nobody is given up yet


class OfferedRelay(Relay):
    """Keeps the jobs that would be offered, with what their answers would say is ignored; each call ends as a 402."""

    def __init__(self, books: Books, budget: Budget) -> None:
        super().__init__(_Bus(), books, Roster(3), budget, LIMITS, rules={})
        self.offers: list[tuple[Job, tuple[str, ...]]] = []

    def start(self, hold: Hold, first: Offer, *further: Offer) -> Any:
        """Keeps the jobs. Raises RequestError 402."""
        self.offers += [(offer.job, offer.dropped) for offer in (first, *further)]
        raise RequestError(insufficient_balance("Nobody serves this."))


class App:
    """The router, and what stands behind it."""

    def __init__(self, books: Books, relay: Relay | None = None) -> None:
        self.books = books
        roster, self.budget = Roster(3), Budget(2**30)
        catalogue = Catalogue(books, LIMITS)
        if relay is None:  # no call gets that far
            relay = Relay(_Bus(), books, roster, self.budget, LIMITS, rules={})
        admission = Admission(
            ledger=books,
            catalogue=catalogue,
            roster=roster,
            relay=relay,
            pages=PageCounter(),
            desk=Desk(LIMITS),
            budget=self.budget,
            limits=LIMITS,
        )
        backing = Backing(
            load=Load(LIMITS),
            bus=None,
            ledger=books,
            catalogue=catalogue,
            listing=Listing(catalogue, roster),
            roster=roster,
            relay=relay,
            admission=admission,
            budget=self.budget,
            pools=(),
            cors=Cors(("*",)),
            own=OwnReads(books),
        )
        self.router = Routes(ROUTES, backing)

    async def post(self, path: str, body: bytes) -> tuple[int, bytes]:
        """Status and body of the answer."""
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "method": "POST",
            "path": path,
            "headers": [
                (b"authorization", b"Bearer " + KEY.encode()),
                (b"content-length", b"%d" % min(len(body), 60_000)),
            ],
            "extensions": {CONNECTION: _Connection()},
        }
        await self.router(scope, receive, send)
        return sent[0]["status"], b"".join(message.get("body", b"") for message in sent)


def openai_error(answer: bytes) -> dict[str, Any]:
    """The error in an answer, which must be in OpenAI's envelope."""
    error = json.loads(answer)["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return error


def anthropic_error(answer: bytes) -> dict[str, Any]:
    """The error in an answer, which must be in Anthropic's envelope."""
    whole = json.loads(answer)
    assert set(whole) == {"type", "error", "request_id"}
    assert whole["type"] == "error"
    assert {"type", "message"} <= set(whole["error"])
    return whole["error"]
