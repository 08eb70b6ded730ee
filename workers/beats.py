"""Owns what the beats of one pool say: which models a worker serves, which it does not, and why."""

from msgspec import structs

from schemas.bus.frames import VERSION, Beat
from schemas.catalogue.model import Model
from workers.calls.serving import Serving

NAMES_MAX = 64  # of models in a beat: more go once a change
SAY_AGAIN_S = 30.0  # for ledgers that start later: they cannot ask


class Beats:
    """Describes one pool, and remembers what was said of it. Times are time.monotonic()."""

    def __init__(self, serving: Serving) -> None:
        self._serving = serving
        self._lists_read = 0  # of the accounts, as what follows has it
        self._shown: tuple[Model, ...] = tuple(serving.models.values())
        self._ids = tuple(serving.models)
        self._hidden: dict[str, str] = {}  # ids that no account lists, and why they are not served
        self._unlisted: tuple[str, ...] = ()
        self._said = ""  # the digest of the newest full beat
        self._said_at = 0.0

    def made(self, now: float, *, inflight: int, capacity: int, accepting: bool) -> Beat:
        """The beat of this moment: with a digest in place of long lists that were said already, and not too long ago."""
        beat = self._described(now, inflight, capacity, accepting=accepting)
        if sum(map(len, beat.lists)) <= NAMES_MAX:
            return beat
        # Compared only with our own.
        digest = f"{hash((beat.models, beat.gone, tuple(beat.missing.items()), *beat.lists[3:])):x}"
        if digest == self._said and now - self._said_at < SAY_AGAIN_S:
            return structs.replace(beat.without_lists(), digest=digest)
        return structs.replace(beat, digest=digest)

    def said(self, beat: Beat, now: float) -> None:
        """A beat has gone out."""
        if not beat.brief:
            self._said, self._said_at = beat.digest, now

    def recite(self) -> None:
        """Somebody has missed what was said: the next beat has all of it."""
        self._said = ""

    def follow(self) -> None:
        """Sorts the models by what accounts' lists say, once a change. An operator's own row is only marked."""
        accounts, models = self._serving.accounts, self._serving.models.values()
        lacking = accounts.said.lacking
        self._lists_read = accounts.lists_read
        self._unlisted = tuple(model.id for model in models if model.pinned and model.upstream in lacking)
        self._hidden = {
            model.id: f"no account's list has {model.upstream}"
            for model in models
            if not model.pinned and model.upstream in lacking
        }
        self._shown = tuple(model for model in models if model.id not in self._hidden)
        self._ids = tuple(model.id for model in self._shown)

    def _described(self, now: float, inflight: int, capacity: int, *, accepting: bool) -> Beat:
        serving = self._serving
        accounts = serving.accounts
        if self._lists_read != accounts.lists_read:
            self.follow()
        models: list[str] = []
        gone: list[str] = list(self._hidden)
        missing: dict[str, str] = dict(self._hidden)
        # Of most models there is nothing to remember: they are all served, or none is. Then none is looked at each second.
        remembered = accounts.remembered
        served = accounts.serves("", now)
        why_not = "" if served else accounts.why_not("", now)
        doubtful = bool(remembered) or not served
        for model in self._shown if doubtful else ():
            if model.upstream not in remembered:
                if served:
                    models.append(model.id)
                else:
                    missing[model.id] = why_not
            elif accounts.gone(model.upstream, now):
                gone.append(model.id)
                missing[model.id] = f"the provider says that {model.upstream} no longer exists"
            elif accounts.serves(model.upstream, now):
                models.append(model.id)
            else:
                missing[model.id] = accounts.why_not(model.upstream, now)
        return Beat(
            v=VERSION,
            worker_id=serving.worker_id,
            pool=serving.pool,
            provider=serving.provider,
            inflight=inflight,
            capacity=capacity,
            accepting=accepting,
            models=tuple(models) if doubtful else self._ids,
            gone=tuple(gone),
            accounts=tuple(account.beat(now) for account in accounts.all),
            missing=missing,
            facts=accounts.said.facts,
            unlisted=self._unlisted,
            unpriced=accounts.said.unpriced,
        )
