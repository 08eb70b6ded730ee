"""What is priced in a request, and the bound of its prompt."""

import base64
import itertools
import json
import time
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from schemas.asked import Ask, Bound
from schemas.catalogue.builtin import BUILTIN
from schemas.catalogue.media import with_margin
from schemas.catalogue.model import Capabilities, Model
from schemas.catalogue.profiles import profiled
from schemas.chat import priced
from schemas.chat.forms import CHAT_FORMS
from schemas.chat.priced import MEDIA_MAX, PARTS_MAX, RequestError
from schemas.chat.request import CHAT, COMPLETIONS
from schemas.chat.sieve import sifted
from schemas.money.pricing import Price, PriceTier
from tests.fakes.media import data_url, png, wav

MODEL = Model(
    id="m",
    pool="p",
    provider="openai",
    upstream="m",
    context=10_000,
    max_output=500,
    capabilities=Capabilities(
        remote_images=True,
        overhead_tokens=7,
        image_tokens_max=100,
        audio_tokens_max=200,
        file_tokens_max=300,
        service_tiers=("flex",),
    ),
)


MODEL_TIERS = (PriceTier(input=Decimal(1), output=Decimal(1)),)


def ask(body: dict[str, Any], dialect: str = CHAT) -> Ask:
    """What a body asks for."""
    return priced.read(priced.decode(json.dumps(body).encode()), dialect)


def bound(body: dict[str, Any], dialect: str = CHAT, model: Model = MODEL) -> Bound:
    """A body's bound."""
    fields = priced.decode(json.dumps({"model": "m", **body}).encode())
    return priced.bound(fields, priced.read(fields, dialect), model)


def user(*parts: Any) -> dict[str, Any]:
    """A chat body of one user message with these parts."""
    return {"messages": [{"role": "user", "content": list(parts)}]}


def refused(body: dict[str, Any], **model: Any) -> str | None:
    """The parameter that a refusal of a body names."""
    capable = msgspec.structs.replace(
        MODEL, capabilities=msgspec.structs.replace(MODEL.capabilities, **model)
    )
    with pytest.raises(RequestError) as raised:
        bound(body, model=capable)
    assert raised.value.error.status == 400
    return raised.value.error.param


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=9),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
        max_leaves=15,
    )
)
def test_values_travel_untouched(value: Any) -> None:
    """Decoding one level and encoding again changes no value and no order, unknown fields and all."""
    body = {"b": value, "model": "m", "a": [value], "messages": [{"role": "user", "content": "x"}]}
    for ascii_only in (True, False):
        raw = json.dumps(body, ensure_ascii=ascii_only, separators=(",", ":")).encode("utf-8", "replace")
        try:
            fields = priced.decode(raw)
        except RequestError:
            assert "\\ud" in raw.decode()  # a lone surrogate is no Unicode text
            continue
        assert priced.encode(fields) == raw


def test_numbers_that_floats_would_damage() -> None:
    """Numbers keep every digit."""
    raw = b'{"a":1.10,"b":123456789012345678901234567890,"c":1e400,"d":0.1000000000000000055511151231257827}'
    assert priced.encode(priced.decode(raw)) == raw


def test_gateway_private_keys_are_removed() -> None:
    """`usage` does not travel on; nor does what `stream_options` do not have, and a duplicate in them is refused."""
    raw = b'{"usage":{"include":true},"stream":true,"stream_options":{"include_usage":false,"x":1}}'
    fields = priced.decode(raw)
    assert sifted(fields, CHAT_FORMS) == ("stream_options.x",)
    assert priced.encode(fields) == b'{"stream":true,"stream_options":{"include_usage":false}}'
    with pytest.raises(RequestError):
        sifted(priced.decode(raw.replace(b'"x":1', b'"include_usage":true')), CHAT_FORMS)


@pytest.mark.parametrize(
    ("more", "choices"),
    [
        ({}, 1),
        ({"n": 3}, 3),
        ({"best_of": 4}, 4),
        ({"n": 2, "best_of": 5}, 5),
        ({"n": None, "best_of": None}, 1),
    ],
)
def test_choices(more: dict[str, Any], choices: int) -> None:
    """Choices are the larger of n and best_of."""
    assert ask({"model": "m", "prompt": "x", **more}, COMPLETIONS).choices == choices


