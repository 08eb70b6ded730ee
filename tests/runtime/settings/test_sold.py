"""What a deployment sells: the built-in rows of its pools' presets, under names that every process gives them."""

import re
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest
from msgspec import structs

from ledger.prices.listed import priced
from runtime.catalogue.models import ids, rows
from runtime.catalogue.presets import presets
from runtime.settings.settings import Settings, SettingsError, load
from runtime.settings.sold import retired, sold, sold_by, unrouted
from schemas.asked import NOTHING_SEEN
from schemas.catalogue.builtin import BUILTIN
from schemas.catalogue.forwarded import Forwarded
from schemas.catalogue.model import Lifecycle, Model
from schemas.catalogue.vectors import Vectors
from schemas.chat.counted import Counted, picture
from schemas.money.pricing import price_on
from tests.fakes.media import data_url, png

TODAY = date(2026, 11, 26)
LOAD_MAX_S = 0.015  # of CPU, for one pool: 3 to 5 ms are usual, and more on a busy machine
LEDGER_MAX_S = 0.060  # of CPU, for all four families with both names of each model, priced and checked
OPENAI = '[pools.{name}]\nprovider = "{provider}"\n[[pools.{name}.accounts]]\nid = "a"\napi_key = "k"\n{more}'


def settings(tmp_path: Path, *texts: str) -> Settings:
    """The settings of a file."""
    path = tmp_path / "tokn.toml"
    path.write_text("".join(texts))
    return load(path, credentials=True, environment={})


def pool(name: str, provider: str = "openai", more: str = "") -> str:
    """A pool with one account."""
    return OPENAI.format(name=name, provider=provider, more=more)


def by_id(found: Settings) -> dict[str, Model]:
    """What is sold."""
    models = list(sold(found, TODAY))
    assert len({model.id for model in models}) == len(models)
    return {model.id: model for model in models}


def test_a_pool_of_any_name_sells_all_of_its_preset(tmp_path):
    """`[pools.main] provider = "openai"` sells every row by its own id and by the pool's name, with prices and windows."""
    found = by_id(settings(tmp_path, pool("main")))
    callable_rows = [
        row
        for row in rows("openai").values()
        if {"chat", "completions"} & set(row.mode) and not (row.shutdown and row.shutdown <= TODAY)
    ]
    assert len(callable_rows) > 50
    for row in callable_rows:
        for name in (row.id, f"main/{row.id}"):
            model = found[name]
            assert (model.pool, model.upstream, model.provider) == ("main", row.id, "openai")
            assert price_on(model.prices, TODAY) is not None
            assert (model.context, model.max_output > 0) == (max(row.context, model.context), True)
    assert found["main/gpt-6.1-sol"].capabilities.limit_field == "max_completion_tokens"
    assert not found["main/gpt-6.1-sol"].capabilities.needs_limit
    assert found["gpt-3.5-turbo-instruct-0914"].capabilities.completions
    assert not found["gpt-3.5-turbo-instruct-0914"].capabilities.chat
    small = found["text-embedding-3-small"]
    assert (small.capabilities.chat, small.max_output, small.capabilities.embeddings.dimensions) == (
        False,
        0,
        1_536,
    )
    assert "claude-opus-4-8" not in found


def test_what_no_route_serves_is_known_and_not_sold(tmp_path):
    """Each callable row of a pool is sold, or named with its modes, by both names; a row of the file takes its name."""
    own = (
        '[[models]]\nid = "gpt-5-pro"\npool = "main"\nupstream = "gpt-6-luna"\ncontext = 10\nmax_output = 5\n'
    )
    silent = pool(
        "silent", more='base_url = "http://up/v1"\n'
    )  # a server that is not known to speak Responses
    found = settings(tmp_path, pool("main"), pool("g", "gemini"), silent, own)
    models = by_id(found)
    named = {one.id: one.modes for one in unrouted(found, models, TODAY)}
    assert not named.keys() & models.keys()
    for name, preset in (("main", "openai"), ("g", "gemini"), ("silent", "openai")):
        for row in rows(preset).values():
            if row.shutdown is None or row.shutdown > TODAY:
                assert f"{name}/{row.id}" in models or named[f"{name}/{row.id}"] == row.mode
                assert row.id in models or named[row.id] == row.mode
    assert "text-embedding-3-small" in models
    bedrock = settings(tmp_path, pool("b", "bedrock", 'region = "us-east-1"\n'))
    elsewhere = {one.id: one.modes for one in unrouted(bedrock, by_id(bedrock), TODAY)}
    assert elsewhere["amazon.titan-embed-image-v1"] == ("embeddings",)  # nobody here knows its form
    assert (named["silent/gpt-5-pro"], "gpt-5-pro" in named) == (("responses",), False)
    assert models["main/gpt-5-pro"].capabilities.responses
    assert not list(unrouted(settings(tmp_path, pool("x", "anthropic")), (), TODAY))
    assert not list(unrouted(Settings(), (), TODAY))


