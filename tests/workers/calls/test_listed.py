"""What an account's own list does to the models of its pool: it takes away, tightens and dates, and nothing else."""

from datetime import date

import pytest
from msgspec import structs

from runtime.settings.settings import AccountSettings
from schemas.bus.frames import AccountState, ModelFact
from schemas.catalogue.model import Lifecycle
from schemas.errors import model_not_found
from tests.fakes.worker import model
from workers.calls.accounts import Account, Accounts
from workers.calls.condition import DENIED_RETRY_S, GONE_RETRY_S
from workers.calls.listed import MISSED_MAX, UNPRICED_MAX, Stock, together
from workers.providers.base import Action, Fault
from workers.providers.faults import NO_ACCESS
from workers.providers.listing import Listed

NOW = 1_000.0
GONE = Fault(model_not_found("the model"), Action.GONE)
SOON = date(2027, 1, 14)
LATER = date(2027, 6, 1)
A, B = model("a", upstream="a"), model("b", upstream="b", shutdown_date=SOON)
PINNED = model("mine", upstream="p", pinned=True)
ALIASES = {"a": ("a-2026-01-01",)}


def listing(*entries: str | Listed) -> dict[str, Listed]:
    """A list by id."""
    made = [Listed(id=entry) if isinstance(entry, str) else entry for entry in entries]
    return {one.id: one for one in made}


def stock(names=ALIASES) -> Stock:
    """The stock of a pool with three models."""
    return Stock((A, B, PINNED), names, ("a", "b", "an-embedding"))


def test_a_list_takes_away_what_it_lacks() -> None:
    """What is not listed is lacking; an alias stands for its row where the preset says so, and not where it does not."""
    assert stock().compare(listing("a", "b", "p")).lacking == frozenset()
    assert stock().compare(listing("a-2026-01-01")).lacking == {"b", "p"}
    assert stock({}).compare(listing("a-2026-01-01")).lacking == {"a", "b", "p"}
    assert stock().compare(listing("a", "b", Listed(id="p", retired=True))).lacking == {"p"}


def test_a_list_only_tightens_or_dates() -> None:
    """An earlier end and a lower limit are facts; a later end, a higher limit, and what the row says as well are none."""
    for listed, fact in (
        (Listed(id="a", shutdown=LATER), ModelFact("a", shutdown=LATER)),
        (Listed(id="a", max_output=100), ModelFact("a", max_output=100)),
        (Listed(id="a", max_output=A.max_output), None),
        (Listed(id="a", max_output=10**6), None),
        (Listed(id="a", deprecated=True), ModelFact("a", deprecated=True)),
        (Listed(id="b", shutdown=LATER), None),
        (Listed(id="b", shutdown=SOON), None),
        (Listed(id="b", shutdown=date(2026, 12, 1)), ModelFact("b", shutdown=date(2026, 12, 1))),
        (Listed(id="p", max_output=1, shutdown=SOON), ModelFact("p", shutdown=SOON)),
    ):
        facts = stock().compare(listing(listed)).facts
        assert facts == ({} if fact is None else {listed.id: fact}), listed
    known = Stock((structs.replace(A, lifecycle=Lifecycle.DEPRECATED),), {}, ())
    assert known.compare(listing(Listed(id="a", deprecated=True))).facts == {}


def test_what_is_listed_and_not_priced_is_remembered() -> None:
    """Neither what has a row, sold or not, nor history is unpriced; there is a bound."""
    found = stock().compare(listing("a", "an-embedding", "new", Listed(id="old", retired=True)))
    assert (found.unpriced, found.listed) == (("new",), 4)
    many = stock().compare(listing(*(f"n{number}" for number in range(1_000))))
    assert (len(many.unpriced), many.listed) == (UNPRICED_MAX, 1_000)


def accounts(count: int = 2) -> Accounts:
    """A pool of accounts."""
    return Accounts(AccountSettings(id=f"acc{number}") for number in range(count))


def follow(pool: Accounts, account: Account, *entries: str | Listed, missed=None) -> None:
    """An account's list is read."""
    known = stock()
    account.follow(known.compare(listing(*entries)), known.pinned, missed or {}, NOW)
    pool.follow_lists()


def test_a_model_goes_where_it_is_listed() -> None:
    """An account is not asked for what its list lacks; a model is gone only where every account has a list without it."""
    pool = accounts()
    first, second = pool.all
    follow(pool, first, "a", "p")
    assert pool.pick("b", "k", 0, set(), NOW) is second
    assert (pool.gone("b", NOW), pool.serves("b", NOW), pool.said.lacking) == (False, True, frozenset())
    follow(pool, second, "a", "p")
    assert pool.pick("b", "k", 0, set(), NOW) is None
    assert (pool.gone("b", NOW), pool.serves("b", NOW), pool.said.lacking) == (True, False, {"b"})
    assert "its own list does not have it" in pool.why_not("b", NOW)
    assert pool.pick("a", "k", 0, set(), NOW) is not None


