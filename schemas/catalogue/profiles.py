"""Owns the profiles that presets name: what a model is taken to do by its upstream id, and whether its pictures are bounded."""

from collections.abc import Callable
from typing import Final

from msgspec import Struct, structs

from schemas.catalogue.anthropic import anthropic_capabilities, bounds_claude_pictures
from schemas.catalogue.bedrock import bedrock_capabilities, bounds_bedrock_pictures
from schemas.catalogue.builtin import SANDBOX_CAPABILITIES
from schemas.catalogue.gemini import bounds_gemini_pictures, gemini_capabilities
from schemas.catalogue.model import Capabilities
from schemas.catalogue.openai import openai_capabilities

# The dearest picture that a known model bills: 30,000 patches at a factor of 1.62.
PICTURE_TOKENS_MAX: Final = 48_600


class _Profile(Struct, frozen=True, kw_only=True):
    capabilities: Callable[[str], Capabilities]
    bounds_pictures: Callable[[str], bool]  # whether the most tokens of a picture are known for this id


_PROFILES: Final = {
    "openai": _Profile(capabilities=openai_capabilities, bounds_pictures=lambda _: False),
    "anthropic": _Profile(capabilities=anthropic_capabilities, bounds_pictures=bounds_claude_pictures),
    "gemini": _Profile(capabilities=gemini_capabilities, bounds_pictures=bounds_gemini_pictures),
    "bedrock": _Profile(capabilities=bedrock_capabilities, bounds_pictures=bounds_bedrock_pictures),
    "sandbox": _Profile(capabilities=lambda _: SANDBOX_CAPABILITIES, bounds_pictures=lambda _: False),
}
PROFILES: Final = tuple(_PROFILES)


def profiled(profile: str, upstream: str) -> Capabilities:
    """What a model can do by one of PROFILES. It takes no pictures where nothing bounds one: a hold would be a guess."""
    found = _PROFILES[profile]
    able = found.capabilities(upstream)
    if found.bounds_pictures(upstream):
        return able
    return structs.replace(able, images=False, image_tokens_max=0)
