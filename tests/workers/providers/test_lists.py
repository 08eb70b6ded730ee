"""What holds for every family's list of models: it is read whole, page by page, and what cannot be read is no list."""

from collections.abc import Callable
from datetime import date
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest

from runtime.catalogue.presets import presets
from runtime.settings.settings import AccountSettings
from schemas.catalogue.families import FAMILIES, SANDBOX
from tests.fakes import anthropic, bedrock, gemini, lists, openai
from tests.fakes.lists import Shown
from workers.providers import family
from workers.providers.listing import IDS_MAX, Listed, ListError, Listing, Reading, count_of, day_of
from workers.upstream.request import UpstreamRequest

TODAY = date(2026, 11, 26)
Page = Callable[[Shown, str, dict[str, str]], Any]


class Case(msgspec.Struct, frozen=True):
    """One family: its account, its vendor's pages, seven models that it lists, and entries that it lists beside them."""

    provider: str
    account: AccountSettings
    page: Page
    shown: Callable[[], Shown]
    ids: set[str]
    listed: dict[str, Listed]  # what is said of some of them
    odd: Callable[[], Shown]  # the same with fields of the wrong kind


SEVEN = tuple(f"model-{number}" for number in range(7))


def _bedrock_shown(**more: Any) -> Shown:
    return Shown(
        models=[
            lists.foundation("amazon.a"),
            lists.foundation("amazon.b", status="LEGACY", endOfLifeTime="2027-02-01T00:00:00Z"),
            lists.foundation("anthropic.c", types=("INFERENCE_PROFILE",)),
            lists.foundation("amazon.pictures", output=("IMAGE",)),
            lists.foundation("amazon.reserved", types=("PROVISIONED",)),
        ],
        profiles=[
            *(lists.profile(f"us.anthropic.c{number}", "anthropic.c") for number in range(4)),
            lists.profile("eu.amazon.b", "amazon.b"),
            lists.profile("ours", "amazon.a", kind="APPLICATION"),
        ],
        **more,
    )


def _bedrock_odd() -> Shown:
    shown = _bedrock_shown()
    shown.models[1] |= {"modelLifecycle": {"status": 5, "endOfLifeTime": {"never": True}}}
    shown.models[2] |= {"modelLifecycle": "ACTIVE"}
    shown.profiles[0] |= {"models": "anthropic.c"}
    shown.profiles[1] |= {"models": [1, {"modelArn": 2}]}
    shown.models[0] |= {"inferenceTypesSupported": None, "outputModalities": "TEXT"}
    return shown


