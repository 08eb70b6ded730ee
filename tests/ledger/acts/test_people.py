"""Who may act: people who sign in by a link, management keys, and that nobody gets more than he was given."""

import json
from typing import Any

import pytest

from ledger.commits.pepper import Peppers
from ledger.verbs.acts import log_page
from schemas.admin.authority import SCOPES
from schemas.admin.credentials import ManagementKey, Session, SignInToken, digest
from schemas.admin.management_keys import ManagementKeyCreate, ManagementKeyRef, ManagementKeyUpdate
from schemas.admin.operators import (
    INVITE_S,
    SESSION_IDLE_S,
    SESSION_S,
    SIGN_IN_S,
    TRIES_MAX,
    TRIES_WINDOW_S,
    OperatorCreate,
    OperatorRef,
    OperatorUpdate,
    SignIn,
    SignInCreate,
)
from schemas.admin.reads import Me
from schemas.admin.reasons import Reason, reason_of
from schemas.admin.sessions import SessionList, SessionRef
from schemas.verbs.acts import LogQuery
from schemas.verbs.keys import KeyUpdate
from schemas.verbs.organizations import OrganizationCreate, OrganizationUpdate
from tests.ledger.harness import Books
from tests.ledger.people import KEY, PEOPLE, by, link, management_key, operator, read, signed_in


async def _entries(books: Books, **fields: Any) -> list[dict[str, Any]]:
    return list((await log_page(books.store, LogQuery(**fields))).rows)


async def test_a_link_opens_once(books: Books) -> None:
    """The first owner is made for the first link; its second use, and one after its time, are refused and entered."""
    made = await link(books)
    assert made.rows[0]["operator"]["role"] == "owner"
    session = await signed_in(books, ip="192.0.2.7", user_agent="a browser\0")
    me = (await read(books, session, "me", Me())).rows[0]
    assert (me["id"], me["role"], me["organization"]) == (made.rows[0]["operator"]["id"], "owner", None)
    form = SignIn(1, digest("another"))
    again = await by(books, SignInToken(digest("link")), "sign_in", form, ip="192.0.2.8")
    assert reason_of(again) is Reason.INVALID_SIGN_IN
    await link(books, "late")
    books.clock.turn(SIGN_IN_S)
    assert reason_of(await by(books, SignInToken(digest("late")), "sign_in", form)) is Reason.INVALID_SIGN_IN
    failed = await _entries(books, action="sign_in_failed")
    assert [one["ip"] for one in failed] == [None, "192.0.2.8"]
    (entered,) = await _entries(books, action="sign_in")
    assert (entered["ip"], entered["user_agent"]) == ("192.0.2.7", "a browser")
    assert entered["actor"] == f"operator:{me['id']}"
    assert reason_of(await read(books, Session(digest("another")), "me", Me())) is Reason.INVALID_SESSION
    (told,) = await books.events("operator.signed_in")
    assert (told["object"], told["data"]["role"]) == (me["id"], "owner")
    assert told["data"]["session"]["ip"] == "192.0.2.7"
    await books.check()


async def test_who_tries_too_often_is_told_of(books: Books) -> None:
    """The fifth try of one address that fails within a minute is an event, once a minute; other addresses count apart."""
    form, minute_ms = SignIn(1, digest("another")), TRIES_WINDOW_S * 1000
    books.clock.turn((minute_ms - books.clock.ms % minute_ms) / 1000)  # a minute begins

    async def fails(ip: str) -> None:
        answer = await by(books, SignInToken(digest("none")), "sign_in", form, ip=ip, user_agent="a robot")
        assert reason_of(answer) is Reason.INVALID_SIGN_IN

    for number in range(TRIES_MAX - 1):
        await fails(f"2001:db8::{number}")  # one line has a whole /64
        await fails("192.0.2.8")
        await fails("")
    assert await books.events("operator.locked_out") == []
    for _ in range(3):
        await fails("2001:db8::9")
    await fails("192.0.2.9")
    (told,) = await books.events("operator.locked_out")
    assert (told["object"], told["organization"]) == ("2001:db8::9", "")
    assert told["data"] == {"id": "2001:db8::9", "tries": TRIES_MAX, "user_agent": "a robot"}
    books.clock.turn(TRIES_WINDOW_S)
    for _ in range(TRIES_MAX):
        await fails("192.0.2.8")
    assert [one["object"] for one in await books.events("operator.locked_out")] == [
        "2001:db8::9",
        "192.0.2.8",
    ]
    failed = await _entries(books, action="sign_in_failed", limit=100)
    assert len(failed) == 3 * (TRIES_MAX - 1) + 4 + TRIES_MAX
    await books.check()


