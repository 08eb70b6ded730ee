"""Webhooks over the whole path of an operator: commands make endpoints, show what has happened, and refuse what cannot be."""

import json

import pytest

from schemas.webhooks import new_secret

pytestmark = pytest.mark.system

URL = "https://example.com/hook"


def test_the_life_of_an_endpoint(tokn):
    """Made with a secret that is shown once, listed for people, changed, rotated, tested, replayed, disabled and deleted."""
    made = tokn.row("webhook", "create", URL, "--events", "key.created,balance.low")
    assert made["secret"].startswith("whsec_")
    assert (made["events"], made["status"]) == (["key.created", "balance.low"], "enabled")
    id_ = made["id"]
    listed = tokn.run("webhook", "list").stdout
    assert id_ in listed
    assert max(map(len, listed.splitlines())) <= 80
    assert "key.created" in tokn.run("events").stdout
    shown = tokn.run("webhook", "show", id_)
    assert made["secret"] not in shown.stdout + json.dumps(tokn.rows("audit", "log"))
    changed = tokn.row("webhook", "update", id_, "--url", f"{URL}2", "--events", "*")
    assert (changed["url"], changed["events"], changed["version"]) == (f"{URL}2", ["*"], 2)
    rotated = tokn.row("webhook", "rotate", id_, "--overlap", "1h")
    assert len(rotated["secrets"]) == 2
    assert rotated["secret"] != made["secret"]
    tested = tokn.row("webhook", "test", id_)
    events = tokn.rows("events", "--type", "webhook.test")
    assert [one["id"] for one in events] == [tested["event"]]
    tokn.row("key", "create", "--name", "told", "--balance", "1")
    told = next(one for one in tokn.rows("events", "--type", "key.created"))
    assert told["data"]["object"]["name"] == "told"
    assert tokn.row("webhook", "replay", id_, told["id"])["events"] == 1
    assert tokn.row("webhook", "replay", id_, "--since", "1h")["events"] >= 2
    assert tokn.rows("webhook", "log", id_) == []
    assert tokn.row("webhook", "update", id_, "--disable")["status"] == "disabled"
    assert tokn.run("webhook", "test", id_).returncode == 1
    assert tokn.row("webhook", "update", id_, "--enable")["status"] == "enabled"
    assert tokn.row("webhook", "delete", id_)["status"] == "deleted"
    assert id_ not in tokn.run("webhook", "list").stdout
    assert tokn.audit()["ok"] is True


def test_a_secret_of_ones_own(tokn):
    """An act that is repeated with its key and secret is done once."""
    secret = new_secret()
    words = ("webhook", "create", URL, "--secret", secret, "--idempotency-key", "own")
    assert tokn.row(*words)["id"] == tokn.row(*words)["id"]
    other = tokn.run("webhook", "create", URL, "--idempotency-key", "own")
    assert "idempotency_mismatch" in other.stderr


def test_low_balances(tokn):
    """A low balance is set and taken away again, of a key and of an organisation."""
    made = tokn.row("key", "create", "--name", "low", "--balance", "1")
    assert tokn.row("key", "update", made["id"], "--low-balance", "0.5")["low_balance_nano"] == 500_000_000
    assert tokn.row("key", "update", made["id"], "--low-balance", "0")["low_balance_nano"] is None
    assert tokn.row("org", "update", "default", "--low-balance", "7")["low_balance_nano"] == 7_000_000_000
    assert tokn.row("org", "show", "default")["low_balance_nano"] == 7_000_000_000


BAD = [
    (("webhook", "create", "http://example.com/"), "https"),
    (("webhook", "create", "https://"), "https"),
    (("webhook", "create", URL, "--events", "no.such"), "no.such"),
    (("webhook", "create", URL, "--secret", "whsec_short"), "base64"),
    (("webhook", "create", URL, "--organization", "nobody"), "nobody"),
    (("webhook", "show", "whe_none"), "whe_none"),
    (("webhook", "update", "whe_none", "--enable"), "whe_none"),
    (("webhook", "update", "whe_none"), "--url"),
    (("webhook", "replay", "whe_none"), "--since"),
    (("key", "update", "key_0000000000000000", "--low-balance", "-1"), "negative"),
]


def test_bad_input_changes_nothing(tokn):
    """What cannot be is refused in one sentence, with nothing changed."""
    before = tokn.rows("webhook", "list")
    for words, said in BAD:
        ended = tokn.run(*words)
        assert ended.returncode in {1, 2}, words
        assert said in ended.stderr, words
    assert tokn.rows("webhook", "list") == before
