"""Owns what an act is: one change by an operator, with its audit entry, which is also what makes it happen once."""

import hashlib
from collections.abc import Callable, Mapping
from typing import Any, Generic

import msgspec
from msgspec import Struct
from msgspec.structs import asdict, astuple, replace

from ledger.commits.commands import Command, Write
from ledger.commits.load_save import Wanted
from ledger.rules.act_rows import Entry, Head
from ledger.rules.book import Book
from ledger.rules.rows import Hold, Rate, Row
from ledger.rules.telling import tell_act
from schemas.bus.subjects import new_id
from schemas.verbs.acts import ACT, ActRequest
from schemas.verbs.base import Form, Rows

KEY_CHARS_MAX = 255
ACTOR_CHARS_MAX = 200
SECRET = frozenset(  # columns that the audit log leaves out
    {"digest", "token", "hash", "payload", "pepper", "secrets"}
)
NOT_LOGGED = (Head, Hold, Rate)  # kinds of rows that follow from the others
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


class Act(Struct, Generic[Form], frozen=True, kw_only=True, eq=False):
    """One thing that operators do to the books, committed alone with its audit entry.

    `wants` adds the names of the rows that it needs, `do` changes the book that has them: both get the keyed hash of
    the form's `digest` if the act is `hashed`, else "". `do` changes nothing if its answer has a problem. The first row of
    its answer has an `id`, which the entry names. `newer` says whether a form asks for what an older ledger on the same
    books would break: it is refused while one is seen. `own_key` is a form's own idempotency key, where the request has none.
    """

    name: str
    form: type[Form]
    wants: Callable[[Wanted, Form, str], None]
    do: Callable[[Book, Form, str], Rows]
    hashed: bool = False
    newer: Callable[[Form], bool] | None = None

    def command(self, form: Form, request: ActRequest) -> Command:
        """What the writer commits for a request with this act's form."""
        return Command(
            Write(
                verb=ACT,
                wants=self._wants,
                answer=self._answer,
                hashed=self.hashed,
                alone=True,
                newer=self._is_newer,
            ),
            Acting(form=form, request=request),
        )

    def _is_newer(self, acting: "Acting") -> bool:
        return self.newer is not None and self.newer(acting.form)

    def _wants(self, names: Wanted, acting: "Acting", digest: str) -> None:
        names.record = (acting.request.credential.hex(), acting.request.idempotency_key)
        self.wants(names, acting.form, digest)

    def _answer(self, book: Book, acting: "Acting", digest: str) -> Rows:
        request = acting.request
        form_hash = hashlib.sha256(self.name.encode() + b"\0" + _encode_form(acting.form)).hexdigest()
        if problem := _problem(request):
            return Rows(problem=problem)
        if book.record is not None:
            if (book.record.action, book.record.form_hash) != (self.name, form_hash):
                return Rows(problem=MISMATCH)
            return Rows(_decode_answer(book.record.answer))
        book.actor = request.actor
        were = pictures(book)
        reply = self.do(book, acting.form, digest)
        if reply.problem:
            return reply
        tell_act(book, were)
        before, after = changes(book, were)
        if before or after or book.forgotten or book.told or book.events or request.idempotency_key:
            add_entry(
                book,
                action=self.name,
                target=str(reply.rows[0]["id"]),
                request=request,
                reason=getattr(acting.form, "reason", ""),
                form_hash=form_hash,
                changed=(before, after),
                answer=reply,
            )
        return reply


class Acting(Struct, frozen=True, kw_only=True, eq=False):
    """An act's form with the request that it came in."""

    form: Any
    request: ActRequest

    @property
    def digest(self) -> bytes:
        """The form's, of an act that is hashed."""
        digest: bytes = self.form.digest
        return digest


def _problem(request: ActRequest) -> str:
    if len(request.idempotency_key) > KEY_CHARS_MAX or "\x00" in request.idempotency_key:
        return f"an idempotency key has at most {KEY_CHARS_MAX} characters"
    if len(request.actor) > ACTOR_CHARS_MAX or "\x00" in request.actor:
        return f"an actor's name has at most {ACTOR_CHARS_MAX} characters"
    return ""


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
) -> None:
    """Adds the entry of an act to the audit log, chained to the one before it."""
    head = book.log[_HEAD_ID]
    entry = Entry(
        number=head.number + 1,
        id=new_id("aud_"),
        created_ms=book.now_ms,
        action=action,
        target=target,
        actor=request.actor,
        credential=request.credential.hex(),
        reason=reason,
        idempotency_key=request.idempotency_key,
        form_hash=form_hash,
        before=_encode(changed[0]).decode(),
        after=_encode(changed[1]).decode(),
        answer=_encode(answer.rows).decode(),
        previous=head.hash,
        hash="",
    )
    entry = replace(entry, hash=entry_hash(entry))
    head.number, head.hash = entry.number, entry.hash
    book.log.touch(head)
    book.entries.append(entry)


def entry_hash(entry: Entry) -> str:
    """What chains an entry to the one before it: SHA-256, in hex, of all its columns but this one, as a JSON array."""
    return hashlib.sha256(_encode(astuple(entry)[:-1])).hexdigest()
