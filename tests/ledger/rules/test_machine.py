"""The books as a state machine: any order of everything that can happen to them, all invariants after each step."""

import asyncio
import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule, run_state_machine_as_test

from ledger.commits.commit import Delivery
from ledger.commits.rolling import Rolling
from ledger.store.base import Store
from ledger.store.postgres import PostgresStore
from ledger.store.sqlite import SqliteStore
from ledger.verbs.audit import findings
from schemas.bus.usage import Known, Outcome, UsageEvent
from schemas.money.pricing import TokenUsage
from schemas.verbs.calls import Authorise, Estimate, Further, Hold, Reattempt, Release
from schemas.verbs.caps import CapCreate, CapEnd, CapUpdate, NewCap
from schemas.verbs.keys import Credit
from schemas.verbs.limits import LimitsSet
from schemas.verbs.money import Move, Post, Refund, UpstreamDeposit, WriteOff
from tests.fakes.postgres import PostgresServer
from tests.ledger import copies
from tests.ledger.harness import USD, Books, Clock, act, digest_of, event
from tests.ledger.proven import prove
from tests.ledger.rules.ledgers import LedgerRules
from tests.ledger.rules.lives import KEYS, LifeRules, Lives
from tests.ledger.rules.months import MonthRules

LISTS = (("gpt-4o",), ("gpt-4o", "gpt-4o-mini"), ("gpt-4o-mini", "gone", "gpt-4o"), ("gone", "gpt-4o"))
PERIODS = (("day", "Europe/Berlin"), ("week", "UTC"), ("month", "America/New_York"), ("total", "UTC"))
places = st.integers(0, 4)  # of candidates, those that no hold has included
MAD = pytest.mark.uncollected("reports are drawn at random, up to 160 tokens of a prompt that is held as 100")

usages = st.builds(
    TokenUsage,
    input=st.integers(0, 120),
    cached=st.integers(0, 40),
    output=st.integers(0, 150),
    reasoning=st.integers(0, 20),
)


