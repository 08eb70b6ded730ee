"""Owns a deployment's file with all four families on their fakes, at prices that make every class of tokens show."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from decimal import ROUND_HALF_EVEN, Decimal

from schemas.money.pricing import TokenUsage
from tests.fakes.stages import STAGES, Stage

RATE = Decimal("0.6137")  # at which an exact price is seldom a whole number of nano-dollars
USD_PER_MILLION = {
    "input": "3.00",
    "cached_input": "0.30",
    "cache_write": "3.75",
    "cache_write_1h": "6.00",
    "input_audio": "7.10",
    "output": "15.00",
    "reasoning": "14.00",
}
UPSTREAMS = {
    "openai": "gpt-x",
    "anthropic": "claude-sonnet-4-5",
    "gemini": "gemini-x",
    "bedrock": "global.anthropic.claude-opus-4-6-v1",
}
PICTURES = "[models.capabilities]\nimage_tokens_max = 5200\n"  # ids that no vendor has are bounded by their row alone
TITAN = "amazon.titan-text-express-v1"
PROVIDERS = tuple(UPSTREAMS)

# A model with service tiers, which have prices of their own.
TIERED = """
[[models]]
id = "tiered"
pool = "gemini"
upstream = "gemini-tiered"
context = 200000
max_output = 8192
[models.capabilities]
service_tiers = ["priority", "flex"]
[[models.prices]]
input = 3.00
output = 15.00
[models.prices.services]
priority = { input = 5.40, output = 27.00 }
[models.prices.services.flex]
input = 1.50
output = 7.50
"""


@contextmanager
def stages(copies: int = 1) -> Iterator[dict[str, list[Stage]]]:
    """The fakes of each provider, so many of each."""
    with ExitStack() as stack:
        yield {make.provider: [stack.enter_context(make()) for _ in range(copies)] for make in STAGES}


def by_hand(usage: TokenUsage) -> int:
    """What a call costs in nano-dollars, worked out apart from the gateway's own arithmetic."""
    tokens = {
        "input": usage.input,
        "cached_input": usage.cached + usage.cached_audio,
        "cache_write": usage.cache_write,
        "cache_write_1h": usage.cache_write_long,
        "input_audio": usage.input_audio,
        "output": usage.output + usage.output_audio,
        "reasoning": usage.reasoning,
    }
    usd_per_million = sum(
        (count * Decimal(USD_PER_MILLION[name]) for name, count in tokens.items()), Decimal(0)
    )
    return int((usd_per_million * 1_000 * RATE).quantize(Decimal(1), ROUND_HALF_EVEN))


def pool_toml(name: str, provider: str, accounts: list[str]) -> str:
    """A pool with accounts "a0", "a1" and so on."""
    lines = "".join(
        f'[[pools.{name}.accounts]]\nid = "a{index}"\n{account}\n' for index, account in enumerate(accounts)
    )
    return f'[pools.{name}]\nprovider = "{provider}"\nrate = {RATE}\n{lines}'


def model_toml(model_id: str, pool: str, upstream: str, more: str = "") -> str:
    """A model at the prices of this module."""
    prices = "".join(f"{name} = {usd}\n" for name, usd in USD_PER_MILLION.items())
    return (
        f'[[models]]\nid = "{model_id}"\npool = "{pool}"\nupstream = "{upstream}"\n'
        f"{prices}context = 200000\nmax_output = 8192\n{more}"
    )


def config(played: dict[str, list[Stage]]) -> str:
    """A pool and a model of the provider's own name for each family, and `titan`, each on its first fake."""
    text = "".join(
        pool_toml(provider, provider, [played[provider][0].account])
        + model_toml(provider, provider, upstream, PICTURES)
        for provider, upstream in UPSTREAMS.items()
    )
    return text + model_toml("titan", "bedrock", TITAN) + TIERED
