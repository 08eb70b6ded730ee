"""Owns calls, workers' rooms and pools without a bus, for tests of who may be offered when."""

from edge.calls.lanes import Turn
from edge.calls.room import Room
from edge.calls.turns import Turns
from edge.limits import LIMITS
from runtime.settings.fairness import Fairness
from schemas.errors import WireError


class Roster:
    """Pools that have so many places, and models that no worker serves."""

    def __init__(self, places: int) -> None:
        self.there = places
        self.unserved: set[str] = set()
        self.quiet = False

    def places(self, pool: str) -> int:
        """Of every pool the same."""
        return self.there

    def silent(self, pool: str) -> bool:
        """Of every pool the same."""
        return self.quiet

    def serves(self, pool: str, model: str) -> bool:
        """All but those that are named."""
        return model not in self.unserved


class Call:
    """A call as turns see it: offered at once, or in its turn, unless `publishes` is taken from its pool."""

    made = 0

    def __init__(self, pool: "Pool", scope: str, model: str = "m", where: str = "p") -> None:
        Call.made += 1
        self.request_id = f"{scope}{Call.made}"
        self.scope = scope
        self.model = model
        self.pool = where
        self.turn: Turn | None = None
        self.of = pool
        self.error: WireError | None = None
        self.offered = 0

    @property
    def runs(self) -> bool:
        """Whether it has a place."""
        return self.turn is not None and self.turn.placed

    def begin(self) -> "Call":
        """As a call offers itself."""
        turns = self.of.turns
        if turns.enter(self) and self.of.publishes:
            self.offered += 1
            self.of.order.append(self.request_id)
        else:
            self.error = turns.wait(self, refused=False)
        return self

    def offer_again(self) -> None:
        """Its turn has come."""
        self.begin()

    def turned_away(self, error: WireError) -> None:
        """Another key needs the room in which it waited."""
        self.error = error
        self.end()

    def bounced(self) -> None:
        """A worker has no room for it."""
        self.error = self.of.turns.wait(self, refused=True)

    def end(self) -> None:
        """It is over, however."""
        self.of.turns.leave(self)


class Pool:
    """Turns over a pool of so many places."""

    def __init__(self, places: int, limits=LIMITS, rules: Fairness | None = None) -> None:
        self.roster = Roster(places)
        self.connected = True
        self.publishes = True
        self.asked = 0
        self.order: list[str] = []
        self.turns = Turns(
            self.roster,
            limits,
            {"p": rules} if rules else {},
            ask=self._ask,
            met=lambda _room: None,
            connected=lambda: self.connected,
        )

    def _ask(self) -> None:
        self.asked += 1

    def calls(self, scope: str, count: int) -> list[Call]:
        """So many calls of a key, one after another."""
        return [Call(self, scope).begin() for _ in range(count)]

    @property
    def room(self) -> Room:
        """The room of its calls."""
        return self.turns.rooms["p"]


def running(calls: list[Call]) -> int:
    """How many of them have a place."""
    return sum(call.runs for call in calls)
