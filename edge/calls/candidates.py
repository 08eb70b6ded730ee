"""Owns which of its candidates a call is with: the job for each, tried in order, and how many attempts the current one had."""

from msgspec import Struct, structs

from schemas.bus.frames import Job
from schemas.dialects.prompts import prompt_sample
from schemas.estimates.sample import Sample


class Offer(Struct, frozen=True):
    """A model that may serve a call: its pool, the job as that pool gets it, headers of an answer of its, what it is not sent."""

    pool: str
    job: Job
    notice: tuple[tuple[bytes, bytes], ...] = ()
    dropped: tuple[str, ...] = ()


class Candidates:
    """The models that may serve one call. One is current; nobody goes back to an earlier one."""

    def __init__(self, first: Offer, further: tuple[Offer, ...]) -> None:
        self._current = first
        self._further = further
        self._began = first.job.attempt  # the current one's first attempt
        self._sample: Sample | None = None  # of the prompt, once its body is gone

    @property
    def pool(self) -> str:
        """Where the current one is served."""
        return self._current.pool

    @property
    def job(self) -> Job:
        """The call as the current one gets it."""
        return self._current.job

    @property
    def notice(self) -> tuple[tuple[bytes, bytes], ...]:
        """What an answer of the current one says in headers."""
        return self._current.notice

    @property
    def dropped(self) -> tuple[str, ...]:
        """What the current one is not sent."""
        return self._current.dropped

    @property
    def left(self) -> int:
        """How many come after the current one."""
        return len(self._further)

    @property
    def next_place(self) -> int:
        """The place of the next one among the hold's candidates; 0 if there is none."""
        return self._further[0].job.candidate if self._further else 0

    def attempts(self, number: int) -> int:
        """How many attempts the current one has had, the call's so manieth included."""
        return number - self._began + 1

    def advance(self, number: int) -> None:
        """The next one is current, from the call's so manieth attempt on."""
        self._current, self._further = self._further[0], self._further[1:]
        self._began = number

    def prompt(self, parts_body: bytes) -> Sample:
        """A sample of the current one's prompt, for an estimate; a body that was sent in parts is not in its job."""
        if self._sample is None:
            job = self._current.job
            return prompt_sample(structs.replace(job, body=job.body or parts_body))
        return self._sample

    def drop_bodies(self, parts_body: bytes) -> None:
        """Forgets what was to be sent, but for a sample: the call is not offered again."""
        self._sample = self.prompt(parts_body)
        self._current = structs.replace(self._current, job=structs.replace(self._current.job, body=b""))
        self._further = ()
