"""Owns how a ledger finds by whose right something is asked: a credential becomes a grant, or the word that it is none."""

from collections.abc import Sequence
from typing import Any

import msgspec

from ledger.rules.authority_rows import ManagementKey, Operator, Session, SignInToken, Standing
from ledger.rules.grants import Grant, GrantKind, refused
from ledger.rules.identity import Identity, Proof, Unproven
from ledger.rules.rows import row_of
from ledger.store.base import Reader, Transaction
from ledger.store.statements import columns, table_of
from schemas.admin import credentials
from schemas.admin.authority import ROLES, OperatorRole
from schemas.admin.operators import SESSION_IDLE_S
from schemas.admin.reasons import Reason
from schemas.verbs.base import Rows

_KEY_SQL = f"SELECT {columns(table_of(ManagementKey))} FROM management_keys WHERE digest "  # noqa: S608  made of our own column names
_OPERATOR_SQL = f"SELECT {columns(table_of(Operator))} FROM operators WHERE id = $1"  # noqa: S608  as above
_SUBJECT_SQL = f"SELECT {columns(table_of(Operator))} FROM operators WHERE issuer = $1 AND subject = $2"  # noqa: S608  as above
_SESSION_SQL = f"SELECT {columns(table_of(Session))} FROM sessions WHERE digest "  # noqa: S608  as above
_TOKEN_SQL = f"SELECT {columns(table_of(SignInToken))} FROM sign_in_tokens WHERE digest "  # noqa: S608  as above
_NO_KEY = refused(Reason.INVALID_MANAGEMENT_KEY, "this management key is not valid, or no longer")
_NO_SESSION = refused(Reason.INVALID_SESSION, "this session has ended: sign in again")
_NO_TOKEN = refused(
    Reason.INVALID_SIGN_IN, "this link was used, or is too old, or another was made: ask for a new one"
)
_NO_ID_TOKEN = refused(Reason.INVALID_ID_TOKEN, "this sign-in was used, or is too old: begin again")
_REMOVED = refused(Reason.SIGN_IN_REFUSED, "you were removed here: an owner can say why")
_scopes = msgspec.json.Decoder(tuple[str, ...]).decode


OIDC_ACTOR = "oidc"  # until whoever signs in has an id


class Shown(msgspec.Struct, frozen=True):
    """A grant, with the row of the secret by which it came, if the books have one."""

    grant: Grant
    secret: ManagementKey | Session | SignInToken | None


async def rehash(tx: Transaction, shown: Shown, digest: str) -> None:
    """Keeps a secret by its hash of now, where a pepper of before had made it."""
    row = shown.secret
    if row is not None and row.digest != digest:
        await tx.execute(f"UPDATE {row.TABLE} SET digest = $1 WHERE id = $2", digest, row.id)  # noqa: S608  our own word


async def load_grant(reader: Reader, proof: Proof, digests: Sequence[str], now_ms: int) -> Shown | Rows:
    """What a credential grants now, by the keyed hashes of its digest under all peppers; else the refusal."""
    match proof:
        case credentials.ManagementKey():
            return await _of_key(reader, digests, now_ms)
        case credentials.Session():
            return await _of_session(reader, digests, now_ms)
        case credentials.SignInToken():
            return await _of_token(reader, digests, now_ms)
        case credentials.IdToken():
            return _NO_ID_TOKEN  # one that nobody has verified proves nothing
        case Identity():
            return await _of_identity(reader, proof, now_ms)
        case Unproven():
            return proof.refusal


async def _by_secret(reader: Reader, sql: str, digests: Sequence[str], kind: Any) -> Any:
    rows = await reader.fetch(sql + reader.among, reader.array(digests))
    return row_of(kind, rows[0]) if rows else None


async def _active(reader: Reader, id_: str) -> Operator | None:
    """An operator who may act."""
    rows = await reader.fetch(_OPERATOR_SQL, id_)
    operator = row_of(Operator, rows[0]) if rows else None
    return operator if operator is not None and operator.status == Standing.ACTIVE else None


async def _of_key(reader: Reader, digests: Sequence[str], now_ms: int) -> Shown | Rows:
    key: ManagementKey | None = await _by_secret(reader, _KEY_SQL, digests, ManagementKey)
    if key is None or key.status != Standing.ACTIVE or 0 < key.expires_ms <= now_ms:
        return _NO_KEY
    return Shown(
        Grant(
            id=key.id,
            kind=GrantKind.MANAGEMENT_KEY,
            name=key.name,
            actor=f"{GrantKind.MANAGEMENT_KEY}:{key.id}",
            scopes=_scopes(key.scopes),
            organization=key.organization,
        ),
        key,
    )


async def _of_session(reader: Reader, digests: Sequence[str], now_ms: int) -> Shown | Rows:
    session: Session | None = await _by_secret(reader, _SESSION_SQL, digests, Session)
    if session is None or session.ended_ms or session.expires_ms <= now_ms:
        return _NO_SESSION
    operator = await _active(reader, session.operator)
    if operator is None or session.seen_ms + SESSION_IDLE_S * 1000 <= now_ms:
        return _NO_SESSION
    return Shown(_operator(operator, session=session.id), session)


async def _of_token(reader: Reader, digests: Sequence[str], now_ms: int) -> Shown | Rows:
    token: SignInToken | None = await _by_secret(reader, _TOKEN_SQL, digests, SignInToken)
    if token is None or token.ended_ms or token.expires_ms <= now_ms:
        return _NO_TOKEN
    operator = await _active(reader, token.operator)
    if operator is None:
        return _NO_TOKEN
    return Shown(_operator(operator, token=token.id), token)


async def _of_identity(reader: Reader, identity: Identity, now_ms: int) -> Shown | Rows:
    """Whoever a provider names may sign in, and nothing else; but nobody who was removed."""
    rows = await reader.fetch(_SUBJECT_SQL, identity.issuer, identity.subject)
    known = row_of(Operator, rows[0]) if rows else None
    if identity.nonce_ends_ms <= now_ms:
        return _NO_ID_TOKEN
    if known is not None and known.status != Standing.ACTIVE:
        return _REMOVED
    return Shown(
        Grant(
            id="" if known is None else known.id,
            kind=GrantKind.SIGN_IN,
            name=identity.name,
            actor=OIDC_ACTOR if known is None else f"{GrantKind.OPERATOR}:{known.id}",
            scopes=(),
            organization=identity.organization,
            role=identity.role,
            identity=identity,
        ),
        None,
    )


def _operator(operator: Operator, *, session: str = "", token: str = "") -> Grant:
    """What an operator may; with a link nothing but to sign in."""
    return Grant(
        id=operator.id,
        kind=GrantKind.SIGN_IN if token else GrantKind.OPERATOR,
        name=operator.name,
        actor=f"{GrantKind.OPERATOR}:{operator.id}",
        scopes=() if token else ROLES[OperatorRole(operator.role)],
        organization=operator.organization,
        role=operator.role,
        session=session,
        token=token,
    )
