"""When lists of models are asked for, within which bounds, and what a worker does with one that fails."""

import asyncio
import time
from collections.abc import Callable, Mapping
from datetime import date, timedelta
from typing import Any

import msgspec
import pytest
import structlog
from msgspec import structs

from runtime.settings.settings import AccountSettings, PoolSettings
from schemas.bus.frames import Beat, End
from schemas.errors import model_not_found
from tests.fakes import lists
from tests.fakes.openai import FakeOpenAI, Reply, error
from tests.fakes.worker import account, job, model, rig, until
from workers import discovery
from workers import pools as served_pools
from workers.calls.accounts import Accounts
from workers.calls.listed import Stock
from workers.calls.serving import Counts, Serving
from workers.discovery import BYTES_MAX, PAGES_MAX, Discovery, Pace, stock
from workers.providers.base import AccountError, Action, Fault
from workers.providers.openai.family import OpenAI
from workers.upstream.http import UpstreamError
from workers.upstream.request import UpstreamRequest

TODAY = date(2026, 11, 26)
GONE = Fault(model_not_found("the model"), Action.GONE)
QUICK = Pace(interval_s=0.05, retry_s=0.02, miss_gap_s=0.05, deadline_s=0.2)
MODELS = (model("a", upstream="a"), model("b", upstream="b"), model("c", upstream="c"))


def body(*ids: str, **more: Any) -> bytes:
    """A page of a list."""
    return msgspec.json.encode({"object": "list", "data": [{"id": name} for name in ids]} | more)


class Answer:
    """What an upstream answers."""

    headers: Mapping[str, str] = {}

    def __init__(self, data: bytes, status: int = 200) -> None:
        self.status = status
        self._left = data

    async def read(self) -> bytes:
        """All that is left."""
        data, self._left = self._left[:65_536], self._left[65_536:]
        return data

    def close(self) -> None:
        """Nothing is open."""


class Upstream:
    """Answers with `answer`, and remembers when it was asked."""

    def __init__(self, answer: Callable[[UpstreamRequest], Answer]) -> None:
        self.answer = answer
        self.asked: list[tuple[float, UpstreamRequest]] = []

    async def open(self, request: UpstreamRequest) -> Answer:
        """One request."""
        self.asked.append((time.monotonic(), request))
        return self.answer(request)

    async def aclose(self) -> None:
        """Nothing is open."""


def serving(upstream: Upstream, *accounts: AccountSettings, family: Any = None) -> Serving:
    """A pool with three models."""
    made = accounts or (account("http://up/v1"),)
    return Serving(
        pool="openai",
        provider="openai",
        worker_id="w",
        control="worker.w",
        bus=None,
        jobs=None,
        family=family or OpenAI(),
        upstream=upstream,
        accounts=Accounts(made),
        models={one.id: one for one in MODELS},
        usage_events=None,
        items=None,
        counts=Counts(),
        idle_s=1.0,
    )


def discovery_of(made: Serving, **more: Any) -> Discovery:
    """Its discovery, on a fixed day."""
    known = Stock(MODELS, {}, ())
    return Discovery(made, known, **({"pace": QUICK, "today": lambda: TODAY} | more))


async def test_a_list_takes_effect() -> None:
    """What it lacks is gone from the pool, what it has stays."""
    made = serving(Upstream(lambda _: Answer(body("a", "c", "new"))))
    assert await discovery_of(made).ask(made.family, made.accounts.all[0])
    assert made.accounts.said.lacking == {"b"}
    assert made.accounts.said.unpriced == ("new",)
    beat = made.accounts.all[0].beat(0.0)
    assert (beat.listed, beat.list_error) == (3, "")
    assert abs(beat.listed_at - time.time()) < 60


async def _never() -> None:
    await asyncio.Event().wait()


class _Silent(Answer):
    async def read(self) -> bytes:
        await _never()
        return b""


class _Cut(Answer):
    async def read(self) -> bytes:
        raise UpstreamError("cut", sent=True)


def _unreachable(_: UpstreamRequest) -> Answer:
    raise UpstreamError("cannot connect", sent=False)


