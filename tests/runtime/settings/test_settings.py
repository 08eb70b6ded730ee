from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from runtime.settings.settings import (
    AccountSettings,
    NatsSettings,
    Settings,
    SettingsError,
    decode,
    encode,
    load,
    redacted,
)
from schemas.bus.subjects import Role
from schemas.catalogue.builtin import BUILTIN
from schemas.catalogue.model import Lifecycle
from schemas.money.pricing import check_price

OPENAI = """
[pools.openai]
provider = "openai"
[[pools.openai.accounts]]
id = "main"
api_key = "env:OPENAI_API_KEY"
"""
ROW = """
[[models]]
id = "gpt-9"
pool = "openai"
context = 1000
max_output = 100
"""
KEYS = {"OPENAI_API_KEY": "sk-canary"}


def read(tmp_path: Path, text: str, *, credentials: bool = True, **environment: str) -> Settings:
    """Settings of a file with some text."""
    path = tmp_path / "tokn.toml"
    path.write_text(text)
    return load(path, credentials=credentials, environment=environment)


def model(settings: Settings, model_id: str):
    """One model of the catalogue."""
    (only,) = [model for model in settings.models if model.id == model_id]
    return only


def test_nothing_configured_gives_the_sandbox(tmp_path, monkeypatch):
    """Without a file and without credentials there is the sandbox pool, and every built-in model has its row."""
    monkeypatch.chdir(tmp_path)
    settings = load(None, credentials=True, environment={})
    assert [(pool.name, pool.provider) for pool in settings.pools] == [("sandbox", "sandbox")]
    assert {model.id for model in settings.models} == {model.id for model in BUILTIN}
    assert settings.rate == Decimal("0.60")
    assert settings.nats == NatsSettings()
    assert settings.source == "the environment"


def test_usual_variables_make_pools(tmp_path, monkeypatch):
    """Each provider whose usual variables are set gets a pool beside the sandbox."""
    monkeypatch.chdir(tmp_path)
    environment = {
        "OPENAI_API_KEY": "sk-1",
        "ANTHROPIC_API_KEY": "sk-2",
        "GEMINI_API_KEY": "g-3",
        "AWS_ACCESS_KEY_ID": "AKIA",
        "AWS_SECRET_ACCESS_KEY": "s",
        "AWS_REGION": "us-west-2",
    }
    pools = {
        pool.name: pool.accounts[0] for pool in load(None, credentials=True, environment=environment).pools
    }
    assert list(pools) == ["openai", "anthropic", "gemini", "bedrock", "sandbox"]
    assert pools["openai"].api_key == "sk-1"
    assert pools["openai"].base_url == "https://api.openai.com/v1"
    assert pools["gemini"].base_url == "https://generativelanguage.googleapis.com"
    assert pools["bedrock"].base_url == "https://bedrock-runtime.us-west-2.amazonaws.com"
    assert (pools["bedrock"].access_key_id, pools["bedrock"].secret_access_key) == ("AKIA", "s")


def test_file_in_the_working_folder_is_found(tmp_path, monkeypatch):
    """./tokn.toml is read when no file is named."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tokn.toml").write_text("[pricing]\nrate = 0.5\n")
    assert load(None, credentials=True, environment={}).rate == Decimal("0.5")


def test_a_files_pools_replace_the_environments(tmp_path):
    """A file with pools has those pools only; without [pools] the environment's stay."""
    settings = read(tmp_path, OPENAI, ANTHROPIC_API_KEY="sk-2", **KEYS)
    assert [pool.name for pool in settings.pools] == ["openai"]
    assert settings.pools[0].accounts[0].api_key == "sk-canary"
    settings = read(tmp_path, "[pricing]\nrate = 1\n", ANTHROPIC_API_KEY="sk-2")
    assert [pool.name for pool in settings.pools] == ["anthropic", "sandbox"]


