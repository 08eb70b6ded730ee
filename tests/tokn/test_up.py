import json
import signal
import subprocess
import sys
import time

import httpx
import psutil
import pytest

from schemas.bus.subjects import Role
from tests.fakes.nats import NatsServer
from tests.fakes.ports import free_port
from tests.fakes.tokn import CHILDREN, START_S, StartedTokn, Tokn, alive, ask, environment, run, wait_for

pytestmark = pytest.mark.system

CANARIES = {
    "OPENAI_API_KEY": "sk-canary-openai",
    "ANTHROPIC_API_KEY": "sk-canary-anthropic",
    "AWS_REGION": "eu-west-1",
    "AWS_ACCESS_KEY_ID": "canary-aws-id",
    "AWS_SECRET_ACCESS_KEY": "canary-aws-secret",
    "GROQ_API_KEY": "gsk_sk-canary-groq",
    "OPENROUTER_API_KEY": "sk-canary-openrouter",
    "HF_TOKEN": "canary-unrelated-token",
    "UNRELATED_SECRET": "canary-unrelated",
}
MADE = [
    "Pool openai: made by OPENAI_API_KEY",
    "Pool anthropic: made by ANTHROPIC_API_KEY",
    "Pool bedrock: made by AWS_ACCESS_KEY_ID and AWS_REGION",
    "Pool groq: made by GROQ_API_KEY",
    "Pool openrouter: made by OPENROUTER_API_KEY; it sells nothing without [[models]] and their prices",
]


@pytest.fixture(scope="module")
def deployment(tmp_path_factory):
    """One `tokn up` on the sandbox for the tests of this module."""
    with StartedTokn(tmp_path_factory.mktemp("up") / "data") as running:
        yield running


def call(tokn: Tokn) -> int:
    """The status of one plain call."""
    answer = httpx.post(
        f"{tokn.url}/v1/chat/completions",
        headers={"Authorization": f"Bearer {tokn.key}"},
        json={"model": "tokn-sandbox", "messages": [{"role": "user", "content": "a"}]},
        timeout=60,
    )
    return answer.status_code


@pytest.mark.parametrize("name", CHILDREN)
def test_killed_child_comes_back(deployment, name):
    """Each child that is killed is there again, and the deployment is ready and answers."""
    killed = deployment.kill(name)
    wait_for(
        lambda: [child for child in deployment.children(name) if child.pid != killed.pid], 10, f"a new {name}"
    )
    wait_for(deployment.ready, 15, "ready again")
    wait_for(lambda: call(deployment) == 200, 15, "an answer")
    assert deployment.process.poll() is None


def test_without_its_console(deployment):
    """`--no-console` starts none and says nothing of one; a link to it is refused with what to do."""
    assert not deployment.children("console")
    assert not any("console" in line for line in deployment.lines)
    refused = deployment.run("console", "login")
    assert refused.returncode == 1
    assert "--no-console" in refused.stderr


def test_frozen_child_does_not_hold_up_a_stop(tmp_path):
    """SIGTERM ends everything although a child is frozen."""
    with Tokn(tmp_path / "data") as tokn:
        tokn.child("worker").suspend()
        code, took_s = tokn.stop()
        assert code == 0
        assert took_s < 10
        assert not tokn.orphans()


def test_kill_of_up_leaves_no_orphan_and_the_next_start_finds_all(tmp_path):
    """A kill -9 of `tokn up` ends every child at once; a start right after it has the same key and balance."""
    with StartedTokn(tmp_path / "data") as tokn:
        key, key_id = tokn.key, tokn.key_id()
        assert call(tokn) == 200
        balance = tokn.settled(key_id)
        tokn.kill("up")
        tokn.process.wait(5)
        wait_for(lambda: not tokn.orphans(), 20, "no orphan")
        tokn.start()
        assert not any("tokn_" in line for line in tokn.lines)
        assert tokn.settled(key_id) == balance
        answer = httpx.get(f"{tokn.url}/v1/models", headers={"Authorization": f"Bearer {key}"}, timeout=60)
        assert answer.status_code == 200
        assert tokn.audit()["ok"]


def test_second_signal_ends_everything_at_once(tmp_path):
    """Two signals in a row kill what does not end in its grace period."""
    with Tokn(tmp_path / "data") as tokn:
        tokn.tree()
        tokn.process.send_signal(signal.SIGINT)
        tokn.process.send_signal(signal.SIGINT)
        begun = time.monotonic()
        tokn.process.wait(10)
        assert time.monotonic() - begun < 5
        assert not tokn.orphans()


