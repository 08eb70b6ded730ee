"""Clouds: addresses by resource, project and region, and deployments that the catalogue has the price and window of."""

import json
from datetime import date
from pathlib import Path

import pytest

from ledger.prices.reach import pool_regions, reach
from runtime.catalogue.models import rows
from runtime.settings.settings import Settings, SettingsError, load
from runtime.settings.sold import sold
from schemas.catalogue.openai import openai_capabilities

AZURE = '[pools.az]\nprovider = "azure"\n[[pools.az.accounts]]\nid = "a"\napi_key = "k"\n'
OURS = 'resource = "our-own"\n'
ROW = '[[models]]\nid = "mine"\npool = "az"\nupstream = "dep"\nbase_model = "{}"\n'


def settings(tmp_path: Path, text: str) -> Settings:
    """The settings of a file."""
    path = tmp_path / "tokn.toml"
    path.write_text(text)
    return load(path, credentials=True, environment={})


def test_an_account_names_its_resource(tmp_path):
    """Its address follows; one with a `base_url` needs none; the credential is shown in Azure's own header."""
    (account,) = settings(tmp_path, AZURE + OURS).pools[0].accounts
    assert account.base_url == "https://our-own.openai.azure.com/openai/v1"
    assert (account.auth, account.api_version) == ("api-key", "")
    elsewhere = (
        'base_url = "https://x.services.ai.azure.com/openai/v1/"\napi_version = "2025-01-01-preview"\n'
    )
    (account,) = settings(tmp_path, AZURE + elsewhere).pools[0].accounts
    assert account.base_url == "https://x.services.ai.azure.com/openai/v1"
    assert account.api_version == "2025-01-01-preview"


@pytest.mark.parametrize("base", ["gpt-5.1", "gpt-6.1-sol", "apac/gpt-6.1-sol", "gpt-5.3-chat-latest"])
def test_a_deployment_has_what_its_base_has(tmp_path, base):
    """Price, window and output limit are the catalogue's, of Azure before OpenAI, capabilities the model's own."""
    row = rows("azure").get(base) or rows("openai")[base]
    (model,) = [one for one in settings(tmp_path, AZURE + OURS + ROW.format(base)).models if one.id == "mine"]
    assert (model.upstream, model.provider, model.family) == ("dep", "azure", "openai")
    assert (model.context, model.max_output) == (row.context, row.max_output)
    assert model.prices == row.priced()
    assert model.capabilities.pictures == openai_capabilities(base.rpartition("/")[2]).pictures
    assert model.capabilities.limit_field == openai_capabilities(base.rpartition("/")[2]).limit_field
    assert model.forwards.base == "openai"


def test_a_row_says_more_than_its_base(tmp_path):
    """What stands in the table goes before the catalogue's."""
    text = ROW.format("gpt-5.1") + "input = 3\noutput = 4\ncontext = 5000\nmax_output = 70\n"
    (model,) = [one for one in settings(tmp_path, AZURE + OURS + text).models if one.id == "mine"]
    assert (model.context, model.max_output, model.prices[0].tiers[0].input) == (5_000, 70, 3)
    assert model.capabilities.needs_limit


def test_a_base_is_for_every_provider(tmp_path):
    """An id of one's own at OpenAI is priced so, too."""
    openai = '[pools.az]\nprovider = "openai"\n[[pools.az.accounts]]\nid = "a"\napi_key = "k"\n'
    (model,) = [one for one in settings(tmp_path, openai + ROW.format("gpt-5.1")).models if one.id == "mine"]
    assert model.prices == rows("openai")["gpt-5.1"].priced()


def test_only_deployments_are_sold(tmp_path):
    """No row of the catalogue is sold at Azure by itself, and none keeps another pool from its own."""
    openai = '[pools.oa]\nprovider = "openai"\n[[pools.oa.accounts]]\nid = "a"\napi_key = "k"\n'
    found = settings(tmp_path, AZURE + OURS + ROW.format("gpt-5.1") + openai)
    models = list(sold(found, date(2026, 11, 26)))
    assert [model.id for model in models if model.pool == "az"] == ["mine"]
    assert next(model for model in models if model.id == "gpt-5.1").pool == "oa"


def test_the_environment_makes_a_pool_with_both_variables(tmp_path, monkeypatch):
    """A key without a resource has no address."""
    monkeypatch.chdir(tmp_path)
    variables = {"AZURE_OPENAI_API_KEY": "k", "AZURE_RESOURCE_NAME": "ours"}
    names = {}
    for left_out in (None, *variables):
        environment = {name: value for name, value in variables.items() if name != left_out}
        names[left_out] = [pool.name for pool in load(None, credentials=True, environment=environment).pools]
    assert names == {None: ["azure", "sandbox"], **{key: ["sandbox"] for key in variables}}


