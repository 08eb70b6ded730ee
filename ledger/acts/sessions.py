"""Owns the acts by which people sign in: a link for an operator, the session that it opens, and the session's end."""

from ledger.acts.base import IP_CHARS_MAX, USER_AGENT_CHARS_MAX, Act, text
from ledger.acts.operators import SCOPES, above, active, add_operator
from ledger.commits.wanted import Wanted
from ledger.rules.authority_rows import Operator, Session, SignInToken
from ledger.rules.book import Book, Told
from ledger.rules.grants import GrantKind
from ledger.rules.missing import missing
from ledger.rules.people import operator_row, session_row
from ledger.rules.telling import event_id
from runtime.peers import share_of
from schemas.admin.authority import OperatorRole
from schemas.admin.operators import (
    INVITE_S,
    LOCAL,
    SESSION_S,
    TRIES_MAX,
    TRIES_WINDOW_S,
    SignIn,
    SignInCreate,
)
from schemas.admin.sessions import SessionRef
from schemas.admin.verbs import ConsoleWrite
from schemas.bus.subjects import new_id
from schemas.verbs.base import Rows

LOCAL_NAME = "owner"  # of the one who is made for whoever may read the data folder


def _create_wants(names: Wanted, form: SignInCreate, digest: str) -> None:
    names.secret = digest
    if form.operator == LOCAL:
        names.owner_operators = True
    else:
        names.operators.add(form.operator)


def secret_problem(book: Book, digest: str, told: bytes) -> str:
    """Why a secret cannot be a link's or a session's; empty if it can."""
    if len(told) != 32:
        return "the digest is not a SHA-256"
    used = {one.digest for one in book.people.tokens.values()}
    used |= {one.digest for one in book.people.sessions.values()}
    return "this secret was used before" if digest in used else ""


def _local(book: Book) -> Operator:
    """The deployment's first owner, made if there is none."""
    owners = [one for one in book.people.operators.values() if one.role == OperatorRole.OWNER]
    if owners:
        return min(owners, key=lambda one: (one.created_ms, one.id))
    return add_operator(book, name=LOCAL_NAME, email="", role=OperatorRole.OWNER, organization="")


def _create(book: Book, form: SignInCreate, digest: str) -> Rows:
    if problem := secret_problem(book, digest, form.digest):
        return Rows(problem=problem)
    if not 0 < form.lasts_s <= INVITE_S:
        return Rows(problem="a link lasts a day at most")
    if form.operator == LOCAL and book.grant.kind != GrantKind.COMMAND:
        return missing("such operator")
    one = _local(book) if form.operator == LOCAL else active(book, form.operator)
    if one is None:
        return missing(f"operator {form.operator}")
    if refusal := above(book, one.role):
        return refusal
    tokens = book.people.tokens
    for token in tokens.values():
        if token.operator == one.id and not token.ended_ms:
            token.ended_ms = book.now_ms
            tokens.touch(token)
    made = tokens.add(
        SignInToken(
            id=new_id("sit_"),
            digest=digest,
            operator=one.id,
            created_ms=book.now_ms,
            expires_ms=book.now_ms + form.lasts_s * 1000,
            ended_ms=0,
        )
    )
    told = {"id": made.id, "operator": operator_row(one), "expires_at": made.expires_ms // 1000}
    return Rows((told,))


def _sign_in_wants(names: Wanted, _form: SignIn, digest: str) -> None:
    names.secret = digest


def _sign_in(book: Book, form: SignIn, digest: str) -> Rows:
    token = next((one for one in book.people.tokens.values() if one.id == book.grant.token), None)
    operator = active(book, book.grant.id)
    if token is None or operator is None:
        return missing("link to sign in")
    if problem := secret_problem(book, digest, form.digest):
        return Rows(problem=problem)
    token.ended_ms = book.now_ms
    book.people.tokens.touch(token)
    return open_session(book, operator, digest)


def open_session(book: Book, operator: Operator, digest: str) -> Rows:
    """Begins a session of an operator, for the browser that asks."""
    made = book.people.sessions.add(
        Session(
            id=new_id("ses_"),
            digest=digest,
            operator=operator.id,
            ip="" if book.console is None else text(book.console.ip, IP_CHARS_MAX),
            user_agent="" if book.console is None else text(book.console.user_agent, USER_AGENT_CHARS_MAX),
            created_ms=book.now_ms,
            seen_ms=book.now_ms,
            expires_ms=book.now_ms + SESSION_S * 1000,
            ended_ms=0,
        )
    )
    row = session_row(made, made.id)
    data = operator_row(operator) | {"session": row}
    book.tell(Told("operator.signed_in", operator.id, operator.organization, data))
    return Rows((row | {"operator": operator_row(operator)},))


def tell_locked_out(book: Book, console: ConsoleWrite) -> None:
    """When as many tries of one address have failed as consoles take in their window: they take none of it for the rest."""
    share, since_ms = share_of(console.ip), book.now_ms - TRIES_WINDOW_S * 1000
    failed = 1 + sum(at_ms > since_ms and share_of(ip) == share for ip, at_ms in book.people.failed)
    if not share or failed < TRIES_MAX:
        return
    address = text(console.ip, IP_CHARS_MAX)
    # Told once a window, however many consoles there are to try.
    id_ = event_id("operator.locked_out", share, str(book.now_ms // (TRIES_WINDOW_S * 1000)))
    data = {"id": address, "tries": failed, "user_agent": text(console.user_agent, USER_AGENT_CHARS_MAX)}
    book.tell(Told("operator.locked_out", address, "", data, id=id_))


def _end_wants(names: Wanted, form: SessionRef, _digest: str) -> None:
    names.sessions.add(form.id)


def _named(book: Book, form: SessionRef) -> Session | None:
    return book.people.sessions.get(form.id or book.grant.session)


def _end(book: Book, form: SessionRef, _digest: str) -> Rows:
    one = _named(book, form)
    if one is None:
        return missing(f"session {form.id}")
    if one.id != book.grant.session:
        operator = book.people.operators.get(one.operator)
        if operator is not None and (refusal := above(book, operator.role)):
            return refusal
    if not one.ended_ms:
        one.ended_ms = book.now_ms
        book.people.sessions.touch(one)
    return Rows((session_row(one, book.grant.session),))


def _of_session(book: Book, form: SessionRef) -> tuple[str, ...]:
    one = _named(book, form)
    operator = book.people.operators.get(one.operator) if one is not None else None
    return ("" if operator is None else operator.organization,)


def _of_link(book: Book, form: SignInCreate) -> tuple[str, ...]:
    one = active(book, form.operator)
    return ("" if one is None else one.organization,)


SIGN_IN_CREATE = Act(
    name="sign_in_create",
    form=SignInCreate,
    wants=_create_wants,
    do=_create,
    hashed=True,
    scopes=SCOPES,
    of=_of_link,
)
# A link opens nothing but this, and has no scope for anything else.
SIGN_IN = Act(
    name="sign_in",
    form=SignIn,
    wants=_sign_in_wants,
    do=_sign_in,
    hashed=True,
    scopes=(),
    of=lambda book, _form: (book.grant.organization,),
    refused=tell_locked_out,
)
SESSION_END = Act(
    name="session_end",
    form=SessionRef,
    wants=_end_wants,
    do=_end,
    scopes=(),
    further=lambda form: SCOPES if form.id else (),
    of=_of_session,
)
