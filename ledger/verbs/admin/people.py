"""Owns the reads of who may act through a console: operators, management keys, sessions, and who is asking."""

from typing import Any

from ledger.rules.authority_rows import ManagementKey, Operator, Session, Standing
from ledger.rules.grants import Grant
from ledger.rules.missing import missing
from ledger.rules.people import management_key_row, operator_row, session_row
from ledger.verbs.admin.base import Reading, Where, newest, one
from ledger.verbs.base import Services
from schemas.admin import reads
from schemas.admin.management_keys import ManagementKeyList, ManagementKeyRef
from schemas.admin.operators import SESSION_IDLE_S, OperatorList, OperatorRef
from schemas.admin.reads import Me
from schemas.admin.sessions import SessionList, SessionRef
from schemas.verbs.base import Rows

_OF = "r.operator IN (SELECT id FROM operators WHERE organization = {})"


async def _me(_services: Services, grant: Grant, _form: Me) -> Rows:
    return Rows(
        (
            {
                "object": "me",
                "id": grant.id or grant.name,
                "kind": grant.kind,
                "name": grant.name,
                "role": grant.role or None,
                "scopes": list(grant.scopes),
                "organization": grant.organization or None,
                "session": grant.session or None,
            },
        )
    )


def _scoped(grant: Grant) -> Where:
    where = Where()
    if grant.organization:
        where.add("r.organization = {}", grant.organization)
    return where


def operator_shown(row: Operator) -> dict[str, Any]:
    """An operator as the API shows it."""
    return operator_row(row) | {"object": "operator"}


async def _operators(services: Services, grant: Grant, query: OperatorList) -> Rows:
    where = _scoped(grant)
    where.add("r.status = {}", Standing.ACTIVE)
    found = await newest(services.store, Operator, where, limit=query.limit, after=query.after)
    return found if isinstance(found, Rows) else Rows(tuple(map(operator_shown, found[0])), cursor=found[1])


async def _operator(services: Services, grant: Grant, form: OperatorRef) -> Rows:
    row = await one(services.store, Operator, form.id)
    if row is None or row.status != Standing.ACTIVE or grant.organization not in ("", row.organization):
        return missing("such operator")
    return Rows((operator_shown(row),))


async def _keys(services: Services, grant: Grant, query: ManagementKeyList) -> Rows:
    found = await newest(services.store, ManagementKey, _scoped(grant), limit=query.limit, after=query.after)
    if isinstance(found, Rows):
        return found
    now_ms = services.store.now_ms()
    rows = (management_key_row(row, now_ms) | {"object": "management_key"} for row in found[0])
    return Rows(tuple(rows), cursor=found[1])


async def _key(services: Services, grant: Grant, form: ManagementKeyRef) -> Rows:
    row = await one(services.store, ManagementKey, form.id)
    if row is None or grant.organization not in ("", row.organization):
        return missing("such management key")
    return Rows((management_key_row(row, services.store.now_ms()) | {"object": "management_key"},))


async def _sessions(services: Services, grant: Grant, query: SessionList) -> Rows:
    now_ms, where = services.store.now_ms(), Where()
    where.add("r.ended_ms = 0 AND r.expires_ms > {}", now_ms)
    where.add("r.seen_ms > {}", now_ms - SESSION_IDLE_S * 1000)
    if grant.organization:
        where.add(_OF, grant.organization)
    if query.operator:
        where.add("r.operator = {}", query.operator)
    found = await newest(services.store, Session, where, limit=query.limit, after=query.after)
    if isinstance(found, Rows):
        return found
    rows = (session_row(row, grant.session) | {"object": "session"} for row in found[0])
    return Rows(tuple(rows), cursor=found[1])


async def _session(services: Services, grant: Grant, form: SessionRef) -> Rows:
    row = await one(services.store, Session, form.id or grant.session)
    if row is not None and grant.organization:
        operator = await one(services.store, Operator, row.operator)
        row = row if operator is not None and operator.organization == grant.organization else None
    if row is None:
        return missing("such session")
    return Rows((session_row(row, grant.session) | {"object": "session"},))


ME = Reading(question=reads.ME, answer=_me)
OPERATORS = Reading(question=reads.OPERATORS, answer=_operators)
OPERATOR = Reading(question=reads.OPERATOR, answer=_operator)
MANAGEMENT_KEYS = Reading(question=reads.MANAGEMENT_KEYS, answer=_keys)
MANAGEMENT_KEY = Reading(question=reads.MANAGEMENT_KEY, answer=_key)
SESSIONS = Reading(question=reads.SESSIONS, answer=_sessions)
SESSION = Reading(question=reads.SESSION, answer=_session)
