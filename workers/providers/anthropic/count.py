"""Owns Anthropic's own count of a prompt: POST /v1/messages/count_tokens, which is free."""

from typing import Final

import msgspec
from msgspec import Raw

from workers.upstream.request import UpstreamRequest

# The members of a call that are its prompt, or change how that is counted; any other is refused there.
COUNTED: Final = frozenset(
    ("cache_control", "messages", "model", "output_config", "system", "thinking", "tool_choice", "tools")
)
COUNTED_OF_CALL: Final = COUNTED | {"context_management"}  # which goes with the beta that the call itself has

_encode: Final = msgspec.json.Encoder().encode
_decode_fields: Final = msgspec.json.Decoder(dict[str, Raw]).decode


def count_request(request: UpstreamRequest, counted: frozenset[str]) -> UpstreamRequest:
    """The question for a Messages call, with its account's own key and those of its members that are `counted`."""
    fields = {name: raw for name, raw in _decode_fields(request.body).items() if name in counted}
    headers = request.headers | {"accept": "application/json"}
    return UpstreamRequest("POST", f"{request.url}/count_tokens", headers, _encode(fields))
