"""Presets over the whole path: one deployment, a pool each, the official SDK, and what the books say of it."""

import json
from datetime import UTC, datetime
from typing import Any

import httpx
import openai
import pytest
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletion

from runtime.catalogue.models import rows
from schemas.money.pricing import price_on
from tests.fakes import receipts
from tests.fakes.compatible import JSON, SSE, Case
from tests.fakes.families import pool_toml
from tests.fakes.ports import free_port
from tests.fakes.raw import RawServer
from tests.fakes.tokn import Tokn, run
from tests.fakes.vendors import VENDORS, by_hand

pytestmark = pytest.mark.system

LISTED = ("mistral", "groq", "deepseek", "xai", "moonshot", "fireworks", "perplexity")
FREE = "ollama"
SAY = [{"role": "user", "content": "hello " * 20}]
CALLED = {"id": "call_0", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
HISTORY: list[Any] = [
    {"role": "developer", "content": "Be brief."},
    *SAY,
    {"role": "assistant", "content": None, "reasoning_content": "hm", "tool_calls": [CALLED]},
    {"role": "tool", "tool_call_id": "call_0", "content": "rain"},
]


def upstream(name: str) -> str:
    """What the vendor is asked for."""
    return VENDORS[name].upstream or VENDORS[name].model


def model_id(name: str) -> str:
    """What a caller writes."""
    return f"{name}/{VENDORS[name].model}"


def server_of(name: str) -> Any:
    """A vendor that answers as asked, and refuses what it does not take."""
    vendor = VENDORS[name]

    def answer(asked: dict[str, Any]) -> Case:
        said = asked["messages"][2] if len(asked["messages"]) > 2 else {}
        odd = {"store", "user" if "user" in vendor.lacks else "store"} & asked.keys()
        odd |= {one["role"] for one in asked["messages"]} & {"developer"}
        odd |= set() if vendor.said else {"reasoning_content"} & said.keys()
        if odd:
            told = {
                "error": {
                    "message": f"property {sorted(odd)} is unsupported",
                    "type": "invalid_request_error",
                }
            }
            return Case(name, json.dumps(told).encode(), content_type=JSON, sent=400)
        if asked.get("stream"):
            return Case(name, vendor.stream, content_type=SSE)
        return Case(name, json.dumps(vendor.plain).encode(), content_type=JSON)

    return answer


@pytest.fixture(scope="module")
def server():
    """All vendors on one socket, each known by the model that it is asked for."""
    with RawServer({}, {upstream(name): server_of(name) for name in (*LISTED, FREE)}) as running:
        yield running


@pytest.fixture(scope="module")
def tokn(server, tmp_path_factory):
    """`tokn up` with a pool for each preset, and a `[[models]]` row only where nobody lists prices."""
    text = "".join(
        pool_toml(name, name, [f'base_url = "{server.base_url}"\napi_key = "{VENDORS[name].key}"\n'])
        for name in LISTED
    )
    text += pool_toml(FREE, FREE, [f'base_url = "{server.base_url}"\n'])
    text += f'[[models]]\nid = "{model_id(FREE)}"\npool = "{FREE}"\nupstream = "{upstream(FREE)}"\n'
    text += "input = 0\noutput = 0\ncontext = 32000\nmax_output = 4000\n"
    with Tokn(tmp_path_factory.mktemp("vendors") / "data", text) as running:
        yield running


@pytest.fixture(scope="module")
def sdk(tokn):
    """The official SDK, without retries of its own."""
    with openai.OpenAI(api_key=tokn.key, base_url=f"{tokn.url}/v1", max_retries=0, timeout=60) as client:
        yield client


def receipt(tokn: Tokn, request_id: str) -> dict[str, Any]:
    """What the books say of a call, once they do."""
    with httpx.Client(
        base_url=tokn.url, headers={"Authorization": f"Bearer {tokn.key}"}, timeout=60
    ) as client:
        return receipts.receipt(client, request_id)


def billed(name: str) -> int:
    """What the call costs by the vendor's own row, on this day."""
    if name == FREE:
        return 0
    price = price_on(rows(name)[VENDORS[name].model].priced(), datetime.now(UTC).date())
    assert price is not None
    return by_hand(VENDORS[name].usage, price)


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("name", [*LISTED, FREE])
def test_a_preset_is_served_and_billed(tokn, sdk, name, stream):
    """A history of another vendor's, with all that OpenAI's SDK sends: the answer is read, and billed by the row's price."""
    more: dict[str, Any] = {"stream": True, "stream_options": {"include_usage": True}} if stream else {}
    raw = sdk.chat.completions.with_raw_response.create(
        model=model_id(name), messages=HISTORY, store=True, user="u", max_completion_tokens=500, **more
    )
    answer = raw.parse()
    if stream:
        state = ChatCompletionStreamState()
        for chunk in answer:
            state.handle_chunk(chunk)
        answer = ChatCompletion.model_validate(state.current_completion_snapshot.model_dump())
    assert (answer.choices[0].message.content, answer.choices[0].finish_reason) == ("hi", "stop")
    used = VENDORS[name].usage
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (
        used.input + used.cached,
        used.output + used.reasoning,
    )
    paid = receipt(tokn, raw.headers["x-request-id"])
    assert (paid["known"], paid["provider"], paid["billed_nano"]) == ("reported", name, billed(name))


def test_an_answer_may_be_brought_back_to_another_vendor(sdk):
    """What one vendor's model said goes into the next call as the SDK has it, to each of the others."""
    said = sdk.chat.completions.create(model=model_id("moonshot"), messages=SAY).choices[0].message
    for name in LISTED:
        answer = sdk.chat.completions.create(model=model_id(name), messages=[*SAY, said, *SAY])
        assert answer.choices[0].message.content == "hi"


def test_the_list_has_the_vendors_models_and_the_books_end_even(tokn, sdk):
    """Each pool's rows are listed under its name, the bare ids once, and what was served balances."""
    listed = [one.id for one in sdk.models.list()]
    assert len(set(listed)) == len(listed)
    assert {model_id(name) for name in (*LISTED, FREE)} <= set(listed)
    assert {VENDORS[name].model for name in LISTED} <= set(listed)
    assert tokn.audit()["ok"] is True


def test_a_local_model_without_a_price_starts_nothing(tmp_path):
    """One sentence that names file, key and remedy, and exit code 3."""
    config = tmp_path / "tokn.toml"
    config.write_text(
        pool_toml("own", "vllm", [""]) + '[[models]]\nid = "m"\npool = "own"\ncontext = 9\nmax_output = 9\n'
    )
    done = run("up", "--port", str(free_port()), "--data", str(tmp_path / "data"), "--config", str(config))
    assert (done.returncode, done.stdout) == (3, "")
    (line,) = done.stderr.splitlines()
    assert f"{config}: [[models]] input: is needed" in line
