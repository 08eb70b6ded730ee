"""What every dialect keeps to, run over all of them, and the bytes of those that callers know already."""

import contextlib
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from schemas import errors
from schemas.asked import Ask
from schemas.bus import frames
from schemas.catalogue.forwarded import Forwarded
from schemas.catalogue.model import Capabilities, Model
from schemas.catalogue.vectors import Vectors
from schemas.chat.parameters import PRICED
from schemas.chat.priced import RequestError
from schemas.dialects import DIALECTS, NAMED, envelope_at
from schemas.dialects.base import Dialect, Ending
from schemas.errors import WireError

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures" / "responses"
MODEL = Model(
    id="m",
    pool="p",
    provider="openai",
    upstream="m",
    context=100_000,
    max_output=500,
    capabilities=Capabilities(overhead_tokens=7, embeddings=Vectors(dimensions=8, least=1)),
)
ENDING = Ending("req_1", "m", 5)
WORDS = "Tell me of the sea. "
PROMPT: dict[str, dict[str, Any]] = {  # what a minimal body has beside its model, by dialect
    "chat": {"messages": [{"role": "user", "content": WORDS}]},
    "completions": {"prompt": WORDS},
    "responses": {"input": WORDS},
    "messages": {"max_tokens": 10, "messages": [{"role": "user", "content": WORDS}]},
    "embeddings": {"input": WORDS},
}
# Where an error has a word of its dialect's own, by status; and what is never said of one.
OWN_TYPES = {
    "messages": {
        400: "invalid_request_error",
        401: "authentication_error",
        402: "billing_error",
        429: "rate_limit_error",
        500: "api_error",
        502: "api_error",
        503: "api_error",
    }
}
WITHOUT_CODES = ("messages",)
LIMITS = {"responses": "max_output_tokens"}  # what the output limit is called, where not max_tokens
DROPPING = ("responses", "messages", "embeddings")  # dialects that leave out, and name, what they do not know
STREAMLESS = ("embeddings",)  # dialects without streams, whose answers are no output: no limit is asked for
ERRORS = [
    errors.invalid('No "such" thing\n.', param="messages[0]", code="invalid_value"),
    errors.missing_key(),
    errors.insufficient_balance("Too little."),
    errors.saturated("Full."),
    errors.internal(),
    errors.upstream_failed(),
    errors.unavailable("Away."),
]
# The same bytes as ever: clients were tested against them.
GOLDEN = {
    name: {
        "path": path,
        "ping": b": ping\n\n",
        "end": b"data: [DONE]\n\n",
        "body": b'{"error":{"message":"The upstream provider is overloaded.","type":"service_unavailable_error",'
        b'"param":null,"code":"server_is_overloaded"}}',
    }
    for name, path in (("chat", "/v1/chat/completions"), ("completions", "/v1/completions"))
}
PADDED = msgspec.structs.replace(MODEL, forwards=Forwarded(more=("pad",)))

every = pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
every_error = pytest.mark.parametrize("error", ERRORS, ids=lambda error: str(error.status))


def body(dialect: Dialect, **more: Any) -> dict[str, Any]:
    """A minimal body, with these fields beside."""
    return {"model": "m", **PROMPT[dialect.name], **more}


def read(dialect: Dialect, fields: dict[str, Any]) -> Ask:
    """What a body asks for."""
    return dialect.read(dialect.decode(json.dumps(fields).encode()))


def refused(dialect: Dialect, raw: bytes) -> WireError:
    """Why a body is refused."""
    with pytest.raises(RequestError) as raised:
        dialect.read(dialect.decode(raw))
    return raised.value.error


def events(stream: bytes, dialect: Dialect) -> list[str]:
    """The data of each event of a stream, by the rules of server-sent events; comments are none."""
    assert stream.endswith(dialect.event_end)
    found = []
    for block in stream.decode().split("\n\n")[:-1]:
        lines = [line for line in block.split("\n") if not line.startswith(":")]
        assert all(line.partition(":")[0] in ("data", "event", "id") for line in lines)
        if lines:
            found.append("\n".join(line[6:] for line in lines if line.startswith("data: ")))
    return found


