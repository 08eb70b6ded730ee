"""The generator: the file is what the inputs make of it, and money follows one rule."""

import re
import tomllib
import zipfile
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from runtime.catalogue.age import as_of
from runtime.catalogue.presets import presets
from schemas.catalogue.builtin import BUILTIN
from schemas.catalogue.row import MODES, TAKES, Row
from schemas.money.pricing import CLASSES, TokenUsage, charge, check_price, price_on
from tools.catalogue import inputs, pins
from tools.catalogue.__main__ import MODELS, problems
from tools.catalogue.age import stale
from tools.catalogue.build import Built, build, encode
from tools.catalogue.gone import KEPT, kept, read_gone, read_rows
from tools.catalogue.money import AGREE, DISAGREE, ONE, PINNED, decide
from tools.catalogue.pins import Pins
from tools.catalogue.report import report
from tools.catalogue.tables import Tier, differences, tier_of
from tools.catalogue.voice import Dated, Voice

ROOT = Path(__file__).parents[3]
NO_PINS = Pins({}, {}, (), (), {})
BEFORE, AFTER = date(2026, 11, 30), date(2026, 12, 1)


@pytest.fixture(scope="module")
def built() -> Built:
    """The catalogue, made once for all tests of this module."""
    return build(inputs.read_lock(), pins.read_pins(), read_gone())


def row(built: Built, preset: str, name: str) -> Row:
    """One row."""
    return next(one for one in built.rows if (one.preset, one.id) == (preset, name))


def test_the_file_is_what_the_inputs_make_of_it(built):
    """Byte for byte, from what lies in the repository, without a network or a clock; `make catalogue` writes it."""
    assert encode(built.rows) == MODELS.read_bytes()
    assert problems(built, MODELS.read_bytes(), pins.read_accepted(), pins.read_pins()) == []
    assert as_of() == inputs.read_lock().as_of
    for path in (ROOT / "tools" / "catalogue").rglob("*.py"):
        assert not re.search(r"\.today\(|\.now\(|time\(\)", path.read_text()), path


def test_every_row_can_be_sold(built):
    """About 1,500 rows in order, each once, with a window, prices that a ledger takes, and nothing for free."""
    keys = [(one.preset, one.id) for one in built.rows]
    assert keys == sorted(set(keys))
    assert 1_400 < len(keys) < 2_000
    for one in built.rows:
        assert one.context > 0
        assert one.max_output > 0 or one.mode == ("embeddings",)
        assert set(one.mode) <= set(MODES)
        assert set(one.takes) <= set(TAKES)
        assert price_on(one.priced(), BEFORE) is not None
        for price in one.priced():
            assert check_price(price) is None
            for table in (price.tiers, *price.services.values()):
                assert all(tier.input > 0 for tier in table)
                assert all(tier.output > 0 or one.mode == ("embeddings",) for tier in table)
        assert all((one.preset, name) in set(keys) for name in one.aliases)


def test_all_families_and_some_fifteen_vendors_are_there(built):
    """The four families with their modes and Bedrock's regional profiles, and compatible vendors."""
    found = {one.preset for one in built.rows}
    assert {one.price_source for one in presets().values() if one.price_source} <= found
    assert len(found) >= 20
    assert {mode for one in built.rows if one.preset == "openai" for mode in one.mode} == set(MODES)
    regions = {one.id.partition(".")[0] for one in built.rows if one.preset == "bedrock"}
    assert {"us", "eu", "apac", "global", "us-gov", "jp", "au"} <= regions


