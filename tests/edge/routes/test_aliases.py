"""Aliases, as callers meet them: listed, retrieved, and called."""

import msgspec
import openai
import pytest

from schemas.catalogue.aliases import Alias
from schemas.catalogue.builtin import BUILTIN
from schemas.verbs.calls import AUTHORISE
from tests.edge.conftest import Rig
from tests.edge.stand_ins import until

SANDBOX = next(model for model in BUILTIN if model.id == "tokn-sandbox")
NAMES = ("first", "second")
QUICK = "our/quick model"


@pytest.fixture
async def aliased(rig: Rig) -> Rig:
    """An edge that knows two models and the alias for both; its worker serves the second alone."""
    rig.ledger.models = (
        *BUILTIN,
        *(msgspec.structs.replace(SANDBOX, id=name, upstream=name) for name in NAMES),
    )
    rig.ledger.aliases = (Alias(QUICK, NAMES), Alias("away", ("first",)))
    rig.worker.models = ("tokn-sandbox", "second")
    rig.worker.beat()
    await until(lambda: rig.edge.roster.serves("sandbox", "second"))
    await rig.edge.catalogue.find("second")
    return rig


async def test_an_alias_is_listed_with_what_it_stands_for(aliased: Rig) -> None:
    """Its entry is that of its first model which can be served, under its own id; one that nobody serves is left out."""
    client = openai.AsyncOpenAI(api_key=aliased.ledger.key, base_url=f"{aliased.url}/v1", max_retries=0)
    listed = {entry.id: entry.model_dump() for entry in (await client.models.list()).data}
    assert list(listed) == [QUICK, "second", "tokn-sandbox"]
    own = {"id": QUICK, "display_name": QUICK, "models": list(NAMES)}
    assert listed[QUICK] == listed["second"] | own
    assert (await client.models.retrieve(QUICK)).model_dump() == listed[QUICK]
    with pytest.raises(openai.RateLimitError, match="alias `away`"):
        await client.models.retrieve("away")
    await client.close()


async def test_a_call_by_an_alias_goes_to_a_model_that_is_served(aliased: Rig) -> None:
    """The hold and the job name the row, so that nothing after the edge needs to know of aliases."""
    assert (await aliased.chat(model=QUICK)).status_code == 200
    (asked,) = aliased.ledger.of(AUTHORISE)
    assert asked.model == aliased.worker.attempts[-1].job.model == "second"


async def test_a_new_alias_is_found_at_once(rig: Rig) -> None:
    """An unknown name has the catalogue read again before it is a 404, for an alias too."""
    rig.ledger.aliases = (Alias("fresh", ("tokn-sandbox",)),)
    assert (await rig.chat(model="fresh")).status_code == 200
    assert (await rig.chat(model="stale")).status_code == 404