def test_whole_file(tmp_path):
    """Every part of the documented file is read, decimals exactly."""
    (tmp_path / "nats.txt").write_text("# roles\nedge e-secret\n\nledger l-secret\n")
    settings = read(
        tmp_path,
        """
[nats]
url = "nats://a:4222,nats://b:4222"
credentials = "file:nats.txt"
[ledger]
database_url = "env:DATABASE_URL"
pepper = "env:TOKN_PEPPER"
[pricing]
rate = 0.6
[edge]
host = "0.0.0.0"
port = 80
[metrics]
host = "0.0.0.0"
port = 9100
[pools.openai]
provider = "openai"
rate = 0.55
[[pools.openai.accounts]]
id = "main"
api_key = "env:OPENAI_API_KEY"
base_url = "http://127.0.0.1:9/v1/"
credit_usd = 5000.000000001
max_inflight = 12
organization = "org"
project = "proj"
[pools.titan]
provider = "bedrock"
[[pools.titan.accounts]]
id = "a"
region = "eu-west-1"
profile = "prod"
[pools.play]
provider = "sandbox"
words_per_s = 0
[[models]]
id = "gpt-4o"
pool = "openai"
upstream = "gpt-4o"
input = 2.50
cached_input = 1.25
output = 10.00
context = 128000
max_output = 16384
rate = 0.123456789
""",
        DATABASE_URL="postgresql+asyncpg://x",
        TOKN_PEPPER="pepper",
        NEXT_PUBLIC_CREDEX_API_URL="https://api.example/",
        **KEYS,
    )
    assert settings.nats.url == "nats://a:4222,nats://b:4222"
    assert settings.nats.passwords == {"edge": "e-secret", "ledger": "l-secret"}
    assert (settings.database_url, settings.pepper) == ("postgresql+asyncpg://x", "pepper")
    assert (settings.host, settings.port, settings.metrics_host, settings.metrics_port) == (
        "0.0.0.0",
        80,
        "0.0.0.0",
        9100,
    )
    assert settings.public_url == "https://api.example"
    openai, titan, play = settings.pools
    assert openai.accounts[0] == AccountSettings(
        id="main",
        api_key="sk-canary",
        base_url="http://127.0.0.1:9/v1",
        credit_nano=5_000_000_000_001,
        max_inflight=12,
        organization="org",
        project="proj",
    )
    assert titan.accounts[0].base_url == "https://bedrock-runtime.eu-west-1.amazonaws.com"
    assert play.words_per_s == 0
    row = model(settings, "gpt-4o")
    assert row.rate == Decimal("0.123456789")
    assert row.prices[0].tiers[0].cached == Decimal("1.25")
    assert row.prices[0].id == "file:gpt-4o"
    assert model(settings, "gpt-4o-mini").rate == Decimal("0.55")
    assert model(settings, "claude-3-haiku-20240307").rate == Decimal("0.6")
    assert decode(encode(settings)) == settings


def test_row_takes_what_it_leaves_out_from_the_row_it_replaces(tmp_path):
    """A row that only changes a price keeps window, lifecycle and capabilities of the built-in row."""
    row = '[[models]]\nid = "gpt-4o"\ninput = 3\noutput = 11\n[models.capabilities]\nn_max = 4\n'
    changed = model(read(tmp_path, OPENAI + row, **KEYS), "gpt-4o")
    builtin = next(model for model in BUILTIN if model.id == "gpt-4o")
    assert (changed.context, changed.max_output) == (builtin.context, builtin.max_output)
    assert (changed.lifecycle, changed.successor) == (builtin.lifecycle, builtin.successor)
    assert changed.capabilities == structs.replace(builtin.capabilities, n_max=4)
    assert changed.prices[0].tiers[0].input == Decimal(3)


def test_alias_to_another_upstream_has_neither_price_nor_lifecycle_of_the_old_one(tmp_path):
    """A retired id routed to a successor costs the successor's price and is no longer retired."""
    row = '[[models]]\nid = "gpt-4-turbo"\nupstream = "gpt-5.6-sol"\ncontext = 400000\nmax_output = 128000\n'
    changed = model(read(tmp_path, OPENAI + row, **KEYS), "gpt-4-turbo")
    assert changed.prices == ()
    assert changed.lifecycle is Lifecycle.ACTIVE
    assert changed.successor is None