@pytest.mark.parametrize(
    ("value", "prompts"),
    [("x", 1), (None, 1), (["a"] * 2048, 2048), (["a", "b"], 2), ([1] * 3000, 1), ([[1], [2, 3]], 2)],
)
def test_prompts(value: Any, prompts: int) -> None:
    """A list of texts or of token lists is so many prompts; a list of tokens is one. Each has its choices."""
    got = ask({"model": "m", "prompt": value, "n": 2}, COMPLETIONS)
    assert (got.inputs, got.choices) == (prompts, prompts * 2)


@pytest.mark.parametrize(
    "value",
    [[], [[]], [1, "a"], [["a"]], [1.5], {}, 5, [None], [[1], []], [[1], "a"], ["a"] * 2049, [{}] * 3000],
)
def test_bad_prompts(value: Any) -> None:
    """Anything else is a 400 on `prompt`."""
    with pytest.raises(RequestError) as raised:
        ask({"model": "m", "prompt": value}, COMPLETIONS)
    assert raised.value.error.param == "prompt"


@pytest.mark.parametrize(
    ("more", "dialect", "limit", "is_set"),
    [
        ({}, CHAT, None, False),
        ({}, COMPLETIONS, 16, False),
        ({"max_tokens": 5}, CHAT, 5, True),
        ({"max_tokens": 5, "max_completion_tokens": 9}, CHAT, 9, True),
        ({"max_tokens": None}, CHAT, None, False),
        ({"max_tokens": 10_000}, CHAT, 500, True),
    ],
)
def test_limit(more: dict[str, Any], dialect: str, limit: int | None, is_set: bool) -> None:
    """The limit is the larger of the two, at most the model's; absent on /v1/completions it is 16."""
    body = {"prompt": "x", "messages": [{"role": "user", "content": "x"}], **more}
    assert bound(body, dialect).limit == limit
    assert ask({"model": "m", **body}, dialect).limit_set is is_set


def test_bound_counts_what_may_reach_the_prompt() -> None:
    """Raw bytes of messages, tools and unknown fields count; sampling and limits do not; the overhead is added."""
    body = {
        "messages": [{"role": "user", "content": "h\u00e9"}],
        "tools": [{"type": "function"}],
        "documents": ["x"],
    }
    size = sum(len(json.dumps(value, separators=(",", ":"))) for value in body.values())
    got = bound({**body, "temperature": 0.5, "user": "someone", "metadata": {"a": "b"}, "max_tokens": 7})
    assert (got.text_bytes, got.prompt_max) == (size, size + 7)


def test_bound_is_at_most_the_context() -> None:
    """No prompt is larger than the model's window, for each prompt."""
    long = "x" * 30_000
    assert bound({"messages": [{"role": "user", "content": long}]}).prompt_max == 10_000
    assert bound({"prompt": [long, long, "x"]}, COMPLETIONS).prompt_max == 30_000
    assert bound({"prompt": ["x", "y"]}, COMPLETIONS).prompt_max == len('["x","y"]') + 14


def test_what_stands_beside_the_prompts_of_a_batch_reaches_each() -> None:
    """A suffix is part of every prompt's input: the bound is the sum over the inputs, each with its own."""
    suffix = "s" * 1_000
    got = bound({"prompt": ["x", "y", "z"], "suffix": suffix}, COMPLETIONS)
    assert got.prompt_max == len('["x","y","z"]') + 3 * (len(json.dumps(suffix)) + 7)
    assert got.text_bytes == len('["x","y","z"]') + len(json.dumps(suffix))


@given(st.text(max_size=200), st.booleans())
def test_bound_is_never_below_the_bytes_of_the_text(text: str, ascii_only: bool) -> None:
    """However a text is written in JSON, its bound is at least its UTF-8 length: no tokenizer makes more tokens."""
    raw = json.dumps({"model": "m", "messages": [{"role": "user", "content": text}]}, ensure_ascii=ascii_only)
    fields = priced.decode(raw.encode())
    assert priced.bound(fields, priced.read(fields, CHAT), MODEL).prompt_max >= len(text.encode())


