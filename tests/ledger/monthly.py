"""Owns what tests of statements share: a month that is in a statement, and what the journal says of it."""

from typing import Any

from ledger.commits.rolling import Rolling
from ledger.statements.issuing import Issuing
from ledger.statements.months import month_at, month_named
from ledger.verbs.statements import STATEMENT, STATEMENTS
from runtime.settings.billing import BILLING, BillingSettings
from schemas.verbs.base import Rows
from schemas.verbs.statements import StatementList, StatementQuery
from tests.ledger.harness import Books

DELAY_S = 15 * 60
_OWN = (
    "SELECT account_id FROM api_keys WHERE profile = $1 UNION SELECT 'org:' || CAST($1 AS text) "
    "UNION SELECT 'playground:' || CAST($1 AS text)"
)


class Monthly:
    """Books with the errand that issues statements."""

    def __init__(self, books: Books, billing: BillingSettings = BILLING) -> None:
        self.books = books
        self.store = books.store
        books.start()
        self.issuing = Issuing(books.writer, billing)
        self.rolling = Rolling(books.writer)

    async def roll(self) -> None:
        """All calls that can be are in the roll-ups."""
        for _ in range(3):
            await self.rolling.step()

    @property
    def period(self) -> str:
        """The month that runs."""
        return month_at(self.books.clock.ms, self.issuing.billing.statement_timezone).name

    def end_month(self) -> str:
        """Turns the clock to the first moment at which the month that runs can be issued; its name."""
        month = month_named(self.period, self.issuing.billing.statement_timezone)
        assert month is not None
        self.books.clock.ms = month.end_ms + DELAY_S * 1000
        return month.name

    async def ask(self, organization: str, period: str, **fields: Any) -> dict[str, Any]:
        """A statement as commands get it."""
        reply = await self.answer(organization, period, **fields)
        assert not reply.problem, reply.problem
        return dict(reply.rows[0])

    async def answer(self, organization: str, period: str, **fields: Any) -> Rows:
        """The answer, whatever it is."""
        query = StatementQuery(organization=organization, period=period, **fields)
        return await STATEMENT.answer(self._services(), query)

    async def listed(self, **fields: Any) -> Rows:
        """A page of statements."""
        return await STATEMENTS.answer(self._services(), StatementList(**fields))

    def _services(self) -> Any:
        return self

    async def moved(self, organization: str, start_ms: int, end_ms: int) -> dict[str, int]:
        """What the journal says that happened to an organisation's accounts, by kind."""
        rows = await self.store.fetch(
            "SELECT kind, SUM(nano) FROM (SELECT kind, credit AS account, amount_nano AS nano, created_ms "
            "FROM transfers UNION ALL SELECT kind, debit, -amount_nano, created_ms FROM transfers) AS t "
            f"WHERE account IN ({_OWN}) AND created_ms >= $2 AND created_ms < $3 GROUP BY kind ORDER BY kind",
            organization,
            start_ms,
            end_ms,
        )
        return {str(kind): int(nano) for kind, nano in rows}

    async def prove(self, organization: str, period: str) -> dict[str, Any]:
        """A statement that is, kind by kind, what the journal says, and whose closing is its opening with its lines."""
        found = await self.ask(organization, period)
        kinds: dict[str, int] = {}
        for line in found["lines"]:
            kinds[line["kind"]] = kinds.get(line["kind"], 0) + line["amount_nano"]
        assert found["closing_nano"] == found["opening_nano"] + sum(kinds.values())
        journal = await self.moved(organization, found["starts_at"] * 1000, found["ends_at"] * 1000)
        assert {kind: nano for kind, nano in kinds.items() if nano} == {
            kind: nano for kind, nano in journal.items() if nano
        }
        return found
