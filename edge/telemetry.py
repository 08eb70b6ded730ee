"""Owns the edge's metrics. Label sets are bounded: routes and statuses, never models, keys or paths."""

from collections.abc import Iterator

from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from runtime.metrics import REGISTRY, Tally
from schemas.dialects import DIALECTS

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 600)

REQUESTS = Tally("tokn_edge_requests", "Requests answered", ("route", "status"))
IN_FLIGHT = Gauge("tokn_edge_requests_in_flight", "Requests being answered", registry=REGISTRY)
CALLS = Gauge("tokn_edge_calls", "Calls followed, those whose caller has left included", registry=REGISTRY)
WAITING = Gauge("tokn_edge_waiting_calls", "Calls that wait for a place in their pool", registry=REGISTRY)
BUFFERED = Gauge("tokn_edge_buffered_bytes", "Request bodies and answers in memory", registry=REGISTRY)
ATTEMPTS = Counter("tokn_edge_offers", "Jobs offered once more, by why", ["why"], registry=REGISTRY)
ENDED = Tally("tokn_edge_calls_ended", "Calls ended, by how", ("how",))
FIRST_BYTE = Histogram(
    "tokn_edge_first_byte_seconds",
    "From the request's head to the answer's first byte",
    ["route"],
    buckets=_SECONDS,
    registry=REGISTRY,
)
STEPS = Histogram(
    "tokn_edge_step_seconds",
    "Processor time of the loop between two looks at its timers",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
    registry=REGISTRY,
)
WORKER_DEATHS = Counter("tokn_edge_worker_deaths", "Workers found dead with calls of ours", registry=REGISTRY)
FOREIGN_FRAMES = Counter(
    "tokn_edge_foreign_frames", "Frames of somebody who has not seen the job", registry=REGISTRY
)
STALE_FRAMES = Counter("tokn_edge_stale_frames", "Frames of ended or replaced attempts", registry=REGISTRY)
CONNECTIONS = Gauge("tokn_edge_connections", "Connections of callers", registry=REGISTRY)
_LET_GO = Counter(
    "tokn_edge_connections_let_go",
    "Connections refused, or ended for another's sake",
    ["why"],
    registry=REGISTRY,
)
LET_GO = {
    why: _LET_GO.labels(why)
    for why in ("limit", "bodies", "share", "refused", "waited", "left", "descriptors", "preface")
}

AGAIN = {
    why: ATTEMPTS.labels(why) for why in ("reattempt", "candidate")
}  # there from the start: rates see the first
_ENDS = {how: (how,) for how in ("ok", "error", "left")}
for _labels in _ENDS.values():
    ENDED.add(_labels, 0)
_FIRST = {dialect.name: FIRST_BYTE.labels(dialect.name) for dialect in DIALECTS}
_statuses: dict[int, str] = {}


class _Tallies(Collector):
    """Shows what each call counts: plain integers, since a metric's own counters are dear on the hot path."""

    def collect(self) -> Iterator[Metric]:
        yield REQUESTS.family()
        yield ENDED.family()


REGISTRY.register(_Tallies())


def count_request(route: str, status: int) -> None:
    """Counts an answer."""
    text = _statuses.get(status)
    if text is None:
        text = _statuses[status] = str(status)
    REQUESTS.add((route, text))


def count_call(route: str, how: str, first_byte_s: float | None) -> None:
    """Counts a call that was answered: `how` is ok, error or left."""
    ENDED.add(_ENDS[how])
    if first_byte_s is not None:
        _FIRST[route].observe(first_byte_s)
