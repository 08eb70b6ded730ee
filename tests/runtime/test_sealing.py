import pytest

from runtime.sealing import Reader, Writer

NAME = "req_1.1"


def test_only_its_reader_opens_a_piece():
    """A piece is opened by the key it was sealed to, for the body and the place it was sealed for, and by nobody else."""
    reader, other = Reader(), Reader()
    writer = Writer(reader.public)
    for index, data in enumerate((b"", b"canary", bytes(256 * 1024))):
        sealed = writer.seal(NAME, index, data)
        assert b"canary" not in sealed
        assert len(sealed) == len(data) + 16
        assert reader.open(writer.public, NAME, index, sealed) == data
        assert other.open(writer.public, NAME, index, sealed) is None
        assert reader.open(writer.public, NAME, index + 1, sealed) is None
        assert reader.open(writer.public, "req_1.2", index, sealed) is None
        assert reader.open(Writer(reader.public).public, NAME, index, sealed) is None
        assert reader.open(writer.public, NAME, index, sealed[:-1] + bytes([sealed[-1] ^ 1])) is None
        assert reader.open(writer.public, NAME, index, sealed) == data


def test_a_body_that_is_said_again_has_a_key_of_its_own():
    """Two writers to one reader seal alike pieces differently, and the reader opens both, in any order."""
    reader = Reader()
    first, second = Writer(reader.public), Writer(reader.public)
    assert first.seal(NAME, 0, b"x") != second.seal(NAME, 0, b"x")
    for writer in (first, second, first):
        assert reader.open(writer.public, NAME, 3, writer.seal(NAME, 3, b"y")) == b"y"


@pytest.mark.parametrize("key", [b"", b"x", bytes(32), bytes(31), bytes(33), b"\x01" + bytes(31)])
def test_what_is_no_key_seals_nothing(key):
    """Keys of another length, and those that give a secret that everybody knows, are refused at both ends."""
    with pytest.raises(ValueError, match=r".+"):
        Writer(key)
    reader = Reader()
    assert reader.open(key, NAME, 0, bytes(32)) is None
    assert reader.open(Writer(reader.public).public, NAME, 0, b"short") is None
    assert reader.open(Writer(reader.public).public, NAME, -1, bytes(32)) is None
