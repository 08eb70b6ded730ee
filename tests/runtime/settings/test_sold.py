"""What a deployment sells: the built-in rows of its pools' presets, under names that every process gives them."""

import subprocess
import sys
import time
from datetime import date
from pathlib import Path

import pytest

from ledger.prices.listed import priced
from runtime.catalogue.models import ids, rows
from runtime.settings.settings import Settings, load
from runtime.settings.sold import sold, sold_by
from schemas.catalogue.builtin import BUILTIN
from schemas.catalogue.model import Lifecycle, Model
from schemas.money.pricing import price_on

TODAY = date(2026, 11, 26)
LOAD_MAX_S = 0.080  # 5 ms are meant for one pool; a busy machine may take its time
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
    assert "text-embedding-3-small" not in found
    assert "claude-opus-4-8" not in found


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


def test_a_worker_reads_its_rows_in_no_time(tmp_path):
    """One pool's models cost a worker milliseconds, with the file read anew."""
    found = settings(tmp_path, pool("openai"), pool("anthropic", "anthropic"), pool("gemini", "gemini"))
    best = 1.0
    for _ in range(5):
        rows.cache_clear()
        ids.cache_clear()
        began = time.process_time()
        sold_by(found, found.pools[0], TODAY)
        best = min(best, time.process_time() - began)
    assert best < LOAD_MAX_S


def test_an_edge_reads_no_rows(tmp_path):
    """Neither what an edge imports nor its settings touch the file of rows."""
    path = tmp_path / "tokn.toml"
    path.write_text(pool("main"))
    code = (
        "import sys, pathlib; import edge.app; from runtime.settings.settings import load;"
        "load(pathlib.Path(sys.argv[1]), credentials=False, environment={});"
        "sys.exit('runtime.catalogue.models' in sys.modules)"
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
