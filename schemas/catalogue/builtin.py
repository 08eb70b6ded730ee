"""Owns the built-in catalogue: the models of the public contract, at their last list prices, and the sandbox's own.

Prices, windows and lifecycles are listed in docs/providers/README.md. A provider's own announcement decides what it
still serves.
"""

from datetime import date
from decimal import Decimal

from schemas.catalogue.anthropic import CLAUDE_3
from schemas.catalogue.bedrock import TITAN
from schemas.catalogue.gemini import GEMINI_1
from schemas.catalogue.model import Capabilities, Lifecycle, Model
from schemas.catalogue.openai import GPT_4, GPT_4O, GPT_4O_MINI
from schemas.catalogue.vectors import Vectors
from schemas.money.pricing import Price, PriceTier, Tiers

_PRIORITY = ("fast", "priority")  # OpenAI's two names of one service tier


def _tier(input_usd: str, output_usd: str, *, above: int = 0, **classes: str) -> PriceTier:
    own = {name: Decimal(value) for name, value in classes.items()}
    return PriceTier(input=Decimal(input_usd), output=Decimal(output_usd), above=above, **own)


def _price(model_id: str, *tiers: PriceTier, priority: PriceTier | None = None) -> tuple[Price, ...]:
    services: dict[str, Tiers] = {} if priority is None else dict.fromkeys(_PRIORITY, (priority,))
    return (Price(id=f"builtin:{model_id}", tiers=tiers, services=services),)


SANDBOX_MODEL = "tokn-sandbox"
SANDBOX_CAPABILITIES = Capabilities(
    completions=True,
    embeddings=Vectors(dimensions=1_536, least=1, tokens=True),
    images=False,
    json_object=True,
    json_schema=True,
    n_max=8,
    overhead_tokens=16,
)

BUILTIN: tuple[Model, ...] = (
    Model(
        id="gpt-4o",
        pool="openai",
        provider="openai",
        upstream="gpt-4o",
        context=128_000,
        max_output=16_384,
        prices=_price(
            "gpt-4o",
            _tier("2.50", "10.00", cached="1.25"),
            priority=_tier("4.25", "17.00", cached="2.125"),
        ),
        created=1715367049,
        owned_by="openai",
        lifecycle=Lifecycle.DEPRECATED,
        shutdown_date=date(2027, 1, 14),
        successor="gpt-6.1-sol",
        capabilities=GPT_4O,
    ),
    Model(
        id="gpt-4o-mini",
        pool="openai",
        provider="openai",
        upstream="gpt-4o-mini",
        context=128_000,
        max_output=16_384,
        prices=_price(
            "gpt-4o-mini",
            _tier("0.15", "0.60", cached="0.075"),
            priority=_tier("0.25", "1.00", cached="0.125"),
        ),
        created=1721172741,
        owned_by="openai",
        lifecycle=Lifecycle.DEPRECATED,
        shutdown_date=date(2027, 1, 14),
        successor="gpt-6-luna",
        capabilities=GPT_4O_MINI,
    ),
    Model(
        id="gpt-4-turbo",
        pool="openai",
        provider="openai",
        upstream="gpt-4-turbo",
        context=128_000,
        max_output=4_096,
        prices=_price("gpt-4-turbo", _tier("10.00", "30.00")),
        created=1712361441,
        owned_by="openai",
        lifecycle=Lifecycle.RETIRED,
        shutdown_date=date(2026, 10, 23),
        successor="gpt-5.6-sol",
        capabilities=GPT_4,
    ),
    Model(
        id="claude-3-5-sonnet-20241022",
        pool="anthropic",
        provider="anthropic",
        upstream="claude-3-5-sonnet-20241022",
        context=200_000,
        max_output=8_192,
        prices=_price(
            "claude-3-5-sonnet-20241022",
            _tier("3.00", "15.00", cached="0.30", cache_write="3.75", cache_write_long="6.00"),
        ),
        created=1729555200,
        owned_by="anthropic",
        lifecycle=Lifecycle.RETIRED,
        shutdown_date=date(2025, 10, 28),
        successor="claude-sonnet-4-6",
        capabilities=CLAUDE_3,
    ),
    Model(
        id="claude-3-opus-20240229",
        pool="anthropic",
        provider="anthropic",
        upstream="claude-3-opus-20240229",
        context=200_000,
        max_output=4_096,
        prices=_price(
            "claude-3-opus-20240229",
            _tier("15.00", "75.00", cached="1.50", cache_write="18.75", cache_write_long="30.00"),
        ),
        created=1709164800,
        owned_by="anthropic",
        lifecycle=Lifecycle.RETIRED,
        shutdown_date=date(2026, 1, 5),
        successor="claude-opus-4-8",
        capabilities=CLAUDE_3,
    ),
    Model(
        id="claude-3-haiku-20240307",
        pool="anthropic",
        provider="anthropic",
        upstream="claude-3-haiku-20240307",
        context=200_000,
        max_output=4_096,
        prices=_price(
            "claude-3-haiku-20240307",
            _tier("0.25", "1.25", cached="0.03", cache_write="0.30", cache_write_long="0.50"),
        ),
        created=1709769600,
        owned_by="anthropic",
        lifecycle=Lifecycle.RETIRED,
        shutdown_date=date(2026, 4, 20),
        successor="claude-haiku-4-5-20251001",
        capabilities=CLAUDE_3,
    ),
    Model(
        id="gemini-1.5-pro-latest",
        pool="gemini",
        provider="gemini",
        upstream="gemini-1.5-pro-latest",
        context=2_097_152,
        max_output=8_192,
        prices=_price(
            "gemini-1.5-pro-latest",
            _tier("1.25", "5.00", cached="0.3125"),
            _tier("2.50", "10.00", above=128_000, cached="0.625"),
        ),
        created=1715644800,
        owned_by="google",
        lifecycle=Lifecycle.RETIRED,
        shutdown_date=date(2025, 9, 24),
        successor="gemini-3.8-flash",
        capabilities=GEMINI_1,
    ),
    Model(
        id="gemini-1.5-flash-latest",
        pool="gemini",
        provider="gemini",
        upstream="gemini-1.5-flash-latest",
        context=1_048_576,
        max_output=8_192,
        prices=_price(
            "gemini-1.5-flash-latest",
            _tier("0.075", "0.30", cached="0.01875"),
            _tier("0.15", "0.60", above=128_000, cached="0.0375"),
        ),
        created=1715644800,
        owned_by="google",
        lifecycle=Lifecycle.RETIRED,
        shutdown_date=date(2025, 9, 24),
        successor="gemini-3.5-flash-lite",
        capabilities=GEMINI_1,
    ),
    Model(
        id="amazon.titan-text-express-v1",
        pool="bedrock",
        provider="bedrock",
        upstream="amazon.titan-text-express-v1",
        context=8_192,
        max_output=8_192,
        prices=_price("amazon.titan-text-express-v1", _tier("0.20", "0.60")),
        created=1701216000,
        owned_by="amazon",
        lifecycle=Lifecycle.RETIRED,
        shutdown_date=date(2025, 8, 15),
        successor="amazon.nova-micro-v1:0",
        capabilities=TITAN,
    ),
    Model(
        id=SANDBOX_MODEL,
        pool="sandbox",
        provider="sandbox",
        upstream=SANDBOX_MODEL,
        context=128_000,
        max_output=4_096,
        prices=_price(SANDBOX_MODEL, _tier("1.00", "2.00")),
        created=1763769600,
        owned_by="tokn-sandbox",
        capabilities=SANDBOX_CAPABILITIES,
    ),
)
