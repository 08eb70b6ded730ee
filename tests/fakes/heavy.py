"""Owns bodies that are as dear to read as any: junk beyond a limit, and the most that every limit lets pass.

Each is made from how many bytes it may have. What is of no dialect in particular has the fields of all of them.
"""

from collections.abc import Callable

from schemas.shape import ARRAYS_MAX, ESCAPES_MAX, KEYS_MAX, OBJECTS_MAX, VALUES_MAX

MIB = 1 << 20
BODY_BYTES = 32 * MIB
_TEXT = b'{"role":"user","content":"x"}'
_PNG = b"iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJ"

Made = Callable[[int], bytes]


def _fields(*fields: bytes) -> bytes:
    return b'{"model":"%m",' + b",".join(fields) + b"}"


def _chat(content: bytes, *more: bytes) -> bytes:
    return _fields(b'"max_tokens":9', b'"messages":[{"role":"user","content":' + content + b"}]", *more)


def _many(unit: bytes, count: int) -> bytes:
    return b",".join([unit] * count)


def _numbered(unit: bytes, count: int) -> bytes:
    return b",".join(unit % number for number in range(count))


def _filled(unit: bytes) -> Made:
    """As many of a unit as fit, less what stands around them."""
    return lambda size: _many(unit, max((size - 400) // (len(unit) + 1), 1))


def _keys(count: int) -> bytes:
    return _numbered(b'"%x":1', count)


def _array(name: bytes, unit: bytes) -> Made:
    fill = _filled(unit)
    return lambda size: _fields(b'"%b":[%b]' % (name, fill(size)))


def _parts(unit: bytes) -> Made:
    fill = _filled(unit)
    return lambda size: _chat(b"[" + fill(size) + b"]")


def _schema(properties: bytes) -> bytes:
    schema = b'{"type":"object","properties":{%b}}' % properties
    tool = b'{"type":"function","name":"f","function":{"name":"f","parameters":%b}}' % schema
    return _chat(b'"x"', b'"input":"x"', b'"tools":[%b]' % tool)


# Far more of something than anybody sends.
JUNK: dict[str, Made] = {
    "prompt numbers": _array(b"prompt", b"1"),
    "prompt arrays": _array(b"prompt", b"[1]"),
    "prompt nothing": _array(b"prompt", b"[]"),
    "input numbers": _array(b"input", b"1"),
    "input objects": _array(b"input", b"{}"),
    "input texts": _array(b"input", b'"a"'),
    "messages": _array(b"messages", _TEXT),
    "empty messages": _array(b"messages", b"{}"),
    "parts": _parts(b'{"type":"text","text":"x"}'),
    "empty parts": _parts(b"{}"),
    "keys": lambda size: _fields(_keys(size // 9)),
    "the same key": lambda size: _fields(_filled(b'"a":1')(size)),
    "keys of metadata": lambda size: _chat(b'"x"', b'"metadata":{%b}' % _keys(size // 9)),
    "schema": lambda size: _schema(_filled(b'"p":{"type":"string"}')(size)),
    "nested arrays": lambda size: _fields(b'"messages":%b' % (b"[" * (size // 2) + b"]" * (size // 2))),
    "nested objects": lambda size: _fields(
        b'"messages":%b' % (b'{"a":' * (size // 6) + b"1" + b"}" * (size // 6))
    ),
    "escapes": lambda size: _chat(b'"' + b"\\u0041" * (size // 6) + b'"'),
    "halves": lambda size: _chat(b'"' + b"\\ud800" * (size // 6) + b'"'),
    "arguments": lambda size: _fields(
        b'"max_tokens":9',
        b'"messages":[%b,{"role":"assistant","tool_calls":[{"id":"a","type":"function","function":{"name":"f","arguments":'
        b'"{\\"a\\":[%b]}"}}]},{"role":"tool","tool_call_id":"a","content":"x"}]'
        % (_TEXT, _filled(b"{}")(size)),
    ),
    "arguments of an item": lambda size: _fields(
        b'"input":[{"type":"function_call","call_id":"a","name":"f","arguments":"{\\"a\\":[%b]}"},'
        b'{"type":"function_call_output","call_id":"a","output":"x"}]' % _filled(b"{}")(size)
    ),
    "a long number": lambda size: _fields(b'"max_tokens":' + b"9" * size),
    "a long name": lambda size: _fields(b'"' + b"k" * size + b'":1'),
    "broken off": lambda size: _fields(b'"messages":[%b' % _filled(_TEXT)(size))[:-1],
    "no text": lambda size: b"\xff" * size,
    "no object": lambda size: b" " * size,
}

_DEPTH = 900  # about the most that a decoder lets pass
_LEAST = 10  # of each limit are left for what stands around
_IDS = b"[" + _many(b"10000", 255) + b"]"
# The most of everything that passes, where it is dearest.
MOST: dict[str, Made] = {
    "keys": lambda size: _fields(_keys(KEYS_MAX - _LEAST)),
    "keys of a message": lambda size: _fields(
        b'"max_tokens":9,"messages":[{"role":"user","content":"\\u0041",%b}]' % _keys(KEYS_MAX - _LEAST)
    ),
    "keys of a part": lambda size: _chat(b'[{"type":"text","text":"\\u0041",%b}]' % _keys(KEYS_MAX - _LEAST)),
    "keys of a schema": lambda size: _schema(_numbered(b'"%d":{}', OBJECTS_MAX - _LEAST)),
    "ids": lambda size: _fields(b'"prompt":[%b]' % _many(b"100000", 1 << 19)),
    "ids of inputs": lambda size: _fields(b'"input":[%b]' % _many(_IDS, 2_048)),
    "nothings": lambda size: _fields(b'"prompt":[%b]' % _many(b"null", VALUES_MAX - _LEAST)),
    "texts": lambda size: _fields(b'"prompt":[%b]' % _many(b'"abcde"', VALUES_MAX - _LEAST)),
    "input texts": lambda size: _fields(b'"input":[%b]' % _many(b'"abcde"', VALUES_MAX - _LEAST)),
    "models": lambda size: b'{"models":[%b],"prompt":"x"}' % _many(b'"abcde"', VALUES_MAX - _LEAST),
    "arrays": lambda size: _fields(b'"prompt":[%b]' % _many(b"[1]", ARRAYS_MAX - _LEAST)),
    "messages": lambda size: _fields(
        b'"max_tokens":9,"messages":[%b]' % _many(_TEXT, KEYS_MAX // 2 - _LEAST)
    ),
    "empty messages": lambda size: _fields(
        b'"max_tokens":9,"messages":[%b]' % _many(b"{}", OBJECTS_MAX - _LEAST)
    ),
    "parts": lambda size: _chat(b"[%b]" % _many(b'{"type":"text","text":"\\u0041"}', KEYS_MAX // 2 - _LEAST)),
    "items": lambda size: _fields(b'"input":[%b]' % _many(_TEXT, KEYS_MAX // 2 - _LEAST)),
    "results": lambda size: _fields(
        b'"input":[{"type":"function_call","call_id":"a","name":"f","arguments":"{}"},'
        b'{"type":"function_call_output","call_id":"a","output":[%b]}]'
        % _many(b'{"type":"x"}', OBJECTS_MAX - _LEAST)
    ),
    "depth": lambda size: _fields(b'"messages":%b' % (b"[" * _DEPTH + b"]" * _DEPTH)),
    "escapes": lambda size: _chat(b'"' + b"\\u6f22" * (ESCAPES_MAX - _LEAST) + b'"'),
    "escapes of an input": lambda size: _fields(b'"input":"%b"' % (b"\\u0041" * (ESCAPES_MAX - _LEAST))),
    "spaces": lambda size: _fields(b'"prompt":' + b" " * size + b"[1]"),
    "text": lambda size: _chat(b'"' + "漢字".encode() * (size // 6) + b'"'),
    "pictographs": lambda size: _chat(b'"' + "😀".encode() * (size // 4) + b'"'),
    "instructions": lambda size: _chat(b'"x"', b'"system":"%b"' % (b"word " * (size // 5))),
    "a picture": lambda size: _chat(
        b'[{"type":"image_url","image_url":{"url":"data:image/png;base64,%b"}}]'
        % (_PNG + b"A" * (size // 4 * 4 - 4))
    ),
    "a picture of Anthropic's": lambda size: _chat(
        b'[{"type":"image","source":{"type":"base64","media_type":"image/png","data":"%b"}}]'
        % (_PNG + b"A" * (size // 4 * 4 - 4))
    ),
    "a picture of an item": lambda size: _fields(
        b'"input":[{"role":"user","content":[{"type":"input_image","image_url":"data:image/png;base64,%b"}]}]'
        % (_PNG + b"A" * (size // 4 * 4 - 4))
    ),
    "a picture with a long type": lambda size: _chat(
        b'[{"type":"image_url","image_url":{"url":"data:image/png%b"}}]' % (b";a=b" * (size // 4))
    ),
    "a recording": lambda size: _chat(
        b'[{"type":"input_audio","input_audio":{"format":"wav","data":"%b"}}]' % (b"A" * (size // 4 * 4))
    ),
    "a text file": lambda size: _chat(
        b'[{"type":"file","file":{"filename":"a.txt","file_data":"data:text/plain;base64,%b"}}]'
        % (b"YWJj" * (size // 4))
    ),
}


def body(made: Made, size: int, model: str = "m") -> bytes:
    """A body of about so many bytes for a model, never more than a gateway takes."""
    return made(min(size, BODY_BYTES - 1_024)).replace(b"%m", model.encode(), 1)
