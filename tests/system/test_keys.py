"""Keys over the whole path, with two edges and two ledgers on PostgreSQL: what each command does is so on every edge."""

import concurrent.futures
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.chaos.separate import Separate
from tests.fakes.tokn import ask as command

pytestmark = pytest.mark.system

SANDBOX = '[pools.sandbox]\nprovider = "sandbox"\nrate = 1\n'
KNOWN_WITHIN_S = 1.0
DEADLINE_S = 60.0
CALL = {"model": "tokn-sandbox", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 3}


@pytest.fixture(scope="module")
def parts() -> Iterator[Separate]:
    """Two edges, two ledgers, one worker."""
    with Separate("postgresql", SANDBOX, ledgers=2, edges=2, served=("sandbox",)) as made:
        yield made


@pytest.fixture(scope="module")
def clients(parts: Separate) -> Iterator[list[httpx.Client]]:
    """A client of each edge, whose connections stay open."""
    made = [httpx.Client(base_url=url, timeout=60) for url in parts.urls]
    yield made
    for client in made:
        client.close()


def row_of(parts: Separate, *words: str) -> dict[str, Any]:
    """The one row that a command prints."""
    (only,) = parts.command(*words)
    return only


def run(parts: Separate, *words: str) -> subprocess.CompletedProcess[str]:
    """A command, whatever comes of it."""
    return command(*words, "--config", str(parts.config))


def ask(client: httpx.Client, key: str, method: str, path: str, **more: Any) -> httpx.Response:
    """One request."""
    return client.request(method, path, headers={"Authorization": f"Bearer {key}"}, **more)


def call(client: httpx.Client, key: str) -> httpx.Response:
    """One call."""
    return ask(client, key, "POST", "/v1/chat/completions", json=CALL)


def made(parts: Separate, *options: str) -> tuple[str, str]:
    """A key with money: its id and itself."""
    row = row_of(parts, "key", "create", "--balance", "5", *options)
    return str(row["id"]), str(row["key"])


def everything(client: httpx.Client, key: str, receipt: str) -> list[tuple[int, str | None]]:
    """Status and code of a call, and of all that a key can read."""
    answers = [
        call(client, key),
        ask(client, key, "GET", "/v1/models"),
        ask(client, key, "GET", "/v1/models/tokn-sandbox"),
        ask(client, key, "GET", f"/v1/generations/{receipt}"),
    ]
    return [
        (answer.status_code, answer.json()["error"]["code"] if answer.is_error else None)
        for answer in answers
    ]


OK = (200, None)
DEAD = (401, "invalid_api_key")


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (("key", "revoke"), [DEAD] * 4),
        (("key", "pause"), [(403, "key_paused"), OK, OK, OK]),
        (
            ("key", "update", "--models", "gpt-*"),
            [(403, "model_not_allowed"), OK, (403, "model_not_allowed"), OK],
        ),
        (("key", "rotate", "--overlap", "0"), [DEAD] * 4),
    ],
)
def test_what_a_key_may_is_known_to_every_edge(
    parts: Separate, clients: list[httpx.Client], words: tuple[str, ...], wanted: list[Any]
) -> None:
    """Edges that have served a key, its lists and receipts all along follow each change within a second, and each other."""
    key_id, key = made(parts)
    receipts = [call(client, key).headers["x-request-id"] for client in clients]
    dead = wanted[1] == DEAD

    def settled() -> bool:
        return all(everything(client, key, receipts[0]) == [OK] * 4 for client in clients)

    deadline = time.monotonic() + DEADLINE_S
    while not settled():
        assert time.monotonic() < deadline, "the receipt is there"
    assert [ask(client, key, "GET", "/v1/credits").status_code for client in clients] == [200, 200]
    row_of(parts, *words[:2], key_id, *words[2:])
    known = time.monotonic() + KNOWN_WITHIN_S
    for client in clients:
        found = everything(client, key, receipts[0])
        # A loaded machine may take longer than that for the requests alone: what was begun within it does not count.
        while found != wanted and time.monotonic() < known:
            found = everything(client, key, receipts[0])
        assert found == wanted, client.base_url
        while True:  # what an edge keeps of a key's own questions is over by then, too
            begun, own = time.monotonic(), ask(client, key, "GET", "/v1/credits")
            if own.status_code == (401 if dead else 200):
                break
            assert own.status_code == 429 or begun < known, "an edge knows longer than a second"
        listed = ask(client, key, "GET", "/v1/models")
        if words[1] == "update":
            assert listed.json()["data"] == []
    if words[1] == "pause":
        row_of(parts, "key", "resume", key_id)
        assert [everything(client, key, receipts[0]) for client in clients] == [[OK] * 4] * 2


