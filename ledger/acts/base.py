"""Owns what an act is: one change by an operator, with its audit entry, which is also what makes it happen once."""

import hashlib
from collections.abc import Callable, Mapping
from typing import Any, Generic, Protocol

import msgspec
from msgspec import Struct
from msgspec.structs import asdict, replace

from ledger.commits.commands import Command, Write
from ledger.commits.wanted import Wanted
from ledger.rules.act_rows import Entry, Head
from ledger.rules.authority_rows import Nonce
from ledger.rules.book import Book
from ledger.rules.grants import of_command, refusal
from ledger.rules.identity import Identity, Unproven
from ledger.rules.missing import missing, worded
from ledger.rules.rows import Hold, Rate, Row
from ledger.rules.telling import tell_act
from schemas.admin.reasons import Reason
from schemas.admin.verbs import ConsoleRead, ConsoleWrite
from schemas.bus.subjects import new_id
from schemas.verbs.acts import ACT, ActRequest
from schemas.verbs.base import Form, Rows

KEY_CHARS_MAX = 255
ACTOR_CHARS_MAX = 200
USER_AGENT_CHARS_MAX = 200
IP_CHARS_MAX = 64
REQUEST_ID_CHARS_MAX = 64
NOBODY_KNOWN = "unknown"
LATER = ("ip", "user_agent", "request_id")  # columns that an entry is chained by only where it has some
SECRET = frozenset(  # columns that the audit log leaves out
    {"digest", "token", "hash", "payload", "pepper", "secrets"}
)
NOT_LOGGED = (Head, Hold, Rate, Nonce)  # kinds of rows that follow from the others
ROWS_MAX = 200  # that an entry tells of: an organisation has any number of keys
MISMATCH = "idempotency_mismatch: this idempotency key was used for another request"
_HEAD_ID = 1
_encode_form = msgspec.msgpack.Encoder().encode
_encode = msgspec.json.Encoder().encode
_decode_answer = msgspec.json.Decoder(tuple[dict[str, Any], ...]).decode
Pictures = dict[str, dict[str, Any]]  # fields by the row's table and key
Were = Mapping[type[Row], Mapping[tuple[Any, ...], dict[str, Any]]]


def always(_form: Any) -> bool:
    """What an older ledger would break whatever is asked for."""
    return True


class Versioned(Protocol):
    """A row that can be changed."""

    version: int


