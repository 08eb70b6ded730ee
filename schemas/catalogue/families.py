"""Owns the names of the families: a family is code that speaks one wire protocol, whoever the vendor is."""

from typing import Final

BEDROCK: Final = "bedrock"
SANDBOX: Final = "sandbox"
FAMILIES: Final = ("openai", "anthropic", "gemini", BEDROCK, SANDBOX)
PASS_THROUGH: Final = frozenset(("openai", SANDBOX))  # they get the caller's own bytes, and judge them
