"""Promotional credit against a model that knows every lot by itself: grants, charges, refunds, moves, returns, expiry."""

import random
from typing import Any

import pytest
from msgspec import Struct

from ledger.acts import ACTS
from ledger.acts.expiry import end_due
from ledger.rules import holds
from ledger.rules.act_rows import Head
from ledger.rules.authorise import authorise
from ledger.rules.book import Book
from ledger.rules.rows import Account, AccountKind, Key, Status
from ledger.rules.settlement import settle
from schemas.catalogue.builtin import BUILTIN
from schemas.money.pricing import TokenUsage
from schemas.verbs.calls import Authorise, Estimate, Hold
from schemas.verbs.money import Move, Post, Refund
from tests.ledger.harness import MODEL, event, lone_book

DO = {one.name: one.do for one in ACTS}
FAR = 2**62


class _Lot(Struct):
    """Of the model: when it ends (FAR for never), its place among those granted, what is left of it, what was spent."""

    ends: int
    place: int
    left: int
    spent: int = 0


class _Balance:
    """The model. Charges take lots by their end, then cash; taken back, they fill cash, then lots from the last one.

    Between two acts only what was charged on the whole counts, as nobody can look in between.
    """

    def __init__(self) -> None:
        self.cash, self.net, self.lots = 0, 0, list[_Lot]()

    @property
    def promo(self) -> int:
        return sum(lot.left for lot in self.lots) - self.net

    def charge(self, nano: int, cash_paid: int = 0) -> int:
        share = min(nano, self.promo) if nano > 0 else min(nano + cash_paid, 0)
        self.net += share
        self.cash -= nano - share
        return share

    def act(self) -> list[_Lot]:
        order = sorted(self.lots, key=lambda lot: (lot.ends, lot.place))
        for lots, most in (
            (order, lambda lot: min(lot.left, self.net)),
            (order[::-1], lambda lot: -min(lot.spent, -self.net)),
        ):
            for lot in lots:
                part = most(lot) if (self.net > 0) == (lots is order) else 0
                lot.left, lot.spent, self.net = lot.left - part, lot.spent + part, self.net - part
        return order

    def grant(self, nano: int, ends: int, place: int) -> None:
        self.act()
        self.lots.append(_Lot(ends, place, nano))

    def leave(self, nano: int) -> list[tuple[int, int]]:
        cash, parts = min(nano, self.cash), []
        self.cash, nano = self.cash - cash, nano - cash
        for lot in self.act():
            part = min(lot.left, nano)
            lot.left, nano = lot.left - part, nano - part
            parts += [(part, lot.ends)] if part else []
        return parts

    def expire(self, now: int, available: int) -> None:
        for lot in self.act():
            part = min(lot.left, available) if lot.ends <= now else 0
            lot.left, available = lot.left - part, available - part


