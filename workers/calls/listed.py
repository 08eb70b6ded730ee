"""Owns what an account's own list says of the models that its pool sells: which it lacks, what it dates, what it has beside."""

import asyncio
import time
from collections.abc import Iterable, Mapping
from typing import Final

from msgspec import Struct, structs

from schemas.bus.frames import ModelFact, joined
from schemas.catalogue.model import Lifecycle, Model
from workers.providers.base import Fault
from workers.providers.listing import Listed

MISSED_MAX: Final = 64  # upstream models of one account whose miss waits for the next list
UNPRICED_MAX: Final = 256  # listed ids of one account that are remembered though they cannot be sold
ERROR_CHARS_MAX: Final = 200


class Findings(Struct, frozen=True, kw_only=True):
    """What a list says. `lacking` are upstream models that it has not, or as history only; `facts` by upstream model."""

    listed: int = 0
    lacking: frozenset[str] = frozenset()
    facts: Mapping[str, ModelFact] = {}
    unpriced: tuple[str, ...] = ()
    read_at: float = 0.0  # unix seconds


NOTHING_SAID: Final = Findings()


class Stock:
    """The upstream models of a pool, as lists are compared with them.

    `names` are those that stand for an upstream model in a list, beside its own id. What has a price but is not sold (an
    embedding) is in `priced`. What the operator's own rows name is `pinned`: no list takes it from an account.
    """

    def __init__(
        self, models: Iterable[Model], names: Mapping[str, tuple[str, ...]], priced: Iterable[str]
    ) -> None:
        ordered = sorted(models, key=lambda model: model.pinned)
        self._names = names
        # Of one upstream model a built-in row tells more than an own one, so it comes last.
        self._models = {model.upstream: model for model in reversed(ordered)}
        self._priced = frozenset(priced).union(self._models)
        self.pinned = frozenset(model.upstream for model in ordered if model.pinned)

    def compare(self, listed: Mapping[str, Listed]) -> Findings:
        """What a list says of these models."""
        lacking: set[str] = set()
        facts: dict[str, ModelFact] = {}
        for upstream, model in self._models.items():
            names = (upstream, *self._names.get(upstream, ()))
            found = next((listed[name] for name in names if name in listed), None)
            if found is None or found.retired:
                lacking.add(upstream)
            if found is not None and (fact := _fact(model, found)) is not None:
                facts[upstream] = fact
        unpriced = sorted(one.id for one in listed.values() if one.id not in self._priced and not one.retired)
        return Findings(
            listed=len(listed),
            lacking=frozenset(lacking),
            facts=facts,
            unpriced=tuple(unpriced[:UNPRICED_MAX]),
            read_at=time.time(),
        )


def _fact(model: Model, listed: Listed) -> ModelFact | None:
    """What a list says of a model beyond its row: lists only tighten or date. A row of the operator's keeps its limit."""
    shutdown = listed.shutdown
    if shutdown is not None and model.shutdown_date is not None and shutdown >= model.shutdown_date:
        shutdown = None
    lower = 0 < listed.max_output < model.max_output and not model.pinned
    fact = ModelFact(
        model.upstream,
        retired=listed.retired,
        deprecated=listed.deprecated and model.lifecycle is Lifecycle.ACTIVE,
        shutdown=shutdown,
        max_output=listed.max_output if lower else 0,
    )
    return None if fact == ModelFact(model.upstream) else fact


class AccountList:
    """The list of one account: what its newest reading says, and what calls have missed since it was asked for.

    A reading that failed says nothing, so the account counts as listing everything.
    """

    __slots__ = ("_missed", "believed", "doubted_at", "error", "findings", "wanted")

    def __init__(self) -> None:
        self.findings = NOTHING_SAID
        self.error = "not read yet"
        self.believed = 0  # models of the newest list that was believed
        self.doubted_at: float | None = None  # when lists became too short to be believed; monotonic
        self.wanted = asyncio.Event()  # a call has missed a model
        self._missed: dict[str, Fault] = {}

    def miss(self, upstream: str, fault: Fault) -> None:
        """A call was told that there is no such model, or no access to it: the list is to be read again."""
        if upstream in self._missed or len(self._missed) < MISSED_MAX:
            self._missed[upstream] = fault
        self.wanted.set()

    def begin(self) -> dict[str, Fault]:
        """A reading begins. Answers with what was missed before it: that is what the list can confirm."""
        missed, self._missed = self._missed, {}
        self.wanted.clear()
        return missed

    def take(self, findings: Findings) -> None:
        """The list was read."""
        self.findings, self.error = findings, ""

    def fail(self, error: str) -> None:
        """The list could not be read, or is not believed."""
        self.findings, self.error = NOTHING_SAID, error[:ERROR_CHARS_MAX]


class Said(Struct, frozen=True, kw_only=True):
    """What the lists of all accounts of a pool say together. `lacking`: every account has a list, and none has these."""

    lacking: frozenset[str] = frozenset()
    facts: tuple[ModelFact, ...] = ()
    unpriced: tuple[str, ...] = ()


def together(lists: Iterable[AccountList]) -> Said:
    """The sum of some lists."""
    said = [one.findings for one in lists]
    lacking = frozenset.intersection(*(one.lacking for one in said)) if said else frozenset()
    facts = joined(fact for one in said for fact in one.facts.values())
    told = (structs.replace(fact, retired=fact.retired and fact.id in lacking) for fact in facts.values())
    return Said(
        lacking=lacking,
        facts=tuple(sorted(told, key=lambda fact: fact.id)),
        unpriced=tuple(sorted({name for one in said for name in one.unpriced})[:UNPRICED_MAX]),
    )
