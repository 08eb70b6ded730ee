"""Owns what all calls of one pool share in a worker process."""

from collections.abc import Mapping

from msgspec import Struct, field

from runtime.bus.bus import Bus
from runtime.settings.calls import DRAIN_S
from schemas.bus.usage import Outcome
from schemas.catalogue.model import Model
from workers.calls.accounts import Accounts
from workers.calls.clocks import Clocks
from workers.calls.counting import Counting
from workers.calls.drains import Drains
from workers.calls.factors import Factors
from workers.calls.items import Keeper
from workers.calls.leases import Leases
from workers.calls.speeds import Speeds
from workers.calls.usage_events import UsagePublisher
from workers.providers.base import Family
from workers.upstream.http import Upstream


class Counts(Struct):
    """What happened so far, as plain integers: metrics read them, calls only add."""

    accepted: int = 0
    bounced: int = 0
    ok: int = 0
    failed: int = 0
    cancelled: int = 0
    invalid_jobs: int = 0
    tries: dict[tuple[str, str, str, int], int] = field(
        default_factory=dict
    )  # by account, upstream model, outcome, and the status's first digit (0 for none)

    def ended(self, outcome: Outcome) -> None:
        """One more call has ended."""
        if outcome is Outcome.OK:
            self.ok += 1
        elif outcome is Outcome.CANCELLED:
            self.cancelled += 1
        else:
            self.failed += 1

    def tried(self, account: str, upstream: str, outcome: str, status: int) -> None:
        """One more call of an upstream has ended. Accounts and models are the settings', so there is an end to them."""
        name = (account, upstream, outcome, status // 100)
        self.tries[name] = self.tries.get(name, 0) + 1


class Serving(Struct):
    """One pool as a worker serves it."""

    pool: str
    provider: str
    worker_id: str
    control: str  # our control subject: the reply of every frame
    bus: Bus
    jobs: Bus  # of the role that takes them, which hears nothing else of the pool
    family: Family
    upstream: Upstream
    accounts: Accounts
    models: Mapping[str, Model]  # by the id that callers write
    usage_events: UsagePublisher
    items: Keeper
    counts: Counts
    idle_s: float  # how long the upstream of a stream may send nothing; a plain answer has the call's whole deadline
    drains: Drains = field(default_factory=Drains)
    on_hangup: str = ""  # for models whose rows do not say: CLOSE, DRAIN, or empty where each call decides
    drain_s: float = DRAIN_S  # how long an answer whose caller has left is read on
    leases: Leases = field(default_factory=Leases)
    clocks: Clocks = field(default_factory=Clocks)
    speeds: Speeds = field(default_factory=Speeds)
    counting: Counting = field(default_factory=Counting)  # one of all pools of a worker
    factors: Factors = field(default_factory=Factors)

    def successor(self, model: Model, now: float) -> str | None:
        """What to use in place of a model that is gone: what its row names, if this pool serves it; an operator's word as it is."""
        if model.pinned or not model.successor:
            return model.successor
        names = (model.successor, f"{self.pool}/{model.successor}")
        for name in names if model.id == model.upstream else reversed(names):
            found = self.models.get(name)
            if found is not None and self.accounts.serves(found.upstream, now):
                return name
        return None