class BooksMachine(LedgerRules, LifeRules, MonthRules):
    """Two ledgers in turn, on one database."""

    runner: ClassVar[asyncio.Runner]
    store: ClassVar[Store]
    clock: ClassVar[Clock]

    def __init__(self) -> None:
        super().__init__()
        self.holds: dict[str, Hold] = {}
        self.sent: list[UsageEvent] = []
        self.sequence = 0
        self.forgiven: set[str] = set()  # calls whose callers saw an error, and whose bills were taken back
        self.copy: tuple[dict[str, list[Any]], set[str], Lives] | None = None
        self.number = 0
        self.last: tuple[Any, Any] | None = None  # an act with its answer
        self.caps: list[str] = []

    def run(self, work: Any) -> Any:
        """Runs a coroutine in the machine's loop."""
        return self.runner.run(work)

    @initialize()
    def begin(self) -> None:
        """Empty books with five keys."""
        self.run(self._begin())

    async def _begin(self) -> None:
        await copies.empty(self.store)
        self.books = await Books.open(self.store, self.clock)
        self.other = Books(self.stores[1], self.clock)
        self.rolling = Rolling(self.books.writer)
        self.ids = {
            "rich": await self.books.key("rich", 50 * USD),
            "poor": await self.books.key("poor", 2_000_000),
            "play": await self.books.key("play", 3_000_000, profile="p", playground=True),
            "play2": await self.books.key("play2", 0, profile="p", playground=True),
            "wall": await self.books.key("wall", 0, profile="p", wallet=True),
        }
        await self.books.credit("wallet", 4_000_000, organization="p")
        self.lives = Lives()

    def _holds(self, pick: int) -> Hold | None:
        names = list(self.holds)
        return self.holds[names[pick % len(names)]] if names else None

    def commit(self, commands: list[Any], events: list[UsageEvent] | None = None) -> list[Any]:
        """One commit; events are kept for replays."""
        deliveries = []
        if events:
            self.sequence += 1
            self.sent += events
            deliveries = [Delivery("stream", self.sequence, tuple(events))]
        self.fail(commands, deliveries)
        answers: list[Any] = self.run(self.books.commit(commands, deliveries))
        return answers

    @rule(key=st.sampled_from(KEYS), amount=st.integers(1, 10**7), again=st.booleans())
    def credit(self, key: str, amount: int, again: bool) -> None:
        """Money comes in, sometimes twice by one request id."""
        if not again:
            self.number += 1
        profile = "p" if key.startswith("play") else ""
        self.commit([Credit(1, f"credit{self.number}", amount, "" if profile else self.ids[key], profile)])

    @rule(
        key=st.none() | st.sampled_from(KEYS),
        rpm=st.sampled_from((0, 3, 20)),
        tpm=st.sampled_from((0, 400)),
        in_flight=st.sampled_from((0, 1, 3)),
    )
    def limit(self, key: str | None, rpm: int, tpm: int, in_flight: int) -> None:
        """A key, or all of a profile together, may do less from now on, or more."""
        key_id, profile = ("", "p") if key is None else (self.ids[key], "")
        self.commit([LimitsSet(1, key_id, profile, rpm, tpm, in_flight)])

    @rule(
        keys=st.lists(st.sampled_from(KEYS), min_size=1, max_size=4),
        limit=st.none() | st.integers(0, 400),
        choices=st.integers(1, 2),
        models=st.sampled_from(LISTS),
        pick=st.integers(0, 7),
    )
    def authorise(
        self, keys: list[str], limit: int | None, choices: int, models: tuple[str, ...], pick: int
    ) -> None:
        """Calls that arrive together, of one model or of several, with any secret that their keys ever had."""
        requests = []
        secrets = [self.secret(key, pick) for key in keys]
        for secret in secrets:
            self.number += 1
            requests.append(
                Authorise(
                    v=1,
                    request_id=f"r{self.number:06d}",
                    digest=digest_of(secret),
                    model=models[0],
                    prompt_max=100,
                    choices=choices,
                    limit=limit,
                    others=tuple(Further(name, 100, limit) for name in models[1:]),
                    asked=models,
                )
            )
        for key, secret, reply in zip(keys, secrets, self.commit(requests), strict=True):
            self.judge(key, secret, reply)
            if isinstance(reply, Hold):
                self.holds[reply.request_id] = reply

    @rule(pick=st.integers(0, 1000))
    def ask_again(self, pick: int) -> None:
        """An answer was lost."""
        hold = self._holds(pick)
        if hold is not None:
            key = next(name for name, key_id in self.ids.items() if key_id == hold.key_id)
            self.commit(
                [
                    Authorise(
                        v=1,
                        request_id=hold.request_id,
                        digest=digest_of(key),
                        model="gpt-4o",
                        prompt_max=100,
                        choices=1,
                        limit=7,
                        others=(Further("gpt-4o-mini", 100, 7),) if hold.candidates else (),
                    )
                ]
            )

    @rule(pick=st.integers(0, 1000))
    def release(self, pick: int) -> None:
        """An edge gives a call up before an accept."""
        hold = self._holds(pick)
        if hold is not None:
            self.commit([Release(1, hold.request_id, hold.token)])

    @rule(pick=st.integers(0, 1000), attempt=st.integers(1, 4), usage=usages, place=places)
    def reattempt(self, pick: int, attempt: int, usage: TokenUsage, place: int) -> None:
        """An edge offers a call again, perhaps to its next candidate."""
        hold = self._holds(pick)
        if hold is not None:
            self.commit([Reattempt(1, hold.request_id, hold.token, attempt, usage, place)])

    @rule(
        pick=st.integers(0, 1000), attempt=st.integers(1, 4), usage=usages, failed=st.booleans(), place=places
    )
    def estimate(self, pick: int, attempt: int, usage: TokenUsage, failed: bool, place: int) -> None:
        """A worker is dead."""
        hold = self._holds(pick)
        if hold is not None:
            (done,) = self.commit(
                [
                    Estimate(
                        v=1,
                        request_id=hold.request_id,
                        token=hold.token,
                        attempt=attempt,
                        usage=usage,
                        failed=failed,
                        candidate=place,
                    )
                ]
            )
            if failed and done.ok:
                self.forgiven.add(hold.request_id)

    @rule(
        picks=st.lists(st.tuples(st.integers(0, 1000), st.integers(1, 4), usages), min_size=1, max_size=5),
        outcome=st.sampled_from(list(Outcome)[:3]),
        known=st.sampled_from(list(Known)),
        place=places,
        gives_way=st.booleans(),
    )
    def settle(
        self,
        picks: list[tuple[int, int, TokenUsage]],
        outcome: Outcome,
        known: Known,
        place: int,
        gives_way: bool,
    ) -> None:
        """Workers report, in any order, for any attempt and of any candidate; some give way."""
        events = []
        for pick, attempt, usage in picks:
            hold = self._holds(pick)
            if hold is not None:
                # A call that failed is billed too, where its stream had begun.
                events.append(
                    event(
                        hold.request_id,
                        usage,
                        attempt=attempt,
                        outcome=outcome,
                        known=known,
                        candidate=place,
                        gives_way=gives_way,
                    )
                )
        if events:
            self.commit([], events)

    @rule(picks=st.lists(st.integers(0, 1000), min_size=1, max_size=8))
    def replay(self, picks: list[int]) -> None:
        """What was applied before changes nothing when it comes again."""
        if not self.sent:
            return
        again = [self.sent[pick % len(self.sent)] for pick in picks]
        before = self.run(self.books.state())
        self.sequence += 1
        self.run(self.books.committer.commit([], [Delivery("stream", self.sequence, tuple(again))]))
        assert self.run(self.books.state()) == before

    @rule(
        whose=st.sampled_from((*KEYS, "default", "p")),
        period=st.sampled_from(PERIODS),
        nano=st.integers(0, 10**7),
    )
    def cap(self, whose: str, period: tuple[str, str], nano: int) -> None:
        """A key or an organisation is capped, in the middle of its calls; or it is already."""
        self.number += 1
        cap = NewCap(f"cap_{self.number}", period[0], nano, period[1])
        key_id = self.ids.get(whose, "")
        (reply,) = self.commit([CapCreate(1, cap, key_id, "" if key_id else whose)])
        if not reply.problem:
            self.caps.append(cap.cap_id)

    @rule(pick=st.integers(0, 1000), nano=st.none() | st.integers(0, 10**7))
    def change_cap(self, pick: int, nano: int | None) -> None:
        """A cap is raised, lowered, perhaps below what is spent, or ended."""
        if self.caps:
            cap = self.caps[pick % len(self.caps)]
            self.commit([CapEnd(1, cap) if nano is None else CapUpdate(1, cap, nano)])

    @rule(days=st.sampled_from((0, 1, 7, 30, 90)), hours=st.integers(-2, 25))
    def calendar(self, days: int, hours: int) -> None:
        """Midnights, months and changes of the clock go by, or the database's clock is set back by some hours."""
        self.clock.turn(days * 86_400 + hours * 3_600)
        self.clock.ms = max(self.clock.ms, self.issued_ms)

    @rule(picks=st.lists(st.integers(0, 1000), max_size=5), seconds=st.integers(1, 40))
    def time_passes(self, picks: list[int], seconds: int) -> None:
        """Some leases are renewed, others run out."""
        names = {hold.request_id for pick in picks if (hold := self._holds(pick)) is not None}
        self.run(self.books.committer.renew(names))
        self.clock.turn(seconds)
        self.run(self.books.expire())

    def act(self, name: str, form: Any, again: bool = False) -> Any:
        """An act, or the last one again with its idempotency key: then its answer is the same and nothing happens."""
        if again and self.last is not None:
            request, answer = self.last
            before = self.run(self.books.state())
            assert self.commit([request]) == [answer]
            assert self.run(self.books.state()) == before
            return answer
        self.number += 1
        request = act(name, form, key=f"act{self.number}")
        (answer,) = self.commit([request])
        self.last = None if answer.problem else (request, answer)
        return answer

    @rule(
        key=st.sampled_from(KEYS),
        kind=st.sampled_from(("deposit", "promotional", "goodwill", "adjustment", "deposit_return")),
        amount=st.integers(-(10**6), 10**7),
        expires=st.sampled_from((0, 5, 60)),
        again=st.booleans(),
    )
    def post(self, key: str, kind: str, amount: int, expires: int, again: bool) -> None:
        """Money is given and taken, some of it until a date; what cannot be is refused."""
        ends = expires if kind == "promotional" else 0
        self.act(kind, Post(1, f"key:{self.ids[key]}", amount, "why", "", 0, ends), again)

    @rule(pick=st.integers(0, 1000), amount=st.integers(0, 300_000), again=st.booleans())
    def refund(self, pick: int, amount: int, again: bool) -> None:
        """A call is refunded, in part or as far as is left, or refused."""
        hold = self._holds(pick)
        if hold is not None:
            self.act("refund", Refund(1, hold.request_id, amount), again)

    @rule(keys=st.permutations(("rich", "poor")), amount=st.integers(1, 10**7))
    def move(self, keys: list[str], amount: int) -> None:
        """Money goes from one key to another."""
        self.act("move", Move(1, f"key:{self.ids[keys[0]]}", f"key:{self.ids[keys[1]]}", amount))

    @rule(amount=st.integers(-(10**7), 10**7))
    def other_acts(self, amount: int) -> None:
        """What is uncollected is given up, and a pool's account topped up."""
        self.act("write_off", WriteOff(1, max(amount, 0) // 1000))
        self.act("upstream_deposit", UpstreamDeposit(1, "openai", "main", amount))

    @rule(seconds=st.integers(0, 30))
    def lots_end(self, seconds: int) -> None:
        """Credit comes to its date."""
        self.clock.turn(seconds)
        self.run(self.books.expire_lots())

    @rule()
    def roll_up(self) -> None:
        """Calls are summed, on PostgreSQL those of the round before."""
        while self.run(self.rolling._round()):
            pass

    @rule()
    def back_up(self) -> None:
        """A copy of the books."""
        self.copy = self.run(copies.copy(self.store)), set(self.forgiven), self.lives.copy()

    @rule()
    def restore(self) -> None:
        """The books go back; the stream still has all events, and is replayed."""
        if self.copy is None:
            return
        self.run(copies.restore(self.store, self.copy[0]))
        self.lives = self.copy[2].copy()
        self.rolling = Rolling(self.books.writer)
        self.last = None
        self.forgiven = set(self.copy[1])  # what edges have said since is in no stream
        events = tuple(self.sent)
        if events:
            self.run(self.books.committer.commit([], [Delivery("stream", 1, events)]))

    @invariant()
    def books_balance(self) -> None:
        """Every invariant that the audit knows, no call is ever billed twice, and none whose caller saw an error is billed at all.

        What the ledger keeps for its next commit is what the books have.
        """
        if not hasattr(self, "ids"):
            return
        self.run(prove(self.books.committer))
        assert not self.run(findings(self.store))  # nothing else writes meanwhile
        rows = self.run(
            self.store.fetch("SELECT request_id FROM usage WHERE slot = 0 AND billed_nano > refunded_nano")
        )
        assert not self.forgiven & {row[0] for row in rows}

    def teardown(self) -> None:
        """At rest nothing is held: every hold has ended."""
        if hasattr(self, "ids"):
            self.clock.turn(100)
            self.run(self.books.expire())
            self.run(self.books.expire())
            proof = self.run(self.books.check())
            assert proof["open_holds"] == 0
            held = self.run(self.store.fetch("SELECT SUM(held_nano) FROM accounts"))
            assert int(held[0][0]) == 0
            held = self.run(self.store.fetch("SELECT COALESCE(SUM(held_nano), 0) FROM cap_periods"))
            assert int(held[0][0]) == 0


@contextlib.contextmanager
def machine(dialect: str, made: Path | PostgresServer, folder: Path) -> Iterator[type[BooksMachine]]:
    """The machine's class with a store of its own, in an event loop of its own."""
    with asyncio.Runner() as runner:
        clock = Clock()

        async def open_stores() -> tuple[Store, ...]:
            if isinstance(made, PostgresServer):
                url = made.url(await made.database("books_template"))
                return tuple([await PostgresStore.open(url, clock, timeout_s=10) for _ in range(2)])
            shutil.copy(made, folder / "machine.db")
            opened = [SqliteStore(folder / "machine.db", clock) for _ in range(2)]
            for store in opened:
                store._writer.execute("PRAGMA synchronous = OFF")  # the machine does not pull the plug
            return tuple(opened)

        stores = runner.run(open_stores())
        fields = {"runner": runner, "stores": stores, "store": stores[0], "clock": clock}
        yield type("Machine", (BooksMachine,), fields)
        for store in stores:
            runner.run(store.close())


def _run(dialect: str, request: pytest.FixtureRequest, folder: Path, examples: int, steps: int) -> None:
    made = request.getfixturevalue("sqlite_template" if dialect == "sqlite" else "postgres")
    with machine(dialect, made, folder) as made_class:
        run_state_machine_as_test(
            made_class,
            settings=settings(
                max_examples=examples,
                stateful_step_count=steps,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )


@MAD
def test_any_order_of_everything(dialect: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """Runs of 50 steps: every invariant holds after each. A run on PostgreSQL takes five times as long."""
    _run(dialect, request, tmp_path, {"sqlite": 30, "postgresql": 6}[dialect], 50)


@MAD
@pytest.mark.long
@pytest.mark.timeout(7200)
def test_any_order_of_everything_at_length(
    dialect: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """5,000 runs of 100 steps."""
    _run(dialect, request, tmp_path, 5_000, 100)
