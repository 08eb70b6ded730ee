"""Owns a pool's upstream accounts: which one serves a call, and which are out of use, as a whole or for one model."""

import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence

from msgspec import structs

from runtime.log import get_logger
from runtime.settings.settings import AccountSettings
from schemas.bus.frames import AccountBeat, AccountState, Job
from schemas.errors import (
    WireError,
    saturated,
    unavailable,
    upstream_auth,
    upstream_denied,
    upstream_failed,
)
from workers.calls import doors
from workers.calls.condition import GONE_RETRY_S, Condition, Seen, state_of, wait_s
from workers.calls.listed import AccountList, Findings, Said, together
from workers.calls.models import Models
from workers.calls.redaction import Redaction
from workers.providers.base import About, Action, Fault

MODELS_TOLD_MAX = 16  # of one account, in a beat
WHY_NOT_CHARS_MAX = 400  # of all accounts together: a beat has it for each model, and must fit a message
MISREPORTS_BEFORE_COOLING = 3
MISREPORTED_COOL_S = 60.0
UNSETTLED_S = 3.0  # how long a finished call still counts: until the ledger's figure has it

_MISREPORTED = Fault(
    upstream_failed("The upstream provider counts tokens wrongly."),
    Action.COOL,
    cool_s=MISREPORTED_COOL_S,
    about=About.ACCOUNT,
    reason="it reports more tokens than its calls were granted",
)
_logger = get_logger("workers.accounts")


