"""Files that understate themselves, and what a hold counts for them."""

import base64
import itertools

import pytest

from schemas.asked import NOTHING_SEEN
from schemas.catalogue.profiles import profiled
from schemas.chat.counted import picture, recording
from schemas.media.pictures import picture_size
from schemas.media.recordings import recording_length
from tests.fakes import media
from tests.fakes.media import data_url

START = len("data:image/png;base64,")
PICTURES = {
    "png": media.lying_pngs,
    "jpeg": media.lying_jpegs,
    "gif": media.lying_gifs,
    "webp": media.lying_webps,
}
SOUNDS = {"wav": media.lying_wavs, "mp3": media.lying_mp3s}
SEEING = [
    profiled("openai", "gpt-4o"),
    profiled("openai", "gpt-6.1-sol"),
    profiled("anthropic", "claude-sonnet-4-6"),
    profiled("anthropic", "claude-opus-5-5"),
    profiled("gemini", "gemini-2.5-flash"),
]


@pytest.mark.parametrize("kind", PICTURES)
def test_forty_pictures_never_get_under_their_hold(kind):
    """A picture that states a smaller size first holds at least what its larger size costs, for every formula."""
    crafted = list(PICTURES[kind]())
    assert len(crafted) >= 40
    for number, (data, size) in enumerate(crafted):
        for able in SEEING:
            found = picture(able, NOTHING_SEEN, data_url(data), START, None)
            assert found.most >= able.pictures.tokens(*size, None), (
                number,
                size,
                picture_size(data_url(data), START),
            )


@pytest.mark.parametrize("kind", SOUNDS)
def test_forty_recordings_never_get_under_their_hold(kind):
    """A recording that says less than it lasts holds at least what its length costs."""
    crafted = list(SOUNDS[kind]())
    assert len(crafted) >= 40
    for number, (data, seconds) in enumerate(crafted):
        for able in (profiled("gemini", "gemini-3.8-flash"), profiled("openai", "gpt-audio")):
            found = recording(able, NOTHING_SEEN, base64.b64encode(data).decode())
            assert found.most >= seconds * able.audio_tokens_per_s, (number, seconds)


def broken(text: str) -> list[str]:
    """Base64 that some readers take, each in another way."""
    return [
        " " + text,
        "\n" + text,
        "AAAA" + text,
        text[:8] + "\r\n" + text[8:],
        text[:2] + "=" + text[2:],
        "====" + text,
        text[:40] + "==" + text[40:],
        text[:16] + "\x00" + text[16:],
        text.replace("/", "_").replace("+", "-"),
        text[:4] + "\u00e9" + text[4:],
    ]


def test_base64_that_readers_differ_on_is_no_size():
    """Whatever shifts or hides bytes for one reader and not for another leaves the picture at the row's most."""
    able = SEEING[1]
    data = media.png((16, 16), media.chunk(b"tEXt", bytes(range(256)) * 2))
    whole = base64.b64encode(data).decode()
    assert picture_size(whole, 0) == (16, 16)
    for text in broken(whole):
        found = picture(able, NOTHING_SEEN, text, 0, None)
        assert found.most == able.image_tokens_max, text[:60]


def test_a_file_cut_anywhere_is_no_smaller():
    """Of a file that is cut at any byte either nothing is read, or all that counts."""
    for make in (media.lying_pngs, media.lying_jpegs, media.lying_gifs, media.lying_webps):
        for data, _ in itertools.islice(make(), 8):
            whole = picture_size(data_url(data), START)
            for cut in range(0, 260, 3):
                part = picture_size(data_url(data[:cut]), START)
                assert part is None or (whole is not None and part == whole), (data[:40], cut)


def test_what_a_picture_is_filled_with_is_walked_for_so_many_steps():
    """Filling and tiny blocks are followed a thousand times at most, and full blocks as far as is looked."""
    profile = b"!\xff" + (b"\xff" + bytes(255)) * 370 + b"\x00"
    for blocks, size in (
        (profile, (9, 9)),
        (b"!\xfe" + b"\x01a" * 1_100 + b"\x00", None),
        (b"!\xf9\x00" * 600, None),
    ):
        data = media.gif((9, 9), before=blocks)
        assert picture_size(base64.b64encode(data).decode(), 0) == size, blocks[:4]
    for filling, size in ((1, (9, 9)), (900, (9, 9)), (1_100, None)):
        data = media.jpeg(media.frame((9, 9)))
        data = data[:2] + b"\xff" * filling + data[2:]
        assert picture_size(base64.b64encode(data).decode(), 0) == size, filling


def test_honest_recordings_are_counted_by_their_length():
    """A WAV lasts as long as its samples do; an MP3 is bounded at the lowest rate, and estimated at its own."""
    for seconds, rate, channels, bits in itertools.product((3, 61), (8_000, 44_100), (1, 2), (8, 16, 24)):
        data = media.wav(seconds, rate=rate, channels=channels, bits=bits)
        found = recording_length(base64.b64encode(data).decode(), 0)
        assert found is not None
        assert seconds <= found.likely_s == found.most_s <= seconds + 1
    mp3 = base64.b64encode(media.id3(bytes(3_000)) + media.MP3_128 * 383).decode()  # ten seconds
    found = recording_length(mp3, 0)
    assert found is not None
    assert 10 <= found.likely_s <= 11
    assert found.most_s == -(-(383 * 417 + 3_010) // 1_000)


def test_a_short_clip_no_longer_holds_a_window():
    """Three seconds of speech for Gemini hold about a hundred tokens; what cannot be measured holds the window."""
    able = profiled("gemini", "gemini-3.8-flash")
    found = recording(able, NOTHING_SEEN, base64.b64encode(media.wav(3)).decode())
    assert (found.most, found.likely) == (141, 128)
    for data in (
        b"",
        b"OggS" + bytes(999),
        b"fLaC" + bytes(999),
        media.wav(3, code=0x55),
        b"RIFF\x00\x00\x00\x00WAVE",
    ):
        assert recording(able, NOTHING_SEEN, base64.b64encode(data).decode()).most == able.audio_tokens_max
