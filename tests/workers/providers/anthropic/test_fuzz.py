"""Generated bodies: what Anthropic is sent is always valid by its SDK's types and its rules, or the caller got a 400."""

import pytest

from schemas.chat.refusals import refuse
from schemas.chat.request import CHAT
from tests.fakes.anthropic_rules import check
from tests.fakes.bodies import body, encoded
from tests.workers.providers.anthropic.cases import ACCOUNT, job, model
from workers.providers.anthropic.family import Anthropic

UPSTREAMS = (
    "claude-3-5-sonnet-20241022",
    "claude-opus-4-1",
    "claude-sonnet-4-5",
    "claude-sonnet-4-6",
    "claude-opus-4-8",
    "claude-opus-5-5",
)


@pytest.mark.parametrize("upstream", UPSTREAMS)
@pytest.mark.parametrize("count", [500, pytest.param(10_000, marks=pytest.mark.long)])
def test_refused_or_valid(count, upstream):
    """So many bodies, shared among the generations of models; a good part of each is served."""
    row = model(upstream)
    served = 0
    share = count // len(UPSTREAMS) + 1
    first = UPSTREAMS.index(upstream) * share
    for seed in range(first, first + share):
        if refuse(row, CHAT, encoded(seed)) is not None:
            continue
        made = body(seed)
        (one,) = Anthropic().open(job(made, upstream=upstream), row, {})
        try:
            check(one.request(ACCOUNT).body, row.capabilities)
        except Exception as wrong:
            raise AssertionError(f"seed {seed}: {made}") from wrong
        served += 1
    assert served > share // 20
