"""What texts of many kinds are estimated at, against the vocabulary of OpenAI's models."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.estimates.sample import SAMPLE_BYTES_MAX, of_text
from schemas.estimates.text import weigh
from schemas.estimates.weighed import tokens_of, weighed
from tests.fakes.texts import KINDS, text
from tests.fakes.tokenizer import tokens

CHARS = 3_000
TEXTS = 4  # of a kind
WEIGHING_S_MAX = 0.03  # of thread CPU: five times what it takes here


def ratios(kind: str) -> list[float]:
    """Estimate by truth, of some texts of a kind."""
    made = [text(kind, seed, CHARS) for seed in range(100, 100 + TEXTS)]
    return [weigh(one).tokens / tokens(one) for one in made]


@pytest.mark.parametrize("kind", KINDS)
def test_no_kind_is_far_from_the_truth(kind: str) -> None:
    """Without any history: no text below 0.80 of its tokens, no kind above 1.25."""
    found = ratios(kind)
    assert min(found) >= 0.80
    assert sum(found) / len(found) <= 1.25


def test_kinds_are_close_on_the_whole() -> None:
    """Over all kinds the mean error is at most 8 %, where a quarter of the bytes is off by more than 20 %."""
    found = {kind: sum(ratios(kind)) / TEXTS for kind in KINDS}
    quarters = [len(text(kind, 100, CHARS).encode()) / 4 / tokens(text(kind, 100, CHARS)) for kind in KINDS]
    assert sum(abs(ratio - 1) for ratio in found.values()) / len(found) <= 0.08
    assert sum(abs(ratio - 1) for ratio in quarters) / len(quarters) > 0.20


@pytest.mark.parametrize("kind", KINDS)
def test_a_sample_stands_for_a_long_text(kind: str) -> None:
    """Of a text that is looked at in slices, the estimate is within a tenth of the estimate of all of it."""
    long = text(kind, 7, 12 * SAMPLE_BYTES_MAX)
    assert tokens_of(of_text(long)) == pytest.approx(weigh(long).tokens, rel=0.1)


@pytest.mark.parametrize(
    "dense",
    [
        "xzqkjvwb" * 1_000,
        "cdeflnrst" * 1_000,
        "tirelosuna" * 1_000,
        "9" * 8_000,
        "\u4e2d" * 4_000,
        "\x1b" * 4_000,
        "\n" * 8_000,
    ],
    ids=["rare letters", "frequent letters", "syllables", "digits", "ideographs", "controls", "line breaks"],
)
def test_no_choice_of_letters_is_cheap(dense: str) -> None:
    """Text that is made to be cheap to send is no cheaper than half, and one of frequent letters no dearer than thrice."""
    assert 0.5 <= weigh(dense).tokens / tokens(dense) <= 3


@pytest.mark.parametrize("ruler", ["=" * 80, "-" * 400, "." * 1_000, "x" * 401])
def test_a_ruler_is_a_few_tokens(ruler: str) -> None:
    """The same sign again and again is not counted one by one."""
    assert weigh(ruler).tokens <= len(ruler) / 3


def test_weighing_is_quick() -> None:
    """A sample of the largest size takes a few ms, of whatever kind it is."""
    for kind in KINDS:
        sample = of_text(text(kind, 3, 4 * SAMPLE_BYTES_MAX))
        spent_s = []
        for _ in range(3):  # a neighbour on the machine makes one dearer
            began = time.thread_time()
            weighed(sample)
            spent_s.append(time.thread_time() - began)
        assert min(spent_s) < WEIGHING_S_MAX, kind


@given(st.text())
def test_any_text_has_an_estimate(any_text: str) -> None:
    """Nothing raises, nothing is negative, and no text is estimated far beyond its bytes."""
    found = weighed(of_text(any_text))
    assert 0 <= found.tokens <= 2.5 * len(any_text.encode(errors="surrogatepass")) + 2
    assert found.tokens > 0 or not any_text.strip()
