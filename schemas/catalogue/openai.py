"""Owns what a model behind OpenAI's chat protocol is taken to do: what is not known of it, its server judges."""

from typing import Final

from msgspec import structs

from schemas.catalogue.model import Capabilities

GPT_4: Final = Capabilities(
    images=True,
    audio_in=False,
    files=False,
    remote_images=True,
    json_schema=True,
    json_object=True,
    n_max=128,
    logprobs=True,
    limit_field="max_tokens",
    overhead_tokens=64,
    image_tokens_max=1_500,
)
GPT_4O_MINI: Final = structs.replace(GPT_4, image_tokens_max=50_000)


def openai_capabilities(_upstream: str) -> Capabilities:
    """What a model can do; ids differ from vendor to vendor, so none says more than another."""
    return GPT_4
