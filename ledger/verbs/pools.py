"""Owns the picture of all pools: what live workers say of themselves, merged with the credit in the books."""

import time
from typing import Any

import msgspec
from msgspec import Struct

from ledger.store.base import Store
from ledger.verbs import reads
from runtime.bus.bus import Message
from runtime.settings.settings import PoolSettings
from schemas.bus.frames import AccountState, Beat, decode_beat
from schemas.catalogue.model import Model

BEAT_AGE_MAX_S = 3.0
WORKERS_MAX = 10_000
_BEST_FIRST = (AccountState.OK, AccountState.COOLING, AccountState.SPENT, AccountState.REFUSED)


class _Seen(Struct, frozen=True):
    beat: Beat
    at: float


class Pools:
    """Hears beats, and shows each configured or living pool."""

    def __init__(self, pools: tuple[PoolSettings, ...], models: tuple[Model, ...]) -> None:
        self._providers = {pool.name: pool.provider for pool in pools}
        self._models = models
        self._seen: dict[tuple[str, str], _Seen] = {}

    def on_beat(self, message: Message) -> None:
        """Takes one beat; nonsense is ignored."""
        try:
            beat = decode_beat(message.data)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return
        if len(self._seen) < WORKERS_MAX or (beat.pool, beat.worker_id) in self._seen:
            self._seen[beat.pool, beat.worker_id] = _Seen(beat, time.monotonic())

    def _live(self) -> dict[str, list[Beat]]:
        oldest = time.monotonic() - BEAT_AGE_MAX_S
        self._seen = {key: seen for key, seen in self._seen.items() if seen.at >= oldest}
        live: dict[str, list[Beat]] = {}
        for seen in self._seen.values():
            live.setdefault(seen.beat.pool, []).append(seen.beat)
        return live

    async def rows(self, store: Store) -> list[dict[str, Any]]:
        """One object a pool, by name."""
        live = self._live()
        names = sorted(self._providers.keys() | live.keys())
        return [self._row(name, live.get(name, []), await reads.inventory(store, name)) for name in names]

    def _row(self, name: str, beats: list[Beat], credit: dict[str, int | None]) -> dict[str, Any]:
        served = sorted({model for beat in beats for model in beat.models})
        reasons = {model: why for beat in beats for model, why in beat.missing.items()}
        reasons |= {model: "its provider says that it is gone" for beat in beats for model in beat.gone}
        return {
            "name": name,
            "provider": self._providers.get(name) or beats[0].provider,
            "workers": len(beats),
            "inflight": sum(beat.inflight for beat in beats),
            "capacity": sum(beat.capacity for beat in beats),
            "models": served,
            "missing": {
                model.id: reasons.get(model.id, "no worker serves it" if beats else "no worker runs")
                for model in self._models
                if model.pool == name and model.id not in served
            },
            "accounts": _accounts(beats, credit),
        }


def _accounts(beats: list[Beat], credit: dict[str, int | None]) -> list[dict[str, Any]]:
    rows: dict[str, dict[str, Any]] = {
        account_id: {"id": account_id, "state": "unknown", "credit_nano": left, "inflight": 0, "capacity": 0}
        for account_id, left in credit.items()
    }
    for beat in beats:
        for one in beat.accounts:
            row = rows.setdefault(
                one.id, {"id": one.id, "state": "unknown", "credit_nano": None, "inflight": 0, "capacity": 0}
            )
            # One worker that can use an account is enough.
            if row["state"] == "unknown" or _BEST_FIRST.index(one.state) < _BEST_FIRST.index(row["state"]):
                row |= {"state": one.state.value, "until": one.until, "reason": one.reason}
            row["inflight"] += one.inflight
            row["capacity"] += one.capacity
    return [rows[account_id] for account_id in sorted(rows)]
