"""A day of an operator on money: the commands on a running gateway, and what they say when a ledger hangs or dies."""

import contextlib
import io
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from runtime.ledger import Patience
from schemas import keys
from tests.fakes.tokn import Tokn, ask, wait_for
from tokn import cli, ledger

pytestmark = pytest.mark.system

CONFIG = (
    '[pools.sandbox]\nprovider = "sandbox"\nrate = 1\nwords_per_s = 0\n'
    '[[pools.sandbox.accounts]]\nid = "main"\ncredit_usd = 5\n'
)
USD = 1_000_000_000
CLIENTS = 20


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tokn]:
    """One gateway for all of them."""
    with Tokn(tmp_path_factory.mktemp("acts") / "data", CONFIG) as running:
        yield running


def _key(gateway: Tokn, name: str, usd: str = "5", profile: str = "acme") -> dict[str, Any]:
    return gateway.row("key", "create", "--name", name, "--profile", profile, "--balance", usd)


def _call(gateway: Tokn, key: str) -> str:
    answer = httpx.post(
        f"{gateway.url}/v1/chat/completions",
        headers={"Authorization": f"Bearer {key}"},
        json={"model": "tokn-sandbox", "messages": [{"role": "user", "content": "Hello"}]},
        timeout=60,
    )
    assert answer.status_code == 200, answer.text
    return answer.headers["x-request-id"]


def test_a_day_of_an_operator(gateway: Tokn) -> None:
    """Each command does what it says, in JSON and for people, and the books balance after all of them."""
    key, other = _key(gateway, "one", "0"), _key(gateway, "two", "0")
    id_ = key["id"]
    paid = gateway.row("credit", id_, "10", "--reference", "inv-1", "--reason", "first invoice")
    assert (paid["id"], paid["posted_nano"], paid["credit"]["reference"]) == (id_, 10 * USD, "inv-1")
    gift = gateway.row("credit", id_, "2", "--kind", "promotional", "--expires", "30d")
    assert gift["credit"]["expires"] - gift["credit"]["created"] == 30 * 86_400
    assert (
        gateway.row("credit", id_, "1", "--kind", "goodwill", "--reason", "sorry")["posted_nano"] == 13 * USD
    )
    request_id = _call(gateway, key["key"])
    wait_for(lambda: gateway.balance(id_)["held_nano"] == 0, 10, "the call is settled")
    billed = gateway.row("usage", request_id)["billed_nano"]
    back = gateway.row("refund", request_id, "--reason", "wrong answer")
    assert (back["refunded_nano"], back["net_nano"]) == (billed, 0)
    assert gateway.balance(id_)["posted_nano"] == 13 * USD
    assert gateway.row("debit", id_, "3", "--reason", "typed twice")["posted_nano"] == 10 * USD
    returned = gateway.row("debit", id_, "1", "--kind", "deposit_return", "--reason", "leaves")
    assert returned["credit"]["amount_nano"] == -USD
    moved = gateway.row("move", id_, other["id"], "4")
    assert (moved["posted_nano"], moved["to"]["posted_nano"]) == (5 * USD, 4 * USD)
    assert gateway.row("credit", "--organization", "acme", "5")["account"] == "org:acme"
    assert gateway.row("credit", "--playground", "acme", "5")["account"] == "playground:acme"
    assert (
        gateway.row("pool", "credit", "sandbox:main", "20", "--reference", "po-7")["credit_nano"] > 24 * USD
    )
    assert gateway.row("pool", "credit", "sandbox:main", "-20")["credit"]["amount_nano"] == -20 * USD
    assert gateway.rows("parked") == []
    kinds = [one["kind"] for one in gateway.rows("credits", id_)]
    assert kinds == [
        "move",
        "deposit_return",
        "adjustment",
        "refund",
        "goodwill",
        "promotional",
        "deposit",
    ]
    log = gateway.rows("audit", "log", "--target", id_)
    assert {one["action"] for one in log} > {"deposit", "goodwill", "adjustment", "key_create"}
    assert all(one["actor"].startswith("cli:") and "@" in one["actor"] for one in log)
    assert gateway.audit()["ok"]


