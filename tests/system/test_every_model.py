"""The keys of three providers set and nothing else: of what they sell today a hundred named models answer, each at its price."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path

import openai
import pytest

from schemas.catalogue.builtin import BUILTIN, SANDBOX_MODEL
from schemas.catalogue.vectors import vectors_of
from tests.fakes import anthropic, gemini, lists
from tests.fakes import openai as fake_openai
from tests.fakes.homes import at_home
from tests.fakes.stages import AnthropicStage, GeminiStage, OpenAIStage
from tests.fakes.tokn import Tokn, wait_for

pytestmark = pytest.mark.system

ROWS = Path(__file__).resolve().parents[2] / "runtime/catalogue/models.json"
_NAMED = {
    "openai": """
        chat-latest daybreak-blue-latest daybreak-red-latest gpt-4.1 gpt-4.1-2025-04-14 gpt-4.1-mini
        gpt-4.1-mini-2025-04-14 gpt-4o gpt-4o-2024-08-06 gpt-4o-2024-11-20 gpt-4o-audio-preview-2024-12-17
        gpt-4o-audio-preview-2025-06-03 gpt-4o-mini gpt-4o-mini-2024-07-18 gpt-4o-mini-audio-preview-2024-12-17
        gpt-4o-mini-search-preview gpt-4o-search-preview gpt-5 gpt-5-2025-08-07 gpt-5-mini gpt-5-mini-2025-08-07
        gpt-5-nano gpt-5-nano-2025-08-07 gpt-5-search-api gpt-5-search-api-2025-10-14 gpt-5.1 gpt-5.1-2025-11-13
        gpt-5.2 gpt-5.2-2025-12-11 gpt-5.4 gpt-5.4-2026-03-05 gpt-5.4-mini gpt-5.4-mini-2026-03-17 gpt-5.4-nano
        gpt-5.4-nano-2026-03-17 gpt-5.5 gpt-5.5-2026-04-23 gpt-5.6 gpt-5.6-cyber gpt-5.6-luna gpt-5.6-sol
        gpt-5.6-terra gpt-6-astra gpt-6-astra-law gpt-6-cyber gpt-6-luna gpt-6-rosalind gpt-6-sol gpt-6.1-sol
        gpt-6.1-terra gpt-audio gpt-audio-1.5 gpt-audio-2025-08-28 gpt-audio-mini gpt-audio-mini-2025-12-15 o3
        o3-2025-04-16
    """,
    "anthropic": """
        claude-fable-5 claude-fable-5-1 claude-fable-5-2 claude-haiku-4-5 claude-haiku-4-5-20251001
        claude-haiku-5-5 claude-mythos-5 claude-mythos-5-1 claude-opus-4-5 claude-opus-4-5-20251101
        claude-opus-4-6 claude-opus-4-6-20260205 claude-opus-4-7 claude-opus-4-7-20260416 claude-opus-4-8
        claude-opus-5 claude-opus-5-5 claude-sonnet-4-5 claude-sonnet-4-5-20250929 claude-sonnet-4-6
        claude-sonnet-5 claude-sonnet-5-5
    """,
    "gemini": """
        deep-research-max-preview-04-2026 deep-research-preview-04-2026 gemini-2.5-flash gemini-2.5-flash-lite
        gemini-2.5-pro gemini-3-flash-preview gemini-3.1-flash-lite gemini-3.1-pro-preview gemini-3.5-flash
        gemini-3.5-flash-lite gemini-3.6-flash gemini-3.7-flash gemini-3.8-flash gemini-4-argon gemini-4-carbon
        gemini-4-hydrogen gemini-flash-latest gemini-flash-lite-latest gemini-omni-1.1-flash
        gemini-omni-1.2-flash gemini-pro-latest
    """,
}
NAMED = {provider: names.split() for provider, names in _NAMED.items()}
HELD_BACK = "gemini-gemma-2-9b-it"  # a row that no account lists
BRAND_NEW = "brand-new-9"  # listed by every account, and without a row
KEYS = {
    "openai": ("OPENAI_API_KEY", fake_openai.API_KEY),
    "anthropic": ("ANTHROPIC_API_KEY", anthropic.API_KEY),
    "gemini": ("GEMINI_API_KEY", gemini.API_KEY),
}
ENTRY = {
    "openai": lambda name: lists.openai(name)[0],
    "anthropic": lists.anthropic,
    "gemini": lists.gemini,
}
SAY = [{"role": "user", "content": "hi"}]
RATE = Decimal("0.60")
CALLERS = 12  # at once


def _rows() -> dict[str, dict]:
    """The rows of the three by id, read past the gateway; the contract's own prices where it has them."""
    found = {}
    for line in ROWS.read_text().splitlines():
        row = json.loads(line, parse_float=Decimal)
        if row["preset"] in NAMED:
            found[row["id"]] = row
    for one in BUILTIN:
        if one.upstream in found:
            (price,) = one.prices
            tier = {"input": price.tiers[0].input, "output": price.tiers[0].output}
            day = one.shutdown_date.isoformat() if one.shutdown_date else None
            found[one.upstream] |= {"prices": [{"tiers": [tier]}], "shutdown": day}
    return found


