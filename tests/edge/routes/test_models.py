"""Models, receipts, health, readiness and metrics."""

import asyncio
from datetime import date
from decimal import Decimal
from urllib.parse import quote

import msgspec
import openai
import pytest

from schemas.catalogue.builtin import BUILTIN
from schemas.catalogue.model import Model
from schemas.money.pricing import Price, PriceTier
from tests.edge.conftest import Rig
from tests.edge.stand_ins import until

SANDBOX = next(model for model in BUILTIN if model.id == "tokn-sandbox")
ODD = ("vendor/model:0", "a/b/c", "x:y", "arn:aws:bedrock:us-east-1:1:profile/z", "with space", "per%cent")


def named(name: str) -> Model:
    """A sandbox model under another id."""
    return msgspec.structs.replace(SANDBOX, id=name)


async def test_list_shows_what_can_be_had_now(rig: Rig) -> None:
    """The list holds the models that some worker serves now, and follows the workers; entries equal retrieved ones."""
    listed = (await rig.http.get("/v1/models")).json()
    assert listed["object"] == "list"
    assert [entry["id"] for entry in listed["data"]] == ["tokn-sandbox"]
    entry = listed["data"][0]
    assert entry["object"] == "model"
    assert entry["created"] == SANDBOX.created
    assert entry["owned_by"] == "tokn-sandbox"
    assert (entry["provider"], entry["pool"]) == ("sandbox", "sandbox")
    assert (entry["context_window"], entry["max_output_tokens"]) == (128_000, 4_096)
    assert entry["pricing"]["list"] == [{"above_prompt_tokens": 0, "input": "1", "output": "2"}]
    assert entry["pricing"]["billed"] == [{"above_prompt_tokens": 0, "input": "0.6", "output": "1.2"}]
    assert entry["capabilities"]["stream"] is True
    assert (await rig.http.get("/v1/models/tokn-sandbox")).json() == entry
    worker = await rig.add_worker("openai", ("gpt-4o", "gpt-4o-mini"))
    await until(lambda: not rig.edge.roster.silent("openai"))
    assert len((await rig.http.get("/v1/models")).json()["data"]) == 3
    await worker.die()
    await until(lambda: rig.edge.roster.silent("openai"))
    assert len((await rig.http.get("/v1/models")).json()["data"]) == 1
    assert (await rig.http.get("/v1/models/gpt-4o")).status_code == 429


async def test_a_known_list_is_304(rig: Rig) -> None:
    """The list has a tag: whoever has it gets no body; pages are by `limit` and `after_id`, and a wrong limit is a 400."""
    whole = await rig.http.get("/v1/models")
    tag = whole.headers["etag"]
    for held in (tag, f'"x", W/{tag}', "*"):
        again = await rig.http.get("/v1/models", headers={"if-none-match": held})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    assert (await rig.http.get("/v1/models", headers={"if-none-match": '"x"'})).status_code == 200
    page = (await rig.http.get("/v1/models", params={"limit": 1})).json()
    assert page["data"] == whole.json()["data"]
    assert (page["has_more"], page["last_id"]) == (False, "tokn-sandbox")
    assert (await rig.http.get("/v1/models", params={"after_id": "z"})).json()["data"] == []
    for limit in ("0", "1001", "x", "-1", "1e3"):
        answer = await rig.http.get("/v1/models", params={"limit": limit})
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "limit")


@pytest.mark.parametrize("name", ODD)
async def test_odd_ids(rig: Rig, name: str) -> None:
    """Ids with slashes, raw or as %2F, with colons and more, are retrieved, by path and through the SDK."""
    rig.ledger.models = (*BUILTIN, named(name))
    rig.worker.models = ("tokn-sandbox", name)
    rig.worker.beat()
    await until(lambda: rig.edge.roster.serves("sandbox", name))
    await rig.edge.catalogue.find(name)
    for path in {quote(name), quote(name, safe=""), quote(name, safe="/:")}:
        answer = await rig.http.get(f"/v1/models/{path}")
        assert (answer.status_code, answer.json()["id"]) == (200, name)
    client = openai.AsyncOpenAI(api_key=rig.ledger.key, base_url=f"{rig.url}/v1", max_retries=0)
    if "%" not in name:
        assert (await client.models.retrieve(name)).id == name
    assert name in [model.id async for model in await client.models.list()]
    await client.close()


