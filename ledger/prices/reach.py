"""Owns what calls may be served under beside the default: regions of a pool's accounts, and surprises that were met."""

from collections.abc import Iterable, Mapping, Sequence

from runtime.settings.pools import PoolSettings
from schemas.catalogue.bedrock import region_uplifts
from schemas.catalogue.families import BEDROCK
from schemas.catalogue.model import Model
from schemas.catalogue.regions import REGIONAL, openai_region
from schemas.money.pricing import Price

NAMES_MAX = 8  # of one account and upstream model: any that has no price already means the dearest
SURPRISES_MAX = 10_000


class Surprises:
    """Service tiers, regions and speeds that no hold had reckoned with: later holds do, until a person forgets them."""

    def __init__(self, rows: Iterable[Sequence[str]] = ()) -> None:
        self._known: dict[tuple[str, str], dict[str, list[str]]] = {}  # by pool and model, by account
        self._count = 0
        for pool, account, upstream, uplift in rows:
            self.learn(pool, account, upstream, uplift)

    def names(self, pool: str, upstream: str) -> tuple[str, ...]:
        """The names of any account of a pool for an upstream model."""
        accounts = self._known.get((pool, upstream))
        if not accounts:
            return ()
        return tuple(dict.fromkeys(name for names in accounts.values() for name in names))

    def has(self, pool: str, account: str, upstream: str, uplift: str) -> bool:
        """Whether one is known already, or there are so many that one more says nothing."""
        names = self._known.get((pool, upstream), {}).get(account, [])
        return uplift in names or len(names) >= NAMES_MAX or self._count >= SURPRISES_MAX

    def learn(self, pool: str, account: str, upstream: str, uplift: str) -> None:
        """One more."""
        if not self.has(pool, account, upstream, uplift):
            self._known.setdefault((pool, upstream), {}).setdefault(account, []).append(uplift)
            self._count += 1


def pool_regions(pools: Iterable[PoolSettings]) -> dict[str, tuple[str, ...]]:
    """The regions that the accounts of each pool are in, where the address of an account binds it to one."""
    found = {}
    for pool in pools:
        regions = (
            account.uplift or openai_region(pool.family, account.base_url) for account in pool.accounts
        )
        found[pool.name] = tuple(dict.fromkeys(region for region in regions if region))
    return found


def reach(
    model: Model, price: Price, asked: tuple[str, ...], regions: Mapping[str, tuple[str, ...]]
) -> tuple[str, ...]:
    """What a call is asked to be served under, the region of its pool, and that of its id where the row has a factor."""
    # A row of the operator's own has the regional price in it, unless it names the factor.
    names = asked
    if of_pool := regions.get(model.pool):
        names += tuple(name for name in of_pool if name != REGIONAL or name in price.uplifts)
    if model.family == BEDROCK:
        # The prices of a row are those of exactly its id: a region that it does not name is in them.
        names += tuple(name for name in region_uplifts(model.upstream) if name in price.uplifts)
    return names
