"""Generated bodies for /v1/embeddings against the real edge app: each is a clean refusal, or reaches the ledger."""

import asyncio
import json
import random
from collections import Counter

from schemas.verbs.calls import Authorise, AuthoriseReply, Reason, Refusal
from tests.edge.admission.test_hostile_bodies import damage
from tests.fakes import embeddings
from tests.fakes.apps import App, Books, openai_error

BODIES = 2_000


class _Free(Books):
    """As chat's, but no call of it has output."""

    def _authorise(self, message: Authorise) -> AuthoriseReply:
        assert 1 <= message.prompt_max <= 2**40
        assert (message.limit, message.choices) == (0, 1)
        self.authorised += 1
        return Refusal(Reason.INSUFFICIENT)


def test_no_body_is_a_5xx() -> None:
    """No generated body, whole or damaged, gets a 5xx, harms the app, or is answered outside OpenAI's error shape."""
    rng, loop = random.Random(11), asyncio.new_event_loop()

    async def run() -> tuple[App, Counter[int]]:
        app, seen = App(_Free()), Counter[int]()
        for _ in range(BODIES):
            model = rng.choice(("tokn-sandbox", "gpt-4o", "gone"))
            data = json.dumps({"model": model} | embeddings.any_body(rng)).encode()
            if rng.random() < 0.3:
                data = damage(rng, data)
            status, answer = await app.post("/v1/embeddings", data)
            seen[status] += 1
            assert status in (400, 402, 404), (status, data, answer)
            assert openai_error(answer)
        return app, seen

    app, seen = loop.run_until_complete(run())
    loop.close()
    assert len(seen) == 3, seen
    assert app.budget.used == 0
    assert app.books.authorised > 100
