"""Owns what the calls that make vectors share in all families: batches, one answer each, and what it must hold."""

from typing import Any, ClassVar, Final

import msgspec
from msgspec import Raw, Struct

from runtime.settings.settings import AccountSettings
from schemas.bus.frames import Job
from schemas.bus.usage import TOKENS_MAX
from schemas.catalogue.model import Model
from schemas.catalogue.vectors import Vectors
from schemas.embeddings.priced import FLOAT_BYTES_MAX
from schemas.embeddings.request import FLOAT, EmbeddingRequest, form
from schemas.errors import invalid, upstream_failed
from schemas.json import UNREADABLE
from schemas.money.pricing import TokenUsage
from workers.answers.said import Said
from workers.answers.vectors import VectorError, VectorsAnswer
from workers.providers.base import Action, Fault, RefusedError
from workers.providers.faults import NONSENSE
from workers.upstream.request import UpstreamRequest

BATCH_BYTES_MAX: Final = 60 * 1024 * 1024  # of the vectors in one answer, if they come as numbers
TOGETHER_MAX: Final = 4  # calls of one batch that run at a time

UNWANTED: Final = Fault(
    upstream_failed("The upstream provider's vectors are not those that were asked for."),
    Action.NEXT,
    unbilled=False,
)
_UNKNOWN: Final = RefusedError(invalid("This model does not support embeddings.", param="model"))

_decode = msgspec.json.Decoder(EmbeddingRequest).decode
_decode_list = msgspec.json.Decoder(list[Raw]).decode
_decode_input = msgspec.json.Decoder(str | list[str]).decode
_encode = msgspec.json.Encoder().encode


class Batch(Struct, frozen=True):
    """The inputs of one call of the provider, as the caller wrote them, and where the first of them stands."""

    place: int
    first: int
    count: int
    input: Raw

    def texts(self) -> list[str]:
        """They, decoded. Raises RefusedError for token ids, which only pass through."""
        try:
            found = _decode_input(self.input)
        except UNREADABLE:
            raise RefusedError(invalid("'input' must be text for this model.", param="input")) from None
        return [found] if isinstance(found, str) else found


class Wanted(Struct, frozen=True):
    """One job: the request, how its model embeds, the answer that all of its calls make, and the calls."""

    job: Job
    model: Model
    request: EmbeddingRequest
    able: Vectors
    answer: VectorsAnswer
    batches: tuple[Batch, ...]

    @property
    def dimensions(self) -> int | None:
        """What the provider is asked for; None where it has no choice, or need not be asked."""
        return self.request.dimensions if self.able.sizable else None


def wanted(job: Job, model: Model) -> Wanted:
    """What a family has to serve for a job. Raises RefusedError for what should have been refused before the hold."""
    able = model.capabilities.embeddings
    if able is None:
        raise _UNKNOWN
    try:
        request = _decode(job.body)
        each = (request.dimensions or able.dimensions) * FLOAT_BYTES_MAX
        batches = tuple(_batches(request.input, max(1, min(able.batch, BATCH_BYTES_MAX // each))))
    except UNREADABLE:
        raise RefusedError(invalid("The body is no request for embeddings.")) from None
    answer = VectorsAnswer(
        job,
        len(batches),
        wanted=request.dimensions or 0,
        most=able.dimensions,
        encoding=request.encoding_format or FLOAT,
    )
    return Wanted(job, model, request, able, answer, batches)


def _batches(raw: Raw, size: int) -> list[Batch]:
    """Raises one of UNREADABLE. An array of ids is one input."""
    found = form(raw)
    if found is None or not found.many:
        return [Batch(0, 0, 1, raw)]
    items = _decode_list(raw)
    if len(items) <= size:
        return [Batch(0, 0, len(items), raw)]
    return [
        Batch(place, first, len(part), Raw(_encode(part)))
        for place, first in enumerate(range(0, len(items), size))
        if (part := items[first : first + size])
    ]


def prompt_usage(tokens: Any) -> TokenUsage | None:
    """A reported count as usage; None for what is no count."""
    sensible = type(tokens) is int and 0 <= tokens <= TOKENS_MAX
    return TokenUsage(input=tokens) if sensible else None


class EmbeddingExchange:
    """One call that answers with the vectors of one batch. A subclass builds the call and reads the answer.

    It is never streamed. A long answer is read off the loop: see `workers.providers.base.Laborious`.
    """

    laborious: ClassVar[bool] = True
    output_bytes: ClassVar[int] = 0  # vectors are no output
    said: ClassVar[Said] = Said()

    def __init__(self, of: Wanted, batch: Batch) -> None:
        self._of = of
        self._batch = batch
        self.thoughts: dict[str, str] = {}
        self._restart()

    def _restart(self) -> None:
        self.usage: TokenUsage | None = None
        self.uplifts: tuple[str, ...] = ()
        self.finished = False
        self.fault: Fault | None = None
        self._of.answer.restart(self._batch.place)

    @property
    def at_once(self) -> int:
        """How many of the batch's calls may run at a time: together their answers hold no more than one may."""
        of = self._of
        each = (of.request.dimensions or of.able.dimensions) * FLOAT_BYTES_MAX
        largest = max(batch.count for batch in of.batches) * each
        return max(1, min(TOGETHER_MAX, BATCH_BYTES_MAX // largest))

    def request(self, account: AccountSettings) -> UpstreamRequest:
        """The call with one account's credentials; forgets what an earlier try has read."""
        self._restart()
        return self._request(account)

    def answer(self, body: bytes) -> bytes:
        """The caller's body after the last exchange of the job; b"" before."""
        answer, batch = self._of.answer, self._batch
        try:
            vectors = self._read(body)
            if vectors is None:
                return b""
            answer.tell(batch.place, range(batch.first, batch.first + batch.count), vectors)
        except UNREADABLE:
            self.fault = NONSENSE
        except VectorError:
            self.fault = UNWANTED
        if self.fault is not None:
            return b""
        self.finished = True
        return answer.end(batch.place, self.usage)

    def feed(self, data: bytes) -> bytes:
        """Nothing: vectors are never streamed."""
        del data
        self.fault = NONSENSE
        return b""

    def close(self) -> bytes:
        """Nothing, as above."""
        self.fault = NONSENSE
        return b""

    def _request(self, account: AccountSettings) -> UpstreamRequest:
        raise NotImplementedError

    def _read(self, body: bytes) -> list[bytes] | None:
        """The vectors of a whole 2xx answer, in the order of the inputs, and `usage`; None with a `fault`.

        Raises one of UNREADABLE, or VectorError.
        """
        raise NotImplementedError
