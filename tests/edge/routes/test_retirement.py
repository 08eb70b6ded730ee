"""Models that end, as callers see them: 404s with a way on before any hold, headers, and entries of the list."""

import asyncio
from datetime import date

import openai
import pytest
from msgspec import structs

from schemas.bus.frames import ModelFact
from schemas.catalogue.aliases import Alias
from schemas.catalogue.builtin import BUILTIN
from schemas.catalogue.model import Model
from schemas.verbs.calls import AUTHORISE
from tests.edge.conftest import Rig
from tests.edge.stand_ins import ScriptedWorker

GPT_4O = next(one for one in BUILTIN if one.id == "gpt-4o")
ENDS = GPT_4O.shutdown_date
LUNA = structs.replace(GPT_4O, id="gpt-6-luna", upstream="gpt-6-luna", shutdown_date=None, successor=None)
SOL = structs.replace(LUNA, id="gpt-6.1-sol", upstream="gpt-6.1-sol")
HOME = structs.replace(GPT_4O, dated=True)
ELSEWHERE = structs.replace(GPT_4O, id="else/gpt-4o")
OWN = structs.replace(GPT_4O, id="mine", pinned=True)


async def shown(rig: Rig, *models: Model, **more: object) -> ScriptedWorker:
    """A gateway that sells these models, all of which one worker serves, with what it says of them."""
    rig.ledger.models = (*BUILTIN, *models)
    await rig.edge.catalogue.find("what nobody has")
    worker = await rig.add_worker("openai", tuple(one.id for one in models))
    for name, value in more.items():
        setattr(worker, name, value)
    worker.beat()
    while not (rig.edge.roster.serves("openai", models[0].id) and _told(rig, worker)):
        await asyncio.sleep(0.01)
    return worker


def _told(rig: Rig, worker: ScriptedWorker) -> bool:
    return all(rig.edge.roster.fact("openai", fact.id) for fact in worker.facts)


async def entries(rig: Rig) -> dict[str, dict]:
    """The list by id."""
    return {one["id"]: one for one in (await rig.http.get("/v1/models")).json()["data"]}


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions", "list"])
async def test_a_model_ends_on_its_day(rig: Rig, path: str) -> None:
    """Until the day it answers; from then on it is a 404 with the day and a live successor, without a hold or a job."""
    worker = await shown(rig, HOME, SOL)
    said = {"messages": [{"role": "user", "content": "hi"}]} if "chat" in path else {"prompt": "hi"}

    async def ask() -> object:
        if path == "list":
            return await rig.http.get("/v1/models/gpt-4o")
        return await rig.http.post(path, json={"model": "gpt-4o", **said})

    rig.day = date(2027, 1, 13)
    assert (await ask()).status_code == 200
    assert "gpt-4o" in await entries(rig)
    holds, jobs = len(rig.ledger.of(AUTHORISE)), len(worker.attempts)
    rig.day = ENDS
    answer = await ask()
    assert answer.status_code == 404
    error = answer.json()["error"]
    assert (error["code"], error["param"]) == ("model_not_found", "model")
    assert error["message"] == (
        "The model `gpt-4o` was retired by its provider on 2027-01-14. Use `gpt-6.1-sol` instead."
    )
    assert (len(rig.ledger.of(AUTHORISE)), len(worker.attempts)) == (holds, jobs)
    assert "gpt-4o" not in await entries(rig)


async def test_a_successor_that_is_not_served_is_not_named(rig: Rig) -> None:
    """With nobody to serve it, the error names nobody."""
    rig.day = ENDS
    await shown(rig, HOME)
    error = (await rig.chat(model="gpt-4o")).json()["error"]
    assert error["message"] == "The model `gpt-4o` was retired by its provider on 2027-01-14."


async def test_elsewhere_the_servers_own_word_decides(rig: Rig) -> None:
    """At another address the date ends nothing; what that server's list says does."""
    rig.day = date(2030, 1, 1)
    worker = await shown(rig, ELSEWHERE, LUNA)
    answer = await rig.chat(model="else/gpt-4o")
    assert answer.status_code == 200
    assert not {"x-tokn-model-shutdown", "x-tokn-model-successor"} & answer.headers.keys()
    assert (await entries(rig))["else/gpt-4o"]["lifecycle"] == "retired"
    worker.facts = (ModelFact("gpt-4o", retired=True),)
    worker.beat()
    while not _told(rig, worker):
        await asyncio.sleep(0.01)
    assert (await rig.chat(model="else/gpt-4o")).status_code == 404
    assert "else/gpt-4o" not in await entries(rig)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_model_that_is_to_end_says_so(rig: Rig, stream: bool) -> None:
    """Answers carry the day and what to use instead, to the SDK too; errors and other models' answers do not."""
    await shown(rig, HOME, SOL)
    client = openai.AsyncOpenAI(base_url=f"{rig.url}/v1", api_key=rig.ledger.key, max_retries=0)
    calls = client.chat.completions.with_raw_response
    messages = [{"role": "user", "content": "hi"}]
    answer = await calls.create(model="gpt-4o", messages=messages, stream=stream)
    assert answer.headers["x-tokn-model-shutdown"] == "2027-01-14"
    assert answer.headers["x-tokn-model-successor"] == "gpt-6.1-sol"
    other = await calls.create(model="gpt-6.1-sol", messages=messages, stream=stream)
    assert not {"x-tokn-model-shutdown", "x-tokn-model-successor"} & other.headers.keys()
    await client.close()


