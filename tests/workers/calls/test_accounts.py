"""What keeps calls away from an account, or from one model at it: whose calls met what, for whom, and for how long."""

import random

import pytest

from runtime.settings.settings import AccountSettings
from schemas.bus.frames import AccountState
from schemas.errors import model_not_found, overloaded, saturated, upstream_auth, upstream_failed
from workers.calls import accounts as module
from workers.calls.accounts import MODELS_TOLD_MAX, Account, Accounts
from workers.calls.condition import (
    COOL_S,
    DENIED_RETRY_S,
    EVIDENCE_S,
    FAILURES_BEFORE_COOLING,
    GONE_RETRY_S,
    REFUSED_RETRY_S,
    SPENT_RETRY_S,
)
from workers.calls.models import MODELS_MAX, REASON_CHARS_MAX
from workers.providers.base import About, Action, Fault
from workers.providers.faults import DEAD_KEY, NO_ACCESS, NO_PERMISSION, UNKNOWN_REFUSAL, UNKNOWN_REFUSAL_S

NOW = 1_000.0
GONE = Fault(model_not_found("the model"), Action.GONE)
FAILED = Fault(upstream_failed(), Action.NEXT)
UNREACHABLE = Fault(upstream_failed(), Action.NEXT, about=About.ACCOUNT, sure=True)
SPENT = Fault(saturated("no credit"), Action.SPENT)
CALLERS_OWN = Fault(saturated("yours"), Action.STOP)


def limit(seconds: float | None = 20.0, about: About = About.MODEL) -> Fault:
    """A rate limit that names its time."""
    return Fault(saturated("slow down"), Action.COOL, seconds, about=about)


def made(*names: str, **more) -> Accounts:
    """A pool of accounts."""
    return Accounts(AccountSettings(id=name, **more) for name in names)


def served(accounts: Accounts, model: str = "a", key: str = "two", now: float = NOW) -> str | None:
    """The account that a call goes to."""
    found = accounts.pick(model, key, 0, set(), now)
    return found.settings.id if found else None


def test_a_fault_is_about_what_its_action_is_usually_about():
    """The request for a stop, the account for its credentials and credit, else the model on that account."""
    usual = {action: Fault(upstream_auth(), action).about for action in Action}
    assert {action for action, about in usual.items() if about is About.REQUEST} == {Action.STOP}
    assert {action for action, about in usual.items() if about is About.ACCOUNT} == {
        Action.REFUSED,
        Action.SPENT,
    }
    assert limit(about=About.ACCOUNT).about is About.ACCOUNT


@pytest.mark.parametrize("fault", [GONE, NO_ACCESS, UNKNOWN_REFUSAL, NO_PERMISSION, FAILED, limit(), SPENT])
def test_one_key_closes_nothing_for_another(fault):
    """However often the calls of one key meet it, calls of others go where they went."""
    accounts = made("only")
    for _ in range(50):
        accounts.all[0].failed(fault, "a", "one", NOW)
        assert served(accounts) == "only"
        assert accounts.serves("a", NOW)
        assert not accounts.gone("a", NOW)
        assert accounts.refusal("a", "two", 0, NOW) is None


@pytest.mark.parametrize(
    ("fault", "state", "wait_s"),
    [
        (GONE, AccountState.GONE, GONE_RETRY_S),
        (NO_ACCESS, AccountState.REFUSED, DENIED_RETRY_S),
        (UNKNOWN_REFUSAL, AccountState.REFUSED, UNKNOWN_REFUSAL_S),
        (NO_PERMISSION, AccountState.REFUSED, REFUSED_RETRY_S),
        (limit(), AccountState.COOLING, 20.0),
        (limit(None), AccountState.COOLING, COOL_S),
        (limit(20.0, About.ACCOUNT), AccountState.COOLING, 20.0),
        (SPENT, AccountState.SPENT, SPENT_RETRY_S),
    ],
)
def test_two_keys_close_what_the_fault_is_about(fault, state, wait_s):
    """For its time: the model on that account, or the account; never another account."""
    accounts = made("first", "second")
    first = accounts.all[0]
    first.failed(fault, "a", "one", NOW)
    first.failed(fault, "a", "two", NOW)
    for now, here in ((NOW, False), (NOW + wait_s - 0.01, False), (NOW + wait_s, True)):
        assert first.serves("a", now) is here
        assert first.serves("b", now) is (here or fault.about is About.MODEL)
        assert accounts.all[1].serves("a", now)
        if not here:
            seen = first.seen_by("three", "a", now)[1]
            assert (seen.state, seen.until) == (state, NOW + wait_s)
            assert served(accounts, key="three", now=now) == "second"


