"""Owns what changes the price of a call at a server of OpenAI's protocol: its region, and the tier that serves it."""

from collections.abc import Collection
from typing import Final

from msgspec import Raw

from runtime.settings.settings import AccountSettings
from schemas.bus.frames import Job
from schemas.catalogue.regions import openai_region
from workers.providers.openai.fields import absent

TIER: Final = "service_tier"

_TIER_CHARS_MAX: Final = 64  # what an upstream calls a service tier goes into a usage event
_AUTO: Final = b'"auto"'
_DEFAULT: Final = Raw(b'"default"')


def at_default_tier(fields: dict[str, Raw]) -> dict[str, Raw]:
    """The fields with a service tier: an absent one means at OpenAI what its project is set to, at any price."""
    return fields | {TIER: _DEFAULT} if absent(fields, TIER) or bytes(fields[TIER]) == _AUTO else fields


def region_of(account: AccountSettings, base: str, job: Job) -> tuple[str, ...]:
    """The region that an account is served from, by its address `base`, else by what it says of itself.

    That counts where the job's price knows of it: a row of the operator's own may have it in it.
    """
    price = job.price
    region = openai_region("openai", base)
    if not region and price is not None and account.uplift in price.uplifts:
        region = account.uplift
    return (region,) if region else ()


def served_by(region: tuple[str, ...], tier: str, standard: Collection[str]) -> tuple[str, ...]:
    """The region, with the tier that an answer names unless it is one of those that are sold at the list price."""
    return region if tier in standard else (*region, tier[:_TIER_CHARS_MAX])
