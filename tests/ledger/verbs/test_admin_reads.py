"""Reads through a console: every question has its answer, and what is bound to an organisation stays within it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.acts import ACTS
from ledger.verbs.admin import READINGS, calls
from ledger.verbs.admin.expand import known
from schemas.admin.authority import AREAS, ROLES, SCOPES, OperatorRole, allows, covers
from schemas.admin.credentials import is_management_key, new_management_key
from schemas.admin.reads import QUESTIONS, CallsQuery, KeysQuery
from schemas.admin.verbs import EXPANSIONS
from schemas.keys import is_well_formed
from schemas.money.pricing import TokenUsage
from schemas.verbs.organizations import OrganizationCreate
from tests.ledger.harness import Books, event
from tests.ledger.people import management_key, read


def test_every_question_has_its_answer() -> None:
    """A ledger knows exactly the questions that there are, each by a name of its own, for a scope that there is."""
    assert [one.question for one in READINGS] == list(QUESTIONS)
    assert len({one.name for one in QUESTIONS}) == len(QUESTIONS)
    assert {one.scope for one in QUESTIONS} <= {*(scope for scope in SCOPES if ":read" in scope), ""}
    assert {name for one in READINGS for name in known(one.kind)} == set(EXPANSIONS)


def test_every_act_says_who_may_do_it() -> None:
    """Each act needs scopes that there are, and says of which organisation it is, or that it is the deployment's."""
    assert all(one.scopes is not None for one in ACTS)
    assert {scope for one in ACTS for scope in one.scopes or ()} <= set(SCOPES)
    assert {one.name for one in ACTS if not one.scopes} == {"sign_in", "sign_in_oidc", "session_end"}
    assert {one.name for one in ACTS if one.of is None} == {
        *("org_create", "write_off", "upstream_deposit", "surprises_forget"),
        *("parked_bill", "parked_dismiss", "settings_reload"),
    }


def test_roles() -> None:
    """What each role may: an owner all, an admin no rights of others, a viewer no log; write includes read."""
    may = {role: {scope for scope in SCOPES if allows(ROLES[role], scope)} for role in OperatorRole}
    assert may[OperatorRole.OWNER] == set(SCOPES)
    assert may[OperatorRole.ADMIN] == set(SCOPES) - {"operators:write"}
    assert may[OperatorRole.BILLING] == {"money:write", "money:read", "usage:read", "keys:read"}
    assert may[OperatorRole.SUPPORT] == {"keys:write", "keys:read", "usage:read", "money:read"}
    assert may[OperatorRole.VIEWER] == {f"{area}:read" for area in AREAS} - {"audit:read"}
    for role in OperatorRole:
        assert covers(ROLES[OperatorRole.OWNER], ROLES[role])
        assert covers(ROLES[role], ROLES[OperatorRole.OWNER]) == (role is OperatorRole.OWNER)


def test_a_management_key_is_no_callers_key() -> None:
    """Neither kind of key is ever taken for the other."""
    key = new_management_key()
    assert (is_management_key(key), is_well_formed(key)) == (True, False)
    assert not is_management_key(key[:-1] + ("a" if key[-1] != "a" else "b"))


@given(st.integers(0, 2**62 - 1), st.integers(0, 2**62 - 1), st.text(max_size=30))
def test_a_place_is_sealed(place: int, other: int, text: str) -> None:
    """A cursor is read by who has made it, and by nobody else; a text that is none breaks nothing."""
    cursor = calls.sealed(b"secret", place)
    assert calls.unsealed(b"secret", cursor) == place
    assert calls.unsealed(b"another", cursor) != place
    assert (calls.sealed(b"secret", other) == cursor) == (place == other)
    assert calls.unsealed(b"secret", text) is None or text.removeprefix(calls.PLACE)


async def test_few_calls_among_many(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page ends after so many rows that were looked at, and the next goes on there; every call is met once, and no other's."""
    monkeypatch.setattr(calls, "WINDOW", 3)
    monkeypatch.setattr(calls, "WINDOWS_MAX", 2)
    for name in ("acme", "beta"):
        await books.act("org_create", OrganizationCreate(1, name))
    await books.key("rare", profile="acme")
    await books.key("often", profile="beta")
    used = TokenUsage(input=8, output=4)
    for number in range(30):
        key = "rare" if number in {1, 14, 28} else "often"
        await books.hold(f"r{number:02}", key)
        await books.settle(event(f"r{number:02}", used))
    proof = await management_key(books, organization="acme")
    seen: list[str] = []
    after, pages = "", 0
    while True:
        page = await read(books, proof, "calls", CallsQuery(1, 2, after))
        assert not page.problem
        seen += [row["id"] for row in page.rows]
        pages, after = pages + 1, str(page.cursor)
        if not after:
            break
    assert seen == ["r28", "r14", "r01"]
    assert pages > 3
    for nowhere in ("r05", "nothing", "at_zz"):
        assert (await read(books, proof, "calls", CallsQuery(1, 2, nowhere))).problem


async def test_what_is_anothers_is_no_start(books: Books) -> None:
    """A list that starts after another organisation's key is refused as one that starts after nothing."""
    for name in ("acme", "beta"):
        await books.act("org_create", OrganizationCreate(1, name))
    other = await books.key("b", profile="beta")
    proof = await management_key(books, organization="acme")
    answers: list[Any] = [
        await read(books, proof, "keys", KeysQuery(1, 2, start)) for start in (other, "key_none")
    ]
    assert answers[0] == answers[1]
    assert answers[0].problem
    assert not (await read(books, proof, "keys", KeysQuery(1, 2, organization="beta"))).rows
