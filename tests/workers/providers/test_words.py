import pytest

from workers.providers.words import CODE_CHARS_MAX, WORDS_CHARS_MAX, words_of

KEY = "sk-proj-abcdefghijklmnop"


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        (b'{"error": {"message": "no", "type": "t", "code": "c"}}', "c", "no"),
        (
            b'{"type": "error", "error": {"type": "overloaded_error", "message": "no"}}',
            "overloaded_error",
            "no",
        ),
        (b'[{"error": {"code": 503, "message": "no", "status": "UNAVAILABLE"}}]', "503", "no"),
        (b'{"__type": "ThrottlingException", "message": "no"}', "ThrottlingException", "no"),
        (b'{"error": "no"}', "", "no"),
        (b'{"detail": "no"}', "", "no"),
        (b"<html>\n <b>502</b>\n</html>", "", "<html> <b>502</b> </html>"),
        (b"\xff\x00", "", "\ufffd\x00"),
        (b"", "", ""),
        (b"3", "", "3"),
        (b"[" * 100_000, "", "[" * WORDS_CHARS_MAX),
    ],
)
def test_the_words_of_a_failure(body, code, message):
    """Whatever the form of an error, its code and message are found; what has no form is shown as it came, in one line."""
    found = words_of({"X": "y"}, body)
    assert (found.code, found.message) == (code, message)


@pytest.mark.parametrize("at", range(WORDS_CHARS_MAX - 30, WORDS_CHARS_MAX + 5, 3))
def test_words_are_short_and_without_secrets(at):
    """No part of a key is left, wherever the words are cut; code, message and id have their bounds."""
    text = " " * at + KEY
    found = words_of(
        {"request-id": "r" * 999},
        b'{"message": "%s", "code": "%s"}' % (b"a" * at + text.encode(), b"c" * 999),
    )
    assert "sk-" not in found.message
    assert len(found.message) <= WORDS_CHARS_MAX
    assert len(found.code) == CODE_CHARS_MAX
    assert len(found.request_id) <= CODE_CHARS_MAX
