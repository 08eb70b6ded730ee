"""References to items of earlier answers over the whole path: what the AI SDK sends by default, on all families."""

import json
from typing import Any

import httpx
import pytest

from schemas.money.pricing import TokenUsage
from tests.fakes.dialects import Answer, counted
from tests.fakes.families import by_hand
from tests.fakes.receipts import receipt
from tests.fakes.responses import LOOK, NATIVE, WAYS, every_stage, every_toml
from tests.fakes.tokn import Tokn, wait_for

pytestmark = pytest.mark.system

USER = {"role": "user", "content": "Look at x and y."}
CALLS = Answer(
    ("Look", "ing."),
    TokenUsage(input=120, output=30),
    (("call_a", "look", {"at": "x"}), ("call_b", "look", {"at": "y"})),
)
DONE = Answer(("All ", "done."), TokenUsage(input=150, output=5))
every_way = pytest.mark.parametrize("way", WAYS)
streamed_or_plain = pytest.mark.parametrize("stream", [True, False], ids=["stream", "plain"])


@pytest.fixture(scope="module")
def played():
    """One fake of each provider, and one that speaks the dialect itself."""
    with every_stage() as made:
        yield made


@pytest.fixture(scope="module")
def tokn(played, tmp_path_factory):
    """`tokn up` with all of them."""
    text = every_toml(played)
    with Tokn(tmp_path_factory.mktemp("references") / "data", text) as running:
        yield running
        assert running.audit()["ok"] is True


@pytest.fixture(scope="module")
def http(tokn):
    """A client with the first key."""
    with client(tokn, tokn.key) as made:
        yield made


def client(tokn: Tokn, key: str) -> httpx.Client:
    return httpx.Client(base_url=tokn.url, headers={"Authorization": f"Bearer {key}"}, timeout=60)


def ask(http: httpx.Client, way: str, said: list[Any], **more: Any) -> httpx.Response:
    """One turn, as the AI SDK asks for it."""
    body = {"model": way, "input": said, "tools": [LOOK], "tool_choice": "auto", **more}
    return http.post("/v1/responses", json=body)


def output(answer: httpx.Response) -> list[dict[str, Any]]:
    """The items that an answer ends with."""
    assert answer.status_code == 200, answer.text
    if answer.headers["content-type"].startswith("application/json"):
        return list(answer.json()["output"])
    return list(json.loads(answer.text.rpartition("\ndata: ")[2])["response"]["output"])


def reference(item: dict[str, Any]) -> dict[str, Any]:
    return {"type": "item_reference", "id": item["id"]}


def results(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    calls = [item for item in items if item["type"] == "function_call"]
    return [
        {"type": "function_call_output", "call_id": call["call_id"], "output": f"seen {call['call_id']}"}
        for call in calls
    ]


def served(http: httpx.Client, said: list[Any]) -> httpx.Response:
    """A turn's answer once there is a worker again, and a bus."""

    def answer() -> httpx.Response | None:
        got = ask(http, "gemini", said)
        return None if got.status_code in (429, 503) else got

    got = wait_for(answer, 60, "an answer")
    assert isinstance(got, httpx.Response)
    return got


@every_way
@streamed_or_plain
@pytest.mark.parametrize("calls", ["whole", "referred"])
def test_a_tool_loop_with_references(played, http, way, stream, calls):
    """The next turn reaches the provider as if everything had been sent whole, and costs what its provider says."""
    stage = played[way][0]
    stage.play(CALLS)
    items = output(ask(http, way, [USER], stream=stream))
    assert [item["type"] for item in items] == ["message", "function_call", "function_call"]
    bare = [{name: value for name, value in item.items() if name != "id"} for item in items[1:]]
    said = [USER, reference(items[0]), *(bare if calls == "whole" else map(reference, items[1:]))]
    stage.play(DONE)
    answer = ask(http, way, [*said, *results(items)], stream=stream)
    assert output(answer)[0]["content"][0]["text"] == "All done."
    referred = stage.bodies[-1]
    used = counted("openai" if way == NATIVE else way, DONE.usage)
    assert receipt(http, answer.headers["x-request-id"])["billed_nano"] == by_hand(used)
    stage.play(DONE)
    whole = [USER, items[0], *(bare if calls == "whole" else items[1:]), *results(items)]
    assert output(ask(http, way, whole, stream=stream))
    assert referred == stage.bodies[-1]


@every_way
def test_items_are_their_own_keys(tokn, played, http, way):
    """Another key's reference is a 404 before anything is asked; so is one to an answer that was not to be kept."""
    stage = played[way][0]
    stage.play(DONE)
    (item,) = output(ask(http, way, [USER]))
    asked = len(stage.bodies)
    other = tokn.row("key", "create", "--name", "other", "--balance", "1")["key"]
    with client(tokn, other) as stranger:
        refused = ask(stranger, way, [USER, reference(item), USER])
    assert (refused.status_code, refused.json()["error"]["param"]) == (404, "input")
    assert f"'{item['id']}' not found" in refused.json()["error"]["message"]
    assert len(stage.bodies) == asked
    stage.play(DONE)
    (unkept,) = output(ask(http, way, [USER], store=False))
    assert ask(http, way, [USER, reference(unkept), USER]).status_code == 404


def test_a_worker_that_starts_anew_finds_them(tokn, played, http):
    """Items outlive the process that wrote them; what is gone with the bus is a 404 of the caller's, and costs nothing."""
    stage = played["gemini"][0]
    stage.play(DONE)
    (item,) = output(ask(http, "gemini", [USER]))
    turn = [USER, reference(item), USER]
    stage.play(DONE)
    assert output(ask(http, "gemini", turn))
    tokn.kill("worker")
    stage.play(DONE)
    assert output(served(http, turn))
    tokn.kill("nats-server")
    asked = len(stage.bodies)
    lost = served(http, turn)
    assert (lost.status_code, lost.json()["error"]["param"]) == (404, "input")
    assert len(stage.bodies) == asked
    stage.play(DONE)
    (again,) = output(served(http, [USER]))
    stage.play(DONE)
    assert output(served(http, [USER, reference(again), USER]))