def test_stop_while_starting_is_clean(tmp_path):
    """A signal in the middle of a start ends it in order, with nothing left behind."""
    folder = tmp_path / "data"
    for children in (1, 2, 4):
        process = subprocess.Popen(
            [sys.executable, "-m", "tokn", "up", "--port", str(free_port()), "--data", str(folder)],
            env=environment(),
            cwd=tmp_path,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        started = psutil.Process(process.pid)
        below = wait_for(
            lambda started=started, children=children: (
                found if len(found := started.children(recursive=True)) >= children else None
            ),
            START_S,
            f"{children} children",
        )
        process.terminate()
        assert process.wait(START_S) == 0
        assert not [child for child in below if alive(child)]


def test_upstream_credentials_reach_only_workers(tmp_path):
    """The environment and command line of edge, ledger and nats-server hold no credential; workers only their own.

    The start says which variable made which pool, and each sells its rows.
    """
    with StartedTokn(tmp_path / "data", **CANARIES) as tokn:
        listed = httpx.get(
            f"{tokn.url}/v1/models", headers={"Authorization": f"Bearer {tokn.key}"}, timeout=60
        ).json()
        assert [line for line in tokn.lines if line.startswith("Pool ")] == MADE
        assert {"groq/openai/gpt-oss-120b", "openai/gpt-oss-120b"} <= {one["id"] for one in listed["data"]}
        for name in CHILDREN:
            child = tokn.child(name)
            seen = json.dumps([child.environ(), child.cmdline()])
            if name == "worker":
                assert "canary-unrelated" not in seen
                assert "sk-canary" not in seen, "keys reach a worker through its settings"
                assert "canary-aws-secret" in seen, "the AWS chain reads its variables"
            else:
                assert "canary" not in seen
        written = [path for path in tokn.data.rglob("*") if path.is_file()]
        assert written
        for path in written:
            assert b"canary" not in path.read_bytes(), path
            assert path.stat().st_mode & 0o077 == 0 or path.parent.stat().st_mode & 0o077 == 0


def test_run_file_names_what_runs(deployment):
    """The run file has each child's process id and where workers and ledger serve their metrics."""
    found = json.loads((deployment.data / "run.json").read_text())
    children = {child["name"]: child for child in found["children"]}
    assert set(children) == set(CHILDREN)
    for name in ("worker", "ledger"):
        port = children[name]["metrics_port"]
        answer = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=60)
        assert answer.status_code == 200
        assert "tokn_bus_connected" in answer.text
    assert httpx.get(f"{deployment.url}/metrics", timeout=60).status_code == 200


def test_configuration_that_only_a_child_can_judge_is_one_line(tmp_path):
    """A child that cannot use its configuration ends everything with exit code 3, and nothing is left behind."""
    config = tmp_path / "tokn.toml"
    # The price library knows no such model, so the ledger refuses it: that is found only in the child.
    config.write_text(
        '[pools.p]\nprovider = "openai"\n[[pools.p.accounts]]\nid = "a"\napi_key = "x"\n'
        '[[models]]\nid = "no-such-model-anywhere"\npool = "p"\ncontext = 10\nmax_output = 10\n'
    )
    done = run("up", "--port", str(free_port()), "--data", str(tmp_path / "data"), "--config", str(config))
    assert done.returncode == 3, done.stderr
    assert "no-such-model-anywhere" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert done.stdout == ""


def test_public_url_is_what_snippets_show(tmp_path):
    """NEXT_PUBLIC_CREDEX_API_URL is the base URL in what is printed."""
    with Tokn(tmp_path / "data", NEXT_PUBLIC_CREDEX_API_URL="https://api.example/v1/") as tokn:
        assert "https://api.example/v1/chat/completions" in tokn.curl
        assert tokn.lines[0] == "tokn is ready: https://api.example/v1"


