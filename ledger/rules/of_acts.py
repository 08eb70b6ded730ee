"""Owns what acts alone need of a commit: by whose right one is done, and the rows that no call has."""

import functools
from typing import Any

from ledger.rules.act_rows import Entry
from ledger.rules.authority_rows import OperatorRows
from ledger.rules.event_rows import DeliveryRow, HookRows
from ledger.rules.grants import NOBODY, Grant
from ledger.rules.rowset import RowSet
from ledger.rules.sealed import seal
from ledger.rules.topup_rows import TopupRows
from schemas.admin.verbs import ConsoleWrite
from schemas.verbs.base import Rows


class OfActs:
    """An act's part of its commit, in which it is alone. Made where an act needs it, so that a commit of calls does not pay for it."""

    actor: str = ""
    grant: Grant = NOBODY  # by whose right it is done
    refusal: Rows | None = None  # or why there is none
    record: Entry | None = None  # the act of this idempotency key, if it was done
    console: ConsoleWrite | None = None  # as which it came, if it came through one
    sealing: bytes = b""  # what webhooks' secrets are sealed under
    _hooks: HookRows | None = None
    _operators: OperatorRows | None = None

    @functools.cached_property
    def upstream(self) -> dict[tuple[str, str], bool]:
        """Whether the credit of a pool's account has a limit."""
        return {}

    @property
    def hooks(self) -> HookRows:
        """Where events go: made where an act needs it, since no call does."""
        if self._hooks is None:
            self._hooks = HookRows()
        return self._hooks

    @property
    def people(self) -> OperatorRows:
        """Who may act through a console: made where an act needs it, since no call does."""
        if self._operators is None:
            self._operators = OperatorRows()
        return self._operators

    @functools.cached_property
    def paying(self) -> TopupRows:
        """Payments through Stripe: made where an act needs them, since no call does."""
        return TopupRows()

    def sets_of_acts(self) -> tuple[RowSet[Any], ...]:
        """All rows that acts alone need, kind by kind; none where nothing asked for them."""
        people: tuple[RowSet[Any], ...] = () if self._operators is None else self._operators.all()
        people += self.paying.all() if "paying" in vars(self) else ()
        return people if self._hooks is None else (self._hooks.endpoints, *people)

    def deliveries(self) -> list[DeliveryRow]:
        """What is noted of deliveries."""
        return [] if self._hooks is None else self._hooks.deliveries

    def seal(self, endpoint: str, secret: str) -> str:
        """A webhook endpoint's secret as the books have it."""
        return seal(self.sealing, endpoint, secret)
