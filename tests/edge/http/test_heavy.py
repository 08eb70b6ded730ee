"""Bodies that are large or tangled, at a real edge: who may send them, what is refused while they arrive, what they keep."""

import asyncio
import json
import threading
from decimal import Decimal
from typing import Any

import httpx
import msgspec
import pytest

from edge.admission.desk import LIGHT_BYTES, LIGHT_VALUES, Desk
from edge.http.intake import TANGLED, Body
from edge.limits import LIMITS
from schemas.catalogue.builtin import BUILTIN
from schemas.chat.priced import RequestError
from schemas.dialects import DIALECTS
from schemas.shape import ARRAYS_MAX, ESCAPES_MAX, KEYS_MAX, OBJECTS_MAX, VALUES_MAX
from schemas.verbs.calls import AUTHORISE
from schemas.verbs.keys import KEY
from tests.edge.conftest import FAST, Rig
from tests.edge.stand_ins import Attempt, until
from tests.fakes import heavy

# Whatever takes a body, and in which envelope its errors are.
PATHS = (*(dialect.path for dialect in DIALECTS), "/v1/messages/count_tokens", "/v1/responses/input_tokens")
LARGE_BYTES = 70_000
TANGLES = {
    "keys": f"more than {KEYS_MAX} keys of objects",
    "empty parts": f"more than {OBJECTS_MAX} objects",
    "prompt nothing": f"more than {ARRAYS_MAX} arrays",
    "prompt numbers": f"more than {VALUES_MAX} values",
    "escapes": f"more than {ESCAPES_MAX} escapes in strings",
}
SIZES = {"escapes": 13 * heavy.MIB}


def free(rig: Rig) -> None:
    """Makes the sandbox's model one that costs nothing."""
    rows = []
    for model in BUILTIN:
        prices = model.prices
        if model.id == "tokn-sandbox":
            tier = msgspec.structs.replace(prices[0].tiers[0], input=Decimal(0), output=Decimal(0))
            prices = (msgspec.structs.replace(prices[0], tiers=(tier,)),)
        rows.append(msgspec.structs.replace(model, prices=prices))
    rig.ledger.models = tuple(rows)


async def post(rig: Rig, path: str, size: int) -> httpx.Response:
    """What a body that is wrong in every dialect comes to."""
    body = {"model": "tokn-sandbox", "n": 0, "user": "x" * size}
    return await rig.http.post(path, json=body)


@pytest.mark.parametrize("path", PATHS)
async def test_a_large_body_is_read_for_money(rig: Rig, path: str) -> None:
    """Above 64 KiB a key without money gets 402 before its body is judged; below, and with money, the body is judged."""
    rig.ledger.available_nano = 0
    refused = await post(rig, path, LARGE_BYTES)
    assert (refused.status_code, refused.headers["x-should-retry"]) == (402, "false")
    assert "Insufficient balance" in refused.text
    assert (await post(rig, path, 1_000)).status_code == 400
    rig.ledger.available_nano = 5_000_000_000
    assert (await post(rig, path, LARGE_BYTES)).status_code == 400
    assert not rig.ledger.of(AUTHORISE)
    assert rig.edge.budget.used == 0


@pytest.mark.parametrize("framing", ["declared", "chunked"])
async def test_the_refused_body_stays_unread(rig: Rig, framing: str) -> None:
    """The 402 comes while most of the body is still to be sent, whether its length was declared or not."""
    rig.ledger.available_nano = 0
    head = (
        b"Content-Length: 30000000\r\n\r\n"
        if framing == "declared"
        else b"Transfer-Encoding: chunked\r\n\r\n12000\r\n" + b"x" * 0x12000 + b"\r\n"
    )
    reader, writer = await asyncio.open_connection("127.0.0.1", rig.edge.port)
    key = rig.ledger.key.encode()
    writer.write(b"POST /v1/messages HTTP/1.1\r\nHost: x\r\nx-api-key: %s\r\n" % key + head)
    answer = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)
    assert answer.startswith(b"HTTP/1.1 402 ")
    writer.close()
    assert len(rig.ledger.of(KEY)) == 1


@pytest.mark.parametrize(("available_nano", "status"), [(None, 400), (0, 402), (599, 402), (600, 400)])
async def test_the_least_price_decides(rig: Rig, available_nano: int | None, status: int) -> None:
    """A key is refused that cannot pay for one token of the cheapest served model; a ledger that says nothing refuses none."""
    rig.ledger.available_nano = available_nano
    assert (await post(rig, "/v1/chat/completions", LARGE_BYTES)).status_code == status