def test_the_bare_id_is_the_first_pools(tmp_path):
    """Two pools of one preset sell all under their names; the bare id is the first one's, at its rate."""
    found = by_id(
        settings(tmp_path, pool("b", more=""), pool("a").replace("provider", "rate = 0.9\nprovider", 1))
    )
    assert (found["gpt-6.1-sol"].pool, found["b/gpt-6.1-sol"].pool, found["a/gpt-6.1-sol"].pool) == (
        "b",
        "b",
        "a",
    )
    assert (str(found["gpt-6.1-sol"].rate), str(found["a/gpt-6.1-sol"].rate)) == ("0.60", "0.9")
    assert found["gpt-4o"].pool == "b"


def test_a_row_of_the_file_goes_first(tmp_path):
    """`[[models]]` takes an id from the built-in rows; the row stays under the pool's name."""
    own = '[[models]]\nid = "gpt-6.1-sol"\npool = "main"\nupstream = "gpt-6-luna"\ncontext = 10\nmax_output = 5\n'
    found = by_id(settings(tmp_path, pool("main"), own))
    assert (found["gpt-6.1-sol"].upstream, found["gpt-6.1-sol"].context) == ("gpt-6-luna", 10)
    assert found["main/gpt-6.1-sol"].upstream == "gpt-6.1-sol"
    (model,) = [
        one for one in priced(settings(tmp_path, pool("main"), own), TODAY) if one.id == "gpt-6.1-sol"
    ]
    assert model.prices == rows("openai")["gpt-6-luna"].priced()


def test_rows_of_a_file_embed(tmp_path):
    """A known embeddings model needs no output limit and is priced by the catalogue; any other says how it embeds."""
    known = '[[models]]\nid = "e"\npool = "main"\nupstream = "text-embedding-3-large"\ncontext = 8192\n'
    own = (
        '[[models]]\nid = "v"\npool = "main"\ncontext = 512\nmax_output = 1\ninput = 1\noutput = 0\n'
        "[models.capabilities]\nchat = false\nembeddings = { dimensions = 64, least = 8 }\n"
    )
    found = {model.id: model for model in priced(settings(tmp_path, pool("main"), known, own), TODAY)}
    assert (found["e"].max_output, found["e"].prices) == (
        0,
        rows("openai")["text-embedding-3-large"].priced(),
    )
    assert found["e"].capabilities.embeddings.dimensions == 3_072
    assert found["v"].capabilities.embeddings == Vectors(dimensions=64, least=8)
    for wrong in ("{ dimensions = 0 }", "{ dimension = 5 }", "{ dimensions = 5, batch = 0 }", "7"):
        with pytest.raises(SettingsError, match="embeddings"):
            settings(tmp_path, pool("main"), own.replace("{ dimensions = 64, least = 8 }", wrong))


def test_the_seeds_ids_keep_their_rows(tmp_path):
    """The nine ids and the sandbox are what they were, in their own pools and in a pool of another name."""
    for name in ("openai", "main"):
        found = by_id(settings(tmp_path, pool(name)))
        for model in BUILTIN:
            here = found[model.id]
            assert (here.prices, here.context, here.max_output, here.lifecycle) == (
                model.prices,
                model.context,
                model.max_output,
                model.lifecycle,
            )
            assert here.pool == (name if model.provider == "openai" else model.pool)


