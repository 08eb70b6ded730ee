"""What leaves for a provider is what was priced, to every reader: hostile bodies of each dialect, to each family and preset."""

import collections
import itertools
import json
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest
from msgspec import structs

from edge.budget import Budget
from runtime.catalogue.presets import presets
from schemas.bus.frames import Job
from schemas.catalogue.compatible import seeing
from schemas.catalogue.model import Model
from schemas.catalogue.profiles import profiled
from schemas.responses.priced import FLOOR
from tests.fakes import smuggled, spoiled
from tests.fakes.apps import App, GrantingBooks, OfferedRelay
from tests.fakes.published.schemas import COMPATIBLE
from tests.fakes.smuggled import MARK, PICTURE, TOO_MANY
from tests.workers.providers.test_any_body import ACCOUNT, LOCAL, ROWS, Rig, row
from workers.providers import family

FUNCTION = {"name": "f", "parameters": {"type": "object", "properties": {}}}
BODIES: dict[str, dict[str, Any]] = {
    "chat": {
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "hi"},
                    {"type": "image_url", "image_url": {"url": PICTURE}},
                ],
            }
        ],
        "max_tokens": 50,
        "stream": True,
        "stream_options": {"include_usage": True},
        "tools": [{"type": "function", "function": FUNCTION}],
    },
    "completions": {
        "prompt": "hi",
        "max_tokens": 50,
        "stream": True,
        "stream_options": {"include_usage": True},
    },
    "embeddings": {"input": "hi"},
    "messages": {
        "max_tokens": 50,
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "hi"},
                    {
                        "type": "image",
                        "source": {
                            "type": "base64",
                            "media_type": "image/png",
                            "data": PICTURE.partition(",")[2],
                        },
                    },
                ],
            }
        ],
        "tools": [{"name": "f", "input_schema": FUNCTION["parameters"]}],
    },
    "responses": {
        "max_output_tokens": 50,
        "input": [
            {
                "role": "user",
                "content": [
                    {"type": "input_text", "text": "hi"},
                    {"type": "input_image", "image_url": PICTURE},
                ],
            }
        ],
        "tools": [{"type": "function", **FUNCTION}],
    },
}
# Where what is said of a message, its parts and a tool stands in each of them.
TURNS = {"chat": "messages", "messages": "messages", "responses": "input"}
PLACES: dict[str, tuple[Any, ...]] = {
    "message": (0,),
    "text": (0, "content", 0),
    "picture": (0, "content", 1),
}
INNER = {"chat": "image_url", "messages": "source"}  # of a picture

# What was seen to pass, and its kind: the place, the name and the value.
EXTRAS: tuple[tuple[str, str, Any], ...] = (
    ("", "data_sources", [{"type": "azure_search", "parameters": {"endpoint": MARK}}]),
    ("", "max_new_tokens", TOO_MANY),
    ("", "num_predict", TOO_MANY),
    ("", "n_predict", TOO_MANY),
    ("", "max_tokens_to_sample", TOO_MANY),
    ("", "options", {"num_predict": TOO_MANY}),
    ("", "extra_body", {"max_tokens": TOO_MANY}),
    ("", "generation_config", {"max_output_tokens": TOO_MANY}),
    ("", "parameters", {"max_new_tokens": TOO_MANY}),
    ("", "Max_Tokens", TOO_MANY),
    ("", "MAX_TOKENS", TOO_MANY),
    ("", "Messages", [{"role": "user", "content": MARK}]),
    ("", "Model", MARK),
    ("", "N", TOO_MANY),
    ("", "Best-Of", TOO_MANY),
    ("", "chat_template", MARK),
    ("", "chat_template_kwargs", {"x": MARK}),
    ("", "documents", [{"text": MARK}]),
    ("", "file_id", MARK),
    ("", "images", [MARK]),
    ("", "continue_final_message", MARK),
    ("", "add_generation_prompt", MARK),
    ("stream_options", "Include_Usage", MARK),
    ("stream_options", "continuous_usage_stats", MARK),
    ("message", "images", [MARK]),
    ("message", "Content", MARK),
    ("message", "content", MARK),
    ("message", "max_tokens", TOO_MANY),
    ("text", "file_id", MARK),
    ("text", "image_url", {"url": MARK}),
    ("text", "source", {"type": "url", "url": MARK}),
    ("text", "image", MARK),
    ("text", "Text", MARK),
    ("text", "text", MARK),
    ("picture", "image-url", {"url": MARK}),
    ("picture", "video", MARK),
    ("inner", "url", MARK),
    ("inner", "URL", MARK),
    ("inner", "data", MARK),
    ("inner", "min_pixels", TOO_MANY),
    ("tool", "server_url", MARK),
    ("tool", "google_search", {"x": MARK}),
    ("tool", "Name", MARK),
    ("function", "description", MARK),
    ("function", "Parameters", {"x": MARK}),
    ("function", "model", MARK),
)