@pytest.mark.parametrize("escaped", [False, True])
def test_inline_media(escaped: bool) -> None:
    """Inline media is taken out of the text and counts as its maximum, however its keys are written."""
    data = "A" * 5_000
    body = user(
        {"type": "text", "text": "hi"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}},
        {"type": "image_url", "image_url": {"url": "https://example.com/x.png"}},
        {"type": "input_audio", "input_audio": {"data": data, "format": "wav"}},
        {"type": "file", "file": {"file_data": data, "filename": "x.pdf"}},
    )
    raw = json.dumps({"model": "m", **body})
    if escaped:
        raw = raw.replace('"image_url"', '"\\u0069mage_url"').replace('"file"', '"\\u0066ile"')
    fields = priced.decode(raw.encode())
    got = priced.bound(fields, priced.read(fields, CHAT), MODEL)
    assert got.text_bytes < 1_000
    assert got.prompt_max == got.text_bytes + 7 + 100 + 100 + 200 + 300


def test_what_cannot_be_bounded_is_refused() -> None:
    """Remote images where the row says no, file ids, media that a model does not take, web search: each a 400."""
    image = {"type": "image_url", "image_url": {"url": "https://example.com/x.png"}}
    assert refused(user(image), remote_images=False) == "messages[0].content[0]"
    assert refused(user(image), image_tokens_max=0) == "messages[0].content[0]"
    assert refused(user({"type": "file", "file": {"file_id": "file-1"}})) == "messages[0].content[0]"
    assert (
        refused(user({"type": "file", "file": {"file_data": "https://example.com/x"}}))
        == "messages[0].content[0]"
    )
    assert refused(user({"type": "file", "file": {}})) == "messages[0].content[0]"
    assert (
        refused(user({"type": "video_url", "video_url": {"url": "https://example.com"}}))
        == "messages[0].content[0]"
    )
    assert (
        refused(user({"type": "input_audio", "input_audio": {}}), audio_tokens_max=0)
        == "messages[0].content[0]"
    )
    assert (
        refused({"messages": [{"role": "assistant", "audio": {"id": "a"}}]}, audio_tokens_max=0)
        == "messages[0].audio"
    )
    assert refused({**user({"type": "text", "text": "x"}), "web_search_options": {}}) == "web_search_options"
    assert refused({**user({"type": "text", "text": "x"}), "service_tier": "priority"}) == "service_tier"
    assert bound({**user({"type": "text", "text": "x"}), "service_tier": "flex"}).prompt_max


TIERED = structs.replace(
    MODEL,
    family="openai",
    prices=(
        Price(
            id="p",
            tiers=(PriceTier(input=Decimal(1), output=Decimal(1), cache_write_long=Decimal(2)),),
            services={"priority": (PriceTier(input=Decimal(2), output=Decimal(2)),)},
        ),
    ),
)


def test_the_tier_that_is_asked_for_is_what_the_hold_reckons_with() -> None:
    """A provider that gets the caller's bytes may be asked for any tier with a price; auto and default are no tier."""
    body = user({"type": "text", "text": "x"})
    assert bound({**body, "service_tier": "priority"}, model=TIERED).uplifts == ("priority",)
    assert bound({**body, "service_tier": "flex"}).uplifts == ("flex",)
    for tier in ("auto", "default", None):
        assert bound({**body, "service_tier": tier}, model=TIERED).uplifts == ()
    assert bound(body, model=TIERED).uplifts == ()
    translated = structs.replace(TIERED, family="gemini")
    for tier, model in (("scale", TIERED), ("priority", translated), ("\u0070riority", translated)):
        with pytest.raises(RequestError) as refused:
            bound({**body, "service_tier": tier}, model=model)
        assert (refused.value.error.status, refused.value.error.param) == (400, "service_tier")


def test_a_body_of_too_many_items_is_refused_before_they_are_looked_at():
    """What may name a cache lifetime is read item by item, so many at most: a body is never seconds of the loop."""
    for item in ({"ttl": 1}, [{"ttl": None}]):
        assert bound({**user({"type": "text", "text": "x"}), "tools": [item] * 10_000}, model=TIERED)
        with pytest.raises(RequestError) as raised:
            bound({**user({"type": "text", "text": "x"}), "tools": [item] * 100_001}, model=TIERED)
        assert (raised.value.error.status, raised.value.error.param) == (400, "ttl")


def test_a_lifetime_is_found_whichever_of_its_letters_are_escaped():
    """Text with escapes names no lifetime, however much of it there is; a key does, in every way to write it."""
    assert bound(user(*[{"type": "text", "text": "\x01\u00e9"}] * 50_000), model=TIERED)
    for spelt in itertools.product(("t", "\\u0074"), ("t", "\\u0074"), ("l", "\\u006c", "\\u006C")):
        body = b'{"model":"m","prompt":"x","prompt_cache_options":{"%s":"7d"}}' % "".join(spelt).encode()
        with pytest.raises(RequestError):
            priced.bound(priced.decode(body), ask({"model": "m", "prompt": "x"}, COMPLETIONS), TIERED)


