"""Owns pages of FOCUS: pieces of calls by classes of tokens, then corrections of earlier months, then refunds.

A call's bill stands in the hour in which it was booked, as far as it was charged in that month; what is charged later is
a correction in its own hour. So a month's rows add up to what its statement says, and all of them to all bills.
"""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from functools import partial
from typing import Any, Final

import msgspec
from msgspec import Struct

from ledger.exports import calls, classes
from ledger.exports.asked import SCANNED, Asked, Page, Size
from ledger.exports.classes import Part
from ledger.exports.journal import upper
from ledger.rollups.sql import HOUR_MS
from ledger.rules.rows import TOKEN_COLUMNS
from ledger.statements.months import Month, month_at
from ledger.store.base import Reader
from runtime.settings.billing import BillingSettings
from schemas.exports.focus import CORRECTION, REFUND, USAGE, Group, Groups, Sums, gather, piece
from schemas.money.pricing import Price, TokenUsage
from schemas.verbs.exports import PAGE_ROWS

ISSUER: Final = "tokn"  # where no settings name one
_ZERO: Final = Decimal(0)
_TOKENS: Final = ", ".join(f"u.{name}" for name in TOKEN_COLUMNS.values())
_WHO: Final = "COALESCE(k.profile, ''), u.key_id, COALESCE(k.name, ''), u.model, u.provider, u.pool"
_USAGE_SQL: Final = (
    f"SELECT u.seq, u.created_ms, {_WHO}, u.request_id, u.billed_nano - {calls.CHARGED_SINCE}, {calls.TERMS}, "
    f"u.uplifts, {_TOKENS} {calls.FROM} AND ($6 = '' OR k.profile = $6) ORDER BY u.seq LIMIT $7"
)
_CORRECTIONS_SQL: Final = (
    f"SELECT t.request_id, t.created_ms, {_WHO}, t.request_id, "  # noqa: S608  as above
    "CASE WHEN t.credit = 'revenue' THEN t.amount_nano ELSE -t.amount_nano END, u.created_ms, t.attempt, t.line "
    "FROM transfers t JOIN usage u ON u.request_id = t.request_id AND u.slot = 0 LEFT JOIN api_keys k ON k.id = u.key_id "
    "WHERE (t.request_id, t.kind, t.attempt, t.line) > ($1, 'charge', $2, $3) AND ($4 = '' OR t.request_id < $4) "
    "AND t.kind = 'charge' AND t.line > 0 AND t.created_ms >= $5 AND t.created_ms < $6 "
    "AND ($7 = '' OR k.profile = $7) ORDER BY t.request_id, t.attempt, t.line LIMIT $8"
)
_REFUNDS_SQL: Final = (
    f"SELECT c.id, c.created_ms, {_WHO}, c.call, -c.amount_nano "  # noqa: S608  as above
    "FROM (SELECT * FROM credits WHERE id > $1 ORDER BY id LIMIT $2) AS c "
    "JOIN usage u ON u.request_id = c.call AND u.slot = 0 LEFT JOIN api_keys k ON k.id = u.key_id "
    "WHERE c.kind = 'refund' AND c.created_ms >= $3 AND c.created_ms < $4 AND ($5 = '' OR k.profile = $5) ORDER BY c.id"
)
_LAST_CREDIT_SQL: Final = "SELECT id FROM credits WHERE id > $1 ORDER BY id LIMIT 1 OFFSET $2"
_read_price = msgspec.json.Decoder(Price).decode
_read_uplifts = msgspec.json.Decoder(tuple[str, ...]).decode


class About(Struct):
    """What pieces of a page are told with: months of a time zone, who issues, names and numbers of statements."""

    zone: str
    issuer: str
    names: dict[str, str]
    numbers: dict[tuple[str, str], str]
    prices: dict[str, Price]

    def month(self, moment_ms: int) -> Month:
        """The month of a moment."""
        return month_at(moment_ms, self.zone)

    def group(self, what: str, row: Sequence[Any], **more: str) -> Group:
        """The group of a row: its place, its moment, then who it is of."""
        moment_ms, organization, key_id, key_name, model, provider, pool = row[1:8]
        month = self.month(moment_ms)
        return Group(
            what=what,
            hour=moment_ms // HOUR_MS,
            organization=organization,
            organization_name=self.names.get(organization, ""),
            key_id=key_id,
            key_name=key_name,
            model=model,
            provider=provider,
            pool=pool,
            period_start_s=month.start_ms // 1000,
            period_end_s=month.end_ms // 1000,
            invoice=self.numbers.get((organization, month.name), ""),
            issuer=self.issuer,
            **more,
        )


async def _about(
    reader: Reader, asked: Asked, billing: BillingSettings, rows: Iterable[Sequence[Any]], refs: Iterable[str]
) -> About:
    organizations = {row[2] for row in rows}
    about = About(billing.statement_timezone, billing.name or ISSUER, {}, {}, {})
    if organizations:
        among = reader.array(organizations)
        sql = f"SELECT id, name FROM profiles WHERE id {reader.among}"  # noqa: S608  the store's own word
        about.names = {row[0]: row[1] for row in await reader.fetch(sql, among)}
        sql = (
            f"SELECT organization, period, number FROM statements WHERE organization {reader.among} "  # noqa: S608  as above
            "AND status = 'issued' AND created_ms < $2"
        )
        found = await reader.fetch(sql, among, asked.moment_ms)
        about.numbers = {(row[0], row[1]): row[2] for row in found}
    if wanted := {ref for ref in refs if ref}:
        sql = f"SELECT ref, body FROM prices WHERE ref {reader.among}"  # noqa: S608  as above
        found = await reader.fetch(sql, reader.array(wanted))
        about.prices = {row[0]: _read_price(row[1]) for row in found}
    return about


