"""Owns what a sample says of the whole: its likely tokens, and the mixture that they are of."""

import math
from collections import Counter
from typing import Final

from msgspec import Struct

from schemas.estimates.sample import TURN_TOKENS, Sample
from schemas.estimates.text import weigh

_WORDS: Final = "words"
_TOKENS_PER_WORD_MAX: Final = 4.0
_FREQUENT: Final = 0.015  # of the text's letters: languages of one script differ by these


class Mixture(Struct, frozen=True):
    """Which sorts of text the tokens are of and which letters are frequent, as shares of 1, and how long the words are."""

    shares: dict[str, float]

    def distance(self, other: "Mixture") -> float:
        """0 of the same mixture; 2 and more of texts that have nothing in common."""
        names = self.shares.keys() | other.shares.keys()
        return sum(abs(self.shares.get(name, 0.0) - other.shares.get(name, 0.0)) for name in names)


class Weighed(Struct, frozen=True):
    """A prompt's likely tokens of text, before any factor."""

    tokens: float
    mixture: Mixture


def weighed(sample: Sample) -> Weighed:
    """The estimate for what a sample was taken from."""
    weight = weigh(sample.text)
    own = weight.tokens + sample.turns * TURN_TOKENS
    whole = own * sample.of_bytes / sample.bytes if sample.bytes else 0.0
    shares = {sort: tokens / weight.tokens for sort, tokens in weight.sorts.items()}
    if weight.words:
        # Words of many tokens are of another language than words of one, or of none.
        each = min(weight.sorts[_WORDS] / weight.words, _TOKENS_PER_WORD_MAX)
        shares["a word"] = shares[_WORDS] * (each - 1.0)
    letters = Counter(filter(str.isalpha, sample.text.lower()))
    least = max(letters.total() * _FREQUENT, 1)
    shares |= {letter: count / letters.total() for letter, count in letters.items() if count >= least}
    return Weighed(whole + sample.more_tokens, Mixture(shares))


def tokens_of(sample: Sample, factor: float = 1.0) -> int:
    """The tokens of what a sample was taken from, rounded up."""
    return math.ceil(weighed(sample).tokens * factor)
