"""Owns the seam between families and callers' dialects: what an answer is told, and the bytes it makes of it."""

from collections.abc import Sequence
from typing import Any, ClassVar, Protocol, Self

from schemas.bus.frames import Job
from schemas.bus.usage import estimate
from schemas.dialects.blobs import Blob
from schemas.dialects.prompts import text_tokens
from schemas.money.pricing import TokenUsage
from workers.answers.said import Said


class Answer(Protocol):
    """How one exchange of a job looks to the caller, in the job's dialect. Made by `answers`.

    For a stream every method returns the caller's SSE events (b"" for none); for a plain answer they return b"" and
    `end` returns the body. Choices are counted from 0 within the exchange. Order for each choice: `open`, then
    text, refusal and tool calls as they come, then `finish`; after all choices, `end` once. Anything said for a
    choice that is not open opens it, and `end` finishes none: a choice without a reason is the family's fault to find.

    `said` keeps account of content, refusals, reasoning and tool arguments given, the same in every dialect;
    `output_bytes` are its bytes.
    """

    dialect: ClassVar[str]  # `Job.dialect` of the jobs whose answers it makes
    terminal: ClassVar[
        tuple[bytes, ...]
    ]  # how the first of a stream's last events may begin: those wait for the bill
    said: Said

    @property
    def output_bytes(self) -> int:
        """Bytes of what was said."""
        ...

    @classmethod
    def of_job(cls, job: Job, exchanges: int, echoes: Sequence[str]) -> list[Self]:
        """One for each exchange of a job, in order. `echoes` holds the prompts to repeat before each text, or nothing."""
        ...

    def restart(self) -> None:
        """Forgets everything said by this exchange: another account is tried from the beginning."""
        ...

    def open(self, choice: int = 0) -> bytes:
        """What stands before all else of a choice. Opening it again does nothing."""
        ...

    def text(self, choice: int, text: str, logprobs: Sequence[dict[str, Any]] | None = None) -> bytes:
        """A piece of content. `logprobs` holds entries in the chat shape: token, logprob, bytes, top_logprobs."""
        ...

    def refusal(self, choice: int, text: str) -> bytes:
        """A piece of a refusal in the model's own words."""
        ...

    def reasoning(self, choice: int, text: str) -> bytes:
        """A piece of reasoning that the provider shows; nothing in a dialect that has no place for it."""
        ...

    def hidden(self, text: str) -> None:
        """Counts output that no caller is shown, for estimates."""
        ...

    def signature(self, choice: int, blob: Blob) -> bytes:
        """What the provider wants back with the reasoning just told, or with the call that follows; sealed if shown.

        Nothing in a dialect that has no place for it.
        """
        ...

    def tool(self, choice: int, call_id: str, name: str) -> bytes:
        """The opener of a tool call: the only place where its id and name are said."""
        ...

    def arguments(self, choice: int, fragment: str) -> bytes:
        """A fragment of the newest tool call's arguments; empty ones are dropped."""
        ...

    def tool_end(self, choice: int) -> bytes:
        """Ends the newest tool call: one that had no arguments gets "{}". Called again by `tool` and `finish`."""
        ...

    def tool_calls(self, choice: int) -> int:
        """How many tool calls a choice has so far."""
        ...

    def finished(self, choice: int) -> bool:
        """Whether a choice has had its finish reason."""
        ...

    def finish(self, choice: int, reason: str, matched: str | None = None) -> bytes:
        """The end of a choice. "stop" becomes "tool_calls" if it made any; a second finish is ignored.

        `matched` is what a provider says of where it stopped; it is shown if it is a stop sequence of the caller's, in a
        dialect that has a place for it.
        """
        ...

    def end(self, usage: TokenUsage | None, uplifts: tuple[str, ...] = ()) -> bytes:
        """Ends this exchange. Of the last one: the usage event if it was asked for, or the whole plain body.

        Usage is summed over the exchanges of the job. None, from a provider that has reported none, is estimated by
        the rule that bills it.
        """
        ...


def unreported(job: Job, said: Said, exchanges: int = 1, text: int | None = None) -> TokenUsage:
    """Usage of one of a job's exchanges whose provider reported none, by the rule that bills it.

    `text` is the whole prompt's text in tokens, where it has been estimated before.
    """
    text = text_tokens(job) if text is None else text
    return estimate(
        None,
        prompt_max=job.prompt_max // exchanges,
        prompt_tokens=(text + job.media_tokens) // exchanges,
        output_max=job.limit * job.choices // exchanges,
        output_tokens=said.tokens(job.upstream),
        answered=True,
    )