def test_more_media_or_parts_than_are_looked_at_are_refused():
    """Parts are read one by one, so many at most: a body of tiny pictures or texts is never seconds of the loop."""
    picture = {"type": "image_url", "image_url": {"url": data_url(png((8, 8)))}}
    text = {"type": "text", "text": "\x01"}
    messages = {"messages": [{"role": "user", "content": "\x01"}] * (PARTS_MAX + 1)}
    assert bound(user(*[picture] * MEDIA_MAX))
    assert bound(user(*[text] * (PARTS_MAX - 2)))
    for body in (user(*[picture] * (MEDIA_MAX + 1)), user(*[text] * PARTS_MAX), messages):
        assert refused(body) == "messages"


def _cached(ttl: object) -> list[dict[str, Any]]:
    """The places where a body may say how long its prompt is to be kept."""
    part = {"type": "text", "text": "x"}
    return [
        {**user(part), "prompt_cache_options": {"ttl": ttl}},
        user(part | {"prompt_cache_breakpoint": {"ttl": ttl}}),
        user(part | {"cache_control": {"type": "ephemeral", "ttl": ttl}}),
        {**user(part), "tools": [{"type": "function", "cache_control": {"ttl": ttl}}]},
    ]


@pytest.mark.parametrize("place", range(4))
def test_a_cache_that_lives_longer_than_any_price_is_400(place: int) -> None:
    """Twelve hours need a price of their own, wherever they are asked for; other lifetimes have none."""
    for ttl in ("30m", "5m", None):
        assert bound(_cached(ttl)[place])
    assert bound(_cached("12h")[place], model=TIERED)
    dated = structs.replace(TIERED, prices=(*TIERED.prices, Price(id="q", tiers=MODEL_TIERS)))
    for ttl, model in (("12h", dated), ("1h", dated), ("24h", TIERED), (12, TIERED), ({}, TIERED)):
        with pytest.raises(RequestError) as refused:
            bound(_cached(ttl)[place], model=model)
        assert refused.value.error.status == 400


def test_escapes_hide_no_lifetime() -> None:
    """A key or a value that is written with escapes is the same key and value; a text that looks like one is text."""
    body = b'{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"x","prompt_cache_break\\u0070oint":{"\\u0074tl":"7\\u0064"}}]}]}'
    fields = priced.decode(body)
    with pytest.raises(RequestError):
        priced.bound(fields, priced.read(fields, CHAT), TIERED)
    odd = priced.decode(
        b'{"model":"m","prompt":"x","tools":[{"\\u001f":1E400},{"ttl":{"a":1E400}}],"z":{"\\u0074tl":-1E999}}'
    )
    assert priced.bound(odd, priced.read(odd, COMPLETIONS), TIERED).prompt_max
    assert bound(user({"type": "text", "text": '"cache_control": {"ttl": "7d"}'}), model=TIERED)
    part = {"type": "text", "text": "x", "cache_control": {"type": "ephemeral", "ttl": None}}
    spaced = json.dumps({"model": "m", **user(part)}, indent=3).encode()
    fields = priced.decode(spaced)
    assert priced.bound(fields, priced.read(fields, CHAT), TIERED).prompt_max


def test_looking_for_lifetimes_is_linear() -> None:
    """A body that nests as deeply as can be read, with the word at its bottom, costs milliseconds, not minutes."""
    depth, filler = 400, b'"' + b"x" * 2_000_000 + b'",'
    nested = b"[" * depth + filler + b'{"ttl":"7d"}' + b"]" * depth
    fields = priced.decode(b'{"model":"m","messages":[{"role":"user","content":"x"}],"z":' + nested + b"}")
    began = time.process_time()
    assert priced.bound(fields, priced.read(fields, CHAT), TIERED).prompt_max
    assert time.process_time() - began < 0.5


def test_what_is_not_named_is_not_refused() -> None:
    """A tool may have a property of that name."""
    assert bound({**user({"type": "text", "text": "x"}), "tools": [{"ttl": "7d"}]}, model=TIERED)


