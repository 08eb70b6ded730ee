"""Owns the ledger's metrics. Label sets are bounded: models and accounts of the settings, never keys or requests."""

from collections import Counter as Count
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from ledger.rules.rows import COST_OF_GOODS, REVENUE, Kind, Transfer, UsageRow, summed
from runtime.metrics import REGISTRY, Tally
from schemas.verbs.calls import Hold, Refusal

BILL_SLOT = 0  # of a usage row that is a call's bill
_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)


class Telemetry:
    """What a ledger counts. Names begin with tokn_ledger_."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self.commit_seconds = Histogram(
            "tokn_ledger_commit_seconds", "Time of one commit", buckets=_SECONDS, registry=registry
        )
        self.commands = Counter("tokn_ledger_commands", "Commands by answer", ["answer"], registry=registry)
        self.events = Counter("tokn_ledger_events", "Usage events by effect", ["effect"], registry=registry)
        self.parked = Counter("tokn_ledger_parked", "Events put aside", registry=registry)
        self.expired = Counter("tokn_ledger_expired_holds", "Holds that nobody closed", registry=registry)
        self.conflicts = Counter("tokn_ledger_conflicts", "Commits tried again", registry=registry)
        self.failures = Counter("tokn_ledger_failures", "Commits that failed", registry=registry)
        self.unknown_payments = Counter(
            "tokn_ledger_unknown_payments", "Events of paid sessions without a top-up", registry=registry
        )
        self.turned_away = Counter("tokn_ledger_turned_away", "Commands beyond the bound", registry=registry)
        self.resets = Counter("tokn_ledger_consumer_resets", "Replays of the stream", registry=registry)
        self.unapplied = Gauge(
            "tokn_ledger_unapplied_messages", "Stream messages to apply", registry=registry
        )
        self.backlog = Gauge("tokn_ledger_backlog", "1 while new calls are refused", registry=registry)
        self.writable = Gauge(
            "tokn_ledger_writable", "0 from a commit that failed to one that went well", registry=registry
        )
        self.writable.set(1)
        self.money = Money()
        registry.register(self.money)

    def committed(
        self, seconds: float, *, commands: Sequence[Any], events: Sequence[str], parked: int
    ) -> None:
        """Counts one commit."""
        self.commit_seconds.observe(seconds)
        for answer, count in Count(_label(answer) for answer in commands).items():
            self.commands.labels(answer).inc(count)
        for effect, count in Count(events).items():
            self.events.labels(effect).inc(count)
        if parked:
            self.parked.inc(parked)


_BACK = (REVENUE, COST_OF_GOODS)  # what leaves these was booked before


class Money(Collector):
    """What bills and transfers came to, in nano-dollars, since the start of this ledger."""

    def __init__(self) -> None:
        by_model = ("pool", "model")
        self._calls = Tally("tokn_ledger_calls", "Calls billed, by outcome", (*by_model, "outcome"))
        self._tokens = Tally("tokn_ledger_tokens", "Tokens of bills", (*by_model, "class"))
        self._list = Tally("tokn_ledger_list_nano", "Bills at list price", by_model)
        self._billed = Tally("tokn_ledger_billed_nano", "Bills, before corrections and refunds", by_model)
        self._cost = Tally("tokn_ledger_cost_nano", "Costs at upstream accounts", ("pool", "account"))
        self._moved = Tally(
            "tokn_ledger_moved_nano", "Transfers, by what for; `back` is what was taken back", ("kind", "way")
        )

    def booked(self, bills: Iterable[UsageRow], transfers: Iterable[Transfer]) -> None:
        """Counts the new rows of one commit: alike ones are added up first, since a batch has few models."""
        called: dict[tuple[str, str, str], list[UsageRow]] = {}
        for row in bills:
            if row.slot == BILL_SLOT:
                called.setdefault((row.pool, row.model, row.outcome), []).append(row)
        for (pool, model, outcome), rows in called.items():
            self._called((pool, model), outcome, rows)
        moved: dict[tuple[str, str], int] = {}
        for one in transfers:
            way = (one.kind, one.debit)
            moved[way] = moved.get(way, 0) + one.amount_nano
        for (kind, debit), amount_nano in moved.items():
            self._move(kind, debit, amount_nano)

    def _called(self, model: tuple[str, str], outcome: str, rows: Sequence[UsageRow]) -> None:
        self._calls.add((*model, outcome), len(rows))
        used = summed(rows)
        self._tokens.add((*model, "prompt"), used.prompt)
        self._tokens.add((*model, "cached"), used.cached + used.cached_audio)
        self._tokens.add((*model, "completion"), used.completion)
        self._list.add(model, sum([row.list_nano for row in rows]))
        self._billed.add(model, sum([row.billed_nano for row in rows]))

    def _move(self, kind: str, debit: str, amount_nano: int) -> None:
        back = debit in _BACK
        self._moved.add((kind, "back" if back else "forth"), amount_nano)
        if kind == Kind.COST and not back:
            holder, _, rest = debit.partition(":")
            if holder == "upstream":
                pool, _, account = rest.partition(":")
                self._cost.add((pool, account), amount_nano)

    def collect(self) -> Iterator[Metric]:
        """All of it, as it is now."""
        for tally in (self._calls, self._tokens, self._list, self._billed, self._cost, self._moved):
            yield tally.family()


def _label(answer: Any) -> str:
    if isinstance(answer, Hold):
        return "hold"
    if isinstance(answer, Refusal):
        return answer.reason
    return type(answer).__name__.lower()
