"""Sealed reasoning: it comes back whole for its own key, and never for another or after a change."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.dialects import blobs
from schemas.dialects.blobs import PREFIX, Blob, is_ours, seal, unseal

SCOPE, OTHER = "a" * 32, "b" * 32
BLOB = Blob("gemini", "gemini-3.8-flash", "signature", "c2ln")


@given(st.builds(Blob, st.text(), st.text(), st.text(), st.text(max_size=2_000)))
def test_what_was_sealed_comes_back(blob):
    """Any payload survives the way through a caller, in characters that fit wherever a signature does."""
    text = seal(SCOPE, blob)
    assert is_ours(text)
    assert set(text.removeprefix(PREFIX)) <= set(base64.urlsafe_b64encode(bytes(range(256)) * 2).decode())
    assert unseal(SCOPE, text) == blob


def test_another_key_reads_nothing():
    """A blob of one key is none for another, nor for a call without a scope."""
    text = seal(SCOPE, BLOB)
    assert unseal(OTHER, text) is None
    assert unseal("", seal("", BLOB)) is None


def test_any_change_makes_it_no_blob():
    """Each character counts: none can be changed, left out or added."""
    text = seal(SCOPE, BLOB)
    for place in range(len(text)):
        swapped = "A" if text[place] != "A" else "B"
        changed = text[:place] + swapped + text[place + 1 :]
        assert unseal(SCOPE, changed) in (None, BLOB)  # the last character has bits that mean nothing
        assert unseal(SCOPE, text[:place] + text[place + 1 :]) is None
    assert unseal(SCOPE, text + "AAAA") is None


@pytest.mark.parametrize(
    "text", ["", "c2ln", PREFIX, PREFIX + "!", PREFIX + "é", PREFIX + "AAAA", "gAAAAAB", PREFIX + "A" * 40]
)
def test_what_others_made_is_none(text):
    """A provider's own signature, or nonsense, is never taken for a blob, and never raises."""
    assert unseal(SCOPE, text) is None


def test_a_blob_that_is_too_large_is_none(monkeypatch):
    """What is opened is bounded."""
    monkeypatch.setattr(blobs, "BLOB_CHARS_MAX", 10)
    assert unseal(SCOPE, seal(SCOPE, BLOB)) is None
