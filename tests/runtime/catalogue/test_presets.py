"""Every preset, whoever adds it: its row holds together, and its credentials go nowhere else."""

import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from hatchling.builders.wheel import WheelBuilder
from msgspec import structs

from runtime.catalogue.models import rows
from runtime.catalogue.presets import CREDENTIALS, GOOGLE, PLACES, Preset, presets, read_presets
from runtime.catalogue.quirks import OPENAI_ONLY
from runtime.settings.settings import (
    AccountSettings,
    PoolSettings,
    Settings,
    SettingsError,
    encode,
    load,
    redacted,
)
from schemas.bus.subjects import Role, is_token
from schemas.catalogue.builtin import BUILTIN
from schemas.catalogue.families import BEDROCK, FAMILIES, SANDBOX
from schemas.catalogue.profiles import COMPATIBLE_PROFILE, PROFILES, profiled
from workers.providers import _FAMILIES, UnknownProviderError, family

ROOT = Path(__file__).resolve().parents[3]
VARIABLE = re.compile(r"[A-Z][A-Z0-9_]+")
ROW = """
[acme]
family = "openai"
base_url = "https://api.acme.test/v1"
env = { api_key = "ACME_API_KEY" }
profile = "openai"
"""
COMPATIBLE_ROW = 'profile = "compatible"\n[acme.quirks]\n'
every_preset = pytest.mark.parametrize("preset", presets().values(), ids=list(presets()))


def variables(preset: Preset) -> dict[str, str]:
    """An environment in which a vendor's credentials are set, each to a value that names it."""
    names = (*preset.env.values(), *(name for place in preset.places for name in preset.place_env(place)))
    return {name: f"canary-{name.lower().replace('_', '-')}" for name in names}


def named(preset: Preset) -> set[str]:
    """Every variable that a row names."""
    places = [name for place in PLACES for name in preset.place_env(place)]
    return {*preset.env.values(), *preset.signs, *places}


def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]) -> Settings:
    """Settings without a file."""
    monkeypatch.chdir(tmp_path)
    return load(None, credentials=True, environment=environment)


def test_the_order_is_the_files():
    """Pools of the environment keep the file's order: the vendors of built-in models as ever, the sandbox last of all."""
    names = list(presets())
    of_built_in = list(dict.fromkeys(model.provider for model in BUILTIN))
    assert [name for name in names if name in of_built_in] == of_built_in
    assert names[-1] == SANDBOX


def test_families_are_the_workers():
    """The names that a row may say are those that the workers have code for, in one order."""
    assert tuple(_FAMILIES) == FAMILIES
    with pytest.raises(UnknownProviderError):
        family("nobody")


@every_preset
def test_a_row_holds_together(preset):
    """A name that subjects and keys can carry, code that speaks with it, a known profile, a whole address."""
    assert is_token(preset.name)
    assert preset.family in FAMILIES
    family(preset.family)
    assert preset.profile in PROFILES
    assert profiled(preset.profile, "nobody-has-this").image_tokens_max == 0
    address = urlsplit(preset.address("eu-west-1"))
    local = address.hostname == "127.0.0.1"
    assert address.scheme == ("http" if local else "https") or preset.family == SANDBOX
    assert bool(address.hostname) is (preset.family != SANDBOX)
    signs_itself = preset.name == BEDROCK or preset.auth == GOOGLE
    assert preset.needs_key is (not local and preset.family != SANDBOX) or signs_itself
    assert not (address.query)
    assert not (address.fragment)
    assert not (address.path.endswith("/"))
    assert "{" not in preset.address("eu-west-1")


@every_preset
def test_variables_are_a_rows_own(preset):
    """Names of variables are well formed, and no two vendors share one: a key reaches nobody else's address."""
    own = named(preset)
    assert all(VARIABLE.fullmatch(name) for name in own)
    assert len(set(preset.env.values())) == len(preset.env)
    others = [other for other in presets().values() if other.name != preset.name]
    assert not own & {name for one in others for name in named(one)}
    assert set(preset.env) <= set(CREDENTIALS)
    assert bool(preset.region_env) is preset.needs_region
    assert [place for place in PLACES if preset.place_env(place)] == list(preset.places)


