"""What is used in place of a model that has ended: a model that lives and that this gateway serves, or nothing."""

from collections.abc import Iterable
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from msgspec import structs

from edge.calls.roster import Roster
from ledger.prices.listed import priced
from runtime.catalogue.models import rows
from runtime.catalogue.presets import presets
from runtime.catalogue.shelf import Shelf
from runtime.settings.settings import load
from schemas.bus.frames import Beat, ModelFact
from schemas.catalogue.builtin import BUILTIN
from schemas.catalogue.model import Capabilities, Model
from schemas.catalogue.successors import STEPS_MAX, Successors, line
from schemas.chat.priced import RequestError
from schemas.money.pricing import Price, PriceTier

TODAY = date(2026, 11, 26)
GONE = date(2026, 1, 1)


class Models:
    """A catalogue that is there already."""

    def __init__(self, models: Iterable[Model]) -> None:
        self.generation = 1
        self._models = {model.id: model for model in models}

    def models(self) -> list[Model]:
        """All, by id."""
        return [self._models[name] for name in sorted(self._models)]

    def known(self, name: str) -> Model | None:
        """One."""
        return self._models.get(name)


def model(name: str, *, usd: str = "1", pool: str = "p", **more) -> Model:
    """A model of a pool at the provider's own address."""
    return Model(
        id=name,
        pool=pool,
        upstream=name.rpartition("/")[2],
        provider="openai",
        context=more.pop("context", 100),
        max_output=10,
        prices=(Price(id="x", tiers=(PriceTier(input=Decimal(usd), output=Decimal(usd)),)),),
        dated=more.pop("dated", True),
        **more,
    )


def old(name: str, successor: str | None = None, **more) -> Model:
    """One that has ended."""
    return model(name, shutdown_date=GONE, successor=successor, **more)


def roster(models: Iterable[Model], *away: str, facts: tuple[ModelFact, ...] = ()) -> Roster:
    """Workers that serve all of them but those."""
    made = Roster(1e9)
    pools: dict[str, list[str]] = {}
    for one in models:
        pools.setdefault(one.pool, []).append(one.id)
    for pool, names in pools.items():
        served = tuple(name for name in names if name not in away)
        made.hear(Beat(1, f"w-{pool}", pool, "openai", 0, 1, True, served, (), (), facts=facts), 0.0)
    return made


def successor(*models: Model, of: str = "gpt-1", away: tuple[str, ...] = (), **more) -> str | None:
    """What is named in a model's place."""
    catalogue = Models(models)
    return Successors(catalogue, roster(models, *away, **more)).of(catalogue.known(of), TODAY)


def test_a_chain_is_followed_to_the_first_that_lives() -> None:
    """Successors that have ended themselves, or that nobody serves, are passed over, at most so many."""
    assert successor(old("gpt-1", "gpt-2"), model("gpt-2")) == "gpt-2"
    chain = [old(f"gpt-{number}", f"gpt-{number + 1}") for number in range(1, STEPS_MAX)]
    assert successor(*chain, model(f"gpt-{STEPS_MAX}")) == f"gpt-{STEPS_MAX}"
    assert successor(old("gpt-1", "o-2"), old("o-2", "o-3"), model("o-3")) == "o-3"
    assert successor(old("gpt-1", "o-2"), model("o-2", successor="o-3"), model("o-3"), away=("o-2",)) == "o-3"
    long = [old(f"x{number}a", f"x{number + 1}a") for number in range(STEPS_MAX + 1)]
    assert successor(*long, model(f"x{STEPS_MAX + 1}a"), of="x0a") is None


def test_a_circle_ends() -> None:
    """Successors that name each other, or themselves, name nobody."""
    assert successor(old("gpt-1", "o-2"), old("o-2", "gpt-1")) is None
    assert successor(old("gpt-1", "gpt-1")) is None


def test_what_a_list_says_is_over_is_over() -> None:
    """A successor that its provider's list calls retired, or dates to today, is not named."""
    ended = (ModelFact("gpt-2", retired=True),)
    assert successor(old("gpt-1", "gpt-2"), model("gpt-2"), facts=ended) is None
    dated = (ModelFact("gpt-2", shutdown=TODAY),)
    assert successor(old("gpt-1", "gpt-2"), model("gpt-2"), facts=dated) is None


def test_a_callers_name_for_a_model_is_kept() -> None:
    """Whoever wrote the pool's name gets it back with the successor, the others the bare id; what is not served, neither."""
    pooled = [model("a/gpt-2", pool="a"), old("a/gpt-1", "gpt-2", pool="a"), old("gpt-1", "gpt-2", pool="a")]
    bare = model("gpt-2", pool="b")
    assert successor(*pooled, bare, of="a/gpt-1") == "a/gpt-2"
    assert successor(*pooled, bare, of="gpt-1") == "gpt-2"
    assert successor(*pooled, of="gpt-1") == "a/gpt-2"
    assert successor(*pooled, bare, of="a/gpt-1", away=("a/gpt-2",)) == "gpt-2"


