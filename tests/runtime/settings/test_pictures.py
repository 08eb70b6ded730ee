"""Pictures: a hold counts a known bound for each, or the vendor's model takes none."""

from pathlib import Path

import msgspec
import pytest

from runtime.settings.settings import Settings, SettingsError, load
from schemas.catalogue.builtin import BUILTIN
from schemas.catalogue.model import Model
from schemas.catalogue.profiles import PICTURE_TOKENS_MAX, profiled
from schemas.chat.priced import RequestError, bound, decode, read
from schemas.chat.request import CHAT
from tests.fakes.media import data_url, png

IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGVsbG8="}}
BODY = msgspec.json.encode({"model": "new", "messages": [{"role": "user", "content": [IMAGE]}]})
UPSTREAMS = {  # of each vendor, an id that no table of ours has
    "openai": "gpt-99",
    "anthropic": "claude-opus-9",
    "gemini": "gemini-9-flash",
    "bedrock": "amazon.nova-9-lite-v1:0",
}
CONTEXT = 1_000_000
every_vendor = pytest.mark.parametrize("provider", UPSTREAMS)


def settings(tmp_path: Path, provider: str, upstream: str, *, capabilities: str = "") -> Settings:
    """A file with one pool of a vendor and one model, `new`."""
    secret = 'region = "eu-west-1"' if provider == "bedrock" else 'api_key = "k"'
    path = tmp_path / "tokn.toml"
    path.write_text(
        f'[pools.p]\nprovider = "{provider}"\n[[pools.p.accounts]]\nid = "main"\n{secret}\n'
        f'[[models]]\nid = "new"\npool = "p"\nupstream = "{upstream}"\n'
        f"context = {CONTEXT}\nmax_output = 8192\ninput = 1\noutput = 1\n[models.capabilities]\n{capabilities}\n"
    )
    return load(path, credentials=True, environment={})


def new(found: Settings) -> Model:
    """The model of the file."""
    (model,) = [model for model in found.models if model.id == "new"]
    return model


def picture_tokens(model: Model) -> int:
    """What a hold counts for a picture. Raises RequestError."""
    fields = decode(BODY)
    found = bound(fields, read(fields, CHAT), model)
    return found.prompt_max - found.text_bytes - model.capabilities.overhead_tokens


@every_vendor
def test_an_unknown_model_takes_no_pictures(tmp_path, provider):
    """Nothing bounds a picture of a model that is not known: it is a 400 before any hold, and the list says so."""
    found = settings(tmp_path, provider, UPSTREAMS[provider])
    model = new(found)
    assert not model.capabilities.images
    assert model.capabilities.guessed
    assert found.guessed_pictures == ()
    with pytest.raises(RequestError) as refused:
        picture_tokens(model)
    assert refused.value.error.status == 400
    assert "takes no image input" in refused.value.error.message


@every_vendor
def test_a_row_that_takes_pictures_without_a_bound_holds_the_most(tmp_path, provider):
    """`images = true` keeps working, at the most that any known model bills for one, and the start is told."""
    found = settings(tmp_path, provider, UPSTREAMS[provider], capabilities="images = true")
    assert picture_tokens(new(found)) == PICTURE_TOKENS_MAX == 48_600
    assert found.guessed_pictures == ("new",)


@every_vendor
@pytest.mark.parametrize("said", ["image_tokens_max = 77", "images = true\nimage_tokens_max = 77"])
def test_a_rows_own_bound_is_used_as_it_is(tmp_path, provider, said):
    """A row that says a bound takes pictures, each of which holds that much, and nobody is warned."""
    found = settings(tmp_path, provider, UPSTREAMS[provider], capabilities=said)
    assert new(found).capabilities.images
    assert picture_tokens(new(found)) == 77
    assert found.guessed_pictures == ()


@pytest.mark.parametrize("upstream", ["gpt-4o", "gpt-6.1-sol", "gpt-99"])
def test_a_rows_own_bound_is_used_whatever_the_size(tmp_path, upstream):
    """A row that says a bound replaces its model's formula; one that names a formula beside it has that formula."""
    url = {"type": "image_url", "image_url": {"url": data_url(png((512, 512)))}}
    body = msgspec.json.encode({"model": "new", "messages": [{"role": "user", "content": [url]}]})
    own = 'pictures = { formula = "flat", picture_tokens = 50 }'
    for said, tokens in (("", 77), (own, 55)):
        model = new(settings(tmp_path, "openai", upstream, capabilities=f"image_tokens_max = 77\n{said}"))
        assert not model.capabilities.guessed or upstream == "gpt-99"
        fields = decode(body)
        found = bound(fields, read(fields, CHAT), model)
        assert found.prompt_max - found.text_bytes - model.capabilities.overhead_tokens == tokens