@every_preset
def test_a_price_source_has_prices(preset):
    """Where a row names its prices, the catalogue has some; no vendor's models are in the catalogue and unsold."""
    assert bool(rows(preset.price_source)) == bool(preset.price_source)
    assert preset.price_source or not rows(preset.name)


@every_preset
def test_only_compatible_vendors_have_quirks(preset):
    """They are of OpenAI's family, name their limit, and leave out what only OpenAI knows; nobody else has any."""
    assert (preset.quirks is not None) == (preset.profile == COMPATIBLE_PROFILE)
    if preset.quirks is None:
        return
    assert preset.family == "openai"
    assert preset.limit_field in ("max_tokens", "max_completion_tokens")
    assert set(OPENAI_ONLY) <= set(preset.quirks.drop)
    assert not {"model", "messages", "stream", "tools", "max_tokens"} & set(preset.quirks.drop)


@every_preset
def test_its_variables_make_exactly_its_pool(tmp_path, monkeypatch, preset):
    """A vendor's variables alone give its pool, at its address, with its own credentials, beside the sandbox."""
    environment = variables(preset)
    pools = settings(tmp_path, monkeypatch, environment).pools
    made = preset.signs or preset.family == SANDBOX
    assert [pool.name for pool in pools] == [*dict.fromkeys((*((preset.name,) if made else ()), "sandbox"))]
    if not made:
        return
    pool = pools[0]
    places_env = [preset.place_env(place)[0] for place in preset.places]
    assert pool.made_by == (*preset.signs[:1], *places_env)
    assert (pool.provider, pool.family) == (preset.name, preset.family)
    (account,) = pool.accounts
    places = {place: environment[preset.place_env(place)[0]] for place in preset.places}
    assert account.base_url == preset.address(**places)
    assert {place: getattr(account, place) for place in places} == places
    assert {key: getattr(account, key) for key in preset.env} == {
        key: environment[name] for key, name in preset.env.items()
    }


@every_preset
def test_its_secrets_reach_workers_only(tmp_path, monkeypatch, preset):
    """What a service without credentials is handed has none of the values of a vendor's variables."""
    environment = variables(preset)
    found = settings(tmp_path, monkeypatch, environment)
    for handed in (
        encode(redacted(found, (Role.EDGE,), credentials=False, pepper=False)),
        encode(load(None, credentials=False, environment=environment)),
    ):
        assert [name for name in preset.env.values() if environment[name].encode() in handed] == []


def test_a_credential_of_many_uses_makes_no_pool(tmp_path, monkeypatch):
    """HF_TOKEN is set for many tools; a file that names it makes the pool."""
    token = {"HF_TOKEN": "hf_canary"}
    assert [pool.name for pool in settings(tmp_path, monkeypatch, token).pools] == [SANDBOX]
    path = tmp_path / "own.toml"
    path.write_text(
        '[pools.hf]\nprovider = "huggingface"\n[[pools.hf.accounts]]\nid = "a"\napi_key = "env:HF_TOKEN"\n'
    )
    (pool,) = load(path, credentials=True, environment=token).pools
    assert (pool.accounts[0].api_key, pool.made_by) == ("hf_canary", ())


def test_every_credential_of_an_account_can_be_redacted():
    """CREDENTIALS are fields of an account, so that blanking them blanks whatever a row can name."""
    assert set(CREDENTIALS) <= {field.name for field in structs.fields(AccountSettings)}


def test_built_in_models_are_of_presets():
    """Each built-in model's vendor is a preset, and its family that preset's."""
    assert all(model.family == presets()[model.provider].family for model in BUILTIN)


def test_a_pool_and_a_model_of_an_older_version_have_their_providers_family():
    """Where no family is said, the provider's name is one: so it was before presets."""
    assert PoolSettings(name="p", provider="openai").family == "openai"
    assert structs.replace(BUILTIN[0], family="", provider="anthropic").family == "anthropic"


