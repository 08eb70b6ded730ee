"""Owns the answers to acts, whichever way they are asked for, and the pages of the audit log."""

from collections.abc import Callable, Coroutine
from typing import Any

import msgspec

from ledger.acts import ACTS
from ledger.acts.base import Act
from ledger.commits.commands import Command
from ledger.rules.act_rows import Entry
from ledger.rules.identity import Identity, Unproven
from ledger.rules.rows import row_of
from ledger.store.base import Store
from ledger.store.statements import ENTRIES, columns
from ledger.verbs.base import Acts, Read, Services
from schemas.admin.credentials import IdToken
from schemas.admin.verbs import CONSOLE_WRITE as CONSOLE_WRITE_VERB
from schemas.admin.verbs import ConsoleWrite
from schemas.verbs import acts as verbs
from schemas.verbs.acts import ActRequest, LogQuery
from schemas.verbs.base import VERSION, Form, Rows

PAGE_MAX = 100  # entries, so that a page fits one message of the bus
_BY_NAME = {one.name: (one, msgspec.msgpack.Decoder(one.form).decode) for one in ACTS}
_LOG_SQL = (
    f"SELECT {columns(ENTRIES)} FROM audit_entries WHERE number < $1 AND ($2 = '' OR actor = $2) "  # noqa: S608  made of our own column names
    "AND ($3 = '' OR action = $3) AND ($4 = '' OR target = $4) ORDER BY number DESC LIMIT $5"
)
_decode: Callable[[str], Any] = msgspec.json.decode


def by_itself(act: Act[Form]) -> Callable[[Form], Command]:
    """How an act is asked for by a verb of its own, as commands of before do: without an idempotency key."""
    return lambda form: act.command(form, ActRequest(VERSION, act.name, b""))


def command(request: ActRequest) -> Command | Rows:
    """What the writer commits for a request of any act by a command."""
    return _command(request, None)


def console_command(request: ConsoleWrite, identity: Identity | Unproven | None = None) -> Command | Rows:
    """The same for one through a console, with the credential of whoever asks."""
    told = ActRequest(request.v, request.name, request.form, request.idempotency_key)
    return _command(told, request, identity)


def _proving(services: Services, request: ConsoleWrite) -> Coroutine[Any, Any, Command | Rows] | None:
    """What an act by an ID token waits for: the keys of its provider may have to be read."""
    proof = request.credential
    return _proven(services, request, proof) if isinstance(proof, IdToken) else None


async def _proven(services: Services, request: ConsoleWrite, proof: IdToken) -> Command | Rows:
    identity = await services.signing.proven(proof, services.committer.secret, services.store.now_ms())
    return console_command(request, identity)


def _command(
    request: ActRequest, console: ConsoleWrite | None, identity: Identity | Unproven | None = None
) -> Command | Rows:
    found = _BY_NAME.get(request.name)
    if found is None:
        return Rows(problem=f"this ledger does not know {request.name[:64]!r}: it is of an older version")
    act, decode = found
    try:
        return act.command(decode(request.form), request, console, identity)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        return Rows(problem=f"the request for {act.name} cannot be read: {error}"[:300])


async def log_page(store: Store, query: LogQuery) -> Rows:
    """A page of the audit log, newest first."""
    limit = min(max(query.limit, 1), PAGE_MAX)
    rows = await store.fetch(_LOG_SQL, query.before or 2**62, query.actor, query.action, query.target, limit)
    entries = [row_of(Entry, row) for row in rows]
    cursor = entries[-1].number if len(entries) == limit else 0
    return Rows(tuple(entry_row(one) for one in entries), cursor=cursor)


def entry_row(entry: Entry) -> dict[str, Any]:
    """An entry as commands show it."""
    return {
        "id": entry.id,
        "number": entry.number,
        "actor": entry.actor,
        "action": entry.action,
        "target": entry.target,
        "reason": entry.reason,
        "before": _decode(entry.before),
        "after": _decode(entry.after),
        "hash": entry.hash,
        "previous": entry.previous,
        "ip": entry.ip or None,
        "user_agent": entry.user_agent or None,
        "request_id": entry.request_id or None,
        "created": entry.created_ms // 1000,
    }


ACT = Acts(verb=verbs.ACT, command=command)
CONSOLE_WRITE = Acts(verb=CONSOLE_WRITE_VERB, command=console_command, proving=_proving)
AUDIT_LOG = Read(verb=verbs.AUDIT_LOG, answer=lambda services, request: log_page(services.store, request))
