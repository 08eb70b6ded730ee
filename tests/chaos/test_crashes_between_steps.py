"""A crash between any two neighbouring steps of a call: the caller sees an end, and the books come out as the rules say.

The steps are those of ARCHITECTURE.md, "The way a call takes"; `tests.fakes.crashing` has the exact places.
The cases take the dialects in turn: what happens does not depend on which it is.
"""

import asyncio
import itertools
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct

from tests.chaos.separate import Separate
from tests.fakes.caller import Seen, body, call, session
from tests.fakes.tokn import wait_for
from tests.fakes.upstream import Upstream
from tests.fakes.ways import POOLS, SPEAKING, WAYS, Way, ways_toml

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(600)]

PROMPT, WORDS = 9, 5
DOOMED = "doomed"
MODEL = f"""
[[models]]
id = "{DOOMED}"
pool = "openai"
input = 20.00
output = 90.00
context = 128000
max_output = 16384
"""
BACK_WITHIN_S = 60.0
CLOSED_WITHIN_S = 90.0

COMPLETE, ERROR, BROKEN = "complete", "error", "broken"  # what the caller sees
NO_HOLD = "no hold"
REPORTED, ESTIMATED, EXPIRED, FREE = "reported", "estimated", "expired", "free"  # what the books say
PAID = (REPORTED, ESTIMATED)  # by how far the worker got before it noticed


class Case(Struct, frozen=True):
    """Where it strikes, what is killed there, and what must come of the call: seen, in the books, and calls upstream."""

    point: str
    dies: str
    stream: bool
    seen: Sequence[str]
    books: Sequence[str]
    upstream: Sequence[int]
    first: str = ""  # a model that is asked before and cannot serve

    @property
    def name(self) -> str:
        """For messages, and the key's name."""
        way = "stream" if self.stream else "plain"
        return f"{self.point}: kill {self.dies}, {way}{' of several' if self.first else ''}"


def both(point: str, dies: str, seen: str, books: str, upstream: int) -> list[Case]:
    """The same for a stream and a plain answer."""
    return [Case(point, dies, stream, (seen,), (books,), (upstream,)) for stream in (True, False)]


def between(point: str, dies: str, seen: str, books: str, *, stream: bool) -> Case:
    """A call whose first model fails: it strikes before the second is asked."""
    return Case(point, dies, stream, (seen,), (books,), (1 if seen == COMPLETE else 0,), DOOMED)


CASES = [
    # 2: the hold is asked for, made, and answered. The edge asks again, and gets the same one.
    *both("ledger-authorises", "ledger0", COMPLETE, REPORTED, 1),
    *both("ledger-authorised", "ledger0", COMPLETE, REPORTED, 1),
    # 5 and 6: the event is in the stream, then in the books, then acknowledged.
    *both("ledger-gets-event", "ledger0", COMPLETE, REPORTED, 1),
    *both("ledger-saves", "ledger0", COMPLETE, REPORTED, 1),
    *both("ledger-acknowledges", "ledger0", COMPLETE, REPORTED, 1),
    *both("ledger-acknowledges", "nats", COMPLETE, REPORTED, 1),
    # 5: the event is published, acknowledged, and only then is the end sent; NATS may go at either moment.
    *both("worker-publishes", "nats", COMPLETE, REPORTED, 1),
    *both("worker-published", "nats", COMPLETE, REPORTED, 1),
    # 3 and 4: the worker has the job, has accepted it, has the answer, has its bill in the stream.
    *both("worker-gets-job", "worker", COMPLETE, REPORTED, 1),
    *both("worker-calls", "worker", COMPLETE, REPORTED, 1),
    Case("worker-bills", "worker", True, (ERROR,), (ESTIMATED,), (1,)),
    Case("worker-bills", "worker", False, (COMPLETE,), (REPORTED,), (2,)),
    Case("worker-publishes", "worker", True, (ERROR,), (ESTIMATED,), (1,)),
    Case("worker-publishes", "worker", False, (COMPLETE,), (REPORTED,), (2,)),
    Case("worker-published", "worker", True, (ERROR,), (REPORTED,), (1,)),
    Case(
        "worker-published", "worker", False, (ERROR,), (FREE,), (1,)
    ),  # it has seen a 502, so it is ours to pay
    # 1 and 2: the edge has the call, then its hold; 3 to 5: its offer, the accept, the answer, its end.
    *both("edge-asks", "edge", BROKEN, NO_HOLD, 0),
    *both("edge-offers", "edge", BROKEN, EXPIRED, 0),
    *(Case("edge-hears-accept", "edge", stream, (BROKEN,), PAID, (1,)) for stream in (True, False)),
    *(Case("edge-hears-data", "edge", stream, (BROKEN,), PAID, (1,)) for stream in (True, False)),
    *both("edge-completes", "edge", BROKEN, REPORTED, 1),
    # 6, between two models: the first one's worker says that it gives way, its event is in the stream; the edge asks for
    # the next, the ledger makes it the current one. A caller who is still there is served by the second.
    between("worker-passes", "worker", COMPLETE, REPORTED, stream=True),
    between("worker-bills", "worker", COMPLETE, REPORTED, stream=False),
    between("worker-published", "worker", COMPLETE, REPORTED, stream=True),
    between("edge-goes-on", "edge", BROKEN, EXPIRED, stream=False),
    between("edge-may-go-on", "edge", BROKEN, EXPIRED, stream=True),
    between("ledger-goes-on", "ledger0", COMPLETE, REPORTED, stream=True),
]
DIE = tuple(dict.fromkeys(case.dies for case in CASES))


def ways() -> dict[Case, Way]:
    """How each case calls."""
    streamed, plain = itertools.cycle(SPEAKING), itertools.cycle(WAYS)
    return {case: next(streamed if case.stream else plain) for case in CASES}


