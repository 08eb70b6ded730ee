"""Owns the proof of the books: every invariant as one set-based query over a snapshot, while calls go on.

I1 balances are what transfers make them, and what is held is what open holds hold; I2 a call is billed once, exactly
what its usage row says; I3 a hold has ended exactly once; I4 no caller's account is overdrawn; I5 no charge is above
its hold, and its price is one that the hold pinned; I9 nothing was acknowledged that is not in the books; I10 a period
of a cap has what was spent before its cap was made and what the calls that count in it were billed, less what was
refunded, and holds what they hold; I11 that is within its ceiling; I12 a rate limit counts as many calls in flight as
open holds list it; I15 roll-ups are the sums of the calls that are in them. What acts do, and statements, have their own checks.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec

from ledger.commits.telling_alone import tell, turned
from ledger.rollups.proof import PROOFS
from ledger.rules.book import Told
from ledger.rules.counted import read_counted
from ledger.store.base import Reader, Store
from ledger.verbs import audit_money, audit_statements, audit_topups
from ledger.verbs.base import Read, Services
from ledger.verbs.check import Check
from schemas.money.amounts import AmountError, usd_to_nano
from schemas.verbs import audit as verbs
from schemas.verbs.audit import AuditQuery
from schemas.verbs.base import Rows

FINDINGS_MAX = 100  # of each invariant: a person reads them
_TOLD_SQL = "SELECT state FROM told WHERE id = 'books'"
_encode = msgspec.json.Encoder().encode


_CHECKS: tuple[Check, ...] = (
    Check(
        "I1",
        """
        SELECT '', 'account ' || id || ' has ' || SUM(posted) || ' but its transfers make ' || SUM(moved)
        FROM (SELECT id, posted_nano AS posted, 0 AS moved FROM accounts
              UNION ALL SELECT credit, 0, SUM(amount_nano) FROM transfers GROUP BY credit
              UNION ALL SELECT debit, 0, -SUM(amount_nano) FROM transfers GROUP BY debit) AS sides
        GROUP BY id HAVING SUM(posted) <> SUM(moved)
        """,
    ),
    Check(
        "I1",
        "SELECT '', 'the sum over all accounts is ' || SUM(posted_nano) FROM accounts "
        "HAVING SUM(posted_nano) <> 0",
    ),
    Check(
        "I1",
        """
        SELECT '', 'account ' || a.id || ' holds ' || a.held_nano || ' but its open holds hold '
            || COALESCE(h.held, 0)
        FROM accounts a LEFT JOIN (
            SELECT account_id, SUM(held_nano) AS held FROM holds
            WHERE state IN ('open', 'estimated') GROUP BY account_id) AS h ON h.account_id = a.id
        WHERE a.held_nano <> COALESCE(h.held, 0)
        """,
    ),
    Check(
        "I2",
        """
        SELECT request_id, 'billed ' || SUM(billed) || ', uncollected ' || SUM(uncollected) || ', cost '
            || SUM(cost) || ': its usage rows minus its transfers, which should all be 0'
        FROM (
            SELECT request_id, billed_nano AS billed, uncollected_nano AS uncollected, cost_nano AS cost
            FROM usage
            UNION ALL
            SELECT request_id, CASE WHEN kind = 'charge' THEN side ELSE 0 END,
                CASE WHEN kind = 'uncollected' THEN side ELSE 0 END,
                CASE WHEN kind IN ('cost', 'cost_estimate') THEN side ELSE 0 END
            FROM (SELECT request_id, kind, CASE WHEN credit IN ('revenue', 'cost_of_goods')
                    THEN -amount_nano ELSE amount_nano END AS side
                  FROM transfers WHERE kind IN ('charge', 'uncollected', 'cost', 'cost_estimate')) AS signed
        ) AS both_sides
        GROUP BY request_id HAVING SUM(billed) <> 0 OR SUM(uncollected) <> 0 OR SUM(cost) <> 0
        """,
    ),
    Check(
        "I3",
        """
        SELECT h.request_id, 'its hold is ' || h.state || CASE WHEN u.request_id IS NULL
            THEN ' and has no usage row' ELSE ' and has a bill (' || u.outcome || ')' END
        FROM holds h LEFT JOIN usage u ON u.request_id = h.request_id AND u.slot = 0
        WHERE (h.state IN ('open', 'released') AND u.request_id IS NOT NULL)
            OR (h.state IN ('estimated', 'settled', 'expired') AND u.request_id IS NULL)
            OR (h.state NOT IN ('open', 'estimated') AND h.closed_ms = 0)
        """,
    ),
    Check(
        "I1",
        """
        SELECT h.request_id, 'its hold is ' || h.state || ' and holds ' || h.held_nano || ' of ' || h.amount_nano
            || ', of which ' || COALESCE(u.billed_nano, 0) || ' is billed'
        FROM holds h LEFT JOIN usage u ON u.request_id = h.request_id AND u.slot = 0
        WHERE h.state IN ('open', 'estimated') AND h.held_nano + COALESCE(u.billed_nano, 0) <> h.amount_nano
        """,
    ),
    Check(
        "I2",
        """
        SELECT t.request_id, 'its charge is between ' || t.debit || ' and ' || t.credit || ', its hold of '
            || COALESCE(h.account_id, 'nobody')
        FROM transfers t LEFT JOIN holds h ON h.request_id = t.request_id
        WHERE t.kind = 'charge'
            AND (h.request_id IS NULL OR h.account_id NOT IN (t.debit, t.credit)
                OR 'revenue' NOT IN (t.debit, t.credit))
        """,
    ),
    Check(
        "I4",
        """
        SELECT '', 'account ' || id || ' has ' || posted_nano || ' and holds ' || held_nano FROM accounts
        WHERE kind IN ('metered', 'playground') AND posted_nano < held_nano
        """,
    ),
    Check(
        "I5",
        """
        SELECT u.request_id, 'billed ' || u.billed_nano || ' above its hold of ' || COALESCE(h.amount_nano, 0)
        FROM usage u LEFT JOIN holds h ON h.request_id = u.request_id
        WHERE u.billed_nano > COALESCE(h.amount_nano, 0) OR u.billed_nano < 0
            OR (u.slot = 0 AND h.request_id IS NULL)
        """,
    ),
    Check(
        "I5",
        """
        SELECT h.request_id, 'billed as ' || u.model || ', at the price of '
            || CASE WHEN h.candidate = 0 THEN h.model ELSE COALESCE(c.model, 'no candidate of its hold') END
        FROM holds h JOIN usage u ON u.request_id = h.request_id AND u.slot = 0
            LEFT JOIN candidates c ON c.request_id = h.request_id AND c.place = h.candidate
        WHERE u.model <> CASE WHEN h.candidate = 0 THEN h.model ELSE COALESCE(c.model, '') END
        """,
    ),
    Check(
        "I10",
        """
        SELECT '', 'period ' || id || ' has ' || SUM(spent) || ' spent and ' || SUM(held)
            || ' held more than the calls that count in it'
        FROM (SELECT id, spent_nano - base_nano AS spent, held_nano AS held, 0 AS listed FROM cap_periods
              UNION ALL
              SELECT p.value, COALESCE(u.refunded_nano, 0) - COALESCE(u.billed_nano, 0), -h.held_nano, 1
              FROM {capped} LEFT JOIN usage u ON u.request_id = h.request_id AND u.slot = 0) AS sides
        GROUP BY id HAVING SUM(spent) <> 0 OR SUM(held) <> 0 OR MIN(listed) = 1
        """,
    ),
    Check(
        "I11",
        """
        SELECT '', 'period ' || id || ' has ' || spent_nano || ' spent and ' || held_nano || ' held of '
            || ceiling_nano FROM cap_periods
        WHERE spent_nano + held_nano > ceiling_nano OR spent_nano < 0 OR held_nano < 0
        """,
    ),
)
_CHECKS += tuple(Check("I15", sql) for sql in PROOFS)
_CAPPED = {
    "sqlite": "(SELECT * FROM holds WHERE limits <> '') h CROSS JOIN json_each(h.limits, '$.p') p",
    "postgresql": "(SELECT * FROM holds WHERE limits <> '') h "
    "CROSS JOIN LATERAL jsonb_array_elements_text(CAST(h.limits AS jsonb) -> 'p') AS p(value)",
}
_COUNTS_SQL = """
    SELECT (SELECT COUNT(*) FROM holds WHERE state = 'open'),
        (SELECT COUNT(*) FROM parked_events),
        calls.count, calls.expired, calls.estimated,
        (SELECT COALESCE(-SUM(posted_nano), 0) FROM accounts WHERE id = 'uncollected'),
        (SELECT COUNT(*) FROM stream_positions WHERE NOT current),
        (SELECT COALESCE(MAX(applied_seq), 0) FROM stream_positions WHERE current)
    FROM (
        SELECT COUNT(*) AS count, COALESCE(SUM(CASE WHEN outcome = 'expired' THEN 1 ELSE 0 END), 0) AS expired,
            COALESCE(SUM(CASE WHEN known = 'estimated' THEN 1 ELSE 0 END), 0) AS estimated
        FROM usage WHERE slot = 0) AS calls
