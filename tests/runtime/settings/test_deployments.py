"""Deployments: names of an operator's own for models whose price, window and capabilities the catalogue has."""

import json
from datetime import date
from pathlib import Path

import pytest

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