_FAILURES: dict[str, Callable[[UpstreamRequest], Answer]] = {
    **{
        f"status {status}": lambda _, status=status: Answer(body("a"), status)
        for status in (301, 401, 403, 404, 429, 500, 503)
    },
    "wrong shape": lambda _: Answer(b'{"models":[]}'),
    "an error with 200": lambda _: Answer(b'{"error":{"message":"no"}}'),
    "a page of HTML": lambda _: Answer(b"<html>"),
    "empty": lambda _: Answer(body()),
    "fewer than half": lambda _: Answer(body("a")),
    "too many bytes": lambda _: Answer(body(*["x" * 200] * (BYTES_MAX // 200))),
    "pages without end": lambda request: Answer(body(f"m{len(request.url)}", has_more=True, last_id="x")),
    "more without a way to it": lambda _: Answer(body(has_more=True)),
    "no answer in time": lambda _: _Silent(b""),
    "cut": lambda _: _Cut(b""),
    "no connection": _unreachable,
}


@pytest.mark.parametrize("failure", _FAILURES)
async def test_a_list_that_fails_hides_nothing(failure: str) -> None:
    """After a good list that took models away, every kind of failure brings them back, and says why."""
    upstream = Upstream(lambda _: Answer(body("a", "x", "y", "z")))
    made = serving(upstream)
    (only,) = made.accounts.all
    found = discovery_of(made)
    assert await found.ask(made.family, only)
    assert made.accounts.gone("b", 0.0)
    upstream.answer = _FAILURES[failure]
    assert not await found.ask(made.family, only)
    assert made.accounts.said.lacking == frozenset()
    assert all(made.accounts.serves(name, 0.0) for name in "abc")
    assert only.list.error
    upstream.answer = lambda _: Answer(body("a", "x", "y", "z"))
    await found.ask(made.family, only)
    assert await found.ask(made.family, only)
    assert made.accounts.gone("b", 0.0)


async def test_pages_without_end_have_one() -> None:
    """A server that always has another page is asked for so many and no more."""
    numbers = iter(range(10_000))
    upstream = Upstream(lambda _: Answer(body(f"m{next(numbers)}", has_more=True)))
    made = serving(upstream)
    assert not await discovery_of(made, pace=Pace()).ask(made.family, made.accounts.all[0])
    assert len(upstream.asked) == PAGES_MAX


async def test_a_shorter_list_is_believed_if_it_stays_so() -> None:
    """A list that shrank below half is none for an interval, whatever empty ones come between; then it is the truth."""
    upstream = Upstream(lambda _: Answer(body("a", "b", "c", "d")))
    made = serving(upstream)
    (only,) = made.accounts.all
    found = discovery_of(made, pace=Pace())
    assert await found.ask(made.family, only)
    for ids in ((), ("a",), (), ("a",)):
        upstream.answer = lambda _, ids=ids: Answer(body(*ids))
        assert not await found.ask(made.family, only)
    assert "1 models where the last had 4" in only.list.error
    assert made.accounts.said.lacking == frozenset()
    assert await discovery_of(made, pace=Pace(interval_s=0.0)).ask(made.family, only)
    assert made.accounts.said.lacking == {"b", "c"}


async def test_an_account_without_credentials_yet_is_asked_later() -> None:
    """A family that cannot sign now is a failed reading, not the end of discovery."""

    class _Unsigned:
        models: Mapping[str, Any] = {}

        def request(self) -> UpstreamRequest:
            raise AccountError(GONE)

    class _Family(OpenAI):
        def models(self, account: AccountSettings, today: date) -> Any:
            return _Unsigned()

    made = serving(Upstream(lambda _: Answer(b"")), family=_Family())
    (only,) = made.accounts.all
    assert not await discovery_of(made).ask(made.family, only)
    assert only.list.error == "no credentials yet"


async def _running(found: Discovery, condition: Callable[[], Any]) -> None:
    task = asyncio.create_task(found.run())
    try:
        await until(condition, "the condition")
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_lists_are_asked_at_once_then_regularly_and_sooner_after_a_failure() -> None:
    """The first question comes at the start, the next after the interval, or after the shorter time for a failure."""
    for answer, gap_s in ((lambda _: Answer(body("a")), 0.2), (lambda _: Answer(b"", 503), 0.05)):
        upstream = Upstream(answer)
        began = time.monotonic()
        pace = Pace(interval_s=0.2, retry_s=0.05, miss_gap_s=9.0, deadline_s=1.0)
        await _running(discovery_of(serving(upstream), pace=pace), lambda: len(upstream.asked) >= 2)  # noqa: B023  awaited here
        first, second = (at for at, _ in upstream.asked[:2])
        assert first - began < 0.2
        assert second - first >= gap_s * 0.85


async def test_a_miss_has_the_list_read_again_once_a_gap() -> None:
    """However many calls miss models, and whoever asks, one account's list is read once in the gap; another's is not."""
    upstream = Upstream(lambda _: Answer(body("a", "b")))
    made = serving(upstream, account("http://one/v1", "one"), account("http://two/v1", "two"))
    one, _ = made.accounts.all
    pace = Pace(interval_s=600.0, miss_gap_s=0.15, deadline_s=1.0)

    def of(name: str) -> list[float]:
        return [at for at, request in upstream.asked if f"//{name}/" in request.url]

    def missing() -> bool:
        for number in range(5):
            one.failed(GONE, "c", f"key-{number}", time.monotonic())
        return len(of("one")) >= 4

    await _running(discovery_of(made, pace=pace), missing)
    gaps = [later - earlier for earlier, later in zip(of("one"), of("one")[1:], strict=False)]
    assert min(gaps) >= 0.14
    assert len(of("two")) == 1


async def test_an_account_with_another_key_has_its_list_read_with_it() -> None:
    """An account that gets another credential while its list is kept is asked again with that one, and its heir knows the list."""
    upstream = Upstream(lambda _: Answer(body("a")))
    made = serving(upstream)
    (before,) = made.accounts.all

    def known() -> bool:
        (account,) = made.accounts.all
        if account is before and before.list.findings.listed:
            made.accounts.replace(before, structs.replace(before.settings, api_key="another-key"))
        return account is not before and account.list.findings.listed == 1

    await _running(discovery_of(made, pace=Pace(interval_s=600.0, miss_gap_s=0.01)), known)
    assert len(upstream.asked) == 2


async def test_an_account_without_a_key_is_not_asked() -> None:
    """Nobody is called with an empty key."""
    upstream = Upstream(lambda _: Answer(body("a")))
    keyless = AccountSettings(id="k", base_url="http://keyless/v1", keyless=True)
    made = serving(upstream, keyless, account("http://up/v1"))
    await _running(discovery_of(made), lambda: upstream.asked)
    assert all("keyless" not in request.url for _, request in upstream.asked)


async def test_what_cannot_be_sold_is_logged_once_a_day() -> None:
    """One line a day names what is served and not priced."""
    made = serving(Upstream(lambda _: Answer(body("a", "carbon"))))
    day = [TODAY]
    found = discovery_of(made, today=lambda: day[0])
    with structlog.testing.capture_logs() as said:
        for moved in (0, 0, 1, 0):
            day[0] += timedelta(days=moved)
            await found.ask(made.family, made.accounts.all[0])
    lines = [line for line in said if "not priced" in line["event"]]
    assert [line["models"] for line in lines] == [["carbon"], ["carbon"]]


async def test_what_is_about_to_end_is_logged_once_a_day() -> None:
    """From thirty days before its day on, by its row or by a list, a model that is served is named; what lists lack is not."""
    sold = (
        model("soon", upstream="soon", dated=True, shutdown_date=TODAY + timedelta(days=30)),
        model("later", upstream="later", dated=True, shutdown_date=TODAY + timedelta(days=31)),
        model("over", upstream="over", dated=True, shutdown_date=TODAY),
        model("elsewhere", upstream="elsewhere", shutdown_date=TODAY + timedelta(days=3)),
        model("away", upstream="away", dated=True, shutdown_date=TODAY + timedelta(days=3)),
        model("told", upstream="told"),
    )
    page = {"data": [{"id": name} for name in ("soon", "later", "over", "elsewhere")]}
    page["data"].append({"id": "told", "shutdown_date": str(TODAY + timedelta(days=1))})
    made = structs.replace(
        serving(Upstream(lambda _: Answer(msgspec.json.encode(page)))), models={one.id: one for one in sold}
    )
    found = Discovery(made, Stock(sold, {}, ()), QUICK, lambda: TODAY)
    with structlog.testing.capture_logs() as said:
        for _ in range(2):
            await found.ask(made.family, made.accounts.all[0])
    (line,) = (line for line in said if "end soon" in line["event"])
    assert line["models"] == ["soon on 2026-12-26", "told on 2026-11-27"]


def test_aliases_count_as_the_preset_says() -> None:
    """A snapshot in OpenAI's list does not stand for its alias; in Anthropic's it does."""
    rows = discovery.rows
    (alias,) = (row for row in rows("anthropic").values() if row.id == "claude-haiku-4-5")
    made = serving(Upstream(_unreachable))
    for provider, row, gone in (("openai", rows("openai")["gpt-4o"], True), ("anthropic", alias, False)):
        sold = model(row.id, upstream=row.id, provider=provider)
        here = structs.replace(made, provider=provider, models={row.id: sold})
        listed = {name: lists_entry(name) for name in row.aliases}
        assert (row.id in stock(here).compare(listed).lacking) is gone
    assert stock(structs.replace(made, provider="sandbox")) is None


def lists_entry(name: str) -> Any:
    """A listed model."""
    return discovery.Listed(id=name)


POOL = "openai"
ROWS = (*MODELS, model("mine", upstream="unheard-of", pinned=True), model("c-too", upstream="c"))


async def test_a_worker_serves_what_its_accounts_list() -> None:
    """Calls are served before the list is there; then beats have what it lacks as gone, an own row as unlisted, and the rest."""
    gate = asyncio.Event()

    class _Slow(FakeOpenAI):
        def _list(self, received: Any) -> Reply:
            return structs_before(super()._list(received), gate)

    async with _Slow() as fake:
        fake.shown.models = lists.openai("a", "b", "dall-e", a={"shutdown_date": "2027-01-14"})
        pools = (PoolSettings(name=POOL, provider="openai", accounts=(account(fake.base_url),)),)
        async with rig(pools, ROWS) as made:
            answered = await made.edge.call(job({"messages": []}, model="c", upstream="c"))
            assert isinstance(answered.last, End)
            gate.set()
            await until(lambda: _beat(made.edge.beats) and _beat(made.edge.beats).gone, "a list in the beats")
            beat = _beat(made.edge.beats)
            assert (set(beat.models), set(beat.gone)) == ({"a", "b", "mine"}, {"c", "c-too"})
            assert beat.missing == dict.fromkeys(("c", "c-too"), "no account's list has c")
            assert (beat.unlisted, beat.unpriced) == (("mine",), ("dall-e",))
            assert [(fact.id, fact.shutdown) for fact in beat.facts] == [("a", date(2027, 1, 14))]
            (told,) = beat.accounts
            assert (told.listed, told.list_error) == (3, "")
            refused = await made.edge.call(job({"messages": []}, model="c", upstream="c"))
            assert (refused.last.error.status, refused.last.error.code) == (404, "model_not_found")
            await made.edge.call(job({"messages": []}, model="mine", upstream="unheard-of"))
            assert [one.json["model"] for one in fake.received] == ["c", "unheard-of"]


def structs_before(reply: Reply, gate: asyncio.Event) -> Reply:
    """The same answer, once a gate is open."""
    reply.before = [gate]
    return reply


def _beat(beats: list[Beat]) -> Beat | None:
    return beats[-1] if beats else None


async def test_a_miss_is_confirmed_by_the_list(monkeypatch: pytest.MonkeyPatch) -> None:
    """An own row that one key's call finds gone is gone for all once the list, read after it, lacks it too."""
    monkeypatch.setattr(served_pools, "PACE", Pace(interval_s=600.0, miss_gap_s=1.0))
    async with FakeOpenAI(lambda _: error(404, "no such model", code="model_not_found")) as fake:
        fake.shown.models = lists.openai("a")
        pools = (PoolSettings(name=POOL, provider="openai", accounts=(account(fake.base_url),)),)
        async with rig(pools, ROWS) as made:
            await until(lambda: _beat(made.edge.beats) and _beat(made.edge.beats).unlisted, "the first list")
            first = await made.edge.call(
                job({"messages": []}, model="mine", upstream="unheard-of", scope="one")
            )
            assert first.failed.error.code == "model_not_found"
            await until(lambda: "mine" in _beat(made.edge.beats).gone, "the second list in the beats")
            assert len(fake.shown.asked) == 2
            assert len(fake.received) == 1
