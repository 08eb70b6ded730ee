"""Each preset of OpenAI's protocol with its vendor's own shapes: what it gets, what a caller sees, what is billed."""

from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest

from runtime.catalogue.models import rows
from runtime.catalogue.presets import Preset, presets
from runtime.settings.settings import PoolSettings, load
from runtime.settings.sold import sold_by
from schemas.bus.frames import Job
from schemas.bus.usage import Known
from schemas.catalogue.model import Model
from schemas.catalogue.profiles import COMPATIBLE_PROFILE
from schemas.money.pricing import Price, price_on
from tests.fakes.openai import FakeOpenAI, Received
from tests.fakes.vendors import CALL, LIMIT, RATE, VENDORS, Vendor, asked, by_hand, refused, served, wanted
from tests.fakes.worker import Answered, job, rig
from workers.providers.openai.family import OpenAI

TODAY = date(2026, 11, 26)
OWN_PRICE = "input = 1.5\ncached_input = 0.15\noutput = 4.5\ncontext = 32000\nmax_output = 4000\n"
COMPATIBLES = [preset for preset in presets().values() if preset.profile == COMPATIBLE_PROFILE]
every_vendor = pytest.mark.parametrize("preset", COMPATIBLES, ids=[preset.name for preset in COMPATIBLES])


def configured(folder: Path, preset: Preset, vendor: Vendor, base_url: str) -> tuple[PoolSettings, Model]:
    """The pool of a file that names the preset, and the vendor's model as it is sold there."""
    text = f'[pools.{preset.name}]\nprovider = "{preset.name}"\n[[pools.{preset.name}.accounts]]\nid = "a"\n'
    text += f'base_url = "{base_url}"\n' + (f'api_key = "{vendor.key}"\n' if vendor.key else "")
    name = f"{preset.name}/{vendor.model}"
    if not preset.price_source:
        text += f'[[models]]\nid = "{name}"\nupstream = "{vendor.model}"\npool = "{preset.name}"\n{OWN_PRICE}'
    path = folder / "tokn.toml"
    path.write_text(text)
    settings = load(path, credentials=True, environment={})
    (pool,) = settings.pools
    return pool, sold_by(settings, pool, TODAY)[name]


def priced(model: Model) -> Price:
    """What the model costs on the day of these tests."""
    price = price_on(model.prices, TODAY)
    assert price is not None
    return price


def called(body: dict[str, Any], model: Model) -> Job:
    """The job that an edge would make of a body."""
    return job(
        body,
        model=model.id,
        upstream=model.upstream,
        limit=LIMIT,
        include_cost=True,
        price=priced(model),
        rate=RATE,
    )


def check_request(received: Received, preset: Preset, vendor: Vendor, given: dict[str, Any]) -> None:
    """Address, credential, and every field of the body."""
    assert received.path == f"{urlsplit(preset.base_url).path}/chat/completions"
    assert received.headers.get("authorization") == (f"Bearer {vendor.key}" if vendor.key else None)
    got = received.json
    call_id = got["messages"][3]["tool_call_id"]
    if vendor.short_ids:
        assert (len(call_id), call_id.isalnum()) == (9, True)
    else:
        assert call_id == CALL
    assert got == wanted(vendor, given, call_id)


def check_message(told: dict[str, Any], vendor: Vendor) -> None:
    """What was said, and none of it twice."""
    assert told.get("content") == "hi"
    assert (told.get("reasoning_content") or told.get("reasoning") or "") == vendor.reasoning


def streamed(data: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    """The message that a stream's pieces make, and its usage."""
    events = [msgspec.json.decode(line[6:]) for line in data.split(b"\n") if line.startswith(b"data: {")]
    told: dict[str, Any] = {}
    for delta in (choice["delta"] for one in events for choice in one["choices"]):
        for name in ("content", "reasoning_content", "reasoning"):
            if delta.get(name):
                told[name] = told.get(name, "") + delta[name]
    return told, events[-1]["usage"]


def check_bill(shown: dict[str, Any], vendor: Vendor, model: Model) -> None:
    """The usage that a caller reads, and its price to the nano-dollar; no figure of the vendor's own."""
    usage = vendor.usage
    assert shown["prompt_tokens"] == usage.input + usage.cached
    assert shown["completion_tokens"] == usage.output + usage.reasoning
    assert Decimal(repr(shown["cost"])) * 10**9 == by_hand(usage, priced(model))
    assert not {"cost_details", "is_byok", "estimated_cost"} & shown.keys()


def answers(answered: Answered, *, stream: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    """The message and the usage of an answer."""
    if stream:
        return streamed(answered.data)
    whole = msgspec.json.decode(answered.data)
    return whole["choices"][0]["message"], whole["usage"]


@every_vendor
async def test_a_vendor_is_spoken_to_in_its_own_way(tmp_path: Path, preset: Preset) -> None:
    """Plain and streamed: it gets what it takes, the caller reads what it said, and pays what its prices say."""
    vendor = VENDORS[preset.name]
    async with FakeOpenAI(lambda received: served(vendor, received), strict=False) as fake:
        base_url = f"http://127.0.0.1:{fake.port}{urlsplit(preset.base_url).path}"
        pool, model = configured(tmp_path, preset, vendor, base_url)
        async with rig((pool,), (model,)) as made:
            for stream in (False, True):
                given = asked(vendor, stream=stream)
                call = called(given, model)
                answered = await made.edge.call(call, pool.name)
                check_request(fake.received[-1], preset, vendor, given)
                told, shown = answers(answered, stream=stream)
                check_message(told, vendor)
                check_bill(shown, vendor, model)
                event = await made.ledger.event(call)
                assert (event.known, event.usage, event.provider) == (
                    Known.REPORTED,
                    vendor.usage,
                    preset.name,
                )
            assert len(fake.received) == 2
            fake.handler = lambda _received: refused(vendor)
            failed = (await made.edge.call(called(given, model), pool.name)).failed
            assert (failed.error.status, vendor.told[1] in (None, failed.error.code)) == (
                vendor.told[0],
                True,
            )
            assert vendor.key == "" or vendor.key not in failed.error.message


@every_vendor
def test_a_vendors_key_is_never_told(preset: Preset) -> None:
    """An upstream that says our key back, in whatever form its keys have, tells it to no caller."""
    key = VENDORS[preset.name].key
    told = OpenAI().fault(400, {}, msgspec.json.encode({"error": {"message": f"The key {key!r} is odd."}}))
    assert told.error.status == 400
    assert key == "" or not any(part in told.error.message for part in key.split("."))


def test_every_preset_has_its_vendor() -> None:
    """A preset of OpenAI's protocol without a row of its vendor's shapes does not exist, nor a row without a preset."""
    assert list(VENDORS) == [preset.name for preset in COMPATIBLES]


@every_vendor
def test_a_vendors_model_is_in_the_catalogue(preset: Preset) -> None:
    """The tests use a model that the vendor's own rows have, where there are any."""
    assert not preset.price_source or VENDORS[preset.name].model in rows(preset.price_source)
