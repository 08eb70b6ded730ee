"""Generated bodies of every dialect, from the edge's own routes to what each family sends."""

import asyncio
import collections
import json
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from msgspec import structs

from edge.budget import Budget
from runtime.catalogue.presets import presets
from runtime.settings.settings import AccountSettings
from schemas.bus.frames import Job
from schemas.catalogue.model import Capabilities, Model
from schemas.catalogue.profiles import profiled
from schemas.dialects import NAMED
from schemas.dialects.messages.fields import REFUSED
from schemas.money.pricing import Price, PriceTier
from schemas.responses.priced import FLOOR
from tests.fakes import bedrock_rules, spoiled
from tests.fakes import embeddings as vectors
from tests.fakes.apps import App, GrantingBooks, OfferedRelay, anthropic_error, openai_error
from tests.fakes.published.schemas import COMPATIBLE, fields, why_not
from workers.providers import family
from workers.upstream.request import UpstreamRequest

ACCOUNT = AccountSettings(
    id="a", api_key="k", region="us-east-1", access_key_id="AKIDEXAMPLE", secret_access_key="secret"
)
LOCAL = structs.replace(ACCOUNT, base_url="http://localhost:8000/v1")
UPSTREAMS = {
    "openai": ("gpt-4o", "gpt-5.4", "gpt-6-sol", "text-embedding-3-small", "text-embedding-ada-002"),
    "anthropic": ("claude-opus-4-1", "claude-opus-4-8", "claude-sonnet-5-5"),
    "gemini": ("gemini-2.5-pro", "gemini-3.8-flash", "gemini-embedding-001"),
    "bedrock": (
        "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
        "global.anthropic.claude-opus-4-6-v1",
        "anthropic.claude-sonnet-5-5-v1:0",
        "amazon.nova-lite-v1:0",
        "amazon.titan-text-express-v1",
        "amazon.titan-embed-text-v2:0",
        "us.cohere.embed-v4:0",
    ),
}
PRICE = Price(id="p", tiers=(PriceTier(input=Decimal(1), output=Decimal(2)),))
# Whose family speaks their dialect: what goes on is the caller's own, and its provider judges the values in it.
NATIVE = {("openai", "chat"), ("openai", "completions"), ("openai", "responses"), ("anthropic", "messages")}
OWN_FORM = b'"anthropic_version"'  # of Claude on Bedrock
GATEWAYS_OWN = {"model", "models", "usage"}
NAMES_A_FIELD = re.compile(
    r"^[\w.$\[\]]+: |['`][^'`]+['`]"
)  # Anthropic's envelope has no place of its own for it
ABOUT_THE_WHOLE = ("We could not parse", "The request body", "The JSON body")
LIMITS = (
    "max_tokens",
    "max_completion_tokens",
    "max_output_tokens",
    "maxOutputTokens",
    "maxTokens",
    "maxTokenCount",
)


def row(name: str, provider: str, upstream: str, able: Capabilities, *, own: bool = True) -> Model:
    """A row as a pool of a preset sells it; `own` says at its vendor's own address."""
    return Model(
        id=name,
        pool=provider,
        provider=provider,
        family=presets()[provider].family,
        upstream=upstream,
        context=200_000,
        max_output=0 if able.embeddings else 8_000,
        prices=(PRICE,),
        rate=Decimal(1),
        capabilities=able,
        forwards=presets()[provider].sends((), own=own),
    )


def rows() -> Iterator[Model]:
    """A model of each kind in every family, those that speak a dialect natively, and a compatible server's."""
    for provider, upstreams in UPSTREAMS.items():
        for upstream in upstreams:
            yield row(upstream, provider, upstream, profiled(provider, upstream))
    yield row("instruct", "openai", "gpt-3.5-turbo-instruct", Capabilities(chat=False, completions=True))
    yield row("speaks", "openai", "gpt-5.4", structs.replace(profiled("openai", "gpt-5.4"), responses=True))
    yield row(COMPATIBLE, "openai", "qwen", profiled(COMPATIBLE, "qwen"), own=False)


ROWS = tuple(rows())


def able(dialect: str) -> list[Model]:
    """The rows that serve a dialect, and one that does not."""
    embeds = dialect == "embeddings"
    found = [model for model in ROWS if (model.capabilities.embeddings is not None) == embeds]
    return [*found, next(model for model in ROWS if model not in found)]


def form_of(request: UpstreamRequest, model: Model) -> tuple[str, str]:
    """Whose schema a request has to fit, and which of them."""
    path = request.url.split("?")[0]
    if model.family == "openai":
        vendor = COMPATIBLE if model.id == COMPATIBLE else "openai"
        return vendor, "chat" if path.endswith("/chat/completions") else path.rsplit("/", 1)[-1]
    if model.family == "anthropic":
        betas = any(name.lower() == "anthropic-beta" for name in request.headers)
        return "anthropic", "messages with betas" if betas else "messages"
    if model.family == "gemini":
        return "gemini", "batchEmbedContents" if path.endswith(":batchEmbedContents") else "generateContent"
    sent = json.loads(request.body)
    if "anthropic_version" in sent:
        return "anthropic", "messages with betas" if "anthropic_beta" in sent else "messages"
    return "bedrock", path.rsplit("/", 1)[-1]


def sent_of(request: UpstreamRequest, model: Model) -> dict[str, Any]:
    """What a vendor's schema is held against: Claude on Bedrock is told its model by the path, and more in the body."""
    sent: dict[str, Any] = json.loads(request.body)
    if sent.pop("anthropic_version", None) is None:
        return sent
    sent.pop("anthropic_beta", None)
    return {"model": model.upstream} | sent


