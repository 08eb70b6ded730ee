"""Owns how fast each model produces, learnt from complete answers: output that nobody saw come is estimated by it."""

import math

from msgspec import Struct

from schemas.estimates.speeds import start_per_s

MODELS_MAX = 512  # whose speeds are remembered, the newest
LEAST_PER_S, MOST_PER_S = 10.0, 4_000.0
WEIGHT = 0.2  # of one long answer
LONG_TOKENS = 500  # a shorter answer weighs less: more of its time is waiting
LEAST_TOKENS = (
    256  # of an answer that teaches: a long prompt before a short one would make its model look slow
)
LEAST_S = 0.5  # of the same: what comes at once was made before
HEAD_LEAST_S, HEAD_MOST_S = 0.5, 2.0  # from a request to its model's beginning, as far as that is believed


class Pace(Struct):
    """One call of an upstream in time. Moments are time.monotonic()."""

    asked_at: float
    head_at: float | None = None  # of a stream; the head of a plain answer comes with its end
    waited_s: float = 0.0  # for its reader

    @property
    def head_s(self) -> float:
        """From the request to the head; 0 where none has come."""
        return 0.0 if self.head_at is None else self.head_at - self.asked_at

    @property
    def told(self) -> bool:
        """Whether the head says when the model began. A late one may as well have come after its reasoning."""
        return self.head_at is not None and self.head_s <= HEAD_MOST_S


class _Speed(Struct):
    per_s: float
    head_s: float = HEAD_LEAST_S
    answers: int = 1  # the start counts as one


class Speeds:
    """Tokens a second of the models of one pool, by what the provider is asked for. `preset` says which vendor that is."""

    def __init__(self, preset: str = "") -> None:
        self._preset = preset
        self._models: dict[str, _Speed] = {}

    def per_s(self, upstream: str) -> float:
        """How many tokens a model produces in a second."""
        known = self._models.get(upstream)
        return start_per_s(self._preset, upstream) if known is None else known.per_s

    def learn(self, upstream: str, pace: Pace, now: float, tokens: int) -> None:
        """An answer with so many tokens of output is complete. A short one, or one that waited for its reader, says nothing."""
        if tokens < LEAST_TOKENS or pace.waited_s:
            return
        seconds = now - self._begun_at(upstream, pace)
        if seconds < LEAST_S:
            return
        told = min(max(tokens / seconds, LEAST_PER_S), MOST_PER_S)
        known = self._models.pop(upstream, None) or _Speed(start_per_s(self._preset, upstream))
        self._models[upstream] = known
        if len(self._models) > MODELS_MAX:
            del self._models[next(iter(self._models))]
        weight = max(WEIGHT, 1 / (known.answers + 1)) * min(1.0, tokens / LONG_TOKENS)
        known.answers += 1
        known.per_s += (told - known.per_s) * weight
        if pace.told:
            known.head_s += (pace.head_s - known.head_s) * WEIGHT

    def produced(self, upstream: str, pace: Pace, now: float) -> int:
        """Tokens that a model is likely to have produced by now, of each choice."""
        seconds = now - self._begun_at(upstream, pace) - pace.waited_s
        return max(math.ceil(seconds * self.per_s(upstream)), 0)

    def _begun_at(self, upstream: str, pace: Pace) -> float:
        if pace.told:
            return pace.asked_at + pace.head_s
        known = self._models.get(upstream)
        return pace.asked_at + (HEAD_LEAST_S if known is None else max(known.head_s, HEAD_LEAST_S))
