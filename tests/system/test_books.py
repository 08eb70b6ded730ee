"""Statements and exports on the command line of a running gateway: what is printed is the books."""

import csv
import io
from datetime import UTC, datetime

import httpx
import pytest

from tests.fakes.tokn import Tokn, wait_for
from tests.ledger.exported import balances, cost_nano, table

pytestmark = pytest.mark.system
BILLING = '[billing]\nname = "Seller <b>Ltd</b>"\naddress = "1 Road\\nTown"\ntax_id = "XY 12"\nfooter = "Paid ahead."\n'
CALLS = 3


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    """A gateway whose first key has made some calls."""
    with Tokn(tmp_path_factory.mktemp("books") / "data", BILLING) as running:
        head = {"Authorization": f"Bearer {running.key}"}
        body = {"model": "tokn-sandbox", "messages": [{"role": "user", "content": "Hello"}]}
        for _ in range(CALLS):
            assert httpx.post(
                f"{running.url}/v1/chat/completions", headers=head, json=body, timeout=60
            ).is_success
        wait_for(lambda: len(running.rows("usage")) == CALLS, 10, "the calls are billed")
        yield running


@pytest.fixture(scope="module")
def month():
    """The month that runs."""
    return datetime.now(UTC).strftime("%Y-%m")


def test_a_draft_is_what_the_accounts_have(gateway, month):
    """The month that runs is a draft whose closing is the key's balance; as CSV it has a line a line."""
    found = gateway.row("statement", "default", month)
    assert (found["status"], found["number"], found["problem"]) == ("draft", None, None)
    (key,) = gateway.rows("key", "list")
    assert found["closing_nano"] == key["posted_nano"]
    assert [line["kind"] for line in found["lines"]] == ["deposit", "charge"]
    assert found["lines"][1]["calls"] == CALLS
    done = gateway.run("statement", "default", month, "--csv")
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [row["kind"] for row in rows] == ["opening", "deposit", "charge", "closing"]
    amounts = [int(row["amount_nano"]) for row in rows]
    assert sum(amounts[:-1]) == amounts[-1] == found["closing_nano"]
    done = gateway.run("statement", "default", month)
    assert (done.returncode, "opening" in done.stdout, "tokn-sandbox" in done.stdout) == (0, True, True)


def test_a_page_to_print(gateway, month):
    """The page names the seller as text, has its style in it, no script, and nothing from elsewhere."""
    done = gateway.run("statement", "default", month, "--html")
    assert done.returncode == 0, done.stderr
    assert "Seller &lt;b&gt;Ltd&lt;/b&gt;" in done.stdout
    assert "1 Road\nTown" in done.stdout
    assert "<style>" in done.stdout
    for word in ("<script", "http://", "https://", "<link", "src="):
        assert word not in done.stdout


def test_what_cannot_be_issued(gateway, month):
    """A month that runs is not issued, one that cannot be named or has not begun is refused, and all is exit code 1 or 2."""
    for words, why in (
        (("default", month, "--issue"), "15 minutes after its end"),
        (("nobody", month), "there is no organisation nobody"),
        (("default", "2990-01"), "has not begun"),
        (("default", "May"), "name a month"),
    ):
        done = gateway.run("statement", *words)
        assert (done.returncode, why in done.stderr) == (1, True), done.stderr
    assert gateway.run("statement", "default", "--issue").returncode == 2
    assert gateway.rows("statement", "default") == []
    assert gateway.audit()["ok"]


def test_exports_are_the_books(gateway):
    """The journal makes the accounts, FOCUS and calls the bills; a window before all of it is empty."""
    done = {name: gateway.run("export", name) for name in ("journal", "calls", "focus")}
    assert [one.returncode for one in done.values()] == [0, 0, 0]
    (key,) = gateway.rows("key", "list")
    assert balances(table(done["journal"].stdout))[f"key:{key['id']}"] == key["posted_nano"]
    billed = sum(row["billed_nano"] for row in gateway.rows("usage"))
    assert billed > 0
    assert sum(int(row["net_nano"]) for row in table(done["calls"].stdout)) == billed
    assert cost_nano(table(done["focus"].stdout)) == billed
    assert table(gateway.run("export", "calls", "--to", "2020-01-01").stdout) == []
    nobody = gateway.run("export", "journal", "--organization", "nobody")
    assert (nobody.returncode, "there is no organisation nobody" in nobody.stderr) == (1, True)
    entries = gateway.rows("audit", "log", "--action", "export")
    assert [one["target"] for one in entries] == ["calls", "focus", "calls", "journal"]
    assert entries[0]["after"] == {"exports/calls": {"until_ms": 1_577_836_800_000}}
    assert gateway.run("export", "calls", "--from", "May").returncode == 2
    backwards = gateway.run("export", "calls", "--from", "2026-02-01", "--to", "2026-01-01")
    assert (backwards.returncode, "must be after" in backwards.stderr) == (2, True)


def test_the_seller_is_live(gateway, month):
    """A reload takes what statements say of the seller, and a zone of half hours is refused."""
    file = gateway.config
    file.write_text(file.read_text().replace("1 Road", "2 Road"))
    assert gateway.run("reload").returncode == 0
    assert gateway.row("statement", "default", month)["seller"]["address"] == "2 Road\nTown"
    good = file.read_text()
    file.write_text(f'{good}statement_timezone = "Asia/Kolkata"\n')
    done = gateway.run("reload")
    file.write_text(good)
    assert (done.returncode, "whole hours from UTC" in done.stderr) == (3, True)