def place_of(dialect: str, body: Any, place: str) -> smuggled.Members | None:
    """An object of a body by the name of its place; None where a dialect has none."""
    steps: tuple[Any, ...] = ()
    if place == "tool" and "tools" in BODIES[dialect]:
        steps = ("tools", 0)
    elif place == "function" and dialect == "chat":
        steps = ("tools", 0, "function")
    elif place == "stream_options" and place in BODIES[dialect]:
        steps = (place,)
    elif place == "inner" and dialect in INNER:
        steps = (TURNS[dialect], *PLACES["picture"], INNER[dialect])
    elif place in PLACES and dialect in TURNS:
        steps = (TURNS[dialect], *PLACES[place])
    elif place:
        return None
    for step in steps:
        body = dict(body)[step] if isinstance(body, smuggled.Members) else body[step]
    assert isinstance(body, smuggled.Members)
    return body


def attacks(dialect: str, model: str) -> Iterator[tuple[str, bytes]]:
    """Bodies with one of the extras, before and behind what is there already; the extra's name is there twice in some."""
    for place, name, value in EXTRAS:
        for ahead in (True, False):
            made = smuggled.members(BODIES[dialect] | {"model": model})
            into = place_of(dialect, made, place)
            if into is None:
                continue
            if name in ("description", "text", "content", "url", "data") and name not in dict(into):
                into.append((name, "plain"))
            into.insert(0 if ahead else len(into), (name, smuggled.members(value)))
            yield f"{place}.{name}".strip("."), smuggled.written(made).encode()


def preset_rows() -> Iterator[Model]:
    """A model that sees, of every preset that speaks OpenAI's protocol its own way."""
    for name, preset in presets().items():
        if preset.family == "openai" and name != "openai":
            able = seeing(profiled(COMPATIBLE, "m"), 200_000)
            yield row(f"{name}-m", name, "m", able, own=preset.auth == "bearer")


ALL = (*ROWS, *preset_rows())


ADDING = tuple(
    structs.replace(model, forwards=structs.replace(model.forwards, more=("x_new",))) for model in ROWS
)


class AllRig(Rig):
    """An edge in process that sells a model of every preset, or these rows."""

    def __init__(self, rows: tuple[Model, ...] = ALL) -> None:
        self.rows = rows
        super().__init__()

    async def _build(self) -> None:
        books = GrantingBooks(self.rows)
        self.relay = OfferedRelay(books, Budget(2**30))
        self.app = App(books, self.relay)


@pytest.fixture(scope="module")
def rig():
    made = AllRig()
    yield made
    made.loop.close()
    assert made.app.budget.used == 0


def able(dialect: str) -> list[Model]:
    """The rows that serve a dialect."""
    embeds = dialect == "embeddings"
    return [model for model in ALL if (model.capabilities.embeddings is not None) == embeds]


def bodies_sent(job: Job, model: Model) -> list[bytes]:
    """The body of each request that a job's family makes."""
    named = model.id == COMPATIBLE or model.id.endswith("-m")
    account = LOCAL if named else ACCOUNT
    return [one.request(account).body for one in family(model.family).open(job, model, {})]


