"""Owns the dialect of /v1/chat/completions."""

from schemas.chat.request import CHAT
from schemas.dialects.openai import OpenAI

DIALECT = OpenAI(CHAT, "/v1/chat/completions")
