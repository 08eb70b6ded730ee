"""Owns what texts are estimated at, for tests of who uses the estimate and when."""

from typing import Any

import msgspec

from schemas.bus.frames import Job
from schemas.chat.request import CHAT
from schemas.dialects.prompts import text_tokens
from tests.fakes.worker import job
from workers.answers.said import Said


def output_tokens(text: str, upstream: str) -> int:
    """An output's tokens, as they are estimated once it has ended early."""
    said = Said()
    said.add(text)
    return said.tokens(upstream)


def asked_tokens(body: dict[str, Any], upstream: str, dialect: str = CHAT) -> int:
    """The text of a body's prompt, as the edge hands it on: without spaces between its JSON's parts."""
    return text_tokens(job(msgspec.json.encode(body), upstream=upstream, dialect=dialect))


def prompt_tokens(of: Job) -> int:
    """A prompt's, text and media, where nothing is known of its key."""
    return min(text_tokens(of) + of.media_tokens, of.prompt_max)
