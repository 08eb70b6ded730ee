"""The seed's nine ids over the whole path: they answer wherever an upstream has them, and at their provider's own host they end."""

from datetime import date

import openai
import pytest

from schemas.catalogue.builtin import BUILTIN, SANDBOX_MODEL
from tests.fakes import lists
from tests.fakes.families import pool_toml, stages
from tests.fakes.tokn import Tokn, wait_for

pytestmark = pytest.mark.system

SEED = tuple(one for one in BUILTIN if one.id != SANDBOX_MODEL)
SINCE = date(2026, 11, 26)  # what had ended by then stays so
ENDED = tuple(one for one in SEED if one.shutdown_date and one.shutdown_date <= SINCE)
LIVE = {  # of each vendor some that its list has beside the seed's; the first are those that the rows name
    "openai": ("gpt-5.6-sol", "gpt-6.1-sol", "gpt-6-luna"),
    "anthropic": ("claude-sonnet-4-6", "claude-opus-4-8", "claude-haiku-4-5-20251001", "claude-sonnet-5-5"),
    "gemini": ("gemini-3.8-flash", "gemini-3.5-flash-lite", "gemini-4-argon"),
    "bedrock": ("amazon.nova-micro-v1:0", "amazon.nova-lite-v1:0"),
}
ENTRY = {
    "openai": lambda name: lists.openai(name)[0],
    "anthropic": lists.anthropic,
    "gemini": lists.gemini,
    "bedrock": lists.foundation,
}
SAY = [{"role": "user", "content": "hi"}]


@pytest.fixture(scope="module")
def played():
    """One fake of each provider, each with its list."""
    with stages() as made:
        for provider, (stage,) in made.items():
            ids = [one.id for one in SEED if one.provider == provider]
            stage._fake.shown.models = [
                ENTRY[provider](name) for name in (*ids, *LIVE[provider], "brand-new-9")
            ]
            stage._fake.shown.page = 3
        yield made


@pytest.fixture(scope="module")
def tokn(played, tmp_path_factory):
    """`tokn up` with two pools of each vendor, at another address and, by the file's word, at the vendor's own."""
    text = "".join(pool_toml(provider, provider, [stage.account]) for provider, (stage,) in played.items())
    text += "".join(
        pool_toml(f"home-{provider}", provider, [f"own_host = true\n{stage.account}"])
        for provider, (stage,) in played.items()
    )
    own = (
        '[[models]]\nid = "mine"\npool = "openai"\nupstream = "ours"\ninput = 1\noutput = 1\ncontext = 9000\n'
    )
    with Tokn(tmp_path_factory.mktemp("retirement") / "data", text + own + "max_output = 500\n") as running:
        wait_for(lambda: all(_listed(running)), 20, "every account's list is read")
        yield running
        assert running.audit()["ok"] is True


def _listed(running: Tokn) -> list[bool]:
    return [account.get("listed", 0) > 0 for pool in running.rows("pools") for account in pool["accounts"]]


@pytest.fixture(scope="module")
def sdk(tokn):
    """OpenAI's own SDK."""
    with openai.OpenAI(api_key=tokn.key, base_url=f"{tokn.url}/v1", max_retries=0, timeout=60) as client:
        yield client


def settled(sdk, name: str, *, there: bool) -> None:
    """Waits until the edge has heard whether a model is there."""
    wait_for(lambda: (name in {one.id for one in sdk.models.list()}) is there, 10, f"{name} there: {there}")


@pytest.mark.parametrize("model", [one.id for one in SEED])
def test_an_id_answers_where_an_upstream_has_it(sdk, model):
    """Without a row of the file, plain and streamed, by its bare id and by its pool's; and it is listed."""
    settled(sdk, model, there=True)
    provider = next(one.provider for one in SEED if one.id == model)
    plain = sdk.chat.completions.create(model=model, messages=SAY)
    assert plain.choices[0].message.content
    assert plain.model == model
    said = [
        chunk.choices[0].delta.content or ""
        for chunk in sdk.chat.completions.create(model=f"{provider}/{model}", messages=SAY, stream=True)
        if chunk.choices
    ]
    assert "".join(said).strip()


@pytest.mark.parametrize("model", ENDED, ids=[one.id for one in ENDED])
def test_at_its_providers_own_host_it_has_ended(sdk, tokn, played, model):
    """A 404 with the day and a model that is listed here; no upstream hears of it, and nothing is held."""
    home = f"home-{model.provider}"
    settled(sdk, f"{home}/{LIVE[model.provider][0]}", there=True)
    (stage,) = played[model.provider]
    heard = len(stage.bodies)
    for stream in (False, True):
        with pytest.raises(openai.NotFoundError) as refused:
            sdk.chat.completions.create(model=f"{home}/{model.id}", messages=SAY, stream=stream)
        error = refused.value
        assert error.code == "model_not_found"
        assert f"retired by its provider on {model.shutdown_date}. Use `{home}/" in error.message
        named = error.message.split("Use `")[1].split("`")[0]
        assert sdk.models.retrieve(named).id == named
    with pytest.raises(openai.NotFoundError):
        sdk.models.retrieve(f"{home}/{model.id}")
    assert len(stage.bodies) == heard
    tokn.settled(tokn.key_id())


def test_what_is_sold_is_what_is_priced_and_listed(sdk, tokn):
    """Rows that no account lists are neither listed nor called; a row of the file is, with a mark; what has no price is told."""
    settled(sdk, "openai/gpt-4.1", there=False)
    shown = {one.id: one for one in sdk.models.list()}
    for provider, live in LIVE.items():
        seed = {one.id for one in SEED if one.provider == provider}
        listed = seed.union(live, ("claude-haiku-4-5",))  # the last is an alias of a listed one
        bare = {name.removeprefix(f"{provider}/") for name in shown if name.startswith(f"{provider}/")}
        assert bare <= listed
        assert set(live) <= bare
    with pytest.raises(openai.NotFoundError, match="is not offered by its provider now") as refused:
        sdk.chat.completions.create(model="openai/gpt-4.1", messages=SAY)
    assert refused.value.code == "model_not_found"
    assert shown["mine"].model_extra["unlisted"] is True
    assert sdk.chat.completions.create(model="mine", messages=SAY).choices
    with pytest.raises(openai.NotFoundError):
        sdk.chat.completions.create(model="brand-new-9", messages=SAY)
    pools = {pool["name"]: pool for pool in tokn.rows("pools")}
    assert all(pools[provider]["unpriced"] == ["brand-new-9"] for provider in LIVE)
    assert pools["openai"]["unlisted"] == ["mine"]
    assert not {one.id for one in ENDED} & pools["home-openai"]["missing"].keys()
