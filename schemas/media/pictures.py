"""Owns a picture's size as its own bytes state it: only what a decoder must obey counts, and the larger of two sizes."""

from typing import Final

from schemas.media.encoded import HEAD_BYTES_MAX, STRETCH_BYTES, first_bytes

Size = tuple[int, int]  # width and height in pixels, both above 0

_PNG: Final = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"
_CHUNKS_MAX: Final = 64  # of a PNG or WebP before its picture
_SEGMENTS_MAX: Final = 1_024  # of a JPEG before its scan, and bytes of filling
_BLOCKS_MAX: Final = 1_024  # of a GIF before its first frame: twice what HEAD_BYTES_MAX are in full blocks
# Frames of a JPEG; the three codes between them are tables and extensions.
_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_BARE: Final = frozenset((0x01, *range(0xD0, 0xD8)))  # markers without a length
# Whatever a second picture, a late height or a hierarchy makes of the first frame is not to be relied on.
_UNRELIABLE: Final = frozenset((0xD8, 0xD9, 0xDC, 0xDE, 0xDF))
_SCAN: Final = 0xDA


def picture_size(data: str, start: int) -> Size | None:
    """The size of a PNG, GIF, WebP or JPEG whose base64 begins at `start`; None if it cannot be read.

    At most HEAD_BYTES_MAX are looked at, and of most files STRETCH_BYTES.
    """
    count = STRETCH_BYTES
    while True:
        head = first_bytes(data, start, count)
        size = _size(head)
        if size is not None or len(head) < count or count >= HEAD_BYTES_MAX:
            return size
        count = min(count * 8, HEAD_BYTES_MAX)


def _size(head: bytes) -> Size | None:
    if head.startswith(_PNG):
        found = _png(head)
    elif head.startswith(b"\xff\xd8"):
        found = _jpeg(head)
    elif head.startswith((b"GIF87a", b"GIF89a")):
        found = _gif(head)
    elif head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        found = _webp(head)
    else:
        return None
    return found if min(found) > 0 else None


def _png(head: bytes) -> Size:
    """By chunk, up to the picture's data: some decoders obey a second header."""
    width = height = 0
    at = 8
    for _ in range(_CHUNKS_MAX):
        length, kind, begin = int.from_bytes(head[at : at + 4]), head[at + 4 : at + 8], at + 8
        if kind == b"IDAT":
            return width, height
        if len(head) < begin + 8:
            return 0, 0
        if kind == b"IHDR":
            stated = int.from_bytes(head[begin : begin + 4]), int.from_bytes(head[begin + 4 : begin + 8])
            if min(stated) == 0:
                return 0, 0
            width, height = max(width, stated[0]), max(height, stated[1])
        at = begin + length + 4
    return 0, 0


def _jpeg(head: bytes) -> Size:
    """By segment, up to the scan: what stands in a segment is not the picture's."""
    width = height = 0
    at = 2
    for _ in range(_SEGMENTS_MAX):
        if head[at : at + 2] == b"\xff\xff":  # filling
            at += 1
            continue
        if len(head) < at + 4 or head[at] != 0xFF:
            return 0, 0
        marker = head[at + 1]
        if marker in _BARE:
            at += 2
            continue
        if marker == _SCAN:
            return width, height
        length = int.from_bytes(head[at + 2 : at + 4])
        if marker in _UNRELIABLE or marker < 0xC0 or length < 2:
            return 0, 0
        if marker in _FRAMES:
            if len(head) < at + 9:
                return 0, 0
            stated = int.from_bytes(head[at + 7 : at + 9]), int.from_bytes(head[at + 5 : at + 7])
            if min(stated) == 0:  # its height comes after the scan
                return 0, 0
            width, height = max(width, stated[0]), max(height, stated[1])
        at += 2 + length
    return 0, 0


def _gif(head: bytes) -> Size:
    """The screen, or the first frame where that reaches beyond it."""
    if len(head) < 13:
        return 0, 0
    width, height = _little(head, 6, 2), _little(head, 8, 2)
    at = 13 + (3 << ((head[10] & 7) + 1) if head[10] & 0x80 else 0)
    extended = False  # whether what stands here is a block of an extension
    for _ in range(_BLOCKS_MAX):
        if extended:
            extended = at < len(head) and head[at] > 0
            at += head[at] + 1 if extended else 1
        elif head[at : at + 1] == b"!":
            at, extended = at + 2, True
        else:
            break
    if extended or head[at : at + 1] != b"," or len(head) < at + 9:
        return 0, 0
    right = _little(head, at + 1, 2) + _little(head, at + 5, 2)
    bottom = _little(head, at + 3, 2) + _little(head, at + 7, 2)
    return max(width, right), max(height, bottom)


def _webp(head: bytes) -> Size:
    """The canvas and the first picture on it, whichever is larger."""
    width = height = 0
    at = 12
    for _ in range(_CHUNKS_MAX):
        kind, length, begin = head[at : at + 4], _little(head, at + 4, 4), at + 8
        if len(head) < begin + 10:
            return 0, 0
        if kind == b"VP8X":
            stated = _little(head, begin + 4, 3) + 1, _little(head, begin + 7, 3) + 1
        elif kind == b"ANMF":
            stated = _little(head, begin + 6, 3) + 1, _little(head, begin + 9, 3) + 1
        elif kind == b"VP8L":
            bits = _little(head, begin + 1, 4)
            stated = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
            if head[begin] != 0x2F:
                return 0, 0
        elif kind == b"VP8 ":
            stated = _little(head, begin + 6, 2) & 0x3FFF, _little(head, begin + 8, 2) & 0x3FFF
            if head[begin + 3 : begin + 6] != b"\x9d\x01\x2a" or min(stated) == 0:
                return 0, 0
        else:
            stated = 0, 0
        width, height = max(width, stated[0]), max(height, stated[1])
        if kind in (b"VP8 ", b"VP8L"):
            return width, height
        at = begin + (16 if kind == b"ANMF" else length + (length & 1))  # a frame's own picture stands inside
    return 0, 0


def _little(head: bytes, at: int, count: int) -> int:
    return int.from_bytes(head[at : at + count], "little")
