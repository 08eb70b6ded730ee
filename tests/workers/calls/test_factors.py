"""What a worker learns of its estimates from providers' own counts, and what a caller can make of that."""

import functools

import pytest

from schemas.estimates.sample import of_text
from schemas.estimates.starts import CLAUDE, OLD_CLAUDE, OTHER, OWN, start_of
from schemas.estimates.weighed import Weighed, weighed
from tests.fakes.texts import KINDS, text
from tests.fakes.tokenizer import tokens
from workers.calls import factors as module
from workers.calls.factors import Factors

GPT = "gpt-6.1-sol"
HISTORY = 20  # calls
CHARS = 1_500


@functools.cache
def prompt(kind: str, seed: int) -> tuple[Weighed, int]:
    """A prompt of a kind, and its true tokens: those of later calls are longer."""
    made = text(kind, seed, CHARS if seed < HISTORY else 3 * CHARS)
    return weighed(of_text(made)), tokens(made)


def trained(kind: str, calls: int = HISTORY, scope: str = "a") -> Factors:
    """What so many calls of a key leave behind."""
    made = Factors()
    for seed in range(calls):
        made.learn(scope, GPT, *prompt(kind, seed % HISTORY))
    return made


def leaves(made: Factors, kind: str, scope: str = "a") -> list[float]:
    """Estimate by truth, of further calls of a kind."""
    found = [prompt(kind, seed) for seed in range(HISTORY, HISTORY + 5)]
    return [made.tokens(scope, GPT, weight) / truth for weight, truth in found]


def test_twenty_calls_make_estimates_close() -> None:
    """Per kind a mean of 0.95 to 1.10 and no call below 0.85; over all kinds an error of 5 % at most."""
    errors = []
    for kind in KINDS:
        found = leaves(trained(kind), kind)
        mean = sum(found) / len(found)
        assert 0.95 <= mean <= 1.10, (kind, mean)
        assert min(found) >= 0.85, kind
        errors.append(abs(mean - 1))
    assert sum(errors) / len(errors) <= 0.05


def test_who_trains_with_one_text_gains_nothing_with_another() -> None:
    """After any kind, no call of any other kind is estimated 5 % below both its truth and what it was before."""
    none = Factors()
    for kind in KINDS:
        made = trained(kind, 3 * HISTORY)
        for other in KINDS:
            weight, truth = prompt(other, HISTORY)
            least = min(truth, none.tokens("a", GPT, weight))
            assert made.tokens("a", GPT, weight) >= 0.95 * least, (kind, other)


def test_one_key_sets_no_other_keys_factor() -> None:
    """However many calls a key makes, another key starts where the model starts; what most of three keys say counts."""
    weight, truth = prompt("russian", HISTORY)
    made = Factors()
    for scope in ("a", "a", "b"):
        for seed in range(HISTORY):
            made.learn(scope, GPT, prompt("russian", seed)[0], 10**6)
    assert made.tokens("c", GPT, weight) == Factors().tokens("c", GPT, weight)
    for scope in ("d", "e", "f"):
        for seed in range(HISTORY):
            made.learn(scope, GPT, *prompt("russian", seed))
    assert made.tokens("c", GPT, weight) == pytest.approx(truth, rel=0.05)


@pytest.mark.parametrize(
    ("upstream", "start"),
    [
        ("gpt-4o", OWN),
        ("o4-mini", OWN),
        ("claude-3-5-haiku-20241022", OLD_CLAUDE),
        ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", OLD_CLAUDE),
        ("claude-opus-4-6", OLD_CLAUDE),
        ("claude-opus-4-8", CLAUDE),
        ("claude-fable-5-2", CLAUDE),
        ("gemini-4-argon", OTHER),
        ("meta/llama-4", OTHER),
    ],
)
def test_a_factor_stays_within_its_bounds(upstream: str, start: object) -> None:
    """Nonsense counts move no factor beyond what a tokenizer of the model could do."""
    assert start_of(upstream) == start
    weight, _ = prompt("english", 0)
    for reported, bound in ((10**9, start_of(upstream).most), (1, start_of(upstream).least)):
        made = Factors()
        for _ in range(200):
            made.learn("a", upstream, weight, reported)
        assert made.tokens("a", upstream, weight) == pytest.approx(weight.tokens * bound, rel=0.01, abs=1)


def test_short_prompts_teach_nothing() -> None:
    """Of a prompt of a few words the provider's own frame is the larger part."""
    made = Factors()
    weight = weighed(of_text("Hello there."))
    for _ in range(HISTORY):
        made.learn("a", GPT, weight, 400)
    assert made.tokens("a", GPT, weight) == Factors().tokens("a", GPT, weight)


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any number of keys, models and kinds leaves as many as there is room for, the latest."""
    monkeypatch.setattr(module, "KEYS_MAX", 5)
    monkeypatch.setattr(module, "MODELS_MAX", 3)
    made = Factors()
    for number in range(40):
        for kind in KINDS[::4]:
            made.learn(f"key{number}", f"gpt-{number}", *prompt(kind, 0))
        for key in range(30):
            made.learn(f"voter{key}", "gpt-last", *prompt("hex", 0))
        made.wants(f"key{number}", GPT, 0.0)
    assert len(made._keys) == len(made._calls) == 5
    assert len(made._models) == 3
    assert max(map(len, (*made._keys.values(), *made._models.values()))) <= module.KINDS_MAX
    assert len(made._models["gpt-last"][-1].votes) == module.VOTES_MAX


def test_a_keys_first_calls_are_looked_at_then_a_few() -> None:
    """Of a thousand calls of a key, the first two dozen and one of sixteen after them."""
    made = Factors(now=0.0)
    looked = [number for number in range(1_000) if made.wants("a", GPT, 0.0)]
    assert looked[: module.WARM_CALLS] == list(range(module.WARM_CALLS))
    assert len(looked) == pytest.approx(module.WARM_CALLS + 1_000 / module.THEN_ONE_OF, abs=2)


def test_looking_takes_a_small_share_of_the_time() -> None:
    """However many keys come, and however long a look takes, what is spent is half a percent of the time."""
    made, spent_s = Factors(now=0.0), 0.0
    for number in range(100_000):
        now = number / 1_000
        if made.wants(f"key{number}", GPT, now):
            made.worked(0.004)
            spent_s += 0.004
    assert spent_s <= module.WORK_S_MAX + 100 * module.WORK_SHARE + 0.004
