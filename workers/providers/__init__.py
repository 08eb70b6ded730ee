"""Owns the table of provider families: adding one is its module and a line here."""

from importlib import import_module

from workers.providers.base import Family

# Modules are imported only by pools that need them: botocore alone costs 40 MB and half a second.
_FAMILIES = {
    "openai": ("workers.providers.openai.family", "OpenAI"),
    "anthropic": ("workers.providers.anthropic.family", "Anthropic"),
    "gemini": ("workers.providers.gemini.family", "Gemini"),
    "bedrock": ("workers.providers.bedrock.family", "Bedrock"),
    "sandbox": ("workers.providers.sandbox.family", "Sandbox"),
}


class UnknownProviderError(Exception):
    """A pool names a provider that has no family."""


def family(provider: str) -> Family:
    """A new instance of a provider's family. Raises UnknownProviderError."""
    try:
        module, name = _FAMILIES[provider]
    except KeyError:
        raise UnknownProviderError(provider) from None
    made: Family = getattr(import_module(module), name)()
    return made
