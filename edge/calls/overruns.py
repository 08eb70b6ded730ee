"""Owns which models billed more for media than their formulas say: their holds count the most from then on."""

from collections import OrderedDict

from runtime.log import get_logger

MODELS_MAX = 1_024  # the one that was seen longest ago is forgotten

_logger = get_logger("edge.overruns")


class Overruns:
    """Models of pools, by the id that their provider is asked for. What one edge has seen, until it ends."""

    def __init__(self) -> None:
        self._seen: OrderedDict[tuple[str, str], None] = OrderedDict()

    def has(self, pool: str, upstream: str) -> bool:
        """Whether a model has billed more than a hold for media."""
        return (pool, upstream) in self._seen

    def report(self, pool: str, upstream: str, *, prompt_max: int, prompt: int) -> None:
        """What a call with media was held for and what its provider reports, in tokens of prompt."""
        if prompt <= prompt_max or self.has(pool, upstream):
            return
        self._seen[pool, upstream] = None
        if len(self._seen) > MODELS_MAX:
            self._seen.popitem(last=False)
        _logger.warning(
            "media were billed above their hold: each picture, file and recording now holds the most",
            pool=pool,
            model=upstream,
            prompt_max=prompt_max,
            prompt_tokens=prompt,
        )