class Act(Struct, Generic[Form], frozen=True, kw_only=True, eq=False):
    """One thing that operators do to the books, committed alone with its audit entry.

    `wants` adds the names of the rows that it needs, `do` changes the book that has them: both get the keyed hash of
    the form's `digest` if the act is `hashed`, else "". `do` changes nothing if its answer has a problem. The first row of
    its answer has an `id`, which the entry names. `newer` says whether a form asks for what an older ledger on the same
    books would break: it is refused while one is seen.

    `scopes` are what whoever asks through a console needs, None for nobody but the command; `further` are those that a form
    needs beside them. `of` names the organisations that a form is about, "" for one that is not there; without it an act
    is about the whole deployment. `version` is the row that a change is meant for, if it is there. `tells` is what the
    entry says of an act that changes no row. With `refused` an attempt without a right has an entry, too, and that says
    what events it tells.
    """

    name: str
    form: type[Form]
    wants: Callable[[Wanted, Form, str], None]
    do: Callable[[Book, Form, str], Rows]
    hashed: bool = False
    newer: Callable[[Form], bool] | None = None
    scopes: tuple[str, ...] | None = None
    further: Callable[[Form], tuple[str, ...]] | None = None
    of: Callable[[Book, Form], tuple[str, ...]] | None = None
    version: Callable[[Book, Form], Versioned | None] | None = None
    tells: Callable[[Form], Pictures] | None = None
    refused: Callable[[Book, ConsoleWrite], None] | None = None

    def command(
        self,
        form: Form,
        request: ActRequest,
        console: ConsoleWrite | None = None,
        identity: Identity | Unproven | None = None,
    ) -> Command:
        """What the writer commits for a request with this act's form; through a console by the right that it shows.

        `identity` is what a ledger has made of an ID token, which shows nothing by itself.
        """
        return Command(
            Write(
                verb=ACT,
                wants=self._wants,
                answer=self._answer,
                hashed=self.hashed,
                alone=True,
                newer=self._is_newer,
            ),
            Acting(form=form, request=request, console=console, identity=identity),
        )

    def _is_newer(self, acting: "Acting") -> bool:
        return self.newer is not None and self.newer(acting.form)

    def _wants(self, names: Wanted, acting: "Acting", digest: str) -> None:
        names.record = (acting.request.credential.hex(), acting.request.idempotency_key)
        names.proof = acting.identity or (None if acting.console is None else acting.console.credential)
        self.wants(names, acting.form, digest)

    def _answer(self, book: Book, acting: "Acting", digest: str) -> Rows:
        request = acting.request
        console = acting.console
        asked = (console.request_hash if console is not None else b"") or _encode_form(acting.form)
        form_hash = hash_of(self.name, asked)
        if problem := request_problem(request):
            return Rows(problem=problem)
        if refusal := self._refusal(book, acting):
            return refusal
        if book.record is not None:
            if (book.record.action, book.record.form_hash) != (self.name, form_hash):
                return Rows(problem=MISMATCH)
            return Rows(_decode_answer(book.record.answer), replayed=is_replay(book.record, console))
        if stale := self._stale(book, acting):
            return stale
        book.actor = book.grant.actor
        book.console = console
        were = pictures(book)
        reply = self.do(book, acting.form, digest)
        if reply.problem:
            if self.refused is not None:
                self._note(book, acting, reply)
            return worded(reply)
        tell_act(book, were)
        before, after = changes(book, were)
        if self.tells is not None:
            after |= self.tells(acting.form)
        if before or after or book.forgotten or book.told or book.events or request.idempotency_key:
            add_entry(
                book,
                action=self.name,
                target=str(reply.rows[0]["id"]),
                request=request,
                console=console,
                reason=getattr(acting.form, "reason", ""),
                form_hash=form_hash,
                changed=(before, after),
                answer=reply,
            )
        return reply

    def _refusal(self, book: Book, acting: "Acting") -> Rows | None:
        """Why whoever asks may not do this; None if he may. What is another organisation's is not there for him."""
        if acting.console is None:
            book.grant = of_command(acting.request.actor)
        elif book.refusal is not None:
            if self.refused is not None:
                self.refused(book, acting.console)
                self._note(book, acting, book.refusal)
            return book.refusal
        scopes = self.scopes
        if scopes is not None and self.further is not None:
            scopes = (*scopes, *self.further(acting.form))
        if refused := refusal(book.grant, scopes, deployment=self.of is None):
            return refused
        bound = book.grant.organization
        if bound and self.of is not None and set(self.of(book, acting.form)) != {bound}:
            return missing("such thing")
        return None

    def _note(self, book: Book, acting: "Acting", refusal: Rows) -> None:
        """Enters an attempt that was refused, and why."""
        add_entry(
            book,
            action=f"{self.name}_failed",
            target=refusal.reason,
            request=replace(acting.request, actor=NOBODY_KNOWN, idempotency_key=""),
            reason=refusal.problem,
            console=acting.console,
            changed=({}, {}),
            answer=Rows(),
        )

    def _stale(self, book: Book, acting: "Acting") -> Rows | None:
        """Why a change that was meant for a version is refused; None if it is still the one."""
        meant = 0 if acting.console is None else acting.console.if_version
        if not meant or self.version is None:
            return None
        row = self.version(book, acting.form)
        if row is None or row.version == meant:
            return None
        why = f"it has version {row.version} by now, not {meant}: read it again"
        return Rows(problem=why, reason=Reason.VERSION_CONFLICT)


class Acting(Struct, frozen=True, kw_only=True, eq=False):
    """An act's form with the request that it came in."""

    form: Any
    request: ActRequest
    console: ConsoleWrite | None = None
    identity: Identity | Unproven | None = None

    @property
    def digest(self) -> bytes:
        """The form's, of an act that is hashed."""
        digest: bytes = self.form.digest
        return digest


def hash_of(name: str, asked: bytes) -> str:
    """What tells a request for an act from another one under the same idempotency key."""
    return hashlib.sha256(name.encode() + b"\0" + asked).hexdigest()


