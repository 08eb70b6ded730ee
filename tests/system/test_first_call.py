"""Owns the first minutes: `tokn up` without a file, the printed curl, restarts, refusals, stopping."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.fakes.ports import free_port
from tests.fakes.tokn import (
    CHILDREN,
    StartedTokn,
    Tokn,
    environment,
    memory_bytes,
    run,
    shell_words,
    wait_for,
)

pytestmark = pytest.mark.system

OPENING_NANO = 5_000_000_000
FIRST_ANSWER_MAX_S = 5.0
IDLE_STOP_MAX_S = 5.0
IDLE_MEMORY_MAX_BYTES = 300 * 1024 * 1024
# tokn-sandbox lists at 1.00 in and 2.00 out, at rate 0.60: nano-dollars a token.
SANDBOX_IN_NANO, SANDBOX_OUT_NANO = 600, 1_200


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    """`tokn up` on an empty folder, without a configuration or credentials."""
    with StartedTokn(tmp_path_factory.mktemp("fresh") / "data") as running:
        yield running


def paste(line: str) -> str:
    """What bash prints for a line, as if pasted."""
    done = subprocess.run(
        ["bash", "-c", line], capture_output=True, text=True, timeout=60, env=environment(), check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def settle(tokn: Tokn, calls: int) -> int:
    """The balance of the first key once so many calls are in the books."""
    key_id = tokn.key_id()
    wait_for(lambda: len(tokn.rows("usage", "--key", key_id)) == calls, 20, f"{calls} calls in the books")
    return tokn.settled(key_id)["posted_nano"]


def with_stream(line: str, stream: bool) -> str:
    """The curl line with "stream" set in its JSON body, whether the body names it or not."""
    body = next(word for word in shell_words(line) if word.startswith("{"))
    changed = json.dumps({**json.loads(body), "stream": stream, "stream_options": {"include_usage": True}})
    if not stream:
        changed = json.dumps({**json.loads(body), "stream": False})
    assert body in line
    return line.replace(body, changed)


def test_printed_curl_is_billed_exactly(fresh):
    """The pasted curl line answers plain and as a stream, and the balance falls by exactly the priced amount."""
    line = fresh.curl
    assert "\n" not in line
    assert fresh.key in line
    paste(line)
    first = settle(fresh, 1)
    spent = OPENING_NANO - first
    (row,) = fresh.rows("usage")
    assert (
        spent
        == row["billed_nano"]
        == (row["prompt_tokens"] * SANDBOX_IN_NANO + row["completion_tokens"] * SANDBOX_OUT_NANO)
    )
    assert spent > 0

    answer = json.loads(paste(with_stream(line, stream=False)))
    assert answer["object"] == "chat.completion"
    assert answer["choices"][0]["message"]["content"]
    second = settle(fresh, 2)
    usage = answer["usage"]
    assert first - second == (
        usage["prompt_tokens"] * SANDBOX_IN_NANO + usage["completion_tokens"] * SANDBOX_OUT_NANO
    )

    events = [
        event.removeprefix("data: ")
        for event in paste(with_stream(line, stream=True)).replace("\r", "").split("\n\n")
        if event.startswith("data: ")
    ]
    assert events[-1].strip() == "[DONE]"
    last = json.loads(events[-2])
    assert last["choices"] == []
    third = settle(fresh, 3)
    usage = last["usage"]
    assert second - third == (
        usage["prompt_tokens"] * SANDBOX_IN_NANO + usage["completion_tokens"] * SANDBOX_OUT_NANO
    )
    assert fresh.audit()["ok"] is True


def test_children_have_their_names(fresh):
    """Edge, worker, ledger and nats-server each stand under that name in the process list."""
    assert all(fresh.children(name) for name in CHILDREN)


def test_idle_memory(fresh, record_property):
    """All processes of an idle `tokn up` together need at most 300 MB."""
    used = memory_bytes(fresh.tree())
    record_property("idle_memory_bytes", used)
    assert used <= IDLE_MEMORY_MAX_BYTES, {
        process.name(): memory_bytes([process]) // 1_000_000 for process in fresh.tree()
    }


def test_second_up_on_a_folder_in_use_is_refused(fresh):
    """A second `tokn up` on the same data folder ends with exit code 3 and one line; the first is not disturbed."""
    done = run("up", "--port", str(free_port()), "--data", str(fresh.data))
    assert done.returncode == 3
    assert len(done.stderr.strip().splitlines()) == 1
    assert str(fresh.data) in done.stderr
    assert fresh.ready()


def first_answer_s(tokn: Tokn) -> float:
    """Seconds from the start of the process to the answer of the pasted line."""
    answer = paste(with_stream(tokn.curl, stream=False))
    took_s = psutil.time.time() - psutil.Process(tokn.process.pid).create_time()
    assert json.loads(answer)["choices"]
    return took_s


def slowdown() -> float:
    """How many times longer than its CPU time a busy process takes now: 1 on a machine that does nothing else."""
    began = time.monotonic()
    pid = os.posix_spawn(sys.executable, [sys.executable, "-c", "import tokn.cli"], environment())
    _, _, used = os.wait4(pid, 0)
    return max((time.monotonic() - began) / (used.ru_utime + used.ru_stime), 1.0)


def test_first_answer_comes_soon(tmp_path):
    """A start on an empty folder answers its first call within 5 s, times how much slower the machine is just then."""
    before = slowdown()
    with StartedTokn(tmp_path / "data") as tokn:
        took_s = first_answer_s(tokn)
    assert took_s < FIRST_ANSWER_MAX_S * max(before, slowdown())


def test_start_answer_stop_and_start_again(tmp_path):
    """A start answers, stops idle in under 5 s, and a second start keeps key and balance."""
    with StartedTokn(tmp_path / "data") as tokn:
        key, line = tokn.key, tokn.curl
        first_answer_s(tokn)
        balance_nano = settle(tokn, 1)
        code, took_s = tokn.stop()
        assert code == 0
        assert took_s < IDLE_STOP_MAX_S
        assert not tokn.orphans()

        tokn.start()
        assert not any("tokn_" in printed for printed in tokn.lines), "a restart prints no key"
        assert tokn.settled(tokn.key_id())["posted_nano"] == balance_nano
        assert key in line
        json.loads(paste(with_stream(line, stream=False)))
        code, took_s = tokn.stop(signal.SIGINT)
        assert code in {0, 130}
        assert took_s < IDLE_STOP_MAX_S
        assert not tokn.orphans()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[pools.openai\n", ["tokn.toml"]),
        ('[pools.openai]\nprovider = "nobody"\n', ["tokn.toml", "pools.openai", "provider"]),
        ('[pricing]\nrate = "much"\n', ["tokn.toml", "pricing", "rate"]),
        ("[nonsense]\na = 1\n", ["tokn.toml", "nonsense"]),
        (
            (
                '[[models]]\nid = "a"\npool = "nowhere"\nupstream = "a"\ninput = 1.0\noutput = 1.0\n'
                "context = 10\nmax_output = 10\n"
            ),
            ["tokn.toml", "models", "pool"],
        ),
        (
            (
                '[pools.openai]\nprovider = "openai"\n[[pools.openai.accounts]]\nid = "main"\n'
                'api_key = "env:NOT_SET_ANYWHERE"\n'
            ),
            ["NOT_SET_ANYWHERE"],
        ),
    ],
    ids=["syntax", "provider", "rate", "unknown-table", "unknown-pool", "unset-variable"],
)
def test_broken_configuration_is_one_clear_line(tmp_path, text, expected):
    """A broken tokn.toml ends `tokn up` with exit code 3 and one line that names the file, the table and the key."""
    config = tmp_path / "tokn.toml"
    config.write_text(text)
    done = run("up", "--port", str(free_port()), "--data", str(tmp_path / "data"), "--config", str(config))
    assert done.returncode == 3, done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    for word in expected:
        assert word in done.stderr


def test_port_in_use_is_one_clear_line(tmp_path):
    """A port in use ends `tokn up` with exit code 3 and one line that names the port."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = run("up", "--port", str(port), "--data", str(tmp_path / "data"))
    assert done.returncode == 3, done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert str(port) in done.stderr


