"""How long a stop may take: every supervisor of a service leaves it the time that it gives its calls."""

import re
from pathlib import Path

import pytest
from msgspec import structs

from runtime.settings.edge import ConnectionSettings
from runtime.settings.settings import CallSettings, load
from tokn import nats
from tokn.folder import Folder
from tokn.up import STOP_S, Up

COMPOSE = Path(__file__).resolve().parents[2] / "compose.yaml"
UNITS_S = {"h": 3_600, "m": 60, "s": 1}
EDGE_LAST_S, WORKER_LAST_S = (
    6.0,
    20.0,
)  # what each takes at most for its last errands, once the calls have ended


@pytest.mark.parametrize(("grace_s", "drain_s"), [(0.0, 0.0), (25.0, 600.0), (7_200.0, 0.0)])
def test_up_waits_for_the_grace_of_those_that_have_calls(tmp_path, monkeypatch, grace_s, drain_s):
    """`tokn up` kills neither edge nor worker before calls had their grace and the last errands their time; others are quick."""
    monkeypatch.chdir(tmp_path)
    settings = structs.replace(
        load(None, credentials=False, environment={}),
        calls=CallSettings(grace_s=grace_s),
        connections=ConnectionSettings(drain_s=drain_s),
    )
    folder = Folder(tmp_path / "data")
    folder.open()
    try:
        deployment = Up(settings, folder)
        stop_s = {name: deployment._service(name, settings).stop_s for name in ("edge", "worker", "ledger")}
    finally:
        folder.close()
    assert stop_s["edge"] > drain_s + grace_s + EDGE_LAST_S
    assert stop_s["worker"] > grace_s + WORKER_LAST_S
    assert stop_s["ledger"] == STOP_S["ledger"] < 60


async def test_a_worker_that_was_let_go_has_ledger_and_bus(tmp_path, monkeypatch):
    """A stop waits for workers that a reload let go after the edge, whose calls they serve, and before what they need."""
    monkeypatch.chdir(tmp_path)
    folder = Folder(tmp_path / "data")
    folder.open()
    ended = []

    class Supervisor:
        async def stop(self, name):
            ended.append(name)

    class Changeover:
        async def settled(self):
            ended.append("those let go")

    try:
        deployment = Up(load(None, credentials=False, environment={}), folder)
        deployment.supervisor, deployment.changeover = Supervisor(), Changeover()
        await deployment.stop()
    finally:
        folder.close()
    assert ended == ["console", "edge", "those let go", "worker", "ledger", nats.NAME]


def test_compose_waits_for_the_grace_of_its_configuration():
    """The containers of edge and workers are given longer than the default grace, and `deploy/tokn.toml` sets no other."""
    text = COMPOSE.read_text()
    periods = dict(re.findall(r"^x-(\w+): &\w+\n(?:  .*\n)*?  stop_grace_period: (\S+)$", text, re.MULTILINE))
    serving_s = sum(
        int(count) * UNITS_S[unit] for count, unit in re.findall(r"(\d+)([hms])", periods["serving"])
    )
    (drain_s,) = re.findall(
        r"^drain_s = (\d+)$", (COMPOSE.parent / "deploy/tokn.toml").read_text(), re.MULTILINE
    )
    assert int(drain_s) == 5
    assert serving_s > int(drain_s) + CallSettings().grace_s + STOP_S["worker"]
    for name in ("x-worker: &worker", "  edge:"):
        assert f"\n{name}\n  {'  ' * name.startswith(' ')}<<: *serving\n" in text, name
    assert "grace_s" not in (COMPOSE.parent / "deploy" / "tokn.toml").read_text()