def test_a_dead_credential_stands_at_once():
    """No request can bring it about, so nobody else has to meet it."""
    accounts = made("first", "second")
    accounts.all[0].failed(DEAD_KEY, "a", "one", NOW)
    assert [account.usable(NOW) for account in accounts.all] == [False, True]
    assert served(accounts, "b") == "second"
    assert accounts.all[0].usable(NOW + REFUSED_RETRY_S)


def test_a_host_that_cannot_be_reached_counts_by_itself():
    """So many times in a row, whoever asked; one answer in between begins anew."""
    account = made("only").all[0]
    for _ in range(FAILURES_BEFORE_COOLING - 1):
        account.failed(UNREACHABLE, "a", "one", NOW)
    account.succeeded("b")
    for _ in range(FAILURES_BEFORE_COOLING - 1):
        account.failed(UNREACHABLE, "a", "one", NOW)
        assert account.usable(NOW)
    account.failed(UNREACHABLE, "b", "one", NOW)
    assert not account.usable(NOW)
    assert account.usable(NOW + COOL_S)


def test_failures_of_two_keys_in_a_row_cool_the_model():
    """Not before there are enough of them, and not the account's other models."""
    account = made("only").all[0]
    for _ in range(FAILURES_BEFORE_COOLING - 1):
        account.failed(FAILED, "a", "one", NOW)
    assert account.serves("a", NOW)
    account.failed(FAILED, "a", "two", NOW)
    assert not account.serves("a", NOW)
    assert account.serves("b", NOW)
    assert account.serves("a", NOW + COOL_S)
    for number in range(FAILURES_BEFORE_COOLING - 1):
        account.failed(FAILED, "a", "one" if number % 2 else "two", NOW + COOL_S)
    assert account.serves("a", NOW + COOL_S)


def test_a_limit_keeps_the_key_that_met_it_away_for_its_time():
    """Its own further calls wait, for that model only; others go on."""
    accounts = made("only")
    accounts.all[0].failed(limit(), "a", "one", NOW)
    assert served(accounts, "a", "one") is None
    refusal = accounts.refusal("a", "one", 0, NOW + 5)
    assert (refusal.status, refusal.retry_after_s) == (429, 15.0)
    assert served(accounts, "b", "one") == "only"
    assert served(accounts, "a", "two") == "only"
    assert served(accounts, "a", "one", NOW + 20) == "only"


def test_a_limit_of_the_account_keeps_its_key_from_all_models():
    """So does a lack of credit."""
    for fault in (limit(about=About.ACCOUNT), SPENT):
        accounts = made("only")
        accounts.all[0].failed(fault, "a", "one", NOW)
        assert served(accounts, "b", "one") is None
        assert served(accounts, "b", "two") == "only"


def test_an_answer_ends_a_suspicion_but_no_limit():
    """A model that answered is neither gone nor forbidden; a small call may pass under a limit."""
    account = made("only").all[0]
    for fault in (GONE, NO_ACCESS):
        account.failed(fault, "a", "one", NOW)
        account.succeeded("a")
        account.failed(fault, "a", "two", NOW)
        assert account.serves("a", NOW)
    account.failed(limit(), "a", "one", NOW)
    account.succeeded("a")
    assert not account.admits("a", "one", NOW)


def test_evidence_ages():
    """What one key met a while ago is nothing beside what another meets now; a limit is over with its time."""
    account = made("only").all[0]
    account.failed(GONE, "a", "one", NOW)
    account.failed(GONE, "a", "two", NOW + EVIDENCE_S)
    assert account.serves("a", NOW + EVIDENCE_S)
    account.failed(limit(1.0), "b", "one", NOW)
    account.failed(limit(1.0), "b", "two", NOW + 1.0)
    assert account.serves("b", NOW + 1.0)


