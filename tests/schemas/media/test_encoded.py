"""Base64 in pieces says of every text what its decoder says of the whole."""

import base64
import binascii

import pytest

from schemas.chat.media import base64_start, data_url
from schemas.media import encoded
from schemas.media.encoded import pieces

_PIECE = encoded._PIECE_CHARS


def whole(data: str) -> bytes | None:
    try:
        return binascii.a2b_base64(data, strict_mode=True)
    except ValueError:
        return None


def in_pieces(data: str) -> bytes | None:
    try:
        return b"".join(pieces(data))
    except ValueError:
        return None


@pytest.mark.parametrize(
    "size", [0, 1, 2, 3, 4, _PIECE // 4 * 3 - 1, _PIECE // 4 * 3, _PIECE // 4 * 3 + 1, _PIECE * 2]
)
def test_texts_of_any_length(size: int) -> None:
    """A text that is base64 comes out whole, around the seams of the pieces too."""
    data = base64.b64encode(bytes(range(256)) * (size // 256 + 1))[: -(-size // 3) * 4].decode()
    assert in_pieces(data) == whole(data) is not None


@pytest.mark.parametrize("at", [1, 2, _PIECE - 3, _PIECE - 2, _PIECE - 1, _PIECE, _PIECE + 1, 2 * _PIECE - 1])
@pytest.mark.parametrize("fault", ["=", "==", "\u00e9", "!", " ", ""])
def test_faults_anywhere(at: int, fault: str) -> None:
    """A fault is one wherever it stands: padding amid a text, a letter that is none, or one too few."""
    text = "A" * (2 * _PIECE)
    data = text[:at] + fault + text[at + max(len(fault), 1) :]
    assert in_pieces(data) == whole(data)


def test_the_head_of_a_data_url_is_bounded() -> None:
    """What a data URL says of its type is read as far as any client writes it, however long it goes on."""
    assert data_url("data:image/png;a=b;base64,AAAA") is not None
    assert base64_start("data:image/png" + ";a=b" * 1_000 + ";base64,AAAA") == -1
