"""What `tokn models` makes of a catalogue and of beats: rows, filters, pages, and the reasons of one model."""

import asyncio
from datetime import date, timedelta
from decimal import Decimal

import pytest
from msgspec import structs

from ledger.prices.offers import Catalogue
from ledger.verbs.explain import COMPARED_AT_ONCE, NEAR_MAX, explained
from ledger.verbs.models import SCANNED_AT_ONCE, page
from ledger.verbs.view import Picture, View
from runtime.catalogue.models import rows
from schemas.bus.frames import AccountBeat, AccountState, Beat, ModelBeat, ModelFact
from schemas.catalogue.aliases import Alias
from schemas.catalogue.model import Capabilities, Model
from schemas.catalogue.unrouted import Unrouted
from schemas.catalogue.vectors import Vectors
from schemas.money.pricing import Price, PriceTier
from schemas.verbs.models import PAGE_MAX, ModelsQuery, State

DAY = date(2026, 11, 26)


def price(usd: str = "2", on: date = date(1970, 1, 1), name: str = "file:x") -> Price:
    """A price that holds from a day on."""
    return Price(id=name, tiers=(PriceTier(input=Decimal(usd), output=Decimal(usd) * 4),), effective=on)


def model(name: str, pool: str = "p", **more) -> Model:
    """A model of a pool at its provider's own address."""
    more = {"prices": (price(),), "dated": True, "provider": "openai", "context": 1000} | more
    return Model(id=name, pool=pool, upstream=name.removeprefix(f"{pool}/"), max_output=100, **more)


def account(name: str = "main", state: AccountState = AccountState.OK, **more) -> AccountBeat:
    """An account whose list was read."""
    return AccountBeat(name, state, 0, 4, listed_at=1_795_000_000.0, listed=48, **more)


def beat(*served: Model, pool: str = "p", accounts: tuple[AccountBeat, ...] = (account(),), **more) -> Beat:
    """A worker that serves these."""
    names = tuple(one.id for one in served)
    more = {"gone": ()} | more
    return Beat(
        v=1,
        worker_id=f"w-{pool}",
        pool=pool,
        provider="openai",
        inflight=0,
        capacity=4,
        accepting=True,
        models=names,
        accounts=accounts,
        **more,
    )


def view(*models: Model, beats: tuple[Beat, ...] = (), more: tuple[Unrouted, ...] = (), **sold) -> View:
    """The models as these workers have them; pool `p` is configured."""
    by_pool: dict[str, list[Beat]] = {}
    for one in beats:
        by_pool.setdefault(one.pool, []).append(one)
    return View(Catalogue(models, unrouted=more, **sold), Picture(by_pool, {"p"}), DAY)


def listed(made: View, **query) -> list[dict]:
    """All pages of a query."""
    found, after = [], ""
    while True:
        reply = asyncio.run(page(made, ModelsQuery(after=after, **query)))
        assert len(reply.rows) <= min(query.get("limit", PAGE_MAX), PAGE_MAX)
        found += reply.rows
        after = reply.cursor
        if not after:
            return found


def ids(made: View, **query) -> list[str]:
    """The ids of a query's rows."""
    return [row["id"] for row in listed(made, **query)]


async def _credit(_pool: str) -> dict[str, int | None]:
    return {}


def explain(made: View, name: str) -> dict:
    """One model, explained."""
    return asyncio.run(explained(made, name, _credit))


SOLD = model("sold")
ENDING = model("ending", shutdown_date=DAY + timedelta(days=10), successor="sold")
ENDED = model("ended", shutdown_date=DAY, successor="ending")
HIDDEN = model("hidden")
OUT = model("out")
ABSENT = model("absent")
ELSEWHERE = model("elsewhere", pool="gemini", provider="gemini")
OWN = model("own", pinned=True)
LATER = model("later", prices=(price(on=DAY + timedelta(days=1)),))
EVERY = (SOLD, ENDING, ENDED, HIDDEN, OUT, ABSENT, ELSEWHERE, OWN, LATER)


def gateway() -> View:
    """One model of each state."""
    worker = beat(
        SOLD,
        ENDING,
        OWN,
        LATER,
        gone=("hidden",),
        unlisted=("own",),
        unpriced=("brand-new-9",),
        missing={"hidden": "no account's list has hidden", "out": "account main: cooling (slow down)"},
        accounts=(
            account(models=(ModelBeat("out", AccountState.COOLING, 1_795_000_060.0, "slow down"),)),
            account("spare", AccountState.REFUSED, reason="bad key"),
        ),
    )
    return view(*EVERY, beats=(worker,), more=(Unrouted("embed", ("embeddings",)),))


