"""That a ledger's picture of the workers and an edge's roster say the same of the same beats."""

import itertools
import random

import pytest

from edge.calls.roster import Roster
from ledger.verbs.view import Picture
from schemas.bus.frames import Beat, ModelFact

POOLS = ("p", "q", "unheard", "unset")
MODELS = ("a", "b", "c", "d")


def some(chance: random.Random) -> tuple[str, ...]:
    """A few of the models."""
    return tuple(name for name in MODELS if chance.random() < 0.4)


def beat(chance: random.Random, worker: int) -> Beat:
    """What one worker may say."""
    facts = tuple(ModelFact(name, retired=chance.random() < 0.5, max_output=worker) for name in some(chance))
    return Beat(
        v=1,
        worker_id=f"w{worker}",
        pool=chance.choice(POOLS[:2]),
        provider="openai",
        inflight=0,
        capacity=1,
        accepting=True,
        models=some(chance),
        gone=some(chance),
        accounts=(),
        facts=facts,
        unlisted=some(chance),
    )


@pytest.mark.parametrize("seed", range(50))
def test_an_edge_and_a_ledger_see_the_same(seed):
    """Whatever workers say of any model of any pool, both have the same answer for the rules that they share."""
    chance = random.Random(seed)
    beats = [beat(chance, worker) for worker in range(chance.randrange(5))]
    roster = Roster(1e9, POOLS[:3])
    by_pool: dict[str, list[Beat]] = {}
    for one in beats:
        roster.hear(one, 0.0)
        by_pool.setdefault(one.pool, []).append(one)
    picture = Picture(by_pool, POOLS[:3])
    for pool, model in itertools.product(POOLS, MODELS):
        for question in ("serves", "gone", "fact", "unlisted"):
            assert getattr(picture, question)(pool, model) == getattr(roster, question)(pool, model), question
        assert picture.unset(pool) == roster.unset(pool)
