"""The page of vendors says what the rows of the presets say: it is made from them, line by line."""

import json
import re
from collections.abc import Iterable
from pathlib import Path

import pytest

from runtime.catalogue.presets import Preset, presets
from runtime.catalogue.quirks import OPENAI_ONLY, Quirks
from schemas.catalogue.families import SANDBOX

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "providers" / "vendors.md").read_text()
every_preset = pytest.mark.parametrize("preset", presets().values(), ids=list(presets()))


def listed(names: Iterable[str]) -> str:
    """Names as the page has them."""
    return ", ".join(f"`{name}`" for name in names)


def line(preset: Preset) -> str:
    """A preset's line of the first table."""
    variable = listed(preset.env.values())
    if preset.chain:
        variable = f"`{preset.chain[0]}*`"
    elif preset.env and not preset.signs:
        variable += ", only in a file"
    variable += "".join(f", {listed(preset.place_env(place))}" for place in preset.places if not preset.chain)
    one_limit = preset.quirks is not None or preset.profile != preset.family
    limit = f"`{preset.limit_field}`" if one_limit else "by model"
    source = "catalogue" if preset.price_source else "`[[models]]`"
    source = "[deployments](azure.md)" if preset.base_rows else source
    return f"| `{preset.name}` | `{preset.base_url}` | {variable or 'none'} | {limit} | {source} |"


def told(quirks: Quirks) -> Iterable[str]:
    """What the second table says of a preset's quirks."""
    if own := quirks.drop[len(OPENAI_ONLY) :]:
        yield f"not sent: {listed(own)}"
    if quirks.drop_said:
        yield f"not sent of assistant messages: {listed(quirks.drop_said)}"
    if quirks.unsaid:
        defaults = (f"{name}: {json.dumps(value)}" for name, value in quirks.unsaid.items())
        yield f"not sent where it is the default: {listed(defaults)}"
    if quirks.rename:
        yield "renamed: " + ", ".join(f"`{name}` to `{here}`" for name, here in quirks.rename.items())
    if quirks.reasoning:
        yield f"calls bring back `{quirks.reasoning}`"
    if quirks.call_id_chars:
        yield f"ids of calls have {quirks.call_id_chars} letters and digits"
    if not quirks.strict_tools:
        yield "`strict` of a function is not sent"
    if quirks.model_prefix:
        yield f"`{quirks.model_prefix}` goes before an id without `/`"


@every_preset
def test_each_preset_has_its_line(preset: Preset) -> None:
    """Address, variable, limit and source of prices; and a line of its quirks, where it has any of its own."""
    assert preset.family == SANDBOX or line(preset) in PAGE
    quirks = "; ".join(told(preset.quirks)) if preset.quirks is not None else ""
    assert not quirks or f"| `{preset.name}` | {quirks} |" in PAGE


def test_the_table_is_in_the_presets_order() -> None:
    """Nothing else is in it, and its order is that in which a start without a file makes pools."""
    table = PAGE.partition("| preset | address")[2].partition("\n\n")[0]
    assert re.findall(r"^\| `(\w+)`", table, re.MULTILINE) == list(presets())
    with_quirks = re.findall(r"^\| `(\w+)`", PAGE.partition("| preset | what else")[2], re.MULTILINE)
    assert with_quirks == [one.name for one in presets().values() if one.quirks and "".join(told(one.quirks))]
    assert listed(OPENAI_ONLY[:-1]) + f" and `{OPENAI_ONLY[-1]}` are not sent" in PAGE