@pytest.mark.parametrize(
    ("preset", "name", "day", "uplifts", "nano"),
    [  # 1,000 tokens of input, 1,000 cached and 1,000 of output, at list price
        ("openai", "gpt-6.1-sol", BEFORE, (), 12_100_000),
        ("openai", "gpt-6.1-sol", BEFORE, ("priority",), 24_200_000),
        ("openai", "gpt-6.1-sol", BEFORE, ("fast",), 24_200_000),
        ("openai", "gpt-6.1-sol", BEFORE, ("us", "flex"), 6_655_000),
        ("openai", "gpt-6.1-sol", BEFORE, ("unheard-of",), 87_846_000),
        ("openai", "gpt-4o", BEFORE, ("eu",), 13_750_000),
        ("gemini", "gemini-4-argon", BEFORE, (), 12_100_000),
        ("gemini", "gemini-4-argon", AFTER, (), 24_200_000),
        ("gemini", "gemini-4-argon", AFTER, ("flex",), 12_100_000),
        ("gemini", "gemini-4-carbon", AFTER, (), 24_200_000),
        ("gemini", "gemini-2.5-flash", BEFORE, (), 2_830_000),
        ("gemini", "gemini-2.5-flash", BEFORE, ("flex",), 1_430_000),
        ("gemini", "gemini-3.8-flash", date(2026, 12, 31), (), None),
        ("anthropic", "claude-opus-4-8", BEFORE, ("us", "fast"), 67_100_000),
        ("bedrock", "anthropic.claude-opus-4-8", BEFORE, (), 33_550_000),
        ("bedrock", "global.anthropic.claude-opus-4-8", BEFORE, (), 30_500_000),
        ("deepseek", "deepseek-v4-flash", BEFORE, (), 1_506_000),
    ],
)
def test_golden_prices(built, preset, name, day, uplifts, nano):  # noqa: PLR0917  a table of cases
    """Worked out by hand from what the vendors list: tiers, regions, days, and what nobody knows."""
    price = price_on(row(built, preset, name).priced(), day)
    billed = charge(TokenUsage(input=1_000, cached=1_000, output=1_000), price, Decimal(1), uplifts)
    if nano is None:  # doubles on the first day of 2027
        later = price_on(row(built, preset, name).priced(), date(2027, 1, 1))
        assert charge(TokenUsage(input=1_000, cached=1_000, output=1_000), later, Decimal(1)) == 2 * billed
        return
    assert billed == nano


def test_cached_reads_of_flex_are_not_halved_where_they_are_not(built):
    """Flex of gemini-2.5-flash halves input and output, and not what is cached; audio has prices of its own."""
    (price,) = row(built, "gemini", "gemini-2.5-flash").priced()
    (plain,), (flex,) = price.tiers, price.services["flex"]
    assert (flex.input, flex.output) == (plain.input / 2, plain.output / 2)
    assert flex.cached == plain.cached
    assert (plain.input_audio, plain.cached_audio) == (1, Decimal("0.1"))


def test_twelve_hour_caches_cost_twice_the_short_ones(built):
    """OpenAI's long cache writes have a class of their own; models without them have none."""
    for name in ("gpt-5.6-sol", "gpt-6-luna", "gpt-6.1-sol"):
        tier = row(built, "openai", name).priced()[0].tiers[0]
        assert tier.cache_write_long == 2 * tier.cache_write
    assert row(built, "openai", "gpt-4o").priced()[0].tiers[0].cache_write_long is None


@pytest.mark.parametrize(
    ("preset", "name", "day"),
    [
        ("openai", "gpt-5.4-2026-03-05", date(2026, 3, 5)),  # its own
        ("openai", "gpt-4o", date(2024, 5, 13)),  # the first of its snapshots
        ("openai", "gpt-6.1-sol", date(2026, 9, 29)),  # whose price is not quite its own
        ("anthropic", "claude-sonnet-4-5", date(2025, 9, 29)),
        ("azure_ai", "gpt-6-luna", date(2026, 9, 22)),  # of another preset
        ("bedrock", "us.anthropic.claude-haiku-4-5-20251001-v1:0", date(2025, 10, 1)),
        ("mistral", "voxtral-small-latest", date(2025, 7, 1)),  # of its alias
        ("gemini", "gemini-2.5-computer-use-preview-10-2025", date(2025, 10, 1)),
        ("openai", "gpt-4-1106-preview", None),  # a day without a year is none
        ("openai", "gpt-5-codex", None),  # what costs the same is not the same model
        ("openai", "gpt-4-0613", None),
        ("gemini", "gemini-4-argon", None),
    ],
)
def test_when_a_model_came_out(built, preset, name, day):
    """The day in its id, else that of a snapshot of the very id, in UTC; nothing is guessed."""
    created = row(built, preset, name).created
    assert (datetime.fromtimestamp(created, UTC).date() if created else None) == day


