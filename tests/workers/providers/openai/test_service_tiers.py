"""Service tiers, regions and caches at OpenAI: what is asked for in the caller's place, and what is billed."""

import json
from decimal import Decimal
from typing import Any

import pytest

from runtime.settings.settings import AccountSettings
from schemas.catalogue.model import Capabilities
from schemas.chat.request import COMPLETIONS
from schemas.money.pricing import Price, PriceTier, TokenUsage, charge
from tests.fakes.openai import chunk, event, plain, usage
from tests.fakes.worker import job, model
from workers.providers.openai.family import OpenAI

OWN = "https://api.openai.com/v1"
EU = "https://eu.api.openai.com/v1"
COMPATIBLE = "https://api.openai.com.example.org/v1"
BODY: dict[str, Any] = {"model": "m", "messages": [], "z": 1.0}
SOL = Price(
    id="sol",
    tiers=(PriceTier(input=Decimal(2), output=Decimal(12)),),
    services={"priority": (PriceTier(input=Decimal(4), output=Decimal(24)),)},
    uplifts={"eu": Decimal("1.1")},
)


def sent(body: dict[str, Any], base_url: str, **more: Any) -> dict[str, Any]:
    """The body that goes up."""
    made = OpenAI().open(job(body, **more), model(), {})[0]
    return json.loads(made.request(AccountSettings(id="a", base_url=base_url, api_key="k")).body)


@pytest.mark.parametrize("base_url", [OWN, OWN + "/", EU, ""])
def test_openai_is_asked_for_the_default_tier(base_url: str) -> None:
    """An absent tier and `auto` mean what a project is set to: only they are written, and nothing else is."""
    for body in (BODY, BODY | {"service_tier": None}, BODY | {"service_tier": "auto"}):
        assert sent(body, base_url) == BODY | {"model": "up-m", "service_tier": "default"}
    for tier in ("default", "flex", "priority"):
        assert sent(BODY | {"service_tier": tier}, base_url)["service_tier"] == tier


def test_others_get_the_callers_own_tier() -> None:
    """Another server may not know the field; nor does OpenAI's own legacy route."""
    assert sent(BODY, COMPATIBLE) == BODY | {"model": "up-m"}
    assert sent(BODY | {"service_tier": "auto"}, COMPATIBLE)["service_tier"] == "auto"
    legacy = OpenAI().open(
        job({"model": "m", "prompt": "x"}, dialect=COMPLETIONS),
        model(capabilities=Capabilities(completions=True)),
        {},
    )[0]
    assert b"service_tier" not in legacy.request(AccountSettings(id="a", base_url=OWN, api_key="k")).body


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(
    ("base_url", "served", "uplifts"),
    [
        (OWN, "default", ()),
        (OWN, None, ()),
        (OWN, "priority", ("priority",)),
        (EU, "default", ("eu",)),
        (EU, "priority", ("eu", "priority")),
        (COMPATIBLE, "on_demand", ()),
        (COMPATIBLE, "standard", ()),
        (COMPATIBLE, "turbo", ("turbo",)),
        (OWN, "t" * 500, ("t" * 64,)),
        (OWN, 7, ()),
    ],
)
def test_what_served_is_what_is_billed(
    streamed: bool, base_url: str, served: object, uplifts: tuple[str, ...]
) -> None:
    """The answer's tier and the account's region name the prices, plain and streamed, again after a failed try."""
    body = BODY | {"stream": True} if streamed else BODY
    made = OpenAI().open(job(body, price=SOL), model(), {})[0]
    account = AccountSettings(id="a", base_url=base_url, api_key="k")
    for _ in range(2):
        made.request(account)
        if streamed:
            end = chunk({}, finish="stop") | {
                "choices": [],
                "usage": usage(1_000, 10),
                "service_tier": served,
            }
            made.feed(b"".join([event(chunk({"content": "hi"})), event(end)]))
        else:
            made.answer(
                json.dumps(json.loads(plain("hi", usage(1_000, 10))) | {"service_tier": served}).encode()
            )
        assert (made.usage, made.uplifts) == (TokenUsage(input=1_000, output=10), uplifts)


def test_the_price_of_a_region_and_a_tier() -> None:
    """Both apply: the tier's table, and the region's factor on it."""
    assert charge(TokenUsage(input=1_000, output=10), SOL, Decimal(1), ("eu", "priority")) == 4_664_000


@pytest.mark.parametrize("long", [False, True])
def test_what_is_written_to_a_long_cache_is_its_own_class(long: bool) -> None:
    """The report says how much was written, the request for how long: twelve hours anywhere mean all of it."""
    part = {"type": "text", "text": "x"} | ({"prompt_cache_breakpoint": {"ttl": "12h"}} if long else {})
    made = OpenAI().open(job(BODY | {"messages": [{"role": "user", "content": [part]}]}), model(), {})[0]
    told = usage(100, 10)
    told["prompt_tokens_details"] = {"cache_write_tokens": 60}
    made.answer(plain("x", told))
    written = {"cache_write_long": 60} if long else {"cache_write": 60}
    assert made.usage == TokenUsage(input=40, output=10, **written)
