"""Owns the table of provider families: adding one is its module, a line here, and its name in `schemas`."""

from importlib import import_module

from workers.providers.base import Family

# Modules are imported only by pools that need them: botocore alone costs 40 MB and half a second.
_FAMILIES = {  # those of `schemas.catalogue.families`, in its order
    "openai": ("workers.providers.openai.family", "OpenAI"),
    "anthropic": ("workers.providers.anthropic.family", "Anthropic"),
    "gemini": ("workers.providers.gemini.family", "Gemini"),
    "bedrock": ("workers.providers.bedrock.family", "Bedrock"),
    "sandbox": ("workers.providers.sandbox.family", "Sandbox"),
}


class UnknownProviderError(Exception):
    """There is no such family."""


def family(name: str) -> Family:
    """A new instance of a family, chosen by its name. Raises UnknownProviderError."""
    try:
        module, kind = _FAMILIES[name]
    except KeyError:
        raise UnknownProviderError(name) from None
    made: Family = getattr(import_module(module), kind)()
    return made
