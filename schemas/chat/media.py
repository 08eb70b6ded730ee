"""Owns what media inside a request is: data URLs, bare base64 with a file name, and their media types."""

import re
from typing import Final

from msgspec import Struct

from schemas.chat.request import FileData

PDF: Final = "application/pdf"
TEXT: Final = "text/plain"

_HEAD_CHARS_MAX: Final = 1_024  # of a data URL: its type and what is said of that
_DATA_URL = re.compile(r"data:([\w.+-]+/[\w.+-]+)(?:;[\w.-]+=[\w.+\"-]*)*;base64,", re.ASCII | re.IGNORECASE)
_ALIASES = {"image/jpg": "image/jpeg", "image/pjpeg": "image/jpeg", "audio/x-wav": "audio/wav"}
_ENDINGS = {
    "csv": "text/csv",
    "doc": "application/msword",
    "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "htm": "text/html",
    "html": "text/html",
    "json": "application/json",
    "md": "text/markdown",
    "pdf": PDF,
    "txt": TEXT,
    "xls": "application/vnd.ms-excel",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "xml": "text/xml",
}


class Media(Struct, frozen=True):
    """Inline media: its media type in lower case, common misspellings put right, and its base64 text."""

    media_type: str
    data: str


def data_url(url: str) -> Media | None:
    """What a base64 data URL holds; None if it is not one, or holds nothing."""
    found = _DATA_URL.match(url, 0, _HEAD_CHARS_MAX)
    if found is None or found.end() == len(url):
        return None
    media_type = found[1].lower()
    return Media(_ALIASES.get(media_type, media_type), url[found.end() :])


def base64_start(url: str) -> int:
    """Where the base64 of a data URL begins; -1 if it is no such URL."""
    found = _DATA_URL.match(url, 0, _HEAD_CHARS_MAX)
    return -1 if found is None else found.end()


def file_kind(file_data: str, filename: str) -> tuple[str, int]:
    """The media type of an inline file, and where its base64 begins; ("", -1) if nothing is certain of it.

    Of a PDF nothing is whose name says otherwise: not every server goes by the type.
    """
    named = _ENDINGS.get(filename.rpartition(".")[2].lower(), PDF)
    if file_data[:5].lower() != "data:":
        return named, 0
    found = _DATA_URL.match(file_data, 0, _HEAD_CHARS_MAX)
    if found is None or (found[1].lower() == PDF and named != PDF):
        return "", -1
    return found[1].lower(), found.end()


def file_media(file: FileData) -> Media | None:
    """What an inline file holds: a data URL, or bare base64 of the type that its name ends in (else a PDF)."""
    if not file.file_data:
        return None
    if file.file_data[:5].lower() == "data:":
        return data_url(file.file_data)
    ending = (file.filename or "").rpartition(".")[2].lower()
    return Media(_ENDINGS.get(ending, PDF), file.file_data)
