"""Owns one commit in the making: the rows that a batch loaded, what it changed, and how money moves. No I/O."""

import functools
import hmac
from typing import Any, Protocol

from msgspec import Struct

from ledger.prices.offers import Catalogue
from ledger.rules.act_rows import Credit, Entry, Head
from ledger.rules.counted import counted
from ledger.rules.event_rows import EventRow
from ledger.rules.of_acts import OfActs
from ledger.rules.rows import (
    SOURCES,
    Account,
    AccountKind,
    Candidate,
    Cap,
    CapPeriod,
    Hold,
    HoldState,
    Key,
    KeySecret,
    Parked,
    Profile,
    Rate,
    Surprise,
    Terms,
    Transfer,
    UsageRow,
    account_kind,
)
from ledger.rules.rowset import RowSet
from schemas.money.amounts import nano_to_usd
from schemas.verbs.calls import ESTIMATE_GRACE_S, LEASE_S

SCOPE_CHARS = 32
SCOPES_MAX = 10_000  # remembered: each takes longer to make than to find
EXHAUSTED_EVERY_MS = 3_600_000  # so often it is told of one account that it cannot pay
_SURPRISES_MAX = 64  # of one batch: names come from upstreams
_HOLDING = (HoldState.OPEN, HoldState.ESTIMATED)


@functools.lru_cache(maxsize=SCOPES_MAX)
def scope_of(pepper: bytes, key_id: str) -> str:
    """What stands for a key outside the books: nobody without the pepper can make it, and a new secret keeps it."""
    return hmac.digest(pepper, b"scope:" + key_id.encode(), "sha256").hex()[:SCOPE_CHARS]


class Rules(Struct, frozen=True, kw_only=True):
    """Durations of the books, in milliseconds."""

    lease_ms: int = int(LEASE_S * 1000)
    grace_ms: int = int(ESTIMATE_GRACE_S * 1000)


class TakenApart(Protocol):
    """Rows that a batch has taken apart: their own module knows more of them."""

    def keep(self) -> None:
        """Writes what has changed back into the rows."""
        ...


class CallsBefore(Struct, frozen=True):
    """The calls of a period before its cap is made: what those that have ended were billed, and those that have not.

    `open_nano` is billed to the latter: an estimate may still be corrected. `too_many` is set where they were not counted.
    """

    spent_nano: int = 0
    open: tuple[Hold, ...] = ()
    open_nano: int = 0
    too_many: bool = False


class Told(Struct, frozen=True, eq=False):
    """Something that has happened, to be told with the commit: an event's type, what it is about, and its data.

    `organization` is None where it is that of the account. `id` is set where the same may be told again and is one.
    """

    type: str
    object: str
    organization: str | None
    data: dict[str, Any]
    account: str = ""
    id: str = ""
    endpoint: str = ""


