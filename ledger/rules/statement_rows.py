"""Owns the rows of statements: one a month of an organisation, and its lines."""

from typing import ClassVar

from ledger.rules.rows import Row

DRAFT = "draft"
ISSUED = "issued"


class Statement(Row, kw_only=True):
    """What one month did to all accounts of an organisation. Once issued it is never changed.

    `period` is yyyy-mm, from `start_ms` to just before `end_ms` in `timezone`. A month is a draft here only if it could
    not be issued: `problem` says why, and `number` is empty. `seller` and `buyer` are JSON: who issued it to whom, as it
    was then.
    """

    TABLE: ClassVar[str] = "statements"
    KEY: ClassVar[tuple[str, ...]] = ("id",)

    id: str
    organization: str
    period: str
    timezone: str
    start_ms: int
    end_ms: int
    status: str
    number: str
    problem: str
    opening_nano: int
    closing_nano: int
    seller: str
    buyer: str
    created_ms: int


class Line(Row, kw_only=True):
    """One line of a statement, in its `place` from 0. `amount_nano` is as the balance sees it: charges are below zero.

    `kind` is a transfer's. Of charges it has the key and model, with their calls and tokens, and what they are at list
    price; of what acts did, how often.
    """

    TABLE: ClassVar[str] = "statement_lines"
    KEY: ClassVar[tuple[str, ...]] = ("statement", "place")

    statement: str
    place: int
    kind: str
    key_id: str
    model: str
    calls: int
    tokens: int
    list_nano: int
    amount_nano: int