def test_services_run_by_themselves_on_a_named_server(tmp_path):
    """Ledger, worker and edge started one by one from a file serve calls, and commands find them by --config."""
    with NatsServer(tmp_path / "nats") as server:
        passwords = server.settings().passwords
        (tmp_path / "roles").write_text(
            "".join(f"{role} {password}\n" for role, password in passwords.items())
        )
        config = tmp_path / "tokn.toml"
        config.write_text(
            f'[nats]\nurl = "{server.url}"\ncredentials = "file:roles"\n'
            '[ledger]\npepper = "a pepper"\n[pools.sandbox]\nprovider = "sandbox"\n'
        )
        port = free_port()
        started = [
            subprocess.Popen(
                [sys.executable, "-m", "tokn", *words, "--config", str(config)],
                env=environment(TOKN_DATA=str(tmp_path)),
                stderr=subprocess.DEVNULL,
            )
            for words in (["ledger"], ["worker", "sandbox"], ["edge", "--port", str(port)])
        ]
        try:
            url = f"http://127.0.0.1:{port}"

            def ready() -> bool:
                try:
                    return httpx.get(f"{url}/readyz", timeout=60).status_code == 200
                except httpx.TransportError:
                    return False

            wait_for(ready, START_S, "ready")
            made = run("key", "create", "--balance", "1", "--json", "--config", str(config))
            assert made.returncode == 0, made.stderr
            answer = httpx.post(
                f"{url}/v1/chat/completions",
                headers={"Authorization": f"Bearer {json.loads(made.stdout)['key']}"},
                json={"model": "tokn-sandbox", "messages": [{"role": "user", "content": "a"}]},
                timeout=60,
            )
            assert answer.status_code == 200
            assert Role.COMMAND.value in passwords
        finally:
            for process in reversed(started):
                process.terminate()
            codes = [process.wait(10) for process in reversed(started)]
        assert codes == [0, 0, 0]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("edge",), "[nats] url"),
        (("worker", "sandbox"), "[nats] url"),
        (("ledger",), "[nats] url"),
        (("worker", "nowhere"), "[pools.nowhere]"),
    ],
)
def test_service_without_what_it_needs_is_one_line(tmp_path, words, expected):
    """A service started by itself says in one line what its configuration lacks, with exit code 3."""
    arguments = list(words)
    if "nowhere" in words:
        config = tmp_path / "tokn.toml"
        config.write_text('[nats]\nurl = "nats://127.0.0.1:1"\n')
        arguments += ["--config", str(config)]
    done = subprocess.run(
        [sys.executable, "-m", "tokn", *arguments],
        env=environment(),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 3, done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert expected in done.stderr


def test_schema_is_printed_without_a_database():
    """`tokn ledger --sql` prints PostgreSQL's SQL and needs nothing that runs."""
    done = run("ledger", "--sql")
    assert done.returncode == 0, done.stderr
    assert "CREATE TABLE" in done.stdout
    assert "playground_credits_usd" in done.stdout
    assert done.stderr == ""


def test_a_revoked_key_takes_no_credit(deployment):
    """Money is not put where nobody could spend it: exit code 1, and the balance is as before."""
    made = deployment.row("key", "create", "--balance", "1")
    deployment.row("key", "revoke", made["id"])
    done = deployment.run("credit", made["id"], "10")
    assert (done.returncode, "revoked" in done.stderr) == (1, True)
    assert deployment.balance(made["id"])["posted_nano"] == 1_000_000_000


def test_the_first_keys_id_is_beside_it(deployment):
    """The start prints the id with the key, and commands take either, or the key's name; none says the key back."""
    made = deployment.row("key", "show", deployment.key)
    assert any(made["id"] in line for line in deployment.lines)
    for named in (made["id"], "first"):
        assert deployment.row("key", "show", named) == made
    assert deployment.key[5:12] not in deployment.run("balance", deployment.key).stdout


def test_playground_credit(deployment):
    """Credits go to a profile's playground with --playground."""
    made = deployment.row("key", "create", "--profile", "ann", "--playground")
    credited = deployment.row("credit", "--playground", "ann", "2.5")
    assert credited["posted_nano"] == 2_500_000_000
    assert deployment.balance(made["id"])["available_nano"] == 2_500_000_000


@pytest.mark.parametrize(
    "words",
    [
        ("credit", "key_x", "-1"),
        ("credit", "key_x", "0"),
        ("credit", "key_x", "1.0000000001"),
        ("credit", "key_x"),
        ("credit", "--playground", "ann", "key_x", "1"),
        ("key", "create", "--providers", "nobody"),
        ("key", "create", "--balance", "nan"),
        ("usage", "--limit", "0"),
        ("up", "--port", "70000"),
        ("worker",),
    ],
)
def test_wrong_use_is_exit_code_2(deployment, words):
    """A command that is used wrongly says how, with exit code 2, and asks nobody."""
    done = deployment.run(*words)
    assert done.returncode == 2, done.stderr
    assert done.stderr
    assert done.stdout == ""


def test_help_of_every_command():
    """Each command has help that names its options."""
    for words in (
        [],
        ["up"],
        ["edge"],
        ["worker"],
        ["ledger"],
        ["key"],
        ["key", "create"],
        ["credit"],
        ["usage"],
    ):
        done = ask(*words, "--help")
        assert done.returncode == 0
        assert "Usage: tokn" in done.stdout
