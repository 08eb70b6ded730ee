"""Owns the dialect of /v1/completions."""

from schemas.chat.request import COMPLETIONS
from schemas.dialects.openai import OpenAI

DIALECT = OpenAI(COMPLETIONS, "/v1/completions")
