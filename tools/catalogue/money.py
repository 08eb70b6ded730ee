"""Owns the rule of money: a pin, else what sources agree on, else the higher of them, class by class; never less."""

import re
from decimal import Decimal
from typing import Final

from msgspec import Struct

from tools.catalogue.pi import core
from tools.catalogue.pins import Pins
from tools.catalogue.tables import (
    Difference,
    Table,
    Tier,
    aligned,
    completed,
    differences,
    higher,
    inherited,
    scaled,
    usd,
)
from tools.catalogue.voice import Dated, Voice

AGREE: Final = "agree"
DISAGREE: Final = "disagree"
ONE: Final = "one source"
PINNED: Final = "pinned"
_CORE: Final = frozenset(("input", "output", "cached"))


class Verdict(Struct, frozen=True, kw_only=True):
    """How a model is priced, how that was found, and what the sources differ on."""

    voice: Voice
    how: str
    disagreements: tuple[str, ...] = ()


def decide(
    model: str, litellm: Voice | None, genai: Voice | None, pi: Voice | None, pins: Pins
) -> Verdict | None:
    """The prices of `preset/id`; None if too little is known of it to be sold."""
    found = _cross_checked(model, litellm, genai, pi)
    pinned = pins.prices(model)
    factor = next((one.factor for one in pins.factors if re.fullmatch(one.id, model)), None)
    if pinned:
        voice = Voice(
            table=pinned[0].table, later=tuple(pinned[1:]), facts=found.voice.facts if found else {}
        )
        found = Verdict(voice=voice, how=PINNED)
    elif factor is not None and litellm is not None:
        found = Verdict(voice=_times(litellm, factor), how=PINNED)
    if found is None or not found.voice.table[0].prices.get("input"):
        return None
    return Verdict(voice=_filled(found.voice), how=found.how, disagreements=found.disagreements)


def _cross_checked(
    model: str, litellm: Voice | None, genai: Voice | None, pi: Voice | None
) -> Verdict | None:
    if litellm is None:
        return _of_two(genai, pi)
    if genai is not None:
        return _compared(model, litellm, genai, "genai-prices")
    if pi is not None:
        return _compared(model, litellm, pi, "pi-ai", spoken_only=True)
    return Verdict(voice=litellm, how=ONE)


def _of_two(genai: Voice | None, pi: Voice | None) -> Verdict | None:
    # A model that is newer than litellm's data: two that agree on what both have a word for, or nobody.
    if genai is None or pi is None or not genai.exact:
        return None
    differ = [one for one in differences(genai.table, pi.table, spoken_only=True) if one.name in _CORE]
    return None if differ else Verdict(voice=genai, how=AGREE)


def _compared(model: str, one: Voice, other: Voice, source: str, *, spoken_only: bool = False) -> Verdict:
    lines = []
    tables: dict[str, Table] = {}
    for service in sorted({"", *one.services, *other.services}):
        own = one.services.get(service, ()) if service else one.table
        their = other.services.get(service, ()) if service else other.table
        if not own or not their:
            tables[service] = own or their
            continue
        own, their = aligned(own, their), aligned(their, own)
        compared = core(own) if spoken_only else own
        differ = differences(compared, their, spoken_only=spoken_only)
        lines += [_line(model, service, source, found) for found in differ]
        tables[service] = higher(inherited(their, own), own) if differ else inherited(own, their)
    uplifts = {
        name: max(one.uplifts.get(name, Decimal(0)), other.uplifts.get(name, Decimal(0)))
        for name in sorted({*one.uplifts, *other.uplifts})
    }
    voice = Voice(
        table=tables.pop(""),
        services=tables,
        later=other.later,
        uplifts=uplifts,
        request=one.request,
        facts=one.facts,
    )
    return Verdict(voice=voice, how=DISAGREE if lines else AGREE, disagreements=tuple(lines))


def _line(model: str, service: str, source: str, found: Difference) -> str:
    place = f"{found.name}{f' {service}' if service else ''} above {found.above}"
    return f"{model}: {place}: litellm {_said(found.one)}, {source} {_said(found.other)}"


def _said(price: Decimal | None) -> str:
    return "nothing" if price is None else str(price)


def _times(voice: Voice, factor: Decimal) -> Voice:
    return Voice(
        table=scaled(voice.table, factor),
        services={name: scaled(table, factor) for name, table in voice.services.items()},
        uplifts=voice.uplifts,
        request=voice.request,
        facts=voice.facts,
    )


def _filled(voice: Voice) -> Voice:
    """What nobody names: later rows and service tiers keep the proportions of what is known, cached audio that of audio."""
    table = _cached_audio(voice.table)
    return Voice(
        table=table,
        services={name: _cached_audio(completed(own, table)) for name, own in voice.services.items()},
        later=tuple(Dated(one.effective, _cached_audio(inherited(one.table, table))) for one in voice.later),
        uplifts=voice.uplifts,
        request=voice.request,
        facts=voice.facts,
    )


def later_service(service: Table, table: Table, later: Table) -> Table:
    """A service tier of a later row, of which nobody has said anything: as much dearer as the default becomes."""
    tiers = []
    for tier in service:
        today = [one for one in table if one.above <= tier.above][-1]
        then = [one for one in later if one.above <= tier.above][-1]
        prices = {}
        for name, price in tier.prices.items():
            before, after = today.effective(name), then.effective(name)
            prices[name] = usd(price * after / before) if before and after else price
        tiers.append(Tier(tier.above, {name: price for name, price in prices.items() if price is not None}))
    return tuple(tiers)


def _cached_audio(table: Table) -> Table:
    tiers = []
    for tier in table:
        prices = dict(tier.prices)
        if (
            "cached_audio" not in prices
            and prices.get("input")
            and {"cached", "input_audio"} <= prices.keys()
        ):
            prices["cached_audio"] = max(
                usd(prices["cached"] * prices["input_audio"] / prices["input"]) or Decimal(0),
                prices["cached"],
            )
        tiers.append(Tier(tier.above, prices))
    return tuple(tiers)
