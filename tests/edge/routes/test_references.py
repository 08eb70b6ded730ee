"""References to items of earlier answers at an edge: counted before the hold, verified by the key's own scope."""

import json
from typing import Any

import pytest

from schemas.responses.marks import Marks
from schemas.responses.references import REFERENCES_MAX
from schemas.verbs.calls import AUTHORISE
from schemas.verbs.keys import KEY
from tests.edge.conftest import FAST, Rig
from tests.edge.stand_ins import SCOPE
from tests.fakes.nats import NatsServer

PATH = "/v1/responses"
USER = {"role": "user", "content": "hi"}
MARKS = Marks(SCOPE, "req_1", 1_000)
SAID = MARKS.exact("msg_1_0", 700)


async def ask(rig: Rig, *item_ids: str, **more: Any) -> Any:
    references = [{"type": "item_reference", "id": item_id} for item_id in item_ids]
    return await rig.http.post(PATH, json={"model": "tokn-sandbox", "input": [USER, *references], **more})


async def test_a_reference_is_counted_and_goes_on(rig: Rig) -> None:
    """The hold covers what its mark says, and the job names it; reasoning of nobody is neither."""
    await ask(rig)
    await ask(rig, SAID, "rs_1", Marks("other", "req_1", 9).loose("rs_2"))
    bare, held = rig.ledger.of(AUTHORISE)
    assert held.prompt_max - bare.prompt_max > 700
    first, second = (attempt.job for attempt in rig.worker.attempts)
    assert (first.references, second.references) == ((), (SAID,))
    assert first.keeps
    assert second.keeps
    assert json.loads(second.body)["input"][1]["id"] == SAID
    assert second.text_bytes - first.text_bytes < 700


async def test_a_reference_that_is_not_the_keys_own_is_not_found(rig: Rig) -> None:
    """404 before any hold: unmarked, forged, or another key's; too many are a 400; a key is asked about once."""
    forged = SAID.replace("_k002bc", "_k00001")
    theirs = Marks("scope-other", "req_1", 9).loose("msg_1_0")
    for item_id in ("msg_1_0", forged, theirs):
        answer = await ask(rig, item_id)
        error = answer.json()["error"]
        assert (answer.status_code, error["param"], error["code"]) == (404, "input", None)
        assert error["message"].startswith(f"Item with id '{item_id}' not found. Items are not persisted")
    many = [MARKS.loose(f"msg_1_{number}") for number in range(REFERENCES_MAX + 1)]
    assert (await ask(rig, *many)).status_code == 400
    assert (await ask(rig, SAID, SAID)).status_code == 400
    assert rig.ledger.of(AUTHORISE) == []
    assert len(rig.ledger.of(KEY)) == 5
    assert (await ask(rig, *many[1:])).status_code == 200


async def test_what_is_told_of_a_dead_key_is_that(rig: Rig) -> None:
    """A reference says nothing to who has no key."""
    rig.ledger.active = False
    assert (await ask(rig, SAID)).status_code == 401
    assert (await ask(rig, "msg_1_0")).status_code == 401


@pytest.mark.parametrize(("store", "kept"), [(None, True), (True, True), (False, False)])
async def test_an_answer_is_kept_unless_its_caller_says_no(rig: Rig, store: bool | None, kept: bool) -> None:
    """`store` at false ends keeping, and nothing else; other dialects keep nothing; references work either way."""
    assert (await ask(rig, SAID, store=store)).status_code == 200
    await rig.chat()
    responses, chat = (attempt.job for attempt in rig.worker.attempts)
    assert responses.keeps is kept
    assert responses.references == (SAID,)
    assert chat.keeps is False


async def test_an_operator_may_keep_nothing(nats: NatsServer) -> None:
    """With `keep_items` off a reference is the 404 that it would be, reasoning is lost, and no scope is asked for."""
    rig = Rig(nats)
    rig.keep_items = False
    async with rig.stack:
        await rig.open(FAST)
        assert (await ask(rig, SAID)).status_code == 404
        asked = len(rig.ledger.of(KEY))
        assert (await ask(rig, MARKS.loose("rs_1_0"))).status_code == 200
        assert len(rig.ledger.of(KEY)) == asked
        (attempt,) = rig.worker.attempts
        assert (attempt.job.keeps, attempt.job.references) == (False, ())
