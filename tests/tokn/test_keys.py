import hashlib

from hypothesis import given
from hypothesis import strategies as st

from schemas.keys import digest, generate, is_well_formed

_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def test_keys_are_well_formed_and_differ():
    """Each made key reads tokn_ + 38 base62 characters, passes its own check, and is new."""
    made = {generate() for _ in range(1_000)}
    assert len(made) == 1_000
    for key in made:
        assert key.startswith("tokn_")
        assert len(key) == 43
        assert set(key[5:]) <= set(_BASE62)
        assert is_well_formed(key)


@given(st.integers(5, 42), st.sampled_from(_BASE62))
def test_one_changed_character_is_seen(place, character):
    """A key with a typing error is refused without asking a ledger."""
    key = generate()
    changed = key[:place] + character + key[place + 1 :]
    assert is_well_formed(changed) == (changed == key)


@given(st.text(max_size=60) | st.from_regex(r"tokn_[0-9A-Za-z]{38}", fullmatch=True))
def test_other_texts_are_refused(text):
    """No other text is taken for a key, whatever it is, and none breaks the check."""
    assert not is_well_formed(text)


def test_trailing_newline_is_not_a_key():
    """What surrounds a key is not forgiven."""
    assert not is_well_formed(generate() + "\n")


def test_digest_is_sha256_of_the_whole_key():
    """What leaves the edge is the SHA-256 of the key with its prefix and checksum."""
    key = generate()
    assert digest(key) == hashlib.sha256(key.encode()).digest()