@pytest.mark.parametrize(
    ("row", "needs"),
    [
        ('id = "gpt-4o"\n', False),
        ('id = "gpt-4o"\nmax_output = 16384\n', False),
        ('id = "gpt-4o"\nmax_output = 100\n', True),
        ('id = "short"\nupstream = "gpt-4o"\ncontext = 128000\nmax_output = 100\n', True),
        ('id = "same"\nupstream = "gpt-4o"\ncontext = 128000\nmax_output = 16384\n', False),
        ('id = "gpt-9"\ncontext = 1000\nmax_output = 100\n', True),
        ('id = "gpt-9"\ncontext = 1000\nmax_output = 1000\n', False),
        ('id = "gpt-9"\ncontext = 1000\nmax_output = 100\ncapabilities = { needs_limit = false }\n', False),
    ],
)
def test_an_upstream_that_may_not_stop_at_the_rows_maximum_needs_a_limit(tmp_path, row, needs):
    """It is known to stop at its own maximum, and at its context's end; else only a limit stops it, unless its row says so."""
    settings = read(tmp_path, f'{OPENAI}[[models]]\npool = "openai"\n{row}', **KEYS)
    assert model(settings, row.split('"')[1]).capabilities.needs_limit is needs


def test_a_built_in_model_at_another_server_needs_a_limit(tmp_path):
    """What a vendor enforces at its own address, a server that only bears the model's name may not."""
    elsewhere = OPENAI.replace("api_key", 'base_url = "http://127.0.0.1:9/v1"\napi_key', 1)
    assert model(read(tmp_path, elsewhere, **KEYS), "gpt-4o").capabilities.needs_limit
    row = '[[models]]\nid = "mine"\npool = "openai"\nupstream = "gpt-4o"\ncontext = 128000\nmax_output = 16384\n'
    assert model(read(tmp_path, elsewhere + row, **KEYS), "mine").capabilities.needs_limit
    assert not model(read(tmp_path, OPENAI + row, **KEYS), "mine").capabilities.needs_limit


@pytest.mark.parametrize(
    ("address", "limit_field", "name"),
    [
        ("", "", "max_completion_tokens"),
        ('base_url = "https://api.openai.com/v1/"\n', "", "max_completion_tokens"),
        ('base_url = "https://models.example/v1"\n', "", "max_tokens"),
        ('base_url = "https://models.example/v1"\n', 'limit_field = "most"\n', "most"),
    ],
)
def test_the_limits_name_follows_the_address(tmp_path, address, limit_field, name):
    """OpenAI's newer models refuse the old name, other servers may know no other; the row's own word counts most."""
    row = model(read(tmp_path, OPENAI + address + ROW + limit_field, **KEYS), "gpt-9")
    assert row.capabilities.limit_field == name


def test_new_row_without_prices_is_left_to_the_price_library(tmp_path):
    """A new row is its own upstream, has its profile's capabilities but pictures, and no price until the ledger finds one."""
    row = model(read(tmp_path, OPENAI + ROW, **KEYS), "gpt-9")
    assert (row.upstream, row.provider, row.prices) == ("gpt-9", "openai", ())
    assert (row.capabilities.n_max, row.capabilities.logprobs, row.capabilities.json_schema) == (
        128,
        False,
        True,
    )
    assert not row.capabilities.images


def test_dated_tiered_prices(tmp_path):
    """A row may have a price a date, each with tiers and uplifts."""
    prices = """
[[models.prices]]
input = 1
output = 2.5
[[models.prices]]
effective = 2027-01-01
uplifts = { flex = 0.5, eu = 1.1 }
request = 0.01
[[models.prices.tiers]]
input = 1.5
output = 3
[[models.prices.tiers]]
above = 200000
input = 3
cached_input = 0.3
output = 6
"""
    row = model(read(tmp_path, OPENAI + ROW + prices, **KEYS), "gpt-9")
    first, second = row.prices
    assert first.effective == date(1970, 1, 1)
    assert first.tiers[0].output == Decimal("2.5")
    assert second.effective == date(2027, 1, 1)
    assert second.uplifts == {"flex": Decimal("0.5"), "eu": Decimal("1.1")}
    assert [tier.above for tier in second.tiers] == [0, 200_000]
    assert second.tiers[1].cached == Decimal("0.3")
    assert all(check_price(price) is None for price in row.prices)


