"""The catalogue on its way to callers: in pages, only where it changed, and never long on the loop."""

import asyncio
import gc
import time
from typing import Any

import msgspec
import pytest
from msgspec import structs

from edge.admission.catalogue import Catalogue
from edge.admission.listing import Listing
from edge.calls.roster import Roster
from edge.limits import LIMITS
from ledger.prices.offers import Catalogue as Sold
from ledger.verbs.catalogue import page
from runtime.catalogue.models import FILE, read_rows
from schemas.bus.frames import Beat
from schemas.catalogue.aliases import Alias
from schemas.catalogue.builtin import BUILTIN
from schemas.catalogue.model import Model
from schemas.catalogue.profiles import profiled
from schemas.catalogue.unrouted import Unrouted
from schemas.verbs.base import encode
from schemas.verbs.catalogue import CATALOGUE, PAGE_MODELS, CatalogueQuery, CatalogueReply

STEP_MAX_S = 0.010
MESSAGE_MAX_BYTES = 1024 * 1024
VENDORS = ("openai", "anthropic", "gemini", "bedrock")


def many(count: int) -> tuple[Model, ...]:
    """Models of the built-in rows, under as many ids as it takes."""
    rows = [row for vendor in VENDORS for row in read_rows(FILE, vendor).values()]
    return tuple(
        Model(
            id=f"pool-{number // len(rows)}/{row.preset}/{row.id}",
            pool="main",
            upstream=row.id,
            provider=row.preset,
            context=row.context,
            max_output=row.max_output,
            prices=row.priced(),
            capabilities=profiled(row.preset, row.id),
        )
        for number, row in ((number, rows[number % len(rows)]) for number in range(count))
    )


class Books:
    """A ledger that answers for the catalogue alone, through the bytes of the bus."""

    def __init__(self, models: tuple[Model, ...]) -> None:
        self.sold = Sold(models)
        self.asked: list[CatalogueQuery] = []
        self.largest_bytes = 0
        self.turns: list[Sold] = []  # in place of `sold`, one an answer

    async def ask(self, verb: Any, request: CatalogueQuery) -> CatalogueReply:
        """One request."""
        assert verb is CATALOGUE
        self.asked.append(request)
        await asyncio.sleep(0)
        sold = self.turns.pop(0) if self.turns else self.sold
        data = encode(page(sold, CATALOGUE.form_decoder.decode(encode(request))))
        self.largest_bytes = max(self.largest_bytes, len(data))
        await asyncio.sleep(0)
        return CATALOGUE.reply_decoder.decode(data)


def beat(models: tuple[str, ...], worker: str = "w") -> Beat:
    """A beat that serves them."""
    return Beat(1, worker, "main", "openai", 0, 1, accepting=True, models=models, gone=(), accounts=())


async def read(catalogue: Catalogue) -> None:
    """One reading."""
    await catalogue._load()


