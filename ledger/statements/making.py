"""Owns how a statement is made, in one snapshot: from the closing before it, what the month did, and what the accounts have.

A month's opening is the closing of the statement before it, with what happened since; without one it is all that happened
before. So its closing says what the accounts must have had when it ended, and the accounts themselves say whether it is true.
"""

from typing import Any, Final

import msgspec
from msgspec import Struct, structs

from ledger.rules.rows import Kind, row_of
from ledger.rules.statement_rows import DRAFT, ISSUED, Line, Statement
from ledger.statements import movements
from ledger.statements.months import Month, after, month_named
from ledger.statements.movements import FOREVER_MS
from ledger.store.base import Reader
from ledger.store.statements import STATEMENT_LINES, STATEMENTS, columns
from runtime.settings.billing import BillingSettings

# What acts do, in the order of a statement's lines; charges come after.
KINDS: Final = (
    Kind.DEPOSIT,
    Kind.DEPOSIT_RETURN,
    Kind.DISPUTE,
    Kind.PROMOTIONAL,
    Kind.GOODWILL,
    Kind.REFUND,
    Kind.ADJUSTMENT,
    Kind.MOVE,
    Kind.EXPIRY,
)
_STATEMENTS: Final = f"SELECT {columns(STATEMENTS)} FROM statements WHERE "  # noqa: S608  made of our own column names
_LINES_SQL: Final = (
    f"SELECT {columns(STATEMENT_LINES)} FROM statement_lines WHERE statement = $1 "  # noqa: S608  as above
    "AND place >= $2 ORDER BY place LIMIT $3"
)
_PROFILE_SQL: Final = "SELECT name, email FROM profiles WHERE id = $1"
_encode = msgspec.json.Encoder().encode


class Made(Struct, frozen=True):
    """A statement with its lines."""

    statement: Statement
    lines: tuple[Line, ...]

    @property
    def says_nothing(self) -> bool:
        """Whether there was nothing, and nothing happened."""
        return not self.lines and self.statement.opening_nano == 0


async def stored(reader: Reader, id_: str) -> Statement | None:
    """A statement that is in the books."""
    rows = await reader.fetch(f"{_STATEMENTS} id = $1", id_)
    return row_of(Statement, rows[0]) if rows else None


async def last_issued(reader: Reader, organization: str, before: str = "9999-99") -> Statement | None:
    """The newest statement that was issued for a month before another."""
    where = "organization = $1 AND status = $2 AND period < $3 ORDER BY period DESC LIMIT 1"
    rows = await reader.fetch(_STATEMENTS + where, organization, ISSUED, before)
    return row_of(Statement, rows[0]) if rows else None


async def lines_of(reader: Reader, id_: str, after_place: int, limit: int) -> tuple[Line, ...]:
    """A page of the lines of a statement that is in the books."""
    return tuple(row_of(Line, row) for row in await reader.fetch(_LINES_SQL, id_, after_place, limit))


async def make(
    reader: Reader, organization: str, month: Month, billing: BillingSettings, now_ms: int
) -> Made | None:
    """A month's statement as it is now, a draft: its `problem` says why it cannot be issued. None without the organisation."""
    if not await reader.fetch(_PROFILE_SQL, organization):
        return None
    month, opening = await _opened(reader, organization, month)
    lines = await _lines(reader, organization, month)
    closing = opening + sum(line.amount_nano for line in lines)
    return Made(
        await _draft(reader, organization, month, (opening, closing), billing=billing, now_ms=now_ms), lines
    )


async def brief(
    reader: Reader, organization: str, month: Month, billing: BillingSettings, now_ms: int
) -> Statement | None:
    """The same without its lines, however many they are; None of a month in which there was nothing."""
    if not await reader.fetch(_PROFILE_SQL, organization):
        return None
    month, opening = await _opened(reader, organization, month)
    span = (organization, month.start_ms, month.end_ms)
    given = await movements.posted(reader, *span)
    billed = await movements.billed_nano(reader, *span)
    if not (opening or given or billed):
        return None
    closing = opening + sum(one.amount_nano for one in given) - billed
    return await _draft(reader, organization, month, (opening, closing), billing=billing, now_ms=now_ms)