@pytest.mark.parametrize(
    "said",
    [
        'pictures = { formula = "odd" }',
        'pictures = { formula = "flat" }',
        'pictures = { formula = "flat", picture_tokens = -1 }',
        'pictures = { formula = "tiles", base_tokens = 1, tile_tokens = 1, tile_px = 0 }',
        'pictures = "flat"',
        'pictures = { formula = "tiles", base_tokens = "many", tile_tokens = 1 }',
    ],
)
def test_a_formula_that_is_none_is_named(tmp_path, said):
    """A row with a formula that cannot be read ends the start with the place and the key."""
    with pytest.raises(SettingsError, match=r"capabilities.*pictures"):
        settings(tmp_path, "openai", "gpt-4o", capabilities=said)


@pytest.mark.parametrize(
    "said", ["images = false", "images = false\nimage_tokens_max = 77", "image_tokens_max = 0"]
)
def test_a_row_may_take_no_pictures(tmp_path, said):
    """A row of a model that is known to take pictures may say that it takes none."""
    model = new(settings(tmp_path, "openai", "gpt-4o", capabilities=said))
    assert not model.capabilities.images
    with pytest.raises(RequestError):
        picture_tokens(model)


@pytest.mark.parametrize(
    "builtin", [model for model in BUILTIN if model.capabilities.images], ids=lambda one: one.id
)
def test_a_built_in_upstream_keeps_its_own_bound(tmp_path, builtin):
    """Another id for a built-in upstream, or a row over its own, holds what the built-in row does."""
    found = settings(tmp_path, builtin.provider, builtin.upstream)
    assert new(found).capabilities.images
    assert picture_tokens(new(found)) == builtin.capabilities.image_tokens_max
    assert found.guessed_pictures == ()
    assert builtin.capabilities.image_tokens_max == {
        "gpt-4o": 1_500,
        "gpt-4o-mini": 50_000,
        "gpt-4-turbo": 1_500,
        "gemini-1.5-pro-latest": 5_200,
        "gemini-1.5-flash-latest": 5_200,
    }.get(builtin.id, 1_600)


@pytest.mark.parametrize(
    ("profile", "upstream", "tokens_max"),
    [
        ("anthropic", "claude-3-opus-20240229", 1_600),
        ("anthropic", "claude-3-5-sonnet-latest", 1_600),
        ("anthropic", "claude-3-7-sonnet-20250219", 1_600),
        ("anthropic", "claude-opus-4-20250514", 1_600),
        ("anthropic", "claude-opus-4-0", 1_600),
        ("anthropic", "claude-opus-4-6", 1_600),
        ("anthropic", "claude-haiku-4-5-20251001", 1_600),
        ("anthropic", "claude-opus-4-8", 4_800),
        ("anthropic", "claude-opus-5", 4_800),
        ("anthropic", "claude-sonnet-5-20260701", 4_800),
        ("anthropic", "claude-sonnet-5-5", 4_800),
        ("anthropic", "claude-opus-4-9", 0),
        ("anthropic", "claude-opus-5-9", 0),
        ("anthropic", "claude-opus-5-5-1", 0),
        ("anthropic", "claude-3-9-sonnet-20280101", 0),
        ("anthropic", "kept-elsewhere", 0),
        ("gemini", "gemini-2.5-flash", 5_200),
        ("gemini", "gemini-3.8-flash", 1_232),
        ("gemini", "gemini-3.9-flash", 0),
        ("bedrock", "global.anthropic.claude-opus-4-6-v1", 1_600),
        ("bedrock", "anthropic.claude-3-5-sonnet-20241022-v2:0", 1_600),
        ("bedrock", "eu.anthropic.claude-sonnet-4-20250514-v1:0", 1_600),
        ("bedrock", "anthropic.claude-opus-4-9-v1:0", 0),
        ("bedrock", "us.amazon.nova-lite-v1:0", 2_700),
        ("bedrock", "us.amazon.nova-2-lite-v1:0", 2_700),
        ("bedrock", "amazon.nova-micro-v1:0", 0),
        ("bedrock", "amazon.nova-9-lite-v1:0", 0),
        ("bedrock", "meta.llama4-maverick-17b-instruct-v1:0", 0),
        ("openai", "gpt-4o", 1_500),
        ("openai", "gpt-4o-mini-2024-07-18", 50_000),
        ("openai", "gpt-6.1-sol", 39_600),
        ("openai", "gpt-7-sol", 0),
        ("openai", "llama", 0),
        ("sandbox", "tokn-sandbox", 0),
    ],
)
def test_a_profile_bounds_the_releases_that_it_knows(profile, upstream, tokens_max):
    """A dated id is its release's; a release that the table does not have is bounded by none of its neighbours."""
    able = profiled(profile, upstream)
    assert able.image_tokens_max == tokens_max
    assert able.images is (tokens_max > 0)
