"""What reading the dearest bodies costs: junk is refused within pieces, and what passes lets the loop in between."""

import itertools
import sys
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from schemas.asked import NOTHING_SEEN
from schemas.catalogue.model import Capabilities, Model
from schemas.catalogue.vectors import Vectors
from schemas.chat.priced import RequestError
from schemas.dialects import DIALECTS
from schemas.dialects.base import Dialect
from schemas.shape import Shape, TangledError, check
from tests.fakes import heavy

STEP_S = 0.1
TRIES = 3
PIECE_BYTES = 256 * 1024  # the most that a socket gives at once
# In CI, of each kind what was dearest.
FEW = ("keys of a part", "texts", "models", "escapes", "a picture with a long type")

ABLE = Capabilities(
    images=True, files=True, audio_in=True, image_tokens_max=1_000, file_tokens_max=1_000, audio_tokens_max=1_000,
    remote_images=True, image_types=("image/png",), file_types=("text/plain",), tools=True,
)  # fmt: skip
VECTORS = Capabilities(chat=False, embeddings=Vectors(dimensions=8, sizes=(8,), batch=2_048, tokens=True))


def model(family: str, able: Capabilities) -> Model:
    return Model(
        id="m", pool="p", upstream="m", provider=family, family=family, context=1 << 20, max_output=1_000, capabilities=able
    )  # fmt: skip


MODELS = {
    "passed on": model("openai", ABLE),
    "translated": model("anthropic", ABLE),
    "embedded": model("openai", VECTORS),
}


class Stretches:
    """The longest that a thread ran, in its own processor time, without a call that would let another one run."""

    def __init__(self) -> None:
        self.longest_s = 0.0
        self.where = ""

    def __call__(self, frame: FrameType, event: str, argument: Any) -> None:
        """Something is called, or comes back."""
        now = time.thread_time()
        if now - self._last > self.longest_s:
            self.longest_s, self.where = (
                now - self._last,
                f"{event} {argument!s:.60} {frame.f_code.co_qualname}",
            )
        self._last = time.thread_time()

    def of(self, work: Callable[[], None]) -> None:
        """Measures some work."""
        self._last = time.thread_time()
        sys.setprofile(self)
        try:
            work()
        finally:
            sys.setprofile(None)


def read(dialect: Dialect, asked: Model, body: bytes) -> None:
    """All that an edge does with a body before it asks for a hold."""
    try:
        fields = dialect.decode(body)
        ask = dialect.read(fields)
        encoded = dialect.encode(fields)
        dialect.bound(fields, ask, asked, NOTHING_SEEN)
        dialect.refuse(asked, encoded)
    except RequestError as refused:
        assert 400 <= refused.error.status < 500  # noqa: PT017  most are refused, and that is right


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in FEW else pytest.mark.long) for name in heavy.MOST]
)
def test_the_most_that_passes_lets_others_run(name: str) -> None:
    """No call that reads a body of the most that is allowed runs for 100 ms of processor time, in any dialect.

    What a decoder does in one call cannot be broken off for the loop. A busy machine makes the same work dearer, so the
    cheapest of three counts.
    """
    body = heavy.body(heavy.MOST[name], heavy.BODY_BYTES)
    assert len(body) <= heavy.BODY_BYTES
    check(body)
    for dialect, (kind, asked) in itertools.product(DIALECTS, MODELS.items()):
        if (dialect.name == "embeddings") != (kind == "embedded"):
            continue
        tried = []
        for _ in range(TRIES):
            stretches = Stretches()
            stretches.of(lambda dialect=dialect, asked=asked: read(dialect, asked, body))
            tried.append((stretches.longest_s, stretches.where))
            if stretches.longest_s < STEP_S:
                break
        assert min(tried)[0] < STEP_S, (dialect.name, kind, tried)


@pytest.mark.parametrize("name", heavy.JUNK)
@pytest.mark.parametrize("size", [2 * heavy.MIB, pytest.param(heavy.BODY_BYTES, marks=pytest.mark.long)])
def test_counting_junk_is_cheap(name: str, size: int) -> None:
    """A piece of any junk is counted in a tenth of what a step may take; what no limit refuses, a parse does at once."""
    body, shape = heavy.body(heavy.JUNK[name], size), Shape()
    longest_s = 0.0
    try:
        for start in range(0, len(body), PIECE_BYTES):
            piece, began = body[start : start + PIECE_BYTES], time.thread_time()
            try:
                shape.feed(piece)
            finally:
                longest_s = max(longest_s, time.thread_time() - began)
    except TangledError:
        pass
    else:
        for dialect in DIALECTS:
            began = time.thread_time()
            read(dialect, MODELS["embedded" if dialect.name == "embeddings" else "translated"], body)
            assert time.thread_time() - began < 10 * STEP_S, dialect.name
    assert longest_s < STEP_S / 2
