"""Owns which reported usage is believed: none beyond what the call was granted, for which stands our own estimate.

A count above the bound of the prompt, or above the output that was granted, cannot be. Only the bound of pictures, files
and recordings is a formula of ours that may be wrong: a prompt that has some is billed as reported, up to its hold.
"""

from typing import Final

from msgspec import structs

from schemas.bus.frames import Job
from schemas.money.pricing import TokenUsage
from workers.answers.base import unreported

# Servers differ by a few in what they count as the end of an answer.
OVER_TOKENS_MAX: Final = 16


def is_beyond(job: Job, usage: TokenUsage, exchanges: int = 1) -> bool:
    """Whether one of a job's exchanges reports more than it can have used."""
    return _read_beyond(job, usage) or _made_beyond(job, usage, exchanges)


def believable(job: Job, usage: TokenUsage | None, output_bytes: int, exchanges: int = 1) -> TokenUsage:
    """Usage of one of a job's exchanges as it is billed: reported, or estimated as far as that cannot be.

    `output_bytes` is what it has produced.
    """
    if usage is None:
        return unreported(job, output_bytes, exchanges)
    if not is_beyond(job, usage, exchanges):
        return usage
    ours = unreported(job, output_bytes, exchanges)
    read = ours if _read_beyond(job, usage) else usage
    made = ours if _made_beyond(job, usage, exchanges) else usage
    return structs.replace(read, output=made.output, reasoning=made.reasoning, output_audio=made.output_audio)


def _read_beyond(job: Job, usage: TokenUsage) -> bool:
    return usage.prompt > job.prompt_max and not job.media_tokens


def _made_beyond(job: Job, usage: TokenUsage, exchanges: int) -> bool:
    return usage.completion > job.limit * job.choices // exchanges + OVER_TOKENS_MAX