def test_no_model_came_out_after_the_day_of_the_data(built):
    """Nor after it was shut down; and half of what the four families sell has a day."""
    as_of = inputs.read_lock().as_of
    for one in built.rows:
        day = datetime.fromtimestamp(one.created, UTC).date()
        assert day <= as_of
        assert one.shutdown is None or day <= one.shutdown
    assert sum(1 for one in built.rows if one.preset == "openai" and one.created) > 80


@pytest.mark.parametrize("preset", ["gemini", "vertex"])
def test_reasoning_costs_what_output_does_in_every_service_tier(built, preset):
    """A source that repeats the price of output for reasoning, by default only, makes no tier dearer by it."""
    flexible = [
        (price.tiers, price.services["flex"])
        for one in built.rows
        for price in one.priced()
        if one.preset == preset and "flex" in price.services
    ]
    assert len(flexible) > 5
    for default, flex in flexible:
        assert all(tier.reasoning is None for tier in (*default, *flex))
    price = price_on(row(built, "gemini", "gemini-4-argon").priced(), AFTER)
    assert charge(TokenUsage(reasoning=1_000), price, Decimal(1), ("flex",)) == 10_000_000


def test_edges_one_token_apart_are_one_edge(built):
    """Above 199,999 and from 200,000 on are no disagreement, and the row has the lower of the two."""
    for name in ("grok-4.3", "grok-4.7"):
        one = row(built, "xai", name)
        assert [tier.above for tier in one.priced()[0].tiers] == [0, 199_999]
        assert one.sources == AGREE


def test_no_class_of_a_gemini_prompt_is_cheaper_than_a_cached_read(built):
    """What a cache costs to keep is not the price of writing it."""
    for one in built.rows:
        if one.preset in {"gemini", "vertex"} and one.id.startswith("gemini"):
            tables = [t for price in one.priced() for t in (price.tiers, *price.services.values())]
            assert all(tier.cache_write is None for table in tables for tier in table)


_prices = st.decimals("0.01", 100, places=2)
_tables = st.builds(
    lambda first, second: (Tier(0, first), Tier(200_000, second)),
    *[
        st.fixed_dictionaries(
            {"input": _prices, "output": _prices},
            optional=dict.fromkeys([name for name, others in CLASSES if others], _prices),
        )
    ]
    * 2,
)


@given(_tables, _tables)
def test_what_sources_differ_on_costs_the_higher(one, other):
    """Class by class and tier by tier, whoever says it; and sources that agree are taken as they are."""
    verdict = decide("p/m", Voice(table=one), Voice(table=other), None, NO_PINS)
    found = verdict.voice.table
    assert (verdict.how == DISAGREE) == bool(differences(one, other))
    for above in (0, 200_000):
        for name, _ in CLASSES:
            said = [
                tier_of(table, above).prices[name]
                for table in (one, other)
                if name in tier_of(table, above).prices
            ]
            assert not said or tier_of(found, above).effective(name) >= max(said)
    assert decide("p/m", Voice(table=one), Voice(table=one), None, NO_PINS).how == AGREE


def test_who_is_heard():
    """One source is taken by exact id, two without litellm if they agree, none is never sold; a pin wins over all."""
    cheap = Voice(table=(Tier(0, {"input": Decimal(1), "output": Decimal(2)}),))
    dear = Voice(table=(Tier(0, {"input": Decimal(3), "output": Decimal(2)}),))
    free = Voice(table=(Tier(0, {"input": Decimal(0), "output": Decimal(0)}),))
    assert decide("p/m", cheap, None, None, NO_PINS).how == ONE
    assert decide("p/m", None, cheap, cheap, NO_PINS).how == AGREE
    assert decide("p/m", None, structs.replace(cheap, exact=False), cheap, NO_PINS) is None
    assert decide("p/m", None, cheap, dear, NO_PINS) is None
    assert decide("p/m", None, cheap, None, NO_PINS) is None
    assert decide("p/m", None, None, None, NO_PINS) is None
    assert decide("p/m", free, None, None, NO_PINS) is None
    third = decide("p/m", cheap, None, dear, NO_PINS)
    assert (third.how, third.voice.table[0].prices["input"]) == (DISAGREE, 3)
    by_hand = Pins({"p/m": {"prices": [{"input": "7", "output": "8"}]}}, {}, (), (), {})
    pinned = decide("p/m", cheap, dear, None, by_hand)
    assert (pinned.how, pinned.voice.table[0].prices["input"]) == (PINNED, 7)
    factor = Pins({}, {}, (pins.Factor("p/.", Decimal("1.1")),), (), {})
    assert decide("p/m", cheap, dear, None, factor).voice.table[0].prices["input"] == Decimal("1.1")


