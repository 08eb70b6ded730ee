"""Owns what a Messages answer costs: its usage as it is told, and how far that is believed once the answer is whole."""

from msgspec import Struct

from schemas.money.pricing import NO_USAGE, TokenUsage
from workers.answers.said import Said
from workers.providers.anthropic.answer import Usage
from workers.providers.counts import counted_on


class Tally(Struct):
    """One answer's usage so far, and what decides whether that is the last word."""

    totals: Usage | None = None
    opened: bool = False  # the newest word on output is the opening's
    produced: bool = False  # a block began or a signature came, shown or not

    def count(self, usage: Usage) -> tuple[TokenUsage | None, tuple[str, ...]]:
        """Takes in what is told now. Answers with the usage and the uplifts so far."""
        self.totals = totals = usage.over(self.totals, opened=self.opened)
        self.opened = self.opened and usage.output_tokens is None
        return totals.tokens(), totals.uplifts()

    def believed(
        self, usage: TokenUsage | None, said: Said, upstream: str, output_max: int, *, refused: bool
    ) -> tuple[TokenUsage | None, bool]:
        """The usage of a whole answer in tokens, and whether it is no more than an estimate.

        An opening's output is a placeholder, and nothing may have come in its place: then what was `said` is estimated,
        up to `output_max`. A refusal before any output is not billed, though its usage shows tokens. Hidden reasoning is
        output.
        """
        thought = usage is not None and usage.reasoning
        if refused and not (self.produced or thought or said.count_bytes):
            return NO_USAGE, False
        counted = self.totals is not None and self.totals.output_tokens is not None and not self.opened
        if usage is None or counted or not said.count_bytes:
            return usage, False
        return counted_on(usage, said.tokens(upstream), output_max), True