def test_names_and_paths_are_unique() -> None:
    """A job, a label and a path name one dialect each; every dialect is found by its name."""
    assert (
        len({dialect.name for dialect in DIALECTS})
        == len({dialect.path for dialect in DIALECTS})
        == len(DIALECTS)
    )
    assert list(NAMED.values()) == list(DIALECTS)
    assert all(dialect.path.startswith("/v1/") for dialect in DIALECTS)


@every
def test_headers_are_named_in_lower_case(dialect: Dialect) -> None:
    """Headers arrive in lower case. What takes a key never travels on, and names leave room for values."""
    assert dialect.key_headers
    assert all(name == name.lower() for name in dialect.key_headers + dialect.job_headers)
    assert not {name.decode() for name in dialect.key_headers} & set(dialect.job_headers)
    assert sum(map(len, dialect.job_headers)) < frames.HEADERS_BYTES_MAX


@every
@every_error
def test_error_bodies_tell_the_facts_and_nothing_else(dialect: Dialect, error: WireError) -> None:
    """An error's body is JSON with its message and type; how long to wait and whether to retry are headers alone."""
    whole = msgspec.json.decode(dialect.error_body(error, ""))
    told = json.dumps(whole)
    assert json.dumps(error.message)[1:-1] in told
    assert OWN_TYPES.get(dialect.name, {}).get(error.status, error.type) in told
    assert dialect.name in WITHOUT_CODES or error.code is None or error.code in told
    assert not {"retry_after_s", "should_retry", "status"} & set(whole["error"])
    assert "req_1" not in told


@every
@every_error
def test_error_events_are_events(dialect: Dialect, error: WireError) -> None:
    """An error in a stream is whole events, one of which tells its message; so is the stream with its end."""
    told = events(dialect.error_event(error, ENDING), dialect)
    assert any(json.dumps(error.message)[1:-1] in event for event in told)
    assert len(events(dialect.error_event(error, ENDING) + dialect.end(ENDING), dialect)) >= len(told)


@every
def test_a_ping_says_nothing(dialect: Dialect) -> None:
    """A ping is a comment, so that no client sees an event; or the event by which a protocol says nothing."""
    assert dialect.sse is (dialect.name not in STREAMLESS)
    if dialect.name == "messages":
        assert events(dialect.ping, dialect) == ['{"type":"ping"}']
        return
    assert dialect.ping.startswith(b":")
    assert not events(dialect.ping, dialect)


@every
def test_a_minimal_body_is_read(dialect: Dialect) -> None:
    """A body with a model and an input asks for one choice of it, plain; what goes on is what was sent."""
    raw = json.dumps(body(dialect), separators=(",", ":")).encode()
    fields = dialect.decode(raw)
    ask = dialect.read(fields)
    assert ask.candidates == (ask.model,) == ("m",)
    assert (ask.stream, ask.inputs, ask.choices, ask.limit_set, ask.dropped) == (
        False,
        1,
        1,
        "max_tokens" in fields,
        (),
    )
    assert ask.floor == (16 if dialect.name == "responses" else 1)
    assert dialect.encode(fields) == raw
    assert dialect.refuse(MODEL, raw) is None
    if dialect.sse:
        assert read(dialect, body(dialect, stream=True)).stream
    else:
        assert refused(dialect, json.dumps(body(dialect, stream=True)).encode()).param == "stream"


@every
def test_a_body_without_a_model_is_refused(dialect: Dialect) -> None:
    """Absent, null and empty: a 400 that names the parameter."""
    without = {name: value for name, value in body(dialect).items() if name != "model"}
    for fields in (without, {**without, "model": None}, {**without, "model": ""}):
        error = refused(dialect, json.dumps(fields).encode())
        assert (error.status, error.param) == (400, "model")


@every
@pytest.mark.parametrize("raw", [b"", b"[]", b"{", b"\xff", b'"x"'])
def test_what_is_no_object_is_refused(dialect: Dialect, raw: bytes) -> None:
    """A 400, whatever the bytes."""
    assert refused(dialect, raw).status == 400


