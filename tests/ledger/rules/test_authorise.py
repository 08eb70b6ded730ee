"""Authorise: holds that bound, refusals that say why, the same answer to the same request."""

import hmac
from decimal import Decimal

import msgspec
import pytest
from msgspec import structs

from ledger.commits.opening import write_catalogue
from ledger.prices.offers import day_of
from schemas.catalogue.builtin import BUILTIN
from schemas.chat.priced import PROMPTS_MAX
from schemas.money.pricing import TokenUsage, bound
from schemas.verbs.base import encode
from schemas.verbs.calls import Authorise, Hold, Reason, Refusal
from tests.ledger.harness import MODEL, POOLS, USD, Books, billed, event, price_of


async def test_hold_is_the_bound(books: Books) -> None:
    """A hold is the bound of schemas.pricing to the nano-dollar, and is taken off what is available."""
    key_id = await books.key()
    hold = await books.hold("r1", prompt=1234, choices=3, limit=77)
    assert hold.amount_nano == bound(1234, price_of(), Decimal("0.60")).hold_nano(3 * 77)
    assert hold.list_nano == bound(1234, price_of(), Decimal(1)).hold_nano(3 * 77)
    assert (hold.limit, hold.limited, hold.pool, hold.upstream) == (77, False, "openai", MODEL)
    assert await books.balance(key_id) == (5 * USD, hold.amount_nano)
    await books.check()


async def test_same_request_same_answer(books: Books) -> None:
    """Asking again gives the same hold and holds nothing twice; in one batch too."""
    key_id = await books.key()
    first, second = await books.commit([books.request("r1"), books.request("r1")])
    assert first == second == await books.hold("r1")
    assert await books.balance(key_id) == (5 * USD, first.amount_nano)


async def test_ended_request_is_refused(books: Books) -> None:
    """A request id whose hold has ended never gets another, nor does another key's or model's."""
    key_id = await books.key()
    other = await books.key("other")
    hold = await books.hold("r1")
    assert await books.authorise("r1", "other") == Refusal(Reason.ENDED, key_id=other)
    assert await books.authorise("r1", model="gpt-4o-mini") == Refusal(Reason.ENDED, key_id=key_id)
    await books.release(hold)
    assert await books.authorise("r1") == Refusal(Reason.ENDED, key_id=key_id)


async def test_refusals(books: Books) -> None:
    """Unknown and revoked keys, unknown models, providers that the key may not use, and a backlog.

    A refusal names the key, if it lives.
    """
    key_id = await books.key()
    narrow = await books.key("narrow", providers=("anthropic", "gemini"))
    assert await books.authorise("r1", "nobody") == Refusal(Reason.UNKNOWN_KEY)
    assert await books.authorise("r1", model="gpt-4") == Refusal(Reason.UNKNOWN_MODEL, key_id=key_id)
    assert await books.authorise("r1", "narrow") == Refusal(Reason.PROVIDER_DENIED, key_id=narrow)
    books.committer.backlog = True
    assert await books.authorise("r1") == Refusal(Reason.BACKLOG, key_id=key_id)
    books.committer.backlog = False
    await books.revoke(key_id)
    assert await books.authorise("r1") == Refusal(Reason.UNKNOWN_KEY)


async def test_fitting_limit_fits_exactly(books: Books) -> None:
    """The limit that a refusal names is affordable, and one more is not; the figures are the balance's."""
    await books.key(nano=1_000_000)
    first = await books.hold("r0", prompt=10, limit=20)
    refusal = await books.authorise("r1", prompt=100, choices=2, limit=5000)
    assert isinstance(refusal, Refusal)
    assert (refusal.reason, refusal.posted_nano, refusal.held_nano) == (
        Reason.INSUFFICIENT,
        1_000_000,
        first.amount_nano,
    )
    assert refusal.required_nano == bound(100, price_of(), Decimal("0.60")).hold_nano(10_000)
    assert refusal.fitting_limit > 0
    more = await books.authorise("r1", prompt=100, choices=2, limit=refusal.fitting_limit + 1)
    assert isinstance(more, Refusal)
    await books.hold("r1", prompt=100, choices=2, limit=refusal.fitting_limit)
    await books.check()