def test_a_suspended_organisation_on_every_edge(parts: Separate, clients: list[httpx.Client]) -> None:
    """Keys that draw on one wallet are refused together and come back together; others go on."""
    row_of(parts, "org", "create", "acme", "--name", "Acme", "--timezone", "Europe/Berlin")
    credited = row_of(parts, "credit", "--organization", "acme", "3")
    assert credited["account"] == "org:acme"
    keys = [
        str(row_of(parts, "key", "create", "--organization", "acme", "--organization-wallet")["key"])
        for _ in clients
    ]
    _, other = made(parts)
    assert [call(client, key).status_code for client in clients for key in (*keys, other)] == [200] * 6
    row_of(parts, "org", "suspend", "acme")
    for client in clients:
        for key in keys:
            refused = call(client, key)
            assert (refused.status_code, refused.json()["error"]["code"]) == (403, "organization_suspended")
            assert ask(client, key, "GET", "/v1/models").status_code == 200
        assert call(client, other).status_code == 200
    row_of(parts, "org", "resume", "acme")
    assert [call(client, key).status_code for client in clients for key in keys] == [200] * 4
    row = row_of(parts, "org", "show", "acme")
    assert row["balance"]["spent_nano"] > 0
    assert row["balance"]["posted_nano"] == 3_000_000_000 - row["balance"]["spent_nano"]


def test_rotation_under_load(parts: Separate, clients: list[httpx.Client]) -> None:
    """While calls run on both edges no secret is refused before the overlap ends; then the old one always, the new one never."""
    key_id, old = made(parts)
    assert call(clients[0], old).status_code == 200
    before = time.time()
    row = row_of(parts, "key", "rotate", key_id, "--overlap", "4s")
    new = str(row["key"])
    after = time.time()
    earliest, latest = before + 4, after + 4
    deadline = time.monotonic() + DEADLINE_S

    def load(client: httpx.Client) -> list[tuple[str, float, float, int]]:
        seen: list[tuple[str, float, float, int]] = []
        over = False
        while not over:
            assert time.monotonic() < deadline, "the overlap ends"
            for name, key in (("old", old), ("new", new)):
                begun = time.time()
                status = call(client, key).status_code
                seen.append((name, begun, time.time(), status))
            over = seen[-1][1] > latest
        return seen

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        runs = [one for some in pool.map(load, clients * 2) for one in some]
    assert {status for name, *_, status in runs if name == "new"} == {200}
    assert {status for name, _, ended, status in runs if name == "old" and ended < earliest} == {200}
    assert {status for name, begun, _, status in runs if name == "old" and begun > latest} <= {401}
    for client in clients:
        assert "This key expired on" in call(client, old).json()["error"]["message"]
        assert call(client, new).status_code == 200


def test_an_expired_key(parts: Separate, clients: list[httpx.Client]) -> None:
    """A key that was made to end is refused on every edge from its moment on; moved, it lives again."""
    key_id, key = made(parts, "--expires", "2s")
    deadline = time.monotonic() + DEADLINE_S
    while call(clients[0], key).status_code == 200:
        assert time.monotonic() < deadline, "the key ends"
    for client in clients:
        assert everything(client, key, "req_none") == [DEAD] * 4
    assert row_of(parts, "key", "show", key_id)["status"] == "expired"
    row_of(parts, "key", "update", key_id, "--expires", "never")
    assert [call(client, key).status_code for client in clients] == [200, 200]


def test_a_key_is_named_in_every_way(parts: Separate) -> None:
    """Each command takes an id, a name that only one key has, the key itself, or that from standard input; none says it back."""
    key_id, key = made(parts, "--name", "only-me")
    for words, more in (
        (("key", "show"), ()),
        (("balance",), ()),
        (("usage", "--key"), ()),
        (("key", "pause"), ()),
        (("key", "resume"), ()),
        (("key", "update"), ("--providers", "all")),
        (("credit",), ("0.5",)),
        (("limits",), ()),
    ):
        for named in (key_id, "only-me", key):
            done = run(parts, *words, named, *more, "--json")
            assert done.returncode == 0, (words, named, done.stderr)
            assert key[5:] not in done.stdout + done.stderr
            if words[0] != "usage":
                assert f'"id":"{key_id}"' in done.stdout or named in done.stdout
    row_of(parts, "key", "create", "--name", "only-me")
    for named, why in (
        ("only-me", "several"),
        ("nobody", "tokn key list"),
        ("key_0000000000000000", "tokn key list"),
    ):
        done = run(parts, "key", "show", named)
        assert (done.returncode, why in done.stderr) == (1, True), done.stderr
    wrong = key[:-1] + ("a" if key[-1] != "a" else "b")
    for words in (("key", "show", wrong), ("balance", key, key), ("key", "show", f"Bearer {wrong}")):
        done = run(parts, *words)
        assert done.returncode == 2
        assert key[5:30] not in done.stdout + done.stderr
    again = row_of(parts, "key", "create", "--key", key, "--balance", "5")
    assert (again["id"], again["key"]) == (key_id, key), "the same key again is the same key"
    assert row_of(parts, "key", "revoke", key)["status"] == "revoked"
