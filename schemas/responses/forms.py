"""Owns which names the objects inside a Responses request may have: lists, by the field they stand in.

`None` is any value: it is priced by its bytes, and whatever is in it is text to every server.
"""

from typing import Final

from schemas.chat.forms import BREAKPOINT, CACHE_OPTIONS, STREAM_OPTIONS, USAGE
from schemas.chat.sieve import Inner, Names, Typed
from schemas.responses.items import CALLS, HOSTED, OUTPUTS

_FORMAT: Final[Names] = {
    "type": None,
    "name": None,
    "description": None,
    "schema": None,
    "strict": None,
}
_TEXT: Final[dict[str, Inner]] = {
    "type": None,
    "text": None,
    "annotations": None,
    "logprobs": None,
    "prompt_cache_breakpoint": BREAKPOINT,
}
_BREAK: Final[dict[str, Inner]] = {"type": None, "detail": None, "prompt_cache_breakpoint": BREAKPOINT}
# Of a content, and of what a tool has answered.
_PART: Final = Typed(
    {
        **dict.fromkeys(("input_text", "output_text", "text", "summary_text", "reasoning_text"), _TEXT),
        "refusal": {"type": None, "refusal": None, "text": None},
        "input_image": _BREAK | {"image_url": None, "file_id": None},
        "input_file": _BREAK | {"file_data": None, "file_id": None, "file_url": None, "filename": None},
        "input_audio": _BREAK | {"input_audio": {"data": None, "format": None}},
    },
    # What a shell says has no type.
    {
        "type": None,
        "text": None,
        "stdout": None,
        "stderr": None,
        "outcome": {"type": None, "exit_code": None},
    },
)
_ENVIRONMENT: Final[Names] = {
    "type": None,
    "container_id": None,
    "skills": [{"name": None, "description": None, "path": None}],
}
_TOOL_FIELDS: Final[dict[str, Inner]] = {
    "type": None,
    "name": None,
    "description": None,
    "parameters": None,
    "strict": None,
    "format": {"type": None, "definition": None, "syntax": None},
    "environment": (_ENVIRONMENT,),
    "allowed_callers": None,
    "async": None,
    "defer_loading": None,
    "output_schema": None,
}
_TOOL: Final[Names] = _TOOL_FIELDS | {"tools": [_TOOL_FIELDS | {"tools": [_TOOL_FIELDS]}]}
_MESSAGE: Final[dict[str, Inner]] = {
    "type": None,
    "id": None,
    "role": None,
    "status": None,
    "phase": None,
    "content": [_PART],
}
# Of calls that run at the caller, and of what came of them.
_CALL: Final[dict[str, Inner]] = {
    "type": None,
    "id": None,
    "status": None,
    "call_id": None,
    "name": None,
    "namespace": None,
    "arguments": None,
    "input": None,
    "action": None,
    "operation": {"type": None, "path": None, "diff": None},
    "environment": (_ENVIRONMENT,),
    "caller": {"type": None, "caller_id": None},
    "async": None,
}
_OUTPUT: Final[dict[str, Inner]] = {
    "type": None,
    "id": None,
    "status": None,
    "call_id": None,
    "name": None,
    "namespace": None,
    "output": [_PART],
    "environment": (_ENVIRONMENT,),
    "max_output_length": None,
    "caller": {"type": None, "caller_id": None},
}
_OPAQUE: Final[dict[str, Inner]] = {"type": None, "id": None, "status": None, "encrypted_content": None}
# What a provider ran by itself: no upstream gets such an item.
_HOSTED: Final[Names] = dict.fromkeys(
    (
        "acknowledged_safety_checks",
        "action",
        "actions",
        "approval_request_id",
        "approve",
        "arguments",
        "call_id",
        "code",
        "container_id",
        "environment",
        "error",
        "execution",
        "fingerprint",
        "id",
        "name",
        "output",
        "outputs",
        "pending_safety_checks",
        "queries",
        "reason",
        "result",
        "results",
        "revised_prompt",
        "server_label",
        "status",
        "tools",
        "type",
    )
)
_ITEM: Final = Typed(
    {
        "message": _MESSAGE,
        "item_reference": {"type": None, "id": None},
        "reasoning": _OPAQUE
        | {"summary": [{"type": None, "text": None}], "content": [{"type": None, "text": None}]},
        "additional_tools": {"type": None, "id": None, "role": None, "tools": [_TOOL]},
        "compaction": _OPAQUE,
        "compaction_trigger": _OPAQUE,
        **dict.fromkeys(CALLS, _CALL),
        **dict.fromkeys(OUTPUTS, _OUTPUT),
        **dict.fromkeys(HOSTED, _HOSTED),
    },
    _MESSAGE,
)

FORMS: Final[Names] = {
    "input": [_ITEM],
    "tools": [_TOOL],
    "tool_choice": {
        "type": None,
        "name": None,
        "namespace": None,
        "mode": None,
        "server_label": None,
        "tools": [{"type": None, "name": None, "namespace": None, "server_label": None}],
    },
    "text": {"format": _FORMAT, "verbosity": None},
    "reasoning": {
        "effort": None,
        "summary": None,
        "generate_summary": None,
        "context": None,
        "mode": None,
    },
    "stream_options": STREAM_OPTIONS,
    "usage": USAGE,
    "prompt_cache_options": CACHE_OPTIONS,
}
