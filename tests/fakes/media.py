"""Owns pictures, recordings and documents made in code: honest ones, and ones that say less of themselves than they are."""

import base64
import struct
import zlib
from collections.abc import Iterator

Size = tuple[int, int]


def data_url(data: bytes, media_type: str = "image/png") -> str:
    """Bytes as an inline URL."""
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


def chunk(kind: bytes, data: bytes) -> bytes:
    """One chunk of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def header(size: Size) -> bytes:
    """A PNG's IHDR."""
    return chunk(b"IHDR", struct.pack(">IIBBBBB", *size, 8, 2, 0, 0, 0))


def png(size: Size, *before: bytes, first: bytes | None = None) -> bytes:
    """A PNG of so many pixels, with chunks between its header and its data."""
    head = header(size) if first is None else first
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(before) + chunk(b"IDAT", bytes(2_000)) + chunk(b"IEND", b"")


def segment(marker: int, data: bytes) -> bytes:
    """One segment of a JPEG."""
    return bytes((0xFF, marker)) + struct.pack(">H", len(data) + 2) + data


def frame(size: Size, marker: int = 0xC0) -> bytes:
    """A JPEG's SOF."""
    return segment(marker, struct.pack(">BHHB", 8, size[1], size[0], 3) + bytes(9))


def jpeg(*segments: bytes) -> bytes:
    """A JPEG of these segments, up to and with a scan."""
    return b"\xff\xd8" + b"".join(segments) + segment(0xDA, bytes(10)) + bytes(2_000) + b"\xff\xd9"


def gif(screen: Size, *, at: Size = (0, 0), frame_size: Size | None = None, before: bytes = b"") -> bytes:
    """A GIF with a colour table of two, and one frame."""
    picture = b"," + struct.pack("<HHHHB", *at, *(frame_size or screen), 0) + b"\x02\x02\x4c\x01\x00"
    table = struct.pack("<HHBBB", *screen, 0x80, 0, 0) + bytes(6)
    return b"GIF89a" + table + before + picture + b";" + bytes(2_000)


def riff(kind: bytes, data: bytes) -> bytes:
    """One chunk of a RIFF."""
    return kind + struct.pack("<I", len(data)) + data + bytes(len(data) % 2)


def container(form: bytes, *chunks: bytes) -> bytes:
    """A RIFF."""
    data = form + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(data)) + data


def little24(number: int) -> bytes:
    """A number of three bytes."""
    return struct.pack("<I", number)[:3]


def vp8x(size: Size) -> bytes:
    """A WebP's canvas."""
    return riff(b"VP8X", bytes(4) + little24(size[0] - 1) + little24(size[1] - 1))


def vp8(size: Size) -> bytes:
    """A lossy picture of a WebP."""
    return riff(b"VP8 ", b"\x30\x01\x00\x9d\x01\x2a" + struct.pack("<HH", *size) + bytes(2_000))


def vp8l(size: Size) -> bytes:
    """A lossless picture of a WebP."""
    bits = (size[0] - 1) | (size[1] - 1) << 14
    return riff(b"VP8L", b"\x2f" + struct.pack("<I", bits) + bytes(2_000))


def anmf(size: Size, inner: bytes) -> bytes:
    """A frame of an animated WebP."""
    return riff(b"ANMF", bytes(6) + little24(size[0] - 1) + little24(size[1] - 1) + bytes(4) + inner)


def webp(*chunks: bytes) -> bytes:
    """A WebP."""
    return container(b"WEBP", *chunks)


def wav(
    seconds: float,
    *,
    rate: int = 8_000,
    channels: int = 1,
    bits: int = 16,
    code: int = 1,
    byte_rate: int | None = None,
    block: int | None = None,
    before: tuple[bytes, ...] = (),
    data_bytes: int | None = None,
) -> bytes:
    """A WAV of silence; `byte_rate`, `block` and `data_bytes` may say anything."""
    size = channels * bits // 8
    stated = rate * size if byte_rate is None else byte_rate
    form = struct.pack("<HHIIHH", code, channels, rate, stated, size if block is None else block, bits)
    sound = bytes(int(seconds * rate * size))
    said = len(sound) if data_bytes is None else data_bytes
    return container(b"WAVE", *before, riff(b"fmt ", form), b"data" + struct.pack("<I", said) + sound)


# Version 1 layer III 128 kbit/s 44.1 kHz; version 2.5 layer III 8 kbit/s 8 kHz: 576 samples in 72 bytes.
MP3_128 = b"\xff\xfb\x90\x00" + bytes(413)
MP3_8 = b"\xff\xe3\x18\xc0" + bytes(68)
MP3_FREE = b"\xff\xe3\x08\xc0" + bytes(9)  # no rate: as short as side information is


def id3(data: bytes) -> bytes:
    """An ID3 tag."""
    size = bytes((len(data) >> shift) & 0x7F for shift in (21, 14, 7, 0))
    return b"ID3\x04\x00\x00" + size + data


SMALL: Size = (16, 16)
LARGE: tuple[Size, ...] = ((3_000, 2_000), (900, 900), (1_600, 400), (2_576, 2_576), (5_000, 100))


