"""Limits: whatever sibling there is may refuse a hold, takes of it what it needs, and gets it back once at its end."""

import pytest

from ledger.rules import limits
from ledger.rules.book import Book
from ledger.rules.limits.base import Limit
from ledger.rules.rows import Hold, Key
from schemas.money.pricing import TokenUsage
from schemas.verbs.calls import Authorise, Reason, Refusal
from tests.ledger.harness import USD, Books, billed, event

SMALL = TokenUsage(input=80, output=40)


class AtMost:
    """So many calls in flight, all keys together, kept in memory; and what was taken and given back, in order."""

    name = "at most"

    def __init__(self, calls: int) -> None:
        self.left = calls
        self.seen: list[tuple[str, str, int]] = []

    def before(self, book: Book, key: Key) -> Refusal | None:
        """Refuses nothing yet."""
        return None

    def check(self, book: Book, request: Authorise, hold: Hold) -> Refusal | None:
        """Refuses when none is left."""
        return None if self.left else Refusal(Reason.BACKLOG)

    def take(self, book: Book, hold: Hold) -> None:
        """One less."""
        self.left -= 1
        self.seen.append(("take", hold.request_id, hold.amount_nano))

    def give_back(self, book: Book, hold: Hold, billed_nano: int, usage: TokenUsage) -> None:
        """One more."""
        self.left += 1
        self.seen.append(("give back", hold.request_id, billed_nano))


SIBLINGS: list[Limit] = [*limits.LIMITS, AtMost(2)]


@pytest.mark.parametrize("limit", SIBLINGS, ids=lambda one: str(one.name))
async def test_every_limit(limit: Limit, books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever ends a call, the books stay sound and the next call is granted as the first was."""
    monkeypatch.setattr(limits, "LIMITS", (limit,))
    key_id = await books.key()
    first = await books.hold("r1")
    await books.settle(event("r1", SMALL))
    assert await books.release(await books.hold("r2"))
    assert await books.estimate(await books.hold("r3"), SMALL)
    await books.hold("r4")
    books.clock.turn(60)
    assert await books.expire() == 2  # the expired call, and the grace of the estimated one
    last = await books.hold("r5")
    assert (last.amount_nano, last.limit) == (first.amount_nano, first.limit)
    assert await books.release(last)
    assert await books.balance(key_id) == (5 * USD - 2 * billed(SMALL), 0)
    await books.check()


def test_limits_have_names_of_their_own() -> None:
    """No two siblings have one name."""
    names = [one.name for one in SIBLINGS]
    assert len(set(names)) == len(names)


async def test_a_limit_refuses_takes_and_gives_back(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    """A refused hold takes nothing of anyone; each hold is taken once and given back once, with its bill."""
    limit, other = AtMost(1), AtMost(100)
    monkeypatch.setattr(limits, "LIMITS", (limit, other))
    key_id = await books.key()
    first = await books.hold("r1")
    assert await books.hold("r1") == first
    assert await books.authorise("r2") == Refusal(Reason.BACKLOG, key_id=key_id)
    assert await books.balance(key_id) == (5 * USD, first.amount_nano)
    await books.settle(event("r1", SMALL))
    await books.settle(event("r1", SMALL))
    second = await books.hold("r2")
    assert await books.release(second)
    assert await books.release(second)
    third = await books.hold("r3")
    assert await books.estimate(third, SMALL)
    await books.settle(event("r3", SMALL))
    await books.hold("r4")
    books.clock.turn(60)
    assert await books.expire() == 1
    amount = first.amount_nano
    assert limit.seen == [
        ("take", "r1", amount),
        ("give back", "r1", billed(SMALL)),
        ("take", "r2", amount),
        ("give back", "r2", 0),
        ("take", "r3", amount),
        ("give back", "r3", billed(SMALL)),
        ("take", "r4", amount),
        ("give back", "r4", 0),
    ]
    assert (other.seen, limit.left) == (limit.seen, 1)
    await books.check()