async def test_the_catalogue_travels_in_pages_and_only_if_it_changed() -> None:
    """Each page is far below a message's bound, together they are all models, and an unchanged version is one empty answer."""
    models = many(1_000)
    books = Books(models)
    books.sold.version  # noqa: B018  a ledger makes it at its start
    catalogue = Catalogue(books, LIMITS)
    await read(catalogue)
    assert {model.id: model for model in catalogue.models()} == {model.id: model for model in models}
    assert [model.id for model in catalogue.models()] == sorted(model.id for model in models)
    assert books.largest_bytes < MESSAGE_MAX_BYTES / 4
    assert len(books.asked) == -(-1_000 // PAGE_MODELS)
    before, generation = len(books.asked), catalogue.generation
    await read(catalogue)
    assert (len(books.asked), catalogue.generation) == (before + 1, generation)
    books.sold = Sold((structs.replace(models[0], max_output=1), *models[1:]))
    await read(catalogue)
    assert catalogue.known(models[0].id).max_output == 1
    assert catalogue.generation == generation + 1


async def test_aliases_travel_with_the_models() -> None:
    """They come with the first of any number of pages, and a change of them alone is another version and another list."""
    models = many(3 * PAGE_MODELS)
    books = Books(models)
    catalogue, roster = Catalogue(books, LIMITS), Roster(3.0)
    roster.hear(beat((models[0].id,)), 0.0)
    listing = Listing(catalogue, roster)
    await read(catalogue)
    before = await listing.current()
    names = (models[0].id, models[1].id)
    far = Unrouted("far", ("embeddings",))
    books.sold = Sold(models, aliases=(Alias("quick", names), Alias("away", names[1:])), unrouted=(far,))
    await read(catalogue)
    assert (catalogue.unrouted("far"), catalogue.unrouted("near")) == (far, None)
    assert len(catalogue.models()) == len(models)
    assert (catalogue.aliases(), catalogue.stands_for("quick")) == (["away", "quick"], names)
    after = await listing.current()
    assert after.ids == tuple(sorted((names[0], "quick")))
    assert after.tag != before.tag
    own = await listing.of((names[0], "qu*"))
    assert own.ids == (names[0], "quick")
    assert await listing.of((names[0], "qu*")) is own, "a key's own list is made once"
    page_of_one = msgspec.json.decode(after.page(1, names[0]))
    assert [(entry["id"], entry["models"]) for entry in page_of_one["data"]] == [("quick", list(names))]
    books.sold = Sold(models)
    await read(catalogue)
    assert catalogue.aliases() == []
    assert (await listing.current()).tag == before.tag


async def test_pages_of_two_catalogues_are_never_mixed() -> None:
    """A ledger with other models that answers for a page leaves what was known in place; the next reading has it whole."""
    old, new = Sold(many(200)), Sold(many(150))
    books = Books(())
    books.turns = [old, new]
    catalogue = Catalogue(books, LIMITS)
    await read(catalogue)
    assert catalogue.models() == []
    assert not catalogue.loaded
    books.sold = new
    await read(catalogue)
    assert len(catalogue.models()) == 150


async def test_neighbouring_versions_understand_each_other() -> None:
    """An older edge gets all models at once; from an older ledger a newer edge takes all at once."""
    sold = Sold(BUILTIN)
    older = CATALOGUE.form_decoder.decode(encode([1]))
    assert page(sold, older) == CatalogueReply(sold.sorted)

    class Older(Books):
        async def ask(self, verb: Any, request: CatalogueQuery) -> CatalogueReply:
            del verb, request
            return msgspec.msgpack.decode(encode([self.sold.sorted]), type=CatalogueReply)

    catalogue = Catalogue(Older(BUILTIN), LIMITS)
    await read(catalogue)
    assert len(catalogue.models()) == len(BUILTIN)
    generation = catalogue.generation
    await read(catalogue)
    assert catalogue.generation == generation


async def longest_step(work: Any) -> float:
    """The most CPU that one turn of the loop took while some work ran, in seconds."""
    task, longest = asyncio.ensure_future(work), 0.0
    while not task.done():
        began = time.thread_time()
        await asyncio.sleep(0)
        longest = max(longest, time.thread_time() - began)
    task.result()
    return longest


async def test_five_thousand_models_never_hold_the_loop() -> None:
    """Reading them, listing them, a page of them and a beat with all of them each take steps below ten milliseconds."""
    models = many(5_000)
    gc.collect()
    gc.freeze()  # a service does not go through what it holds for good
    steps: dict[str, float] = {}
    for _ in range(10):  # the machine's own pauses are not ours
        books, roster = Books(models), Roster(3.0)
        books.sold.version  # noqa: B018  a ledger makes it at its start
        catalogue = Catalogue(books, LIMITS)
        listing = Listing(catalogue, roster)
        found = {"read": await longest_step(read(catalogue))}
        began = time.thread_time()
        roster.hear(beat(tuple(model.id for model in models)), 0.0)
        found["beat"] = time.thread_time() - began
        found["list"] = await longest_step(listing.current())
        listed = await listing.current()
        began = time.thread_time()
        listed.page(1_000, listed.ids[2_000])
        found["page"] = time.thread_time() - began
        steps = {name: min(steps.get(name, 1.0), step) for name, step in found.items()}
        if max(steps.values()) < STEP_MAX_S:
            break
    gc.unfreeze()
    assert max(steps.values()) < STEP_MAX_S, steps
    assert [one["id"] for one in msgspec.json.decode(b"".join(listed.parts))["data"]] == list(listed.ids)
    assert len(listed.ids) == 5_000
    assert max(map(len, listed.parts)) < MESSAGE_MAX_BYTES / 4


async def test_the_list_is_made_once_a_version() -> None:
    """Nothing is encoded again until the catalogue, the workers or the day change; any change gives another tag."""
    catalogue, roster = Catalogue(Books(BUILTIN), LIMITS), Roster(3.0)
    await read(catalogue)
    listing = Listing(catalogue, roster)
    empty = await listing.current()
    assert (empty.ids, await listing.current()) == ((), empty)
    roster.hear(beat(("gpt-4o",)), 0.0)
    assert (await listing.current()).ids == ()  # its pool is another one
    models = tuple(structs.replace(model, pool="main") for model in BUILTIN)
    catalogue._take(list(models), "another", {})
    first = await listing.current()
    assert first.ids == ("gpt-4o",)
    roster.hear(beat(("gpt-4o",)), 0.5)
    assert await listing.current() is first
    roster.hear(beat(("gpt-4o-mini", "gpt-4o")), 1.0)
    second = await listing.current()
    assert second.ids == ("gpt-4o", "gpt-4o-mini")
    assert second.entries[0] is first.entries[0]
    roster.sweep(100.0)
    assert (await listing.current()).ids == ()
    assert len({empty.tag, first.tag, second.tag}) == 3


@pytest.mark.parametrize(
    ("limit", "after", "ids", "more"),
    [
        (2, "", ["a", "b"], True),
        (2, "b", ["c", "d"], True),
        (2, "d", ["e"], False),
        (9, "", ["a", "b", "c", "d", "e"], False),
        (9, "bb", ["c", "d", "e"], False),
        (9, "e", [], False),
    ],
)
async def test_pages_of_the_list(limit: int, after: str, ids: list[str], more: bool) -> None:
    """A page begins after an id, whether that still exists or not, and says whether there are more."""
    catalogue, roster = Catalogue(Books(()), LIMITS), Roster(3.0)
    catalogue._take([structs.replace(BUILTIN[0], id=name, pool="main") for name in "abcde"], "v", {})
    roster.hear(beat(tuple("abcde")), 0.0)
    found = msgspec.json.decode((await Listing(catalogue, roster).current()).page(limit, after))
    assert [entry["id"] for entry in found["data"]] == ids
    assert (found["object"], found["has_more"]) == ("list", more)
    assert (found["first_id"], found["last_id"]) == ((ids[0], ids[-1]) if ids else (None, None))


@pytest.mark.parametrize(
    ("limit", "before", "ids", "more"),
    [
        (2, "e", ["c", "d"], True),
        (2, "c", ["a", "b"], False),
        (9, "cc", ["a", "b", "c"], False),
        (9, "a", [], False),
    ],
)
async def test_pages_before_an_id(limit: int, before: str, ids: list[str], more: bool) -> None:
    """A page ends before an id, whether that still exists or not, and says whether there are more before it."""
    catalogue, roster = Catalogue(Books(()), LIMITS), Roster(3.0)
    catalogue._take([structs.replace(BUILTIN[0], id=name, pool="main") for name in "abcde"], "v", {})
    roster.hear(beat(tuple("abcde")), 0.0)
    found = msgspec.json.decode((await Listing(catalogue, roster).current()).page(limit, "", before))
    assert [entry["id"] for entry in found["data"]] == ids
    assert found["has_more"] == more
