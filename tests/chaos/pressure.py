"""Owns steady load by a seed in every dialect, and what must be true of the books once it has ended, whatever broke meanwhile."""

import asyncio
import json
import random
import time
from collections import Counter, defaultdict
from typing import Any

from tests.chaos.separate import Separate
from tests.fakes.caller import Seen, call
from tests.fakes.upstream import Upstream
from tests.fakes.ways import in_turn

CALLS_PER_S = 25
HOLDS_CLOSED_WITHIN_S = 60.0


class Pressure:
    """Streams and plain calls, some of whose callers leave. Each request's figures come from the seed."""

    def __init__(self, deployment: Separate, upstream: Upstream, key: str, seed: int) -> None:
        self.deployment = deployment
        self.upstream = upstream
        self.seed = seed
        self.dice = random.Random(seed)
        self.seen: list[Seen] = []
        self.expected: dict[str, int] = {}
        self.faults: Counter[str] = Counter()
        self._key = key
        self._ways = in_turn()
        self._tasks: list[asyncio.Task[Seen]] = []

    async def run(self, client: Any, load_s: float) -> None:
        """Starts CALLS_PER_S calls a second for so long, then waits for the last one's end."""
        end = time.monotonic() + load_s
        number = 0
        while time.monotonic() < end:
            self._start(client, number)
            number += 1
            await asyncio.sleep(1 / CALLS_PER_S)
        await asyncio.gather(*self._tasks)

    def _start(self, client: Any, number: int) -> None:
        tag = f"s{self.seed}-{self.deployment.port}-{number}"
        dice = self.dice
        prompt = dice.randint(1, 40)
        cached = dice.randint(0, prompt)
        words = dice.randint(1, 20)
        way = next(self._ways)
        stream = dice.random() < 0.7 and way.streams
        pace_s = dice.choice([0.0, 0.02, 0.1])
        leave_after = dice.randint(1, words) if stream and dice.random() < 0.1 else 0
        said = {"prompt": prompt, "cached": cached, "words": words}
        request = way.ask(tag, stream=stream, limit=500, pace_s=pace_s, **said)
        self.expected[tag] = way.cost_nano(**said)
        seen = Seen(tag)
        self.seen.append(seen)
        leave = (lambda one: one.words >= leave_after) if leave_after else None
        calling = call(client, self.deployment.url, self._key, request, path=way.path, seen=seen, leave=leave)
        self._tasks.append(asyncio.create_task(calling))

    def outcomes(self) -> dict[str, int]:
        """Calls by what their callers saw."""
        counts: Counter[str] = Counter()
        for seen in self.seen:
            if seen.complete:
                counts["complete"] += 1
            elif seen.status not in {0, 200}:
                counts[f"http_{seen.status}"] += 1
            elif seen.error is not None:
                counts["error_event"] += 1
            else:
                counts["broken" if seen.broken else "left"] += 1
        return dict(counts)

    async def books_close(self) -> dict[str, Any]:
        """Waits until no hold is open and the audit passes, and checks every call against the books."""
        began = time.monotonic()
        while True:
            proof = await asyncio.to_thread(self.deployment.audit)
            if proof.get("ok") and proof["open_holds"] == 0:
                break
            assert time.monotonic() - began < HOLDS_CLOSED_WITHIN_S, proof
            await asyncio.sleep(0.5)
        closed_s = time.monotonic() - began
        await self._estimates_end()
        bills = await self._bills()
        self._check(bills)
        # Once more: by now corrections have come in too.
        proof = await asyncio.to_thread(self.deployment.audit)
        assert proof["ok"], proof
        known = Counter(rows[0]["known"] for rows in bills.values() if 0 in rows)
        return {
            "seed": self.seed,
            "faults": dict(self.faults),
            "calls": len(self.seen),
            "outcomes": self.outcomes(),
            "upstream_calls": len([one for one in self.upstream.calls if one.script.tag in self.expected]),
            "billed": sum(1 for rows in bills.values() if rows.get(0, {}).get("billed_nano")),
            "known": dict(known),
            "expired": proof["expired"],
            "uncollected_nano": proof["uncollected_nano"],
            "parked": proof["parked"],
            "holds_closed_s": round(closed_s, 1),
        }

    async def _estimates_end(self) -> None:
        """Nothing is held any more, estimates' rest included."""
        began = time.monotonic()
        while any(row[0] for row in await self.deployment.query("SELECT held_nano FROM accounts")):
            assert time.monotonic() - began < HOLDS_CLOSED_WITHIN_S
            await asyncio.sleep(0.5)

    async def _bills(self) -> dict[str, dict[int, dict[str, Any]]]:
        columns = ("request_id", "slot", "attempt", "known", "outcome", "billed_nano", "tries")
        found: dict[str, dict[int, dict[str, Any]]] = defaultdict(dict)
        for row in await self.deployment.query(f"SELECT {', '.join(columns)} FROM usage"):
            named = dict(zip(columns, row, strict=True))
            assert named["slot"] not in found[named["request_id"]], f"billed twice: {named}"
            found[named["request_id"]][named["slot"]] = named
        return found

    def _check(self, bills: dict[str, dict[int, dict[str, Any]]]) -> None:
        calls = Counter(one.script.tag for one in self.upstream.calls)
        for seen in self.seen:
            rows = bills.get(seen.request_id, {})
            bill = rows.get(0)
            if seen.complete:
                assert bill is not None, seen
                assert (bill["known"], bill["billed_nano"]) == ("reported", self.expected[seen.tag]), (
                    seen,
                    bill,
                )
            elif seen.status not in {0, 200} and bill is not None:
                assert bill["billed_nano"] == 0, (seen, bill)
            if seen.request_id:
                explained = sum(max(1, len(json.loads(row["tries"] or "[]"))) for row in rows.values())
                expired = bill is not None and bill["outcome"] == "expired"
                assert explained >= calls[seen.tag] or expired, (seen, rows, calls[seen.tag])
            else:
                assert seen.broken, seen
