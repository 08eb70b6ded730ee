"""Owns a pool's upstream accounts: which one serves a call, and which are cooling, refused or spent."""

import math
import time
from collections import deque
from collections.abc import Iterable

from msgspec import structs

from runtime.settings.settings import AccountSettings
from schemas.bus.frames import AccountBeat, AccountState
from schemas.errors import WireError, saturated, unavailable, upstream_auth
from workers.providers.base import Action, Fault

REFUSED_RETRY_S = 60.0  # refused credentials are tried again: somebody may have put them right
SPENT_RETRY_S = 60.0
GONE_RETRY_S = 600.0
COOL_S = 1.0
FAILURES_BEFORE_COOLING = 5  # in a row, when the provider names no time
_SECRET_CHARS_MIN = 4  # shorter ones would take ordinary words out
UNSETTLED_S = 3.0  # how long a finished call still counts: until the ledger's figure has it


class Account:
    """One account as this worker sees it. Amounts are nano-dollars at list price."""

    __slots__ = (
        "_failures",
        "_finished",
        "_held_nano",
        "_secrets",
        "credit_nano",
        "gone",
        "inflight",
        "reason",
        "settings",
        "state",
        "until",
    )

    def __init__(self, settings: AccountSettings) -> None:
        self.settings = settings
        self.state = AccountState.REFUSED if settings.keyless else AccountState.OK
        self.until = (
            math.inf if settings.keyless else 0.0
        )  # time.monotonic() at which another state than OK ends
        self.reason = "its api_key is empty: set it and restart the worker" if settings.keyless else ""
        self.inflight = 0
        self.credit_nano = settings.credit_nano  # the ledger's figure follows
        self.gone: dict[
            str, float
        ] = {}  # upstream models that the provider says are gone, and until when we think so
        self._held_nano = 0
        self._finished: deque[tuple[float, int]] = deque()
        self._failures = 0
        secrets = (
            settings.api_key,
            settings.secret_access_key,
            settings.session_token,
            settings.bearer_token,
        )
        names = (settings.organization, settings.project, settings.access_key_id)
        self._secrets = [text for text in (*secrets, *names) if len(text) >= _SECRET_CHARS_MIN]

    @property
    def left_nano(self) -> int | None:
        """Credit that neither a call in flight nor an unsettled one may need; None is unlimited."""
        return None if self.credit_nano is None else self.credit_nano - self._held_nano

    def usable(self, now: float) -> bool:
        """Whether it would take any call now."""
        if self.state is not AccountState.OK and now >= self.until:
            self.state, self.until, self.reason = AccountState.OK, 0.0, ""
        return self.state is AccountState.OK and (self.left_nano is None or self.left_nano > 0)

    def serves(self, upstream: str, now: float) -> bool:
        """Whether its provider has not said that this model is gone."""
        until = self.gone.get(upstream)
        if until is not None and now >= until:
            del self.gone[upstream]
            return True
        return until is None

    def covers(self, list_nano: int) -> bool:
        """Whether its credit covers one more call of this cost."""
        left = self.left_nano
        return left is None or left >= list_nano

    def take(self, list_nano: int) -> None:
        """A call begins."""
        self.inflight += 1
        self._held_nano += list_nano

    def give_back(self, list_nano: int, now: float) -> None:
        """A call has ended; its cost counts until the ledger's figure is sure to have it."""
        self.inflight -= 1
        if self.credit_nano is None:
            self._held_nano -= list_nano
        else:
            self._finished.append((now + UNSETTLED_S, list_nano))

    def settle(self, now: float) -> None:
        """Forgets calls that the ledger's figure has by now."""
        while self._finished and self._finished[0][0] <= now:
            self._held_nano -= self._finished.popleft()[1]

    def succeeded(self) -> None:
        """A call was answered."""
        self._failures = 0

    def failed(self, fault: Fault, upstream: str, now: float) -> None:
        """Draws the consequences of a failed try."""
        action = fault.action
        if action is Action.COOL:
            self._leave(AccountState.COOLING, COOL_S if fault.cool_s is None else fault.cool_s, fault, now)
        elif action is Action.REFUSED:
            self._leave(AccountState.REFUSED, REFUSED_RETRY_S, fault, now)
        elif action is Action.SPENT:
            self._leave(AccountState.SPENT, SPENT_RETRY_S, fault, now)
        elif action is Action.GONE:
            self.gone[upstream] = now + GONE_RETRY_S
        elif action is Action.NEXT:
            self._failures += 1
            if self._failures >= FAILURES_BEFORE_COOLING:
                self._failures = 0
                self._leave(AccountState.COOLING, COOL_S, fault, now)

    def _leave(self, state: AccountState, wait_s: float, fault: Fault, now: float) -> None:
        self.state, self.until, self.reason = state, now + wait_s, fault.error.message

    def scrubbed(self, fault: Fault) -> Fault:
        """The same fault, with this account's own secrets taken out of its message."""
        message = fault.error.message
        for secret in self._secrets:
            message = message.replace(secret, "[redacted]")
        if message == fault.error.message:
            return fault
        return structs.replace(fault, error=structs.replace(fault.error, message=message))

    def beat(self, now: float) -> AccountBeat:
        """How it looks from outside."""
        state, reason = self.state, self.reason
        if not self.usable(now) and self.state is AccountState.OK:
            state, reason = AccountState.SPENT, "its credit does not cover what is in flight"
        until = time.time() + self.until - now if state is AccountState.COOLING else 0.0
        return AccountBeat(
            id=self.settings.id,
            state=state,
            inflight=self.inflight,
            capacity=self.settings.max_inflight,
            until=until,
            reason=reason,
        )