def test_service_tiers_have_prices_of_their_own(tmp_path):
    """A tier is flat or has tiers; the long cache has a name, and an older one that stays valid."""
    prices = """
[[models.prices]]
input = 2
output = 10
cache_write_1h = 4
cached_audio = 0.5
[models.prices.services]
flex = { input = 1, cached_input = 0.2, output = 5, cache_write_long = 2 }
[[models.prices.services.priority.tiers]]
input = 4
output = 20
[[models.prices.services.priority.tiers]]
above = 272000
input = 8
output = 40
"""
    (price,) = model(read(tmp_path, OPENAI + ROW + prices, **KEYS), "gpt-9").prices
    assert (price.tiers[0].cache_write_long, price.tiers[0].cached_audio) == (4, Decimal("0.5"))
    (flex,) = price.services["flex"]
    assert (flex.input, flex.cached, flex.cache_write_long) == (1, Decimal("0.2"), 2)
    assert [(tier.above, tier.input) for tier in price.services["priority"]] == [(0, 4), (272_000, 8)]


@pytest.mark.parametrize(
    ("prices", "words"),
    [
        ("services = { flex = { input = 1 } }", ["services.flex", "output", "is needed"]),
        ("services = { flex = { input = 1, output = 2, colour = 3 } }", ["services.flex", "colour"]),
        ("services = { flex = 0.5 }", ["services", "flex", "must be a table"]),
        ("services = { flex = { input = 1, output = 2 } }\nuplifts = { flex = 0.5 }", ["'flex'", "a factor"]),
        ("cache_write_1h = 1\ncache_write_long = 1", ["cache_write_1h", "older name"]),
    ],
)
def test_service_tiers_that_make_no_sense(tmp_path, prices, words):
    """One line names the table and the key."""
    text = f"{OPENAI}{ROW}[[models.prices]]\ninput = 1\noutput = 2\n{prices}\n"
    with pytest.raises(SettingsError) as refused:
        read(tmp_path, text, **KEYS)
    assert all(word in str(refused.value) for word in words), refused.value


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[pools.openai\n", ["is not TOML"]),
        ("a = " + "[" * 5_000, ["is not TOML"]),
        ("[nonsense]\na = 1\n", ["[nonsense]", "unknown table"]),
        ("[[nonsense]]\na = 1\n", ["[nonsense]", "unknown table"]),
        ("oops = 1\n", ["oops", "unknown key"]),
        ("nats = 3\n", ["nats", "must be a table"]),
        ("[nats]\nulr = 'x'\n", ["[nats] ulr", "unknown key"]),
        ("[nats]\nurl = 3\n", ["[nats] url", "must be text"]),
        ("[nats]\nurl = 'x'\ncredentials = 'nobody x'\n", ["[nats] credentials", "roles are"]),
        *(
            (f"[nats]\nurl = 'x'\ncredentials = '{user} x'\n", ["[nats] credentials", "roles are"])
            for user in ("edge.openai", "worker.", "worker.a.b", "worker.*", ".openai", "")
        ),
        ("[nats]\ncredentials = 'edge x'\n", ["[nats] credentials", "without a url"]),
        ("[nats]\nreplicas = 3\n", ["[nats] replicas", "needs a url"]),
        ("[nats]\nurl = 'x'\nreplicas = 6\n", ["[nats] replicas", "from 1 to 5"]),
        ("[nats]\nurl = 'x'\ntls = { ca = '/no/such' }\n", ["[nats.tls] ca", "/no/such"]),
        ("[ledger]\npepper = 'file:no-such'\n", ["[ledger] pepper", "no-such"]),
        ("[ledger]\npepper = ['new', 'file:no-such']\n", ["[ledger] pepper", "no-such"]),
        ("[ledger]\npepper = ['new', 7]\n", ["[ledger] pepper", "list of texts"]),
        ("[ledger]\npepper = ['new', 'old', 'new']\n", ["[ledger] pepper", "each once"]),
        ("[ledger]\npepper = ['a', 'b', 'c', 'd', 'e']\n", ["[ledger] pepper", "at most 4"]),
        ("[reload]\ngeneration = 0\n", ["[reload] generation", "from 1"]),
        ("[ledger]\ndatabase_url = 'env:NOT_SET'\n", ["[ledger] database_url", "NOT_SET"]),
        ("[pricing]\nrate = 'much'\n", ["[pricing] rate", "must be a number"]),
        ("[pricing]\nrate = true\n", ["[pricing] rate", "must be a number"]),
        ("[pricing]\nrate = nan\n", ["[pricing] rate"]),
        ("[pricing]\nrate = inf\n", ["[pricing] rate"]),
        ("[pricing]\nrate = -0.1\n", ["[pricing] rate"]),
        ("[pricing]\nrate = 1e-40\n", ["[pricing] rate", "digits"]),
        ("[edge]\nport = 70000\n", ["[edge] port", "65535"]),
        ("[pools.'a.b']\nprovider = 'sandbox'\n", ["[pools] a.b", "letters"]),
        ("[pools.'*']\nprovider = 'sandbox'\n", ["[pools] *", "letters"]),
        ("[pools.a]\n", ["[pools.a] provider", "is needed"]),
        ("[pools.a]\nprovider = 'nobody'\n", ["[pools.a] provider", "nobody", "sandbox"]),
        ("[pools.a]\nprovider = 'openai'\n", ["[pools.a] accounts", "at least one"]),
        ("[pools.a]\nprovider = 'openai'\naccounts = [1]\n", ["[pools.a] accounts", "list of tables"]),
        (
            "[pools.a]\nprovider = 'openai'\n[[pools.a.accounts]]\nid = 'm'\n",
            ["[[pools.a.accounts]] api_key", "is needed"],
        ),
        (
            "[pools.a]\nprovider = 'openai'\n[[pools.a.accounts]]\nid = 'm'\napi_key = 'env:NOT_SET'\n",
            ["[[pools.a.accounts]] api_key", "NOT_SET"],
        ),
        (
            "[pools.a]\nprovider = 'openai'\n[[pools.a.accounts]]\nid = 'm'\napi_key = 'x'\nbase_url = 'ftp://x'\n",
            ["[[pools.a.accounts]] base_url"],
        ),
        (
            "[pools.a]\nprovider = 'bedrock'\n[[pools.a.accounts]]\nid = 'm'\n",
            ["[[pools.a.accounts]] region", "is needed"],
        ),
        (
            "[pools.a]\nprovider = 'sandbox'\n[[pools.a.accounts]]\nid = 'm'\n[[pools.a.accounts]]\nid = 'm'\n",
            ["[[pools.a.accounts]] id", "'m'"],
        ),
        (
            "[pools.a]\nprovider = 'sandbox'\n[[pools.a.accounts]]\nid = 'm'\ncredit_usd = 0.0000000001\n",
            ["[[pools.a.accounts]] credit_usd", "nine decimals"],
        ),
        (
            "[pools.a]\nprovider = 'sandbox'\n[[pools.a.accounts]]\nid = 'm'\nmax_inflight = 0\n",
            ["[[pools.a.accounts]] max_inflight"],
        ),
        (
            "[pools.a]\nprovider = 'sandbox'\nextra_fields = ['x', 'Max_Tokens']\n",
            ["[pools.a] extra_fields", "'Max_Tokens'"],
        ),
        (
            "[pools.a]\nprovider = 'sandbox'\nextra_fields = ['chatTemplateKwargs']\n",
            ["[pools.a] extra_fields", "price"],
        ),
        (
            f"[pools.a]\nprovider = 'sandbox'\nextra_fields = {[str(n) for n in range(65)]}\n",
            ["[pools.a] extra_fields", "65", "64"],
        ),
        ("[pools.a]\nprovider = 'sandbox'\nextra_fields = 'x'\n", ["[pools.a] extra_fields"]),
        (OPENAI + ROW.replace("openai", "nowhere"), ["[[models]] pool", "nowhere", "openai"]),
        (OPENAI + ROW.replace("context = 1000\n", ""), ["[[models]] context", "gpt-9"]),
        (OPENAI + ROW.replace("max_output = 100\n", ""), ["[[models]] max_output", "gpt-9"]),
        (OPENAI + ROW + ROW, ["[[models]] id", "two rows"]),
        (OPENAI + ROW + "input = 1.0\n", ["[[models]] output", "is needed"]),
        (OPENAI + ROW + "output = '1'\ninput = 1.0\n", ["[[models]] output", "number"]),
        (OPENAI + ROW + "colour = 1\n", ["[[models]] colour", "unknown key"]),
        (OPENAI + ROW + "lifecycle = 'old'\n", ["[[models]] lifecycle", "retired"]),
        (OPENAI + ROW + "[models.capabilities]\nwings = true\n", ["[models.capabilities] wings"]),
        (OPENAI + ROW + "[models.capabilities]\ntools = 1\n", ["[models.capabilities] tools"]),
        (
            OPENAI + ROW + "[[models.prices]]\ninput = 1\noutput = 1\nabove = 5\n",
            ["[[models.prices]]", "start at 0"],
        ),
        (OPENAI + ROW + "[[models.prices]]\neffective = 1\ninput = 1\noutput = 1\n", ["effective", "a date"]),
        (
            OPENAI
            + ROW
            + "[[models.prices]]\ninput = 1\noutput = 1\n[[models.prices]]\ninput = 2\noutput = 2\n",
            ["[[models]] prices", "one date"],
        ),
        (OPENAI + '[[models]]\npool = "openai"\n', ["[[models]] id", "is needed"]),
    ],
)
def test_broken_file_is_one_line_that_says_where(tmp_path, text, words):
    """Whatever is wrong, the error is one line with the file, the table, the key and why."""
    with pytest.raises(SettingsError) as caught:
        read(tmp_path, text, **KEYS)
    line = str(caught.value)
    assert "\n" not in line
    for word in [str(tmp_path / "tokn.toml"), *words]:
        assert word in line, line