ALL = _rows()


def ended(name: str, day: date) -> bool:
    """Whether a model's provider has shut it down by a day."""
    shutdown = ALL[name].get("shutdown")
    return bool(shutdown) and date.fromisoformat(shutdown) <= day


def by_hand(name: str, tokens: dict[str, int], day: date) -> int:
    """What a call costs in nano-dollars, worked out apart from the gateway's own arithmetic."""
    prices = [one for one in ALL[name]["prices"] if one.get("effective", "1970-01-01") <= day.isoformat()]
    tier = max(prices, key=lambda one: one.get("effective", "1970-01-01"))["tiers"][0]
    assert not {kind for kind, count in tokens.items() if count} - {"input", "output"}
    usd = sum((tokens[kind] * Decimal(tier[kind]) for kind in ("input", "output")), Decimal(0))
    return int((usd * 1_000 * RATE).quantize(Decimal(1), ROUND_HALF_EVEN))


@pytest.fixture(scope="module")
def homes() -> Iterator[dict[str, str]]:
    """Each provider's own address: a fake that lists what the provider sells today, of every kind."""
    day = datetime.now(UTC).date()
    with OpenAIStage() as first, AnthropicStage() as second, GeminiStage() as third:
        found = {"openai": first, "anthropic": second, "gemini": third}
        for provider, stage in found.items():
            ids = [name for name, row in ALL.items() if row["preset"] == provider and not ended(name, day)]
            stage._fake.shown.models = [
                ENTRY[provider](name) for name in (*ids, BRAND_NEW) if name != HELD_BACK
            ]
        yield {provider: stage._fake.base_url for provider, stage in found.items()}


def variables(*providers: str) -> dict[str, str]:
    """The variables of some providers' keys."""
    return dict(KEYS[provider] for provider in providers)


def listed(running: Tokn) -> bool:
    """Whether the list of every account but the sandbox's is read."""
    pools = [pool for pool in running.rows("pools") if pool["name"] != "sandbox"]
    return all(account.get("listed") for pool in pools for account in pool["accounts"])


@pytest.fixture(scope="module")
def tokn(homes, tmp_path_factory) -> Iterator[Tokn]:
    """`tokn up` without a file, where the three variables are set."""
    data = tmp_path_factory.mktemp("every") / "data"
    with at_home(homes)(data, **variables(*NAMED)) as running:
        wait_for(lambda: listed(running), 20, "every account's list is read")
        running.run("credit", running.key_id(), "500")
        yield running
        assert running.audit()["ok"] is True


@pytest.fixture(scope="module")
def sdk(tokn) -> Iterator[openai.OpenAI]:
    """OpenAI's own SDK."""
    with openai.OpenAI(api_key=tokn.key, base_url=f"{tokn.url}/v1", max_retries=0, timeout=60) as client:
        wait_for(lambda: HELD_BACK not in {one.id for one in client.models.list()}, 10, "lists are heard")
        yield client


def test_the_start_says_which_variable_made_which_pool(tokn):
    """One line for each of the three, and none for anything else."""
    assert [line for line in tokn.lines if line.startswith("Pool ")] == [
        f"Pool {provider}: made by {KEYS[provider][0]}" for provider in NAMED
    ]


def test_a_hundred_named_models_answer_at_their_prices(tokn, sdk):
    """Each is listed, answers a plain call, and is billed 0.60 of its row's price to the nano; what has ended is a 404."""
    day = datetime.now(UTC).date()
    names = [name for some in NAMED.values() for name in some]
    assert len(names) == len(set(names)) == 100
    shown = {one.id for one in sdk.models.list()}
    live = {name for name in names if not ended(name, day)}
    routes = {"chat", "completions", "responses"}
    routed = {name for name, row in ALL.items() if routes & set(row["mode"]) or vectors_of(name) is not None}
    sold = {name for name in routed if not ended(name, day)} - {HELD_BACK}
    assert {name for name in shown if "/" not in name} == sold | {SANDBOX_MODEL}
    assert live <= sold

    def call(name: str) -> str:
        try:
            answer = sdk.chat.completions.create(model=name, messages=SAY, max_completion_tokens=64)
        except openai.NotFoundError as refused:
            return refused.code or ""
        assert answer.choices[0].message.content
        return answer.model

    with ThreadPoolExecutor(CALLERS) as pool:
        told = dict(zip(names, pool.map(call, names), strict=True))
    assert told == {name: name if name in live else "model_not_found" for name in names}
    tokn.settled(tokn.key_id())
    usage = {row["model"]: row for row in tokn.rows("usage", "--limit", "200")}
    assert usage.keys() >= live
    billed = {name: usage[name]["billed_nano"] for name in live}
    assert billed == {name: by_hand(name, usage[name]["tokens"], day) for name in live}
    assert all(amount > 0 for amount in billed.values())
    assert {usage[name]["known"] for name in live} == {"reported"}


