"""Owns the secrets that are taken out of what an account's upstream says: its own, and for a while those of before."""

import time
from collections.abc import Iterable

from runtime.settings.settings import AccountSettings
from workers.calls import doors
from workers.providers.scrub import FORMER_S

FORMER_MAX = 32  # secrets of before


class Redaction:
    """The secrets of one account. Times are time.monotonic()."""

    __slots__ = ("former", "own")

    def __init__(self, settings: AccountSettings) -> None:
        self.own = doors.secrets(settings)
        self.former: dict[str, float] = {}  # each until when, the oldest first

    def inherit(self, other: "Redaction") -> None:
        """What another knows stays known: its own secrets for FORMER_S from now on, those of before for their time."""
        self._learn(other.former.items())
        until = time.monotonic() + FORMER_S
        self._learn((secret, until) for secret in other.own)

    def _learn(self, secrets: Iterable[tuple[str, float]]) -> None:
        for secret, until in secrets:
            if secret not in self.own:
                self.former.pop(secret, None)
                self.former[secret] = until
        while len(self.former) > FORMER_MAX:
            del self.former[next(iter(self.former))]

    def forget(self, now: float) -> None:
        """Forgets what is past its time."""
        if self.former:
            self.former = {secret: until for secret, until in self.former.items() if until > now}

    def applied(self, text: str) -> str:
        """A text without them."""
        for secret in (*self.own, *self.former):
            text = text.replace(secret, "[redacted]")
        return text