def lying_pngs() -> Iterator[tuple[bytes, Size]]:
    """PNGs that show a small size first, with the size that a decoder may find."""
    small = header(SMALL)
    for large in LARGE:
        yield png(large, header(SMALL)), large
        yield png(SMALL, header(large)), large
        yield png(SMALL, chunk(b"tEXt", b"x" * 50), header(large)), large
        yield png(large, first=chunk(b"CgBI", b"\x50\x00\x20\x06") + header(large)), large
        yield png(large, first=chunk(b"tEXt", small) + header(large)), large
        yield (
            png(large, first=small[:-4] + b"\x00" + header(large)),
            large,
        )  # a header that is a byte too long
        yield png(SMALL, chunk(b"iCCP", bytes(400_000)), header(large)), large
        yield png(SMALL, *[chunk(b"tEXt", b"y")] * 100, header(large)), large


def lying_jpegs() -> Iterator[tuple[bytes, Size]]:
    """JPEGs that show a small size first."""
    thumbnail = jpeg(frame(SMALL))
    for large in LARGE:
        yield jpeg(segment(0xE1, b"Exif\0\0" + thumbnail), frame(large)), large
        yield jpeg(segment(0xE1, b"Exif\0\0" + thumbnail), segment(0xE2, bytes(60_000)), frame(large)), large
        yield jpeg(frame(SMALL), frame(large)), large
        yield jpeg(frame(SMALL, 0xC2), frame(large, 0xC1)), large
        yield jpeg(segment(0xFE, frame(SMALL)), frame(large, 0xC2)), large
        yield jpeg(segment(0xDE, bytes(15)), frame(SMALL), frame(large)), large
        yield jpeg(frame(SMALL), *[segment(0xE2, bytes(65_000))] * 8, frame(large)), large
        yield jpeg(frame((large[0], 0)), segment(0xDC, struct.pack(">H", large[1]))), large


def lying_gifs() -> Iterator[tuple[bytes, Size]]:
    """GIFs whose screen is small."""
    comment = b"!\xfe" + b"\x0a,\x00\x00\x00\x00\x01\x00\x01\x00" + b"\x01\x00" + b"\x00"
    for large in LARGE:
        half = large[0] // 2, large[1] // 2
        yield gif(SMALL, frame_size=large), large
        yield gif((0, 0), frame_size=large), large
        yield gif(SMALL, at=half, frame_size=half), (half[0] * 2, half[1] * 2)
        yield gif(SMALL, frame_size=large, before=comment), large
        yield gif(SMALL, frame_size=large, before=b"!\xf9\x04" + bytes(4) + b"\x00"), large
        yield (
            gif(SMALL, frame_size=large, before=b"!\xff" + (b"\xff" + bytes(255)) * 600 + b"\x00"),
            large,
        )
        yield gif((large[0], 1), frame_size=(1, large[1])), large
        yield b"GIF87a" + gif(SMALL, frame_size=large)[6:], large


def lying_webps() -> Iterator[tuple[bytes, Size]]:
    """WebPs whose canvas or first chunk is small."""
    for large in LARGE:
        yield webp(vp8x(SMALL), vp8(large)), large
        yield webp(vp8x(SMALL), vp8l(large)), large
        yield webp(vp8x(large), vp8(SMALL)), large
        yield webp(vp8x(SMALL), riff(b"ICCP", bytes(3_001)), vp8(large)), large
        yield webp(vp8x(SMALL), riff(b"ALPH", bytes(300_000)), vp8(large)), large
        yield webp(vp8x(SMALL), riff(b"ANIM", bytes(6)), anmf(large, vp8(SMALL))), large
        yield webp(vp8x(SMALL), riff(b"ANIM", bytes(6)), anmf(SMALL, vp8l(large))), large
        yield webp(riff(b"JUNK", vp8(SMALL)), vp8(large)), large


def lying_wavs() -> Iterator[tuple[bytes, float]]:
    """WAVs that say less than they last, with the seconds that a decoder may find."""
    for seconds in (3.0, 10.0, 31.5, 60.0, 120.0):
        slow = riff(b"fmt ", struct.pack("<HHIIHH", 1, 1, 1_000, 1_000, 1, 8))
        yield wav(seconds, byte_rate=10**9), seconds
        yield wav(seconds, block=4_000), seconds
        yield wav(seconds, byte_rate=10**9, block=60_000), seconds
        yield wav(seconds, data_bytes=10), seconds
        yield wav(seconds, data_bytes=0), seconds
        yield wav(seconds, before=(riff(b"LIST", bytes(300)),), byte_rate=10**8), seconds
        yield wav(seconds, code=0x11, rate=32_000, bits=8), seconds * 400  # compressed: any length
        yield wav(seconds, before=(slow,)), seconds * 16


def lying_mp3s() -> Iterator[tuple[bytes, float]]:
    """MP3s that last longer than their first frames let one think."""
    for count in (100, 400, 1_000, 2_000, 5_000):
        yield MP3_8 * count, count * 0.072
        yield MP3_128 * 4 + MP3_8 * count, count * 0.072
        yield id3(bytes(200)) + MP3_8 * count, count * 0.072
        yield id3(bytes(90_000)) + MP3_8 * count, count * 0.072
        yield MP3_FREE * count, count * 0.072
        yield id3(MP3_128 * 4) + MP3_FREE * count, count * 0.072
        yield b"fLaC" + bytes(count * 14), count * 8.0
        yield MP3_128 + b"OggS" + bytes(count * 14), count * 8.0
