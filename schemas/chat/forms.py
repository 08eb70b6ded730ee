"""Owns which names the objects inside a chat request, or a legacy completion, may have: lists, by the field they stand in.

`None` is any value: it is priced by its bytes, and whatever is in it is text to every server.
"""

from typing import Final

from schemas.chat.sieve import Inner, Names, Typed

MARK: Final[Names] = {"type": None, "ttl": None}
BREAKPOINT: Final[Names] = {"mode": None, "ttl": None}
CACHE_OPTIONS: Final[Names] = {"mode": None, "ttl": None}
USAGE: Final[Names] = {"include": None}  # the gateway's own: it goes nowhere
STREAM_OPTIONS: Final[Names] = {"include_usage": None, "include_obfuscation": None}

_MARKS: Final[dict[str, Inner]] = {"cache_control": MARK, "prompt_cache_breakpoint": BREAKPOINT}
_UNTYPED: Final[dict[str, Inner]] = {"type": None, "text": None} | _MARKS
_PART: Final = Typed(
    {
        "text": _UNTYPED,
        "refusal": {"type": None, "refusal": None},
        "image_url": {"type": None, "image_url": {"url": None, "detail": None}} | _MARKS,
        "input_audio": {"type": None, "input_audio": {"data": None, "format": None}} | _MARKS,
        "file": {"type": None, "file": {"file_data": None, "file_id": None, "filename": None}} | _MARKS,
        "thinking": {"type": None, "thinking": [_UNTYPED], "signature": None},  # of a history at Mistral
    },
    _UNTYPED,
)
_FUNCTION_CALL: Final[Names] = {"name": None, "arguments": None}
# What Gemini's models want back of their reasoning, behind OpenAI's protocol.
_EXTRA_CONTENT: Final[Names] = {"google": {"thought": None, "thought_signature": None}}
_CALL: Final[Names] = {
    "id": None,
    "type": None,
    "function": _FUNCTION_CALL,
    "custom": {"name": None, "input": None},
    "extra_content": _EXTRA_CONTENT,
}
_MESSAGE: Final[Names] = {
    "role": None,
    "content": [_PART],
    "name": None,
    "refusal": None,
    "tool_calls": [_CALL],
    "tool_call_id": None,
    "function_call": _FUNCTION_CALL,
    "audio": {"id": None},
    "cache_control": MARK,
    "annotations": None,
    # What servers of open models say of their reasoning, and some want back; and how they are told to go on with a text.
    "reasoning": None,
    "reasoning_content": None,
    "reasoning_details": None,
    "extra_content": _EXTRA_CONTENT,
    "partial": None,
    "prefix": None,
}
_NAMED: Final[Names] = {"name": None}
_CHOSEN: Final[dict[str, Inner]] = {"type": None, "function": _NAMED, "custom": _NAMED}
_TOOL: Final[Names] = {
    "type": None,
    "function": {"name": None, "description": None, "parameters": None, "strict": None},
    "custom": {
        "name": None,
        "description": None,
        "format": {
            "type": None,
            "grammar": {"definition": None, "syntax": None},
            "definition": None,
            "syntax": None,
        },
    },
    "cache_control": MARK,
}

CHAT_FORMS: Final[Names] = {
    "messages": [_MESSAGE],
    "tools": [_TOOL],
    "tool_choice": _CHOSEN | {"name": None, "allowed_tools": {"mode": None, "tools": [_CHOSEN]}},
    "functions": [{"name": None, "description": None, "parameters": None}],
    "function_call": _NAMED,
    # Beside OpenAI's forms of an answer those of other servers: a schema, a grammar or a pattern.
    "response_format": {
        "type": None,
        "json_schema": {"name": None, "description": None, "schema": None, "strict": None},
        "schema": None,
        "grammar": None,
        "pattern": None,
        "value": None,
    },
    "stream_options": STREAM_OPTIONS,
    "usage": USAGE,
    "audio": {"format": None, "voice": {"id": None}},
    "prediction": {
        "type": None,
        "content": [{"type": None, "text": None, "prompt_cache_breakpoint": BREAKPOINT}],
    },
    "prompt_cache_options": CACHE_OPTIONS,
    "cache_control": MARK,
    "moderation": {"model": None, "policy": {"input": {"mode": None}, "output": {"mode": None}}},
}
COMPLETION_FORMS: Final[Names] = {"stream_options": STREAM_OPTIONS, "usage": USAGE}
EMBEDDING_FORMS: Final[Names] = {"usage": USAGE}