def test_missing_or_unreadable_file_is_a_settings_error(tmp_path):
    """A file that is not there, is a folder or is not text is one clear line."""
    (tmp_path / "latin").write_bytes(b"a = '\xff'")
    for path in (tmp_path / "none.toml", tmp_path, tmp_path / "latin"):
        with pytest.raises(SettingsError, match=path.name):
            load(path, credentials=True, environment={})


def test_secrets_in_a_file_lie_beside_it(tmp_path):
    """file:PATH is read from the configuration's own folder, without the line's end."""
    (tmp_path / "key").write_text("sk-from-file\n")
    settings = read(tmp_path, OPENAI.replace("env:OPENAI_API_KEY", "file:key"))
    assert settings.pools[0].accounts[0].api_key == "sk-from-file"


def test_without_credentials_upstream_secrets_are_not_read(tmp_path, monkeypatch):
    """A service that is no worker starts without the upstream's variables, and holds none of the values."""
    assert read(tmp_path, OPENAI, credentials=False).pools[0].accounts[0].api_key == ""
    text = OPENAI.replace("env:OPENAI_API_KEY", "sk-inline-canary")
    assert b"canary" not in encode(read(tmp_path, text, credentials=False))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tokn.toml").unlink()
    environment = {
        "AWS_REGION": "x-1",
        "AWS_ACCESS_KEY_ID": "canary",
        "AWS_SECRET_ACCESS_KEY": "canary",
        **KEYS,
    }
    settings = load(None, credentials=False, environment=environment)
    assert [pool.name for pool in settings.pools] == ["openai", "bedrock", "sandbox"]
    assert b"canary" not in encode(settings)


