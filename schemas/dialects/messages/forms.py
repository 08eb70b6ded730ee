"""Owns which names the objects inside a Messages request may have: lists, by the field they stand in.

`None` is any value: it is priced by its bytes, and whatever is in it is text to the provider.
"""

from typing import Final

from schemas.chat.forms import MARK, USAGE
from schemas.chat.sieve import Inner, Names, Typed

_CALLER: Final[Names] = {"type": None, "tool_id": None}
_SOURCE: Final[dict[str, Inner]] = {
    "type": None,
    "media_type": None,
    "data": None,
    "url": None,
    "file_id": None,
}
# Of a type that is not listed: what a provider's own tool has answered goes back as it came.
_OTHER: Final[dict[str, Inner]] = {
    "type": None,
    "text": None,
    "cache_control": MARK,
    "citations": None,
    "context": None,
    "title": None,
    "source": _SOURCE,
    "id": None,
    "name": None,
    "input": None,
    "caller": _CALLER,
    "tool_use_id": None,
    "tool_name": None,
    "is_error": None,
    "thinking": None,
    "signature": None,
    "data": None,
    "file_id": None,
    "url": None,
    "encrypted_content": None,
    "encrypted_stdout": None,
    "encrypted_index": None,
    "error_code": None,
    "error_message": None,
    "file_type": None,
    "is_file_update": None,
    "lines": None,
    "new_lines": None,
    "new_start": None,
    "num_lines": None,
    "old_lines": None,
    "old_start": None,
    "page_age": None,
    "retrieved_at": None,
    "return_code": None,
    "server_name": None,
    "start_line": None,
    "state_changes": None,
    "stderr": None,
    "stdout": None,
    "stop_reason": None,
    "tabs": None,
    "tool_references": [{"type": None, "tool_name": None, "cache_control": MARK}],
    "total_lines": None,
}
_MARKED: Final[dict[str, Inner]] = {"type": None, "cache_control": MARK}
_RESULT: Final[dict[str, Inner]] = _MARKED | {"tool_use_id": None, "toolset_name": None, "is_error": None}
_FOUND: Final[dict[str, Inner]] = _MARKED | {"title": None, "source": None, "citations": None}
_BLOCK: Final = Typed(
    {
        "text": _MARKED | {"text": None, "citations": None},
        "image": _MARKED | {"source": _SOURCE},
        "document": _MARKED | {"source": _SOURCE, "title": None, "context": None, "citations": None},
        "search_result": _FOUND,
        "thinking": {"type": None, "thinking": None, "signature": None},
        "redacted_thinking": {"type": None, "data": None},
        "tool_use": _MARKED
        | {"id": None, "name": None, "toolset_name": None, "input": None, "caller": _CALLER},
        "tool_result": _RESULT,
        "tool_reference": _MARKED | {"tool_name": None},
    },
    _OTHER,
)
for _holder in (_OTHER, _SOURCE, _FOUND, _RESULT):  # blocks hold blocks
    _holder["content"] = (_BLOCK,)

_BOUNDED: Final[Names] = {"type": None, "value": None}
_EDIT: Final[Names] = {
    "type": None,
    "trigger": _BOUNDED,
    "keep": _BOUNDED,
    "clear_at_least": _BOUNDED,
    "clear_tool_inputs": None,
    "exclude_tools": None,
}
_TOOL: Final[Names] = {
    "type": None,
    "name": None,
    "description": None,
    "input_schema": None,
    "input_examples": None,
    "strict": None,
    "cache_control": MARK,
    "allowed_callers": None,
    "defer_loading": None,
    "eager_input_streaming": None,
    "max_characters": None,
    "display_height_px": None,
    "display_width_px": None,
    "display_number": None,
    "enable_zoom": None,
    "configs": None,
    "default_config": None,
}

FORMS: Final[Names] = {
    "messages": [{"role": None, "content": [_BLOCK]}],
    "system": [_BLOCK],
    "tools": [_TOOL],
    "tool_choice": {"type": None, "name": None, "disable_parallel_tool_use": None},
    "thinking": {"type": None, "budget_tokens": None, "display": None},
    "output_config": {
        "effort": None,
        "format": {"type": None, "schema": None},
        "task_budget": {"type": None, "total": None, "remaining": None},
    },
    "cache_control": MARK,
    "context_management": {"edits": [_EDIT]},
    "metadata": {"user_id": None},
    "usage": USAGE,
}
