"""Owns the part of the books' machine that is about keys' lives: what opens them, until when, and what bars their calls."""

import copy
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule
from msgspec import Struct, field

from ledger.rules.secrets import LIVE_MAX
from schemas.verbs.calls import Reason, Refusal
from schemas.verbs.keys import KeyRotate, KeyUpdate
from schemas.verbs.organizations import OrganizationUpdate
from tests.ledger.harness import Clock, digest_of

KEYS = ("rich", "poor", "play", "play2", "wall")
BARS = frozenset({Reason.UNKNOWN_KEY, Reason.EXPIRED, Reason.PAUSED, Reason.SUSPENDED})
OWNERS = {"rich": "default", "poor": "default", "play": "p", "play2": "p", "wall": "p"}


class Life(Struct):
    """What a key should be: the moments at which its secrets and itself end (0: never), and whether it is paused."""

    secrets: dict[str, int]
    expires_ms: int = 0
    paused: bool = False


class Lives(Struct):
    """All keys, by name, and the organisations that are suspended."""

    keys: dict[str, Life] = field(default_factory=lambda: {name: Life({name: 0}) for name in KEYS})
    suspended: set[str] = field(default_factory=set)

    def copy(self) -> "Lives":
        """As they are now."""
        return copy.deepcopy(self)


def over(moment_ms: int, now_ms: int) -> bool:
    """Whether a moment has passed."""
    return 0 < moment_ms <= now_ms


class LifeRules(RuleBasedStateMachine):
    """Rules that change lives, and the judge of what calls come to."""

    clock: Any
    ids: dict[str, str]
    lives: Lives
    rotations = 0

    def commit(self, commands: list[Any]) -> list[Any]:
        """One commit."""
        raise NotImplementedError

    def secret(self, key: str, pick: int) -> str:
        """One of the secrets that a key has ever had."""
        names = list(self.lives.keys[key].secrets)
        return names[pick % len(names)]

    def judge(self, key: str, secret: str, reply: Any) -> None:
        """A call with a secret is refused for what bars it, and for no such reason if nothing does."""
        clock: Clock = self.clock
        life = self.lives.keys[key]
        wanted = None
        if over(life.expires_ms, clock.ms) or over(life.secrets[secret], clock.ms):
            wanted = Reason.EXPIRED
        elif life.paused:
            wanted = Reason.PAUSED
        elif OWNERS[key] in self.lives.suspended:
            wanted = Reason.SUSPENDED
        got = reply.reason if isinstance(reply, Refusal) and reply.reason in BARS else None
        assert got == wanted, (key, secret, reply, life)

    @rule(key=st.sampled_from(KEYS), overlap_s=st.sampled_from((0, 5, 60)), again=st.booleans())
    def rotate(self, key: str, overlap_s: int, again: bool) -> None:
        """A key gets another secret; its answer may be lost, and the command repeated."""
        now_ms, life = self.clock.ms, self.lives.keys[key]
        self.rotations += 1
        name = f"{key}#{self.rotations}"
        request = KeyRotate(1, self.ids[key], digest_of(name), name[-4:], overlap_s * 1000)
        replies = self.commit([request] * (2 if again else 1))
        live = [one for one, moment_ms in life.secrets.items() if not over(moment_ms, now_ms)]
        if overlap_s and len(live) >= LIVE_MAX:
            assert all(reply.problem for reply in replies)
            return
        assert not any(reply.problem for reply in replies)
        until_ms = now_ms + overlap_s * 1000
        for one in live:
            life.secrets[one] = min(life.secrets[one] or until_ms, until_ms)
        life.secrets[name] = 0

    @rule(
        key=st.sampled_from(KEYS),
        expires_s=st.none() | st.sampled_from((0, 3, 50)),
        status=st.sampled_from(("", "active", "paused")),
    )
    def change(self, key: str, expires_s: int | None, status: str) -> None:
        """A key is paused, resumed, or given another end."""
        life = self.lives.keys[key]
        expires_ms = expires_s and self.clock.ms + expires_s * 1000
        (reply,) = self.commit([KeyUpdate(1, self.ids[key], expires_ms=expires_ms, status=status)])
        assert not reply.problem
        if expires_ms is not None:
            life.expires_ms = expires_ms
        if status:
            life.paused = status == "paused"

    @rule(owner=st.sampled_from(("p", "default")), status=st.sampled_from(("active", "suspended")))
    def suspend(self, owner: str, status: str) -> None:
        """An organisation is suspended or resumed, with all its keys."""
        (reply,) = self.commit([OrganizationUpdate(1, owner, status=status)])
        assert reply.rows[0]["status"] == status
        (self.lives.suspended.add if status == "suspended" else self.lives.suspended.discard)(owner)
