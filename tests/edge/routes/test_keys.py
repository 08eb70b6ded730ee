"""What a key may do that is not simply alive: expired, paused, suspended, or with a list of models."""

from typing import Any

import httpx
import pytest

from schemas.catalogue.aliases import Alias
from schemas.verbs.calls import AUTHORISE, Reason, Refusal
from tests.edge.conftest import Rig
from tests.edge.stand_ins import until

EXPIRED_MS = 1_795_000_000_000  # 2026-11-18 11:06:40 UTC
LARGE = "x" * 70_000  # beyond what is read before the key is asked for


async def reads(rig: Rig) -> list[httpx.Response]:
    """All that a key can read."""
    rig.ledger.receipts = {"req_1": {"id": "req_1"}}
    paths = ("/v1/models", "/v1/models/tokn-sandbox", "/v1/generations/req_1")
    return [await rig.http.get(path) for path in paths]


async def test_an_expired_key_reads_nothing(rig: Rig) -> None:
    """It is a 401 that says when it ended, for calls and for every read; a list that its caller has is no way around."""
    tag = (await rig.http.get("/v1/models")).headers["etag"]
    rig.ledger.active, rig.ledger.expired_ms = False, EXPIRED_MS
    rig.ledger.refusal = Refusal(Reason.EXPIRED, expired_ms=EXPIRED_MS)
    answers = await reads(rig)
    answers.append(await rig.http.get("/v1/models", headers={"if-none-match": tag}))
    answers.append(await rig.chat(messages=[{"role": "user", "content": LARGE}]))
    rig.ledger.active = True
    answers.append(await rig.chat())
    for answer in answers:
        error = answer.json()["error"]
        assert (answer.status_code, error["code"]) == (401, "invalid_api_key")
        assert "This key expired on 2026-11-18 at 11:06:40 UTC" in error["message"]


@pytest.mark.parametrize(
    ("reason", "code"),
    [(Reason.PAUSED, "key_paused"), (Reason.SUSPENDED, "organization_suspended")],
)
async def test_who_may_not_call_may_read(rig: Rig, reason: Reason, code: str) -> None:
    """A paused key, and one of a suspended organisation, reads models and receipts; its calls are a 403 that no SDK retries."""
    rig.ledger.key_fields = {"barred": reason.value}
    rig.ledger.refusal = Refusal(reason)
    assert [answer.status_code for answer in await reads(rig)] == [200, 200, 200]
    large = await rig.chat(messages=[{"role": "user", "content": LARGE}])
    assert not rig.ledger.of(AUTHORISE), "a large body is refused before it is read"
    for answer in (large, await rig.chat()):
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, code)
        assert answer.headers["x-should-retry"] == "false"


@pytest.mark.parametrize(
    ("path", "body", "code"),
    [
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "hi"}]}, True),
        ("/v1/completions", {"prompt": "hi"}, True),
        ("/v1/responses", {"input": "hi"}, True),
        ("/v1/messages", {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 5}, False),
    ],
)
async def test_a_denied_model_in_each_dialect(rig: Rig, path: str, body: dict[str, Any], code: bool) -> None:
    """It is a 403 in the dialect's own envelope, and names the model."""
    rig.ledger.refusal = Refusal(Reason.MODEL_DENIED)
    answer = await rig.http.post(path, json=body | {"model": "tokn-sandbox"})
    error = answer.json()["error"]
    assert answer.status_code == 403
    assert "`tokn-sandbox`" in error["message"]
    assert error["type"] == "permission_error"
    if code:
        assert (error["code"], error["param"]) == ("model_not_allowed", "model")


async def test_a_key_with_a_list_sees_no_other_models(rig: Rig) -> None:
    """Lists, pages and entries have only models of the key's list, under a tag of their own; an alias is shown for one of them."""
    rig.ledger.aliases = (Alias(id="fast", models=("gpt-4o", "gpt-4o-mini")),)
    await rig.add_worker("openai", ("gpt-4o", "gpt-4o-mini"))
    await until(lambda: not rig.edge.roster.silent("openai"))
    await rig.edge.catalogue._load()
    whole = await rig.http.get("/v1/models")
    everything = ["fast", "gpt-4o", "gpt-4o-mini", "tokn-sandbox"]
    assert [one["id"] for one in whole.json()["data"]] == everything
    for names, shown in (
        (("gpt-4o",), ["fast", "gpt-4o"]),
        (("gpt-4o*",), ["fast", "gpt-4o", "gpt-4o-mini"]),
        (("tokn-*", "gone"), ["tokn-sandbox"]),
        (("*",), everything),
        (("gone",), []),
    ):
        rig.ledger.key_fields = {"models": names}
        listed = await rig.http.get("/v1/models", headers={"if-none-match": whole.headers["etag"]})
        assert [one["id"] for one in listed.json()["data"]] == shown, names
        assert listed.headers["etag"] != whole.headers["etag"]
        again = await rig.http.get("/v1/models", headers={"if-none-match": listed.headers["etag"]})
        assert again.status_code == 304
        pages = (await rig.http.get("/v1/models", params={"limit": 1})).json()
        assert ([one["id"] for one in pages["data"]], pages["has_more"]) == (shown[:1], len(shown) > 1)
        for name in everything:
            one = await rig.http.get(f"/v1/models/{name}")
            assert one.status_code == (200 if name in shown else 403)
            assert name in shown or one.json()["error"]["code"] == "model_not_allowed"
        assert (await rig.http.get("/v1/models/nothing")).status_code == 404
