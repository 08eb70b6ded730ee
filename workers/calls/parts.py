"""Owns the reassembly of a request body that is too large for its job."""

import asyncio

from runtime.sealing import Reader
from schemas.bus.frames import FRAME_BYTES_MAX, REQUEST_BYTES_MAX, Job, Part
from schemas.errors import WireError, unavailable

PARTS_MAX = REQUEST_BYTES_MAX // FRAME_BYTES_MAX * 2
WAIT_S = 15.0  # for the next part


class PartsError(Exception):
    """A body that did not arrive as its job said."""

    def __init__(self, error: WireError) -> None:
        super().__init__(error.message)
        self.error = error


_INCOMPLETE = unavailable("The request body did not reach the worker. Retry with backoff.")


class Parts:
    """Collects the parts of one body, in any order, each once. Memory is bounded by what the job announced."""

    def __init__(self, job: Job) -> None:
        self._name = f"{job.request_id}.{job.attempt}"
        self._reader = Reader()
        self._count = job.parts
        self._bytes = job.body_bytes
        self._pieces: dict[int, bytes] = {}
        self._size = 0
        self._arrived = asyncio.Event()

    @staticmethod
    def acceptable(job: Job) -> bool:
        """Whether a job's announcement is within bounds."""
        return job.parts == 0 or (0 < job.parts <= PARTS_MAX and 0 < job.body_bytes <= REQUEST_BYTES_MAX)

    @property
    def seal(self) -> bytes:
        """The key that this body's parts are to be sealed to."""
        return self._reader.public

    def add(self, part: Part) -> None:
        """One part. What does not fit the announcement or cannot be opened is dropped; `whole` then fails."""
        index = part.index
        if not 0 <= index < self._count or index in self._pieces:
            return
        data: bytes | None = part.data
        if part.sealed_by:
            data = self._reader.open(part.sealed_by, self._name, index, part.data)
        if data is None or self._size + len(data) > self._bytes:
            return
        self._pieces[index] = data
        self._size += len(data)
        self._arrived.set()

    async def whole(self) -> bytes:
        """The body, once all parts are here. Raises PartsError if none comes for WAIT_S, or sizes differ."""
        while len(self._pieces) < self._count:
            self._arrived.clear()
            try:
                async with asyncio.timeout(WAIT_S):
                    await self._arrived.wait()
            except TimeoutError:
                raise PartsError(_INCOMPLETE) from None
        body = b"".join(self._pieces[index] for index in range(self._count))
        self._pieces.clear()
        if len(body) != self._bytes:
            raise PartsError(_INCOMPLETE)
        return body
