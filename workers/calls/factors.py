"""Owns what providers' own counts have shown of our estimates: a factor for each key, model and kind of text."""

import math
import statistics
import time
from collections import OrderedDict
from collections.abc import Iterable
from typing import Final, TypeVar

from msgspec import Struct

from schemas.estimates.starts import Start, start_of
from schemas.estimates.weighed import Mixture, Weighed

SMOOTHING: Final = 0.1  # the weight of the newest call, once there have been ten
KEYS_MAX: Final = 2_048  # pairs of key and model that are remembered, the latest
MODELS_MAX: Final = 512
KINDS_MAX: Final = 8  # of text, of one key or one model
VOTES_MAX: Final = 15  # keys that say what a model does with a kind, the latest
VOTES_MIN: Final = 3  # fewer say nothing: one caller must not set the factor of another
ALIKE_MAX: Final = 0.32  # two mixtures that are further apart are of different kinds
TOKENS_MIN: Final = 64  # of a prompt: of a shorter one the provider's own frame is too large a part

WARM_CALLS: Final = 24  # of a key and model that are all looked at
THEN_ONE_OF: Final = 16
WORK_SHARE: Final = 0.005  # of the time, for looking at calls
WORK_S_MAX: Final = 0.25  # what may be saved up


class _Kind(Struct):
    """One kind of text of one key."""

    mixture: Mixture
    factor: float
    calls: int = 0


class _SharedKind(Struct):
    """One kind of text of one model: each key's factor is one vote."""

    mixture: Mixture
    votes: OrderedDict[str, float]


_K = TypeVar("_K", _Kind, _SharedKind)


class Factors:
    """The factors of one worker, in its memory alone. What a key's calls have shown counts for that key's kind of text.

    For any other text of it, and for keys without calls, counts what most keys have shown of the model, or the model's
    start. So no caller who trains the factor with one text leaves a call of another text for less.
    """

    def __init__(self, now: float | None = None) -> None:
        self._keys: OrderedDict[tuple[str, str], list[_Kind]] = OrderedDict()
        self._models: OrderedDict[str, list[_SharedKind]] = OrderedDict()
        self._calls: OrderedDict[tuple[str, str], int] = OrderedDict()
        self._work_s = WORK_S_MAX
        self._work_at = time.monotonic() if now is None else now

    def wants(self, scope: str, upstream: str, now: float) -> bool:
        """Whether a completed call is to be looked at: a key's first ones, then a few, while there is time for it."""
        self._work_s = min(self._work_s + (now - self._work_at) * WORK_SHARE, WORK_S_MAX)
        self._work_at = now
        calls = self._calls.pop((scope, upstream), 0)
        self._calls[(scope, upstream)] = calls + 1
        if len(self._calls) > KEYS_MAX:
            self._calls.popitem(last=False)
        return self._work_s > 0 and (calls < WARM_CALLS or calls % THEN_ONE_OF == 0)

    def worked(self, seconds: float) -> None:
        """So long it took."""
        self._work_s -= seconds

    def learn(self, scope: str, upstream: str, prompt: Weighed, reported: int) -> None:
        """A completed call's prompt, text alone, and what its provider says it has."""
        if prompt.tokens < TOKENS_MIN or reported <= 0:
            return
        start = start_of(upstream)
        seen = _clamped(reported / prompt.tokens, start)
        kinds = self._keys.pop((scope, upstream), [])
        self._keys[(scope, upstream)] = kinds
        if len(self._keys) > KEYS_MAX:
            self._keys.popitem(last=False)
        kind = _nearest(kinds, prompt.mixture)
        if kind is None:
            kind = _Kind(prompt.mixture, self._shared(upstream, prompt.mixture, start))
            kinds.append(kind)
            del kinds[:-KINDS_MAX]
        else:  # the kind last seen is the last to be forgotten
            kinds.remove(kind)
            kinds.append(kind)
        kind.calls += 1
        kind.factor += (seen - kind.factor) * max(SMOOTHING, 1 / (kind.calls + 1))
        self._vote(scope, upstream, prompt.mixture, kind.factor)

    def tokens(self, scope: str, upstream: str, prompt: Weighed) -> int:
        """The estimate for a prompt's text, rounded up."""
        kind = _nearest(self._keys.get((scope, upstream), ()), prompt.mixture)
        start = start_of(upstream)
        factor = self._shared(upstream, prompt.mixture, start) if kind is None else kind.factor
        return math.ceil(prompt.tokens * factor)

    def _vote(self, scope: str, upstream: str, mixture: Mixture, factor: float) -> None:
        kinds = self._models.pop(upstream, [])
        self._models[upstream] = kinds
        if len(self._models) > MODELS_MAX:
            self._models.popitem(last=False)
        kind = _nearest(kinds, mixture)
        if kind is None:
            kind = _SharedKind(mixture, OrderedDict())
            kinds.append(kind)
            del kinds[:-KINDS_MAX]
        kind.votes.pop(scope, None)
        kind.votes[scope] = factor
        if len(kind.votes) > VOTES_MAX:
            kind.votes.popitem(last=False)

    def _shared(self, upstream: str, mixture: Mixture, start: Start) -> float:
        kind = _nearest(self._models.get(upstream, ()), mixture)
        if kind is None or len(kind.votes) < VOTES_MIN:
            return start.factor
        return statistics.median(kind.votes.values())


def _nearest(kinds: Iterable[_K], mixture: Mixture) -> _K | None:
    """The kind that a text is of; None if it is of none of them."""
    found, least = None, ALIKE_MAX
    for kind in kinds:
        distance = kind.mixture.distance(mixture)
        if distance <= least:
            found, least = kind, distance
    return found


def _clamped(factor: float, start: Start) -> float:
    return min(max(factor, start.least), start.most)