async def test_new_model_is_found_at_once(rig: Rig) -> None:
    """An unknown model has the catalogue read again before it is a 404."""
    rig.ledger.models = (*BUILTIN, named("brand-new"))
    rig.worker.models = ("tokn-sandbox", "brand-new")
    rig.worker.beat()
    assert (await rig.chat(model="brand-new")).status_code == 200


async def test_prices_by_tier_and_date(rig: Rig) -> None:
    """The list shows the price row in force today, tier by tier, at list and as billed."""
    rows = (
        Price(id="old", tiers=(PriceTier(input=Decimal(9), output=Decimal(9)),)),
        Price(
            id="now",
            effective=date(2020, 1, 1),
            tiers=(
                PriceTier(input=Decimal("1.25"), output=Decimal(5), cached=Decimal("0.3125")),
                PriceTier(input=Decimal("2.5"), output=Decimal(10), above=128_000),
            ),
        ),
        Price(
            id="later", effective=date(2999, 1, 1), tiers=(PriceTier(input=Decimal(1), output=Decimal(1)),)
        ),
    )
    rig.ledger.models = (msgspec.structs.replace(SANDBOX, prices=rows, rate=Decimal("0.5")),)
    await asyncio.wait_for(rig.edge.catalogue._load(), 5)
    pricing = (await rig.http.get("/v1/models/tokn-sandbox")).json()["pricing"]
    assert pricing["list"][0] == {
        "above_prompt_tokens": 0,
        "input": "1.25",
        "output": "5",
        "cached": "0.3125",
    }
    assert pricing["billed"][1] == {"above_prompt_tokens": 128_000, "input": "1.25", "output": "5"}


async def test_receipts_are_the_keys_own(rig: Rig) -> None:
    """A receipt is what the ledger says of this key's call; any other id is a 404."""
    rig.ledger.receipts["req_1"] = {"id": "req_1", "billed_nano": 12, "billed": "0.000000012"}
    answer = await rig.http.get("/v1/generations/req_1")
    assert answer.json() == rig.ledger.receipts["req_1"]
    missing = await rig.http.get("/v1/generations/req_2")
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "generation_not_found")


async def test_health_readiness_metrics(rig: Rig) -> None:
    """Healthy while it lives; ready only with ledger and a worker for each pool; metrics in Prometheus' format."""
    await rig.chat()
    assert (await rig.http.get("/healthz")).status_code == 200
    assert (await rig.http.get("/readyz")).status_code == 200
    assert (await rig.http.head("/readyz")).content == b""
    metrics = await rig.http.get("/metrics")
    assert 'tokn_edge_requests_total{route="chat",status="200"}' in metrics.text
    assert metrics.headers["content-type"].startswith("text/plain")
    await rig.worker.die()
    await until(lambda: rig.edge.roster.silent("sandbox"))
    answer = await rig.http.get("/readyz")
    assert answer.status_code == 503
    assert "sandbox" in answer.json()["error"]["message"]
    assert (await rig.http.get("/healthz")).status_code == 200


async def test_not_ready_while_the_books_take_no_writes(rig: Rig) -> None:
    """A ledger that answers and cannot write makes no call, so its edges are not ready, and say why; then they are again."""
    for writes, status in ((False, 503), (True, 200)):
        rig.ledger.writes = writes
        for _ in range(200):  # what the ledger said is kept for a moment
            answer = await rig.http.get("/readyz")
            if answer.status_code == status:
                break
            await asyncio.sleep(0.05)
        assert answer.status_code == status
        assert writes or "cannot write" in answer.json()["error"]["message"]
        assert (await rig.http.get("/healthz")).status_code == 200


async def test_not_ready_without_a_ledger(rig: Rig) -> None:
    """Without a ledger it is not ready, and still healthy."""
    await rig.ledger.leave()
    await until(lambda: rig.edge.load.requests == 0)
    for _ in range(50):
        answer = await rig.http.get("/readyz")
        if answer.status_code == 503:
            break
        await asyncio.sleep(0.05)
    assert "ledger" in answer.json()["error"]["message"]
    assert (await rig.http.get("/healthz")).status_code == 200