def check_sent(job: Job, model: Model, raw: bytes) -> None:
    """Nothing smuggled, the same to every reader, and no more asked for than is held."""
    assert MARK.encode() not in raw
    assert str(TOO_MANY).encode() not in raw
    assert smuggled.told_alike(raw) == ""
    for read in (smuggled.first, smuggled.last, smuggled.blind):
        sent = read(raw)
        inner = [
            sent.get(name) or {} for name in ("generationConfig", "inferenceConfig", "textGenerationConfig")
        ]
        inner += [
            sent.get(name.lower()) or {}
            for name in ("generationConfig", "inferenceConfig", "textGenerationConfig")
        ]
        asked = {smuggled.bare(name): value for one in (*inner, sent) for name, value in one.items()}
        for name in ("maxtokens", "maxcompletiontokens", "maxoutputtokens", "maxtokencount"):
            assert asked.get(name) is None or asked[name] <= max(job.limit, FLOOR)
        assert (
            max(asked.get("n") or 1, asked.get("bestof") or 1, asked.get("candidatecount") or 1)
            <= job.choices
        )
        assert asked.get("model", job.upstream).endswith(job.upstream)
        if job.stream and asked.get("streamoptions") is not None:
            options = {smuggled.bare(name): value for name, value in asked["streamoptions"].items()}
            assert options.keys() <= {"includeusage", "includeobfuscation"}
            assert job.dialect == "responses" or options["includeusage"] is True


def serve(rig: Any, dialect: str, raw: bytes, model: Model) -> tuple[str, ...] | None:
    """What an answer would say is ignored; None for a body that is refused, which a 400 says in the dialect's envelope."""
    status, error = rig.post(dialect, raw)
    if not rig.relay.offers:
        assert status in (400, 404), error
        return None
    ((job, ignored),) = rig.relay.offers
    for sent in bodies_sent(job, model):
        check_sent(job, model, sent)
    return tuple(ignored)


@pytest.mark.parametrize("dialect", BODIES)
def test_no_extra_is_sent(rig, dialect):
    """Whatever servers have been seen to read beside the dialect: refused, or left out and named; and never sent."""
    seen: collections.Counter[str] = collections.Counter()
    for model in able(dialect):
        served = serve(rig, dialect, json.dumps(BODIES[dialect] | {"model": model.id}).encode(), model)
        assert served is not None or not model.id.endswith("-m") or dialect != "chat"
        for name, raw in attacks(dialect, model.id):
            ignored = serve(rig, dialect, raw, model)
            if ignored is None:
                seen["refused"] += 1
                continue
            assert served is not None
            last = name.rpartition(".")[2]
            assert any(one.rpartition(".")[2] == last for one in ignored), (name, ignored)
            seen["dropped"] += 1
    assert seen["refused"]
    assert seen["dropped"] or dialect == "completions"


@pytest.mark.parametrize("dialect", BODIES)
def test_a_pools_own_names_go_to_servers_that_speak_the_dialect(dialect):
    """They are no longer ignored there, whatever is in them; where a body is told in another way they are."""
    rig = AllRig(ADDING)
    seen: collections.Counter[bool] = collections.Counter()
    for model in ADDING:
        value = {"Max_Tokens": [1, {"n": 2}]}
        raw = json.dumps(BODIES[dialect] | {"model": model.id, "x_new": value}).encode()
        rig.post(dialect, raw)
        for job, ignored in rig.relay.offers:
            told = [json.loads(sent).get("x_new") for sent in bodies_sent(job, model)]
            assert told in ([value], [None] * len(told))
            assert ("x_new" in ignored) is (
                told != [value] and dialect in ("messages", "responses", "embeddings")
            )
            seen[told == [value]] += 1
    rig.loop.close()
    assert seen[True]
    assert seen[False]


@pytest.mark.parametrize("dialect", spoiled.PUBLISHED)
@pytest.mark.parametrize("count", [400, pytest.param(20_000, marks=pytest.mark.long)])
def test_what_any_reader_reads_was_priced(rig, dialect, count):
    """Generated bodies with one member more, anywhere in them: to a reader of first names, of last, and of none's letters."""
    models = itertools.cycle(able(dialect))
    seen: collections.Counter[str] = collections.Counter()
    for seed in range(count):
        random = Random(f"smuggled-{dialect}-{seed}")
        model = next(models)
        text, kind = smuggled.smuggle(random, spoiled.sound(dialect, random) | {"model": model.id})
        raw = text.encode("utf-8", "surrogatepass")
        try:
            ignored = serve(rig, dialect, raw, model)
            assert ignored is None or ignored  # it goes on without that, or without what holds it
            assert ignored is None or kind != "limit" or dialect == "embeddings"  # which has none
        except Exception as wrong:
            raise AssertionError(f"{dialect} {seed} {kind}, {model.id}: {raw[:3_000]!r}") from wrong
        seen["refused" if ignored is None else kind] += 1
    assert seen["refused"]
    assert seen["unlisted"] or dialect == "completions"