def test_each_service_gets_only_its_own_secrets(tmp_path):
    """What an edge is handed has neither upstream credentials nor pepper, database or another role's password."""
    settings = structs.replace(
        read(tmp_path, OPENAI, **KEYS),
        nats=NatsSettings(
            url="nats://x",
            passwords={role: f"{role}-canary" for role in (*Role, "worker.openai", "usage.openai")},
        ),
        pepper="pepper-canary",
        database_url="postgresql://user:db-canary@host/x",
    )
    edge = encode(redacted(settings, (Role.EDGE,), credentials=False, pepper=False))
    assert edge.count(b"canary") == 1
    assert b"edge-canary" in edge
    worker = encode(redacted(settings, (Role.WORKER, Role.USAGE), credentials=True, pepper=False))
    assert b"sk-canary" in worker
    assert b"pepper-canary" not in worker
    assert b"ledger-canary" not in worker
    ledger = encode(redacted(settings, (Role.LEDGER,), credentials=False, pepper=True))
    assert b"sk-canary" not in ledger
    assert b"pepper-canary" in ledger


@given(st.decimals(min_value=0, max_value=10, allow_nan=False, allow_infinity=False, places=9))
def test_decimals_are_exact(tmp_path_factory, rate):
    """A rate with any digits is read as written."""
    assert read(tmp_path_factory.mktemp("rate"), f"[pricing]\nrate = {rate:f}\n").rate == rate


