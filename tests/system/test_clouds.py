"""OpenAI's protocol at clouds that put a door of their own before it, over the whole path with OpenAI's SDK."""

import json
from collections.abc import Iterator

import httpx
import openai
import pytest

from tests.fakes import azure
from tests.fakes.azure import Azure
from tests.fakes.tokn import Tokn

pytestmark = pytest.mark.system

SAY = [{"role": "user", "content": "hi"}]
BASE_MODEL = "gpt-5.1"
# Of the catalogue's row at Azure: nano-dollars a token of input, of cached input and of output.
INPUT, CACHED, OUTPUT = 1_250, 125, 10_000


@pytest.fixture(scope="module")
def resource() -> Iterator[Azure]:
    """An Azure resource."""
    with Azure() as running:
        yield running


def azure_toml(name: str, resource: Azure, *, key: str = azure.API_KEY, more: str = "") -> str:
    """A pool on an Azure resource, with the deployment and one that is not there."""
    text = f"""
[pools.{name}]
provider = "azure"
rate = 1
[[pools.{name}.accounts]]
id = "main"
api_key = "{key}"
base_url = "{resource.base_url}"
{more}
"""
    for suffix, deployment in (("", azure.DEPLOYMENT), ("-missing", "not-there")):
        text += f'[[models]]\nid = "{name}{suffix}"\npool = "{name}"\nbase_model = "{BASE_MODEL}"\n'
        text += f"upstream = {json.dumps(deployment)}\n"
    return text


@pytest.fixture(scope="module")
def tokn(resource, tmp_path_factory) -> Iterator[Tokn]:
    """A deployment with pools of each kind."""
    config = azure_toml("v1", resource) + azure_toml("locked", resource, key="azurecanary-of-nobody")
    config += azure_toml("dated", resource, more=f'api_version = "{azure.API_VERSION}"')
    with Tokn(tmp_path_factory.mktemp("clouds") / "data", config) as running:
        yield running


@pytest.fixture(scope="module")
def sdk(tokn) -> Iterator[openai.OpenAI]:
    """OpenAI's client."""
    with openai.OpenAI(api_key=tokn.key, base_url=f"{tokn.url}/v1", max_retries=0) as client:
        yield client


def billed(tokn: Tokn, request_id: str) -> int:
    """What a call cost, in nano-dollars."""
    headers = {"Authorization": f"Bearer {tokn.key}"}
    answer = httpx.get(f"{tokn.url}/v1/generations/{request_id}", headers=headers, timeout=10)
    return int(answer.json()["billed_nano"])


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("v1", "/openai/v1/chat/completions?"),
        (
            "dated",
            f"/openai/deployments/our%20gpt%2Fone/chat/completions?api-version={azure.API_VERSION}",
        ),
    ],
)
def test_azure_is_called_by_its_own_door(tokn, sdk, resource, *, name, target, stream):
    """Header, path and query are Azure's; the model is the deployment, priced as what it deploys; the answer is whole."""
    resource.seen.clear()
    if stream:
        options = {"include_usage": True}
        with sdk.chat.completions.create(
            model=name, messages=SAY, max_tokens=50, stream=True, stream_options=options
        ) as answer:
            request_id = answer.response.headers["x-request-id"]
            chunks = list(answer)
        assert all(chunk.model == name for chunk in chunks)
        assert [chunk for chunk in chunks if not chunk.choices] == chunks[-1:]
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks[:-1])
        finishes = [chunk.choices[0].finish_reason for chunk in chunks[:-1]]
        assert finishes == [None] * (len(finishes) - 1) + ["stop"]
        usage = chunks[-1].usage
    else:
        whole = sdk.chat.completions.with_raw_response.create(model=name, messages=SAY, max_tokens=50)
        request_id = whole.headers["x-request-id"]
        plain = whole.parse()
        assert plain.model == name
        text, usage = plain.choices[0].message.content, plain.usage
    assert text == "".join(azure.WORDS)
    assert usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens) == (50, 30)
    assert billed(tokn, request_id) == 30 * INPUT + 20 * CACHED + 30 * OUTPUT
    ((path, query, body),) = resource.seen
    assert f"{path}?{query}" == target
    assert (body["model"], body["max_completion_tokens"]) == (azure.DEPLOYMENT, 50)


def test_azure_has_no_such_deployment(sdk):
    """It is the 404 of a model that does not exist."""
    for name in ("v1-missing", "dated-missing"):
        with pytest.raises(openai.NotFoundError) as refused:
            sdk.chat.completions.create(model=name, messages=SAY)
        assert refused.value.code == "model_not_found"


def test_azure_filters_an_input(sdk):
    """A flagged input is that caller's 400, and the deployment stays in use."""
    with pytest.raises(openai.BadRequestError) as refused:
        sdk.chat.completions.create(model="v1", messages=[{"role": "user", "content": "flagged"}])
    assert refused.value.code == "content_filter"
    assert sdk.chat.completions.create(model="v1", messages=SAY).choices


def test_azure_refuses_the_key(sdk):
    """It is the operator's fault, said without the key."""
    with pytest.raises(openai.InternalServerError) as refused:
        sdk.chat.completions.create(model="locked", messages=SAY)
    assert (refused.value.status_code, refused.value.code) == (502, "upstream_auth")
    assert "canary" not in str(refused.value)


def test_no_deployment_has_a_name_that_the_operator_did_not_give(sdk):
    """Rows are sold as deployments only: a resource has those that somebody made."""
    ids = {model.id for model in sdk.models.list()}
    assert {"v1", "dated"} <= ids
    assert not {name for name in ids if name.startswith(("v1/", "dated/"))}
    assert BASE_MODEL not in ids