class Accounts:
    """The accounts of one pool."""

    def __init__(self, settings: Iterable[AccountSettings]) -> None:
        self.all = [Account(account) for account in settings]
        self.metered = any(account.credit_nano is not None for account in self.all)

    def pick(self, upstream: str, list_nano: int, tried: set[str], now: float) -> Account | None:
        """The least loaded account that would serve this call and has not been tried for it."""
        best: Account | None = None
        best_load = 1.0
        for account in self.all:
            load = account.inflight / account.settings.max_inflight
            if (
                load < best_load
                and account.usable(now)
                and account.settings.id not in tried
                and account.covers(list_nano)
                and account.serves(upstream, now)
            ):
                best, best_load = account, load
        return best

    @property
    def capacity(self) -> int:
        """Calls that all accounts together take, usable now or not."""
        return sum(account.settings.max_inflight for account in self.all)

    def gone(self, upstream: str, now: float) -> bool:
        """Whether every account's provider says that this model no longer exists."""
        return bool(self.all) and not any(account.serves(upstream, now) for account in self.all)

    def credit(self, credit_nano: dict[str, int | None]) -> None:
        """Takes over the ledger's figures."""
        for account in self.all:
            if account.settings.id in credit_nano:
                account.credit_nano = credit_nano[account.settings.id]

    def tick(self, now: float) -> None:
        """Forgets what the ledger has by now."""
        for account in self.all:
            account.settle(now)

    def refusal(self, list_nano: int, now: float) -> WireError | None:
        """Why no account would take a call of this cost, however long it waited; None if some only lack room."""
        if not self.all:
            return unavailable("The pool has no upstream account.", retry_after_s=30.0)
        if any(account.usable(now) and account.covers(list_nano) for account in self.all):
            return None
        cooling = [account for account in self.all if account.state is AccountState.COOLING]
        if cooling:
            wait_s = max(0.1, min(account.until for account in cooling) - now)
            return saturated(
                "The upstream provider's rate limit was reached.", retry_after_s=round(wait_s, 3)
            )
        if any(account.state is AccountState.REFUSED for account in self.all):
            return upstream_auth()
        return saturated(
            "The pool has no upstream credit left for this call. Retry later.", retry_after_s=30.0
        )