def test_folder_that_cannot_be_written_is_one_clear_line(tmp_path):
    """A data folder that cannot be made ends `tokn up` with exit code 3 and one line that names it."""
    blocked = tmp_path / "file"
    blocked.write_text("")
    folder = blocked / "data"
    done = run("up", "--port", str(free_port()), "--data", str(folder))
    assert done.returncode == 3, done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert str(folder) in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("balance", "nobody"), 1),
        (("key", "show", "nobody"), 1),
        (("key", "revoke", "nobody"), 1),
        (("credit", "nobody", "1"), 1),
        (("models", "explain", "nobody"), 1),
        (("models", "--state", "nowhere"), 2),
        (("credit",), 2),
        (("no-such-command",), 2),
        (("key", "create", "--balance", "much"), 2),
    ],
)
def test_exit_codes_of_commands(fresh, arguments, code):
    """Commands end with 1 when the answer is no, and with 2 when they are used wrongly."""
    assert fresh.run(*arguments).returncode == code


def test_no_ledger_is_exit_code_4(tmp_path):
    """A command on a folder where nothing runs ends with exit code 4 and says what to do."""
    done = run("balance", "anyone", TOKN_DATA=str(tmp_path / "data"))
    assert done.returncode == 4, done.stderr
    assert done.stderr.strip()