class Account:
    """One account as this worker sees it. Amounts are nano-dollars at list price, times time.monotonic()."""

    __slots__ = (
        "_finished",
        "_held_nano",
        "_models",
        "condition",
        "credit_nano",
        "heir",
        "inflight",
        "lacking",
        "list",
        "misreports",
        "redaction",
        "settings",
    )

    def __init__(self, settings: AccountSettings) -> None:
        self.settings = settings
        self.heir: Account | None = None  # with other settings, in its place: what this one has counts there
        self.condition = Condition()
        if settings.keyless:
            reason = "its api_key is empty: set it and reload"
            self.condition.close(AccountState.REFUSED, math.inf, reason)
        self.inflight = 0
        self.misreports = 0
        self.credit_nano = settings.credit_nano  # the ledger's figure follows
        self.list = AccountList()
        self.lacking: frozenset[str] = frozenset()  # the upstream models that its own list takes from it
        self._models = Models()
        self._held_nano = 0
        self._finished: deque[tuple[float, int]] = deque()
        self.redaction = Redaction(settings)

    @property
    def left_nano(self) -> int | None:
        """Credit that neither a call in flight nor an unsettled one may need; None is unlimited."""
        return None if self.credit_nano is None else self.credit_nano - self._held_nano

    @property
    def remembered(self) -> Iterable[str]:
        """The upstream models of which there is something to remember."""
        return self._models.keys()

    def usable(self, now: float) -> bool:
        """Whether it would take any call now."""
        return self.condition.open(now) and (self.left_nano is None or self.left_nano > 0)

    def serves(self, upstream: str, now: float) -> bool:
        """Whether it would take a call of this model now, of some key at least."""
        model = self._models.get(upstream)
        return self.usable(now) and (model is None or model.open(now)) and upstream not in self.lacking

    def admits(self, upstream: str, key: str, now: float) -> bool:
        """Whether it would take a call of this model and key now, credit and room aside."""
        if upstream in self.lacking:
            return False
        if self.condition.untouched and upstream not in self._models:
            return True
        model = self._models.get(upstream)
        return self.condition.open_to(key, now) and (model is None or model.open_to(key, now))

    def doubted(self, upstream: str, now: float) -> bool:
        """Whether a call of this model may well fail here: another account is the better choice."""
        if self.condition.untouched and upstream not in self._models:
            return False
        model = self._models.get(upstream)
        return self.condition.doubted(now) or (model is not None and model.doubted(now))

    def lacks(self, upstream: str, now: float) -> bool:
        """Whether it is proven that its provider no longer has this model, or its own list does not have it."""
        model = self._models.get(upstream)
        gone = model is not None and not model.open(now) and model.state is AccountState.GONE
        return gone or upstream in self.lacking

    def seen_by(self, key: str, upstream: str, now: float) -> tuple[About, Seen]:
        """What keeps this key's calls of a model away, if anything: the account's condition, or else the model's."""
        seen = self.condition.seen_by(key, now)
        model = self._models.get(upstream)
        if seen.state is not AccountState.OK or model is None:
            return About.ACCOUNT, seen
        return About.MODEL, model.seen_by(key, now)

    def covers(self, list_nano: int) -> bool:
        """Whether it has credit, and enough for one more call of this cost."""
        left = self.left_nano
        return left is None or left >= max(list_nano, 1)

    def take(self, list_nano: int) -> None:
        """A call begins."""
        self.inflight += 1
        self._held_nano += list_nano

    def give_back(self, list_nano: int, now: float) -> None:
        """A call has ended; its cost counts until the ledger's figure is sure to have it."""
        self.inflight -= 1
        if self.heir is not None:
            self.heir.give_back(list_nano, now)
        elif self.credit_nano is None:
            self._held_nano -= list_nano
        else:
            self._finished.append((now + UNSETTLED_S, list_nano))

    def become(self, settings: AccountSettings) -> "Account":
        """The same account with other settings. Tries under way keep this one, with its credentials and what they meet."""
        heir = self.heir = Account(settings)
        heir.inflight, heir.misreports = self.inflight, self.misreports
        heir._held_nano, heir._finished = self._held_nano, self._finished
        if settings.credit_nano is not None and self.credit_nano is not None:
            heir.credit_nano = self.credit_nano
        # What an upstream says may still have the credentials of before in it.
        heir.redaction.inherit(self.redaction)
        if doors.is_same(self.settings, settings):
            heir.condition, heir._models = self.condition, self._models
            heir.list, heir.lacking = self.list, self.lacking
        return heir

    def settle(self, now: float) -> None:
        """Forgets calls that the ledger's figure has by now, and what there is no use in remembering."""
        while self._finished and self._finished[0][0] <= now:
            self._held_nano -= self._finished.popleft()[1]
        self.condition.forget(now)
        self.redaction.forget(now)
        self._models.forget(now)

    def succeeded(self, upstream: str) -> None:
        """A call was answered."""
        self.condition.succeeded()
        if (model := self._models.get(upstream)) is not None:
            model.succeeded()

    def failed(self, fault: Fault, upstream: str, key: str, now: float) -> None:
        """Draws the consequences of a failed try of this key's call: for the account, for the model at it, or none."""
        if fault.about is About.REQUEST:
            return
        condition = self.condition if fault.about is About.ACCOUNT else self._models.of(upstream)
        if fault.about is About.MODEL and fault.action in _LISTS_TELL:
            self.list.miss(upstream, fault)
        if not condition.proves(fault, key, now):
            return
        if fault.action is Action.GONE:
            self.confirmed_gone(upstream, now)
        else:
            condition.close(state_of(fault), now + wait_s(fault), fault.reason or fault.error.message)

    def misreported(self, job: Job, now: float) -> None:
        """An answer said to have used more tokens than its call was granted: the bill is our estimate.

        One is a note for operators. After each MISREPORTS_BEFORE_COOLING the account is left alone for a while.
        """
        self.misreports += 1
        if self.misreports.bit_count() == 1:  # the first, the second, the fourth, the eighth…
            _logger.warning(
                "an account reports more tokens than a call was granted: such calls are billed by our estimate",
                account=self.settings.id,
                model=job.upstream,
                request_id=job.request_id,
                so_far=self.misreports,
            )
        if self.misreports % MISREPORTS_BEFORE_COOLING == 0:
            self.failed(_MISREPORTED, job.upstream, job.scope, now)

    def confirmed_gone(self, upstream: str, now: float) -> None:
        """It is proven that the provider no longer has this model for this account."""
        self._models.of(upstream).close(AccountState.GONE, now + GONE_RETRY_S, _GONE)

    def follow(
        self, findings: Findings, pinned: frozenset[str], missed: Mapping[str, Fault], now: float
    ) -> None:
        """Takes its own list in. What calls had missed before it was read, and what it lacks too, is proven."""
        self.list.take(findings)
        self.lacking = findings.lacking - pinned
        for upstream, fault in missed.items():
            if upstream not in findings.lacking:
                continue
            if fault.action is Action.GONE:
                self.confirmed_gone(upstream, now)
            else:
                self._models.of(upstream).close(state_of(fault), now + wait_s(fault), fault.error.message)

    def follow_none(self, error: str) -> None:
        """Its list cannot be had: it hides nothing."""
        self.list.fail(error)
        self.lacking = frozenset()

    def scrubbed(self, fault: Fault) -> Fault:
        """The same fault, with this account's own secrets taken out of its message."""
        message = self.without_secrets(fault.error.message)
        if message == fault.error.message:
            return fault
        return structs.replace(fault, error=structs.replace(fault.error, message=message))

    def without_secrets(self, text: str) -> str:
        """A text with this account's own secrets taken out."""
        return self.redaction.applied(text)

    def beat(self, now: float) -> AccountBeat:
        """How it looks from outside."""
        state, reason = self.told(now)
        until = self.condition.until if state is AccountState.COOLING else 0.0
        models = self._models.out(now)
        return AccountBeat(
            id=self.settings.id,
            state=state,
            inflight=self.inflight,
            capacity=self.settings.max_inflight,
            until=time.time() + until - now if until else 0.0,
            reason=reason,
            models=tuple(models[:MODELS_TOLD_MAX]),
            models_out=len(models),
            listed_at=self.list.findings.read_at,
            listed=self.list.findings.listed,
            list_error=self.list.error,
            misreported=self.misreports,
        )

    def told(self, now: float) -> tuple[AccountState, str]:
        """Its state for all calls, and why; of one that is open, what some key's calls have met."""
        if not self.usable(now) and self.condition.state is AccountState.OK:
            return AccountState.SPENT, "its credit does not cover what is in flight"
        seen = self.condition.told(now)
        return (seen.state, seen.reason) if seen.for_all else (AccountState.OK, f"for one key: {seen.reason}")

    def why_not(self, upstream: str, now: float) -> str:
        """Why it does not serve a model."""
        state, reason = self.told(now)
        if state is AccountState.OK and (model := self._models.get(upstream)) is not None:
            state, reason = model.state, f"for this model: {model.reason}"
        if state is AccountState.OK and upstream in self.lacking:
            state, reason = AccountState.GONE, f"for this model: {UNLISTED}"
        return f"account {self.settings.id}: {state.value} ({reason})"