def test_without_a_successor_the_cheapest_of_the_line_is_named() -> None:
    """Of the models of one line that live, are served, and take what it took, the one with the lowest price today."""
    one = old("gpt-1-mini", context=100, capabilities=Capabilities(images=True))
    able = {"capabilities": Capabilities(images=True, files=True)}
    others = (
        model("gpt-3-mini", usd="3", **able),
        model("gpt-2-mini-preview", usd="2", **able),
        model("gpt-4-mini", usd="0.1", context=99, **able),
        model("gpt-5-mini", usd="0.1"),
        model("gpt-6", usd="0.1", **able),
        model("gpt-7-minister", usd="0.1", **able),
        model("gpt-8-mini", usd="0.1", shutdown_date=TODAY, **able),
        model("gpt-9-mini", usd="0.1", **able),
    )
    assert successor(one, *others, of=one.id, away=("gpt-9-mini",)) == "gpt-2-mini-preview"
    assert successor(one, of=one.id) is None
    dear = structs.replace(others[1], prices=())
    assert successor(one, dear, others[0], of=one.id) == "gpt-3-mini"


def test_lines() -> None:
    """A line is the words of an id: figures, dates and words for releases do not part it."""
    for upstream, words in (
        ("gpt-4o-mini-2024-07-18", ("gpt", "mini")),
        ("gpt-5.1-mini", ("gpt", "mini")),
        ("claude-3-5-sonnet-20241022", ("claude", "sonnet")),
        ("claude-sonnet-5-5", ("claude", "sonnet")),
        ("gemini-1.5-flash-latest", ("gemini", "flash")),
        ("gemini-3-flash-preview", ("gemini", "flash")),
        ("us.anthropic.claude-3-haiku-20240307-v1:0", ("us", "anthropic", "claude", "haiku")),
    ):
        assert line(upstream) == words


def test_answers_follow_what_is_served() -> None:
    """A successor that leaves is no longer named, and one that comes is, though answers are remembered."""
    models = [old("gpt-1", "gpt-2"), model("gpt-2"), model("gpt-3", usd="9")]
    catalogue, here = Models(models), roster(models)
    found = Successors(catalogue, here)
    assert found.of(models[0], TODAY) == "gpt-2"
    here.hear(Beat(1, "w-p", "p", "openai", 0, 1, True, ("gpt-3",), (), ()), 1.0)
    assert found.of(models[0], TODAY) == "gpt-3"
    here.sweep(2e9)
    assert found.of(models[0], TODAY) is None


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> tuple[Model, ...]:
    """What a deployment with a pool of every preset with rows sells, each at its own address."""
    path = Path(tmp_path_factory.mktemp("settings")) / "tokn.toml"
    named = [name for name, preset in presets().items() if rows(preset.price_source)]
    path.write_text(
        "".join(
            f'[pools.{name}]\nprovider = "{name}"\n[[pools.{name}.accounts]]\nid = "a"\n'
            + "".join(f'{place} = "us-east-1"\n' for place in presets()[name].places)
            for name in named
        )
    )
    return priced(load(path, credentials=False, environment={}), TODAY)


def test_every_successor_chain_of_the_built_in_rows_ends_well(everything: tuple[Model, ...]) -> None:
    """On every day on which a row ends, what is named in its place is a live model that is served, or nothing is named."""
    catalogue = Models(everything)
    days = sorted({one.shutdown_date for one in everything if one.shutdown_date})
    named = 0
    for day in (*days, days[-1] + timedelta(days=1)):
        here = roster(everything)
        shelf = Shelf(catalogue, here, lambda day=day: day)
        for one in everything:
            if one.shutdown_date is None or one.shutdown_date > day or one.id != one.upstream:
                continue
            with pytest.raises(RequestError) as refused:
                shelf.open(one)
            error = refused.value.error
            assert (error.status, error.code) == (404, "model_not_found")
            assert f"on {one.shutdown_date}." in error.message
            found = shelf.successor(one)
            if found is None:
                assert "Use" not in error.message
                continue
            named += 1
            assert f"Use `{found}` instead." in error.message
            assert found != one.id
            assert shelf.open(catalogue.known(found)).model.id == found
    assert named > 1_000


def test_the_seeds_retired_ids_name_models_that_can_be_called(everything: tuple[Model, ...]) -> None:
    """With every pool configured, each of the seven that have ended names the successor of its row."""
    catalogue = Models(everything)
    shelf = Shelf(catalogue, roster(everything), lambda: TODAY)
    ended = [one for one in BUILTIN if one.shutdown_date and one.shutdown_date <= TODAY]
    assert len(ended) == 7
    for seed in ended:
        here = catalogue.known(seed.id)
        assert here.dated
        assert shelf.successor(here) == seed.successor
        with pytest.raises(RequestError, match="Use"):
            shelf.open(here)


def test_a_model_that_is_about_to_end_is_not_its_own_successor():
    """It lives until its day, and yet neither its line nor a circle of successors leads back to it under any name."""
    ending = {"shutdown_date": TODAY + timedelta(days=9)}
    alone = (model("gpt-1", **ending), model("p/gpt-1", **ending))
    assert successor(*alone) is None
    assert successor(*alone, model("gpt-2", usd="9")) == "gpt-2"
    circle = (model("gpt-1", successor="x2", **ending), old("x2", "gpt-1"))
    assert successor(*circle) is None
    assert successor(*circle, model("gpt-3")) == "gpt-3"
    elsewhere = model("q/gpt-1", pool="q", dated=False)
    assert successor(*alone, elsewhere) == "q/gpt-1"