def test_every_state_is_told():
    """A row says what a call comes to now, and whether it is served; what is listed without a price is a row too."""
    shown = {row["id"]: row for row in listed(gateway(), every=True)}
    assert {name: row["state"] for name, row in shown.items()} == {
        "sold": "active",
        "ending": "deprecated",
        "ended": "retired",
        "hidden": "unlisted",
        "own": "unlisted",
        "out": "no_account",
        "absent": "no_worker",
        "elsewhere": "no_pool",
        "later": "unpriced",
        "brand-new-9": "unpriced",
        "embed": "no_route",
    }
    assert {name for name, row in shown.items() if row["callable"]} == {"sold", "ending", "own"}
    assert {row["state"] for row in shown.values()} == {state.value for state in State}
    assert len({frozenset(row) for row in shown.values()}) == 1  # all have the same fields


def test_a_row_has_prices_window_end_and_successor():
    """List and billed price are exact, the limit is the lower one of a list, and the successor is one that is served."""
    fact = ModelFact("ending", max_output=50)
    made = view(SOLD, ENDING, ENDED, beats=(beat(SOLD, ENDING, facts=(fact,)),))
    shown = {row["id"]: row for row in listed(made)}
    assert shown["ending"] == {
        "id": "ending",
        "provider": "openai",
        "pool": "p",
        "pools": ["p"],
        "upstream": "ending",
        "state": "deprecated",
        "callable": True,
        "context_window": 1000,
        "max_output_tokens": 50,
        "shutdown_date": "2026-12-06",
        "successor": "sold",
        "pricing": {
            "unit": "USD per million tokens",
            "rate": "0.60",
            "list": [{"above_prompt_tokens": 0, "input": "2", "output": "8"}],
            "billed": [{"above_prompt_tokens": 0, "input": "1.2", "output": "4.8"}],
        },
        "sources": "configuration",
        "as_of": None,
    }
    assert shown["ended"]["successor"] == "ending"
    assert shown["sold"]["successor"] is None


def test_a_price_of_the_catalogue_says_how_it_was_found():
    """A row's `sources` and the day of the catalogue; a price of the seed's is built in."""
    found = model("gpt-5.6-sol", prices=(price(name="catalogue:openai:gpt-5.6-sol:1970-01-01"),))
    seed = model("gpt-4o", prices=(price(name="builtin:gpt-4o"),))
    shown = {row["id"]: row for row in listed(view(found, seed, beats=(beat(found, seed),)))}
    assert shown["gpt-5.6-sol"]["sources"] == rows("openai")["gpt-5.6-sol"].sources
    assert date.fromisoformat(shown["gpt-5.6-sol"]["as_of"])
    assert (shown["gpt-4o"]["sources"], shown["gpt-4o"]["as_of"]) == ("built in", None)


def test_an_id_is_shown_once_with_its_pools():
    """Under its bare id, unless all names are asked for, or the bare row is not among what is asked for."""
    models = [model("a"), model("p/a"), model("q/a", pool="q"), model("q/b", pool="q")]
    made = view(*models, beats=(beat(*models[:2]), beat(*models[2:], pool="q")))
    assert ids(made) == ["a", "q/b"]
    assert listed(made)[0]["pools"] == ["p", "q"]
    assert ids(made, every=True) == ["a", "p/a", "q/a", "q/b"]
    assert ids(made, pool="q") == ["q/a", "q/b"]
    assert ids(made, text="P/") == ["p/a"]


def test_a_bare_id_hides_no_pool_that_alone_serves_it():
    """Where the first pool of an id cannot serve it and another can, both stand there, and an explanation names that one."""
    models = [model("a"), model("p/a"), model("q/a", pool="q")]
    made = view(*models, beats=(beat(gone=("a", "p/a")), beat(models[2], pool="q")))
    assert ids(made) == ["a", "q/a"]
    assert explain(made, "a")["reasons"][-1] == "Other pools serve it: call `q/a`."
    assert explain(made, "q/a")["callable"] is True


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"pool": "gemini"}, ["elsewhere"]),
        ({"provider": "gemini"}, ["elsewhere"]),
        ({"state": "unlisted"}, ["hidden", "own"]),
        ({"state": "no_route"}, ["embed"]),
        ({"state": "nothing"}, []),
        ({"text": "END"}, ["ended", "ending"]),
        ({"text": "new", "pool": "p", "provider": "openai"}, ["brand-new-9"]),
        ({"text": "new", "pool": "q"}, []),
        ({"expiring_days": 9}, []),
        ({"expiring_days": 10}, ["ending"]),
    ],
)
def test_filters(query, found):
    """Each leaves out what it does not fit; what has no route is left out unless its state is asked for."""
    assert ids(gateway(), **query) == found


