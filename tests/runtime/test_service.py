import asyncio
import gc
import json
import os
import signal
import socket

import pytest

from runtime import metrics, service
from runtime.log import get_logger
from runtime.service import run_service
from runtime.settings.settings import Settings, SettingsError


def serve_until(stop_after: float | None = None):
    """A service that runs until it is stopped; it stops itself with a signal after some seconds."""

    async def serve(stop: asyncio.Event) -> None:
        if stop_after is not None:
            asyncio.get_running_loop().call_later(stop_after, os.kill, os.getpid(), signal.SIGTERM)
        await stop.wait()

    return serve


def test_clean_stop_is_exit_code_0():
    """SIGTERM sets the event; a service that then returns ends with 0."""
    assert run_service("test", Settings(), serve_until(0.05)) == 0


def test_garbage_is_looked_for_seldom_and_not_in_code(monkeypatch):
    """While a service runs, what was loaded before is out of every look for garbage, which a call alone never brings about."""
    thresholds = []
    monkeypatch.setattr(
        gc, "set_threshold", lambda *counts: thresholds.append(counts)
    )  # not for this process

    async def serve(stop: asyncio.Event) -> None:
        thresholds.append(gc.get_freeze_count())

    gc.unfreeze()
    assert run_service("test", Settings(), serve) == 0
    (counts, frozen) = thresholds
    assert counts[0] == service.GARBAGE_OBJECTS
    assert frozen > 10_000


def test_second_signal_cancels():
    """A service that does not stop is cancelled by the second signal, with exit code 1."""

    async def serve(stop: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        for delay in (0.05, 0.15):
            loop.call_later(delay, os.kill, os.getpid(), signal.SIGINT)
        await stop.wait()
        await asyncio.sleep(60)

    assert run_service("test", Settings(), serve) == 1


def test_configuration_is_exit_code_3_and_one_line(capsys):
    """A SettingsError is one line on standard error and exit code 3."""

    async def serve(stop: asyncio.Event) -> None:
        raise SettingsError("tokn.toml: [x] y: is wrong")

    assert run_service("test", Settings(), serve) == 3
    assert capsys.readouterr().err == "tokn test: tokn.toml: [x] y: is wrong\n"


def test_failure_is_exit_code_1_and_a_line_of_json(capsys):
    """Any other error is logged as one JSON object, and is exit code 1."""

    async def serve(stop: asyncio.Event) -> None:
        raise ValueError("broken")

    assert run_service("test", Settings(), serve) == 1
    line = json.loads(capsys.readouterr().err)
    assert line["level"] == "error"
    assert line["service"] == "test"
    assert "ValueError: broken" in line["exception"]


def test_logs_are_json_on_standard_error(capsys):
    """A log line is one JSON object with event, level, module and time; standard output stays clean."""
    get_logger("here").warning("it happened", count=3)
    out, err = capsys.readouterr()
    line = json.loads(err)
    assert (line["event"], line["level"], line["module"], line["count"]) == (
        "it happened",
        "warning",
        "here",
        3,
    )
    assert out == ""


async def ask(port: int, request: bytes) -> bytes:
    """The whole answer to some bytes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


async def test_metrics_server_answers():
    """/metrics is Prometheus text, /healthz says ok, the rest is refused."""
    server = await metrics.serve_metrics("127.0.0.1", 0)
    try:
        answer = await ask(server.port, b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 200 OK")
        assert b"tokn_bus_connected" in answer
        assert (await ask(server.port, b"GET /healthz HTTP/1.1\r\n\r\n")).endswith(b"ok\n")
        assert (await ask(server.port, b"GET /x HTTP/1.1\r\n\r\n")).startswith(b"HTTP/1.1 404")
        assert (await ask(server.port, b"POST /metrics HTTP/1.1\r\n\r\n")).startswith(b"HTTP/1.1 405")
        assert await ask(server.port, b"x" * 20_000) == b""
    finally:
        await server.close()


def test_metrics_port_in_use_is_a_configuration_error(capsys):
    """A metrics port that is taken is exit code 3 and one line that names it."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        settings = Settings(metrics_port=port)
        assert run_service("test", settings, serve_until(), announce=pytest.fail) == 3
    assert str(port) in capsys.readouterr().err


def test_metrics_port_is_announced():
    """A service tells the port that it was given."""
    told: list[int] = []
    assert run_service("test", Settings(), serve_until(0.05), announce=told.append) == 0
    assert told[0] > 0
