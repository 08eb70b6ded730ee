"""Owns what tests of spend caps share: a small call and what it holds and costs, instants, and a refusal by a cap."""

from datetime import UTC, datetime
from typing import Any

from schemas.money.pricing import TokenUsage
from schemas.verbs.calls import Reason, Refusal
from tests.ledger.harness import Books, billed

SMALL = TokenUsage(input=80, output=40)
HELD = 750_000  # of a call with 100 tokens of prompt and a limit of 100
SPENT = billed(SMALL)


def ms(text: str) -> int:
    """An instant of UTC."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


async def refused(books: Books, request_id: str, key: str = "key", **fields: Any) -> Refusal:
    """A refusal by a cap."""
    reply = await books.authorise(request_id, key, **fields)
    assert isinstance(reply, Refusal), reply
    assert reply.reason is Reason.CAPPED
    return reply
