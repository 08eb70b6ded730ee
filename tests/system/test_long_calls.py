"""Owns how long calls may take over the whole path, with small figures: progress is never cut, silence and the total are."""

import asyncio
import contextlib
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from msgspec import structs

from edge.app import Edge
from edge.calls import leases
from edge.limits import LIMITS
from ledger.app import serve as serve_ledger
from ledger.rules.book import Rules
from runtime.bus.bus import Bus
from runtime.ledger import LedgerClient, Patience
from runtime.settings.settings import load
from schemas import keys
from schemas.bus.subjects import Role
from schemas.verbs import calls as verbs
from schemas.verbs.keys import KEY_CREATE, KeyCreate
from tests.fakes.books import read
from tests.fakes.caller import Seen, body, call, session, until
from tests.fakes.estimated import output_tokens
from tests.fakes.nats import NatsServer
from tests.fakes.tokn import CommandError, Tokn
from tests.fakes.upstream import Upstream, pool_toml
from workers.app import serve as serve_workers

pytestmark = pytest.mark.system

IDLE_S, TOTAL_S = 1.5, 5.0
PROMPT, WORDS = 7, 8
IN_NANO, OUT_NANO = 1_500, 6_000  # a token of `priced`, at rate 0.60
CALLS = f"[calls]\nidle_s = {IDLE_S}\ntotal_s = {TOTAL_S}\n"


@pytest.fixture(scope="module")
def tokn(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tokn]:
    """`tokn up` with small figures. The last test of this module ends it."""
    folder = tmp_path_factory.mktemp("long") / "data"
    with Tokn(folder, CALLS + pool_toml(upstream.base_url)) as running:
        yield running


async def made(tokn: Tokn, **script: Any) -> tuple[Seen, float]:
    """One call of the first key, and the seconds it took."""
    begun = time.monotonic()
    async with session() as client:
        seen = await call(client, tokn.url, tokn.key, body("call", **script))
    return seen, seen.ended_at - begun


async def bill(tokn: Tokn, request_id: str) -> tuple[Any, ...]:
    """What the books say of a call: outcome, how it is known, prompt, output, billed."""
    sql = f"SELECT outcome, known, input, output, billed_nano FROM usage WHERE request_id = '{request_id}'"
    (row,) = await until(lambda: tokn.read(sql), 10, "the bill")
    return tuple(row)


async def drips(tokn: Tokn, words: int, pace_s: float) -> None:
    """A stream of some words read with the SDK: it ends well, its hold is open all along, and it is billed as reported."""
    holds = "SELECT state FROM holds WHERE request_id = "
    request_id, got, finish = "", 0, None
    async with openai.AsyncOpenAI(api_key=tokn.key, base_url=f"{tokn.url}/v1", max_retries=0) as client:
        answer = await client.chat.completions.with_raw_response.create(
            model="priced",
            messages=[{"role": "user", "content": "hello"}],
            stream=True,
            extra_body={"x_script": {"words": words, "pace_s": pace_s}},
        )
        request_id = answer.headers["x-request-id"]
        async for chunk in answer.parse():
            (choice,) = chunk.choices
            got += bool(choice.delta.content)
            finish = choice.finish_reason
            if finish is None:
                assert list(map(tuple, tokn.read(f"{holds}'{request_id}'"))) == [("open",)]
    assert (got, finish) == (words, "stop")
    billed_nano = PROMPT * IN_NANO + words * OUT_NANO
    assert await bill(tokn, request_id) == ("ok", "reported", PROMPT, words, billed_nano)


async def test_a_stream_that_drips_is_served_to_its_end(tokn: Tokn) -> None:
    """A stream that takes far longer than the silence that is allowed, a chunk at a time, is served to its end."""
    begun = time.monotonic()
    await drips(tokn, WORDS, IDLE_S / 3)
    assert time.monotonic() - begun > 2 * IDLE_S


@pytest.mark.long
@pytest.mark.timeout(1_500)
async def test_a_chunk_every_five_seconds_for_twenty_minutes(upstream: Upstream, tmp_path: Path) -> None:
    """The same at full size, with the figures that a deployment has unless it sets others."""
    with Tokn(tmp_path / "data", pool_toml(upstream.base_url)) as running:
        await drips(running, 240, 5.0)


async def test_a_stream_that_falls_silent_ends_with_an_error(tokn: Tokn) -> None:
    """After its silence a stream ends with one error event and [DONE], and what came until then is billed by the rule."""
    seen, took_s = await made(tokn, words=2, pace_s=60.0)
    assert (seen.status, seen.words, seen.done) == (200, 1, True)
    assert seen.error is not None
    assert seen.error["code"] == "upstream_timeout"
    assert IDLE_S <= took_s < TOTAL_S
    outcome, known, _, output, billed_nano = await bill(tokn, seen.request_id)
    assert (outcome, known, output) == ("failed", "estimated", output_tokens("w0 ", "priced-upstream"))
    assert billed_nano > 0


async def test_a_stream_that_never_begins_is_a_504(tokn: Tokn) -> None:
    """An upstream that says nothing at all is a 504 after the silence that is allowed, and costs nothing."""
    seen, took_s = await made(tokn, gate=True)
    assert (seen.status, IDLE_S <= took_s < TOTAL_S) == (504, True)
    assert (await bill(tokn, seen.request_id))[-1] == 0