def test_different_words_prove_nothing_together():
    """A 403 of unknown kind beside one about the model, and a rate beside an overload, are two things met once."""
    account = made("only").all[0]
    busy = Fault(overloaded(), Action.COOL, 20.0)
    for one, other in ((limit(), busy), (NO_ACCESS, GONE), (UNKNOWN_REFUSAL, NO_ACCESS)):
        account.failed(one, "a", "one", NOW)
        account.failed(other, "a", "two", NOW)
        assert account.serves("a", NOW)


def test_calls_go_where_nothing_was_met():
    """While it is only suspected, the account is the last choice for that model; a busy one without doubt is better."""
    accounts = made("first", "second", max_inflight=2)
    first, second = accounts.all
    assert served(accounts) == "first"
    first.failed(GONE, "a", "one", NOW)
    second.take(0)
    assert served(accounts, "a") == "second"
    assert served(accounts, "b") == "first"
    second.take(0)
    assert served(accounts, "a") == "first"
    assert accounts.pick("a", "two", 0, {"first"}, NOW) is None


def test_an_account_without_access_is_passed_by_however_many_there_are():
    """Of ten accounts of which one may use the model, a single key's second call finds it, within three tries a call."""
    accounts = made(*(f"a{number}" for number in range(10)))
    able, calls, found = "a7", 0, None
    while found != able:
        calls += 1
        tried: set[str] = set()
        for _ in range(3):
            account = accounts.pick("a", "one", 0, tried, NOW)
            found = account.settings.id
            tried.add(found)
            if found == able:
                break
            account.failed(NO_ACCESS, "a", "one", NOW)
    assert calls == 3
    assert served(accounts, "a", "one") == able


def test_gone_needs_every_account():
    """The model is a 404 for the pool only where it is proven for each account; until it is looked for again."""
    accounts = made("first", "second")
    for account in accounts.all:
        assert not accounts.gone("a", NOW)
        account.confirmed_gone("a", NOW)
    assert accounts.gone("a", NOW)
    assert not accounts.serves("a", NOW)
    assert not accounts.gone("b", NOW)
    assert not accounts.gone("a", NOW + GONE_RETRY_S)


def test_a_job_without_a_key_counts_by_itself():
    """It comes from an edge of a version that named none, and means what it meant then."""
    account = made("only").all[0]
    account.failed(GONE, "a", "", NOW)
    account.failed(limit(), "b", "", NOW)
    for _ in range(FAILURES_BEFORE_COOLING):
        account.failed(FAILED, "c", "", NOW)
    assert [account.serves(model, NOW) for model in "abcd"] == [False, False, False, True]


def test_a_callers_own_error_leaves_no_trace():
    """Nothing is remembered of it, not even for its own key."""
    account = made("only").all[0]
    account.failed(CALLERS_OWN, "a", "one", NOW)
    account.failed(CALLERS_OWN, "a", "two", NOW)
    assert account.admits("a", "one", NOW)
    assert not account.doubted("a", NOW)
    assert not account._models


def test_a_longer_wait_is_not_cut_short():
    """A call that was already on its way brings no account back early."""
    account = made("only").all[0]
    account.failed(DEAD_KEY, "a", "one", NOW)
    account.failed(limit(1.0, About.ACCOUNT), "a", "", NOW)
    assert not account.usable(NOW + 2.0)


def test_refusals_name_what_is_the_matter():
    """A wait for limits, no access for a model, credentials for an account, and credit."""
    accounts = made("only")
    only = accounts.all[0]
    only.failed(NO_ACCESS, "denied", "", NOW)
    only.failed(limit(), "slow", "", NOW)
    assert accounts.refusal("denied", "one", 0, NOW).message == NO_ACCESS.error.message
    assert accounts.refusal("slow", "one", 0, NOW).retry_after_s == 20.0
    assert accounts.refusal("fine", "one", 0, NOW) is None
    only.failed(DEAD_KEY, "fine", "one", NOW)
    assert accounts.refusal("fine", "one", 0, NOW) == upstream_auth()
    assert made().refusal("fine", "one", 0, NOW).status == 503