def test_what_people_read(gateway: Tokn, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables fit 80 columns with every id whole, and the word is "Done"."""
    monkeypatch.setenv("COLUMNS", "80")
    id_ = _key(gateway, "reader")["id"]
    done = gateway.run("credit", id_, "1.5", "--kind", "promotional", "--expires", "2030-01-01")
    assert done.stdout.startswith("Done")
    credit = gateway.rows("credits", id_)[0]
    for printed in (gateway.run("credits", id_).stdout, gateway.run("audit", "log", "--limit", "3").stdout):
        assert max(map(len, printed.splitlines())) <= 80
        assert id_ in printed
    assert credit["id"] in gateway.run("credits", id_).stdout
    assert "1.50 USD left until 2030-01-01 00:00:00" in gateway.run("credits", id_).stdout


def test_bad_input(gateway: Tokn) -> None:
    """Usage that is wrong ends with 2, an answer that is no with 1 and "not done"; nothing has changed."""
    id_ = _key(gateway, "bad")["id"]
    before = gateway.balance(id_), len(gateway.rows("audit", "log", "--limit", "1000"))
    for code, words, *command in (
        (2, "must be more than 0", "credit", id_, "-1"),
        (2, "must be more than 0", "credit", id_, "0"),
        (2, "at most nine decimals", "credit", id_, "0.0000000001"),
        (2, "is not an amount", "credit", id_, "ten"),
        (2, "out of range", "credit", id_, "1e12"),
        (2, "give KEY USD", "credit", id_),
        (2, "give KEY USD", "credit", id_, "1", "--playground", "acme"),
        (2, "give 30d", "credit", id_, "1", "--kind", "promotional", "--expires", "soon"),
        (2, "reason", "debit", id_, "1"),
        (1, "not done: there is no", "debit", keys.generate(), "1", "--reason", "r"),
        (2, "give POOL:ACCOUNT", "pool", "credit", "sandbox", "1"),
        (1, "not done: 6.00 USD is more than the 5.00 USD", "debit", id_, "6", "--reason", "r"),
        (1, "not done: there is no key key_none", "credit", "key_none", "1"),
        (1, "not done: there is no call req_none", "refund", "req_none"),
        (1, "not done: there is no account sandbox:none", "pool", "credit", "sandbox:none", "1"),
        (1, "not done: account sandbox:main has", "pool", "credit", "sandbox:main", "-500"),
        (1, "not done: nothing is uncollected", "write-off"),
        (2, "give REQ and one of", "parked", "--bill"),
        (1, "not done: there is no parked event", "parked", "req_none", "--dismiss"),
        (1, "not done: only promotional credit expires", "credit", id_, "1", "--expires", "1d"),
        (
            1,
            "not done: it must expire after now",
            "credit",
            id_,
            "1",
            "--kind",
            "promotional",
            "--expires",
            "2020-01-01",
        ),
    ):
        done = gateway.run(*command)
        said = " ".join((done.stdout + done.stderr).replace("│", "").split())
        assert (done.returncode, words in said) == (code, True), (command, done)
        assert "tokn_" not in said
    assert (gateway.balance(id_), len(gateway.rows("audit", "log", "--limit", "1000"))) == before
    assert gateway.audit()["ok"]


def _known(done: subprocess.CompletedProcess[str]) -> subprocess.CompletedProcess[str] | None:
    return None if done.returncode == 4 else done


def test_twenty_clients_and_a_ledger_that_dies(gateway: Tokn) -> None:
    """Twenty clients with one idempotency key, the ledger killed in between: one effect, and one answer for all."""
    id_ = _key(gateway, "twenty")["id"]

    words = ("credit", id_, "1", "--idempotency-key", "twenty-1", "--json")

    def credit(number: int) -> dict[str, Any]:
        if number == CLIENTS // 2:
            gateway.kill("ledger")
        # Whoever hears "not known" repeats it, as it says.
        done = wait_for(
            lambda: _known(ask(*words, timeout_s=60, TOKN_DATA=str(gateway.data))), 180, "an answer"
        )
        assert done.returncode == 0, done
        return dict(json.loads(done.stdout))

    with ThreadPoolExecutor(CLIENTS) as clients:
        answers = list(clients.map(credit, range(CLIENTS)))
    assert all(one == answers[0] for one in answers)
    assert gateway.balance(id_)["posted_nano"] == 6 * USD
    assert len(gateway.rows("audit", "log", "--target", id_, "--action", "deposit")) == 1
    other = gateway.run("credit", id_, "2", "--idempotency-key", "twenty-1")
    assert (other.returncode, "not done: idempotency_mismatch" in other.stderr) == (1, True)
    assert gateway.audit()["ok"]


@contextlib.contextmanager
def _standard_input(line: str) -> Iterator[None]:
    before = sys.stdin
    sys.stdin = io.StringIO(line + "\n")
    try:
        yield
    finally:
        sys.stdin = before


def _said(words: list[str], capfd: pytest.CaptureFixture[str]) -> tuple[int, str]:
    code = cli.run(words)
    captured = capfd.readouterr()
    return code, captured.err + captured.out


def test_a_ledger_that_hangs(
    gateway: Tokn, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Nobody answers: the command says that it is not known, and how to repeat it; repeated, it was done once."""
    monkeypatch.setattr(ledger, "ACT_PATIENCE", Patience(total_s=1.0, try_s=0.5, pause_s=0.1))
    monkeypatch.setenv("TOKN_DATA", str(gateway.data))
    id_ = _key(gateway, "hangs")["id"]
    made = len(gateway.rows("key", "list"))
    frozen = gateway.child("ledger")
    frozen.send_signal(signal.SIGSTOP)
    try:
        code, text = _said(["credit", id_, "10"], capfd)
        key_code, key_text = _said(["key", "create", "--name", "lost", "--balance", "7"], capfd)
    finally:
        frozen.send_signal(signal.SIGCONT)
    assert (code, key_code) == (4, 4)
    assert "not known whether it was done" in text
    again = text.split("--idempotency-key ")[1].split()[0]
    assert gateway.row("credit", id_, "10", "--idempotency-key", again)["posted_nano"] == 15 * USD
    assert gateway.balance(id_)["posted_nano"] == 15 * USD
    secret = key_text.split()[-1]
    assert keys.is_well_formed(secret)
    repeat = key_text.split("--idempotency-key ")[1].split()[0]
    words = [
        "key",
        "create",
        "--name",
        "lost",
        "--balance",
        "7",
        "--idempotency-key",
        repeat,
        "--key",
        "-",
        "--json",
    ]
    with _standard_input(secret):
        code, text = _said(words, capfd)
    assert code == 0, text
    assert json.loads(text)["key"] == secret
    assert len(gateway.rows("key", "list")) == made + 1
    assert gateway.balance(json.loads(text)["id"])["posted_nano"] == 7 * USD
    assert gateway.audit()["ok"]
