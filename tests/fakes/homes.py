"""Owns `tokn` without a file on a machine whose providers are fakes: variables make its pools, at the fakes' addresses.

It is forked with `{"openai": "http://…"} up …`, and is `tokn up …` to which these are the vendors' own hosts.
"""

import json
import sys
from collections.abc import Mapping
from typing import Any

from msgspec import structs

import runtime.settings.settings as read
from runtime.settings.pools import PoolSettings, environment_pools
from tests.fakes import forked
from tests.fakes.tokn import Tokn

MODULE = "tests.fakes.homes"


def at_home(addresses: dict[str, str]) -> type[Tokn]:
    """A `Tokn` to which these addresses are the vendors' own."""
    return type("AtHome", (Tokn,), {"forks": (MODULE, json.dumps(addresses))})


def _moved(pool: PoolSettings, addresses: dict[str, str]) -> PoolSettings:
    if pool.provider not in addresses:
        return pool
    (account,) = pool.accounts
    there = structs.replace(account, base_url=addresses[pool.provider], own_host=True)
    return structs.replace(pool, accounts=(there,))


def main() -> int:
    """The command in `sys.argv`, behind the addresses."""
    hosts = json.loads(sys.argv.pop(1))

    def pools(variables: Mapping[str, str], **more: Any) -> tuple[PoolSettings, ...]:
        """Those of the variables, at their homes."""
        return tuple(_moved(pool, hosts) for pool in environment_pools(variables, **more))

    read.environment_pools = pools
    return forked.main()
