"""Owns a worker's metrics: read from plain counters when somebody asks, so that calls never touch a metric."""

from collections.abc import Iterator, Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from schemas.bus.frames import AccountState
from workers.pool import Pool


class WorkerCollector(Collector):
    """Shows the pools of this process."""

    def __init__(self, pools: Sequence[Pool]) -> None:
        self._pools = pools

    def collect(self) -> Iterator[Metric]:
        """All metrics, as they are now."""
        jobs = CounterMetricFamily(
            "tokn_worker_jobs", "Jobs by what became of them", labels=["pool", "result"]
        )
        calls = CounterMetricFamily(
            "tokn_worker_calls", "Accepted calls by outcome", labels=["pool", "outcome"]
        )
        inflight = GaugeMetricFamily(
            "tokn_worker_inflight", "Accepted calls not settled yet", labels=["pool"]
        )
        unacked = GaugeMetricFamily(
            "tokn_worker_usage_unacked", "Usage events not durable yet", labels=["pool"]
        )
        usable = GaugeMetricFamily(
            "tokn_worker_accounts_usable", "Accounts that take calls now", labels=["pool"]
        )
        items = CounterMetricFamily(
            "tokn_worker_items",
            "Items of answers, by whether later requests find them",
            labels=["pool", "result"],
        )
        for pool in self._pools:
            name, counts = pool.serving.pool, pool.serving.counts
            jobs.add_metric([name, "accepted"], counts.accepted)
            jobs.add_metric([name, "bounced"], counts.bounced)
            jobs.add_metric([name, "invalid"], counts.invalid_jobs)
            calls.add_metric([name, "ok"], counts.ok)
            calls.add_metric([name, "failed"], counts.failed)
            calls.add_metric([name, "cancelled"], counts.cancelled)
            inflight.add_metric([name], pool.inflight)
            unacked.add_metric([name], pool.serving.usage_events.unacked)
            items.add_metric([name, "kept"], pool.serving.items.kept)
            items.add_metric([name, "dropped"], pool.serving.items.dropped)
            usable.add_metric(
                [name],
                sum(account.condition.state is AccountState.OK for account in pool.serving.accounts.all),
            )
        yield from (jobs, calls, inflight, unacked, items, usable)