class _Run:
    """One run of random steps on two keys, on the rules and on the model."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.book: Book = lone_book(BUILTIN, 0)
        self.book.log.load([Head(id=1, number=0, hash="")])
        self.book.accounts.load([Account(id="key:k2", kind=AccountKind.METERED, posted_nano=0, held_nano=0)])
        second = {"id": "k2", "digest": "d2", "account_id": "key:k2"}
        first = self.book.keys["k"]
        self.book.keys.load([Key(**{name: getattr(first, name) for name in Key.__struct_fields__} | second)])
        assert first.status == Status.ACTIVE
        self.models = {"k": _Balance(), "k2": _Balance()}
        self.shares: dict[str, int] = {}  # of calls, what lots paid
        self.open: list[tuple[str, Hold]] = []
        self.billed: list[tuple[str, Hold]] = []
        self.number = 0

    def do(self, name: str, form: Any) -> bool:
        return not DO[name](self.book, form, "").problem

    def step(self) -> None:
        kinds = ("grant", "deposit", "call", "call", "settle", "settle", "estimate", "forgive", "refund")
        kinds += ("move", "give_back", "debit", "expire")
        self.number += 1
        self.book.now_ms += 1
        key = self.random.choice(("k", "k2"))
        getattr(self, self.random.choice(kinds))(key, self.models[key])
        for name, model in self.models.items():
            account = self.book.accounts[f"key:{name}"]
            assert (account.posted_nano, account.lots_nano) == (model.cash + model.promo, model.promo)
            assert model.cash >= 0

    def grant(self, key: str, model: _Balance) -> None:
        nano, ends = self.random.randint(1, 900_000), self.random.choice((0, self.random.randint(1, 60)))
        kind = "promotional" if ends or self.random.random() < 0.5 else "goodwill"
        ms = ends and self.book.now_ms + ends * 1000
        assert self.do(kind, Post(1, f"key:{key}", nano, "why", expires_ms=ms))
        model.grant(nano, ms or FAR, self.number)

    def deposit(self, key: str, model: _Balance) -> None:
        nano = self.random.randint(1, 900_000)
        assert self.do("deposit", Post(1, f"key:{key}", nano))
        model.cash += nano

    def call(self, key: str, _model: _Balance) -> None:
        request = Authorise(1, f"r{self.number}", b"", MODEL, 100, 1, self.random.randint(1, 90))
        reply = authorise(self.book, request, {"k": "d", "k2": "d2"}[key])
        if isinstance(reply, Hold):
            self.open.append((key, reply))

    def _charge(self, key: str, hold: Hold, before: int) -> None:
        bill = self.book.usage[hold.request_id, 0]
        share = self.shares.get(hold.request_id, 0)
        cash_paid = before - bill.refunded_nano - share
        taken = (
            self.models[key].charge(bill.billed_nano - before, cash_paid) if bill.billed_nano != before else 0
        )
        self.shares[hold.request_id] = share + taken
        assert bill.lots_nano == share + taken

    def _usage(self) -> TokenUsage:
        return TokenUsage(input=self.random.randint(0, 100), output=self.random.randint(0, 90))

    def settle(self, _key: str, _model: _Balance) -> None:
        pick = self.random.choice((self.open, self.billed))  # one that was billed may have been estimated
        if pick:
            key, hold = self.random.choice(pick)
            before = self._billed(hold)
            settle(self.book, event(hold.request_id, self._usage()))
            self._ended(key, hold, before)

    def estimate(self, _key: str, _model: _Balance, *, failed: bool = False) -> None:
        pick = self.billed if failed else self.open
        if pick:
            key, hold = self.random.choice(pick)
            before = self._billed(hold)
            request = Estimate(1, hold.request_id, hold.token, 1, self._usage(), failed)
            holds.estimate(self.book, request)
            self._ended(key, hold, before)

    def forgive(self, key: str, model: _Balance) -> None:
        self.estimate(key, model, failed=True)

    def _billed(self, hold: Hold) -> int:
        bill = self.book.usage.get((hold.request_id, 0))
        return bill.billed_nano if bill is not None else 0

    def _ended(self, key: str, hold: Hold, before: int) -> None:
        self._charge(key, hold, before)
        if (key, hold) in self.open:
            self.open.remove((key, hold))
            self.billed.append((key, hold))

    def refund(self, _key: str, _model: _Balance) -> None:
        if not self.billed:
            return
        key, hold = self.random.choice(self.billed)
        bill = self.book.usage[hold.request_id, 0]
        left, share = bill.billed_nano - bill.refunded_nano, self.shares[hold.request_id]
        nano = self.random.randint(1, left) if left else 1
        assert self.do("refund", Refund(1, hold.request_id, nano)) == bool(left)
        if left:
            self.shares[hold.request_id] += self.models[key].charge(-nano, left - share)
            self.models[key].act()
            self.compare()

    def _available(self, key: str) -> int:
        return self.book.accounts[f"key:{key}"].available_nano

    def move(self, key: str, model: _Balance) -> None:
        nano, other = self.random.randint(1, 900_000), {"k": "k2", "k2": "k"}[key]
        can = nano <= self._available(key)
        assert self.do("move", Move(1, f"key:{key}", f"key:{other}", nano)) == can
        if can:
            parts = model.leave(nano)
            for ends in sorted({ends for _, ends in parts}):
                together = sum(part for part, end in parts if end == ends)
                self.models[other].grant(together, ends, self.number)
            self.models[other].cash += nano - sum(part for part, _ in parts)
            self.compare()

    def give_back(self, key: str, model: _Balance) -> None:
        nano = self.random.randint(1, 900_000)
        can = nano <= self._available(key) - model.promo
        assert self.do("deposit_return", Post(1, f"key:{key}", nano, "why")) == can
        if can:
            model.cash -= nano

    def debit(self, key: str, model: _Balance) -> None:
        nano = self.random.randint(1, 900_000)
        can = nano <= self._available(key)
        assert self.do("adjustment", Post(1, f"key:{key}", -nano, "why")) == can
        if can:
            model.leave(nano)
            self.compare()

    def expire(self, _key: str, _model: _Balance) -> None:
        self.book.now_ms += 1000 * self.random.randint(1, 30)
        for key, model in self.models.items():
            model.expire(self.book.now_ms, self._available(key))
            end_due(self.book, self.book.accounts[f"key:{key}"])
        self.compare()

    def compare(self) -> None:
        """_Lot by lot, as far as both have looked: those that an act has not touched since its last charge say less."""
        for key, model in self.models.items():
            account = self.book.accounts[f"key:{key}"]
            rows = [
                one for one in self.book.credits.values() if one.account_id == account.id and one.lot_nano
            ]
            stale = sum(one.remaining_nano for one in rows) != account.lots_nano
            if not stale and not model.net:
                told = sorted((one.expires_ms or FAR, one.remaining_nano, one.spent_nano) for one in rows)
                assert told == sorted((lot.ends, lot.left, lot.spent) for lot in model.lots)


def _many(seeds: range) -> None:
    for seed in seeds:
        run = _Run(seed)
        for _ in range(40):
            run.step()


def test_lots_are_what_the_model_says() -> None:
    """300 runs of 40 steps: balance, lots in sum and each by itself, and what lots paid of each call, to the nano-dollar."""
    _many(range(300))


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_lots_are_what_the_model_says_at_length() -> None:
    """10,000 runs."""
    _many(range(1_000, 11_000))