def test_key_commands_print_the_contract(fresh):
    """Key create, list, show, revoke, credit, balance, pools and models print the fields of the contract, and only JSON."""
    made = fresh.row("key", "create", "--name", "ann", "--balance", "1.25", "--providers", "sandbox")
    assert {"id", "key", "name", "profile", "providers", "posted_nano"} <= made.keys()
    assert made["posted_nano"] == 1_250_000_000
    assert made["providers"] == ["sandbox"]
    assert re.fullmatch(r"tokn_[0-9A-Za-z]{38}", made["key"])
    credited = fresh.row("credit", made["id"], "0.000000001")
    balance = {
        "id": made["id"],
        "posted_nano": 1_250_000_001,
        "held_nano": 0,
        "available_nano": 1_250_000_001,
    }
    assert balance.items() <= credited.items()
    assert (credited["credit"]["kind"], credited["credit"]["amount_nano"]) == ("deposit", 1)
    assert fresh.balance(made["id"]) == balance
    listed = {row["id"]: row for row in fresh.rows("key", "list")}
    shown = fresh.row("key", "show", made["id"])
    assert {name: value for name, value in shown.items() if name != "secrets"} == listed[made["id"]]
    assert [one["hint"] for one in shown["secrets"]] == [made["key"][-4:]]
    assert {"id", "name", "profile", "providers", "status", "posted_nano", "created"} <= shown.keys()
    assert "key" not in shown
    assert fresh.row("key", "revoke", made["id"])["status"] == "revoked"
    pools = {row["name"]: row for row in fresh.rows("pools")}
    assert {
        "name",
        "provider",
        "workers",
        "inflight",
        "capacity",
        "models",
        "accounts",
    } <= pools["sandbox"].keys()
    assert "tokn-sandbox" in pools["sandbox"]["models"]
    (model,) = fresh.rows("models", "--pool", "sandbox")
    assert {
        *("id", "provider", "pool", "pools", "state", "callable", "context_window", "max_output_tokens"),
        *("shutdown_date", "successor", "pricing", "sources"),
    } <= model.keys()
    explained = fresh.row("models", "explain", "tokn-sandbox")
    assert model.items() <= explained.items()
    assert explained["callable"] is True
    assert explained["reasons"]
    assert fresh.rows("surprises") == fresh.rows("surprises", "--forget", "sandbox/sandbox") == []
    assert {"ok", "findings", "open_holds", "parked"} <= fresh.audit().keys()


def test_data_folder_is_private(fresh):
    """Nobody but the owner can read the data folder."""
    assert Path(fresh.data).stat().st_mode & 0o077 == 0
