"""Owns rate limits: calls a minute, tokens a minute, and calls in flight, of a key and of its organisation together."""

from typing import Any

from msgspec import Struct

from ledger.rules.book import Book
from ledger.rules.counted import counted
from ledger.rules.limits import minute
from ledger.rules.limits.base import count, key_scope, organization_scope
from ledger.rules.rows import Hold, Key, Profile, Rate
from schemas.money.pricing import TokenUsage
from schemas.verbs.calls import Authorise, Limited, Measure, Reason, Refusal, Room

# What a call reserves before it is known: a token has about so many bytes, which bound it; and a little more output
# than the calls before it had.
PROMPT_PARTS = 4
OUTPUT_PARTS = 11, 10
TYPICAL_START_MILLI = 256_000
TYPICAL_PARTS = 20  # a call moves the mean by one part in so many
IN_FLIGHT_RETRY_MS = 1_000  # nobody knows when a call ends


class Bounded(Struct, frozen=True):
    """One scope with its limits; 0 is for none."""

    scope: str
    rpm: int
    tpm: int
    in_flight: int

    def refused(self, measure: Measure, limit: int, used: int, asked: int, retry_ms: int) -> Limited:
        """Why it has no room."""
        return Limited(self.scope.partition(":")[0], measure, limit, used, asked, retry_ms)


def bounds_of(key: Key, profile: Profile | None) -> list[Bounded]:
    """The scopes of a key's calls that have a limit."""
    found = [Bounded(key_scope(key.id), key.rpm, key.tpm, key.in_flight)]
    if profile is not None:
        scope = organization_scope(profile.id)
        found.append(Bounded(scope, profile.rpm, profile.tpm, profile.in_flight))
    return [one for one in found if one.rpm or one.tpm or one.in_flight]


def new_rate(scope: str, in_flight: int) -> Rate:
    """The row of a scope that nobody has counted yet."""
    return Rate(
        scope=scope,
        in_flight=in_flight,
        typical_output_milli=TYPICAL_START_MILLI,
        base_s=0,
        requests=minute.EMPTY,
        tokens=minute.EMPTY,
    )


class Counts:
    """A scope's row in one batch, with its counts as they are now: taken apart once, and packed once at its end.

    `requests` and `tokens` are calls and tokens second by second, `asked` and `used` all of a minute together.
    """

    __slots__ = ("asked", "changed", "now_ms", "now_s", "requests", "row", "tokens", "used")

    def __init__(self, row: Rate, now_ms: int) -> None:
        self.row = row
        self.changed = False
        # A clock that was set back counts on in the second that it had reached.
        self.now_ms = max(now_ms, row.base_s * 1000)
        self.now_s = self.now_ms // 1000
        self.requests = minute.unpacked(row.requests, row.base_s, self.now_s)
        self.tokens = minute.unpacked(row.tokens, row.base_s, self.now_s)
        self.asked, self.used = sum(self.requests), sum(self.tokens)

    def at(self, now_ms: int) -> "Counts":
        """The same row's at another moment, once it has been kept."""
        passed_s = now_ms // 1000 - self.now_s
        if not 0 <= passed_s < minute.SECONDS:
            return Counts(self.row, now_ms)
        if passed_s:
            self.asked -= minute.pass_over(self.requests, self.now_s, self.now_s + passed_s)
            self.used -= minute.pass_over(self.tokens, self.now_s, self.now_s + passed_s)
        self.now_ms, self.now_s = now_ms, self.now_s + passed_s
        return self

    def ask(self, reserved: int) -> None:
        """Counts a call, with tokens, in the second of now."""
        self.asked += minute.add(self.requests, self.now_s, 1)
        self.used += minute.add(self.tokens, self.now_s, reserved)

    def correct(self, second: int, tokens: int) -> None:
        """Adds to the tokens of a second, or takes off, if it is not over for long."""
        if second > self.now_s - minute.SECONDS:
            self.used += minute.add(self.tokens, second, tokens)

    def change(self, book: Book) -> None:
        """Says that they are other than the row has them."""
        if not self.changed:
            self.changed = True
            book.rates.touch(self.row)

    def keep(self) -> None:
        """Writes them back into the row."""
        self.row.requests, self.row.tokens = minute.packed(self.requests), minute.packed(self.tokens)
        self.row.base_s = self.now_s
        self.changed = False


def used(row: Rate | None, now_ms: int) -> dict[str, int]:
    """What a scope has asked in the last minute, and what it has in flight."""
    if row is None:
        return {"requests_per_minute": 0, "tokens_per_minute": 0, "in_flight": 0}
    counts = Counts(row, now_ms)
    return {
        "requests_per_minute": counts.asked,
        "tokens_per_minute": counts.used,
        "in_flight": row.in_flight,
    }


class Minutes:
    """What the rates of one batch have come to: each scope's row is taken apart once, however many calls it has.

    `before` are those of earlier batches, where their rows are kept.
    """

    def __init__(self, before: dict[str, Any]) -> None:
        self._before = before
        self._counts: dict[str, Counts] = {}
        self._scopes: dict[str, list[tuple[Bounded, Counts]]] = {}

    def counts(self, book: Book, scope: str) -> Counts | None:
        """Those of a scope; None if it has no row."""
        found = self._counts.get(scope)
        if found is None and (row := book.rates.get(scope)) is not None:
            known: Counts | None = self._before.get(scope)
            same = known is not None and known.row is row
            found = known.at(book.now_ms) if known is not None and same else Counts(row, book.now_ms)
            self._counts[scope] = found
        return found

    def of_key(self, book: Book, key: Key) -> list[tuple[Bounded, Counts]]:
        """Those that bound a key's calls. Its limits do not change in a batch that has calls."""
        known = self._scopes.get(key.id)
        if known is None:
            bounds = bounds_of(key, book.profiles.get(key.profile))
            known = self._scopes[key.id] = [
                (one, counts) for one in bounds if (counts := self.counts(book, one.scope)) is not None
            ]
        return known

    def keep(self) -> None:
        """Writes what has changed back into the rows."""
        for one in self._counts.values():
            if one.changed:
                one.keep()
        self._before.update(self._counts)


