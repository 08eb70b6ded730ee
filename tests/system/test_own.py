"""What a key's holder reads about it: over the whole path, in OpenRouter's shapes as its own client reads them, and tokn's."""

import contextlib
import sqlite3
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, Self

import httpx2
import msgspec
import openai
import pytest
from openrouter import OpenRouter, components
from openrouter import errors as refusals

from tests.fakes.books import path_of
from tests.fakes.tokn import Tokn, wait_for

pytestmark = pytest.mark.system

SANDBOX = '[pools.sandbox]\nprovider = "sandbox"\nrate = 1\nwords_per_s = 0\n'
SAY = [{"role": "user", "content": "hello"}]
MODEL = "tokn-sandbox"
AT_ONCE = 60
_decode = msgspec.json.Decoder(dict[str, Any], float_hook=Decimal).decode


@pytest.fixture(scope="module")
def tokn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tokn]:
    """`tokn up` with the sandbox."""
    with Tokn(tmp_path_factory.mktemp("own") / "data", SANDBOX) as made:
        yield made


class Holder:
    """A key with five dollars, and its holder's clients."""

    def __init__(self, tokn: Tokn, balance: str = "5") -> None:
        row = tokn.row("key", "create", "--balance", balance)
        self.key, self.id = str(row["key"]), str(row["id"])
        self.http = httpx2.Client(
            base_url=tokn.url, headers={"authorization": f"Bearer {self.key}"}, timeout=60
        )
        self.sdk = openai.OpenAI(api_key=self.key, base_url=f"{tokn.url}/v1", max_retries=0, timeout=60)

    def call(self, *, stream: bool = False) -> str:
        """One call to its end; its id."""
        body = {"model": MODEL, "messages": SAY, "max_tokens": 5, "stream": stream}
        answer = self.http.post("/v1/chat/completions", json=body)
        assert answer.status_code == 200, answer.text
        return str(answer.headers["x-request-id"])

    def read(self, path: str, **query: Any) -> dict[str, Any]:
        """The JSON of a route, its numbers exact."""
        answer = self.http.get(path, params=query)
        assert answer.status_code == 200, answer.text
        return _decode(answer.content)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()
        self.sdk.close()


def _at_once(tokn: Tokn, count: int) -> None:
    with Holder(tokn) as holder:
        for number in range(count):
            request_id = holder.call(stream=number % 2 == 0)
            receipt = holder.read(f"/v1/generations/{request_id}")
            assert receipt["id"] == request_id
            assert receipt["outcome"] == "ok"


def test_a_receipt_is_there_at_once(tokn: Tokn) -> None:
    """Right after an answer, plain or streamed, its receipt is there: nobody has to ask twice."""
    _at_once(tokn, AT_ONCE)


@pytest.mark.long
def test_five_hundred_receipts_are_there_at_once(tokn: Tokn) -> None:
    """The same at the full count."""
    _at_once(tokn, 500)


# Its client warns of fields of its own answers, whoever sends them.
@pytest.mark.filterwarnings("ignore:warning. .. DEPRECATED:DeprecationWarning")
def test_openrouters_client(tokn: Tokn) -> None:
    """OpenRouter's own client reads key, credits and a receipt, and their figures are the books'."""
    with Holder(tokn) as holder, OpenRouter(api_key=holder.key, server_url=f"{tokn.url}/v1") as client:
        calls = [holder.call() for _ in range(3)]
        billed = sum(holder.read(f"/v1/generations/{one}")["billed_nano"] for one in calls)
        money = client.credits.get_credits().data
        assert Decimal(str(money.total_credits)) == 5
        assert Decimal(str(money.total_usage)) == Decimal(billed) / 10**9
        own = client.api_keys.get_current_key_metadata().data
        assert (own.label, own.limit, own.is_free_tier) == (f"tokn_…{holder.key[-4:]}", None, False)
        for used in (own.usage, own.usage_daily, own.usage_weekly, own.usage_monthly):
            assert Decimal(str(used)) == Decimal(billed) / 10**9
        told = client.generations.get_generation(id=calls[0]).data
        assert (told.id, told.model, told.cancelled) == (calls[0], MODEL, False)
        assert told.tokens_completion == 5
        with pytest.raises(refusals.OpenRouterError) as refused:
            client.generations.get_generation(id="req_nobody")
        assert refused.value.status_code == 404


def test_figures_are_exact_numbers(tokn: Tokn) -> None:
    """Dollars are JSON numbers with all their digits; the key's own object has the same in nano-dollars."""
    with Holder(tokn, "1.000000001") as holder:
        holder.call()
        balance = tokn.settled(holder.id)["posted_nano"]
        spent = 1_000_000_001 - balance
        assert spent > 0
        data = holder.read("/v1/credits")["data"]
        assert Decimal(data["total_credits"]) - Decimal(data["total_usage"]) == Decimal(balance) / 10**9
        own = holder.read("/v1/auth/key")["data"]["tokn"]
        assert (own["object"], own["id"], own["posted_nano"], own["spent_nano"]) == (
            "key",
            holder.id,
            balance,
            spent,
        )


def test_a_label_is_of_the_secret_that_asks(tokn: Tokn) -> None:
    """Of a key with two secrets each is told its own last four characters, by which people tell them apart."""
    with Holder(tokn) as holder:
        rotated = str(tokn.row("key", "rotate", holder.id, "--overlap", "1h")["key"])
        for secret in (holder.key, rotated):
            answer = holder.http.get("/v1/key", headers={"authorization": f"Bearer {secret}"})
            data = _decode(answer.content)["data"]
            assert (data["label"], data["tokn"]["id"]) == (f"tokn_…{secret[-4:]}", holder.id)


