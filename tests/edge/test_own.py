"""What an edge keeps of keys that ask about themselves: a second's answers, few at a time, and so many questions a second."""

from typing import Any

import pytest

from edge.own import BURST, KEPT_MAX, KEPT_S, PER_S, OwnReads
from schemas.chat.priced import RequestError
from schemas.verbs.self import CallsAsk, CreditsAsk, SelfReply


class _Ledger:
    """Answers all that is asked, and counts it."""

    def __init__(self) -> None:
        self.asked = 0

    async def ask(self, verb: Any, request: Any) -> SelfReply:
        """One answer."""
        self.asked += 1
        return SelfReply(active=True, rows=({"asked": self.asked},))


async def test_an_answer_is_kept_for_a_second() -> None:
    """The same question within a second is answered from memory, and nothing older is kept, whatever is asked next."""
    now = 0.0
    ledger: Any = _Ledger()
    reads = OwnReads(ledger, lambda: now)
    first = await reads.ask(b"k", CreditsAsk())
    now = KEPT_S * 0.9
    assert await reads.ask(b"k", CreditsAsk()) is first
    now = KEPT_S
    assert await reads.ask(b"k", CallsAsk(1)) is not first
    assert ledger.asked == 2
    assert len(reads._kept) == 1


async def test_few_answers_are_kept() -> None:
    """Questions that all differ leave no more than the bound, even within one moment."""
    ledger: Any = _Ledger()
    reads = OwnReads(ledger, lambda: 0.0)
    for number in range(KEPT_MAX + 40):
        await reads.ask(b"%d" % (number // int(BURST)), CallsAsk(200, created_gte_s=number))
    assert len(reads._kept) == KEPT_MAX


async def test_a_key_asks_so_often() -> None:
    """Twenty at once, then five a second; another key is not held back."""
    now = 0.0
    ledger: Any = _Ledger()
    reads = OwnReads(ledger, lambda: now)
    for _ in range(int(BURST)):
        await reads.ask(b"k", CreditsAsk())
    with pytest.raises(RequestError) as refused:
        await reads.ask(b"k", CreditsAsk())
    assert refused.value.error.status == 429
    assert refused.value.error.retry_after_s == pytest.approx(1 / PER_S)
    await reads.ask(b"another", CreditsAsk())
    now = 1 / PER_S
    await reads.ask(b"k", CreditsAsk())