def request_problem(request: ActRequest) -> str:
    """Why a request can have no entry; empty if it can."""
    if len(request.idempotency_key) > KEY_CHARS_MAX or "\x00" in request.idempotency_key:
        return f"an idempotency key has at most {KEY_CHARS_MAX} characters"
    if len(request.actor) > ACTOR_CHARS_MAX or "\x00" in request.actor:
        return f"an actor's name has at most {ACTOR_CHARS_MAX} characters"
    return ""


def is_replay(record: Entry, console: ConsoleWrite | None) -> bool:
    """Whether an act was done for another request than this, which may have been sent twice on its way here."""
    return console is not None and not (console.request_id and record.request_id == console.request_id)


def _key(row: Row) -> tuple[Any, ...]:
    return tuple(getattr(row, column) for column in row.KEY)


def _name(row: Row) -> str:
    names = [column for column in row.KEY if column not in SECRET] or ["id"]
    return ":".join(str(getattr(row, column)) for column in names)


def pictures(book: Book) -> Were:
    """All rows of a book as they are now."""
    return {rows.kind: {_key(row): asdict(row) for row in rows.values()} for rows in book.row_sets()}


def changes(book: Book, were: Were) -> tuple[Pictures, Pictures]:
    """Of each row that a book has changed since its pictures were taken, the fields that differ: before, and after."""
    before: Pictures = {}
    after: Pictures = {}
    for rows in book.row_sets():
        if rows.kind in NOT_LOGGED:
            continue
        known = were.get(rows.kind, {})
        for row in rows.removed.values():
            before[f"{rows.kind.TABLE}/{_name(row)}"] = {
                column: value for column, value in asdict(row).items() if column not in SECRET
            }
        for row in (*rows.changed.values(), *rows.new.values()):
            was = known.get(_key(row), {})
            fields = {
                column: value
                for column, value in asdict(row).items()
                if column not in SECRET and (column not in was or was[column] != value)
            }
            if not fields:
                continue
            if len(after) >= ROWS_MAX:
                after["more"] = {"rows": after.get("more", {}).get("rows", 0) + 1}
                continue
            place = f"{rows.kind.TABLE}/{_name(row)}"
            after[place] = fields
            if was:
                before[place] = {column: was[column] for column in fields}
    return before, after


def add_entry(
    book: Book,
    *,
    action: str,
    target: str,
    request: ActRequest,
    reason: str = "",
    form_hash: str = "",
    changed: tuple[Pictures, Pictures],
    answer: Rows,
    console: ConsoleRead | ConsoleWrite | None = None,
) -> None:
    """Adds the entry of an act to the audit log, chained to the one before it."""
    head = book.log[_HEAD_ID]
    entry = Entry(
        number=head.number + 1,
        id=new_id("aud_"),
        created_ms=book.now_ms,
        action=action,
        target=target,
        actor=book.grant.actor or request.actor,
        credential=request.credential.hex() if console is None else book.grant.id,
        reason=reason,
        idempotency_key=request.idempotency_key,
        form_hash=form_hash,
        before=_encode(changed[0]).decode(),
        after=_encode(changed[1]).decode(),
        answer=_encode(answer.rows).decode(),
        previous=head.hash,
        hash="",
        ip="" if console is None else text(console.ip, IP_CHARS_MAX),
        user_agent="" if console is None else text(console.user_agent, USER_AGENT_CHARS_MAX),
        request_id="" if console is None else text(console.request_id, REQUEST_ID_CHARS_MAX),
    )
    entry = replace(entry, hash=entry_hash(entry))
    head.number, head.hash = entry.number, entry.hash
    book.log.touch(head)
    book.entries.append(entry)


def entry_hash(entry: Entry) -> str:
    """What chains an entry to the one before it: SHA-256, in hex, of all its columns but this one, as a JSON array.

    Those that entries of ledgers of before have not are left out where all of them are empty.
    """
    later = [getattr(entry, name) for name in LATER]
    values = [value for name, value in asdict(entry).items() if name != "hash" and name not in LATER]
    return hashlib.sha256(_encode(values + later if any(later) else values)).hexdigest()


def text(told: str, most: int) -> str:
    """What a console tells, as a column takes it."""
    return told.replace("\x00", "")[:most]