def test_activity_is_of_whole_days(tokn: Tokn) -> None:
    """Today is no whole day yet, so it is not shown; a day that is none, or too long ago, is a 400 that names the field."""
    with Holder(tokn) as holder:
        holder.call()
        assert holder.read("/v1/activity") == {"data": []}
        for bad in ("yesterday", "2026-02-30", "2001-01-01", "2999-01-01"):
            refused = holder.http.get("/v1/activity", params={"date": bad})
            assert (refused.status_code, refused.json()["error"]["param"]) == (400, "date")


def test_activity_of_yesterday(tokn: Tokn) -> None:
    """A day's calls are one row a model, in the shape that OpenRouter's client has for it."""
    with Holder(tokn) as holder:
        calls = [holder.call() for _ in range(2)]
        receipts = [holder.read(f"/v1/generations/{one}") for one in calls]
        # A day ago, as if the clock had gone on: only this test may change rows, before they are rolled up or after.
        wait_for(
            lambda: (
                tokn.read("SELECT MAX(seq) FROM usage")[0][0] == tokn.read("SELECT seq FROM rollups")[0][0]
            ),
            60,
            "the roll-up",
        )
        _a_day_ago(tokn, holder.id)
        rows = holder.read("/v1/activity")["data"]
        assert len(rows) == 1
        item = components.ActivityItem.model_validate(rows[0])
        assert (item.model, item.requests, item.provider_name) == (MODEL, 2, "sandbox")
        assert item.prompt_tokens == sum(one["prompt_tokens"] for one in receipts)
        assert item.completion_tokens == 10
        assert Decimal(rows[0]["usage"]) == Decimal(sum(one["billed_nano"] for one in receipts)) / 10**9
        assert holder.read("/v1/activity", date=rows[0]["date"])["data"] == rows
        _a_day_ago(tokn, holder.id, -1)


def _a_day_ago(tokn: Tokn, key_id: str, days: int = 1) -> None:
    with contextlib.closing(sqlite3.connect(path_of(tokn.data), timeout=60)) as books, books:
        books.execute("UPDATE usage_days SET day = day - ? WHERE key_id = ?", (days, key_id))


def test_calls_are_listed_in_pages(tokn: Tokn) -> None:
    """Pages follow one another without a gap, filters hold, and what is not understood is a 400 that names the field."""
    with Holder(tokn) as holder, Holder(tokn) as other:
        made = [holder.call() for _ in range(5)]
        stranger = other.call()
        tokn.settled(holder.id)
        first = holder.read("/v1/usage", limit=2)
        assert (first["object"], first["has_more"]) == ("list", True)
        second = holder.read("/v1/usage", limit=3, starting_after=first["next"])
        found = [one["id"] for one in (*first["data"], *second["data"])]
        assert found == made[::-1]
        assert (second["has_more"], second["next"]) == (False, None)
        assert holder.read("/v1/usage", model="another")["data"] == []
        created = first["data"][0]["created"]
        assert holder.read("/v1/usage", created_gte=created + 60)["data"] == []
        assert len(holder.read("/v1/usage", created_lt=created + 60, model=MODEL)["data"]) == 5
        for query, param in (
            ({"limit": "0"}, "limit"),
            ({"limit": "many"}, "limit"),
            ({"limit": "201"}, "limit"),
            ({"starting_after": stranger}, "starting_after"),
            ({"created_gte": "-1"}, "created_gte"),
            ({"key": "x"}, "key"),
        ):
            refused = holder.http.get("/v1/usage", params=query)
            assert (refused.status_code, refused.json()["error"]["param"]) == (400, param)


def test_who_may_read(tokn: Tokn) -> None:
    """A key without money reads all of it, a revoked one nothing, and who asks without end is told to wait."""
    with Holder(tokn, "0") as holder:
        assert holder.read("/v1/key")["data"]["is_free_tier"] is True
        statuses = [holder.http.get("/v1/credits").status_code for _ in range(40)]
        assert statuses[0] == 200
        assert 429 in statuses
        tokn.row("key", "revoke", holder.id)
        wait_for(lambda: holder.http.get("/v1/usage").status_code == 401, 60, "the refusal")


def test_sums_on_the_command_line(tokn: Tokn) -> None:
    """`tokn usage --by` sums calls that are rolled up and those that are not, as a table, CSV or JSON."""
    with Holder(tokn) as holder:
        calls = [holder.call() for _ in range(2)]
        tokn.settled(holder.id)
        (row,) = tokn.rows("usage", "--key", holder.id, "--by", "day,model")
        assert (row["model"], row["calls"], row["completion_tokens"]) == (MODEL, 2, 10)
        billed = sum(holder.read(f"/v1/generations/{one}")["billed_nano"] for one in calls)
        assert row["billed_nano"] == billed
        lines = tokn.run("usage", "--key", holder.id, "--by", "key", "--csv").stdout.splitlines()
        assert lines[0].startswith("key,calls,failed,")
        assert lines[1].startswith(f"{holder.id},2,0,")
        assert MODEL in tokn.run("usage", "--by", "model,pool").stdout
        assert "all others" not in tokn.run("usage", "--by", "key").stdout
        assert tokn.rows("usage", "--since", "2999-01-01", "--by", "key") == []
        for options in (("--by", "year"), ("--since", "yesterday"), ("--until", "2026-11-25T13:30")):
            assert tokn.run("usage", *options).returncode == 2


def test_the_books_balance(tokn: Tokn) -> None:
    """After all of it."""
    assert tokn.audit()["ok"]
