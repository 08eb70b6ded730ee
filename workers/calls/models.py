"""Owns the conditions of the upstream models at one account, where there is something to remember of them."""

import time
from typing import Final

from schemas.bus.frames import AccountState, ModelBeat
from workers.calls.condition import Condition

MODELS_MAX: Final = 512  # of one account
REASON_CHARS_MAX: Final = 200  # of one model, in a beat


class Models(dict[str, Condition]):
    """By upstream model. Times are time.monotonic(). A dict, since calls look into it, and mostly find nothing."""

    __slots__ = ()

    def of(self, upstream: str) -> Condition:
        """The condition of a model of which there is something to remember from now on."""
        model = self.get(upstream)
        if model is None:
            if len(self) >= MODELS_MAX:  # the one whose time is over first is the least loss
                del self[min(self, key=lambda name: self[name].until)]
            model = self[upstream] = Condition()
        return model

    def forget(self, now: float) -> None:
        """Drops those that there is no use in remembering."""
        for upstream in [name for name, model in self.items() if model.idle(now)]:
            del self[upstream]

    def out(self, now: float) -> list[ModelBeat]:
        """The models that all calls stay away from, or that some key's met something at; those for longest first."""
        out = []
        for upstream, model in self.items():
            seen = model.told(now)
            if seen.state is not AccountState.OK:
                until, reason = time.time() + seen.until - now, seen.reason[:REASON_CHARS_MAX]
                out.append(ModelBeat(upstream, seen.state, until, reason, seen.for_all))
        return sorted(out, key=lambda one: -one.until)