async def test_a_link_dies_with_the_next(books: Books) -> None:
    """Of several links of an operator the last alone opens; another operator's is not touched. Both name one owner."""
    first, second = await link(books, "one"), await link(books, "two")
    assert first.rows[0]["operator"]["id"] == second.rows[0]["operator"]["id"]
    made = await books.act("operator_create", OperatorCreate(1, "bob", "", "viewer"))
    await link(books, "bobs", made.rows[0]["id"], INVITE_S)
    await link(books, "three")
    for dead in ("one", "two"):
        answer = await by(books, SignInToken(digest(dead)), "sign_in", SignIn(1, digest("s")))
        assert reason_of(answer) is Reason.INVALID_SIGN_IN
    books.clock.turn(SIGN_IN_S - 1)
    await signed_in(books, "three", "s3")
    books.clock.turn(INVITE_S - SIGN_IN_S)
    await signed_in(books, "bobs", "sb")
    too_long = SignInCreate(1, made.rows[0]["id"], digest("x"), INVITE_S + 1)
    assert "a day at most" in (await books.act("sign_in_create", too_long)).problem


async def test_a_session_ends(books: Books) -> None:
    """After 12 h without use, after 7 days in any case, by its own end, and with its operator."""
    await link(books)
    session = await signed_in(books)
    for _ in range(14):  # used every half day, nearly
        books.clock.turn(SESSION_IDLE_S - 1)
        assert not (await read(books, session, "me", Me())).problem
    books.clock.turn(SESSION_S - 14 * (SESSION_IDLE_S - 1))
    assert reason_of(await read(books, session, "me", Me())) is Reason.INVALID_SESSION
    await link(books, "second")
    idle = await signed_in(books, "second", "idle")
    books.clock.turn(SESSION_IDLE_S)
    assert reason_of(await read(books, idle, "me", Me())) is Reason.INVALID_SESSION
    assert reason_of(await by(books, idle, "session_end", SessionRef(1))) is Reason.INVALID_SESSION
    await link(books, "third")
    own = await signed_in(books, "third", "own")
    assert not (await by(books, own, "session_end", SessionRef(1))).problem
    assert reason_of(await read(books, own, "me", Me())) is Reason.INVALID_SESSION
    id_, gone = await operator(books, "admin")
    assert not (await books.act("operator_remove", OperatorRef(1, id_))).problem
    assert reason_of(await read(books, gone, "me", Me())) is Reason.INVALID_SESSION
    await books.check()


async def test_the_last_owner_stays(books: Books) -> None:
    """He cannot be removed, made less, or bound to an organisation; with a second one each of that can be done."""
    await books.act("org_create", OrganizationCreate(1, "acme"))
    owner = (await link(books)).rows[0]["operator"]["id"]
    await operator(books, "owner", "acme", name="of acme")  # is none of the whole deployment
    for name, form in (
        ("operator_remove", OperatorRef(1, owner)),
        ("operator_update", OperatorUpdate(1, owner, role="admin")),
        ("operator_update", OperatorUpdate(1, owner, organization="acme")),
    ):
        assert reason_of(await books.act(name, form)) is Reason.LAST_OWNER
    assert not (await books.act("operator_update", OperatorUpdate(1, owner, name="ann"))).problem
    await operator(books, "owner", name="second")
    assert not (await books.act("operator_update", OperatorUpdate(1, owner, role="admin"))).problem
    await books.check()