async def test_nothing_fits(books: Books) -> None:
    """If the prompt alone is too dear, no limit would fit."""
    await books.key(nano=1000)
    refusal = await books.authorise("r1", prompt=100_000, limit=1)
    assert isinstance(refusal, Refusal)
    assert refusal.fitting_limit == 0


async def test_unset_limit(books: Books) -> None:
    """No limit is granted as the model's own, or as what the balance affords, from 256 tokens on."""
    await books.key("rich", nano=100 * USD)
    await books.key("modest", nano=6_000_000)  # 1,000 tokens of output
    await books.key("poor", nano=1_500_000)  # 250 tokens
    rich = await books.hold("r1", "rich", prompt=0, limit=None)
    assert (rich.limit, rich.limited) == (16_384, False)
    modest = await books.hold("r2", "modest", prompt=0, limit=None)
    assert (modest.limit, modest.limited) == (1_000, True)
    refusal = await books.authorise("r3", "poor", prompt=0, limit=None)
    assert isinstance(refusal, Refusal)
    assert (refusal.fitting_limit, refusal.required_nano) == (250, 256 * 6_000)


async def test_limit_above_the_models_own(books: Books) -> None:
    """A limit above the model's own is granted as the model's own."""
    await books.key(nano=100 * USD)
    assert (await books.hold("r1", limit=10**9)).limit == 16_384


