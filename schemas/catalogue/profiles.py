"""Owns the profiles that presets name: what a model is taken to do by its upstream id."""

from collections.abc import Callable
from typing import Final

from schemas.catalogue.anthropic import anthropic_capabilities
from schemas.catalogue.bedrock import bedrock_capabilities
from schemas.catalogue.builtin import SANDBOX_CAPABILITIES
from schemas.catalogue.gemini import gemini_capabilities
from schemas.catalogue.model import Capabilities
from schemas.catalogue.openai import openai_capabilities

_PROFILES: Final[dict[str, Callable[[str], Capabilities]]] = {
    "openai": openai_capabilities,
    "anthropic": anthropic_capabilities,
    "gemini": gemini_capabilities,
    "bedrock": bedrock_capabilities,
    "sandbox": lambda _: SANDBOX_CAPABILITIES,
}
PROFILES: Final = tuple(_PROFILES)


def profiled(profile: str, upstream: str) -> Capabilities:
    """What a model can do by one of PROFILES."""
    return _PROFILES[profile](upstream)
