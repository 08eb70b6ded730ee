"""Owns the profiles that presets name: what a model is taken to do by its upstream id, and whether that is a guess."""

from collections.abc import Callable
from typing import Final

from msgspec import Struct, structs

from schemas.catalogue.anthropic import anthropic_capabilities, knows_claude
from schemas.catalogue.bedrock import bedrock_capabilities, knows_bedrock
from schemas.catalogue.builtin import SANDBOX_CAPABILITIES
from schemas.catalogue.gemini import gemini_capabilities, knows_gemini
from schemas.catalogue.model import Capabilities
from schemas.catalogue.openai import COMPATIBLE_MODEL, knows_openai, openai_capabilities
from schemas.catalogue.vectors import OVERHEAD_TOKENS, vectors_of

# The dearest picture that a known model bills: 30,000 patches at a factor of 1.62.
PICTURE_TOKENS_MAX: Final = 48_600

COMPATIBLE_PROFILE: Final = (
    "compatible"  # a vendor that speaks OpenAI's protocol: its server knows its models
)


class _Profile(Struct, frozen=True, kw_only=True):
    capabilities: Callable[[str], Capabilities]
    knows: Callable[[str], bool]  # whether they are this very model's


_PROFILES: Final = {
    "openai": _Profile(capabilities=openai_capabilities, knows=knows_openai),
    "anthropic": _Profile(capabilities=anthropic_capabilities, knows=knows_claude),
    "gemini": _Profile(capabilities=gemini_capabilities, knows=knows_gemini),
    "bedrock": _Profile(capabilities=bedrock_capabilities, knows=knows_bedrock),
    COMPATIBLE_PROFILE: _Profile(capabilities=lambda _: COMPATIBLE_MODEL, knows=lambda _: True),
    "sandbox": _Profile(capabilities=lambda _: SANDBOX_CAPABILITIES, knows=lambda _: True),
}
PROFILES: Final = tuple(_PROFILES)


def profiled(profile: str, upstream: str) -> Capabilities:
    """What a model can do by one of PROFILES.

    A guess takes no pictures, because nothing bounds one; its files and recordings hold the window, which bounds all.
    """
    if (vectors := vectors_of(upstream)) is not None:
        return Capabilities(
            chat=False, stream=False, tools=False, embeddings=vectors, overhead_tokens=OVERHEAD_TOKENS
        )
    found = _PROFILES[profile]
    able = found.capabilities(upstream)
    if found.knows(upstream):
        return able
    return structs.replace(
        able, guessed=True, images=False, pictures=None, image_tokens_max=0, audio_tokens_per_s=0
    )
