"""Properties of what is priced in a request for embeddings, and of what is refused before any hold."""

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.asked import Ask, Bound
from schemas.catalogue.model import Capabilities, Model
from schemas.catalogue.profiles import profiled
from schemas.chat.priced import RequestError
from schemas.dialects import NAMED
from schemas.embeddings import priced
from schemas.embeddings.request import INPUTS_MAX, TOKENS_MAX
from schemas.errors import WireError
from schemas.money import pricing
from schemas.money.pricing import Price, PriceTier, TokenUsage, charge
from tests.fakes import embeddings as fakes
from workers.answers.vectors import packed, unpacked

DIALECT = NAMED["embeddings"]
SMALL = "text-embedding-3-small"
PRICE = Price(id="p", tiers=(PriceTier(input=Decimal("0.13"), output=Decimal("0.1")),))


def model(upstream: str = SMALL, profile: str = "openai", **more: Any) -> Model:
    """A row as the catalogue has it."""
    row: dict[str, Any] = {"id": "m", "pool": "p", "provider": profile, "upstream": upstream}
    row |= {"context": 8_192, "max_output": 0, "capabilities": profiled(profile, upstream)}
    return Model(**(row | more))


def read(of: Model, raw: bytes) -> tuple[Ask, Bound]:
    """What a body asks for, and its bound with a model. Raises RequestError."""
    fields = DIALECT.decode(raw)
    ask = DIALECT.read(fields)
    return ask, DIALECT.bound(fields, ask, of)


def bound(of: Model, **body: Any) -> Bound:
    """The bound of a body."""
    return read(of, json.dumps({"model": "m", "input": "x"} | body).encode())[1]


def refused(of: Model, **body: Any) -> WireError:
    """Why a body is refused."""
    with pytest.raises(RequestError) as raised:
        bound(of, **body)
    assert raised.value.error.status == 400
    return raised.value.error


@pytest.mark.parametrize(
    ("value", "count"),
    [("a", 1), (["a", "b"], 2), ([1, 2, 3], 1), ([[1, 2], [3]], 2), (["x"] * INPUTS_MAX, INPUTS_MAX)],
)
def test_the_four_forms_of_an_input(value: Any, count: int) -> None:
    """A text and an array of ids are one input, arrays of them one an item; each has a context, and none has output."""
    raw = json.dumps({"model": "m", "input": value, "encoding_format": "base64"}).encode()
    ask, made = read(model(), raw)
    assert (ask.inputs, ask.choices, ask.limit, ask.stream, made.limit) == (count, 1, 0, False, 0)


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        [],
        [""],
        [[]],
        ["a", ""],
        [[1], []],
        ["a", 1],
        [1, "a"],
        [["a"]],
        [1.5],
        {},
        5,
        True,
        [None],
        [{}],
        [-1],
        [[1], "a"],
        ["a"] * (INPUTS_MAX + 1),
        [[1]] * (INPUTS_MAX + 1),
        [1] * (TOKENS_MAX + 1),
        [[[1]]],
        [2**40],
    ],
    ids=lambda value: str(value)[:24],
)
def test_what_is_no_input(value: Any) -> None:
    """Anything else is a 400 on `input`: empty, mixed, too many, or of another type."""
    assert refused(model(), input=value).param == "input"


def test_hostile_inputs_are_refused_before_they_are_decoded() -> None:
    """Many small items in a large body, with quotes and backslashes that look like others, are refused or counted right."""
    for item in (b'""', b'"a"', b'"\\\\"', b'"\\""'):
        for count, good in ((INPUTS_MAX, item != b'""'), (INPUTS_MAX + 1, False), (500_000, False)):
            raw = b'{"model":"m","encoding_format":"base64","input":[%b]}' % b",".join([item] * count)
            if good:
                assert read(model(), raw)[0].inputs == count
            else:
                with pytest.raises(RequestError):
                    read(model(), raw)
    with pytest.raises(RequestError):
        DIALECT.read(DIALECT.decode(b'{"model":"m","input":' + b"[" * 60_000 + b"]" * 60_000 + b"}"))


texts = st.lists(st.text(min_size=1, max_size=200), min_size=1, max_size=20)
ids = st.lists(st.lists(st.integers(0, 200_000), min_size=1, max_size=300), min_size=1, max_size=20)


@given(value=texts | ids, context=st.integers(1, 400), share=st.floats(0, 1))
def test_a_hold_covers_every_charge(value: list[Any], context: int, share: float) -> None:
    """The bound is the sum over the inputs: each at most a context, none below its tokens; no charge exceeds the hold."""
    of = model(context=context)
    ask, made = read(of, json.dumps({"model": "m", "input": value}).encode())
    most = [len(item.encode()) if isinstance(item, str) else len(item) for item in value]
    assert sum(min(one, context) for one in most) <= made.prompt_max <= context * ask.inputs
    used = TokenUsage(input=int(sum(min(one, context) for one in most) * share))
    rate = Decimal("0.6137")
    assert charge(used, PRICE, rate) <= pricing.bound(made.prompt_max, PRICE, rate).hold_nano(0)


@given(texts)
def test_the_fakes_count_no_more_than_is_held(value: list[str]) -> None:
    """What stands for a provider's tokenizer stays within the bound, as every tokenizer does."""
    assert sum(map(fakes.tokens, value)) <= bound(model(), input=value).prompt_max


