"""Owns which models speak the Responses dialect themselves: at OpenAI all but those made for chat alone."""

import re
from typing import Final

# They answer /v1/chat/completions only, whatever the age of their names.
_CHAT_ONLY: Final = re.compile(r"audio|search|instruct|realtime|davinci|babbage", re.IGNORECASE)


def speaks_responses(upstream: str) -> bool:
    """Whether a model that a server of Responses sells is one of them there."""
    return _CHAT_ONLY.search(upstream) is None
