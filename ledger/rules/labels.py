"""Owns what operators may note on a key or an organisation: short texts by name."""

import msgspec

LABELS_MAX = 20
NAME_CHARS_MAX = 40
TEXT_CHARS_MAX = 500
NONE = "{}"
_decode = msgspec.json.Decoder(dict[str, str]).decode
_encode = msgspec.json.Encoder().encode


def read(labels: str) -> dict[str, str]:
    """Labels as they are shown."""
    return _decode(labels or NONE)


def column(labels: str) -> str:
    """Labels as their column has them: always written alike."""
    return _encode(read(labels)).decode()


def problem(labels: str | None) -> str:
    """Why these cannot stand; empty if they can. None is no word of it."""
    try:
        told = read(labels or NONE)
    except msgspec.MsgspecError:
        return "metadata is an object of texts"
    if len(told) > LABELS_MAX or any(
        len(name) > NAME_CHARS_MAX or len(text) > TEXT_CHARS_MAX or "\x00" in name + text
        for name, text in told.items()
    ):
        return (
            f"metadata has at most {LABELS_MAX} texts, of {TEXT_CHARS_MAX} characters under {NAME_CHARS_MAX}"
        )
    return ""
