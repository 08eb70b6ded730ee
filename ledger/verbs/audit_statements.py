"""Owns the proof of statements: each follows from the one before, is the sum of its lines and of its transfers, and has its number."""

from ledger.verbs.check import Check

CHECKS = (
    Check(
        "I17",
        """
        SELECT '', 'statement ' || id || ' opens with ' || opening_nano || ' but the one before closed with '
            || closed
        FROM (SELECT id, opening_nano, LAG(closing_nano) OVER (PARTITION BY organization ORDER BY period) AS closed
              FROM statements WHERE status = 'issued') AS chained
        WHERE closed <> opening_nano
        """,
    ),
    Check(
        "I17",
        """
        SELECT '', 'statement ' || id || ' changes by ' || SUM(told) || ' but its lines by ' || SUM(lines)
        FROM (SELECT id, closing_nano - opening_nano AS told, 0 AS lines FROM statements
              UNION ALL SELECT statement, 0, amount_nano FROM statement_lines) AS sides
        GROUP BY id HAVING SUM(told) <> SUM(lines)
        """,
    ),
    Check(
        "I17",
        """
        SELECT '', 'statement ' || id || ' changes by ' || SUM(told) || ' but the transfers of its month by '
            || SUM(moved)
        FROM (SELECT id, closing_nano - opening_nano AS told, 0 AS moved FROM statements WHERE status = 'issued'
              UNION ALL
              SELECT s.id, 0, t.nano
              FROM (SELECT credit AS account, amount_nano AS nano, created_ms FROM transfers
                    UNION ALL SELECT debit, -amount_nano, created_ms FROM transfers) AS t
                  JOIN (SELECT account_id AS account, profile AS organization FROM api_keys
                        UNION SELECT 'org:' || id, id FROM profiles
                        UNION SELECT 'playground:' || id, id FROM profiles) AS o ON o.account = t.account
                  JOIN statements s ON s.organization = o.organization AND s.status = 'issued'
                      AND t.created_ms >= s.start_ms AND t.created_ms < s.end_ms
              WHERE t.created_ms >= (SELECT MIN(start_ms) FROM statements)) AS sides
        GROUP BY id HAVING SUM(told) <> SUM(moved)
        """,
    ),
    Check(
        "I17",
        """
        SELECT '', 'of the statements of ' || SUBSTR(number, 1, 4) || ' there are ' || COUNT(*)
            || ' but the last has number ' || MAX(number)
        FROM statements WHERE status = 'issued' GROUP BY SUBSTR(number, 1, 4)
        HAVING COUNT(*) <> MAX(CAST(SUBSTR(number, 6) AS bigint))
        """,
    ),
    Check(
        "I17",
        "SELECT '', 'statement ' || id || ' is not issued: ' || problem FROM statements WHERE status <> 'issued'",
    ),
)