def test_a_later_row_inherits_in_proportion():
    """A class or a service tier that the later row does not name moves as what it hangs on does."""
    now = Voice(
        table=(Tier(0, {"input": Decimal(2), "output": Decimal(10), "cached": Decimal("0.2")}),),
        services={"priority": (Tier(0, {"input": Decimal(4), "output": Decimal(18)}),)},
        later=(),
    )
    then = Dated(AFTER, (Tier(0, {"input": Decimal(4), "output": Decimal(15)}),))
    verdict = decide("p/m", now, structs.replace(now, later=(then,)), None, NO_PINS)
    (later,) = verdict.voice.later
    assert later.table[0].prices["cached"] == Decimal("0.4")
    assert verdict.voice.services["priority"][0].prices["cached"] == Decimal("0.4")


def test_an_id_that_vanishes_has_to_be_named(built):
    """Nothing that was sold goes silently, and no disagreement stays that nobody has looked at."""
    known = pins.read_pins()
    fewer = structs.replace(built, rows=built.rows[1:])
    gone = f"{built.rows[0].preset}/{built.rows[0].id}"
    (said,) = problems(fewer, MODELS.read_bytes(), pins.read_accepted(), known)
    assert said.startswith(f"{gone} is gone")
    dropping = structs.replace(known, drops=(*known.drops, re.escape(gone)))
    assert problems(fewer, MODELS.read_bytes(), pins.read_accepted(), dropping) == []
    accepted = frozenset(pins.read_accepted())
    missing = min(accepted)
    assert problems(built, b"", accepted - {missing}, known) == [f"not accepted: {missing}"]
    assert problems(built, b"", accepted | {"x"}, known) == ["accepted, but no longer so: x"]


def test_what_no_source_has_any_more_keeps_its_last_row(built):
    """With prices, day and successor, until it is dropped by name or a source has it again: then the source is heard."""
    lock, known = inputs.read_lock(), pins.read_pins()
    assert all(row(built, one.preset, one.id).prices == one.prices for one in read_gone())
    lost, *_ = [one for one in built.rows if one.preset == "openai" and one.shutdown and one.successor]
    has = built.sourced - {(lost.preset, lost.id)}
    gone = kept(read_gone(), built.rows, has)
    assert [(one.preset, one.id) for one in gone] == sorted(
        [(one.preset, one.id) for one in read_gone()] + [(lost.preset, lost.id)]
    )
    found = next(one for one in gone if one.id == lost.id)
    assert found == structs.replace(lost, aliases=(), sources=KEPT)
    assert read_rows(encode(gone), "x") == gone
    assert kept(gone, built.rows, built.sourced) == read_gone()
    stranger = structs.replace(found, id="stranger")
    again = build(lock, known, (found, stranger))
    assert row(again, "openai", lost.id).sources != KEPT
    assert row(again, "openai", "stranger").successor == lost.successor
    dropping = structs.replace(known, drops=(*known.drops, "openai/stranger"))
    assert "stranger" not in {one.id for one in build(lock, dropping, (stranger,)).rows}
    with pytest.raises(inputs.InputError, match=r"^x: line 1: "):
        read_rows(b"{}\n", "x")


def test_every_id_of_the_public_contract_has_a_row(built):
    """So it is sold under the name of any pool of its provider, at its last prices and with its successor."""
    for model in BUILTIN:
        if model.provider != "sandbox":
            one = row(built, model.provider, model.upstream)
            assert one.priced()[0].tiers == model.prices[0].tiers
            assert one.shutdown == model.shutdown_date or one.id.startswith("amazon.titan")


