"""Owns an encoder of AWS event streams for tests: written from the format, not from the decoder under test."""

import json
import struct
from typing import Any
from zlib import crc32


def encode_headers(headers: dict[str, str]) -> bytes:
    """String headers: name length, name, type 7, value length, value."""
    out = b""
    for name, value in headers.items():
        raw_name, raw_value = name.encode(), value.encode()
        out += bytes([len(raw_name)]) + raw_name + b"\x07" + struct.pack(">H", len(raw_value)) + raw_value
    return out


def encode_frame(headers: dict[str, str], payload: bytes) -> bytes:
    """One message with both of its checksums."""
    raw = encode_headers(headers)
    lengths = struct.pack(">II", len(raw) + len(payload) + 16, len(raw))
    message = lengths + struct.pack(">I", crc32(lengths)) + raw + payload
    return message + struct.pack(">I", crc32(message))


def event(name: str, body: dict[str, Any]) -> bytes:
    """An event, as Bedrock sends it."""
    headers = {":event-type": name, ":content-type": "application/json", ":message-type": "event"}
    return encode_frame(headers, json.dumps(body, separators=(",", ":")).encode())


def exception(name: str, message: str, **more: Any) -> bytes:
    """A modelled exception inside a stream, as Bedrock sends it."""
    headers = {":exception-type": name, ":content-type": "application/json", ":message-type": "exception"}
    return encode_frame(headers, json.dumps({"message": message, **more}, separators=(",", ":")).encode())


def error(code: str, message: str) -> bytes:
    """An unmodelled error inside a stream."""
    return encode_frame({":error-code": code, ":error-message": message, ":message-type": "error"}, b"")