def test_a_model_that_was_shut_down_is_sold_only_elsewhere(tmp_path):
    """At the provider's own address its day ends it, and the day before it is there; another server may have it."""
    gone = next(
        row
        for row in rows("openai").values()
        if row.shutdown
        and row.shutdown <= TODAY
        and "chat" in row.mode
        and row.id not in {model.id for model in BUILTIN}
    )
    home, elsewhere = (
        settings(tmp_path, pool("main")),
        settings(tmp_path, pool("main", more='base_url = "http://up/v1"\n')),
    )
    assert gone.id not in by_id(home)
    assert by_id(elsewhere)[gone.id].lifecycle is Lifecycle.RETIRED
    assert by_id(elsewhere)["gpt-6.1-sol"].capabilities.needs_limit
    before = {model.id: model for model in sold(home, date(2020, 1, 1))}
    assert before[gone.id].lifecycle is Lifecycle.DEPRECATED


def test_gemini_asks_for_the_tiers_that_have_prices(tmp_path):
    """A translated family is asked for a service tier only by models that have prices for it."""
    found = by_id(settings(tmp_path, pool("g", "gemini")))
    assert found["gemini-4-argon"].capabilities.service_tiers == ("flex", "priority")
    assert all(
        set(model.capabilities.service_tiers) <= {tier for price in model.prices for tier in price.services}
        for model in found.values()
        if model.upstream in rows("gemini") and model.id not in {one.id for one in BUILTIN}
    )


@pytest.mark.parametrize(
    "pools",
    [
        [("openai", "openai"), ("anthropic", "anthropic"), ("gemini", "gemini")],
        [("b", "openai"), ("a", "openai"), ("anthropic", "gemini")],
    ],
)
def test_workers_and_ledgers_give_the_same_names(tmp_path, pools):
    """What the workers of all pools sell is together what the ledger sells, each id once."""
    found = settings(tmp_path, *(pool(name, provider) for name, provider in pools))
    whole = {
        name: model for name, model in by_id(found).items() if model.pool in {one.name for one in found.pools}
    }
    apart: dict[str, Model] = {}
    for one in found.pools:
        own = sold_by(found, one, TODAY)
        assert not own.keys() & apart.keys()
        apart |= own
    assert apart == whole


def test_settings_without_a_file_of_rows_sell_only_their_own():
    """Settings that no file or environment made have exactly the models that they name."""
    made = Settings(models=BUILTIN[:2])
    assert tuple(sold(made, TODAY)) == BUILTIN[:2]


def least_cpu_s(work: Callable[[], object]) -> float:
    """The least CPU of ten times some work, with the file of rows read anew each time."""
    spent = []
    for _ in range(10):
        rows.cache_clear()
        ids.cache_clear()
        began = time.process_time()
        work()
        spent.append(time.process_time() - began)
    return min(spent)


def test_nobody_waits_for_the_rows(tmp_path):
    """One pool's models cost a worker milliseconds beside any others, and those of all four families a ledger not many."""
    bedrock = (
        '[pools.bedrock]\nprovider = "bedrock"\n[[pools.bedrock.accounts]]\nid = "a"\nregion = "us-east-1"\n'
    )
    others = [pool(name, name) for name in ("anthropic", "gemini")]
    found = settings(tmp_path, pool("openai"), *others, bedrock)
    for one in found.pools[:3]:
        assert least_cpu_s(lambda one=one: sold_by(found, one, TODAY)) < LOAD_MAX_S, one.name
    assert least_cpu_s(lambda: priced(found, TODAY)) < LEDGER_MAX_S