async def test_ten_holds_of_two_hundred(books: Books) -> None:
    """With money for ten holds and two hundred requests in one commit, exactly ten are admitted."""
    price = bound(100, price_of(), Decimal("0.60")).hold_nano(100)
    await books.key(nano=price * 10 + price // 2)
    replies = await books.commit([books.request(f"r{number}") for number in range(200)])
    assert sum(isinstance(reply, Hold) for reply in replies) == 10
    await books.check()


async def test_playground_keys_draw_on_the_profile(books: Books) -> None:
    """Keys made for the playground share their profile's credits, whose column follows every transfer."""
    first = await books.key("one", nano=3 * USD, profile="ada", playground=True)
    second = await books.key("two", nano=0, profile="ada", playground=True)
    metered = await books.key("three", nano=7 * USD, profile="ada")
    await books.hold("r1", "two")
    usage = TokenUsage(input=11, output=13)
    await books.settle(event("r1", usage))
    left = 3 * USD - billed(usage)
    assert await books.balance(first) == await books.balance(second) == (left, 0)
    assert await books.balance(metered) == (7 * USD, 0)
    await books.credit("c1", USD, profile="ada")
    rows = await books.store.fetch(
        "SELECT CAST(playground_credits_usd AS text) FROM profiles WHERE id = $1", "ada"
    )
    assert Decimal(rows[0][0]) == Decimal(left + USD) / USD
    await books.check()


async def test_price_changes_apply_from_their_date(books: Books) -> None:
    """A new price applies to calls authorised from its date on, never to those authorised before."""
    await books.key(nano=100 * USD)
    model = next(one for one in BUILTIN if one.id == MODEL)
    old = model.prices[0]
    tomorrow = day_of(books.clock.ms + 86_400_000)
    dearer = structs.replace(
        old,
        effective=tomorrow,
        tiers=(structs.replace(old.tiers[0], input=Decimal(5), output=Decimal(20), cached=None),),
    )
    models = (structs.replace(model, prices=(old, dearer)),)
    await write_catalogue(books.store, models, POOLS)
    later = Books(books.store, books.clock, models)
    usage = TokenUsage(input=50, output=20)
    first = await later.hold("r1")
    books.clock.turn(86_400)
    second = await later.hold("r2")
    assert second.amount_nano == 2 * first.amount_nano
    # A ledger that has never seen the rows bills by what the holds pinned.
    await Books(books.store, books.clock, ()).settle(event("r1", usage), event("r2", usage))
    bills = {row["request_id"]: row["billed_nano"] for row in await books.usage()}
    assert bills == {"r1": billed(usage), "r2": 2 * billed(usage)}
    await books.check()


@pytest.mark.parametrize("prompt", [-5, 0, 10**12])
async def test_prompt_is_bounded_by_the_context(books: Books, prompt: int) -> None:
    """A prompt bound out of range is taken as the nearest one in range."""
    await books.key(nano=100 * USD)
    hold = await books.hold("r1", prompt=prompt, limit=0)
    most = bound(min(max(prompt, 0), 128_000), price_of(), Decimal("0.60")).hold_nano(0)
    assert hold.amount_nano == most


async def test_a_batch_has_a_context_for_each_prompt(books: Books) -> None:
    """100 prompts of 3,000 tokens are held, and billed, whole: only each of them is bounded by the model's context."""
    key_id = await books.key(nano=100 * USD)
    usage = TokenUsage(input=300_000, output=100 * 16)
    hold = await books.hold("r1", prompt=350_000, choices=100, limit=16, prompts=100)
    assert hold.amount_nano == bound(350_000, price_of(), Decimal("0.60")).hold_nano(100 * 16)
    await books.settle(event("r1", usage))
    assert await books.balance(key_id) == (100 * USD - billed(usage), 0)
    assert (await books.check())["uncollected_nano"] == 0


async def test_a_batch_is_bounded_at_the_tier_of_all_its_prompts(books: Books) -> None:
    """The price tier is that of all prompts together, in the hold as in the bill."""
    model = "gemini-1.5-pro-latest"
    await books.key(nano=1000 * USD)
    usage = TokenUsage(input=4 * 40_000, output=4 * 10)
    await books.hold("r1", model=model, prompt=4 * 40_000, choices=4, limit=10, prompts=4)
    await books.settle(event("r1", usage))
    (row,) = await books.usage()
    assert (row["billed_nano"], row["uncollected_nano"]) == (billed(usage, model), 0)
    await books.check()


@pytest.mark.parametrize(("prompts", "contexts"), [(-1, 1), (0, 1), (3, 3), (10**9, PROMPTS_MAX)])
async def test_prompts_are_bounded(books: Books, prompts: int, contexts: int) -> None:
    """A number of prompts out of range is taken as the nearest one in range."""
    await books.key(nano=10**6 * USD)
    hold = await books.hold("r1", prompt=10**12, limit=0, prompts=prompts)
    most = bound(contexts * 128_000, price_of(), Decimal("0.60")).hold_nano(0)
    assert hold.amount_nano == most


async def test_an_edge_of_the_version_before_has_one_prompt(books: Books) -> None:
    """A request without the field, as an older edge sends it, is one prompt; an older ledger ignores the field."""
    await books.key()
    request = books.request("r1", prompts=7)
    older = msgspec.msgpack.decode(encode(request))[: Authorise.__struct_fields__.index("prompts")]
    read = msgspec.msgpack.decode(msgspec.msgpack.encode(older), type=Authorise)
    assert read == books.request("r1")


async def test_what_stands_for_a_key_is_its_own_and_secret(books: Books) -> None:
    """Every hold of a key has one scope, another key's has another, and it follows from the id only with the pepper."""
    key_id = await books.key()
    await books.key("other")
    first, second = await books.hold("r1"), await books.hold("r2")
    assert (
        first.scope == second.scope == hmac.digest(b"pepper", f"scope:{key_id}".encode(), "sha256").hex()[:32]
    )
    assert (await books.hold("r3", "other")).scope != first.scope
    assert key_id not in first.scope