async def test_a_free_model_lets_everybody_send(rig: Rig) -> None:
    """While a model at price 0 is served, a large body may be for it, and is read."""
    free(rig)
    rig.ledger.available_nano = 0
    before = rig.edge.catalogue.generation
    rig.edge.catalogue._loaded = 0.0  # old at once
    await until(lambda: rig.edge.catalogue.generation > before)
    assert (await post(rig, "/v1/chat/completions", LARGE_BYTES)).status_code == 400


PATIENT = msgspec.structs.replace(FAST, body_s=60.0)


@pytest.mark.parametrize("rig", [PATIENT], indirect=True)
async def test_each_limit_is_named_in_the_callers_dialect(rig: Rig) -> None:
    """What holds more than is parsed is a 400 that names the limit, in every envelope, and nothing of it is kept."""
    asked = [
        (path, name) for path in PATHS for name in TANGLES if path == PATHS[0] or name == "nested arrays"
    ]
    for path, name in asked:
        why, size = TANGLES[name], SIZES.get(name, 2 * heavy.MIB)
        answer = await rig.http.post(path, content=heavy.body(heavy.JUNK[name], size))
        assert answer.status_code == 400, (name, answer.text)
        error = json.loads(answer.content)["error"]
        assert error["message"] == f"The request body has {why}."
        if not path.startswith("/v1/messages"):
            assert error["code"] == TANGLED
    assert rig.edge.budget.used == 0
    assert not rig.ledger.of(AUTHORISE)


@pytest.mark.parametrize("rig", [PATIENT], indirect=True)
async def test_a_large_call_is_served(rig: Rig) -> None:
    """A large body that is sound is read beside the loop, and reaches its worker byte for byte."""
    text = 'say "hi" \u6f22\U0001f600\n' * 200_000
    bodies: list[bytes] = []

    async def script(attempt: Attempt) -> None:
        attempt.accept()
        await until(lambda: sum(len(part.data) for part in attempt.parts) == attempt.job.body_bytes)
        assert rig.edge.budget.used == attempt.job.body_bytes
        bodies.append(b"".join(part.data for part in attempt.parts))
        attempt.end(b"{}")

    rig.worker.script = script
    assert (await rig.chat(messages=[{"role": "user", "content": text}] * 2)).status_code == 200
    assert [message["content"] for message in json.loads(bodies[0])["messages"]] == [text, text]
    assert rig.edge.budget.used == 0


HEAVY = Body(bytes(LIGHT_BYTES + 1))


async def test_heavy_bodies_take_turns_beside_the_loop() -> None:
    """One heavy body is read at a time, and the loop runs meanwhile; a light one waits for none."""
    desk, loop = Desk(LIMITS), asyncio.get_running_loop()
    gates = [threading.Event() for _ in range(3)]
    begun: list[int] = []

    def work(number: int) -> int:
        loop.call_soon_threadsafe(begun.append, number)
        assert gates[number].wait(60)
        return number

    waiting = [
        asyncio.create_task(desk.read(HEAVY, lambda number=number: work(number))) for number in range(3)
    ]
    for number in range(3):
        await until(lambda number=number: begun == list(range(number + 1)))
        assert await desk.read(Body(b"{}", LIGHT_VALUES), lambda: "light") == "light"
        gates[number].set()
        assert await waiting[number] == number
    desk.close()


async def test_a_heavy_body_waits_for_so_long() -> None:
    """A body whose turn does not come in time is a 503 with a time to come back; one of many values is heavy too."""
    desk, gate = Desk(msgspec.structs.replace(LIMITS, desk_s=0.01)), threading.Event()
    first = asyncio.create_task(desk.read(HEAVY, lambda: gate.wait(60)))
    await asyncio.sleep(0)
    for body in (HEAVY, Body(b"", LIGHT_VALUES + 1)):
        with pytest.raises(RequestError) as refused:
            await desk.read(body, lambda: None)
        assert refused.value.error.status == 503
        assert refused.value.error.retry_after_s
    gate.set()
    assert await first
    assert await desk.read(HEAVY, lambda: "free again") == "free again"
    desk.close()


async def test_what_reading_raises_comes_back() -> None:
    """A refusal is raised where the body was asked for, and the next one has its turn."""
    desk = Desk(LIMITS)

    def work() -> Any:
        raise LookupError("this body")

    for _ in range(2):
        with pytest.raises(LookupError, match="this body"):
            await desk.read(HEAVY, work)
    desk.close()
