"""Owns which part of an encoded body is text of its prompt, for estimates: all that is priced as text, in every dialect."""

import binascii
import re
from typing import Final

import msgspec
from msgspec import Raw

from schemas.bus.frames import Job
from schemas.bus.usage import estimate_tokens
from schemas.chat import parameters
from schemas.chat.request import CHAT, COMPLETIONS
from schemas.dialects.messages import fields as messages
from schemas.dialects.messages.request import MESSAGES
from schemas.estimates.sample import Sample, sampled
from schemas.estimates.starts import start_of
from schemas.estimates.table import RANDOM_CHAR
from schemas.estimates.weighed import tokens_of
from schemas.json import UNREADABLE
from schemas.responses import fields as responses
from schemas.responses.request import RESPONSES

_NO_PROMPT: Final = {
    CHAT: parameters.NO_PROMPT,
    COMPLETIONS: parameters.NO_PROMPT,
    RESPONSES: responses.NO_PROMPT,
    MESSAGES: messages.NO_PROMPT,
}
_TOKEN_IDS: Final = re.compile(rb"[\s\[]*\[\s*\d")
# Where the data of a picture, a file or a recording may stand.
_MEDIA_NAMES: Final = (b'"data"', b'"url"', b'"file_data"', b'"image_url"')
_VALUE: Final = re.compile(rb'\s*:\s*"')
_MEDIA_BYTES_MIN: Final = 128
_HEAD_BYTES: Final = 64  # of base64, by which it is known from text
_CHAR_BYTES_MAX: Final = 3  # of one that the head cuts
_BASE64: Final = re.compile(rb"(?:data:[^\",]{0,128},)?[A-Za-z0-9+/=_\\-]{64}")
_SLACK_BYTES: Final = 256  # by which two ways of counting the same text may differ

_decode = msgspec.json.Decoder(dict[str, Raw]).decode


def prompt_sample(job: Job) -> Sample:
    """A sample of the text of a job's prompt, without its media; the job must have its body.

    A body that cannot be read is weighed as dense text, of as many bytes as were priced.
    """
    try:
        fields = _decode(job.body)
    except UNREADABLE:
        return sampled([], job.request_id, job.text_bytes * RANDOM_CHAR)
    texts, ids = [], 0
    for name, value in fields.items():
        if name not in _NO_PROMPT[job.dialect] if job.dialect in _NO_PROMPT else name == "input":
            if _TOKEN_IDS.match(value):
                ids += bytes(value).count(b",") + 1
            else:
                texts.append(value)
    parts = [memoryview(text) for text in texts]
    if not job.media_tokens:
        return sampled(parts, job.request_id, ids)
    left = _Left()
    for text in texts:
        left.read(bytes(text))
    unaccounted_bytes = job.text_bytes - left.json_bytes
    # What stands under a medium's name and was priced as text is text, and as likely as not dense.
    dense_bytes = unaccounted_bytes if unaccounted_bytes > _SLACK_BYTES else 0
    more = ids + dense_bytes * RANDOM_CHAR - left.counted_tokens
    return sampled(left.parts, job.request_id, more)


def text_tokens(job: Job) -> int:
    """Tokens of a prompt's text, where nothing is known of its key; the job must have its body."""
    return tokens_of(prompt_sample(job), start_of(job.upstream).factor)


class _Left:
    """What is left of some JSON around the pictures, files and recordings in it."""

    def __init__(self) -> None:
        self.parts: list[memoryview] = []
        self.json_bytes = 0  # of what is left
        self.counted_tokens = 0  # of files of text: they are in `parts`, and among the job's media too

    def read(self, raw: bytes) -> None:
        """Takes one value in: its long strings of base64 under a medium's name are media."""
        view, start = memoryview(raw), 0
        for begins, ends in sorted(_strings(raw)):
            found = _BASE64.match(raw, begins)
            if found is None or begins < start:
                continue
            self._keep(view[start:begins])
            self._file(raw[found.end() - _HEAD_BYTES : ends])
            start = ends
        self._keep(view[start:])

    def _keep(self, part: memoryview) -> None:
        self.parts.append(part)
        self.json_bytes += part.nbytes

    def _file(self, encoded: bytes) -> None:
        """A file whose beginning is text is text."""
        try:
            read = binascii.a2b_base64(encoded[:_HEAD_BYTES])
        except binascii.Error:
            return
        head = read.decode(errors="ignore")
        if len(head.encode()) < len(read) - _CHAR_BYTES_MAX:
            return
        if not head.replace("\n", " ").replace("\r", " ").replace("\t", " ").isprintable():
            return
        whole = encoded.replace(b"\\/", b"/")
        text = binascii.a2b_base64(whole[: len(whole) // 4 * 4])
        self.parts.append(memoryview(text))
        self.counted_tokens += estimate_tokens(len(text))


def _strings(raw: bytes) -> list[tuple[int, int]]:
    """Where long strings under a medium's name begin and end."""
    found = []
    for name in _MEDIA_NAMES:
        at = raw.find(name)
        while at >= 0:
            end = at + len(name)
            value = _VALUE.match(raw, end)
            if value is not None:
                end = raw.find(b'"', value.end())
                if end - value.end() >= _MEDIA_BYTES_MIN:
                    found.append((value.end(), end))
            at = raw.find(name, end) if end >= 0 else -1
    return found
