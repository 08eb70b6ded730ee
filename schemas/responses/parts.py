"""Owns the parts of contents and of tools' outputs: which part of a chat message each becomes."""

from typing import Final

import msgspec
from msgspec import Raw

from schemas.chat.request import (
    AudioData,
    AudioPart,
    FileData,
    FilePart,
    ImagePart,
    ImageUrl,
    RefusalPart,
    TextPart,
)
from schemas.chat.request import Part as ChatPart
from schemas.chat.toolsets import absent
from schemas.json import UNREADABLE
from schemas.responses.reading import refuse_missing, refuse_unsupported, refuse_value, take
from schemas.responses.request import Part

Content = str | list[ChatPart]

_TEXTS: Final = frozenset(("input_text", "output_text", "text", "summary_text", "reasoning_text"))
_decode_content = msgspec.json.Decoder(str | list[Part]).decode
_decode_any = msgspec.json.decode


def content_of(raw: Raw, place: str) -> Content:
    """A content: a text, or its parts one by one. Raises RequestError 400."""
    content = take(_decode_content, raw, place)
    return content if isinstance(content, str) else _parts(content, place)


def spoken(content: Content) -> Content:
    """What a model said: one text, unless it refused."""
    if isinstance(content, str) or not all(isinstance(part, TextPart) for part in content):
        return content
    return "".join(part.text for part in content if isinstance(part, TextPart))


def heard(content: Content) -> Content:
    """What anybody else said: only a model refuses, so that a refusal is a text here."""
    return content if isinstance(content, str) else _heard(content)


def _heard(parts: list[ChatPart]) -> list[ChatPart]:
    return [TextPart(part.refusal) if isinstance(part, RefusalPart) else part for part in parts]


def joined_content(contents: list[Content]) -> Content:
    """The contents of one turn, none of them empty."""
    texts = [content for content in contents if isinstance(content, str)]
    if len(texts) == len(contents):
        return "\n".join(texts)
    return [part for content in contents for part in _as_parts(content)]


def output_of(output: Raw, place: str) -> tuple[str, list[ChatPart]]:
    """A result as text, and the pictures and files in it. What is neither a text nor parts is told as its JSON."""
    if absent(output):
        return "", []
    raw = bytes(output).strip()
    if raw.startswith(b'"'):
        return str(take(_decode_any, raw, place)), []
    if not raw.startswith(b"["):
        return raw.decode(), []
    kinds = take(_decode_any, raw, place)
    if not all(isinstance(one, dict) and isinstance(one.get("type"), str) for one in kinds):
        return raw.decode(), []  # what a shell has printed, in a shape of its own
    content = take(_decode_content, output, place)
    parts = _heard(_parts(content, place)) if isinstance(content, list) else []
    text = "\n".join(part.text for part in parts if isinstance(part, TextPart))
    return text, [part for part in parts if not isinstance(part, TextPart)]


def texts_of(content: Raw) -> str:
    """All text in a content; "" for what is none."""
    if absent(content):
        return ""
    try:
        decoded = _decode_content(content)
    except UNREADABLE:
        return ""
    if isinstance(decoded, str):
        return decoded
    return "\n".join(part.text for part in decoded if part.text)


def _as_parts(content: Content) -> list[ChatPart]:
    return [TextPart(content)] if isinstance(content, str) else content


def _parts(parts: list[Part], place: str) -> list[ChatPart]:
    return [_part(part, f"{place}[{index}]") for index, part in enumerate(parts)]


def _part(part: Part, place: str) -> ChatPart:
    if part.type in _TEXTS:
        if part.text is None:
            refuse_missing(f"{place}.text")
        return TextPart(part.text)
    if part.type == "refusal":
        return RefusalPart(part.refusal or part.text or "")
    return _media(part, place)


def _media(part: Part, place: str) -> ChatPart:
    """A part that is no text. Raises RequestError 400 for one of no known type, and for what is not inline."""
    if part.type is None:
        refuse_missing(f"{place}.type")
    for name in ("file_id", "file_url"):
        if getattr(part, name) is not None:
            why = "Only what is sent inline is taken: what is kept elsewhere cannot be bounded before it is paid for."
            refuse_unsupported(f"{place}.{name}", why)
    if part.type == "input_image":
        if not part.image_url:
            refuse_missing(f"{place}.image_url")
        return ImagePart(ImageUrl(part.image_url, part.detail))
    if part.type == "input_file":
        if not part.file_data:
            refuse_missing(f"{place}.file_data")
        return FilePart(FileData(file_data=part.file_data, filename=part.filename))
    if part.type != "input_audio":
        refuse_value(f"{place}.type", f"{part.type[:64]!r} is none that is known.")
    sound = part.input_audio or {}
    return AudioPart(AudioData(str(sound.get("data") or ""), str(sound.get("format") or "")))