def test_the_word_file_is_only_a_word() -> None:
    """Text that looks like a sign of media costs nothing but a closer look."""
    assert bound(
        {"messages": [{"role": "user", "content": "file"}, {"role": "user", "content": '"image_url"'}]}
    )


def test_hostile_parts_are_400() -> None:
    """Media parts of any wrong shape are a 400 on messages, never an exception of another kind."""
    for part in (
        5,
        None,
        [],
        {"type": 5},
        {"type": "image_url"},
        {"type": "image_url", "image_url": 5},
        {"type": "file", "file": []},
    ):
        with pytest.raises(RequestError):
            bound({"messages": [{"role": "user", "content": [part, "file"]}, {"x": "file", "y": "\u00e9"}]})


def test_every_builtin_model_bounds_a_text() -> None:
    """Each row of the catalogue gives a plain prompt a bound."""
    for model in BUILTIN:
        assert 0 < bound({"messages": [{"role": "user", "content": "hi"}]}, model=model).prompt_max < 2_000


@pytest.mark.parametrize(
    "name", ["N", "Models", "Max_Tokens", "BEST_OF", "max_to\u212aens", "me\u017f\u017fages", "Stream"]
)
def test_names_in_another_case_are_refused(name: str) -> None:
    """Some servers read names whatever their case: what was not priced by such a name must not travel on."""
    with pytest.raises(RequestError) as raised:
        ask({"model": "m", "messages": [{"role": "user", "content": "x"}], name: 100})
    assert (raised.value.error.status, raised.value.error.code) == (400, "unknown_parameter")


def test_text_beside_media_counts_as_text() -> None:
    """Only the media itself is taken out of the text: a file's name, and whatever stands beside, reaches the prompt."""
    long = "x" * 5_000
    for part in (
        {"type": "file", "file": {"file_data": "QUJD", "filename": long}},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD", "caption": long}},
        {"type": "input_audio", "input_audio": {"data": "QUJD", "format": "wav", "transcript": long}},
    ):
        assert bound(user(part)).text_bytes >= len(long)


@pytest.mark.parametrize(
    "part",
    [
        {"type": "video", "video": ["https://example.com/a.mp4"]},
        {"type": "image", "image": "https://example.com/a.png"},
        {"type": "image", "image": "iVBORw0KGgo="},
        {"type": "video", "frames": ["https:\\/\\/example.com\\/1"]},
    ],
)
def test_media_of_kinds_that_are_not_openais_are_refused(part: dict[str, Any]) -> None:
    """A few bytes that name a film, or hold a picture, are no bound of what it costs."""
    raw = json.dumps({"model": "m", **user(part)}).replace("\\\\", "\\")
    fields = priced.decode(raw.encode())
    with pytest.raises(RequestError) as raised:
        priced.bound(fields, priced.read(fields, CHAT), MODEL)
    assert raised.value.error.param == "messages[0].content[0]"


@pytest.mark.parametrize("escaped", [False, True])
@pytest.mark.parametrize("detail", [None, "high", "low"])
def test_a_picture_is_bounded_by_its_own_size(escaped: bool, detail: str | None) -> None:
    """A picture in a body counts its formula's tokens and a tenth, however its URL is written, and is in the estimate."""
    able = profiled("openai", "gpt-4o")
    model = msgspec.structs.replace(MODEL, capabilities=able)
    image = {"url": data_url(png((800, 600)))} | ({"detail": detail} if detail else {})
    raw = json.dumps({"model": "m", **user({"type": "image_url", "image_url": image})})
    if escaped:
        raw = raw.replace("/", "\\/").replace('"detail"', '"d\\u0065tail"')
    fields = priced.decode(raw.encode())
    got = priced.bound(fields, priced.read(fields, CHAT), model)
    tokens = 85 if detail == "low" else 765
    assert got.media_tokens == tokens
    assert got.prompt_max == got.text_bytes + able.overhead_tokens + with_margin(tokens)


def test_a_picture_in_plain_text_of_its_part_and_a_recording_are_measured_too() -> None:
    """`image_url` may be the URL itself, and a recording counts by its seconds."""
    able = profiled("gemini", "gemini-2.5-flash")
    model = msgspec.structs.replace(MODEL, capabilities=able)
    sound = {"data": base64.b64encode(wav(3)).decode(), "format": "wav"}
    got = bound(
        user(
            {"type": "image_url", "image_url": data_url(png((300, 300)))},
            {"type": "input_audio", "input_audio": sound},
        ),
        model=model,
    )
    assert got.media_tokens == 258 + 128
    assert got.prompt_max == got.text_bytes + able.overhead_tokens + 284 + 141


