"""Owns the console's metrics. Label sets are bounded: kinds of routes and statuses, never paths or names."""

from collections.abc import Iterator

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from runtime.metrics import REGISTRY, Tally

REQUESTS = Tally("tokn_console_requests", "Requests answered", ("part", "status"))
REFUSED = Tally("tokn_console_refused", "Requests refused before anything was asked", ("why",))
for _why in ("host", "origin", "token", "tries", "provider", "signature"):
    REFUSED.add((_why,), 0)


class _Tallies(Collector):
    """Shows what requests count."""

    def collect(self) -> Iterator[Metric]:
        yield REQUESTS.family()
        yield REFUSED.family()


REGISTRY.register(_Tallies())