async def test_of_several_models_the_one_that_served_says_so(rig: Rig) -> None:
    """With `models`, the headers are those of the model that served; one that has ended is passed over."""
    await shown(rig, HOME, SOL)
    both = {"models": ["gpt-6.1-sol", "gpt-4o"], "model": "gpt-4o"}
    answer = await rig.chat(**both)
    assert (answer.headers["x-tokn-model"], answer.headers["x-tokn-model-shutdown"]) == (
        "gpt-4o",
        "2027-01-14",
    )
    rig.day = ENDS
    answer = await rig.chat(**both)
    assert answer.headers["x-tokn-model"] == "gpt-6.1-sol"
    assert "x-tokn-model-shutdown" not in answer.headers


async def test_an_alias_passes_over_what_has_ended(rig: Rig) -> None:
    """An alias is listed as its first model that lives."""
    rig.ledger.aliases = (Alias("quick", ("gpt-4o", "gpt-6.1-sol")),)
    await shown(rig, HOME, SOL)
    rig.ledger.aliases = ()
    for day, max_output in ((date(2027, 1, 1), HOME), (ENDS, SOL)):
        rig.day = day
        entry = (await entries(rig))["quick"]
        assert entry == (await rig.http.get("/v1/models/quick")).json()
        assert entry["successor"] == max_output.successor


async def test_the_list_says_where_models_stand(rig: Rig) -> None:
    """Dates and limits of lists are told where they are stricter than the row's; what no list has is marked."""
    earlier = date(2026, 12, 24)
    facts = (ModelFact("gpt-4o", shutdown=earlier), ModelFact("gpt-6-luna", deprecated=True, max_output=77))
    await shown(rig, HOME, LUNA, SOL, OWN, facts=facts, unlisted=("mine",))
    found = await entries(rig)
    told = {
        name: (one["lifecycle"], one["shutdown_date"], one["successor"], one["max_output_tokens"])
        for name, one in found.items()
        if one["pool"] == "openai"
    }
    assert told == {
        "gpt-4o": ("deprecated", "2026-12-24", "gpt-6.1-sol", 16_384),
        "gpt-6-luna": ("deprecated", None, None, 77),
        "gpt-6.1-sol": ("deprecated", None, None, 16_384),
        "mine": ("deprecated", "2026-12-24", "gpt-6.1-sol", 16_384),
    }
    assert [name for name, one in found.items() if "unlisted" in one] == ["mine"]
    rig.day = earlier
    assert {"gpt-4o", "mine"} & (await entries(rig)).keys() == {"mine"}
    assert (await rig.chat(model="mine")).status_code == 200


async def test_a_lower_limit_of_the_list_bounds_the_call(rig: Rig) -> None:
    """No job asks for more than the list's limit: one that is set is cut to it, and one that is written is no higher."""
    always = structs.replace(LUNA, capabilities=structs.replace(LUNA.capabilities, needs_limit=True))
    worker = await shown(rig, always, facts=(ModelFact("gpt-6-luna", max_output=77),))
    for asked in ({}, {"max_tokens": 78}, {"max_tokens": 77}, {"max_tokens": 5}):
        assert (await rig.chat(model="gpt-6-luna", **asked)).status_code == 200
    jobs = [(attempt.job.limit, attempt.job.write_limit) for attempt in worker.attempts]
    assert jobs == [(77, True), (77, True), (77, False), (5, False)]
    assert [one.limit for one in rig.ledger.of(AUTHORISE)] == [None, 77, 77, 5]


async def test_a_change_of_a_list_is_another_list(rig: Rig) -> None:
    """What lists say is part of the tag: a client that has the older list gets the newer one."""
    worker = await shown(rig, LUNA)
    first = await rig.http.get("/v1/models")
    worker.facts = (ModelFact("gpt-6-luna", shutdown=ENDS),)
    worker.beat()
    while not _told(rig, worker):
        await asyncio.sleep(0.01)
    again = await rig.http.get("/v1/models", headers={"if-none-match": first.headers["etag"]})
    assert again.status_code == 200
    assert {one["id"]: one for one in again.json()["data"]}["gpt-6-luna"]["shutdown_date"] == "2027-01-14"
