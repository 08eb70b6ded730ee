"""Media that were billed above their hold: the model's holds count the most from then on, and nobody else's."""

import base64
from typing import Any

import msgspec
import pytest

from edge.calls import overruns
from edge.calls.overruns import Overruns
from schemas.bus.frames import End
from schemas.catalogue.builtin import BUILTIN
from schemas.catalogue.media import with_margin
from schemas.catalogue.model import Model
from schemas.catalogue.profiles import profiled
from schemas.money.pricing import TokenUsage
from schemas.verbs.calls import AUTHORISE
from tests.edge.conftest import Rig
from tests.edge.stand_ins import Attempt, completion, until
from tests.fakes.documents import pdf, tree
from tests.fakes.media import data_url, png

ABLE = profiled("openai", "gpt-4o")
SANDBOX = BUILTIN[-1]


def model(name: str) -> Model:
    """A model of the sandbox's pool that sees as gpt-4o does."""
    return msgspec.structs.replace(SANDBOX, id=name, upstream=name, capabilities=ABLE)


async def see(rig: Rig, name: str, part: dict[str, Any], **headers: str) -> int:
    """The status of a call with one part."""
    body = {"model": name, "messages": [{"role": "user", "content": [part]}]}
    answer = await rig.http.post("/v1/chat/completions", json=body, headers=headers)
    return answer.status_code


PICTURE = {"type": "image_url", "image_url": {"url": data_url(png((64, 64)))}}
FILE = {
    "type": "file",
    "file": {
        "filename": "a.pdf",
        "file_data": "data:application/pdf;base64," + base64.b64encode(pdf(tree(2))).decode(),
    },
}


def held(rig: Rig) -> int:
    """What the last call was held for, in tokens of prompt."""
    return int(rig.ledger.of(AUTHORISE)[-1].prompt_max)


async def reports(rig: Rig, prompt: int) -> None:
    """Has the worker's ends say that so many tokens of prompt were used."""

    async def script(attempt: Attempt) -> None:
        attempt.accept()
        attempt.send(End(1, completion("A cat."), TokenUsage(input=prompt, output=3)))

    rig.worker.script = script


async def test_a_model_that_bills_above_a_hold_falls_back_to_its_most(rig: Rig) -> None:
    """One report above its hold makes every later picture and document of this model count the most, of another's none."""
    rig.ledger.models = (*BUILTIN, model("eyes"), model("others"))
    rig.worker.models = ("tokn-sandbox", "eyes", "others")
    rig.worker.beat()
    await until(lambda: rig.edge.roster.serves("sandbox", "eyes"))
    await reports(rig, 100)
    assert await see(rig, "eyes", PICTURE) == 200
    before = held(rig)
    assert await see(rig, "eyes", FILE) == 200
    assert held(rig) < 2 * (1_500 + 4_000) + 1_000
    await reports(rig, before)  # to the token: nothing has gone wrong
    assert await see(rig, "eyes", PICTURE) == 200
    assert held(rig) == before
    await reports(rig, before + 1)
    assert await see(rig, "eyes", PICTURE) == 200
    assert await see(rig, "eyes", PICTURE) == 200
    assert held(rig) == before - with_margin(255) + ABLE.image_tokens_max
    assert await see(rig, "eyes", FILE) == 200
    assert held(rig) == SANDBOX.context
    assert await see(rig, "others", PICTURE) == 200
    assert held(rig) == before


async def test_text_above_its_hold_is_no_matter_of_media(rig: Rig) -> None:
    """A call without media says nothing about pictures, whatever is reported of it."""
    await reports(rig, 10**9)
    assert (await rig.chat()).status_code == 200
    assert not rig.edge.relay.overruns.has("sandbox", "tokn-sandbox")


async def test_documents_are_counted_only_for_a_known_key(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A document of a caller whose key does not live is a 401 before anything looks into it."""
    rig.ledger.models = (*BUILTIN, model("reader"))
    counted = []

    async def count(documents: tuple[Any, ...]) -> dict[str, int]:
        counted.append(documents)
        return {}

    monkeypatch.setattr("edge.admission.pages.PageCounter.count", lambda self, documents: count(documents))
    rig.ledger.active = False
    assert await see(rig, "reader", FILE) == 401
    assert counted == []


def test_only_so_many_models_are_remembered(monkeypatch):
    """The list of models is bounded: the one that was seen longest ago is forgotten."""
    monkeypatch.setattr(overruns, "MODELS_MAX", 2)
    seen = Overruns()
    for name in ("a", "b", "c"):
        seen.report("p", name, prompt_max=1, prompt=2)
    assert [seen.has("p", name) for name in ("a", "b", "c")] == [False, True, True]
    assert not seen.has("q", "c")