def test_a_list_that_fails_hides_nothing() -> None:
    """What an older list took away is back, and what it dated is not dated, as soon as one cannot be read."""
    pool = accounts(1)
    (only,) = pool.all
    follow(pool, only, "p", Listed(id="a", shutdown=SOON))
    assert (pool.gone("b", NOW), len(pool.said.facts)) == (True, 1)
    changes = pool.lists_read
    only.follow_none("status 503")
    pool.follow_lists()
    assert (pool.gone("b", NOW), pool.serves("b", NOW), pool.said.facts) == (False, True, ())
    assert pool.lists_read == changes + 1
    assert only.beat(NOW).list_error == "status 503"


def test_an_operators_row_is_never_hidden() -> None:
    """An account takes calls of a model that its list lacks if a row of the file names it; it is told as lacking."""
    pool = accounts(1)
    follow(pool, pool.all[0], "a")
    assert pool.said.lacking == {"b", "p"}
    assert (pool.serves("p", NOW), pool.gone("p", NOW)) == (True, False)
    assert pool.pick("p", "k", 0, set(), NOW) is not None


@pytest.mark.parametrize(
    ("fault", "state", "lasts_s"),
    [(GONE, AccountState.GONE, GONE_RETRY_S), (NO_ACCESS, AccountState.REFUSED, DENIED_RETRY_S)],
)
def test_a_list_confirms_what_one_call_met(fault: Fault, state: AccountState, lasts_s: float) -> None:
    """One key's "gone" or "no access" closes nothing; with a list read after it that lacks the model, it stands for all."""
    for entries, closed in ((("a", "b"), True), (("a", "b", "p"), False)):
        pool = accounts(1)
        (only,) = pool.all
        only.failed(fault, "p", "one", NOW)
        assert only.list.wanted.is_set()
        assert pool.pick("p", "two", 0, set(), NOW) is only
        missed = only.list.begin()
        assert not only.list.wanted.is_set()
        follow(pool, only, *entries, missed=missed)
        assert (pool.pick("p", "two", 0, set(), NOW) is None) is closed
        if closed:
            (told,) = only.beat(NOW).models
            assert (told.id, told.state, told.for_all) == ("p", state, True)
            assert pool.pick("p", "two", 0, set(), NOW + lasts_s) is only


def test_a_miss_after_the_question_waits_for_the_next_list() -> None:
    """A list that was asked for before a call missed its model proves nothing of it."""
    pool = accounts(1)
    (only,) = pool.all
    missed = only.list.begin()
    only.failed(GONE, "p", "one", NOW)
    follow(pool, only, "a", missed=missed)
    assert pool.serves("p", NOW)
    assert only.list.wanted.is_set()
    assert only.list.begin() == {"p": GONE}


def test_misses_are_bounded() -> None:
    """A caller that asks for one thing after another fills no memory."""
    only = Account(AccountSettings(id="a"))
    for number in range(MISSED_MAX * 2):
        only.failed(GONE, f"m{number}", "one", NOW)
    assert len(only.list.begin()) == MISSED_MAX


def test_a_pools_lists_together() -> None:
    """Of dates the earliest, of limits the lowest; retired is what every account says is, or does not have."""
    pool = accounts(2)
    first, second = pool.all
    follow(pool, first, Listed(id="a", retired=True, shutdown=SOON), "b", "new")
    follow(pool, second, Listed(id="a", shutdown=LATER, max_output=7), "b", "newer")
    (fact,) = pool.said.facts
    assert fact == ModelFact("a", shutdown=SOON, max_output=7)
    assert pool.said.unpriced == ("new", "newer")
    follow(pool, second, Listed(id="b", deprecated=True))
    assert pool.said.facts == (ModelFact("a", retired=True, shutdown=SOON), ModelFact("b", deprecated=True))
    assert together(()).lacking == frozenset()


def test_an_account_without_a_key_does_not_count() -> None:
    """Nobody can read its list and it serves nothing: what the others lack is gone all the same."""
    pool = Accounts((AccountSettings(id="k", keyless=True), AccountSettings(id="a")))
    follow(pool, pool.all[1], "a", "p")
    assert (pool.said.lacking, pool.gone("b", NOW), pool.serves("a", NOW)) == ({"b"}, True, True)