async def _opened(reader: Reader, organization: str, month: Month) -> tuple[Month, int]:
    """The month from where the one before it ended, and what it opens with."""
    last = await last_issued(reader, organization, month.name)
    month = _joined(month, last)
    since_ms, before_nano = (last.end_ms, last.closing_nano) if last is not None else (0, 0)
    return month, before_nano + await movements.moved_nano(reader, organization, since_ms, month.start_ms)


async def _draft(
    reader: Reader,
    organization: str,
    month: Month,
    balances: tuple[int, int],
    *,
    billing: BillingSettings,
    now_ms: int,
) -> Statement:
    """A draft from its opening and its closing, held against the accounts."""
    opening, closing = balances
    ((name, email),) = await reader.fetch(_PROFILE_SQL, organization)
    later = await movements.moved_nano(reader, organization, month.end_ms, FOREVER_MS)
    accounts = await movements.accounts_nano(reader, organization) - later
    problem = "" if closing == accounts else f"its closing is {closing}, but the accounts make {accounts}"
    seller = {name: getattr(billing, name) for name in ("name", "address", "tax_id", "footer")}
    return Statement(
        id=month.id_of(organization),
        organization=organization,
        period=month.name,
        timezone=month.timezone,
        start_ms=month.start_ms,
        end_ms=month.end_ms,
        status=DRAFT,
        number="",
        problem=problem,
        opening_nano=opening,
        closing_nano=closing,
        seller=_encode(seller).decode(),
        buyer=_encode({"name": name, "email": email}).decode(),
        created_ms=now_ms,
    )


def _joined(month: Month, last: Statement | None) -> Month:
    """The month from where the statement before it ended: the time zone may be another one since."""
    if last is None:
        return month
    before = month_named(last.period, last.timezone)
    if before is None or after(before).name != month.name:
        return month
    return structs.replace(month, start_ms=last.end_ms)


async def _lines(reader: Reader, organization: str, month: Month) -> tuple[Line, ...]:
    span = (organization, month.start_ms, month.end_ms)
    posted = {one.kind: one for one in await movements.posted(reader, *span)}
    kinds = (*KINDS, *sorted(posted.keys() - set(KINDS)))
    id_ = month.id_of(organization)
    found = [
        Line(
            statement=id_,
            place=0,
            kind=kind,
            key_id="",
            model="",
            calls=posted[kind].count,
            tokens=0,
            list_nano=0,
            amount_nano=posted[kind].amount_nano,
        )
        for kind in kinds
        if kind in posted
    ]
    found += [
        Line(
            statement=id_,
            place=0,
            kind=Kind.CHARGE,
            key_id=one.key_id,
            model=one.model,
            calls=one.calls,
            tokens=one.tokens,
            list_nano=one.list_nano,
            amount_nano=-one.billed_nano,
        )
        for one in await movements.charged(reader, *span)
    ]
    return tuple(structs.replace(line, place=place) for place, line in enumerate(found))


def shown(statement: Statement, lines: tuple[Line, ...] | None = None) -> dict[str, Any]:
    """A statement as commands and the API show it; without its lines where none are given."""
    row = {
        "object": "statement",
        "id": statement.id,
        "organization": statement.organization,
        "period": statement.period,
        "timezone": statement.timezone,
        "starts_at": statement.start_ms // 1000,
        "ends_at": statement.end_ms // 1000,
        "status": statement.status,
        "number": statement.number or None,
        "problem": statement.problem or None,
        "opening_nano": statement.opening_nano,
        "closing_nano": statement.closing_nano,
        "seller": msgspec.json.decode(statement.seller),
        "buyer": msgspec.json.decode(statement.buyer),
        "created": statement.created_ms // 1000,
    }
    if lines is not None:
        row["lines"] = [_line(line) for line in lines]
    return row


def _line(line: Line) -> dict[str, Any]:
    return {
        "kind": line.kind,
        "key": line.key_id or None,
        "model": line.model or None,
        "calls": line.calls,
        "tokens": line.tokens,
        "list_nano": line.list_nano,
        "amount_nano": line.amount_nano,
    }