def test_the_wheel_has_the_rows():
    """The data file is packaged beside its reader, and the image copies the whole folder."""
    packed = {file.distribution_path for file in WheelBuilder(str(ROOT)).recurse_included_files()}
    data = {
        f"runtime/catalogue/{name}" for name in ("presets.py", "presets.toml", "models.json", "as_of.txt")
    }
    assert data <= packed
    assert not any(path.startswith("tools/") for path in packed)
    assert "COPY runtime /opt/tokn/src/runtime\n" in (ROOT / "Dockerfile").read_text()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("[acme]", "[acme"), ["is not TOML"]),
        (("[acme]", "['a.b']"), ["a.b", "letters"]),
        (('family = "openai"\n', ""), ["[acme] family", "is needed"]),
        (('family = "openai"', 'family = "telex"'), ["[acme] family", "telex", "openai"]),
        (('profile = "openai"', 'profile = "wise"'), ["[acme] profile", "wise", "sandbox"]),
        (('profile = "openai"', "profile = 3"), ["[acme] profile", "must be text"]),
        (("https://api", "ftp://api"), ["[acme] base_url", "https://"]),
        (('base_url = "https://api', '# "https://api'), ["[acme] base_url", "is needed"]),
        (("https://api", "https://{account}.api"), ["[acme] base_url", "placeholder"]),
        (("ACME_API_KEY", "acme key"), ["[acme.env] api_key", "acme key"]),
        (("api_key =", "password ="), ["[acme.env] password", "api_key"]),
        (("env =", 'global_url = "//x"\nenv ='), ["[acme] global_url", "https://"]),
        (("env =", 'auth = "basic"\nenv ='), ["[acme] auth", "'basic'", "api-key"]),
        (("env =", "regional_factor = 'much'\nenv ="), ["[acme] regional_factor"]),
        (("env =", 'fields = "all"\nenv ='), ["[acme] fields", "'all'", "compatible"]),
        (("env =", 'more_fields = ["documents"]\nenv ='), ["[acme] more_fields", "'documents'"]),
        (("env =", "colour = 1\nenv ="), ["[acme] colour", "unknown key"]),
        (("env =", "lists = 'some'\nenv ="), ["[acme] lists", "some", "itself"]),
        (("env =", "signs = ['a']\nenv ="), ["[acme] signs", "'a'"]),
        (("[acme]", "acme = 1\n[other]"), ["acme", "must be a table"]),
        (("env =", "chain = ['aws']\nenv ="), ["[acme] chain", "'aws'"]),
        (('profile = "openai"\n', COMPATIBLE_ROW + "colour = 1\n"), ["[acme.quirks] colour", "unknown key"]),
        (('profile = "openai"\n', COMPATIBLE_ROW + "drop = 1\n"), ["[acme.quirks] drop", "must be a list"]),
        (('profile = "openai"\n', COMPATIBLE_ROW + "call_id_chars = 65\n"), ["call_id_chars", "64"]),
        (('profile = "openai"\n', COMPATIBLE_ROW + "unsaid = { n = [1] }\n"), ["[acme.quirks.unsaid] n"]),
        (('profile = "openai"\n', COMPATIBLE_ROW + "rename = { n = 1 }\n"), ["[acme.quirks.rename] n"]),
        (
            ('profile = "openai"\n', 'profile = "openai"\n[acme.quirks]\ndrop = []'),
            ["[acme.quirks]", "unknown"],
        ),
    ],
)
def test_a_damaged_file_is_one_line_that_says_where(tmp_path, change, words):
    """Whatever is wrong with a row, the start ends with one line: the file, the row, the key and why."""
    path = tmp_path / "presets.toml"
    path.write_text(ROW)
    assert read_presets(path)["acme"].signs == ("ACME_API_KEY",)
    assert ROW.count(change[0]) == 1
    path.write_text(ROW.replace(*change))
    with pytest.raises(SettingsError) as caught:
        read_presets(path)
    line = str(caught.value)
    assert "\n" not in line
    for word in [str(path), *words]:
        assert word in line, line


def test_a_missing_file_is_a_settings_error(tmp_path):
    """An installation without its data says so."""
    with pytest.raises(SettingsError, match=r"presets\.toml: cannot be read"):
        read_presets(tmp_path / "presets.toml")
