"""A role's password is changed while messages flow: with both lines a server takes the new one, and no request fails."""

import asyncio
import os
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from runtime.bus.bus import Bus, Message, Subscription
from runtime.bus.server import main
from runtime.settings.settings import NatsSettings, SettingsError, read_credentials
from schemas.bus.subjects import LEDGER_QUEUE, LEDGERS, Role
from schemas.verbs.ping import PING
from tests.fakes.nats import NatsServer
from tests.fakes.servers import in_containers
from tests.fakes.worker import until

pytestmark = pytest.mark.skipif(in_containers(), reason="a signal goes to the server's process")


def credentials(*rotated: str, both: bool = True) -> str:
    """All roles' lines; the rotated ones have a new password, above the old one if they still have both."""
    lines = []
    for role in Role:
        if role.value in rotated:
            lines.append(f"{role.value} new-{role.value}")
        if both or role.value not in rotated:
            lines.append(f"{role.value} {role.value}-password")
    return "\n".join(lines) + "\n"


class Rotated:
    """A server whose configuration is printed from credentials, as operators do it, and reloaded by SIGHUP."""

    def __init__(self, server: NatsServer, capsys: pytest.CaptureFixture[str], folder: Path) -> None:
        self.server = server
        self._capsys = capsys
        self._file = folder / "credentials"
        self.text = ""

    def settings(self) -> NatsSettings:
        """What a service of now is given."""
        passwords, former = read_credentials(self.text)
        return NatsSettings(url=self.server.url, passwords=passwords, former=former)

    def configure(self, text: str) -> None:
        """Prints the configuration for other credentials into the server's file."""
        self.text = text
        self._file.write_text(text)
        self._capsys.readouterr()
        assert main([str(self._file)]) == 0
        printed = self._capsys.readouterr().out
        assert "password" not in printed
        own = printed.replace('"0.0.0.0:4222"', f'"127.0.0.1:{self.server.port}"')
        (self.server.folder / "nats.conf").write_text(own.replace('"/data"', f'"{self.server.store}"'))

    async def reload(self, text: str) -> None:
        """The same on the running server, until it has taken it."""
        self.configure(text)
        log = self.server.folder / "nats.log"
        before = log.read_text().count("Reloaded server configuration")
        os.kill(self.server.pid, signal.SIGHUP)
        await until(
            lambda: log.read_text().count("Reloaded server configuration") > before, "the server's reload"
        )

    async def connect(self, role: Role) -> Bus:
        """A service of a role, started now."""
        return await Bus.connect(self.settings(), role, name="test", on_closed=lambda: None)


async def answering(rotated: Rotated) -> tuple[Bus, Subscription]:
    """A ledger that answers pings, and what it leaves before it ends."""
    bus = await rotated.connect(Role.LEDGER)

    def answer(message: Message) -> None:
        bus.publish(message.reply, b"pong")

    return bus, await bus.subscribe(LEDGERS, answer, queue=LEDGER_QUEUE)


async def test_no_request_fails_while_passwords_change(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Ledger and edges get new passwords one after the other, under requests all along: none fails, and none is asked again.

    Once the old lines are gone their connections are cut, and nobody connects by them.
    """
    with NatsServer() as server:
        rotated = Rotated(server, capsys, tmp_path)
        rotated.configure(credentials())
        server.restart()
        (ledger, listening), edge = await answering(rotated), await rotated.connect(Role.EDGE)
        done, stopping, flying = 0, False, Counter[str]()

        async def ask() -> None:
            nonlocal done
            while not stopping:
                own = edge
                flying[own.id] += 1
                assert await own.request(PING.subject, b"", 5.0) == b"pong"
                flying[own.id] -= 1
                done += 1

        asking = [asyncio.create_task(ask()) for _ in range(4)]
        left = await rotated.connect(Role.EDGE)
        await rotated.reload(credentials("ledger", "edge"))
        newer, _ = await answering(rotated)
        await _more(lambda: done)
        await listening.leave()
        await ledger.flush(5.0)
        await ledger.close()
        edge_before, edge = edge, await rotated.connect(Role.EDGE)
        await until(lambda: not flying[edge_before.id], "the end of the older edge's requests")
        await rotated.reload(credentials("ledger", "edge", both=False))
        await _more(lambda: done)
        assert (edge.reconnects, newer.reconnects) == (0, 0)
        await until(lambda: not left.connected, "the end of what shows the old password")
        stopping = True
        await asyncio.gather(*asking)
        old = NatsSettings(url=server.url, passwords={"edge": "edge-password"})
        with pytest.raises(SettingsError, match="refuses the role 'edge'"):
            await Bus.connect(old, Role.EDGE, name="test", on_closed=lambda: None)
        for bus in (edge_before, edge, newer, left):
            await bus.close()


async def _more(count: Callable[[], int]) -> None:
    """Waits until further requests were answered."""
    before = count()
    await until(lambda: count() > before + 20, "further answers")


async def test_a_server_of_before_is_shown_the_old_password() -> None:
    """A service that has both lines connects to a server that does not know the new one yet; with neither it is refused."""
    with NatsServer() as server:
        both = NatsSettings(url=server.url, passwords={"edge": "new"}, former={"edge": "edge-password"})
        bus = await Bus.connect(both, Role.EDGE, name="test", on_closed=lambda: None)
        assert bus.connected
        await bus.close()
        neither = NatsSettings(url=server.url, passwords={"edge": "new"}, former={"edge": "newer"})
        with pytest.raises(SettingsError, match="refuses the role 'edge'"):
            await Bus.connect(neither, Role.EDGE, name="test", on_closed=lambda: None)


@pytest.mark.parametrize(
    "text", ["edge a\nedge b\nedge c\n", "edge a\nedge a\n", "edge\n", "nobody a\n"], ids=str.split
)
def test_lines_that_say_nothing_clear_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    """Three lines of a role, or the same twice: who prints a configuration is told, and so is whoever starts a service."""
    with pytest.raises(ValueError, match=r"two: the new|lines are"):
        read_credentials(text)
    path = tmp_path / "credentials"
    path.write_text(text)
    assert main([str(path)]) == 2
    assert capsys.readouterr().out == ""


def test_unsigned_users_have_one_password(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With `--passwords` NATS knows a user by one password: two lines are refused, in words."""
    path = tmp_path / "credentials"
    path.write_text(credentials("edge"))
    assert main([str(path), "--passwords"]) == 2
    assert "one line" in capsys.readouterr().err