def test_one_command_prints_ids_prices_and_sources(tokn, sdk):
    """`tokn models` has each of the hundred with price, bill and source, as JSON and as a table, and says how old they are."""
    day = datetime.now(UTC).date()
    rows = {row["id"]: row for row in tokn.rows("models")}
    table = tokn.run("models", "--state", "active").stdout
    for provider, names in NAMED.items():
        for name in names:
            row = rows[name]
            assert (row["provider"], row["pools"]) == (provider, [provider])
            listed, billed = row["pricing"]["list"][0], row["pricing"]["billed"][0]
            assert Decimal(billed["input"]) == Decimal(listed["input"]) * RATE
            assert Decimal(billed["output"]) == Decimal(listed["output"]) * RATE
            assert by_hand(name, {"input": 10**6, "output": 0}, day) == Decimal(billed["input"]) * 10**9
            assert row["sources"] == (
                "built in" if row["as_of"] is None else ALL[name].get("sources", "agree")
            )
            assert row["state"] in ("active", "deprecated", "retired")
            assert row["callable"] is not ended(name, day)
            assert row["shutdown_date"] == ALL[name].get("shutdown")
    assert rows[BRAND_NEW]["state"] == "unpriced"
    assert rows[BRAND_NEW]["pools"] == sorted(NAMED)
    assert rows[HELD_BACK]["state"] == "unlisted"
    assert max(map(len, table.splitlines())) <= 80
    assert "gpt-6.1-sol" in table
    assert table.splitlines()[-1].startswith("Catalogue of ")


def test_a_command_says_what_a_caller_is_told(tokn, sdk):
    """Of what cannot be called `tokn models explain` says first what the 404 or 400 says, and ends with 1."""
    retired, elsewhere = "gpt-4-turbo", "amazon.titan-text-express-v1"
    for name in (retired, elsewhere, HELD_BACK, BRAND_NEW, "gtp-6.1-sol"):
        with pytest.raises(openai.APIStatusError) as refused:
            sdk.chat.completions.create(model=name, messages=SAY)
        done = tokn.run("models", "explain", name)
        assert done.returncode == 1, done.stdout + done.stderr
        head, first, *_ = done.stdout.splitlines()
        assert head == f"{name} cannot be called now."
        if name != BRAND_NEW:  # of which an operator hears more than its callers
            assert first == refused.value.body["message"]
    assert "`gpt-6.1-sol`" in tokn.run("models", "explain", "gtp-6.1-sol").stdout
    assert "OPENAI_API_KEY" not in tokn.run("models", "explain", retired).stdout


def test_a_command_says_why_a_model_can_be_called(tokn, sdk):
    """Pool, account with its list, price and limit field; exit code 0."""
    row = tokn.row("models", "explain", "gpt-6.1-sol")
    assert (row["callable"], row["pool"], row["limit_field"]) == (True, "openai", "max_completion_tokens")
    (account,) = row["accounts"]
    assert (account["state"], account["list_error"]) == ("ok", "")
    assert account["listed"] > 50
    assert any("billed" in sentence for sentence in row["reasons"])


@pytest.mark.parametrize("provider", ["anthropic", "gemini"])
def test_one_key_alone_serves_its_models(homes, tmp_path, provider):
    """With the variable of one provider its models answer, nobody else's, and the 404 says what to set."""
    with at_home(homes)(tmp_path / "data", **variables(provider)) as running:
        wait_for(lambda: listed(running), 20, "the account's list is read")
        live = [name for name in NAMED[provider] if not ended(name, datetime.now(UTC).date())]
        with openai.OpenAI(api_key=running.key, base_url=f"{running.url}/v1", max_retries=0) as sdk:
            assert set(live) <= {one.id for one in sdk.models.list()}
            assert {one.model_extra["pool"] for one in sdk.models.list()} == {provider, "sandbox"}
            answer = sdk.chat.completions.create(model=live[-1], messages=SAY)
            assert answer.choices[0].message.content
            with pytest.raises(openai.NotFoundError, match="Set OPENAI_API_KEY"):
                sdk.chat.completions.create(model="gpt-4o", messages=SAY)
        assert f"Pool {provider}: made by {KEYS[provider][0]}" in running.lines
        running.settled(running.key_id())
        assert running.audit()["ok"] is True