class Book(OfActs):
    """Loaded rows by id, and the changes of one batch. Every row object stands for its row until the commit.

    `accounts` holds the callers' accounts of the batch, locked; all other accounts only collect differences, so
    that the busy ones are touched once a batch and last.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        now_ms: int,
        rules: Rules,
        *,
        backlog: bool = False,
        scoping: bytes = b"",
        pepper: str = "",
    ) -> None:
        self.catalogue = catalogue
        self.now_ms = now_ms
        self.rules = rules
        self.backlog = backlog
        self.pepper = pepper  # the id of the one that hashes new secrets
        self.found_by: dict[
            str, str
        ] = {}  # the digests of secrets as they are kept, where a pepper of before did it
        self._scoping = scoping
        self.keys = RowSet(Key, second="digest")
        self.secrets = RowSet(KeySecret)
        self.profiles = RowSet(Profile)
        self.accounts = RowSet(Account)
        self.caps = RowSet(Cap)  # these three are loaded where an account of the batch is limited
        self.periods = RowSet(CapPeriod)
        self.rates = RowSet(Rate)
        self.minutes: TakenApart | None = None  # the rates taken apart, once a call looks at one
        self.capped: dict[str, list[Cap]] = {}  # the caps in force, by scope
        self.current: dict[str, list[tuple[Cap, CapPeriod]]] = {}  # those of a key, once it has called
        self.calls_before: dict[str, CallsBefore] = {}  # by the id of a cap that is about to be made
        self.holds = RowSet(Hold)
        self.candidates = RowSet(Candidate)  # of all holds that have some
        self.usage = RowSet(UsageRow)
        self.organizations: dict[str, set[str]] = {}  # all their accounts, of those whose bounds may change
        self.bounded: set[str] = set()  # accounts of these that a cap or limit of a key bounds
        self.bounded_owners: set[str] = set()  # profiles whose keys a cap or limit bounds together
        self.deposits: dict[str, Transfer] = {}  # by request id
        self.credits = RowSet(Credit)
        self.deposited_before_nano = 0  # loaded where a batch may deposit
        # What the commit tells. Balances and caps are only noted here, and looked at when rows are saved.
        self.told: list[Told] = []
        self.low_before: dict[str, int] = {}  # what accounts with a low balance had before this commit
        self.exhausted: set[str] = set()  # accounts that could not pay for a call
        self.hushed: dict[str, int] = {}  # when that was last told, as far as this ledger knows
        self.cap_notes: list[tuple[str, CapPeriod]] = []
        self.events: list[EventRow] = []
        # Of an act: all else of it is OfActs', but each commit looks through these to save them.
        self.put_aside = RowSet(Parked)  # an event that was parked before
        self.log = RowSet(Head)  # of the audit log its head
        self.entries: list[Entry] = []
        # What is only ever added, and sums of all other accounts' changes.
        self.transfers: list[Transfer] = []
        self.parked: list[Parked] = []
        self.forgotten: list[tuple[str, str]] = []  # pool and account ("" for all) whose surprises go
        self.surprises: dict[tuple[str, ...], Surprise] = {}  # by their keys
        self.differences: dict[str, int] = {}

    def scope(self, key_id: str) -> str:
        """What stands for a key outside the books."""
        return scope_of(self._scoping, key_id)

    def secret_of(self, digest: str) -> KeySecret | None:
        """A secret by its digest, whichever pepper it was hashed with; None if none of that kind is loaded."""
        return self.secrets.get(self.found_by.get(digest, digest) if self.found_by else digest)

    def key_of(self, digest: str) -> Key | None:
        """The key that a secret's digest opens, whatever its state; None if there is none."""
        if self.found_by:
            digest = self.found_by.get(digest, digest)
        secret = self.secrets.get(digest)
        return self.keys.find(digest) if secret is None else self.keys.get(secret.key_id)

    def move(
        self,
        amount_nano: int,
        *,
        debit: str,
        credit: str,
        request_id: str,
        kind: str,
        attempt: int = 0,
        line: int = 0,
    ) -> None:
        """Moves money between two accounts; a negative amount goes the other way, nothing happens for zero."""
        if amount_nano == 0:
            return
        if amount_nano < 0:
            amount_nano, debit, credit = -amount_nano, credit, debit
        self.transfers.append(
            Transfer(
                request_id=request_id,
                kind=kind,
                attempt=attempt,
                line=line,
                debit=debit,
                credit=credit,
                amount_nano=amount_nano,
                created_ms=self.now_ms,
            )
        )
        self._add(debit, -amount_nano)
        self._add(credit, amount_nano)

    @property
    def deposited_nano(self) -> int:
        """All that callers were ever given and has not been taken back, this batch included."""
        return self.deposited_before_nano - sum(self.differences.get(one, 0) for one in SOURCES)

    @functools.cached_property
    def known_caps(self) -> dict[str, list[Cap]]:
        """The caps in force by scope, as commits before had them: given by who keeps them."""
        return {}

    @functools.cached_property
    def known_minutes(self) -> dict[str, Any]:
        """The rates taken apart by scope, likewise."""
        return {}

    def row_sets(self) -> list[RowSet[Any]]:
        """All rows that were loaded, kind by kind."""
        return [one for one in (*vars(self).values(), *self.sets_of_acts()) if isinstance(one, RowSet)]

    def _add(self, account_id: str, difference_nano: int) -> None:
        account = self.accounts.get(account_id)
        if account is None:
            self.differences[account_id] = self.differences.get(account_id, 0) + difference_nano
            return
        if account.low_nano:
            self.low_before.setdefault(account_id, account.posted_nano)
        account.posted_nano += difference_nano
        self.accounts.touch(account)
        if account.kind == AccountKind.PLAYGROUND:
            profile = self.profiles[account_id.partition(":")[2]]
            profile.playground_credits_usd = nano_to_usd(account.posted_nano)
            self.profiles.touch(profile)

    def surprised(self, row: Surprise) -> None:
        """Adds a surprise, unless it is known."""
        if not self.catalogue.surprises.has(*row.key) and len(self.surprises) < _SURPRISES_MAX:
            self.surprises.setdefault(row.key, row)

    def reserve(self, account: Account, difference_nano: int) -> None:
        """Holds more of a caller's balance, or less."""
        if difference_nano:
            account.held_nano += difference_nano
            self.accounts.touch(account)

    def count(self, hold: Hold, *, held_nano: int = 0, spent_nano: int = 0) -> None:
        """Adds to what is held and spent in the periods of caps that a hold counts in."""
        if not hold.limits or not (held_nano or spent_nano):
            return
        for id_ in counted(hold).p:
            period = self.periods[id_]
            period.held_nano += held_nano
            period.spent_nano += spent_nano
            self.periods.touch(period)
            if period.alert_nano and period.spent_nano >= period.alert_nano and not period.alerted:
                self.alert(period)

    def tell(self, one: Told) -> None:
        """Tells of something with this commit."""
        self.told.append(one)

    def exhaust(self, account: Account) -> None:
        """Notes that an account could not pay for a call."""
        if self.now_ms - self.hushed.get(account.id, -EXHAUSTED_EVERY_MS) >= EXHAUSTED_EVERY_MS:
            self.exhausted.add(account.id)

    def alert(self, period: CapPeriod) -> None:
        """Notes that so much of a cap is spent that somebody wants to know."""
        period.alerted = True
        self.periods.touch(period)
        self.cap_notes.append(("cap.alert", period))

    def set_held(self, hold: Hold, held_nano: int, state: str) -> None:
        """Moves a hold to a state with so much still held."""
        self.reserve(self.accounts[hold.account_id], held_nano - hold.held_nano)
        self.count(hold, held_nano=held_nano - hold.held_nano)
        hold.held_nano = held_nano
        hold.state = state
        if state not in _HOLDING:
            hold.closed_ms = self.now_ms
        self.holds.touch(hold)

    def add_hold(self, hold: Hold) -> None:
        """Adds a new hold and reserves its amount."""
        self.holds.add(hold)
        self.reserve(self.accounts[hold.account_id], hold.held_nano)

    def set_low(self, account: Account, low_nano: int | None) -> bool:
        """Sets below what an account's balance is low; None leaves it. Whether that is another figure."""
        if low_nano is None or account.low_nano == low_nano:
            return False
        account.low_nano = low_nano
        self.accounts.touch(account)
        return True

    def flag(self, account: Account, *, limited: bool) -> None:
        """Says whether calls that draw on an account have to look for what bounds them."""
        if account.limited != limited:
            account.limited = limited
            self.accounts.touch(account)

    def belonging(self, organization: str) -> list[Account]:
        """The accounts of all keys of an organisation, its wallet and its playground account, once they are loaded."""
        return [
            self.accounts[name] for name in self.organizations.get(organization, ()) if name in self.accounts
        ]

    def terms(self, hold: Hold, place: int = 0) -> Terms:
        """What a hold pinned for its candidate at a place; for the current one if there is none there."""
        if not hold.candidate:
            return hold
        named = self.candidates.get((hold.request_id, place))
        return self.candidates[hold.request_id, hold.candidate] if named is None else named

    def all_terms(self, hold: Hold) -> list[Terms]:
        """What a hold pinned for each model that may serve its call, in the order of trying."""
        if not hold.candidate:
            return [hold]
        found: list[Terms] = []
        while (one := self.candidates.get((hold.request_id, len(found) + 1))) is not None:
            found.append(one)
        return found

    def choose(self, hold: Hold, place: int) -> None:
        """Makes the candidate at a place the current one; there may be none there."""
        if hold.candidate and (hold.request_id, place) in self.candidates:
            hold.candidate = place
            self.holds.touch(hold)

    def add_account(self, account_id: str) -> Account:
        """Adds a caller's account with nothing in it."""
        return self.accounts.add(
            Account(id=account_id, kind=account_kind(account_id), posted_nano=0, held_nano=0)
        )