def faults(request: UpstreamRequest, model: Model) -> dict[str, str]:
    """What the vendor has against a request, by its fields: its schema, or where it has none, what it documents."""
    sent = sent_of(request, model)
    vendor, form = form_of(request, model)
    if vendor != "bedrock":
        return why_not(vendor, form, sent)
    try:
        if form.startswith("converse"):
            bedrock_rules.check("Converse", model.upstream, sent)
        elif model.capabilities.embeddings is None:
            bedrock_rules.check_titan(model.upstream, sent)
        elif told := vectors.refused_by_bedrock(model.upstream, sent):
            return {"": told}
    except bedrock_rules.InvalidError as fault:
        return {"": str(fault)}
    return {}


class Rig:
    """An edge in process: what it would publish for a body."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.loop.run_until_complete(self._build())

    async def _build(self) -> None:
        books = GrantingBooks(ROWS)
        self.relay = OfferedRelay(books, Budget(2**30))
        self.app = App(books, self.relay)

    def post(self, dialect: str, raw: bytes) -> tuple[int, dict[str, Any]]:
        """Status and error of the answer, which must be in the envelope of the dialect."""
        self.relay.offers.clear()
        status, answer = self.loop.run_until_complete(self.app.post(NAMED[dialect].path, raw))
        return status, (anthropic_error if dialect == "messages" else openai_error)(answer)


@pytest.fixture
def rig():
    made = Rig()
    yield made
    made.loop.close()
    assert made.app.budget.used == 0


def check_refusal(dialect: str, status: int, error: dict[str, Any]) -> None:
    """Never a 5xx, and the field is named, unless the body is nothing that has any."""
    assert status in (400, 404), error
    message = error["message"]
    if message.startswith(ABOUT_THE_WHOLE):
        return
    if dialect == "messages":
        assert NAMES_A_FIELD.search(message), message
    else:
        assert error["param"], error


def check_dropped(dialect: str, raw: bytes, job: Job, ignored: tuple[str, ...]) -> None:
    """What is not sent on is the gateway's own, absent, or named to the caller."""
    wrote = {name for name, value in json.loads(raw).items() if value is not None}
    lost = wrote - json.loads(job.body).keys() - GATEWAYS_OWN
    if dialect == "responses":
        assert lost <= set(ignored), (lost, ignored)
    elif dialect == "messages":
        assert lost <= set(ignored) | REFUSED.keys(), (lost, ignored)  # these say nothing, or are a 400
    else:
        assert not lost


def whole(raw: bytes) -> dict[str, Any]:
    """A body as the edge reads it: half a character is one that says so."""
    text = json.dumps(json.loads(raw), ensure_ascii=False)
    return dict(json.loads(text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")))


def check_sent(dialect: str, raw: bytes, job: Job, model: Model) -> None:
    """What reaches a family is valid by its vendor's schema, and asks for no more than is held."""
    account = LOCAL if model.id == COMPATIBLE else ACCOUNT
    exchanges = family(model.family).open(job, model, {})
    asked_choices = 0
    for exchange in exchanges:
        request = exchange.request(account)
        sent = sent_of(request, model)
        wrong = faults(request, model)
        if (model.family, dialect) in NATIVE or OWN_FORM in request.body:
            vendor, form = form_of(request, model)
            assert sent.keys() <= fields(vendor, form).keys()
            wrote = {name: value for name, value in whole(raw).items() if name in sent}
            own = why_not(vendor, form, wrote)
            wrong = {name: told for name, told in wrong.items() if name not in own}
        assert not wrong, request.body
        options = (
            sent.get("generationConfig")
            or sent.get("inferenceConfig")
            or sent.get("textGenerationConfig")
            or sent
        )
        limits = [options[name] for name in LIMITS if isinstance(options.get(name), int)]
        assert all(limit <= max(job.limit, FLOOR) for limit in limits), request.body
        assert limits or dialect == "embeddings" or not model.capabilities.needs_limit
        asked_choices += options.get("n") or options.get("candidateCount") or 1
    assert dialect == "embeddings" or asked_choices <= max(job.choices, len(exchanges))


@pytest.mark.parametrize("dialect", spoiled.PUBLISHED)
@pytest.mark.parametrize("count", [2_000, pytest.param(20_000, marks=pytest.mark.long)])
def test_any_body_is_refused_or_valid(rig, dialect, count):
    """Whatever is sent: a 4xx in the dialect's envelope that names the field, or what its provider has said it takes."""
    models = able(dialect)
    seen: collections.Counter[str] = collections.Counter()
    for seed in range(count):
        model = models[seed % len(models)]
        raw = spoiled.body(dialect, seed, model.id)
        try:
            status, error = rig.post(dialect, raw)
            if not rig.relay.offers:
                check_refusal(dialect, status, error)
                seen["refused"] += 1
                continue
            ((job, ignored),) = rig.relay.offers
            check_dropped(dialect, raw, job, ignored)
            check_sent(dialect, raw, job, model)
        except Exception as wrong:
            raise AssertionError(f"{dialect} {seed}, {model.id}: {raw[:2_000]!r}") from wrong
        seen[model.id] += 1
    served = sum(seen.values()) - seen["refused"]
    assert served > count // 20
    assert len(seen) >= len(models) - 1, seen
