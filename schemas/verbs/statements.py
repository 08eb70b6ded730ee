"""Owns what is asked about monthly statements: one with a page of its lines, a list of them, and the issue of one.

A statement is an object with id, organization, period, timezone, starts_at, ends_at, status (draft or issued), number,
problem, opening_nano, closing_nano, seller, buyer, created, and lines of kind, key, model, calls, tokens, list_nano and
amount_nano. Amounts are as the balance sees them, so that the closing is the opening plus all lines.
"""

from typing import Final

from msgspec import Struct

from schemas.bus.subjects import Role
from schemas.verbs.base import VERSION, Rows, Verb

LINES_MAX: Final = 2_000  # in one answer
LIST_MAX: Final = 200


class StatementQuery(Struct, frozen=True, array_like=True):
    """Asks for the statement of an organisation's month, yyyy-mm: a draft of it as it is now, unless it is issued.

    The one row has up to `limit` lines, from place `after` on; the cursor is the next page's, 0 at the end.
    """

    v: int = VERSION
    organization: str = ""
    period: str = ""
    after: int = 0
    limit: int = LINES_MAX


class StatementList(Struct, frozen=True, array_like=True):
    """Asks for a page of statements without their lines, newest month first, of one organisation or of all.

    `before` is the cursor of the last page.
    """

    v: int = VERSION
    organization: str = ""
    before: str = ""
    limit: int = 100


class StatementIssue(Struct, frozen=True, array_like=True):
    """Issues the statement of a month that is over, for good. Asked again, the answer is the same. `actor` says who asks."""

    v: int = VERSION
    organization: str = ""
    period: str = ""
    actor: str = ""


STATEMENT: Verb[StatementQuery, Rows] = Verb(
    name="statement", form=StatementQuery, reply=Rows, roles=(Role.COMMAND,)
)
STATEMENTS: Verb[StatementList, Rows] = Verb(
    name="statements", form=StatementList, reply=Rows, roles=(Role.COMMAND,)
)
# Made by a read, and written by an errand between two commits: no writer waits for the sums of a month.
STATEMENT_ISSUE: Verb[StatementIssue, Rows] = Verb(
    name="statement_issue", form=StatementIssue, reply=Rows, roles=(Role.COMMAND,)
)
