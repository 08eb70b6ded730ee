"""Owns how metrics leave a process: one registry, its text, and a small HTTP server for services without one."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from runtime import bounded, log
from runtime.bus.bus import Bus
from runtime.reload import STATUS

REGISTRY = CollectorRegistry()
CONTENT_TYPE = CONTENT_TYPE_LATEST
SERIES_MAX = 2_000  # of one metric
OTHER = "other"
_HEAD_BYTES_MAX = 8 * 1024
_HEAD_TIMEOUT_S = 5.0
_CONNECTIONS_MAX = 16


def text() -> bytes:
    """All metrics of this process in Prometheus' text format."""
    return generate_latest(REGISTRY)


class Tally:
    """A counter with labels as plain integers: on the hot path, a metric's own children are dear to look up.

    Label sets beyond SERIES_MAX count together, under OTHER: whoever makes names up makes no series.
    """

    def __init__(self, name: str, text: str, labels: tuple[str, ...]) -> None:
        self.counts: dict[tuple[str, ...], int] = {}
        self._name = name
        self._text = text
        self._labels = labels

    def add(self, labels: tuple[str, ...], amount: int = 1) -> None:
        """Counts something under its labels' values, in their order."""
        counts = self.counts
        if labels not in counts:
            if len(counts) >= SERIES_MAX:
                labels = (OTHER,) * len(self._labels)
            counts.setdefault(labels, 0)
        counts[labels] += amount

    def family(self) -> CounterMetricFamily:
        """The metric as it is now."""
        family = CounterMetricFamily(self._name, self._text, labels=self._labels)
        for labels, count in self.counts.items():
            family.add_metric(labels, count)
        return family


class _BusCollector(Collector):
    """Shows the counters that buses keep as plain integers, so that the hot path never touches a metric."""

    def __init__(self) -> None:
        self.buses: list[Bus] = []

    def collect(self) -> Iterator[Metric]:
        connected = GaugeMetricFamily("tokn_bus_connected", "1 while connected to NATS", labels=["role"])
        events = CounterMetricFamily(
            "tokn_bus_events", "What happened on a connection", labels=["role", "event"]
        )
        for bus in self.buses:
            role = bus.role.value
            connected.add_metric([role], float(bus.connected))
            for name, count in bus.counts().items():
                events.add_metric([role, name], count)
        yield connected
        yield events


class _LogCollector(Collector):
    """Shows what the log has lost: a plain integer, since no line may depend on a metric."""

    def collect(self) -> Iterator[Metric]:
        lost = CounterMetricFamily("tokn_log_lines_lost", "Log lines that standard error did not take")
        lost.add_metric([], log.lost())
        left_out = CounterMetricFamily("tokn_log_lines_suppressed", "Warnings beyond the bound of their kind")
        left_out.add_metric([], bounded.suppressed())
        yield from (lost, left_out)


class _ConfigCollector(Collector):
    """Shows which configuration this process runs on."""

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily(
            "tokn_config_generation", "The configuration in use: 1 from the start", STATUS.generation
        )
        yield GaugeMetricFamily(
            "tokn_config_last_reload_ok",
            "0 while the newest configuration is refused, and the last good one in use",
            float(STATUS.ok),
        )
        yield GaugeMetricFamily(
            "tokn_config_last_reload_seconds", "Unix time of the newest reload, or of the start", STATUS.at
        )


class _Readiness:
    """Who says whether this process can do its work; None where nobody does."""

    asked: Callable[[], Awaitable[bool]] | None = None


_BUSES = _BusCollector()
REGISTRY.register(_BUSES)
REGISTRY.register(_LogCollector())
REGISTRY.register(_ConfigCollector())


def watch_bus(bus: Bus) -> None:
    """Adds a connection's counters to this process's metrics: one connection a role."""
    _BUSES.buses = [other for other in _BUSES.buses if other.role is not bus.role] + [bus]


def watch_ready(asked: Callable[[], Awaitable[bool]] | None) -> None:
    """From now on `/readyz` beside the metrics asks this."""
    _Readiness.asked = asked


class MetricsServer:
    """Serves `GET /metrics`, `GET /healthz` and, where `watch_ready` was told whom to ask, `GET /readyz`, one request a connection."""

    def __init__(self, server: asyncio.Server) -> None:
        self._server = server
        self.port: int = server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Stops listening."""
        self._server.close()
        await self._server.wait_closed()


async def serve_metrics(host: str, port: int) -> MetricsServer:
    """Starts the server; port 0 takes a free one. Raises OSError if it cannot listen."""
    room = asyncio.Semaphore(_CONNECTIONS_MAX)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with room, asyncio.timeout(_HEAD_TIMEOUT_S):
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(await _response(head))
                await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        finally:
            writer.close()

    return MetricsServer(await asyncio.start_server(answer, host, port, limit=_HEAD_BYTES_MAX))


async def _response(head: bytes) -> bytes:
    method, _, rest = head.partition(b" ")
    path = rest.partition(b" ")[0].partition(b"?")[0]
    if method != b"GET":
        status, kind, body = b"405 Method Not Allowed", "text/plain", b"only GET\n"
    elif path == b"/metrics":
        status, kind, body = b"200 OK", CONTENT_TYPE, text()
    elif path == b"/healthz":
        status, kind, body = b"200 OK", "text/plain", b"ok\n"
    elif path == b"/readyz" and _Readiness.asked is not None:
        ready = await _Readiness.asked()
        status, kind, body = (
            (b"200 OK", "text/plain", b"ready\n")
            if ready
            else (b"503 Service Unavailable", "text/plain", b"no ledger answers\n")
        )
    else:
        status, kind, body = b"404 Not Found", "text/plain", b"GET /metrics or /healthz\n"
    lines = f"content-type: {kind}\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n".encode()
    return b"HTTP/1.1 " + status + b"\r\n" + lines + body