async def test_nobody_gives_more_than_he_has(books: Books) -> None:
    """An admin makes no owner nor operator, nor a key of scopes that he lacks; a link for somebody above is refused."""
    owner = (await link(books)).rows[0]["operator"]["id"]
    _, admin = await operator(books, "admin")
    for name, form in (
        ("operator_create", OperatorCreate(1, "x", "", "viewer")),
        ("sign_in_create", SignInCreate(1, owner, digest("x"))),
        ("management_key_create", ManagementKeyCreate(1, digest("x"), "xxxx", "x", ("keys:read",))),
    ):
        answer = await by(books, admin, name, form)
        assert reason_of(answer) is Reason.MISSING_SCOPE
        assert "operators:write" in answer.problem
    narrow = await management_key(books, "operators:write", "keys:write")
    for name, form in (
        ("operator_create", OperatorCreate(1, "x", "", "viewer")),
        ("sign_in_create", SignInCreate(1, owner, digest("x"))),
        ("operator_remove", OperatorRef(1, owner)),
        ("management_key_create", ManagementKeyCreate(1, digest("x"), "xxxx", "x", ("money:write",))),
    ):
        assert reason_of(await by(books, narrow, name, form)) is Reason.MISSING_SCOPE, name
    allowed = ManagementKeyCreate(1, digest("x"), "xxxx", "x", ("keys:read", "operators:read"))
    assert not (await by(books, narrow, "management_key_create", allowed)).problem
    reused = SignInCreate(1, "", digest("link"))
    assert "used before" in (await books.act("sign_in_create", reused)).problem
    local = await by(books, narrow, "sign_in_create", SignInCreate(1, "", digest("x")))
    assert reason_of(local) is Reason.RESOURCE_MISSING


async def test_nobody_suspends_or_resumes_his_own_organisation(books: Books) -> None:
    """Whoever is bound to an organisation leaves its status as it is, with every scope; all else of it he may change."""
    await books.act("org_create", OrganizationCreate(1, "acme"))
    bound = await management_key(books, *SCOPES, organization="acme")
    for stays, other in (("active", "suspended"), ("suspended", "active")):
        await books.act("org_update", OrganizationUpdate(1, "acme", status=stays))
        before = await books.state()
        answer = await by(books, bound, "org_update", OrganizationUpdate(1, "acme", name="x", status=other))
        assert reason_of(answer) is Reason.ORGANIZATION_FORBIDDEN
        assert await books.state() == before
        same = OrganizationUpdate(1, "acme", name=f"is {stays}", status=stays)
        assert (await by(books, bound, "org_update", same)).rows[0]["status"] == stays
    free = await management_key(books, "keys:write", name="free")
    resumed = await by(books, free, "org_update", OrganizationUpdate(1, "acme", status="active"))
    assert resumed.rows[0]["status"] == "active"
    await books.check()


async def test_management_keys_end(books: Books) -> None:
    """One that is revoked or past its date, or was never made, may nothing, not even repeat what it did."""
    key = await books.key()
    proof = await management_key(books, "keys:write", expires_in_s=60)
    form = KeyUpdate(1, key, name="renamed")
    done = await by(books, proof, "key_update", form, idempotency_key="k")
    again = await by(books, proof, "key_update", form, idempotency_key="k")
    assert (again.rows, done.replayed, again.replayed) == (done.rows, False, True)
    books.clock.turn(60)
    late = await by(books, proof, "key_update", form, idempotency_key="k")
    unknown = await by(books, ManagementKey(b"x" * 32), "key_update", form)
    revoked = await management_key(books, name="second")
    (row,) = [
        one
        for one in (await read(books, revoked, "management_keys", SessionList())).rows
        if one["name"] == "second"
    ]
    assert not (await by(books, revoked, "management_key_revoke", ManagementKeyRef(1, row["id"]))).problem
    ended = await by(books, revoked, "key_update", form)
    assert {reason_of(one) for one in (late, unknown, ended)} == {Reason.INVALID_MANAGEMENT_KEY}
    assert len({one.problem for one in (late, unknown, ended)}) == 1
    await books.check()


async def test_a_change_of_another_version(books: Books) -> None:
    """A change that was meant for a version which is gone is refused; the same for the one that is there is made."""
    key = await books.key()
    await management_key(books)
    stale = await by(books, KEY, "key_update", KeyUpdate(1, key, name="a"), if_version=2)
    assert reason_of(stale) is Reason.VERSION_CONFLICT
    done = await by(books, KEY, "key_update", KeyUpdate(1, key, name="a"), if_version=1)
    assert done.rows[0]["version"] == 2


