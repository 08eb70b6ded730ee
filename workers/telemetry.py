"""Owns a worker's metrics: read from plain counters when somebody asks, so that calls never touch a metric.

Label sets are bounded: pools, accounts and models of the settings, never keys or requests.
"""

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
        yield from self._by_account()

    def _by_account(self) -> Iterator[Metric]:
        labels = ["pool", "account"]
        tries = CounterMetricFamily(
            "tokn_worker_tries",
            "Calls of upstreams by outcome, and by the first digit of their status",
            labels=[*labels, "model", "outcome", "status"],
        )
        states = GaugeMetricFamily(
            "tokn_worker_account_state", "1 for the state that an account is in", labels=[*labels, "state"]
        )
        inflight = GaugeMetricFamily(
            "tokn_worker_account_inflight", "Calls that an account serves now", labels=labels
        )
        credit = GaugeMetricFamily(
            "tokn_worker_account_credit_nano",
            "Credit of an account that has a limit, in nano-dollars at list price, less what calls in flight may need",
            labels=labels,
        )
        for pool in self._pools:
            name = pool.serving.pool
            for made, count in pool.serving.counts.tries.items():
                tries.add_metric([name, *made], count)
            for account in pool.serving.accounts.all:
                here = [name, account.settings.id]
                for state in AccountState:
                    states.add_metric([*here, state.value], float(account.condition.state is state))
                inflight.add_metric(here, account.inflight)
                if account.left_nano is not None:
                    credit.add_metric(here, account.left_nano)
        yield from (tries, states, inflight, credit)
