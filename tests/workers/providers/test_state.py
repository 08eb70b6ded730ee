"""What each family's refusals are about, over every status and shape of body: what they may take, and from whom."""

import random
from collections.abc import Mapping

import pytest

from runtime.settings.settings import AccountSettings
from tests.fakes.refusals import REFUSALS, Refusal
from workers.calls.accounts import Accounts
from workers.providers import family as family_of
from workers.providers.anthropic.errors import fault_of_event as anthropic_event
from workers.providers.base import About, Action, Family, Fault
from workers.providers.bedrock.errors import fault_of_exception as bedrock_exception
from workers.providers.gemini.errors import fault_of_event as gemini_event
from workers.providers.openai.errors import event_fault as openai_event

NOW = 1_000.0
FAMILY: Mapping[str, Family] = {
    name: family_of(name) for name in ("openai", "anthropic", "gemini", "bedrock")
}
WORDS = ("model", "flagged", "your API key", "account", "quota", "Request too large", "not found", "limit")


def fault(refusal: Refusal) -> Fault:
    """What the family makes of it."""
    return FAMILY[refusal.family].fault(refusal.status, refusal.headers, refusal.body)


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: refusal.name)
def test_what_a_refusal_is_about(refusal):
    """The request, the model on that account, or the account; only a dead credential needs nobody else's evidence."""
    found = fault(refusal)
    assert (found.action, found.about, found.error.status, found.sure) == (
        refusal.action,
        refusal.about,
        refusal.told,
        refusal.sure,
    )
    if found.error.status == 413:
        assert found.error.should_retry is False
    if found.action is Action.STOP and refusal.status in (403, 429):
        assert found.error.code in ("content_policy_violation", "request_too_large")
        assert found.cool_s is None


def test_the_reason_reaches_the_caller():
    """Of an input that was flagged, a request that is too large, and a caller's own 404: in the upstream's words."""
    told = {
        fault(refusal).error.message
        for refusal in REFUSALS
        if refusal.family == "openai" and refusal.action is Action.STOP
    }
    for words in (
        "Your input was flagged",
        "No allowed providers are available for the selected model.",
        "Limit 30000, Requested 64000.",
    ):
        assert any(words in message for message in told)


def test_a_request_beyond_the_credit_left_is_soon_forgotten():
    """A smaller one would be served: even its own key waits a second, not the minute of an account without credit."""
    told = {
        row.body: fault(row).cool_s
        for row in REFUSALS
        if row.family == "openai" and row.action is Action.SPENT and row.status == 402
    }
    assert list(told.values()) == [1.0]


@pytest.mark.parametrize(
    "found",
    [
        openai_event({"code": 401, "message": "Provider returned error"}),
        openai_event({"code": "invalid_api_key", "message": "Incorrect API key provided"}),
        openai_event({"code": "account_deactivated", "status": 403}),
        openai_event({"code": "1004", "status": 401, "message": "login fail"}),
        anthropic_event({"type": "authentication_error", "message": "invalid x-api-key"}, unbilled=True),
        gemini_event({"code": 401, "message": "no", "status": "UNAUTHENTICATED"}),
        gemini_event({"code": 400, "message": "x", "details": [{"reason": "CONSUMER_SUSPENDED"}]}),
        bedrock_exception("unrecognizedClientException", b"", begun=False),
    ],
)
def test_an_error_inside_an_answer_proves_no_credential_dead(found):
    """The server took it to answer at all; the refusal may be of its own call to somebody else, for this model only."""
    assert (found.action, found.about, found.sure) == (Action.REFUSED, About.ACCOUNT, False)
    accounts = Accounts([AccountSettings(id="only")])
    for number in range(10):
        accounts.all[0].failed(found, "a", "one", NOW + number)
        assert accounts.all[0].admits("b", "two", NOW + number)


@pytest.mark.parametrize("family", FAMILY)
def test_one_key_takes_nothing_from_another(family):
    """Whatever one key's requests provoke, any number of them in any order: another key's calls go where they went.

    Every row of the tables, every status with every row's body, and bodies of words in any mixture; but for credentials
    that are dead, which no request brings about.
    """
    rows = [refusal for refusal in REFUSALS if refusal.family == family]
    rng = random.Random(family)
    shapes = [(row.status, row.headers, row.body) for row in rows]
    shapes += [(status, row.headers, row.body) for status in range(400, 600) for row in rows]
    for _ in range(300):
        words = " ".join(rng.choices(WORDS, k=rng.randrange(1, 6)))
        text = f'{{"error": {{"message": "{words}", "type": "x", "status": "x"}}, "message": "{words}"}}'
        shapes.append((rng.choice((400, 403, 404, 413, 429, 503)), {"retry-after": "300"}, text.encode()))
    rng.shuffle(shapes)
    accounts = Accounts([AccountSettings(id="first"), AccountSettings(id="second")])
    dead_bodies = [row.body for row in rows if row.sure and row.body and not row.headers]
    dead_names = [row.headers for row in rows if row.sure and row.headers]
    for number, (status, headers, body) in enumerate(shapes):
        found = FAMILY[family].fault(status, headers, body)
        if found.sure:
            assert (found.action, found.about) == (Action.REFUSED, About.ACCOUNT)
            assert status == 401 or body in dead_bodies or headers in dead_names
            continue
        now = NOW + number * 0.01
        for account in accounts.all:
            account.failed(found, "a", "one", now)
            for model in ("a", "b"):
                assert account.serves(model, now)
                assert account.admits(model, "two", now)
        assert not accounts.gone("a", now)
