"""Owns the making of the rows: every model that some source prices, with its facts, in the order of the file."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import date
from decimal import Decimal
from typing import Any, Final

import msgspec
from msgspec import Struct, field, structs

from schemas.catalogue.row import Row, RowPrice
from schemas.money.pricing import Price, check_price
from tools.catalogue.created import with_created
from tools.catalogue.genai import PROVIDERS, Genai
from tools.catalogue.inputs import InputError, Lock, read_extracted
from tools.catalogue.litellm import voices
from tools.catalogue.money import DISAGREE, PINNED, Verdict, decide, later_service
from tools.catalogue.pi import FILES, Pi
from tools.catalogue.pins import Pins
from tools.catalogue.tables import as_rows
from tools.catalogue.voice import Voice

# What only genai-prices has of these is named in the report: a model to look at.
_WATCHED: Final = ("openai", "anthropic", "gemini", "bedrock")
_VERSION: Final = re.compile(r"-(latest|20\d\d-?\d\d-?\d\d)$")
_encode: Final = msgspec.json.Encoder(decimal_format="string").encode


class Built(Struct, frozen=True, kw_only=True):
    """The rows in order, and what a person should see of how they came to be."""

    rows: tuple[Row, ...]
    disagreements: tuple[str, ...]
    windows: tuple[str, ...]
    left_out: Mapping[str, int]
    only_genai: tuple[str, ...]
    sourced: frozenset[tuple[str, str]]  # preset and id of what some source has


class _Making(Struct):
    rows: dict[str, Row] = field(default_factory=dict)
    disagreements: list[str] = field(default_factory=list)
    windows: list[str] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)


def build(lock: Lock, pins: Pins, gone: tuple[Row, ...] = ()) -> Built:
    """All rows: of the sources, and those of `gone` that no source has and nobody drops.

    Raises InputError for an input that cannot be read, and for a row that cannot be sold.
    """
    sources = {source.name: read_extracted(source) for source in lock.sources}
    genai, pi = Genai(sources["genai-prices"], lock.as_of), Pi(sources["pi-ai"])
    making = _Making()
    for preset, name, litellm, why in _models(sources["litellm"], pi, pins):
        model = f"{preset}/{name}"
        if why or pins.drops_model(model) or model in making.rows:
            reason = why or ("dropped by hand" if pins.drops_model(model) else "same id twice")
            making.left_out[f"{preset}: {reason}"] += 1
            continue
        _add(making, preset, name, (litellm, genai.find(preset, name), pi.find(preset, name)), pins)
    sourced = frozenset((row.preset, row.id) for row in making.rows.values())
    for row in gone:
        model = f"{row.preset}/{row.id}"
        if not pins.drops_model(model):
            making.rows.setdefault(model, row)
    rows = with_created(_with_aliases(making.rows, genai), lock.as_of)
    return Built(
        rows=tuple(sorted(rows, key=lambda row: (row.preset, row.id))),
        disagreements=tuple(sorted(making.disagreements)),
        windows=tuple(sorted(making.windows)),
        left_out=dict(sorted(making.left_out.items())),
        only_genai=tuple(_only_genai(genai, rows)),
        sourced=sourced,
    )


def encode(rows: tuple[Row, ...]) -> bytes:
    """The file: one row a line, so that a price that moves is a line that changes."""
    return b"".join(_encode(row) + b"\n" for row in rows)


def _models(extracted: Mapping[str, Any], pi: Pi, pins: Pins) -> Iterator[tuple[str, str, Voice | None, str]]:
    yield from voices(extracted)
    seen = {(preset, name) for preset, name, _, _ in voices(extracted)}
    for preset in FILES:
        yield from ((preset, name, None, "") for name in pi.ids(preset) if (preset, name) not in seen)
    for model in pins.added:
        preset, _, name = model.partition("/")
        yield preset, name, None, ""


def _add(
    making: _Making,
    preset: str,
    name: str,
    voices: tuple[Voice | None, Voice | None, Voice | None],
    pins: Pins,
) -> None:
    model = f"{preset}/{name}"
    litellm, genai, pi = voices
    verdict = decide(model, litellm, genai, pi, pins)
    if verdict is None:
        making.left_out[f"{preset}: too little is known of its price"] += 1
        return
    if verdict.how == DISAGREE:
        making.disagreements += verdict.disagreements
    facts = _facts(litellm, genai, pi, pins.added.get(model, {}))
    if not facts["context"] or (not facts["max_output"] and facts["mode"] != ("embeddings",)):
        making.left_out[f"{preset}: no window"] += 1
        return
    making.windows += _window_lines(model, litellm, pi)
    prices = _prices(verdict)
    for price in prices:
        problem = check_price(
            Price(
                id=model,
                tiers=price.tiers,
                services=price.services,
                uplifts=price.uplifts,
                request=price.request or Decimal(0),
            )
        )
        if problem:
            raise InputError(f"{model}: {problem}")
    making.rows[model] = Row(preset=preset, id=name, prices=prices, sources=verdict.how, **facts)


def _prices(verdict: Verdict) -> tuple[RowPrice, ...]:
    voice = verdict.voice
    rows = [
        RowPrice(
            tiers=as_rows(voice.table),
            services={name: as_rows(table) for name, table in sorted(voice.services.items())},
            uplifts=dict(sorted(voice.uplifts.items())),
            request=voice.request or None,
        )
    ]
    for later in voice.later:
        services = {
            name: as_rows(later_service(table, voice.table, later.table))
            for name, table in sorted(voice.services.items())
        }
        rows.append(
            structs.replace(rows[0], effective=later.effective, tiers=as_rows(later.table), services=services)
        )
    return tuple(rows)


def _facts(
    litellm: Voice | None, genai: Voice | None, pi: Voice | None, added: Mapping[str, Any]
) -> dict[str, Any]:
    """What a row says beside its prices. litellm speaks first; the largest window counts."""
    first = litellm.facts if litellm is not None else {}
    third = pi.facts if pi is not None else {}
    second = genai.facts if genai is not None else {}
    max_output = first.get("max_output") or third.get("max_output") or added.get("max_output") or 0
    other = third.get("max_output") or max_output
    shutdown = first.get("shutdown")
    return {
        "mode": tuple(first.get("mode") or added.get("mode") or ("chat",)),
        "context": max(
            one.get("max_input") or one.get("context") or 0 for one in (first, second, third, added)
        ),
        "max_input": first.get("max_input") or third.get("context") or added.get("max_input") or 0,
        "max_output": max_output,
        "max_output_disputed": other != max_output,
        "takes": tuple(first.get("takes") or third.get("takes") or added.get("takes") or ()),
        "tools": first.get("tools", litellm is None),
        "json_schema": first.get("json_schema", bool(added.get("json_schema"))),
        "efforts": tuple(first.get("efforts") or added.get("efforts") or ()),
        "limit_field": third.get("limit_field", ""),
        "shutdown": date.fromisoformat(shutdown) if shutdown else None,
        "successor": first.get("successor", ""),
    }


def _window_lines(model: str, litellm: Voice | None, pi: Voice | None) -> list[str]:
    if litellm is None or pi is None:
        return []
    lines = []
    for name, own in (("max_output", "max_output"), ("context", "max_input")):
        first, third = litellm.facts[own], pi.facts[name]
        if first and third and first != third and third != first + litellm.facts["max_output"]:
            lines.append(f"{model}: {name}: litellm {first}, pi-ai {third}")
    return lines


def _with_aliases(rows: Mapping[str, Row], genai: Genai) -> list[Row]:
    """Rows that are the same model: spelled out by genai-prices, or equal in all but a date or `latest` in their ids."""
    groups: dict[tuple[str, str], set[str]] = {}
    for row in rows.values():
        bare = structs.replace(row, id=_VERSION.sub("", row.id))
        groups.setdefault((row.preset, _encode(bare).decode()), set()).add(row.id)
        voice = genai.find(row.preset, row.id)
        if voice is not None and voice.exact and row.sources != PINNED:
            names = {name for name in voice.facts["aliases"] if f"{row.preset}/{name}" in rows}
            groups.setdefault((row.preset, f"genai:{sorted(voice.facts['aliases'])}"), set()).update(
                {row.id} & names
            )
    aliases: dict[tuple[str, str], set[str]] = {}
    for (preset, _), names in groups.items():
        for name in names if len(names) > 1 else ():
            aliases.setdefault((preset, name), set()).update(names - {name})
    return [
        structs.replace(row, aliases=tuple(sorted(aliases.get((row.preset, row.id), ()))))
        for row in rows.values()
    ]


def _only_genai(genai: Genai, rows: list[Row]) -> Iterator[str]:
    for preset in _WATCHED:
        known = {row.id for row in rows if row.preset == preset}
        yield from (f"{preset}/{name}" for name in genai.unknown(preset, known) if preset in PROVIDERS)
