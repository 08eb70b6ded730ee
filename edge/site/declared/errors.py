"""Owns the envelopes of errors, as the document tells them: OpenAI's, and Anthropic's."""

from typing import Literal

from msgspec import Struct


class ErrorFields(Struct):
    """Why a request was refused or failed: a sentence, its kind, the field that it is about, and a code."""

    message: str
    type: str
    param: str | None
    code: str | None


class Error(Struct):
    """OpenAI's envelope of errors."""

    error: ErrorFields


class MessagesErrorFields(Struct):
    """Anthropic's kind of error, and a sentence."""

    type: str
    message: str


class MessagesError(Struct):
    """Anthropic's envelope of errors, on every path under `/v1/messages`."""

    type: Literal["error"]
    error: MessagesErrorFields
    request_id: str | None = None
