"""Owns what texts are estimated at, for tests of who uses the estimate and when."""

from schemas.bus.frames import Job
from schemas.dialects.prompts import text_tokens
from workers.answers.said import Said


def output_tokens(text: str, upstream: str) -> int:
    """An output's tokens, as they are estimated once it has ended early."""
    said = Said()
    said.add(text)
    return said.tokens(upstream)


def prompt_tokens(job: Job) -> int:
    """A prompt's, text and media, where nothing is known of its key."""
    return min(text_tokens(job) + job.media_tokens, job.prompt_max)