def test_an_edge_reads_no_rows(tmp_path):
    """Neither what an edge imports nor its settings load what reads the rows, nor open their file."""
    path = tmp_path / "tokn.toml"
    path.write_text(pool("main"))
    code = (
        "import sys, pathlib; opened = [];"
        "sys.addaudithook(lambda event, words: opened.append(str(words[0])) if event == 'open' else None);"
        "import edge.app; from runtime.settings.settings import load;"
        "load(pathlib.Path(sys.argv[1]), credentials=False, environment={});"
        "assert any(name.endswith('tokn.toml') for name in opened);"
        "assert not any(name.endswith('models.json') for name in opened);"
        "sys.exit(bool({'runtime.catalogue.models', 'runtime.settings.sold', 'tools'} & sys.modules.keys()))"
    )
    assert (
        subprocess.run(
            [sys.executable, "-c", code, str(path)], check=False, cwd=Path(__file__).parents[3]
        ).returncode
        == 0
    )


def test_every_id_is_found_without_its_row():
    """The quick reading of ids gives what the rows say."""
    for preset in ("openai", "anthropic", "gemini", "bedrock", "fireworks", "nobody"):
        assert ids(preset) == rows(preset).keys()


def test_a_pool_of_any_preset_sells_its_rows(tmp_path):
    """A vendor's rows are sold as `pool/id`; a bare id that two vendors have is the first pool's in the file's order."""
    found = by_id(
        settings(tmp_path, pool("fast", "cerebras"), pool("groq", "groq"), pool("deep", "deepseek"))
    )
    fast, groq = found["fast/gpt-oss-120b"], found["groq/openai/gpt-oss-120b"]
    assert (found["gpt-oss-120b"].pool, fast.provider, fast.family) == ("fast", "cerebras", "openai")
    assert (found["openai/gpt-oss-120b"].pool, groq.upstream) == ("groq", "openai/gpt-oss-120b")
    assert (fast.capabilities.limit_field, found["deep/deepseek-v4-pro"].capabilities.limit_field) == (
        "max_completion_tokens",
        "max_tokens",
    )
    assert not fast.capabilities.guessed
    both = settings(tmp_path, pool("b", "together"), pool("a", "groq"))
    assert (by_id(both)["openai/gpt-oss-120b"].pool, by_id(both)["a/openai/gpt-oss-120b"].pool) == ("b", "a")


def test_without_a_file_the_presets_order_decides(tmp_path, monkeypatch):
    """Keys of two vendors that have one id: it belongs to the one that stands first in the file of presets."""
    monkeypatch.chdir(tmp_path)
    found = load(None, credentials=True, environment={"TOGETHER_API_KEY": "t", "GROQ_API_KEY": "g"})
    assert by_id(found)["openai/gpt-oss-120b"].pool == "groq"
    assert by_id(found)["together/openai/gpt-oss-120b"].pool == "together"


def test_the_files_own_rows_and_aliases_go_before_a_presets(tmp_path):
    """`[[models]]` takes a vendor's bare id, and an alias names its rows by pool."""
    row = '[[models]]\nid = "openai/gpt-oss-120b"\npool = "own"\ncontext = 9\nmax_output = 9\ninput = 0\noutput = 0\n'
    alias = '[[aliases]]\nid = "fast"\nmodels = ["groq/openai/gpt-oss-120b", "openai/gpt-oss-120b"]\n'
    found = settings(tmp_path, pool("groq", "groq"), pool("own", "vllm"), row, alias)
    assert by_id(found)["openai/gpt-oss-120b"].pool == "own"
    assert by_id(found)["groq/openai/gpt-oss-120b"].pool == "groq"
    assert found.aliases[0].models == ("groq/openai/gpt-oss-120b", "openai/gpt-oss-120b")


@pytest.mark.parametrize(
    "provider", [preset.name for preset in presets().values() if not preset.price_source]
)
def test_free_is_only_what_says_so(tmp_path, provider):
    """A model of a vendor without list prices needs its own, in one sentence; 0 is a price, where it is written."""
    row = '[[models]]\nid = "own"\npool = "p"\ncontext = 8000\nmax_output = 800\n'
    path = tmp_path / "tokn.toml"
    path.write_text(pool("p", provider) + row)
    for credentials in (True, False):
        with pytest.raises(SettingsError) as refused:
            load(path, credentials=credentials, environment={})
        assert re.fullmatch(
            rf"\S+tokn\.toml: \[\[models\]\] input: is needed, .* {provider},.*", str(refused.value)
        )
    with pytest.raises(SettingsError, match="output: is needed"):
        settings(tmp_path, pool("p", provider), row + "input = 0\n")
    free = settings(tmp_path, pool("p", provider), row + "input = 0\noutput = 0\n")
    (model,) = (one for one in priced(free, TODAY) if one.id == "own")
    assert (model.prices[0].tiers[0].input, model.prices[0].tiers[0].output) == (0, 0)