@pytest.mark.parametrize(
    ("upstream", "file", "tokens"),
    [
        ("claude-opus-5", {"filename": "a.txt", "file_data": "QUJD" * 100}, 330),
        ("claude-opus-5", {"file_data": "data:text/plain;base64," + "QUJD" * 100}, 330),
        ("gemini-3.8-flash", {"filename": "a.txt", "file_data": "QUJD" * 100}, 330),
        ("gemini-3.8-flash", {"filename": "a.md", "file_data": "QUJD" * 100}, None),  # perhaps no UTF-8
        ("gemini-3.8-flash", {"filename": "a.csv", "file_data": "QUJD" * 100}, None),
        ("gpt-6.1-sol", {"filename": "a.txt", "file_data": "QUJD" * 100}, None),
        ("gpt-6.1-sol", {"filename": "a.txt", "file_data": "data:application/pdf;base64,QUJD"}, None),
        ("claude-opus-5", {"filename": 5, "file_data": "QUJD"}, None),
    ],
)
def test_a_text_file_is_bounded_by_its_bytes(upstream: str, file: dict[str, Any], tokens: int | None) -> None:
    """A file that reaches the prompt as text counts its bytes and a tenth; one that nothing is certain of the window."""
    provider = {"c": "anthropic", "g": "gemini"}[upstream[0]] if "gpt" not in upstream else "openai"
    able = profiled(provider, upstream)
    model = msgspec.structs.replace(MODEL, capabilities=able, context=1_000_000)
    got = bound(user({"type": "file", "file": file}), model=model)
    assert got.documents == () or upstream == "claude-opus-5"
    if tokens is None:
        assert got.prompt_max == model.context
    else:
        assert got.prompt_max == got.text_bytes + able.overhead_tokens + tokens
        assert got.media_tokens == 75


@pytest.mark.parametrize(
    ("body", "candidates"),
    [
        ({"model": "a"}, ("a",)),
        ({"model": "a", "models": None}, ("a",)),
        ({"model": "a", "models": ["b", "a", "b"]}, ("a", "b")),
        ({"models": ["b", "a"]}, ("b", "a")),
        ({"model": None, "models": ["b"]}, ("b",)),
        ({"model": "m", "models": list("abcdefgh")}, tuple("mabcdefgh")),
    ],
)
@pytest.mark.parametrize("dialect", [CHAT, COMPLETIONS])
def test_a_body_may_name_several_models(
    body: dict[str, Any], candidates: tuple[str, ...], dialect: str
) -> None:
    """`model` comes first, then `models` in their order, none twice; either may stand alone, and the list never travels.

    What travels has a `model` in any case: what reads it on its way wants one.
    """
    whole = body | {"messages": [{"role": "user", "content": "x"}], "prompt": "x"}
    fields = priced.decode(json.dumps(whole).encode())
    assert priced.read(fields, dialect).candidates == candidates
    sent = json.loads(priced.encode(fields))
    assert sent == {name: value for name, value in whole.items() if name != "models"} | {
        "model": candidates[0]
    }


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "model"),
        ({"models": None}, "model"),
        ({"model": "", "models": ["a"]}, "model"),
        ({"models": []}, "models"),
        ({"models": "a"}, "models"),
        ({"models": {"a": 1}}, "models"),
        ({"model": "a", "models": [""]}, "models"),
        ({"model": "a", "models": [7]}, "models"),
        ({"model": "a", "models": [None]}, "models"),
        ({"model": "a", "models": [["a"]]}, "models"),
        ({"model": "a", "models": ["x" * 257]}, "models"),
        ({"model": "a", "models": ["a\n"]}, "models"),
        ({"model": "a", "models": list("abcdefghi")}, "models"),
    ],
)
def test_lists_of_models_that_are_none(body: dict[str, Any], param: str) -> None:
    """Neither of both is a missing `model`; a list that is no 1 to 8 names is a 400 that names it."""
    with pytest.raises(RequestError) as raised:
        ask(body | {"messages": [{"role": "user", "content": "x"}]})
    assert (raised.value.error.status, raised.value.error.param) == (400, param)