@every
def test_what_some_reader_takes_for_a_priced_name_is_refused(dialect: Dialect) -> None:
    """Some servers match names whatever their case or joints: a second spelling of what is priced would not be paid for.

    So is a second limit under another server's name. A name that no field of the dialect has goes no further.
    """
    own = {"embeddings": {"model", "models"}, "chat": PRICED, "completions": PRICED}
    priced = own.get(dialect.name, {"model", "models", "stream", "max_tokens", "max_completion_tokens"})
    for name in PRICED:
        for spelt in {name.upper(), name.title().replace("_", ""), f"{name}-"} - PRICED:
            raw = json.dumps(body(dialect, **{spelt: 1})).encode()
            if name in priced:
                error = refused(dialect, raw)
                assert (error.status, error.code, error.param) == (400, "unknown_parameter", spelt)
            else:
                fields = dialect.decode(raw)
                with contextlib.suppress(RequestError):
                    assert spelt in dialect.read(fields).dropped
    if dialect.name in STREAMLESS:
        return
    limit = LIMITS.get(dialect.name, "max_tokens")
    for name in {
        "max_new_tokens",
        "num_predict",
        "n_predict",
        "max_tokens_to_sample",
        "maxOutputTokens",
        limit.title(),
    }:
        error = refused(dialect, json.dumps(body(dialect, **{name: 1})).encode())
        assert (error.status, error.code, error.param) == (400, "unknown_parameter", name)
        assert limit in error.message
    read(dialect, body(dialect, **({} if dialect.name not in DROPPING else {"max_new_tokens": None})))


@every
@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": "), (" ,\n", "\t: ")])
def test_a_name_that_is_there_twice_is_refused(dialect: Dialect, separators: tuple[str, str]) -> None:
    """Some servers read the first of two values, and others the last: a 400 that names it, in any spelling of it."""
    name = "dimensions" if dialect.name in STREAMLESS else LIMITS.get(dialect.name, "max_tokens")
    fields = {key: value for key, value in body(dialect).items() if key != name}
    whole = json.dumps(fields, separators=separators)[:-1].encode()
    escaped = f"\\u{ord(name[0]):04x}{name[1:]}"
    for again in (name, escaped):
        for first, second in ((name, again), (again, name)):
            error = refused(dialect, whole + f',"{first}":5, "{second}":5}}'.encode())
            assert (error.status, error.param) == (400, name)
            assert name in error.message
    once = dialect.decode(whole + f',"{escaped}":5}}'.encode())
    assert b'"%b":5' % name.encode() in dialect.encode(once)


@every
def test_a_bound_covers_every_byte(dialect: Dialect) -> None:
    """No prompt has more tokens than its body has bytes of text, and fields that nobody knows count."""
    for more in ({}, {"pad": "x" * 1000}):
        fields = dialect.decode(json.dumps(body(dialect, **more)).encode())
        bound = dialect.bound(fields, dialect.read(fields), PADDED)
        assert bound.prompt_max >= len(WORDS.encode()) + sum(map(len, more.values())) + 7
        assert bound.text_bytes >= len(WORDS.encode())


@every
def test_a_limit_is_at_most_the_models(dialect: Dialect) -> None:
    """A hold never covers more output than the model can give; none where there is none."""
    if dialect.name in STREAMLESS:
        fields = dialect.decode(json.dumps(body(dialect)).encode())
        assert dialect.bound(fields, dialect.read(fields), MODEL).limit == 0
        return
    limit = {LIMITS.get(dialect.name, "max_tokens"): 10_000}
    fields = dialect.decode(json.dumps(body(dialect, **limit)).encode())
    assert dialect.bound(fields, dialect.read(fields), MODEL).limit == 500


@pytest.mark.parametrize("name", GOLDEN)
def test_known_bytes(name: str) -> None:
    """Paths, pings, ends and errors are to the byte what they were."""
    dialect, known = NAMED[name], GOLDEN[name]
    assert dialect.path == known["path"]
    assert dialect.ping == known["ping"]
    assert dialect.end(ENDING) == known["end"]
    assert dialect.error_body(errors.overloaded(), "req_1") == known["body"]
    assert dialect.error_status(errors.overloaded()) == 503
    assert dialect.error_event(errors.overloaded(), ENDING) == b"data: " + known["body"] + b"\n\n"
    assert dialect.key_headers == (b"authorization", b"x-api-key")
    assert dialect.job_headers == ()