def test_token_ids_are_counted_to_the_last() -> None:
    """An estimate of ids is their number, however they are written."""
    for value in ([1, 22, 333], [[1, 22], [333]]):
        raw = json.dumps({"model": "m", "input": value}, indent=3).encode()
        assert read(model(), raw)[1].text_bytes == 3 * priced.BYTES_PER_TOKEN


@pytest.mark.parametrize("encoding", ["float", "base64", None])
@pytest.mark.parametrize("upstream", ["text-embedding-3-small", "text-embedding-3-large"])
def test_answers_fit_32_mib(upstream: str, encoding: str | None) -> None:
    """Of inputs whose vectors would not fit the 400 says how many do; so many pass, and one more does not."""
    of = model(upstream)
    error: WireError | None = None
    try:
        bound(of, input=["x"] * INPUTS_MAX, encoding_format=encoding)
    except RequestError as raised:
        error = raised.error
    if error is None:
        assert (upstream, encoding) == ("text-embedding-3-small", "base64")
        return
    fit = int(error.message.split()[2])
    assert error.param == "input"
    bound(of, input=["x"] * fit, encoding_format=encoding)
    assert str(fit) in refused(of, input=["x"] * (fit + 1), encoding_format=encoding).message
    bound(of, input=["x"] * INPUTS_MAX, encoding_format=encoding, dimensions=256)


def test_no_number_is_longer_than_it_is_counted() -> None:
    """The longest numbers that float32 has, as JSON with their comma."""
    for value in (-1.1754943508222875e-38, -3.4028234663852886e38, -1.401298464324817e-45, 0.1, -0.0):
        (shown,) = unpacked(packed([value]))
        assert len(json.dumps(shown)) + 1 <= priced.FLOAT_BYTES_MAX


@pytest.mark.parametrize(
    ("upstream", "profile", "good", "bad"),
    [
        ("text-embedding-3-large", "openai", (1, 256, 3072), (3073, 0)),
        ("text-embedding-ada-002", "openai", (1536,), (256,)),
        ("gemini-embedding-001", "gemini", (128, 768, 3072), (127, 3073)),
        ("amazon.titan-embed-text-v2:0", "bedrock", (256, 512, 1024), (300,)),
        ("us.cohere.embed-v4:0", "bedrock", (256, 1536), (300,)),
        ("cohere.embed-english-v3", "bedrock", (1024,), (512,)),
    ],
)
def test_dimensions(upstream: str, profile: str, good: tuple[int, ...], bad: tuple[int, ...]) -> None:
    """What a model can make passes; anything else is a 400 that names what it can."""
    for dimensions in good:
        bound(model(upstream, profile), dimensions=dimensions)
    for dimensions in bad:
        error = refused(model(upstream, profile), dimensions=dimensions)
        assert error.param == "dimensions"


def test_fields() -> None:
    """Unknown fields are dropped and named; streams and hints that a model has no use for are refused; null is absent."""
    cohere = model("cohere.embed-english-v3", "bedrock")
    asked = DIALECT.read(DIALECT.decode(b'{"model":"m","input":"x","pad":1,"dimensions-":null,"later":null}'))
    assert asked.dropped == ("pad",)
    assert refused(model(), Input="x").param == "Input"
    assert refused(model(), stream=True).param == "stream"
    assert refused(model(), encoding_format="int8").param == "encoding_format"
    assert refused(model(), input_type="search_query").code == "unsupported_parameter"
    assert refused(cohere, input_type="SEARCH").code == "unsupported_value"
    assert refused(cohere, task_type="CLUSTERING").param == "task_type"
    assert "check_embedding_ctx_length=False" in refused(cohere, input=[1, 2]).message
    bound(cohere, input_type="search_query")
    bound(model("gemini-embedding-001", "gemini"), task_type="RETRIEVAL_QUERY")
    nulls = dict.fromkeys(
        ("dimensions", "encoding_format", "user", "stream", "input_type", "usage", "models")
    )
    bound(model(), **nulls)


def test_a_model_that_takes_a_call_each_has_fewer_inputs() -> None:
    """One text a call: so many as calls serve one request, and the 400 names the number."""
    titan = model("amazon.titan-embed-text-v2:0", "bedrock")
    bound(titan, input=["x"] * priced.CALLS_MAX)
    assert str(priced.CALLS_MAX) in refused(titan, input=["x"] * (priced.CALLS_MAX + 1)).message


def test_each_route_names_the_other() -> None:
    """A chat model here is a 400 that names its route, an embeddings model on the others one that names this."""
    chat = model("gpt-4o", capabilities=Capabilities())
    only = model("gpt-3.5-turbo-instruct", capabilities=Capabilities(chat=False, completions=True))
    assert "/v1/chat/completions" in refused(chat).message
    assert "/v1/completions" in refused(only).message
    for profile, upstream in (("openai", SMALL), ("gemini", "gemini-embedding-001")):
        of = model(upstream, profile, family=profile)
        for name, prompt in (
            ("chat", {"messages": [{"role": "user", "content": "x"}]}),
            ("completions", {"prompt": "x"}),
        ):
            error = NAMED[name].refuse(of, json.dumps({"model": "m", **prompt}).encode())
            assert error is not None
            assert (error.status, error.param) == (400, "model")
            assert "by /v1/embeddings only" in error.message