async def usage_page(
    billing: BillingSettings, reader: Reader, asked: Asked, place: Sequence[str | int]
) -> Page:
    """A page of calls by classes of tokens, added up as far as one page goes."""
    begin = int(place[0]) if place else 0
    end = begin + SCANNED
    found = await reader.fetch(
        _USAGE_SQL, begin, end, asked.since_ms, asked.until_ms, asked.moment_ms, asked.organization, PAGE_ROWS
    )
    about = await _about(reader, asked, billing, found, (row[10] for row in found))
    later = await _charged_later(reader, about, asked, found)
    size, groups, last = Size(), Groups(), begin
    for row in found:
        pieces = _pieces(about, row, int(row[9]) - later.get(row[8], 0))
        new = [one for one, _ in pieces if one not in groups]
        if new and not size.takes(new):
            return Page(_sent(groups), (last,))
        for group, sums in pieces:
            gather(groups, group, sums)
        last = int(row[0])
    return Page(_sent(groups), await calls.following(reader, found, end))


def _sent(groups: Groups) -> list[list[Any]]:
    return [piece(group, sums) for group, sums in groups.items()]


def _pieces(about: About, row: Sequence[Any], billed_nano: int) -> list[tuple[Group, Sums]]:
    ref, rate, uplifts, *tokens = row[10:]
    price = about.prices.get(ref)
    told: list[Part] = []
    if price is not None:
        told = classes.parts(TokenUsage(*tokens), price, Decimal(rate), _read_uplifts(uplifts))
    return [
        (
            about.group(
                USAGE,
                row,
                price_ref=ref,
                rate=rate,
                token_class=part.name,
                list_unit=str(part.list_unit),
                unit=str(part.unit),
            ),
            Sums(part.quantity, part.list_nano, part.nano, share),
        )
        for part, share in classes.shares(told, billed_nano)
    ]


async def _charged_later(
    reader: Reader, about: About, asked: Asked, rows: Sequence[Sequence[Any]]
) -> dict[str, int]:
    """What was charged for calls in later months than they were booked in, before the moment."""
    if not rows:
        return {}
    ends = {row[8]: about.month(row[1]).end_ms for row in rows}
    sql = (
        "SELECT request_id, created_ms, CASE WHEN credit = 'revenue' THEN amount_nano ELSE -amount_nano END "  # noqa: S608  the store's own word
        f"FROM transfers WHERE request_id {reader.among} AND kind = 'charge' AND line > 0 AND created_ms < $2"
    )
    later: dict[str, int] = {}
    for request_id, created_ms, nano in await reader.fetch(sql, reader.array(ends), asked.moment_ms):
        if created_ms >= ends[request_id]:
            later[request_id] = later.get(request_id, 0) + int(nano)
    return later


async def corrections_page(
    billing: BillingSettings, reader: Reader, asked: Asked, place: Sequence[str | int]
) -> Page:
    """A page of what was charged, or taken back, for calls of earlier months."""
    request_id, attempt, line = place or ("", 0, 0)
    bound = await upper(reader, str(request_id))
    found = await reader.fetch(
        _CORRECTIONS_SQL,
        *(request_id, attempt, line, bound, asked.since_ms, asked.until_ms, asked.organization, PAGE_ROWS),
    )
    about = await _about(reader, asked, billing, found, ())
    size, rows, last = Size(), list[list[Any]](), (request_id, attempt, line)
    for row in found:
        if row[1] >= about.month(row[10]).end_ms:
            made = _changed(about, CORRECTION, row)
            if not size.takes([made]):
                return Page(rows, last)
            rows.append(made)
        last = row[0], int(row[11]), int(row[12])
    if len(found) == PAGE_ROWS:
        return Page(rows, last)
    return Page(rows, (bound, 0, 0) if bound else None)


async def refunds_page(
    billing: BillingSettings, reader: Reader, asked: Asked, place: Sequence[str | int]
) -> Page:
    """A page of refunds by operators."""
    after = str(place[0]) if place else ""
    end = await reader.fetch(_LAST_CREDIT_SQL, after, PAGE_ROWS - 1)
    found = await reader.fetch(
        _REFUNDS_SQL, after, PAGE_ROWS, asked.since_ms, asked.until_ms, asked.organization
    )
    about = await _about(reader, asked, billing, found, ())
    size, rows, last = Size(), list[list[Any]](), after
    for row in found:
        made = _changed(about, REFUND, row)
        if not size.takes([made]):
            return Page(rows, (last,))
        rows.append(made)
        last = row[0]
    return Page(rows, (end[0][0],) if end else None)


def _changed(about: About, what: str, row: Sequence[Any]) -> list[Any]:
    return piece(about.group(what, row, call=row[8]), Sums(0, _ZERO, _ZERO, Decimal(int(row[9]))))


PHASES: Final = {"usage": usage_page, "corrections": corrections_page, "refunds": refunds_page}


def phases(billing: BillingSettings) -> dict[str, Any]:
    """The phases of an export, each with what makes a page of it."""
    return {name: partial(one, billing) for name, one in PHASES.items()}
