"""Owns the ledger's metrics."""

from collections import Counter as Tally
from collections.abc import Sequence
from typing import Any

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

from schemas.verbs.calls import Hold, Refusal

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
        self.turned_away = Counter("tokn_ledger_turned_away", "Commands beyond the bound", registry=registry)
        self.resets = Counter("tokn_ledger_consumer_resets", "Replays of the stream", registry=registry)
        self.unapplied = Gauge(
            "tokn_ledger_unapplied_messages", "Stream messages to apply", registry=registry
        )
        self.backlog = Gauge("tokn_ledger_backlog", "1 while new calls are refused", registry=registry)

    def committed(
        self, seconds: float, *, commands: Sequence[Any], events: Sequence[str], parked: int
    ) -> None:
        """Counts one commit."""
        self.commit_seconds.observe(seconds)
        for answer, count in Tally(_label(answer) for answer in commands).items():
            self.commands.labels(answer).inc(count)
        for effect, count in Tally(events).items():
            self.events.labels(effect).inc(count)
        if parked:
            self.parked.inc(parked)


def _label(answer: Any) -> str:
    if isinstance(answer, Hold):
        return "hold"
    if isinstance(answer, Refusal):
        return answer.reason.value
    return type(answer).__name__.lower()
