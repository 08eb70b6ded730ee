"""Owns the part of the proof that is about acts: credits and refunds against their transfers, lots, and the audit log.

I2 also says that a call's refunds are what its usage row says, and never above its bill; I13 credits are what their
transfers are, kind by kind and account by account, and the lots of an account are what is left of those; I14 what an
account has spent is its charges minus its refunds; I16 no entry of the audit log was changed or is missing.
"""

from typing import Any

from ledger.acts.base import entry_hash
from ledger.rules.act_rows import Entry, Head
from ledger.rules.rows import row_of
from ledger.store.base import Reader
from ledger.store.statements import ENTRIES, columns, table_of
from ledger.verbs.check import Check

_KINDS = (
    "('deposit', 'deposit_return', 'promotional', 'expiry', 'goodwill', 'refund', 'adjustment', 'move', "
    "'write_off', 'upstream_deposit', 'dispute')"
)
_OURS = "('deposits', 'promotions', 'goodwill', 'adjustments', 'bad_debt', 'upstream_deposits', 'revenue')"  # other sides
CHECKS = (
    Check(
        "I2",
        """
        SELECT request_id, 'refunded ' || SUM(refunded) || ' by its usage row, but ' || SUM(moved) || ' by its transfers'
        FROM (SELECT request_id, refunded_nano AS refunded, 0 AS moved FROM usage WHERE refunded_nano <> 0
              UNION ALL SELECT request_id, 0, amount_nano FROM transfers WHERE kind = 'refund') AS sides
        GROUP BY request_id HAVING SUM(refunded) <> SUM(moved)
        """,
    ),
    Check(
        "I2",
        """
        SELECT request_id, 'refunded ' || refunded_nano || ' of a bill of ' || billed_nano || ', of which lots paid '
            || lots_nano
        FROM usage
        WHERE refunded_nano < 0 OR refunded_nano > billed_nano
            OR lots_nano < 0 OR lots_nano > billed_nano - refunded_nano
        """,
    ),
    Check(
        "I2",
        """
        SELECT t.request_id, 'its refund is from ' || t.debit || ' to ' || t.credit || ', its hold of '
            || COALESCE(h.account_id, 'nobody')
        FROM transfers t LEFT JOIN holds h ON h.request_id = t.request_id
        WHERE t.kind = 'refund'
            AND (h.request_id IS NULL OR t.credit <> h.account_id OR t.debit <> 'revenue')
        """,
    ),
    Check(
        "I13",
        f"""
        SELECT '', 'account ' || account || ' has credits of kind ' || kind || ' over ' || SUM(told)
            || ' but transfers over ' || SUM(moved)
        FROM (SELECT kind, account_id AS account, amount_nano AS told, 0 AS moved FROM credits
              UNION ALL SELECT kind, credit, 0, amount_nano FROM transfers
                  WHERE kind IN {_KINDS} AND credit NOT IN {_OURS}
              UNION ALL SELECT kind, debit, 0, -amount_nano FROM transfers
                  WHERE kind IN {_KINDS} AND debit NOT IN {_OURS}) AS sides
        GROUP BY kind, account HAVING SUM(told) <> SUM(moved)
        """,  # noqa: S608  made of our own words
    ),
    Check(
        "I13",
        """
        SELECT '', 'account ' || account || ' has lots of ' || SUM(lots) || ' but ' || SUM(made) || ' is left of them'
        FROM (SELECT id AS account, lots_nano AS lots, 0 AS made FROM accounts WHERE lots_nano <> 0
              UNION ALL SELECT account_id, 0, lot_nano - gone_nano FROM credits WHERE lot_nano > 0
              UNION ALL SELECT h.account_id, 0, -u.lots_nano
                  FROM usage u JOIN holds h ON h.request_id = u.request_id WHERE u.lots_nano <> 0) AS sides
        GROUP BY account HAVING SUM(lots) <> SUM(made)
        """,
    ),
    Check(
        "I14",
        """
        SELECT '', 'account ' || account || ' has spent ' || SUM(spent) || ' but its charges and refunds make '
            || SUM(moved)
        FROM (SELECT id AS account, spent_nano AS spent, 0 AS moved FROM accounts
              UNION ALL SELECT debit, 0, amount_nano FROM transfers WHERE kind = 'charge' AND debit <> 'revenue'
              UNION ALL SELECT credit, 0, -amount_nano FROM transfers
                  WHERE kind IN ('charge', 'refund') AND credit <> 'revenue') AS sides
        GROUP BY account HAVING SUM(spent) <> SUM(moved)
        """,
    ),
)
LOG_PAGE = 1_000  # entries that are read at once
_LOG_SQL = f"SELECT {columns(ENTRIES)} FROM audit_entries WHERE number > $1 ORDER BY number LIMIT $2"  # noqa: S608  made of our own column names
_HEAD_SQL = f"SELECT {columns(table_of(Head))} FROM audit_head"  # noqa: S608  as above


async def broken_entry(reader: Reader) -> list[dict[str, Any]]:
    """The first entry of the audit log that is not what was written, or that is missing; at most one finding."""
    number, last = 0, ""
    while rows := await reader.fetch(_LOG_SQL, number, LOG_PAGE):
        for row in rows:
            entry = row_of(Entry, row)
            if entry.number != number + 1:
                return [_finding(f"entry {number + 1} of the audit log is missing")]
            if entry.previous != last or entry.hash != entry_hash(entry):
                return [_finding(f"entry {entry.number} of the audit log ({entry.id}) was changed")]
            number, last = entry.number, entry.hash
    head = [(row[1], row[2]) for row in await reader.fetch(_HEAD_SQL)]
    if head != [(number, last)]:
        return [_finding(f"the audit log ends with entry {number}, but its head says otherwise: {head}")]
    return []


def _finding(detail: str) -> dict[str, Any]:
    return {"invariant": "I16", "request_id": "", "detail": detail}