@pytest.mark.parametrize("resource", ["evil.test/x", "a@evil.test", "..", "a b", "x?", "-a", "é", "a#"])
def test_a_resource_leads_nowhere_else(tmp_path, monkeypatch, resource):
    """A value that would change the host or the path is refused, wherever it comes from."""
    with pytest.raises(SettingsError, match="resource"):
        settings(tmp_path, AZURE + f"resource = {json.dumps(resource, ensure_ascii=False)}\n")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tokn.toml").unlink()
    with pytest.raises(SettingsError, match="AZURE_RESOURCE_NAME"):
        load(
            None,
            credentials=False,
            environment={"AZURE_OPENAI_API_KEY": "k", "AZURE_RESOURCE_NAME": resource},
        )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (AZURE, ["[[pools.az.accounts]] resource", "is needed"]),
        (AZURE + OURS + ROW.format("gpt-nobody"), ["[[models]] base_model", "gpt-nobody", "azure or openai"]),
        (AZURE + OURS + ROW.format("text-embedding-3-small"), ["[[models]] base_model", "embeddings"]),
        (AZURE + OURS + 'api_version = "v1&x=1"\n', ["[[pools.az.accounts]] api_version", "2024-10-21"]),
        (
            AZURE.replace('"azure"', '"openai"') + 'api_version = "2024-10-21"\n',
            ["[[pools.az.accounts]] api_version", "unknown key"],
        ),
        (AZURE.replace('"azure"', '"openai"') + OURS, ["[[pools.az.accounts]] resource", "unknown key"]),
    ],
)
def test_a_mistake_is_one_line(tmp_path, text, words):
    """File, key and what is wrong."""
    with pytest.raises(SettingsError) as caught:
        settings(tmp_path, text)
    line = str(caught.value)
    assert "\n" not in line
    for word in words:
        assert word in line, line


VERTEX = '[pools.vx]\nprovider = "vertex"\n[[pools.vx.accounts]]\nid = "a"\ngoogle_credentials = "{}"\n'
HERE = 'project = "ours"\nregion = "{}"\n'


@pytest.mark.parametrize(
    ("region", "host", "uplift"),
    [
        ("europe-west1", "europe-west1-aiplatform.googleapis.com", "regional"),
        ("global", "aiplatform.googleapis.com", ""),
    ],
)
def test_vertex_has_an_address_in_each_region(tmp_path, region, host, uplift):
    """Host, project and location follow from the account; every region but the global one costs more."""
    found = settings(tmp_path, VERTEX + HERE.format(region))
    (account,) = found.pools[0].accounts
    assert account.base_url == f"https://{host}/v1/projects/ours/locations/{region}/endpoints/openapi"
    assert (account.auth, account.uplift) == ("google", uplift)


def test_vertex_sells_gemini_alone(tmp_path):
    """Rows are sold by the name that the endpoint wants, with the factor of regions, a limit and fields it knows."""
    gemini = '[pools.gm]\nprovider = "gemini"\n[[pools.gm.accounts]]\nid = "a"\napi_key = "k"\n'
    models = list(sold(settings(tmp_path, VERTEX + HERE.format("global") + gemini), date(2026, 11, 26)))
    own = {model.id: model for model in models if model.pool == "vx"}
    assert len(own) > 10
    for name, model in own.items():
        row = rows("vertex")[model.upstream.removeprefix("google/")]
        assert row.id.startswith("gemini-")
        assert name in (f"google/{row.id}", f"vx/google/{row.id}")
        assert model.capabilities.limit_field == "max_tokens"
        assert (model.forwards.base, model.forwards.tools) == ("openai", ("function",))
        assert [price.tiers for price in model.prices] == [price.tiers for price in row.priced()]
        assert {str(price.uplifts["regional"]) for price in model.prices} == {"1.1"}
    assert next(model for model in models if model.id == "gemini-2.5-pro").pool == "gm"


def test_a_hold_reckons_with_the_region(tmp_path):
    """Of a pool in a region, where the price has the factor: a row of the operator's own has its price in it."""
    own = '[[models]]\nid = "own"\npool = "vx"\nupstream = "google/x"\ninput = 1\noutput = 1\n'
    own += "context = 9\nmax_output = 9\n"
    for region, names in (("europe-west1", ("regional",)), ("global", ())):
        found = settings(tmp_path, VERTEX + HERE.format(region) + own)
        models = {model.id: model for model in sold(found, date(2026, 11, 26))}
        regions = pool_regions(found.pools)
        listed = models["google/gemini-4-argon"]
        assert reach(listed, listed.prices[0], (), regions) == names
        assert reach(models["own"], models["own"].prices[0], (), regions) == ()


def test_googles_credentials_alone_make_no_pool(tmp_path, monkeypatch):
    """Many machines have that variable for other purposes: project and region say that it is meant."""
    monkeypatch.chdir(tmp_path)
    variables = {
        "GOOGLE_APPLICATION_CREDENTIALS": "/key.json",
        "GOOGLE_CLOUD_PROJECT": "ours",
        "GOOGLE_CLOUD_LOCATION": "global",
    }
    for left_out in (None, *variables):
        environment = {name: value for name, value in variables.items() if name != left_out}
        pools = load(None, credentials=True, environment=environment).pools
        assert [pool.name for pool in pools] == (["sandbox"] if left_out else ["vertex", "sandbox"])
    (account,) = load(None, credentials=True, environment=variables).pools[0].accounts
    assert (account.google_credentials, account.project) == ("/key.json", "ours")


@pytest.mark.parametrize("place", ["project", "region", "google_credentials"])
def test_an_account_of_vertex_says_all(tmp_path, place):
    """What is left out is named."""
    text = "".join(
        line for line in (VERTEX + HERE.format("global")).splitlines(True) if not line.startswith(place)
    )
    with pytest.raises(SettingsError, match=rf"\[\[pools\.vx\.accounts\]\] {place}: is needed"):
        settings(tmp_path, text)