async def test_a_plain_answer_has_the_total(tokn: Tokn) -> None:
    """A plain answer that is silent for longer than a stream may be is served; beyond the total it is a 504 that costs nothing."""
    (served, took_s), (late, late_s) = await asyncio.gather(
        made(tokn, stream=False, pace_s=2 * IDLE_S), made(tokn, stream=False, gate=True)
    )
    assert served.complete, served
    assert took_s > 2 * IDLE_S
    assert (late.status, TOTAL_S <= late_s < TOTAL_S + LIMITS.call_grace_s) == (504, True)
    assert (await bill(tokn, late.request_id))[-1] == 0


async def test_the_total_ends_also_what_makes_progress(tokn: Tokn) -> None:
    """A stream that drips for ever ends with an error event after the total, billed for what it said."""
    seen, took_s = await made(tokn, words=1_000, pace_s=IDLE_S / 6)
    assert seen.error is not None
    assert (seen.done, seen.error["code"]) == (True, "upstream_timeout")
    assert TOTAL_S <= took_s < TOTAL_S + LIMITS.call_grace_s
    outcome, known, _, _, billed_nano = await bill(tokn, seen.request_id)
    assert (outcome, known, billed_nano > 0) == ("failed", "estimated", True)


async def test_a_stop_lets_a_stream_end(tokn: Tokn) -> None:
    """SIGTERM takes no new call, says what it waits for, and serves the stream to its end; then all ends, billed and sound."""
    begun = asyncio.get_running_loop().create_future()

    def words(seen: Seen) -> bool:
        if seen.words and not begun.done():
            begun.set_result(None)
        return False

    async with session() as client:
        request = body("stopped", words=WORDS, pace_s=IDLE_S / 3)
        running = asyncio.create_task(call(client, tokn.url, tokn.key, request, leave=words))
        await begun
        tokn.tree()
        tokn.process.send_signal(signal.SIGTERM)
        await until(lambda: not tokn.get("/healthz"), 20, "the port is closed")
        seen = await running
    assert seen.complete, seen
    assert seen.words == WORDS
    assert "calls in flight are waited for" in tokn.log.read_text()
    assert await asyncio.to_thread(tokn.process.wait, 20) == 0
    assert not tokn.orphans()
    billed_nano = PROMPT * IN_NANO + WORDS * OUT_NANO
    assert await bill(tokn, seen.request_id) == ("ok", "reported", PROMPT, WORDS, billed_nano)
    assert tokn.read("SELECT request_id FROM holds WHERE state = 'open'") == []


def test_a_bad_figure_ends_the_start(tmp_path: Path) -> None:
    """A wrong figure ends `tokn up` with exit code 3 and one line that names file, key and remedy."""
    with pytest.raises(CommandError) as caught:
        Tokn(tmp_path / "data", "[calls]\nidle_s = 900\ntotal_s = 60\n")
    assert caught.value.code == 3
    assert (
        f"{tmp_path}/data.toml: [calls] idle_s: must be at most total_s, which is 60" in caught.value.stderr
    )


LEASE_S, RENEW_S = 1.2, 0.3
STATES = "SELECT state FROM holds"


async def fresh_key(server: NatsServer) -> str:
    """A key with 5 USD."""
    key = keys.generate()
    bus = await Bus.connect(server.settings(Role.COMMAND), Role.COMMAND, name="test", on_closed=lambda: None)
    request = KeyCreate(
        v=1,
        digest=keys.digest(key),
        name="k",
        profile="",
        posted_nano=5 * 10**9,
        providers=None,
        playground=False,
    )
    await LedgerClient(bus, Patience(total_s=20.0, try_s=2.0, pause_s=0.1)).ask(KEY_CREATE, request)
    await bus.close()
    return key


async def test_a_hold_lives_as_long_as_its_stream(
    upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Edge and worker renew a hold over many leases, while a ledger ends those that are not; the bill is the report's."""
    monkeypatch.setattr(leases, "RENEW_INTERVAL_S", RENEW_S)
    monkeypatch.setattr(verbs, "RENEW_INTERVAL_S", RENEW_S)
    config = tmp_path / "tokn.toml"
    config.write_text(pool_toml(upstream.base_url))
    with NatsServer(tmp_path / "nats") as server:
        database_url = f"sqlite:///{tmp_path / 'ledger.db'}"
        settings = structs.replace(
            load(config, credentials=True, environment={}),
            nats=server.settings(),
            database_url=database_url,
            pepper="pepper",
            port=0,
        )
        stop = asyncio.Event()
        rules = Rules(lease_ms=int(LEASE_S * 1000))
        edge = Edge(settings, LIMITS)
        async with contextlib.AsyncExitStack() as stack, asyncio.TaskGroup() as services:
            stack.push_async_callback(edge.close)
            services.create_task(serve_ledger(settings, stop, rules=rules, quiet_s=0.0))
            services.create_task(serve_workers(settings, ("openai",), stop))
            await edge.open()
            services.create_task(edge.run(stop))
            try:
                key = await fresh_key(server)
                await until(lambda: not edge.roster.silent("openai"), 10, "a worker")
                states: set[str] = set()
                async with session() as client:
                    seen = await call(
                        client,
                        f"http://127.0.0.1:{edge.port}",
                        key,
                        body("leased", words=30, pace_s=LEASE_S / 6),
                        leave=lambda _: states.update(row[0] for row in read(database_url, STATES)) or False,
                    )
                assert seen.complete, seen
                # The last events come once the bill is durable; until then it lived, and was never estimated.
                assert states in ({"open"}, {"open", "settled"})
                sql = "SELECT h.state, u.known, u.output FROM holds h JOIN usage u ON u.request_id = h.request_id"
                await until(lambda: read(database_url, sql), 10, "the bill")
                assert read(database_url, sql) == [("settled", "reported", 30)]
            finally:
                stop.set()