def test_a_local_server_needs_no_key(tmp_path):
    """Nor does it need an address, where it is at the usual one; a key that is given is kept."""
    text = '[pools.p]\nprovider = "ollama"\n[[pools.p.accounts]]\nid = "a"\n'
    (plain,) = settings(tmp_path, text).pools[0].accounts
    assert (plain.base_url, plain.api_key, plain.keyless) == ("http://127.0.0.1:11434/v1", "", False)
    (keyed,) = settings(tmp_path, text + 'api_key = "k"\n').pools[0].accounts
    assert keyed.api_key == "k"


def test_a_vendors_models_see_where_the_catalogue_says_so(tmp_path):
    """A picture counts by its size, at most the window; one behind a URL, and one for a model that is blind, is a 400."""
    found = by_id(settings(tmp_path, pool("x", "xai"), pool("d", "deepseek")))
    able, blind = found["x/grok-4.7"].capabilities, found["d/deepseek-v4-pro"].capabilities
    assert "image" in rows("xai")["grok-4.7"].takes
    assert (able.images, able.remote_images, able.image_tokens_max) == (
        True,
        False,
        found["x/grok-4.7"].context,
    )
    assert able.pictures is not None
    assert [able.pictures.tokens(*size, None) for size in ((512, 512), (1, 1), (1_024, 1_023))] == [
        2_048,
        1_028,
        5_120,
    ]
    seen = data_url(png((512, 512)))
    assert picture(able, NOTHING_SEEN, seen, seen.index(",") + 1, None) == Counted(2_253, 2_048)
    huge = data_url(png((60_000, 60_000)))
    assert picture(able, NOTHING_SEEN, huge, huge.index(",") + 1, None).most == able.image_tokens_max
    assert (blind.images, blind.image_tokens_max) == (False, 0)


@pytest.mark.parametrize("provider", [preset.name for preset in presets().values() if preset.needs_key])
def test_a_preset_without_its_key_says_which_variable_has_it(tmp_path, provider):
    """One line that names file, key and remedy, whether the file names no key or a variable that is not set."""
    variable = presets()[provider].env["api_key"]
    text = f'[pools.p]\nprovider = "{provider}"\n[[pools.p.accounts]]\nid = "a"\n'
    text += "".join(f'{place} = "here"\n' for place in presets()[provider].places)
    with pytest.raises(SettingsError, match=rf'toml: \[\[pools.p.accounts\]\] api_key: .*"env:{variable}"$'):
        settings(tmp_path, text)
    with pytest.raises(SettingsError, match=rf"toml: .* api_key: .* {variable} is not set$"):
        settings(tmp_path, text + f'api_key = "env:{variable}"\n')


def test_what_is_forwarded_follows_from_preset_address_and_pool(tmp_path):
    """Every way a model comes to be sold says it: a catalogue row, a built-in model, a row of the file."""
    row = '[[models]]\nid = "own"\npool = "{}"\nupstream = "u"\ninput = 1\noutput = 1\ncontext = 9\nmax_output = 9\n'
    extra = pool("main").replace("provider", 'extra_fields = ["x_new", "x_new"]\nprovider', 1)
    elsewhere = f'{extra}base_url = "http://up/v1"\n'
    for text, provider, base in (
        (extra, "openai", "openai"),
        (elsewhere, "openai", "compatible"),
        (extra.replace('"openai"', '"anthropic"'), "anthropic", "translated"),
        (elsewhere.replace('"openai"', '"anthropic"'), "anthropic", "translated"),
    ):
        found = by_id(settings(tmp_path, text, row.format("main")))
        for model in found.values():
            assert model.provider == provider or model.pool != "main"
            assert model.forwards.base == base or model.pool != "main"
            assert model.forwards.more == (("x_new",) if model.pool == "main" else ()), model.id
        assert found["own"].pool == "main"
        assert sum(model.pool == "main" for model in found.values()) > 5


