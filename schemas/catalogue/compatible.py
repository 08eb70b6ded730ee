"""Owns what a model of a vendor that speaks OpenAI's protocol can do beyond text, where the catalogue says that it can."""

from typing import Final

from msgspec import structs

from schemas.catalogue.media import Patches
from schemas.catalogue.model import WINDOW_TOKENS, Capabilities

# No vendor says how it counts: each is held to count no more than this, and nothing but the window is the most.
PICTURES: Final = Patches(factor_permille=4_000, patches_max=WINDOW_TOKENS // 4, base_tokens=1_024)


def seeing(able: Capabilities, window_tokens: int) -> Capabilities:
    """A model that takes pictures, inline only: the size of one behind a URL bounds nothing before a hold."""
    return structs.replace(
        able, images=True, remote_images=False, pictures=PICTURES, image_tokens_max=window_tokens
    )
