"""Owns how the keys of a pool share its places: `[pools.<name>.fairness]`."""

from msgspec import Struct

from runtime.toml import Table


class Fairness(Struct, frozen=True, kw_only=True):
    """Shares of a pool's places, from 0 to 1.

    While more than `crowded` of them are taken, a key holds at most the larger of its fair share and `of_free` of what is
    free. The last `kept`, rounded down, are for keys that have nothing running.
    """

    crowded: float = 0.5
    of_free: float = 0.25
    kept: float = 0.1


FAIR = Fairness()


def read_fairness(pool: Table) -> Fairness:
    """The shares of a pool's table. Raises SettingsError."""
    if not pool.has("fairness"):
        return FAIR
    table = pool.table("fairness")
    found = {name: table.decimal(name, most=1) for name in Fairness.__struct_fields__}
    table.done()
    return Fairness(**{name: float(share) for name, share in found.items() if share is not None})