def _minutes(book: Book) -> Minutes:
    if not isinstance(book.minutes, Minutes):
        book.minutes = Minutes(book.known_minutes)
    return book.minutes


def _scopes(book: Book, key: Key) -> list[tuple[Bounded, Counts]]:
    return _minutes(book).of_key(book, key)


def _reserve(row: Rate, hold: Hold) -> int:
    """Tokens that a call is expected to take, of those that it may."""
    more, parts = OUTPUT_PARTS
    typical = -(-row.typical_output_milli * more // (parts * 1000))
    return -(-hold.prompt_max // PROMPT_PARTS) + min(hold.token_limit * hold.choices, typical)


def _refusal(found: list[Limited], book: Book, key: Key) -> Refusal | None:
    """The refusal of the scope that is full for longest."""
    if not found:
        return None
    tightest = max(found, key=lambda one: (one.retry_ms < 0, one.retry_ms))
    return Refusal(Reason.LIMITED, key_id=key.id, limited=tightest, room=room(book, key))


def room(book: Book, key: Key) -> Room | None:
    """What is left to a key's calls now, of the tighter of its scopes; None for a key without such a limit."""
    if not book.accounts[key.account_id].limited:
        return None
    requests: tuple[int, int, Counts] | None = None
    tokens: tuple[int, int, Counts] | None = None
    for bounded, one in _scopes(book, key):
        if bounded.rpm:
            requests = _tighter(requests, bounded.rpm, one.asked, one)
        if bounded.tpm:
            tokens = _tighter(tokens, bounded.tpm, one.used, one)
    if requests is None and tokens is None:
        return None
    return Room(
        *((0, 0, 0) if requests is None else _told(requests, requests[2].requests)),
        *((0, 0, 0) if tokens is None else _told(tokens, tokens[2].tokens)),
    )


def _tighter(
    other: tuple[int, int, Counts] | None, limit: int, used: int, counts: Counts
) -> tuple[int, int, Counts]:
    left = max(limit - used, 0)
    return (limit, left, counts) if other is None or left < other[1] else other


def _told(tightest: tuple[int, int, Counts], counts: list[int]) -> tuple[int, int, int]:
    limit, left, one = tightest
    return limit, left, minute.empty_ms(counts, one.now_ms)


class Rates:
    """The limits of a key and its organisation: both count, and the tighter speaks."""

    name = "rates"

    def before(self, book: Book, key: Key) -> Refusal | None:
        """Refuses a call too many, before anything is priced."""
        found: list[Limited] = []
        for bounded, one in _scopes(book, key):
            if bounded.in_flight and one.row.in_flight >= bounded.in_flight:
                limit, used = bounded.in_flight, one.row.in_flight
                found.append(bounded.refused(Measure.IN_FLIGHT, limit, used, 1, IN_FLIGHT_RETRY_MS))
            used = one.asked
            if bounded.rpm and used + 1 > bounded.rpm:
                retry_ms = minute.wait_ms(one.requests, one.now_ms, used + 1 - bounded.rpm)
                found.append(bounded.refused(Measure.REQUESTS, bounded.rpm, used, 1, retry_ms))
        return _refusal(found, book, key)

    def check(self, book: Book, _request: Authorise, hold: Hold) -> Refusal | None:
        """Refuses what is expected to take too many tokens, now that it is known what would be granted."""
        key = book.keys[hold.key_id]
        if not book.accounts[key.account_id].limited:
            return None
        found: list[Limited] = []
        for bounded, one in _scopes(book, key):
            limit = bounded.tpm
            if not limit:
                continue
            asked, used = _reserve(one.row, hold), one.used
            if asked > limit:
                found.append(bounded.refused(Measure.TOKENS, limit, used, asked, -1))
            elif used + asked > limit:
                retry_ms = minute.wait_ms(one.tokens, one.now_ms, used + asked - limit)
                found.append(bounded.refused(Measure.TOKENS, limit, used, asked, retry_ms))
        return _refusal(found, book, key)

    def take(self, book: Book, hold: Hold) -> None:
        """Counts a call in the second of its hold."""
        key = book.keys[hold.key_id]
        if not book.accounts[key.account_id].limited:
            return
        scopes = [one for _, one in _scopes(book, key)]
        if not scopes:
            return
        reserved = max(_reserve(one.row, hold) for one in scopes)
        for one in scopes:
            one.row.in_flight += 1
            one.ask(reserved)
            one.change(book)
        second = max(one.now_s for one in scopes)
        count(book, hold, r=tuple([one.row.scope for one in scopes]), t=reserved, s=second)

    def give_back(self, book: Book, hold: Hold, _billed_nano: int, usage: TokenUsage) -> None:
        """Puts the tokens that a call took in place of those that it reserved, in the second of its hold."""
        where = counted(hold)
        for scope in where.r:
            one = _minutes(book).counts(book, scope)
            if one is None:
                continue
            row = one.row
            row.in_flight -= 1
            one.correct(where.s, usage.prompt + usage.completion - where.t)
            if usage.completion:
                row.typical_output_milli += (
                    usage.completion * 1000 - row.typical_output_milli
                ) // TYPICAL_PARTS
            one.change(book)


RATES = Rates()