async def test_a_request_is_told_by_its_hash(books: Books) -> None:
    """What a console makes anew each time, such as a secret, is no other request; another body is one."""
    await management_key(books)

    def form(secret: str) -> ManagementKeyCreate:
        return ManagementKeyCreate(1, digest(secret), "xxxx", "n", ("keys:read",))

    name = "management_key_create"
    fields = {"idempotency_key": "k", "request_hash": b"h"}
    first = await by(books, KEY, name, form("a"), **fields)
    second = await by(books, KEY, name, form("b"), **fields)
    assert (second.rows, second.replayed) == (first.rows, True)
    other = await by(books, KEY, name, form("b"), idempotency_key="k", request_hash=b"i")
    assert reason_of(other) is Reason.IDEMPOTENCY_MISMATCH


async def test_every_act_has_its_entry(books: Books) -> None:
    """Each act on people is in the log, with who did it and what was before and after; no digest is in it."""
    owner = (await link(books)).rows[0]["operator"]["id"]
    session = await signed_in(books, ip="192.0.2.7")
    made = await by(books, session, "operator_create", OperatorCreate(1, "bob", "b@x.example", "admin"))
    bob = str(made.rows[0]["id"])
    await by(books, session, "operator_update", OperatorUpdate(1, bob, name="bert"))
    key = ManagementKeyCreate(1, digest("secret"), "cret", "ci", ("keys:read",))
    id_ = str((await by(books, session, "management_key_create", key)).rows[0]["id"])
    await by(books, session, "management_key_update", ManagementKeyUpdate(1, id_, scopes=("keys:write",)))
    await by(books, session, "management_key_revoke", ManagementKeyRef(1, id_))
    await by(books, session, "operator_remove", OperatorRef(1, bob))
    await by(books, session, "session_end", SessionRef(1))
    entries = {one["action"]: one for one in await _entries(books)}
    assert set(entries) == PEOPLE
    for name, entry in entries.items():
        assert entry["after"], name
        assert entry["before"] or name.endswith("_create"), name
        if name != "sign_in_create":
            assert entry["actor"] == f"operator:{owner}"
    text = json.dumps(list(entries.values()))
    for secret in ("secret", "link", "session"):
        assert digest(secret).hex() not in text
        assert books.committer.digest(digest(secret)) not in text
    await books.check()


@pytest.mark.parametrize(
    ("name", "form", "words"),
    [
        ("operator_create", OperatorCreate(1, " ", "", "owner"), "needs a name"),
        ("operator_create", OperatorCreate(1, "x", "", "king"), "a role is one of"),
        ("operator_create", OperatorCreate(1, "x", "", "owner", "none"), "there is no organisation none"),
        ("operator_update", OperatorUpdate(1, "none"), "there is no operator"),
        ("management_key_create", ManagementKeyCreate(1, b"x", "", "", ("keys:read",)), "not a SHA-256"),
        ("management_key_create", ManagementKeyCreate(1, b"x" * 32, "", "", ()), "at least one scope"),
        ("management_key_create", ManagementKeyCreate(1, b"x" * 32, "", "", ("x",)), "is no scope"),
        ("sign_in_create", SignInCreate(1, "none", b"x" * 32), "there is no operator"),
        ("session_end", SessionRef(1, "none"), "there is no session"),
    ],
)
@pytest.mark.parametrize("dialect", ["sqlite"])
async def test_what_cannot_be(books: Books, name: str, form: Any, words: str) -> None:
    """Acts on people that cannot be done say why, and change nothing."""
    answer = await books.act(name, form)
    assert words in answer.problem
    assert not await _entries(books)


async def test_another_pepper_takes_over(books: Books) -> None:
    """Keys and sessions that were hashed with the pepper of before are found, hashed anew by a read or an act, and live on."""
    await link(books)
    proofs = [await signed_in(books), await management_key(books), await management_key(books, name="unused")]
    books.committer.peppers = Peppers((b"new", b"pepper"))
    for proof in proofs[:2]:
        assert not (await read(books, proof, "me", Me())).problem
    act = OperatorCreate(1, "bob", "", "viewer")
    books.committer.peppers = Peppers((b"newer", b"new", b"pepper"))
    for proof in proofs[:2]:
        assert not (await by(books, proof, "operator_create", act)).problem
    books.committer.peppers = Peppers((b"newer",))
    for proof in proofs[:2]:
        assert not (await read(books, proof, "me", Me())).problem
    assert reason_of(await read(books, proofs[2], "me", Me())) is Reason.INVALID_MANAGEMENT_KEY
    await books.check()
