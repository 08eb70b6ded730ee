"""The same act asked for again, by anybody, at any time, happens once and has one answer."""

import asyncio
from typing import Any

import pytest

from ledger.verbs.acts import command
from schemas.verbs.acts import ActRequest
from schemas.verbs.keys import Credit, KeyCreate, KeyRef
from schemas.verbs.money import Post
from tests.ledger.harness import USD, Books, act, ask, digest_of


async def _count(books: Books, table: str) -> int:
    return int((await books.store.fetch(f"SELECT COUNT(*) FROM {table}"))[0][0])


async def test_again_is_the_same_answer(books: Books) -> None:
    """A day later, after other acts, and by a ledger that was restarted: the first answer, and nothing more happens."""
    key = await books.key(nano=0)
    form = Post(1, f"key:{key}", 10 * USD, "", "inv-1")
    first = await books.act("deposit", form, key="k1", actor="ann")
    await books.act("deposit", Post(1, f"key:{key}", USD), key="k2")
    books.clock.turn(90_000)
    books = Books(books.store, books.clock)
    for actor in ("ann", "bob"):
        assert await books.act("deposit", form, key="k1", actor=actor) == first
    assert await books.balance(key) == (11 * USD, 0)
    assert await _count(books, "audit_entries") == 3
    await books.check()


async def test_another_request_with_the_key(books: Books) -> None:
    """Another amount, act, or key's secret is refused, whichever field differs; another credential's key is its own."""
    key = await books.key(nano=0)
    form = Post(1, f"key:{key}", USD, "why", "ref")
    await books.act("deposit", form, key="k1")
    for name, other in (
        ("deposit", Post(1, f"key:{key}", USD + 1, "why", "ref")),
        ("deposit", Post(1, f"key:{key}", USD, "why not", "ref")),
        ("deposit", Post(1, f"key:{key}", USD, "why", "ref2")),
        ("goodwill", form),
        ("key_revoke", KeyRef(1, key)),
        ("key_create", KeyCreate(1, digest_of("new"), "", "", 0, None, False)),
    ):
        assert "idempotency_mismatch" in (await books.act(name, other, key="k1")).problem
    free = Post(1, f"key:{key}", USD)
    for credential in (b"a", b"b"):
        assert not (await books.act("deposit", free, key="k1", credential=credential)).problem
    assert await books.balance(key) == (3 * USD, 0)
    await books.check()


async def test_a_refusal_is_not_kept(books: Books) -> None:
    """What was refused may be asked for again with its key, once it can be done."""
    key = await books.key(nano=0)
    form = Post(1, f"key:{key}", -USD, "back")
    assert (await books.act("adjustment", form, key="k1")).problem
    await books.act("deposit", Post(1, f"key:{key}", USD))
    assert not (await books.act("adjustment", form, key="k1")).problem
    assert await books.balance(key) == (0, 0)


async def test_keys_too(books: Books) -> None:
    """Making and revoking a key with an idempotency key, then again: one key, one balance, the same answers."""
    create = KeyCreate(1, digest_of("new"), "new", "", 7 * USD, None, False)
    made = [await books.act("key_create", create, key="c") for _ in range(2)]
    assert made[0] == made[1]
    other = KeyCreate(1, digest_of("other"), "new", "", 7 * USD, None, False)
    assert "idempotency_mismatch" in (await books.act("key_create", other, key="c")).problem
    revoke = KeyRef(1, made[0].rows[0]["id"])
    ended = [await books.act("key_revoke", revoke, key="r") for _ in range(2)]
    assert ended[0] == ended[1]
    assert await _count(books, "api_keys") == 1
    assert await books.account("deposits") == -7 * USD
    assert await _count(books, "audit_entries") == 2


async def test_commands_of_before(books: Books) -> None:
    """A credit with a request id of its own, and no idempotency key, still happens once, and is in the log once."""
    key = await books.key(nano=0)
    for _ in range(3):
        assert not (await books.do(Credit(1, "c1", USD, key))).problem
    assert "another credit" in (await books.do(Credit(1, "c1", USD + 1, key))).problem
    assert await books.balance(key) == (USD, 0)
    assert await _count(books, "audit_entries") == 2


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (ActRequest(1, "no_such", b""), "does not know 'no_such'"),
        (ActRequest(1, "deposit", b"\xc1"), "cannot be read"),
        (ActRequest(1, "deposit", b"\x91\x01"), "cannot be read"),
        (act("deposit", Post(1, "key:k", 1), key="x" * 256), "at most 255"),
        (act("deposit", Post(1, "key:k", 1), key="\0"), "at most 255"),
        (act("deposit", Post(1, "key:k", 1), actor="x" * 201), "at most 200"),
    ],
)
@pytest.mark.parametrize("dialect", ["sqlite"])
async def test_requests_that_cannot_be(books: Books, request_: Any, words: str) -> None:
    """An act that is unknown or cannot be read, or names too long for their columns, have an answer that says so."""
    made = command(request_)
    reply = made if not hasattr(made, "write") else (await books.committer.commit([made]))[0]
    assert words in reply.problem


async def test_twenty_at_once_on_two_ledgers(books: Books) -> None:
    """Two ledgers on one database, twenty clients with one idempotency key, calls between: one effect, one answer."""
    key = await books.key()
    other = Books(books.store, books.clock)
    writers = [books.start(), other.start()]
    request = act("deposit", Post(1, f"key:{key}", USD), key="one")
    calls = [ask(writers[number % 2], books.request(f"r{number}")) for number in range(10)]
    answers = await asyncio.gather(*(ask(writers[number % 2], request) for number in range(20)), *calls)
    assert all(one == answers[0] for one in answers[:20])
    assert not answers[0].problem
    assert (await books.balance(key))[0] == 6 * USD
    other.writer.stop()
    assert other._writing is not None
    await other._writing
    await books.check()
