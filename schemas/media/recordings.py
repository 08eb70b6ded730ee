"""Owns a recording's length as its own bytes state it: a bound that a decoder must obey, and the likely one."""

from typing import Final

from msgspec import Struct

from schemas.media.encoded import first_bytes, size_bytes

MP3_BYTES_PER_S_MIN: Final = 1_000  # 8 kbit/s, the lowest rate that a frame can name
_STRETCH_BYTES: Final = 6_144  # holds so many frames of any MP3
_FRAMES_SEEN: Final = 4  # frames of an MP3 that must follow one another; a shorter one must end with a frame
_CHUNKS_MAX: Final = 64
# Samples of a fixed size: PCM, floating point, A-law and mu-law. A compressed one may be of any length.
_FIXED: Final = frozenset((1, 3, 6, 7))
_EXTENSIBLE: Final = 0xFFFE
# kbit/s by version and layer; the rates of version 2 serve 2.5, too.
_RATES: Final = {
    (1, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (2, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_SAMPLES: Final = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}


class Length(Struct, frozen=True):
    """Seconds of a recording, rounded up."""

    most_s: int
    likely_s: int


def recording_length(data: str, start: int) -> Length | None:
    """The length of a WAV or MP3 whose base64 begins at `start`; None if nothing in it bounds that."""
    head = first_bytes(data, start, _STRETCH_BYTES)
    whole = size_bytes(data, start)
    if head.startswith(b"RIFF") and head[8:12] == b"WAVE":
        return _wav(head, whole)
    tag = _tag_bytes(head)
    if tag >= len(head) and tag:  # a picture may stand in the tag: what it hides is looked at behind it
        aligned = tag - tag % 3
        head, tag = first_bytes(data, start + aligned // 3 * 4, _STRETCH_BYTES), tag % 3
    return _mp3(head[tag:], whole)


def _wav(head: bytes, whole: int) -> Length | None:
    """By all bytes that there are, at the slower of the rate that is stated and the one that the format makes."""
    slowest = 0
    at = 12
    for _ in range(_CHUNKS_MAX):
        kind, length, begin = head[at : at + 4], _little(head, at + 4, 4), at + 8
        if kind == b"data":
            break
        if kind == b"fmt ":
            rate = _bytes_per_s(head[begin : begin + min(length, 40)])
            if not rate:
                return None
            slowest = min(slowest or rate, rate)
        if len(head) < begin:
            return None
        at = begin + length + (length & 1)
    else:
        return None
    if not slowest:
        return None
    seconds = -(-whole // slowest)
    return Length(seconds, seconds)


def _bytes_per_s(form: bytes) -> int:
    """Bytes a second by a WAV's format; 0 if its samples have no fixed size."""
    if len(form) < 16:
        return 0
    code, channels, rate = _little(form, 0, 2), _little(form, 2, 2), _little(form, 4, 4)
    if code == _EXTENSIBLE and len(form) >= 26:
        code = _little(form, 24, 2)
    if code not in _FIXED:
        return 0
    stated, block = _little(form, 8, 4), _little(form, 12, 2)
    sample_bytes = _little(form, 14, 2) // 8
    return min(stated, rate * block, rate * channels * sample_bytes)


def _mp3(frames: bytes, whole: int) -> Length | None:
    """At the lowest rate that a frame can name; likely at the first frame's."""
    at = likely = 0
    for _ in range(_FRAMES_SEEN):
        bytes_per_s, frame_bytes = _frame(frames[at : at + 4])
        if not frame_bytes:
            return None
        likely = likely or bytes_per_s
        at += frame_bytes
        if at + 4 > len(frames):
            break
    return Length(-(-whole // MP3_BYTES_PER_S_MIN), -(-whole // likely))


def _frame(head: bytes) -> tuple[int, int]:
    """Bytes a second and the size in bytes of a frame of layer II or III; zeros for anything else, a free rate too."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return 0, 0
    version, layer = head[1] >> 3 & 3, 4 - (head[1] >> 1 & 3)
    rates = _RATES.get((1 if version == 3 else 2, layer))
    rate, sampling = head[2] >> 4, head[2] >> 2 & 3
    if rates is None or version == 1 or not 0 < rate < 15 or sampling == 3:
        return 0, 0
    samples = 576 if layer == 3 and version != 3 else 1_152
    bytes_per_s = rates[rate - 1] * 125
    return bytes_per_s, samples * bytes_per_s // _SAMPLES[version][sampling] + (head[2] >> 1 & 1)


def _tag_bytes(head: bytes) -> int:
    """The size of an ID3 tag before the first frame; 0 for none."""
    if not head.startswith(b"ID3") or len(head) < 10 or any(byte & 0x80 for byte in head[6:10]):
        return 0
    size = 0
    for byte in head[6:10]:
        size = size << 7 | byte
    return 10 + size + (10 if head[5] & 0x10 else 0)


def _little(data: bytes, at: int, count: int) -> int:
    return int.from_bytes(data[at : at + count], "little")