@given(st.text(max_size=60))
def test_no_text_breaks_the_reader(tmp_path_factory, text):
    """Any text is settings or a SettingsError, never another failure."""
    try:
        read(tmp_path_factory.mktemp("any"), text.replace("\x00", ""))
    except SettingsError:
        pass
    except UnicodeEncodeError:
        pass  # the test's own write


def test_a_variable_that_is_empty_leaves_its_account_out_of_use(tmp_path):
    """Compose hands every worker every variable: an empty key is an account without one, an unset one is a mistake."""
    path = tmp_path / "tokn.toml"
    path.write_text(
        '[pools.openai]\nprovider = "openai"\n[[pools.openai.accounts]]\nid = "main"\napi_key = "env:OPENAI_API_KEY"\n'
    )
    [account] = load(path, credentials=True, environment={"OPENAI_API_KEY": ""}).pools[0].accounts
    assert account.keyless
    with pytest.raises(SettingsError, match="OPENAI_API_KEY is not set"):
        load(path, credentials=True, environment={})


def test_only_a_ledger_reads_where_the_books_are(tmp_path):
    """An edge or a worker starts on a machine that does not have the database's secrets."""
    path = tmp_path / "tokn.toml"
    path.write_text('[ledger]\ndatabase_url = "file:not-here"\npepper = "env:NOT_SET"\n')
    settings = load(path, credentials=True, books=False, environment={})
    assert (settings.database_url, settings.pepper) == ("", "")
    with pytest.raises(SettingsError, match="database_url"):
        load(path, credentials=True, environment={})


def test_the_wait_for_room_is_the_operators(tmp_path):
    """`[edge] full_wait_s` bounds how long a call waits for a worker with room; nonsense is refused with its place."""
    assert read(tmp_path, "").full_wait_s == 2.0
    assert read(tmp_path, "[edge]\nfull_wait_s = 0\n").full_wait_s == 0.0
    assert read(tmp_path, "[edge]\nfull_wait_s = 7.5\n").full_wait_s == 7.5
    for value in ("61", "-1", '"2"'):
        with pytest.raises(SettingsError, match="full_wait_s"):
            read(tmp_path, f"[edge]\nfull_wait_s = {value}\n")


def test_peppers_are_one_or_a_list(tmp_path: Path) -> None:
    """The first hashes, the others are those of before; each may be in a variable or a file, and only a ledger has them."""
    (tmp_path / "old").write_text("the old one\n")
    path = tmp_path / "tokn.toml"
    path.write_text('[ledger]\npepper = ["env:NEW", "file:old"]\n')
    found = load(path, credentials=False, environment={"NEW": "the new one", "TOKN_PEPPER": "another"})
    assert (found.pepper, found.former_peppers) == ("the new one", ("the old one",))
    assert str(tmp_path / "old") in found.files
    worker = encode(redacted(found, (Role.WORKER,), credentials=True, pepper=False))
    assert b"the old one" not in worker
    assert load(path, credentials=False, books=False, environment={}).former_peppers == ()
