"""Owns what each sign of a text costs in tokens, as data: fitted to o200k over some 120 kinds of text."""

import re
from typing import Final

# The same sign again and again.
REPEATED: Final = re.compile(r"([!-/:-~])\1{7,}")
REPEATED_LETTER: Final = 0.3
REPEATED_SIGN: Final = 0.035

# Of ASCII. A word is what that vocabulary's own rule cuts out: capitals, then small letters.
RANDOM: Final = re.compile(r"[A-Za-z0-9+/=_-]{24,}")  # such a run with digits and letters in it is no word
RANDOM_DIGITS: Final = 3
RANDOM_LETTERS: Final = 6
HEX: Final = re.compile(r"[0-9a-f-]+|[0-9A-F-]+")
WORD: Final = re.compile(r"[A-Z]*[a-z]+|[A-Z]+")
CONSONANTS: Final = re.compile(r"[b-df-hj-np-tv-xzB-DF-HJ-NP-TV-XZ]{4,}")
DIGITS: Final = re.compile(r"\d+")
LINES: Final = re.compile(r"[\r\n]+")
INDENTS: Final = re.compile(r"[ \t]{2,}|\t")
CONTROLS: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
SIGNS: Final = re.compile(r"[!-/:-@\[-`{-~]+")
LEADING_SIGN: Final = re.compile(
    r"(?<![!-/:-@\[-`{-~])[!-/:-@\[-`{-~](?=[A-Za-z])"
)  # is one token with its word

RANDOM_CHAR: Final = 0.65
HEX_CHAR: Final = 0.59
PER_WORD: Final = 0.88
WORD_CHARS: Final = 6  # beyond them each letter counts
LONG_CHAR: Final = 0.285
CAPITALS: Final = 3  # of a word in capitals, beyond them each letter counts
CAPITAL: Final = 0.2
CONSONANT: Final = 0.54  # in a run of four or more
DIGIT_GROUP: Final = 0.98  # three digits
DIGIT_RUN: Final = 0.39
LINE_BREAKS: Final = 1.13
FURTHER_LINE_BREAK: Final = 0.06
INDENT: Final = 0.61
FURTHER_SPACE: Final = 0.02
CONTROL: Final = 1.0
SIGN_RUN: Final = 0.65
FURTHER_SIGN: Final = 0.54
# What a letter adds to its word, or takes away: which letters are frequent tells English from what has longer tokens.
LETTERS: Final = {
    "a": 0.29, "b": 0.12, "c": -0.15, "d": -0.12, "e": -0.15, "f": -0.15, "g": 0.3, "h": -0.11, "i": 0.19, "j": 0.45,
    "k": 0.45, "l": 0.1, "m": 0.24, "n": -0.15, "o": 0.07, "p": 0.27, "q": 0.0, "r": -0.15, "s": -0.15, "t": -0.15,
    "u": 0.45, "v": 0.44, "w": 0.45, "x": 0.33, "y": -0.02, "z": 0.45,
}  # fmt: skip
WORDS_MIN: Final = 0.8  # of their own figure: no choice of letters makes words cheaper than this
FURTHER_LETTER_MAX: Final = 0.62  # nor a letter beyond a word's first dearer than this

# Of everything else.
ACCENTED: Final = re.compile(
    r"[A-Za-z\u00c0-\u024f\u1e00-\u1eff]*[\u00c0-\u024f\u1e00-\u1eff][A-Za-z\u00c0-\u024f\u1e00-\u1eff]*"
)
ACCENTED_WORD: Final = 0.1
ACCENTED_CHAR: Final = 0.03  # any char of such a word
OTHER_WORD: Final = re.compile(r"[\u0370-\u1dff\u2c00-\u2fff\u3040-\ud7ff]+")
PER_OTHER_WORD: Final = 0.3
DRAWN: Final = re.compile(r"([\u2500-\u259f])\1*")  # the same sign of a frame again and again
PER_DRAWN: Final = 1.5
# A script's first code point, its name, and what a char of it costs; up to the next row.
SCRIPTS: Final = (
    (0x80, "sign", 0.5),
    (0xC0, "accented", 1.24),
    (0x250, "other", 1.0),
    (0x370, "greek", 0.35),
    (0x400, "cyrillic", 0.32),
    (0x530, "caucasian", 0.33),
    (0x590, "hebrew", 0.37),
    (0x600, "arabic", 0.33),
    (0x700, "other", 1.0),
    (0x900, "indic", 0.33),
    (0xE00, "thai", 0.43),
    (0x10A0, "caucasian", 0.33),
    (0x1100, "other", 1.0),
    (0x1780, "thai", 0.55),
    (0x1800, "other", 1.0),
    (0x1E00, "accented", 0.3),
    (0x1F00, "greek", 1.0),
    (0x2000, "sign", 1.0),
    (0x2100, "symbol", 1.6),
    (0x2500, "drawn", 0.15),
    (0x25A0, "symbol", 1.6),
    (0x2600, "emoji", 1.7),
    (0x2800, "other", 1.5),
    (0x3000, "cjk sign", 1.0),
    (0x3040, "kana", 0.68),
    (0x3100, "other", 1.5),
    (0x3400, "han", 0.74),
    (0xA000, "other", 1.5),
    (0xAC00, "hangul", 0.68),
    (0xD7B0, "other", 1.5),
    (0xFE00, "sign", 0.5),
    (0xFE10, "other", 1.5),
    (0xFF00, "cjk sign", 1.0),
    (0xFFF0, "other", 1.5),
    (0x1F000, "emoji", 1.85),
    (0x20000, "other", 2.5),
)
