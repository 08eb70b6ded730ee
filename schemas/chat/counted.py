"""Owns what inline media counts in tokens: the most, which a hold covers, and the likely, for an estimate."""

from typing import Final

from msgspec import Struct

from schemas.asked import Seen
from schemas.bus.usage import estimate_tokens
from schemas.catalogue.media import PAGE_PX, with_margin
from schemas.catalogue.model import Capabilities
from schemas.media.pictures import picture_size
from schemas.media.recordings import recording_length

PAGE_TEXT_TOKENS_MAX: Final = 4_000  # beside its picture
PAGE_TEXT_TOKENS: Final = 750
REMOTE_PX: Final = (1_024, 1_024)  # what an estimate takes a picture behind a URL for


class Counted(Struct, frozen=True):
    """Tokens of one picture, file or recording."""

    most: int
    likely: int


NOTHING: Final = Counted(0, 0)


def picture(able: Capabilities, seen: Seen, url: str, start: int, detail: str | None) -> Counted:
    """A picture: by its size where a formula is known and the size can be read, else the most of the row.

    `start` is where its base64 begins in `url`; -1 for a picture that is not inline.
    """
    most = able.image_tokens_max
    if able.pictures is None:
        return Counted(most, most)
    size = picture_size(url, start) if start >= 0 else REMOTE_PX
    if size is None:
        return Counted(most, most)
    tokens = min(able.pictures.tokens(*size, detail), most)
    if start < 0 or seen.caps_only:
        return Counted(most, tokens)
    return Counted(min(with_margin(tokens), most), tokens)


def recording(able: Capabilities, seen: Seen, data: str) -> Counted:
    """A recording: by its length where the row has a rate and the length is bounded, else the most of the row."""
    most = able.audio_tokens_max
    length = recording_length(data, 0) if able.audio_tokens_per_s else None
    if length is None:
        return Counted(most, most)
    likely = min(length.likely_s * able.audio_tokens_per_s, most)
    if seen.caps_only:
        return Counted(most, likely)
    return Counted(min(with_margin(length.most_s * able.audio_tokens_per_s), most), likely)


def plain_text(able: Capabilities, count_bytes: int) -> Counted:
    """A file that is UTF-8, as is checked before a hold: no tokenizer makes more tokens of it than it has bytes."""
    most = able.file_tokens_max
    return Counted(min(with_margin(count_bytes), most), min(estimate_tokens(count_bytes), most))


def document(able: Capabilities, seen: Seen, param: str) -> Counted:
    """A PDF: by its pages where they were counted and each is drawn as a picture of a known bound, else the most."""
    most = able.file_tokens_max
    pages = seen.pages.get(param)
    if pages is None or not able.image_tokens_max:
        return Counted(most, most)
    drawn = able.image_tokens_max
    if able.pictures is not None:
        drawn = min(able.pictures.tokens(*PAGE_PX, None), drawn)
    likely = min(pages * (drawn + PAGE_TEXT_TOKENS), most)
    if seen.caps_only:
        return Counted(most, likely)
    return Counted(min(pages * (able.image_tokens_max + PAGE_TEXT_TOKENS_MAX), most), likely)
