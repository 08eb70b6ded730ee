"""Where a model stands on a day: what ends it, where, and what is only told of it."""

from datetime import date, timedelta

import pytest

from schemas.bus.frames import ModelFact
from schemas.catalogue.model import Lifecycle, Model
from schemas.catalogue.standing import standing

DAY = date(2027, 1, 14)
BEFORE, AFTER = DAY - timedelta(days=1), DAY + timedelta(days=1)
ACTIVE, DEPRECATED, RETIRED = Lifecycle.ACTIVE, Lifecycle.DEPRECATED, Lifecycle.RETIRED


def model(**more) -> Model:
    """A model."""
    return Model(id="m", pool="p", upstream="u", provider="openai", context=10, max_output=5, **more)


def fact(**more) -> ModelFact:
    """What a list says."""
    return ModelFact("u", **more)


@pytest.mark.parametrize(
    ("what", "said", "day", "expected"),
    [
        # A row's date, at the provider's own address: the day itself is the first without the model.
        ({"dated": True}, None, DAY, (ACTIVE, None, False, False)),
        ({"dated": True, "shutdown_date": DAY}, None, BEFORE, (DEPRECATED, DAY, False, True)),
        ({"dated": True, "shutdown_date": DAY}, None, DAY, (RETIRED, DAY, True, False)),
        (
            {"dated": True, "shutdown_date": DAY, "lifecycle": RETIRED},
            None,
            BEFORE,
            (DEPRECATED, DAY, False, True),
        ),
        (
            {"dated": True, "shutdown_date": DAY, "lifecycle": DEPRECATED},
            None,
            AFTER,
            (RETIRED, DAY, True, False),
        ),
        # Elsewhere it is told, and ends nothing.
        ({"shutdown_date": DAY}, None, BEFORE, (DEPRECATED, DAY, False, False)),
        ({"shutdown_date": DAY}, None, AFTER, (RETIRED, DAY, False, False)),
        # A list of those who serve it ends it anywhere, and earlier than its row; never later.
        ({}, fact(shutdown=DAY), BEFORE, (DEPRECATED, DAY, False, True)),
        ({}, fact(shutdown=DAY), DAY, (RETIRED, DAY, True, False)),
        ({"dated": True, "shutdown_date": AFTER}, fact(shutdown=DAY), DAY, (RETIRED, DAY, True, False)),
        ({"dated": True, "shutdown_date": DAY}, fact(shutdown=AFTER), DAY, (RETIRED, DAY, True, False)),
        ({"shutdown_date": DAY}, fact(shutdown=AFTER), DAY, (RETIRED, DAY, False, True)),
        ({}, fact(retired=True), BEFORE, (RETIRED, None, True, False)),
        ({}, fact(retired=True, shutdown=DAY), BEFORE, (RETIRED, DAY, True, False)),
        ({}, fact(deprecated=True), DAY, (DEPRECATED, None, False, True)),
        ({}, fact(max_output=3), DAY, (ACTIVE, None, False, False)),
        # Nothing ends a row of the operator's own, and its words stand.
        ({"pinned": True, "shutdown_date": DAY}, fact(retired=True), AFTER, (RETIRED, DAY, False, False)),
        ({"pinned": True}, fact(retired=True, shutdown=DAY), AFTER, (RETIRED, DAY, False, False)),
        (
            {"pinned": True, "lifecycle": ACTIVE, "shutdown_date": DAY},
            None,
            BEFORE,
            (ACTIVE, DAY, False, False),
        ),
    ],
)
def test_where_a_model_stands(what, said, day, expected):
    """Rows, addresses, lists and days together decide what is served, told and announced."""
    found = standing(model(**what), said, day)
    assert (found.lifecycle, found.shutdown, found.retired, found.deprecated) == expected
    assert not (found.retired and found.deprecated)