def test_a_preset_may_forward_more(tmp_path):
    """A pool's own fields come beside those of its preset's row."""
    preset = structs.replace(presets()["openai"], forwards=Forwarded(base="openai", more=("a",)))
    assert preset.sends(("b",), own=True) == Forwarded(base="openai", more=("a", "b"))
    assert preset.sends((), own=False) == Forwarded(base="compatible", more=("a",))


def test_the_seeds_ids_are_rows_of_every_pool(tmp_path):
    """What the file of rows has dropped is sold under each pool's name elsewhere, with its last price, and has ended at home."""
    for provider in ("openai", "anthropic", "gemini", "bedrock"):
        more = 'region = "us-east-1"\n' if provider == "bedrock" else ""
        elsewhere = by_id(settings(tmp_path, pool("p", provider, more + 'base_url = "http://up"\n')))
        home = by_id(settings(tmp_path, pool("p", provider, more)))
        proxied = by_id(
            settings(tmp_path, pool("p", provider, more + 'base_url = "http://up"\nown_host = true\n'))
        )
        for seed in (one for one in BUILTIN if one.provider == provider):
            ended = seed.shutdown_date <= TODAY
            model = elsewhere[f"p/{seed.id}"]
            assert (model.upstream, model.shutdown_date, model.dated) == (seed.id, seed.shutdown_date, False)
            assert model.prices[0].tiers[0].output == seed.prices[0].tiers[0].output
            assert (f"p/{seed.id}" in home, f"p/{seed.id}" in proxied) == (not ended, not ended)
            assert (home[seed.id].dated, elsewhere[seed.id].dated) == (True, False)


def test_what_has_ended_is_told_and_not_sold(tmp_path):
    """A ledger knows the rows that ended at their provider's own address, under the names that nothing else has."""
    mixed = settings(tmp_path, pool("home"), pool("else", more='base_url = "http://up/v1"\n'))
    live = by_id(mixed)
    ended = {model.id: model for model in retired(mixed, live, TODAY)}
    assert not ended.keys() & live.keys()
    assert ended
    assert {model.pool for model in ended.values()} == {"home"}
    assert all(model.dated and model.lifecycle is Lifecycle.RETIRED for model in ended.values())
    assert all(  # the bare ids are of the other, but for those that it cannot be asked for
        model.id == f"home/{model.upstream}" or rows("openai")[model.upstream].mode == ("responses",)
        for model in ended.values()
    )
    assert {model.id for model in priced(mixed, TODAY)} == ended.keys() | live.keys()
    alone = settings(tmp_path, pool("home"))
    assert {model.upstream for model in retired(alone, by_id(alone), TODAY)} == {
        model.upstream for model in ended.values()
    }


def test_models_that_speak_responses(tmp_path):
    """OpenAI's own do, but for those made for chat; elsewhere a pool says so. What speaks nothing else is sold there."""
    elsewhere = 'base_url = "http://127.0.0.1:9/v1"\n'
    says_so = pool("c", more=elsewhere).replace("provider", "responses = true\nprovider", 1)
    found = by_id(settings(tmp_path, pool("a"), pool("b", more=elsewhere), says_so, pool("d", "anthropic")))
    for name in ("a", "c"):
        assert found[f"{name}/gpt-4o"].capabilities.responses
        assert not found[f"{name}/gpt-audio-1.5"].capabilities.responses
        alone = found[f"{name}/gpt-5-pro"].capabilities
        assert (alone.responses, alone.chat, alone.completions) == (True, False, False)
    assert not found["b/gpt-4o"].capabilities.responses
    assert "b/gpt-5-pro" not in found
    assert not any(model.capabilities.responses for model in found.values() if model.pool == "d")
    assert sold_by(settings(tmp_path, says_so), load_pool(settings(tmp_path, says_so)), TODAY)[
        "gpt-4o"
    ].capabilities.responses


def load_pool(found: Settings):
    """The only pool."""
    (only,) = found.pools
    return only
