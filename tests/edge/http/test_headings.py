"""Headers that travel: a worker's on the answer, the caller's with a job, and where a key may stand."""

import httpx
import msgspec
import pytest

from edge.http.exchange import Exchange
from edge.http.heading import (
    ANSWER_HEADERS_MAX,
    IGNORED_BYTES_MAX,
    answer_headers,
    ignored_header,
    job_headers,
)
from edge.http.intake import key_digest
from schemas import keys
from schemas.bus.frames import HEADERS_BYTES_MAX, Head
from schemas.chat.priced import RequestError
from schemas.dialects import DIALECTS
from schemas.verbs.calls import AUTHORISE
from tests.edge.conftest import Rig
from tests.edge.stand_ins import Attempt, completion, event


class Caller(Exchange):
    """A request that has nothing but headers."""

    def __init__(self, *headers: tuple[bytes, bytes]) -> None:
        self.headers = list(headers)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_workers_headers_stand_on_the_answer(rig: Rig, stream: bool) -> None:
    """What a worker sends before its first data is on the head, plain and streamed; what is ours to say is not."""

    async def script(attempt: Attempt) -> None:
        attempt.accept()
        attempt.seq += 1
        told = (("X-Later", "yes"), ("content-length", "3"), ("Set-Cookie", "a=b"), ("x-bad\r\nx", "1"))
        attempt.send(Head(attempt.seq, told))
        if stream:
            attempt.data(event("Hello"))
            attempt.end()
        else:
            attempt.end(completion("Hello"))

    rig.worker.script = script
    answer: httpx.Response = await rig.chat(stream=stream)
    assert answer.status_code == 200
    assert answer.headers["x-later"] == "yes"
    assert "set-cookie" not in answer.headers
    assert b"Hello" in answer.content


def test_headers_of_answers_are_safe() -> None:
    """Names are tokens, values are printable; framing, cookies and the gateway's own are never a worker's to say."""
    bad = [
        ("transfer-encoding", "chunked"),
        ("Connection", "close"),
        ("proxy-authenticate", "x"),
        ("access-control-allow-origin", "*"),
        ("x-request-id", "x"),
        ("x y", "1"),
        ("", "1"),
        ("x-a", "1\r\nx-b: 2"),
        ("x-a", " 1"),
        ("x-a", ""),
        ("x-a", "\u00e9"),
    ]
    assert answer_headers((*bad, ("X-Good", "a b"))) == [(b"x-good", b"a b")]


def test_headers_of_answers_are_bounded() -> None:
    """By count and by bytes: what does not fit is left out with all that follows."""
    assert len(answer_headers(tuple((f"x-{n}", "1") for n in range(100)))) == ANSWER_HEADERS_MAX
    large = tuple((f"x-{n}", "v" * 500) for n in range(10))
    assert len(answer_headers(large)) == HEADERS_BYTES_MAX // 503


def test_what_was_ignored_fits_a_header() -> None:
    """Each name once, in order, in printable ASCII and parted by commas alone; what does not fit is left out whole."""
    assert ignored_header(("tools[8]:web_search", "a,b", "tools[8]:web_search", "é\n")) == (
        b"x-tokn-ignored",
        b"tools[8]:web_search,a%2Cb,%C3%A9%0A",
    )
    name, value = ignored_header(tuple("n" * 300 + str(number) for number in range(9)))
    assert (name, len(value.split(b","))) == (b"x-tokn-ignored", 3)
    assert len(value) <= IGNORED_BYTES_MAX


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_says_what_was_ignored(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, stream: bool
) -> None:
    """What goes no further for any model, then what this one is not sent; plain and streamed."""
    dialect = DIALECTS[0]
    read, bound = dialect.read, dialect.bound
    monkeypatch.setattr(
        dialect, "read", lambda fields: msgspec.structs.replace(read(fields), dropped=("a",)), raising=False
    )
    monkeypatch.setattr(
        dialect,
        "bound",
        lambda *asked: msgspec.structs.replace(bound(*asked), dropped=("b",)),
        raising=False,
    )
    answer: httpx.Response = await rig.chat(stream=stream)
    assert answer.headers["x-tokn-ignored"] == "a,b"


def test_headers_of_jobs_are_those_the_dialect_names() -> None:
    """In its order, the first of several, and never more bytes than a job has room for."""
    caller = Caller((b"x-b", b"2"), (b"x-a", b"1"), (b"x-a", b"3"), (b"cookie", b"no"))
    assert job_headers(caller, ("x-a", "x-b", "x-c")) == (("x-a", "1"), ("x-b", "2"))
    assert job_headers(caller, ()) == ()
    with pytest.raises(RequestError) as raised:
        job_headers(Caller((b"x-a", b"v" * HEADERS_BYTES_MAX)), ("x-a",))
    assert raised.value.error.status == 400


def test_a_key_stands_in_the_first_header_that_holds_one() -> None:
    """A bearer key in `authorization`, a bare one elsewhere; a header that the dialect does not name is not read.

    What has no key's form is another service's: the next header counts.
    """
    key = keys.generate()
    names = (b"x-api-key", b"authorization")
    bare, bearer = (b"x-api-key", key.encode()), (b"authorization", b"Bearer " + key.encode())
    assert key_digest(Caller(bare), names) == key_digest(Caller(bearer), names) == keys.digest(key)
    foreign = (b"authorization", b"Bearer sk-ant-api03-0123456789")
    assert key_digest(Caller((b"x-api-key", b"nonsense"), bearer), names) == keys.digest(key)
    assert key_digest(Caller(foreign, bare)) == key_digest(Caller(bare)) == keys.digest(key)
    for caller, named in (
        (Caller(bare), (b"authorization",)),
        (Caller((b"x-api-key", b"nonsense"), foreign), names),
        (Caller((b"authorization", key.encode())), names),
    ):
        with pytest.raises(RequestError) as raised:
            key_digest(caller, named)
        assert raised.value.error.status == 401


async def test_headers_that_are_too_many_cost_no_hold(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that is refused for its headers has not asked the ledger for a hold: nobody would release it."""
    monkeypatch.setattr(DIALECTS[0], "job_headers", ("x-a",))
    rig.http.headers["x-a"] = "v" * HEADERS_BYTES_MAX
    assert (await rig.chat()).status_code == 400
    assert not rig.ledger.of(AUTHORISE)