def test_what_is_remembered_is_bounded(monkeypatch):
    """So many models of an account, however many are asked for; those over soonest are forgotten first, all by themselves."""
    account = made("only").all[0]
    account.failed(GONE, "kept", "", NOW)
    for number in range(3 * MODELS_MAX):
        account.failed(limit(), f"m{number}", "one", NOW)
        account.failed(limit(), f"m{number}", "two", NOW)
        assert len(account._models) <= MODELS_MAX
    assert not account.serves("kept", NOW)
    account.settle(NOW + GONE_RETRY_S)
    assert not account._models
    assert module.MODELS_TOLD_MAX < MODELS_MAX


def test_a_beat_tells_what_is_out(monkeypatch):
    """Each model with state, end and reason, the longest first, at most so many, and how many there are."""
    monkeypatch.setattr("time.time", lambda: 50_000.0)
    account = made("only").all[0]
    account.failed(GONE, "gone", "", NOW)
    account.failed(limit(20.0), "for-one", "one", NOW)
    long = Fault(saturated("x" * 5_000), Action.COOL, 30.0)
    account.failed(long, "slow", "", NOW)
    told = account.beat(NOW)
    assert [(one.id, one.state.value, one.until, one.for_all) for one in told.models] == [
        ("gone", "gone", 50_000.0 + GONE_RETRY_S, True),
        ("slow", "cooling", 50_030.0, True),
        ("for-one", "cooling", 50_020.0, False),
    ]
    assert (told.state, told.models_out) == (AccountState.OK, 3)
    assert told.models[2].reason == "slow down"
    assert len(told.models[1].reason) == REASON_CHARS_MAX
    for number in range(100):
        account.failed(limit(), f"m{number}", "", NOW)
    told = account.beat(NOW)
    assert (len(told.models), told.models_out) == (MODELS_TOLD_MAX, 103)
    account.failed(NO_ACCESS, "denied", "one", NOW)
    (denied,) = [one for one in account.beat(NOW).models if one.id == "denied"]
    assert (denied.state, denied.for_all) == (AccountState.REFUSED, False)
    assert account.admits("denied", "one", NOW)
    account.failed(limit(5.0, About.ACCOUNT), "gone", "one", NOW)
    assert account.beat(NOW).state is AccountState.OK
    assert "for one key" in account.beat(NOW).reason


def test_an_account_without_a_key_stays_out():
    """Nothing that calls meet brings it into use."""
    account = Account(AccountSettings(id="a", keyless=True))
    account.failed(limit(1.0, About.ACCOUNT), "a", "", NOW)
    assert not account.usable(NOW + 10_000.0)
    assert account.beat(NOW).state is AccountState.REFUSED


def test_no_order_of_faults_of_one_key_reaches_another():
    """Any faults but a dead credential, for any models, at any times: another key always finds what it found before."""
    rng = random.Random(20)
    faults = [GONE, NO_ACCESS, UNKNOWN_REFUSAL, NO_PERMISSION, FAILED, SPENT, limit(), limit(None)]
    faults += [limit(300.0, About.ACCOUNT), Fault(overloaded(), Action.COOL, 300.0), CALLERS_OWN]
    for _ in range(200):
        accounts, now = made("first", "second"), NOW
        for _ in range(40):
            now += rng.random() * 30
            account = rng.choice(accounts.all)
            if rng.random() < 0.2:
                account.succeeded(rng.choice("ab"))
            else:
                account.failed(rng.choice(faults), rng.choice("ab"), "one", now)
            for model in "ab":
                for tried in (set(), {"first"}, {"second"}):
                    assert accounts.pick(model, "two", 0, tried, now) is not None
                assert accounts.serves(model, now)
                assert not accounts.gone(model, now)


@pytest.mark.parametrize("fault", [NO_PERMISSION, SPENT, limit(about=About.ACCOUNT)])
def test_an_account_is_untouched_again_once_nothing_counts(fault):
    """What one key met there is forgotten with its time: calls then cost no more than before."""
    account = made("first").all[0]
    account.failed(fault, "a", "one", NOW)
    account.settle(NOW + 0.1)
    assert not account.condition.untouched
    account.settle(NOW + EVIDENCE_S + 0.1)
    assert account.condition.untouched