"""
_COUNTS = (
    "open_holds",
    "parked",
    "calls",
    "expired",
    "estimated",
    "uncollected_nano",
    "streams_lost",
    "applied_seq",
)


async def _credits(reader: Reader) -> list[dict[str, Any]]:
    rows = await reader.fetch(
        "SELECT p.id, CAST(p.playground_credits_usd AS text), COALESCE(a.posted_nano, 0) "
        "FROM profiles p LEFT JOIN accounts a ON a.id = 'playground:' || p.id"
    )
    return [
        {
            "invariant": "I1",
            "request_id": "",
            "detail": f"profile {row[0]} shows {row[1]} USD but its playground account has {row[2]}",
        }
        for row in rows
        if not _shows(row[1], row[2])
    ][:FINDINGS_MAX]


def _shows(usd: str, nano: int) -> bool:
    try:
        return usd_to_nano(usd) == nano
    except AmountError:
        return False


async def _rates(reader: Reader) -> list[dict[str, Any]]:
    """I12, where both sides are texts of ours that no database takes apart alike."""
    counts = await reader.fetch("SELECT scope, in_flight FROM rates ORDER BY scope")
    if not counts:
        return []
    open_ = await reader.fetch(
        "SELECT limits FROM holds WHERE state IN ('open', 'estimated') AND state = 'open' AND limits <> ''"
    )
    listed = Counter(scope for row in open_ for scope in read_counted(row[0]).r)
    return [
        {
            "invariant": "I12",
            "request_id": "",
            "detail": f"{scope} counts {in_flight} calls in flight, but {listed[scope]} open holds list it",
        }
        for scope, in_flight in counts
        if in_flight != listed[scope]
    ][:FINDINGS_MAX]


async def findings(reader: Reader) -> list[dict[str, Any]]:
    """What breaks an invariant within the books."""
    found: list[dict[str, Any]] = []
    for check in (*_CHECKS, *audit_money.CHECKS, *audit_statements.CHECKS, *audit_topups.CHECKS):
        sql = check.sql.replace("{capped}", _CAPPED[reader.dialect])
        rows = await reader.fetch(f"{sql} LIMIT {FINDINGS_MAX}")
        found += [{"invariant": check.invariant, "request_id": row[0], "detail": row[1]} for row in rows]
    return [
        *found,
        *await _credits(reader),
        *await _rates(reader),
        *await audit_money.broken_entry(reader),
    ]


async def audit(reader: Reader, acknowledged: tuple[str, int] | None) -> dict[str, Any]:
    """The proof, on a snapshot. `acknowledged` is the stream's identity and the consumer's ack floor, read before it."""
    found = await findings(reader)
    if acknowledged is not None:
        identity, floor = acknowledged
        rows = await reader.fetch("SELECT applied_seq FROM stream_positions WHERE identity = $1", identity)
        applied = rows[0][0] if rows else 0
        if floor > applied:
            detail = f"acknowledged through {floor}, but the books have {applied}: they were rolled back"
            found.append({"invariant": "I9", "request_id": "", "detail": detail})
    (row,) = await reader.fetch(_COUNTS_SQL)
    counts = {name: int(count) for name, count in zip(_COUNTS, row, strict=True)}
    return {"ok": not found, "findings": found, **counts}


async def prove(services: Services, _request: AuditQuery) -> Rows:
    """The proof, one at a time."""
    acknowledged = services.consumer.acknowledged
    async with services.auditing, services.store.snapshot() as snapshot:
        proof = await audit(snapshot, acknowledged)
    await tell_findings(services.store, proof["findings"])
    return Rows((proof,))


async def tell_findings(store: Store, findings: Sequence[dict[str, Any]]) -> None:
    """Tells of findings that are others than those that were told last."""
    text = _encode(findings)
    state = hashlib.sha256(text).hexdigest() if findings else ""
    told = [str(row[0]) for row in await store.fetch(_TOLD_SQL)]
    if (told or [""]) == [state]:
        return
    async with store.write() as tx:
        if await turned(tx, "books", state) is not None and findings:
            data = {"id": state[:16], "count": len(findings), "first": findings[0]}
            await tell(tx, [Told("books.finding", state[:16], "", data)])


AUDIT = Read(verb=verbs.AUDIT, answer=prove)
