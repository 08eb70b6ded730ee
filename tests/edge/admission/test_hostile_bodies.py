"""Ten thousand hostile bodies through the whole app in process: no 5xx, every answer in OpenAI's shape."""

import asyncio
import json
import random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.admission.admission import Admission
from edge.admission.catalogue import Catalogue
from edge.admission.listing import Listing
from edge.admission.pages import PageCounter
from edge.budget import Budget
from edge.calls.relay import Relay
from edge.calls.roster import Roster
from edge.http.connection import CONNECTION
from edge.http.cors import Cors
from edge.limits import LIMITS
from edge.routes import ROUTES
from edge.routes.endpoint import Backing, Load, router
from runtime.ledger import LedgerClient, Patience
from schemas import keys, verbs
from schemas.catalogue.builtin import BUILTIN
from schemas.verbs.base import Verb
from schemas.verbs.calls import Authorise, AuthoriseReply, Reason, Refusal
from schemas.verbs.catalogue import CatalogueReply
from schemas.verbs.keys import KeyReply

BODIES = 10_000
PATHS = ("/v1/chat/completions", "/v1/completions", "/v1/responses")
PER_EXAMPLE = 50  # drawing pieces is dear, putting them together is not
MODELS = [model.id for model in BUILTIN]
KEY = keys.generate()

numbers = st.one_of(
    st.integers(-(2**70), 2**70), st.floats(), st.sampled_from([0, 1, -1, 2**31, 2**63, 1e308])
)
texts = st.one_of(
    st.text(max_size=8),
    st.sampled_from(["user", "\x00", "\ud7ff", "file", "image_url", "function_call", "auto", *MODELS]),
)
scalars = st.one_of(st.none(), st.booleans(), numbers, texts)
names = st.sampled_from(
    [
        "model",
        "messages",
        "n",
        "best_of",
        "max_tokens",
        "max_completion_tokens",
        "stream",
        "stream_options",
        "prompt",
        "usage",
        "tools",
        "tool_choice",
        "role",
        "content",
        "type",
        "text",
        "image_url",
        "input_audio",
        "file",
        "url",
        "data",
        "file_data",
        "file_id",
        "input_image",
        "output",
        "call_id",
        "arguments",
        "encrypted_content",
        "effort",
        "format",
        "audio",
        "id",
        "function",
        "name",
        "parameters",
        "include",
        "include_usage",
        "service_tier",
        "web_search_options",
        "response_format",
        "stop",
        "temperature",
        "logit_bias",
        "metadata",
    ]
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(names, inner, max_size=5)),
    max_leaves=12,
)
fragments = st.lists(values, min_size=2, max_size=5)
FIELDS = [
    "n",
    "best_of",
    "max_tokens",
    "max_completion_tokens",
    "stream",
    "stream_options",
    "usage",
    "tools",
    "tool_choice",
    "service_tier",
    "response_format",
    "stop",
    "web_search_options",
    "temperature",
    "prompt",
    "instructions",
    "reasoning",
    "text",
    "include",
    "max_output_tokens",
    "previous_response_id",
]


def assemble(rng: random.Random, pieces: list[Any]) -> bytes:
    """A body in which anything may be one of the pieces."""
    content = rng.choice(
        ["hi", rng.choice(pieces), pieces, [{"type": "text", "text": "hi"}, rng.choice(pieces)]]
    )
    message = {"role": "user", "content": content} | (
        {"audio": rng.choice(pieces)} if rng.random() < 0.1 else {}
    )
    body = {
        "model": rng.choice([*MODELS, rng.choice(pieces)]),
        "messages": rng.choice([[message], [message, rng.choice(pieces)], rng.choice(pieces)]),
        "input": rng.choice(["hi", [message], pieces, rng.choice(pieces)]),
    }
    for name in rng.sample(FIELDS, rng.choice([0, 0, 1, 2, 5])):
        body[name] = rng.choice([1, True, "auto", None, rng.choice(pieces)])
    return json.dumps(body, ensure_ascii=rng.random() < 0.5).encode("utf-8", "surrogatepass")


class _Connection:
    def on_hangup(self, callback: object) -> None:
        """Never hangs up."""

    def unframed(self, scope: object) -> None:
        """Speaks HTTP/1.1."""