def test_an_absent_limit_is_sixteen_on_completions() -> None:
    """As at OpenAI; on chat it is none."""
    limits = {dialect.name: read(dialect, body(dialect)).limit for dialect in DIALECTS}
    assert (limits["chat"], limits["completions"]) == (None, 16)


def test_every_path_has_an_envelope() -> None:
    """A dialect's own, and what is below it; OpenAI's everywhere else, also where a path only begins alike."""
    for dialect in DIALECTS:
        assert envelope_at(dialect.path) is envelope_at(dialect.path + "/more") is dialect
        assert envelope_at(dialect.path + "more") is NAMED["chat"]
    for path in ("", "/", "/v1", "/v1/models", "/metrics"):
        assert envelope_at(path) is NAMED["chat"]


def test_a_failed_stream_of_responses_to_the_byte() -> None:
    """The two events that official clients were tested with, numbered on from those that were sent."""
    recorded = (FIXTURES / "r5-error.sse").read_bytes().split(b"\n\n")[-3:-1]
    ending = Ending("req_1", "M", 5, created_s=1_795_632_967)
    error, failed = NAMED["responses"].error_event(errors.overloaded(), ending).split(b"\n\n")[:-1]
    assert error == recorded[0]
    told, known = (json.loads(event.partition(b"data: ")[2]) for event in (failed, recorded[1]))
    known["response"]["output"] = []  # what was sent has been sent: an edge does not keep it
    assert list(told["response"]) == list(known["response"])
    assert told == known
    assert NAMED["responses"].end(ending) == b""


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.saturated("Full."), "rate_limit_exceeded"),
        (errors.upstream_failed(), "server_error"),
        (errors.invalid("x", code="context_length_exceeded"), "context_length_exceeded"),
        (errors.invalid("x", code="invalid_value"), "invalid_prompt"),
        (errors.upstream_failed(code="insufficient_quota"), "insufficient_quota"),
    ],
)
def test_failed_responses_say_what_clients_go_by(error: WireError, code: str) -> None:
    """They wait, give up or try again by one of OpenAI's own few codes."""
    told = events(NAMED["responses"].error_event(error, ENDING), NAMED["responses"])
    assert [json.loads(told[0])["code"], json.loads(told[1])["response"]["error"]["code"]] == [code, code]


def test_a_responses_limit_below_the_floor_is_held_at_it() -> None:
    """Where the upstream speaks the dialect, which takes no less; elsewhere the caller's own is kept to."""
    dialect = NAMED["responses"]
    fields = dialect.decode(json.dumps(body(dialect, max_output_tokens=3)).encode())
    speaking = msgspec.structs.replace(MODEL, capabilities=Capabilities(responses=True))
    assert dialect.bound(fields, dialect.read(fields), speaking).limit == 16
    assert dialect.bound(fields, dialect.read(fields), MODEL).limit == 3


def test_pictures_of_responses_are_bounded_as_in_chat() -> None:
    """In a message and in a tool's result alike: by what they can be, and never by their bytes."""
    dialect = NAMED["responses"]
    seeing = msgspec.structs.replace(MODEL, capabilities=Capabilities(images=True, image_tokens_max=1_000))
    picture = {"type": "input_image", "image_url": "data:image/png;base64," + "A" * 40_000}
    call = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
    output = {"type": "function_call_output", "call_id": "c", "output": [picture]}
    for items in ([{"role": "user", "content": [picture]}], [{"role": "user", "content": "x"}, call, output]):
        fields = dialect.decode(json.dumps(body(dialect, input=items)).encode())
        bound = dialect.bound(fields, dialect.read(fields), seeing)
        assert 1_000 < bound.prompt_max < 1_500
        assert bound.media_tokens == 1_000
        with pytest.raises(RequestError) as raised:
            dialect.bound(fields, dialect.read(fields), MODEL)
        assert (raised.value.error.param or "").startswith(f"input[{len(items) - 1}]")
