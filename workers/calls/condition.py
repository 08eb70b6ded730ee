"""Owns the condition of an account, or of one model at it: which calls may go there, and what evidence closes it."""

from msgspec import Struct

from schemas.bus.frames import AccountState
from workers.providers.base import Action, Fault

COOL_S = 1.0
REFUSED_RETRY_S = 60.0  # somebody may have put the credentials right
DENIED_RETRY_S = 300.0
SPENT_RETRY_S = 60.0
GONE_RETRY_S = 600.0
FAILURES_BEFORE_COOLING = 5  # in a row, when the provider names no time
KEYS_NEEDED = 2  # whose calls must meet a fault before it counts against what others ask for
EVIDENCE_S = 300.0  # how long what one key met waits for another key

_CONSEQUENCES = {
    Action.NEXT: (AccountState.COOLING, COOL_S),
    Action.COOL: (AccountState.COOLING, COOL_S),
    Action.DENIED: (AccountState.REFUSED, DENIED_RETRY_S),
    Action.REFUSED: (AccountState.REFUSED, REFUSED_RETRY_S),
    Action.SPENT: (AccountState.SPENT, SPENT_RETRY_S),
    Action.GONE: (AccountState.GONE, GONE_RETRY_S),
}
# A limit and a lack of credit are there for a time that the provider knows: who met them does not ask again until then.
_OF_A_TIME = frozenset((Action.COOL, Action.SPENT))


class _Met(Struct, frozen=True):
    """What the calls of one key have met. Times are time.monotonic()."""

    key: str
    fault: Fault
    counts_until: float
    away_until: float  # until when this key's own calls stay away


class Seen(Struct, frozen=True):
    """How a condition looks: its state, until when, and why."""

    state: AccountState
    until: float = 0.0
    reason: str = ""
    for_all: bool = True  # not only for the calls of one key


_OPEN = Seen(AccountState.OK)


class Condition:
    """Open to all, or closed until a time; and what only one key has met so far. Times are time.monotonic().

    One key's requests can bring about nearly every fault. So what the calls of one key meet closes nothing for another
    key: that takes a second key's call that meets the same, or a fault that is `sure`. A job without a key's name comes
    from an edge of a version that named none; what it meets counts at once, as it did for that version.
    """

    __slots__ = ("_failing", "_failures", "_met", "reason", "state", "until")

    def __init__(self) -> None:
        self.state = AccountState.OK
        self.until = 0.0  # when another state than OK ends
        self.reason = ""
        self._met: dict[Action, _Met] = {}  # at most one for each action
        self._failures = 0  # in a row
        self._failing: set[str] = set()  # whose calls they were, at most KEYS_NEEDED

    @property
    def untouched(self) -> bool:
        """Whether it is open to all and nobody has met anything: the usual case, and cheap to ask."""
        return self.state is AccountState.OK and not self._met

    def open(self, now: float) -> bool:
        """Whether calls may go there, if not those of every key."""
        if self.state is not AccountState.OK and now >= self.until:
            self.state, self.until, self.reason = AccountState.OK, 0.0, ""
        return self.state is AccountState.OK

    def open_to(self, key: str, now: float) -> bool:
        """Whether a call of this key may go there."""
        return self.open(now) and not (self._met and self._keeps_away(key, now))

    def _keeps_away(self, key: str, now: float) -> _Met | None:
        for met in self._met.values():
            if met.key == key and now < met.away_until:
                return met
        return None

    def doubted(self, now: float) -> bool:
        """Whether a key has met something there that is not proven: better go elsewhere, if that is as good."""
        return bool(self._met) and any(now < met.counts_until for met in self._met.values())

    def seen_by(self, key: str, now: float) -> Seen:
        """What this key's calls find there; those of no key find what all do."""
        if not self.open(now):
            return Seen(self.state, self.until, self.reason)
        met = self._keeps_away(key, now)
        return _OPEN if met is None else _seen(met)

    def told(self, now: float) -> Seen:
        """What an operator wants to know: what all find, or if that is nothing, what some key has met."""
        if self.open(now):
            met = next((met for met in self._met.values() if now < met.counts_until), None)
            return _OPEN if met is None else _seen(met)
        return Seen(self.state, self.until, self.reason)

    def succeeded(self) -> None:
        """A call was answered: what was suspected is not so, but for limits, which a smaller call may pass under."""
        if self._met:
            self._met = {action: met for action, met in self._met.items() if action in _OF_A_TIME}
        if self._failures:
            self._failures = 0
            self._failing.clear()

    def proves(self, fault: Fault, key: str, now: float) -> bool:
        """Takes in a fault that a call of this key met. Whether that is enough to close it for all."""
        if fault.action is Action.NEXT:
            return self._failed_often(fault, key)
        met = self._met.get(fault.action)
        if fault.sure or not key:
            return True
        if met is not None and met.key != key and _same(met.fault, fault) and now < met.counts_until:
            return True
        if fault.action in _OF_A_TIME:
            over = now + wait_s(fault)
            self._met[fault.action] = _Met(key, fault, counts_until=over, away_until=over)
        else:
            self._met[fault.action] = _Met(key, fault, counts_until=now + EVIDENCE_S, away_until=now)
        return False

    def _failed_often(self, fault: Fault, key: str) -> bool:
        self._failures += 1
        if len(self._failing) < KEYS_NEEDED:
            self._failing.add(key)
        known = fault.sure or not key or len(self._failing) >= KEYS_NEEDED
        if not known or self._failures < FAILURES_BEFORE_COOLING:
            return False
        self._failures = 0
        self._failing.clear()
        return True

    def forget(self, now: float) -> None:
        """Drops what only one key has met, once it counts no longer."""
        if self._met:
            self._met = {action: met for action, met in self._met.items() if now < met.counts_until}

    def idle(self, now: float) -> bool:
        """Whether there is nothing to remember of it."""
        return self.open(now) and not self._failures and not self.doubted(now)

    def close(self, state: AccountState, until: float, reason: str) -> None:
        """Closes it for all; a time that ends sooner than the present one changes nothing."""
        if until > self.until:
            self.state, self.until, self.reason = state, until, reason


def state_of(fault: Fault) -> AccountState:
    """What becomes of what a fault is about, once it is proven."""
    return _CONSEQUENCES[fault.action][0]


def wait_s(fault: Fault) -> float:
    """How long it lasts."""
    return _CONSEQUENCES[fault.action][1] if fault.cool_s is None else fault.cool_s


def _seen(met: _Met) -> Seen:
    return Seen(
        state_of(met.fault), met.counts_until, met.fault.reason or met.fault.error.message, for_all=False
    )


def _same(one: Fault, other: Fault) -> bool:
    # Their words are the gateway's own, and alike wherever the meaning is. A limit is the same whenever it ends.
    return one.error.message == other.error.message
