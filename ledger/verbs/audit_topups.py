"""Owns the part of the proof that is about top-ups, I18: what one has given and taken is what its transfers are.

And that is what follows from what was told of its payment: the whole amount once it is paid, less refunds and disputes.
"""

from ledger.rules.money.topups import DISPUTED, UNDONE
from ledger.verbs.check import Check
from schemas.verbs.topups import CENT_NANO


def _words(words: frozenset[str]) -> str:
    return ", ".join(f"'{one}'" for one in sorted(words))


CHECKS = (
    Check(
        "I18",
        """
        SELECT id, 'top-up ' || id || ' has given, returned, disputed, and of these as debts: ' || SUM(given) || ', '
            || SUM(returned) || ', ' || SUM(disputed) || ', ' || SUM(returned_debt) || ', ' || SUM(disputed_debt)
            || ' more than its transfers'
        FROM (
            SELECT id, given_nano AS given, returned_nano AS returned, disputed_nano AS disputed,
                returned_debt_nano AS returned_debt, disputed_debt_nano AS disputed_debt
            FROM topups
            UNION ALL
            SELECT request_id, CASE WHEN kind = 'deposit' THEN side ELSE 0 END,
                CASE WHEN kind = 'deposit_return' THEN -side ELSE 0 END,
                CASE WHEN kind = 'dispute' THEN -side ELSE 0 END,
                CASE WHEN kind = 'deposit_return' AND ours THEN -side ELSE 0 END,
                CASE WHEN kind = 'dispute' AND ours THEN -side ELSE 0 END
            FROM (SELECT request_id, kind, 'bad_debt' IN (debit, credit) AS ours,
                      CASE WHEN credit = 'deposits' THEN amount_nano ELSE -amount_nano END AS side
                  FROM transfers WHERE request_id IN (SELECT id FROM topups)) AS moved
        ) AS both_sides
        GROUP BY id HAVING SUM(given) <> 0 OR SUM(returned) <> 0 OR SUM(disputed) <> 0
            OR SUM(returned_debt) <> 0 OR SUM(disputed_debt) <> 0
        """,
    ),
    Check(
        "I18",
        """
        SELECT id, 'top-up ' || id || ' is ' || status || ', was to be ' || amount_nano || ' and has given '
            || given_nano
        FROM topups
        WHERE given_nano NOT IN (0, amount_nano) OR (given_nano > 0 AND (status <> 'paid' OR payment = ''))
        """,
    ),
    Check(
        "I18",
        f"""
        SELECT id, 'top-up ' || id || ' has ' || returned_nano || ' returned and ' || disputed_nano
            || ' disputed, but was told of ' || refunds || ' and ' || disputes
        FROM (
            SELECT t.id, t.given_nano, t.returned_nano, t.disputed_nano,
                {CENT_NANO} * COALESCE(c.disputed, 0) AS disputes,
                {CENT_NANO} * CASE WHEN COALESCE(c.told, 0) > t.refunded_cents - COALESCE(c.undone, 0)
                    THEN COALESCE(c.told, 0) ELSE t.refunded_cents - COALESCE(c.undone, 0) END AS refunds
            FROM topups t LEFT JOIN (
                SELECT topup,
                    SUM(CASE WHEN kind = 'refund' AND status NOT IN ({_words(UNDONE)}) THEN cents ELSE 0 END) AS told,
                    SUM(CASE WHEN kind = 'refund' AND status IN ({_words(UNDONE)}) THEN cents ELSE 0 END) AS undone,
                    SUM(CASE WHEN kind = 'dispute' AND status IN ({_words(DISPUTED)}) THEN cents ELSE 0 END) AS disputed
                FROM topup_claims GROUP BY topup) AS c ON c.topup = t.id) AS sides
        WHERE returned_nano <> CASE WHEN refunds < given_nano THEN refunds ELSE given_nano END
            OR disputed_nano <> CASE WHEN disputes < given_nano - returned_nano THEN disputes
                ELSE given_nano - returned_nano END
        """,  # noqa: S608  made of our own words
    ),
)
