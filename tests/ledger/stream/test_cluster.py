"""A cluster of nats-servers: what was acknowledged outlives any one of them."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from ledger.stream import jetstream
from runtime.bus.bus import BusError
from runtime.bus.streams import ask
from runtime.settings.settings import NatsSettings
from schemas.bus.subjects import THOUGHTS_STREAM, Role
from schemas.money.pricing import TokenUsage
from schemas.verbs.calls import Hold
from tests.fakes.nats import NatsServer
from tests.fakes.ports import free_port
from tests.ledger.conftest import Source
from tests.ledger.deployment import Deployment, admin, until
from tests.ledger.harness import USD, Clock, billed, event

SERVERS = 3
SMALL = TokenUsage(input=80, output=40)
ELECTION_S = 30.0


class Cluster:
    """Three servers that know one another."""

    def __init__(self, folder: Path) -> None:
        ports = [free_port() for _ in range(SERVERS)]
        routes = ", ".join(f"nats://127.0.0.1:{port}" for port in ports)
        self.servers = {
            f"n{number}": NatsServer(
                folder / f"n{number}",
                more=f'server_name: n{number}\ncluster {{ name: tokn, listen: "127.0.0.1:{port}", routes: [{routes}] }}\n',
            )
            for number, port in enumerate(ports)
        }

    def settings(self, *roles: Role) -> NatsSettings:
        """As NatsServer's, of all three."""
        one = next(iter(self.servers.values())).settings(*roles)
        url = ",".join(server.url for server in self.servers.values())
        return msgspec.structs.replace(one, url=url, replicas=SERVERS)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """A running cluster."""
    made = Cluster(tmp_path)
    with contextlib.ExitStack() as stack:
        for server in made.servers.values():
            stack.enter_context(server)
        yield made


async def test_an_acknowledged_event_outlives_its_server(
    cluster: Cluster, source: Source, clock: Clock
) -> None:
    """The stream's leader is killed: events acknowledged before are billed once, and new ones are taken soon after."""
    deployment = Deployment(source, cluster, clock)
    await deployment.open()
    await deployment.start()
    key_id = await deployment.key()
    for number in range(40):
        assert isinstance(await deployment.authorise(f"r{number}"), Hold)
    await deployment.stop()
    for number in range(20):
        await deployment.publish(f"m{number}", event(f"r{number}", SMALL))
    async with admin(deployment) as bus:
        placed = await ask(bus, f"STREAM.INFO.{jetstream.USAGE_STREAM}")
    where = msgspec.json.decode(placed)["cluster"]
    assert len(where["replicas"]) == SERVERS - 1
    leader = cluster.servers[where["leader"]]
    leader.kill()
    begun = time.monotonic()
    await deployment.start()
    await deployment.settled(key_id, 50 * USD - 20 * billed(SMALL))

    async def taken() -> bool:
        with contextlib.suppress(BusError):
            await deployment.publish("m20", *(event(f"r{number}", SMALL) for number in range(20, 40)))
            return True
        return False

    await until(taken, "the cluster takes events again", ELECTION_S)
    assert time.monotonic() - begun < ELECTION_S
    await deployment.settled(key_id, 50 * USD - 40 * billed(SMALL))
    leader.start()
    proof = await deployment.audit()
    assert (proof["ok"], proof["calls"], proof["open_holds"]) == (True, 40, 0)
    await deployment.close()


async def test_a_ledger_that_was_not_told_takes_no_copies_away(
    cluster: Cluster, source: Source, clock: Clock
) -> None:
    """A ledger without `[nats] replicas` starts on a cluster whose streams have three: they keep them."""
    deployment = Deployment(source, cluster, clock)
    await deployment.open()
    await deployment.start()
    await deployment.stop()
    deployment.server = next(iter(cluster.servers.values()))
    await deployment.start()
    async with admin(deployment) as bus:
        for name in (jetstream.USAGE_STREAM, THOUGHTS_STREAM):
            kept = msgspec.json.decode(await ask(bus, f"STREAM.INFO.{name}"))
            assert kept["config"]["num_replicas"] == SERVERS
    await deployment.close()