def test_what_is_accepted_says_why(built, tmp_path):
    """Each line stands under a reason, which the report prints; one without is refused, and writing keeps reasons."""
    accepted = pins.read_accepted()
    assert set(accepted) == set(built.disagreements)
    assert all(len(why) > 20 for why in accepted.values())
    path = tmp_path / "accepted.txt"
    pins.write_accepted(accepted, path)
    assert path.read_bytes() == pins.ACCEPTED.read_bytes()
    said = list(report(built, inputs.read_lock(), accepted))
    assert {f"  {why}" for why in accepted.values()} <= set(said)
    assert {f"    {line}" for line in built.disagreements} <= set(said)
    assert "  NOT ACCEPTED" not in said
    first, *rest = built.disagreements
    unread = list(report(built, inputs.read_lock(), {line: accepted[line] for line in rest}))
    assert unread[unread.index("  NOT ACCEPTED") + 1] == f"    {first}"
    for text in ("a/b: x\n", "# The head.\n\na/b: x\n", "# A reason.\na/b: x\n\na/c: y\n"):
        path.write_text(text)
        with pytest.raises(inputs.InputError, match=r"accepted\.txt: a/.: .: stands under no reason"):
            pins.read_accepted(path)
    path.write_text("# A reason\n# on two lines.\na/b: x\na/c: y\n# Another.\na/d: z\n")
    assert pins.read_accepted(path) == {
        "a/b: x": "A reason on two lines.",
        "a/c: y": "A reason on two lines.",
        "a/d: z": "Another.",
    }


def test_hand_kept_entries_say_why(tmp_path):
    """A pin, a factor, a drop or an addition without reason, address or date is refused by name."""
    path = tmp_path / "pins.toml"
    for text in (
        '[pin."p/m"]\nprices = []\nwhy = "x"\nread = 2026-01-01',
        '[[drop]]\nid = "x"\nwhy = "y"\nsource = "z"',
    ):
        path.write_text(text)
        with pytest.raises(inputs.InputError, match=r"pins\.toml: .*(source|read) is needed"):
            pins.read_pins(path)
    path.write_text("[")
    with pytest.raises(inputs.InputError, match="cannot be read"):
        pins.read_pins(path)


def test_only_a_release_fails_for_age():
    """By the day that it is told: from 45 days on, and for what was read by hand more than 180 days ago."""
    lock, known = inputs.read_lock(), pins.read_pins()
    day = lock.as_of
    assert not list(stale(lock, known, day + timedelta(days=44)))
    (old,) = stale(lock, known, day + timedelta(days=45))
    assert "45 days old" in old
    later = structs.replace(lock, as_of=max(known.reads.values()) + timedelta(days=181))
    lines = list(stale(later, known, later.as_of))
    assert [line.split(": ")[1] for line in lines] == sorted(known.reads)


def test_damaged_inputs_are_refused(tmp_path, monkeypatch):
    """What was extracted has to be what the lock names."""
    lock = inputs.read_lock()
    with pytest.raises(inputs.InputError, match=r"is not what catalogue\.lock names"):
        inputs.read_extracted(structs.replace(lock.sources[0], extracted_sha256="0" * 64))
    with pytest.raises(inputs.InputError, match="cannot be read"):
        inputs.read_extracted(structs.replace(lock.sources[0], name="nobody"))
    path = tmp_path / "catalogue.lock"
    inputs.write_lock(lock, path)
    assert inputs.read_lock(path) == lock
    path.write_text("as_of = 2026-01-01")
    with pytest.raises(inputs.InputError):
        inputs.read_lock(path)


def test_licences_travel_with_the_data(tmp_path):
    """NOTICE names every source, and is in the wheel, as it is built, and the image."""
    (wheel,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path))
    with zipfile.ZipFile(wheel) as packed:
        (name,) = [name for name in packed.namelist() if name.endswith("/licenses/NOTICE")]
        assert packed.read(name) == (ROOT / "NOTICE").read_bytes()
    notice = (ROOT / "NOTICE").read_text()
    for source in inputs.read_lock().sources:
        assert source.licence == "MIT"
        assert source.copyright in notice
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert {"LICENSE", "NOTICE"} <= set(project["license-files"])
    assert "COPY LICENSE NOTICE" in (ROOT / "Dockerfile").read_text()
    assert "!NOTICE" in (ROOT / ".dockerignore").read_text().splitlines()
