"""Owns one commit in the making: the rows that a batch loaded, what it changed, and how money moves. No I/O."""

from msgspec import Struct

from ledger.prices.offers import Catalogue
from ledger.rules.rows import (
    DEPOSITS,
    Account,
    AccountKind,
    Hold,
    Key,
    Parked,
    Profile,
    State,
    Transfer,
    Usage,
    account_kind,
)
from schemas.money.amounts import nano_to_usd
from schemas.verbs.calls import ESTIMATE_GRACE_S, LEASE_S

_HOLDING = (State.OPEN, State.ESTIMATED)


class Rules(Struct, frozen=True, kw_only=True):
    """Durations of the books, in milliseconds."""

    lease_ms: int = int(LEASE_S * 1000)
    grace_ms: int = int(ESTIMATE_GRACE_S * 1000)


class Book:
    """Loaded rows by id, and the changes of one batch. Every row object stands for its row until the commit.

    `accounts` holds the callers' accounts of the batch, locked; all other accounts only collect differences, so
    that the busy ones are touched once a batch and last.
    """

    def __init__(self, catalogue: Catalogue, now_ms: int, rules: Rules, *, backlog: bool = False) -> None:
        self.catalogue = catalogue
        self.now_ms = now_ms
        self.rules = rules
        self.backlog = backlog
        self.keys: dict[str, Key] = {}
        self.keys_by_digest: dict[str, Key] = {}
        self.profiles: dict[str, Profile] = {}
        self.accounts: dict[str, Account] = {}
        self.holds: dict[str, Hold] = {}
        self.usage: dict[tuple[str, int], Usage] = {}
        self.deposits: dict[str, Transfer] = {}
        self.deposited_before_nano = 0  # loaded where a batch may deposit
        # changes
        self.transfers: list[Transfer] = []
        self.differences: dict[str, int] = {}
        self.changed_accounts: dict[str, Account] = {}
        self.new_accounts: dict[str, Account] = {}
        self.new_profiles: dict[str, Profile] = {}
        self.changed_profiles: dict[str, Profile] = {}
        self.new_keys: dict[str, Key] = {}
        self.changed_keys: dict[str, Key] = {}
        self.new_holds: dict[str, Hold] = {}
        self.changed_holds: dict[str, Hold] = {}
        self.new_usage: dict[tuple[str, int], Usage] = {}
        self.changed_usage: dict[tuple[str, int], Usage] = {}
        self.parked: list[Parked] = []

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
        self.transfers.append((request_id, kind, attempt, line, debit, credit, amount_nano, self.now_ms))
        self._add(debit, -amount_nano)
        self._add(credit, amount_nano)

    @property
    def deposited_nano(self) -> int:
        """All that was ever deposited, this batch included."""
        return self.deposited_before_nano - self.differences.get(DEPOSITS, 0)

    def _add(self, account_id: str, difference_nano: int) -> None:
        account = self.accounts.get(account_id)
        if account is None:
            self.differences[account_id] = self.differences.get(account_id, 0) + difference_nano
            return
        account.posted_nano += difference_nano
        self._changed(account)
        if account.kind == AccountKind.PLAYGROUND:
            profile = self.profiles[account_id.partition(":")[2]]
            profile.playground_credits_usd = nano_to_usd(account.posted_nano)
            if profile.id not in self.new_profiles:
                self.changed_profiles[profile.id] = profile

    def _changed(self, account: Account) -> None:
        if account.id not in self.new_accounts:
            self.changed_accounts[account.id] = account

    def reserve(self, account: Account, difference_nano: int) -> None:
        """Holds more of a caller's balance, or less."""
        if difference_nano:
            account.held_nano += difference_nano
            self._changed(account)

    def set_held(self, hold: Hold, held_nano: int, state: str) -> None:
        """Moves a hold to a state with so much still held."""
        self.reserve(self.accounts[hold.account_id], held_nano - hold.held_nano)
        hold.held_nano = held_nano
        hold.state = state
        if state not in _HOLDING:
            hold.closed_ms = self.now_ms
        self.touch(hold)

    def touch(self, hold: Hold) -> None:
        """Marks a hold as changed."""
        if hold.request_id not in self.new_holds:
            self.changed_holds[hold.request_id] = hold

    def add_hold(self, hold: Hold) -> None:
        """Adds a new hold and reserves its amount."""
        self.holds[hold.request_id] = self.new_holds[hold.request_id] = hold
        self.reserve(self.accounts[hold.account_id], hold.held_nano)

    def add_usage(self, row: Usage) -> None:
        """Adds a new usage row."""
        key = (row.request_id, row.slot)
        self.usage[key] = self.new_usage[key] = row

    def touch_usage(self, row: Usage) -> None:
        """Marks a usage row as changed."""
        key = (row.request_id, row.slot)
        if key not in self.new_usage:
            self.changed_usage[key] = row

    def add_account(self, account_id: str) -> Account:
        """Adds a caller's account with nothing in it."""
        account = Account(account_id, account_kind(account_id), 0, 0)
        self.accounts[account_id] = self.new_accounts[account_id] = account
        return account
