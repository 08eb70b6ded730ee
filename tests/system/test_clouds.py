"""OpenAI's protocol at clouds that put a door of their own before it, over the whole path with OpenAI's SDK."""

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import openai
import pytest

from tests.fakes import azure, vertex
from tests.fakes.azure import Azure
from tests.fakes.receipts import receipt
from tests.fakes.tokn import Tokn, wait_for
from tests.fakes.vertex import Vertex

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
def cloud() -> Iterator[Vertex]:
    """Vertex AI, with its token endpoint."""
    with Vertex() as running:
        yield running


def vertex_toml(name: str, cloud: Vertex, key_file: Path, region: str = vertex.LOCATION) -> str:
    """A pool on Vertex AI, with the account of a key file."""
    return f"""
[pools.{name}]
provider = "vertex"
rate = 1
[[pools.{name}.accounts]]
id = "main"
project = "{vertex.PROJECT}"
region = "{region}"
google_credentials = "file:{key_file}"
base_url = "{cloud.base_url}"
"""


@pytest.fixture(scope="module")
def tokn(resource, cloud, tmp_path_factory) -> Iterator[Tokn]:
    """A deployment with pools of each kind."""
    keys = tmp_path_factory.mktemp("keys")
    (keys / "good.json").write_text(cloud.credentials())
    (keys / "bad.json").write_text(cloud.credentials(client_email="nobody@canary.test"))
    config = vertex_toml("vx", cloud, keys / "good.json") + vertex_toml("nokey", cloud, keys / "bad.json")
    config += vertex_toml("worldwide", cloud, keys / "good.json", region="global")
    config += azure_toml("v1", resource) + azure_toml("locked", resource, key="azurecanary-of-nobody")
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
    with httpx.Client(base_url=tokn.url, headers=headers, timeout=60) as client:
        return int(receipt(client, request_id)["billed_nano"])


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


# Of the catalogue's row at Vertex AI, in picodollars a token; a tenth more in every region but the global one.
GEMINI_INPUT, GEMINI_OUTPUT = 300_000, 2_500_000


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("pool", "permille"), [("vx", 1_100), ("worldwide", 1_000)])
def test_vertex_is_called_with_a_minted_token(tokn, sdk, cloud, *, pool, permille, stream):
    """A service account's grant opens it; the answer is whole, its thinking is billed, and a region costs a tenth more."""
    cloud.seen.clear()
    name = f"{pool}/{vertex.MODEL}"
    if stream:
        options = {"include_usage": True}
        with sdk.chat.completions.create(
            model=name, messages=SAY, max_tokens=50, stream=True, stream_options=options
        ) as answer:
            request_id = answer.response.headers["x-request-id"]
            chunks = list(answer)
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
        usage = chunks[-1].usage
    else:
        whole = sdk.chat.completions.with_raw_response.create(model=name, messages=SAY, max_tokens=50)
        request_id = whole.headers["x-request-id"]
        plain = whole.parse()
        text, usage = plain.choices[0].message.content, plain.usage
    assert text == "".join(vertex.WORDS)
    assert usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens) == (50, 30)
    assert billed(tokn, request_id) == (50 * GEMINI_INPUT + 30 * GEMINI_OUTPUT) * permille // 1_000_000
    (body,) = cloud.seen
    assert (body["model"], body["max_tokens"]) == (vertex.MODEL, 50)


def test_vertex_sells_gemini_under_its_publishers_name(sdk):
    """The pool's name before it, and without for the first such pool; what else the cloud has is not called so."""
    ids = {model.id for model in sdk.models.list()}
    assert {vertex.MODEL, f"vx/{vertex.MODEL}", f"worldwide/{vertex.MODEL}"} <= ids
    own = [name for name in ids if name.startswith("vx/")]
    assert all(name.startswith("vx/google/gemini-") for name in own)


def test_vertex_refuses_a_token(tokn, sdk, cloud):
    """A 401 has a new token minted, and calls go on within seconds."""
    before = len(cloud.tokens)
    cloud.revoked.update(cloud.tokens)
    with pytest.raises(openai.InternalServerError) as refused:
        sdk.chat.completions.create(model=f"vx/{vertex.MODEL}", messages=SAY)
    assert refused.value.code == "upstream_auth"
    assert "ya29" not in str(refused.value)
    wait_for(lambda: len(cloud.tokens) > before, 15, "a new token is minted")

    def served() -> bool:
        try:
            return bool(sdk.chat.completions.create(model=f"vx/{vertex.MODEL}", messages=SAY).choices)
        except openai.APIStatusError:
            return False

    wait_for(served, 15, "calls go on")


def test_vertex_tells_nobody_the_token(tokn, sdk, cloud):
    """A provider that says the token back is not repeated: not to the caller, and in no log."""
    with pytest.raises(openai.BadRequestError) as refused:
        sdk.chat.completions.create(
            model=f"vx/{vertex.MODEL}", messages=[{"role": "user", "content": "echo"}]
        )
    assert "[redacted]" in str(refused.value)
    log = tokn.log.read_text()
    for secret in (*cloud.tokens, "PRIVATE KEY"):
        assert secret not in str(refused.value)
        assert secret not in log


def test_vertex_gives_no_token(tokn, sdk):
    """The account is refused with the endpoint's code as the reason; callers learn that the gateway is at fault."""
    with pytest.raises(openai.InternalServerError) as refused:
        sdk.chat.completions.create(model=f"nokey/{vertex.MODEL}", messages=SAY)
    assert (refused.value.status_code, refused.value.code) == (502, "upstream_auth")
    assert "canary" not in str(refused.value)

    def told() -> bool:
        (pool,) = [row for row in tokn.rows("pools") if row["name"] == "nokey"]
        return [account["state"] for account in pool["accounts"]] == ["refused"]

    wait_for(told, 10, "its account is refused")