def outcome(seen: Seen) -> str:
    """What a caller saw, in one word."""
    if seen.complete:
        return COMPLETE
    return BROKEN if seen.broken else ERROR


class Crashes:
    """A deployment whose services can be struck, and a key for each case."""

    def __init__(self, deployment: Separate, points: Path) -> None:
        self.deployment = deployment
        self._points = points
        self._probe = deployment.key("10")["key"]

    def back(self, name: str) -> None:
        """Waits until it is dead, starts it again, and waits until calls are answered."""
        deployment = self.deployment
        server: Any = deployment.nats if name == "nats" else deployment.services[name]
        wait_for(lambda: not server.alive(), BACK_WITHIN_S, f"{name} is struck")
        (server.kill if name == "nats" else deployment.kill)(*(() if name == "nats" else (name,)))
        server.start()
        wait_for(deployment.ready, BACK_WITHIN_S, f"the edge is ready again after {name}")

    async def run(self, client: Any, case: Case, way: Way, key: str) -> Seen:
        """One call, in the middle of which something dies."""
        whom = str(self.deployment.nats.pid) if case.dies == "nats" else ""
        written = self._points / "written"
        written.write_text(whom)
        written.rename(
            self._points / case.point
        )  # whole, or not there: half of it would name the service itself
        # Slow enough that the caller has had something of a stream when its end is struck.
        said = {"prompt": PROMPT, "words": WORDS, "pace_s": 0.05}
        request = way.ask(case.name, stream=case.stream, limit=50, first=case.first, **said)
        calling = asyncio.create_task(call(client, self.deployment.url, key, request, path=way.path))
        try:
            await asyncio.to_thread(self.back, case.dies)
        except TimeoutError as problem:
            problem.add_note(
                f"{case.name}: the caller saw {calling.result() if calling.done() else 'no end'}"
            )
            raise
        seen = await calling
        await self.serves(client)
        return seen

    async def serves(self, client: Any) -> None:
        """Waits until a call succeeds: the beats of a worker that was killed count for a while yet."""
        async with asyncio.timeout(BACK_WITHIN_S):
            while not (await call(client, self.deployment.url, self._probe, body("probe", words=1))).complete:
                await asyncio.sleep(0.1)

    async def books(self, key_id: str) -> tuple[str, int, int]:
        """What the books say of a key's only call: in a word, what was billed, and what that may be at most."""
        rows = await self.deployment.query(
            "SELECT h.state, COALESCE(u.known, ''), COALESCE(u.outcome, ''), COALESCE(u.billed_nano, -1), h.amount_nano "
            "FROM holds h LEFT JOIN usage u ON u.request_id = h.request_id AND u.slot = 0 "
            f"WHERE h.key_id = '{key_id}'"
        )
        if not rows:
            return NO_HOLD, 0, 0
        ((state, known, result, billed, amount),) = rows
        if state == EXPIRED:
            return EXPIRED, billed, amount
        return (FREE if result == "failed" and billed == 0 else known), billed, amount

    async def close(self) -> None:
        """Waits until every hold has ended."""
        async with asyncio.timeout(CLOSED_WITHIN_S):
            while True:
                proof = await asyncio.to_thread(self.deployment.audit)
                held = await self.deployment.query("SELECT SUM(held_nano) FROM accounts")
                if proof.get("ok") and proof["open_holds"] == 0 and held[0][0] == 0:
                    return
                await asyncio.sleep(0.5)


@pytest.mark.parametrize(
    ("database", "dies"),
    [
        *(pytest.param("sqlite", dies, id=f"sqlite-{dies}") for dies in DIE),
        # What depends on the database; the rest is the same there, and takes three minutes.
        pytest.param("postgresql", "ledger0", id="postgresql-ledger0"),
        *(
            pytest.param("postgresql", dies, id=f"postgresql-{dies}", marks=pytest.mark.long)
            for dies in DIE
            if dies != "ledger0"
        ),
    ],
)
async def test_a_crash_between_two_steps(database: str, dies: str) -> None:
    """Each case by itself: one bill at most, exactly the upstream's figures where the caller saw an end, nothing held."""
    cases = [case for case in CASES if case.dies == dies]
    points = Path(tempfile.mkdtemp(prefix="tokn-crashes-"))
    with (
        Upstream() as upstream,
        Separate(
            database,
            f"[edge]\nfull_wait_s = {BACK_WITHIN_S}\n{ways_toml(upstream.base_url, more=MODEL)}",
            start=("tests.fakes.crashing", str(points)),
            served=POOLS,
        ) as deployment,
    ):
        crashes = Crashes(deployment, points)
        keys = {case: deployment.key("1") for case in cases}
        found: dict[Case, Seen] = {}
        called = ways()
        for case in cases:
            async with session() as client:
                found[case] = await crashes.run(client, case, called[case], keys[case]["key"])
        await crashes.close()
        for case, seen in found.items():
            assert outcome(seen) in case.seen, (case, seen)
            assert len(upstream.named(case.name)) in case.upstream, case
            said, billed, amount = await crashes.books(keys[case]["id"])
            assert said in case.books, (case, said, billed)
            if said == REPORTED:
                full_nano = called[case].cost_nano(prompt=PROMPT, cached=0, words=WORDS)
                assert billed == full_nano, (case, called[case], billed)
            elif said == ESTIMATED:
                assert 0 < billed <= amount, (case, billed)
            else:
                assert billed == 0, (case, billed)
            ((posted,),) = await deployment.query(
                f"SELECT posted_nano FROM accounts WHERE id = 'key:{keys[case]['id']}'"
            )
            assert posted == 1_000_000_000 - billed, case
    shutil.rmtree(points)