_ARN = "arn:aws:bedrock:us-east-1:123456789012:inference-profile/"
_PROFILES = (
    "us.anthropic.c0",
    "us.anthropic.c1",
    "us.anthropic.c2",
    "us.anthropic.c3",
    "eu.amazon.b",
    "ours",
)
CASES = (
    Case(
        "openai",
        AccountSettings(
            id="a", api_key=openai.API_KEY, base_url="https://up/v1", organization="org", project="p"
        ),
        lambda shown, target, headers: lists.openai_page(shown, target, headers, openai.API_KEY),
        lambda: Shown(models=lists.openai(*SEVEN, model_3={"shutdown_date": "2027-01-14"})),
        set(SEVEN),
        {"model-3": Listed(id="model-3", shutdown=date(2027, 1, 14)), "model-4": Listed(id="model-4")},
        lambda: Shown(
            models=lists.openai(
                *SEVEN, model_3={"shutdown_date": [1], "max_completion_tokens": "many", "active": 1}
            )
        ),
    ),
    Case(
        "anthropic",
        AccountSettings(id="a", api_key=anthropic.API_KEY, base_url="https://up"),
        lambda shown, target, headers: lists.anthropic_page(
            shown, target, headers, anthropic.API_KEY, anthropic.VERSION
        ),
        lambda: Shown(
            models=[
                *(lists.anthropic(name) for name in SEVEN[:4]),
                lists.anthropic("model-4", "deprecated", retires_at="2027-03-01T17:00:00Z", max_tokens=4_096),
                lists.anthropic("model-5", "deprecated", retires_at="2026-11-25T00:00:00Z"),
                lists.anthropic("model-6", "retired", retires_at="2026-01-05T00:00:00Z"),
            ]
        ),
        set(SEVEN),
        {
            "model-0": Listed(id="model-0", max_output=128_000),
            "model-4": Listed(id="model-4", deprecated=True, shutdown=date(2027, 3, 1), max_output=4_096),
            "model-5": Listed(id="model-5", deprecated=True, max_output=128_000),  # overdue, and still there
            "model-6": Listed(id="model-6", retired=True, shutdown=date(2026, 1, 5), max_output=128_000),
        },
        lambda: Shown(
            models=[
                *(lists.anthropic(name) for name in SEVEN[1:]),
                lists.anthropic("model-0", max_tokens="a lot", retires_at=7e300, lifecycle=["active"]),
            ]
        ),
    ),
    Case(
        "gemini",
        AccountSettings(id="a", api_key=gemini.API_KEY, base_url="https://up"),
        lambda shown, target, headers: lists.gemini_page(shown, target, headers, gemini.API_KEY),
        lambda: Shown(
            models=[*map(lists.gemini, SEVEN), lists.gemini("embedding", methods=("embedContent",))]
        ),
        set(SEVEN),
        {"model-3": Listed(id="model-3", max_output=65_536)},
        lambda: Shown(
            models=[
                *map(lists.gemini, SEVEN[1:]),
                lists.gemini("model-0", outputTokenLimit=-1, supportedGenerationMethods=None),
            ]
        ),
    ),
    Case(
        "bedrock",
        AccountSettings(
            id="a",
            region=bedrock.REGION,
            access_key_id=bedrock.ACCESS_KEY,
            secret_access_key=bedrock.SECRET_KEY,
            base_url="https://bedrock-runtime.us-east-1.amazonaws.com",
        ),
        lambda shown, target, headers: lists.bedrock_page(
            shown,
            target,
            headers,
            secrets={bedrock.ACCESS_KEY: (bedrock.SECRET_KEY, "")},
            bearer=bedrock.BEARER,
            region=bedrock.REGION,
        ),
        _bedrock_shown,
        {"amazon.a", "amazon.b", *_PROFILES, *(_ARN + name for name in _PROFILES)},
        {
            "amazon.b": Listed(id="amazon.b", deprecated=True, shutdown=date(2027, 2, 1)),
            "eu.amazon.b": Listed(id="eu.amazon.b", deprecated=True, shutdown=date(2027, 2, 1)),
            "ours": Listed(id="ours"),
        },
        _bedrock_odd,
    ),
)
every_family = pytest.mark.parametrize("case", CASES, ids=[case.provider for case in CASES])


def answer(case: Case, shown: Shown, request: UpstreamRequest) -> bytes:
    """What the vendor answers to a request."""
    assert (request.method, request.body) == ("GET", b"")
    parts = urlsplit(request.url)
    headers = {name.lower(): value for name, value in request.headers.items()} | {"host": parts.netloc}
    base = urlsplit(case.account.base_url).path if case.provider != "openai" else ""
    target = parts.path.removeprefix(base) + (f"?{parts.query}" if parts.query else "")
    return msgspec.json.encode(case.page(shown, target, headers))


def read(case: Case, shown: Shown) -> Reading:
    """A whole reading."""
    made = family(case.provider)
    assert isinstance(made, Listing)
    reading = made.models(case.account, TODAY)
    while (request := reading.request()) is not None:
        reading.take(answer(case, shown, request))
    return reading


def test_every_family_with_accounts_has_a_list() -> None:
    """All but the sandbox are asked: each preset of the others says which ids of a list stand for a row."""
    assert {case.provider for case in CASES} == set(FAMILIES) - {SANDBOX}
    asked = {preset.family for preset in presets().values() if preset.lists != "none"}
    assert asked == {case.provider for case in CASES}
    assert presets()["openai"].lists == "itself"


@every_family
@pytest.mark.parametrize("size", [1, 2, 3, 1_000])
def test_a_list_is_read_whole(case: Case, size: int) -> None:
    """Whatever a page holds, every model that can be called is found, with what is said of it; no page is asked for twice."""
    shown = case.shown()
    shown.page = size
    models = read(case, shown).models
    assert set(models) == case.ids
    assert {name: models[name] for name in case.listed} == case.listed
    assert len(set(shown.asked)) == len(shown.asked)