class _Books(LedgerClient):
    """A ledger that knows one key, and has no balance: whatever gets past the checks ends as a 402."""

    def __init__(self) -> None:
        self.authorised = 0

    async def ask(self, verb: Verb[Any, Any], request: Any, *, patience: Patience | None = None) -> Any:
        if verb is verbs.KEY:
            return KeyReply(request.digest == keys.digest(KEY))
        if verb is verbs.CATALOGUE:
            return CatalogueReply(BUILTIN)
        assert verb is verbs.AUTHORISE
        return self._authorise(request)

    def _authorise(self, message: Authorise) -> AuthoriseReply:
        assert 1 <= message.prompt_max <= 2**40
        assert 1 <= message.choices <= 2**20
        assert message.limit is None or 1 <= message.limit < 2**31
        self.authorised += 1
        return Refusal(Reason.INSUFFICIENT)


class _App:
    def __init__(self) -> None:
        self.books = _Books()
        roster, budget, load = Roster(3), Budget(2**30), Load(LIMITS)
        catalogue = Catalogue(self.books, LIMITS)
        relay = Relay(None, self.books, roster, budget, LIMITS)  # no call gets that far
        admission = Admission(
            ledger=self.books,
            catalogue=catalogue,
            roster=roster,
            relay=relay,
            pages=PageCounter(),
            budget=budget,
            limits=LIMITS,
        )
        self.budget = budget
        backing = Backing(
            load=load,
            bus=None,
            ledger=self.books,
            catalogue=catalogue,
            listing=Listing(catalogue, roster),
            roster=roster,
            relay=relay,
            admission=admission,
            budget=budget,
            pools=(),
            cors=Cors(("*",)),
        )
        self.router = router(ROUTES, backing)

    async def post(self, path: str, body: bytes) -> tuple[int, bytes]:
        """Status and body of the answer."""
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "method": "POST",
            "path": path,
            "headers": [
                (b"authorization", b"Bearer " + KEY.encode()),
                (b"content-length", b"%d" % min(len(body), 60_000)),
            ],
            "extensions": {CONNECTION: _Connection()},
        }
        await self.router(scope, receive, send)
        return sent[0]["status"], b"".join(message.get("body", b"") for message in sent)


def damage(rng: random.Random, body: bytes) -> bytes:
    """A body cut, doubled, or with bytes changed."""
    kind = rng.randrange(6)
    if not body or kind == 0:
        return body
    if kind == 1:
        return body[: rng.randrange(len(body))]
    if kind == 2:
        return body.replace(b"{", b'{"model":"gpt-4o",', 1)
    if kind == 3:
        return body[:-1] + b',"pad":' + b"[" * 20_000
    changed = bytearray(body)
    for _ in range(3):
        changed[rng.randrange(len(changed))] = rng.choice(b'\x00\xff{}[]",:\\u0e-9')
    return bytes(changed)


@pytest.mark.timeout(280)
def test_hostile_bodies() -> None:
    """No generated body, whole or damaged, gets a 5xx, harms the app, or is answered outside OpenAI's error shape."""
    loop = asyncio.new_event_loop()

    async def build() -> _App:
        return _App()

    app = loop.run_until_complete(build())
    seen = 0
    statuses: dict[int, int] = {}

    @settings(
        max_examples=BODIES // PER_EXAMPLE,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(fragments, st.integers(0, 2**32))
    def run(pieces: list[Any], seed: int) -> None:
        nonlocal seen
        rng = random.Random(seed)
        for _ in range(PER_EXAMPLE):
            data = assemble(rng, pieces)
            if rng.random() < 0.3:
                data = damage(rng, data)
            path = rng.choice(PATHS)
            status, answer = loop.run_until_complete(app.post(path, data))
            statuses[status] = statuses.get(status, 0) + 1
            seen += 1
            assert status in (400, 402, 404), (status, data, answer)
            assert set(json.loads(answer)["error"]) == {"message", "type", "param", "code"}

    run()
    loop.close()
    assert seen >= BODIES
    assert len(statuses) == 3, statuses
    assert app.budget.used == 0
    assert app.books.authorised > 100, "the generator must reach the ledger, too"
