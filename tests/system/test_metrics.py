import json
import re

import httpx
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from ledger.telemetry import Telemetry
from runtime import metrics
from tests.fakes.ports import free_port
from tests.fakes.tokn import ROOT, Tokn, status, wait_for
from workers.telemetry import WorkerCollector

pytestmark = pytest.mark.system

ALERTS = ROOT / "deploy" / "alerts.yml"
NAME = re.compile(r"\btokn_[a-z_]+")
# What has samples only once it has happened: a test of its own shows that it is counted.
RARE = {"tokn_worker_account_credit_nano"}


def declared() -> dict[str, set[str]]:
    """The metrics of each service, by the code that declares them."""
    import edge.telemetry  # noqa: F401, PLC0415  its metrics register themselves

    every = {family.name for family in metrics.REGISTRY.collect()}
    ledger = CollectorRegistry()
    Telemetry(ledger)
    common = {name for name in every if name.startswith(("tokn_bus_", "tokn_config_", "tokn_log_"))}
    return {
        "edge": {name for name in every if name.startswith("tokn_edge_")} | common,
        "ledger": {family.name for family in ledger.collect()} | common,
        "worker": {family.name for family in WorkerCollector([]).collect()} - RARE | common,
    }


@pytest.fixture(scope="module")
def base() -> int:
    """The first of two neighbouring ports that are free, and given to nobody else."""
    first, second = free_port(), free_port()
    while second != first + 1:
        first, second = second, free_port()
    return first


@pytest.fixture(scope="module")
def tokn(base, tmp_path_factory):
    """A deployment whose metrics ports are set, with one call behind it."""
    with Tokn(
        tmp_path_factory.mktemp("metrics") / "data",
        f'[metrics]\nport = {base}\n[pools.sandbox]\nprovider = "sandbox"\nwords_per_s = 0\n',
    ) as running:
        body = {"model": "tokn-sandbox", "messages": [{"role": "user", "content": "a"}]}
        headers = {"Authorization": f"Bearer {running.key}"}
        answer = httpx.post(
            f"{running.url}/v1/chat/completions", headers=headers, json=body | {"stream": True}, timeout=60
        )
        assert answer.status_code == 200
        running.settled(running.key_id())
        yield running


def ports(tokn: Tokn) -> dict[str, int]:
    """Where each child serves its metrics, by the run file."""
    found = json.loads((tokn.data / "run.json").read_text())["children"]
    return {child["name"]: child["metrics_port"] for child in found if child["metrics_port"]}


def answers(port: int) -> bool:
    """Whether something serves metrics there."""
    return status(port, "/metrics") == 200


def scrape(tokn: Tokn, service: str) -> dict[str, list]:
    """A service's samples by the names of their metrics, as Prometheus reads them."""
    url = tokn.url if service == "edge" else f"http://127.0.0.1:{ports(tokn)[service]}"
    text = httpx.get(f"{url}/metrics", timeout=60).text
    return {family.name: family.samples for family in text_string_to_metric_families(text)}


@pytest.mark.parametrize("service", ["edge", "worker", "ledger"])
def test_every_declared_metric_is_served(tokn, service):
    """Each service serves a sample of each metric that its code declares, once it has served a call."""
    names = declared()[service]
    assert len(names) > 8

    def lacking() -> set[str]:
        found = scrape(tokn, service)
        return {name for name in names if not found.get(name)}

    wait_for(lambda: not lacking(), 20, f"samples of {lacking()}")


def test_the_books_are_told_by_model_and_money(tokn):
    """What was billed and moved is there to the nano-dollar, by pool and model, and no label names a key or a call."""
    found = scrape(tokn, "ledger")
    (row,) = tokn.rows("usage")
    (billed,) = found["tokn_ledger_billed_nano"]
    assert billed.labels == {"pool": "sandbox", "model": "tokn-sandbox"}
    assert billed.value == row["billed_nano"]
    moved = {tuple(one.labels.values()): one.value for one in found["tokn_ledger_moved_nano"]}
    assert moved["charge", "forth"] == row["billed_nano"]
    assert moved["deposit", "forth"] == 5_000_000_000
    (cost,) = found["tokn_ledger_cost_nano"]
    assert (cost.labels, cost.value) == ({"pool": "sandbox", "account": "sandbox"}, row["list_nano"])
    text = json.dumps([one.labels for samples in found.values() for one in samples])
    assert row["key_id"] not in text
    assert row["request_id"] not in text


def test_tries_and_states_are_told_by_account(tokn):
    """A worker says of each account how its calls ended, by model and status, and in which state it is."""
    found = scrape(tokn, "worker")
    (tried,) = found["tokn_worker_tries"]
    assert tried.labels == {
        "pool": "sandbox",
        "account": "sandbox",
        "model": "tokn-sandbox",
        "outcome": "ok",
        "status": "2xx",
    }
    states = {one.labels["state"]: one.value for one in found["tokn_worker_account_state"]}
    assert {"ok", "cooling", "refused", "spent", "gone"} <= states.keys()
    assert sum(states.values()) == states["ok"] == 1


def test_ports_are_fixed_and_taken_ones_give_way(tokn, base, tmp_path):
    """Ledger and worker have the base port and the next; a second deployment with the same base runs beside it and says so."""
    assert ports(tokn)["ledger"] == base
    with Tokn(tmp_path / "data", f"[metrics]\nport = {base}\n", OPENAI_API_KEY="") as second:
        own = ports(second)
        assert own["ledger"] != base
        assert httpx.get(f"http://127.0.0.1:{own['ledger']}/healthz", timeout=60).status_code == 200
        wait_for(
            lambda: f'"port":{own["ledger"]}' in second.log.read_text(), 20, "a line that names the port"
        )
    killed = tokn.kill("ledger")
    wait_for(lambda: [one for one in tokn.children("ledger") if one.pid != killed.pid], 20, "a new ledger")
    assert wait_for(lambda: answers(base), 20, "metrics at the same port as before")
    wait_for(lambda: ports(tokn).get("ledger") == base, 20, "the run file names it")


def test_alerts_name_metrics_that_are_served():
    """Each metric of the alerts file is one that some service declares, by the name that its samples have."""
    names = set().union(*declared().values()) | RARE
    samples = names | {f"{name}{end}" for name in names for end in ("_total", "_bucket")}
    named = set(NAME.findall(ALERTS.read_text()))
    assert len(named) > 10
    assert not named - samples