@every_family
def test_an_odd_field_costs_only_itself(case: Case) -> None:
    """A value of another kind than the vendor's says nothing; its model is listed all the same."""
    assert set(read(case, case.odd()).models) == case.ids


@every_family
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"{}",
        b'"models"',
        b'{"error":{"message":"no"}}',
        b'{"data":null,"models":null,"modelSummaries":null}',
        b'{"data":[1],"models":[1],"modelSummaries":[1]}',
        b'{"data":[{"id":7}],"models":[{"name":7}],"modelSummaries":[{"modelId":7}]}',
        b'{"data":[{}],"models":[{}],"modelSummaries":[{}]}',
        b'{"data":[],"has_more":true,"models":[],"nextPageToken":7,"modelSummaries":[]}',
        b"<html>a login page</html>",
        b"\xff\xfe",
        b"[" * 2_000,
    ],
)
def test_what_cannot_be_read_is_no_list(case: Case, body: bytes) -> None:
    """Another shape, an error that came with a 200, or a login page: never a list that lacks everything."""
    reading = family(case.provider).models(case.account, TODAY)
    reading.request()
    with pytest.raises(ListError):
        reading.take(body)


@every_family
def test_a_list_is_bounded(case: Case) -> None:
    """More ids than any account has are no list; an id that no call could name is left out."""
    entries = [
        {"id": f"m{number}", "name": f"m{number}", "modelId": f"m{number}"} for number in range(IDS_MAX + 1)
    ]
    reading = family(case.provider).models(case.account, TODAY)
    reading.request()
    with pytest.raises(ListError):
        reading.take(msgspec.json.encode(dict.fromkeys(("data", "models", "modelSummaries"), entries)))
    strange = [{"id": name, "name": name, "modelId": name} for name in ("", "a" * 300, "a\nb", "good")]
    reading = family(case.provider).models(case.account, TODAY)
    reading.request()
    reading.take(msgspec.json.encode(dict.fromkeys(("data", "models", "modelSummaries"), strange)))
    assert set(reading.models) == {"good"}


def test_other_servers_lists_are_read() -> None:
    """A bare list, a model that is listed and not served, a limit and a deprecation: as compatible servers say them."""
    case = CASES[0]
    reading = family("openai").models(case.account, TODAY)
    reading.request()
    reading.take(
        b'[{"id":"a"},{"id":"b","active":false},{"id":"c","max_completion_tokens":4096},'
        b'{"id":"d","deprecation":"2026-01-01T00:00:00Z"}]'
    )
    assert dict(reading.models) == {
        "a": Listed(id="a"),
        "c": Listed(id="c", max_output=4_096),
        "d": Listed(id="d", deprecated=True),
    }


def test_bedrocks_lists_are_on_the_control_host() -> None:
    """AWS's own runtime host has another beside it, also in a FIPS or a Chinese region; another address answers both."""
    for base, host in (
        ("https://bedrock-runtime.us-east-1.amazonaws.com", "bedrock.us-east-1.amazonaws.com"),
        ("https://bedrock-runtime-fips.us-east-1.amazonaws.com", "bedrock-fips.us-east-1.amazonaws.com"),
        ("https://bedrock-runtime.cn-north-1.amazonaws.com.cn", "bedrock.cn-north-1.amazonaws.com.cn"),
        ("http://127.0.0.1:99", "127.0.0.1:99"),
    ):
        account = msgspec.structs.replace(CASES[3].account, base_url=base)
        request = family("bedrock").models(account, TODAY).request()
        assert urlsplit(request.url).netloc == host


def test_days_and_counts() -> None:
    """A day is read from a date, a moment or unix seconds, a count from a positive number; all else is nothing."""
    for value in (
        "2027-01-14",
        "2027-01-14T23:59:59Z",
        " 2027-01-14T00:00:00+00:00",
        1_799_884_800,
        1_799_884_800.5,
    ):
        assert day_of(value) == date(2027, 1, 14)
    for value in (None, "", "soon", True, 1e300, float("nan"), -1e18, [], {}):
        assert day_of(value) is None
    assert [
        count_of(value) for value in (5, 5.9, 0, -1, True, "5", None, 1e300, float("inf"), float("nan"))
    ] == [
        5,
        5,
        *[0] * 8,
    ]
