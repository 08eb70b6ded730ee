"""What is read through a console, and by a command beside it: by whose right, of which organisation."""

from typing import Any

import msgspec

from ledger.commits.load_grant import Shown, load_grant, rehash
from ledger.rules.authority_rows import Session
from ledger.rules.grants import Grant, of_command, refusal
from ledger.verbs.admin import (
    books,
    calls,
    caps,
    exports,
    keys,
    models,
    organizations,
    people,
    pools,
    settings,
    statements,
    usage,
    webhooks,
)
from ledger.verbs.admin.base import Reading
from ledger.verbs.admin.credits import CREDIT, CREDITS
from ledger.verbs.admin.expand import expanded, known
from ledger.verbs.admin.noted import note
from ledger.verbs.admin.topups import TOPUP, TOPUPS
from ledger.verbs.base import Read, Services
from schemas.admin import verbs
from schemas.admin.verbs import EXPANSIONS_MAX, AdminRead, ConsoleRead
from schemas.verbs.base import Rows

SEEN_STEP_MS = 60_000  # a session's last use is written so often
COMMAND = "cli"
_SEEN_SQL = "UPDATE sessions SET seen_ms = $1 WHERE id = $2 AND seen_ms < $3"
READINGS: tuple[Reading[Any], ...] = (
    people.ME,
    organizations.ORGANIZATIONS,
    organizations.ORGANIZATION,
    keys.KEYS,
    keys.KEY,
    caps.CAPS,
    caps.CAP,
    CREDITS,
    CREDIT,
    statements.STATEMENTS,
    statements.STATEMENT,
    exports.EXPORT,
    TOPUPS,
    TOPUP,
    calls.CALLS,
    calls.CALL,
    usage.USAGE,
    models.MODELS,
    models.MODEL,
    models.PRICES,
    pools.POOLS,
    pools.POOL,
    webhooks.WEBHOOK_ENDPOINTS,
    webhooks.WEBHOOK_ENDPOINT,
    webhooks.EVENTS,
    webhooks.EVENT,
    webhooks.DELIVERIES,
    books.AUDIT_ENTRIES,
    books.BOOKS,
    books.BOOKS_AUDIT,
    books.PARKED,
    settings.SETTINGS,
    settings.SETTINGS_CHECK,
    settings.SETTINGS_RELOADED,
    people.OPERATORS,
    people.OPERATOR,
    people.MANAGEMENT_KEYS,
    people.MANAGEMENT_KEY,
    people.SESSIONS,
    people.SESSION,
)
_BY_NAME = {one.question.name: (one, msgspec.msgpack.Decoder(one.question.form).decode) for one in READINGS}


async def _answer(services: Services, grant: Grant, name: str, form: bytes, expand: tuple[str, ...]) -> Rows:
    found = _BY_NAME.get(name)
    if found is None:
        return Rows(problem=f"this ledger does not know {name[:64]!r}: it is of an older version")
    reading, decode = found
    if refused := refusal(grant, (reading.question.scope,), deployment=reading.question.deployment):
        return refused
    unknown = [one for one in expand if one not in known(reading.kind)]
    if unknown or len(expand) > EXPANSIONS_MAX:
        words = ", ".join(known(reading.kind)) or "nothing"
        return Rows(problem=f"expand: this can be expanded by {words}")
    try:
        asked = decode(form)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        return Rows(problem=f"the question {name} cannot be read: {error}"[:300])
    answer = await reading.answer(services, grant, asked)
    if answer.problem or not expand:
        return answer
    rows = await expanded(services, grant, reading.kind, answer.rows, expand)
    return msgspec.structs.replace(answer, rows=rows)


async def _console(services: Services, request: ConsoleRead) -> Rows:
    store, proof = services.store, request.credential
    digests = services.committer.digests(proof.digest)
    shown = await load_grant(store, proof, digests, store.now_ms())
    if isinstance(shown, Rows):
        return shown
    await _used(services, shown, digests[0])
    answer = await _answer(services, shown.grant, request.name, request.form, request.expand)
    await note(store, shown.grant, request, answer)
    return answer


async def _used(services: Services, shown: Shown, digest: str) -> None:
    """Notes now and then that a session is used, since it ends when nobody does for long; and moves a secret to a new pepper."""
    now_ms, secret = services.store.now_ms(), shown.secret
    if secret is None:
        return
    moves = services.committer.peppers.moves and secret.digest != digest
    is_seen = not isinstance(secret, Session) or now_ms - secret.seen_ms < SEEN_STEP_MS
    if is_seen and not moves:
        return
    async with services.store.write() as tx:
        if not is_seen:
            await tx.execute(_SEEN_SQL, now_ms, secret.id, now_ms)
        if moves:
            await rehash(tx, shown, digest)


async def _command(services: Services, request: AdminRead) -> Rows:
    return await _answer(services, of_command(COMMAND), request.name, request.form, request.expand)


ADMIN_READ = Read(verb=verbs.ADMIN_READ, answer=_command)
CONSOLE_READ = Read(verb=verbs.CONSOLE_READ, answer=_console)