Keep = Callable[[Sequence[AccountSettings]], None]
_GONE = "the provider no longer has it"
UNLISTED = "its own list does not have it"
_LISTS_TELL = frozenset((Action.GONE, Action.DENIED))


class Accounts:
    """The accounts of one pool. `keep` is told whose credentials are needed, whenever they may have become fewer."""

    def __init__(self, settings: Iterable[AccountSettings], keep: Keep | None = None) -> None:
        self.said = Said()
        self.lists_read = 0  # how often what lists say may have changed
        self.all: list[Account] = []
        self.coming: Sequence[
            AccountSettings
        ] = ()  # of a reload that has prepared them, and may yet be dropped
        self._keep = keep
        self._let_go: list[Account] = []  # of before, which tries under way have
        self._are([Account(account) for account in settings])

    def keep(self) -> None:
        """Ends all credentials but those of these accounts, of those that are coming, and of tries under way."""
        self._let_go = [account for account in self._let_go if account.inflight]
        if self._keep is not None:
            self._keep([*(account.settings for account in (*self.all, *self._let_go)), *self.coming])

    def _are(self, accounts: list[Account]) -> None:
        self._let_go += [account for account in self.all if account not in accounts]
        self.all = accounts
        self.keep()
        # One without a key serves nothing, so neither its list nor its silence counts beside the others'.
        self._able = [account for account in self.all if not account.settings.keyless] or self.all
        self.metered = any(account.credit_nano is not None for account in self.all)

    def replace(self, account: Account, settings: AccountSettings) -> None:
        """One account has other settings from now on, if it is still one of these."""
        if account in self.all:
            self._are([one.become(settings) if one is account else one for one in self.all])
            account.list.wanted.set()  # the heir's is to be read

    def adopt(self, settings: Iterable[AccountSettings]) -> None:
        """Has these accounts from now on: those that differ in nothing as they are, the others with what they have."""
        known = {account.settings.id: account for account in self.all}
        accounts = []
        for one in settings:
            before = known.get(one.id)
            if before is not None:
                accounts.append(before if before.settings == one else before.become(one))
            else:
                accounts.append(Account(one))
        ids = {account.settings.id for account in accounts}
        for gone in (account for account in self.all if account.settings.id not in ids):
            for account in accounts:
                account.redaction.inherit(gone.redaction)
        self._are(accounts)
        self.follow_lists()

    def pick(self, upstream: str, key: str, list_nano: int, tried: set[str], now: float) -> Account | None:
        """The account that would serve this key's call, and has not been tried for it: the least loaded without doubt."""
        best: Account | None = None
        best_load = 2.0
        for account in self.all:
            load = account.inflight / account.settings.max_inflight
            if (
                load < min(best_load, 1.0)
                and account.settings.id not in tried
                and account.covers(list_nano)
                and account.admits(upstream, key, now)
            ):
                if account.doubted(upstream, now):
                    load += 1.0
                if load < best_load:
                    best, best_load = account, load
        return best

    @property
    def capacity(self) -> int:
        """Calls that all accounts together take, usable now or not."""
        return sum(account.settings.max_inflight for account in self.all)

    def gone(self, upstream: str, now: float) -> bool:
        """Whether it is proven for every account that its provider no longer has this model."""
        return bool(self.all) and all(account.lacks(upstream, now) for account in self._able)

    @property
    def remembered(self) -> set[str]:
        """The upstream models of which some account remembers anything: all others fare as any model does."""
        return {upstream for account in self.all for upstream in account.remembered}

    def serves(self, upstream: str, now: float) -> bool:
        """Whether some account serves this model."""
        return any(account.serves(upstream, now) for account in self.all)

    def why_not(self, upstream: str, now: float) -> str:
        """Why none does."""
        told = "; ".join(account.why_not(upstream, now) for account in self.all)
        if len(told) > WHY_NOT_CHARS_MAX:
            told = f"{told[: WHY_NOT_CHARS_MAX - 1]}…"
        return told or "the pool has no accounts"

    def credit(self, credit_nano: dict[str, int | None]) -> None:
        """Takes over the ledger's figures."""
        for account in self.all:
            if account.settings.id in credit_nano:
                account.credit_nano = credit_nano[account.settings.id]

    def follow_lists(self) -> None:
        """The list of some account was read, or could not be."""
        made = together(account.list for account in self._able)
        if made != self.said:
            self.said = made
            self.lists_read += 1

    def tick(self, now: float) -> None:
        """Forgets what the ledger has by now, and the credentials of tries that have ended."""
        for account in self.all:
            account.settle(now)
        if not all(account.inflight for account in self._let_go):
            self.keep()

    def refusal(self, upstream: str, key: str, list_nano: int, now: float) -> WireError | None:
        """Why no account would take such a call, however long it waited; None if some only lack room."""
        if not self.all:
            return unavailable("The pool has no upstream account.", retry_after_s=30.0)
        if any(account.covers(list_nano) and account.admits(upstream, key, now) for account in self.all):
            return None
        found = [account.seen_by(key, upstream, now) for account in self.all]
        cooling = [seen.until for _, seen in found if seen.state is AccountState.COOLING]
        if cooling:
            after_s = max(0.1, min(cooling) - now)
            return saturated(
                "The upstream provider's rate limit was reached.", retry_after_s=round(after_s, 3)
            )
        refused = [about for about, seen in found if seen.state is AccountState.REFUSED]
        if refused:
            return upstream_auth() if About.ACCOUNT in refused else upstream_denied()
        return saturated(
            "The pool has no upstream credit left for this call. Retry later.", retry_after_s=30.0
        )
