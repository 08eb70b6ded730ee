"""Owns the edge's metrics. Label sets are bounded: routes and statuses, never models, keys or paths."""

from prometheus_client import Counter, Gauge, Histogram

from runtime.metrics import REGISTRY
from schemas.dialects import DIALECTS

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 600)

REQUESTS = Counter("tokn_edge_requests", "Requests answered", ["route", "status"], registry=REGISTRY)
IN_FLIGHT = Gauge("tokn_edge_requests_in_flight", "Requests being answered", registry=REGISTRY)
CALLS = Gauge("tokn_edge_calls", "Calls followed, those whose caller has left included", registry=REGISTRY)
WAITING = Gauge("tokn_edge_waiting_calls", "Calls that wait for a place in their pool", registry=REGISTRY)
BUFFERED = Gauge("tokn_edge_buffered_bytes", "Request bodies and answers in memory", registry=REGISTRY)
ATTEMPTS = Counter("tokn_edge_offers", "Jobs offered once more, by why", ["why"], registry=REGISTRY)
ENDED = Counter("tokn_edge_calls_ended", "Calls ended, by how", ["how"], registry=REGISTRY)
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
    for why in ("limit", "share", "refused", "waited", "left", "descriptors", "preface")
}

AGAIN = {
    why: ATTEMPTS.labels(why) for why in ("reattempt", "candidate")
}  # there from the start: rates see the first
_ENDS = {how: ENDED.labels(how) for how in ("ok", "error", "left")}
_FIRST = {dialect.name: FIRST_BYTE.labels(dialect.name) for dialect in DIALECTS}
_requests: dict[tuple[str, int], Counter] = {}


def count_request(route: str, status: int) -> None:
    """Counts an answer. Children are kept: looking them up by label is dear on the hot path."""
    child = _requests.get((route, status))
    if child is None:
        child = _requests[route, status] = REQUESTS.labels(route, str(status))
    child.inc()


def count_call(route: str, how: str, first_byte_s: float | None) -> None:
    """Counts a call that was answered: `how` is ok, error or left."""
    _ENDS[how].inc()
    if first_byte_s is not None:
        _FIRST[route].observe(first_byte_s)