@pytest.mark.parametrize("limit", [1, 3, 7, 10_000])
def test_pages_have_each_model_once(limit):
    """However small the pages, in one order: by id, or by the day that ends them."""
    ends = [DAY + timedelta(days=20 - number // 2) for number in range(20)]
    models = [model(f"m {number:02}", shutdown_date=day) for number, day in enumerate(ends)]
    made = view(*models, beats=(beat(*models),))
    assert ids(made, limit=limit) == [one.id for one in models]
    soonest = [one.id for one in sorted(models, key=lambda one: (one.shutdown_date, one.id))]
    assert ids(made, limit=limit, expiring_days=99) == soonest


def test_five_thousand_models_hold_nobody_up():
    """While pages, and what is near an unknown id, are worked out, the loop turns every few models."""
    models = [
        model(f"p/line-{n}", shutdown_date=DAY + timedelta(days=1 + n % 5), successor=f"line-{n + 1}")
        for n in range(5_000)
    ]
    made = view(*models, beats=(beat(*models),))

    async def turns(work) -> int:
        counted, ended = 0, asyncio.ensure_future(work)
        while not ended.done():
            await asyncio.sleep(0)
            counted += 1
        return counted

    async def work() -> None:
        scanned = len(models) // SCANNED_AT_ONCE
        assert await turns(page(made, ModelsQuery(text="nowhere"))) > scanned
        assert await turns(page(made, ModelsQuery(expiring_days=9))) > scanned + PAGE_MAX
        assert await turns(page(made, ModelsQuery())) > PAGE_MAX
        assert await turns(explained(made, "p/lime-77", _credit)) > len(models) // COMPARED_AT_ONCE

    asyncio.run(work())


def test_why_a_model_can_be_called():
    """Pool, accounts and their lists, price of today and the next, limits and profile, one sentence each."""
    rising = structs.replace(SOLD, prices=(price(), price("4", DAY + timedelta(days=5))))
    told = explain(view(rising, beats=(beat(rising),)), "sold")
    assert told["callable"] is True
    assert told["reasons"] == [
        "The pool `p` of openai serves it.",
        "The account `main` is ok. The list of `main` was read at 2026-11-18 11:06:40 UTC and has 48 models.",
        "It costs 2 for input and 8 for output at list, billed 1.2 and 4.8 (USD per million tokens).",
        "From 2026-12-01 on it costs 4 for input and 16 for output at list, billed 2.4 and 9.6 (USD per million tokens).",
        "Its price is the configuration's.",
        "It answers POST /v1/chat/completions, /v1/messages, /v1/responses, /v1/completions.",
        "A prompt and its answer have at most 1000 tokens, the answer at most 100.",
        "Its output limit is sent as `max_tokens`.",
    ]
    assert [later["effective"] for later in told["prices_to_come"]] == ["2026-12-01"]


@pytest.mark.parametrize(
    ("name", "reasons"),
    [
        ("ended", ["The model `ended` was retired by its provider on 2026-11-26. Use `ending` instead."]),
        (
            "hidden",
            [
                "The model `hidden` does not exist. GET /v1/models lists the models that can be used.",
                "Why: no account's list has hidden.",
                "The list of `main` was read at 2026-11-18 11:06:40 UTC and has 48 models.",
                "The list of `spare` was read at 2026-11-18 11:06:40 UTC and has 48 models.",
            ],
        ),
        (
            "elsewhere",
            [
                (
                    "The model `elsewhere` is not served here: its pool `gemini` is not configured. "
                    "Set GEMINI_API_KEY for the gateway and restart it; "
                    "where it has a tokn.toml, add [pools.gemini] there. "
                    "The model `tokn-sandbox` needs no credentials."
                )
            ],
        ),
        (
            "out",
            [
                "No account of the pool `p` can serve it now.",
                "The account `main` has it as cooling until 2026-11-18 11:07:40 UTC (slow down).",
                "The account `spare` is refused (bad key).",
            ],
        ),
        (
            "absent",
            ["No worker of the pool `p` serves it: they run with other settings than the ledger."],
        ),
        (
            "later",
            [
                "The model `later` does not exist. GET /v1/models lists the models that can be used.",
                "None of its prices is in force yet.",
            ],
        ),
        (
            "brand-new-9",
            [
                "An account of the pool `p` lists `brand-new-9`, and no price is known for it.",
                'Add [[models]] for it, with its "input" and "output" price, to sell it.',
            ],
        ),
        (
            "embed",
            [
                "Its provider serves the model `embed` by /v1/embeddings only, which this gateway does not have for it."
            ],
        ),
        (
            "Hiden",
            [
                "The model `Hiden` does not exist. GET /v1/models lists the models that can be used.",
                "Did you mean `hidden`?",
            ],
        ),
    ],
)
def test_why_a_model_cannot_be_called(name, reasons):
    """First what a caller is told, then what is behind it."""
    told = explain(gateway(), name)
    assert told["callable"] is False
    assert told["reasons"] == reasons


@pytest.mark.parametrize(
    ("one", "sentence"),
    [
        (
            account(state=AccountState.COOLING, until=1_795_000_060.0, reason="slow down"),
            "The account `main` is cooling until 2026-11-18 11:07:40 UTC (slow down).",
        ),
        (
            account(state=AccountState.SPENT, reason="no credit"),
            "The account `main` is spent (no credit).",
        ),
        (
            account(models=(ModelBeat("sold", AccountState.REFUSED, 1_795_000_060.0, "", False),)),
            "The account `main` has it for one key as refused until 2026-11-18 11:07:40 UTC.",
        ),
        (
            AccountBeat("main", AccountState.OK, 0, 4, list_error="status 500"),
            "The account `main` is ok. The list of `main` is not known (status 500): it hides nothing.",
        ),
    ],
)
@pytest.mark.parametrize("served", [True, False])
def test_each_account_says_where_it_stands(one, sentence, served):
    """Whether or not another account serves the model."""
    worker = beat(
        *((SOLD,) if served else ()),
        accounts=(one, account("spare")),
        missing={} if served else {"sold": "account main: …"},
    )
    told = explain(view(SOLD, beats=(worker,)), "sold")
    assert told["callable"] is served
    assert sentence in told["reasons"]


def test_workers_without_room():
    """They serve it all the same, and a call may have to wait."""
    full = structs.replace(beat(SOLD), inflight=4)
    told = explain(view(SOLD, beats=(full,)), "sold")
    assert told["callable"] is True
    assert told["reasons"][1] == "No worker has room now: a call waits for a moment, then it is a 429."


@pytest.mark.parametrize(
    ("more", "ending"),
    [
        ({"shutdown_date": DAY + timedelta(days=1)}, "It ends on 2026-11-27."),
        (
            {"shutdown_date": DAY - timedelta(days=1), "dated": False},
            "Its provider's own date for it is 2026-11-25, which ends nothing here.",
        ),
        ({"facts": True}, "Its provider calls it deprecated."),
    ],
)
def test_an_end_is_told_as_an_edge_takes_it(more, ending):
    """By the row at the provider's own address, by a list anywhere; elsewhere a row's date ends nothing."""
    facts = (ModelFact("ends", deprecated=True),) if more.pop("facts", False) else ()
    ends = model("ends", **more)
    made = view(ends, beats=(beat(ends, facts=facts),))
    assert ending in explain(made, "ends")["reasons"]
    assert listed(made)[0]["state"] == "deprecated"


def test_a_pool_without_workers():
    """Nobody runs it, which is another matter than a pool that is not configured."""
    assert explain(view(SOLD), "sold")["reasons"] == ["No worker of the pool `p` runs."]


def test_workers_that_have_not_said_what_they_serve():
    """A brief beat that the ledger cannot read yet is no word against a model."""
    made = view(SOLD, beats=(beat(digest="d"),))
    assert explain(made, "sold")["reasons"] == [
        "The workers of the pool `p` have not said yet what they serve: ask again in half a minute."
    ]


def test_an_alias_is_expanded():
    """It can be called if one of its models can, and each of those says why or why not."""
    made = view(SOLD, ENDED, beats=(beat(SOLD),), aliases=(Alias("fast", ("ended", "sold")),))
    told = explain(made, "fast")
    assert (told["callable"], told["serves"]) == (True, "sold")
    assert told["reasons"][0] == "`fast` is an alias: `ended`, then `sold` are tried in this order."
    assert told["reasons"][1].startswith("`ended`: The model `ended` was retired")
    assert "`sold`: The pool `p` of openai serves it." in told["reasons"]
    assert explain(view(ENDED, aliases=(Alias("old", ("ended",)),)), "old")["callable"] is False


def test_near_ids_are_few():
    """However many are alike, and however long the name."""
    models = [model(f"gpt-{n}") for n in range(50)]
    made = view(*models, beats=(beat(*models),))
    assert len(explain(made, "gtp-7")["similar"]) == NEAR_MAX
    lost = explain(made, "x" * 100_000)
    assert lost["similar"] == []
    assert len(str(lost)) < 1_000


def test_what_embeds_says_only_what_it_takes():
    """A model of vectors has a route of its own and no answer in tokens."""
    able = Capabilities(chat=False, embeddings=Vectors(dimensions=8))
    embeds = structs.replace(SOLD, capabilities=able, max_output=0)
    reasons = explain(view(embeds, beats=(beat(embeds),)), "sold")["reasons"]
    assert reasons[-2:] == ["It answers POST /v1/embeddings.", "An input has at most 1000 tokens."]
